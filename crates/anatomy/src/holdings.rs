//! What an image's layers hold: packages, types of files, the largest files. Every file counts once, for
//! the first package that claims it, so that packages and what none owns add up to the whole.

use std::collections::{BTreeMap, BTreeSet};

use contents::{Contents, Ecosystem, Found, Package};
use serde::Serialize;

use crate::{FileType, files};

/// The largest files of a platform that are listed.
const LISTED: usize = 500;

/// What the layers hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// `Debian GNU/Linux 13 (trixie)`, as os-release calls it.
    pub os: Option<String>,
    /// Files that a container sees, links left out.
    pub files: u64,
    /// Bytes of them.
    pub size: u64,
    /// Sorted by ecosystem and name.
    pub packages: Vec<PackageRow>,
    /// What no package owns, by layer.
    pub unowned: Vec<Unowned>,
    /// All files by what they are for.
    pub types: BTreeMap<FileType, Sum>,
    /// In the order of the image's layers.
    pub layers: Vec<LayerHoldings>,
    /// The largest files, and those that are among the largest of another platform; the largest first.
    pub largest: Vec<FileRow>,
    /// Every file, directory and link, sorted by path, where all were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<FileRow>>,
}

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Their number.
    pub files: u64,
    /// Bytes.
    pub size: u64,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageRow {
    /// Whose it is.
    pub ecosystem: Ecosystem,
    /// As in its metadata.
    pub name: String,
    /// As in its metadata.
    pub version: String,
    /// Debian's and Alpine's.
    pub architecture: Option<String>,
    /// The number of the layer that it came with.
    pub layer: usize,
    /// What counts for it.
    #[serde(flatten)]
    pub weight: Weight,
}

/// Files that no package owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unowned {
    /// The number of the layer they are in.
    pub layer: usize,
    /// What they are.
    #[serde(flatten)]
    pub weight: Weight,
}

/// Files, and what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// Their number.
    pub files: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes, by what they are for.
    pub types: BTreeMap<FileType, u64>,
}

/// What one layer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerHoldings {
    /// Its number.
    pub number: usize,
    /// Files in it.
    pub files: u64,
    /// Bytes of them.
    pub size: u64,
    /// Of them, what layers above replace or take away.
    pub hidden: Sum,
    /// Marks by which it takes something away from the layers below.
    pub whiteouts: usize,
    /// `numpy 2.3.5`: the packages it came with.
    pub packages: Vec<String>,
}

/// A file, a directory or a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRow {
    /// Without a slash before it.
    pub path: String,
    /// `file`, `directory`, `symlink`, `hardlink`, `special`.
    pub kind: &'static str,
    /// Bytes.
    pub size: u64,
    /// `0755`.
    pub mode: String,
    /// `UID:GID`.
    pub owner: String,
    /// Seconds since 1970.
    pub mtime: i64,
    /// The number of its layer.
    pub layer: usize,
    /// Whom it counts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// What it is for.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub file_type: Option<FileType>,
    /// A link's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Holdings {
    pub(crate) fn new(contents: &Contents, packages: &[Package], all_files: bool) -> Self {
        let owners = owners(packages);
        let mut rows: Vec<PackageRow> = packages.iter().map(PackageRow::new).collect();
        let mut unowned: BTreeMap<usize, Weight> = BTreeMap::new();
        let mut types: BTreeMap<FileType, Sum> = BTreeMap::new();
        let (mut files, mut all) = (Vec::new(), Vec::new());
        for found in contents.iter() {
            let owner = owners.get(found.path).copied();
            let row = || FileRow::new(found, owner.map(|n| &packages[n]));
            if all_files {
                all.push(row());
            }
            let Some(file) = found.entry.file() else {
                continue;
            };
            let file_type = FileType::of(found.path, file);
            types.entry(file_type).or_default().add(file.size);
            match owner {
                Some(n) => rows[n].weight.add(file_type, file.size),
                None => unowned
                    .entry(found.layer + 1)
                    .or_default()
                    .add(file_type, file.size),
            }
            files.push((found.path, file.size));
        }
        let size = files.iter().map(|(_, size)| size).sum();
        let count = files.len() as u64;
        Self {
            os: os(contents),
            files: count,
            size,
            unowned: unowned
                .into_iter()
                .map(|(layer, weight)| Unowned { layer, weight })
                .collect(),
            types,
            layers: layers(contents, &rows),
            packages: rows,
            largest: Vec::new(),
            all: all_files.then_some(all),
        }
    }

    /// The same for several platforms, whose largest files are looked for in all of them.
    pub(crate) fn of_all(platforms: &[Contents], all_files: bool) -> Vec<Self> {
        let largest = platforms
            .iter()
            .flat_map(|contents| Self::largest_paths(contents, LISTED))
            .collect();
        let platforms = platforms.iter();
        platforms
            .map(|contents| {
                let packages = contents.packages();
                let mut holdings = Self::new(contents, &packages, all_files);
                holdings.list(contents, &packages, &largest);
                holdings
            })
            .collect()
    }

    /// The paths of the `limit` largest files.
    fn largest_paths(contents: &Contents, limit: usize) -> BTreeSet<&str> {
        let files = contents.iter();
        let files = files.filter_map(|found| Some((found.entry.file()?.size, found.path)));
        let mut files: Vec<_> = files.collect();
        files.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        files.truncate(limit);
        files.into_iter().map(|(_, path)| path).collect()
    }

    /// Lists the files at `paths`.
    fn list(&mut self, contents: &Contents, packages: &[Package], paths: &BTreeSet<&str>) {
        let owners = owners(packages);
        let mut rows: Vec<_> = paths
            .iter()
            .filter_map(|path| contents.get(path).filter(|found| found.path == *path))
            .filter(|found| found.entry.file().is_some())
            .map(|found| FileRow::new(found, owners.get(found.path).map(|n| &packages[*n])))
            .collect();
        rows.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        self.largest = rows;
    }
}

