//! Builds without a network: the files that a lock asks for, the layouts that they are carried in, and
//! the one place where a build takes them from there.
//!
//! Such a layout holds an artifact (image-spec `manifest.md`, Guidelines for Artifact Usage), so that
//! registries and their tools can carry it. A build looks for blobs by their digests alone: any layout
//! that has them will do.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use oci::{ArtifactFile, Digest, LayoutReader, Platform};

use crate::archives::Mirrors;
use crate::diagnostics::{Failure, IoContext};
use crate::fetch::{Download, without_secrets};
use crate::lock::{LockedDocument, LockedImage, LockedPlatform};
use crate::place::Location;
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::store::{Store, Use};
use crate::system;

/// What a vendored layout is to registries.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.oxcart.vendor.v1";
/// Files that are copied at a time.
const PARALLEL: usize = 8;

/// A file that a build needs.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    pub(crate) kind: Kind,
    /// Its bytes.
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// A file name.
    pub(crate) name: String,
    /// Where it is: a URL, or the image that it is of.
    source: String,
}

/// What a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Wheel,
    Deb,
    BaseManifest,
    BaseConfig,
    /// What `[system]` packages depend on.
    BaseDpkg,
    /// With its media type.
    BaseLayer(String),
}

impl Kind {
    /// A base's documents do not go by their own types: some registries would look for a manifest where
    /// this one is a file among others.
    fn media_type(&self) -> &str {
        match self {
            Self::Wheel => "application/vnd.oxcart.wheel.v1",
            Self::Deb => "application/vnd.oxcart.deb.v1",
            Self::BaseManifest => "application/vnd.oxcart.base.manifest.v1+json",
            Self::BaseConfig => "application/vnd.oxcart.base.config.v1+json",
            Self::BaseDpkg => system::MEDIA_TYPE,
            Self::BaseLayer(media_type) => media_type,
        }
    }
}

impl Supply {
    fn of(kind: Kind, download: Download) -> Option<Self> {
        Some(Self {
            kind,
            digest: download.digest?,
            size: download.size?,
            name: download.name,
            source: download.url,
        })
    }

    /// What it is to a fetcher.
    pub(crate) fn download(&self) -> Download {
        Download::known(&self.source, self.digest, self.size, &self.name)
    }

    /// What it is in an artifact.
    pub(crate) fn file(&self) -> ArtifactFile {
        ArtifactFile {
            title: self.name.clone(),
            media_type: self.kind.media_type().to_owned(),
            digest: self.digest,
            size: self.size,
        }
    }
}

/// All files that `platforms` are made of, each once, by their names.
pub(crate) fn supplies(
    project: &Project,
    platforms: &[&LockedPlatform],
    mirrors: &Mirrors,
) -> Result<Vec<Supply>, Failure> {
    let mut found = Vec::new();
    for platform in platforms {
        if let Some(image) = &platform.base.image {
            found.extend(of_base(&project.base, platform.name, image));
        }
        for deb in &platform.debs {
            found.extend(Supply::of(Kind::Deb, mirrors.download(deb, platform.name)?));
        }
        found.extend(
            platform
                .wheels
                .iter()
                .filter_map(|wheel| Supply::of(Kind::Wheel, wheel.download())),
        );
        // The project is built where the image is: its sources are there.
        let requires = platform.project.iter().flat_map(|it| &it.requires);
        found.extend(requires.filter_map(|it| Supply::of(Kind::Wheel, it.download())));
    }
    let mut known = BTreeMap::new();
    for supply in found {
        known.entry(supply.digest).or_insert(supply);
    }
    let mut supplies: Vec<_> = known.into_values().collect();
    supplies.sort_by_key(Supply::file);
    Ok(supplies)
}

/// The files of a base image; none of one that is on disk, which goes along with the project.
pub(crate) fn of_base(base: &Base, platform: Platform, image: &LockedImage) -> Vec<Supply> {
    let Base::Image { location, .. } = base else {
        return Vec::new();
    };
    let Location::Registry(reference) = location else {
        return Vec::new();
    };
    let source = reference.with_digest(image.manifest.digest).to_string();
    let document = |kind, name: &str, document: &LockedDocument| Supply {
        kind,
        digest: document.digest,
        size: document.size,
        name: format!("base-{}-{name}.json", platform.slug()),
        source: source.clone(),
    };
    let mut supplies = vec![
        document(Kind::BaseManifest, "manifest", &image.manifest),
        document(Kind::BaseConfig, "config", &image.config),
    ];
    supplies.extend(
        image
            .dpkg
            .iter()
            .map(|it| document(Kind::BaseDpkg, "dpkg", it)),
    );
    supplies.extend(image.layers.iter().map(|layer| Supply {
        kind: Kind::BaseLayer(layer.media_type.clone()),
        digest: layer.digest,
        size: layer.size,
        name: format!(
            "base-layer-{:.12}.tar{}",
            layer.digest.hex(),
            match layer.media_type.rsplit('+').next() {
                Some("gzip") => ".gz",
                Some("zstd") => ".zst",
                _ => "",
            }
        ),
        source: source.clone(),
    }));
    supplies
}

/// A layout that has what a build needs.
#[derive(Debug, Clone)]
pub(crate) struct Vendored {
    path: PathBuf,
    reader: Arc<LayoutReader>,
}

