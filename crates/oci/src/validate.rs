//! Reads a whole layout and checks all that it says: every digest and size, media types, platforms,
//! and that configurations, manifests and layers belong together (image-spec `manifest.md`,
//! `config.md`, `layer.md`).

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::archive::DOCKER_MANIFEST;
use crate::blob_check::{self, BlobRef, Layers};
use crate::descriptor::{Compression, Role};
use crate::fault::{Fault, FaultKind, Within};
use crate::index::platform_text;
use crate::layout::{INDEX, blob_path};
use crate::layout_reader::sha256;
use crate::{DiffId, Digest, ImageReport, LayerReport, LayoutError, LayoutReader, Note, Report};

/// How deep indexes may lie in indexes.
const MAX_DEPTH: usize = 4;

/// Checks everything that `index.json` leads to. Layers are streamed, as many at a time as there are
/// processors.
pub fn validate(reader: &LayoutReader) -> Result<Report, Fault> {
    let mut walk = Walk {
        reader,
        images: Vec::new(),
        others: Vec::new(),
        notes: Vec::new(),
    };
    let top = Within::document(INDEX);
    for (n, entry) in reader.index().manifests().iter().enumerate() {
        walk.descriptor(&top.field(format!("manifests[{n}]")), entry, 0)?;
    }
    walk.docker_manifest()?;
    let layers = walk.images.iter().flat_map(|image| &image.layers);
    let blobs: Vec<_> = layers.chain(&walk.others).cloned().collect();
    let contents = blob_check::check(reader, &blobs)?;
    let images = walk.images.iter().map(|image| image.report(&contents));
    let images = images.collect::<Result<_, _>>()?;
    let implied = contents.iter().filter(|(_, contents)| contents.implied > 0);
    walk.notes
        .extend(implied.map(|(layer, contents)| Note::ImpliedDirectories {
            layer: *layer,
            count: contents.implied,
        }));
    Ok(Report {
        images,
        notes: walk.notes,
    })
}

struct Walk<'a> {
    reader: &'a LayoutReader,
    images: Vec<FoundImage>,
    /// Blobs that are not of images.
    others: Vec<BlobRef>,
    notes: Vec<Note>,
}

/// An image whose documents are right; its layers have not been looked at.
struct FoundImage {
    platform: String,
    manifest: Digest,
    config: Digest,
    diff_ids: Vec<DiffId>,
    layers: Vec<BlobRef>,
}

