//! C libraries.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::path;
use crate::records::Records;
use crate::version::number;
use crate::view::View;

/// A C library and its version. It prints as `glibc 2.41` or `musl 1.2`.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Libc {
    /// The GNU C library.
    Glibc {
        /// 2
        major: u16,
        /// 41
        minor: u16,
    },
    /// musl.
    Musl {
        /// 1
        major: u16,
        /// 2
        minor: u16,
    },
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glibc { major, minor } => write!(f, "glibc {major}.{minor}"),
            Self::Musl { major, minor } => write!(f, "musl {major}.{minor}"),
        }
    }
}

/// Where libraries are, from the root, beside the directories of their architectures.
const DIRECTORIES: [&str; 4] = ["lib", "lib64", "usr/lib", "usr/lib64"];

/// The C library that programs with the loader `loader` use; without one, that of the image.
pub(crate) fn of_loader(
    view: &View,
    dpkg: &Records,
    apk: &Records,
    loader: Option<&str>,
) -> Option<Libc> {
    let glibc = |directory: Option<&str>| {
        glibc_in(view, directory).or_else(|| {
            let record = dpkg.get("libc6").or_else(|| apk.get("glibc"))?;
            let version = record.split_once(':').map_or(&**record, |(_, rest)| rest);
            version_of(version).map(|(major, minor)| Libc::Glibc { major, minor })
        })
    };
    let musl = |loader: Option<&str>| {
        musl_at(view, loader).or_else(|| {
            let (major, minor) = version_of(apk.get("musl").or_else(|| dpkg.get("musl"))?)?;
            Some(Libc::Musl { major, minor })
        })
    };
    match loader {
        Some(loader) if path::name(loader).starts_with("ld-musl-") => musl(Some(loader)),
        Some(loader) => {
            let loader = view.resolve(loader.trim_start_matches('/'));
            glibc(loader.as_deref().map(path::parent))
        }
        None => glibc(None).or_else(|| musl(None)),
    }
}

/// By the banner of `libc.so.6`, first beside the loader.
fn glibc_in(view: &View, directory: Option<&str>) -> Option<Libc> {
    let places = directory.map(|directory| path::join(directory, "libc.so.6"));
    let usual = libraries(view, |name| name == "libc.so.6");
    let version = |path: String| view.binary(&path)?.glibc.clone();
    let version = places.into_iter().chain(usual).find_map(version)?;
    let (major, minor) = version_of(&version)?;
    Some(Libc::Glibc { major, minor })
}

/// By the version in the loader, which is the library too.
fn musl_at(view: &View, loader: Option<&str>) -> Option<Libc> {
    let loader = loader.map(|loader| loader.trim_start_matches('/').to_owned());
    let usual = libraries(view, |name| name.starts_with("ld-musl-"));
    let version = |path: String| {
        let binary = view.binary(&path).filter(|binary| binary.is_musl)?;
        let mut versions = binary.versions.iter();
        versions.find(|version| version.starts_with("1.")).cloned()
    };
    let version = loader.into_iter().chain(usual).find_map(version)?;
    let (major, minor) = version_of(&version)?;
    Some(Libc::Musl { major, minor })
}

/// The libraries of some name in the usual directories, and in those of architectures below them.
fn libraries(view: &View, is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for path in view.paths() {
        let (directory, name) = path::split(path);
        if !is_it(name) {
            continue;
        }
        let usual = |directory: &str| DIRECTORIES.iter().position(|usual| *usual == directory);
        let rank = usual(directory).or_else(|| {
            let is_architecture = path::name(directory).contains("-linux-");
            let rank = usual(path::parent(directory)).filter(|_| is_architecture)?;
            Some(DIRECTORIES.len() + rank)
        });
        found.extend(rank.map(|rank| (rank, path.to_owned())));
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// The first two numbers.
fn version_of(text: &str) -> Option<(u16, u16)> {
    let (major, rest) = number(text)?;
    let (minor, _) = number(rest.strip_prefix('.')?)?;
    Some((major.try_into().ok()?, minor.try_into().ok()?))
}