/// The package that each path counts for, by its place in the list.
fn owners(packages: &[Package]) -> BTreeMap<&str, usize> {
    let mut owners = BTreeMap::new();
    for (n, package) in packages.iter().enumerate() {
        for path in &package.files {
            owners.entry(path.as_str()).or_insert(n);
        }
    }
    owners
}

fn os(contents: &Contents) -> Option<String> {
    let paths = ["etc/os-release", "usr/lib/os-release"];
    let text = paths.iter().find_map(|path| contents.text(path))?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

fn layers(contents: &Contents, packages: &[PackageRow]) -> Vec<LayerHoldings> {
    let mut seen: BTreeMap<usize, Sum> = BTreeMap::new();
    for found in contents.iter() {
        if let Some(file) = found.entry.file() {
            seen.entry(found.layer).or_default().add(file.size);
        }
    }
    let layers = contents.layers().iter().enumerate();
    layers
        .map(|(n, listing)| {
            let mut sum = Sum::default();
            let entries = listing.entries.values();
            entries
                .filter_map(contents::Entry::file)
                .for_each(|file| sum.add(file.size));
            let seen = seen.get(&n).copied().unwrap_or_default();
            let own = packages.iter().filter(|package| package.layer == n + 1);
            LayerHoldings {
                number: n + 1,
                files: sum.files,
                size: sum.size,
                hidden: Sum {
                    files: sum.files - seen.files,
                    size: sum.size - seen.size,
                },
                whiteouts: listing.whiteouts.len() + listing.opaque.len(),
                packages: own
                    .map(|it| format!("{} {}", it.name, it.version))
                    .collect(),
            }
        })
        .collect()
}

impl Sum {
    pub(crate) fn add(&mut self, size: u64) {
        self.files += 1;
        self.size += size;
    }
}

impl PackageRow {
    fn new(package: &Package) -> Self {
        Self {
            ecosystem: package.ecosystem,
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            layer: package.layer + 1,
            weight: Weight::default(),
        }
    }
}

impl Weight {
    fn add(&mut self, file_type: FileType, size: u64) {
        self.files += 1;
        self.size += size;
        *self.types.entry(file_type).or_default() += size;
    }
}

impl FileRow {
    fn new(found: Found<'_>, package: Option<&Package>) -> Self {
        let entry = found.entry;
        let file = entry.file();
        Self {
            path: found.path.to_owned(),
            kind: files::name(&entry.kind),
            size: file.map_or(0, |file| file.size),
            mode: format!("{:04o}", entry.mode),
            owner: format!("{}:{}", entry.uid, entry.gid),
            mtime: entry.mtime,
            layer: found.layer + 1,
            package: package.map(|it| it.name.clone()),
            file_type: file.map(|file| FileType::of(found.path, file)),
            target: files::target(&entry.kind).map(str::to_owned),
        }
    }
}
