//! An image for one platform: its configuration and its manifest (image-spec `config.md` and
//! `manifest.md`), made from layers and their descriptions.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType, SCHEMA_VERSION};
use serde_json::{Map, Value, json};

use crate::config::{BaseConfig, object};
use crate::descriptor::{describe, digest_of, oci_layer_type, refer};
use crate::layer::Layer;
use crate::time::rfc3339;
use crate::{DiffId, Platform, Runtime, json};

/// Everything an image is made from.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// What it is built for.
    pub platform: Platform,
    /// What it stands on; None for an image from nothing.
    pub base: Option<Base>,
    /// The layers on top of the base, lowest first.
    pub layers: Vec<LayerSpec>,
    /// How containers run.
    pub runtime: Runtime,
    /// Seconds since 1970 for `created` of the configuration and of the history of the new layers.
    pub created: u64,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A layer and its line in the image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// The layer.
    pub layer: Layer,
    /// `created_by`: what made it.
    pub created_by: String,
    /// `comment`: what is in it.
    pub comment: Option<String>,
}

/// The image that another one stands on.
#[derive(Debug, Clone)]
pub struct Base {
    config: Map<String, Value>,
    layers: Vec<Layer>,
}

impl Base {
    /// Reads a base's manifest and configuration, of OCI's or Docker's media types. Their digests
    /// are the caller's to check.
    pub fn parse(manifest: &[u8], config: &[u8]) -> Result<Self, ImageError> {
        let manifest: ImageManifest =
            serde_json::from_slice(manifest).map_err(|source| ImageError::BaseDocument {
                document: "manifest",
                source,
            })?;
        let (config, diff_ids) = read_config(config, manifest.layers().len())?;
        let layers = manifest.layers().iter().zip(diff_ids).map(base_layer);
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            config,
        })
    }

    /// A base whose layers are known already: reads its configuration, whose digest is the caller's
    /// to check.
    pub fn of_layers(layers: Vec<Layer>, config: &[u8]) -> Result<Self, ImageError> {
        let (config, diff_ids) = read_config(config, layers.len())?;
        if layers.iter().map(|layer| layer.diff_id).ne(diff_ids) {
            return Err(ImageError::BaseDiffIds);
        }
        Ok(Self { config, layers })
    }

    /// Its layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Its configuration, as it was read.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }
}

/// A configuration and its `diff_ids`, as many as there are `layers`.
fn read_config(
    config: &[u8],
    layers: usize,
) -> Result<(Map<String, Value>, Vec<DiffId>), ImageError> {
    let config: Map<String, Value> =
        serde_json::from_slice(config).map_err(|source| ImageError::BaseDocument {
            document: "configuration",
            source,
        })?;
    let diff_ids = BaseConfig(&config).diff_ids()?;
    if diff_ids.len() == layers {
        return Ok((config, diff_ids));
    }
    Err(ImageError::BaseLayers {
        layers,
        diff_ids: diff_ids.len(),
    })
}

fn base_layer((descriptor, diff_id): (&Descriptor, DiffId)) -> Result<Layer, ImageError> {
    let digest = digest_of(descriptor).ok_or_else(|| ImageError::BaseDigest {
        digest: descriptor.digest().to_string(),
    })?;
    Ok(Layer {
        digest,
        diff_id,
        size: descriptor.size(),
        media_type: oci_layer_type(descriptor.media_type().as_ref()).to_string(),
    })
}

/// An image for one platform. Its documents are the bytes to write: nothing serialises them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is built for.
    pub platform: Platform,
    /// The configuration document.
    pub config: Vec<u8>,
    /// What refers to the configuration.
    pub config_descriptor: Descriptor,
    /// The manifest document.
    pub manifest: Vec<u8>,
    /// What refers to the manifest, with the platform.
    pub manifest_descriptor: Descriptor,
    /// All layers, the base's included, lowest first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// Makes the documents.
    pub fn new(spec: &ImageSpec) -> Result<Self, ImageError> {
        let base_layers = spec.base.as_ref().map_or(&[][..], Base::layers);
        let layers: Vec<Layer> = base_layers
            .iter()
            .chain(spec.layers.iter().map(|l| &l.layer))
            .cloned()
            .collect();
        let config = json::canonical(&configuration(spec, &layers)?);
        let config_descriptor = describe(MediaType::ImageConfig, &config);

        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(config_descriptor.clone())
            .layers(layers.iter().map(layer_descriptor).collect::<Vec<_>>());
        let mut manifest = manifest.build().expect("all required fields are set");
        if !spec.annotations.is_empty() {
            manifest.set_annotations(Some(spec.annotations.clone().into_iter().collect()));
        }
        let manifest = json::canonical(&manifest);
        let mut manifest_descriptor = describe(MediaType::ImageManifest, &manifest);
        manifest_descriptor.set_platform(Some(spec.platform.into()));
        Ok(Self {
            platform: spec.platform,
            config,
            config_descriptor,
            manifest,
            manifest_descriptor,
            layers,
        })
    }
}

