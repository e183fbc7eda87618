//! Layers that a lock states, looked for in registries before anything is fetched to build them: in the
//! repository that is pushed to, then in those of `cache-from`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use oci::Digest;
use oci::layer::Layer;
use registry::{Pushed, Reference, Repository};

use crate::diagnostics::Failure;
use crate::progress::Progress;
use crate::project::Project;
use crate::registries::Registries;
use crate::target::Target;

/// Layers that are asked about at a time.
const QUESTIONS: usize = 16;

/// Where layers may be that are not here.
pub(crate) struct Remote<'a> {
    target: &'a Target,
    /// Caches that did not answer: they are asked once.
    silent: Mutex<BTreeSet<String>>,
    progress: &'a Progress,
}

/// Where a layer's blob is.
#[derive(Debug, Clone)]
pub(crate) enum Home {
    /// Here: as a blob, or as what one is made of.
    Store,
    /// In the repository that is pushed to, and how it came to be there.
    Target(Pushed),
    /// In a repository that it can be copied from.
    Other(Repository),
}

/// The repositories that the project and the command line name as `cache-from`.
pub(crate) fn caches(
    project: &Project,
    named: &[String],
    registries: &Registries,
) -> anyhow::Result<Vec<Repository>> {
    project
        .cache_from
        .iter()
        .chain(named)
        .map(|name| {
            let reference: Reference = name.parse()?;
            let is_more = reference.digest().is_some()
                || name.rsplit('/').next().is_some_and(|it| it.contains(':'));
            if is_more {
                return Err(
                    Failure::new(format!("cache-from `{name}` has a tag or a digest"))
                        .hint("name the repository alone: layers of all its images are looked for")
                        .into(),
                );
            }
            registries.repository(&reference)
        })
        .collect()
}

impl<'a> Remote<'a> {
    pub(crate) fn new(target: &'a Target, progress: &'a Progress) -> Self {
        Self {
            target,
            silent: Mutex::default(),
            progress,
        }
    }

    /// Where each of `layers` is. Those in `target` or mounted there are there for good; those that
    /// are nowhere are left out.
    pub(crate) async fn find(&self, layers: Vec<Layer>) -> anyhow::Result<BTreeMap<Digest, Home>> {
        let there = self.target.ready().await?;
        stream::iter(layers)
            .map(|layer| async move {
                let home = if there.contains(&layer.digest) {
                    Some(Home::Target(Pushed::Present))
                } else {
                    self.look(&layer).await?
                };
                Ok(home.map(|home| (layer.digest, home)))
            })
            .buffer_unordered(QUESTIONS)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await
    }

    async fn look(&self, layer: &Layer) -> Result<Option<Home>, registry::Error> {
        let Layer { digest, size, .. } = layer;
        let target = &self.target.repository;
        if target.has_blob(digest).await? == Some(*size) {
            return Ok(Some(Home::Target(Pushed::Present)));
        }
        for cache in &self.target.caches {
            if !self.has(cache, layer).await {
                continue;
            }
            if cache.registry() == target.registry()
                && target.mount_blob(digest, cache.path()).await?
            {
                let from = cache.path().to_owned();
                return Ok(Some(Home::Target(Pushed::Mounted { from })));
            }
            return Ok(Some(Home::Other(cache.clone())));
        }
        Ok(None)
    }

    /// Whether `cache` has a layer. One that cannot be asked has none: a cache is a convenience.
    async fn has(&self, cache: &Repository, layer: &Layer) -> bool {
        let silent = || self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let name = cache.name();
        if silent().contains(&name) {
            return false;
        }
        match cache.has_blob(&layer.digest).await {
            Ok(size) => size == Some(layer.size),
            Err(error) => {
                let text = crate::diagnostics::chain(&error);
                self.progress
                    .warn(&format!("cache-from {name} is left out: {text}"));
                silent().insert(name);
                false
            }
        }
    }
}
