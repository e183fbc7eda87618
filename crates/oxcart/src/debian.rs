//! Debian packages: reads the signed indexes of the archives, has `deb` choose packages for our own
//! base and for `[system]` on any, and turns the packages that were chosen into a layer.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use deb::{
    Architecture, Deb, Dependency, Ground, Installed, Keyring, Moment, Offer, Package, Policy,
    Reason, Release, SolveError, Universe, UnpackOptions, Usr,
};
use futures::future::try_join_all;
use oci::{Content, Digest, Kind, Platform, Tree};

use crate::archives::{Distribution, Mirrors, Suite};
use crate::build::in_parallel;
use crate::clock;
use crate::diagnostics::{Failure, IoContext, nearest};
use crate::fetch::{Download, Fetcher, IfGone, without_secrets};
use crate::lock::{
    DebLayer, Hex, LockedArchive, LockedDeb, LockedImage, LockedPlatform, LockedPython,
};
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::store::{Store, Use};
use crate::system;

/// Packages of one layer that are unpacked at a time: each takes 9 MiB and more, as xz wants it.
const UNPACKING: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// What one platform gets of Debian.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) debs: Vec<LockedDeb>,
    /// That of the packages, where they have one.
    pub(crate) python: Option<LockedPython>,
    pub(crate) archives: Vec<LockedArchive>,
}

/// Packages to choose for one platform.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) platform: Platform,
    pub(crate) distribution: Distribution,
    pub(crate) on: On,
}

/// What they are put on.
#[derive(Debug)]
pub(crate) enum On {
    /// Our own base, whose packages are chosen too.
    Own(deb::base::Base),
    /// An image with these packages.
    Image {
        installed: Vec<Installed>,
        /// Names that nothing on it needs.
        omitted: BTreeSet<String>,
        /// The C library that the image tells of.
        libc: Option<String>,
    },
}

/// Chooses the packages of the base, where it is ours, and of `[system]` on top of it.
pub(crate) async fn resolve(
    project: &Project,
    wanted: &[Wanted],
    mirrors: &Mirrors,
    fetcher: &Fetcher,
    progress: &Progress,
) -> anyhow::Result<Vec<Resolved>> {
    let (mut lists, mut told) = (Vec::new(), BTreeSet::new());
    for it in wanted {
        let warn = |text: &str| {
            if told.insert(text.to_owned()) {
                progress.warn(text);
            }
        };
        lists.push(mirrors.suites(&it.distribution, &project.debian, it.platform, warn)?);
    }
    let mut signed: Vec<SignedSuite<'_>> = Vec::new();
    for suite in lists.iter().flatten() {
        if !signed.iter().any(|it| it.suite == *suite) {
            let release = release(project, suite, fetcher).await?;
            let suite = suite.clone();
            signed.push(SignedSuite { suite, release });
        }
    }
    let signed = &signed;
    try_join_all(wanted.iter().zip(&lists).map(|(it, list)| async move {
        let platform = it.platform;
        let suites = list
            .iter()
            .filter_map(|suite| signed.iter().find(|it| it.suite == *suite));
        let index = Index::fetch(platform, project, suites.collect(), fetcher).await?;
        let mut resolved = index
            .choose(project, &it.on, progress)
            .with_context(|| format!("the Debian packages for {platform} cannot be chosen"))?;
        resolved.archives = index.archives(mirrors, platform);
        Ok(resolved)
    }))
    .await
}

impl Resolved {
    /// Keeps the date that an older lock has for an archive of which it took the same packages: they
    /// were there then, and a lock should change with what it holds.
    pub(crate) fn keep_dates(&mut self, old: Option<&LockedPlatform>) {
        let Some(old) = old else { return };
        for archive in &mut self.archives {
            let of_archive = |debs: &[LockedDeb]| -> BTreeSet<Digest> {
                let debs = debs.iter().filter(|it| it.archive == archive.name);
                debs.map(|it| it.sha256.0).collect()
            };
            let before = old.base.archives.iter();
            let mut before =
                before.filter(|it| it.name == archive.name && it.mirror == archive.mirror);
            if let Some(before) = before.next().filter(|it| it.date.is_some())
                && of_archive(&old.debs) == of_archive(&self.debs)
            {
                archive.date.clone_from(&before.date);
            }
        }
    }
}

/// A suite whose release file was verified.
struct SignedSuite<'a> {
    suite: Suite<'a>,
    release: Release,
}

fn keyring(path: Option<&PathBuf>) -> anyhow::Result<Keyring> {
    match path {
        None => Ok(Keyring::debian()),
        Some(path) => {
            let bytes = std::fs::read(path).at("read", path)?;
            Keyring::from_bytes(&bytes).with_context(|| format!("the keyring {}", path.display()))
        }
    }
}

