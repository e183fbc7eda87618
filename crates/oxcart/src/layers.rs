//! From a plan's step to a layer: its key, its tree, its record in the store.
//!
//! The key is the digest of all that the layer's bytes depend on, so a layer is built once for all the
//! projects and platforms that share it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::thread;

use anyhow::Context;
use oci::layer::{self, Layer, Options, Output};
use oci::{Content, Digest, Encoder, Entry, Kind, Platform, SpliceMap, Tree};
use serde_json::{Value, json};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use wheel::{InstallOptions, Installed, Limits, RecordPolicy, Sees, Venv, Wheel};

use crate::app::{self, AppFile};
use crate::buffers::Buffers;
use crate::debian;
use crate::diagnostics::Failure;
use crate::listings;
use crate::lock::{DebLayer, LockedDeb, LockedEnvironment, LockedWheel};
use crate::plan::{Plan, Step};
use crate::project::{App, Project, Record};
use crate::store::{Kept, LayerRecord, NewBlob, Store, Use};

/// A layer to have: what it is made of, and the key that tells it from all others.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) key: Digest,
    pub(crate) step: Step,
    /// Of all its files, in seconds since 1970.
    mtime: u64,
    venv: Option<Venv>,
    stands_on: Below,
    pub(crate) platform: Platform,
    /// What Debian packages are put on.
    pub(crate) under: debian::Below,
    /// The files of an app step.
    files: Vec<AppFile>,
    record: BTreeMap<PackageName, Record>,
}

/// What may be at a new environment's path already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Nothing,
    /// An environment of a base image, which must not show through.
    Image,
}

/// A layer that was made, and is not kept yet.
struct Made {
    record: LayerRecord,
    /// What is kept of it: one of these.
    map: Option<SpliceMap>,
    blob: Option<NewBlob>,
}

/// Builds layers of one project into one store.
#[derive(Debug, Clone)]
pub(crate) struct Workshop<'a> {
    pub(crate) project: &'a Project,
    pub(crate) store: &'a Store,
    /// Time of the image and of project files, in seconds since 1970.
    pub(crate) date: u64,
}

/// The jobs of each of `plans`, bottom to top. `date` is the mtime of project files, which are looked at
/// once: they are the same on all platforms, and on top.
pub(crate) fn jobs(project: &Project, plans: &[Plan], date: u64) -> Result<Vec<Vec<Job>>, Failure> {
    let mut own: Option<Vec<Job>> = None;
    let mut all = Vec::new();
    for plan in plans {
        let drawing = Drawing::new(project, plan, date)?;
        let (shared, apps): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|it| it.is_shared());
        let draw = |steps: Vec<&Step>| -> Result<Vec<Job>, Failure> {
            steps.into_iter().map(|step| drawing.job(step)).collect()
        };
        let mut jobs = draw(shared)?;
        let apps = match own.take() {
            Some(apps) => apps,
            None => draw(apps)?,
        };
        jobs.extend(apps.iter().cloned());
        own = Some(apps);
        all.push(jobs);
    }
    Ok(all)
}

/// Those of them that do not depend on the project's files.
pub(crate) fn shared_jobs(project: &Project, plan: &Plan) -> Result<Vec<Job>, Failure> {
    let drawing = Drawing::new(project, plan, oci::SHARED_MTIME)?;
    let steps = plan.steps.iter().filter(|step| step.is_shared());
    steps.map(|step| drawing.job(step)).collect()
}

/// What the jobs of one plan have in common.
struct Drawing<'a> {
    project: &'a Project,
    plan: &'a Plan,
    venv: Option<Venv>,
    record: BTreeMap<PackageName, Record>,
    date: u64,
}

impl<'a> Drawing<'a> {
    fn new(project: &'a Project, plan: &'a Plan, date: u64) -> Result<Self, Failure> {
        let venv = plan.python.as_ref().map(|python| {
            python.version.parse().map(|version| Venv {
                prefix: plan.venv.clone(),
                python: version,
                interpreter: python.interpreter.clone(),
                implementation: wheel::Implementation::CPython,
                sees: match python.environment {
                    Some(LockedEnvironment::Seen) => Sees::System,
                    _ => Sees::Own,
                },
            })
        });
        let venv = venv.transpose().map_err(|error: wheel::VersionError| {
            Failure::new("the lock's Python version is none")
                .hint("run `oxcart lock`")
                .caused_by(error)
        })?;
        let record = project
            .dependencies(plan.platform)
            .map(|it| it.record.clone())
            .unwrap_or_default();
        Ok(Self {
            project,
            plan,
            venv,
            record,
            date,
        })
    }

