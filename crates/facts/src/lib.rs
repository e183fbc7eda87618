//! What a base image tells: its Python, its C library and its installed packages, read from layers
//! as streams. Nothing is unpacked and nothing is run.
//!
//! [`scan()`] reads one layer from end to end and keeps the little that can matter; [`facts()`] puts
//! the scans of an image's layers on top of each other, as image-spec `layer.md` says, and looks.

mod binary;
mod dpkg;
mod elf;
mod error;
mod facts;
mod finder;
mod hashes;
mod identity;
pub mod input;
mod interest;
mod libc;
mod lines;
pub mod members;
mod os;
mod package;
pub mod path;
mod python;
mod records;
mod scan;
mod search;
mod site;
mod text;
mod venv;
mod version;
mod view;

#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod testing;

pub use dpkg::{Dpkg, DpkgDatabase};
pub use error::{EntryFault, Error, HeaderFault};
pub use facts::{Facts, facts};
pub use libc::Libc;
pub use os::Os;
pub use package::Package;
pub use python::{Environment, EnvironmentKind, Python};
pub use scan::{Scan, scan};
