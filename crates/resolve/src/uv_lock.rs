//! `uv.lock`: the packages that it has for a target, found by walking from the project.
//!
//! Follows what uv 0.5 and later write (`version = 1`, any revision). Markers on edges are simplified
//! by the lock's `requires-python`, which holds of the target before one is evaluated.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use uv_normalize::{ExtraName, PackageName};

use crate::error::{Error, NotAWheel};
use crate::locked::{self, Entry, LockedFile, Reading};
use crate::replaced::{OfManifest, Replaced};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct UvLock {
    version: u32,
    requires_python: Option<String>,
    #[serde(default)]
    supported_markers: Vec<String>,
    #[serde(default)]
    manifest: Manifest,
    #[serde(default, rename = "package")]
    packages: Vec<Package>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Manifest {
    members: Vec<PackageName>,
    requirements: Vec<Edge>,
    dependency_groups: BTreeMap<String, Vec<Edge>>,
    #[serde(flatten)]
    replaced: OfManifest,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: PackageName,
    version: Option<String>,
    source: toml::Table,
    #[serde(default)]
    resolution_markers: Vec<String>,
    #[serde(default)]
    dependencies: Vec<Edge>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Edge>>,
    #[serde(default, alias = "dependency-groups")]
    dev_dependencies: BTreeMap<String, Vec<Edge>>,
    sdist: Option<Wheel>,
    #[serde(default)]
    wheels: Vec<Wheel>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Metadata {
    provides_extras: Vec<String>,
    #[serde(alias = "dependency-groups")]
    requires_dev: BTreeMap<String, toml::Value>,
}

/// One package's need of another. Requirements of the manifest are read as such too.
#[derive(Debug, Clone, Deserialize)]
struct Edge {
    name: PackageName,
    version: Option<String>,
    source: Option<toml::Table>,
    #[serde(default, alias = "extras")]
    extra: Vec<String>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Wheel {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
}

impl UvLock {
    /// What the project, its `extras` and its `groups` need on the target.
    pub(crate) fn entries(&self, reading: &Reading<'_>) -> Result<Vec<Entry>, Error> {
        if self.version != 1 {
            return Err(reading.invalid(format!(
                "it is a uv.lock of version {}, and this oxcart reads version 1",
                self.version
            )));
        }
        reading.check_python(self.requires_python.as_deref())?;
        reading.check_environments(&self.supported_markers)?;
        let roots = self.roots();
        let mut walk = Walk {
            lock: self,
            reading,
            active: active(&roots, reading),
            next: VecDeque::new(),
            seen: BTreeSet::new(),
            found: BTreeMap::new(),
        };
        for (position, _) in &roots {
            walk.next.push_back((*position, None));
        }
        self.start(&roots, &mut walk)?;
        walk.finish(&roots)
    }

    /// The requirements that were replaced or left out when it was made.
    pub(crate) fn replaced(&self) -> Vec<Replaced> {
        self.manifest.replaced.replaced()
    }

    /// The project at the lock's own place, or all members of a workspace that has none there.
    fn roots(&self) -> Vec<(usize, &Package)> {
        let all = || self.packages.iter().enumerate();
        let own: Vec<_> = all().filter(|(_, package)| package.is_here()).collect();
        if !own.is_empty() {
            return own;
        }
        all()
            .filter(|(_, package)| self.manifest.members.contains(&package.name))
            .collect()
    }

    /// Notes what is asked for beside the dependencies of the roots.
    fn start(&self, roots: &[(usize, &Package)], walk: &mut Walk<'_>) -> Result<(), Error> {
        let reading = walk.reading;
        for extra in reading.extras {
            let mut found = false;
            for (position, package) in roots {
                let mut own = package.optional_dependencies.keys();
                let mut stated = package.metadata.provides_extras.iter();
                if own.any(|it| same(it, extra)) || stated.any(|it| same(it, extra)) {
                    walk.next.push_back((*position, Some(extra.clone())));
                    found = true;
                }
            }
            if !found {
                let known =
                    |(_, package): &(usize, &Package)| package.metadata.provides_extras.clone();
                let known = roots.iter().flat_map(known).collect();
                return Err(reading.undefined("extra", extra, known));
            }
        }
        for group in reading.groups {
            let mut found = false;
            for (position, package) in roots {
                found |= package
                    .metadata
                    .requires_dev
                    .keys()
                    .any(|it| same(it, group));
                for edge in under(&package.dev_dependencies, group) {
                    walk.follow(edge, Some(*position))?;
                    found = true;
                }
            }
            for edge in under(&self.manifest.dependency_groups, group) {
                walk.follow(edge, None)?;
                found = true;
            }
            if !found {
                let of = |(_, package): &(usize, &Package)| {
                    package
                        .metadata
                        .requires_dev
                        .keys()
                        .cloned()
                        .collect::<Vec<_>>()
                };
                let mut known: Vec<String> = roots.iter().flat_map(of).collect();
                known.extend(self.manifest.dependency_groups.keys().cloned());
                return Err(reading.undefined("dependency group", group, known));
            }
        }
        for edge in &self.manifest.requirements {
            walk.follow(edge, None)?;
        }
        Ok(())
    }
}

/// The names that markers give to what is asked for, where a project declares conflicts: uv puts
/// them into `extra`.
fn active(roots: &[(usize, &Package)], reading: &Reading<'_>) -> Vec<ExtraName> {
    let mut names = Vec::new();
    for (_, Package { name, .. }) in roots {
        let length = name.as_ref().len();
        names.push(format!("project-{length}-{name}"));
        let extras = reading.extras.iter();
        names.extend(extras.map(|extra| format!("extra-{length}-{name}-{extra}")));
        let groups = reading.groups.iter();
        names.extend(groups.map(|group| format!("group-{length}-{name}-{group}")));
    }
    let names = names.iter().map(|name| ExtraName::from_str(name));
    names.filter_map(Result::ok).collect()
}

/// Spelling of extras and groups is free.
fn same(a: &str, b: &str) -> bool {
    match (ExtraName::from_str(a), ExtraName::from_str(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn under<'a>(
    table: &'a BTreeMap<String, Vec<Edge>>,
    name: &'a str,
) -> impl Iterator<Item = &'a Edge> {
    let matching = table.iter().filter(move |(key, _)| same(key, name));
    matching.flat_map(|(_, edges)| edges)
}

struct Walk<'a> {
    lock: &'a UvLock,
    reading: &'a Reading<'a>,
    active: Vec<ExtraName>,
    /// Packages, by position, and their extras.
    next: VecDeque<(usize, Option<String>)>,
    seen: BTreeSet<(usize, Option<String>)>,
    /// The packages that are needed, and which others need them. None stands for the lock itself.
    found: BTreeMap<usize, BTreeSet<Option<usize>>>,
}

impl Walk<'_> {
    fn finish(mut self, roots: &[(usize, &Package)]) -> Result<Vec<Entry>, Error> {
        let lock = self.lock;
        while let Some((position, extra)) = self.next.pop_front() {
            if !self.seen.insert((position, extra.clone())) {
                continue;
            }
            let package = &lock.packages[position];
            match &extra {
                None => {
                    for edge in &package.dependencies {
                        self.follow(edge, Some(position))?;
                    }
                }
                Some(extra) => {
                    for edge in under(&package.optional_dependencies, extra) {
                        self.follow(edge, Some(position))?;
                    }
                }
            }
        }
        let is_root = |position: &usize| roots.iter().any(|(root, _)| root == position);
        let mut entries = Vec::new();
        for (&position, needed_by) in self.found.iter().filter(|(it, _)| !is_root(it)) {
            let mut entry = lock.packages[position].entry(self.reading)?;
            entry.requested = needed_by.iter().any(|by| by.is_none_or(|by| is_root(&by)));
            let needs = |(_, by): &(&usize, &BTreeSet<Option<usize>>)| by.contains(&Some(position));
            let dependencies = self.found.iter().filter(needs);
            entry.dependencies = dependencies
                .map(|(&it, _)| lock.packages[it].name.to_string())
                .collect();
            entry.dependencies.sort_unstable();
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Notes the package at the end of an edge, if the edge holds on the target.
    fn follow(&mut self, edge: &Edge, from: Option<usize>) -> Result<(), Error> {
        let marker = self.reading.marker(edge.marker.as_deref())?;
        if !marker.evaluate(self.reading.markers, &self.active) {
            return Ok(());
        }
        let position = self.target(edge)?;
        self.found.entry(position).or_default().insert(from);
        self.next.push_back((position, None));
        for extra in &edge.extra {
            self.next.push_back((position, Some(extra.clone())));
        }
        Ok(())
    }

    fn target(&self, edge: &Edge) -> Result<usize, Error> {
        let named = |package: &Package| {
            package.name == edge.name
                && (edge.version.is_none() || package.version == edge.version)
                && edge.source.as_ref().is_none_or(|it| *it == package.source)
        };
        let all = self.lock.packages.iter().enumerate();
        let mut candidates: Vec<_> = all.filter(|(_, package)| named(package)).collect();
        if candidates.len() > 1 {
            let reading = self.reading;
            candidates.retain(|(_, package)| {
                let markers = &package.resolution_markers;
                reading.check_environments(markers).is_ok()
            });
        }
        match candidates[..] {
            [(position, _)] => Ok(position),
            [] => Err(self
                .reading
                .invalid(format!("something needs {}, which has no entry", edge.name))),
            _ => Err(self.reading.invalid(format!(
                "it does not say which entry of {} is needed",
                edge.name
            ))),
        }
    }
}

impl Package {
    fn source(&self, kind: &str) -> Option<&str> {
        self.source.get(kind)?.as_str()
    }

    /// Whether it is the project beside the lock.
    fn is_here(&self) -> bool {
        ["virtual", "editable", "directory"]
            .iter()
            .any(|kind| self.source(kind) == Some("."))
    }

    fn entry(&self, reading: &Reading<'_>) -> Result<Entry, Error> {
        let files = self.wheels.iter().map(|wheel| self.file(wheel, reading));
        let wheels = files.collect::<Result<Vec<_>, _>>()?;
        let index = self.source("registry");
        Ok(Entry {
            name: self.name.clone(),
            version: self.version.clone(),
            instead: self.instead(&wheels),
            wheels,
            // Only where it is asked for does it matter where it is.
            sdist: self
                .sdist
                .as_ref()
                .and_then(|it| self.file(it, reading).ok()),
            index: index.map(crate::input::without_credentials),
            requested: false,
            dependencies: Vec::new(),
        })
    }

    /// What it is where it is no wheel.
    fn instead(&self, wheels: &[LockedFile]) -> Option<NotAWheel> {
        let has = |kind: &str| self.source.contains_key(kind);
        if has("git") {
            Some(NotAWheel::Repository)
        } else if has("editable") {
            Some(NotAWheel::Editable)
        } else if has("directory") || has("virtual") {
            Some(NotAWheel::Directory)
        } else {
            let sources = self.sdist.is_some() || !has("registry");
            (wheels.is_empty() && sources).then_some(NotAWheel::Archive)
        }
    }

    fn file(&self, wheel: &Wheel, reading: &Reading<'_>) -> Result<LockedFile, Error> {
        let (filename, url) = if let Some(url) = &wheel.url {
            reading.at_url(url, wheel.filename.as_deref())?
        } else if let Some(url) = self.source("url") {
            reading.at_url(url, wheel.filename.as_deref())?
        } else if let Some(path) = self.source("path") {
            reading.at_path(Path::new(path))?
        } else if let (Some(links), Some(path)) = (self.source("registry"), &wheel.path) {
            reading.at_path(&Path::new(links).join(path))?
        } else {
            return Err(reading.invalid(format!("a wheel of {} has no place", self.name)));
        };
        let sha256 = match &wheel.hash {
            None => None,
            Some(hash) => Some(locked::sha256(hash).ok_or_else(|| {
                reading.invalid(format!("{filename} has `{hash}`, which is no sha256"))
            })?),
        };
        Ok(LockedFile {
            filename,
            url,
            sha256,
            size: wheel.size,
        })
    }
}
