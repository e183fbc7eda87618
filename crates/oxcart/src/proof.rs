//! The proof that an image would load, kept in the store by its layers and its configuration.

use std::num::NonZeroUsize;
use std::sync::Arc;

use check::{Config, Report};
use contents::{Contents, Listing};
use oci::layer::Layer;
use oci::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::Bases;
use crate::build::{Built, BuiltImage};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::listings;
use crate::place::{Location, Place};
use crate::progress::Progress;
use crate::store::Store;

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    report: Report,
}

/// The `config` object of an image configuration.
pub(crate) fn config(document: &Map<String, Value>) -> anyhow::Result<Config> {
    Ok(match document.get("config") {
        None | Some(Value::Null) => Config::default(),
        Some(config) => serde_json::from_value(config.clone())?,
    })
}

/// What an image is known by: nothing else reaches its proof.
fn key<'a>(
    layers: impl Iterator<Item = &'a Layer>,
    config: &Config,
    platform: Platform,
) -> anyhow::Result<Digest> {
    let layers: Vec<_> = layers.map(|layer| layer.diff_id).collect();
    Ok(Digest::of(&oci::json::canonical(&json!({
        "check": check::VERSION,
        "contents": contents::VERSION,
        "layers": layers,
        "config": serde_json::to_value(config)?,
        "platform": platform,
    }))))
}

fn known(store: &Store, key: &Digest) -> Option<Report> {
    let kept: Kept = serde_json::from_slice(&store.proof(key)?).ok()?;
    Some(kept.report)
}

fn prove(
    store: &Store,
    key: &Digest,
    layers: &[Arc<Listing>],
    config: &Config,
    platform: Platform,
) -> anyhow::Result<Report> {
    let report = check::check(&Contents::new(layers), config, platform);
    let kept = Kept { report };
    store.put_proof(key, &serde_json::to_vec(&kept)?)?;
    Ok(kept.report)
}

/// The proof of the image that `layers` at `place` make up.
pub(crate) async fn of_place(
    store: &Store,
    place: &Place,
    layers: &[Layer],
    config: &Config,
    platform: Platform,
) -> anyhow::Result<Report> {
    let key = key(layers.iter(), config, platform)?;
    if let Some(report) = known(store, &key) {
        return Ok(report);
    }
    let listings = listings::of_place(store, place, layers, contents::Options::default()).await?;
    prove(store, &key, &listings, config, platform)
}

/// Proves images that were built, before they go anywhere: one that would not load is an error.
pub(crate) fn of_built(
    built: &Built,
    base: Option<&Location>,
    bases: Bases<'_>,
    fetcher: &Fetcher,
    threads: NonZeroUsize,
) -> anyhow::Result<()> {
    let mut faults = 0;
    for image in &built.images {
        let Some(report) = of_image(image, base, bases, fetcher, threads)? else {
            bases.progress.line(&format!(
                "{}: not checked, since layers of it are in the registry alone; `oxcart check` reads them there",
                image.platform
            ));
            continue;
        };
        faults += report.faults().count();
        tell(image.platform, &report, bases.progress);
    }
    match faults {
        0 => Ok(()),
        1 => Err(refusal("a fault")),
        n => Err(refusal(&format!("{n} faults"))),
    }
}

fn refusal(what: &str) -> anyhow::Error {
    Failure::new(format!("{what} in the image: nothing was written or pushed"))
        .hint("mend what is named above; with --no-check the image is built as it is, and `oxcart check` shows all there is to say of it")
        .into()
}

/// None where that would take layers that are in a registry alone: what spares their download is not to be
/// spent here.
fn of_image(
    image: &BuiltImage,
    base: Option<&Location>,
    bases: Bases<'_>,
    fetcher: &Fetcher,
    threads: NonZeroUsize,
) -> anyhow::Result<Option<Report>> {
    let document: Map<String, Value> = serde_json::from_slice(&image.image.config)?;
    let config = config(&document)?;
    let own: Vec<_> = image.layers.iter().collect();
    let all = || {
        let own = own.iter().map(|layer| &layer.record.layer);
        image.base_layers().iter().chain(own)
    };
    let key = key(all(), &config, image.platform)?;
    if let Some(report) = known(bases.store, &key) {
        return Ok(Some(report));
    }
    if own
        .iter()
        .any(|layer| layer.is_remote() && !listings::is_known(bases.store, layer))
    {
        return Ok(None);
    }
    let mut listings = match (&image.base, base) {
        (Some(locked), Some(location)) => {
            let place = bases.pinned(location, locked)?;
            fetcher.wait(listings::of_place(
                bases.store,
                &place,
                &locked.layers,
                contents::Options::default(),
            ))?
        }
        _ => Vec::new(),
    };
    listings.extend(listings::of_built(bases.store, &own, threads)?);
    prove(bases.store, &key, &listings, &config, image.platform).map(Some)
}

/// Faults in full, notes by their number.
fn tell(platform: Platform, report: &Report, progress: &Progress) {
    let proven = &report.proven;
    let notes = match report.notes().count() {
        0 => String::new(),
        1 => ", a note (`oxcart check` shows it)".to_owned(),
        n => format!(", {n} notes (`oxcart check` shows them)"),
    };
    progress.line(&format!(
        "{platform}: checked {} ELF files, {} libraries, {} requirements{notes}",
        proven.elf_files, proven.libraries, proven.requirements
    ));
    for finding in report.faults() {
        let owner = finding.owner.as_ref().map(|owner| format!(" ({owner})"));
        let owner = owner.unwrap_or_default();
        progress.warn(&format!(
            "{platform}: {}: {}{owner} {}; {}",
            finding.code.name(),
            finding.path,
            finding.message,
            finding.hint.as_deref().unwrap_or_default()
        ));
    }
}