async fn release(
    project: &Project,
    suite: &Suite<'_>,
    fetcher: &Fetcher,
) -> anyhow::Result<Release> {
    let url = format!("{}/InRelease", suite.url);
    let keyring = keyring(suite.keyring)?;
    let bytes = fetcher.document(&url).await.map_err(|failure| {
        Failure::new(format!("the archive `{}` cannot be read", suite.archive))
            .hint("check the address and the suite: InRelease is in the suite's directory below `dists`")
            .caused_by(failure)
    })?;
    let now = (!project.debian.accept_expired).then(clock::now);
    let release = deb::verify_in_release(&bytes, &keyring, now)
        .with_context(|| format!("{} is not to be trusted", without_secrets(&url)))?;
    if let Some(name) = &suite.name {
        release.check_suite(name)?;
    }
    Ok(release)
}

/// The packages that there are for one platform.
struct Index<'a> {
    architecture: Architecture,
    universe: Universe,
    suites: Vec<&'a SignedSuite<'a>>,
    /// Which archive has the file with this digest.
    homes: BTreeMap<Digest, &'a str>,
}

impl<'a> Index<'a> {
    async fn fetch(
        platform: Platform,
        project: &Project,
        suites: Vec<&'a SignedSuite<'a>>,
        fetcher: &Fetcher,
    ) -> anyhow::Result<Self> {
        let architecture = Architecture::of(platform);
        let mut downloads = Vec::new();
        for suite in &suites {
            for list in suite.lists(&architecture)? {
                downloads.push((*suite, list));
            }
        }
        let files: Vec<_> = downloads.iter().map(|(_, list)| list.clone()).collect();
        let digests = fetcher.all_async(&files).await.map_err(|failure| {
            Failure::new(format!("the mirror's package lists for {architecture} cannot be had"))
                .hint("the mirror is incomplete, or is being updated: try again later, or use another one")
                .caused_by(failure)
        })?;
        let mut homes = BTreeMap::new();
        let mut offers = Vec::new();
        for ((suite, download), digest) in downloads.iter().zip(digests) {
            let source = fetcher.store().checked_source(&digest, &download.name)?;
            let packages = deb::packages::parse(source.range(0, source.size()), &download.name)?;
            let usable = |it: &Package| it.architecture.is_all() || it.architecture == architecture;
            let packages: Vec<_> = packages.into_iter().filter(usable).collect();
            for package in &packages {
                // Of several suites with one file, the first one's entry is chosen.
                homes
                    .entry(package.sha256)
                    .or_insert(suite.suite.archive.as_str());
            }
            offers.push(Offer {
                archive: suite.suite.archive.clone(),
                packages,
                only: suite.suite.repository.and_then(|it| it.packages.clone()),
            });
        }
        let preferred = deb::prefer(merged(offers), &project.debian.pins);
        let indexes = preferred.map_err(|error| {
            let hint = match &error {
                deb::PreferenceError::Lacks { .. } => "check the spelling, or leave the name out of the repository's packages",
                deb::PreferenceError::Version { .. } => "an archive keeps few versions: pin one that is there, or name a mirror of the day when it was, such as one of Debian's snapshot archive, as [debian] mirror or in a [[debian.repository]]",
            };
            Failure::new("the packages that [debian] asks for are not there").hint(hint).caused_by(error)
        })?;
        Ok(Self {
            universe: Universe::new(architecture.clone(), indexes),
            architecture,
            suites,
            homes,
        })
    }

    fn choose(&self, project: &Project, on: &On, progress: &Progress) -> anyhow::Result<Resolved> {
        let (mut debs, mut python) = (Vec::new(), None);
        let (policy, libc) = match on {
            On::Own(base) => {
                let omitted = base.omitted().iter().map(|it| it.name.to_owned());
                let policy = Policy {
                    installed: Vec::new(),
                    omitted: omitted.collect(),
                };
                let chosen = self.solve(&base.packages(), &policy)?;
                let facts = base.facts(
                    chosen
                        .iter()
                        .map(|it| (it.name.as_str(), it.version.as_str())),
                );
                python = facts.map(|facts| LockedPython {
                    version: facts.python,
                    interpreter: facts.interpreter,
                    libc: format!("glibc {}", facts.glibc),
                    environment: None,
                });
                debs.extend(chosen.iter().map(|it| self.locked(it, DebLayer::Base)));
                let policy = Policy {
                    installed: chosen.iter().map(|it| Installed::from(*it)).collect(),
                    omitted: deb::base::omitted_by_additions(),
                };
                (policy, None)
            }
            On::Image {
                installed,
                omitted,
                libc,
            } => {
                let policy = Policy {
                    installed: installed.clone(),
                    omitted: omitted.clone(),
                };
                (policy, libc.as_ref())
            }
        };
        let system = self
            .solve(&project.system, &policy)
            .context("[system] packages")?;
        for name in &project.system {
            if let Some(there) = policy.installed.iter().find(|it| it.name == *name) {
                progress.line(&format!(
                    "{}: the base has {name} {} already",
                    self.architecture, there.version
                ));
            }
        }
        debs.extend(system.iter().map(|it| self.locked(it, DebLayer::System)));
        let versions = system
            .iter()
            .map(|it| (it.name.as_str(), it.version.as_str()));
        let of_packages = deb::base::python(versions).zip(libc);
        python = python.or_else(|| {
            of_packages.map(|((interpreter, version), libc)| LockedPython {
                version,
                interpreter,
                libc: libc.clone(),
                environment: Some(crate::lock::LockedEnvironment::Hidden),
            })
        });
        Ok(Resolved {
            debs,
            python,
            archives: Vec::new(),
        })
    }

