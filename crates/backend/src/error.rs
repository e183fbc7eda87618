//! What can go wrong between sources and their wheel.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A wheel that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No interpreter was found.
    #[error("there is no Python to build {what} with: {looked}")]
    NoPython {
        /// What was to be built; filled in by whoever knows.
        what: String,
        /// Where it was looked for.
        looked: String,
    },

    /// An interpreter that cannot be used.
    #[error("{} cannot build wheels: {why}", executable.display())]
    UnusablePython {
        /// The interpreter.
        executable: PathBuf,
        /// Why.
        why: String,
    },

    /// An archive that is not unpacked.
    #[error("{archive} cannot be unpacked: {fault}")]
    Unpack {
        /// Its file name.
        archive: String,
        /// What is wrong with it.
        fault: UnpackFault,
    },

    /// A `pyproject.toml` that does not say how to build.
    #[error("the pyproject.toml of {what} cannot be used: {message}")]
    BuildSystem {
        /// What was to be built.
        what: String,
        /// What is wrong with it.
        message: String,
    },

    /// A hook that failed, with the end of what it printed.
    #[error("{what} cannot be built: its backend {backend} failed in {hook}, and said\n{output}")]
    Hook {
        /// What was to be built.
        what: String,
        /// The backend, as `[build-system]` names it.
        backend: String,
        /// The hook.
        hook: &'static str,
        /// The end of its output, each line indented.
        output: String,
    },

    /// A hook that did not end, with the end of what it printed.
    #[error(
        "{what} cannot be built: {hook} of its backend {backend} did not end within {} seconds, and said\n{output}",
        limit.as_secs()
    )]
    Late {
        /// What was to be built.
        what: String,
        /// The backend, as `[build-system]` names it.
        backend: String,
        /// The hook.
        hook: &'static str,
        /// How long it was given.
        limit: Duration,
        /// The end of its output, each line indented.
        output: String,
    },

    /// A backend that returned what no hook may return.
    #[error("the backend of {what} returned {returned} from {hook}")]
    Answer {
        /// What was to be built.
        what: String,
        /// The hook.
        hook: &'static str,
        /// What it returned.
        returned: String,
    },

    /// A wheel or metadata of something else than the sources are.
    #[error("{what} says of itself that it is {found}")]
    OtherProject {
        /// What was built.
        what: String,
        /// Name and version that it has.
        found: String,
    },

    /// A wheel, built or needed to build, that cannot be used.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),

    /// An environment that cannot be laid out.
    #[error("the environment to build {what} in cannot be made: {message}")]
    Environment {
        /// What was to be built.
        what: String,
        /// Why.
        message: String,
    },

    /// A file or directory that cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was being done.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is wrong with an archive of sources.
#[derive(Debug, thiserror::Error)]
pub enum UnpackFault {
    /// Another format than the two that are taken.
    #[error("sources come as .tar.gz or .zip")]
    Format,
    /// It is damaged, or no archive.
    #[error("{0}")]
    Damaged(String),
    /// A path that leads outside.
    #[error("`{path}` leads outside of it")]
    Outside {
        /// The path.
        path: String,
    },
    /// A link that leads outside.
    #[error("`{path}` is a link to `{target}`, which is outside of it")]
    LinkOutside {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A file below a link, or two for one path.
    #[error("`{path}` is there twice, or below something that is no directory")]
    Twice {
        /// The path.
        path: String,
    },
    /// A device, a socket and the like.
    #[error("`{path}` is neither file, directory nor link")]
    Special {
        /// The path.
        path: String,
    },
    /// More bytes or members than sources have.
    #[error("it has more than {limit} {what}")]
    TooLarge {
        /// The bound.
        limit: u64,
        /// Of what: `bytes`, `members`.
        what: &'static str,
    },
    /// Not one directory that holds everything.
    #[error("it has to hold one directory and nothing beside it, and holds {}", found.join(", "))]
    Top {
        /// What it holds, sorted; some of it.
        found: Vec<String>,
    },
}

impl Error {
    /// What to do about it, where the message does not say.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoPython { .. } => {
                "install a Python 3.8 or newer, or name one with OXCART_PYTHON; or take the package out of build-from-source"
            }
            Self::UnusablePython { .. } => "name another Python with OXCART_PYTHON",
            Self::Hook { .. } => {
                "what it says it lacks (a compiler, headers) must be on this machine; or build the wheel elsewhere and name its directory with find-links"
            }
            Self::Late { .. } => {
                "if it needs more time, set OXCART_BUILD_TIMEOUT to a number of seconds; if it waits for something, what it says may tell for what"
            }
            _ => return None,
        })
    }
}

/// Names the file in an I/O error.
pub(crate) trait At<T> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            verb,
            path: path.to_owned(),
            source,
        })
    }
}
