//! What can go wrong with a registry, with the facts as fields.

use std::fmt;
use std::io;
use std::path::PathBuf;

use oci::{BoxError, Digest};
use reqwest::StatusCode;

use crate::ReferenceError;
use crate::network::NetworkError;

/// An error of this crate. Its texts hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),

    // What the client is set up with.
    /// A file of certificates cannot be read.
    #[error("cannot read the certificates in {}", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of certificates has none, or one that is none.
    #[error("{} is not a PEM file of certificates", .path.display())]
    CaForm {
        /// The file.
        path: PathBuf,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Http {
        /// Why not.
        source: reqwest::Error,
    },
    /// A file of credentials cannot be used.
    #[error("cannot read the credentials in {}: {fault}", .path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: AuthFileFault,
    },
    /// A variable of credentials cannot be used.
    #[error("the variable {name} {fault}")]
    CredentialsVariable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },

    // The network: network.rs, transport.rs.
    /// A request could not be sent or its answer not be read, after all tries.
    #[error("cannot {action}: {source}")]
    Network {
        /// What the request was for: `push blob sha256:… to ghcr.io/acme/app`.
        action: String,
        /// What happened.
        source: NetworkError,
    },
    /// Redirected over and over.
    #[error("cannot {action}: the registry redirects {fault}")]
    Redirect {
        /// What the request was for.
        action: String,
        /// In which way.
        fault: RedirectFault,
    },
    /// The registry says where to go on, and no URL can be made of that.
    #[error("cannot {action}: the registry gives `{location}` as the place to go on")]
    Location {
        /// What the request was for.
        action: String,
        /// What it says; empty where it says nothing.
        location: String,
    },

    // What registries answer.
    /// The registry or its token server does not take the credentials.
    #[error(
        "cannot {action}: {server} does not accept the credentials ({credentials}){}",
        Said(.said)
    )]
    Login {
        /// What the request was for.
        action: String,
        /// The host that answered.
        server: String,
        /// Where the credentials are from.
        credentials: String,
        /// The server's own words.
        said: String,
    },
    /// The registry does not allow it.
    #[error(
        "cannot {action}: {registry} does not allow it: {status}{}; asked for {scope} with {credentials}",
        Said(.said)
    )]
    Denied {
        /// What the request was for.
        action: String,
        /// The registry.
        registry: String,
        /// What was asked for: `repository:acme/app:pull,push`.
        scope: String,
        /// Where the credentials are from.
        credentials: String,
        /// 401 or 403.
        status: StatusCode,
        /// The registry's own words.
        said: String,
    },
    /// The registry has no such thing.
    #[error("cannot {action}: not found{}", Said(.said))]
    NotFound {
        /// What the request was for.
        action: String,
        /// The registry's own words.
        said: String,
    },
    /// An answer that means failure.
    #[error("cannot {action}: {server} answers {status}{}", Said(.said))]
    Status {
        /// What the request was for.
        action: String,
        /// The host that answered.
        server: String,
        /// The HTTP status.
        status: StatusCode,
        /// The server's own words.
        said: String,
    },
    /// A registry that takes no more of an upload.
    #[error("cannot {action}: the registry stands still at {has} of {size} bytes")]
    Stuck {
        /// What the request was for.
        action: String,
        /// Bytes that it has.
        has: u64,
        /// Bytes that the blob has.
        size: u64,
    },
    /// A token server's answer that holds no token.
    #[error("cannot {action}: the token server {server} gives no token")]
    NoToken {
        /// What the request was for.
        action: String,
        /// The token server.
        server: String,
    },
    /// A token server that is not safe to speak to.
    #[error("cannot {action}: the registry sends us to `{realm}` for a token, {fault}")]
    Realm {
        /// What the request was for.
        action: String,
        /// What it says.
        realm: String,
        /// What is wrong with that.
        fault: &'static str,
    },

    // What they serve.
    /// A document's bytes have another digest than they were asked for by, or sent with.
    #[error("{what} has the digest {found}, expected {expected}")]
    Digest {
        /// What it is: `manifest ghcr.io/acme/app:1`.
        what: String,
        /// Asked for, or in the registry's header.
        expected: Digest,
        /// Computed.
        found: Digest,
    },
    /// A document or blob is not as long as it should be.
    #[error("{what} has {found} bytes, expected {expected}")]
    Size {
        /// What it is: `blob sha256:… of ghcr.io/acme/app`.
        what: String,
        /// In the descriptor.
        expected: u64,
        /// Received, or announced.
        found: u64,
    },
    /// A document that is too large to be one.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// What it is.
        what: String,
        /// In bytes.
        limit: u64,
    },
    /// A document that is not of the form it should be.
    #[error("{what} is not of the expected form")]
    Document {
        /// What it is.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A manifest without a media type.
    #[error("{what} has no media type")]
    NoMediaType {
        /// What it is.
        what: String,
    },
    /// A digest of the registry that is none.
    #[error("{what} has the digest `{found}`, which cannot be used: expected sha256")]
    OtherDigest {
        /// What it is.
        what: String,
        /// What the registry says.
        found: String,
    },
    /// Another writer's changes kept undoing ours.
    #[error("cannot add {digest} to the referrers in {tag}: others write it at the same time")]
    Contended {
        /// What was to be added.
        digest: Digest,
        /// The fallback tag, with its repository.
        tag: String,
    },

    // What is pushed.
    /// A blob's bytes cannot be made.
    #[error("cannot read blob {digest} to push it")]
    Source {
        /// Its digest.
        digest: Digest,
        /// Why not.
        source: BoxError,
    },
    /// A blob to push turns out to be another one.
    #[error("blob {digest} cannot be pushed: its bytes have the digest {found}")]
    SourceDigest {
        /// What it should be.
        digest: Digest,
        /// Computed.
        found: Digest,
    },
    /// A blob to push turns out to be of another size.
    #[error("blob {digest} cannot be pushed: it has {found} bytes, expected {expected}")]
    SourceSize {
        /// Its digest.
        digest: Digest,
        /// What was promised.
        expected: u64,
        /// What was written, at least.
        found: u64,
    },
}

