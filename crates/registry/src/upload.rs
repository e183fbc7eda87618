//! Upload sessions (distribution-spec, "Pushing a blob monolithically" and "Mounting a blob from
//! another repository"): begun with POST, ended with one PUT that has all bytes, or cancelled.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oci::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::address::{follow, is_allowed, server};
use crate::answer::{Answer, Refusal, Success};
use crate::auth::Purpose;
use crate::error::RedirectFault;
use crate::header::text;
use crate::network::NetworkError;
use crate::pull::announced;
use crate::registry::Ask;
use crate::shared::{Body, lock};
use crate::source::Source;
use crate::{Error, Repository, Upload};

/// A cancelled upload is a courtesy: nobody waits for it for long.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// An upload that a registry waits for.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) location: Url,
    /// The least size of a piece in bytes, where the registry speaks of one.
    pub(crate) least_piece: Option<u64>,
}

/// What became of a POST.
pub(crate) enum Begun {
    Mounted,
    Session(Session),
    /// Not from there.
    Refused,
}

/// What became of an upload.
pub(crate) enum Outcome {
    Done,
    /// To be tried again in another way, or with a new token.
    OtherWay,
    /// Another session may fare better.
    Refused(Refusal),
    /// The registry takes no more into this one, and this is how much it has.
    Stuck(u64),
    Lost(NetworkError),
}

impl Repository {
    /// Begins an upload.
    pub(crate) async fn begin(&self, purpose: Purpose<'_>) -> Result<Session, Error> {
        let url = self.url(&["blobs", "uploads", ""], purpose.action).await?;
        let ask = Ask::new(Method::POST, url, purpose);
        match self.post(&ask).await? {
            Ok(success) => self.session(&success, purpose.action),
            Err(refusal) => Err(self.host().refused(refusal, purpose).await),
        }
    }

    /// Asks the registry to take a blob from its repository `from`.
    pub(crate) async fn mount(
        &self,
        digest: &Digest,
        from: &str,
        action: &str,
    ) -> Result<Begun, Error> {
        let scopes = self.mount_scopes(from);
        let purpose = Purpose {
            scopes: &scopes,
            ..self.to_push(action)
        };
        let mut url = self.url(&["blobs", "uploads", ""], action).await?;
        url.query_pairs_mut()
            .append_pair("mount", &digest.to_string())
            .append_pair("from", from);
        let ask = Ask::new(Method::POST, url, purpose);
        match self.post(&ask).await {
            Ok(Ok(success)) if success.response.status() == StatusCode::CREATED => {
                Ok(Begun::Mounted)
            }
            Ok(Ok(success)) => Ok(Begun::Session(self.session(&success, action)?)),
            Ok(Err(refusal)) if matches!(refusal.status.as_u16(), 400..=499) => Ok(Begun::Refused),
            Ok(Err(refusal)) => Err(self.host().refused(refusal, purpose).await),
            // No token for the two together.
            Err(error) if error.is_denied() => Ok(Begun::Refused),
            Err(error) => Err(error),
        }
    }

    async fn post(&self, ask: &Ask<'_>) -> Result<Result<Success, Refusal>, Error> {
        match self.host().ask(self.shared(), ask).await? {
            Answer::Success(success) => Ok(Ok(success)),
            Answer::Refusal(refusal) => Ok(Err(refusal)),
        }
    }

    fn session(&self, success: &Success, action: &str) -> Result<Session, Error> {
        let response = &success.response;
        let headers = response.headers();
        let least = text(headers, "oci-chunk-min-length");
        Ok(Session {
            location: self.location(response.url(), headers, action)?,
            least_piece: least.and_then(|length| length.trim().parse().ok()),
        })
    }

    /// Where an upload goes on.
    pub(crate) fn location(
        &self,
        from: &Url,
        headers: &HeaderMap,
        action: &str,
    ) -> Result<Url, Error> {
        let location = text(headers, LOCATION.as_str()).unwrap_or_default();
        let url = follow(from, location).filter(|_| !location.is_empty());
        let url = url.ok_or_else(|| Error::Location {
            action: action.to_owned(),
            location: location.to_owned(),
        })?;
        if !is_allowed(&url, &self.shared().options.insecure) {
            let host = server(&url);
            return Err(Error::Redirect {
                action: action.to_owned(),
                fault: RedirectFault::Insecure { host },
            });
        }
        Ok(url)
    }

