//! From a project to its lock: the base's packages and facts, then the wheels that fit them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use oci::{Digest, Platform};
use resolve::{Arch, InstalledPackage, Libc, Pinned, Request, Resolution, Target};

use crate::archives::{Distribution, Mirrors};
use crate::asked::{Asked, asked};
use crate::base::{self, BaseImage, Bases};
use crate::debian::{self, On, Wanted};
use crate::diagnostics::Failure;
use crate::fetch::{Download, Fetcher, IfGone};
use crate::lock::{
    Hex, Lock, LockedArchive, LockedBase, LockedDeb, LockedDocument, LockedEnvironment,
    LockedImage, LockedPlatform, LockedProject, LockedPython, LockedWheel, ReusedPackage,
};
use crate::notes::{self, Having};
use crate::progress::Progress;
use crate::project::{Base, Dependencies, Project, Versions};
use crate::project_wheel;
use crate::registries::Registries;
use crate::sources::Builder;
use crate::store::Store;
use crate::system;

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

impl Upgrade {
    /// Whether what an older lock has of `package` is kept.
    fn keeps(&self, package: &str) -> bool {
        match self {
            Self::Nothing => true,
            Self::Everything => false,
            Self::Package(name) => name != package,
        }
    }
}

/// What a lock is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) store: &'a Store,
    pub(crate) fetcher: &'a Fetcher,
    pub(crate) registries: &'a Registries,
    pub(crate) progress: &'a Progress,
}

/// Resolves everything for all of the project's platforms.
pub(crate) async fn lock(
    project: &Project,
    old: Option<&Lock>,
    upgrade: &Upgrade,
    means: Means<'_>,
) -> anyhow::Result<Lock> {
    let Means { progress, .. } = means;
    let spinner = progress.spinner("Resolving");
    let bases = bases(project, old, upgrade, means).await?;
    let mut builder = Builder::new(means.fetcher, progress);
    if let Some(old) = old {
        builder.keep(old, |package| upgrade.keeps(package));
    }
    let steps = project.platforms.iter().zip(bases);
    let steps = steps.map(|((platform, dependencies), base)| {
        let old = old.and_then(|lock| lock.platform(*platform));
        let asking = Asking {
            prefer: preferences(old, upgrade),
            builder: &builder,
            means,
        };
        Step::resolve(project, *platform, dependencies, base, asking)
    });
    let mut steps = try_join_all(steps).await?;
    let told = align(&mut steps, progress).await;
    let having = steps.iter().filter_map(|step| {
        let (_, resolution) = step.wheels.as_ref()?;
        Some(Having {
            platform: step.platform,
            wheels: &resolution.wheels,
            may_diverge: &step.dependencies.allow_divergence,
            may_need_others: &step.dependencies.allow_other_needs,
        })
    });
    for note in notes::divergence(&having.collect::<Vec<_>>(), &told) {
        progress.line(&format!("note: {note}"));
    }
    let platforms = steps.into_iter().map(|step| step.lock(project, means));
    let lock = Lock::new(try_join_all(platforms).await?);
    spinner.finish_and_clear();
    for platform in &lock.platforms {
        let reused = match platform.reused.len() {
            0 => String::new(),
            number => format!(", {number} packages of the base"),
        };
        progress.line(&format!(
            "resolved {}: {} wheels, {} Debian packages{reused}",
            platform.name,
            platform.wheels.len(),
            platform.debs.len()
        ));
    }
    Ok(lock)
}

/// What a platform is resolved with.
struct Asking<'a> {
    prefer: BTreeMap<String, String>,
    builder: &'a Builder,
    means: Means<'a>,
}

/// One platform, resolved.
struct Step<'a> {
    platform: Platform,
    dependencies: &'a Dependencies,
    base: ResolvedBase,
    builder: Builder,
    inputs: Digest,
    /// What was asked for and what came of it. None where nothing is asked for.
    wheels: Option<(Request, Resolution)>,
    /// Whether another tool's lock says which versions there are.
    are_locked: bool,
}

