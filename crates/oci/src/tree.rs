//! The files that one layer adds, as a tree, before any tar is made.
//!
//! A tree is where conflicts are found, parents are completed and modes are settled, so that the
//! encoder only walks it. Paths are relative to the image's root and cannot leave it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fmt;
use std::sync::Arc;

use crate::Source;

/// 1980-01-01T00:00:00Z in seconds since 1970: the mtime of everything that projects share. Not 0,
/// because zip tools refuse dates before 1980.
pub const SHARED_MTIME: u64 = 315_532_800;

/// The name of an empty file that hides what lower layers have in its directory (image-spec
/// `layer.md`, section Opaque Whiteout).
pub const OPAQUE: &str = ".wh..wh..opq";

/// A path inside an image: relative, `/`-separated, with no empty, `.` or `..` component.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Arc<str>);

impl TreePath {
    /// Checks `path`. One leading `/` is dropped: `/opt/venv` is `opt/venv`.
    pub fn new(path: &str) -> Result<Self, PathError> {
        let fault = |fault| {
            Err(PathError {
                path: path.to_owned(),
                fault,
            })
        };
        let relative = path.strip_prefix('/').unwrap_or(path);
        if relative.is_empty() {
            return fault(PathFault::Empty);
        }
        if relative.contains('\0') {
            return fault(PathFault::Nul);
        }
        for component in relative.split('/') {
            match component {
                "" => return fault(PathFault::EmptyComponent),
                "." => return fault(PathFault::Dot),
                ".." => return fault(PathFault::DotDot),
                _ => {}
            }
        }
        Ok(Self(relative.into()))
    }

    /// `self`, then `/`, then `rest`.
    pub fn join(&self, rest: &str) -> Result<Self, PathError> {
        Self::new(&format!("{}/{rest}", self.0))
    }

    /// The path of the directory it is in; None at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.into()))
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The text, without a leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Paths are sorted as their texts are.
impl Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A path that is not one of a tree's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?} {fault}")]
pub struct PathError {
    /// As it was given.
    pub path: String,
    /// What is wrong with it.
    pub fault: PathFault,
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Nothing is left of it.
    #[error("is empty")]
    Empty,
    /// A NUL byte ends C strings early.
    #[error("has a NUL byte")]
    Nul,
    /// `a//b`, `a/`, or `//a`.
    #[error("has an empty component")]
    EmptyComponent,
    /// `a/./b`.
    #[error("has a `.` component")]
    Dot,
    /// `a/../b`: would leave the tree.
    #[error("has a `..` component")]
    DotDot,
}

/// Where the bytes of a file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In memory: what we generate. Small.
    Bytes(Arc<[u8]>),
    /// `length` bytes at `offset` of `source`, as they are; compressed when the layer is encoded.
    File {
        /// Where they are.
        source: Source,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Bytes at rest in an archive, which the splice encoder takes over without compressing.
    Archived(Archived),
}

/// A member of an archive at rest (a wheel's): raw deflate stream or plain bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The archive.
    pub source: Source,
    /// How the bytes lie there.
    pub method: Method,
    /// First byte in the archive.
    pub offset: u64,
    /// Number of bytes in the archive.
    pub length: u64,
    /// Number of bytes of the file.
    pub uncompressed_size: u64,
    /// CRC-32 of the file, as zip and gzip have it.
    pub crc32: u32,
    /// A stronger checksum that the file must have, and what follows when it does not.
    pub checksum: Option<(Checksum, OnMismatch)>,
}

/// How a member lies in its archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it is; `length` equals `uncompressed_size`.
    Stored,
    /// A raw deflate stream (RFC 1951).
    Deflated,
}

/// A checksum of a file's bytes, of the algorithms that a wheel's RECORD may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// sha256
    Sha256([u8; 32]),
    /// sha384
    Sha384([u8; 48]),
    /// sha512
    Sha512([u8; 64]),
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(bytes) => write!(f, "sha256:{}", hex::encode(bytes)),
            Self::Sha384(bytes) => write!(f, "sha384:{}", hex::encode(bytes)),
            Self::Sha512(bytes) => write!(f, "sha512:{}", hex::encode(bytes)),
        }
    }
}

/// What follows when a file does not have the checksum it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMismatch {
    /// Encoding stops with an error.
    Fail,
    /// Encoding goes on and reports it.
    Report,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and the text of its target, relative or absolute, as the image sees it.
    Symlink(String),
    /// Another name of a file of this tree.
    Hardlink(TreePath),
}

/// One path's kind, mode and owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Where it came from, for messages: `numpy-2.3.5-cp313-….whl`, `libc6 2.41-12`, `app`.
    pub origin: Arc<str>,
}

impl Entry {
    /// A directory: 0755, root's.
    pub fn directory(origin: &Arc<str>) -> Self {
        Self::new(Kind::Directory, 0o755, origin)
    }

    /// A file: 0644, or 0755 where it is `executable`; root's.
    pub fn file(content: Content, executable: bool, origin: &Arc<str>) -> Self {
        Self::new(
            Kind::File(content),
            if executable { 0o755 } else { 0o644 },
            origin,
        )
    }

    /// A symbolic link: 0777, as every Linux system shows them; root's.
    pub fn symlink(target: &str, origin: &Arc<str>) -> Self {
        Self::new(Kind::Symlink(target.to_owned()), 0o777, origin)
    }

    /// Any kind with a mode; root's.
    pub fn new(kind: Kind, mode: u32, origin: &Arc<str>) -> Self {
        Self {
            kind,
            mode,
            uid: 0,
            gid: 0,
            origin: Arc::clone(origin),
        }
    }

