//! The proof that an image would load, kept in the store by its layers and its configuration.

use std::num::NonZeroUsize;
use std::sync::Arc;

use check::{Config, Report};
use contents::{Contents, Listing, Options};
use oci::layer::Layer;
use oci::{Digest, Platform};
use resolve::{Inputs, Replaced};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::Bases;
use crate::build::{Built, BuiltImage, in_parallel};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::listings;
use crate::place::Place;
use crate::progress::Progress;
use crate::project::Project;
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
    let listings = listings::of_place(
        store,
        place,
        || Ok(place.clone()),
        layers,
        Options::default(),
    )
    .await?;
    prove(store, &key, &listings, config, platform)
}

/// Proves images that were built, before they go anywhere: one that would not load is an error.
pub(crate) fn of_built(
    built: &Built,
    project: &Project,
    bases: Bases<'_>,
    fetcher: &Fetcher,
    threads: NonZeroUsize,
) -> anyhow::Result<()> {
    let subjects = built
        .images
        .iter()
        .map(Subject::new)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (far, subjects): (Vec<_>, Vec<_>) =
        subjects.into_iter().partition(|it| it.is_far(bases.store));
    for it in far {
        bases.progress.line(&format!(
            "{}: not checked, since layers of it are in the registry alone; `oxcart check` reads them there",
            it.image.platform
        ));
    }
    let unknown = subjects
        .iter()
        .filter(|it| known(bases.store, &it.key).is_none());
    let own = unknown.flat_map(|it| &it.image.layers);
    let listings = listings::of_built(bases.store, own, threads)?;
    let reports = in_parallel(&subjects, threads, |it| {
        if let Some(report) = known(bases.store, &it.key) {
            return Ok(report);
        }
        let mut layers = match (&it.image.base, project.base.location()) {
            (Some(locked), Some(location)) => {
                let open = || bases.pinned(location, locked);
                fetcher.wait(listings::of_place(
                    bases.store,
                    location,
                    open,
                    &locked.layers,
                    Options::default(),
                ))?
            }
            _ => Vec::new(),
        };
        let own = it.image.layers.iter();
        layers.extend(own.map(|it| Arc::clone(&listings[&it.record.layer.diff_id.0])));
        prove(bases.store, &it.key, &layers, &it.config, it.image.platform)
    })?;
    let mut faults = 0;
    for (it, mut report) in subjects.iter().zip(reports) {
        let platform = it.image.platform;
        fetcher.wait(waive(&mut report, project, platform))?;
        faults += report.faults().count();
        tell(platform, &report, bases.progress);
    }
    match faults {
        0 => Ok(()),
        1 => Err(refusal("a fault")),
        n => Err(refusal(&format!("{n} faults"))),
    }
}

/// An image that was built, and what its proof is known by.
struct Subject<'a> {
    image: &'a BuiltImage,
    config: Config,
    key: Digest,
}

impl<'a> Subject<'a> {
    fn new(image: &'a BuiltImage) -> anyhow::Result<Self> {
        let document: Map<String, Value> = serde_json::from_slice(&image.image.config)?;
        let config = config(&document)?;
        let own = image.layers.iter().map(|layer| &layer.record.layer);
        let key = key(
            image.base_layers().iter().chain(own),
            &config,
            image.platform,
        )?;
        Ok(Self { image, config, key })
    }

    /// Whether its proof would take layers that are in a registry alone: what spares their download is not to be
    /// spent here.
    fn is_far(&self, store: &Store) -> bool {
        let mut own = self.image.layers.iter();
        known(store, &self.key).is_none()
            && own.any(|layer| layer.is_remote() && !listings::is_known(store, layer))
    }
}

/// Makes notes of unsatisfied requirements that `project` replaces or leaves out.
pub(crate) async fn waive(
    report: &mut Report,
    project: &Project,
    platform: Platform,
) -> anyhow::Result<()> {
    let Some(dependencies) = project.dependencies(platform) else {
        return Ok(());
    };
    if !report.lacks_requirements() {
        return Ok(());
    }
    let policies = &dependencies.policies;
    let mut replaced = Replaced::stated(&policies.overrides, &policies.exclude);
    replaced.extend(Inputs::read(&dependencies.inputs).await?.replaced());
    report.waive(|owner, subject| {
        let replaced = replaced.iter().find(|it| it.covers(owner, subject))?;
        Some(replaced.by().to_owned())
    });
    Ok(())
}

fn refusal(what: &str) -> anyhow::Error {
    Failure::new(format!("{what} in the image: nothing was written or pushed"))
        .hint("mend what is named above; with --no-check the image is built as it is, and `oxcart check` shows all there is to say of it")
        .into()
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
