//! Base images: found, pinned by digest, and looked into for the facts that wheels are chosen by.
//!
//! A layer that is looked into is streamed and forgotten. What was found in an image is kept in the
//! store under its manifest's digest, so that this is done once.

use std::io::{self, Read};

use anyhow::Context;
use facts::{EnvironmentKind, Facts, Scan};
use futures::{StreamExt, TryStreamExt, stream};
use oci::layer::Layer;
use oci::{Descriptor, Digest, MediaType, Platform};
use oci_spec::image::ImageManifest;
use registry::{BlobReader, Repository};
use resolve::InstalledPackage;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::diagnostics::Failure;
use crate::lock::{LockedDocument, LockedEnvironment, LockedImage, LockedPython};
use crate::place::{Document, Kind, Location, Place, nested, sha256};
use crate::progress::Progress;
use crate::project::{Dependencies, Project};
use crate::registries::Registries;
use crate::store::{Store, Use};
use crate::system;

/// Layers that are looked into at a time.
const PARALLEL: usize = 4;
/// Chunks of a layer that wait to be looked into.
const AHEAD: usize = 16;
/// The version of what is kept; another one is looked for again.
const VERSION: u32 = 2;

/// A base image on one platform, and what is in it.
#[derive(Debug)]
pub(crate) struct BaseImage {
    pub(crate) image: LockedImage,
    pub(crate) facts: Facts,
}

/// What opens base images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bases<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registries: &'a Registries,
    pub(crate) progress: &'a Progress,
}

