//! A wheel as the tree of files that its installation into a virtual environment gives.
//!
//! Follows the specifications "Binary distribution format", "Recording installed projects",
//! "Entry points", "Core metadata" and "Direct URL data structure". [`Wheel::open`] checks the
//! archive and what it says of itself, [`Wheel::install`] makes an [`oci::Tree`]; neither unpacks
//! anything: the tree's files stay where they lie in the archive.

mod archive;
mod direct_url;
mod entry_points;
mod error;
mod filename;
mod install;
mod metadata;
mod record;
mod scripts;
mod venv;
mod wheel;

pub use archive::{Archive, ArchiveFault, Limits, Member, MemberFault};
pub use direct_url::{DirectUrl, Origin};
pub use entry_points::{EntryPoint, EntryPointFault, EntryPoints};
pub use error::{Error, Warning};
pub use install::{InstallOptions, Installed};
pub use metadata::{Metadata, MetadataFault, WheelFile};
pub use record::{Mismatch, Record, RecordFault, RecordPolicy, Row};
pub use uv_distribution_filename::WheelFilename;
pub use venv::{Implementation, PythonVersion, Sees, Venv, VersionError};
pub use wheel::Wheel;
