//! Where Debian packages come from: archives, their mirrors, and the suites of a distribution.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::Platform;

use crate::diagnostics::Failure;
use crate::fetch::{Download, IfGone, without_secrets};
use crate::lock::{Lock, LockedArchive, LockedDeb};
use crate::project::{Base, Debian, MirrorTable, Project, Repository};

/// The variable that names a mirror of Debian.
pub(crate) const VARIABLE: &str = "OXCART_DEBIAN_MIRROR";

/// A release of a distribution that packages are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// `ID` of os-release, which is also what its archive is called: `debian`, `ubuntu`.
    pub(crate) id: String,
    /// `trixie`
    pub(crate) suite: String,
}

impl Distribution {
    /// Its suites, each with the archive that has it: the release, its updates, and its security
    /// updates where there are some.
    fn suites(&self) -> Vec<(String, String)> {
        let Self { id, suite } = self;
        let is_rolling = matches!(&**suite, "sid" | "unstable" | "experimental");
        let (endings, security) = match &**id {
            "debian" if is_rolling => (&[""][..], None),
            "debian" => (&["", "-updates"][..], Some("debian-security")),
            // Its mirrors have the security suite beside the others.
            "ubuntu" => (&["", "-updates", "-security"][..], None),
            _ => (&[""][..], None),
        };
        let own = endings
            .iter()
            .map(|ending| (id.clone(), format!("{suite}{ending}")));
        let security = security.map(|archive| (archive.to_owned(), format!("{suite}-security")));
        own.chain(security).collect()
    }
}

/// One list of suites to read, each signed for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite<'a> {
    /// The name of the archive that it is in.
    pub(crate) archive: String,
    /// What its release file has to say that it is; None in a flat repository.
    pub(crate) name: Option<String>,
    /// Where `InRelease` is.
    pub(crate) url: String,
    pub(crate) components: &'a [String],
    pub(crate) keyring: Option<&'a PathBuf>,
    /// Of the configuration, and no part of the distribution.
    pub(crate) repository: Option<&'a Repository>,
}

/// Where archives are mirrored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mirrors {
    /// What the configuration states, for all platforms and for some.
    stated: MirrorTable,
    of_platform: BTreeMap<Platform, MirrorTable>,
    /// By the configuration's names.
    repositories: BTreeMap<String, String>,
    /// Of Debian: the environment's, or the host's.
    debian: deb::sources::Mirrors,
    /// Of the lock, by the archive's name.
    locked: BTreeMap<(Platform, String), LockedArchive>,
}

impl Mirrors {
    /// The first that names one: the configuration, the environment, the host's own apt sources, the
    /// lock.
    pub(crate) fn find(project: &Project, lock: Option<&Lock>) -> Self {
        let variable = std::env::var(VARIABLE)
            .ok()
            .filter(|value| !value.is_empty());
        let debian = if let Some(mirror) = variable {
            deb::sources::Mirrors {
                security: security_of(&mirror),
                main: Some(mirror.trim_end_matches('/').to_owned()),
            }
        } else {
            let codename = match &project.base {
                Base::Debian(base) => base.codename,
                Base::Image { .. } | Base::Scratch => "",
            };
            deb::sources::mirrors(&deb::sources::of_host(Path::new("/etc/apt")), codename)
        };
        let Debian {
            mirrors,
            of_platform,
            repositories,
            ..
        } = &project.debian;
        let repositories = repositories
            .iter()
            .map(|it| (it.name.clone(), it.url.clone()));
        let mut locked = BTreeMap::new();
        for platform in lock.iter().flat_map(|lock| &lock.platforms) {
            for archive in &platform.base.archives {
                locked.insert((platform.name, archive.name.clone()), archive.clone());
            }
        }
        Self {
            stated: mirrors.clone(),
            of_platform: of_platform.clone(),
            repositories: repositories.collect(),
            debian,
            locked,
        }
    }

