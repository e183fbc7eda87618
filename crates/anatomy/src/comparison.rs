//! What tells two images apart: the document of `diff --json`. Its form is described in docs/inspect.md,
//! and changes only with [`VERSION`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contents::{Contents, Ecosystem, Listing};
use serde::Serialize;

use crate::cause;
use crate::changes::{Change, changes};
use crate::files::{self, FileChange};
use crate::holdings::{Holdings, PackageRow};
use crate::inspection::{Inspection, Layer, Platform};
use crate::pairs::{Pair, pairs};

/// The version of the document's form.
const VERSION: u32 = 1;
/// Records of all packages in one file: that of an upper layer says everything anew.
const DATABASES: [&str; 3] = [
    "var/lib/dpkg/status",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
];

/// Layers that were read, by `diff_id`.
pub type Listings = BTreeMap<String, Arc<Listing>>;

/// What tells two images apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Of this document's form.
    pub version: u32,
    /// The first image.
    pub a: Side,
    /// The second image.
    pub b: Side,
    /// Whether they have one digest.
    pub same: bool,
    /// Why they have not: each cause in words, the first one first.
    pub why: Vec<String>,
    /// What differs in the index, or in the only manifest, less the platforms' digests.
    pub index: Vec<Change>,
    /// Platforms that only A has.
    pub platforms_removed: Vec<String>,
    /// Platforms that only B has.
    pub platforms_added: Vec<String>,
    /// Platforms that both have, with other manifests.
    pub platforms: Vec<PlatformComparison>,
}

/// One of the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// As it was asked for.
    pub name: String,
    /// Of its index or manifest.
    pub digest: String,
}

/// What A has and what B has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sides<T> {
    /// The first image's.
    pub a: T,
    /// The second image's.
    pub b: T,
}

/// What tells the images of one platform apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlatformComparison {
    /// `linux/arm64`
    pub platform: String,
    /// Of the manifests.
    pub digest: Sides<String>,
    /// Bytes of all layers, compressed.
    pub size: Sides<u64>,
    /// Why they are not the same, the first cause first.
    pub why: Vec<String>,
    /// Layers that both have.
    pub layers_shared: usize,
    /// Layers that only one has, what stands for each other side by side.
    pub layers: Vec<LayerChange>,
    /// Packages of another version or another size.
    pub packages: Vec<PackageChange>,
    /// What differs in the configuration, less what follows from the layers.
    pub config: Vec<Change>,
    /// What differs in the manifest, less what follows from layers and configuration.
    pub manifest: Vec<Change>,
    /// What differs in what a container sees, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileChange>>,
}

/// A layer that is not in the other image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerChange {
    /// A's; None for what only B has.
    pub a: Option<Layer>,
    /// B's; None for what only A has.
    pub b: Option<Layer>,
    /// What differs, in words.
    pub what: String,
}

/// A package that the other image has not, or has otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Whose it is.
    pub ecosystem: Ecosystem,
    /// As in its metadata.
    pub name: String,
    /// A's; None for what only B has.
    pub a: Option<Version>,
    /// B's; None for what only A has.
    pub b: Option<Version>,
}

/// A package as an image has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// More than one, with commas, where it is there more than once.
    pub version: String,
    /// Bytes of its files.
    pub size: u64,
}

impl Comparison {
    /// The layers to read before two images are compared, by platform and place in each: those that only
    /// one has.
    pub fn unshared<'a>(a: &'a Inspection, b: &'a Inspection) -> Sides<Vec<&'a Layer>> {
        let mut sides = Sides {
            a: Vec::new(),
            b: Vec::new(),
        };
        for (a, b) in common(a, b).filter(|(a, b)| a.digest != b.digest) {
            for pair in pairs(&a.layers, &b.layers) {
                sides.a.extend(pair.a);
                sides.b.extend(pair.b);
            }
        }
        sides
    }

    /// Whether the layers that both have must be read too: where others hide what is in them, or have the
    /// only record of packages in them.
    pub fn needs_all(unshared: &Listings) -> bool {
        unshared.values().any(|layer| {
            !layer.whiteouts.is_empty()
                || !layer.opaque.is_empty()
                || DATABASES
                    .iter()
                    .any(|path| layer.entries.contains_key(*path))
        })
    }

    /// Compares. `listings` has at least the layers of [`unshared`](Self::unshared); with `all_files`, and
    /// where [`needs_all`](Self::needs_all), all of them.
    pub fn new(a: &Inspection, b: &Inspection, listings: &Listings, all_files: bool) -> Self {
        let names = |it: &Inspection| -> BTreeSet<String> {
            it.platforms.iter().map(|it| it.platform.clone()).collect()
        };
        let side = |it: &Inspection| Side {
            name: it.name.clone(),
            digest: it.digest.clone(),
        };
        let (of_a, of_b) = (names(a), names(b));
        let mut comparison = Self {
            version: VERSION,
            a: side(a),
            b: side(b),
            same: a.digest == b.digest,
            why: Vec::new(),
            index: cause::index_changes(a, b),
            platforms_removed: of_a.difference(&of_b).cloned().collect(),
            platforms_added: of_b.difference(&of_a).cloned().collect(),
            platforms: common(a, b)
                .filter(|(a, b)| a.digest != b.digest)
                .map(|(a, b)| PlatformComparison::new(a, b, listings, all_files))
                .collect(),
        };
        if !comparison.same {
            comparison.why = cause::of_images(&comparison);
        }
        comparison
    }
}

/// The platforms that both have, in A's order.
fn common<'a>(
    a: &'a Inspection,
    b: &'a Inspection,
) -> impl Iterator<Item = (&'a Platform, &'a Platform)> {
    a.platforms.iter().filter_map(|platform| {
        let mut of_b = b.platforms.iter();
        let other = of_b.find(|it| it.platform == platform.platform)?;
        Some((platform, other))
    })
}

