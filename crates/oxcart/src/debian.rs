//! Debian as a base: finds a mirror, reads its signed indexes, has `deb` choose packages, and turns
//! the packages that were chosen into a layer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use deb::{
    Architecture, Deb, Dependency, Installed, Keyring, Package, Policy, Release, Universe,
    UnpackOptions,
};
use futures::future::try_join_all;
use oci::{Digest, Platform, Tree};

use crate::clock;
use crate::diagnostics::{Failure, IoContext};
use crate::fetch::{Download, Fetcher, without_secrets};
use crate::lock::{Archive, DebLayer, Hex, Lock, LockedArchive, LockedDeb, LockedPython};
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::store::Store;

/// The variable that names a mirror.
const VARIABLE: &str = "OXCART_DEBIAN_MIRROR";
/// The component that everything is taken from.
const COMPONENT: &str = "main";

/// What a base is made of on one platform.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) debs: Vec<LockedDeb>,
    pub(crate) python: Option<LockedPython>,
    pub(crate) archives: Vec<LockedArchive>,
}

/// Where Debian's archives are mirrored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mirrors(deb::sources::Mirrors);

impl Mirrors {
    /// The first that names one: the configuration, the environment, the host's own apt sources, the
    /// lock.
    pub(crate) fn find(project: &Project, lock: Option<&Lock>) -> Self {
        let Base::Debian(base) = &project.base else {
            return Self::default();
        };
        let variable = std::env::var(VARIABLE)
            .ok()
            .filter(|value| !value.is_empty());
        let mut mirrors = match project.debian.mirror.clone().or(variable) {
            Some(mirror) => {
                let main = mirror.trim_end_matches('/').to_owned();
                // Mirrors carry the two archives side by side under these names.
                let security = main
                    .strip_suffix("/debian")
                    .map(|root| format!("{root}/debian-security"));
                deb::sources::Mirrors {
                    main: Some(main),
                    security,
                }
            }
            None => {
                deb::sources::mirrors(&deb::sources::of_host(Path::new("/etc/apt")), base.codename)
            }
        };
        if let Some(security) = &project.debian.security_mirror {
            mirrors.security = Some(security.trim_end_matches('/').to_owned());
        }
        for locked in lock
            .iter()
            .flat_map(|lock| &lock.platforms)
            .flat_map(|it| &it.base.archives)
        {
            let mirror = match locked.name {
                Archive::Debian => &mut mirrors.main,
                Archive::Security => &mut mirrors.security,
            };
            mirror.get_or_insert_with(|| locked.mirror.clone());
        }
        Self(mirrors)
    }

    fn of(&self, archive: Archive) -> Option<&str> {
        match archive {
            Archive::Debian => self.0.main.as_deref(),
            Archive::Security => self.0.security.as_deref(),
        }
    }

    fn require(&self, archive: Archive) -> Result<&str, Failure> {
        self.of(archive).ok_or_else(|| {
            Failure::new(format!("no mirror of Debian's archive `{archive}` is known")).hint(format!(
                "set [debian] mirror in the configuration, or {VARIABLE}, to the URL of one (it ends in /debian); on Debian, the host's apt sources are used"
            ))
        })
    }

    /// For the lock: where a host without a mirror of its own can look.
    fn locked(&self) -> Vec<LockedArchive> {
        [Archive::Debian, Archive::Security]
            .into_iter()
            .filter_map(|name| {
                Some(LockedArchive {
                    name,
                    mirror: without_secrets(self.of(name)?),
                })
            })
            .collect()
    }

    /// The download of a locked package.
    pub(crate) fn download(&self, deb: &LockedDeb) -> Result<Download, Failure> {
        Ok(Download {
            url: format!("{}/{}", self.require(deb.archive)?, deb.path),
            digest: Some(deb.sha256.0),
            size: Some(deb.size),
            name: deb.path.rsplit('/').next().unwrap_or(&deb.path).to_owned(),
        })
    }
}