fn layer_descriptor(layer: &Layer) -> Descriptor {
    refer(
        MediaType::from(layer.media_type.as_str()),
        &layer.digest,
        layer.size,
    )
}

/// The configuration: the base's, with what the spec sets and adds.
fn configuration(spec: &ImageSpec, layers: &[Layer]) -> Result<Map<String, Value>, ImageError> {
    let created = rfc3339(spec.created).ok_or(ImageError::Created {
        seconds: spec.created,
    })?;
    let (mut config, mut history) = match &spec.base {
        None => (Map::new(), Vec::new()),
        Some(base) => {
            let facts = BaseConfig(&base.config);
            facts.check_platform(spec.platform)?;
            (base.config.clone(), facts.history(base.layers.len()))
        }
    };
    history.extend(
        spec.layers
            .iter()
            .map(|layer| history_entry(layer, &created)),
    );

    config.insert("created".to_owned(), created.into());
    config.insert("os".to_owned(), spec.platform.os().into());
    config.insert(
        "architecture".to_owned(),
        spec.platform.architecture().into(),
    );
    if let Some(variant) = spec.platform.variant() {
        config.insert("variant".to_owned(), variant.into());
    }
    spec.runtime.apply(object(&mut config, "config"))?;
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
    let rootfs = object(&mut config, "rootfs");
    rootfs.insert("type".to_owned(), "layers".into());
    rootfs.insert("diff_ids".to_owned(), json!(diff_ids));
    config.insert("history".to_owned(), history.into());
    Ok(config)
}

fn history_entry(layer: &LayerSpec, created: &str) -> Value {
    let mut entry = json!({"created": created, "created_by": layer.created_by});
    if let Some(comment) = &layer.comment {
        entry["comment"] = comment.as_str().into();
    }
    entry
}