impl Walk<'_> {
    fn descriptor(&mut self, at: &Within, of: &Descriptor, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(at.fault(FaultKind::Depth));
        }
        match Role::of(of.media_type()) {
            Some(Role::Index) => self.index(at, of, depth),
            Some(Role::Manifest) => self.manifest(at, of),
            _ => {
                let blob = blob_ref(at.clone(), of, None)?;
                self.notes.push(Note::Other {
                    digest: blob.digest,
                });
                self.others.push(blob);
                Ok(())
            }
        }
    }

    fn index(&mut self, at: &Within, of: &Descriptor, depth: usize) -> Result<(), Fault> {
        let document = Within::document(format!("index {}", of.digest()));
        let index: ImageIndex = self.document(at, &document, of)?;
        check_form(
            &document,
            index.schema_version(),
            index.media_type().as_ref(),
            of,
        )?;
        for (n, entry) in index.manifests().iter().enumerate() {
            self.descriptor(&document.field(format!("manifests[{n}]")), entry, depth + 1)?;
        }
        Ok(())
    }

    fn manifest(&mut self, at: &Within, of: &Descriptor) -> Result<(), Fault> {
        let document = Within::document(format!("manifest {}", of.digest()));
        let manifest: ImageManifest = self.document(at, &document, of)?;
        check_form(
            &document,
            manifest.schema_version(),
            manifest.media_type().as_ref(),
            of,
        )?;
        let digest = sha256(of).map_err(|error| at.descriptor_fault(error))?;
        let at_config = document.field("config");
        if Role::of(manifest.config().media_type()) != Some(Role::Config) {
            self.notes.push(Note::Other { digest });
            self.others
                .push(blob_ref(at_config, manifest.config(), None)?);
            for (n, layer) in manifest.layers().iter().enumerate() {
                self.others.push(blob_ref(
                    document.field(format!("layers[{n}]")),
                    layer,
                    None,
                )?);
            }
            return Ok(());
        }
        let config_document =
            Within::document(format!("configuration {}", manifest.config().digest()));
        let config: ImageConfiguration =
            self.document(&at_config, &config_document, manifest.config())?;
        let diff_ids = check_config(&config_document, &config, manifest.layers().len())?;
        check_platform(at, of, &config)?;
        let layers = manifest.layers().iter().enumerate().map(|(n, layer)| {
            let at = document.field(format!("layers[{n}]"));
            match Role::of(layer.media_type()) {
                Some(Role::Layer(compression)) => blob_ref(at, layer, Some(compression)),
                _ => Err(wrong_type(&at, "a layer's", layer)),
            }
        });
        self.images.push(FoundImage {
            platform: platform_text(&platform_of(&config)),
            manifest: digest,
            config: sha256(manifest.config()).map_err(|e| at_config.descriptor_fault(e))?,
            diff_ids,
            layers: layers.collect::<Result<_, _>>()?,
        });
        Ok(())
    }

    fn document<T: DeserializeOwned>(
        &self,
        at: &Within,
        document: &Within,
        of: &Descriptor,
    ) -> Result<T, Fault> {
        let bytes = self
            .reader
            .document(of)
            .map_err(|error| at.descriptor_fault(error))?;
        serde_json::from_slice(&bytes).map_err(|error| document.fault(error))
    }

    /// Docker's `manifest.json`, where there is one, has to list images that the layout has.
    fn docker_manifest(&self) -> Result<(), Fault> {
        let document = Within::document(DOCKER_MANIFEST);
        let bytes = self
            .reader
            .file(DOCKER_MANIFEST)
            .map_err(|error| document.fault(error))?;
        let Some(bytes) = bytes else { return Ok(()) };
        let entries: Vec<DockerImage> =
            serde_json::from_slice(&bytes).map_err(|error| document.fault(error))?;
        for (n, entry) in entries.iter().enumerate() {
            let at = document.field(format!("[{n}]"));
            let mut same_config = self
                .images
                .iter()
                .filter(|image| blob_path(&image.config) == entry.config)
                .peekable();
            if same_config.peek().is_none() {
                return Err(at.field("Config").fault(FaultKind::Unrelated));
            }
            let paths = |image: &FoundImage| -> Vec<_> {
                image
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect()
            };
            if !same_config.any(|image| paths(image) == entry.layers) {
                return Err(at.field("Layers").fault(FaultKind::Unrelated));
            }
        }
        Ok(())
    }
}

/// An entry of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    layers: Vec<String>,
}