/// Chooses the packages of the base `codename`, and of `[system]` on top of it, for each of
/// `platforms`.
pub(crate) async fn resolve(
    project: &Project,
    base: deb::base::Base,
    platforms: &[Platform],
    mirrors: &Mirrors,
    fetcher: &Fetcher,
    progress: &Progress,
) -> anyhow::Result<Vec<Resolved>> {
    let keyring = keyring(project)?;
    let mut suites = Vec::new();
    for suite in base.suites() {
        let archive = Archive::from(suite.archive);
        if archive == Archive::Security && mirrors.of(archive).is_none() {
            progress.warn(&format!("no mirror of Debian's security archive is known: {} is left out; set [debian] security-mirror", suite.name));
            continue;
        }
        let url = format!("{}/dists/{}", mirrors.require(archive)?, suite.name);
        let release = release(project, &keyring, &url, &suite.name, fetcher).await?;
        suites.push(SignedSuite {
            archive,
            url,
            release,
        });
    }
    let archives = mirrors.locked();
    let (suites, archives) = (&suites, &archives);
    try_join_all(platforms.iter().map(|platform| async move {
        let index = Index::fetch(*platform, suites, fetcher).await?;
        let mut resolved = index
            .choose(project, base)
            .with_context(|| format!("the Debian packages for {platform} cannot be chosen"))?;
        resolved.archives.clone_from(archives);
        Ok(resolved)
    }))
    .await
}

/// A suite whose release file was verified.
struct SignedSuite {
    archive: Archive,
    /// `…/dists/trixie`
    url: String,
    release: Release,
}

fn keyring(project: &Project) -> anyhow::Result<Keyring> {
    match &project.debian.keyring {
        None => Ok(Keyring::debian()),
        Some(path) => {
            let bytes = std::fs::read(path).at("read", path)?;
            Keyring::from_bytes(&bytes)
                .with_context(|| format!("[debian] keyring {}", path.display()))
        }
    }
}

async fn release(
    project: &Project,
    keyring: &Keyring,
    url: &str,
    suite: &str,
    fetcher: &Fetcher,
) -> anyhow::Result<Release> {
    let url = format!("{url}/InRelease");
    let bytes = fetcher.document(&url).await?;
    let now = (!project.debian.accept_expired).then(clock::now);
    let release = deb::verify_in_release(&bytes, keyring, now)
        .with_context(|| format!("{} is not to be trusted", without_secrets(&url)))?;
    release.check_suite(suite)?;
    Ok(release)
}

/// The packages that there are for one platform.
struct Index {
    architecture: Architecture,
    universe: Universe,
    /// Which archive has the file with this digest.
    archives: BTreeMap<Digest, Archive>,
}

impl Index {
    async fn fetch(
        platform: Platform,
        suites: &[SignedSuite],
        fetcher: &Fetcher,
    ) -> anyhow::Result<Self> {
        let architecture = Architecture::of(platform);
        let mut downloads = Vec::new();
        for suite in suites {
            let (path, file) = suite
                .release
                .packages(COMPONENT, architecture.as_str())
                .ok_or_else(|| {
                    Failure::new(format!("{} has no packages for {architecture}", suite.url))
                        .hint("leave the platform out, or use another mirror")
                })?;
            let place = suite
                .release
                .fetch_path(&path)
                .unwrap_or_else(|| path.clone());
            downloads.push(Download {
                url: format!("{}/{place}", suite.url),
                digest: Some(file.sha256),
                size: Some(file.size),
                name: path,
            });
        }
        let digests = fetcher.all_async(&downloads).await.map_err(|failure| {
            Failure::new(format!("the mirror's package lists for {architecture} cannot be had"))
                .hint("the mirror is incomplete, or is being updated: try again later, or use another one")
                .caused_by(failure)
        })?;
        let mut archives = BTreeMap::new();
        let mut indexes = Vec::new();
        for ((suite, download), digest) in suites.iter().zip(&downloads).zip(digests) {
            let source = fetcher.store().checked_source(&digest, &download.name)?;
            let packages = deb::packages::parse(source.range(0, source.size()), &download.name)?;
            for package in &packages {
                // Of several suites with one file, the first one's entry is chosen.
                archives.entry(package.sha256).or_insert(suite.archive);
            }
            indexes.push(packages);
        }
        Ok(Self {
            universe: Universe::new(architecture.clone(), indexes),
            architecture,
            archives,
        })
    }

