//! Wheels that are built from sources: sdists that `build-from-source` allows, and the project itself.
//!
//! What `backend` needs is found and fetched here: the sources, and the wheels that their backend
//! requires, resolved for this machine's Python. What was built is in the store like a download, and a
//! note of it by the key of all that it was made from. One is built at a time: backends use all the
//! processors by themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use backend::{BuildSystem, Environment, LibC, Python, Requirement, Sources};
use oci::Digest;
use resolve::{Arch, Describe, DescribeError, Indexes, Input, Libc, Request, Sdist, Target};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;

use crate::built::{Record, is_pure};
use crate::diagnostics::{Failure, IoContext};
use crate::fetch::{Download, Fetcher};
use crate::lock::{Hex, Lock, LockedRequirement, LockedSdist, LockedWheel};
use crate::progress::Progress;
use crate::project::Dependencies;
use crate::store::Store;

/// Builds wheels into one store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Builder {
    shared: Arc<Shared>,
    /// Where wheels for the backends come from.
    indexes: Indexes,
    sources: BTreeMap<String, String>,
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
    pub(crate) version: Option<uv_pep440::Version>,
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

/// Sources with all that is needed to build them.
struct Prepared {
    _sources: TempDir,
    directory: PathBuf,
    what: String,
    system: BuildSystem,
    environment: Environment,
    requires: Vec<LockedRequirement>,
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
        })
    }

    /// Keeps the requirements of backends that `lock` has, for the same sources.
    pub(crate) fn keep(&self, lock: &Lock) {
        for wheel in lock.platforms.iter().flat_map(|it| &it.wheels) {
            if let Some(sdist) = &wheel.sdist {
                self.note(sdist.sha256.0, &sdist.requires);
            }
        }
    }

    fn note(&self, sources: Digest, requires: &[LockedRequirement]) {
        let mut pins = self.pins();
        pins.insert(sources, requires.to_vec());
    }

    fn pins(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Vec<LockedRequirement>>> {
        let pins = &self.shared.pins;
        pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> &Store {
        self.shared.fetcher.store()
    }

    /// Tells a resolver what sdists require.
    pub(crate) fn describe(&self) -> Describe {
        let builder = self.clone();
        Describe::new(move |sdist| {
            let builder = builder.clone();
            Box::pin(async move { builder.metadata(&sdist).await.map_err(boxed) })
        })
    }

    /// The METADATA of the wheel that `sdist` gives: its PKG-INFO where that must be the same, else what
    /// its backend says.
    async fn metadata(&self, sdist: &Sdist) -> anyhow::Result<String> {
        let (origin, _) = self.origin(sdist).await?;
        let _turn = self.shared.turn.lock().await;
        let key = Digest::of(&oci::json::canonical(&json!({ "metadata": origin.digest })));
        if let Some(text) = self.store().built(&key) {
            return Ok(String::from_utf8(text)?);
        }
        let (sources, directory) = self.unpack(&origin).await?;
        let text = match backend::static_metadata(&directory) {
            Some(text) => text,
            None => {
                self.metadata_of_backend(&origin, sources, directory)
                    .await?
            }
        };
        backend::check_identity(&text, &origin.what, &origin.name, origin.version.as_ref())?;
        self.store().put_built(&key, text.as_bytes())?;
        Ok(text)
    }

    /// The same, where PKG-INFO does not say. It is this task's turn.
    async fn metadata_of_backend(
        &self,
        origin: &Origin,
        sources: TempDir,
        directory: PathBuf,
    ) -> anyhow::Result<String> {
        let python = self.python(&origin.what).await?;
        let pins = self.pins().get(&origin.digest).cloned();
        let pins = pins.filter(|pins| unfit(pins, &python).is_none());
        let prepared = self
            .prepare(origin, sources, directory, &python, pins)
            .await?;
        let (prepared, text) = blocking(move || {
            let text = prepared.sources().metadata()?;
            Ok((prepared, text))
        })
        .await?;
        if let Some(text) = text {
            return Ok(text);
        }
        let record = self.build(origin, prepared, &python).await?;
        let source = self.store().source(&record.sha256.0, &record.filename)?;
        let filename = wheel_filename(&record.filename, &origin.what)?;
        let wheel = wheel::Wheel::open(source, &filename, &wheel::Limits::default())?;
        let archive = wheel.archive();
        let is_it = |it: &&wheel::Member| {
            let directory = it.name.strip_suffix("/METADATA").unwrap_or_default();
            directory.ends_with(".dist-info") && !directory.contains('/')
        };
        let member = archive.members().iter().find(is_it);
        let bytes = member.map(|member| archive.read(member)).transpose()?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    }

    /// The wheel of an sdist that was chosen, for the lock.
    pub(crate) async fn locked(
        &self,
        pinned: resolve::Pinned,
    ) -> anyhow::Result<(LockedWheel, Record)> {
        let sdist = Sdist {
            name: pinned.name.clone(),
            version: Some(pinned.version.clone()),
            filename: pinned.filename.clone(),
            url: pinned.url.clone(),
            sha256: pinned.sha256.clone(),
            size: pinned.size,
        };
        let (origin, size) = self.origin(&sdist).await?;
        let (record, requires) = self.wheel(&origin, None).await?;
        let wheel = LockedWheel {
            name: pinned.name,
            version: wheel_filename(&record.filename, &origin.what)?
                .version
                .to_string(),
            filename: record.filename.clone(),
            url: String::new(),
            sha256: record.sha256,
            size: record.size,
            requested: pinned.requested,
            sdist: Some(LockedSdist {
                filename: pinned.filename,
                url: pinned.url,
                sha256: Hex(origin.digest),
                size,
                requires,
            }),
        };
        Ok((wheel, record))
    }

    /// Has each of `wheels` that is built in the store, if it cannot be taken from anywhere.
    pub(crate) async fn have(&self, wheels: &[&LockedWheel]) -> anyhow::Result<()> {
        for wheel in wheels {
            if let Some(sdist) = &wheel.sdist
                && !self.shared.fetcher.has(&wheel.sha256.0)
            {
                self.rebuild(wheel, sdist).await?;
            }
        }
        Ok(())
    }

    /// Builds a wheel as the lock says.
    async fn rebuild(&self, wheel: &LockedWheel, locked: &LockedSdist) -> anyhow::Result<()> {
        let sdist = Sdist {
            name: wheel.name.clone(),
            version: Some(wheel.version.clone()),
            filename: locked.filename.clone(),
            url: locked.url.clone(),
            sha256: Some(locked.sha256.0.hex()),
            size: Some(locked.size),
        };
        let (origin, _) = self.origin(&sdist).await?;
        let (record, _) = self.wheel(&origin, Some(&locked.requires)).await?;
        if record.sha256 == wheel.sha256 {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} gives another {} than the one that the lock has",
            origin.what, wheel.filename
        ))
        .hint("what it is built with differs from where the lock was written (a compiler, the Python): carry that wheel here with `oxcart vendor`, or run `oxcart lock`")
        .caused_by(anyhow::anyhow!(
            "{} has sha256 {}, expected {}",
            record.filename,
            record.sha256.0.hex(),
            wheel.sha256.0.hex()
        ))
        .into())
    }

    /// The sdist, fetched, as what is to be built; and its size.
    async fn origin(&self, sdist: &Sdist) -> anyhow::Result<(Origin, u64)> {
        if !backend::is_archive(&sdist.filename) {
            return Err(backend::Error::Unpack {
                archive: sdist.filename.clone(),
                fault: backend::UnpackFault::Format,
            }
            .into());
        }
        let digest = sdist.sha256.as_deref().map(Digest::from_hex).transpose()?;
        let download = Download {
            url: sdist.url.clone(),
            digest,
            size: sdist.size,
            name: sdist.filename.clone(),
        };
        let fetched = self.shared.fetcher.all_async(&[download]).await?;
        let [digest] = fetched[..] else {
            anyhow::bail!("{} was fetched, and has no digest", sdist.filename);
        };
        let size = self.store().source(&digest, &sdist.filename)?.size();
        let version = sdist.version.as_deref().filter(|it| !it.is_empty());
        let version = version.map(uv_pep440::Version::from_str).transpose()?;
        let origin = Origin {
            what: sdist.filename.clone(),
            name: PackageName::from_str(&sdist.name)?,
            version,
            digest,
            place: Place::Archive,
        };
        Ok((origin, size))
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
        let key = crate::built::key(&origin.digest, requires, machine);
        let record: Record = serde_json::from_slice(&self.store().built(&key)?).ok()?;
        self.store().has_blob(&record.sha256.0).then_some(record)
    }

    async fn python(&self, what: &str) -> anyhow::Result<Python> {
        let find = || async {
            let found = tokio::task::spawn_blocking(Python::find).await?;
            Ok::<_, anyhow::Error>(found?)
        };
        let found = self.shared.python.get_or_try_init(find).await;
        found.cloned().map_err(|error| match error.downcast() {
            Ok(backend::Error::NoPython { looked, .. }) => backend::Error::NoPython {
                what: what.to_owned(),
                looked,
            }
            .into(),
            Ok(error) => error.into(),
            Err(error) => error,
        })
    }

    /// The sources in a directory of their own, which the first value keeps.
    async fn unpack(&self, origin: &Origin) -> anyhow::Result<(TempDir, PathBuf)> {
        let spool = self.store().spool();
        let sources = tempfile::Builder::new()
            .prefix("sources-")
            .tempdir_in(&spool)
            .at("create", &spool)?;
        let into = sources.path().to_owned();
        let directory = match &origin.place {
            Place::Archive => {
                let archive = self.store().source(&origin.digest, &origin.what)?;
                let limits = backend::Limits::default();
                blocking(move || backend::unpack(&archive, &into, limits)).await?
            }
            Place::Directory(project) => {
                crate::project_wheel::copy(project, &into)?;
                into
            }
        };
        Ok((sources, directory))
    }

    /// Makes an environment with what the backend requires: `known` where that was found out before.
    async fn prepare(
        &self,
        origin: &Origin,
        sources: TempDir,
        directory: PathBuf,
        python: &Python,
        known: Option<Vec<LockedRequirement>>,
    ) -> anyhow::Result<Prepared> {
        let what = &origin.what;
        let system = BuildSystem::read(&directory, what)?;
        let is_known = known.is_some();
        let requires = match known {
            Some(known) => known,
            None => self.required(&system.requires, python, what).await?,
        };
        let environment = self.environment(&requires, python, what).await?;
        let mut prepared = Prepared {
            _sources: sources,
            directory,
            what: what.clone(),
            system,
            environment,
            requires,
        };
        if is_known {
            return Ok(prepared);
        }
        let (back, further) = blocking(move || {
            let further = prepared.sources().requires()?;
            Ok((prepared, further))
        })
        .await?;
        prepared = back;
        if !further.is_empty() {
            let all = [&prepared.system.requires[..], &further].concat();
            prepared.requires = self.required(&all, python, what).await?;
            prepared.environment = self.environment(&prepared.requires, python, what).await?;
        }
        self.note(origin.digest, &prepared.requires);
        Ok(prepared)
    }

    /// The wheels that satisfy some requirements of a backend on this machine, sorted.
    async fn required(
        &self,
        requirements: &[String],
        python: &Python,
        what: &str,
    ) -> anyhow::Result<Vec<LockedRequirement>> {
        if requirements.is_empty() {
            return Ok(Vec::new());
        }
        let inputs = requirements.iter().cloned().map(Input::Requirement);
        let mut request = Request::new(
            target(python)?,
            inputs.collect(),
            self.store().index_cache(),
        );
        request.index = self.indexes.clone();
        request.sources = self.sources.clone();
        let resolution = resolve::resolve(&request).await.map_err(|error| {
            Failure::new(format!(
                "what is needed to build {what} cannot be resolved for this machine's Python {}",
                python.facts.version
            ))
            .caused_by(error)
        })?;
        let mut required = Vec::new();
        for wheel in resolution.wheels {
            let wheel = crate::resolving::locked(wheel, &self.shared.fetcher).await?;
            required.push(LockedRequirement {
                filename: wheel.filename,
                url: wheel.url,
                sha256: wheel.sha256,
                size: wheel.size,
            });
        }
        required.sort_by(|a, b| a.filename.cmp(&b.filename));
        Ok(required)
    }

    async fn environment(
        &self,
        requires: &[LockedRequirement],
        python: &Python,
        what: &str,
    ) -> anyhow::Result<Environment> {
        let downloads: Vec<_> = requires.iter().map(LockedRequirement::download).collect();
        self.shared.fetcher.all_async(&downloads).await?;
        let mut wheels = Vec::new();
        for it in requires {
            wheels.push(Requirement {
                source: self.store().source(&it.sha256.0, &it.filename)?,
                filename: wheel_filename(&it.filename, what)?,
            });
        }
        let (python, what) = (python.clone(), what.to_owned());
        blocking(move || Environment::new(&python, &wheels, &what)).await
    }

    /// Builds the wheel and keeps it.
    async fn build(
        &self,
        origin: &Origin,
        prepared: Prepared,
        python: &Python,
    ) -> anyhow::Result<Record> {
        let what = origin.what.clone();
        self.shared.progress.line(&format!("building {what}"));
        let mut blob = self.store().new_blob()?;
        let (name, version) = (origin.name.clone(), origin.version.clone());
        let requires = prepared.requires.clone();
        let (blob, filename) = blocking(move || {
            let path = prepared.sources().wheel()?;
            let text = path.file_name().unwrap_or_default().to_string_lossy();
            let other = || backend::Error::OtherProject {
                what: what.clone(),
                found: text.clone().into_owned(),
            };
            let filename = WheelFilename::from_str(&text).map_err(|_| other())?;
            let is_same = |version: &uv_pep440::Version| {
                *version == filename.version || *version == filename.version.clone().without_local()
            };
            if filename.name != name || !version.as_ref().is_none_or(is_same) {
                return Err(other());
            }
            backend::repack(&path, &filename, &what, &mut blob)?;
            Ok((blob, text.into_owned()))
        })
        .await?;
        let (digest, size) = blob.keep()?;
        let libc = python.facts.libc.as_ref();
        let record = Record {
            filename,
            sha256: Hex(digest),
            size,
            python: python.facts.version.clone(),
            libc: libc.map(|it: &LibC| it.name.clone()).unwrap_or_default(),
        };
        let machine = (!is_pure(&record.filename)).then(|| machine(python));
        let key = crate::built::key(&origin.digest, &requires, machine.as_deref());
        self.store()
            .put_built(&key, &oci::json::canonical(&record))?;
        Ok(record)
    }
}

