//! `cargo xtask bench fresh`, `rebuild` and `digest`: what a full lock is good for. The `ml` image of both
//! platforms, pushed to Debian's docker-registry on the loopback interface that has its layers already.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::docker_registry::Registry;
use crate::measure::{Usage, measure};
use crate::table;
use crate::tools::{run, which};
use crate::workbench::{self, Common, PROFILE, PROJECT, Workbench};

/// The sample's file that every round changes.
const FILE: &str = "app/bench.py";

/// What to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// The store with the wheels; what is missing in it is downloaded first.
    #[arg(long)]
    store: Option<PathBuf>,
}

/// An empty store: nothing new, a changed file, and another repository.
pub(crate) fn fresh(options: &Options) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let rounds = options.common.rounds(|| {
        let same = bench.fresh(&bench.name("ml"), &[])?;
        bench.change()?;
        let changed = bench.fresh(&bench.name("ml"), &[])?;
        bench.change()?;
        let target = bench.name(&format!("other-{}", bench.number.get()));
        let mounted = bench.fresh(&target, &["--cache-from", &bench.name("ml")])?;
        Ok([same, changed, mounted])
    })?;
    print(
        &rounds,
        &[
            "empty store, nothing new",
            "**empty store, one file changed**",
            "empty store, one file changed, layers mounted from `cache-from`",
        ],
    )
}

/// Everything but one file in the store, and in the registry.
pub(crate) fn rebuild(options: &Options) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let rounds = options.common.rounds(|| {
        bench.change()?;
        let name = bench.name("ml");
        let changed = bench.push(&bench.store, &name, &[])?;
        let same = bench.push(&bench.store, &name, &[])?;
        Ok([changed, same])
    })?;
    print(&rounds, &["**one file changed**", "nothing changed"])
}

/// The digest alone.
pub(crate) fn digest(options: &Options) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let rounds = options.common.rounds(|| {
        bench.change()?;
        let mut command = Command::new(&bench.workbench.oxcart);
        command.args(["digest", "--profile", PROFILE, "--project"]);
        command.arg(bench.path("project"));
        Ok([measure(&command, None)?])
    })?;
    print(&rounds, &["**`oxcart digest`**"])
}

struct Bench {
    workbench: Workbench,
    store: PathBuf,
    registry: Registry,
    /// Changes of the file so far.
    number: Cell<usize>,
}

impl Bench {
    /// Builds and pushes once, which completes the lock.
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        let tool = "docker-registry";
        which(tool).with_context(|| format!("`{tool}` is missing: install Debian's {tool}"))?;
        let store = workbench::store(options.store.as_deref())?;
        let beside = store
            .parent()
            .context("the store has no parent directory")?;
        let workbench = Workbench::new(&options.common, beside)?;
        let bench = Self {
            registry: Registry::start(&workbench.path("registry"))?,
            workbench,
            store,
            number: Cell::new(0),
        };
        bench.change()?;
        let mut first = bench.command(&bench.store, &bench.name("ml"), &[]);
        run(first.stdout(std::io::stderr()))?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workbench.path(name)
    }

    fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/bench/{name}", self.registry.port)
    }

    /// To what the store never saw.
    fn change(&self) -> anyhow::Result<()> {
        self.number.set(self.number.get() + 1);
        let text = format!("# {}", fs::read_to_string("/proc/sys/kernel/random/uuid")?);
        fs::write(self.path("project").join(FILE), text)?;
        Ok(())
    }

    fn command(&self, store: &Path, name: &str, options: &[&str]) -> Command {
        let mut command = Command::new(&self.workbench.oxcart);
        command.args(["build", "--quiet", "--profile", PROFILE, "--project"]);
        command.arg(self.path("project")).arg("--store").arg(store);
        command
            .arg("--metadata-file")
            .arg(self.path("metadata.json"));
        command.args(["--push", "--name", name]).args(options);
        command
    }

    fn push(&self, store: &Path, name: &str, options: &[&str]) -> anyhow::Result<Usage> {
        let mut command = self.command(store, name, options);
        measure(command.arg("--locked"), None)
    }

    /// A push from a store that is not there, which must fetch nothing and build the project's files
    /// alone.
    fn fresh(&self, name: &str, options: &[&str]) -> anyhow::Result<Usage> {
        let store = self.path("empty");
        let _ = fs::remove_dir_all(&store);
        let usage = self.push(&store, name, options)?;
        let metadata: Value = serde_json::from_slice(&fs::read(self.path("metadata.json"))?)?;
        ensure!(
            metadata["bytes_downloaded"] == 0,
            "{} bytes were downloaded",
            metadata["bytes_downloaded"]
        );
        let platforms = metadata["platforms"].as_object().context("no platforms")?;
        let layers = platforms.values().filter_map(|it| it["layers"].as_array());
        for layer in layers.flatten().filter(|it| it["kind"] != "app") {
            let state = layer["state"].as_str().unwrap_or_default();
            ensure!(["registry", "mounted"].contains(&state), "{layer}");
        }
        Ok(usage)
    }
}

fn print<const N: usize>(rounds: &[[Usage; N]], ways: &[&str; N]) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    println!(
        "`{PROJECT}`, profile `{PROFILE}`, both platforms; medians of {} rounds.\n{}, docker-registry \
         of Debian.\n",
        rounds.len(),
        table::machine(threads),
    );
    println!("| way | milliseconds | slowest | peak RSS |\n|---|--:|--:|--:|");
    for (n, way) in ways.iter().enumerate() {
        let milliseconds = |round: &[Usage; N]| round[n].seconds * 1000.0;
        let slowest = rounds.iter().map(milliseconds).fold(0.0, f64::max);
        let peak = rounds.iter().map(|round| round[n].peak_rss).max();
        println!(
            "| {way} | {:.0} | {slowest:.0} | {} MiB |",
            table::median(rounds, milliseconds),
            peak.unwrap_or(0) >> 20
        );
    }
    Ok(())
}
