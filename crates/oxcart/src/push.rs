//! Pushing an image: what it consists of, in the order that a registry has to get it. Blobs first,
//! then the manifests that name them; what names the whole goes last, so that no reader finds a name
//! whose content is missing (distribution-spec, section Pushing Manifests).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use oci::{Digest, MediaType};
use oci_spec::image::ImageManifest;
use registry::{Content, Pushed, Repository, Upload};

use crate::base::Bases;
use crate::build::{Built, BuiltImage, BuiltLayer};
use crate::commands::bytes;
use crate::metadata::LayerState;
use crate::output::made_blob;
use crate::place::{self, Document, Images, Location, Place, sha256};
use crate::plan::Step;
use crate::remote::Home;
use crate::store::Store;

/// Blobs that go out at a time.
pub(crate) const PARALLEL: usize = 4;
/// Requests about manifests at a time.
const QUESTIONS: usize = 8;

/// An image, or several under one index, to be pushed.
pub(crate) struct Shipment {
    pub(crate) manifests: Vec<Parcel>,
    /// What names the whole: the index, or the only manifest.
    pub(crate) top: Document,
    /// Repositories that may have its blobs, besides where these come from.
    caches: Vec<Repository>,
}

/// A manifest and the blobs it names.
pub(crate) struct Parcel {
    pub(crate) document: Document,
    blobs: Vec<Freight>,
}

/// A blob and where it is now.
#[derive(Clone)]
struct Freight {
    digest: Digest,
    size: u64,
    content: Content,
    /// The repository that it comes from.
    home: Option<Repository>,
    /// How it came to be in the repository already, where that is known.
    there: Option<Pushed>,
    /// Whether it is new in this build.
    is_new: bool,
}

/// What became of the blobs.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) blobs: BTreeMap<Digest, Pushed>,
    /// Whether a manifest came that was not there, so that what names the whole was not there either.
    pub(crate) is_new: bool,
}

