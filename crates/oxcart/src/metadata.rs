//! The account of a build for `--metadata-file`: what was made, of what, and what it cost.

use std::collections::BTreeMap;
use std::path::Path;

use oci::{DiffId, Digest};
use serde::Serialize;

use crate::build::Built;
use crate::output;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Metadata {
    pub(crate) name: Option<String>,
    /// Of the index.
    pub(crate) digest: Digest,
    /// Bytes of the index document.
    pub(crate) size: u64,
    pub(crate) platforms: BTreeMap<String, PlatformMetadata>,
    /// Bytes received from indexes and mirrors, without those of package indexes' pages.
    pub(crate) bytes_downloaded: u64,
    pub(crate) bytes_uploaded: u64,
    pub(crate) seconds: Seconds,
    /// Bytes that the build added to the store.
    pub(crate) store_bytes_added: u64,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PlatformMetadata {
    /// Of the manifest.
    digest: Digest,
    layers: Vec<LayerMetadata>,
}

#[derive(Debug, Serialize)]
struct LayerMetadata {
    digest: Digest,
    diff_id: DiffId,
    /// Bytes of the blob.
    size: u64,
    kind: &'static str,
    members: Vec<String>,
    state: LayerState,
}

/// Where a layer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LayerState {
    /// Built now.
    Built,
    /// Known to the store.
    Stored,
}

/// Wall-clock seconds of a build's parts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Seconds {
    pub(crate) lock: f64,
    pub(crate) fetch: f64,
    pub(crate) layers: f64,
    pub(crate) output: f64,
    pub(crate) total: f64,
}

impl Metadata {
    pub(crate) fn new(name: Option<String>, built: &Built) -> Self {
        let platforms = built
            .images
            .iter()
            .map(|image| {
                let layers = image.layers.iter().map(|layer| LayerMetadata {
                    digest: layer.record.layer.digest,
                    diff_id: layer.record.layer.diff_id,
                    size: layer.record.layer.size,
                    kind: layer.job.step.kind(),
                    members: layer.job.step.members(),
                    state: layer.state,
                });
                let digest = Digest::of(&image.image.manifest);
                (
                    image.platform.to_string(),
                    PlatformMetadata {
                        digest,
                        layers: layers.collect(),
                    },
                )
            })
            .collect();
        Self {
            name,
            digest: Digest::of(&built.index.bytes),
            size: built.index.bytes.len() as u64,
            platforms,
            bytes_downloaded: 0,
            bytes_uploaded: 0,
            seconds: Seconds::default(),
            store_bytes_added: 0,
            warnings: Vec::new(),
        }
    }

    /// Writes the document to `path`, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        output::bytes(path, &text)
    }
}