impl FoundImage {
    fn report(&self, contents: &Layers) -> Result<ImageReport, Fault> {
        let config = Within::document(format!("configuration {}", self.config));
        let layers =
            self.layers
                .iter()
                .zip(&self.diff_ids)
                .enumerate()
                .map(|(n, (blob, diff_id))| {
                    let contents = &contents[&blob.digest];
                    if contents.diff_id != *diff_id {
                        return Err(config.field(format!("rootfs.diff_ids[{n}]")).fault(
                            FaultKind::DiffId {
                                expected: *diff_id,
                                found: contents.diff_id,
                            },
                        ));
                    }
                    Ok(LayerReport {
                        digest: blob.digest,
                        diff_id: *diff_id,
                        size: blob.size,
                        uncompressed_size: contents.size,
                        members: contents.members,
                    })
                });
        Ok(ImageReport {
            platform: self.platform.clone(),
            manifest: self.manifest,
            config: self.config,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }
}

fn blob_ref(at: Within, of: &Descriptor, layer: Option<Compression>) -> Result<BlobRef, Fault> {
    let digest = sha256(of).map_err(|error| at.descriptor_fault(error))?;
    Ok(BlobRef {
        at,
        digest,
        size: of.size(),
        media_type: of.media_type().clone(),
        layer,
    })
}

fn wrong_type(at: &Within, expected: &str, found: &Descriptor) -> Fault {
    at.field("mediaType").fault(FaultKind::MediaType {
        expected: expected.to_owned(),
        found: found.media_type().to_string(),
    })
}

/// What manifests and indexes have in common. `mediaType` is optional, but may not contradict.
fn check_form(
    document: &Within,
    schema_version: u32,
    media_type: Option<&MediaType>,
    of: &Descriptor,
) -> Result<(), Fault> {
    if schema_version != 2 {
        let (expected, found) = ("2".to_owned(), schema_version.to_string());
        return Err(document
            .field("schemaVersion")
            .fault(FaultKind::Value { expected, found }));
    }
    match media_type {
        Some(found) if found != of.media_type() => {
            let (expected, found) = (format!("`{}`", of.media_type()), found.to_string());
            Err(document
                .field("mediaType")
                .fault(FaultKind::MediaType { expected, found }))
        }
        _ => Ok(()),
    }
}

/// Checks the lists of a configuration against the number of layers; returns its `diff_ids`.
fn check_config(
    document: &Within,
    config: &ImageConfiguration,
    layers: usize,
) -> Result<Vec<DiffId>, Fault> {
    let rootfs = config.rootfs();
    if rootfs.typ() != "layers" {
        let (expected, found) = ("layers".to_owned(), rootfs.typ().clone());
        return Err(document
            .field("rootfs.type")
            .fault(FaultKind::Value { expected, found }));
    }
    let at = document.field("rootfs.diff_ids");
    let found = rootfs.diff_ids().len();
    if found != layers {
        return Err(at.fault(FaultKind::Count {
            expected: layers,
            found,
        }));
    }
    if let Some(history) = config
        .history()
        .as_deref()
        .filter(|history| !history.is_empty())
    {
        let found = history
            .iter()
            .filter(|entry| entry.empty_layer() != Some(true))
            .count();
        if found != layers {
            let at = document.field("history");
            return Err(at.fault(FaultKind::Count {
                expected: layers,
                found,
            }));
        }
    }
    let diff_id = |text: &String| match text.parse() {
        Ok(digest) => Ok(DiffId(digest)),
        Err(_) => Err(at.fault(LayoutError::Algorithm {
            digest: text.clone(),
        })),
    };
    rootfs.diff_ids().iter().map(diff_id).collect()
}

fn platform_of(config: &ImageConfiguration) -> oci_spec::image::Platform {
    let mut platform = oci_spec::image::Platform::default();
    platform.set_os(config.os().clone());
    platform.set_architecture(config.architecture().clone());
    platform.set_variant(config.variant().clone());
    platform
}

/// The platform is optional in a descriptor, but may not contradict the configuration. `v8` is what
/// arm64 without a variant means.
fn check_platform(at: &Within, of: &Descriptor, config: &ImageConfiguration) -> Result<(), Fault> {
    let Some(platform) = of.platform() else {
        return Ok(());
    };
    let config = platform_text(&platform_of(config));
    let descriptor = platform_text(platform);
    let plain = |text: &str| text.strip_suffix("arm64/v8").map(|os| format!("{os}arm64"));
    let same =
        |a: &str, b: &str| plain(a).as_deref().unwrap_or(a) == plain(b).as_deref().unwrap_or(b);
    if same(&config, &descriptor) {
        return Ok(());
    }
    Err(at
        .field("platform")
        .fault(FaultKind::Platform { descriptor, config }))
}
