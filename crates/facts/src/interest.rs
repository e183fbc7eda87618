//! Which files of an image are looked into: decided by their paths, because a layer is read once and
//! what a link makes important is known only afterwards.

use crate::path;

/// What is looked for in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// It is not even listed.
    Nothing,
    /// Version texts of an executable or a library.
    Binary,
    /// A small text, kept as it is.
    Text,
    /// That it is there.
    Name,
    /// A small file, kept as it is.
    Bytes,
    /// The header fields of a Python package.
    Metadata,
    /// Records of dpkg.
    Dpkg,
    /// Records of apk.
    Apk,
}

/// For the file at `path`.
pub(crate) fn in_file(path: &str) -> Interest {
    let (directory, name) = path::split(path);
    match name {
        "METADATA" if directory.ends_with(".dist-info") => Interest::Metadata,
        "PKG-INFO" if directory.ends_with(".egg-info") => Interest::Metadata,
        _ if name.ends_with(".egg-info") && is_site(path::name(directory)) => Interest::Metadata,
        "pyvenv.cfg" => Interest::Text,
        "patchlevel.h" if path::name(directory).starts_with("python3") => Interest::Text,
        "os-release" if matches!(directory, "etc" | "usr/lib") => Interest::Text,
        "version" if path::name(directory).ends_with("pyenv") => Interest::Text,
        "status" if directory == "var/lib/dpkg" => Interest::Dpkg,
        _ if directory == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => Interest::Dpkg,
        "installed" if matches!(directory, "lib/apk/db" | "usr/lib/apk/db") => Interest::Apk,
        "ld.so.cache" if directory == "etc" => Interest::Bytes,
        _ if executable(name).is_some() || is_library(name) => Interest::Binary,
        _ if path.starts_with("etc/") => Interest::Name,
        _ => Interest::Nothing,
    }
}

/// Whether a directory is remembered. What it is in is not known of others.
pub(crate) fn in_directory(name: &str) -> bool {
    is_site(name) || name.starts_with("python3")
}

fn is_site(name: &str) -> bool {
    matches!(name, "site-packages" | "dist-packages")
}

fn is_library(name: &str) -> bool {
    name.starts_with("libpython3") && name.contains(".so")
        || matches!(name, "libc.so.6" | "libc.so")
        || name.starts_with("libc-2.") && name.contains(".so")
        || name.starts_with("ld-musl-")
}

/// What an executable's name says of the Python that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Executable {
    /// 12 of `python3.12`.
    pub(crate) minor: Option<u32>,
    /// `python3.13t`.
    pub(crate) is_free_threaded: bool,
}

/// Of `python`, `python3`, `python3.12`, `python3.13t`, and `platform-python3.6` as some
/// distributions have it. None for all other names, and for Python 2.
pub(crate) fn executable(name: &str) -> Option<Executable> {
    let name = name.strip_prefix("platform-").unwrap_or(name);
    let version = name.strip_prefix("python")?;
    if matches!(version, "" | "3") {
        return Some(Executable {
            minor: None,
            is_free_threaded: false,
        });
    }
    let version = version.strip_prefix("3.")?;
    let end = version.find(|c: char| !c.is_ascii_digit());
    let (minor, flags) = version.split_at(end.unwrap_or(version.len()));
    if !matches!(flags, "" | "t" | "d" | "m" | "td" | "dm") {
        return None;
    }
    Some(Executable {
        minor: Some(minor.parse().ok()?),
        is_free_threaded: flags.starts_with('t'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        for (path, expect) in [
            (
                "usr/lib/python3/dist-packages/six-1.16.0.egg-info",
                Interest::Metadata,
            ),
            (
                "usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO",
                Interest::Metadata,
            ),
            (
                "a/site-packages/six-1.16.0.dist-info/METADATA",
                Interest::Metadata,
            ),
            (
                "a/site-packages/six-1.16.0.dist-info/RECORD",
                Interest::Nothing,
            ),
            ("a/six/METADATA", Interest::Nothing),
            ("opt/venv/pyvenv.cfg", Interest::Text),
            ("usr/include/python3.11/patchlevel.h", Interest::Text),
            ("usr/include/tcl8.6/patchlevel.h", Interest::Nothing),
            ("etc/os-release", Interest::Text),
            ("etc/ld.so.cache", Interest::Bytes),
            ("etc/ld.so.conf.d/libc.conf", Interest::Name),
            ("usr/etc/x", Interest::Nothing),
            ("root/.pyenv/version", Interest::Text),
            ("usr/share/version", Interest::Nothing),
            ("var/lib/dpkg/status", Interest::Dpkg),
            ("var/lib/dpkg/status-old", Interest::Nothing),
            ("var/lib/dpkg/status.d/libc6", Interest::Dpkg),
            ("var/lib/dpkg/status.d/libc6.md5sums", Interest::Nothing),
            ("lib/apk/db/installed", Interest::Apk),
            ("opt/conda/bin/python3.12", Interest::Binary),
            ("usr/local/lib/libpython3.12.so.1.0", Interest::Binary),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", Interest::Binary),
            ("lib/libc-2.31.so", Interest::Binary),
            ("lib/ld-musl-aarch64.so.1", Interest::Binary),
            ("usr/bin/python3.12-config", Interest::Nothing),
            ("usr/bin/bash", Interest::Nothing),
            ("", Interest::Nothing),
        ] {
            assert_eq!(in_file(path), expect, "{path}");
        }
    }

    #[test]
    fn executables() {
        let check = |name| executable(name).map(|found| (found.minor, found.is_free_threaded));
        assert_eq!(check("python"), Some((None, false)));
        assert_eq!(check("python3"), Some((None, false)));
        assert_eq!(check("python3.12"), Some((Some(12), false)));
        assert_eq!(check("python3.13t"), Some((Some(13), true)));
        assert_eq!(check("python3.7m"), Some((Some(7), false)));
        assert_eq!(check("platform-python3.6"), Some((Some(6), false)));
        for name in [
            "python2.7",
            "python2",
            "python3.",
            "python3.12-config",
            "pypy3",
            "python3.12.4",
        ] {
            assert_eq!(check(name), None, "{name}");
        }
    }
}
