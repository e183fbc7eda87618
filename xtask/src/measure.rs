//! Wall time and peak memory of one command.
//!
//! The kernel tells the peak only for all children of a process together, so each command runs
//! under a fresh copy of this program (`cargo xtask measure`), whose only child it is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// What a command used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Wall time, in seconds.
    pub(crate) seconds: f64,
    /// Peak resident set of the largest process, in bytes.
    pub(crate) peak_rss: u64,
}

impl Usage {
    /// One after the other.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            seconds: self.seconds + next.seconds,
            peak_rss: self.peak_rss.max(next.peak_rss),
        }
    }
}

/// Runs `command` with its standard output in `stdout` (dropped if none), and measures it.
pub(crate) fn measure(command: &Command, stdout: Option<&Path>) -> anyhow::Result<Usage> {
    let report = tempfile::NamedTempFile::new()?;
    let mut outer = Command::new(std::env::current_exe()?);
    outer
        .arg("measure")
        .arg(report.path())
        .arg("--")
        .arg(command.get_program());
    outer.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer.stdout(match stdout {
        Some(path) => std::fs::File::create(path)?.into(),
        None => Stdio::null(),
    });
    // What earlier steps wrote must not be written out on this one's time.
    Command::new("sync").status().context("sync")?;
    let status = outer.status()?;
    if !status.success() {
        bail!("{}: {status}", crate::tools::shown(command));
    }
    Ok(serde_json::from_slice(&std::fs::read(report.path())?)?)
}

/// The inner half: runs `command` and writes its usage to `report`.
pub(crate) fn child(report: &Path, command: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    let start = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| program.clone())?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{program}: {status}");
    }
    let kibibytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    let usage = Usage {
        seconds,
        peak_rss: u64::try_from(kibibytes)? * 1024,
    };
    std::fs::write(report, serde_json::to_vec(&usage)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_reports_its_time_and_memory() {
        let report = tempfile::NamedTempFile::new().unwrap();
        child(report.path(), &["sleep".to_owned(), "0.05".to_owned()]).unwrap();
        let usage: Usage = serde_json::from_slice(&std::fs::read(report.path()).unwrap()).unwrap();
        assert!((0.05..5.0).contains(&usage.seconds), "{usage:?}");
        assert!(
            (100_000..100_000_000).contains(&usage.peak_rss),
            "{usage:?}"
        );
        assert!(child(report.path(), &["false".to_owned()]).is_err());
    }
}
