//! Registries as this command line reaches them: certificates, credentials, and who is told what.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use indicatif::ProgressBar;
use registry::{Client, Credentials, Observer, Options, Reference, Repository};

use crate::cli::{Global, Network};
use crate::mutex::lock;
use crate::progress::Progress;

/// Opens repositories, all with one client, which is made when the first one is.
#[derive(Clone)]
pub(crate) struct Registries {
    shared: Arc<Shared>,
    offline: bool,
}

struct Shared {
    options: Options,
    client: OnceLock<Client>,
    watcher: Arc<Watcher>,
}

impl Registries {
    /// As the command line says. `about` is the registry that credentials without a host's name are
    /// for: no other one gets to see them.
    pub(crate) fn new(global: &Global, about: Option<&Reference>, progress: &Progress) -> Self {
        let watcher = Arc::new(Watcher {
            progress: progress.clone(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            bar: Mutex::default(),
        });
        let Network {
            authorities,
            insecure,
            credentials,
        } = &global.network;
        let mut found = Credentials::from_environment();
        if let Some(about) = about {
            found = found.for_registry(about.registry());
        }
        let options = Options {
            ca: authorities.clone(),
            insecure: insecure.clone(),
            credentials: match credentials {
                Some(variable) => found.with_variable(variable),
                None => found,
            },
            observer: Arc::clone(&watcher) as Arc<dyn Observer>,
            ..Options::default()
        };
        Self {
            shared: Arc::new(Shared {
                options,
                client: OnceLock::new(),
                watcher,
            }),
            offline: false,
        }
    }

    /// The same, but no registry is asked for anything.
    pub(crate) fn offline(self) -> Self {
        Self {
            offline: true,
            ..self
        }
    }

    /// The repository of `reference`. Nothing is asked of its registry yet.
    pub(crate) fn repository(&self, reference: &Reference) -> anyhow::Result<Repository> {
        if self.offline {
            return Err(crate::vendor::forbidden(&reference.to_string()).into());
        }
        let Shared {
            options, client, ..
        } = &*self.shared;
        if client.get().is_none() {
            // Of two that made one, the first one's is kept.
            let _ = client.set(Client::new(options.clone())?);
        }
        let client = client.get().expect("it was just made");
        Ok(client.repository(reference))
    }

    /// Bytes of blobs that went out so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.watcher.sent.load(Ordering::Relaxed)
    }

    /// Bytes of blobs and documents that came in so far.
    pub(crate) fn received(&self) -> u64 {
        self.shared.watcher.received.load(Ordering::Relaxed)
    }

    /// Moves `bar` with the bytes that go out from now on.
    pub(crate) fn show(&self, bar: Option<ProgressBar>) {
        *lock(&self.shared.watcher.bar) = bar;
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").finish_non_exhaustive()
    }
}

/// Tells the user what the client does.
struct Watcher {
    progress: Progress,
    sent: AtomicU64,
    received: AtomicU64,
    bar: Mutex<Option<ProgressBar>>,
}

impl Observer for Watcher {
    fn warning(&self, text: &str) {
        self.progress.warn(text);
    }

    fn detail(&self, text: &str) {
        self.progress.trace(text);
    }

    fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &*lock(&self.bar) {
            bar.inc(bytes);
        }
    }

    fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }
}
