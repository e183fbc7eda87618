//! Where `build --push` goes: one repository and its tags, whole or joined to what is there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{join, join_all};
use oci::Digest;
use oci_spec::image::{ImageIndex, ImageManifest};
use registry::{Manifest, Pushed, Reference, Repository};
use tokio::sync::{Mutex, OnceCell};
use tokio::task::JoinHandle;

use crate::base::Bases;
use crate::build::{Built, BuiltLayer};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::github;
use crate::join::{self, Joining, Others};
use crate::place::{self, Document};
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::push::{self, Delivered, Shipment};
use crate::registries::Registries;
use crate::store::Store;

/// A repository, and the tags that the image gets there.
pub(crate) struct Target {
    reference: Reference,
    pub(crate) repository: Repository,
    tags: Vec<String>,
    join: bool,
    /// Repositories that may have layers of the image.
    pub(crate) caches: Vec<Repository>,
    /// What is asked of the registry while the build begins.
    asking: Mutex<Option<JoinHandle<Answer>>>,
    there: OnceCell<BTreeSet<Digest>>,
    /// Whether it has lost some of that.
    doubtful: AtomicBool,
}

static NOTHING: BTreeSet<Digest> = BTreeSet::new();

/// Whether the registry lets us push, and the blobs that it is known to have.
type Answer = Result<BTreeSet<Digest>, registry::Error>;

/// What was pushed.
pub(crate) struct PushedImage {
    pub(crate) delivered: Delivered,
    /// What the first tag names.
    pub(crate) index: Document,
    /// Each tag with its digest.
    pub(crate) references: Vec<String>,
}

/// The name that an image is pushed under, as it is stated.
pub(crate) fn reference(name: Option<&str>) -> anyhow::Result<Reference> {
    let name = name.ok_or_else(|| {
        Failure::new("the image has no name to be pushed under").hint(
            "set [image] name, as in \"ghcr.io/acme/backend\", or use --name; in GitHub Actions, GITHUB_REPOSITORY gives it",
        )
    })?;
    let reference: Reference = name.parse()?;
    if reference.digest().is_some() || name.rsplit('/').next().is_some_and(|it| it.contains(':')) {
        return Err(
            Failure::new(format!("the image's name `{name}` has a tag or a digest"))
                .hint("leave it out of the name, and give tags with --tag")
                .into(),
        );
    }
    Ok(reference)
}

impl Target {
    /// Opens the repository, and begins to ask on `fetcher`'s threads what [`Target::ready`] waits for.
    pub(crate) fn open(
        reference: Reference,
        tags: &[String],
        join: bool,
        caches: Vec<Repository>,
        registries: &Registries,
        fetcher: &Fetcher,
    ) -> anyhow::Result<Self> {
        let repository = registries.repository(&reference)?;
        let asking = fetcher.start(ask(repository.clone(), tags.to_vec()));
        Ok(Self {
            repository,
            reference,
            tags: tags.to_vec(),
            join,
            caches,
            asking: Mutex::new(Some(asking)),
            there: OnceCell::new(),
            doubtful: AtomicBool::new(false),
        })
    }

    /// Waits until the registry has said that it lets us push: to be called before anything that takes long.
    /// Gives blobs that the repository has, which need not be asked about: those of the images that the tags
    /// name now, unless that was wrong once.
    pub(crate) async fn ready(&self) -> anyhow::Result<&BTreeSet<Digest>> {
        let answer = || async {
            match self.asking.lock().await.take() {
                Some(asking) => anyhow::Ok(asking.await??),
                None => Ok(ask(self.repository.clone(), self.tags.clone()).await?),
            }
        };
        let there = self.there.get_or_try_init(answer).await?;
        let is_doubtful = self.doubtful.load(Ordering::Relaxed);
        Ok(if is_doubtful { &NOTHING } else { there })
    }

    /// Whether `error` may say that the registry has lost what an image under one of the tags consists of. Nothing
    /// is taken to be there from then on, so it is worth to build and push once more.
    pub(crate) fn doubts(&self, error: &anyhow::Error) -> bool {
        let trusted = self.there.get().is_some_and(|there| !there.is_empty());
        trusted && lacks_blob(error) && !self.doubtful.swap(true, Ordering::Relaxed)
    }

    /// Has the blob of a layer in the repository.
    pub(crate) async fn put_layer(
        &self,
        layer: &BuiltLayer,
        store: &Store,
    ) -> anyhow::Result<Pushed> {
        if self.ready().await?.contains(&layer.record.layer.digest) {
            return Ok(Pushed::Present);
        }
        push::put_layer(&self.repository, layer, &self.caches, store).await
    }

