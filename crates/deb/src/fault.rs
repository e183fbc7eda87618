//! What can be wrong with a `.deb`.

use std::io;

use oci::PathError;

/// What is wrong with a `.deb`.
#[derive(Debug, thiserror::Error)]
pub enum DebFault {
    /// It does not begin as `ar` archives do.
    #[error("is not a Debian package: no ar archive")]
    NotAnArchive,
    /// It ends before its members do.
    #[error("is cut off")]
    Truncated,
    /// A header of the outer archive is none.
    #[error("has no valid member header at byte {offset}")]
    MemberHeader {
        /// Where it should be.
        offset: u64,
    },
    /// A format that this program does not know.
    #[error("has package format {found:?}, and only 2.x is known")]
    FormatVersion {
        /// First line of `debian-binary`.
        found: String,
    },
    /// The outer archive lacks a member.
    #[error("has no member {member}")]
    MissingMember {
        /// Its name, or the beginning of it.
        member: &'static str,
    },
    /// The outer archive has another member where deb(5) wants a certain one.
    #[error("has member {found:?} where {expected} belongs")]
    UnexpectedMember {
        /// Its name.
        found: String,
        /// The name, or the beginning of it, that belongs there.
        expected: &'static str,
    },
    /// An inner archive is compressed in a way that is not read.
    #[error("has member {member:?}: only xz, gz and zst are read")]
    Compression {
        /// Its name.
        member: String,
    },
    /// An inner archive cannot be decompressed.
    #[error("has a {member} that cannot be decompressed")]
    Decompress {
        /// `control.tar` or `data.tar`.
        member: &'static str,
        /// What the decompressor says.
        source: io::Error,
    },
    /// An inner archive is larger than it may be.
    #[error("has a {member} of more than {limit} bytes")]
    TooLarge {
        /// `control.tar` or `data.tar`.
        member: &'static str,
        /// Most bytes that are taken.
        limit: u64,
    },
    /// An inner archive has more members than it may have.
    #[error("has a {member} of more than {limit} files")]
    TooMany {
        /// `control.tar` or `data.tar`.
        member: &'static str,
        /// Most files that are taken.
        limit: usize,
    },
    /// An inner archive is no tar archive.
    #[error("has a broken {member}: {fault}")]
    Tar {
        /// `control.tar` or `data.tar`.
        member: &'static str,
        /// What is wrong with it.
        fault: TarFault,
    },
    /// A file of the package that no image takes.
    #[error("has {path:?}, which {fault}")]
    Entry {
        /// As the archive has it.
        path: String,
        /// What is wrong with it.
        fault: EntryFault,
    },
    /// `control.tar` lacks a file or has one that is no text.
    #[error("has no readable {name} file in its control.tar")]
    ControlFile {
        /// The file's name.
        name: &'static str,
    },
    /// A line of `md5sums` that is not a checksum and a path.
    #[error("has line {line:?} in md5sums")]
    Md5sums {
        /// The line.
        line: String,
    },
}

/// What is wrong with a tar archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarFault {
    /// It ends without the block of zeros that ends a tar archive, or inside a member.
    #[error("it is cut off")]
    Truncated,
    /// A header whose checksum is not that of its bytes.
    #[error("the header at byte {offset} has a wrong checksum")]
    Checksum {
        /// Where it is.
        offset: u64,
    },
    /// A header with a field that is no number.
    #[error("the header at byte {offset} has a bad {field}")]
    Number {
        /// Where it is.
        offset: u64,
        /// Which field.
        field: &'static str,
    },
    /// A long name that is longer than any path.
    #[error("the name at byte {offset} is longer than {limit} bytes")]
    LongName {
        /// Where its header is.
        offset: u64,
        /// Most bytes that are taken.
        limit: u64,
    },
    /// A name that is not UTF-8.
    #[error("the name at byte {offset} is not UTF-8")]
    Encoding {
        /// Where its header is.
        offset: u64,
    },
    /// Contents where there can be none.
    #[error("the header at byte {offset} gives a size to something that is no file")]
    Size {
        /// Where it is.
        offset: u64,
    },
}

/// What is wrong with a file of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Its path leaves the image or is malformed.
    #[error("is no path inside an image: it {}", .0.fault)]
    Path(PathError),
    /// Its path is absolute; packages have relative ones.
    #[error("is an absolute path")]
    Absolute,
    /// It is a device node, a FIFO or something that tar(5) knows and dpkg does not.
    #[error("is {0}, and packages have files, directories and links only")]
    Kind(&'static str),
    /// A hard link to something that is no earlier file of the package.
    #[error("is a hard link to {0:?}, which is no earlier file of the package")]
    Hardlink(String),
    /// A symbolic link with no target, or one that climbs above the image's root.
    #[error("is a symbolic link to {0:?}, which leads outside the image")]
    Symlink(String),
    /// It lies below something of the package that is no directory.
    #[error("lies below {0:?}, which is no directory")]
    Below(String),
    /// The package has something else at the same path.
    #[error("is there twice and differs")]
    Twice,
    /// It wants to be where Debian has a link to a directory.
    #[error("takes the place of the link to /{0}")]
    Link(String),
}
