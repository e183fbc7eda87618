//! Two small images that share a layer, and ways to write them down.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use oci::layer::{Options, Output, encode};
use oci::{
    ArchiveWriter, Content, Digest, Encoder, Entry, Image, ImageSpec, Index, Layer, LayerSpec,
    LayoutReader, LayoutWriter, Platform, Runtime, SHARED_MTIME, Tree, TreePath,
};

/// Images with their index, and their layers' blobs.
pub(crate) struct Sample {
    pub(crate) images: Vec<Image>,
    pub(crate) index: Index,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
}

/// A layer with one file.
pub(crate) fn layer(path: &str, text: &str, encoder: Encoder) -> (Layer, Vec<u8>) {
    let mut tree = Tree::new();
    let content = Content::Bytes(text.as_bytes().into());
    tree.insert(
        TreePath::new(path).unwrap(),
        Entry::file(content, false, &"test".into()),
    )
    .unwrap();
    let mut blob = Vec::new();
    let options = Options {
        encoder,
        ..Options::default()
    };
    let made = encode(&tree, &options, Output::Blob(&mut blob)).unwrap();
    (made.layer, blob)
}

impl Sample {
    /// For amd64 and arm/v7.
    pub(crate) fn new() -> Self {
        let mut blobs = BTreeMap::new();
        let mut put = |path: &str, text: &str, encoder| {
            let (layer, blob) = layer(path, text, encoder);
            blobs.insert(layer.digest, blob);
            let created_by = format!("oxcart {path}");
            LayerSpec {
                layer,
                created_by,
                comment: None,
            }
        };
        let shared = put("opt/venv/shared.py", "shared", Encoder::Splice);
        let images = [Platform::Amd64, Platform::ArmV7].map(|platform| {
            let own = put(
                "opt/venv/own.py",
                &platform.to_string(),
                Encoder::Zstd { level: 3 },
            );
            let spec = ImageSpec {
                platform,
                base: None,
                layers: vec![shared.clone(), own],
                runtime: Runtime {
                    cmd: Some(vec!["/bin/true".into()]),
                    ..Runtime::default()
                },
                created: SHARED_MTIME,
                annotations: BTreeMap::new(),
            };
            Image::new(&spec).unwrap()
        });
        let index = Index::of(&images, &BTreeMap::new());
        Self {
            images: images.into(),
            index,
            blobs,
        }
    }

    /// Puts all blobs and documents into the layout at `root`, and lists the index under `names`.
    pub(crate) fn write_layout(&self, root: &Path, names: &[&str]) {
        let layout = LayoutWriter::open(root).unwrap();
        for (digest, blob) in &self.blobs {
            layout
                .put_blob(digest, blob.len() as u64, |out| out.write_all(blob))
                .unwrap();
        }
        for image in &self.images {
            layout.put_image(image).unwrap();
        }
        layout.put_index(&self.index).unwrap();
        layout.publish(&self.index.descriptor, names).unwrap();
    }

    /// An archive that has everything but its end.
    pub(crate) fn begin_archive(&self, images: &[Image]) -> ArchiveWriter<Vec<u8>> {
        let mut archive = ArchiveWriter::new(Vec::new(), SHARED_MTIME).unwrap();
        for image in images {
            archive.put_image(image).unwrap();
            for layer in &image.layers {
                let blob = &self.blobs[&layer.digest];
                archive
                    .put_blob(&layer.digest, layer.size, |out| out.write_all(blob))
                    .unwrap();
            }
        }
        archive
    }

    /// Both images as an oci-archive.
    pub(crate) fn oci_archive(&self, names: &[&str]) -> Vec<u8> {
        let mut archive = self.begin_archive(&self.images);
        archive.put_index(&self.index).unwrap();
        archive.finish(&self.index.descriptor, names).unwrap()
    }

    /// The first image as a docker-archive.
    pub(crate) fn docker_archive(&self, names: &[&str]) -> Vec<u8> {
        let archive = self.begin_archive(&self.images[..1]);
        archive.finish_docker(&self.images[0], names).unwrap()
    }
}

/// Writes `archive` to a file and opens it.
pub(crate) fn open_archive(archive: &[u8]) -> Result<LayoutReader, oci::LayoutError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(archive).unwrap();
    LayoutReader::open(file.path())
}

/// An error and its causes, with digests and temporary paths left out.
pub(crate) fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    let word = |word: &str| {
        let start = word.find("/tmp/").unwrap_or(word.len());
        let word = if start < word.len() {
            format!("{}TMP", &word[..start])
        } else {
            word.into()
        };
        match word.find("sha256:") {
            Some(at) => format!(
                "{}sha256:…{}",
                &word[..at],
                &word[(at + 71).min(word.len())..]
            ),
            None => word,
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
