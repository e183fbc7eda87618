//! What [`validate`](crate::validate()) says of a layout without faults.

use crate::{DiffId, Digest};

/// What a layout without faults holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Its images, in the order of the indexes.
    pub images: Vec<ImageReport>,
    /// What is allowed, but not as this program writes images.
    pub notes: Vec<Note>,
}

/// An image without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReport {
    /// The configuration's platform: `linux/arm/v7`.
    pub platform: String,
    /// Of the manifest.
    pub manifest: Digest,
    /// Of the configuration.
    pub config: Digest,
    /// Lowest first.
    pub layers: Vec<LayerReport>,
}

/// A layer without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// Of the blob.
    pub digest: Digest,
    /// Of the tar stream.
    pub diff_id: DiffId,
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes of the tar stream.
    pub uncompressed_size: u64,
    /// Members of the tar stream.
    pub members: u64,
}

/// What is allowed, but not as this program writes images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A layer has things in directories that it does not have: their mode and owner are left to
    /// who unpacks it.
    ImpliedDirectories {
        /// The layer.
        layer: Digest,
        /// How many directories.
        count: u64,
    },
    /// Something that is not an image (an attestation, say): only digests and sizes were checked.
    Other {
        /// The manifest or blob.
        digest: Digest,
    },
}
