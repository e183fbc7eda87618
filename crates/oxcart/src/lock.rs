//! `oxcart.lock`: everything that will enter the image, by sha256. One lock for each profile; no
//! secret, no local path, one value a line so that a diff reads well.

use std::fs;
use std::io;
use std::path::Path;

use oci::layer::Layer;
use oci::{Digest, Platform};
use serde::{Deserialize, Serialize};

use crate::diagnostics::{Failure, IoContext};
use crate::fetch::Download;
use crate::full_lock::LockedLayer;
use crate::output;

/// The version of the document's form.
const VERSION: u32 = 1;

const HEADER: &str = "# Written by oxcart: `oxcart lock` brings it up to date. Commit it.\n";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    pub(crate) version: u32,
    /// The layer format version that it was written under.
    #[serde(rename = "layer-format")]
    pub(crate) layer_format: u32,
    #[serde(default, rename = "platform")]
    pub(crate) platforms: Vec<LockedPlatform>,
}

/// What one platform's image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedPlatform {
    pub(crate) name: Platform,
    /// Digest of what was asked for; another one means that the lock is stale.
    pub(crate) inputs: Digest,
    /// The base's Python. None where the base has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) python: Option<LockedPython>,
    pub(crate) base: LockedBase,
    #[serde(default, rename = "deb", skip_serializing_if = "Vec::is_empty")]
    pub(crate) debs: Vec<LockedDeb>,
    #[serde(default, rename = "wheel", skip_serializing_if = "Vec::is_empty")]
    pub(crate) wheels: Vec<LockedWheel>,
    /// The project itself, where it is installed as a wheel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<LockedProject>,
    /// Packages of the base's own environment that count as installed.
    #[serde(default, rename = "reused", skip_serializing_if = "Vec::is_empty")]
    pub(crate) reused: Vec<ReusedPackage>,
    /// What is known of the layers above a base image's and below the project's files, bottom to top.
    #[serde(default, rename = "layer", skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<LockedLayer>,
}

/// A package that is not installed because the base has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReusedPackage {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// Facts of the base that wheels are chosen by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedPython {
    /// Full version: `3.13.5`.
    pub(crate) version: String,
    /// Absolute path of the interpreter in the image.
    pub(crate) interpreter: String,
    /// `glibc 2.41`, `musl 1.2`
    pub(crate) libc: String,
    /// What of the base's environment the image's programs see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<LockedEnvironment>,
}

/// What becomes of the environment that a base image has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LockedEnvironment {
    /// The base's virtual environment, at this path, is the image's: wheels are added to it.
    Extended(String),
    /// The image's environment sees the packages of the base's interpreter below its own.
    Seen,
    /// Nothing of it is seen.
    Hidden,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedBase {
    /// As configured: `debian:trixie`, `python:3.13-slim`, `scratch`.
    pub(crate) reference: String,
    /// The image that this meant when it was locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<LockedImage>,
    /// Where each archive was found, for a host that has no mirror of its own.
    #[serde(default, rename = "archive", skip_serializing_if = "Vec::is_empty")]
    pub(crate) archives: Vec<LockedArchive>,
}

/// A base image of one platform, by its digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedImage {
    /// The index that lists it, where it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<Digest>,
    pub(crate) manifest: LockedDocument,
    pub(crate) config: LockedDocument,
    /// What of the image `[system]` packages depend on, where there are some: see [`crate::system`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dpkg: Option<LockedDocument>,
    /// Bottom to top.
    #[serde(default, rename = "layer")]
    pub(crate) layers: Vec<Layer>,
}

/// A document by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LockedDocument {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    /// The document itself: of a configuration, which goes into the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedArchive {
    /// `debian`, `debian-security`, `ubuntu`, or what the configuration calls a repository.
    pub(crate) name: String,
    pub(crate) mirror: String,
    /// When its index was made, as mirrors of the past have it in their addresses:
    /// `20251122T081300Z`. What the lock takes from the archive was in it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) date: Option<String>,
}

/// One Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedDeb {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    /// Which layer it is in.
    pub(crate) layer: DebLayer,
    /// The archive's name.
    pub(crate) archive: String,
    /// Path below the archive's mirror.
    pub(crate) path: String,
    pub(crate) sha256: Hex,
    pub(crate) size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DebLayer {
    Base,
    System,
}

/// One wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedWheel {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) filename: String,
    /// Empty for one that is built.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) url: String,
    pub(crate) sha256: Hex,
    /// Bytes.
    pub(crate) size: u64,
    /// Whether the inputs ask for it by name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) requested: bool,
    /// What it is built from, where no index has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sdist: Option<LockedSdist>,
}

/// The source distribution of a wheel that is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedSdist {
    pub(crate) filename: String,
    pub(crate) url: String,
    pub(crate) sha256: Hex,
    /// Bytes.
    pub(crate) size: u64,
    /// What its backend needs.
    #[serde(default, rename = "requires", skip_serializing_if = "Vec::is_empty")]
    pub(crate) requires: Vec<LockedRequirement>,
}

/// A wheel that is needed to build another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedRequirement {
    pub(crate) filename: String,
    pub(crate) url: String,
    pub(crate) sha256: Hex,
    /// Bytes.
    pub(crate) size: u64,
}

