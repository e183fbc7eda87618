//! What one layer says.

use std::collections::{BTreeMap, BTreeSet};

use oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{Elf, Record};

/// Everything that one layer says. It depends on nothing but the layer's uncompressed bytes, so it can be
/// kept by the layer's `diff_id`.
///
/// Paths have no slash before them, and links of the same layer in them are followed. A path that is not
/// UTF-8 has replacement characters.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// What it adds. A directory that is only implied by what is in it is not here.
    pub entries: BTreeMap<String, Entry>,
    /// What it takes away from the layers below.
    pub whiteouts: BTreeSet<String>,
    /// Directories whose contents it takes away from the layers below; "" is the root.
    pub opaque: BTreeSet<String>,
}

impl Listing {
    /// The same without times, sizes and digests: what stays when a file's bytes change and nothing that
    /// [`Body`] keeps of them.
    #[must_use]
    pub fn outline(&self) -> Self {
        let mut outline = self.clone();
        for entry in outline.entries.values_mut() {
            entry.mtime = 0;
            if let Kind::File(file) = &mut entry.kind {
                file.size = 0;
                file.sha256 = None;
            }
        }
        outline
    }
}

/// An entry of a layer.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid (04000), setgid (02000) and sticky (01000).
    pub mode: u32,
    /// Its owner.
    #[serde(default, skip_serializing_if = "is_root")]
    pub uid: u64,
    /// Its group.
    #[serde(default, skip_serializing_if = "is_root")]
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: i64,
}

impl Entry {
    /// The file, where it is a regular one. Of a hard link, see [`Contents::file`](crate::Contents::file).
    pub fn file(&self) -> Option<&File> {
        match &self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    pub(crate) fn file_mut(&mut self) -> Option<&mut File> {
        match &mut self.kind {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_root(id: &u64) -> bool {
    *id == 0
}

/// What an entry is.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(File),
    /// A symbolic link.
    Symlink {
        /// As written.
        target: String,
    },
    /// Another name of a file.
    Hardlink {
        /// Its path, in this layer or a lower one.
        target: String,
    },
    /// A device or a named pipe.
    Special,
}

/// A regular file.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Bytes.
    pub size: u64,
    /// Of its bytes, where [`Options::digests`](crate::Options) wants it and the file is not sparse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Body::is_unread")]
    pub body: Body,
}

/// What was read of a file.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// Nothing.
    #[default]
    Unread,
    /// It is an ELF file, by its first bytes.
    Elf(Box<Elf>),
    /// It begins with `#!`: the rest of that line, trimmed.
    Script(String),
    /// The text of a file that says something of the image: package metadata (of METADATA and PKG-INFO names,
    /// versions and requirements only), records of package managers (of dpkg's checksums the paths only),
    /// configuration of the loader, accounts.
    Text(String),
    /// It is a RECORD.
    Record(Record),
}

impl Body {
    fn is_unread(&self) -> bool {
        *self == Self::Unread
    }
}
