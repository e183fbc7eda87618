//! Uploads: `POST` that begins or mounts, `PATCH` and `PUT` with bytes, `GET` of the status, `DELETE`
//! (distribution-spec, section Pushing blobs).

use hyper::Method;
use hyper::header;
use oci::Digest;

use super::auth::{Access, Grants, Refused};
use super::blobs::SIGNATURE;
use super::commit::created;
use super::exchange::{Cut, Exchange, Outcome, Refusal, Shared};
use super::fault::{RegistryFault as Fault, RetryAfter};
use super::log::Kind;
use super::reply::{self, Headers as _, Reply};
use super::route::values;
use super::state::{Address, Stage, Upload};
use crate::server::lock;

const CHUNK_MIN_LENGTH: header::HeaderName =
    header::HeaderName::from_static("oci-chunk-min-length");
const UPLOAD_UUID: header::HeaderName = header::HeaderName::from_static("docker-upload-uuid");

impl<'a> Exchange<'a> {
    pub(super) async fn begin_upload(&mut self, repository: &str) -> Outcome {
        if self.kind == Kind::Mount
            && let Some(reply) = self.mount(repository)?
        {
            return Ok(reply);
        }
        let address = if self.is(Fault::ForeignLocation) {
            Address::Foreign
        } else if self.is(Fault::RelativeLocation) {
            Address::Relative
        } else {
            Address::Absolute
        };
        let whole = if self.kind == Kind::PostUpload && !values(&self.query, "digest").is_empty() {
            Some(self.digest()?)
        } else {
            None
        };
        let id = self.inner().state.begin(repository, address);
        if let Some(digest) = whole {
            self.check_known(&id, &digest);
            let _count = self.count_in_flight()?;
            self.take(&id, u64::MAX).await?;
            return self.commit(&id, &digest).await;
        }
        let mut reply = self.accepted(202, &id);
        if let Some(bytes) = self.chunks_only() {
            reply.set(CHUNK_MIN_LENGTH, &bytes.0.to_string());
        }
        Ok(reply)
    }

    /// None where an upload is to begin.
    fn mount(&mut self, repository: &str) -> Result<Option<Reply>, Refusal> {
        let [digest] = &values(&self.query, "mount")[..] else {
            self.violation("more than one `mount`");
            return Err(reply::error(400, "DIGEST_INVALID", "one digest").into());
        };
        let Ok(digest) = digest.parse::<Digest>() else {
            self.violation("the digest to mount is not allowed");
            return Err(reply::error(400, "DIGEST_INVALID", "invalid digest").into());
        };
        let from = values(&self.query, "from").into_iter().next();
        let refused = self.pick(|it| match it {
            Fault::MountRefused { status } => Some(status),
            _ => None,
        });
        match refused {
            None => {}
            Some(401) => {
                let mut needs: Grants = from.into_iter().map(|it| (it, Access::Pull)).collect();
                needs.insert(repository.to_owned(), Access::Push);
                return Err(self.challenge(&needs, &Refused::Insufficient).into());
            }
            Some(403) => return Err(reply::error(403, "DENIED", "access is denied").into()),
            Some(status) => {
                return Err(reply::error(status, "NAME_UNKNOWN", "repository not known").into());
            }
        }
        let mut inner = self.inner();
        if inner
            .state
            .repository(repository)
            .known
            .contains_key(&digest)
            && !inner.state.several_clients
        {
            drop(inner);
            self.violation("a mount, although HEAD had said that the blob is there");
            inner = self.inner();
        }
        let blob = from.and_then(|from| inner.state.blob(&from, &digest).cloned());
        let Some(blob) = blob else {
            return Ok(None);
        };
        drop(inner);
        if self.is(Fault::MountAccepted) {
            return Ok(None);
        }
        self.inner()
            .state
            .repository(repository)
            .blobs
            .insert(digest, blob);
        Ok(Some(created(repository, &digest)))
    }