    /// Where the archive of that name is.
    fn of(&self, archive: &str, platform: Platform) -> Option<String> {
        if let Some(url) = self.repositories.get(archive) {
            return Some(url.clone());
        }
        let is_security = archive.ends_with("-security");
        let stated = [self.of_platform.get(&platform), Some(&self.stated)];
        let stated = stated.into_iter().flatten().find_map(|table| {
            if !is_security {
                return table.mirror.clone();
            }
            let beside = || security_of(table.mirror.as_ref()?);
            table.security_mirror.clone().or_else(beside)
        });
        let found = match (archive, is_security) {
            (_, true) if archive == "debian-security" => self.debian.security.clone(),
            ("debian", _) => self.debian.main.clone(),
            _ => None,
        };
        // A mirror that is stated is stated for all: the host's own has no part in it.
        let found = found.filter(|_| self.stated.mirror.is_none());
        let locked = || {
            let locked = self.locked.get(&(platform, archive.to_owned()))?;
            Some(locked.mirror.clone())
        };
        let mirror = stated.or(found).or_else(locked)?;
        Some(mirror.trim_end_matches('/').to_owned())
    }

    fn require(&self, archive: &str, platform: Platform) -> Result<String, Failure> {
        self.of(archive, platform).ok_or_else(|| {
            let variable = match archive {
                "debian" => format!(", or {VARIABLE},"),
                _ => String::new(),
            };
            let host = if archive.starts_with("debian") {
                "; on Debian, the host's apt sources are used"
            } else {
                ", and [debian] keyring to the file of its keys"
            };
            Failure::new(format!("no mirror of the archive `{archive}` is known")).hint(format!(
                "set [debian] mirror in the configuration{variable} to the URL of one: the directory that has `dists` and `pool`{host}"
            ))
        })
    }

    /// The lists to read for `platform`, those of the distribution first. Tells `warn` of a suite that
    /// is left out because no mirror of it is known.
    pub(crate) fn suites<'a>(
        &self,
        distribution: &Distribution,
        debian: &'a Debian,
        platform: Platform,
        mut warn: impl FnMut(&str),
    ) -> Result<Vec<Suite<'a>>, Failure> {
        let mut suites = Vec::new();
        for (archive, name) in distribution.suites() {
            let mirror = match self.of(&archive, platform) {
                None if archive.ends_with("-security") => {
                    warn(&format!(
                        "no mirror of Debian's security archive is known: {name} is left out; set [debian] security-mirror"
                    ));
                    continue;
                }
                _ => self.require(&archive, platform)?,
            };
            suites.push(Suite {
                archive,
                url: format!("{mirror}/dists/{name}"),
                name: Some(name),
                components: &debian.components,
                keyring: debian.keyring.as_ref(),
                repository: None,
            });
        }
        suites.extend(debian.repositories.iter().map(|it| Suite {
            archive: it.name.clone(),
            name: (!it.is_flat()).then(|| it.suite.clone()),
            url: it.directory(),
            components: &it.components,
            keyring: it.keyring.as_ref().or(debian.keyring.as_ref()),
            repository: Some(it),
        }));
        Ok(suites)
    }

    /// For the lock: where a host without a mirror of its own can look for what is in `archive`.
    pub(crate) fn locked(&self, archive: &str, platform: Platform) -> Option<String> {
        Some(without_secrets(&self.of(archive, platform)?))
    }

    /// The download of a package that is locked for `platform`.
    pub(crate) fn download(
        &self,
        deb: &LockedDeb,
        platform: Platform,
    ) -> Result<Download, Failure> {
        let mirror = self.require(&deb.archive, platform)?;
        let locked = self.locked.get(&(platform, deb.archive.clone()));
        let date = locked.and_then(|it| it.date.as_deref());
        Ok(Download {
            url: format!("{mirror}/{}", deb.path),
            digest: Some(deb.sha256.0),
            size: Some(deb.size),
            name: deb.file_name().to_owned(),
            if_gone: IfGone::Say {
                what: format!(
                    "{} {} is locked, and the archive `{}` has it no longer",
                    deb.name, deb.version, deb.archive
                ),
                hint: match date {
                    None => "`oxcart lock` takes what the archive has now".to_owned(),
                    Some(date) => format!(
                        "`oxcart lock` takes what the archive has now; a mirror of its past, such as Debian's snapshot archive, has it at {date}: name it as [debian] mirror, with accept-expired = true"
                    ),
                },
            },
        })
    }
}

