//! What an image is: the document of `inspect --json`. Its form is described in docs/inspect.md, and
//! changes only with [`VERSION`].

use std::collections::BTreeMap;

use contents::Contents;
use oci_spec::image::ImageManifest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::documents::{Document, Documents, ImageDocuments};
use crate::holdings::Holdings;

/// The version of the document's form.
const VERSION: u32 = 1;
/// Annotations that say what an image stands on (image-spec `annotations.md`).
const BASE: &str = "org.opencontainers.image.base.";

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Of this document's form.
    pub version: u32,
    /// As it was asked for.
    pub name: String,
    /// Of the index, or of the only manifest.
    pub digest: String,
    /// Of the same.
    pub media_type: String,
    /// Of the same.
    pub annotations: BTreeMap<String, String>,
    /// How it compares with the project's lock; None outside of projects.
    pub lock: Option<LockReport>,
    /// In the index's order.
    pub platforms: Vec<Platform>,
    /// What the index lists besides images.
    pub attachments: Vec<Attachment>,
    /// The index, or the only manifest.
    #[serde(skip)]
    pub(crate) document: Value,
}

/// Whether an image has what the project's lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockReport {
    /// The answer.
    pub state: LockState,
    /// The lock's file name.
    pub file: Option<String>,
    /// What differs, in words.
    pub differences: Vec<String>,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockState {
    /// Base, packages and versions are the lock's.
    Same,
    /// They are not.
    Different,
    /// The project has no lock.
    None,
}

/// The image of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// `linux/arm64`, as the configuration says.
    pub platform: String,
    /// Of the manifest.
    pub digest: String,
    /// Of the manifest.
    pub media_type: String,
    /// Of the configuration.
    pub config_digest: String,
    /// RFC 3339, as written.
    pub created: Option<String>,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What it says that it stands on.
    pub base: Option<Base>,
    /// Bytes of all layers, compressed.
    pub size: u64,
    /// Bottom to top.
    pub layers: Vec<Layer>,
    /// The `config` object of the configuration.
    pub config: Value,
    /// What the layers hold. None where they were not read.
    pub contents: Option<Holdings>,
    /// The manifest.
    #[serde(skip)]
    pub(crate) manifest: Value,
    /// The whole configuration.
    #[serde(skip)]
    pub(crate) configuration: Value,
}

/// What an image says that it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    /// A reference.
    pub name: Option<String>,
    /// Of its manifest.
    pub digest: Option<String>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// From 1, at the bottom.
    pub number: usize,
    /// Of the blob.
    pub digest: String,
    /// Of what is in it, uncompressed.
    pub diff_id: String,
    /// Of the blob.
    pub media_type: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Of the history.
    pub created_by: String,
    /// Of the history.
    pub comment: String,
    /// `numpy 2.3.5`: the wheels in it, where the history tells.
    pub members: Vec<String>,
}

/// A manifest of the index that is no image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Of the manifest.
    pub digest: String,
    /// What it is: an artifact type, or what the index calls it.
    pub kind: String,
    /// The manifest that it is about.
    pub subject: Option<String>,
}

/// A line of the history, less the time.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct History {
    created_by: Option<String>,
    comment: Option<String>,
    empty_layer: bool,
}

impl Inspection {
    /// What the documents say.
    pub fn new(documents: &Documents) -> Result<Self, Error> {
        let top = &documents.top;
        let document: Value = parse("index", top)?;
        let annotations = annotations(&document);
        let mut platforms = Vec::new();
        for image in &documents.images {
            platforms.push(Platform::new(image, &annotations)?);
        }
        let attachments = documents.attachments.iter().map(Attachment::new);
        Ok(Self {
            version: VERSION,
            name: documents.name.clone(),
            digest: top.descriptor.digest().to_string(),
            media_type: top.descriptor.media_type().to_string(),
            annotations,
            lock: None,
            platforms,
            attachments: attachments.collect(),
            document,
        })
    }

    /// Adds what the layers of each platform hold; `contents` is in the order of `platforms`. With
    /// `all_files` every file is listed.
    pub fn look(&mut self, contents: &[Contents], all_files: bool) {
        let holdings = Holdings::of_all(contents, all_files);
        for (platform, holdings) in self.platforms.iter_mut().zip(holdings) {
            platform.contents = Some(holdings);
        }
    }
}

