//! What can go wrong when layouts and archives of them are read and written.

use std::io;
use std::path::PathBuf;

use crate::exact_copy::BoxError;
use crate::layout::{MARKER, VERSION};
use crate::{Digest, Platform, TarFault};

/// Why a layout or archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file could not be read or written.
    #[error("{}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither a layout, nor an archive of one, nor empty.
    #[error("{} is not an OCI image layout: it has no `{MARKER}`", .path.display())]
    NotALayout {
        /// What it is.
        path: PathBuf,
    },
    /// A layout of another version.
    #[error("{} is an OCI image layout of version `{version}`: only {VERSION} is known", .path.display())]
    Version {
        /// The layout.
        path: PathBuf,
        /// What its `oci-layout` says.
        version: String,
    },
    /// A file that should be an archive is not a tar stream.
    #[error("{name} is broken {}", after(.member))]
    Archive {
        /// The archive.
        name: String,
        /// The last member whose header could be read; empty at the beginning.
        member: String,
        /// What is wrong.
        #[source]
        fault: TarFault,
    },
    /// An archive with two members of one name: readers differ on which counts.
    #[error("{name} has two members named `{member}`")]
    DuplicateMember {
        /// The archive.
        name: String,
        /// The member.
        member: String,
    },
    /// An archive that is compressed has to be unpacked before its members can be found.
    #[error("{name} is compressed: decompress it first")]
    Compressed {
        /// The archive.
        name: String,
    },
    /// No image of that name.
    #[error("no image is named `{name}`: there is {}", or_none(.known))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Several images, and no name or one that several have; or no image at all.
    #[error("no name says which image is meant: there is {}", or_none(.known))]
    Ambiguous {
        /// What there is.
        known: Vec<String>,
    },
    /// An index without an image for the platform.
    #[error("no image is for {wanted}: there is {}", or_none(.known))]
    UnknownPlatform {
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        known: Vec<String>,
    },
    /// A document is no JSON, or not of its form.
    #[error("{document} cannot be read")]
    Json {
        /// Which one.
        document: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A document too large to be read into memory.
    #[error("{document} has {size} bytes: documents may have {limit}")]
    TooLarge {
        /// Which one.
        document: String,
        /// Its size in bytes.
        size: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// A blob that is referred to but not there.
    #[error("blob {digest} is missing")]
    Missing {
        /// Which one.
        digest: Digest,
    },
    /// A digest of another algorithm than sha256.
    #[error("digest `{digest}`: only sha256 is supported")]
    Algorithm {
        /// As written.
        digest: String,
    },
    /// A blob of another size than its descriptor says.
    #[error("blob {digest} has {found} bytes, expected {expected}")]
    Size {
        /// Which one.
        digest: Digest,
        /// In bytes.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// A blob of more bytes than announced.
    #[error("blob {digest} has more than the expected {size} bytes")]
    TooLong {
        /// Which one.
        digest: Digest,
        /// Expected size in bytes.
        size: u64,
    },
    /// A blob that is not what its name says.
    #[error("blob {expected} has the digest {found}")]
    Digest {
        /// What it is called.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// What writes a blob stopped.
    #[error("blob {digest} could not be written")]
    Produce {
        /// Which one.
        digest: Digest,
        /// Why.
        source: BoxError,
    },
    /// The output of an archive could not be written to.
    #[error("the archive could not be written")]
    Write(#[source] io::Error),
}

fn after(member: &str) -> String {
    if member.is_empty() {
        "from its beginning".to_owned()
    } else {
        format!("after `{member}`")
    }
}

fn or_none(known: &[String]) -> String {
    if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(" and ")
    }
}