    /// Whether a reader of the image could not tell the two apart. Archived files are compared by
    /// size and strongest common checksum, not byte by byte.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let kinds = match (&self.kind, &other.kind) {
            (Kind::File(a), Kind::File(b)) => a.is_same_as(b),
            (a, b) => a == b,
        };
        kinds && (self.mode, self.uid, self.gid) == (other.mode, other.uid, other.gid)
    }
}

impl Content {
    /// Number of bytes of the file.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
            Self::Archived(archived) => archived.uncompressed_size,
        }
    }

    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Archived(a), Self::Archived(b)) => {
                a.uncompressed_size == b.uncompressed_size
                    && a.crc32 == b.crc32
                    && match (&a.checksum, &b.checksum) {
                        (Some((a, _)), Some((b, _))) => a == b,
                        _ => true,
                    }
            }
            (a, b) => a == b,
        }
    }
}

/// The files of one layer, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `entry`, and its missing parents as directories of its origin. A directory may be added
    /// again (the first one's mode and owner stay), and so may an entry that [is the
    /// same](Entry::is_same_as).
    pub fn insert(&mut self, path: TreePath, entry: Entry) -> Result<(), TreeError> {
        self.insert_parents(&path, &entry)?;
        match self.entries.entry(path) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                Ok(())
            }
            Slot::Occupied(slot) => {
                let both_directories =
                    slot.get().kind == Kind::Directory && entry.kind == Kind::Directory;
                if both_directories || slot.get().is_same_as(&entry) {
                    return Ok(());
                }
                Err(TreeError::Conflict {
                    path: slot.key().clone(),
                    first: Arc::clone(&slot.get().origin),
                    second: entry.origin,
                })
            }
        }
    }

    /// Puts `entry` at `path` whatever was there before; returns that.
    pub fn replace(&mut self, path: TreePath, entry: Entry) -> Result<Option<Entry>, TreeError> {
        self.insert_parents(&path, &entry)?;
        Ok(self.entries.insert(path, entry))
    }

    /// Takes the entry at `path` out. What lies below a directory stays.
    pub fn remove(&mut self, path: &TreePath) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// Adds all of `other`, as [`Tree::insert`] does.
    pub fn merge(&mut self, other: Self) -> Result<(), TreeError> {
        other
            .entries
            .into_iter()
            .try_for_each(|(path, entry)| self.insert(path, entry))
    }

    /// The entry at `path`.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// All entries in path order (bytewise, so that a parent comes before what is in it).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// Number of entries, directories included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sum of the files' sizes in bytes; hard links count nothing.
    pub fn size(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| {
                if let Kind::File(content) = &entry.kind {
                    content.size()
                } else {
                    0
                }
            })
            .sum()
    }

    fn insert_parents(&mut self, path: &TreePath, entry: &Entry) -> Result<(), TreeError> {
        let mut next = path.as_str().rsplit_once('/');
        while let Some((parent, _)) = next {
            match self.entries.get(parent) {
                Some(Entry {
                    kind: Kind::Directory,
                    ..
                }) => break,
                Some(other) => {
                    return Err(TreeError::Conflict {
                        path: TreePath(parent.into()),
                        first: Arc::clone(&other.origin),
                        second: Arc::clone(&entry.origin),
                    });
                }
                None => {
                    let directory = Entry::directory(&entry.origin);
                    self.entries.insert(TreePath(parent.into()), directory);
                    next = parent.rsplit_once('/');
                }
            }
        }
        Ok(())
    }
}

impl IntoIterator for Tree {
    type Item = (TreePath, Entry);
    type IntoIter = std::collections::btree_map::IntoIter<TreePath, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// Why an entry could not be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Two different things want one path, or a path leads through something that is no directory.
    #[error("{first} and {second} both have /{path}, and it differs")]
    Conflict {
        /// The path.
        path: TreePath,
        /// Origin of what was there first.
        first: Arc<str>,
        /// Origin of what came second.
        second: Arc<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn bytes(text: &str, origin: &str) -> Entry {
        Entry::file(
            Content::Bytes(text.as_bytes().into()),
            false,
            &origin.into(),
        )
    }

    #[test]
    fn paths_cannot_leave_the_tree() {
        for (text, fault) in [
            ("", PathFault::Empty),
            ("/", PathFault::Empty),
            ("//a", PathFault::EmptyComponent),
            ("a/", PathFault::EmptyComponent),
            ("a//b", PathFault::EmptyComponent),
            ("./a", PathFault::Dot),
            ("a/../../b", PathFault::DotDot),
            ("a\0b", PathFault::Nul),
        ] {
            assert_eq!(TreePath::new(text).unwrap_err().fault, fault, "{text:?}");
        }
        assert_eq!(path("/opt/..venv").as_str(), "opt/..venv");
    }

    #[test]
    fn parents_are_completed_and_come_first() {
        let mut tree = Tree::new();
        tree.insert(path("a/b/c"), bytes("x", "one")).unwrap();
        tree.insert(path("a-b"), bytes("y", "one")).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a", "a-b", "a/b", "a/b/c"]);
    }

    #[test]
    fn equal_content_is_fine_and_other_content_names_both_origins() {
        let mut tree = Tree::new();
        tree.insert(path("f"), bytes("x", "one")).unwrap();
        tree.insert(path("f"), bytes("x", "two")).unwrap();
        let error = tree.insert(path("f"), bytes("y", "two")).unwrap_err();
        insta::assert_snapshot!(error, @"one and two both have /f, and it differs");
        let error = tree.insert(path("f/g"), bytes("y", "three")).unwrap_err();
        insta::assert_snapshot!(error, @"one and three both have /f, and it differs");
    }
}
