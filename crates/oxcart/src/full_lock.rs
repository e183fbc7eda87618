//! The layers that a lock states. With them an image's digest is known before anything is fetched, a
//! registry can be asked for a layer that nobody here has built, and a build that gives other bytes is
//! noticed. Layers of the project's own files are not among them: they change with each commit.

use std::collections::{BTreeMap, BTreeSet};

use oci::layer::Layer;
use oci::{DiffId, Digest, Encoder};
use serde::{Deserialize, Serialize};

use crate::build::{BuiltImage, BuiltLayer};
use crate::diagnostics::Failure;
use crate::layers::{self, Job};
use crate::lock::{Lock, LockedPlatform};
use crate::plan::{Plan, Step};
use crate::project::Project;
use crate::store::Store;

/// A layer of one platform's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedLayer {
    /// `base`, `system`, `venv`, `wheel`
    pub(crate) kind: String,
    /// The wheels in it, each with its version. Debian packages say themselves which layer they are in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) members: Vec<String>,
    /// The digest of all that its bytes depend on, the layer format version among it.
    pub(crate) key: Digest,
    /// Of the blob.
    pub(crate) digest: Digest,
    /// Of the tar stream.
    pub(crate) diff_id: DiffId,
    /// Bytes of the blob.
    pub(crate) size: u64,
}

impl LockedLayer {
    fn new(job: &Job, layer: &Layer) -> Self {
        Self {
            kind: job.step.kind().to_owned(),
            members: members(job),
            key: job.key,
            digest: layer.digest,
            diff_id: layer.diff_id,
            size: layer.size,
        }
    }

    /// The encoder is part of the key, and so is the media type.
    fn layer(&self, encoder: Encoder) -> Layer {
        Layer {
            digest: self.digest,
            diff_id: self.diff_id,
            size: self.size,
            media_type: encoder.media_type().to_owned(),
        }
    }

    /// What messages call it.
    fn title(&self) -> String {
        match self.members.as_slice() {
            [] => self.kind.clone(),
            members => members.join(", "),
        }
    }
}

fn members(job: &Job) -> Vec<String> {
    match &job.step {
        Step::Wheels(_) | Step::Part(..) => job.step.members(),
        Step::Debian(..) | Step::Skeleton | Step::Project(..) | Step::App(_) => Vec::new(),
    }
}

/// What is stated of layers, by their keys.
pub(crate) type Stated = BTreeMap<Digest, Layer>;

/// What `lock` states of the layers of all its platforms.
pub(crate) fn stated(lock: &Lock, encoder: Encoder) -> Stated {
    let layers = lock.platforms.iter().flat_map(|it| &it.layers);
    layers.map(|it| (it.key, it.layer(encoder))).collect()
}

/// States in a lock that was just made what is known of its layers: by the store, or by the lock
/// before it, whose entries hold as long as their keys do.
pub(crate) fn carry_over(
    lock: &mut Lock,
    old: Option<&Lock>,
    project: &Project,
    store: &Store,
) -> Result<(), Failure> {
    let old = old.map_or_else(Stated::new, |old| stated(old, project.encoder));
    for platform in &mut lock.platforms {
        let known = |job: &Job| match store.layer(&job.key) {
            Some(record) => Some(record.layer),
            None => old.get(&job.key).cloned(),
        };
        let jobs = layers::shared_jobs(project, &Plan::new(project, platform)?)?;
        let layers = jobs.iter();
        platform.layers = layers
            .filter_map(|job| Some(LockedLayer::new(job, &known(job)?)))
            .collect();
    }
    Ok(())
}

/// States what was built.
pub(crate) fn complete(lock: &mut Lock, images: &[BuiltImage], store: &Store) {
    for image in images {
        let platform = lock.platforms.iter_mut();
        let Some(locked) = platform.into_iter().find(|it| it.name == image.platform) else {
            continue;
        };
        locked.layers = shared(image)
            .map(|built| LockedLayer::new(&built.job, &built.record.layer))
            .collect();
        if let Some(base) = &mut locked.base.image
            && base.config.content.is_none()
        {
            let document = store.document(&base.config.digest);
            base.config.content = document.and_then(|it| String::from_utf8(it).ok());
        }
    }
}

