//! An image where it lies: in a registry, or in a layout or an archive on disk. Bases, `push`,
//! `index create` and `inspect` all read images through this.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use oci::{Descriptor, Digest, LayoutReader, MediaType, digest_of, is_index, is_manifest};
use oci_spec::image::{ImageIndex, ImageManifest};
use registry::{Content, Manifest, Reference, Repository};
use serde::de::DeserializeOwned;

use crate::diagnostics::{Failure, nearest};
use crate::registries::Registries;

/// The kinds of images on disk, as they are written before a path.
const KINDS: [&str; 3] = ["oci:", "oci-archive:", "docker-archive:"];

/// Where an image is, as it is written in the configuration or on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Registry(Reference),
    /// A layout directory, or an archive with a layout in it.
    Disk {
        path: PathBuf,
        /// Which of its images, by name.
        name: Option<String>,
    },
}

impl Location {
    /// Reads `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, a path that exists, each with an
    /// optional `:NAME`; else a reference. Paths are relative to `directory`.
    pub(crate) fn parse(text: &str, directory: &Path) -> anyhow::Result<Self> {
        let stated = KINDS.iter().find_map(|kind| text.strip_prefix(kind));
        let place = stated.unwrap_or(text);
        if stated.is_none() && !directory.join(text).exists() {
            return Ok(Self::Registry(text.parse()?));
        }
        anyhow::ensure!(!place.is_empty(), "a path is missing after `{text}`");
        let (path, name) = match place.rsplit_once(':') {
            Some((path, name)) if !directory.join(place).exists() => (path, Some(name.to_owned())),
            _ => (place, None),
        };
        Ok(Self::Disk {
            path: directory.join(path),
            name,
        })
    }
}

impl Location {
    /// The same, typed on the command line: relative to where one is, and a reference has its registry,
    /// so that a path with a slip of the pen is not looked for on Docker Hub.
    pub(crate) fn typed(text: &str) -> anyhow::Result<Self> {
        let location = Self::parse(text, Path::new("."))?;
        match location.reference() {
            Some(reference) if !text.starts_with(reference.registry()) => {
                Err(Failure::new(format!("there is no image at {text}"))
                    .hint(format!(
                        "name a layout directory or an archive; for an image in a registry begin with its host, as in {reference}"
                    ))
                    .into())
            }
            _ => Ok(location),
        }
    }

    /// The reference, where it is one.
    pub(crate) fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(reference) => Some(reference),
            Self::Disk { .. } => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Disk { path, name: None } => path.display().fmt(f),
            Self::Disk {
                path,
                name: Some(name),
            } => write!(f, "{}:{name}", path.display()),
        }
    }
}

/// An image that can be read.
#[derive(Clone)]
pub(crate) struct Place {
    location: Location,
    at: At,
}

#[derive(Clone)]
enum At {
    Registry(Repository),
    Disk(Arc<LayoutReader>),
}

/// Where the bytes of a blob come from.
pub(crate) enum Bytes<'a> {
    Registry(&'a Repository),
    Disk(oci::Blob),
}

/// A manifest or an index, by whatever it is called.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Vec<u8>,
}

impl Document {
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// What it says.
    pub(crate) fn parsed<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.bytes)
            .with_context(|| format!("{} cannot be read", self.digest()))
    }
}

impl Place {
    /// Opens what is at `location`; a registry is not asked anything yet.
    pub(crate) fn open(location: &Location, registries: &Registries) -> anyhow::Result<Self> {
        let at = match location {
            Location::Registry(reference) => At::Registry(registries.repository(reference)?),
            Location::Disk { path, .. } => {
                if !path.exists() {
                    return Err(
                        Failure::new(format!("there is no image at {}", path.display()))
                            .hint("name a layout directory, an archive, or an image in a registry")
                            .into(),
                    );
                }
                let reader = LayoutReader::open(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                At::Disk(Arc::new(reader))
            }
        };
        Ok(Self {
            location: location.clone(),
            at,
        })
    }

    /// The repository, where it is in a registry.
    pub(crate) fn repository(&self) -> Option<&Repository> {
        match &self.at {
            At::Registry(repository) => Some(repository),
            At::Disk(_) => None,
        }
    }

    /// The index or manifest that the location names.
    pub(crate) async fn top(&self) -> anyhow::Result<Document> {
        match (&self.at, &self.location) {
            (At::Registry(repository), Location::Registry(reference)) => {
                let found = repository.manifest(&reference.target()).await;
                match found {
                    Ok(found) => Ok(document(found)),
                    Err(error) if error.is_not_found() => {
                        Err(missing(repository, reference, error).await.into())
                    }
                    Err(error) => Err(error.into()),
                }
            }
            (At::Disk(reader), Location::Disk { name, .. }) => {
                let descriptor = reader
                    .resolve(name.as_deref())
                    .with_context(|| format!("cannot read {}", self.location))?;
                self.document(&descriptor).await
            }
            _ => unreachable!("both were made from one location"),
        }
    }

    /// A manifest or an index that another document lists.
    pub(crate) async fn document(&self, descriptor: &Descriptor) -> anyhow::Result<Document> {
        let bytes = match &self.at {
            At::Registry(repository) => repository.manifest_of(descriptor).await?.bytes,
            At::Disk(reader) => reader.document(descriptor)?,
        };
        Ok(Document {
            descriptor: descriptor.clone(),
            bytes,
        })
    }

    /// A configuration, or another blob that is small.
    pub(crate) async fn small_blob(&self, descriptor: &Descriptor) -> anyhow::Result<Vec<u8>> {
        Ok(match &self.at {
            At::Registry(repository) => {
                repository
                    .document(&sha256(descriptor)?, descriptor.size())
                    .await?
            }
            At::Disk(reader) => reader.document(descriptor)?,
        })
    }

    /// A blob, to be read here.
    pub(crate) fn blob(&self, digest: &Digest) -> anyhow::Result<Bytes<'_>> {
        Ok(match &self.at {
            At::Registry(repository) => Bytes::Registry(repository),
            At::Disk(reader) => Bytes::Disk(reader.blob(digest)?),
        })
    }

