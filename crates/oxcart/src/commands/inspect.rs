//! `oxcart inspect`

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use oci::LayoutReader;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Serialize;
use serde_json::Value;

use crate::cli::InspectArgs;
use crate::commands::bytes;
use crate::diagnostics::Failure;

/// What is in an image.
#[derive(Debug, Serialize)]
struct Report {
    digest: String,
    platforms: Vec<PlatformReport>,
}

#[derive(Debug, Serialize)]
struct PlatformReport {
    platform: String,
    /// Of the manifest.
    digest: String,
    /// Bytes of all layers, compressed.
    size: u64,
    layers: Vec<LayerReport>,
    /// The `config` object of the image configuration.
    config: Value,
}

#[derive(Debug, Serialize)]
struct LayerReport {
    digest: String,
    diff_id: String,
    media_type: String,
    /// Bytes of the blob.
    size: u64,
    created_by: String,
    comment: String,
}

/// Prints what is in the image at `args.image`.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let (reader, name) = open(&args.image)?;
    let top = reader
        .resolve(name.as_deref())
        .with_context(|| format!("cannot read {}", args.image))?;
    let report = Report {
        digest: top.digest().to_string(),
        platforms: manifests(&reader, &top)?
            .iter()
            .map(|it| platform(&reader, it))
            .collect::<anyhow::Result<_>>()?,
    };
    if args.json {
        return super::print(&serde_json::to_string_pretty(&report)?);
    }
    super::print(text(&report).trim_end())
}

/// Opens `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE` or a bare path, each with an optional
/// `:TAG`.
fn open(image: &str) -> anyhow::Result<(LayoutReader, Option<String>)> {
    let kinds = ["oci:", "oci-archive:", "docker-archive:"];
    let place = kinds
        .iter()
        .find_map(|kind| image.strip_prefix(kind))
        .unwrap_or(image);
    let (path, name) = match place.rsplit_once(':') {
        Some((path, tag)) if !Path::new(place).exists() => (path, Some(tag.to_owned())),
        _ => (place, None),
    };
    if !Path::new(path).exists() {
        return Err(Failure::new(format!("there is no image at {path}"))
            .hint("name a layout directory or an archive; images in registries cannot be inspected by this version")
            .into());
    }
    let reader =
        LayoutReader::open(Path::new(path)).with_context(|| format!("cannot read {path}"))?;
    Ok((reader, name))
}

fn manifests(reader: &LayoutReader, top: &Descriptor) -> anyhow::Result<Vec<Descriptor>> {
    match top.media_type() {
        MediaType::ImageIndex => {
            let index: ImageIndex = serde_json::from_slice(&reader.document(top)?)?;
            Ok(index.manifests().clone())
        }
        _ => Ok(vec![top.clone()]),
    }
}

fn platform(reader: &LayoutReader, descriptor: &Descriptor) -> anyhow::Result<PlatformReport> {
    let (manifest, config) = reader.image(descriptor)?;
    let manifest: ImageManifest = serde_json::from_slice(&manifest)?;
    let mut config: Value = serde_json::from_slice(&config)?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let none = Vec::new();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap_or(&none);
    let history = config["history"].as_array().unwrap_or(&none);
    let history: Vec<_> = history
        .iter()
        .filter(|it| it["empty_layer"] != Value::Bool(true))
        .collect();
    let layers: Vec<_> = manifest
        .layers()
        .iter()
        .enumerate()
        .map(|(n, layer)| LayerReport {
            digest: layer.digest().to_string(),
            diff_id: diff_ids
                .get(n)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            media_type: layer.media_type().to_string(),
            size: layer.size(),
            created_by: history
                .get(n)
                .map(|it| text(it, "created_by"))
                .unwrap_or_default(),
            comment: history
                .get(n)
                .map(|it| text(it, "comment"))
                .unwrap_or_default(),
        })
        .collect();
    let parts = [
        text(&config, "os"),
        text(&config, "architecture"),
        text(&config, "variant"),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(PlatformReport {
        platform: parts.join("/"),
        digest: descriptor.digest().to_string(),
        size: layers.iter().map(|layer| layer.size).sum(),
        layers,
        config: config["config"].take(),
    })
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", report.digest);
    for platform in &report.platforms {
        let _ = writeln!(
            out,
            "\n{}  {}  {} layers, {}",
            platform.platform,
            platform.digest,
            platform.layers.len(),
            bytes(platform.size)
        );
        for layer in &platform.layers {
            let what = if layer.comment.is_empty() {
                &layer.created_by
            } else {
                &layer.comment
            };
            let short = layer.digest.get(..19).unwrap_or(&layer.digest);
            let _ = writeln!(out, "  {short} {:>12}  {what}", bytes(layer.size));
        }
        for (key, value) in platform.config.as_object().into_iter().flatten() {
            let _ = writeln!(out, "  {key}: {value}");
        }
    }
    out
}
