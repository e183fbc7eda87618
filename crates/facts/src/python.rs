//! The Pythons of an image.

use serde::{Deserialize, Serialize};

use crate::Package;

/// A Python that a container of the image can run.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// Its full version: `3.12.4`, `3.14.0rc1`.
    pub version: String,
    /// Absolute path of the real executable, all links followed; with the version in its name where
    /// there is such a name: `/usr/local/bin/python3.12`.
    pub interpreter: String,
    /// Built without the global interpreter lock.
    pub free_threaded: bool,
    /// The environment that it runs programs in.
    pub environment: Environment,
}

/// A Python environment: a virtual one, or an interpreter's own.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Python's `sys.prefix`: `/opt/venv`, `/usr/local`, `/usr`. Of a virtual environment as it was
    /// found, links not followed.
    pub prefix: String,
    /// Which of the two.
    pub kind: EnvironmentKind,
    /// Absolute directories in which packages are looked for, in that order. Some may not exist.
    pub site_packages: Vec<String>,
    /// The packages in them, sorted by normalised name. Of several with one name, the one that is
    /// imported.
    pub packages: Vec<Package>,
}

/// Virtual or not.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum EnvironmentKind {
    /// A virtual environment.
    Venv {
        /// It sees the packages of its interpreter's own environment too.
        system_site_packages: bool,
    },
    /// The interpreter's own.
    System,
}
