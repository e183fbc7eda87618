//! What a registry keeps: repositories with their blobs, manifests and tags, and uploads that have
//! begun.

use std::collections::{BTreeMap, BTreeSet};

use hyper::body::Bytes;
use oci::Digest;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) uploads: BTreeMap<String, Upload>,
    /// Keeps digests and sizes of blobs, and not their bytes.
    pub(super) discard_blobs: bool,
    /// Most entries in a page of tags or referrers.
    pub(super) page_size: Option<usize>,
    /// Uploads of the same blob are no fault where several clients push at once.
    pub(super) several_clients: bool,
    /// Bodies of uploads that are on their way.
    pub(super) in_flight: usize,
    /// Signatures that were handed out.
    pub(super) signatures: BTreeSet<String>,
    counter: u64,
}

/// One repository. A blob that another repository has is not seen here.
#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<Digest, Blob>,
    pub(super) manifests: BTreeMap<Digest, Manifest>,
    pub(super) tags: BTreeMap<String, Digest>,
    /// Uploads that ended with this blob.
    pub(super) committed: BTreeMap<Digest, usize>,
    /// When `HEAD` last said that a blob is here.
    pub(super) known: BTreeMap<Digest, u64>,
}

/// A blob.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) size: u64,
    /// None where bytes are not kept.
    pub(super) bytes: Option<Bytes>,
}

impl Blob {
    pub(super) fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            size: bytes.len() as u64,
            bytes: Some(bytes),
        }
    }
}

/// A manifest or index.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// An upload that has begun.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) repository: String,
    /// When it began.
    pub(super) began: u64,
    pub(super) size: u64,
    hasher: Sha256,
    bytes: Option<Vec<u8>>,
    pub(super) stage: Stage,
    pub(super) address: Address,
    /// What the query of a `Location` must have, oldest first.
    pub(super) states: Vec<String>,
    /// A fault was met: what the client knows may be older than what there is.
    pub(super) is_disturbed: bool,
    /// Largest chunk so far that was smaller than the least, which only the last may be.
    pub(super) has_short_chunk: bool,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// It takes no more bytes, for this reason.
    Over(&'static str),
}

/// How the `Location` of an upload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Absolute,
    Relative,
    Foreign,
}

impl State {
    /// A number that grows with each call.
    pub(super) fn tick(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A text that was never handed out before and cannot be guessed from the others.
    pub(super) fn opaque(&mut self) -> String {
        let counter = self.tick();
        hex::encode(&Sha256::digest(counter.to_le_bytes())[..12])
    }

    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(super) fn blob(&self, repository: &str, digest: &Digest) -> Option<&Blob> {
        self.repositories.get(repository)?.blobs.get(digest)
    }

    /// A manifest by tag or digest.
    pub(super) fn manifest(&self, repository: &str, target: &str) -> Option<(Digest, &Manifest)> {
        let repository = self.repositories.get(repository)?;
        let digest = match target.parse() {
            Ok(digest) => digest,
            Err(_) => *repository.tags.get(target)?,
        };
        Some((digest, repository.manifests.get(&digest)?))
    }

    pub(super) fn begin(&mut self, repository: &str, address: Address) -> String {
        let id = self.opaque();
        let upload = Upload {
            repository: repository.to_owned(),
            began: self.tick(),
            size: 0,
            hasher: Sha256::new(),
            bytes: (!self.discard_blobs).then(Vec::new),
            stage: Stage::Open,
            address,
            states: Vec::new(),
            is_disturbed: false,
            has_short_chunk: false,
        };
        self.uploads.insert(id.clone(), upload);
        id
    }

    /// What is wrong below the tags of a repository, if anything: content that is missing or that
    /// has another size or digest than the document that refers to it says.
    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        let Some(repository) = self.repositories.get(name) else {
            return Ok(());
        };
        for (tag, digest) in &repository.tags {
            repository
                .check_manifest(digest, None)
                .map_err(|what| format!("{name}:{tag}: {what}"))?;
        }
        Ok(())
    }
}

impl Repository {
    fn check_manifest(&self, digest: &Digest, size: Option<u64>) -> Result<(), String> {
        let manifest = self
            .manifests
            .get(digest)
            .ok_or_else(|| format!("manifest {digest} is missing"))?;
        if Digest::of(&manifest.bytes) != *digest {
            return Err(format!("manifest {digest} has another digest"));
        }
        if size.is_some_and(|size| size != manifest.bytes.len() as u64) {
            return Err(format!("manifest {digest} has another size"));
        }
        for child in children(&manifest.bytes)? {
            match child.role {
                Role::Manifest => self.check_manifest(&child.digest, Some(child.size))?,
                Role::Blob => self.check_blob(&child)?,
            }
        }
        Ok(())
    }

