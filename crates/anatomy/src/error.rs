//! What can be wrong with an image's documents.

/// A document that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what its media type says.
    #[error("the {document} {digest} cannot be read")]
    Document {
        /// `manifest`, `index`, `configuration`.
        document: &'static str,
        /// Its digest.
        digest: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Layers are named by place: with another number of names, none is sure.
    #[error(
        "the manifest {manifest} has {layers} layers, and its configuration names {diff_ids} of them"
    )]
    Layers {
        /// The manifest's digest.
        manifest: String,
        /// Layers of the manifest.
        layers: usize,
        /// `diff_ids` of the configuration.
        diff_ids: usize,
    },
}
