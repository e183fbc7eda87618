//! An environment to build in: a virtual environment with the wheels that a backend needs, and nothing
//! else, in a temporary directory that goes when it is done.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use oci::{Source, TreePath};
use tempfile::TempDir;
use wheel::{Implementation, InstallOptions, Limits, Sees, Venv, Wheel, WheelFilename};

use crate::error::{At, Error};
use crate::materialise::materialise;
use crate::python::Python;

/// The time that archives made in the environment have: 1980, where those of zip begin.
const EPOCH: &str = "315532800";

/// A wheel that is needed to build.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// Its file.
    pub source: Source,
    /// The name under which it was found.
    pub filename: WheelFilename,
}

/// Where a backend runs.
#[derive(Debug)]
pub struct Environment {
    directory: TempDir,
}

impl Environment {
    /// Lays out an environment of `python` with `requirements`, to build `what` in.
    pub fn new(python: &Python, requirements: &[Requirement], what: &str) -> Result<Self, Error> {
        let failed = |message: String| Error::Environment {
            what: what.to_owned(),
            message,
        };
        let directory = tempfile::Builder::new()
            .prefix("oxcart-build-")
            .tempdir()
            .at("create", &std::env::temp_dir())?;
        for name in ["home", "tmp", "wheel"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).at("create", &path)?;
        }
        let prefix = directory.path().join("env");
        let prefix = prefix.to_str().map(|it| it.trim_start_matches('/'));
        let prefix = prefix.ok_or_else(|| failed("its path is not UTF-8".to_owned()))?;
        let interpreter = python.facts.executable.to_str();
        let venv = Venv {
            prefix: TreePath::new(prefix).map_err(|error| failed(error.to_string()))?,
            python: python
                .facts
                .version
                .parse()
                .map_err(|error: wheel::VersionError| failed(error.to_string()))?,
            interpreter: interpreter.unwrap_or_default().to_owned(),
            implementation: Implementation::CPython,
            sees: Sees::Own,
        };
        let root = Path::new("/");
        fs::create_dir(directory.path().join("env")).at("create", directory.path())?;
        materialise(&venv.skeleton(), root)?;
        for requirement in requirements {
            let wheel = Wheel::open(
                requirement.source.clone(),
                &requirement.filename,
                &Limits::default(),
            )?;
            let options = InstallOptions {
                requested: false,
                direct_url: None,
                record: wheel::RecordPolicy::Strict,
            };
            materialise(&wheel.install(&venv, &options)?.tree, root)?;
        }
        Ok(Self { directory })
    }

    /// Where hooks put wheels and metadata.
    pub(crate) fn output(&self) -> PathBuf {
        self.directory.path().join("wheel")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    pub(crate) fn interpreter(&self) -> PathBuf {
        self.directory.path().join("env/bin/python")
    }

    /// All variables that a backend sees. Compilers are found on the host's `PATH`, and write no path of
    /// this directory, nor of that of the `sources`, into what they compile.
    pub(crate) fn variables(&self, sources: &Path) -> Vec<(&'static str, OsString)> {
        let own = self.directory.path();
        let bin = own.join("env/bin").into_os_string();
        let mut path = bin;
        if let Some(host) = std::env::var_os("PATH").filter(|it| !it.is_empty()) {
            path.push(":");
            path.push(host);
        }
        let temporary = self.temporary().into_os_string();
        let mut flags = OsString::new();
        for (from, to) in [(sources, "/sources"), (own, "/build")] {
            flags.push(" -ffile-prefix-map=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        }
        vec![
            ("PATH", path),
            ("VIRTUAL_ENV", own.join("env").into_os_string()),
            ("HOME", own.join("home").into_os_string()),
            ("TMPDIR", temporary),
            ("CFLAGS", flags.clone()),
            ("CXXFLAGS", flags),
            ("LANG", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("SOURCE_DATE_EPOCH", EPOCH.into()),
            // What is copied looks changed to git, and its index is the project's own.
            ("GIT_OPTIONAL_LOCKS", "0".into()),
            ("PYTHONHASHSEED", "0".into()),
            ("PYTHONNOUSERSITE", "1".into()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ]
    }
}
