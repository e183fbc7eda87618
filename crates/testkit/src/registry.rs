//! A registry over HTTP (distribution-spec 1.1), with tokens and with the faults that registries are
//! known to have. It keeps an account of requests, and of what clients do against the specification.

mod auth;
mod blobs;
mod commit;
mod exchange;
mod fault;
mod log;
mod manifests;
mod permission;
mod profiles;
mod reply;
mod route;
mod serve;
mod state;
mod tokens;
mod uploads;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::body::Bytes;
use oci::Digest;

pub use self::auth::Access;
pub use self::fault::{RegistryFault, RetryAfter, Site, When};
pub use self::log::{Host, Kind, RegistryRequest};
pub use self::profiles::{Profile, profiles};

use self::auth::{Auth, Mode};
use self::exchange::{Inner, Shared};
use self::fault::Faults;
use self::log::Log;
use self::serve::Serving;
use self::state::{Blob, Manifest, State};
use crate::server::lock;

/// A registry on a free port of 127.0.0.1, stopped when it is dropped. Signed redirects and
/// `Location`s of some faults lead to a second server on 127.0.0.2.
///
/// A manifest is refused when something that it refers to is not in its repository, so no tag is
/// ever incomplete. Everything is kept in memory.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    _serving: Serving,
}

impl Registry {
    /// An empty registry that everyone may read and write.
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// The same on a given port.
    pub fn start_at(port: u16) -> Self {
        let (listener, registry) = serve::listen(1, port);
        let (other, foreign) = serve::listen(2, 0);
        let shared = Arc::new(Shared {
            registry,
            foreign,
            inner: Mutex::new(Inner {
                state: State::default(),
                auth: Auth::new(),
                faults: Faults::new(),
                log: Log::default(),
            }),
        });
        let serving = Serving::start(Arc::clone(&shared), listener, other);
        Self {
            shared,
            _serving: serving,
        }
    }

    /// A registry that asks for this user and password in each request (RFC 7617).
    pub fn with_basic_auth(user: &str, password: &str) -> Self {
        let registry = Self::start();
        registry
            .require(Mode::Basic)
            .account(user, password, Access::Push);
        registry
    }

    /// A registry that asks for a token, which this user gets for pushing, and others not at all.
    pub fn with_token_auth(user: &str, password: &str) -> Self {
        let registry = Self::start();
        registry
            .require(Mode::Token)
            .account(user, password, Access::Push);
        registry
    }

    fn require(&self, mode: Mode) -> &Self {
        self.inner().auth.mode = mode;
        self
    }

    /// Adds or changes an account.
    pub fn account(&self, user: &str, password: &str, access: Access) -> &Self {
        self.inner().auth.add(user, password, access);
        self
    }

    /// Everyone may pull. In a registry with tokens a token is still needed.
    pub fn anonymous_pull(&self) -> &Self {
        self.inner().auth.anonymous_pull = true;
        self
    }

    /// A repository that no account may see.
    pub fn private(&self, repository: &str) -> &Self {
        self.inner().auth.private.insert(repository.to_owned());
        self
    }

    /// An identity token of a user, for a `refresh_token` grant, or in place of a password.
    pub fn identity_token(&self, user: &str) -> String {
        let mut inner = self.inner();
        let token = format!("identity-{}", inner.state.opaque());
        inner.auth.add_identity(user, &token);
        token
    }

    /// How long tokens are good that are given from now on: 5 minutes if nothing is said.
    pub fn token_lifetime(&self, lifetime: Duration) -> &Self {
        self.inner().auth.lifetime = lifetime;
        self
    }

    /// Ends all tokens.
    pub fn revoke_tokens(&self) -> &Self {
        self.inner().auth.revoke();
        self
    }

    /// Passwords, tokens and signatures so far, for tests that look for them where they must not be.
    pub fn secrets(&self) -> Vec<String> {
        let inner = self.inner();
        let mut secrets = inner.auth.secrets();
        secrets.extend(inner.state.signatures.iter().cloned());
        secrets
    }

    /// Keeps digests and sizes of blobs from now on, and not their bytes: they cannot be pulled.
    pub fn discard_blobs(&self) -> &Self {
        self.inner().state.discard_blobs = true;
        self
    }

    /// Answers with so many tags or referrers at most, and a link to the next ones.
    pub fn page_size(&self, entries: usize) -> &Self {
        self.inner().state.page_size = Some(entries);
        self
    }

    /// Several clients push at once: that one uploads what another has is no violation.
    pub fn several_clients(&self) -> &Self {
        self.inner().state.several_clients = true;
        self
    }

    /// From now on, each request that `fault` is about meets it.
    pub fn fault(&self, fault: RegistryFault) -> &Self {
        self.fault_when(fault, When::Always)
    }

    /// From now on, requests that `fault` is about meet it as often as `when` says. Of several faults
    /// that one request could meet in the same place, the first that was given counts.
    pub fn fault_when(&self, fault: RegistryFault, when: When) -> &Self {
        self.inner().faults.add(fault, when);
        self
    }

    /// Several faults together.
    pub fn faults(&self, faults: &[(RegistryFault, When)]) -> &Self {
        for (fault, when) in faults {
            self.fault_when(*fault, *when);
        }
        self
    }

    /// Ends all faults.
    pub fn clear_faults(&self) -> &Self {
        self.inner().faults.clear();
        self
    }

