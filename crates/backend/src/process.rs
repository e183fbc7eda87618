//! Processes: the one place that spawns any, the host's Python and nothing else.
//!
//! They get no standard input and an environment that the caller lists whole. What they print goes to
//! a file, of which the end is kept.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes of output that are kept.
const TAIL: u64 = 8 << 10;
/// Lines of output that are kept.
const LINES: usize = 40;

/// What became of a process.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    /// The end of what it printed to both streams.
    pub(crate) output: String,
}

/// Runs `program` to its end.
pub(crate) fn run(
    program: &Path,
    arguments: &[&OsStr],
    directory: &Path,
    environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
) -> io::Result<Outcome> {
    let mut log = tempfile::tempfile()?;
    let status = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .status()?;
    Ok(Outcome {
        succeeded: status.success(),
        output: tail(&mut log)?,
    })
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
        );
        let outcome = outcome.unwrap();
        assert!(!outcome.succeeded);
        assert_eq!(outcome.output.lines().count(), LINES);
        let last = outcome.output.lines().last().unwrap();
        assert!(last.contains("'PATH'") && !last.contains("HOME"), "{last}");
        assert!(outcome.output.contains("line 99\n"), "{}", outcome.output);
    }
}
