//! Writing blobs and manifests (distribution-spec, "Push").

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::{OptionFuture, join};
use oci::{BoxError, Digest};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::answer::{Answer, Success};
use crate::auth::Purpose;
use crate::delay::Tries;
use crate::pull::{Presence, announced};
use crate::registry::Ask;
use crate::upload::{Begun, Outcome};
use crate::{Error, Repository};

/// Sources of a mount that are tried for one blob.
const MOST_MOUNTS: usize = 2;

/// A blob to push.
#[derive(Clone)]
pub struct Upload<'a> {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Repositories of the same registry that may have it (`acme/base`, without the registry),
    /// likeliest first. At most two are tried.
    pub mount_from: &'a [String],
    /// Whether the repository is unlikely to have it: then an upload is begun while that is asked, and
    /// cancelled where it does.
    pub is_new: bool,
    /// Its bytes.
    pub content: Content,
}

/// Writes a blob's bytes; may be called again for another try.
pub type Writer = dyn Fn(&mut dyn io::Write) -> Result<(), BoxError> + Send + Sync;

/// Where a blob's bytes come from.
#[derive(Clone)]
pub enum Content {
    /// Written by a function, on a blocking thread, once a try.
    Written(Arc<Writer>),
    /// Streamed from another repository.
    Blob(Repository),
}

/// What became of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Present,
    /// The registry took it from another repository.
    Mounted {
        /// Which one.
        from: String,
    },
    /// It was sent.
    Uploaded {
        /// Its size.
        bytes: u64,
    },
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

#[derive(Deserialize)]
struct WithSubject {
    subject: Option<Subject>,
}

impl Repository {
    /// Checks that blobs may be pushed, by an upload that is begun and cancelled.
    pub async fn check_push(&self) -> Result<(), Error> {
        let action = format!("push to {}", self.name());
        let purpose = self.to_push(&action);
        let session = self.begin(purpose).await?;
        self.cancel(session, purpose).await;
        Ok(())
    }

