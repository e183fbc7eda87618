//! `cargo xtask bench all`: every bench, one after the other, written to a Markdown page.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::tools::{root, shown};
use crate::workbench::Common;

/// What to run, and where to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// The page.
    #[arg(long, default_value = "docs/benchmarks.md")]
    page: PathBuf,
}

/// A part of the page.
struct Section {
    title: &'static str,
    bench: &'static str,
    /// On this many cores alone.
    cores: Option<usize>,
}

const SECTIONS: [Section; 10] = [
    section("Layers of the `ml` sample", "layers", None),
    section("Layers, on two cores", "layers", Some(2)),
    section("One large wheel", "big", None),
    section("One large wheel, on two cores", "big", Some(2)),
    section("Rebuild", "rebuild", None),
    section("Digest", "digest", None),
    section("Fresh runner", "fresh", None),
    section("Many wheels, many images", "scale", None),
    section("Push", "push", None),
    section("Lock", "lock", None),
];

const fn section(title: &'static str, bench: &'static str, cores: Option<usize>) -> Section {
    Section {
        title,
        bench,
        cores,
    }
}

/// Runs them all; the page has each as soon as it has ended well.
pub(crate) fn all(options: &Options) -> anyhow::Result<()> {
    let oxcart = options.common.oxcart()?;
    let mut page = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench all`; each section is what `cargo xtask bench NAME` prints. Ratios \
         are of one run on one machine, and times are medians.\n",
    );
    let path = root().join(&options.page);
    for section in SECTIONS {
        let mut command = match section.cores {
            None => Command::new(std::env::current_exe()?),
            Some(cores) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["--cpu-list", &format!("0-{}", cores - 1)]);
                taskset.arg(std::env::current_exe()?);
                taskset
            }
        };
        command
            .args(["bench", section.bench, "--rounds"])
            .arg(options.common.rounds.to_string())
            .arg("--oxcart")
            .arg(&oxcart)
            .stderr(Stdio::inherit());
        eprintln!("+ {}", shown(&command));
        let output = command.output().with_context(|| shown(&command))?;
        ensure!(
            output.status.success(),
            "{}: {}",
            shown(&command),
            output.status
        );
        let text = String::from_utf8(output.stdout)?;
        write!(page, "\n## {}\n\n{}\n", section.title, text.trim())?;
        fs::write(&path, &page).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
