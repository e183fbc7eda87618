//! The account of a build for `--metadata-file`: what was made, of what, and what it cost.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use oci::layer::Layer;
use oci::{DiffId, Digest};
use registry::Pushed;
use serde::Serialize;

use crate::build::Built;
use crate::output;
use crate::store::OnDisk;
use crate::target::PushedImage;

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
    /// The most bytes of files of the build that lay in the store at a time, besides wheels.
    pub(crate) peak_disk_bytes: u64,
    /// What they were for.
    pub(crate) peak_disk: OnDisk,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PlatformMetadata {
    /// Of the manifest.
    pub(crate) digest: Digest,
    pub(crate) layers: Vec<LayerMetadata>,
}

#[derive(Debug, Serialize)]
pub(crate) struct LayerMetadata {
    digest: Digest,
    diff_id: DiffId,
    /// Bytes of the blob.
    pub(crate) size: u64,
    pub(crate) kind: &'static str,
    pub(crate) members: Vec<String>,
    pub(crate) state: LayerState,
}

/// Where a layer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LayerState {
    /// Built now.
    Built,
    /// Known to the store.
    Stored,
    /// In the registry already.
    Registry,
    /// Taken over from another repository of the registry.
    Mounted,
    /// Copied from another registry: a base image's, or one that `cache-from` has.
    Copied,
}

impl fmt::Display for LayerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Built => "built",
            Self::Stored => "stored",
            Self::Registry => "registry",
            Self::Mounted => "mounted",
            Self::Copied => "copied",
        })
    }
}

/// Wall-clock seconds of a build's parts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Seconds {
    pub(crate) lock: f64,
    pub(crate) fetch: f64,
    pub(crate) layers: f64,
    pub(crate) check: f64,
    pub(crate) output: f64,
    pub(crate) push: f64,
    pub(crate) total: f64,
}

impl Metadata {
    /// Of what was built and, where it was pushed, of what became of its blobs.
    pub(crate) fn new(name: Option<String>, built: &Built, pushed: Option<&PushedImage>) -> Self {
        let index = pushed.map_or(&built.index.bytes, |pushed| &pushed.index.bytes);
        let state = |layer: &Layer, otherwise: LayerState| match pushed
            .and_then(|pushed| pushed.delivered.blobs.get(&layer.digest))
        {
            Some(Pushed::Present) => LayerState::Registry,
            Some(Pushed::Mounted { .. }) => LayerState::Mounted,
            Some(Pushed::Uploaded { .. }) | None => otherwise,
        };
        let platforms = built
            .images
            .iter()
            .map(|image| {
                let of_base = image.base_layers().iter().map(|layer| LayerMetadata {
                    digest: layer.digest,
                    diff_id: layer.diff_id,
                    size: layer.size,
                    kind: "base",
                    members: Vec::new(),
                    state: state(layer, LayerState::Copied),
                });
                let ours = image.layers.iter().map(|made| {
                    let layer = &made.record.layer;
                    LayerMetadata {
                        digest: layer.digest,
                        diff_id: layer.diff_id,
                        size: layer.size,
                        kind: made.job.step.kind(),
                        members: made.job.step.members(),
                        state: state(layer, made.state),
                    }
                });
                let layers = of_base.chain(ours);
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
            digest: Digest::of(index),
            size: index.len() as u64,
            platforms,
            bytes_downloaded: 0,
            bytes_uploaded: 0,
            seconds: Seconds::default(),
            store_bytes_added: 0,
            peak_disk_bytes: 0,
            peak_disk: OnDisk::default(),
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