impl<'a> Step<'a> {
    async fn resolve(
        project: &Project,
        platform: Platform,
        dependencies: &'a Dependencies,
        base: ResolvedBase,
        asking: Asking<'_>,
    ) -> anyhow::Result<Self> {
        let Asking {
            prefer,
            builder,
            means,
        } = asking;
        let builder = builder.of(dependencies).await?;
        let Asked {
            digest,
            any,
            are_locked,
        } = asked(project, platform, means.registries).await?;
        let mut wheels = None;
        match &base.python {
            Some(python) => {
                let mut request = request(platform, dependencies, python, prefer, means.store)?;
                request.directory.clone_from(&project.directory);
                request.timeout = means.fetcher.patience();
                request.installed.clone_from(&base.installed);
                request.builds.describe = Some(builder.describe());
                let resolution = resolve::resolve(&request).await;
                let resolution = resolution.with_context(|| failed(platform))?;
                wheels = Some((request, resolution));
            }
            None if any => return Err(no_python(project).into()),
            None => {}
        }
        Ok(Self {
            platform,
            dependencies,
            base,
            builder,
            inputs: digest,
            wheels,
            are_locked,
        })
    }

    async fn lock(self, project: &Project, means: Means<'_>) -> anyhow::Result<LockedPlatform> {
        let Self { platform, base, .. } = self;
        let (mut wheels, mut reused, mut own) = (Vec::new(), Vec::new(), None);
        if let (Some(python), Some((request, resolution))) = (&base.python, self.wheels) {
            check_replaced(project, python, &resolution)?;
            resolution
                .warnings
                .iter()
                .for_each(|text| means.progress.warn(text));
            reused = resolution
                .satisfied
                .into_iter()
                .map(|it| ReusedPackage {
                    name: it.name,
                    version: it.version,
                })
                .collect();
            let needs = resolution.wheels.iter();
            let needs = needs.map(|it| (it.name.clone(), it.dependencies.clone()));
            let needs = needs.collect();
            wheels = stream::iter(resolution.wheels)
                .map(|wheel| chosen(wheel, platform, &request.target, &self.builder, means))
                .buffered(PARALLEL)
                .try_collect()
                .await
                .with_context(|| failed(platform))?;
            if self.dependencies.project.is_some() {
                let origin = project_wheel::origin(&project.directory)?;
                let (record, requires) = self.builder.wheel(&origin, None).await?;
                record.check(&origin.what, platform, &request.target, means.store)?;
                own = Some(LockedProject {
                    name: origin.name.to_string(),
                    requires,
                });
            }
            let allowed = &self.dependencies.allow_large;
            if let Some(text) = notes::size(platform, &wheels, &needs, allowed) {
                means.progress.warn(&text);
            }
        }
        Ok(LockedPlatform {
            name: platform,
            inputs: self.inputs,
            python: base.python,
            base: LockedBase {
                reference: project.base.to_string(),
                image: base.image,
                archives: base.archives,
            },
            debs: base.debs,
            wheels,
            project: own,
            reused,
            layers: Vec::new(),
        })
    }
}

/// The wheel as the lock has it, built first where it is an sdist.
async fn chosen(
    pinned: Pinned,
    platform: Platform,
    target: &Target,
    builder: &Builder,
    means: Means<'_>,
) -> anyhow::Result<LockedWheel> {
    if !pinned.is_sdist {
        return locked(pinned, means.fetcher).await;
    }
    let what = pinned.filename.clone();
    let (wheel, record) = builder.locked(pinned).await?;
    record.check(&what, platform, target, means.store)?;
    Ok(wheel)
}

fn failed(platform: Platform) -> String {
    format!("the dependencies for {platform} cannot be resolved")
}

/// Brings the platforms to the same versions, apart from those that have them from a lock or are to
/// have their own. Warns of the packages that stay apart, and returns their names.
async fn align(steps: &mut [Step<'_>], progress: &Progress) -> BTreeSet<String> {
    let takes_part = |step: &&mut Step<'_>| {
        step.dependencies.versions == Versions::Aligned && !step.are_locked && step.wheels.is_some()
    };
    let mut part: Vec<_> = steps.iter_mut().filter(takes_part).collect();
    let platforms: Vec<_> = part.iter().map(|step| step.platform).collect();
    let wheels = part.iter().filter_map(|step| step.wheels.clone());
    let (requests, mut resolutions): (Vec<_>, Vec<_>) = wheels.unzip();
    let mut told = BTreeSet::new();
    let may_diverge = |name: &str| {
        let mut allowed = part.iter().map(|step| &step.dependencies.allow_divergence);
        allowed.any(|it| it.has(name))
    };
    for package in resolve::align(&requests, &mut resolutions).await {
        if may_diverge(&package.package) {
            continue;
        }
        let versions = package.versions.iter();
        let versions: Vec<_> = versions
            .map(|(position, version)| format!("{version} on {}", platforms[*position]))
            .collect();
        let against = package.against.map(|position| platforms[position]);
        let against = against.map_or_else(String::new, |platform| format!("on {platform}, "));
        progress.warn(&format!(
            "{} is not the same everywhere: {}; {against}{}",
            package.package,
            versions.join(", "),
            package.why
        ));
        told.insert(package.package);
    }
    for (step, resolution) in part.iter_mut().zip(resolutions) {
        if let Some((_, own)) = &mut step.wheels {
            *own = resolution;
        }
    }
    told
}

