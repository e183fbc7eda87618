//! What every bench begins with: the oxcart to measure, and a copy of the `ml` sample in a directory that
//! goes with the bench.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::tools::{cache, cargo, root, run, target_directory};

/// The sample that is measured.
pub(crate) const PROJECT: &str = "images/genascope-backend";
pub(crate) const PROFILE: &str = "ml";

/// Options of every bench.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// How many rounds; the table has medians.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Measure this oxcart, instead of a release build of the workspace.
    #[arg(long)]
    oxcart: Option<PathBuf>,
}

impl Common {
    /// The oxcart to measure.
    pub(crate) fn oxcart(&self) -> anyhow::Result<PathBuf> {
        match &self.oxcart {
            Some(program) => Ok(std::path::absolute(program)?),
            None => release_build(),
        }
    }

    /// The results of as many rounds as were asked for, each shown as it ends.
    pub(crate) fn rounds<R: Debug>(
        &self,
        round: impl Fn() -> anyhow::Result<R>,
    ) -> anyhow::Result<Vec<R>> {
        let mut rounds = Vec::new();
        for number in 1..=self.rounds.max(1) {
            let round = round()?;
            eprintln!("round {number}: {round:?}");
            rounds.push(round);
        }
        Ok(rounds)
    }
}

/// The oxcart to measure and a directory with the project, removed when it is dropped.
pub(crate) struct Workbench {
    pub(crate) oxcart: PathBuf,
    work: tempfile::TempDir,
}

impl Workbench {
    /// With a copy of the sample in `project`. The directory is inside `beside`: on the same file
    /// system, so that files can be linked.
    pub(crate) fn new(options: &Common, beside: &Path) -> anyhow::Result<Self> {
        let workbench = Self::empty(options, beside)?;
        let mut copy = Command::new("cp");
        run(copy
            .arg("-r")
            .arg(root().join(PROJECT))
            .arg(workbench.path("project")))?;
        Ok(workbench)
    }

    /// Without a project.
    pub(crate) fn empty(options: &Common, beside: &Path) -> anyhow::Result<Self> {
        let oxcart = options.oxcart()?;
        fs::create_dir_all(beside)?;
        Ok(Self {
            oxcart,
            work: tempfile::Builder::new()
                .prefix("bench-")
                .tempdir_in(beside)?,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }
}

/// The store with the wheels: the one that is named, or the tests'.
pub(crate) fn store(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(match named {
        Some(store) => std::path::absolute(store)?,
        None => cache()?.join("test-store"),
    })
}

/// The first one compiles the resolver too: about eight minutes on four cores. The whole workspace, because
/// its features are those that everything else is compiled with.
fn release_build() -> anyhow::Result<PathBuf> {
    run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--workspace",
        "--exclude=fuzz",
    ]))?;
    Ok(target_directory()?.join("release/oxcart"))
}

/// Removes the records of layers that are maps of wheels. Those of Debian packages stay: the ways that
/// oxcart is compared with have none.
pub(crate) fn forget_wheel_layers(store: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(store.join("layers"))? {
        let path = entry?.path();
        let record = fs::read(&path)?;
        let start = &record[..record.len().min(4096)];
        if start.windows(12).any(|window| window == br#""kept":"map""#) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes everything of a kind: `listings`, `proofs`.
pub(crate) fn forget(store: &Path, kind: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(store.join(kind))? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// `seconds.layers` of a metadata file: building the layers alone.
pub(crate) fn layer_seconds(metadata: &Path) -> anyhow::Result<f64> {
    let metadata: Value = serde_json::from_slice(&fs::read(metadata)?)?;
    metadata["seconds"]["layers"]
        .as_f64()
        .context("no seconds.layers in the metadata")
}
