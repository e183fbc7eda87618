//! The client, and the repositories it opens.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use url::Url;

use crate::auth::Purpose;
use crate::registry::Registry;
use crate::scope::Scopes;
use crate::shared::{Shared, lock};
use crate::{Error, Options, Reference};

/// A client of registries. Clones share connections, tokens and what was learned.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

impl Client {
    /// A client; no request is made yet.
    ///
    /// # Errors
    /// A file of certificates that cannot be used.
    pub fn new(options: Options) -> Result<Self, Error> {
        Ok(Self(Arc::new(Shared::new(options)?)))
    }

    /// The repository of `reference`.
    pub fn repository(&self, reference: &Reference) -> Repository {
        let host = reference.registry();
        let registry = lock(&self.0.registries)
            .entry(host.to_owned())
            .or_insert_with(|| Arc::new(Registry::new(host)))
            .clone();
        let name = reference.repository().to_owned();
        Repository(Arc::new(Inner {
            shared: self.0.clone(),
            pull: Scopes::pull(&name),
            push: Scopes::push(&name),
            unmountable: Mutex::default(),
            registry,
            name,
        }))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// One repository of one registry. Clones share what was learned.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    /// Without the registry: `library/python`.
    name: String,
    pull: Scopes,
    push: Scopes,
    /// Repositories that blobs could not be mounted from.
    unmountable: Mutex<BTreeSet<String>>,
}

impl Repository {
    /// The registry's host and port: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.0.registry.host
    }

    /// Registry and repository: `docker.io/library/python`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry(), self.0.name)
    }

    /// The repository without the registry: `library/python`.
    pub fn path(&self) -> &str {
        &self.0.name
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.name())
    }
}

// For the other modules of this crate.
impl Repository {
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn host(&self) -> &Registry {
        &self.0.registry
    }

    /// The name of what `target`, a tag or a digest, refers to.
    pub(crate) fn name_of(&self, target: &str) -> String {
        let separator = if target.contains(':') { '@' } else { ':' };
        format!("{}{separator}{target}", self.name())
    }

    pub(crate) fn to_pull<'a>(&'a self, action: &'a str) -> Purpose<'a> {
        Purpose {
            repository: &self.0.name,
            scopes: &self.0.pull,
            action,
        }
    }

    pub(crate) fn to_push<'a>(&'a self, action: &'a str) -> Purpose<'a> {
        Purpose {
            repository: &self.0.name,
            scopes: &self.0.push,
            action,
        }
    }

    /// The scopes to mount a blob of `source` here.
    pub(crate) fn mount_scopes(&self, source: &str) -> Scopes {
        self.0.push.clone().union(&Scopes::pull(source))
    }

    pub(crate) fn is_mountable(&self, source: &str) -> bool {
        source != self.0.name && !lock(&self.0.unmountable).contains(source)
    }

    pub(crate) fn is_unmountable(&self, source: &str) {
        lock(&self.0.unmountable).insert(source.to_owned());
    }

    /// `<registry>/v2/<repository>/<parts…>`.
    pub(crate) async fn url(&self, parts: &[&str], action: &str) -> Result<Url, Error> {
        let mut url = self.host().base(self.shared(), action).await?.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(self.0.name.split('/'))
                .extend(parts);
        }
        Ok(url)
    }
}