impl Platform {
    fn new(documents: &ImageDocuments, index: &BTreeMap<String, String>) -> Result<Self, Error> {
        let manifest: ImageManifest = parse("manifest", &documents.manifest)?;
        let document: Value = parse("manifest", &documents.manifest)?;
        let annotations = annotations(&document);
        let config_digest = manifest.config().digest().to_string();
        let configuration: Value =
            serde_json::from_slice(&documents.config).map_err(|source| Error::Document {
                document: "configuration",
                digest: config_digest.clone(),
                source,
            })?;
        let digest = documents.manifest.descriptor.digest().to_string();
        let layers = layers(&manifest, &configuration, &digest)?;
        let text = |key: &str| configuration[key].as_str().unwrap_or_default();
        let parts = [text("os"), text("architecture"), text("variant")];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Ok(Self {
            platform: parts.join("/"),
            digest,
            media_type: documents.manifest.descriptor.media_type().to_string(),
            config_digest,
            created: configuration["created"].as_str().map(str::to_owned),
            base: Base::of(&annotations).or_else(|| Base::of(index)),
            annotations,
            size: layers.iter().map(|layer| layer.size).sum(),
            layers,
            config: configuration["config"].clone(),
            contents: None,
            manifest: document,
            configuration,
        })
    }
}

impl Layer {
    /// What made it, and of what: what its line of the history says.
    pub fn title(&self) -> &str {
        if self.comment.is_empty() || self.comment.starts_with("buildkit.") {
            return &self.created_by;
        }
        &self.comment
    }

    /// The names of its members, without their versions.
    pub(crate) fn names(&self) -> Vec<&str> {
        let names = self.members.iter();
        names
            .map(|it| it.split(' ').next().unwrap_or_default())
            .collect()
    }
}

impl Base {
    fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let get = |what: &str| annotations.get(&format!("{BASE}{what}")).cloned();
        let (name, digest) = (get("name"), get("digest"));
        (name.is_some() || digest.is_some()).then_some(Self { name, digest })
    }
}

impl Attachment {
    fn new(document: &Document) -> Self {
        let own: Value = serde_json::from_slice(&document.bytes).unwrap_or_default();
        let of = |key: &str| oci::annotation(&document.descriptor, key).map(str::to_owned);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&own["artifactType"])
            .or_else(|| of("vnd.docker.reference.type"))
            .or_else(|| text(&own["config"]["mediaType"]));
        Self {
            digest: document.descriptor.digest().to_string(),
            kind: kind.unwrap_or_default(),
            subject: text(&own["subject"]["digest"]).or_else(|| of("vnd.docker.reference.digest")),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    document: &Document,
) -> Result<T, Error> {
    serde_json::from_slice(&document.bytes).map_err(|source| Error::Document {
        document: what,
        digest: document.descriptor.digest().to_string(),
        source,
    })
}

fn annotations(document: &Value) -> BTreeMap<String, String> {
    let pairs = document["annotations"].as_object().into_iter().flatten();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The manifest's layers with what the configuration says of each.
fn layers(
    manifest: &ImageManifest,
    configuration: &Value,
    digest: &str,
) -> Result<Vec<Layer>, Error> {
    let none = Vec::new();
    let list = |value: &Value| value.as_array().unwrap_or(&none).clone();
    let diff_ids = list(&configuration["rootfs"]["diff_ids"]);
    if diff_ids.len() != manifest.layers().len() {
        return Err(Error::Layers {
            manifest: digest.to_owned(),
            layers: manifest.layers().len(),
            diff_ids: diff_ids.len(),
        });
    }
    let history: Vec<History> = list(&configuration["history"])
        .into_iter()
        .map(|line| serde_json::from_value(line).unwrap_or_default())
        .filter(|line: &History| !line.empty_layer)
        .collect();
    let layers = manifest.layers().iter().zip(diff_ids).enumerate();
    Ok(layers
        .map(|(n, (layer, diff_id))| {
            let line = history.get(n);
            let text = |of: fn(&History) -> Option<&String>| {
                line.and_then(of).cloned().unwrap_or_default()
            };
            let created_by = text(|line| line.created_by.as_ref());
            let comment = text(|line| line.comment.as_ref());
            Layer {
                number: n + 1,
                digest: layer.digest().to_string(),
                diff_id: diff_id.as_str().unwrap_or_default().to_owned(),
                media_type: layer.media_type().to_string(),
                size: layer.size(),
                members: members(&created_by, &comment),
                created_by,
                comment,
            }
        })
        .collect())
}

/// What a line of our own history lists.
fn members(created_by: &str, comment: &str) -> Vec<String> {
    match created_by {
        "oxcart wheel" => comment.split(", ").map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
