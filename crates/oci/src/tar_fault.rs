//! What can be wrong with a tar stream, or with a member of one as part of a layer.

use std::io;

/// What is wrong with a tar stream.
#[derive(Debug, thiserror::Error)]
pub enum TarFault {
    /// The stream cannot be read, or not be decompressed.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It ends in the middle of a header or body, or without its end-of-archive blocks.
    #[error("ends too early")]
    Truncated,
    /// A header's checksum is wrong.
    #[error("has a header whose checksum is wrong")]
    Checksum,
    /// A numeric field that holds no number.
    #[error("has a header whose {field} is not a number")]
    Number {
        /// Which one.
        field: &'static str,
    },
    /// A type of member that a layer cannot have, or that readers understand differently.
    #[error("has a member of type `{}`", .flag.escape_default())]
    Typeflag {
        /// The type flag.
        flag: char,
    },
    /// A sparse file.
    #[error("has a sparse file")]
    Sparse,
    /// A link, directory or device that claims a body; readers differ on whether one follows.
    #[error("has {size} bytes of body on a member that can have none")]
    BodyOfLink {
        /// As claimed.
        size: u64,
    },
    /// An extended header that is malformed or says something twice.
    #[error("has a malformed extended header")]
    Pax,
    /// An extended header too large to be honest.
    #[error("has an extended header of {size} bytes")]
    Extension {
        /// As claimed.
        size: u64,
    },
    /// An extended header with no member after it.
    #[error("has an extended header at its end")]
    Dangling,
    /// Not two blocks of zeros at the end, or something after them.
    #[error("does not end in two blocks of zeros and nothing else")]
    Trailer,
    /// A path that is absolute, empty, or has an empty or `..` component.
    #[error("is not a path inside the image")]
    Path,
    /// A second member of the same path.
    #[error("appears twice")]
    Duplicate,
    /// A directory that comes after something in it.
    #[error("comes after something that is in it")]
    ParentLate,
    /// Something below a path that is not a directory.
    #[error("lies in something that is not a directory")]
    ParentKind,
    /// A hard link whose target is not an earlier file of the layer.
    #[error("is a hard link to `{target}`, which is not an earlier file of the layer")]
    HardlinkTarget {
        /// As written.
        target: String,
    },
}

impl TarFault {
    pub(crate) fn of_read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Read(error),
        }
    }
}
