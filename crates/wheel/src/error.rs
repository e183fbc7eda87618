//! What can go wrong with a wheel, and what is odd about one that is taken nevertheless.

use std::fmt;
use std::io;

use oci::{PathError, Source, TreePath};

use crate::{ArchiveFault, EntryPointFault, MemberFault, MetadataFault, RecordFault};

/// Why a wheel is not installed. Every message begins with the wheel's filename.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{wheel} cannot be read")]
    Read {
        /// The wheel.
        wheel: String,
        /// What the system said.
        source: io::Error,
    },
    /// The archive is not one to trust.
    #[error("{wheel} {fault}")]
    Archive {
        /// The wheel.
        wheel: String,
        /// What is wrong.
        fault: ArchiveFault,
    },
    /// A member of the archive is not one to trust.
    #[error("{wheel}: member {member:?} {fault}")]
    Member {
        /// The wheel.
        wheel: String,
        /// The member.
        member: String,
        /// What is wrong.
        fault: MemberFault,
    },
    /// The data of a member cannot be read or inflated.
    #[error("{wheel}: member {member:?} cannot be unpacked")]
    Unpack {
        /// The wheel.
        wheel: String,
        /// The member.
        member: String,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// There is no `.dist-info` directory, or none of this project and version, or several.
    #[error(
        "{wheel} should have one .dist-info directory, of its name and version, and has {}",
        list(found)
    )]
    DistInfo {
        /// The wheel.
        wheel: String,
        /// Those at the top of the archive.
        found: Vec<String>,
    },
    /// A file that every wheel has is missing.
    #[error("{wheel} has no {file}")]
    Missing {
        /// The wheel.
        wheel: String,
        /// METADATA, WHEEL or RECORD.
        file: &'static str,
    },
    /// METADATA or WHEEL is broken.
    #[error("{wheel}: {file} {fault}")]
    Metadata {
        /// The wheel.
        wheel: String,
        /// METADATA or WHEEL.
        file: &'static str,
        /// What is wrong.
        fault: MetadataFault,
    },
    /// RECORD does not describe the wheel.
    #[error("{wheel}: RECORD {fault} `{path}`{}", more(*others))]
    Record {
        /// The wheel.
        wheel: String,
        /// The path it is about.
        path: String,
        /// What is wrong.
        fault: RecordFault,
        /// How many more faults there are.
        others: usize,
    },
    /// `entry_points.txt` is broken.
    #[error("{wheel}: entry_points.txt {fault}")]
    EntryPoints {
        /// The wheel.
        wheel: String,
        /// What is wrong.
        fault: EntryPointFault,
    },
    /// A file in the `.data` directory that belongs to no scheme.
    #[error(
        "{wheel}: member `{member}` is not in one of the .data directory's purelib, platlib, \
         headers, scripts and data"
    )]
    Scheme {
        /// The wheel.
        wheel: String,
        /// The member.
        member: String,
    },
    /// A file would take the place of a part of the virtual environment itself.
    #[error("{wheel} would replace /{path}, which is the virtual environment's own")]
    Reserved {
        /// The wheel.
        wheel: String,
        /// Where it would go.
        path: TreePath,
    },
    /// A file has no place in the tree.
    #[error("{wheel}: {fault}")]
    Path {
        /// The wheel.
        wheel: String,
        /// The path.
        fault: PathError,
    },
    /// Two files of the wheel go to one place.
    #[error("{wheel} has two different files for /{path}")]
    Conflict {
        /// The wheel.
        wheel: String,
        /// The place.
        path: TreePath,
    },
}

impl Error {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Record { .. } => Some(
                "if you trust this file, set `record = \"warn\"` for the package: it is then \
                 installed as it is, with a warning",
            ),
            _ => None,
        }
    }

    pub(crate) fn read(source: &Source, error: io::Error) -> Self {
        Self::Read {
            wheel: source.name().to_owned(),
            source: error,
        }
    }

    pub(crate) fn archive(source: &Source, fault: ArchiveFault) -> Self {
        Self::Archive {
            wheel: source.name().to_owned(),
            fault,
        }
    }

    pub(crate) fn member(source: &Source, member: &str, fault: MemberFault) -> Self {
        Self::Member {
            wheel: source.name().to_owned(),
            member: member.to_owned(),
            fault,
        }
    }
}

/// What is odd about a wheel that was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// RECORD does not describe the wheel, and the policy lets that pass.
    Record {
        /// The wheel.
        wheel: String,
        /// The path it is about.
        path: String,
        /// What is wrong.
        fault: RecordFault,
    },
    /// WHEEL has a newer minor Wheel-Version than is known.
    WheelVersion {
        /// The wheel.
        wheel: String,
        /// The version.
        version: (u32, u32),
    },
    /// A command that Python cannot import: it is installed, and fails when it is run.
    Unimportable {
        /// The wheel.
        wheel: String,
        /// The command.
        command: String,
        /// `module:function`
        target: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { wheel, path, fault } => write!(f, "{wheel}: RECORD {fault} `{path}`"),
            Self::WheelVersion {
                wheel,
                version: (major, minor),
            } => {
                write!(
                    f,
                    "{wheel} has Wheel-Version {major}.{minor}; it is installed as 1.0"
                )
            }
            Self::Unimportable {
                wheel,
                command,
                target,
            } => {
                write!(
                    f,
                    "{wheel}: the command `{command}` cannot run: Python cannot import `{target}`"
                )
            }
        }
    }
}

fn list(found: &[String]) -> String {
    if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    }
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => " (and 1 more fault)".to_owned(),
        _ => format!(" (and {others} more faults)"),
    }
}