    fn solve(&self, names: &[String], policy: &Policy) -> anyhow::Result<Vec<&Package>> {
        let wanted = wanted(names)?;
        deb::solve(&self.universe, &wanted, policy).map_err(|error| self.explain(error))
    }

    /// The failure with the way out.
    fn explain(&self, error: SolveError) -> anyhow::Error {
        let hint = match &error {
            SolveError::Virtual { .. } => Some("name the one that is meant".to_owned()),
            SolveError::Unsatisfiable { wanted, chain, unmet } => match unmet.first() {
                Some(first) if chain.is_empty() && first.reason == Reason::Unknown => {
                    Some(self.similar(wanted))
                }
                _ if unmet.iter().any(|it| matches!(it.reason, Reason::Installed { .. })) => {
                    Some("what a base has is not replaced: take a newer build of the base (`oxcart lock --upgrade`), a mirror as old as the base ([debian] mirror, with accept-expired = true), or the version that fits with [debian] pin".to_owned())
                }
                _ if unmet.iter().any(|it| matches!(it.reason, Reason::Conflict { .. })) => {
                    Some("leave one of the two out, or use a base without it".to_owned())
                }
                _ => None,
            },
            _ => None,
        };
        match hint {
            None => error.into(),
            Some(hint) => Failure::new(error.to_string()).hint(hint).into(),
        }
    }

    /// Which packages are called nearly so.
    fn similar(&self, wanted: &str) -> String {
        let name = wanted.split([' ', ':']).next().unwrap_or(wanted);
        let all = || self.universe.packages().map(|it| it.name.as_str());
        let mut longer: Vec<_> = all().filter(|it| it.starts_with(name)).collect();
        longer.sort_by_key(|it| (it.len(), *it));
        longer.truncate(3);
        let near = nearest(name, all()).filter(|it| !longer.contains(it));
        longer.extend(near);
        if longer.is_empty() {
            return "check the spelling; it may be in another component or repository: [debian] components, [[debian.repository]]".to_owned();
        }
        let quoted: Vec<_> = longer.iter().map(|it| format!("`{it}`")).collect();
        format!("did you mean {}?", quoted.join(", "))
    }

    fn locked(&self, package: &Package, layer: DebLayer) -> LockedDeb {
        let home = self.homes.get(&package.sha256).copied();
        LockedDeb {
            name: package.name.clone(),
            version: package.version.to_string(),
            architecture: if package.architecture.is_all() {
                "all".to_owned()
            } else {
                self.architecture.to_string()
            },
            layer,
            archive: home.unwrap_or("debian").to_owned(),
            path: package
                .filename
                .strip_prefix("./")
                .unwrap_or(&package.filename)
                .to_owned(),
            sha256: Hex(package.sha256),
            size: package.size,
        }
    }

    /// The archives for the lock, each with the date of its newest suite.
    fn archives(&self, mirrors: &Mirrors, platform: Platform) -> Vec<LockedArchive> {
        let mut dates: BTreeMap<&str, u64> = BTreeMap::new();
        for it in &self.suites {
            let date = dates.entry(&it.suite.archive).or_default();
            *date = it.release.date.max(*date);
        }
        dates
            .into_iter()
            .filter_map(|(name, date)| {
                Some(LockedArchive {
                    name: name.to_owned(),
                    mirror: mirrors.locked(name, platform)?,
                    date: Some(Moment(date).compact()),
                })
            })
            .collect()
    }
}

/// The lists of one archive as one offer: a package that has to come from a repository may be in any
/// of its components.
fn merged(offers: Vec<Offer>) -> Vec<Offer> {
    let mut merged: Vec<Offer> = Vec::new();
    for offer in offers {
        match merged.last_mut() {
            Some(last) if last.archive == offer.archive && last.only.is_some() => {
                last.packages.extend(offer.packages);
            }
            _ => merged.push(offer),
        }
    }
    merged
}

