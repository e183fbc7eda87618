//! What can be wrong with an archive and with a member of it.

use oci::PathFault;

/// What is wrong with an archive as a whole. Reads on after the archive's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveFault {
    /// No end record.
    #[error("is not a zip archive, or is cut off: it has no end-of-central-directory record")]
    NoEnd,
    /// An end record, and then something that is not its comment.
    #[error("has data after its end record, or is cut off within its comment")]
    DataAfter,
    /// An end record within the comment of another.
    #[error("has several end records, of which readers may take any")]
    SeveralEnds,
    /// A part of an archive.
    #[error("is a part of an archive in several files")]
    SeveralDisks,
    /// The ZIP64 records do not lie where they should or do not agree with the end record.
    #[error("has a ZIP64 end record that does not agree with its plain one")]
    Zip64,
    /// The central directory does not end where the end records begin.
    #[error(
        "has data before its first byte or after its central directory: that should end at byte \
         {stated}, and the end record begins at byte {actual}"
    )]
    Misplaced {
        /// Where the end record says that the directory ends.
        stated: u64,
        /// Where the end records begin.
        actual: u64,
    },
    /// Bytes before the first member.
    #[error("has {size} bytes before its first member")]
    DataBefore {
        /// Number of bytes.
        size: u64,
    },
    /// Something else where a central header should be.
    #[error("has a broken central directory")]
    Directory,
    /// More or fewer central headers than the end record says.
    #[error("should have {stated} members and has {found}")]
    Count {
        /// What the end record says.
        stated: u64,
        /// Number of headers.
        found: u64,
    },
    /// [`Limits::members`](super::Limits::members)
    #[error("has {count} members; the limit is {limit}")]
    TooManyMembers {
        /// Number of members.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::directory`](super::Limits::directory)
    #[error("has a central directory of {size} bytes; the limit is {limit}")]
    DirectoryTooLarge {
        /// Bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::wheel`](super::Limits::wheel)
    #[error("unpacks to {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::ratio`](super::Limits::ratio)
    #[error("unpacks {length} bytes to {size}; the limit is {limit} times")]
    Ratio {
        /// Uncompressed bytes.
        size: u64,
        /// Compressed bytes.
        length: u64,
        /// The limit.
        limit: u64,
    },
}

/// What is wrong with a member of an archive. Reads on after the member's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberFault {
    /// Not UTF-8.
    #[error("has a name that is not UTF-8")]
    NotUtf8,
    /// `/a`
    #[error("has an absolute name")]
    Absolute,
    /// `a\b`: a separator on Windows.
    #[error("has a backslash in its name")]
    Backslash,
    /// Would leave the tree, or is none of its paths.
    #[error("has a name that {0}")]
    Path(PathFault),
    /// No file system takes it.
    #[error("has a component of more than 255 bytes in its name")]
    LongComponent,
    /// Another name in an extra field, which some readers prefer.
    #[error("has a second, different name in an extra field")]
    SecondName,
    /// Two members of one name.
    #[error("is in the archive twice")]
    Twice,
    /// `a/b` where `a` is a file.
    #[error("lies below a path that is a file")]
    BelowFile,
    /// A symbolic link.
    #[error("is a symbolic link")]
    Symlink,
    /// A device, a pipe, a socket, or a type that does not go with the name's last character.
    #[error("is neither a file nor a directory, or not what its name says (type {kind:#o})")]
    Special {
        /// The type bits of its mode.
        kind: u16,
    },
    /// A name with a `/` at its end, and data.
    #[error("is a directory that holds data")]
    DirectoryWithData,
    /// Encrypted, or masked headers.
    #[error("is encrypted")]
    Encrypted,
    /// Compressed patched data.
    #[error("is a patch, not a file")]
    Patched,
    /// On another part of a split archive.
    #[error("lies in another part of a split archive")]
    OtherDisk,
    /// Neither stored nor deflate.
    #[error("has compression method {method}; only 0 (stored) and 8 (deflate) are allowed")]
    Method {
        /// The number of the method.
        method: u16,
    },
    /// An extra field that cannot be parsed, or that has one part twice.
    #[error("has a broken extra field")]
    Extra,
    /// Nothing at the offset that the central header gives.
    #[error("has no local header where the central directory says")]
    NoLocalHeader,
    /// The central header says otherwise than the local one or the data descriptor.
    #[error("has headers that do not agree on its {what}")]
    Disagree {
        /// Which field.
        what: &'static str,
    },
    /// Its data reaches into the next member or the central directory.
    #[error("overlaps what comes after it")]
    Overlaps,
    /// Bytes after its data that belong to nothing.
    #[error("is followed by {size} bytes that belong to no member")]
    Gap {
        /// Number of bytes.
        size: u64,
    },
    /// [`Limits::file`](super::Limits::file)
    #[error("unpacks to {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::ratio`](super::Limits::ratio)
    #[error("unpacks {length} bytes to {size}; the limit is {limit} times")]
    Ratio {
        /// Uncompressed bytes.
        size: u64,
        /// Compressed bytes.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// [`Limits::text`](super::Limits::text)
    #[error("has {size} bytes, which is too much to read it; the limit is {limit}")]
    TooLargeToRead {
        /// Bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The data inflates to another size.
    #[error("does not unpack to the {stated} bytes that it should have")]
    OtherSize {
        /// What the headers say.
        stated: u64,
    },
    /// The data has another CRC-32.
    #[error("does not unpack to data of the CRC-32 that it should have")]
    OtherCrc32,
}
