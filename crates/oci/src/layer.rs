//! Layers: from a tree to a blob and its two digests.
//!
//! Follows the image-spec's `layer.md`. A layer is a pure function of its tree, [`Options`] and
//! [`FORMAT`]: no clock, host, user or number of threads reaches a byte of it.

use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::assemble::Assembly;
use crate::members::members;
use crate::tar_digest::TarDigest;
use crate::{
    Checksum, DiffId, Digest, Encoder, InflateError, SHARED_MTIME, SpliceMap, Tree, TreePath,
    parallel,
};

/// The layer format version: it changes when the same inputs give other bytes than before.
pub const FORMAT: u32 = 1;

/// What is free to choose about a layer besides its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How the blob is compressed.
    pub encoder: Encoder,
    /// Time of all members, in seconds since 1970.
    pub mtime: u64,
    /// Number of threads that inflate; 1 does all work on the calling thread. No byte depends on it.
    pub jobs: usize,
    /// Bytes of buffers, at most, beyond [`LEAST_MEMORY`]: where they do not suffice for `jobs`, fewer
    /// threads work. No byte depends on it.
    pub memory: u64,
}

/// Bytes of buffers that a layer takes at least, about.
pub const LEAST_MEMORY: u64 = 1 << 20;

impl Default for Options {
    /// Spliced, 1980-01-01, on the calling thread.
    fn default() -> Self {
        Self {
            encoder: Encoder::Splice,
            mtime: SHARED_MTIME,
            jobs: 1,
            memory: 16 << 20,
        }
    }
}

/// A layer by its digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Of the blob.
    pub digest: Digest,
    /// Of the tar stream.
    pub diff_id: DiffId,
    /// Of the blob, in bytes.
    pub size: u64,
    /// Of the blob.
    pub media_type: String,
}

/// What came of encoding a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The layer.
    pub layer: Layer,
    /// Files without the checksum they should have, in path order, where that was to be reported.
    pub mismatches: Vec<Mismatch>,
}

/// A file that does not have the checksum it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its path in the image.
    pub path: TreePath,
    /// Where it came from.
    pub origin: Arc<str>,
    /// What was stated.
    pub expected: Checksum,
    /// What was computed.
    pub found: Checksum,
}

