//! Image indexes (image-spec `image-index.md`): one name for the images of several platforms.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType, SCHEMA_VERSION};

use crate::descriptor::describe;
use crate::{Image, json};

/// An index document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The document: the bytes to write.
    pub bytes: Vec<u8>,
    /// What refers to it.
    pub descriptor: Descriptor,
}

impl Index {
    /// An index of `images`, in the order they are given in.
    pub fn of<'a>(
        images: impl IntoIterator<Item = &'a Image>,
        annotations: &BTreeMap<String, String>,
    ) -> Self {
        Self::new(
            images
                .into_iter()
                .map(|i| i.manifest_descriptor.clone())
                .collect(),
            annotations,
        )
    }

    /// An index of manifests, in the order they are given in.
    pub fn new(manifests: Vec<Descriptor>, annotations: &BTreeMap<String, String>) -> Self {
        let bytes = json::canonical(&document(manifests, annotations));
        Self {
            descriptor: describe(MediaType::ImageIndex, &bytes),
            bytes,
        }
    }
}

fn document(manifests: Vec<Descriptor>, annotations: &BTreeMap<String, String>) -> ImageIndex {
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests);
    let mut index = index.build().expect("all required fields are set");
    if !annotations.is_empty() {
        index.set_annotations(Some(annotations.clone().into_iter().collect()));
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageSpec, Platform, Runtime};

    fn image(platform: Platform) -> Image {
        let spec = ImageSpec {
            platform,
            base: None,
            layers: Vec::new(),
            runtime: Runtime::default(),
            created: 0,
            annotations: BTreeMap::new(),
        };
        Image::new(&spec).unwrap()
    }

    #[test]
    fn lists_platforms_in_the_given_order_and_sorts_annotations() {
        let images = [image(Platform::ArmV7), image(Platform::Amd64)];
        let annotations = ('a'..='k')
            .rev()
            .map(|c| (c.to_string(), "x".to_owned()))
            .collect();
        let index = Index::of(&images, &annotations);
        insta::assert_snapshot!(std::str::from_utf8(&index.bytes).unwrap(), @r#"{"annotations":{"a":"x","b":"x","c":"x","d":"x","e":"x","f":"x","g":"x","h":"x","i":"x","j":"x","k":"x"},"manifests":[{"digest":"sha256:1909b7ad2d9900f82ff4f5a7446c38533349c9c55c9c215f2caa3a53d0c3fff9","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{"architecture":"arm","os":"linux","variant":"v7"},"size":248},{"digest":"sha256:a64bba914792ce6db2b3e44d811f91bc729e70e564385031ab932ed927db1a0b","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{"architecture":"amd64","os":"linux"},"size":248}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#);
        assert_eq!(
            index.descriptor,
            describe(MediaType::ImageIndex, &index.bytes)
        );
    }
}
