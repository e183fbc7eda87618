//! Blobs: `HEAD`, `GET` with ranges, `DELETE`, and redirects to the foreign host
//! (distribution-spec, section Pulling blobs).

use hyper::Method;
use hyper::header;
use oci::Digest;

use super::exchange::{Exchange, Refusal};
use super::fault::RegistryFault as Fault;
use super::log::{Host, Kind};
use super::reply::{self, Headers as _, Reply};
use super::route::values;
use super::state::Blob;
use crate::answer::{Answer, Ranges};
use crate::body::End;

/// The parameter of a signed query.
pub(super) const SIGNATURE: &str = "X-Amz-Signature";

const BYTES: &str = "application/octet-stream";

impl Exchange<'_> {
    pub(super) fn blob(&mut self, repository: &str, digest: &str) -> Reply {
        let digest: Digest = digest.parse().expect("names were checked");
        let blob = self.inner().state.blob(repository, &digest).cloned();
        if self.kind == Kind::HeadBlob {
            let mut inner = self.inner();
            let now = inner.state.tick();
            let known = &mut inner.state.repository(repository).known;
            match blob {
                Some(_) => known.insert(digest, now),
                None => known.remove(&digest),
            };
        }
        let Some(blob) = blob else {
            return reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        match self.kind {
            Kind::HeadBlob => self.head_blob(&digest, &blob),
            Kind::GetBlob => self.get_blob(&digest, blob),
            Kind::DeleteBlob => {
                let mut inner = self.inner();
                let repository = inner.state.repository(repository);
                repository.blobs.remove(&digest);
                repository.known.remove(&digest);
                reply::empty(202)
            }
            _ => reply::error(405, "UNSUPPORTED", "no such method"),
        }
    }

    fn head_blob(&mut self, digest: &Digest, blob: &Blob) -> Reply {
        let size = blob.size + u64::from(self.is(Fault::BlobSizeLie));
        reply::empty(200)
            .with(header::CONTENT_TYPE, BYTES)
            .with(header::CONTENT_LENGTH, &size.to_string())
            .with(header::ACCEPT_RANGES, "bytes")
            .with(reply::DIGEST, &digest.to_string())
    }

    fn get_blob(&mut self, digest: &Digest, blob: Blob) -> Reply {
        if let Some(location) = self.redirect() {
            return reply::empty(307).with(header::LOCATION, &location);
        }
        let Some(mut bytes) = blob.bytes else {
            return reply::error(404, "BLOB_UNKNOWN", "the bytes were not kept");
        };
        if self.is(Fault::LongBlob) {
            bytes = [&bytes[..], b"!"].concat().into();
        }
        if let Some(length) = self.pick(|it| match it {
            Fault::ShortBlob { length } => Some(length),
            _ => None,
        }) {
            bytes.truncate(length);
        }
        let mut answer = Answer::ok(BYTES, bytes);
        if self.is(Fault::WrongBlob) {
            answer.spoil();
        }
        let ranges = if self.is(Fault::NoRanges) {
            Ranges::Ignored
        } else {
            Ranges::Served
        };
        let mut reply = answer.response(&self.headers, ranges);
        reply.set(reply::DIGEST, &digest.to_string());
        let cut = self.pick(|it| match it {
            Fault::CutBlob { after } => Some(after),
            _ => None,
        });
        if let Some(after) = cut {
            reply.body_mut().end_early(after, End::Reset);
        }
        reply
    }

    /// Where a redirect leads, if one is due.
    fn redirect(&mut self) -> Option<String> {
        match self.host {
            Host::Registry if self.is(Fault::RedirectCycle) || self.is(Fault::BlobRedirect) => {
                let signature = self.sign();
                let host = self.shared.foreign;
                let path = &self.path;
                let query = format!("se=2030-01-01&{SIGNATURE}={signature}");
                Some(format!("http://{host}{path}?{query}"))
            }
            Host::Foreign if self.is(Fault::RedirectCycle) => {
                Some(format!("http://{}{}", self.shared.registry, self.path))
            }
            Host::Registry | Host::Foreign => None,
        }
    }

    /// A new signature, good at the foreign host.
    pub(super) fn sign(&self) -> String {
        let mut inner = self.inner();
        let signature = format!("{}%2B%3D", inner.state.opaque());
        inner.state.signatures.insert(signature.clone());
        signature
    }

    /// What the foreign host asks of every request.
    pub(super) fn check_signature(&mut self) -> Result<(), Refusal> {
        if self.headers.contains_key(header::AUTHORIZATION) {
            self.violation("credentials were sent to another host");
            return Err(reply::empty(400).into());
        }
        if self.method == Method::HEAD {
            self.violation("HEAD of a signed address");
            return Err(forbidden("SignatureDoesNotMatch"));
        }
        if self.kind == Kind::GetBlob && self.is(Fault::SignatureExpired) {
            return Err(forbidden("AccessDenied: Request has expired"));
        }
        let given = self
            .query
            .split('&')
            .find_map(|it| it.strip_prefix(SIGNATURE)?.strip_prefix('='));
        let is_good = given.is_some_and(|it| self.inner().state.signatures.contains(it));
        if !is_good || values(&self.query, SIGNATURE).len() != 1 {
            self.violation("the query of a signed address was lost or changed");
            return Err(forbidden("SignatureDoesNotMatch"));
        }
        Ok(())
    }
}

fn forbidden(code: &str) -> Refusal {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>\n");
    reply::with_body(403, "application/xml", body.into()).into()
}
