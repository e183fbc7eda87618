//! Image indexes (image-spec `image-index.md`): one name for the images of several platforms.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType, SCHEMA_VERSION};

use crate::descriptor::describe;
use crate::{Image, Platform, json};

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

/// The image for `platform` that `index` lists, or the platforms that it has instead.
pub fn select(index: &ImageIndex, platform: Platform) -> Result<&Descriptor, Vec<String>> {
    let of = |entry: &Descriptor| entry.platform().clone();
    index
        .manifests()
        .iter()
        .find(|entry| of(entry).is_some_and(|found| serves(&found, platform)))
        .ok_or_else(|| {
            let known = index.manifests().iter().filter_map(of);
            known.map(|found| platform_text(&found)).collect()
        })
}

/// Whether an image for `found` runs on `wanted`. `v8` is what arm64 without a variant means.
fn serves(found: &oci_spec::image::Platform, wanted: Platform) -> bool {
    let variant = match (wanted, found.variant().as_deref()) {
        (Platform::Arm64, Some("v8")) => None,
        (_, variant) => variant,
    };
    found.os().to_string() == wanted.os()
        && found.architecture().to_string() == wanted.architecture()
        && variant == wanted.variant()
}

/// `linux/arm/v7` of any platform.
pub fn platform_text(platform: &oci_spec::image::Platform) -> String {
    let variant = platform
        .variant()
        .as_ref()
        .map(|v| format!("/{v}"))
        .unwrap_or_default();
    format!("{}/{}{variant}", platform.os(), platform.architecture())
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
    use crate::{ImageSpec, Runtime};

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
