//! A wheel that was built here: what is noted of it, and whether it fits an image.

use oci::{Digest, Platform};
use resolve::{Libc, Target};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wheel::{Archive, Limits};

use crate::diagnostics::Failure;
use crate::lock::{Hex, LockedRequirement};
use crate::store::Store;

/// What is noted of a wheel that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) filename: String,
    pub(crate) sha256: Hex,
    /// Bytes.
    pub(crate) size: u64,
    /// The full version of the Python that it was built with.
    pub(crate) python: String,
    /// The C library of the machine: `glibc`, `musl`.
    pub(crate) libc: String,
}

/// The key of all that a wheel is made from. A wheel that is not pure depends on the `machine` too.
pub(crate) fn key(
    sources: &Digest,
    requires: &[LockedRequirement],
    machine: Option<&str>,
) -> Digest {
    let mut requires: Vec<_> = requires.iter().map(|it| it.sha256).collect();
    requires.sort_unstable();
    Digest::of(&oci::json::canonical(&json!({
        "sources": sources,
        "requires": requires,
        "repack": backend::FORMAT,
        "machine": machine,
    })))
}

/// Whether a wheel is for every platform and every Python 3: `py3-none-any` or `py2.py3-none-any`.
pub(crate) fn is_pure(filename: &str) -> bool {
    let (python, abi, platform) = tags(filename);
    python.split('.').any(|tag| tag == "py3") && abi == "none" && platform == "any"
}

/// Whether a wheel has one of some tags, of the form `cp313-cp313-linux_x86_64`.
pub(crate) fn has_tag(filename: &str, tags: &[String]) -> bool {
    let (pythons, abis, platforms) = self::tags(filename);
    let all = |part: &str| part.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (abis, platforms) = (all(abis), all(platforms));
    pythons.split('.').any(|python| {
        abis.iter().any(|abi| {
            platforms
                .iter()
                .any(|platform| tags.contains(&format!("{python}-{abi}-{platform}")))
        })
    })
}

/// The last three parts of a wheel's name.
fn tags(filename: &str) -> (&str, &str, &str) {
    let stem = filename.strip_suffix(".whl").unwrap_or(filename);
    let mut parts = stem.rsplitn(4, '-');
    let mut part = || parts.next().unwrap_or_default();
    let (platform, abi, python) = (part(), part(), part());
    (python, abi, platform)
}

impl Record {
    /// Refuses a wheel that `target`, the image for `platform`, cannot use. `what` are its sources.
    pub(crate) fn check(
        &self,
        what: &str,
        platform: Platform,
        target: &Target,
        store: &Store,
    ) -> anyhow::Result<()> {
        if is_pure(&self.filename) {
            return Ok(());
        }
        let Some(why) = self.misfit(target, store)? else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "{what} gives {}, which does not fit {platform}: {why}",
            self.filename
        ))
        .hint(format!(
            "what is built here fits other platforms only where it is py3-none-any, and its own only with a Python like the image's (OXCART_PYTHON names one): build its wheel on a machine like the image for {platform} and name its directory with find-links, or take the package out of build-from-source"
        ))
        .into())
    }

    /// What of the wheel the image lacks.
    fn misfit(&self, target: &Target, store: &Store) -> anyhow::Result<Option<String>> {
        let (_, _, platforms) = tags(&self.filename);
        let is_for = |it: &str| it == "any" || it.ends_with(target.arch.name());
        if !platforms.split('.').any(is_for) {
            return Ok(Some(format!(
                "it is for this machine, not for {}",
                target.arch
            )));
        }
        if !has_tag(&self.filename, &target.tags()) {
            let minor =
                |version: &str| version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
            let (host, image) = (minor(&self.python), minor(&target.python));
            return Ok(Some(if host == image {
                format!("no tag of it is one of {target}")
            } else {
                format!("the Python that it was built with is {host}, and the image has {image}")
            }));
        }
        if platforms == "any" {
            return Ok(None);
        }
        let (name, major, minor) = match target.libc {
            Libc::Glibc { major, minor } => ("glibc", major, minor),
            Libc::Musl { major, minor } => ("musl", major, minor),
        };
        if self.libc != name {
            return Ok(Some(format!(
                "it was built with {}, and the image has {name}",
                self.libc
            )));
        }
        let source = store.source(&self.sha256.0, &self.filename)?;
        let needed = backend::newest_glibc(&Archive::open(source, &Limits::default())?)?;
        let has = backend::Version { major, minor };
        Ok(needed
            .filter(|(version, _)| *version > has)
            .map(|(version, file)| {
                format!("its {file} needs glibc {version}, and the image has {has}")
            }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_is_what_every_python_3_takes() {
        for (filename, expected) in [
            ("a-1-py3-none-any.whl", true),
            ("a-1-py2.py3-none-any.whl", true),
            ("a-1-1-py3-none-any.whl", true),
            ("a-1-py2-none-any.whl", false),
            ("a-1-py310-none-any.whl", false),
            ("a-1-py3-none-linux_x86_64.whl", false),
            ("a-1-cp313-cp313-linux_x86_64.whl", false),
        ] {
            assert_eq!(is_pure(filename), expected, "{filename}");
        }
    }

    #[test]
    fn one_tag_of_a_set_is_enough() {
        let tags = [
            "cp313-abi3-linux_x86_64".to_owned(),
            "py3-none-any".to_owned(),
        ];
        assert!(has_tag("a-1-cp312.cp313-abi3-linux_x86_64.whl", &tags));
        assert!(has_tag("a-1-py2.py3-none-any.whl", &tags));
        assert!(!has_tag("a-1-cp313-cp313-linux_x86_64.whl", &tags));
    }
}
