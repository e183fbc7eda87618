//! Layers that a lock states, looked for in registries before anything is fetched to build them: in the
//! repository that is pushed to alone, where one is, then in those of `cache-from`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use futures::{StreamExt, TryStreamExt, stream};
use oci::Digest;
use oci::layer::Layer;
use registry::{Pushed, Reference, Repository};

use crate::base;
use crate::diagnostics::Failure;
use crate::mutex::lock;
use crate::progress::Progress;
use crate::project::Project;
use crate::registries::Registries;
use crate::store::Store;
use crate::target::Target;

/// Layers that are asked about at a time.
const QUESTIONS: usize = 16;

/// Layers that are pulled at a time.
const PULLS: usize = 4;

/// Where layers may be that are not here.
pub(crate) struct Remote<'a> {
    target: Option<&'a Target>,
    caches: &'a [Repository],
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
    pub(crate) fn new(
        target: Option<&'a Target>,
        caches: &'a [Repository],
        progress: &'a Progress,
    ) -> Self {
        Self {
            target,
            caches,
            silent: Mutex::default(),
            progress,
        }
    }

    /// Where each of `layers` is. Those in `target` or mounted there are there for good; those that
    /// are nowhere are left out.
    pub(crate) async fn find(&self, layers: Vec<Layer>) -> anyhow::Result<BTreeMap<Digest, Home>> {
        let there = match self.target {
            _ if layers.is_empty() => return Ok(BTreeMap::new()),
            Some(target) => target.ready().await?,
            None => &BTreeSet::new(),
        };
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

    /// Has those of `layers` in the store that a cache has; returns which these are.
    pub(crate) async fn pull(
        &self,
        store: &Store,
        layers: Vec<Layer>,
    ) -> Result<BTreeSet<Digest>, registry::Error> {
        let pull = async |layer: Layer| {
            // Nothing else vouches for it: there is no record of such a layer.
            if store.has_blob(&layer.digest) && store.is_intact(&layer.digest).unwrap_or(false) {
                return Ok(Some(layer.digest));
            }
            let Some(Home::Other(cache)) = self.look(&layer).await? else {
                return Ok(None);
            };
            let pulled = base::pull(store, &cache, &layer).await;
            if let Err(error) = &pulled {
                let (name, why) = (cache.name(), crate::diagnostics::chain(&**error));
                self.progress
                    .warn(&format!("cache-from {name} does not give a layer: {why}"));
            }
            Ok(pulled.is_ok().then_some(layer.digest))
        };
        stream::iter(layers)
            .map(pull)
            .buffer_unordered(PULLS)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await
    }

    async fn look(&self, layer: &Layer) -> Result<Option<Home>, registry::Error> {
        let Layer { digest, size, .. } = layer;
        let target = self.target.map(|it| &it.repository);
        if let Some(target) = target
            && target.has_blob(digest).await? == Some(*size)
        {
            return Ok(Some(Home::Target(Pushed::Present)));
        }
        for cache in self.caches {
            if !self.has(cache, layer).await {
                continue;
            }
            if let Some(target) = target
                && cache.registry() == target.registry()
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
        let silent = || lock(&self.silent);
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
