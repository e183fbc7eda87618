//! One request and its answer: the faults that any request may meet, permission, and the checks that
//! every address of the distribution-spec has in common.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName};
use hyper::{HeaderMap, Method, Request};
use oci::Digest;

use super::auth::Auth;
use super::fault::{Faults, RegistryFault as Fault};
use super::log::{Entry, Host, Kind, Log, RegistryRequest};
use super::reply::{self, Headers as _, Reply};
use super::route::{self, Route};
use super::state::{Stage, State};
use crate::body::Body;
use crate::server::lock;

/// What the connections of one registry share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) registry: SocketAddr,
    pub(super) foreign: SocketAddr,
    pub(super) inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) auth: Auth,
    pub(super) faults: Faults,
    pub(super) log: Log,
}

/// The connection ends without an answer.
#[derive(Debug)]
pub(super) struct Cut;

impl From<Cut> for io::Error {
    fn from(_: Cut) -> Self {
        io::ErrorKind::ConnectionReset.into()
    }
}

/// An early answer comes as an error, so that `?` ends a request.
#[derive(Debug)]
pub(super) enum Refusal {
    Answer(Box<Reply>),
    Cut,
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        Self::Answer(Box::new(reply))
    }
}

impl From<Cut> for Refusal {
    fn from(_: Cut) -> Self {
        Self::Cut
    }
}

pub(super) type Outcome = Result<Reply, Refusal>;