    fn check_blob(&self, child: &Child) -> Result<(), String> {
        let digest = child.digest;
        let blob = self
            .blobs
            .get(&digest)
            .ok_or_else(|| format!("blob {digest} is missing"))?;
        if blob.size != child.size {
            return Err(format!(
                "blob {digest} has {} bytes and not {}",
                blob.size, child.size
            ));
        }
        match &blob.bytes {
            Some(bytes) if Digest::of(bytes) != digest => {
                Err(format!("blob {digest} has another digest"))
            }
            _ => Ok(()),
        }
    }
}

impl Upload {
    pub(super) fn append(&mut self, chunk: &[u8]) {
        self.hasher.update(chunk);
        self.size += chunk.len() as u64;
        if let Some(bytes) = &mut self.bytes {
            bytes.extend_from_slice(chunk);
        }
    }

    /// Room for so many more bytes.
    pub(super) fn reserve(&mut self, length: u64) {
        const MOST: u64 = 1 << 30;
        if let Some(bytes) = &mut self.bytes {
            bytes.reserve(length.min(MOST) as usize);
        }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }

    /// Ends the upload, with what came of it.
    pub(super) fn finish(&mut self, reason: &'static str) -> Blob {
        self.stage = Stage::Over(reason);
        Blob {
            size: self.size,
            bytes: self.bytes.take().map(Bytes::from),
        }
    }

    /// The value of `Range`: as docker-registry does, `0-0` also for nothing at all.
    pub(super) fn range(&self) -> String {
        format!("0-{}", self.size.saturating_sub(1))
    }
}

/// What a manifest refers to and cannot be without.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) role: Role,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Blob,
    Manifest,
}

/// The config, layers and manifests of a manifest or index (image-spec `manifest.md` and
/// `image-index.md`); layers with `urls` may be elsewhere.
pub(super) fn children(bytes: &[u8]) -> Result<Vec<Child>, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let mut children = Vec::new();
    let config = document.get("config").cloned();
    for (role, descriptor) in config
        .into_iter()
        .chain(list("layers"))
        .map(|it| (Role::Blob, it))
        .chain(list("manifests").into_iter().map(|it| (Role::Manifest, it)))
    {
        if descriptor.get("urls").is_some() {
            continue;
        }
        children.push(Child {
            role,
            digest: descriptor["digest"]
                .as_str()
                .and_then(|it| it.parse().ok())
                .ok_or("a descriptor without a digest")?,
            size: descriptor["size"]
                .as_u64()
                .ok_or("a descriptor without a size")?,
        });
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_is_told() {
        let layer = b"layer";
        let document = json!({ "layers": [{ "digest": Digest::of(layer), "size": layer.len() }] });
        let manifest: Bytes = document.to_string().into();
        let digest = Digest::of(&manifest);
        let index = json!({ "manifests": [{ "digest": digest, "size": manifest.len() }] });
        let index: Bytes = index.to_string().into();
        let mut state = State::default();
        let mut check = |change: &dyn Fn(&mut Repository)| {
            let repository = state.repository("a");
            change(repository);
            state.check("a").err().unwrap_or_default()
        };
        let put = |repository: &mut Repository, bytes: &Bytes| {
            let media_type = String::new();
            let bytes = bytes.clone();
            let manifest = Manifest { media_type, bytes };
            repository
                .manifests
                .insert(Digest::of(&manifest.bytes), manifest);
        };
        assert_eq!(check(&|_| ()), "");
        let text = check(&|it| {
            put(it, &index);
            it.tags.insert("1".into(), Digest::of(&index));
        });
        assert_eq!(text, format!("a:1: manifest {digest} is missing"));
        let text = check(&|it| put(it, &manifest));
        assert!(text.ends_with("is missing") && text.contains(": blob "));
        let text = check(&|it| {
            it.blobs.insert(Digest::of(layer), Blob::of(&b"other"[..]));
        });
        assert!(text.ends_with("has another digest"), "{text}");
        let text = check(&|it| {
            it.blobs
                .insert(Digest::of(layer), Blob::of(&b"long layer"[..]));
        });
        assert!(text.ends_with("has 10 bytes and not 5"), "{text}");
        let text = check(&|it| {
            it.blobs.insert(Digest::of(layer), Blob::of(&layer[..]));
        });
        assert_eq!(text, "");
    }
}
