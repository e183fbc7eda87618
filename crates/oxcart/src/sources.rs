//! Wheels that are built from sources: sdists that `build-from-source` allows, and the project itself.
//!
//! What `backend` needs is found and fetched here: the sources, and the wheels that their backend
//! requires, resolved for this machine's Python. What was built is in the store like a download, and a
//! note of it by the key of all that it was made from. One is built at a time: backends use all the
//! processors by themselves.

mod prepared;
mod sdist;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};

use backend::Python;
use oci::Digest;
use resolve::Indexes;
use tokio::sync::OnceCell;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::built::{self, Record};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::lock::{Lock, LockedRequirement};
use crate::mutex::lock;
use crate::progress::Progress;
use crate::project::Dependencies;
use crate::store::Store;
use prepared::{machine, unfit};

/// Builds wheels into one store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Builder {
    shared: Arc<Shared>,
    /// Where wheels for the backends come from.
    indexes: Indexes,
    sources: BTreeMap<String, String>,
    /// The versions of them that an older lock has.
    prefer: BTreeMap<String, String>,
}

struct Shared {
    fetcher: Fetcher,
    progress: Progress,
    python: OnceCell<Python>,
    /// Whose turn it is to build.
    turn: tokio::sync::Mutex<()>,
    /// The requirements of what was built before, by the digest of the sources.
    pins: Mutex<BTreeMap<Digest, Vec<LockedRequirement>>>,
}

/// What is to be built.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// What messages call it.
    pub(crate) what: String,
    /// Normalised.
    pub(crate) name: PackageName,
    /// None where the sources decide.
    pub(crate) version: Option<Version>,
    /// What tells its sources from others.
    pub(crate) digest: Digest,
    pub(crate) place: Place,
}

/// Where sources are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// The blob of an archive.
    Archive,
    /// A directory, of which these files count.
    Directory(PathBuf),
}

impl Builder {
    pub(crate) fn new(fetcher: &Fetcher, progress: &Progress) -> Self {
        Self {
            shared: Arc::new(Shared {
                fetcher: fetcher.clone(),
                progress: progress.clone(),
                python: OnceCell::new(),
                turn: tokio::sync::Mutex::default(),
                pins: Mutex::default(),
            }),
            indexes: Indexes::default(),
            sources: BTreeMap::new(),
            prefer: BTreeMap::new(),
        }
    }

    /// The same, with backends from the indexes of `dependencies`, to which their files may add some.
    pub(crate) async fn of(&self, dependencies: &Dependencies) -> anyhow::Result<Self> {
        let inputs = resolve::Inputs::read(&dependencies.inputs).await?;
        let files = inputs.indexes();
        let mut indexes = dependencies.indexes.clone();
        indexes.default = indexes.default.or_else(|| files.default.clone());
        indexes.extra.extend_from_slice(&files.extra);
        indexes.find_links.extend_from_slice(&files.find_links);
        indexes.no_index |= files.no_index;
        Ok(Self {
            shared: Arc::clone(&self.shared),
            indexes,
            sources: dependencies.policies.sources.clone(),
            prefer: self.prefer.clone(),
        })
    }

    /// Keeps the requirements of backends that `lock` has: as they are for the same sources, their
    /// versions for others. Not those of packages that are not to be kept.
    pub(crate) fn keep(&mut self, lock: &Lock, keeps: impl Fn(&str) -> bool) {
        for platform in &lock.platforms {
            let wheels = platform.wheels.iter().filter(|it| keeps(&it.name));
            let sdists: Vec<_> = wheels.filter_map(|it| it.sdist.as_ref()).collect();
            for sdist in &sdists {
                self.note(sdist.sha256.0, &sdist.requires);
            }
            let own = platform.project.iter().filter(|it| keeps(&it.name));
            let own = own.flat_map(|it| &it.requires);
            for it in sdists.iter().flat_map(|it| &it.requires).chain(own) {
                if let Ok(filename) = WheelFilename::from_str(&it.filename) {
                    let (name, version) = (filename.name, filename.version);
                    self.prefer.insert(name.to_string(), version.to_string());
                }
            }
        }
    }

    fn note(&self, sources: Digest, requires: &[LockedRequirement]) {
        let mut pins = self.pins();
        pins.insert(sources, requires.to_vec());
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<Digest, Vec<LockedRequirement>>> {
        lock(&self.shared.pins)
    }

    fn store(&self) -> &Store {
        self.shared.fetcher.store()
    }

    /// The wheel of some sources, and what its backend required: `given` where the lock says it.
    pub(crate) async fn wheel(
        &self,
        origin: &Origin,
        given: Option<&[LockedRequirement]>,
    ) -> anyhow::Result<(Record, Vec<LockedRequirement>)> {
        let _turn = self.shared.turn.lock().await;
        let known = given.map(<[_]>::to_vec);
        let known = known.or_else(|| self.pins().get(&origin.digest).cloned());
        if let Some(requires) = &known
            && let Some(record) = self.stored(origin, requires, None)
        {
            return Ok((record, requires.clone()));
        }
        let python = self.python(&origin.what).await?;
        let machine = machine(&python);
        if let Some(requires) = &known {
            if let Some(record) = self.stored(origin, requires, Some(&machine)) {
                return Ok((record, requires.clone()));
            }
            if given.is_some()
                && let Some(requirement) = unfit(requires, &python)
            {
                return Err(Failure::new(format!(
                    "the lock builds {} with {}, which does not fit this machine's Python {}",
                    origin.what, requirement.filename, python.facts.version
                ))
                .hint("carry the wheel here with `oxcart vendor`, name a Python that fits with OXCART_PYTHON, or run `oxcart lock`")
                .into());
            }
        }
        let known = known.filter(|requires| unfit(requires, &python).is_none());
        let were_known = known.is_some();
        let (sources, directory) = self.unpack(origin).await?;
        let prepared = self
            .prepare(origin, sources, directory, &python, known)
            .await?;
        let requires = prepared.requires.clone();
        if !were_known {
            for machine in [None, Some(machine.as_str())] {
                if let Some(record) = self.stored(origin, &requires, machine) {
                    return Ok((record, requires));
                }
            }
        }
        let record = self.build(origin, prepared, &python).await?;
        Ok((record, requires))
    }

    /// A wheel that was built before.
    fn stored(
        &self,
        origin: &Origin,
        requires: &[LockedRequirement],
        machine: Option<&str>,
    ) -> Option<Record> {
        let key = built::key(&origin.digest, requires, machine);
        let record: Record = serde_json::from_slice(&self.store().built(&key)?).ok()?;
        self.store().has_blob(&record.sha256.0).then_some(record)
    }
}
