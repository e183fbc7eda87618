//! The OCI distribution-spec client: pull, push, tokens and credentials, under the faults registries
//! are known to have.
//!
//! A [`Client`] opens [`Repository`]s, which push and pull. Blobs are streamed: none is ever held in
//! memory.

mod address;
mod answer;
mod auth;
mod auth_file;
mod blob_reader;
mod challenge;
mod client;
mod credentials;
mod delay;
mod endpoint;
mod error;
mod header;
mod helper;
mod network;
mod options;
mod pieces;
mod pull;
mod push;
mod reference;
mod referrers;
mod registry;
mod scope;
mod secret;
mod shared;
mod source;
mod tags;
mod token;
mod upload;

pub use blob_reader::BlobReader;
pub use client::{Client, Repository};
pub use credentials::Credentials;
pub use error::{AuthFileFault, Error, RedirectFault};
pub use network::{NetworkError, NetworkFault};
pub use options::{Observer, Options, Retry, Silent, Timeouts};
pub use pull::{MAX_DOCUMENT, Manifest};
pub use push::{Content, Pushed, Upload, Writer};
pub use reference::{Reference, ReferenceError, is_tag};
