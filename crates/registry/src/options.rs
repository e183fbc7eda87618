//! What a client is told from outside, and whom it tells what it does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Credentials;

/// How a [`Client`](crate::Client) reaches registries.
#[derive(Clone)]
pub struct Options {
    /// What it calls itself: `oxcart/0.1.0`.
    pub user_agent: String,
    /// PEM files of certificates to trust besides the system's (or, where it is set, besides those
    /// of `SSL_CERT_FILE`).
    pub ca: Vec<PathBuf>,
    /// Registries that may be spoken to without TLS, as `HOST` or `HOST:PORT`. Loopback hosts may
    /// always.
    pub insecure: Vec<String>,
    /// Where user names, passwords and tokens come from.
    pub credentials: Credentials,
    /// How often to try again.
    pub retry: Retry,
    /// How long to wait for the network.
    pub timeouts: Timeouts,
    /// Whom to tell.
    pub observer: Arc<dyn Observer>,
}

impl Default for Options {
    /// No credentials, the system's certificates, nobody told.
    fn default() -> Self {
        Self {
            user_agent: concat!("oxcart/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca: Vec::new(),
            insecure: Vec::new(),
            credentials: Credentials::none(),
            retry: Retry::default(),
            timeouts: Timeouts::default(),
            observer: Arc::new(Silent),
        }
    }
}

/// How often and after how long to try again what failed for a passing reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub tries: u32,
    /// Before the second try; doubled with every further one, give or take a half.
    pub first_delay: Duration,
    /// No delay is longer, except one that the registry asks for.
    pub longest_delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 5,
            first_delay: Duration::from_millis(250),
            longest_delay: Duration::from_secs(30),
        }
    }
}

/// How long to wait for the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For an answer, or for any progress of a body. The answer to the end of an upload may take
    /// ten times as long: some registries check and move a blob before they answer.
    pub read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            read: Duration::from_mins(1),
        }
    }
}

/// Is told what a client does. Texts hold no secret. Methods are called from many tasks at once and
/// must not block.
pub trait Observer: Send + Sync {
    /// Something the user should know: a registry's `Warning`, a fallback.
    fn warning(&self, text: &str) {
        let _ = text;
    }

    /// One line a request, and where a credential came from.
    fn detail(&self, text: &str) {
        let _ = text;
    }

    /// So many bytes of a blob's body went out. Bytes sent again are told again.
    fn sent(&self, bytes: u64) {
        let _ = bytes;
    }

    /// So many bytes of a blob's body came in.
    fn received(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
