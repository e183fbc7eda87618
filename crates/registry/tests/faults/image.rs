//! An image for two platforms of made-up bytes, and its push and pull as a build does them.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use oci::Digest;
use registry::{Content, Error, Repository, Upload};
use serde_json::{Value, json};
use testkit::Registry;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The repository that images are pushed to.
pub(crate) const REPOSITORY: &str = "acme/app";

/// The repository that has one of the layers already.
pub(crate) const BASE: &str = "acme/base";

/// Bytes and their digest.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) bytes: Arc<Vec<u8>>,
}

impl Blob {
    fn of(bytes: Vec<u8>) -> Self {
        let digest = Digest::of(&bytes);
        let bytes = Arc::new(bytes);
        Self { digest, bytes }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// Two manifests with layers of their own and layers that they share.
#[derive(Clone)]
pub(crate) struct Image {
    /// The first one is mounted from [`BASE`].
    pub(crate) layers: Vec<Blob>,
    pub(crate) configs: Vec<Blob>,
    pub(crate) manifests: Vec<Blob>,
    pub(crate) index: Blob,
}

/// Sizes in bytes of layers: two shared, two of each platform.
pub(crate) const LARGE: [usize; 6] = [70_000, 6 << 20, 10, 2_500_000, 1000, 700_000];
pub(crate) const SMALL: [usize; 6] = [7000, 1_500_000, 10, 25_000, 1000, 70_000];

impl Image {
    /// `seed` makes another image with the same sizes.
    pub(crate) fn new(sizes: [usize; 6], seed: u64) -> Self {
        let layers: Vec<_> = (0..)
            .zip(sizes)
            .map(|(n, size)| Blob::of(noise(size, seed * 100 + n)))
            .collect();
        let mut image = Self {
            layers,
            configs: Vec::new(),
            manifests: Vec::new(),
            index: Blob::of(Vec::new()),
        };
        let mut descriptors = Vec::new();
        for (architecture, own) in [("amd64", [2, 3]), ("arm64", [4, 5])] {
            let config = json!({ "architecture": architecture, "os": "linux", "seed": seed });
            let config = Blob::of(config.to_string().into_bytes());
            let layers = [0, 1, own[0], own[1]].map(|n| image.layers[n].descriptor(LAYER));
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor(CONFIG),
                "layers": layers,
            });
            let manifest = Blob::of(manifest.to_string().into_bytes());
            let mut descriptor = manifest.descriptor(MANIFEST);
            descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
            descriptors.push(descriptor);
            image.configs.push(config);
            image.manifests.push(manifest);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors });
        image.index = Blob::of(index.to_string().into_bytes());
        image
    }

    /// Puts what [`BASE`] has into a registry.
    pub(crate) fn seed_base(&self, registry: &Registry) {
        registry.put_blob(BASE, self.layers[0].bytes.to_vec());
    }

    /// Puts the whole into a registry without requests.
    pub(crate) fn seed(&self, registry: &Registry, tag: &str) {
        for blob in self.layers.iter().chain(&self.configs) {
            registry.put_blob(REPOSITORY, blob.bytes.to_vec());
        }
        for manifest in &self.manifests {
            let target = manifest.digest.to_string();
            registry.put_manifest(REPOSITORY, &target, MANIFEST, manifest.bytes.to_vec());
        }
        registry.put_manifest(REPOSITORY, tag, INDEX, self.index.bytes.to_vec());
    }

    /// Pushes blobs four at a time, then configs, manifests, and the index with its tag.
    pub(crate) async fn push(&self, repository: &Repository, tag: &str) -> Result<(), Error> {
        repository.check_push().await?;
        push_blobs(repository, &self.layers).await?;
        push_blobs(repository, &self.configs).await?;
        for manifest in &self.manifests {
            let target = manifest.digest.to_string();
            repository
                .push_manifest(&target, MANIFEST, &manifest.bytes)
                .await?;
        }
        repository
            .push_manifest(tag, INDEX, &self.index.bytes)
            .await
    }

    /// Reads everything and compares it.
    pub(crate) async fn pull(&self, repository: &Repository, tag: &str) -> Result<(), Error> {
        let found = repository.resolve(tag).await?.expect("the tag is there");
        assert_eq!(found.size(), self.index.bytes.len() as u64);
        let index = repository.manifest(tag).await?;
        assert_eq!(index.bytes, *self.index.bytes);
        assert_eq!(index.media_type, INDEX);
        for manifest in &self.manifests {
            let found = repository.manifest(&manifest.digest.to_string()).await?;
            assert_eq!(found.bytes, *manifest.bytes);
        }
        for config in &self.configs {
            let size = config.bytes.len() as u64;
            let found = repository.document(&config.digest, size).await?;
            assert_eq!(found, *config.bytes);
        }
        let pulls = self.layers.iter().map(|layer| async move {
            let size = layer.bytes.len() as u64;
            let mut reader = repository.blob(&layer.digest, size).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = reader.chunk().await? {
                bytes.extend_from_slice(&chunk);
            }
            assert_eq!(bytes, *layer.bytes);
            Ok(())
        });
        stream::iter(pulls).buffer_unordered(4).try_collect().await
    }

    /// What must be true of a registry after any push: nothing that a tag points at is missing, and
    /// no upload of a blob ended well twice. Err tells what is not.
    pub(crate) fn check(
        &self,
        registry: &Registry,
        tag: &str,
        is_pushed: bool,
    ) -> Result<(), String> {
        registry.complete(REPOSITORY)?;
        for blob in self.layers.iter().chain(&self.configs) {
            let times = registry.committed(REPOSITORY, &blob.digest);
            if times > 1 {
                return Err(format!("{} was uploaded {times} times", blob.digest));
            }
            if is_pushed && registry.blob(REPOSITORY, &blob.digest).as_deref() != Some(&blob.bytes)
            {
                return Err(format!("{} is not there as it was pushed", blob.digest));
            }
        }
        let found = registry.manifest(REPOSITORY, tag);
        if is_pushed && found.as_ref().map(|it| &it.1[..]) != Some(&self.index.bytes[..]) {
            return Err("the tag does not point at the index".to_owned());
        }
        let violations = registry.violations();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(format!("violations: {violations:#?}"))
        }
    }
}

async fn push_blobs(repository: &Repository, blobs: &[Blob]) -> Result<(), Error> {
    let from = [BASE.to_owned()];
    let mut largest_first: Vec<_> = blobs.iter().collect();
    largest_first.sort_by_key(|it| std::cmp::Reverse(it.bytes.len()));
    let pushes = largest_first.into_iter().map(|blob| {
        let bytes = Arc::clone(&blob.bytes);
        let upload = Upload {
            digest: blob.digest,
            size: bytes.len() as u64,
            mount_from: &from,
            is_new: false,
            content: Content::Written(Arc::new(move |out| Ok(out.write_all(&bytes)?))),
        };
        async move { repository.push_blob(&upload).await.map(drop) }
    });
    stream::iter(pushes).buffer_unordered(4).try_collect().await
}

/// Bytes without a pattern (Marsaglia's xorshift).
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
