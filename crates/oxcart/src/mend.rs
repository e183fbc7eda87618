//! Damage in the store: what a disk, a full file system or a stray program did to files that have their
//! names. It is noticed when something made from them is not what it should be; then this finds what is
//! wrong and removes it, so that it is fetched or built again.

use std::collections::BTreeSet;

use oci::Digest;

use crate::diagnostics::Failure;
use crate::layers::Job;
use crate::lock::LockedImage;
use crate::plan::{Plan, Step};
use crate::progress::Progress;
use crate::store::{Kept, Store};

/// Whether damage in the store may have caused `error`, and some was found in what `plans` and their `jobs` use.
/// It is removed then: what failed can be done again.
pub(crate) fn is_mended<'a>(
    error: &anyhow::Error,
    store: &Store,
    plans: &[Plan],
    jobs: impl Iterator<Item = &'a Job>,
    progress: &Progress,
) -> bool {
    let damaged = if may_be_damage(error) {
        mend(store, plans, jobs).unwrap_or_default()
    } else {
        Vec::new()
    };
    tell(&damaged, progress);
    !damaged.is_empty()
}

/// Removes what is damaged of blobs, given with what messages call them; returns whether any was.
pub(crate) fn mend_blobs<'a>(
    store: &Store,
    blobs: impl Iterator<Item = (Digest, &'a str)>,
    progress: &Progress,
) -> Result<bool, Failure> {
    let mut mending = Mending::new(store);
    for (digest, name) in blobs {
        mending.blob(&digest, || name.to_owned())?;
    }
    tell(&mending.removed, progress);
    Ok(!mending.removed.is_empty())
}

fn tell(damaged: &[String], progress: &Progress) {
    for name in damaged {
        progress.warn(&format!(
            "{name} is damaged in the store: it is removed, and had anew"
        ));
    }
}

/// Whether damage in the store may have caused `error`.
fn may_be_damage(error: &anyhow::Error) -> bool {
    // Of a registry's errors those about the bytes that go out; the rest are the registry's own.
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<registry::Error>())
        .is_none_or(|error| {
            matches!(
                error,
                registry::Error::Source { .. }
                    | registry::Error::SourceDigest { .. }
                    | registry::Error::SourceSize { .. }
            )
        })
}

/// Removes everything damaged among what `plans` and their `jobs` use; returns what messages call it.
fn mend<'a>(
    store: &Store,
    plans: &[Plan],
    jobs: impl Iterator<Item = &'a Job>,
) -> Result<Vec<String>, Failure> {
    let mut mending = Mending::new(store);
    for image in plans.iter().filter_map(|plan| plan.image.as_ref()) {
        mending.base(image)?;
    }
    for job in jobs {
        mending.job(job)?;
    }
    Ok(mending.removed)
}

struct Mending<'a> {
    store: &'a Store,
    looked_at: BTreeSet<Digest>,
    removed: Vec<String>,
}

impl<'a> Mending<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            looked_at: BTreeSet::new(),
            removed: Vec::new(),
        }
    }

    fn base(&mut self, image: &LockedImage) -> Result<(), Failure> {
        for layer in &image.layers {
            self.blob(&layer.digest, || {
                format!("layer {} of the base", layer.digest)
            })?;
        }
        Ok(())
    }

    fn job(&mut self, job: &Job) -> Result<(), Failure> {
        match &job.step {
            Step::Debian(_, debs) => {
                for deb in debs {
                    self.blob(&deb.sha256.0, || deb.path.clone())?;
                }
            }
            step => {
                for wheel in step.wheels() {
                    self.blob(&wheel.sha256.0, || wheel.filename.clone())?;
                }
            }
        }
        let Some(record) = self.store.layer(&job.key) else {
            return Ok(());
        };
        let title = || format!("the layer with {}", job.step.title());
        match record.kept {
            Kept::Blob => self.blob(&record.layer.digest, title),
            // Of one whose wheels are not here nothing can be told, until they are.
            Kept::Map if !job.sources().iter().all(|it| self.store.has_blob(it)) => Ok(()),
            Kept::Nothing => Ok(()),
            Kept::Map => {
                if self.looked_at.insert(job.key) && !self.store.gives_its_blob(&job.key, &record) {
                    self.store.remove_layer(&job.key)?;
                    self.removed.push(title());
                }
                Ok(())
            }
        }
    }

    fn blob(&mut self, digest: &Digest, name: impl FnOnce() -> String) -> Result<(), Failure> {
        let is_new = self.looked_at.insert(*digest);
        if is_new && self.store.has_blob(digest) && !self.store.is_intact_now(digest)? {
            self.store.remove_blob(digest)?;
            self.removed.push(name());
        }
        Ok(())
    }
}
