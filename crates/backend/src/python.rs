//! The host's Python: which one it is, and what it says of itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;
use crate::process;

/// The oldest Python that runs a backend.
const OLDEST: (u32, u32) = (3, 8);
/// The variable that names an interpreter.
const VARIABLE: &str = "OXCART_PYTHON";

/// Prints what [`Facts`] holds as one line of JSON, after a line break.
const PROBE: &str = include_str!("probe.py");
/// How long an interpreter may take to say what it is.
const PATIENCE: Duration = Duration::from_mins(1);

/// An interpreter of this machine.
#[derive(Debug, Clone)]
pub struct Python {
    /// What it says of itself.
    pub facts: Facts,
}

/// What an interpreter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Facts {
    /// The interpreter itself, no link of a virtual environment.
    pub executable: PathBuf,
    /// Full version: `3.13.5`.
    pub version: String,
    /// `cpython`, `pypy`.
    pub implementation: String,
    /// `linux`, `darwin`.
    pub system: String,
    /// `x86_64`, `aarch64`.
    pub machine: String,
    /// Whether it is built without the global interpreter lock.
    pub free_threaded: bool,
    /// Its C library. None where it is neither of the two.
    pub libc: Option<LibC>,
}

/// A C library.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LibC {
    /// `glibc` or `musl`.
    pub name: String,
    /// 2 in 2.41.
    pub major: u16,
    /// 41 in 2.41.
    pub minor: u16,
}

impl Python {
    /// The interpreter that `OXCART_PYTHON` names, else the first `python3` on `PATH`, asked once for
    /// what it is.
    pub fn find() -> Result<Self, Error> {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = match &variable {
            Some(name) => located(name, &path),
            None => located(OsStr::new("python3"), &path),
        };
        let Some(executable) = found else {
            return Err(Error::NoPython {
                what: "from sources".to_owned(),
                looked: match variable {
                    Some(name) => format!("{VARIABLE} names {}", Path::new(&name).display()),
                    None => "no python3 is on PATH".to_owned(),
                },
            });
        };
        Self::ask(&executable)
    }

    fn ask(executable: &Path) -> Result<Self, Error> {
        let unusable = |why: String| Error::UnusablePython {
            executable: executable.to_owned(),
            why,
        };
        // Shims of version managers go by the directory and by variables of their own.
        let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let arguments = ["-I", "-c", PROBE].map(OsStr::new);
        let outcome = process::run(
            executable,
            &arguments,
            &directory,
            std::env::vars_os(),
            PATIENCE,
        );
        let outcome = outcome.map_err(|error| unusable(error.to_string()))?;
        if outcome.took_too_long {
            return Err(unusable("it does not say what it is".to_owned()));
        }
        if !outcome.succeeded {
            return Err(unusable(format!("it said\n{}", outcome.output)));
        }
        let line = outcome.output.lines().last().unwrap_or_default();
        let facts: Facts = serde_json::from_str(line)
            .map_err(|_| unusable(format!("it answered `{line}` when asked what it is")))?;
        if facts.minor_version().is_none_or(|version| version < OLDEST) {
            let (major, minor) = OLDEST;
            return Err(unusable(format!(
                "it is Python {}, and {major}.{minor} is the oldest that can",
                facts.version
            )));
        }
        if facts.implementation != "cpython" || facts.free_threaded {
            return Err(unusable(
                "it is not the CPython that images have".to_owned(),
            ));
        }
        if facts.system != "linux" || facts.libc.is_none() {
            return Err(unusable(
                "wheels are built from sources on Linux with glibc or musl alone".to_owned(),
            ));
        }
        Ok(Self { facts })
    }
}

impl Facts {
    /// 3.13 of 3.13.5.
    pub fn minor_version(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// The file that a shell would run for `name`.
fn located(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata()
            .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if Path::new(name).components().count() > 1 {
        return std::path::absolute(name).ok().filter(is_program);
    }
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_is() {
        let python = Python::find().unwrap();
        assert!(python.facts.executable.is_absolute());
        assert!(python.facts.minor_version().unwrap() >= OLDEST);
        assert_eq!(python.facts.machine, std::env::consts::ARCH);
    }

    #[test]
    fn what_is_no_python_is_told() {
        let told = Python::ask(Path::new("/bin/false")).unwrap_err();
        assert!(
            told.to_string()
                .starts_with("/bin/false cannot build wheels"),
            "{told}"
        );
        assert!(located(OsStr::new("python3"), OsStr::new("/nonexistent")).is_none());
    }
}
