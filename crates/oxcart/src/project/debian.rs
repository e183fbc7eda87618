//! `[debian]`, checked: where Debian packages come from, and which are preferred.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci::Platform;

use crate::diagnostics::Failure;
use crate::project::config::{DebianTable, MirrorTable, RepositoryTable};

/// What packages are taken from, unless other components are named.
const COMPONENTS: [&str; 1] = ["main"];

/// Where Debian packages come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Debian {
    /// Of the distribution's own archives.
    pub(crate) mirrors: MirrorTable,
    /// The same where a platform has others.
    pub(crate) of_platform: BTreeMap<Platform, MirrorTable>,
    pub(crate) keyring: Option<PathBuf>,
    /// Dates of release files do not matter: what a dated mirror has is old.
    pub(crate) accept_expired: bool,
    pub(crate) keep_docs: bool,
    /// The release of a base image, where its os-release does not tell.
    pub(crate) suite: Option<String>,
    pub(crate) components: Vec<String>,
    /// Package to the one version that is taken.
    pub(crate) pins: BTreeMap<String, deb::Version>,
    pub(crate) repositories: Vec<Repository>,
}

/// An archive besides the distribution's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// What lock and messages call it.
    pub(crate) name: String,
    pub(crate) url: String,
    /// A suite below `dists`; with `/` at its end the directory of a flat repository.
    pub(crate) suite: String,
    /// None in a flat repository.
    pub(crate) components: Vec<String>,
    pub(crate) keyring: Option<PathBuf>,
    /// What comes from here whatever version others have; all by version where it is None.
    pub(crate) packages: Option<BTreeSet<String>>,
}

impl Repository {
    /// Where its release file and its lists are.
    pub(crate) fn directory(&self) -> String {
        let url = self.url.trim_end_matches('/');
        match self.suite.strip_suffix('/') {
            None => format!("{url}/dists/{}", self.suite),
            Some("." | "") => url.to_owned(),
            Some(directory) => format!("{url}/{}", directory.trim_start_matches("./")),
        }
    }

    /// Whether it has no suites, but all packages in one list.
    pub(crate) fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }
}

impl Debian {
    /// What of it changes which packages are chosen, for the digest of what a project asks for;
    /// None where nothing is stated.
    pub(crate) fn asked(&self) -> Option<serde_json::Value> {
        let mut asked = serde_json::json!({});
        if self.components != COMPONENTS {
            asked["components"] = self.components.clone().into();
        }
        if let Some(suite) = &self.suite {
            asked["suite"] = suite.clone().into();
        }
        for (name, version) in &self.pins {
            asked["pin"][name] = version.to_string().into();
        }
        for it in &self.repositories {
            asked["repository"][&it.name] = serde_json::json!([
                crate::fetch::without_secrets(&it.url),
                it.suite,
                it.components,
                it.packages,
            ]);
        }
        (asked != serde_json::json!({})).then_some(asked)
    }
}

/// Checks the table of the project in `directory`; a fault is told without the file's name.
pub(super) fn check(
    table: DebianTable,
    of_platform: BTreeMap<Platform, MirrorTable>,
    directory: &Path,
) -> Result<Debian, Failure> {
    let mut repositories: Vec<Repository> = Vec::new();
    for table in table.repository {
        let repository = repository(table, directory)?;
        if repositories.iter().any(|it| it.name == repository.name) {
            let name = &repository.name;
            return Err(
                fault(format!("[[debian.repository]] `{name}` is there twice"))
                    .hint("leave one of them out, or give it a name of its own"),
            );
        }
        repositories.push(repository);
    }
    let mirrors = MirrorTable {
        mirror: table.mirror,
        security_mirror: table.security_mirror,
    };
    let all = of_platform.values().chain([&mirrors]);
    for mirror in all
        .flat_map(|it| [&it.mirror, &it.security_mirror])
        .flatten()
    {
        check_url(mirror, "[debian] mirror")?;
    }
    let components = match table.components {
        None => COMPONENTS.map(str::to_owned).to_vec(),
        Some(components) => components,
    };
    check_components(&components, "[debian] components")?;
    if let Some(suite) = table.suite.as_ref().filter(|suite| !is_word(suite)) {
        return Err(fault(format!("[debian] suite is `{suite}`"))
            .hint("name the release alone, such as \"trixie\": its updates and security updates are looked at too"));
    }
    let mut pins = BTreeMap::new();
    for (name, version) in table.pin {
        let parsed = deb::Version::from_str(&version).map_err(|error| {
            fault(format!("[debian] pin: `{name}` has version `{version}`"))
                .hint("write the whole version as Debian has it, such as \"1:3.0.17-1~deb12u2\"")
                .caused_by(error)
        })?;
        pins.insert(package(&name, "[debian] pin")?, parsed);
    }
    Ok(Debian {
        mirrors,
        of_platform,
        keyring: table.keyring.map(|path| directory.join(path)),
        accept_expired: table.accept_expired,
        keep_docs: table.keep_docs,
        suite: table.suite,
        components,
        pins,
        repositories,
    })
}