impl Shipment {
    /// What was built, with the layers of base images, and others that are elsewhere, from there.
    pub(crate) fn of_built(
        built: &Built,
        base: Option<&Location>,
        caches: &[Repository],
        bases: Bases<'_>,
    ) -> anyhow::Result<Self> {
        let manifests = built
            .images
            .iter()
            .map(|image| parcel(image, base, bases))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            manifests,
            top: Document {
                descriptor: built.index.descriptor.clone(),
                bytes: built.index.bytes.clone(),
            },
            caches: caches.to_vec(),
        })
    }

    /// What is at a place.
    pub(crate) fn of_images(place: &Place, images: &Images) -> anyhow::Result<Self> {
        let parcel = |document: &Document| {
            let manifest: ImageManifest = document.parsed()?;
            let blobs = place::blobs(&manifest).map(|blob| {
                let digest = sha256(blob)?;
                Ok(Freight {
                    digest,
                    size: blob.size(),
                    content: place.content(digest),
                    home: place.repository().cloned(),
                    there: None,
                    is_new: false,
                })
            });
            Ok(Parcel {
                document: document.clone(),
                blobs: blobs.collect::<anyhow::Result<_>>()?,
            })
        };
        Ok(Self {
            manifests: images
                .manifests
                .iter()
                .map(parcel)
                .collect::<anyhow::Result<_>>()?,
            top: images.top.clone(),
            caches: Vec::new(),
        })
    }

    /// Has everything in `repository` afterwards but what names the whole: blobs, then manifests. A
    /// manifest that is there has its blobs there, as its registry saw when it came; so are those in
    /// `known` there.
    pub(crate) async fn deliver(
        &self,
        repository: &Repository,
        known: &BTreeSet<Digest>,
        bases: Bases<'_>,
    ) -> anyhow::Result<Delivered> {
        let present: Vec<bool> = stream::iter(&self.manifests)
            .map(|parcel| async move {
                let digest = parcel.document.digest().to_string();
                Ok::<_, registry::Error>(repository.resolve(&digest).await?.is_some())
            })
            .buffered(QUESTIONS)
            .try_collect()
            .await?;
        let mut delivered = Delivered::default();
        let mut missing = BTreeMap::new();
        let (mut there, mut new) = (Vec::new(), Vec::new());
        for (parcel, present) in self.manifests.iter().zip(present) {
            if present { &mut there } else { &mut new }.push(parcel);
        }
        for freight in there.iter().flat_map(|parcel| &parcel.blobs) {
            delivered.blobs.insert(freight.digest, Pushed::Present);
        }
        for freight in new.iter().flat_map(|parcel| &parcel.blobs) {
            if let Some(pushed) = &freight.there {
                delivered.blobs.insert(freight.digest, pushed.clone());
            } else if known.contains(&freight.digest) {
                delivered.blobs.insert(freight.digest, Pushed::Present);
            } else if !delivered.blobs.contains_key(&freight.digest) {
                missing.insert(freight.digest, freight.clone());
            }
        }
        let mut missing: Vec<_> = missing.into_values().collect();
        missing.sort_by_key(|freight| (std::cmp::Reverse(freight.size), freight.digest));
        let total = missing.iter().map(|freight| freight.size).sum();
        bases
            .registries
            .show(Some(bases.progress.bytes("Pushing", total)));
        let pushed: Vec<_> = stream::iter(missing)
            .map(|freight| async move {
                let pushed = freight.push(repository, &self.caches, bases.store).await?;
                bases.store.done_with(&freight.digest);
                Ok::<_, anyhow::Error>((freight.digest, pushed))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        bases.registries.show(None);
        delivered.blobs.extend(pushed);
        try_join_all(new.iter().map(|parcel| async {
            let document = &parcel.document;
            put(repository, &document.digest().to_string(), document).await
        }))
        .await?;
        delivered.is_new = !new.is_empty();
        for digest in delivered.blobs.keys() {
            bases.store.done_with(digest);
            bases
                .store
                .note_home(repository.registry(), digest, repository.path());
        }
        Ok(delivered)
    }
}

/// Puts `document` under `target`, a tag or its digest.
pub(crate) async fn put(
    repository: &Repository,
    target: &str,
    document: &Document,
) -> anyhow::Result<()> {
    let media_type = document.descriptor.media_type().to_string();
    repository
        .push_manifest(target, &media_type, &document.bytes)
        .await
        .with_context(|| format!("{}:{target} cannot be written", repository.name()))
}

/// Puts `document` under `tag`, unless that names it already.
pub(crate) async fn tag(
    repository: &Repository,
    tag: &str,
    document: &Document,
) -> anyhow::Result<()> {
    let there = repository.resolve(tag).await?;
    if there.and_then(|it| oci::digest_of(&it)) == Some(document.digest()) {
        return Ok(());
    }
    put(repository, tag, document).await
}

/// Has the blob of a layer in `repository`, ahead of the image that it is for: without a manifest that names it,
/// it is nothing to anybody.
pub(crate) async fn put_layer(
    repository: &Repository,
    layer: &BuiltLayer,
    caches: &[Repository],
    store: &Store,
) -> anyhow::Result<Pushed> {
    let freight = Freight::of_layer(layer, store);
    freight.push(repository, caches, store).await
}

impl Freight {
    fn of_layer(layer: &BuiltLayer, store: &Store) -> Self {
        let (store, made) = (store.clone(), layer.clone());
        let written = Content::Written(Arc::new(move |out| Ok(made_blob(&made, &store, out)?)));
        let (content, home, there) = match &layer.home {
            Home::Store => (written, None, None),
            Home::Target(pushed) => (written, None, Some(pushed.clone())),
            Home::Other(other) => (Content::Blob(other.clone()), Some(other.clone()), None),
        };
        Self {
            digest: layer.record.layer.digest,
            size: layer.record.layer.size,
            content,
            home,
            there,
            is_new: layer.state == LayerState::Built
                && matches!(layer.job.step, Step::Project(..) | Step::App(_)),
        }
    }

    async fn push(
        &self,
        repository: &Repository,
        caches: &[Repository],
        store: &Store,
    ) -> anyhow::Result<Pushed> {
        let near = |it: &&Repository| it.registry() == repository.registry();
        let path = |it: &Repository| it.path().to_owned();
        let mut mount_from: Vec<_> = self.home.iter().filter(near).map(path).collect();
        mount_from.extend(
            store
                .homes(repository.registry(), &self.digest)
                .into_iter()
                .rev(),
        );
        mount_from.extend(caches.iter().filter(near).map(path));
        mount_from.retain(|home| home != repository.path());
        let upload = Upload {
            digest: self.digest,
            size: self.size,
            mount_from: &mount_from,
            is_new: self.is_new,
            content: self.content.clone(),
        };
        repository
            .push_blob(&upload)
            .await
            .with_context(|| format!("blob {} cannot be pushed", self.digest))
    }
}

impl Delivered {
    /// Bytes and number of blobs that were uploaded.
    fn uploaded(&self) -> (u64, usize) {
        let sizes = self.blobs.values().filter_map(|pushed| match pushed {
            Pushed::Uploaded { bytes } => Some(*bytes),
            _ => None,
        });
        (sizes.clone().sum(), sizes.count())
    }

    /// One line: how many blobs went which way.
    pub(crate) fn account(&self) -> String {
        let count =
            |wanted: fn(&Pushed) -> bool| self.blobs.values().filter(|it| wanted(it)).count();
        let (size, uploaded) = self.uploaded();
        format!(
            "{uploaded} blobs uploaded ({}), {} mounted, {} there already",
            bytes(size),
            count(|it| matches!(it, Pushed::Mounted { .. })),
            count(|it| *it == Pushed::Present)
        )
    }
}

fn parcel(built: &BuiltImage, base: Option<&Location>, bases: Bases<'_>) -> anyhow::Result<Parcel> {
    let mut blobs = Vec::new();
    if let (Some(location), Some(image)) = (base, &built.base) {
        let place = bases.pinned(location, image)?;
        for layer in &image.layers {
            blobs.push(Freight {
                digest: layer.digest,
                size: layer.size,
                content: if bases.store.has_blob(&layer.digest) {
                    stored(bases.store, layer.digest)
                } else {
                    place.content(layer.digest)
                },
                home: place.repository().cloned(),
                there: None,
                is_new: false,
            });
        }
    }
    let of_layer = |layer| Freight::of_layer(layer, bases.store);
    blobs.extend(built.layers.iter().map(of_layer));
    let config: Arc<[u8]> = built.image.config.clone().into();
    blobs.push(Freight {
        digest: Digest::of(&config),
        size: config.len() as u64,
        content: Content::Written(Arc::new(move |out| Ok(out.write_all(&config)?))),
        home: None,
        there: None,
        is_new: true,
    });
    let mut descriptor = oci::describe(MediaType::ImageManifest, &built.image.manifest);
    descriptor.set_platform(Some(built.platform.into()));
    Ok(Parcel {
        document: Document {
            descriptor,
            bytes: built.image.manifest.clone(),
        },
        blobs,
    })
}

fn stored(store: &Store, digest: Digest) -> Content {
    let store = store.clone();
    Content::Written(Arc::new(move |out| {
        let source = store.source(&digest, &digest.to_string())?;
        std::io::copy(&mut source.range(0, source.size()), out)?;
        Ok(())
    }))
}