    /// A blob, to be pushed elsewhere.
    pub(crate) fn content(&self, digest: Digest) -> Content {
        match &self.at {
            At::Registry(repository) => Content::Blob(repository.clone()),
            At::Disk(reader) => {
                let reader = Arc::clone(reader);
                Content::Written(Arc::new(move |out| {
                    std::io::copy(&mut reader.blob(&digest)?.reader(), out)?;
                    Ok(())
                }))
            }
        }
    }
}

fn document(found: Manifest) -> Document {
    let media_type = MediaType::from(found.media_type.as_str());
    Document {
        descriptor: oci::describe(media_type, &found.bytes),
        bytes: found.bytes,
    }
}

/// The failure where a registry has no such image: with the tags that it has instead.
async fn missing(
    repository: &Repository,
    reference: &Reference,
    error: registry::Error,
) -> Failure {
    let failure = Failure::new(format!("there is no image {reference}"));
    // What it has is good to know, and no reason to fail in another way.
    let tags = repository.tags().await.unwrap_or_default();
    let near = nearest(&reference.target(), tags.iter().map(String::as_str));
    let failure = match near {
        Some(near) => failure.hint(format!("did you mean {}?", reference.with_tag(near))),
        None if tags.is_empty() => {
            failure.hint("check the name; a private repository looks like none without credentials")
        }
        None => {
            let last: Vec<_> = tags.iter().rev().take(8).map(String::as_str).collect();
            failure.hint(format!(
                "of its {} tags, the last are {}",
                tags.len(),
                last.join(", ")
            ))
        }
    };
    failure.caused_by(error)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
    }
}

/// What the image at a place is made of: its manifests, each checked to be one.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) top: Document,
    /// The index's entries, or the only manifest there is.
    pub(crate) manifests: Vec<Document>,
}

impl Images {
    /// Reads all documents above the configurations.
    pub(crate) async fn read(place: &Place) -> anyhow::Result<Self> {
        let top = place.top().await?;
        let mut manifests = Vec::new();
        match Kind::of(place, &top)? {
            Kind::Manifest => manifests.push(top.clone()),
            Kind::Index(index) => {
                for entry in index.manifests() {
                    let document = place.document(entry).await?;
                    if let Kind::Index(_) = Kind::of(place, &document)? {
                        return Err(nested(place, &document.digest()).into());
                    }
                    manifests.push(document);
                }
            }
        }
        Ok(Self { top, manifests })
    }
}

/// What a document is.
pub(crate) enum Kind {
    Index(Box<ImageIndex>),
    Manifest,
}

impl Kind {
    /// By its media type.
    pub(crate) fn of(place: &Place, document: &Document) -> anyhow::Result<Self> {
        let media_type = document.descriptor.media_type();
        if is_index(media_type) {
            return Ok(Self::Index(Box::new(document.parsed()?)));
        }
        if is_manifest(media_type) {
            return Ok(Self::Manifest);
        }
        Err(Failure::new(format!(
            "{place} is no image: it has the media type {media_type}"
        ))
        .hint("name an image index or an image manifest")
        .into())
    }
}

/// The failure where an index is found in an index.
pub(crate) fn nested(place: &Place, digest: &Digest) -> Failure {
    Failure::new(format!(
        "{place} is an index that lists another index, {digest}"
    ))
    .hint("name the inner one by its digest: NAME@sha256:…")
}

/// The digest of a descriptor, or the failure that it is of another kind.
pub(crate) fn sha256(descriptor: &Descriptor) -> Result<Digest, Failure> {
    digest_of(descriptor).ok_or_else(|| {
        Failure::new(format!("`{}` is no sha256 digest", descriptor.digest()))
            .hint("only sha256 is read and written")
    })
}

/// The layers and the configuration of a manifest: its blobs.
pub(crate) fn blobs(manifest: &ImageManifest) -> impl Iterator<Item = &Descriptor> {
    manifest.layers().iter().chain([manifest.config()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("there")).unwrap();
        let check = |text: &str, expected: &str| {
            let location = Location::parse(text, root).unwrap();
            let shown = location.to_string();
            let shown = shown.trim_start_matches(root.to_str().unwrap());
            assert_eq!(shown, expected, "{text}");
        };
        check("oci:there", "/there");
        check("oci:there:1.0", "/there:1.0");
        check("oci-archive:missing.tar:x", "/missing.tar:x");
        check("there", "/there");
        check("python:3.12-slim", "docker.io/library/python:3.12-slim");
        check("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest");
        assert!(Location::parse("Not A Reference", root).is_err());
        assert!(Location::parse("oci:", root).is_err());
        assert!(Location::typed("docker.io/library/python").is_ok());
        let message = Location::typed("mistyped/image:1").unwrap_err().to_string();
        assert_eq!(message, "there is no image at mistyped/image:1");
    }
}