fn repository(table: RepositoryTable, directory: &Path) -> Result<Repository, Failure> {
    let RepositoryTable {
        name,
        url,
        suite,
        components,
        keyring,
        packages,
    } = table;
    let place = format!("[[debian.repository]] `{name}`");
    // These are what the lock calls the distributions' own.
    let taken = ["debian", "debian-security", "ubuntu"].contains(&name.as_str());
    if !is_word(&name) || taken {
        return Err(fault(format!("[[debian.repository]] name is `{name}`"))
            .hint("give it a name of its own, of letters, digits and `-`: the lock calls it so"));
    }
    check_url(&url, &place)?;
    let is_flat = suite.ends_with('/');
    let components = match (components, is_flat) {
        (None, false) => COMPONENTS.map(str::to_owned).to_vec(),
        (None, true) => Vec::new(),
        (Some(_), true) => {
            return Err(fault(format!(
                "{place}: the suite {suite} is a directory, and has no components"
            ))
            .hint("leave components out, or name a suite without `/` at its end"));
        }
        (Some(components), false) => components,
    };
    if !is_flat {
        check_components(&components, &place)?;
    }
    if suite.is_empty() || suite.starts_with('/') || suite.split('/').any(|it| it == "..") {
        return Err(fault(format!("{place}: the suite is `{suite}`")).hint(
            "name one of the directories below `dists`, or a directory with `/` at its end",
        ));
    }
    let keyring = keyring.map(|path| directory.join(path));
    if let Some(path) = keyring.as_ref().filter(|path| !path.is_file()) {
        return Err(fault(format!(
            "{place}: the keyring {} does not exist",
            path.display()
        ))
        .hint("paths are relative to the project's directory"));
    }
    let packages = packages.map(|names| {
        let names = names.iter().map(|name| package(name, &place));
        names.collect::<Result<BTreeSet<_>, _>>()
    });
    Ok(Repository {
        name,
        url: url.trim_end_matches('/').to_owned(),
        suite,
        components,
        keyring,
        packages: packages.transpose()?,
    })
}

fn check_url(text: &str, place: &str) -> Result<(), Failure> {
    let is_known =
        url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "file"));
    if is_known {
        return Ok(());
    }
    Err(fault(format!("{place}: `{text}` is no URL of an archive"))
        .hint("write the URL of the directory that has `dists`: it begins with https://, http:// or file://"))
}

fn check_components(components: &[String], place: &str) -> Result<(), Failure> {
    match components
        .iter()
        .find(|it| it.split('/').any(|it| !is_word(it)))
    {
        Some(wrong) => Err(fault(format!("{place}: `{wrong}` is no component"))
            .hint("components are main, contrib, non-free and the like")),
        None if components.is_empty() => {
            Err(fault(format!("{place}: there are no components"))
                .hint("leave the key out for main"))
        }
        None => Ok(()),
    }
}

fn package(name: &str, place: &str) -> Result<String, Failure> {
    let parsed = deb::Relation::from_str(name);
    let is_bare = parsed.is_ok_and(|it| it.name == name);
    if is_bare {
        return Ok(name.to_owned());
    }
    Err(fault(format!("{place}: `{name}` is no package name")).hint("write the name alone"))
}

fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._+~".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
}

fn fault(text: String) -> Failure {
    Failure::new(text)
}
