//! What can go wrong between requirements and pinned wheels.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::downgrade::Downgrade;
use crate::locked::UnfitLock;
use crate::misfit::NoCompatibleWheel;
use crate::sdists::DescribeError;
use crate::target::Target;

/// Why there is no resolution.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// [`Target::python`] is no version.
    #[error("`{given}` is not a Python version: expected one like 3.13.5")]
    Python {
        /// What was given.
        given: String,
    },

    /// A requirements file or pyproject.toml that isn't there.
    #[error("{} does not exist", path.display())]
    MissingFile {
        /// Where it should be.
        path: PathBuf,
    },

    /// A requirements file or pyproject.toml that can't be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A text in a file, or one given by itself, that can't be understood.
    #[error("{place}: {message}")]
    Invalid {
        /// Where the text is.
        place: Place,
        /// What is wrong with it.
        message: String,
    },

    /// An extra or a dependency group that a pyproject.toml doesn't define.
    #[error("{} defines no {kind} `{name}`{}", path.display(), listed(known))]
    Undefined {
        /// The pyproject.toml.
        path: PathBuf,
        /// `extra` or `dependency group`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that it defines.
        known: Vec<String>,
    },

    /// A project that doesn't support the image's Python.
    #[error("{} requires Python {requires}, the image has {python}", path.display())]
    RequiresPython {
        /// The pyproject.toml.
        path: PathBuf,
        /// Its `requires-python`.
        requires: String,
        /// The image's.
        python: String,
    },

    /// A requirement that names something other than a wheel.
    #[error("`{requirement}` is {kind}, and only wheels can be installed")]
    NotAWheel {
        /// The requirement.
        requirement: String,
        /// What it names.
        kind: NotAWheel,
    },

    /// Packages that are needed, and that must not come from wheels.
    #[error("no-binary rules out wheels of {}, and nothing allows to build them", packages.join(", "))]
    NoBinary {
        /// Their names, sorted. At least one.
        packages: Vec<String>,
    },

    /// An sdist that can't be looked into.
    #[error("{filename} is needed, and what it requires is not known")]
    Sdist {
        /// Its file name.
        filename: String,
        /// Why.
        source: DescribeError,
    },

    /// An index or find-links location that is no URL.
    #[error("`{url}` is not the URL of an index: {message}")]
    IndexUrl {
        /// The location, without credentials.
        url: String,
        /// What is wrong with it.
        message: String,
    },

    /// A package that has wheels, but none for the target.
    #[error(transparent)]
    NoCompatibleWheel(Box<NoCompatibleWheel>),

    /// A lock file that has no wheel of some packages for the target.
    #[error(transparent)]
    UnfitLock(Box<UnfitLock>),

    /// A package that went far back for want of a wheel.
    #[error(transparent)]
    Downgrade(Box<Downgrade>),

    /// Requirements that can't hold together.
    #[error("the requirements have no solution for {target}:\n{explanation}")]
    Conflict {
        /// What was resolved for.
        target: Target,
        /// The resolver's account of it.
        explanation: String,
    },

    /// A required package that no index has.
    #[error("no package is called `{package}` at {}", listed_plainly(indexes))]
    PackageNotFound {
        /// The name.
        package: String,
        /// The indexes that were asked, without credentials.
        indexes: Vec<String>,
    },

    /// A package that may be there, at an index that wants credentials.
    #[error("{index} refuses to say whether it has `{package}` without valid credentials")]
    Unauthorized {
        /// The package that was asked for.
        package: String,
        /// The index, without credentials.
        index: String,
    },

    /// An index that can't be reached, or that answers with an error.
    #[error("cannot fetch {url}{}: {cause}", tries(*retries))]
    Index {
        /// The URL, without credentials.
        url: String,
        /// The status that it answered with; none where it didn't answer.
        status: Option<u16>,
        /// What happened.
        cause: String,
        /// How often it was tried again.
        retries: u32,
    },

    /// Something that isn't in the cache, in a request that must not use the network.
    #[error("{what} is not in the cache, and the network must not be used")]
    Offline {
        /// The URL or the package.
        what: String,
    },

    /// Hashes that are required and missing, or that differ.
    #[error("the required hashes don't hold: {message}")]
    Hashes {
        /// Which of whom.
        message: String,
    },

    /// A cache directory that can't be used.
    #[error("cannot use the cache {}: {message}", path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// Why.
        message: String,
    },

    /// The metadata of a wheel, or another of the resolver's needs.
    #[error("{message}")]
    Resolver {
        /// What happened, from the outermost cause to the innermost.
        message: String,
    },
}

impl Error {
    /// What to do about it, where there is something to say that the message doesn't.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoCompatibleWheel(error) => return Some(error.hint()),
            Self::UnfitLock(error) => return Some(error.hint()),
            Self::Downgrade(error) => return Some(error.hint()),
            Self::NotAWheel { kind, .. } => return Some(kind.hint()),
            Self::NoBinary { .. } => {
                "allow it with `build-from-source`, which lists names, or take them out of no-binary (in requirements files: `--no-binary`)"
            }
            Self::RequiresPython { .. } => "use a base image with another Python version",
            Self::PackageNotFound { .. } => "check the spelling, or name the index that has it",
            Self::Unauthorized { .. } => {
                "put the credentials into the index's URL, or into a netrc"
            }
            Self::Index { status: None, .. } => {
                "check the network, the proxy settings and the index's URL"
            }
            Self::Index {
                status: Some(500..),
                ..
            } => "the index has a problem: try again later",
            Self::Offline { .. } => "resolve once with the network",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Where a text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file, and a line of it where known, counted from 1.
    File(PathBuf, Option<usize>),
    /// A text given by itself.
    Given(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Given(text) => write!(f, "`{text}`"),
        }
    }
}

/// What a requirement can name that isn't a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAWheel {
    /// An archive of sources.
    Archive,
    /// A version control repository.
    Repository,
    /// A directory of sources.
    Directory,
    /// A directory of sources, to be used in place.
    Editable,
    /// Another project of a uv workspace.
    Member,
}

impl NotAWheel {
    fn hint(self) -> String {
        let source = match self {
            Self::Archive => "the archive",
            Self::Repository => "a checkout",
            Self::Directory | Self::Editable => "the directory",
            Self::Member => {
                return "build its wheel (`uv build --wheel --package NAME`) and require that file with \
                        `overrides = [\"NAME @ ./dist/NAME-1.0-py3-none-any.whl\"]`, or leave it out \
                        with `exclude` and bring its files with [[app]]"
                    .to_owned();
            }
        };
        let allow = match self {
            Self::Archive => "allow it with `build-from-source`, or ",
            _ => "",
        };
        format!(
            "{allow}build a wheel from {source} (`python -m build --wheel`) and require that file, here or \
             with `overrides = [\"NAME @ ./dist/NAME-1.0-py3-none-any.whl\"]`"
        )
    }
}

impl fmt::Display for NotAWheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Archive => "a source archive",
            Self::Repository => "a version control repository",
            Self::Directory => "a source directory",
            Self::Editable => "an editable source directory",
            Self::Member => "another project of the uv workspace",
        })
    }
}

fn tries(retries: u32) -> String {
    match retries {
        0 => String::new(),
        1 => " (tried twice)".to_owned(),
        _ => format!(" (tried {} times)", retries + 1),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!(" (it has {})", names.join(", "))
    }
}

fn listed_plainly(names: &[String]) -> String {
    if names.is_empty() {
        "any index".to_owned()
    } else {
        names.join(", ")
    }
}
