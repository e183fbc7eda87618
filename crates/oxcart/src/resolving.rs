//! From a project to its lock: the base's packages and facts, then the wheels that fit them.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use oci::{Digest, Platform};
use resolve::{Arch, Inputs, Libc, Pinned, Request, Target};
use serde_json::json;

use crate::debian::{self, Mirrors};
use crate::diagnostics::Failure;
use crate::fetch::{Download, Fetcher};
use crate::lock::{Hex, Lock, LockedBase, LockedPlatform, LockedPython, LockedWheel};
use crate::progress::Progress;
use crate::project::{Base, Dependencies, Project};
use crate::store::Store;

/// Wheels that are asked about at a time.
const PARALLEL: usize = 16;

/// What becomes of the versions that an older lock has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// They are kept where they are still allowed.
    Nothing,
    Everything,
    /// All but this package's are kept.
    Package(String),
}

/// Whether `lock` says what `project` asks for, on every one of `platforms`; where not, on which and
/// why.
pub(crate) async fn staleness(
    project: &Project,
    lock: &Lock,
    platforms: &[Platform],
) -> anyhow::Result<Option<String>> {
    if lock.layer_format != oci::layer::FORMAT {
        return Ok(Some(format!(
            "it was written for layer format {}, and this oxcart has {}",
            lock.layer_format,
            oci::layer::FORMAT
        )));
    }
    for platform in platforms {
        let Some(locked) = lock.platform(*platform) else {
            return Ok(Some(format!("it lacks {platform}")));
        };
        if locked.inputs != inputs(project, *platform).await?.0 {
            return Ok(Some(format!("what {platform} is made of was changed")));
        }
    }
    Ok(None)
}

/// Resolves everything for all of the project's platforms.
pub(crate) async fn lock(
    project: &Project,
    old: Option<&Lock>,
    upgrade: &Upgrade,
    store: &Store,
    fetcher: &Fetcher,
    progress: &Progress,
) -> anyhow::Result<Lock> {
    let spinner = progress.spinner("Resolving");
    let bases = bases(project, old, fetcher, progress).await?;
    let platforms =
        project
            .platforms
            .iter()
            .zip(bases)
            .map(|((platform, dependencies), base)| async move {
                let old = old.and_then(|lock| lock.platform(*platform));
                let wheels = match &base.python {
                    Some(python) => {
                        let request = request(
                            *platform,
                            dependencies,
                            python,
                            preferences(old, upgrade),
                            store,
                        )?;
                        wheels(&request, fetcher, progress).await.with_context(|| {
                            format!("the dependencies for {platform} cannot be resolved")
                        })?
                    }
                    None if inputs(project, *platform).await?.1 => {
                        return Err(no_python(project).into());
                    }
                    None => Vec::new(),
                };
                Ok::<_, anyhow::Error>(LockedPlatform {
                    name: *platform,
                    inputs: inputs(project, *platform).await?.0,
                    python: base.python,
                    base: LockedBase {
                        reference: reference(&project.base),
                        archives: base.archives,
                    },
                    debs: base.debs,
                    wheels,
                })
            });
    let lock = Lock::new(try_join_all(platforms).await?);
    spinner.finish_and_clear();
    for platform in &lock.platforms {
        progress.line(&format!(
            "resolved {}: {} wheels, {} Debian packages",
            platform.name,
            platform.wheels.len(),
            platform.debs.len()
        ));
    }
    Ok(lock)
}

async fn bases(
    project: &Project,
    old: Option<&Lock>,
    fetcher: &Fetcher,
    progress: &Progress,
) -> anyhow::Result<Vec<debian::Resolved>> {
    let platforms: Vec<_> = project
        .platforms
        .iter()
        .map(|(platform, _)| *platform)
        .collect();
    let bases = match &project.base {
        Base::Scratch => platforms
            .iter()
            .map(|_| debian::Resolved::default())
            .collect(),
        Base::Debian(base) => {
            let mirrors = Mirrors::find(project, old);
            debian::resolve(project, *base, &platforms, &mirrors, fetcher, progress).await?
        }
    };
    for base in &bases {
        agree(project, base.python.as_ref())?;
    }
    Ok(bases)
}

/// Checks the version that the configuration states against the base's.
fn agree(project: &Project, python: Option<&LockedPython>) -> Result<(), Failure> {
    let (Some(wanted), Some(python)) = (&project.python, python) else {
        return Ok(());
    };
    if python.version == *wanted || python.version.starts_with(&format!("{wanted}.")) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "[python] version is {wanted}, and the base {} has Python {}",
        reference(&project.base),
        python.version
    ))
    .hint("leave [python] version out, or use another base"))
}

