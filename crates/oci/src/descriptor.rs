//! Descriptors: typed, sized and digested references to blobs, after image-spec `descriptor.md`.

use std::fmt;

use oci_spec::image::{Descriptor, MediaType, PlatformBuilder, Sha256Digest};

use crate::{Digest, Platform};

/// The descriptor of a document whose bytes are at hand.
pub fn describe(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    refer(media_type, &Digest::of(bytes), bytes.len() as u64)
}

/// A descriptor from its three required fields.
pub fn refer(media_type: MediaType, digest: &Digest, size: u64) -> Descriptor {
    let digest: Sha256Digest = digest
        .hex()
        .parse()
        .expect("64 lower-case hexadecimal digits");
    Descriptor::new(media_type, size, digest)
}

/// The digest a descriptor names; None where its algorithm is not sha256.
pub fn digest_of(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.digest().as_ref().parse().ok()
}

/// The annotation `key` of a descriptor.
pub fn annotation<'a>(descriptor: &'a Descriptor, key: &str) -> Option<&'a str> {
    descriptor
        .annotations()
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

/// Whether the type is an index's, OCI's or Docker's.
pub fn is_index(media_type: &MediaType) -> bool {
    Role::of(media_type) == Some(Role::Index)
}

/// Whether the type is an image manifest's, OCI's or Docker's.
pub fn is_manifest(media_type: &MediaType) -> bool {
    Role::of(media_type) == Some(Role::Manifest)
}

/// What a blob is for, whichever of the OCI and Docker media types names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Index,
    Manifest,
    Config,
    Layer(Compression),
}

/// How a layer's tar stream is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "an uncompressed tar stream",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl Role {
    /// None for media types that have no part in a runnable image.
    pub(crate) fn of(media_type: &MediaType) -> Option<Self> {
        Some(match media_type {
            MediaType::ImageIndex => Self::Index,
            MediaType::ImageManifest => Self::Manifest,
            MediaType::ImageConfig => Self::Config,
            MediaType::ImageLayer | MediaType::ImageLayerNonDistributable => {
                Self::Layer(Compression::None)
            }
            MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip => {
                Self::Layer(Compression::Gzip)
            }
            MediaType::ImageLayerZstd | MediaType::ImageLayerNonDistributableZstd => {
                Self::Layer(Compression::Zstd)
            }
            MediaType::Other(other) => match other.as_str() {
                "application/vnd.docker.distribution.manifest.list.v2+json" => Self::Index,
                "application/vnd.docker.distribution.manifest.v2+json" => Self::Manifest,
                "application/vnd.docker.container.image.v1+json" => Self::Config,
                "application/vnd.docker.image.rootfs.diff.tar" => Self::Layer(Compression::None),
                "application/vnd.docker.image.rootfs.diff.tar.gzip"
                | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
                    Self::Layer(Compression::Gzip)
                }
                "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
                    Self::Layer(Compression::Zstd)
                }
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// The OCI media type for the same bytes: an OCI manifest that lists Docker's types is refused by
/// some registries. Types it does not know stay as they are.
pub(crate) fn oci_layer_type(media_type: &str) -> MediaType {
    let media_type = MediaType::from(media_type);
    match (&media_type, Role::of(&media_type)) {
        (MediaType::Other(_), Some(Role::Layer(compression))) => match compression {
            Compression::None => MediaType::ImageLayer,
            Compression::Gzip => MediaType::ImageLayerGzip,
            Compression::Zstd => MediaType::ImageLayerZstd,
        },
        _ => media_type,
    }
}

impl From<Platform> for oci_spec::image::Platform {
    fn from(platform: Platform) -> Self {
        let builder = PlatformBuilder::default()
            .os(platform.os())
            .architecture(platform.architecture());
        match platform.variant() {
            Some(variant) => builder.variant(variant),
            None => builder,
        }
        .build()
        .expect("both required fields are set")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn describes_bytes() {
        let descriptor = describe(MediaType::EmptyJSON, b"{}");
        assert_eq!(digest_of(&descriptor), Some(Digest::of(b"{}")));
        insta::assert_snapshot!(
            String::from_utf8(json::canonical(&descriptor)).unwrap(),
            @r#"{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}"#
        );
    }

    #[test]
    fn platforms_carry_their_variant() {
        let text = |platform: Platform| {
            let platform = oci_spec::image::Platform::from(platform);
            String::from_utf8(json::canonical(&platform)).unwrap()
        };
        insta::assert_snapshot!(text(Platform::Arm64), @r#"{"architecture":"arm64","os":"linux"}"#);
        insta::assert_snapshot!(text(Platform::ArmV7), @r#"{"architecture":"arm","os":"linux","variant":"v7"}"#);
    }

    #[test]
    fn docker_layers_become_oci_layers() {
        let check = |from: &str, to: &str| assert_eq!(oci_layer_type(from).to_string(), to);
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        check("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip);
        check(gzip, gzip);
        check("application/x-own", "application/x-own");
    }
}
