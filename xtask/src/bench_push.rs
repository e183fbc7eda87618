//! `cargo xtask bench push`: the `ml` image of both platforms, pushed to Debian's docker-registry on the
//! loopback interface by oxcart and by skopeo, in the same run. Each way gets an empty registry of its
//! own, and pushes a second time when everything is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::docker_registry::Registry;
use crate::measure::{Usage, measure};
use crate::table::{self, Table, mega};
use crate::tools::{run, which};
use crate::workbench::{self, Common, PROFILE, PROJECT, Workbench};

/// What to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// The store with the wheels; what is missing in it is downloaded first.
    #[arg(long)]
    store: Option<PathBuf>,
}

/// Measures, and prints a Markdown table.
pub(crate) fn push(options: &Options) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let rounds = options.common.rounds(|| bench.round())?;
    bench.print(&rounds)
}

/// Everything that the rounds use, made before any clock runs.
struct Bench {
    workbench: Workbench,
    store: PathBuf,
}

/// A first push, and one with nothing to do.
#[derive(Debug, Clone, Copy)]
struct Pushes {
    first: Usage,
    second: Usage,
}

/// One round's figures.
#[derive(Debug)]
struct Round {
    layout: Pushes,
    build: Pushes,
    skopeo: Pushes,
}

impl Bench {
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        for tool in ["docker-registry", "skopeo"] {
            which(tool).with_context(|| format!("`{tool}` is missing: install Debian's {tool}"))?;
        }
        let store = workbench::store(options.store.as_deref())?;
        let beside = store
            .parent()
            .context("the store has no parent directory")?;
        let bench = Self {
            workbench: Workbench::new(&options.common, beside)?,
            store,
        };
        run(bench
            .build()
            .arg("--output")
            .arg(bench.layout())
            .stdout(std::io::stderr()))?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workbench.path(name)
    }

    fn layout(&self) -> String {
        format!("oci:{}", self.path("image").display())
    }

    fn build(&self) -> Command {
        let mut command = self.oxcart();
        command
            .args(["build", "--quiet", "--profile", PROFILE, "--project"])
            .arg(self.path("project"));
        command
    }

    fn oxcart(&self) -> Command {
        let mut command = Command::new(&self.workbench.oxcart);
        command.arg("--store").arg(&self.store);
        command
    }

    fn round(&self) -> anyhow::Result<Round> {
        let layout = self.pushes(|name| {
            let mut command = self.oxcart();
            command.args(["push", "--quiet", &self.layout(), &format!("{name}:1")]);
            command
        })?;
        let build = self.pushes(|name| {
            let mut command = self.build();
            command.args(["--locked", "--push", "--tag", "1", "--name", name]);
            command
        })?;
        let skopeo = self.pushes(|name| {
            let mut command = Command::new("skopeo");
            command.args(["copy", "--quiet", "--all", "--preserve-digests"]);
            command.args([
                "--dest-tls-verify=false",
                &format!("{}:latest", self.layout()),
            ]);
            command.arg(format!("docker://{name}:1"));
            command
        })?;
        Ok(Round {
            layout,
            build,
            skopeo,
        })
    }

    fn pushes(&self, command: impl Fn(&str) -> Command) -> anyhow::Result<Pushes> {
        let registry = Registry::start(&self.path("registry"))?;
        let command = command(&format!("127.0.0.1:{}/bench/ml", registry.port));
        let first = measure(&command, None)?;
        let second = measure(&command, None)?;
        Ok(Pushes { first, second })
    }

    fn print(&self, rounds: &[Round]) -> anyhow::Result<()> {
        println!("{}\n", self.facts(rounds.len())?);
        println!("| way | seconds | times as long | bytes | peak RSS |\n|---|--:|--:|--:|--:|");
        let table = Table::new(rounds, |round| round.skopeo.first.seconds);
        table.row("`skopeo copy --all`", None, |r| r.skopeo.first);
        table.row("**`oxcart push`** of the same layout", None, |r| {
            r.layout.first
        });
        let from_maps = "**`oxcart build --push`**, blobs made from the wheels as they go out";
        table.row(from_maps, None, |r| r.build.first);
        let table = Table::new(rounds, |round| round.skopeo.second.seconds);
        table.row("again, nothing new: `skopeo copy --all`", None, |r| {
            r.skopeo.second
        });
        table.row("again: `oxcart push`", None, |r| r.layout.second);
        table.row("again: `oxcart build --push`", None, |r| r.build.second);
        Ok(())
    }

    /// What was measured, and on what.
    fn facts(&self, rounds: usize) -> anyhow::Result<String> {
        let mut bytes = 0;
        for entry in fs::read_dir(self.path("image").join("blobs/sha256"))? {
            bytes += entry?.metadata()?.len();
        }
        let threads = std::thread::available_parallelism()?.get();
        Ok(format!(
            "`{PROJECT}`, profile `{PROFILE}`, both platforms: {:.0} MB of blobs; medians of {rounds} \
             rounds.\n{}, {}, docker-registry of Debian.",
            mega(bytes),
            table::machine(threads),
            table::version(Path::new("skopeo"))?,
        ))
    }
}
