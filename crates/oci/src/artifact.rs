//! Manifests of artifacts: files under one name that are no image (image-spec `manifest.md`,
//! Guidelines for Artifact Usage).

use oci_spec::image::{ANNOTATION_TITLE, Descriptor, MediaType, SCHEMA_VERSION};
use serde_json::json;

use crate::descriptor::{describe, refer};
use crate::{Digest, json};

/// The blob that stands where an artifact has no configuration, and where it has no file.
pub const EMPTY: &[u8] = b"{}";

/// The manifest of an artifact without a configuration. Its blobs are its files and [`EMPTY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The document: the bytes to write.
    pub bytes: Vec<u8>,
    /// What refers to it.
    pub descriptor: Descriptor,
}

/// A file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArtifactFile {
    /// Its name: the annotation `org.opencontainers.image.title`.
    pub title: String,
    /// What it is.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl Artifact {
    /// An artifact of `files`, in the order they are given in.
    pub fn new(artifact_type: &str, files: &[ArtifactFile]) -> Self {
        let empty = describe(MediaType::EmptyJSON, EMPTY);
        let mut layers: Vec<_> = files.iter().map(ArtifactFile::descriptor).collect();
        if layers.is_empty() {
            // Registries that follow the letter of the specification want one at least.
            layers.push(empty.clone());
        }
        let bytes = json::canonical(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "mediaType": MediaType::ImageManifest.as_ref(),
            "artifactType": artifact_type,
            "config": empty,
            "layers": layers,
        }));
        let mut descriptor = describe(MediaType::ImageManifest, &bytes);
        descriptor.set_artifact_type(Some(MediaType::from(artifact_type)));
        Self { bytes, descriptor }
    }
}

impl ArtifactFile {
    fn descriptor(&self) -> Descriptor {
        let media_type = MediaType::from(self.media_type.as_str());
        let mut descriptor = refer(media_type, &self.digest, self.size);
        let title = (ANNOTATION_TITLE.to_owned(), self.title.clone());
        descriptor.set_annotations(Some([title].into()));
        descriptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_files_in_the_given_order() {
        let file = |title: &str| ArtifactFile {
            title: title.to_owned(),
            media_type: "application/x-own".to_owned(),
            digest: Digest::of(title.as_bytes()),
            size: title.len() as u64,
        };
        let artifact = Artifact::new("application/x-files", &[file("b"), file("a")]);
        let text = String::from_utf8(artifact.bytes).unwrap();
        insta::assert_snapshot!(text, @r#"{"artifactType":"application/x-files","config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2},"layers":[{"annotations":{"org.opencontainers.image.title":"b"},"digest":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","mediaType":"application/x-own","size":1},{"annotations":{"org.opencontainers.image.title":"a"},"digest":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","mediaType":"application/x-own","size":1}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#);
        let artifact = Artifact::new("application/x-files", &[]);
        assert_eq!(artifact.descriptor.size(), artifact.bytes.len() as u64);
        let text = String::from_utf8(artifact.bytes).unwrap();
        insta::assert_snapshot!(text, @r#"{"artifactType":"application/x-files","config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2},"layers":[{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#);
    }
}
