//! `cargo xtask bench big`: one generated wheel of 500 MB, on one thread and on all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::made_wheel::{self, MadeWheel};
use crate::measure::{Usage, measure};
use crate::table::{self, mebi, median, mega};
use crate::tools::{cache, run};
use crate::workbench::{self, Common, Workbench, forget_wheel_layers};

/// Changes with what the wheel holds.
const EDITION: &str = "big-4";

/// Few members that are large.
const LARGE: (usize, usize) = (5, 144 << 20);
/// Many that are small.
const SMALL: (usize, usize) = (28_000, 22 << 10);

/// Measures, and prints a Markdown table.
pub(crate) fn big(options: &Common) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let rounds = options.rounds(|| bench.round())?;
    bench.print(&rounds)
}

struct Bench {
    workbench: Workbench,
    store: PathBuf,
    wheel: PathBuf,
    threads: usize,
}

/// One round's figures.
#[derive(Debug)]
struct Round {
    /// With nothing to build: what the process takes by itself.
    idle: Usage,
    /// On one thread, on two and on all.
    runs: [Run; 3],
}

#[derive(Debug, Clone, Copy)]
struct Run {
    process: Usage,
    /// Building the wheel's layer alone.
    layers: f64,
}

impl Bench {
    fn prepare(options: &Common) -> anyhow::Result<Self> {
        let wheel = wheel()?;
        let store = workbench::store(None)?;
        let beside = store
            .parent()
            .context("the store has no parent directory")?;
        let workbench = Workbench::empty(options, beside)?;
        let project = workbench.path("project");
        fs::create_dir(&project)?;
        fs::write(
            project.join("oxcart.toml"),
            "[image]\nname = \"big\"\nplatforms = [\"linux/arm64\"]\nbase = \"debian:trixie\"\n\
             [dependencies]\nrequirements = [\"requirements.txt\"]\nallow-large = true\n",
        )?;
        fs::write(
            project.join("requirements.txt"),
            format!("{}\n", wheel.display()),
        )?;
        let bench = Self {
            workbench,
            store,
            wheel,
            threads: std::thread::available_parallelism()?.get(),
        };
        run(bench.oxcart(bench.threads).stdout(std::io::stderr()))?;
        Ok(bench)
    }

    fn oxcart(&self, jobs: usize) -> Command {
        let mut command = Command::new(&self.workbench.oxcart);
        command
            .args(["build", "--quiet", "--jobs", &jobs.to_string(), "--project"])
            .arg(self.workbench.path("project"))
            .arg("--store")
            .arg(&self.store)
            .arg("--metadata-file")
            .arg(self.workbench.path("metadata.json"));
        command
    }

    fn round(&self) -> anyhow::Result<Round> {
        Ok(Round {
            runs: [self.run(1)?, self.run(2)?, self.run(self.threads)?],
            idle: measure(&self.oxcart(self.threads), None)?,
        })
    }

    fn run(&self, jobs: usize) -> anyhow::Result<Run> {
        forget_wheel_layers(&self.store)?;
        let process = measure(&self.oxcart(jobs), None)?;
        let layers = workbench::layer_seconds(&self.workbench.path("metadata.json"))?;
        Ok(Run { process, layers })
    }

    fn print(&self, rounds: &[Round]) -> anyhow::Result<()> {
        let size = fs::metadata(&self.wheel)?.len();
        println!(
            "One wheel of {:.0} MB: {} members of {} MiB and {} of {} KiB; medians of {} rounds.\n{}.\n",
            mega(size),
            LARGE.0,
            LARGE.1 >> 20,
            SMALL.0,
            SMALL.1 >> 10,
            rounds.len(),
            table::machine(self.threads),
        );
        println!(
            "| `--jobs` | seconds for the layer | times as fast | peak RSS | over a build of nothing |\n|--:|--:|--:|--:|--:|"
        );
        for (way, jobs) in [1, 2, self.threads].into_iter().enumerate() {
            let of = |round: &Round| round.runs[way];
            let peak = |of: &dyn Fn(&Round) -> u64| rounds.iter().map(of).max().unwrap_or(0);
            let (own, idle) = (
                peak(&|round| of(round).process.peak_rss),
                peak(&|round| round.idle.peak_rss),
            );
            println!(
                "| {jobs} | {:.2} | {:.2} | {:.0} MiB | {:.0} MiB |",
                median(rounds, |round| of(round).layers),
                median(rounds, |round| round.runs[0].layers / of(round).layers),
                mebi(own),
                mebi(own.saturating_sub(idle)),
            );
        }
        Ok(())
    }
}

/// Makes the wheel where it is not there from an earlier bench: about a minute.
fn wheel() -> anyhow::Result<PathBuf> {
    let directory = cache()?.join("bench").join(EDITION);
    let wheel = directory.join(made_wheel::filename("big"));
    if wheel.is_file() {
        return Ok(wheel);
    }
    make(&directory).context("making the wheel")?;
    Ok(wheel)
}

fn make(directory: &Path) -> anyhow::Result<()> {
    let partial = directory.join("partial");
    fs::create_dir_all(&partial)?;
    let mut wheel = MadeWheel::create(&partial, "big")?;
    for n in 0..LARGE.0 {
        wheel.file(&format!("big/lib/large{n}.so"), LARGE.1, n as u64)?;
    }
    for n in 0..SMALL.0 {
        wheel.file(
            &format!("big/part{}/m{n}.py", n % 200),
            SMALL.1,
            n as u64 + 1000,
        )?;
    }
    wheel.finish("big")?;
    let name = made_wheel::filename("big");
    fs::rename(partial.join(&name), directory.join(&name))?;
    Ok(())
}