    fn job(&self, step: &Step) -> Result<Job, Failure> {
        let files = match step {
            Step::App(app) => app::files(&self.project.directory, app)?,
            _ => Vec::new(),
        };
        let mtime = if step.is_shared() {
            oci::SHARED_MTIME
        } else {
            self.date
        };
        let key = Digest::of(&oci::json::canonical(&json!({
            "format": layer::FORMAT,
            "encoder": self.project.encoder.to_string(),
            "kind": step.kind(),
            "inputs": self.inputs(step, &files)?,
            "mtime": mtime,
        })));
        Ok(Job {
            key,
            step: step.clone(),
            mtime,
            venv: self.venv.clone(),
            platform: self.plan.platform,
            under: under(self.plan, step),
            stands_on: self
                .plan
                .image
                .as_ref()
                .map_or(Below::Nothing, |_| Below::Image),
            files,
            record: self.record.clone(),
        })
    }

    /// All that the layer's bytes depend on, besides the format, the encoder and the mtime.
    fn inputs(&self, step: &Step, files: &[AppFile]) -> Result<Value, Failure> {
        let plan = self.plan;
        Ok(match step {
            Step::Debian(_, debs) => {
                let digests =
                    |debs: &[LockedDeb]| json!(debs.iter().map(|it| it.sha256).collect::<Vec<_>>());
                let mut inputs = json!({
                    "deb-format": deb::FORMAT,
                    "debs": digests(debs),
                    "keep-docs": self.project.debian.keep_docs,
                });
                match under(plan, step) {
                    debian::Below::Image(image) => {
                        inputs["dpkg"] = json!(image.dpkg.map(|it| it.digest));
                    }
                    debian::Below::Own(below) => {
                        inputs["release"] = json!(plan.base);
                        inputs["below"] = digests(&below);
                    }
                }
                inputs
            }
            Step::Skeleton => {
                json!({
                    "prefix": plan.venv.as_str(),
                    "python": plan.python,
                    "on-image": plan.image.is_some(),
                })
            }
            Step::Wheels(_) | Step::Part(..) | Step::Project(_, Some(_)) => {
                let wheels = step.wheels();
                let warns = |it| policy(it, &self.record) == RecordPolicy::Warn;
                let site_packages = self
                    .venv
                    .as_ref()
                    .map(|venv| venv.site_packages().to_string());
                let mut inputs = json!({
                    "wheels": wheels
                        .iter()
                        .map(|it| json!([it.sha256, it.requested, warns(it)]))
                        .collect::<Vec<_>>(),
                    "prefix": plan.venv.as_str(),
                    "site-packages": site_packages,
                });
                if let Step::Part(_, part) = step {
                    inputs["part"] = json!([part.number, part.of]);
                }
                inputs
            }
            Step::Project(own, None) => {
                return Err(Failure::new(format!(
                    "the project {} is a wheel, which has to be built to know its layer",
                    own.name
                ))
                .hint("`oxcart build` builds it"));
            }
            Step::App(app) => json!({
                "files": app::fingerprint(files)?,
                "destination": app.destination.as_str(),
            }),
        })
    }
}

/// The layer of a job of the project's own files, built to be known and not to be kept.
pub(crate) fn app_layer(project: &Project, job: &Job, app: &App) -> anyhow::Result<Layer> {
    let tree = app::tree(app, &job.files)?;
    let options = Options {
        encoder: project.encoder,
        mtime: job.mtime,
        ..Options::default()
    };
    let encoded = layer::encode(&tree, &options, Output::Discard);
    Ok(encoded.with_context(|| job.failed())?.layer)
}