    /// Sees to it that the repository has a blob: by looking for it, else by a mount, else by an
    /// upload.
    ///
    /// # Errors
    /// [`Error::Source`] and its like where the fault is in the bytes to push: those uploads are
    /// cancelled, and not tried again.
    pub async fn push_blob(&self, blob: &Upload<'_>) -> Result<Pushed, Error> {
        let action = format!("push blob {} to {}", blob.digest, self.name());
        let purpose = self.to_push(&action);
        let upload = async {
            let begins = blob.is_new && blob.mount_from.is_empty();
            OptionFuture::from(begins.then(|| self.begin(purpose))).await
        };
        let (there, opened) = join(self.is_there(&blob.digest, purpose), upload).await;
        if !matches!(there, Ok(false)) {
            if let Some(Ok(session)) = opened {
                self.cancel(session, purpose).await;
            }
            return there.map(|_| Pushed::Present);
        }
        let mut session = opened.transpose()?;
        let sources = blob.mount_from.iter();
        for from in sources
            .filter(|from| self.is_mountable(from))
            .take(MOST_MOUNTS)
        {
            match self.mount(&blob.digest, from, &action).await? {
                Begun::Mounted => return Ok(Pushed::Mounted { from: from.clone() }),
                Begun::Session(begun) => {
                    session = Some(begun);
                    break;
                }
                Begun::Refused => self.is_unmountable(from),
            }
        }
        let mut tries = Tries::new(self.shared().options.retry);
        loop {
            let mut place = match session.take() {
                Some(session) => session,
                None => self.begin(purpose).await?,
            };
            let outcome = match self.upload(&mut place, blob, purpose).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.cancel(place, purpose).await;
                    return Err(error);
                }
            };
            // A session that may have taken bytes is never gone on with: its registry may have
            // committed it, or would append to what it has.
            let uploaded = Pushed::Uploaded { bytes: blob.size };
            let (error, delay) = match outcome {
                Outcome::Done => return Ok(uploaded),
                Outcome::OtherWay => {
                    self.cancel(place, purpose).await;
                    continue;
                }
                Outcome::Refused(refusal) => {
                    let delay = refusal.delay();
                    (self.host().refused(refusal, purpose).await, delay)
                }
                Outcome::Stuck(has) => {
                    let error = Error::Stuck {
                        action: action.clone(),
                        has,
                        size: blob.size,
                    };
                    (error, None)
                }
                Outcome::Lost(source) => {
                    let action = action.clone();
                    (Error::Network { action, source }, None)
                }
            };
            let left = tries.again(delay).await;
            if self.is_there(&blob.digest, purpose).await? {
                return Ok(uploaded);
            }
            self.cancel(place, purpose).await;
            if !left {
                return Err(error);
            }
        }
    }

    /// Has the registry take a blob from its repository `from` (`acme/base`, without the registry), if
    /// it will; nothing is uploaded where it will not (distribution-spec, "Mounting a blob from another
    /// repository").
    pub async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool, Error> {
        if !self.is_mountable(from) {
            return Ok(false);
        }
        let action = format!("mount blob {digest} in {}", self.name());
        match self.mount(digest, from, &action).await? {
            Begun::Mounted => Ok(true),
            Begun::Session(session) => {
                self.cancel(session, self.to_push(&action)).await;
                Ok(false)
            }
            Begun::Refused => {
                self.is_unmountable(from);
                Ok(false)
            }
        }
    }

    pub(crate) async fn is_there(
        &self,
        digest: &Digest,
        purpose: Purpose<'_>,
    ) -> Result<bool, Error> {
        let presence = self.look_for_blob(digest, purpose).await?;
        Ok(matches!(presence, Presence::Present(_)))
    }

    /// Writes a manifest or index to `target`, a tag or its digest. One with a `subject` is listed
    /// among that one's referrers, by the registry or else in the fallback tag.
    pub async fn push_manifest(
        &self,
        target: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let knows_subject = self.put_manifest(target, media_type, bytes).await?;
        let what = || format!("the manifest for {}", self.name_of(target));
        let document: WithSubject =
            serde_json::from_slice(bytes).map_err(|source| Error::Document {
                what: what(),
                source,
            })?;
        let Some(subject) = document.subject.filter(|_| !knows_subject) else {
            return Ok(());
        };
        let subject = subject.digest.parse().map_err(|_| Error::OtherDigest {
            what: format!("the subject of {}", what()),
            found: subject.digest,
        })?;
        self.add_referrer(&subject, media_type, bytes).await
    }

    /// Whether the registry says that it knows of the manifest's subject.
    pub(crate) async fn put_manifest(
        &self,
        target: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        let name = self.name_of(target);
        let action = format!("write {name}");
        let purpose = self.to_push(&action);
        let url = self.url(&["manifests", target], &action).await?;
        let mut ask = Ask::new(Method::PUT, url, purpose);
        ask.body = Some(bytes.to_vec().into());
        ask.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_str(media_type).map_err(|_| Error::NoMediaType {
                what: format!("manifest {name}"),
            })?,
        );
        let mut tries = Tries::new(self.shared().options.retry);
        loop {
            let refusal = match self.host().ask(self.shared(), &ask).await? {
                Answer::Success(Success { response, .. }) => {
                    let found = announced(response.headers());
                    let expected = Digest::of(bytes);
                    if let Some(found) = found.filter(|found| *found != expected) {
                        return Err(Error::Digest {
                            what: format!("manifest {name}, as the registry took it,"),
                            expected,
                            found,
                        });
                    }
                    return Ok(response.headers().contains_key("oci-subject"));
                }
                Answer::Refusal(refusal) => refusal,
            };
            // What was just pushed may not have come through to all of the registry.
            let is_early = matches!(
                refusal.status,
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST
            ) && ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"]
                .iter()
                .any(|code| refusal.has_code(code));
            if !is_early || !tries.again(refusal.delay()).await {
                return Err(self.host().refused(refusal, purpose).await);
            }
        }
    }
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({}, {} bytes)", self.digest, self.size)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(_) => f.write_str("Written(…)"),
            Self::Blob(repository) => write!(f, "Blob({})", repository.name()),
        }
    }
}
