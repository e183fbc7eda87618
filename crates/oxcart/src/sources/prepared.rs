//! Sources with all that is needed to build them: unpacked, beside an environment that has what their
//! backend requires.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use backend::{BuildSystem, Environment, LibC, Python, Requirement, Sources};
use resolve::{Arch, Input, Libc, Request, Target};
use tempfile::TempDir;
use uv_distribution_filename::WheelFilename;
use uv_pep440::Version;

use super::{Builder, Origin, Place};
use crate::built::{self, Record, is_pure};
use crate::clock;
use crate::diagnostics::{Failure, IoContext};
use crate::lock::{Hex, LockedRequirement};
use crate::{project_wheel, resolving};

/// Seconds that a hook of a backend may take, where `OXCART_BUILD_TIMEOUT` does not say otherwise.
const PATIENCE: u64 = 3600;

/// Sources with all that is needed to build them.
pub(super) struct Prepared {
    _sources: TempDir,
    directory: PathBuf,
    what: String,
    system: BuildSystem,
    environment: Environment,
    limit: Duration,
    pub(super) requires: Vec<LockedRequirement>,
}

impl Builder {
    pub(super) async fn python(&self, what: &str) -> anyhow::Result<Python> {
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
    pub(super) async fn unpack(&self, origin: &Origin) -> anyhow::Result<(TempDir, PathBuf)> {
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
                project_wheel::copy(project, &into)?;
                into
            }
        };
        Ok((sources, directory))
    }

    /// Makes an environment with what the backend requires: `known` where that was found out before.
    pub(super) async fn prepare(
        &self,
        origin: &Origin,
        sources: TempDir,
        directory: PathBuf,
        python: &Python,
        known: Option<Vec<LockedRequirement>>,
    ) -> anyhow::Result<Prepared> {
        let what = &origin.what;
        let limit = clock::stated(
            "OXCART_BUILD_TIMEOUT",
            PATIENCE,
            "it is the number of seconds that a build backend may take for a hook: 3600 by default",
        )?;
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
            limit,
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
        request.prefer = self.prefer.clone();
        request.timeout = self.shared.fetcher.patience();
        let resolution = resolve::resolve(&request).await.map_err(|error| {
            Failure::new(format!(
                "what is needed to build {what} cannot be resolved for this machine's Python {}",
                python.facts.version
            ))
            .caused_by(error)
        })?;
        let mut required = Vec::new();
        for wheel in resolution.wheels {
            let wheel = resolving::locked(wheel, &self.shared.fetcher).await?;
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
    pub(super) async fn build(
        &self,
        origin: &Origin,
        prepared: Prepared,
        python: &Python,
    ) -> anyhow::Result<Record> {
        let what = origin.what.clone();
        self.shared.progress.line(&format!("building {what}"));
        let mut blob = self.store().new_blob(crate::store::Use::Wheels)?;
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
            let is_same = |version: &Version| {
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
        let key = built::key(&origin.digest, &requires, machine.as_deref());
        self.store()
            .put_built(&key, &oci::json::canonical(&record))?;
        Ok(record)
    }
}

impl Prepared {
    pub(super) fn sources(&self) -> Sources<'_> {
        Sources {
            what: &self.what,
            directory: &self.directory,
            system: &self.system,
            environment: &self.environment,
            limit: self.limit,
        }
    }
}

/// What of this machine a wheel that is not pure depends on.
pub(super) fn machine(python: &Python) -> String {
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
pub(super) fn unfit<'a>(
    requires: &'a [LockedRequirement],
    python: &Python,
) -> Option<&'a LockedRequirement> {
    let tags = target(python).ok()?.tags();
    requires
        .iter()
        .find(|it| !built::has_tag(&it.filename, &tags))
}

pub(super) fn wheel_filename(text: &str, what: &str) -> Result<WheelFilename, Failure> {
    WheelFilename::from_str(text)
        .map_err(|error| Failure::new(format!("{text}, for {what}, is no wheel")).caused_by(error))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, backend::Error> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}
