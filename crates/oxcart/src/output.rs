//! Where an image goes: a layout directory, an archive file, or stdout.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use oci::layer::Layer;
use oci::{ArchiveWriter, AtomicFile, Digest, LayoutWriter};

use crate::build::{Built, BuiltImage, BuiltLayer, in_parallel};
use crate::diagnostics::{Failure, IoContext};
use crate::store::{Kept, Store};

/// A destination as it is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// `oci:DIR`: an OCI image layout; images of other tags in it stay.
    Layout(PathBuf),
    /// `oci-archive:FILE`: an OCI image layout as a tar file.
    OciArchive(PathBuf),
    /// `docker-archive:FILE`: what `docker load` and `podman load` read; one platform.
    DockerArchive(PathBuf),
    /// `-`: an oci-archive on stdout.
    Stdout,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, path) = match text.split_once(':') {
            _ if text == "-" => return Ok(Self::Stdout),
            Some((kind, path)) if !path.is_empty() => (kind, PathBuf::from(path)),
            _ => {
                return Err(
                    "expected oci:DIR, oci-archive:FILE, docker-archive:FILE or -".to_owned(),
                );
            }
        };
        match kind {
            "oci" => Ok(Self::Layout(path)),
            "oci-archive" => Ok(Self::OciArchive(path)),
            "docker-archive" => Ok(Self::DockerArchive(path)),
            _ => Err(format!(
                "`{kind}` is no kind of output: expected oci:DIR, oci-archive:FILE, docker-archive:FILE or -"
            )),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(path) => write!(f, "oci:{}", path.display()),
            Self::OciArchive(path) => write!(f, "oci-archive:{}", path.display()),
            Self::DockerArchive(path) => write!(f, "docker-archive:{}", path.display()),
            Self::Stdout => f.write_str("-"),
        }
    }
}

/// An image and the names it gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) built: &'a Built,
    /// `ghcr.io/acme/backend`
    pub(crate) name: &'a str,
    pub(crate) tags: &'a [String],
    /// Time of an archive's members, in seconds since 1970.
    pub(crate) mtime: u64,
}

impl Destination {
    /// What can be known to be wrong before anything is built.
    pub(crate) fn check(&self, platforms: usize) -> Result<(), Failure> {
        match self {
            Self::DockerArchive(_) if platforms != 1 => {
                Err(Failure::new(format!("{self} would hold {platforms} platforms, and `docker load` takes one"))
                    .hint("add --platform linux/arm64 (or another), or write oci-archive:FILE, which holds all"))
            }
            Self::Stdout if io::IsTerminal::is_terminal(&io::stdout()) => {
                Err(Failure::new("an archive would be written to the terminal").hint("pipe it, or name a file: oci-archive:FILE"))
            }
            _ => Ok(()),
        }
    }

    /// Writes the image here, whole or not at all (stdout excepted, which can't take anything back).
    pub(crate) fn write(
        &self,
        image: Named<'_>,
        store: &Store,
        threads: NonZeroUsize,
    ) -> anyhow::Result<()> {
        match self {
            Self::Layout(path) => layout(path, image, store, threads),
            Self::OciArchive(path) => file(path, |out| archive(out, image, store)),
            Self::DockerArchive(path) => file(path, |out| docker_archive(out, image, store)),
            Self::Stdout => archive(&mut io::stdout().lock(), image, store).map(drop),
        }
        .with_context(|| format!("the image cannot be written to {self}"))
    }
}

fn layout(
    path: &Path,
    image: Named<'_>,
    store: &Store,
    threads: NonZeroUsize,
) -> anyhow::Result<()> {
    let writer = LayoutWriter::open(path)?;
    in_parallel(&layers(image.built), threads, |(layer, made)| {
        writer.put_blob(&layer.digest, layer.size, |out| {
            blob(layer, *made, store, out)
        })?;
        store.done_with(&layer.digest);
        Ok(())
    })?;
    for built in &image.built.images {
        writer.put_image(&built.image)?;
    }
    writer.put_index(&image.built.index)?;
    writer.publish(&image.built.index.descriptor, &tags(image))?;
    Ok(())
}

