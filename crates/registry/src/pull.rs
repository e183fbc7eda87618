//! Reading manifests and blobs (distribution-spec, "Pull").

use oci::{Descriptor, Digest, MediaType};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use serde::Deserialize;

use crate::answer::{Answer, Refusal, Success};
use crate::auth::Purpose;
use crate::delay::Tries;
use crate::header::{content_range, text};
use crate::registry::{Ask, Redirects};
use crate::{BlobReader, Error, Repository};

/// Bytes that a manifest, index or configuration may have.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// What is asked for: without OCI's types some registries convert, without Docker's some say 404.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
                         application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json, \
                         */*;q=0.1";

/// A manifest or index as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its `mediaType`, else the answer's `Content-Type`.
    pub media_type: String,
    /// Computed from the bytes.
    pub digest: Digest,
}

/// What a repository knows of a blob.
pub(crate) enum Presence {
    Absent,
    /// With its size, if that was said.
    Present(Option<u64>),
}

/// A document as it came.
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    pub(crate) headers: HeaderMap,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

impl Repository {
    /// What `target`, a tag or digest, is; None where the repository does not have it, or is none.
    /// The descriptor has a media type, a digest and a size.
    pub async fn resolve(&self, target: &str) -> Result<Option<Descriptor>, Error> {
        let name = self.name_of(target);
        let action = format!("look up {name}");
        let purpose = self.to_pull(&action);
        let url = self.url(&["manifests", target], &action).await?;
        let mut ask = Ask::new(Method::HEAD, url, purpose);
        ask.headers
            .insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        match self.host().ask(self.shared(), &ask).await? {
            Answer::Success(Success { response, .. }) => {
                if let Some(found) = described(response.headers(), target, &name)? {
                    return Ok(Some(found));
                }
            }
            Answer::Refusal(refusal) if refusal.status.as_u16() == 404 => return Ok(None),
            // Registries that know no HEAD, or send those who ask elsewhere.
            Answer::Refusal(refusal) if !refusal.is_about_permission() => {}
            Answer::Refusal(refusal) => return Err(self.host().refused(refusal, purpose).await),
        }
        let Some(manifest) = self.find_manifest(target).await? else {
            return Ok(None);
        };
        let size = manifest.bytes.len() as u64;
        Ok(Some(descriptor(
            &manifest.media_type,
            &manifest.digest,
            size,
        )))
    }

    /// The manifest or index at `target`, a tag or digest, of at most 4 MiB; None where the
    /// repository does not have it, or is none.
    ///
    /// # Errors
    /// Also where its digest is not `target`, or not the one in `Docker-Content-Digest`.
    pub async fn find_manifest(&self, target: &str) -> Result<Option<Manifest>, Error> {
        match self.fetch_manifest(target).await? {
            Ok(manifest) => Ok(Some(manifest)),
            Err(refusal) if refusal.status.as_u16() == 404 => Ok(None),
            Err(refusal) => {
                let action = format!("read {}", self.name_of(target));
                Err(self.host().refused(refusal, self.to_pull(&action)).await)
            }
        }
    }

    /// As [`Self::find_manifest`], but it is an error not to have it.
    pub async fn manifest(&self, target: &str) -> Result<Manifest, Error> {
        match self.fetch_manifest(target).await? {
            Ok(manifest) => Ok(manifest),
            Err(refusal) => {
                let action = format!("read {}", self.name_of(target));
                Err(self.host().refused(refusal, self.to_pull(&action)).await)
            }
        }
    }

    /// The manifest or index that `descriptor` refers to: its size is checked too.
    pub async fn manifest_of(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        let target = descriptor.digest().as_ref();
        let manifest = self.manifest(target).await?;
        let found = manifest.bytes.len() as u64;
        if found != descriptor.size() {
            return Err(Error::Size {
                what: format!("manifest {}", self.name_of(target)),
                expected: descriptor.size(),
                found,
            });
        }
        Ok(manifest)
    }

    async fn fetch_manifest(&self, target: &str) -> Result<Result<Manifest, Refusal>, Error> {
        let name = self.name_of(target);
        let action = format!("read {name}");
        let url = self.url(&["manifests", target], &action).await?;
        let mut ask = Ask::new(Method::GET, url, self.to_pull(&action));
        ask.redirects = Redirects::All;
        ask.headers
            .insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        let what = format!("manifest {name}");
        let Document { bytes, headers } = match self.read(&ask, &what).await? {
            Ok(document) => document,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let digest = Digest::of(&bytes);
        for expected in [wanted(target, &name)?, announced(&headers)] {
            if let Some(expected) = expected.filter(|expected| *expected != digest) {
                return Err(Error::Digest {
                    what,
                    expected,
                    found: digest,
                });
            }
        }
        let typed: Typed = serde_json::from_slice(&bytes).map_err(|source| Error::Document {
            what: what.clone(),
            source,
        })?;
        let media_type = typed.media_type.or_else(|| content_type(&headers));
        Ok(Ok(Manifest {
            bytes,
            media_type: media_type.ok_or(Error::NoMediaType { what })?,
            digest,
        }))
    }

    /// The size in bytes of a blob; None where the repository does not have it, or is none.
    pub async fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let action = format!("look for blob {digest} in {}", self.name());
        let purpose = self.to_pull(&action);
        match self.look_for_blob(digest, purpose).await? {
            Presence::Absent => Ok(None),
            Presence::Present(Some(size)) => Ok(Some(size)),
            // Registries that redirect even HEAD: the first byte says how many there are.
            Presence::Present(None) => self.first_byte(digest, purpose).await,
        }
    }

    pub(crate) async fn look_for_blob(
        &self,
        digest: &Digest,
        purpose: Purpose<'_>,
    ) -> Result<Presence, Error> {
        let url = self
            .url(&["blobs", &digest.to_string()], purpose.action)
            .await?;
        let ask = Ask::new(Method::HEAD, url, purpose);
        match self.host().ask(self.shared(), &ask).await? {
            Answer::Success(Success { response, .. }) => {
                let length = text(response.headers(), CONTENT_LENGTH.as_str());
                Ok(Presence::Present(
                    length.and_then(|length| length.parse().ok()),
                ))
            }
            Answer::Refusal(refusal) => match refusal.status.as_u16() {
                404 => Ok(Presence::Absent),
                301..=308 => Ok(Presence::Present(None)),
                _ => Err(self.host().refused(refusal, purpose).await),
            },
        }
    }

    async fn first_byte(
        &self,
        digest: &Digest,
        purpose: Purpose<'_>,
    ) -> Result<Option<u64>, Error> {
        let url = self
            .url(&["blobs", &digest.to_string()], purpose.action)
            .await?;
        let mut ask = Ask::new(Method::GET, url, purpose);
        ask.redirects = Redirects::All;
        ask.headers
            .insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        match self.host().ask(self.shared(), &ask).await? {
            Answer::Success(Success { response, .. }) => {
                let headers = response.headers();
                Ok(match content_range(headers) {
                    Some((_, total)) => total,
                    None => response.content_length(),
                })
            }
            Answer::Refusal(refusal) if refusal.status.as_u16() == 404 => Ok(None),
            Answer::Refusal(refusal) => Err(self.host().refused(refusal, purpose).await),
        }
    }

    /// Reads a blob of `size` bytes from its beginning.
    pub async fn blob(&self, digest: &Digest, size: u64) -> Result<BlobReader, Error> {
        BlobReader::open(self.clone(), *digest, size).await
    }

    /// Reads a small blob, such as a configuration, of at most 4 MiB.
    pub async fn document(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        if size > MAX_DOCUMENT {
            return Err(Error::TooLarge {
                what: format!("blob {}", self.name_of(&digest.to_string())),
                limit: MAX_DOCUMENT,
            });
        }
        let mut reader = self.blob(digest, size).await?;
        let mut bytes = Vec::with_capacity(size as usize);
        while let Some(chunk) = reader.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// A document in memory; asked for again where the connection breaks within it.
    pub(crate) async fn read(
        &self,
        ask: &Ask<'_>,
        what: &str,
    ) -> Result<Result<Document, Refusal>, Error> {
        let mut tries = Tries::new(self.shared().options.retry);
        'tries: loop {
            let mut success = match self.host().ask(self.shared(), ask).await? {
                Answer::Success(success) => success,
                Answer::Refusal(refusal) => return Ok(Err(refusal)),
            };
            let too_large = || Error::TooLarge {
                what: what.to_owned(),
                limit: MAX_DOCUMENT,
            };
            if success.response.content_length() > Some(MAX_DOCUMENT) {
                return Err(too_large());
            }
            let mut bytes = Vec::new();
            loop {
                let chunk = self
                    .shared()
                    .chunk(&success.server, &mut success.response)
                    .await;
                match chunk {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                    Ok(None) => break,
                    Err(_) if tries.again(None).await => continue 'tries,
                    Err(source) => {
                        return Err(Error::Network {
                            action: ask.purpose.action.to_owned(),
                            source,
                        });
                    }
                }
                if bytes.len() as u64 > MAX_DOCUMENT {
                    return Err(too_large());
                }
            }
            let headers = success.response.headers().clone();
            return Ok(Ok(Document { bytes, headers }));
        }
    }
}

/// A descriptor of its three required fields.
pub(crate) fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    let digest: oci_spec::image::Sha256Digest = digest
        .hex()
        .parse()
        .expect("64 lower-case hexadecimal digits");
    Descriptor::new(MediaType::from(media_type), size, digest)
}

/// The descriptor in the answer to a HEAD; None where something is missing.
fn described(headers: &HeaderMap, target: &str, name: &str) -> Result<Option<Descriptor>, Error> {
    let (wanted, announced) = (wanted(target, name)?, announced(headers));
    if let (Some(expected), Some(found)) = (wanted, announced)
        && expected != found
    {
        return Err(Error::Digest {
            what: format!("manifest {name}"),
            expected,
            found,
        });
    }
    let length = text(headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    let (Some(digest), Some(media_type), Some(size)) =
        (wanted.or(announced), content_type(headers), length)
    else {
        return Ok(None);
    };
    Ok(Some(descriptor(&media_type, &digest, size)))
}

/// The digest that `target` is, if it is no tag.
fn wanted(target: &str, name: &str) -> Result<Option<Digest>, Error> {
    if !target.contains(':') {
        return Ok(None);
    }
    let digest = target.parse().map_err(|_| Error::OtherDigest {
        what: format!("manifest {name}"),
        found: target.to_owned(),
    })?;
    Ok(Some(digest))
}

/// The digest that an answer speaks of; None where that is of another algorithm.
pub(crate) fn announced(headers: &HeaderMap) -> Option<Digest> {
    text(headers, "docker-content-digest")?.trim().parse().ok()
}

/// The answer's media type, unless it is one of those that servers give to anything.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, CONTENT_TYPE.as_str())?;
    let essence = value.split(';').next()?.trim().to_ascii_lowercase();
    let is_specific = essence.starts_with("application/vnd.");
    is_specific.then_some(essence)
}
