//! Debian repositories, a dependency solver, and .deb files as trees.

mod accounts;
mod alternatives;
mod archive;
pub mod base;
mod conflicts;
pub mod control;
mod data;
mod date;
mod error;
mod fault;
mod ground;
mod hardlinks;
mod install;
mod keyring;
mod library;
mod loader_cache;
mod omissions;
pub mod packages;
mod paths;
mod postinst;
mod preferences;
mod relation;
mod release;
mod script;
mod shell;
mod solve;
pub mod sources;
mod spool;
mod status;
mod tarball;
#[cfg(test)]
mod testing;
mod universe;
mod unmet;
mod unpack;
mod version;

/// Changes when the same packages give other files than before: layers of them are then made anew.
pub const FORMAT: u32 = 2;

pub use accounts::{NONROOT, NONROOT_HOME, NONROOT_ID};
pub use base::Base;
pub use error::{ControlFault, Error, Moment, ValueError};
pub use fault::{DebFault, EntryFault, TarFault};
pub use ground::Ground;
pub use install::{Assembled, install};
pub use keyring::Keyring;
pub use omissions::{LeftOut, Omitted};
pub use packages::{Architecture, Installed, MultiArch, Package, Priority};
pub use postinst::Warning;
pub use preferences::{Offer, PreferenceError, prefer};
pub use relation::{Dependency, Operator, Qualifier, Relation, RelationError, Restriction};
pub use release::{Release, ReleaseFile, SignatureFault, verify_in_release};
pub use solve::{Policy, solve};
pub use status::Database;
pub use universe::Universe;
pub use unmet::{Link, Reason, SolveError, Unmet};
pub use unpack::{Deb, Limits, UnpackOptions, Unpacked, Usr};
pub use version::{Version, VersionError};