    /// Pushes everything, and puts the index under each tag.
    pub(crate) async fn push(
        &self,
        project: &Project,
        built: &Built,
        bases: Bases<'_>,
    ) -> anyhow::Result<PushedImage> {
        for text in github::too_long(&project.annotations) {
            bases.progress.warn(&text);
        }
        let base = match &project.base {
            Base::Image { location, .. } => Some(location),
            Base::Debian(_) | Base::Scratch => None,
        };
        let shipment = Shipment::of_built(built, base, &self.caches, bases)?;
        let there = self.ready().await?;
        let delivered = shipment.deliver(&self.repository, there, bases).await?;
        let name = self.repository.name();
        bases
            .progress
            .line(&format!("pushed to {name}: {}", delivered.account()));
        let mut first = None;
        let mut references = Vec::new();
        for tag in &self.tags {
            let reference = self.reference.with_tag(tag);
            let index = if self.join {
                self.join(tag, project, &shipment, bases.progress).await?
            } else {
                self.tell_of_losses(tag, project, built, bases.progress)
                    .await?;
                if delivered.is_new {
                    push::put(&self.repository, tag, &shipment.top).await?;
                } else {
                    push::tag(&self.repository, tag, &shipment.top).await?;
                }
                shipment.top.clone()
            };
            bases.progress.line(&format!("tagged {reference}"));
            references.push(format!("{reference}@{}", index.digest()));
            first.get_or_insert(index);
        }
        Ok(PushedImage {
            delivered,
            index: first.unwrap_or(shipment.top),
            references,
        })
    }

    async fn join(
        &self,
        tag: &str,
        project: &Project,
        shipment: &Shipment,
        progress: &Progress,
    ) -> anyhow::Result<Document> {
        let manifests = shipment.manifests.iter();
        let joining = Joining {
            manifests: manifests
                .map(|parcel| parcel.document.descriptor.clone())
                .collect(),
            annotations: project.annotations.clone(),
            others: Others::Stay,
        };
        join::join(&self.repository, tag, &joining, progress).await
    }

    /// Tells of the platforms that the tag has now and will not have any more.
    async fn tell_of_losses(
        &self,
        tag: &str,
        project: &Project,
        built: &Built,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        if built.images.len() < project.platforms.len() {
            let ours = built.images.iter().map(|it| it.platform.to_string());
            let ours: Vec<_> = ours.collect();
            let there = join::platforms(&self.repository, tag).await?;
            let lost: Vec<_> = there.into_iter().filter(|it| !ours.contains(it)).collect();
            if !lost.is_empty() {
                progress.warn(&format!(
                    "{} loses {}: with --join they would stay",
                    self.reference.with_tag(tag),
                    lost.join(", ")
                ));
            }
        }
        Ok(())
    }
}

fn lacks_blob(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|it| {
        it.downcast_ref::<registry::Error>()
            .is_some_and(registry::Error::may_lack_blob)
    })
}

async fn ask(repository: Repository, tags: Vec<String>) -> Answer {
    let named = tags.iter().map(|tag| named_by(&repository, tag));
    let (may_push, named) = join(repository.check_push(), join_all(named)).await;
    may_push?;
    Ok(named.into_iter().flatten().flatten().collect())
}

/// The blobs of the image that `tag` names, or of all its platforms: the registry saw them when it took the
/// image. It spares questions and nothing else, so what cannot be read is passed over.
async fn named_by(repository: &Repository, tag: &str) -> Option<BTreeSet<Digest>> {
    let top = repository.find_manifest(tag).await.ok()??;
    let Ok(index) = serde_json::from_slice::<ImageIndex>(&top.bytes) else {
        return Some(blobs_of(&top));
    };
    let manifests = index.manifests().iter();
    let manifests = manifests.map(|it| async {
        let manifest = repository.manifest_of(it).await.ok()?;
        Some(blobs_of(&manifest))
    });
    let all = join_all(manifests).await;
    Some(all.into_iter().flatten().flatten().collect())
}

fn blobs_of(manifest: &Manifest) -> BTreeSet<Digest> {
    let manifest = serde_json::from_slice::<ImageManifest>(&manifest.bytes);
    manifest.map_or_else(
        |_| BTreeSet::new(),
        |it| place::blobs(&it).filter_map(oci::digest_of).collect(),
    )
}