/// What becomes of layers that a lock states and a build has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strays {
    /// They are forgotten once the lock is written.
    Dropped,
    /// They show that the image is not the one that was locked.
    Refused,
}

/// Compares what was built with what `lock` states. `name` is the lock's.
pub(crate) fn compare(
    lock: &Lock,
    images: &[BuiltImage],
    strays: Strays,
    name: &str,
) -> Result<(), Failure> {
    for image in images {
        let Some(locked) = lock.platform(image.platform) else {
            continue;
        };
        for built in shared(image) {
            let same_key = locked.layers.iter().find(|it| it.key == built.job.key);
            if let Some(entry) = same_key.filter(|it| !it.is(&built.record.layer)) {
                return Err(other_bytes(name, image, entry, built));
            }
        }
        if strays == Strays::Refused {
            no_strays(name, locked, image)?;
        }
    }
    Ok(())
}

impl LockedLayer {
    fn is(&self, layer: &Layer) -> bool {
        (self.digest, self.diff_id, self.size) == (layer.digest, layer.diff_id, layer.size)
    }
}

fn shared(image: &BuiltImage) -> impl Iterator<Item = &BuiltLayer> {
    image.layers.iter().filter(|it| it.job.is_shared())
}

/// The failure where the same inputs gave other bytes than the lock states.
fn other_bytes(name: &str, image: &BuiltImage, entry: &LockedLayer, built: &BuiltLayer) -> Failure {
    let layer = &built.record.layer;
    differs(name, image, entry, Some(layer.digest))
        .hint(format!(
            "get {name} back from version control; or remove its [[platform.layer]] entries, and `oxcart lock --layers` writes what its files give"
        ))
        .caused_by(anyhow::anyhow!(
            "what it is made from is what was locked, so the lock's entry was edited, or merged by hand: it states diff_id {} and {} bytes, and the build gives {} and {}",
            entry.diff_id, entry.size, layer.diff_id, layer.size
        ))
}

/// That all layers that `locked` states were built.
fn no_strays(name: &str, locked: &LockedPlatform, image: &BuiltImage) -> Result<(), Failure> {
    let keys: BTreeSet<_> = shared(image).map(|it| it.job.key).collect();
    let Some(stray) = locked.layers.iter().find(|it| !keys.contains(&it.key)) else {
        return Ok(());
    };
    let others_hold = locked.layers.iter().any(|it| keys.contains(&it.key));
    let instead = shared(image)
        .find(|it| it.job.step.kind() == stray.kind && members(&it.job) == stray.members);
    let cause = match (others_hold, instead) {
        (true, Some(_)) => {
            "a file that it is made from is another one than when it was locked: its sha256 in the lock was changed"
        }
        (true, None) => {
            "its members were changed, or share a layer with others now: [image] max-layers, or the lock's packages"
        }
        (false, _) => {
            "no layer has the key that it was locked with: [image] compression, [python] venv or what else all layers depend on was changed"
        }
    };
    Err(
        differs(name, image, stray, instead.map(|it| it.record.layer.digest))
            .hint("if that is meant, run `oxcart lock --layers`, or build without --locked, and commit the lock")
            .caused_by(anyhow::anyhow!(cause)),
    )
}

fn differs(name: &str, image: &BuiltImage, entry: &LockedLayer, found: Option<Digest>) -> Failure {
    let found = found.map_or_else(
        || "the build has no such layer".to_owned(),
        |digest| format!("the build gives {digest}"),
    );
    Failure::new(format!(
        "{name} states another layer ({}) for {}: {}, and {found}",
        entry.title(),
        image.platform,
        entry.digest
    ))
}
