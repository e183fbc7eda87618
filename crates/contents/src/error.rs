//! Why a layer cannot be listed.

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its stream or one of its entries.
    #[error(transparent)]
    Layer(#[from] facts::Error),
    /// It has more paths and texts than can be kept.
    #[error(
        "`{entry}` in the layer is too much: a layer with over {limit} bytes of paths, links and metadata is not read"
    )]
    Budget {
        /// Where the limit was reached.
        entry: String,
        /// Bytes that are kept.
        limit: usize,
    },
}