impl LockedRequirement {
    /// Where its file comes from.
    pub(crate) fn download(&self) -> Download {
        Download::known(&self.url, self.sha256.0, self.size, &self.filename)
    }
}

/// The project itself, as a wheel. Its version and its files are the sources' affair: they change
/// without making the lock stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedProject {
    /// Normalised.
    pub(crate) name: String,
    /// What its backend needs.
    #[serde(default, rename = "requires", skip_serializing_if = "Vec::is_empty")]
    pub(crate) requires: Vec<LockedRequirement>,
}

impl LockedWheel {
    /// Where its file comes from.
    pub(crate) fn download(&self) -> Download {
        Download::known(&self.url, self.sha256.0, self.size, &self.filename)
    }
}

/// A digest in the form that Python's and Debian's tools use: the digits alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex(pub(crate) Digest);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.hex())
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::from_hex(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl Lock {
    pub(crate) fn new(platforms: Vec<LockedPlatform>) -> Self {
        Self {
            version: VERSION,
            layer_format: oci::layer::FORMAT,
            platforms,
        }
    }

    /// Reads the lock at `path`; None where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.at("read", path)?,
        };
        let fault = |what: &str| Failure::new(format!("{} {what}", path.display()));
        if text
            .lines()
            .any(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "))
        {
            return Err(fault("has merge conflict markers")
                .hint("take either side whole, or delete the file; then run `oxcart lock`"));
        }
        let lock: Self = toml::from_str(&text).map_err(|error| {
            fault("is not valid")
                .hint("delete it and run `oxcart lock`, or get it back from version control")
                .caused_by(anyhow::anyhow!("{}", error.to_string().trim_end()))
        })?;
        if lock.version != VERSION {
            return Err(fault(&format!(
                "has version {}, and this oxcart reads version {VERSION}",
                lock.version
            ))
            .hint("use the oxcart that wrote it, or delete it and run `oxcart lock`"));
        }
        Ok(Some(lock))
    }

    /// Writes the lock to `path`, whole or not at all; leaves the file alone where it says the same.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = self.text()?;
        if fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        output::bytes(path, text.as_bytes())
    }

    fn text(&self) -> Result<String, Failure> {
        let body = toml::to_string_pretty(self)
            .map_err(|error| Failure::new("the lock cannot be written as TOML").caused_by(error))?;
        Ok(format!("{HEADER}{body}"))
    }

    /// What is locked for `platform`.
    pub(crate) fn platform(&self, platform: Platform) -> Option<&LockedPlatform> {
        self.platforms.iter().find(|it| it.name == platform)
    }
}

#[cfg(test)]
mod tests {
    use oci::DiffId;

    use super::*;

    fn lock() -> Lock {
        Lock::new(vec![LockedPlatform {
            name: Platform::Arm64,
            inputs: Digest::of(b"inputs"),
            python: Some(LockedPython {
                version: "3.13.5".into(),
                interpreter: "/usr/bin/python3.13".into(),
                libc: "glibc 2.41".into(),
                environment: None,
            }),
            base: LockedBase {
                reference: "debian:trixie".into(),
                image: None,
                archives: vec![LockedArchive {
                    name: "debian".into(),
                    mirror: "http://127.0.0.1/debian".into(),
                    date: Some("20251122T081300Z".into()),
                }],
            },
            debs: vec![LockedDeb {
                name: "libc6".into(),
                version: "2.41-12".into(),
                architecture: "arm64".into(),
                layer: DebLayer::Base,
                archive: "debian".into(),
                path: "pool/main/g/glibc/libc6_2.41-12_arm64.deb".into(),
                sha256: Hex(Digest::of(b"deb")),
                size: 3,
            }],
            wheels: vec![LockedWheel {
                name: "numpy".into(),
                version: "2.3.5".into(),
                filename: "numpy-2.3.5-cp313-cp313-manylinux_2_27_aarch64.whl".into(),
                url: "http://127.0.0.1/numpy.whl".into(),
                sha256: Hex(Digest::of(b"wheel")),
                size: 5,
                requested: true,
                sdist: None,
            }],
            project: None,
            reused: Vec::new(),
            layers: vec![LockedLayer {
                kind: "wheel".into(),
                members: vec!["numpy 2.3.5".into(), "six 1.17".into()],
                key: Digest::of(b"key"),
                digest: Digest::of(b"blob"),
                diff_id: DiffId(Digest::of(b"tar")),
                size: 4,
            }],
        }])
    }

    #[test]
    fn reads_what_it_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("oxcart.lock");
        assert_eq!(Lock::read(&path).unwrap(), None);
        lock().write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), Some(lock()));
        insta::assert_snapshot!(fs::read_to_string(&path).unwrap());
    }

    #[test]
    fn conflict_markers_and_other_versions_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("oxcart.lock");
        for (text, expected) in [
            ("<<<<<<< HEAD\nversion = 1\n", "has merge conflict markers"),
            (
                "version = 2\nlayer-format = 1\n",
                "has version 2, and this oxcart reads version 1",
            ),
            ("version = 1\nlayer-format = 1\nnew = 3\n", "is not valid"),
        ] {
            fs::write(&path, text).unwrap();
            let message = Lock::read(&path).unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        }
    }
}