/// In an environment that is extended, a wheel can't take the place of a package that is there: its
/// files would be mixed with the other's.
fn check_replaced(
    project: &Project,
    python: &LockedPython,
    resolution: &Resolution,
) -> Result<(), Failure> {
    let Some(LockedEnvironment::Extended(prefix)) = &python.environment else {
        return Ok(());
    };
    let Some(first) = resolution.replaced.first() else {
        return Ok(());
    };
    Err(Failure::new(format!(
        "the base {} has {} {} in {prefix}, and {} is needed",
        project.base, first.name, first.installed, first.version
    ))
    .hint("with `reuse-base = true` nothing of the base is replaced: allow the base's version, build the base with the new one, or leave reuse-base out"))
}

/// What one platform stands on.
#[derive(Debug, Default)]
struct ResolvedBase {
    debs: Vec<LockedDeb>,
    archives: Vec<LockedArchive>,
    image: Option<LockedImage>,
    python: Option<LockedPython>,
    installed: Vec<InstalledPackage>,
}

async fn bases(
    project: &Project,
    old: Option<&Lock>,
    upgrade: &Upgrade,
    means: Means<'_>,
) -> anyhow::Result<Vec<ResolvedBase>> {
    let Means {
        store,
        registries,
        progress,
        ..
    } = means;
    let platforms: Vec<_> = project
        .platforms
        .iter()
        .map(|(platform, _)| *platform)
        .collect();
    let bases = match &project.base {
        Base::Scratch => platforms.iter().map(|_| ResolvedBase::default()).collect(),
        Base::Debian(base) => {
            let wanted = platforms.iter().map(|platform| Wanted {
                platform: *platform,
                distribution: Distribution {
                    id: "debian".to_owned(),
                    suite: base.codename.to_owned(),
                },
                on: On::Own(*base),
            });
            let debian = packages(project, wanted.collect(), old, means).await?;
            let of_debian = |it: debian::Resolved| ResolvedBase {
                debs: it.debs,
                archives: it.archives,
                python: it.python,
                ..ResolvedBase::default()
            };
            debian.into_iter().map(of_debian).collect()
        }
        Base::Image { location, .. } => {
            let pinned = match upgrade {
                Upgrade::Everything => None,
                Upgrade::Nothing | Upgrade::Package(_) => pin(project, old),
            };
            let bases = Bases {
                store,
                registries,
                progress,
            };
            let images = bases.resolve(location, pinned, &platforms).await?;
            let mut added = additions(project, &images, old, means).await?.into_iter();
            let mut resolved = Vec::new();
            for (mut base, (_, dependencies)) in images.into_iter().zip(&project.platforms) {
                let (python, installed) = base::python(project, dependencies, &base.facts)?.unzip();
                let (dpkg, added) = added.next().unzip();
                base.image.dpkg = dpkg;
                let added = added.unwrap_or_default();
                resolved.push(ResolvedBase {
                    image: Some(base.image),
                    python: python.or(added.python),
                    installed: installed.unwrap_or_default(),
                    debs: added.debs,
                    archives: added.archives,
                });
            }
            resolved
        }
    };
    for base in &bases {
        agree(project, base.python.as_ref())?;
    }
    Ok(bases)
}