/// Where the blob goes.
pub enum Output<'a> {
    /// Nowhere: only the digests are wanted.
    Discard,
    /// Its bytes, in order.
    Blob(&'a mut dyn Write),
    /// A map to make it again from the archives, which replaces what the map was before. Only for
    /// [`Encoder::Splice`], for archives whose digests are known, and for no [`Content::File`], which
    /// would end up in the map, and so in memory, as a whole.
    ///
    /// [`Content::File`]: crate::Content::File
    Map(&'a mut SpliceMap),
}

impl<'a> Output<'a> {
    /// The same for a shorter time.
    fn shortened<'b>(self) -> Output<'b>
    where
        'a: 'b,
    {
        match self {
            Self::Discard => Output::Discard,
            Self::Blob(out) => Output::Blob(out),
            Self::Map(map) => Output::Map(map),
        }
    }
}

/// Makes the layer of `tree`, and checks every archived file on the way. Memory is bounded by
/// `options.memory`, not by the size of a file; after an error the output is incomplete.
pub fn encode(tree: &Tree, options: &Options, output: Output<'_>) -> Result<Encoded, EncodeError> {
    encode_beside(tree, options, output, &mut io::sink())
}

/// As [`encode`], and writes the tar stream to `tar` as it is made, in pieces of 128 KiB and less: what
/// wants to look into the layer does not have to inflate it again. An error of `tar` is one of writing.
pub fn encode_beside(
    tree: &Tree,
    options: &Options,
    output: Output<'_>,
    tar: &mut (dyn Write + Send),
) -> Result<Encoded, EncodeError> {
    let members = members(tree, options.mtime)?;
    if matches!(output, Output::Map(_)) {
        if options.encoder != Encoder::Splice {
            return Err(EncodeError::MapEncoder {
                encoder: options.encoder,
            });
        }
        members
            .iter()
            .try_for_each(crate::members::Member::check_mappable)?;
    }
    let splice = options.encoder == Encoder::Splice;
    let mut assembly = Assembly::new(options.encoder, output.shortened())?;
    let digest = TarDigest::new(&members, tar);
    let totals = parallel::run(&members, splice, options, &mut assembly, digest)?;
    let layer = assembly.finish(totals.crc, totals.diff_id)?;
    Ok(Encoded {
        layer,
        mismatches: totals.mismatches,
    })
}

/// Why a tree could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A file's bytes could not be had, or are not what the archive says.
    #[error("cannot take /{path} from {origin}")]
    Body {
        /// The file's path in the image.
        path: TreePath,
        /// The archive, or for generated files the entry's origin.
        origin: Arc<str>,
        /// What is wrong.
        #[source]
        fault: BodyFault,
    },
    /// A hard link leads to no file of the tree.
    #[error(
        "/{path} from {origin} is a hard link to /{target}, which is no file of the same layer"
    )]
    Hardlink {
        /// The link.
        path: TreePath,
        /// Where it came from.
        origin: Arc<str>,
        /// The target that is missing or not a file.
        target: TreePath,
    },
    /// A symbolic link that no system could make.
    #[error("/{path} from {origin} is a symbolic link whose target is empty or has a NUL byte")]
    Symlink {
        /// The link.
        path: TreePath,
        /// Where it came from.
        origin: Arc<str>,
    },
    /// A file that cannot be part of a splice map.
    #[error(
        "/{path} from {origin} lies in no archive of a known digest: its layer has no splice map"
    )]
    MapContent {
        /// The file.
        path: TreePath,
        /// Where it came from.
        origin: Arc<str>,
    },
    /// A splice map of a layer that is not spliced.
    #[error("layers of encoder {encoder} have no splice map")]
    MapEncoder {
        /// The encoder that was asked for.
        encoder: Encoder,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The blob could not be compressed or written.
    #[error("cannot write the layer")]
    Write(#[from] io::Error),
}

/// What is wrong with a file's bytes.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// The archive or file could not be read that far.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It ends after the archive does.
    #[error("it lies at {offset} and {length} bytes on, but the archive has {size} bytes")]
    Outside {
        /// First byte in the archive.
        offset: u64,
        /// Number of bytes in the archive.
        length: u64,
        /// Number of bytes of the archive.
        size: u64,
    },
    /// No deflate stream.
    #[error("it is not a deflate stream")]
    Deflate(#[from] InflateError),
    /// The archive's length ends before the deflate stream does.
    #[error("its deflate stream is longer than the {length} bytes the archive says")]
    Truncated {
        /// Number of bytes in the archive.
        length: u64,
    },
    /// The deflate stream ends before the archive's length.
    #[error("its deflate stream ends {left} bytes before the {length} bytes the archive says")]
    Trailing {
        /// Number of bytes in the archive.
        length: u64,
        /// Those after the end.
        left: u64,
    },
    /// A stored file whose two sizes differ.
    #[error("it is stored as {length} bytes but should have {size}")]
    Stored {
        /// Number of bytes in the archive.
        length: u64,
        /// Number of bytes of the file.
        size: u64,
    },
    /// More bytes than declared.
    #[error("it is larger than the {size} bytes the archive says")]
    TooLong {
        /// Declared number of bytes.
        size: u64,
    },
    /// Fewer bytes than declared.
    #[error("it has {found} bytes, but the archive says {size}")]
    TooShort {
        /// Declared number of bytes.
        size: u64,
        /// Number of bytes there are.
        found: u64,
    },
    /// Another CRC-32.
    #[error("its CRC-32 is {found:08x}, but the archive says {expected:08x}")]
    Crc {
        /// The archive's.
        expected: u32,
        /// The bytes'.
        found: u32,
    },
    /// Another checksum.
    #[error("its checksum is {found}, but should be {expected}")]
    Checksum {
        /// The stated one.
        expected: Box<Checksum>,
        /// The bytes'.
        found: Box<Checksum>,
    },
}
