//! `cargo xtask bench lock`: the `ml` profile locked for two platforms by oxcart, against `uv pip compile`
//! for the same two, from the real index and in the same run; with nothing cached, and with everything
//! cached. oxcart's time has the choice of the base's Debian packages in it, which uv has none of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::{Usage, measure};
use crate::packages;
use crate::table::{self, Table};
use crate::tools::cache;
use crate::workbench::{Common, PROFILE, PROJECT, Workbench};

/// What uv calls the two platforms, with the base's glibc.
const PLATFORMS: [&str; 2] = ["x86_64-manylinux_2_40", "aarch64-manylinux_2_40"];
const PYTHON: &str = "3.13";

/// Measures, and prints a Markdown table.
pub(crate) fn lock(options: &Common) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let rounds = options.rounds(|| bench.round())?;
    bench.print(&rounds)
}

struct Bench {
    workbench: Workbench,
    uv: PathBuf,
}

/// With nothing cached, and again.
#[derive(Debug, Clone, Copy)]
struct Runs {
    cold: Usage,
    warm: Usage,
}

/// One round's figures.
#[derive(Debug)]
struct Round {
    oxcart: Runs,
    uv: Runs,
}

impl Bench {
    fn prepare(options: &Common) -> anyhow::Result<Self> {
        Ok(Self {
            workbench: Workbench::new(options, &cache()?)?,
            uv: packages::oracles()?.join("uv"),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workbench.path(name)
    }

    fn round(&self) -> anyhow::Result<Round> {
        let _ = fs::remove_dir_all(self.path("store"));
        let _ = fs::remove_dir_all(self.path("uv-cache"));
        // In turn, so that what changes with time on the index's side meets both.
        let (oxcart_cold, uv_cold) = (self.oxcart()?, self.uv()?);
        let (oxcart_warm, uv_warm) = (self.oxcart()?, self.uv()?);
        Ok(Round {
            oxcart: Runs {
                cold: oxcart_cold,
                warm: oxcart_warm,
            },
            uv: Runs {
                cold: uv_cold,
                warm: uv_warm,
            },
        })
    }

    fn oxcart(&self) -> anyhow::Result<Usage> {
        let lock = self.path("project").join(format!("oxcart.{PROFILE}.lock"));
        let _ = fs::remove_file(lock);
        let mut command = Command::new(&self.workbench.oxcart);
        command
            .args(["lock", "--quiet", "--profile", PROFILE, "--project"])
            .arg(self.path("project"))
            .arg("--store")
            .arg(self.path("store"));
        measure(&command, None)
    }

    /// Both platforms, one after the other.
    fn uv(&self) -> anyhow::Result<Usage> {
        let mut sum: Option<Usage> = None;
        for platform in PLATFORMS {
            let mut command = Command::new(&self.uv);
            command
                .args(["pip", "compile", "--quiet", "--no-config"])
                .args(["--only-binary", ":all:", "--generate-hashes"])
                .args(["--python-version", PYTHON, "--python-platform", platform])
                .arg("--cache-dir")
                .arg(self.path("uv-cache"))
                .arg(self.path("project").join("requirements.txt"));
            let usage = measure(&command, None)?;
            sum = Some(sum.map_or(usage, |sum| sum.then(usage)));
        }
        Ok(sum.unwrap_or_else(|| unreachable!("there are platforms")))
    }

    fn print(&self, rounds: &[Round]) -> anyhow::Result<()> {
        let threads = std::thread::available_parallelism()?.get();
        println!(
            "`{PROJECT}`, profile `{PROFILE}`, both platforms; medians of {} rounds.\n{}, {}.\n",
            rounds.len(),
            table::machine(threads),
            table::version(Path::new(&self.uv))?,
        );
        println!("| way | seconds | times as long | bytes | peak RSS |\n|---|--:|--:|--:|--:|");
        let table = Table::new(rounds, |round| round.uv.cold.seconds);
        table.row("nothing cached: `uv pip compile`, twice", None, |r| {
            r.uv.cold
        });
        table.row("**`oxcart lock`**, Debian's packages too", None, |r| {
            r.oxcart.cold
        });
        let table = Table::new(rounds, |round| round.uv.warm.seconds);
        table.row("again, all cached: `uv pip compile`, twice", None, |r| {
            r.uv.warm
        });
        table.row("**`oxcart lock`**", None, |r| r.oxcart.warm);
        Ok(())
    }
}
