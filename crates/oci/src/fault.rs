//! What [`validate`](crate::validate()) can find wrong, and where.

use std::error::Error;
use std::fmt;

use crate::{DiffId, LayoutError, TarFault};

/// A fault of a layout, with the document and the field of it that are wrong.
#[derive(Debug)]
pub struct Fault {
    /// `index.json`, `manifest sha256:…`, `configuration sha256:…`, `layer sha256:…`.
    pub document: String,
    /// `layers[2].size`; of a layer, the path of a member. Empty where it is all of the document.
    pub field: String,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum FaultKind {
    /// A blob or document that is missing, unreadable, or not of its digest or size.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A document that is not of the form its media type says.
    #[error("cannot be read")]
    Json(#[from] serde_json::Error),
    /// Another tar stream than the configuration says.
    #[error("is {expected}, but the layer's tar stream has {found}")]
    DiffId {
        /// In the configuration.
        expected: DiffId,
        /// Computed.
        found: DiffId,
    },
    /// A media type that does not fit the place, or the blob.
    #[error("is `{found}`, expected {expected}")]
    MediaType {
        /// What would fit.
        expected: String,
        /// What it says.
        found: String,
    },
    /// The image is for another platform than the index says.
    #[error("is {descriptor}, but the configuration says {config}")]
    Platform {
        /// In the index.
        descriptor: String,
        /// In the configuration.
        config: String,
    },
    /// Two lists that go together have different lengths.
    #[error("has {found} entries for {expected} layers")]
    Count {
        /// Number of layers.
        expected: usize,
        /// Number of entries.
        found: usize,
    },
    /// A value that the specification fixes.
    #[error("is `{found}`, expected `{expected}`")]
    Value {
        /// The only right one.
        expected: String,
        /// What it says.
        found: String,
    },
    /// Docker's `manifest.json` lists something that no image of the layout has.
    #[error("is not that of an image of the layout")]
    Unrelated,
    /// Indexes in indexes without an end in sight.
    #[error("is nested too deep")]
    Depth,
    /// A layer's tar stream or one of its members.
    #[error(transparent)]
    Tar(#[from] TarFault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.field, &self.kind) {
            ("", FaultKind::Tar(_) | FaultKind::Json(_)) => write!(f, "{} ", self.document)?,
            ("", _) => write!(f, "{}: ", self.document)?,
            (field, FaultKind::Layout(_)) => write!(f, "{}: {field}: ", self.document)?,
            (field, _) => write!(f, "{}: {field} ", self.document)?,
        }
        fmt::Display::fmt(&self.kind, f)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// Where in a layout something is: a document and a field of it.
#[derive(Debug, Clone)]
pub(crate) struct Within {
    document: String,
    field: String,
}

impl Within {
    pub(crate) fn document(name: impl Into<String>) -> Self {
        Self {
            document: name.into(),
            field: String::new(),
        }
    }

    /// A field of this one.
    pub(crate) fn field(&self, name: impl fmt::Display) -> Self {
        let dot = if self.field.is_empty() { "" } else { "." };
        Self {
            document: self.document.clone(),
            field: format!("{}{dot}{name}", self.field),
        }
    }

    pub(crate) fn fault(&self, kind: impl Into<FaultKind>) -> Fault {
        Fault {
            document: self.document.clone(),
            field: self.field.clone(),
            kind: kind.into(),
        }
    }

    /// A fault of what a descriptor says: its digest, its size, or all of it.
    pub(crate) fn descriptor_fault(&self, error: LayoutError) -> Fault {
        match error {
            LayoutError::Size { .. } => self.field("size").fault(error),
            LayoutError::Digest { .. } | LayoutError::Algorithm { .. } => {
                self.field("digest").fault(error)
            }
            _ => self.fault(error),
        }
    }
}