impl LockedDeb {
    /// The last part of its path.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Mirrors carry Debian's two archives side by side under these names, dated ones with the date behind.
fn security_of(mirror: &str) -> Option<String> {
    let mirror = mirror.trim_end_matches('/');
    let (root, rest) = match mirror.strip_suffix("/debian") {
        Some(root) => (root, ""),
        None => mirror.rsplit_once("/debian/")?,
    };
    let slash = if rest.is_empty() { "" } else { "/" };
    Some(format!("{root}/debian-security{slash}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(id: &str, suite: &str) -> Vec<String> {
        let distribution = Distribution {
            id: id.to_owned(),
            suite: suite.to_owned(),
        };
        let show = |(archive, name)| format!("{archive} {name}");
        distribution.suites().into_iter().map(show).collect()
    }

    #[test]
    fn updates_and_security_updates_belong_to_a_release() {
        assert_eq!(
            suites("debian", "trixie"),
            [
                "debian trixie",
                "debian trixie-updates",
                "debian-security trixie-security"
            ]
        );
        assert_eq!(suites("debian", "sid"), ["debian sid"]);
        assert_eq!(
            suites("ubuntu", "noble"),
            [
                "ubuntu noble",
                "ubuntu noble-updates",
                "ubuntu noble-security"
            ]
        );
        assert_eq!(suites("raspbian", "bookworm"), ["raspbian bookworm"]);
    }

    #[test]
    fn the_security_archive_is_beside_the_other() {
        for (mirror, expect) in [
            (
                "http://m.example/debian",
                Some("http://m.example/debian-security"),
            ),
            (
                "http://m.example/debian/",
                Some("http://m.example/debian-security"),
            ),
            (
                "http://m.example/archive/debian/20250520T000000Z",
                Some("http://m.example/archive/debian-security/20250520T000000Z"),
            ),
            ("http://m.example/mirror", None),
        ] {
            assert_eq!(security_of(mirror).as_deref(), expect, "{mirror}");
        }
    }

    fn table(mirror: &str) -> MirrorTable {
        MirrorTable {
            mirror: Some(mirror.to_owned()),
            security_mirror: None,
        }
    }

    #[test]
    fn what_is_stated_goes_before_what_is_found() {
        let archive = |name: &str| LockedArchive {
            name: name.to_owned(),
            mirror: format!("http://lock.example/{name}"),
            date: None,
        };
        let locked = ["debian", "debian-security", "ubuntu"];
        let mut mirrors = Mirrors {
            debian: deb::sources::Mirrors {
                main: Some("http://host.example/debian".to_owned()),
                security: None,
            },
            locked: locked
                .map(|it| ((Platform::Arm64, it.to_owned()), archive(it)))
                .into(),
            ..Mirrors::default()
        };
        let check = |mirrors: &Mirrors, expect: [&str; 3]| {
            let found = locked.map(|it| mirrors.of(it, Platform::Arm64).unwrap());
            assert_eq!(found, expect);
        };
        let of_lock = "http://lock.example/";
        check(
            &mirrors,
            [
                "http://host.example/debian",
                &format!("{of_lock}debian-security"),
                &format!("{of_lock}ubuntu"),
            ],
        );
        mirrors.stated = table("http://m.example/debian/");
        check(
            &mirrors,
            [
                "http://m.example/debian",
                "http://m.example/debian-security",
                "http://m.example/debian",
            ],
        );
        mirrors
            .of_platform
            .insert(Platform::Arm64, table("http://ports.example/debian"));
        check(
            &mirrors,
            [
                "http://ports.example/debian",
                "http://ports.example/debian-security",
                "http://ports.example/debian",
            ],
        );
        assert_eq!(
            mirrors.of("debian", Platform::Amd64).unwrap(),
            "http://m.example/debian"
        );
    }
}