impl Workshop<'_> {
    /// Builds the layer of `job` from what is stored with `threads` threads, and keeps its record; where it
    /// `looks` into the layer, also what that holds.
    pub(crate) fn build(
        &self,
        job: &Job,
        threads: NonZeroUsize,
        buffers: &Buffers,
        looks: bool,
    ) -> anyhow::Result<LayerRecord> {
        let memory = buffers.take(threads);
        let options = Options {
            encoder: self.project.encoder,
            mtime: job.mtime,
            jobs: threads.get(),
            memory: memory.bytes(),
        };
        let (made, intact) = thread::scope(|scope| {
            // Reading a wheel takes as long as a part of the work on it, so it is done beside that.
            let intact = scope.spawn(|| self.check_wheels(job));
            let made = if looks {
                listings::beside(|tar| self.encode(job, &options, tar))
            } else {
                self.encode(job, &options, &mut io::sink())
                    .map(|made| (made, None))
            };
            let intact = intact.join();
            (
                made,
                intact.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        });
        // What came of a damaged wheel says nothing.
        intact?;
        let (made, listing) = made?;
        if let Some(listing) = listing {
            listings::keep_seen(self.store, &made.record.layer.diff_id, listing)?;
        }
        if let Some(blob) = made.blob {
            blob.keep()?;
        }
        self.store
            .put_layer(&job.key, &made.record, made.map.as_ref())?;
        Ok(made.record)
    }

    /// Makes the layer of `job`, and writes its tar stream to `tar` on the way.
    fn encode(
        &self,
        job: &Job,
        options: &Options,
        tar: &mut (dyn Write + Send),
    ) -> anyhow::Result<Made> {
        let (tree, mut warnings) = self.tree(job, options.jobs)?;
        let spooled = match &job.step {
            Step::Debian(..) => debian::spooled(&tree),
            _ => 0,
        };
        let _spooled = self.store.disk().hold(Use::Spooled, spooled);
        let is_spliced = matches!(
            job.step,
            Step::Wheels(_) | Step::Part(..) | Step::Project(..) | Step::Skeleton
        ) && self.project.encoder == Encoder::Splice;
        let mut map = is_spliced.then(SpliceMap::new);
        let mut blob = match map {
            Some(_) => None,
            None => Some(self.store.new_blob(Use::Layers)?),
        };
        let output = match (&mut map, &mut blob) {
            (Some(map), _) => Output::Map(map),
            (None, Some(blob)) => Output::Blob(blob),
            (None, None) => Output::Discard,
        };
        let encoded = layer::encode_beside(&tree, options, output, tar);
        let encoded = encoded.with_context(|| job.failed())?;
        warnings.extend(encoded.mismatches.iter().map(|it| {
            format!(
                "{}: /{} has {}, and RECORD says {}",
                it.origin, it.path, it.found, it.expected
            )
        }));
        let kept = if is_spliced { Kept::Map } else { Kept::Blob };
        let record = LayerRecord {
            layer: encoded.layer,
            kept,
            warnings,
        };
        Ok(Made { record, map, blob })
    }

    /// Refuses a wheel of `job` that is damaged in the store.
    fn check_wheels(&self, job: &Job) -> Result<(), Failure> {
        let mut wheels = job.step.wheels().iter();
        wheels.try_for_each(|it| self.store.check_blob(&it.sha256.0, &it.filename))
    }

    fn tree(&self, job: &Job, threads: usize) -> anyhow::Result<(Tree, Vec<String>)> {
        match &job.step {
            Step::Debian(_, debs) => {
                let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
                debian::tree(self.store, self.project, debs, &job.under, threads)
            }
            Step::Skeleton => Ok((skeleton(job)?, Vec::new())),
            Step::Wheels(_) | Step::Project(..) => self.wheels(job, job.step.wheels()),
            Step::Part(wheel, part) => {
                let (tree, warnings) = self.wheels(job, std::slice::from_ref(wheel))?;
                Ok((part.of_tree(tree)?, warnings))
            }
            Step::App(app) => Ok((app::tree(app, &job.files)?, Vec::new())),
        }
    }

    /// The wheels of one layer as one tree. Of two that have one path with other bytes, the later name
    /// wins.
    fn wheels(&self, job: &Job, wheels: &[LockedWheel]) -> anyhow::Result<(Tree, Vec<String>)> {
        let mut tree = Tree::new();
        let mut warnings = Vec::new();
        for locked in wheels {
            let installed = self.install(job, locked)?;
            warnings.extend(installed.warnings.iter().map(ToString::to_string));
            if tree.is_empty() {
                tree = installed.tree;
                continue;
            }
            for (path, entry) in installed.tree {
                match tree.get(&path) {
                    Some(there) if there.kind == Kind::Directory || there.is_same_as(&entry) => {}
                    Some(there) if entry.kind != Kind::Directory => {
                        warnings.push(format!("{} and {} both have /{path}, and it differs: the second one's is taken", there.origin, entry.origin));
                        tree.replace(path, entry)?;
                    }
                    _ => tree.insert(path, entry)?,
                }
            }
        }
        Ok((tree, warnings))
    }

    fn install(&self, job: &Job, locked: &LockedWheel) -> anyhow::Result<Installed> {
        let filename = WheelFilename::from_str(&locked.filename)
            .with_context(|| format!("the lock names {} as a wheel", locked.filename))?;
        let source = self.store.source(&locked.sha256.0, &locked.filename)?;
        let wheel = Wheel::open(source, &filename, &Limits::default())?;
        let options = InstallOptions {
            requested: locked.requested,
            direct_url: None,
            record: policy(locked, &job.record),
        };
        Ok(wheel.install(job.venv(), &options)?)
    }

    /// Whether what the job's layer is made of is stored.
    pub(crate) fn has_sources(&self, job: &Job) -> bool {
        job.sources().iter().all(|it| self.store.has_blob(it))
    }
}

