//! Why a layer or an image cannot be read.

use std::io;

/// What is wrong with a layer of a base image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else than a layer, or an encrypted one.
    #[error("the media type `{media_type}` is not that of a layer that can be read")]
    MediaType {
        /// As the descriptor has it.
        media_type: String,
    },
    /// Compressed in a way that image-spec `layer.md` does not have.
    #[error("the layer is compressed with {program}, which layers cannot be")]
    Compression {
        /// Whose format it is.
        program: &'static str,
    },
    /// The stream cannot be read or not be decompressed.
    #[error("the layer cannot be read{}", After(.after))]
    Read {
        /// The last entry before.
        after: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A header of the tar stream is damaged.
    #[error("the layer {fault}{}", After(.after))]
    Header {
        /// The last entry before.
        after: String,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// An entry cannot be part of an image.
    #[error("`{entry}` in the layer {fault}")]
    Entry {
        /// Its path, as written.
        entry: String,
        /// What is wrong.
        fault: EntryFault,
    },
}

/// What is wrong between two entries of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The stream ends in a header or a body.
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
    /// An extended header that cannot be understood.
    #[error("has a malformed extended header")]
    Extension,
    /// An extended header too large to be honest.
    #[error("has an extended header of {size} bytes")]
    ExtensionSize {
        /// As claimed.
        size: u64,
    },
    /// A lone block of zeros, where two end a stream.
    #[error("goes on after a block of zeros")]
    Zeros,
    /// More paths than any image has.
    #[error("has more than {limit} paths")]
    Paths {
        /// How many are read.
        limit: usize,
    },
}

/// What is wrong with an entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// A type that runtimes refuse.
    #[error("has the unknown type `{}`", .flag.escape_default())]
    Typeflag {
        /// The type flag.
        flag: char,
    },
    /// A path that leaves the image by `..`.
    #[error("lies outside the image")]
    Outside,
    /// A path, or a link's target, longer than Linux allows.
    #[error("has a path of more than {limit} bytes")]
    Length {
        /// How many it may have.
        limit: usize,
    },
    /// A whiteout of nothing, of `.` or of `..`.
    #[error("is a whiteout of nothing")]
    Whiteout,
    /// It is in a directory that is reached through a cycle of links.
    #[error("lies behind a cycle of links")]
    Cycle,
    /// It is in something that the same layer has as a file.
    #[error("lies in something that is not a directory")]
    Parent,
    /// A hard link to what neither its layer nor a lower one has.
    #[error("is a hard link to `{target}`, which is not there")]
    Target {
        /// As written.
        target: String,
    },
    /// A text that is larger than any such file.
    #[error("has more than {limit} bytes where such a file has few")]
    Large {
        /// How many are read, of the whole file or of one line.
        limit: usize,
    },
    /// A text in a sparse file.
    #[error("is a text in a sparse file")]
    Sparse,
    /// Up to here the layer has more links and metadata than can be kept.
    #[error("is too much: a layer with over {limit} bytes of links and metadata is not read")]
    Budget {
        /// How many are kept.
        limit: usize,
    },
}

/// Says behind what, if there is something.
struct After<'a>(&'a str);

impl std::fmt::Display for After<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            "" => Ok(()),
            path => write!(f, " after `{path}`"),
        }
    }
}
