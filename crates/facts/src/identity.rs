//! Which Python an interpreter is: its exact version, by what can be trusted most.

use std::collections::BTreeSet;

use crate::binary::Binary;
use crate::finder::{Finder, Interpreter};
use crate::path::{self, join};
use crate::site::Layout;
use crate::version::{Version, number, of_directory};

/// What an interpreter is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) version: Version,
    /// Its path, with the version in its name if there is such a name.
    pub(crate) interpreter: String,
    pub(crate) layout: Layout,
    pub(crate) is_free_threaded: bool,
}

/// None if the version cannot be found to its last number.
pub(crate) fn identify(finder: Finder<'_>, interpreter: &Interpreter<'_>) -> Option<Identity> {
    let minor = minor(finder, interpreter)?;
    let binary = interpreter.binary;
    let is_whole = text_of(&binary.versions, minor).is_some();
    let libraries = if is_whole {
        Vec::new()
    } else {
        libraries(finder, interpreter, minor)
    };
    let is_free_threaded = interpreter.executable.is_free_threaded
        || binary.is_free_threaded
        || libraries.iter().any(|library| library.is_free_threaded);
    let layout = layout(finder, &interpreter.path, minor, is_free_threaded);
    let binaries = || std::iter::once(binary).chain(libraries.iter().copied());
    let version = binaries()
        .find_map(|binary| text_of(&binary.versions, minor))
        .or_else(|| binaries().find_map(|binary| text_of(&binary.endings, minor)))
        .or_else(|| header(finder, &layout))
        .or_else(|| record(finder, &layout))
        .or_else(|| Version::new(finder.variables.get("PYTHON_VERSION")?))
        .filter(|version| version.minor == minor)
        .or_else(|| interpreter.venv.as_ref()?.1.version.clone())
        .filter(|version| version.minor == minor)?;
    Some(Identity {
        version,
        interpreter: with_version(finder, interpreter, minor, is_free_threaded),
        layout,
        is_free_threaded,
    })
}

/// The first of `versions` that is one of Python 3.`minor`.
fn text_of(versions: &[String], minor: u32) -> Option<Version> {
    let mut versions = versions.iter().filter_map(|text| Version::new(text));
    versions.find(|version| version.minor == minor)
}

/// By the executable's name; else by the standard library that is there, of several by the one that
/// the executable names; else by the virtual environment.
fn minor(finder: Finder<'_>, interpreter: &Interpreter<'_>) -> Option<u32> {
    if let Some(minor) = interpreter.executable.minor {
        return Some(minor);
    }
    let prefix = path::parent(path::parent(&interpreter.path));
    let libraries = ["lib", "lib64"].map(|library| finder.view.resolve(&join(prefix, library)));
    let names = libraries.iter().flatten();
    let names = names.flat_map(|path| finder.view.names_in(path));
    let minors = names.filter_map(|name| Some(of_directory(name)?.0));
    let there: BTreeSet<u32> = minors.collect();
    let is_named = |minor: &u32| text_of(&interpreter.binary.versions, *minor).is_some();
    let only = there.first().filter(|_| there.len() == 1);
    only.copied()
        .or_else(|| there.into_iter().find(is_named))
        .or_else(|| interpreter.venv.as_ref()?.1.minor)
}

/// Where its standard library is, going up from the executable.
fn layout(finder: Finder<'_>, interpreter: &str, minor: u32, is_free_threaded: bool) -> Layout {
    let mut prefix = path::parent(interpreter);
    loop {
        // A library without the flag in its name is that of a build which leaves it out.
        let flags: &[bool] = if is_free_threaded {
            &[true, false]
        } else {
            &[false]
        };
        for flag in flags {
            let layout = Layout {
                prefix: prefix.to_owned(),
                minor,
                is_free_threaded: *flag,
            };
            if layout.is_there(finder.view) {
                return layout;
            }
        }
        if prefix.is_empty() {
            return Layout {
                prefix: path::parent(path::parent(interpreter)).to_owned(),
                minor,
                is_free_threaded,
            };
        }
        prefix = path::parent(prefix);
    }
}