impl Bases<'_> {
    /// The images at `location` for `platforms`, in their order; those of the index or manifest
    /// `pinned`, where there is one.
    pub(crate) async fn resolve(
        &self,
        location: &Location,
        pinned: Option<Digest>,
        platforms: &[Platform],
    ) -> anyhow::Result<Vec<BaseImage>> {
        let location = match (location, pinned) {
            (Location::Registry(reference), Some(digest)) => {
                Location::Registry(reference.with_digest(digest))
            }
            _ => location.clone(),
        };
        let place = Place::open(&location, self.registries)?;
        let top = place
            .top()
            .await
            .context("the base image cannot be found")?;
        let mut bases = Vec::new();
        for platform in platforms {
            let (index, manifest) = choose(&place, &top, *platform).await?;
            bases.push(self.image(&place, index, &manifest, *platform).await?);
        }
        Ok(bases)
    }

    async fn image(
        &self,
        place: &Place,
        index: Option<Digest>,
        manifest: &Document,
        platform: Platform,
    ) -> anyhow::Result<BaseImage> {
        let parsed: ImageManifest = manifest.parsed()?;
        let config = place.small_blob(parsed.config()).await?;
        let base = oci::Base::parse(&manifest.bytes, &config)
            .with_context(|| format!("{place} cannot be a base"))?;
        check_platform(place, base.config(), platform)?;
        for bytes in [&manifest.bytes, &config] {
            self.store.put_document(bytes)?;
        }
        let image = LockedImage {
            index,
            manifest: locked(&manifest.descriptor)?,
            config: LockedDocument {
                content: String::from_utf8(config).ok(),
                ..locked(parsed.config())?
            },
            dpkg: None,
            layers: base.layers().to_vec(),
        };
        let facts = match self.known(&image.manifest.digest) {
            Some(facts) => facts,
            None => self.look(place, &parsed, &base, &image).await?,
        };
        Ok(BaseImage { image, facts })
    }

    fn known(&self, manifest: &Digest) -> Option<Facts> {
        let bytes = std::fs::read(self.store.facts_path(manifest)).ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        (kept.version == VERSION).then_some(kept.facts)
    }

    async fn look(
        &self,
        place: &Place,
        manifest: &ImageManifest,
        base: &oci::Base,
        image: &LockedImage,
    ) -> anyhow::Result<Facts> {
        let total = manifest.layers().iter().map(Descriptor::size).sum();
        let bar = self.progress.bytes("Base", total);
        let scans: Vec<Scan> = stream::iter(manifest.layers())
            .map(|layer| {
                let bar = bar.clone();
                async move {
                    let digest = sha256(layer)?;
                    let scan = scan(place, layer, &digest).await.with_context(|| {
                        format!("layer {digest} of the base {place} cannot be read")
                    })?;
                    bar.inc(layer.size());
                    Ok::<_, anyhow::Error>(scan)
                }
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let facts = facts::facts(&env(base.config()), &scans)
            .with_context(|| format!("the base {place} cannot be understood"))?;
        self.progress.detail(&format!(
            "looked into {} layers of {place}, {}",
            scans.len(),
            indicatif::BinaryBytes(total)
        ));
        let kept = Kept {
            version: VERSION,
            facts,
        };
        self.store
            .put_facts(&image.manifest.digest, &serde_json::to_vec(&kept)?)?;
        Ok(kept.facts)
    }

    /// What an image takes over from a base that is locked: from the lock, else from its documents.
    pub(crate) async fn base(
        &self,
        location: &Location,
        image: &LockedImage,
    ) -> anyhow::Result<oci::Base> {
        match image.base()? {
            Some(base) => Ok(base),
            None => self.documents(location, image).await,
        }
    }

    /// The manifest and configuration of a base that is locked, which are in the store afterwards.
    pub(crate) async fn documents(
        &self,
        location: &Location,
        image: &LockedImage,
    ) -> anyhow::Result<oci::Base> {
        let stored = |document: &LockedDocument| self.store.document(&document.digest);
        if let (Some(manifest), Some(config)) = (stored(&image.manifest), stored(&image.config)) {
            return Ok(oci::Base::parse(&manifest, &config)?);
        }
        let place = self.pinned(location, image)?;
        let manifest = place.document(&image.manifest.descriptor()).await;
        let manifest = manifest.map_err(|error| moved(&place, image, error))?.bytes;
        let config = place.small_blob(&image.config.descriptor()).await;
        let config = config.map_err(|error| moved(&place, image, error))?;
        for bytes in [&manifest, &config] {
            self.store.put_document(bytes)?;
        }
        Ok(oci::Base::parse(&manifest, &config)?)
    }

    /// Has in the store the document of what `[system]` packages depend on, reading the base's layers
    /// again where it is not there.
    pub(crate) async fn dpkg(
        &self,
        location: &Location,
        image: &LockedImage,
    ) -> anyhow::Result<()> {
        let Some(locked) = &image.dpkg else {
            return Ok(());
        };
        if self.store.document(&locked.digest).is_some() {
            return Ok(());
        }
        let base = self.documents(location, image).await?;
        let facts = if let Some(facts) = self.known(&image.manifest.digest) {
            facts
        } else {
            let place = self.pinned(location, image)?;
            let manifest = place.document(&image.manifest.descriptor()).await;
            let manifest = manifest.map_err(|error| moved(&place, image, error))?;
            let manifest = manifest.parsed()?;
            self.look(&place, &manifest, &base, image).await?
        };
        let found = facts
            .dpkg
            .as_ref()
            .map(|dpkg| system::keep(dpkg, self.store));
        if found.transpose()?.as_ref() == Some(locked) {
            return Ok(());
        }
        Err(Failure::new(
            "the base image's records of packages are not read as they were when they were locked",
        )
        .hint("run `oxcart lock`")
        .into())
    }

    /// Has the layers of a base that is locked in the store.
    pub(crate) async fn fetch(
        &self,
        location: &Location,
        image: &LockedImage,
    ) -> anyhow::Result<()> {
        let missing: Vec<_> = image
            .layers
            .iter()
            .filter(|layer| !self.store.has_blob(&layer.digest))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let place = &self.pinned(location, image)?;
        let bar = self
            .progress
            .bytes("Base layers", missing.iter().map(|layer| layer.size).sum());
        stream::iter(missing)
            .map(|layer| {
                let bar = bar.clone();
                async move {
                    self.fetch_layer(place, layer).await.with_context(|| {
                        format!("layer {} of the base cannot be fetched", layer.digest)
                    })?;
                    bar.inc(layer.size);
                    Ok::<_, anyhow::Error>(())
                }
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(())
    }

    async fn fetch_layer(&self, place: &Place, layer: &Layer) -> anyhow::Result<()> {
        let reader = reader(place, &layer.digest, layer.size).await?;
        let found = keep(self.store, layer, reader).await?;
        if found != layer.digest {
            return Err(Failure::new(format!(
                "{place} gives {found} for {} with {} bytes",
                layer.digest, layer.size
            ))
            .hint("the base is damaged where it lies: get it again")
            .into());
        }
        Ok(())
    }

    /// Where a locked base is to be found: by its manifest's digest.
    pub(crate) fn pinned(&self, location: &Location, image: &LockedImage) -> anyhow::Result<Place> {
        let location = match location {
            Location::Registry(reference) => {
                Location::Registry(reference.with_digest(image.manifest.digest))
            }
            Location::Disk { .. } => location.clone(),
        };
        Place::open(&location, self.registries)
    }
}

/// The failure where a base is not where it was.
fn moved(place: &Place, image: &LockedImage, error: anyhow::Error) -> Failure {
    Failure::new(format!(
        "{place} does not give the locked base image {}",
        image.manifest.digest
    ))
    .hint("`oxcart lock --upgrade` pins what the base is now")
    .caused_by(error)
}

/// The manifest for `platform`, and the index that lists it.
async fn choose(
    place: &Place,
    top: &Document,
    platform: Platform,
) -> anyhow::Result<(Option<Digest>, Document)> {
    let Kind::Index(index) = Kind::of(place, top)? else {
        return Ok((None, top.clone()));
    };
    let entry = oci::select(&index, platform).map_err(|known| lacks(place, platform, &known))?;
    let manifest = place.document(entry).await?;
    if let Kind::Index(_) = Kind::of(place, &manifest)? {
        return Err(nested(place, &manifest.digest()).into());
    }
    Ok((Some(top.digest()), manifest))
}

fn lacks(place: &Place, platform: Platform, known: &[String]) -> Failure {
    let mut known: Vec<_> = known
        .iter()
        .filter(|name| *name != "unknown/unknown")
        .cloned()
        .collect();
    known.dedup();
    Failure::new(format!("the base {place} has no image for {platform}")).hint(format!(
        "it has {}: leave the platform out of [image] platforms, or use another base",
        if known.is_empty() {
            "none that says its platform".to_owned()
        } else {
            known.join(", ")
        }
    ))
}

/// A single manifest says in its configuration what it is for.
fn check_platform(
    place: &Place,
    config: &Map<String, Value>,
    platform: Platform,
) -> Result<(), Failure> {
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_it = text("os") == platform.os() && text("architecture") == platform.architecture();
    if is_it {
        return Ok(());
    }
    let found = format!("{}/{}", text("os"), text("architecture"));
    Err(lacks(place, platform, &[found]))
}

fn locked(descriptor: &Descriptor) -> Result<LockedDocument, Failure> {
    Ok(LockedDocument {
        media_type: descriptor.media_type().to_string(),
        digest: sha256(descriptor)?,
        size: descriptor.size(),
        content: None,
    })
}

impl LockedDocument {
    fn descriptor(&self) -> Descriptor {
        let media_type = MediaType::from(self.media_type.as_str());
        oci::refer(media_type, &self.digest, self.size)
    }
}

impl LockedImage {
    /// The same by its digests alone.
    pub(crate) fn without_content(&self) -> Self {
        let mut image = self.clone();
        image.config.content = None;
        image
    }

    /// What an image takes over from it, where the lock has all of that.
    pub(crate) fn base(&self) -> Result<Option<oci::Base>, Failure> {
        let Some(content) = &self.config.content else {
            return Ok(None);
        };
        let edited = || {
            Failure::new(format!(
                "the lock's configuration of the base image {} is not {}",
                self.manifest.digest, self.config.digest
            ))
            .hint("it was edited, or merged by hand: get the lock back from version control, or run `oxcart lock`")
        };
        if Digest::of(content.as_bytes()) != self.config.digest {
            return Err(edited());
        }
        let base = oci::Base::of_layers(self.layers.clone(), content.as_bytes());
        base.map(Some).map_err(|error| edited().caused_by(error))
    }
}

/// What is kept of an image that was looked into.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    facts: Facts,
}

fn env(config: &Map<String, Value>) -> Vec<String> {
    let texts = config
        .get("config")
        .and_then(|config| config.get("Env"))
        .and_then(Value::as_array);
    texts
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

async fn scan(place: &Place, layer: &Descriptor, digest: &Digest) -> anyhow::Result<Scan> {
    let mut reader = reader(place, digest, layer.size()).await?;
    let media_type = layer.media_type().to_string();
    let scanned = tokio::task::spawn_blocking(move || {
        let scan = facts::scan(&media_type, &mut reader);
        // The rest as well: only at its end is a blob seen to be what it should be.
        let rest = io::copy(&mut reader, &mut io::sink());
        (scan, rest)
    });
    let (scan, rest) = scanned.await?;
    // Where the stream broke, that is the cause, and not what the reader made of it.
    rest?;
    Ok(scan?)
}

/// The bytes of a blob, for a thread that may wait for them.
pub(crate) async fn reader(
    place: &Place,
    digest: &Digest,
    size: u64,
) -> anyhow::Result<Box<dyn Read + Send>> {
    match place.blob(digest)? {
        crate::place::Bytes::Disk(blob) => Ok(Box::new(blob.reader())),
        crate::place::Bytes::Registry(repository) => pulled(repository, digest, size).await,
    }
}

async fn pulled(
    repository: &Repository,
    digest: &Digest,
    size: u64,
) -> anyhow::Result<Box<dyn Read + Send>> {
    let mut blob = repository.blob(digest, size).await?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move { pump(&mut blob, &sender).await });
    Ok(Box::new(Received {
        receiver,
        chunk: bytes::Bytes::new(),
    }))
}

/// Has a layer in the store that `repository` has.
pub(crate) async fn pull(
    store: &Store,
    repository: &Repository,
    layer: &Layer,
) -> anyhow::Result<()> {
    let reader = pulled(repository, &layer.digest, layer.size).await?;
    let found = keep(store, layer, reader).await?;
    anyhow::ensure!(
        found == layer.digest,
        "it gives {found} for {}",
        layer.digest
    );
    Ok(())
}

/// Keeps what `reader` gives if it is the layer's blob. Returns the digest that it has.
async fn keep(
    store: &Store,
    layer: &Layer,
    mut reader: Box<dyn Read + Send>,
) -> anyhow::Result<Digest> {
    let mut blob = store.new_blob(Use::Layers)?;
    let (blob, copied) = tokio::task::spawn_blocking(move || {
        let copied = io::copy(&mut reader, &mut blob);
        (blob, copied)
    })
    .await?;
    copied?;
    Ok(blob.keep_if(&layer.digest)?)
}

type Chunk = Result<bytes::Bytes, registry::Error>;

async fn pump(blob: &mut BlobReader, sender: &mpsc::Sender<Chunk>) {
    loop {
        let chunk = blob.chunk().await.transpose();
        let last = !matches!(chunk, Some(Ok(_)));
        if let Some(chunk) = chunk
            && sender.send(chunk).await.is_err()
        {
            return;
        }
        if last {
            return;
        }
    }
}

/// What a task of the network sends.
struct Received {
    receiver: mpsc::Receiver<Chunk>,
    chunk: bytes::Bytes,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

/// The base's Python as the lock has it, and the packages of its environment that the image's
/// programs will see.
pub(crate) fn python(
    project: &Project,
    dependencies: &Dependencies,
    facts: &Facts,
) -> Result<Option<(LockedPython, Vec<InstalledPackage>)>, Failure> {
    let Some(python) = facts.python() else {
        return Ok(None);
    };
    let base = &project.base;
    if python.free_threaded {
        return Err(Failure::new(format!(
            "the base {base} has a free-threaded Python {}",
            python.version
        ))
        .hint("this version chooses wheels for Pythons with the global interpreter lock only: use another base"));
    }
    let libc = facts.libc.as_ref().ok_or_else(|| {
        Failure::new(format!("the C library of the base {base} cannot be told"))
            .hint("wheels are chosen by it: use a base with glibc or musl")
    })?;
    let environment = if dependencies.reuse_base {
        match &python.environment.kind {
            EnvironmentKind::System => LockedEnvironment::Seen,
            EnvironmentKind::Venv { .. } => extended(project, &python.environment.prefix)?,
        }
    } else {
        LockedEnvironment::Hidden
    };
    let installed = match environment {
        LockedEnvironment::Hidden => Vec::new(),
        _ => python.environment.packages.iter().map(installed).collect(),
    };
    let locked = LockedPython {
        version: python.version.clone(),
        interpreter: python.interpreter.clone(),
        libc: libc.to_string(),
        environment: Some(environment),
    };
    Ok(Some((locked, installed)))
}

/// The base's virtual environment, which must be where the project wants one, if it wants it anywhere.
fn extended(project: &Project, prefix: &str) -> Result<LockedEnvironment, Failure> {
    match &project.venv {
        Some(stated) if format!("/{stated}") != prefix => Err(Failure::new(format!(
            "[python] venv is /{stated}, and the environment of the base {} is {prefix}",
            project.base
        ))
        .hint("with `reuse-base = true` wheels are added to the base's: leave [python] venv out")),
        _ => Ok(LockedEnvironment::Extended(prefix.to_owned())),
    }
}

fn installed(package: &facts::Package) -> InstalledPackage {
    InstalledPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        metadata: package.metadata.clone(),
    }
}

/// What tells a base on disk from what it was before: the digest that its name has now.
pub(crate) async fn on_disk(
    location: &Location,
    registries: &Registries,
) -> anyhow::Result<Option<Digest>> {
    match location {
        Location::Registry(_) => Ok(None),
        Location::Disk { .. } => {
            let place = Place::open(location, registries)?;
            Ok(Some(place.top().await?.digest()))
        }
    }
}
