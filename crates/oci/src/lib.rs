//! OCI image documents, layers, layouts and archives: the image-spec, with no network, no Python and
//! no Debian in it.
//!
//! A [`Tree`] is what a layer adds; [`layer::encode`] turns it into a blob and its two digests.

mod archive;
mod artifact;
mod assemble;
mod atomic;
mod blob_check;
mod body;
mod buffer;
mod compress;
mod config;
mod deflate;
mod descriptor;
mod digest;
mod encoder;
mod exact_copy;
mod fault;
mod huffman;
mod image;
mod index;
mod inflate;
pub mod json;
pub mod layer;
mod layer_check;
mod layer_paths;
mod layout;
mod layout_error;
mod layout_reader;
mod line;
mod members;
mod packed;
mod parallel;
mod plain;
mod platform;
mod report;
mod seam;
mod sha256;
mod source;
mod splice;
mod splice_map;
mod tar;
mod tar_block;
mod tar_digest;
mod tar_fault;
mod time;
mod tree;
mod untar;
mod validate;

pub use archive::ArchiveWriter;
pub use artifact::{Artifact, ArtifactFile, EMPTY};
pub use atomic::{AtomicFile, is_unfinished, sync_directory};
pub use config::Runtime;
pub use descriptor::{annotation, describe, digest_of, is_index, is_manifest, refer};
pub use digest::{DiffId, Digest, DigestError, HashingWriter};
pub use encoder::{Encoder, EncoderError};
pub use exact_copy::BoxError;
pub use fault::{Fault, FaultKind};
pub use image::{Base, Image, ImageError, ImageSpec, LayerSpec};
pub use index::{Index, platform_text, select};
pub use inflate::InflateError;
pub use layer::{BodyFault, EncodeError, Encoded, Layer, Mismatch, Options, Output};
pub use layout::LayoutWriter;
pub use layout_error::LayoutError;
pub use layout_reader::{Blob, LayoutReader, MAX_DOCUMENT};
pub use oci_spec::image::{Descriptor, MediaType};
pub use packed::Packer;
pub use platform::{Platform, PlatformError};
pub use report::{ImageReport, LayerReport, Note, Report};
pub use source::{Source, SourceReader};
pub use splice_map::{SpliceMap, SpliceMapError};
pub use tar_fault::TarFault;
pub use time::rfc3339;
pub use tree::{
    Archived, Checksum, Content, Entry, Kind, Method, OPAQUE, OnMismatch, PathError, PathFault,
    SHARED_MTIME, Tree, TreeError, TreePath,
};
pub use validate::validate;