/// What the Debian packages of `step` are put on.
fn under(plan: &Plan, step: &Step) -> debian::Below {
    if let Some(image) = plan.image.as_ref().filter(|image| image.dpkg.is_some()) {
        return debian::Below::Image(Box::new(image.clone()));
    }
    let base = plan.steps.iter().find_map(|it| match (it, step) {
        (Step::Debian(DebLayer::Base, debs), Step::Debian(DebLayer::System, _)) => Some(debs),
        _ => None,
    });
    debian::Below::Own(base.cloned().unwrap_or_default())
}

/// The environment without packages; over a base image, nothing but it is seen at its path.
fn skeleton(job: &Job) -> anyhow::Result<Tree> {
    let venv = job.venv();
    let mut tree = venv.skeleton();
    if job.stands_on == Below::Image {
        let nothing = Content::Bytes(Vec::new().into());
        let origin = "virtual environment".into();
        tree.insert(
            venv.prefix.join(oci::OPAQUE)?,
            Entry::file(nothing, false, &origin),
        )?;
    }
    Ok(tree)
}

impl Job {
    /// The files that have to be fetched for it.
    pub(crate) fn sources(&self) -> Vec<Digest> {
        match &self.step {
            Step::Debian(_, debs) => debs.iter().map(|deb| deb.sha256.0).collect(),
            step => step.wheels().iter().map(|wheel| wheel.sha256.0).collect(),
        }
    }

    /// Whether projects share it: it is not of this one's own files.
    pub(crate) fn is_shared(&self) -> bool {
        self.step.is_shared()
    }

    /// What failed where its layer cannot be had.
    fn failed(&self) -> String {
        format!("the layer with {} cannot be built", self.step.title())
    }

    fn venv(&self) -> &Venv {
        self.venv
            .as_ref()
            .expect("plans have these steps only where there is a Python")
    }

    /// How much work it is, about: bytes to fetch or read, and eight times as much for Debian packages,
    /// which are compressed again.
    pub(crate) fn weight(&self) -> u64 {
        let bytes = self.step.fetched_bytes().unwrap_or(0);
        match &self.step {
            Step::Debian(..) => bytes.saturating_mul(8),
            _ => bytes,
        }
    }
}

fn policy(wheel: &LockedWheel, record: &BTreeMap<PackageName, Record>) -> RecordPolicy {
    let name = PackageName::from_str(&wheel.name).ok();
    match name.and_then(|name| record.get(&name).copied()) {
        Some(Record::Warn) => RecordPolicy::Warn,
        Some(Record::Error) | None => RecordPolicy::Strict,
    }
}
