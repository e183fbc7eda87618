//! The account of a registry's requests, and of what its clients did wrong.

use std::fmt;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `GET /v2/`.
    Ping,
    /// `HEAD` of a blob.
    HeadBlob,
    /// `GET` of a blob, on either host.
    GetBlob,
    /// `DELETE` of a blob.
    DeleteBlob,
    /// `POST` that starts an upload.
    PostUpload,
    /// `POST` that asks for a mount.
    Mount,
    /// `PATCH` of an upload.
    PatchUpload,
    /// `PUT` that ends an upload.
    PutUpload,
    /// `GET` of an upload's status.
    GetUpload,
    /// `DELETE` of an upload.
    DeleteUpload,
    /// `HEAD` of a manifest.
    HeadManifest,
    /// `GET` of a manifest.
    GetManifest,
    /// `PUT` of a manifest.
    PutManifest,
    /// `DELETE` of a manifest or tag.
    DeleteManifest,
    /// `GET` of the list of tags.
    Tags,
    /// `GET` of the list of referrers.
    Referrers,
    /// A token, by `GET` or `POST`.
    Token,
    /// Anything else.
    Other,
}

/// The two servers of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The registry itself.
    Registry,
    /// The other host, where redirects and `Location`s may point; no credentials may come here.
    Foreign,
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryRequest {
    /// What it is for.
    pub kind: Kind,
    /// Where it came in.
    pub host: Host,
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// As sent; empty where there is none.
    pub query: String,
    /// 0 where no answer was given.
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The scheme of `Authorization`, never its value.
    pub scheme: Option<String>,
    /// The request's `Range` or `Content-Range`.
    pub range: Option<String>,
}

impl fmt::Display for RegistryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.host {
            Host::Registry => "",
            Host::Foreign => "foreign ",
        };
        write!(f, "{host}{} {}", self.method, self.path)?;
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if let Some(range) = &self.range {
            write!(f, " [{range}]")?;
        }
        let scheme = self.scheme.as_deref().unwrap_or("no authorization");
        let Self {
            status,
            bytes_in,
            bytes_out,
            ..
        } = self;
        write!(
            f,
            " ({scheme}, {bytes_in} bytes) -> {status} ({bytes_out} bytes)"
        )
    }
}

/// Requests in the order in which they came, and violations.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) requests: Vec<RegistryRequest>,
    pub(super) violations: Vec<String>,
}

/// A request's place in the log.
pub(super) type Entry = usize;

impl Log {
    pub(super) fn begin(&mut self, request: RegistryRequest) -> Entry {
        self.requests.push(request);
        self.requests.len() - 1
    }

    /// None after the log was forgotten.
    pub(super) fn entry(&mut self, entry: Entry) -> Option<&mut RegistryRequest> {
        self.requests.get_mut(entry)
    }

    pub(super) fn violation(&mut self, entry: Entry, text: &str) {
        let request = self
            .requests
            .get(entry)
            .map(|it| format!("{} {}", it.method, it.path));
        let request = request.unwrap_or_default();
        self.violations.push(format!("{request}: {text}"));
    }
}
