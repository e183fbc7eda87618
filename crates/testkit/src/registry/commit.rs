//! The end of an upload: its bytes become a blob (distribution-spec, section Pushing blobs).

use std::time::Duration;

use hyper::header;
use oci::Digest;

use super::auth::{Access, Grants, Mode, Refused};
use super::exchange::{Cut, Exchange, Outcome, Refusal};
use super::fault::RegistryFault as Fault;
use super::reply::{self, Headers as _, Reply};
use super::route::values;

impl Exchange<'_> {
    pub(super) async fn commit(&mut self, id: &str, digest: &Digest) -> Outcome {
        let unknown = || reply::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown");
        if self.inner().auth.mode == Mode::Token && self.is(Fault::ExpiryMidUpload) {
            self.inner().auth.revoke();
            return Err(self
                .challenge(&self.upload_needs(id), &Refused::Expired)
                .into());
        }
        if let Some(millis) = self.pick(|it| match it {
            Fault::SlowCommit { millis } => Some(millis),
            _ => None,
        }) {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        if self.is(Fault::SessionLost) {
            self.end(id, "it was lost");
            return Ok(unknown());
        }
        if self.is(Fault::CommitDigestInvalid) {
            self.end(id, "its digest was refused");
            return Ok(digest_invalid());
        }
        let (found, repository) = {
            let inner = self.inner();
            let upload = &inner.state.uploads[id];
            (upload.digest(), upload.repository.clone())
        };
        if found != *digest {
            self.end(id, "its digest was wrong");
            self.violation(&format!("the bytes have digest {found}, not {digest}"));
            return Ok(digest_invalid());
        }
        self.store(id, &repository, digest);
        if self.is(Fault::LostCommit) {
            return Err(Cut.into());
        }
        if self.is(Fault::CommitUnknown) {
            return Ok(unknown());
        }
        Ok(created(&repository, digest))
    }

    fn store(&self, id: &str, repository: &str, digest: &Digest) {
        let mut inner = self.inner();
        let state = &mut inner.state;
        let upload = state.uploads.get_mut(id).expect("a known upload");
        let blob = upload.finish("it was finished");
        let is_again = {
            let repository = state.repository(repository);
            *repository.committed.entry(*digest).or_default() += 1;
            repository.blobs.insert(*digest, blob).is_some()
        };
        let is_fine = state.several_clients;
        drop(inner);
        if is_again && !is_fine {
            self.violation(&format!("{digest} was uploaded although it was there"));
        }
    }

    fn upload_needs(&self, id: &str) -> Grants {
        let repository = self.inner().state.uploads[id].repository.clone();
        Grants::from([(repository, Access::Push)])
    }

    /// The one digest of a commit.
    pub(super) fn digest(&self) -> Result<Digest, Refusal> {
        let given = values(&self.query, "digest");
        let digest = match &given[..] {
            [digest] => digest.parse().ok(),
            _ => None,
        };
        digest.ok_or_else(|| {
            self.violation("not one digest that is allowed");
            reply::error(400, "DIGEST_INVALID", "invalid digest").into()
        })
    }

    /// An upload of a blob that the client knew to be there when it began.
    pub(super) fn check_known(&self, id: &str, digest: &Digest) {
        let is_known = {
            let mut inner = self.inner();
            let state = &mut inner.state;
            let upload = &state.uploads[id];
            let (repository, began) = (upload.repository.clone(), upload.began);
            let known = state.repository(&repository).known.get(digest).copied();
            !state.several_clients && known.is_some_and(|known| known < began)
        };
        if is_known {
            self.violation("an upload was begun although HEAD had said that the blob is there");
        }
    }

    fn end(&self, id: &str, reason: &'static str) {
        if let Some(upload) = self.inner().state.uploads.get_mut(id) {
            upload.finish(reason);
        }
    }
}

pub(super) fn created(repository: &str, digest: &Digest) -> Reply {
    reply::empty(201)
        .with(
            header::LOCATION,
            &format!("/v2/{repository}/blobs/{digest}"),
        )
        .with(reply::DIGEST, &digest.to_string())
}

fn digest_invalid() -> Reply {
    let text = "provided digest did not match uploaded content";
    reply::error(400, "DIGEST_INVALID", text)
}