    fn choose(&self, project: &Project, base: deb::base::Base) -> anyhow::Result<Resolved> {
        let omitted: BTreeSet<_> = base.omitted().iter().map(|it| it.name.to_owned()).collect();
        // What only the base can do without, a further package may need: libraries come along for it.
        let omitted_by_system = omitted
            .iter()
            .filter(|name| !name.starts_with("lib"))
            .cloned()
            .collect();
        let policy = Policy {
            installed: Vec::new(),
            omitted,
        };
        let chosen = deb::solve(&self.universe, &wanted(&base.packages())?, &policy)?;
        let policy = Policy {
            installed: chosen.iter().map(|it| Installed::from(*it)).collect(),
            omitted: omitted_by_system,
        };
        let system = deb::solve(&self.universe, &wanted(&project.system)?, &policy)
            .context("[system] packages")?;
        let facts = base.facts(
            chosen
                .iter()
                .map(|it| (it.name.as_str(), it.version.as_str())),
        );
        let mut debs: Vec<_> = chosen
            .iter()
            .map(|it| self.locked(it, DebLayer::Base))
            .collect();
        debs.extend(system.iter().map(|it| self.locked(it, DebLayer::System)));
        Ok(Resolved {
            debs,
            python: facts.map(|facts| LockedPython {
                version: facts.python,
                interpreter: facts.interpreter,
                libc: format!("glibc {}", facts.glibc),
                environment: None,
            }),
            archives: Vec::new(),
        })
    }

    fn locked(&self, package: &Package, layer: DebLayer) -> LockedDeb {
        LockedDeb {
            name: package.name.clone(),
            version: package.version.to_string(),
            architecture: if package.architecture.is_all() {
                "all".to_owned()
            } else {
                self.architecture.to_string()
            },
            layer,
            archive: self
                .archives
                .get(&package.sha256)
                .copied()
                .unwrap_or(Archive::Debian),
            path: package.filename.clone(),
            sha256: Hex(package.sha256),
            size: package.size,
        }
    }
}

fn wanted(names: &[String]) -> anyhow::Result<Vec<Dependency>> {
    names
        .iter()
        .map(|name| {
            name.parse()
                .with_context(|| format!("`{name}` is no Debian package"))
        })
        .collect()
}

/// The files of `debs`, which are in the store, as one layer; and what its packages' scripts would
/// have done besides.
pub(crate) fn tree(
    store: &Store,
    project: &Project,
    layer: DebLayer,
    debs: &[LockedDeb],
) -> anyhow::Result<(Tree, Vec<String>)> {
    let options = UnpackOptions {
        keep_docs: project.debian.keep_docs,
        ..UnpackOptions::default()
    };
    let packages = debs
        .iter()
        .map(|locked| {
            let source = store.checked_source(
                &locked.sha256.0,
                locked.path.rsplit('/').next().unwrap_or(&locked.path),
            )?;
            Ok(Deb::open(source)?.unpack(&store.spool(), &options)?)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let assembled = match (layer, &project.base) {
        (DebLayer::Base, Base::Debian(base)) => base.assemble(packages)?,
        _ => deb::install(packages, &deb::Database::StatusD)?,
    };
    Ok((
        assembled.tree,
        assembled.warnings.iter().map(ToString::to_string).collect(),
    ))
}