impl Vendored {
    /// Opens the layout directory, or the archive of one, at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let path = plain(path);
        let reader = LayoutReader::open(path).map_err(|error| {
            Failure::new(format!("{} has nothing vendored", path.display()))
                .hint("name a directory that `oxcart vendor --output DIR` wrote, or a copy of one")
                .caused_by(error)
        })?;
        Ok(Self {
            path: path.to_owned(),
            reader: Arc::new(reader),
        })
    }

    /// Whether it has the blob.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.reader.blob(digest).is_ok()
    }
}

/// `path` without the `oci:` that other options want before it.
pub(crate) fn plain(path: &Path) -> &Path {
    let text = path.to_str().unwrap_or_default();
    ["oci:", "oci-archive:"]
        .iter()
        .find_map(|kind| text.strip_prefix(kind))
        .filter(|rest| !rest.is_empty())
        .map_or(path, Path::new)
}

/// Has every one of `wanted`, none of which is in the store, there afterwards: from `vendored`, or from
/// this machine's files. What is in neither is told in one failure, before anything is copied.
pub(crate) async fn import(
    wanted: Vec<Download>,
    vendored: Option<&Vendored>,
    store: &Store,
    progress: &Progress,
) -> Result<(), Failure> {
    let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
    for download in wanted {
        match (download.digest, here(&download, vendored)) {
            (Some(digest), Some(place)) => drop(found.insert(digest, (place, download))),
            _ => missing.push(download),
        }
    }
    if !missing.is_empty() {
        return Err(lacking(missing, vendored));
    }
    if found.is_empty() {
        return Ok(());
    }
    let size: u64 = found.values().filter_map(|(_, it)| it.size).sum();
    let number = found.len();
    let bar = progress.bytes("Copying", size);
    stream::iter(found)
        .map(|(digest, (place, download))| {
            let store = store.clone();
            let bar = bar.clone();
            async move {
                let size = download.size.unwrap_or_default();
                let copied = tokio::task::spawn_blocking(move || {
                    copy(&place, &digest, &download.name, &store)
                });
                copied.await.map_err(|error| {
                    Failure::new("a thread that copies came to its end").caused_by(error)
                })??;
                bar.inc(size);
                Ok::<_, Failure>(())
            }
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    progress.line(&format!(
        "copied {number} files, {}, into the store",
        indicatif::BinaryBytes(size)
    ));
    Ok(())
}

/// Where a file lies on this machine.
enum Place {
    Vendored(Vendored),
    File(PathBuf),
}

fn here(download: &Download, vendored: Option<&Vendored>) -> Option<Place> {
    let digest = download.digest?;
    vendored
        .filter(|it| it.reader.blob(&digest).is_ok())
        .map(|it| Place::Vendored(it.clone()))
        .or_else(|| {
            let path = download.local().filter(|path| path.is_file());
            path.map(Place::File)
        })
}

/// Copies a file into the store, if it is what it should be.
fn copy(place: &Place, digest: &Digest, name: &str, store: &Store) -> Result<(), Failure> {
    let (path, mut reader): (_, Box<dyn Read>) = match place {
        Place::Vendored(vendored) => {
            let blob = vendored
                .reader
                .blob(digest)
                .map_err(|error| Failure::new(format!("{name} cannot be read")).caused_by(error))?;
            (&vendored.path, Box::new(blob.reader()))
        }
        Place::File(path) => (path, Box::new(File::open(path).at("open", path)?)),
    };
    let mut blob = store.new_blob(Use::of_download(name))?;
    io::copy(&mut reader, &mut blob).at("read", path)?;
    let found = blob.keep_if(digest)?;
    if found == *digest {
        return Ok(());
    }
    Err(
        Failure::new(format!("{name} in {} does not have its sha256", path.display()))
            .hint("it was damaged where it lies or on the way: copy it again; `oxcart vendor` mends the layout that it is run on")
            .caused_by(anyhow::anyhow!("it gives {found}, expected {digest}")),
    )
}

fn lacking(missing: Vec<Download>, vendored: Option<&Vendored>) -> Failure {
    let missing: BTreeMap<_, _> = missing
        .into_iter()
        .map(|it| ((it.name.clone(), it.digest), it))
        .collect();
    let number = missing.len();
    let (files, are) = if number == 1 {
        ("file", "is")
    } else {
        ("files", "are")
    };
    let mut text = match vendored {
        None => {
            format!("{number} {files} {are} not in the store, and --offline forbids the network:")
        }
        Some(vendored) => format!(
            "{number} {files} {are} neither in the store nor in {}, and --offline forbids the network:",
            vendored.path.display()
        ),
    };
    for download in missing.values() {
        let digest = download.digest.map(|it| it.to_string()).unwrap_or_default();
        let url = without_secrets(&download.url);
        let _ = write!(text, "\n  {} {digest} {url}", download.name);
    }
    Failure::new(text).hint(
        "where there is a network, run `oxcart vendor --output DIR` with the same lock, platforms and profile; build with --vendor and a copy of that directory",
    )
}

/// The failure where something would be asked of the network.
pub(crate) fn forbidden(what: &str) -> Failure {
    Failure::new(format!(
        "{what} is wanted, and --offline forbids the network"
    ))
    .hint("run `oxcart vendor` where there is a network, or leave --offline out")
}
