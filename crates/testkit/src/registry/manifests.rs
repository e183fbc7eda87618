//! Manifests and indexes: `PUT` that refuses what is incomplete, `GET` and `HEAD`; tags; referrers
//! (distribution-spec, sections Pushing manifests, Listing tags and Listing referrers).

use std::time::Duration;

use hyper::body::Bytes;
use hyper::header;
use oci::Digest;
use serde_json::{Value, json};

use super::exchange::{Exchange, Outcome, Refusal};
use super::fault::RegistryFault as Fault;
use super::log::Kind;
use super::reply::{self, Headers as _, Reply};
use super::route::values;
use super::state::{Manifest, Role, children};
use crate::answer::Answer;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SUBJECT: header::HeaderName = header::HeaderName::from_static("oci-subject");
const FILTERS: header::HeaderName = header::HeaderName::from_static("oci-filters-applied");

/// More than any registry takes.
const MOST: u64 = 64 << 20;

impl Exchange<'_> {
    pub(super) async fn manifest(&mut self, repository: &str, target: &str) -> Outcome {
        match self.kind {
            Kind::PutManifest => self.put_manifest(repository, target).await,
            Kind::HeadManifest | Kind::GetManifest => Ok(self.get_manifest(repository, target)),
            Kind::DeleteManifest => {
                let mut inner = self.inner();
                let repository = inner.state.repository(repository);
                let is_found = match target.parse() {
                    Ok(digest) => {
                        repository.tags.retain(|_, it| *it != digest);
                        repository.manifests.remove(&digest).is_some()
                    }
                    Err(_) => repository.tags.remove(target).is_some(),
                };
                Ok(if is_found {
                    reply::empty(202)
                } else {
                    unknown()
                })
            }
            _ => Ok(reply::error(405, "UNSUPPORTED", "no such method")),
        }
    }

    fn get_manifest(&mut self, repository: &str, target: &str) -> Reply {
        if self.kind == Kind::HeadManifest && self.is(Fault::NoManifestHead) {
            return reply::empty(405);
        }
        let found = self
            .inner()
            .state
            .manifest(repository, target)
            .map(|(digest, manifest)| (digest, manifest.clone()));
        let Some((digest, manifest)) = found else {
            return unknown();
        };
        if !self.accepts(&manifest.media_type) {
            self.violation(&format!("Accept lacks {}", manifest.media_type));
            return unknown();
        }
        let mut bytes = manifest.bytes;
        if self.is(Fault::WrongManifest) {
            let mut answer = Answer::ok("", bytes);
            answer.spoil();
            bytes = answer.body;
        }
        let said = if self.is(Fault::WrongDigestHeader) {
            Digest::of(b"another")
        } else {
            digest
        };
        reply::with_body(200, &manifest.media_type, bytes).with(reply::DIGEST, &said.to_string())
    }

    fn accepts(&self, media_type: &str) -> bool {
        let accepted = self.headers.get_all(header::ACCEPT);
        accepted
            .iter()
            .filter_map(|it| it.to_str().ok())
            .flat_map(|it| it.split(','))
            .map(|it| it.split(';').next().unwrap_or_default().trim())
            .any(|it| it == media_type || it == "*/*")
    }

    async fn put_manifest(&mut self, repository: &str, target: &str) -> Outcome {
        let mut bytes = Vec::new();
        self.receive(MOST, |_, chunk| bytes.extend_from_slice(chunk))
            .await?;
        let bytes = Bytes::from(bytes);
        let length = bytes.len() as u64;
        let is_too_large = self.pick(|it| match it {
            Fault::ManifestLimit { bytes } if length > bytes => Some(()),
            _ => None,
        });
        if is_too_large.is_some() {
            let text = "the manifest is too large";
            return Ok(reply::error(413, "MANIFEST_INVALID", text));
        }
        let digest = Digest::of(&bytes);
        let document = self.check_manifest(&bytes, &digest, target)?;
        self.check_children(repository, &bytes)?;
        if let Some(millis) = self.pick(|it| match it {
            Fault::SlowManifest { millis } => Some(millis),
            _ => None,
        }) {
            let millis = self.inner().faults.random(millis);
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        {
            let mut inner = self.inner();
            let repository = inner.state.repository(repository);
            let media_type = document["mediaType"].as_str().unwrap_or(INDEX).to_owned();
            let manifest = Manifest { media_type, bytes };
            repository.manifests.insert(digest, manifest);
            if !target.contains(':') {
                repository.tags.insert(target.to_owned(), digest);
            }
        }
        if self.is(Fault::ManifestStored500) {
            return Ok(reply::error(500, "UNKNOWN", "unknown error"));
        }
        let location = format!("/v2/{repository}/manifests/{digest}");
        let mut reply = reply::empty(201)
            .with(header::LOCATION, &location)
            .with(reply::DIGEST, &digest.to_string());
        if let Some(subject) = document["subject"]["digest"].as_str()
            && self.no_referrers().is_none()
        {
            reply.set(SUBJECT, subject);
        }
        Ok(reply)
    }

    fn check_manifest(
        &self,
        bytes: &[u8],
        digest: &Digest,
        target: &str,
    ) -> Result<Value, Refusal> {
        let refuse = |code: &str, text: &str| {
            self.violation(text);
            Refusal::from(reply::error(400, code, text))
        };
        if target.contains(':') && target != digest.to_string() {
            return Err(refuse("DIGEST_INVALID", "the manifest has another digest"));
        }
        let document: Value = serde_json::from_slice(bytes)
            .map_err(|_| refuse("MANIFEST_INVALID", "the manifest is not JSON"))?;
        let content_type = self.header(header::CONTENT_TYPE);
        if document["mediaType"].as_str() != content_type.as_deref() {
            let text = "Content-Type is not the manifest's mediaType";
            return Err(refuse("MANIFEST_INVALID", text));
        }
        Ok(document)
    }

    /// Refuses a manifest of which a part is not in the repository.
    fn check_children(&self, repository: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let children = children(bytes).map_err(|text| {
            self.violation(&text);
            Refusal::from(reply::error(400, "MANIFEST_INVALID", &text))
        })?;
        for child in children {
            let size = {
                let mut inner = self.inner();
                let repository = inner.state.repository(repository);
                match child.role {
                    Role::Blob => repository.blobs.get(&child.digest).map(|it| it.size),
                    Role::Manifest => {
                        let manifest = repository.manifests.get(&child.digest);
                        manifest.map(|it| it.bytes.len() as u64)
                    }
                }
            };
            let text = match size {
                Some(size) if size == child.size => continue,
                Some(size) => format!("{} has {size} bytes, not {}", child.digest, child.size),
                None => format!("{} is not in the repository", child.digest),
            };
            self.violation(&text);
            return Err(reply::error(400, "MANIFEST_BLOB_UNKNOWN", &text).into());
        }
        Ok(())
    }

    pub(super) fn tags(&self, name: &str) -> Reply {
        let inner = self.inner();
        let Some(repository) = inner.state.repositories.get(name) else {
            return reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let value = |key| values(&self.query, key).into_iter().next();
        let last = value("last").unwrap_or_default();
        let asked = value("n").and_then(|it| it.parse::<usize>().ok());
        let most = [asked, inner.state.page_size].into_iter().flatten().min();
        let after: Vec<_> = repository.tags.keys().filter(|it| **it > last).collect();
        let page = &after[..after.len().min(most.unwrap_or(usize::MAX))];
        let document = json!({ "name": name, "tags": page });
        let reply = reply::json("application/json", &document);
        match (page.last(), most) {
            (Some(last), Some(n)) if page.len() < after.len() => {
                let link = format!("</v2/{name}/tags/list?last={last}&n={n}>; rel=\"next\"");
                reply.with(header::LINK, &link)
            }
            _ => reply,
        }
    }

    fn no_referrers(&self) -> Option<u16> {
        self.pick(|it| match it {
            Fault::NoReferrers { status } => Some(status),
            _ => None,
        })
    }

    pub(super) fn referrers(&self, name: &str, digest: &str) -> Reply {
        let index = |manifests: &[Value]| {
            let document =
                json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
            reply::json(INDEX, &document)
        };
        match self.no_referrers() {
            None => {}
            Some(200) => return index(&[]),
            Some(status) => {
                return reply::with_body(status, "text/plain", "404 page not found\n".into());
            }
        }
        let value = |key| values(&self.query, key).into_iter().next();
        let filter = value("artifactType");
        let last = value("last").unwrap_or_default();
        let inner = self.inner();
        let mut found: Vec<_> = inner
            .state
            .repositories
            .get(name)
            .into_iter()
            .flat_map(|it| &it.manifests)
            .filter_map(|(it, manifest)| referrer(it, manifest, digest))
            .filter(|it| filter.is_none() || it["artifactType"].as_str() == filter.as_deref())
            .filter(|it| it["digest"].as_str() > Some(last.as_str()))
            .collect();
        let total = found.len();
        found.truncate(inner.state.page_size.unwrap_or(usize::MAX));
        let mut reply = index(&found);
        if let Some(last) = found.last().filter(|_| found.len() < total) {
            let last = last["digest"].as_str().unwrap_or_default();
            let mut query = format!("last={last}");
            if let Some(filter) = &filter {
                let filter: String =
                    url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
                query = format!("artifactType={filter}&{query}");
            }
            let link = format!("</v2/{name}/referrers/{digest}?{query}>; rel=\"next\"");
            reply.set(header::LINK, &link);
        }
        if filter.is_some() {
            reply.set(FILTERS, "artifactType");
        }
        reply
    }
}

/// The descriptor of a manifest, where its subject is `subject`.
fn referrer(digest: &Digest, manifest: &Manifest, subject: &str) -> Option<Value> {
    let document: Value = serde_json::from_slice(&manifest.bytes).ok()?;
    if document["subject"]["digest"].as_str()? != subject {
        return None;
    }
    let artifact_type = document
        .get("artifactType")
        .or_else(|| document["config"].get("mediaType"));
    let mut descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": digest,
        "size": manifest.bytes.len(),
        "artifactType": artifact_type,
    });
    if let Some(annotations) = document.get("annotations") {
        descriptor["annotations"] = annotations.clone();
    }
    Some(descriptor)
}

fn unknown() -> Reply {
    reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
}