/// Why an image could not be described.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The base is for another platform.
    #[error("the base image is for {found}, not for {wanted}")]
    BasePlatform {
        /// What is built.
        wanted: Platform,
        /// What the base's configuration says.
        found: String,
    },
    /// A document of the base cannot be read.
    #[error("the base image's {document} cannot be read")]
    BaseDocument {
        /// Which one.
        document: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The base's manifest and configuration do not belong together.
    #[error(
        "the base image's manifest has {layers} layers, but its configuration {diff_ids} diff_ids"
    )]
    BaseLayers {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// The base's layers and its configuration do not belong together.
    #[error("the base image's configuration has other diff_ids than its layers")]
    BaseDiffIds,
    /// The base has a layer whose digest is not a sha256.
    #[error("the base image has a layer {digest}: only sha256 digests are supported")]
    BaseDigest {
        /// As the manifest has it.
        digest: String,
    },
    /// A time that RFC 3339 cannot say.
    #[error("{seconds} seconds after 1970 is later than the year 9999")]
    Created {
        /// As given.
        seconds: u64,
    },
    /// No name for an environment variable, or a NUL in it or its value.
    #[error("`{}` cannot be an environment variable", .name.escape_debug())]
    Variable {
        /// As given.
        name: String,
    },
    /// Not a port.
    #[error(
        "`{text}` is not a port: expected a number from 1 to 65535, with /tcp, /udp or /sctp after it if need be"
    )]
    Port {
        /// As given.
        text: String,
    },
    /// A working directory has to be absolute.
    #[error("the working directory `{path}` is not an absolute path")]
    Workdir {
        /// As given.
        path: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::layer::Layer;

    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn layer(text: &str) -> Layer {
        let digest = Digest::of(text.as_bytes());
        let diff_id = DiffId(Digest::of(&[text.as_bytes(), b".tar"].concat()));
        Layer {
            digest,
            diff_id,
            size: 7,
            media_type: GZIP.into(),
        }
    }

    fn spec(layers: &[&str]) -> ImageSpec {
        let spec_of = |text: &&str| LayerSpec {
            layer: layer(text),
            created_by: format!("oxcart {text}"),
            comment: (*text == "a").then(|| "the first".to_owned()),
        };
        ImageSpec {
            platform: Platform::ArmV7,
            base: None,
            layers: layers.iter().map(spec_of).collect(),
            runtime: Runtime::default(),
            created: crate::SHARED_MTIME,
            annotations: BTreeMap::new(),
        }
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn base(config: &Value) -> Result<Base, ImageError> {
        let manifest = json!({"schemaVersion": 2, "config": describe(MediaType::ImageConfig, b""),
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": Digest::of(b"base"), "size": 9}]});
        Base::parse(&json::canonical(&manifest), &json::canonical(config))
    }

    #[test]
    fn from_nothing() {
        let mut spec = spec(&["a", "b"]);
        spec.annotations = ('a'..='h')
            .rev()
            .map(|c| (c.to_string(), c.to_string()))
            .collect();
        let image = Image::new(&spec).unwrap();
        insta::assert_snapshot!(text(&image.config), @r#"{"architecture":"arm","config":{},"created":"1980-01-01T00:00:00Z","history":[{"comment":"the first","created":"1980-01-01T00:00:00Z","created_by":"oxcart a"},{"created":"1980-01-01T00:00:00Z","created_by":"oxcart b"}],"os":"linux","rootfs":{"diff_ids":["sha256:6c6180db4b25f66c277092b87cdcde6f2f84fbc9fcc53ec83545c0f9c102914f","sha256:ad1ee1deede779dee661acbd7b2cf9b13a7607dbac236c31b06e1f41ad64b039"],"type":"layers"},"variant":"v7"}"#);
        insta::assert_snapshot!(text(&image.manifest), @r#"{"annotations":{"a":"a","b":"b","c":"c","d":"d","e":"e","f":"f","g":"g","h":"h"},"config":{"digest":"sha256:407f66edaa92c72c474c7b0bb32cd456c1cbb38017245e99c888f7d71dc72619","mediaType":"application/vnd.oci.image.config.v1+json","size":435},"layers":[{"digest":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":7},{"digest":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":7}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#);
        assert_eq!(
            image.config_descriptor,
            describe(MediaType::ImageConfig, &image.config)
        );
        assert_eq!(
            digest_of(&image.manifest_descriptor),
            Some(Digest::of(&image.manifest))
        );
        assert_eq!(
            image.manifest_descriptor.platform(),
            &Some(Platform::ArmV7.into())
        );
    }

    #[test]
    fn on_a_base_whose_unknown_fields_stay() {
        let base = base(&json!({
            "os": "linux", "architecture": "arm", "variant": "v7", "x-own": {"b": 1, "a": [null]},
            "created": "2001-01-01T00:00:00Z", "config": {"Cmd": ["sh"], "X": true},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"base.tar")]},
            "history": [{"created_by": "ADD"}, {"created_by": "CMD", "empty_layer": true}],
        }));
        let image = Image::new(&ImageSpec {
            base: Some(base.unwrap()),
            ..spec(&["b"])
        })
        .unwrap();
        insta::assert_snapshot!(text(&image.config), @r#"{"architecture":"arm","config":{"Cmd":["sh"],"X":true},"created":"1980-01-01T00:00:00Z","history":[{"created_by":"ADD"},{"created_by":"CMD","empty_layer":true},{"created":"1980-01-01T00:00:00Z","created_by":"oxcart b"}],"os":"linux","rootfs":{"diff_ids":["sha256:858e6798dabe6e6d7bc8317e335d5a4ad3434f785fe9b6782ff0183f1c559e08","sha256:ad1ee1deede779dee661acbd7b2cf9b13a7607dbac236c31b06e1f41ad64b039"],"type":"layers"},"variant":"v7","x-own":{"a":[null],"b":1}}"#);
        assert_eq!(image.layers[0].media_type, GZIP);
        assert_eq!(image.layers[0].size, 9);
    }

    #[test]
    fn a_history_that_does_not_add_up_is_replaced() {
        let base = base(&json!({"os": "linux", "architecture": "arm",
            "rootfs": {"diff_ids": [Digest::of(b"base.tar")]}}));
        let image = Image::new(&ImageSpec {
            base: Some(base.unwrap()),
            ..spec(&["b"])
        })
        .unwrap();
        let config: Value = serde_json::from_slice(&image.config).unwrap();
        assert_eq!(config["history"].as_array().unwrap().len(), 2);
        assert_eq!(config["history"][1]["created_by"], "oxcart b");
    }

    #[test]
    fn bases_that_do_not_fit_are_refused() {
        let one = json!([Digest::of(b"base.tar")]);
        let other = base(
            &json!({"os": "linux", "architecture": "arm", "variant": "v6",
            "rootfs": {"diff_ids": one}}),
        );
        let error = Image::new(&ImageSpec {
            base: Some(other.unwrap()),
            ..spec(&[])
        })
        .unwrap_err();
        insta::assert_snapshot!(error, @"the base image is for linux/arm/v6, not for linux/arm/v7");
        let error = base(&json!({"rootfs": {"diff_ids": null}})).unwrap_err();
        insta::assert_snapshot!(error, @"the base image's manifest has 1 layers, but its configuration 0 diff_ids");
        let error = base(&json!({"rootfs": {"diff_ids": ["sha256:x"]}})).unwrap_err();
        insta::assert_snapshot!(error, @"the base image's configuration cannot be read");
        let error = base(&json!([])).unwrap_err();
        insta::assert_snapshot!(error, @"the base image's configuration cannot be read");
    }

    #[test]
    fn a_time_too_late_is_refused() {
        let error = Image::new(&ImageSpec {
            created: u64::MAX,
            ..spec(&[])
        })
        .unwrap_err();
        insta::assert_snapshot!(error, @"18446744073709551615 seconds after 1970 is later than the year 9999");
    }
}