fn archive(out: &mut dyn Write, image: Named<'_>, store: &Store) -> anyhow::Result<()> {
    let mut writer = ArchiveWriter::new(out, image.mtime)?;
    blobs(&mut writer, image, store)?;
    for built in &image.built.images {
        writer.put_image(&built.image)?;
    }
    writer.put_index(&image.built.index)?;
    writer
        .finish(&image.built.index.descriptor, &tags(image))?
        .flush()?;
    Ok(())
}

fn docker_archive(out: &mut dyn Write, image: Named<'_>, store: &Store) -> anyhow::Result<()> {
    let mut writer = ArchiveWriter::new(out, image.mtime)?;
    blobs(&mut writer, image, store)?;
    let names: Vec<_> = image
        .tags
        .iter()
        .map(|tag| format!("{}:{tag}", image.name))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let [only] = image.built.images.as_slice() else {
        unreachable!("checked before the build")
    };
    writer.put_image(&only.image)?;
    writer.finish_docker(&only.image, &names)?.flush()?;
    Ok(())
}

fn blobs(
    writer: &mut ArchiveWriter<&mut dyn Write>,
    image: Named<'_>,
    store: &Store,
) -> anyhow::Result<()> {
    for (layer, made) in layers(image.built) {
        writer.put_blob(&layer.digest, layer.size, |out| {
            blob(layer, made, store, out)
        })?;
        store.done_with(&layer.digest);
    }
    Ok(())
}

fn tags(image: Named<'_>) -> Vec<&str> {
    image.tags.iter().map(String::as_str).collect()
}

/// The layers of all images, each once, the largest first, with how it was made; a base image's were
/// not.
pub(crate) fn layers(built: &Built) -> Vec<(&Layer, Option<&BuiltLayer>)> {
    let of_bases = built.images.iter().flat_map(BuiltImage::base_layers);
    let ours = built.images.iter().flat_map(|image| &image.layers);
    let layers: BTreeMap<Digest, _> = of_bases
        .map(|layer| (layer, None))
        .chain(ours.map(|made| (&made.record.layer, Some(made))))
        .map(|(layer, made)| (layer.digest, (layer, made)))
        .collect();
    let mut layers: Vec<_> = layers.into_values().collect();
    layers.sort_by_key(|(layer, _)| std::cmp::Reverse(layer.size));
    layers
}

/// Writes a layer's blob, from what the store keeps of it.
fn blob(
    layer: &Layer,
    made: Option<&BuiltLayer>,
    store: &Store,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match made {
        Some(made) => made_blob(made, store, out),
        None => stored_blob(&layer.digest, store, out),
    }
}

/// Writes the blob of a layer of ours.
pub(crate) fn made_blob(
    layer: &BuiltLayer,
    store: &Store,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if layer.record.kept != Kept::Map {
        return stored_blob(&layer.record.layer.digest, store, out);
    }
    let map = store.splice_map(&layer.job.key)?;
    let source = |digest: &Digest| {
        store
            .source(digest, &digest.to_string())
            .map_err(io::Error::other)
    };
    Ok(map.write_blob(&source, out)?)
}

fn stored_blob(digest: &Digest, store: &Store, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = store.blob_path(digest);
    let mut blob = File::open(&path).at("read", &path)?;
    io::copy(&mut blob, out)?;
    Ok(())
}

/// Has `write` fill a new file that then takes the place of `path`.
pub(crate) fn file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let file = AtomicFile::create_in(directory.unwrap_or(Path::new("."))).at("write", path)?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    write(&mut out)?;
    let file = out
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .at("write", path)?;
    Ok(file.commit(path).at("write", path)?)
}

/// As [`file()`], for bytes that are at hand.
pub(crate) fn bytes(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    file(path, |out| Ok(out.write_all(bytes).at("write", path)?))
}

#[cfg(test)]
mod tests {
    use super::Destination;

    #[test]
    fn destinations_round_trip() {
        for text in [
            "oci:dir",
            "oci-archive:a/b.tar",
            "docker-archive:/x.tar",
            "-",
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for text in ["", "dir", "oci:", "tar:x"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
