//! Small images for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use contents::{Listing, Options};
use oci::{Descriptor, MediaType};
use serde_json::{Value, json};

use crate::comparison::Listings;
use crate::documents::{Document, Documents, ImageDocuments};
use crate::inspection::{Inspection, Layer};

pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer of which only this is known.
pub(crate) fn layer(number: usize, diff_id: &str, created_by: &str, comment: &str) -> Layer {
    let members = match created_by {
        "oxcart wheel" => comment.split(", ").map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Layer {
        number,
        digest: format!("blob {diff_id}"),
        diff_id: diff_id.to_owned(),
        media_type: TAR.to_owned(),
        size: 1,
        created_by: created_by.to_owned(),
        comment: comment.to_owned(),
        members,
    }
}

/// A layer to be: its history and its files.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) created_by: &'static str,
    pub(crate) comment: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) mtime: u64,
    /// What is at the end of its blob, which no reader of tar sees.
    pub(crate) compression: &'static str,
}

impl Made {
    pub(crate) fn new(created_by: &'static str, comment: &str, files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        Self {
            created_by,
            comment: comment.to_owned(),
            files: files
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect(),
            mtime: 0,
            compression: "",
        }
    }

    /// A wheel's.
    pub(crate) fn wheel(name: &str, version: &str, text: &str) -> Self {
        let site = "opt/venv/lib/python3.13/site-packages";
        let info = format!("{site}/{name}-{version}.dist-info");
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n");
        let record = format!(
            "{name}.py,,\n{name}-{version}.dist-info/METADATA,,\n{name}-{version}.dist-info/RECORD,,\n"
        );
        Self::new(
            "oxcart wheel",
            &format!("{name} {version}"),
            &[
                (&format!("{site}/{name}.py"), text),
                (&format!("{info}/METADATA"), &metadata),
                (&format!("{info}/RECORD"), &record),
            ],
        )
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in &self.files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(self.mtime);
            tar.append_data(&mut header, path, &bytes[..]).unwrap();
        }
        tar.into_inner().unwrap()
    }
}

/// An image to be, the same for each platform.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) platforms: Vec<&'static str>,
    pub(crate) layers: Vec<Made>,
    pub(crate) config: Value,
    pub(crate) created: &'static str,
    pub(crate) annotations: Value,
}

impl Image {
    pub(crate) fn new(layers: &[Made]) -> Self {
        Self {
            platforms: vec!["amd64", "arm64"],
            layers: layers.to_vec(),
            config: json!({"Env": ["PATH=/usr/bin", "LANG=C.UTF-8"], "User": "nonroot"}),
            created: "1980-01-01T00:00:00Z",
            annotations: json!({}),
        }
    }

    pub(crate) fn listings(&self) -> Listings {
        let layers = self.layers.iter();
        layers
            .map(|made| {
                let tar = made.tar();
                let listing: Listing =
                    contents::list(TAR, &tar[..], Options { digests: true }).unwrap();
                (oci::Digest::of(&tar).to_string(), Arc::new(listing))
            })
            .collect()
    }

    pub(crate) fn inspection(&self, name: &str) -> Inspection {
        Inspection::new(&self.documents(name)).unwrap()
    }

    pub(crate) fn documents(&self, name: &str) -> Documents {
        let images: Vec<_> = self.platforms.iter().map(|it| self.image(it)).collect();
        let manifests: Vec<_> = images
            .iter()
            .map(|it| it.manifest.descriptor.clone())
            .collect();
        let index =
            json!({"schemaVersion": 2, "manifests": manifests, "annotations": self.annotations});
        Documents {
            name: name.to_owned(),
            top: document(MediaType::ImageIndex, &index),
            images,
            attachments: Vec::new(),
        }
    }

    fn image(&self, architecture: &str) -> ImageDocuments {
        let (mut diff_ids, mut history, mut layers) = (Vec::new(), Vec::new(), Vec::new());
        for made in &self.layers {
            let mut tar = made.tar();
            diff_ids.push(oci::Digest::of(&tar).to_string());
            history.push(json!({"created": self.created, "created_by": made.created_by, "comment": made.comment}));
            tar.extend_from_slice(made.compression.as_bytes());
            layers.push(oci::describe(MediaType::from(TAR), &tar));
        }
        let config = json!({
            "os": "linux", "architecture": architecture, "created": self.created,
            "config": self.config, "history": history,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "layers": layers,
            "config": oci::describe(MediaType::ImageConfig, &config),
        });
        ImageDocuments {
            manifest: document(MediaType::ImageManifest, &manifest),
            config,
        }
    }
}

fn document(media_type: MediaType, value: &Value) -> Document {
    let bytes = value.to_string().into_bytes();
    let descriptor: Descriptor = oci::describe(media_type, &bytes);
    Document { descriptor, bytes }
}