    /// Tells the registry that a session is not gone on with, if it wants to know.
    pub(crate) async fn cancel(&self, session: Session, purpose: Purpose<'_>) {
        let ask = Ask::new(Method::DELETE, session.location, purpose);
        let cancelling = self.host().send(self.shared(), &ask, Body::None);
        let _ = tokio::time::timeout(CANCEL_PATIENCE, cancelling).await;
    }

    /// Sends a blob's bytes and ends the session with them. Where that fails, `session` is where to
    /// cancel it.
    pub(crate) async fn upload(
        &self,
        session: &mut Session,
        blob: &Upload<'_>,
        purpose: Purpose<'_>,
    ) -> Result<Outcome, Error> {
        let source = Source::start(blob, self.shared().options.observer.clone());
        if self.host().wants_pieces.load(Ordering::Relaxed) {
            return self.upload_pieces(session, source, blob, purpose).await;
        }
        let (progress, fault) = (source.progress(), source.fault());
        let ask = end_of(&session.location, &blob.digest, blob.size, purpose);
        let body = if blob.size == 0 {
            Body::Bytes(bytes::Bytes::new())
        } else {
            Body::Stream(reqwest::Body::wrap_stream(source), progress)
        };
        let (answer, pass) = self.host().send(self.shared(), &ask, body).await?;
        if let Some(error) = lock(&fault).take() {
            return Err(error);
        }
        let refusal = match answer {
            Ok(Answer::Success(success)) => return self.ended(&success, blob, purpose).await,
            Ok(Answer::Refusal(refusal)) => refusal,
            Err(fault) if self.host().is_passing(&fault) => return Ok(Outcome::Lost(fault)),
            Err(source) => {
                return Err(Error::Network {
                    action: purpose.action.to_owned(),
                    source,
                });
            }
        };
        let status = refusal.status;
        if status == StatusCode::UNAUTHORIZED && !refusal.foreign {
            let host = self.host();
            if host
                .challenged(self.shared(), &refusal, pass.as_ref(), purpose)
                .await?
            {
                return Ok(Outcome::Refused(refusal));
            }
        }
        let has_least = session.least_piece.is_some();
        if matches!(status.as_u16(), 405 | 411 | 413 | 501)
            || has_least && status == StatusCode::BAD_REQUEST
        {
            // It does not take blobs whole: from now on in pieces.
            self.host().wants_pieces.store(true, Ordering::Relaxed);
            return Ok(Outcome::OtherWay);
        }
        self.sort(refusal, purpose).await
    }

    /// Whether a refusal at the end of an upload is for good.
    pub(crate) async fn sort(
        &self,
        refusal: Refusal,
        purpose: Purpose<'_>,
    ) -> Result<Outcome, Error> {
        // What was sent had the right digest: where the registry finds another one, or does not
        // know the session, something got lost on its side.
        let is_lost = refusal.status == StatusCode::NOT_FOUND
            || refusal.status == StatusCode::RANGE_NOT_SATISFIABLE
            || [
                "BLOB_UPLOAD_UNKNOWN",
                "BLOB_UPLOAD_INVALID",
                "BLOB_UNKNOWN",
                "DIGEST_INVALID",
            ]
            .iter()
            .any(|code| refusal.has_code(code));
        if is_lost || refusal.is_passing() {
            return Ok(Outcome::Refused(refusal));
        }
        Err(self.host().refused(refusal, purpose).await)
    }

    /// Whether a session that was ended is.
    pub(crate) async fn ended(
        &self,
        success: &Success,
        blob: &Upload<'_>,
        purpose: Purpose<'_>,
    ) -> Result<Outcome, Error> {
        let headers = success.response.headers();
        if let Some(found) = announced(headers).filter(|found| *found != blob.digest) {
            return Err(Error::Digest {
                what: format!("blob {} as {} took it", blob.digest, self.name()),
                expected: blob.digest,
                found,
            });
        }
        let status = success.response.status();
        if status != StatusCode::ACCEPTED || self.is_there(&blob.digest, purpose).await? {
            return Ok(Outcome::Done);
        }
        Err(Error::Status {
            action: purpose.action.to_owned(),
            server: success.server.clone(),
            status,
            said: String::new(),
        })
    }
}

/// The PUT that ends a session, with `length` more bytes.
pub(crate) fn end_of<'a>(
    location: &Url,
    digest: &Digest,
    length: u64,
    purpose: Purpose<'a>,
) -> Ask<'a> {
    let mut url = location.clone();
    url.query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    let mut ask = Ask::new(Method::PUT, url, purpose);
    ask.headers
        .insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    ask.headers
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    ask
}

pub(crate) const OCTETS: &str = "application/octet-stream";
