//! Installed packages: of Python by their dist-info ("Recording installed projects"), of Debian by dpkg's
//! records in either form, of Alpine by apk's.

use std::collections::{BTreeMap, BTreeSet};

use facts::path::{join, name, parent, split};
use serde::{Deserialize, Serialize};

use crate::body::is_site;
use crate::contents::{Contents, Found};
use crate::listing::{Body, Kind};
use crate::owners;

const STATUS: &str = "var/lib/dpkg/status";
const STATUS_D: &str = "var/lib/dpkg/status.d";
const INFO: &str = "var/lib/dpkg/info";
const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

/// Whose packages.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Ecosystem {
    /// Wheels and what was installed like them.
    Python,
    /// dpkg's.
    Debian,
    /// apk's.
    Alpine,
}

/// An installed package.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Whose it is.
    pub ecosystem: Ecosystem,
    /// As it is written in its metadata.
    pub name: String,
    /// As it is written there.
    pub version: String,
    /// Debian's and Alpine's: `amd64`, `all`, `x86_64`.
    pub architecture: Option<String>,
    /// The path of METADATA, of the records that have its entry, or of its file in `status.d`.
    pub metadata: String,
    /// The layer of that file.
    pub layer: usize,
    /// Paths of what it owns and what is there, sorted; no directories.
    pub files: Vec<String>,
    /// Bytes of them. A hard link counts nothing.
    pub size: u64,
}

pub(crate) fn packages(contents: &Contents) -> Vec<Package> {
    let mut packages = python(contents);
    packages.extend(debian(contents));
    packages.extend(alpine(contents));
    packages.sort_by(|a, b| {
        let key = |package: &Package| {
            let name = package.name.to_lowercase();
            (package.ecosystem, name, package.metadata.clone())
        };
        key(a).cmp(&key(b))
    });
    packages
}

/// What a package manager says of one package.
struct Claim {
    ecosystem: Ecosystem,
    name: String,
    version: String,
    architecture: Option<String>,
    /// Paths as they are written.
    paths: Vec<String>,
}

impl Claim {
    /// The package, with what is there of what it claims.
    fn package(self, contents: &Contents, metadata: Found<'_>) -> Package {
        let mut files = BTreeMap::new();
        for path in &self.paths {
            if let Some(found) = contents.get(path) {
                match &found.entry.kind {
                    Kind::Directory => {}
                    Kind::File(file) => drop(files.insert(found.path.to_owned(), file.size)),
                    _ => drop(files.insert(found.path.to_owned(), 0)),
                }
            }
        }
        Package {
            ecosystem: self.ecosystem,
            name: self.name,
            version: self.version,
            architecture: self.architecture,
            metadata: metadata.path.to_owned(),
            layer: metadata.layer,
            size: files.values().sum(),
            files: files.into_keys().collect(),
        }
    }
}

/// The packages of every directory that has some. Metadata that another package owns is not installed but
/// vendored, as setuptools does it.
fn python(contents: &Contents) -> Vec<Package> {
    let mut found = Vec::new();
    let mut vendored = BTreeSet::new();
    for metadata in contents.iter() {
        let Some((claim, info)) = python_claim(contents, metadata) else {
            continue;
        };
        for path in &claim.paths {
            if matches!(name(path), "METADATA" | "PKG-INFO") && parent(path) != info {
                vendored.insert(path.clone());
            }
        }
        found.push((claim, metadata));
    }
    found.retain(|(_, metadata)| !vendored.contains(metadata.path));
    let packages = found.into_iter();
    packages
        .map(|(claim, metadata)| claim.package(contents, metadata))
        .collect()
}

/// With the directory of the metadata.
fn python_claim<'a>(contents: &Contents, metadata: Found<'a>) -> Option<(Claim, &'a str)> {
    let (info, file) = split(metadata.path);
    let info = match file {
        "METADATA" if info.ends_with(".dist-info") => info,
        "PKG-INFO" if info.ends_with(".egg-info") => info,
        file if file.ends_with(".egg-info") && is_site(name(info)) => metadata.path,
        _ => return None,
    };
    let text = contents.text(metadata.path)?;
    let field = |wanted: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted)
                .then(|| value.trim().to_owned())
        })
    };
    let record = contents.record(&join(info, "RECORD"));
    let installed = contents.text(&join(info, "installed-files.txt"));
    let mut paths: Vec<String> = match (record, installed) {
        (Some(rows), _) => rows.map(|(path, _)| path.to_owned()).collect(),
        (None, Some(text)) => text
            .lines()
            .filter_map(|line| facts::path::relative(&format!("/{info}/{line}")))
            .collect(),
        (None, None) => contents
            .names_in(info)
            .into_iter()
            .map(|name| join(info, name))
            .collect(),
    };
    paths.push(metadata.path.to_owned());
    let claim = Claim {
        ecosystem: Ecosystem::Python,
        name: field("Name")?,
        version: field("Version")?,
        architecture: None,
        paths,
    };
    Some((claim, info))
}

