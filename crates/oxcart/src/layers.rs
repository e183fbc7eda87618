//! From a plan's step to a layer: its key, its tree, its record in the store.
//!
//! The key is the digest of all that the layer's bytes depend on, so a layer is built once for all the
//! projects and platforms that share it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use oci::layer::{self, Options, Output};
use oci::{Archived, Content, Digest, Encoder, Entry, Kind, SpliceMap, Tree, TreePath};
use serde_json::{Value, json};
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use wheel::{InstallOptions, Installed, Limits, RecordPolicy, Sees, Venv, Wheel};

use crate::app::{self, AppFile};
use crate::build::in_parallel;
use crate::debian;
use crate::diagnostics::Failure;
use crate::lock::{LockedEnvironment, LockedWheel};
use crate::plan::{Plan, Step};
use crate::project::{Project, Record};
use crate::store::{Kept, LayerRecord, Store};

/// Wheels from this size on are worth two threads: 16 MiB.
const LARGE: u64 = 16 << 20;

/// A layer to have: what it is made of, and the key that tells it from all others.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) key: Digest,
    pub(crate) step: Step,
    venv: Option<Venv>,
    stands_on: Below,
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

/// Builds layers of one project into one store.
#[derive(Debug, Clone)]
pub(crate) struct Workshop<'a> {
    pub(crate) project: &'a Project,
    pub(crate) store: &'a Store,
    /// mtime of project files, in seconds since 1970.
    pub(crate) date: u64,
}

