//! What can happen to a request on its way, told from the errors of the HTTP client.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

/// A request that got no answer.
#[derive(Debug)]
pub struct NetworkError {
    /// The host it was for.
    pub host: String,
    /// What happened.
    pub kind: NetworkFault,
    /// The HTTP client's own error; None for timeouts.
    source: Option<reqwest::Error>,
}

/// What happened to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkFault {
    /// No address for the host's name.
    UnknownHost,
    /// Nobody listens there.
    Refused,
    /// The server's certificate is not trusted.
    Certificate {
        /// Why not: `UnknownIssuer`, `certificate expired: …`.
        reason: String,
    },
    /// The server does not speak TLS.
    NotTls,
    /// TLS failed in another way.
    Tls {
        /// How.
        reason: String,
    },
    /// No answer, or no progress, for so long.
    Timeout(Duration),
    /// The connection broke.
    Broken,
}

impl NetworkError {
    pub(crate) fn timeout(host: &str, after: Duration) -> Self {
        Self {
            host: host.to_owned(),
            kind: NetworkFault::Timeout(after),
            source: None,
        }
    }

    /// What `error` means; its URL, which may hold secrets, is dropped.
    pub(crate) fn new(host: &str, connect: Duration, error: reqwest::Error) -> Self {
        Self {
            host: host.to_owned(),
            kind: kind_of(&error, connect),
            source: Some(error.without_url()),
        }
    }

    /// Whether to try again is of use. A name may come up and a server start again, but only where
    /// there was one: `reached` says that this registry has answered before.
    pub(crate) fn is_passing(&self, reached: bool) -> bool {
        match self.kind {
            NetworkFault::UnknownHost | NetworkFault::Refused => reached,
            NetworkFault::Certificate { .. } | NetworkFault::NotTls | NetworkFault::Tls { .. } => {
                false
            }
            NetworkFault::Timeout(_) | NetworkFault::Broken => !self.is_own_fault(),
        }
    }

    fn is_own_fault(&self) -> bool {
        self.source.as_ref().is_some_and(reqwest::Error::is_builder)
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let host = &self.host;
        Some(match &self.kind {
            NetworkFault::UnknownHost => {
                format!("check the spelling of {host} and the network's name servers")
            }
            NetworkFault::Refused => format!("check that a registry runs at {host}"),
            NetworkFault::Certificate { reason } if reason.contains("UnknownIssuer") => format!(
                "if {host} has a certificate of your own authority, give that one's with --ca \
                 FILE or SSL_CERT_FILE"
            ),
            NetworkFault::Certificate { .. } => {
                format!("the certificate of {host} has to be put right there")
            }
            NetworkFault::NotTls => format!(
                "if {host} is to be spoken to without TLS, allow it with --insecure-registry {host}"
            ),
            NetworkFault::Tls { .. } => return None,
            NetworkFault::Timeout(_) | NetworkFault::Broken => {
                "check the network, or try again later: what was pushed stays, and the next run \
                 goes on from there"
                    .to_owned()
            }
        })
    }
}

fn kind_of(error: &reqwest::Error, connect: Duration) -> NetworkFault {
    let mut texts = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return NetworkFault::Refused;
        }
        texts.push(cause.to_string());
        // What an I/O error wraps is not among its sources.
        source = match cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    // The TLS library's own types are not ours to name: its texts are.
    let find = |needle: &str| texts.iter().rev().find(|text| text.contains(needle));
    if find("dns error").is_some() || find("failed to lookup address").is_some() {
        return NetworkFault::UnknownHost;
    }
    if let Some(text) = find("invalid peer certificate") {
        let reason = text.replace("invalid peer certificate: ", "");
        return NetworkFault::Certificate { reason };
    }
    if find("corrupt message").is_some() || find("InvalidContentType").is_some() {
        return NetworkFault::NotTls;
    }
    let tls = [
        "received fatal alert",
        "peer is incompatible",
        "peer misbehaved",
        "tls handshake",
    ];
    if let Some(text) = tls.iter().find_map(|needle| find(needle)) {
        return NetworkFault::Tls {
            reason: text.clone(),
        };
    }
    if error.is_timeout() {
        return NetworkFault::Timeout(connect);
    }
    NetworkFault::Broken
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match &self.kind {
            NetworkFault::UnknownHost => write!(f, "there is no host `{host}`"),
            NetworkFault::Refused => write!(f, "{host} refuses connections"),
            NetworkFault::Certificate { reason } => {
                write!(f, "the certificate of {host} is not trusted: {reason}")
            }
            NetworkFault::NotTls => write!(f, "{host} does not speak TLS"),
            NetworkFault::Tls { reason } => write!(f, "TLS with {host} failed: {reason}"),
            NetworkFault::Timeout(after) => {
                write!(f, "{host} did not answer within {} s", after.as_secs_f64())
            }
            NetworkFault::Broken => write!(f, "the connection to {host} broke"),
        }
    }
}

impl std::error::Error for NetworkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Where the kind says it all, the chain below it is noise.
        let source = self.source.as_ref()?.source()?;
        (self.kind == NetworkFault::Broken).then_some(source)
    }
}
