//! `cargo xtask bench lock`: the `ml` profile locked for two platforms by oxcart, against `uv pip compile`
//! for the same two, from the real index and in the same run; with nothing cached, and with everything
//! cached. oxcart's time has the choice of the base's Debian packages in it, which uv has none of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::release_build;
use crate::measure::{Usage, measure};
use crate::packages;
use crate::table::{self, Table};
use crate::tools::{cache, root, run};

const PROJECT: &str = "images/genascope-backend";
const PROFILE: &str = "ml";
/// What uv calls the two platforms, with the base's glibc.
const PLATFORMS: [&str; 2] = ["x86_64-manylinux_2_40", "aarch64-manylinux_2_40"];
const PYTHON: &str = "3.13";

/// What to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many rounds; the table has medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure this oxcart, instead of a release build of the workspace.
    #[arg(long)]
    oxcart: Option<PathBuf>,
}

/// Measures, and prints a Markdown table.
pub(crate) fn lock(options: &Options) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let mut rounds = Vec::new();
    for number in 1..=options.rounds.max(1) {
        let round = bench.round()?;
        eprintln!("round {number}: {round:?}");
        rounds.push(round);
    }
    bench.print(&rounds)
}

struct Bench {
    oxcart: PathBuf,
    uv: PathBuf,
    work: tempfile::TempDir,
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
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        let oxcart = match &options.oxcart {
            Some(program) => std::path::absolute(program)?,
            None => release_build()?,
        };
        let beside = cache()?;
        fs::create_dir_all(&beside)?;
        let bench = Self {
            oxcart,
            uv: packages::oracles()?.join("uv"),
            work: tempfile::Builder::new()
                .prefix("bench-")
                .tempdir_in(beside)?,
        };
        let mut copy = Command::new("cp");
        run(copy
            .arg("-r")
            .arg(root().join(PROJECT))
            .arg(bench.path("project")))?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
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
        let mut command = Command::new(&self.oxcart);
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
