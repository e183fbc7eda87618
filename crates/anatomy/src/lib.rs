//! What an image is made of, told as text, as JSON or as a page; and what tells two images apart.
//!
//! [`Inspection::new`] is what the image's documents say. [`Inspection::look`] adds what its layers hold.
//! [`Comparison::new`] compares two of them. Nothing is read from anywhere: documents and layers' contents
//! are the caller's.

mod cause;
mod changes;
mod comparison;
mod comparison_text;
mod documents;
mod error;
mod file_type;
mod files;
mod holdings;
mod inspection;
mod page;
mod pairs;
mod size;
mod table;
mod text;
mod tree;

#[cfg(test)]
mod comparison_tests;
#[cfg(test)]
mod inspection_tests;
#[cfg(test)]
mod testing;

pub use changes::Change;
pub use comparison::{
    Comparison, LayerChange, Listings, PackageChange, PlatformComparison, Side, Sides, Version,
};
pub use documents::{Document, Documents, ImageDocuments};
pub use error::Error;
pub use file_type::FileType;
pub use files::{Fate, FileChange};
pub use holdings::{FileRow, Holdings, LayerHoldings, PackageRow, Sum, Unowned, Weight};
pub use inspection::{Attachment, Base, Inspection, Layer, LockReport, LockState, Platform};
pub use page::page;
pub use size::human;
pub use text::text;
pub use tree::{Tree, tree};