/// The `[system]` packages on each of `images`, with the document of what they depend on; nothing where
/// there are none.
async fn additions(
    project: &Project,
    images: &[BaseImage],
    old: Option<&Lock>,
    means: Means<'_>,
) -> anyhow::Result<Vec<(LockedDocument, debian::Resolved)>> {
    if project.system.is_empty() {
        return Ok(Vec::new());
    }
    let (mut documents, mut wanted) = (Vec::new(), Vec::new());
    for (base, (platform, _)) in images.iter().zip(&project.platforms) {
        let dpkg = system::dpkg(project, &base.facts)?;
        documents.push(system::keep(dpkg, means.store)?);
        wanted.push(Wanted {
            platform: *platform,
            distribution: system::distribution(project, &base.facts)?,
            on: On::Image {
                installed: system::installed(project, dpkg)?,
                omitted: system::omitted(dpkg.database),
                libc: base.facts.libc.as_ref().map(ToString::to_string),
            },
        });
    }
    let resolved = packages(project, wanted, old, means).await?;
    Ok(documents.into_iter().zip(resolved).collect())
}

/// Debian packages for each of `wanted`.
async fn packages(
    project: &Project,
    wanted: Vec<Wanted>,
    old: Option<&Lock>,
    means: Means<'_>,
) -> anyhow::Result<Vec<debian::Resolved>> {
    let Means {
        fetcher, progress, ..
    } = means;
    let mirrors = Mirrors::find(project, old);
    let mut resolved = debian::resolve(project, &wanted, &mirrors, fetcher, progress).await?;
    for (resolved, wanted) in resolved.iter_mut().zip(&wanted) {
        resolved.keep_dates(old.and_then(|lock| lock.platform(wanted.platform)));
    }
    Ok(resolved)
}

/// The index or manifest that an older lock has for the same base.
fn pin(project: &Project, old: Option<&Lock>) -> Option<Digest> {
    let text = project.base.to_string();
    let locked = old?.platforms.iter().find(|it| it.base.reference == text)?;
    let image = locked.base.image.as_ref()?;
    Some(image.index.unwrap_or(image.manifest.digest))
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
        project.base, python.version
    ))
    .hint("leave [python] version out, or use another base"))
}

fn no_python(project: &Project) -> Failure {
    Failure::new(format!(
        "the base {} has no Python, and there are dependencies to install",
        project.base
    ))
    .hint("use a base with a Python, such as \"debian:trixie\", or leave [dependencies] out")
}

fn preferences(old: Option<&LockedPlatform>, upgrade: &Upgrade) -> BTreeMap<String, String> {
    old.iter()
        .flat_map(|old| &old.wheels)
        .filter(|wheel| upgrade.keeps(&wheel.name))
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
    let target = target(platform, python)?;
    let mut request = Request::new(target, dependencies.inputs.clone(), store.index_cache());
    request.index = dependencies.indexes.clone();
    request.prefer = prefer;
    let policies = dependencies.policies.clone();
    request.constraints = policies.constraints;
    request.overrides = policies.overrides;
    request.exclude = policies.exclude;
    request.formats = policies.formats;
    request.builds.allowed = policies.build_from_source;
    request.builds.prefer_binary = policies.prefer_binary;
    request.pre_releases = policies.pre_releases;
    request.require_hashes = policies.require_hashes;
    request.sources = policies.sources;
    request
        .allow_downgrade
        .clone_from(&dependencies.allow_downgrade);
    Ok(request)
}

/// What wheels have to fit on `platform`.
pub(crate) fn target(platform: Platform, python: &LockedPython) -> Result<Target, Failure> {
    Ok(Target {
        arch: match platform {
            Platform::Amd64 => Arch::X86_64,
            Platform::Arm64 => Arch::Aarch64,
            Platform::ArmV7 => Arch::Armv7l,
        },
        libc: libc(&python.libc)?,
        python: python.version.clone(),
    })
}

/// `glibc 2.41`, `musl 1.2`
fn libc(text: &str) -> Result<Libc, Failure> {
    let parse = || {
        let (name, version) = text.split_once(' ')?;
        let (major, minor) = version.split_once('.')?;
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        match name {
            "glibc" => Some(Libc::Glibc { major, minor }),
            "musl" => Some(Libc::Musl { major, minor }),
            _ => None,
        }
    };
    parse().ok_or_else(|| {
        Failure::new(format!(
            "`{text}` is no C library that wheels are built for"
        ))
    })
}

/// The wheel with its digest and size, which are learnt from its server where the index does not tell.
pub(crate) async fn locked(wheel: Pinned, fetcher: &Fetcher) -> anyhow::Result<LockedWheel> {
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
            if_gone: IfGone::Fail,
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
        sdist: None,
    })
}
