//! Which package owns a file, and files that two own.

use std::collections::BTreeMap;
use std::fmt;

use contents::{Ecosystem, Package};
use facts::path::{join, name, parent};

use crate::image::Image;
use crate::report::{Code, Counts, Finding, Severity};

/// The installed packages and what they own.
pub(crate) struct Owners {
    pub(crate) packages: Vec<Package>,
    /// Numbers of packages by path.
    by_path: BTreeMap<String, Vec<usize>>,
}

/// A package, as messages name it.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a>(pub(crate) &'a Package);

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.name, self.0.version)
    }
}

impl Owners {
    pub(crate) fn new(packages: Vec<Package>) -> Self {
        let mut by_path: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (n, package) in packages.iter().enumerate() {
            for path in &package.files {
                by_path.entry(path.clone()).or_default().push(n);
            }
        }
        Self { packages, by_path }
    }

    /// The package that owns the file at `path`; of several, a Python one.
    pub(crate) fn of(&self, path: &str) -> Option<Owner<'_>> {
        let first = *self.by_path.get(path)?.first()?;
        self.packages.get(first).map(Owner)
    }

    /// Whether dpkg or apk installed the file.
    pub(crate) fn is_of_system(&self, path: &str) -> bool {
        let owners = self.by_path.get(path).into_iter().flatten();
        let mut packages = owners.filter_map(|n| self.packages.get(*n));
        packages.any(|package| package.ecosystem != Ecosystem::Python)
    }

    /// The package, where it is one of Python.
    pub(crate) fn wheel_of(&self, path: &str) -> Option<&Package> {
        let owner = self.of(path)?.0;
        (owner.ecosystem == Ecosystem::Python).then_some(owner)
    }
}

/// No two packages own a file.
pub(crate) fn check(image: &Image<'_>, counts: &mut Counts, findings: &mut Vec<Finding>) {
    counts.owned_files = image.owners.by_path.len() as u64;
    for (path, owners) in &image.owners.by_path {
        let mut owners = owners.iter().map(|n| &image.owners.packages[*n]);
        let (Some(first), Some(second)) = (owners.next(), owners.next()) else {
            continue;
        };
        // One package for two machines; and dpkg itself refuses what its packages do not allow.
        let is_dpkg = first.ecosystem != Ecosystem::Python && second.ecosystem != Ecosystem::Python;
        // A package of Python that came as one of the system is both.
        let is_both = image.owners.is_of_system(&first.metadata);
        if is_dpkg || is_both || first.metadata == second.metadata {
            continue;
        }
        let (a, b) = (Owner(first), Owner(second));
        let same = match (recorded(image, first, path), recorded(image, second, path)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        };
        let finding = |severity, message| image.finding(severity, Code::OwnedTwice, path, message);
        findings.push(if same {
            finding(
                Severity::Note,
                format!("is in {a} and in {b}, with the same content"),
            )
            .hint("rule: the same content does no harm")
        } else if is_beside(path) {
            finding(
                Severity::Note,
                format!("is in {a} and in {b}, and it differs"),
            )
            .hint("rule: tests, documents and examples beside a package are not imported by it")
        } else {
            finding(
                Severity::Fault,
                format!("is in {a} and in {b}, and it differs: one of them lacks its own"),
            )
            .hint("leave one of the two packages out")
        });
    }
}

/// The checksum that the package's RECORD has of the file, its beginning.
fn recorded<'a>(image: &'a Image<'_>, package: &Package, path: &str) -> Option<&'a str> {
    let record = join(parent(&package.metadata), "RECORD");
    let mut rows = image.contents.record(&record)?;
    rows.find(|(listed, _)| *listed == path)?.1
}

/// Whether it is in a directory that wheels often put beside their packages by mistake.
fn is_beside(path: &str) -> bool {
    let (_, inner) = path.split_once("-packages/").unwrap_or(("", ""));
    let first = inner.split('/').next().unwrap_or_default();
    let directories = [
        "test",
        "tests",
        "doc",
        "docs",
        "example",
        "examples",
        "benchmarks",
    ];
    let is_text = |name: &str| {
        let stem = name.split('.').next().unwrap_or_default();
        [
            "README",
            "LICENSE",
            "LICENCE",
            "COPYING",
            "CHANGELOG",
            "AUTHORS",
            "NOTICE",
        ]
        .contains(&stem)
    };
    directories.contains(&first) || is_text(name(path))
}
