//! `oxcart inspect`

use oci_spec::image::ImageManifest;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

use crate::cli::{Global, InspectArgs};
use crate::commands::{bytes, push::runtime};
use crate::diagnostics::Failure;
use crate::place::{Document, Images, Location, Place};
use crate::progress::Progress;
use crate::registries::Registries;

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
pub(crate) fn run(global: &Global, args: &InspectArgs) -> anyhow::Result<()> {
    let location = Location::typed(&args.image)?;
    let progress = Progress::new(global);
    let registries = Registries::new(global, location.reference(), &progress);
    let report = runtime()?.block_on(async {
        let place = Place::open(&location, &registries)?;
        let images = Images::read(&place).await?;
        let mut platforms = Vec::new();
        for manifest in &images.manifests {
            platforms.push(platform(&place, manifest).await?);
        }
        Ok::<_, anyhow::Error>(Report {
            digest: images.top.digest().to_string(),
            platforms,
        })
    })?;
    if args.json {
        return super::print(&serde_json::to_string_pretty(&report)?);
    }
    super::print(text(&report).trim_end())
}

async fn platform(place: &Place, document: &Document) -> anyhow::Result<PlatformReport> {
    let manifest: ImageManifest = document.parsed()?;
    if let Some(kind) = manifest.artifact_type() {
        return Err(
            Failure::new(format!("{place} is no image: it is an artifact, {kind}"))
                .hint("what `oxcart vendor` gathered is for `oxcart build --offline --vendor`")
                .into(),
        );
    }
    let config = place.small_blob(manifest.config()).await?;
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
        digest: document.digest().to_string(),
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
