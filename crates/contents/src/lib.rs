//! What an image's layers hold, read as streams: nothing is unpacked and nothing is run.
//!
//! [`list()`] reads one layer from end to end; [`Contents`] puts listings on top of each other, as
//! image-spec `layer.md` says, follows links, and knows the installed packages.

mod body;
mod contents;
mod elf;
mod error;
mod kept;
mod links;
mod list;
mod listing;
mod owners;
mod packages;
mod record;
#[cfg(test)]
mod tests;

pub use contents::{Contents, Found};
pub use elf::{Class, Elf, ElfKind, Endianness, VersionNeed};
pub use error::Error;
pub use list::{Options, list, list_tar};
pub use listing::{Body, Entry, File, Kind, Listing};
pub use packages::{Ecosystem, Package};
pub use record::Record;

/// Changes when a listing of the same layer would say something else: kept ones are then read anew.
pub const VERSION: u32 = 2;
