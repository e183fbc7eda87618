//! The proof that an image would load, kept in the store by its layers and its configuration.

use std::collections::BTreeMap;
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
use crate::build::{Built, BuiltImage, BuiltLayer, in_parallel};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::listings;
use crate::place::Place;
use crate::plan::Step;
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
fn key(layers: &[Value], config: &Config, platform: Platform) -> anyhow::Result<Digest> {
    Ok(Digest::of(&oci::json::canonical(&json!({
        "check": check::VERSION,
        "contents": contents::VERSION,
        "layers": layers,
        "config": serde_json::to_value(config)?,
        "platform": platform,
    }))))
}

/// What a layer is known by.
fn name_of(layer: &Layer) -> Value {
    json!(layer.diff_id)
}

/// The same of one that was built. The project's own files change all the time, and a proof reads few of
/// their bytes: they are known by what was seen of them.
fn name_of_built(own: &BTreeMap<Digest, Arc<Listing>>, built: &BuiltLayer) -> Value {
    let layer = &built.record.layer;
    match own.get(&layer.diff_id.0) {
        Some(listing) => {
            json!({ "outline": Digest::of(&oci::json::canonical(&listing.outline())) })
        }
        None => name_of(layer),
    }
}

/// Whether a layer is of the project's own files, and here to be looked into.
fn is_own(layer: &BuiltLayer) -> bool {
    matches!(layer.job.step, Step::App(_)) && !layer.is_remote()
}

fn known(store: &Store, keys: &[Digest]) -> Option<Report> {
    let kept = keys.iter().find_map(|key| store.proof(key))?;
    let kept: Kept = serde_json::from_slice(&kept).ok()?;
    Some(kept.report)
}

fn prove(
    store: &Store,
    keys: &[Digest],
    layers: &[Arc<Listing>],
    config: &Config,
    platform: Platform,
) -> anyhow::Result<Report> {
    let report = check::check(&Contents::new(layers), config, platform);
    let kept = Kept { report };
    let bytes = serde_json::to_vec(&kept)?;
    keys.iter()
        .try_for_each(|key| store.put_proof(key, &bytes))?;
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
    let names: Vec<_> = layers.iter().map(name_of).collect();
    let keys = [key(&names, config, platform)?];
    if let Some(report) = known(store, &keys) {
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
    prove(store, &keys, &listings, config, platform)
}

/// Proves images that were built, before they go anywhere: one that would not load is an error.
pub(crate) fn of_built(
    built: &Built,
    project: &Project,
    bases: Bases<'_>,
    fetcher: &Fetcher,
    threads: NonZeroUsize,
) -> anyhow::Result<()> {
    let mut subjects = built
        .images
        .iter()
        .map(|image| Subject::new(image, bases.store))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let unknown = subjects.iter().filter(|it| it.report.is_none());
    let own = unknown.flat_map(|it| it.image.layers.iter().filter(|it| is_own(it)));
    let own = listings::of_built(bases.store, own, threads)?;
    for it in subjects.iter_mut().filter(|it| it.report.is_none()) {
        it.look(bases.store, &own)?;
    }
    let (far, subjects): (Vec<_>, Vec<_>) =
        subjects.into_iter().partition(|it| it.is_far(bases.store));
    for it in far {
        bases.progress.line(&format!(
            "{}: not checked, since layers of it are in the registry alone; `oxcart check` reads them there",
            it.image.platform
        ));
    }
    let unknown = subjects.iter().filter(|it| it.report.is_none());
    let own = unknown.flat_map(|it| &it.image.layers);
    let listings = listings::of_built(bases.store, own, threads)?;
    let reports = in_parallel(&subjects, threads, |it| {
        if let Some(report) = &it.report {
            return Ok(report.clone());
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
        prove(
            bases.store,
            &it.keys,
            &layers,
            &it.config,
            it.image.platform,
        )
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
    /// By its layers, and by what was seen of them.
    keys: Vec<Digest>,
    /// Its proof, if that is kept.
    report: Option<Report>,
}

impl<'a> Subject<'a> {
    fn new(image: &'a BuiltImage, store: &Store) -> anyhow::Result<Self> {
        let document: Map<String, Value> = serde_json::from_slice(&image.image.config)?;
        let mut subject = Self {
            image,
            config: config(&document)?,
            keys: Vec::new(),
            report: None,
        };
        subject.look(store, &BTreeMap::new())?;
        Ok(subject)
    }

    /// Makes it known by `own` too, which is what layers of the project's own files hold.
    fn look(&mut self, store: &Store, own: &BTreeMap<Digest, Arc<Listing>>) -> anyhow::Result<()> {
        let base = self.image.base_layers().iter().map(name_of);
        let layers = self.image.layers.iter().map(|it| name_of_built(own, it));
        let names: Vec<_> = base.chain(layers).collect();
        let key = key(&names, &self.config, self.image.platform)?;
        self.report = known(store, &[key]);
        self.keys.push(key);
        Ok(())
    }

    /// Whether its proof would take layers that are in a registry alone: what spares their download is not to be
    /// spent here.
    fn is_far(&self, store: &Store) -> bool {
        let mut own = self.image.layers.iter();
        self.report.is_none()
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
    Failure::new(format!("{what} in the image: it is neither written nor pushed"))
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