fn no_python(project: &Project) -> Failure {
    Failure::new(format!(
        "the base {} has no Python, and there are dependencies to install",
        reference(&project.base)
    ))
    .hint("use a base with a Python, such as \"debian:trixie\", or leave [dependencies] out")
}

fn reference(base: &Base) -> String {
    match base {
        Base::Debian(base) => format!("debian:{}", base.codename),
        Base::Scratch => "scratch".to_owned(),
    }
}

/// The digest of all that `platform` asks for, and whether that is any wheel.
async fn inputs(project: &Project, platform: Platform) -> anyhow::Result<(Digest, bool)> {
    let (text, any) = match project.dependencies(platform) {
        Some(dependencies) => {
            let inputs = Inputs::read(&dependencies.inputs).await?;
            (
                json!([inputs.fingerprint(), secretless(&dependencies.indexes)]),
                !inputs.requirements().is_empty(),
            )
        }
        None => (json!(null), false),
    };
    let digest = Digest::of(&oci::json::canonical(&json!({
        "base": reference(&project.base),
        "python": project.python,
        "system": project.system,
        "dependencies": text,
    })));
    Ok((digest, any))
}

fn secretless(indexes: &resolve::Indexes) -> serde_json::Value {
    let clean = |urls: &[String]| {
        urls.iter()
            .map(|url| crate::fetch::without_secrets(url))
            .collect::<Vec<_>>()
    };
    json!([
        indexes
            .default
            .as_deref()
            .map(crate::fetch::without_secrets),
        clean(&indexes.extra),
        clean(&indexes.find_links)
    ])
}

fn preferences(old: Option<&LockedPlatform>, upgrade: &Upgrade) -> BTreeMap<String, String> {
    let kept = |name: &str| match upgrade {
        Upgrade::Nothing => true,
        Upgrade::Everything => false,
        Upgrade::Package(package) => package != name,
    };
    old.iter()
        .flat_map(|old| &old.wheels)
        .filter(|wheel| kept(&wheel.name))
        .map(|wheel| (wheel.name.clone(), wheel.version.clone()))
        .collect()
}

fn request(
    platform: Platform,
    dependencies: &Dependencies,
    python: &LockedPython,
    prefer: BTreeMap<String, String>,
    store: &Store,
) -> Result<Request, Failure> {
    let target = Target {
        arch: match platform {
            Platform::Amd64 => Arch::X86_64,
            Platform::Arm64 => Arch::Aarch64,
            Platform::ArmV7 => Arch::Armv7l,
        },
        libc: libc(&python.libc)?,
        python: python.version.clone(),
    };
    let mut request = Request::new(target, dependencies.inputs.clone(), store.index_cache());
    request.index = dependencies.indexes.clone();
    request.prefer = prefer;
    request
        .allow_downgrade
        .clone_from(&dependencies.allow_downgrade);
    Ok(request)
}

/// `glibc 2.41`
fn libc(text: &str) -> Result<Libc, Failure> {
    text.strip_prefix("glibc ")
        .and_then(|version| version.split_once('.'))
        .and_then(|(major, minor)| {
            Some(Libc::Glibc {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        })
        .ok_or_else(|| {
            Failure::new(format!(
                "`{text}` is no C library that wheels are built for"
            ))
        })
}

async fn wheels(
    request: &Request,
    fetcher: &Fetcher,
    progress: &Progress,
) -> anyhow::Result<Vec<LockedWheel>> {
    let resolution = resolve::resolve(request).await?;
    resolution
        .warnings
        .iter()
        .for_each(|text| progress.warn(text));
    stream::iter(resolution.wheels)
        .map(|wheel| locked(wheel, fetcher))
        .buffered(PARALLEL)
        .try_collect()
        .await
}

/// The wheel with its digest and size, which are learnt from its server where the index does not tell.
async fn locked(wheel: Pinned, fetcher: &Fetcher) -> anyhow::Result<LockedWheel> {
    let mut digest = wheel.sha256.as_deref().map(Digest::from_hex).transpose()?;
    let mut size = wheel.size;
    if digest.is_some() && size.is_none() {
        size = fetcher.size(&wheel.url).await;
    }
    if digest.is_none() || size.is_none() {
        let download = Download {
            url: wheel.url.clone(),
            digest,
            size,
            name: wheel.filename.clone(),
        };
        digest = fetcher.all_async(&[download]).await?.first().copied();
    }
    let digest = digest.context("a file that was fetched has a digest")?;
    let size = match size {
        Some(size) => size,
        None => fetcher.store().source(&digest, &wheel.filename)?.size(),
    };
    Ok(LockedWheel {
        name: wheel.name,
        version: wheel.version,
        filename: wheel.filename,
        url: wheel.url,
        sha256: Hex(digest),
        size,
        requested: wheel.requested,
    })
}