/// What is wrong with a file of credentials.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileFault {
    /// It cannot be read.
    #[error("{0}")]
    Read(io::Error),
    /// Not JSON, or not of the form such files have.
    #[error("it is not of the expected form at line {line}, column {column}")]
    Form {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An `auth` that cannot be decoded.
    #[error("the entry for {key} has an `auth` that is not base64 of user:password")]
    Entry {
        /// The entry's key.
        key: String,
    },
}

/// What is wrong with a redirect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// Back to where it came from.
    #[error("in a circle: {}", .hosts.join(" → "))]
    Cycle {
        /// The hosts, in order.
        hosts: Vec<String>,
    },
    /// Too often.
    #[error("more than {} times: {}", .hosts.len() - 1, .hosts.join(" → "))]
    TooMany {
        /// The hosts, in order.
        hosts: Vec<String>,
    },
    /// To plain HTTP.
    #[error("to {host} without TLS")]
    Insecure {
        /// The host.
        host: String,
    },
}

/// What a server said, behind a colon.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.0)
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Network { source, .. } => return source.hint(),
            Self::Login { server, .. } => format!(
                "log in again (`podman login {server}` or `docker login {server}`), or set \
                 OXCART_AUTH to {server}=USER:PASSWORD"
            ),
            Self::Denied {
                registry, scope, ..
            } => return Some(denied_hint(registry, scope)),
            Self::CredentialsVariable { .. } => {
                "set it to user:password, or to HOST=user:password, several separated by commas"
                    .to_owned()
            }
            Self::CaFile { .. } | Self::CaForm { .. } => {
                "--ca takes a file with one or more `BEGIN CERTIFICATE` blocks".to_owned()
            }
            Self::AuthFile { .. } => "correct the file or log in again".to_owned(),
            Self::Redirect {
                fault: RedirectFault::Insecure { host },
                ..
            } => format!("if that is right, allow it with --insecure-registry {host}"),
            Self::Redirect { .. } => "the registry, or a proxy before it, is set up in a way that \
                 leads nowhere: ask who runs it"
                .to_owned(),
            Self::Digest { .. } | Self::Size { .. } => {
                "the registry, or something between it and here, serves other bytes than were \
                 pushed: find out which before you go on"
                    .to_owned()
            }
            Self::Status { status, .. } if status.is_server_error() || status.as_u16() == 429 => {
                "try again later: what was pushed stays, and the next run goes on from there"
                    .to_owned()
            }
            Self::Contended { .. } => "try again once the other writers are done".to_owned(),
            _ => return None,
        })
    }

    /// Whether the registry has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the registry may lack what a manifest refers to: registries answer both 404 and 400 to that
    /// (distribution-spec, "Pushing Manifests").
    pub fn may_lack_blob(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Status { status, .. } => *status == StatusCode::BAD_REQUEST,
            _ => false,
        }
    }

    /// Whether the registry, asked properly, does not let us.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Login { .. })
    }
}

fn denied_hint(registry: &str, scope: &str) -> String {
    let push = scope.contains("push");
    match (registry, push) {
        ("ghcr.io", true) => {
            "in GitHub Actions the job needs `permissions: packages: write` and GITHUB_TOKEN in its \
             environment, and the package, where it exists already, has to list the repository \
             with the role Write (Package settings, Manage Actions access); elsewhere use a \
             personal access token with the scope write:packages"
                .to_owned()
        }
        ("ghcr.io", false) => {
            "in GitHub Actions the job needs `permissions: packages: read` and GITHUB_TOKEN in its \
             environment, and a private package has to list the repository (Package settings, \
             Manage Actions access)"
                .to_owned()
        }
        _ => format!(
            "check the name of the repository, and that the user may {} it; `podman login \
             {registry}` or OXCART_AUTH={registry}=USER:PASSWORD give credentials",
            if push { "push to" } else { "pull from" }
        ),
    }
}
