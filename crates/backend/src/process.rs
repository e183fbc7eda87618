//! Processes: the one place that spawns any, the host's Python and nothing else.
//!
//! They get no standard input and an environment that the caller lists whole. What they print goes to
//! a file, of which the end is kept.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Bytes of output that are kept.
const TAIL: u64 = 8 << 10;
/// Lines of output that are kept.
const LINES: usize = 40;

/// What became of a process.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    /// Whether it had to be ended.
    pub(crate) took_too_long: bool,
    /// The end of what it printed to both streams.
    pub(crate) output: String,
}

/// Runs `program` to its end, for as long as `limit` at the most: then it is killed, and what it has started.
pub(crate) fn run(
    program: &Path,
    arguments: &[&OsStr],
    directory: &Path,
    environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    limit: Duration,
) -> io::Result<Outcome> {
    let mut log = tempfile::tempfile()?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()?;
    let status = wait(&mut child, limit)?;
    if status.is_none() {
        for process in with_descendants(child.id()) {
            // One that has ended meanwhile needs no killing.
            let _ = kill_process(process, Signal::KILL);
        }
        child.wait()?;
    }
    Ok(Outcome {
        succeeded: status.is_some_and(|it| it.success()),
        took_too_long: status.is_none(),
        output: tail(&mut log)?,
    })
}

/// How `child` ended; None where it has not within `limit`.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let Some(left) = limit.checked_sub(start.elapsed()) else {
            return Ok(None);
        };
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A process, and those that it and they have started: it is in the process group of ours, so that an
/// interrupt at the terminal reaches them all.
fn with_descendants(process: u32) -> Vec<Pid> {
    let mut found = vec![process];
    let mut at = 0;
    while let Some(process) = found.get(at) {
        for task in std::fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|it| it.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    let pids = found.into_iter().filter_map(|it| i32::try_from(it).ok());
    pids.filter_map(Pid::from_raw).collect()
}

fn tail(log: &mut File) -> io::Result<String> {
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    log.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.trim_end().lines().collect();
    Ok(lines[lines.len().saturating_sub(LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_both_streams_is_kept_and_nothing_is_inherited() {
        let script = "import os, sys\nfor n in range(100): print('line', n, flush=True)\nprint(sorted(os.environ), file=sys.stderr)\nsys.exit(3)";
        let outcome = run(
            Path::new("/usr/bin/env"),
            &["python3", "-c", script].map(OsStr::new),
            Path::new("/"),
            [("PATH", std::env::var_os("PATH").unwrap())],
            Duration::from_mins(1),
        );
        let outcome = outcome.unwrap();
        assert!(!outcome.succeeded);
        assert_eq!(outcome.output.lines().count(), LINES);
        let last = outcome.output.lines().last().unwrap();
        assert!(last.contains("'PATH'") && !last.contains("HOME"), "{last}");
        assert!(outcome.output.contains("line 99\n"), "{}", outcome.output);
        assert!(!outcome.took_too_long);
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_that_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let script = "echo begun; (sleep 2; touch late) & (sleep 2; touch late); touch late";
        let start = Instant::now();
        let outcome = run(
            Path::new("/bin/sh"),
            &["-c", script].map(OsStr::new),
            directory.path(),
            [("PATH", std::env::var_os("PATH").unwrap())],
            Duration::from_millis(300),
        );
        let outcome = outcome.unwrap();
        assert!(outcome.took_too_long && !outcome.succeeded);
        assert_eq!(outcome.output, "begun");
        assert!(start.elapsed() < Duration::from_secs(2));
        thread::sleep(Duration::from_millis(2500));
        assert!(!directory.path().join("late").exists());
    }
}