fn debian(contents: &Contents) -> Vec<Package> {
    let mut packages = Vec::new();
    if let Some(found) = contents.resolve(STATUS) {
        for stanza in stanzas(contents.text(STATUS).unwrap_or_default()) {
            packages.extend(
                debian_claim(&stanza, |name, architecture| {
                    let qualified = format!("{INFO}/{name}:{architecture}.list");
                    let plain = format!("{INFO}/{name}.list");
                    let list = contents.text(&qualified).or_else(|| contents.text(&plain));
                    owners::of_list(list.unwrap_or_default())
                })
                .map(|claim| claim.package(contents, found)),
            );
        }
    }
    for file in contents.names_in(STATUS_D) {
        let path = join(STATUS_D, file);
        let Some(found) = contents.resolve(&path) else {
            continue;
        };
        if file.ends_with(".md5sums") {
            continue;
        }
        for stanza in stanzas(contents.text(&path).unwrap_or_default()) {
            packages.extend(
                debian_claim(&stanza, |_, _| {
                    let sums = contents.text(&format!("{path}.md5sums"));
                    owners::of_md5sums(sums.unwrap_or_default())
                })
                .map(|claim| claim.package(contents, found)),
            );
        }
    }
    packages
}

fn debian_claim(
    stanza: &Stanza<'_>,
    paths: impl FnOnce(&str, &str) -> Vec<String>,
) -> Option<Claim> {
    let field = |name: &str| stanza.get(name).and_then(|lines| lines.first().copied());
    let name = field("Package")?;
    let architecture = field("Architecture").unwrap_or_default();
    let is_installed = field("Status").is_none_or(|status| status.ends_with(" installed"));
    // Those are in dpkg's lists, but not among the checksums that `status.d` has.
    let conffiles = stanza.get("Conffiles").map_or(&[][..], Vec::as_slice);
    is_installed.then(|| Claim {
        ecosystem: Ecosystem::Debian,
        name: name.to_owned(),
        version: field("Version").unwrap_or_default().to_owned(),
        architecture: Some(architecture.to_owned()).filter(|text| !text.is_empty()),
        paths: [paths(name, architecture), owners::of_conffiles(conffiles)].concat(),
    })
}

/// The lines of each field's value, trimmed; the first is beside the name.
type Stanza<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// deb822(5)
fn stanzas(text: &str) -> Vec<Stanza<'_>> {
    let mut stanzas: Vec<Stanza<'_>> = vec![Stanza::new()];
    let mut field = "";
    for line in text.lines() {
        let Some(stanza) = stanzas.last_mut() else {
            break;
        };
        if line.trim().is_empty() {
            stanzas.push(Stanza::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some(lines) = stanza.get_mut(field) {
                lines.push(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            field = name;
            stanza.insert(name, vec![value.trim()]);
        }
    }
    stanzas
}

/// apk's records: a letter, a colon and a value; `F` is a directory, `R` a file in it.
fn alpine(contents: &Contents) -> Vec<Package> {
    let Some(found) = APK.iter().find_map(|path| contents.resolve(path)) else {
        return Vec::new();
    };
    let Some(Body::Text(text)) = found.entry.file().map(|file| &file.body) else {
        return Vec::new();
    };
    let mut packages = Vec::new();
    for record in text.split("\n\n") {
        let field = |letter: &str| {
            let mut lines = record.lines();
            lines.find_map(|line| line.strip_prefix(letter)?.strip_prefix(':'))
        };
        let (Some(name), Some(version)) = (field("P"), field("V")) else {
            continue;
        };
        let mut directory = "";
        let mut paths = Vec::new();
        for line in record.lines() {
            match line.split_once(':') {
                Some(("F", path)) => directory = path,
                Some(("R", file)) => paths.push(join(directory, file)),
                _ => {}
            }
        }
        let claim = Claim {
            ecosystem: Ecosystem::Alpine,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: field("A").map(str::to_owned),
            paths,
        };
        packages.push(claim.package(contents, found));
    }
    packages
}
