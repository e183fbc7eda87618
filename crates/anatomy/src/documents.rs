//! The documents of an image, as they were read.

use oci_spec::image::Descriptor;

/// An index, a manifest or a configuration.
#[derive(Debug, Clone)]
pub struct Document {
    /// What refers to it.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// All documents of an image.
#[derive(Debug, Clone)]
pub struct Documents {
    /// What the image is called.
    pub name: String,
    /// The index, or the only manifest there is.
    pub top: Document,
    /// The images, in the index's order.
    pub images: Vec<ImageDocuments>,
    /// Manifests that are no images: attestations, signatures.
    pub attachments: Vec<Document>,
}

/// The documents of one platform's image.
#[derive(Debug, Clone)]
pub struct ImageDocuments {
    /// The manifest.
    pub manifest: Document,
    /// The configuration.
    pub config: Vec<u8>,
}