    /// What [`When::Chance`] and random delays are drawn from.
    pub fn seed(&self, seed: u64) -> &Self {
        self.inner().faults.seed(seed);
        self
    }

    /// The faults that were met so far, in order.
    pub fn faults_met(&self) -> Vec<RegistryFault> {
        self.inner().faults.met()
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.shared.registry.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.shared.registry.port()
    }

    /// `127.0.0.2:<port>`, the other host.
    pub fn foreign_host(&self) -> String {
        self.shared.foreign.to_string()
    }

    /// `127.0.0.1:<port>/<name>`, with a tag or digest if `name` has one.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.shared.registry)
    }

    /// Puts a blob there without a request.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let mut inner = self.inner();
        let blobs = &mut inner.state.repository(repository).blobs;
        blobs.insert(digest, Blob::of(bytes));
        digest
    }

    /// Puts a manifest or index there without a request, complete or not; `target` is a tag, or a
    /// digest for none.
    pub fn put_manifest(
        &self,
        repository: &str,
        target: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Digest {
        let manifest = Manifest {
            media_type: media_type.to_owned(),
            bytes: bytes.into(),
        };
        let digest = Digest::of(&manifest.bytes);
        let mut inner = self.inner();
        let repository = inner.state.repository(repository);
        repository.manifests.insert(digest, manifest);
        if !target.contains(':') {
            repository.tags.insert(target.to_owned(), digest);
        }
        digest
    }

    /// Removes a blob without a request.
    pub fn remove_blob(&self, repository: &str, digest: &Digest) -> &Self {
        let mut inner = self.inner();
        let repository = inner.state.repository(repository);
        repository.blobs.remove(digest);
        repository.known.remove(digest);
        drop(inner);
        self
    }

    /// Tags in order, with the digests that they point at.
    pub fn tags(&self, repository: &str) -> Vec<(String, Digest)> {
        let inner = self.inner();
        let repository = inner.state.repositories.get(repository);
        let tags = repository.into_iter().flat_map(|it| &it.tags);
        tags.map(|(tag, digest)| (tag.clone(), *digest)).collect()
    }

    /// Media type and bytes of a manifest, by tag or digest.
    pub fn manifest(&self, repository: &str, target: &str) -> Option<(String, Bytes)> {
        let inner = self.inner();
        let (_, manifest) = inner.state.manifest(repository, target)?;
        Some((manifest.media_type.clone(), manifest.bytes.clone()))
    }

    /// Digests of the manifests in order.
    pub fn manifests(&self, repository: &str) -> Vec<Digest> {
        let inner = self.inner();
        let repository = inner.state.repositories.get(repository);
        repository
            .into_iter()
            .flat_map(|it| it.manifests.keys().copied())
            .collect()
    }

    /// The bytes of a blob that is there and whose bytes were kept.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        self.inner().state.blob(repository, digest)?.bytes.clone()
    }

    /// Digests and sizes in bytes of the blobs, in order.
    pub fn blobs(&self, repository: &str) -> Vec<(Digest, u64)> {
        let inner = self.inner();
        let repository = inner.state.repositories.get(repository);
        let blobs = repository.into_iter().flat_map(|it| &it.blobs);
        blobs.map(|(digest, blob)| (*digest, blob.size)).collect()
    }

    /// Whether everything below every tag of a repository is there with the digests and sizes that
    /// are said of it; Err tells what is not.
    pub fn complete(&self, repository: &str) -> Result<(), String> {
        self.inner().state.check(repository)
    }

    /// Number of uploads that ended with this blob.
    pub fn committed(&self, repository: &str, digest: &Digest) -> usize {
        let inner = self.inner();
        let repository = inner.state.repositories.get(repository);
        repository
            .and_then(|it| it.committed.get(digest))
            .copied()
            .unwrap_or_default()
    }

    /// Bytes of the bodies of uploads that were read.
    pub fn uploaded_bytes(&self) -> u64 {
        let inner = self.inner();
        let requests = inner.log.requests.iter();
        requests
            .filter(|it| {
                use Kind::{PatchUpload, PostUpload, PutUpload};
                matches!(it.kind, PostUpload | PatchUpload | PutUpload)
            })
            .map(|it| it.bytes_in)
            .sum()
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<RegistryRequest> {
        self.inner().log.requests.clone()
    }

    /// Number of requests of this kind so far, whatever came of them.
    pub fn count(&self, kind: Kind) -> usize {
        let inner = self.inner();
        let requests = inner.log.requests.iter();
        requests.filter(|it| it.kind == kind).count()
    }

    /// Forgets the requests so far, and not the violations.
    pub fn forget(&self) -> &Self {
        self.inner().log.requests.clear();
        self
    }

    /// What clients did against the specification so far.
    pub fn violations(&self) -> Vec<String> {
        self.inner().log.violations.clone()
    }

    /// Panics where a client did something against the specification, with what it was and with all
    /// requests.
    pub fn assert_conformant(&self) {
        let inner = self.inner();
        let violations = inner.log.violations.join("\n  ");
        let requests: Vec<_> = inner.log.requests.iter().map(ToString::to_string).collect();
        drop(inner);
        assert!(
            violations.is_empty(),
            "violations:\n  {violations}\nrequests:\n  {}",
            requests.join("\n  ")
        );
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.shared.inner)
    }
}
