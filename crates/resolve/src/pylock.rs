//! `pylock.toml`: the packages that it has for a target.
//!
//! Follows the pylock.toml specification (PEP 751), section Installation.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use uv_normalize::{ExtraName, GroupName, PackageName};

use crate::error::{Error, NotAWheel};
use crate::locked::{self, Entry, LockedFile, Reading};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Pylock {
    lock_version: String,
    #[serde(default)]
    environments: Vec<String>,
    requires_python: Option<String>,
    #[serde(default)]
    extras: Vec<ExtraName>,
    #[serde(default)]
    dependency_groups: Vec<GroupName>,
    #[serde(default)]
    default_groups: Vec<GroupName>,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: PackageName,
    version: Option<String>,
    marker: Option<String>,
    requires_python: Option<String>,
    #[serde(default)]
    dependencies: Vec<toml::Table>,
    index: Option<String>,
    vcs: Option<toml::Table>,
    directory: Option<Directory>,
    archive: Option<File>,
    sdist: Option<File>,
    #[serde(default)]
    wheels: Vec<File>,
}

#[derive(Debug, Clone, Deserialize)]
struct Directory {
    path: String,
    #[serde(default)]
    editable: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct File {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl Pylock {
    /// What the lock, with `extras` and `groups`, has for the target.
    pub(crate) fn entries(&self, reading: &Reading<'_>) -> Result<Vec<Entry>, Error> {
        if self.lock_version != "1" && !self.lock_version.starts_with("1.") {
            return Err(reading.invalid(format!(
                "its lock-version is {}, and this oxcart reads version 1",
                self.lock_version
            )));
        }
        reading.check_environments(&self.environments)?;
        reading.check_python(self.requires_python.as_deref())?;
        let extras = chosen(&self.extras, reading.extras, "extra", reading)?;
        let mut groups = chosen(
            &self.dependency_groups,
            reading.groups,
            "dependency group",
            reading,
        )?;
        if groups.is_empty() {
            groups.clone_from(&self.default_groups);
        }
        let mut entries = Vec::new();
        for package in &self.packages {
            let marker = reading.marker(package.marker.as_deref())?;
            if marker.evaluate_pep751(reading.markers, &extras, &groups) && !package.is_here() {
                reading.check_python(package.requires_python.as_deref())?;
                entries.push(package.entry(reading)?);
            }
        }
        Ok(entries)
    }
}

/// Those of `known` that are asked for; all of what is asked for must be there.
fn chosen<T: FromStr + Clone + PartialEq + ToString>(
    known: &[T],
    asked: &[String],
    kind: &'static str,
    reading: &Reading<'_>,
) -> Result<Vec<T>, Error> {
    let find = |name: &String| {
        let parsed = T::from_str(name).ok().filter(|it| known.contains(it));
        parsed.ok_or_else(|| {
            reading.undefined(kind, name, known.iter().map(ToString::to_string).collect())
        })
    };
    asked.iter().map(find).collect()
}

impl Package {
    /// Whether it is the project beside the lock.
    fn is_here(&self) -> bool {
        let directory = self.directory.as_ref();
        directory.is_some_and(|it| matches!(&*it.path, "." | "./" | ""))
    }

    fn entry(&self, reading: &Reading<'_>) -> Result<Entry, Error> {
        // A direct URL is an archive, whether of sources or a wheel.
        let archive = self
            .archive
            .iter()
            .map(|file| file.read(&self.name, reading));
        let archive = archive.filter(|file| match file {
            Ok(file) => locked::is_wheel(&file.filename),
            Err(_) => true,
        });
        let wheels = self
            .wheels
            .iter()
            .map(|file| file.read(&self.name, reading));
        let wheels = wheels.chain(archive).collect::<Result<Vec<_>, _>>()?;
        let dependencies = self.dependencies.iter();
        let mut dependencies: Vec<String> = dependencies
            .filter_map(|it| Some(it.get("name")?.as_str()?.to_owned()))
            .collect();
        dependencies.sort_unstable();
        Ok(Entry {
            name: self.name.clone(),
            version: self.version.clone(),
            instead: self.instead(&wheels),
            wheels,
            sdist: self
                .sdist
                .iter()
                .chain(&self.archive)
                .find_map(|file| file.read(&self.name, reading).ok()),
            index: self.index.as_deref().map(crate::input::without_credentials),
            // The specification keeps no record of what was asked for by name.
            requested: false,
            dependencies,
        })
    }

    /// What it is where it is no wheel.
    fn instead(&self, wheels: &[LockedFile]) -> Option<NotAWheel> {
        match (&self.vcs, &self.directory) {
            (Some(_), _) => Some(NotAWheel::Repository),
            (_, Some(Directory { editable: true, .. })) => Some(NotAWheel::Editable),
            (_, Some(_)) => Some(NotAWheel::Directory),
            (None, None) => {
                let sources = self.sdist.is_some() || self.archive.is_some();
                (wheels.is_empty() && sources).then_some(NotAWheel::Archive)
            }
        }
    }
}

impl File {
    fn read(&self, package: &PackageName, reading: &Reading<'_>) -> Result<LockedFile, Error> {
        let (filename, url) = match (&self.url, &self.path) {
            (Some(url), _) => reading.at_url(url, self.name.as_deref())?,
            (None, Some(path)) => reading.at_path(Path::new(path))?,
            (None, None) => {
                return Err(
                    reading.invalid(format!("a file of {package} has neither url nor path"))
                );
            }
        };
        let hash = self.hashes.get("sha256").map(|it| format!("sha256:{it}"));
        let sha256 = hash.as_deref().and_then(locked::sha256);
        if sha256.is_none() {
            return Err(reading.invalid(format!("{filename} has no sha256")));
        }
        Ok(LockedFile {
            filename,
            url,
            sha256,
            size: self.size,
        })
    }
}