    pub(super) async fn upload(&mut self, repository: &str, id: &str) -> Outcome {
        let unknown = || reply::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown");
        let found = {
            let inner = self.inner();
            let upload = inner.state.uploads.get(id);
            upload
                .filter(|it| it.repository == repository)
                .map(|it| (it.stage, self.state_problem(it)))
        };
        let Some((stage, problem)) = found else {
            self.violation("an upload that was never begun here");
            return Ok(unknown());
        };
        if let Some(problem) = problem {
            self.violation(problem);
            return Ok(unknown());
        }
        if let Stage::Over(reason) = stage {
            if matches!(self.kind, Kind::PatchUpload | Kind::PutUpload) {
                self.violation(&format!("into an upload that is over: {reason}"));
            }
            return Ok(unknown());
        }
        match self.kind {
            Kind::GetUpload => Ok(self.accepted(204, id)),
            Kind::DeleteUpload => {
                if let Some(upload) = self.inner().state.uploads.get_mut(id) {
                    upload.finish("it was cancelled");
                }
                Ok(reply::empty(204))
            }
            Kind::PatchUpload => self.patch(id).await,
            Kind::PutUpload => self.put(id).await,
            _ => Ok(reply::error(405, "UNSUPPORTED", "no such method")),
        }
    }

    /// What is wrong with the query, which must come from the last `Location`.
    fn state_problem(&self, upload: &Upload) -> Option<&'static str> {
        let given = self.query.split('&').find(|it| it.starts_with("_state="));
        let Some(place) = upload
            .states
            .iter()
            .position(|it| Some(it.as_str()) == given)
        else {
            return Some("the query of the Location was lost or changed");
        };
        let is_last = place + 1 == upload.states.len();
        (!is_last && !upload.is_disturbed).then_some("not the Location of the last answer")
    }

    async fn patch(&mut self, id: &str) -> Outcome {
        let length = self.content_length();
        let (offset, is_disturbed) = self.offset(id);
        if length.is_none() {
            self.violation("a PATCH without Content-Length");
        }
        if let Some(range) = self.header(header::CONTENT_RANGE) {
            let limit = self.pick(|it| match it {
                Fault::PatchLimit { bytes, status } if length > Some(bytes) => Some(status),
                _ => None,
            });
            if let Some(status) = limit {
                return Ok(reply::error(
                    status,
                    "SIZE_INVALID",
                    "the chunk is too large",
                ));
            }
            if !self.check_range(&range, offset, length, is_disturbed) {
                return Ok(self.accepted(416, id));
            }
        } else if is_disturbed {
            self.violation("a PATCH without Content-Range after one that failed");
        }
        if let Some((least, _)) = self.chunks_only() {
            let is_short = length.is_some_and(|it| it < least);
            let mut inner = self.inner();
            let upload = inner.state.uploads.get_mut(id);
            if let Some(upload) = upload {
                let was_short = upload.has_short_chunk;
                upload.has_short_chunk = is_short;
                drop(inner);
                if was_short && !is_disturbed {
                    self.violation("a chunk before the last is below OCI-Chunk-Min-Length");
                }
            }
        }
        let _count = self.count_in_flight()?;
        let stuck = self.pick(|it| match it {
            Fault::StuckRange { status } => Some(status),
            _ => None,
        });
        let most = match stuck {
            Some(_) => length.unwrap_or_default() / 2,
            None => u64::MAX,
        };
        if stuck.is_some() {
            self.disturb(id);
        }
        self.take(id, most).await?;
        Ok(self.accepted(stuck.unwrap_or(202), id))
    }

    async fn put(&mut self, id: &str) -> Outcome {
        let digest = self.digest()?;
        let (offset, is_disturbed) = self.offset(id);
        self.check_known(id, &digest);
        let length = self.content_length();
        if length.is_none() {
            self.violation("a PUT without Content-Length");
        }
        if let Some(range) = self.header(header::CONTENT_RANGE)
            && !self.check_range(&range, offset, length, is_disturbed)
        {
            return Ok(self.accepted(416, id));
        }
        let has_body = length != Some(0);
        if has_body
            && offset == 0
            && let Some((_, status)) = self.chunks_only()
        {
            return Ok(reply::error(status, "UNSUPPORTED", "send it in chunks"));
        }
        let _count = self.count_in_flight()?;
        // Also where the client goes away in the middle: another PUT would append.
        if has_body && let Some(upload) = self.inner().state.uploads.get_mut(id) {
            upload.stage = Stage::Over("its PUT had failed");
        }
        self.take(id, u64::MAX).await?;
        self.commit(id, &digest).await
    }

    fn disturb(&self, id: &str) {
        if let Some(upload) = self.inner().state.uploads.get_mut(id) {
            upload.is_disturbed = true;
        }
    }

    fn offset(&self, id: &str) -> (u64, bool) {
        let inner = self.inner();
        let upload = &inner.state.uploads[id];
        (upload.size, upload.is_disturbed)
    }

    /// Whether a chunk goes on where the upload stands.
    fn check_range(
        &self,
        range: &str,
        offset: u64,
        length: Option<u64>,
        is_disturbed: bool,
    ) -> bool {
        let bounds = range.split_once('-').and_then(|(first, last)| {
            Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
        });
        let Some((first, last)) = bounds else {
            self.violation(&format!("Content-Range `{range}` is not `<first>-<last>`"));
            return false;
        };
        if last.checked_sub(first).and_then(|it| it.checked_add(1)) != length {
            self.violation("Content-Range and Content-Length differ");
            return false;
        }
        if first != offset && !is_disturbed {
            self.violation(&format!(
                "a chunk at {first} of an upload of {offset} bytes"
            ));
        }
        first == offset
    }

    fn chunks_only(&self) -> Option<(u64, u16)> {
        self.pick(|it| match it {
            Fault::ChunksOnly { bytes, status } => Some((bytes, status)),
            _ => None,
        })
    }

    /// Adds the body, at most so many bytes of it, to the upload.
    async fn take(&mut self, id: &str, most: u64) -> Result<(), Cut> {
        let reset = self.pick(|it| match it {
            Fault::ResetUpload { after } => Some(after),
            _ => None,
        });
        let length = self.content_length().unwrap_or_default();
        if let Some(upload) = self.inner().state.uploads.get_mut(id) {
            upload.reserve(length);
            upload.is_disturbed |= reset.is_some();
        }
        let taken = self
            .receive(most.min(reset.unwrap_or(u64::MAX)), |inner, chunk| {
                if let Some(upload) = inner.state.uploads.get_mut(id) {
                    upload.append(chunk);
                }
            })
            .await;
        if taken.is_err() {
            self.disturb(id);
        }
        taken?;
        if reset.is_some() {
            return Err(Cut);
        }
        Ok(())
    }

    /// An answer with the upload's `Location` and `Range`.
    fn accepted(&mut self, status: u16, id: &str) -> Reply {
        let mut inner = self.inner();
        let state = format!("_state={}%3D~a%2Fb", inner.state.opaque());
        let upload = inner.state.uploads.get_mut(id).expect("a known upload");
        upload.states.push(state.clone());
        let (range, address) = (upload.range(), upload.address);
        let path = format!("/v2/{}/blobs/uploads/{id}?{state}", upload.repository);
        drop(inner);
        let location = match address {
            Address::Absolute => format!("http://{}{path}", self.shared.registry),
            Address::Relative => path,
            Address::Foreign => {
                let signature = self.sign();
                let host = self.shared.foreign;
                format!("http://{host}{path}&{SIGNATURE}={signature}")
            }
        };
        let mut reply = reply::empty(status)
            .with(header::LOCATION, &location)
            .with(header::RANGE, &range)
            .with(UPLOAD_UUID, id);
        if self.method == Method::POST {
            reply.headers_mut().remove(header::RANGE);
        }
        reply
    }

    /// Counts the request as on its way as long as the guard lives.
    fn count_in_flight(&self) -> Result<InFlight<'a>, Refusal> {
        let count = {
            let mut inner = self.inner();
            inner.state.in_flight += 1;
            inner.state.in_flight
        };
        let guard = InFlight(self.shared);
        let is_refused = self.pick(|it| match it {
            Fault::UploadLimit { parallel } if count > parallel => Some(()),
            _ => None,
        });
        match is_refused {
            None => Ok(guard),
            Some(()) => Err(reply::unavailable(429, RetryAfter::Unsaid).into()),
        }
    }
}

/// The body of an upload that is on its way.
struct InFlight<'a>(&'a Shared);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        lock(&self.0.inner).state.in_flight -= 1;
    }
}