impl SignedSuite<'_> {
    /// Its lists of packages, one for each component.
    fn lists(&self, architecture: &Architecture) -> Result<Vec<Download>, Failure> {
        let Self { suite, release } = self;
        let lacks = |what: &str| {
            let url = without_secrets(&suite.url);
            Failure::new(format!("{url} has no packages for {architecture}{what}"))
                .hint("leave the platform out, use another mirror, or name other components")
        };
        let found = if suite.name.is_none() {
            vec![release.flat_packages().ok_or_else(|| lacks(""))?]
        } else {
            let components = suite.components.iter().map(|component| {
                let found = release.packages(component, architecture.as_str());
                found.ok_or_else(|| lacks(&format!(" in the component {component}")))
            });
            components.collect::<Result<Vec<_>, _>>()?
        };
        let download = |(path, file): (String, deb::ReleaseFile)| {
            let url = format!("{}/{path}", suite.url);
            let by_hash = release
                .fetch_path(&path)
                .map(|it| format!("{}/{it}", suite.url));
            Download {
                digest: Some(file.sha256),
                size: Some(file.size),
                name: path,
                // Mirrors of the past do not keep files by their hashes.
                if_gone: IfGone::Try(url.clone()),
                url: by_hash.unwrap_or(url),
            }
        };
        Ok(found.into_iter().map(download).collect())
    }
}

fn wanted(names: &[String]) -> Result<Vec<Dependency>, Failure> {
    let parse = |name: &String| {
        name.parse().map_err(|error: deb::RelationError| {
            Failure::new(format!("`{name}` is no Debian package"))
                .hint("write a package's name, with a version where it matters: \"libpq5 (>= 15)\"")
                .caused_by(error)
        })
    };
    names.iter().map(parse).collect()
}

/// What a layer of packages is put on.
#[derive(Debug, Clone)]
pub(crate) enum Below {
    /// These packages of our own base; none where the layer is the base.
    Own(Vec<LockedDeb>),
    /// An image, which has a document of what of it they depend on.
    Image(Box<LockedImage>),
}

/// Bytes of the temporary files that the files of `tree` lie in.
pub(crate) fn spooled(tree: &Tree) -> u64 {
    let sources: BTreeMap<_, _> = tree
        .iter()
        .filter_map(|(_, entry)| match &entry.kind {
            Kind::File(Content::File { source, .. }) => Some((source.name(), source.disk_size())),
            _ => None,
        })
        .collect();
    sources.values().sum()
}

/// The files of `debs`, which are in the store, as one layer; and what its packages' scripts would
/// have done besides. They are put on `below`. Up to `threads` packages are unpacked at a
/// time.
pub(crate) fn tree(
    store: &Store,
    project: &Project,
    debs: &[LockedDeb],
    below: &Below,
    threads: NonZeroUsize,
) -> anyhow::Result<(Tree, Vec<String>)> {
    let mut held = Vec::new();
    let mut unpack = |debs: &[LockedDeb], usr: Usr| {
        let options = UnpackOptions {
            keep_docs: project.debian.keep_docs,
            usr,
            ..UnpackOptions::default()
        };
        let unpacked = in_parallel(debs, threads.min(UNPACKING), |locked| {
            let source = store.checked_source(&locked.sha256.0, locked.file_name())?;
            let unpacked = Deb::open(source)?.unpack(&store.spool(), &options)?;
            let held = store.disk().hold(Use::Spooled, spooled(&unpacked.tree));
            Ok((unpacked, held))
        })?;
        let (unpacked, more): (Vec<_>, Vec<_>) = unpacked.into_iter().unzip();
        held.extend(more);
        anyhow::Ok(unpacked)
    };
    let assembled = match (below, &project.base) {
        (Below::Own(under), Base::Debian(base)) if under.is_empty() => {
            base.assemble(unpack(debs, Usr::Merged)?)?
        }
        (Below::Own(under), Base::Debian(base)) => {
            let ground = Ground::of_base(&base.assemble(unpack(under, Usr::Merged)?)?);
            deb::install(unpack(debs, Usr::Merged)?, &ground)?
        }
        (Below::Image(image), _) => {
            let ground = system::ground(store, image)?;
            deb::install(unpack(debs, ground.usr())?, &ground)?
        }
        (Below::Own(_), _) => deb::install(unpack(debs, Usr::Merged)?, &Ground::bare())?,
    };
    Ok((
        assembled.tree,
        assembled.warnings.iter().map(ToString::to_string).collect(),
    ))
}