impl Prepared {
    fn sources(&self) -> Sources<'_> {
        Sources {
            what: &self.what,
            directory: &self.directory,
            system: &self.system,
            environment: &self.environment,
        }
    }
}

/// What of this machine a wheel that is not pure depends on.
fn machine(python: &Python) -> String {
    let facts = &python.facts;
    let libc = facts.libc.as_ref();
    let libc = libc.map(|it| format!("{} {}.{}", it.name, it.major, it.minor));
    format!(
        "{} {} {}",
        facts.machine,
        facts.version,
        libc.unwrap_or_default()
    )
}

/// This machine, as wheels are chosen for it.
fn target(python: &Python) -> Result<Target, Failure> {
    let facts = &python.facts;
    let arch = Arch::ALL.into_iter().find(|it| it.name() == facts.machine);
    let libc = facts.libc.as_ref().and_then(|it| {
        let (major, minor) = (it.major, it.minor);
        match it.name.as_str() {
            "glibc" => Some(Libc::Glibc { major, minor }),
            "musl" => Some(Libc::Musl { major, minor }),
            _ => None,
        }
    });
    let (Some(arch), Some(libc)) = (arch, libc) else {
        return Err(Failure::new(format!(
            "nothing can be built from sources on {}",
            facts.machine
        ))
        .hint("build where oxcart has images for: x86_64, aarch64 or armv7l, with glibc or musl"));
    };
    Ok(Target {
        arch,
        libc,
        python: facts.version.clone(),
    })
}

/// The first of some wheels that this machine's Python cannot use.
fn unfit<'a>(requires: &'a [LockedRequirement], python: &Python) -> Option<&'a LockedRequirement> {
    let tags = target(python).ok()?.tags();
    requires
        .iter()
        .find(|it| !crate::built::has_tag(&it.filename, &tags))
}

fn wheel_filename(text: &str, what: &str) -> Result<WheelFilename, Failure> {
    WheelFilename::from_str(text)
        .map_err(|error| Failure::new(format!("{text}, for {what}, is no wheel")).caused_by(error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, backend::Error> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

/// An error for a resolver, which keeps what can be done about it.
fn boxed(error: anyhow::Error) -> DescribeError {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return Box::new(failure),
        Err(error) => error,
    };
    match error.downcast::<backend::Error>() {
        Ok(error) => Box::new(error),
        Err(error) => error.into(),
    }
}