pub(super) struct Exchange<'a> {
    pub(super) shared: &'a Shared,
    pub(super) host: Host,
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) route: Route,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    body: Incoming,
    entry: Entry,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(shared: &'a Shared, host: Host, request: Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        let route = Route::of(head.uri.path());
        let query = head.uri.query().unwrap_or_default().to_owned();
        let is_mount = !route::values(&query, "mount").is_empty();
        let kind = route.kind(&head.method, is_mount);
        let text = |name| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
        let scheme = text(header::AUTHORIZATION)
            .map(|it| it.split(' ').next().unwrap_or_default().to_owned());
        let entry = lock(&shared.inner).log.begin(RegistryRequest {
            kind,
            host,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: query.clone(),
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            scheme,
            range: text(header::RANGE).or_else(|| text(header::CONTENT_RANGE)),
        });
        Self {
            shared,
            host,
            kind,
            method: head.method,
            route,
            path: head.uri.path().to_owned(),
            query,
            headers: head.headers,
            body,
            entry,
        }
    }

    /// The answer; Err ends the connection.
    pub(super) async fn respond(mut self) -> Result<Reply, Cut> {
        let reply = match self.answer().await {
            Ok(reply) => reply,
            Err(Refusal::Answer(reply)) => *reply,
            Err(Refusal::Cut) => return Err(Cut),
        };
        // Clients that still send would see a reset in place of the answer.
        self.receive(u64::MAX, |_, _| ()).await?;
        Ok(self.finish(reply))
    }

    async fn answer(&mut self) -> Outcome {
        self.general_faults().await?;
        match self.host {
            Host::Registry => self.authorize()?,
            Host::Foreign => self.check_signature()?,
        }
        self.check_names()?;
        match self.route.clone() {
            Route::Ping => Ok(reply::json("application/json", &serde_json::json!({}))),
            Route::Token => self.token().await,
            Route::Blob { repository, digest } => Ok(self.blob(&repository, &digest)),
            Route::Uploads { repository } if self.method == Method::POST => {
                self.begin_upload(&repository).await
            }
            Route::Session { repository, id } => self.upload(&repository, &id).await,
            Route::Manifest { repository, target } => self.manifest(&repository, &target).await,
            Route::Tags { repository } => Ok(self.tags(&repository)),
            Route::Referrers { repository, digest } => Ok(self.referrers(&repository, &digest)),
            Route::Uploads { .. } | Route::Unknown => {
                Ok(reply::error(404, "UNSUPPORTED", "no such address"))
            }
        }
    }

    async fn general_faults(&mut self) -> Result<(), Refusal> {
        let kind = self.kind;
        if self.due(|it| matches!(it, Fault::Hang(site) if site.covers(kind)).then_some(())) {
            self.interrupt();
            return std::future::pending().await;
        }
        let is_reset =
            |it| matches!(it, Fault::ResetBeforeAnswer(site) if site.covers(kind)).then_some(());
        if self.due(is_reset) {
            self.interrupt();
            self.receive(u64::MAX, |_, _| ()).await?;
            return Err(Refusal::Cut);
        }
        let status = self.pick(|it| match it {
            Fault::Status {
                status,
                retry,
                site,
            } if site.covers(kind) => Some((status, retry)),
            _ => None,
        });
        if let Some((status, retry)) = status {
            self.interrupt();
            return Err(reply::unavailable(status, retry).into());
        }
        if kind != Kind::Token && self.is(Fault::SecondaryRateLimit) {
            self.interrupt();
            let text = "You have exceeded a secondary rate limit. Please wait a few minutes \
                        before you try again.\n";
            return Err(reply::with_body(403, "text/plain", text.into()).into());
        }
        Ok(())
    }

    /// What was sent to an upload may be there or not, for all the client knows.
    fn interrupt(&mut self) {
        let Route::Session { id, .. } = &self.route else {
            return;
        };
        let has_body = self.content_length() != Some(0);
        if let Some(upload) = self.inner().state.uploads.get_mut(id) {
            upload.is_disturbed = true;
            if self.kind == Kind::PutUpload && has_body && upload.stage == Stage::Open {
                upload.stage = Stage::Over("its PUT had failed");
            }
        }
    }

    /// Names, tags and digests that the specification does not allow.
    fn check_names(&mut self) -> Result<(), Refusal> {
        if let Some(repository) = self.route.repository()
            && !route::is_name(repository)
        {
            self.violation("the repository's name is not allowed");
            return Err(reply::error(400, "NAME_INVALID", "invalid repository name").into());
        }
        let (digest, tag) = match self.route.clone() {
            Route::Blob { digest, .. } | Route::Referrers { digest, .. } => (Some(digest), None),
            Route::Manifest { target, .. } if target.contains(':') => (Some(target), None),
            Route::Manifest { target, .. } => (None, Some(target)),
            _ => (None, None),
        };
        if digest.is_some_and(|it| it.parse::<Digest>().is_err()) {
            self.violation("the digest is not allowed");
            return Err(reply::error(400, "DIGEST_INVALID", "invalid digest").into());
        }
        if tag.is_some_and(|it| !route::is_tag(&it)) {
            self.violation("the tag is not allowed");
            return Err(reply::error(400, "TAG_INVALID", "invalid tag").into());
        }
        Ok(())
    }

    fn finish(&mut self, mut reply: Reply) -> Reply {
        let status = reply.status();
        let is_head = self.method == Method::HEAD;
        if (status.is_client_error() || status.is_server_error()) && self.is(Fault::HtmlErrors) {
            reply.set(header::CONTENT_TYPE, "text/html; charset=utf-8");
            *reply.body_mut() = Body::new(reply::page(status));
        }
        if self.is(Fault::Warning) {
            reply.set(header::WARNING, WARNING);
        }
        if reply.headers().contains_key(reply::DIGEST) && self.is(Fault::NoDigestHeader) {
            reply.headers_mut().remove(reply::DIGEST);
        }
        let length = reply.body().announced();
        if is_head && self.is(Fault::HeadWithoutLength) {
            reply.headers_mut().remove(header::CONTENT_LENGTH);
        } else if status != 204 {
            let headers = reply.headers_mut();
            headers
                .entry(header::CONTENT_LENGTH)
                .or_insert(length.into());
        }
        if is_head {
            *reply.body_mut() = Body::empty();
        }
        let sent = reply.body().sent();
        if let Some(entry) = self.inner().log.entry(self.entry) {
            entry.status = status.as_u16();
            entry.bytes_out = sent;
        }
        reply
    }

    /// Takes at most `most` bytes of the request's body, in pieces; the number taken.
    pub(super) async fn receive(
        &mut self,
        most: u64,
        mut take: impl FnMut(&mut Inner, &Bytes),
    ) -> Result<u64, Cut> {
        let mut taken = 0;
        while taken < most {
            let Some(frame) = self.body.frame().await else {
                break;
            };
            let Ok(chunk) = frame.map_err(|_| Cut)?.into_data() else {
                continue;
            };
            let chunk = chunk.slice(..chunk.len().min((most - taken) as usize));
            taken += chunk.len() as u64;
            let mut inner = lock(&self.shared.inner);
            if let Some(entry) = inner.log.entry(self.entry) {
                entry.bytes_in += chunk.len() as u64;
            }
            take(&mut inner, &chunk);
        }
        Ok(taken)
    }

    pub(super) fn inner(&self) -> MutexGuard<'a, Inner> {
        lock(&self.shared.inner)
    }

    pub(super) fn violation(&self, text: &str) {
        self.inner().log.violation(self.entry, text);
    }

    pub(super) fn is(&self, fault: Fault) -> bool {
        self.inner().faults.is(fault)
    }

    pub(super) fn pick<T>(&self, pick: impl Fn(Fault) -> Option<T>) -> Option<T> {
        self.inner().faults.due(pick)
    }

    fn due(&self, pick: impl Fn(Fault) -> Option<()>) -> bool {
        self.pick(pick).is_some()
    }

    pub(super) fn header(&self, name: HeaderName) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.parse().ok()
    }
}

/// What [`Fault::Warning`] says.
const WARNING: &str = "299 - \"This registry is for tests.\"";