/// `libpython3.N.so.1.0` and the like, the nearest to the interpreter first.
fn libraries<'a>(finder: Finder<'a>, interpreter: &Interpreter<'_>, minor: u32) -> Vec<&'a Binary> {
    let own = path::parent(path::parent(&interpreter.path));
    let own = [join(own, "lib"), join(own, "lib64")];
    let usual = ["lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib"];
    let rank = |directory: &str| {
        let above = path::parent(directory);
        let is_architecture = path::name(directory).contains("-linux-");
        if own.iter().any(|own| own == directory) {
            Some(0)
        } else if is_architecture && own.iter().any(|own| own == above) {
            Some(1)
        } else if usual.contains(&directory) || is_architecture && usual.contains(&above) {
            Some(2)
        } else {
            None
        }
    };
    let wanted = interpreter.executable.is_free_threaded;
    let found = finder.view.paths().filter_map(|path| {
        let (directory, name) = path::split(path);
        let (found, rest) = number(name.strip_prefix("libpython3.")?)?;
        let is_library = found == minor && rest.contains(".so");
        let rank = rank(directory).filter(|_| is_library)?;
        Some((rest.starts_with('t') != wanted, rank, path))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    // Of libraries with the flag in their names and others, only those that are like the executable.
    let first = found.first().map(|(is_other, ..)| *is_other);
    found
        .into_iter()
        .filter(|(is_other, ..)| Some(*is_other) == first)
        .filter_map(|(_, _, path)| finder.view.binary(path))
        .collect()
}

/// From `patchlevel.h`.
fn header(finder: Finder<'_>, layout: &Layout) -> Option<Version> {
    let minor = layout.minor;
    let path = |flag| format!("include/python3.{minor}{flag}/patchlevel.h");
    let mut paths = ["", "t"]
        .into_iter()
        .map(|flag| join(&layout.prefix, &path(flag)));
    let version = paths.find_map(|path| Version::of_header(finder.view.text(&path)?));
    version.filter(|version| version.minor == minor)
}

/// From the records of the distribution, if it is the distribution's Python.
fn record(finder: Finder<'_>, layout: &Layout) -> Option<Version> {
    if layout.prefix != "usr" {
        return None;
    }
    let minor = layout.minor;
    let dpkg = [
        format!("python3.{minor}-minimal"),
        format!("libpython3.{minor}-minimal"),
        format!("python3.{minor}"),
        format!("libpython3.{minor}-stdlib"),
    ];
    let apk = [
        "python3".to_owned(),
        format!("python-3.{minor}-base"),
        format!("python-3.{minor}"),
    ];
    let dpkg = dpkg.iter().filter_map(|name| finder.dpkg.get(name));
    let apk = apk.iter().filter_map(|name| finder.apk.get(name));
    let mut versions = dpkg.chain(apk).filter_map(|text| Version::of_package(text));
    versions.find(|version| version.minor == minor)
}

/// The interpreter by a name that has its version, if there is one for the same file.
fn with_version(
    finder: Finder<'_>,
    interpreter: &Interpreter<'_>,
    minor: u32,
    is_free_threaded: bool,
) -> String {
    let path = &interpreter.path;
    if interpreter.executable.minor.is_some() {
        return path.clone();
    }
    let names = [
        is_free_threaded.then(|| format!("python3.{minor}t")),
        Some(format!("python3.{minor}")),
    ];
    let mut others = names
        .iter()
        .flatten()
        .map(|name| join(path::parent(path), name));
    let file = finder.view.file(path);
    let is_same = |other: &String| {
        let other = finder.view.file(other);
        other
            .zip(file)
            .is_some_and(|(other, file)| std::ptr::eq(other, file))
    };
    others.find(is_same).unwrap_or_else(|| path.clone())
}