impl PlatformComparison {
    fn new(a: &Platform, b: &Platform, listings: &Listings, all_files: bool) -> Self {
        let (stack_a, stack_b) = (Stack::new(a, listings), Stack::new(b, listings));
        let pairs = pairs(&a.layers, &b.layers);
        let layers: Vec<_> = pairs
            .iter()
            .map(|pair| LayerChange {
                a: pair.a.cloned(),
                b: pair.b.cloned(),
                what: cause::of_layers(pair, listings, [&stack_a.packages, &stack_b.packages]),
            })
            .collect();
        let is_same_files = diff_ids(a) == diff_ids(b);
        // With other layers, another history is no news.
        let skip: &[&str] = if is_same_files {
            &["rootfs"]
        } else {
            &["rootfs", "history", "created"]
        };
        let config = changes(&a.configuration, &b.configuration, skip);
        let manifest = changes(
            &a.manifest,
            &b.manifest,
            &["config.digest", "config.size", "layers"],
        );
        let own = a.layers.len() - layers.iter().filter(|it| it.a.is_some()).count();
        let files = all_files.then(|| files::compare(stack_a.entries(), stack_b.entries()));
        let mut comparison = Self {
            platform: a.platform.clone(),
            digest: Sides {
                a: a.digest.clone(),
                b: b.digest.clone(),
            },
            size: Sides {
                a: a.size,
                b: b.size,
            },
            why: Vec::new(),
            layers_shared: own,
            layers,
            packages: package_changes(&stack_a.packages, &stack_b.packages),
            config,
            manifest,
            files,
        };
        comparison.why = cause::of_platforms(a, b, &comparison);
        comparison
    }
}

fn diff_ids(platform: &Platform) -> Vec<&str> {
    let layers = platform.layers.iter();
    layers.map(|it| it.diff_id.as_str()).collect()
}

/// What was read of a platform's layers.
struct Stack {
    contents: Contents,
    packages: Vec<PackageRow>,
}

impl Stack {
    fn new(platform: &Platform, listings: &Listings) -> Self {
        let layers = platform.layers.iter();
        let read = layers.filter_map(|it| Some((it.number, listings.get(&it.diff_id)?)));
        let (numbers, layers): (Vec<_>, Vec<_>) =
            read.map(|(number, it)| (number, Arc::clone(it))).unzip();
        let contents = Contents::new(&layers);
        let mut packages = Holdings::new(&contents, &contents.packages(), false).packages;
        for package in &mut packages {
            package.layer = numbers[package.layer - 1];
        }
        Self { contents, packages }
    }

    /// What a container sees.
    fn entries(&self) -> impl Iterator<Item = (&str, &contents::Entry)> {
        self.contents.iter().map(|found| (found.path, found.entry))
    }
}

/// What tells packages apart: names of Python are equal in several spellings (PEP 503).
fn key(row: &PackageRow) -> (Ecosystem, String) {
    let name = match row.ecosystem {
        Ecosystem::Python => {
            let parts = row.name.split(['-', '_', '.']);
            let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
            parts.join("-").to_lowercase()
        }
        Ecosystem::Debian | Ecosystem::Alpine => row.name.clone(),
    };
    (row.ecosystem, name)
}

fn package_changes(a: &[PackageRow], b: &[PackageRow]) -> Vec<PackageChange> {
    let mut changes: BTreeMap<_, PackageChange> = BTreeMap::new();
    for (rows, is_b) in [(a, false), (b, true)] {
        for row in rows {
            let change = changes.entry(key(row)).or_insert_with(|| PackageChange {
                ecosystem: row.ecosystem,
                name: row.name.clone(),
                a: None,
                b: None,
            });
            let side = if is_b { &mut change.b } else { &mut change.a };
            match side {
                Some(version) => {
                    version.size += row.weight.size;
                    if !version.version.split(", ").any(|it| it == row.version) {
                        version.version = format!("{}, {}", version.version, row.version);
                    }
                }
                None => {
                    *side = Some(Version {
                        version: row.version.clone(),
                        size: row.weight.size,
                    });
                }
            }
        }
    }
    let mut changes: Vec<_> = changes.into_values().collect();
    changes.retain(|it| it.a != it.b);
    changes
}

impl PackageChange {
    /// `2.1 → 2.2`, or the only version.
    pub(crate) fn versions(&self) -> String {
        match (&self.a, &self.b) {
            (Some(a), Some(b)) if a.version != b.version => {
                format!("{} → {}", a.version, b.version)
            }
            (a, b) => {
                let version = a.as_ref().or(b.as_ref());
                version.map(|it| it.version.clone()).unwrap_or_default()
            }
        }
    }

    /// `numpy 2.1 → 2.2`, `new 1 added`
    pub(crate) fn words(&self) -> String {
        let fate = match (&self.a, &self.b) {
            (Some(_), Some(_)) => "",
            (Some(_), None) => " removed",
            (None, _) => " added",
        };
        format!("{} {}{fate}", self.name, self.versions())
    }
}

/// The packages of a pair of layers that differ.
pub(crate) fn packages_of(pair: &Pair<'_>, rows: [&[PackageRow]; 2]) -> Vec<PackageChange> {
    let of = |layer: Option<&Layer>, rows: &[PackageRow]| -> Vec<PackageRow> {
        let number = layer.map_or(0, |it| it.number);
        let own = rows.iter().filter(|row| row.layer == number);
        own.cloned().collect()
    };
    package_changes(&of(pair.a, rows[0]), &of(pair.b, rows[1]))
}