impl Workshop<'_> {
    /// The jobs of `plan`, bottom to top.
    pub(crate) fn jobs(&self, plan: &Plan) -> Result<Vec<Job>, Failure> {
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
        let record = self
            .project
            .dependencies(plan.platform)
            .map(|it| it.record.clone())
            .unwrap_or_default();
        plan.steps
            .iter()
            .map(|step| {
                let files = match step {
                    Step::App(app) => app::files(&self.project.directory, app)?,
                    _ => Vec::new(),
                };
                let inputs = self.inputs(plan, step, &files, venv.as_ref(), &record)?;
                let key = Digest::of(&oci::json::canonical(&json!({
                    "format": layer::FORMAT,
                    "encoder": self.project.encoder.to_string(),
                    "kind": step.kind(),
                    "inputs": inputs,
                    "mtime": self.mtime(step),
                })));
                Ok(Job {
                    key,
                    step: step.clone(),
                    venv: venv.clone(),
                    stands_on: plan.image.as_ref().map_or(Below::Nothing, |_| Below::Image),
                    files,
                    record: record.clone(),
                })
            })
            .collect()
    }

    /// All that the layer's bytes depend on, besides the format, the encoder and the mtime.
    fn inputs(
        &self,
        plan: &Plan,
        step: &Step,
        files: &[AppFile],
        venv: Option<&Venv>,
        record: &BTreeMap<PackageName, Record>,
    ) -> Result<Value, Failure> {
        Ok(match step {
            Step::Debian(_, debs) => json!({
                "debs": debs.iter().map(|deb| deb.sha256).collect::<Vec<_>>(),
                "release": plan.base,
                "keep-docs": self.project.debian.keep_docs,
            }),
            Step::Skeleton => {
                json!({
                    "prefix": plan.venv.as_str(),
                    "python": plan.python,
                    "on-image": plan.image.is_some(),
                })
            }
            Step::Wheels(wheels) => json!({
                "wheels": wheels
                    .iter()
                    .map(|it| json!([it.sha256, it.requested, policy(it, record) == RecordPolicy::Warn]))
                    .collect::<Vec<_>>(),
                "prefix": plan.venv.as_str(),
                "site-packages": venv.map(|venv| venv.site_packages().to_string()),
            }),
            Step::Project(own) => {
                return Err(Failure::new(format!(
                    "the layer of {} is wanted before its wheel is built",
                    own.name
                )));
            }
            Step::App(app) => json!({
                "files": app::fingerprint(files)?,
                "destination": app.destination.as_str(),
            }),
        })
    }

    fn mtime(&self, step: &Step) -> u64 {
        if matches!(step, Step::App(_)) {
            self.date
        } else {
            oci::SHARED_MTIME
        }
    }

    /// Builds the layer of `job` from what is stored, and keeps its record.
    pub(crate) fn build(&self, job: &Job, threads: NonZeroUsize) -> anyhow::Result<LayerRecord> {
        let (tree, mut warnings) = self.tree(job)?;
        let options = Options {
            encoder: self.project.encoder,
            mtime: self.mtime(&job.step),
            jobs: job.threads(threads),
        };
        let spliced = matches!(job.step, Step::Wheels(_) | Step::Skeleton)
            && self.project.encoder == Encoder::Splice;
        let (encoded, kept, map) = if spliced {
            let mut map = SpliceMap::new();
            let encoded = layer::encode(&tree, &options, Output::Map(&mut map));
            (
                encoded.with_context(|| self.failed(job))?,
                Kept::Map,
                Some(map),
            )
        } else {
            let mut blob = self.store.new_blob()?;
            let encoded = layer::encode(&tree, &options, Output::Blob(&mut blob))
                .with_context(|| self.failed(job))?;
            blob.keep()?;
            (encoded, Kept::Blob, None)
        };
        warnings.extend(encoded.mismatches.iter().map(|it| {
            format!(
                "{}: /{} has {}, and RECORD says {}",
                it.origin, it.path, it.found, it.expected
            )
        }));
        let record = LayerRecord {
            layer: encoded.layer,
            kept,
            warnings,
        };
        self.store.put_layer(&job.key, &record, map.as_ref())?;
        Ok(record)
    }

    #[expect(clippy::unused_self, reason = "reads as part of the workshop")]
    fn failed(&self, job: &Job) -> String {
        format!("the layer with {} cannot be built", job.step.title())
    }

    fn tree(&self, job: &Job) -> anyhow::Result<(Tree, Vec<String>)> {
        match &job.step {
            Step::Debian(layer, debs) => debian::tree(self.store, self.project, *layer, debs),
            Step::Skeleton => Ok((skeleton(job)?, Vec::new())),
            Step::Wheels(wheels) => self.wheels(job, wheels),
            Step::Project(own) => anyhow::bail!("{} has no wheel", own.name),
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

    fn stored(&self, wheels: &[LockedWheel]) -> bool {
        wheels
            .iter()
            .all(|wheel| self.store.has_blob(&wheel.sha256.0))
    }

    /// Warnings about paths that wheels of different layers both have, with other bytes: the upper
    /// layer hides the lower one's. Layers whose wheels are no longer stored are passed over: they
    /// were looked at when they were built.
    pub(crate) fn overlaps(
        &self,
        jobs: &[Job],
        threads: NonZeroUsize,
    ) -> anyhow::Result<Vec<String>> {
        let layers = in_parallel(jobs, threads, |job| match &job.step {
            Step::Wheels(wheels) if self.stored(wheels) => {
                Ok(identities(self.wheels(job, wheels)?.0))
            }
            _ => Ok(Vec::new()),
        })?;
        let mut owners: BTreeMap<TreePath, Identity> = BTreeMap::new();
        let mut warnings = Vec::new();
        for (path, file) in layers.into_iter().flatten() {
            if let Some(lower) = owners.get(&path).filter(|lower| lower.bytes != file.bytes) {
                warnings.push(format!(
                    "{} and {} both have /{path}, and it differs: the second one's is seen",
                    lower.origin, file.origin
                ));
            }
            owners.insert(path, file);
        }
        Ok(warnings)
    }
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

/// What tells a file from another one of its path.
struct Identity {
    origin: Arc<str>,
    /// Mode, size, and checksum.
    bytes: (u32, u64, String),
}

/// The files of a tree, without what keeps their archives open.
fn identities(tree: Tree) -> Vec<(TreePath, Identity)> {
    tree.into_iter()
        .filter_map(|(path, entry)| {
            let Kind::File(content) = &entry.kind else {
                return None;
            };
            let checksum = match content {
                Content::Bytes(bytes) => Digest::of(bytes).to_string(),
                Content::Archived(Archived {
                    checksum: Some((checksum, _)),
                    ..
                }) => checksum.to_string(),
                Content::Archived(archived) => format!("crc32:{:08x}", archived.crc32),
                Content::File { source, .. } => source.name().to_owned(),
            };
            let bytes = (entry.mode, content.size(), checksum);
            Some((
                path,
                Identity {
                    origin: entry.origin,
                    bytes,
                },
            ))
        })
        .collect()
}

impl Job {
    fn venv(&self) -> &Venv {
        self.venv
            .as_ref()
            .expect("plans have these steps only where there is a Python")
    }

    /// Threads for this one layer, of those that build several at a time. One that is compressed or
    /// large would otherwise be the last that all wait for; each thread takes up to 5 MiB.
    fn threads(&self, all: NonZeroUsize) -> usize {
        match &self.step {
            Step::Debian(..) => all.get(),
            Step::Wheels(_) if self.weight() >= LARGE => all.get().min(2),
            _ => 1,
        }
    }

    /// How much work it is, about: bytes to fetch or read.
    pub(crate) fn weight(&self) -> u64 {
        self.step.fetched_bytes().unwrap_or(0)
    }
}

fn policy(wheel: &LockedWheel, record: &BTreeMap<PackageName, Record>) -> RecordPolicy {
    let name = PackageName::from_str(&wheel.name).ok();
    match name.and_then(|name| record.get(&name).copied()) {
        Some(Record::Warn) => RecordPolicy::Warn,
        Some(Record::Error) | None => RecordPolicy::Strict,
    }
}
