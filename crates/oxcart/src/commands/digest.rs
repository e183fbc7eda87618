//! `oxcart digest`

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use oci::layer::Layer;
use oci::{Digest, Index};
use serde::Serialize;

use crate::asked;
use crate::buffers::Buffers;
use crate::build;
use crate::cli::{DigestArgs, Global};
use crate::clock;
use crate::commands::lock::stale;
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::full_lock::{self, Stated};
use crate::github::Workflow;
use crate::layers::{self, Job, Workshop};
use crate::lock::{Lock, LockedImage};
use crate::plan::{Plan, Step};
use crate::progress::Progress;
use crate::project::Project;
use crate::project_wheel;
use crate::registries::Registries;
use crate::store::Store;

/// What a build would give.
#[derive(Debug, Serialize)]
struct Report {
    /// Of the index.
    digest: Digest,
    /// Bytes of the index document.
    size: usize,
    platforms: BTreeMap<String, PlatformReport>,
}

#[derive(Debug, Serialize)]
struct PlatformReport {
    /// Of the manifest.
    digest: Digest,
    config: Digest,
    layers: Vec<Digest>,
}

/// Prints the digest that a build gives, from the lock and the project's files alone. A project that is a wheel is
/// built for it, as a build does.
pub(crate) fn run(global: &Global, args: &DigestArgs) -> anyhow::Result<()> {
    let mut project = Project::open(&global.project, args.profile.as_deref())?;
    let platforms = project.choose(&args.platforms)?;
    if let Some(workflow) = Workflow::of_environment() {
        workflow.annotate(&mut project.annotations);
    }
    let path = project.lock_file();
    let lock = Lock::read(&path)?;
    let lock = lock.ok_or_else(|| stale(&path, "it does not exist"))?;
    let registries = Registries::new(global, None, &Progress::new(global)).offline();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let why = asked::staleness(&project, &lock, &platforms, &registries);
    if let Some(why) = runtime.block_on(why)? {
        return Err(stale(&path, &why).into());
    }
    let mut drafts = Drafts {
        stated: full_lock::stated(&lock, project.encoder),
        date: clock::source_date()?,
        project: &project,
        store: None,
        lacking: Vec::new(),
    };
    let locked = platforms.iter().filter_map(|it| lock.platform(*it));
    let mut plans = locked
        .map(|locked| Plan::new(&project, locked))
        .collect::<Result<Vec<_>, _>>()?;
    let steps = plans.iter().flat_map(|plan| &plan.steps);
    if steps.into_iter().any(|it| matches!(it, Step::Project(..))) {
        let store = Store::open(global.store.as_deref())?;
        let progress = Progress::new(global);
        let fetcher = Fetcher::new(&project, &store, &progress)?;
        project_wheel::complete(&mut plans, &project, &fetcher, &progress)?;
        drafts.store = Some(store);
    }
    let jobs = layers::jobs(&project, &plans, drafts.date)?;
    let images = plans
        .iter()
        .zip(&jobs)
        .map(|(plan, jobs)| drafts.image(plan, jobs))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if !drafts.lacking.is_empty() {
        return Err(lacking(&path.display().to_string(), &drafts.lacking).into());
    }
    let images: Vec<_> = images.into_iter().flatten().collect();
    let index = Index::of(&images, &project.annotations);
    let digest = Digest::of(&index.bytes);
    if !args.json {
        return super::print(&digest.to_string());
    }
    let report = |image: &oci::Image| {
        let report = PlatformReport {
            digest: Digest::of(&image.manifest),
            config: Digest::of(&image.config),
            layers: image.layers.iter().map(|layer| layer.digest).collect(),
        };
        (image.platform.to_string(), report)
    };
    let report = Report {
        digest,
        size: index.bytes.len(),
        platforms: images.iter().map(report).collect(),
    };
    super::print(&serde_json::to_string_pretty(&report)?)
}

/// Images by their documents.
struct Drafts<'a> {
    project: &'a Project,
    /// What the lock states, and the layers of the project's own files.
    stated: Stated,
    date: u64,
    /// Where the project's own wheel is, if it has one.
    store: Option<Store>,
    /// What the lock does not say.
    lacking: Vec<String>,
}

impl Drafts<'_> {
    /// The image of a plan; None where the lock does not say enough.
    fn image(&mut self, plan: &Plan, jobs: &[Job]) -> anyhow::Result<Option<oci::Image>> {
        let base = plan.image.as_ref().map(LockedImage::base).transpose()?;
        if let Some(None) = base {
            let what = "the configuration of the base image";
            self.lacking.push(format!("{}: {what}", plan.platform));
        }
        let mut layers = Vec::new();
        for job in jobs {
            if let Some(layer) = self.layer(job)? {
                layers.push(layer);
            } else {
                let title = job.step.title();
                self.lacking.push(format!("{}: {title}", plan.platform));
            }
        }
        if !self.lacking.is_empty() {
            return Ok(None);
        }
        let layers = jobs.iter().zip(&layers);
        let image = build::describe(plan, base.flatten(), layers, self.date)?;
        Ok(Some(image))
    }

    fn layer(&mut self, job: &Job) -> anyhow::Result<Option<Layer>> {
        let known = self.stated.get(&job.key).cloned();
        match (&job.step, known) {
            (Step::App(app), None) => {
                let layer = layers::app_layer(self.project, job, app)?;
                self.stated.insert(job.key, layer.clone());
                Ok(Some(layer))
            }
            (Step::Project(..), None) => {
                let Some(store) = &self.store else {
                    return Ok(None);
                };
                if let Some(record) = store.layer(&job.key) {
                    return Ok(Some(record.layer));
                }
                let workshop = Workshop {
                    project: self.project,
                    store,
                    date: self.date,
                };
                let one = NonZeroUsize::MIN;
                let record = workshop.build(job, one, &Buffers::new(None, one)?, false)?;
                Ok(Some(record.layer))
            }
            (_, known) => Ok(known),
        }
    }
}

/// The failure where the lock does not state all layers.
fn lacking(path: &str, lacking: &[String]) -> Failure {
    let lines = lacking.join("\n  ");
    Failure::new(format!("{path} does not state every layer; it lacks\n  {lines}"))
        .hint("run `oxcart lock --layers`, or `oxcart build`, where the network is, and commit what it writes")
}
