//! Layouts as one tar stream: oci-archive, and docker-archive, which has Docker's `manifest.json`
//! next to the layout so that `docker load` and `podman load` take it.
//!
//! Members are written as they come, so the output may be a pipe. The bytes depend on the contents,
//! their order and the mtime alone.

use std::collections::BTreeSet;
use std::io::Write;

use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor};
use serde_json::json;

use crate::exact_copy::{BoxError, write_exactly};
use crate::layout::{BLOBS, INDEX, MARKER, blob_path, entries, marker};
use crate::tar::{Header, TRAILER, Typeflag, padding};
use crate::{Digest, Image, Index, LayoutError, json};

/// Docker's list of what is in an archive.
pub(crate) const DOCKER_MANIFEST: &str = "manifest.json";
/// The annotation that containerd takes an image's full name from.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Writes one archive. After an error the output is to be thrown away: a stream cannot take back
/// what it has sent.
#[derive(Debug)]
pub struct ArchiveWriter<W> {
    out: W,
    mtime: u64,
    written: BTreeSet<Digest>,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive. `mtime`, in seconds since 1970, is every member's.
    pub fn new(out: W, mtime: u64) -> Result<Self, LayoutError> {
        let mut archive = Self {
            out,
            mtime,
            written: BTreeSet::new(),
        };
        let parent = BLOBS.split('/').next().unwrap_or_default();
        archive.header(parent, Typeflag::Directory, 0)?;
        archive.header(BLOBS, Typeflag::Directory, 0)?;
        archive.file(MARKER, &marker())?;
        Ok(archive)
    }

    /// Whether the blob has been put.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.written.contains(digest)
    }

    /// Puts a blob that `produce` writes; false where it was there already and `produce` was not
    /// called.
    pub fn put_blob<E: Into<BoxError>>(
        &mut self,
        digest: &Digest,
        size: u64,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<bool, LayoutError> {
        if self.has_blob(digest) {
            return Ok(false);
        }
        self.header(&blob_path(digest), Typeflag::Regular, size)?;
        write_exactly(&mut self.out, digest, size, produce)?;
        self.pad(size)?;
        self.written.insert(*digest);
        Ok(true)
    }

    /// Puts a blob that is at hand: a document.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<bool, LayoutError> {
        self.put_blob(&Digest::of(bytes), bytes.len() as u64, |out| {
            out.write_all(bytes)
        })
    }

    /// Puts the configuration and the manifest of `image`. Its layers are put one by one.
    pub fn put_image(&mut self, image: &Image) -> Result<(), LayoutError> {
        self.put_bytes(&image.config)?;
        self.put_bytes(&image.manifest)?;
        Ok(())
    }

    /// Puts the document of `index`.
    pub fn put_index(&mut self, index: &Index) -> Result<(), LayoutError> {
        self.put_bytes(&index.bytes).map(drop)
    }

    /// Ends an oci-archive that lists `descriptor` under each of `names` (tags); without a name if
    /// there are none.
    pub fn finish(self, descriptor: &Descriptor, names: &[&str]) -> Result<W, LayoutError> {
        self.end(entries(descriptor, names))
    }

    /// Ends a docker-archive of `image`, called each of `names`: full ones, `ghcr.io/acme/app:1.0`.
    pub fn finish_docker(mut self, image: &Image, names: &[&str]) -> Result<W, LayoutError> {
        let layers: Vec<_> = image
            .layers
            .iter()
            .map(|layer| blob_path(&layer.digest))
            .collect();
        let config = blob_path(&Digest::of(&image.config));
        let manifest = json!([{"Config": config, "Layers": layers, "RepoTags": names}]);
        self.file(DOCKER_MANIFEST, &json::canonical(&manifest))?;
        let entries = match names {
            [] => vec![image.manifest_descriptor.clone()],
            names => names
                .iter()
                .map(|name| named(&image.manifest_descriptor, name))
                .collect(),
        };
        self.end(entries)
    }

    fn end(mut self, entries: Vec<Descriptor>) -> Result<W, LayoutError> {
        let index = Index::new(entries, &std::collections::BTreeMap::new());
        self.file(INDEX, &index.bytes)?;
        self.write(&TRAILER)?;
        self.out.flush().map_err(LayoutError::Write)?;
        Ok(self.out)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        self.header(name, Typeflag::Regular, bytes.len() as u64)?;
        self.write(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn header(&mut self, path: &str, typeflag: Typeflag, size: u64) -> Result<(), LayoutError> {
        let mode = if typeflag == Typeflag::Directory {
            0o755
        } else {
            0o644
        };
        let mut bytes = Vec::new();
        Header {
            path,
            typeflag,
            link: "",
            mode,
            uid: 0,
            gid: 0,
            size,
            mtime: self.mtime,
        }
        .write(&mut bytes);
        self.write(&bytes)
    }

    fn pad(&mut self, size: u64) -> Result<(), LayoutError> {
        self.write(&TRAILER[..padding(size)])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayoutError> {
        self.out.write_all(bytes).map_err(LayoutError::Write)
    }
}

/// The entry of an image whose full name is `name`: readers of layouts look for the tag, containerd
/// for the name.
fn named(descriptor: &Descriptor, name: &str) -> Descriptor {
    let tag = match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => "latest",
    };
    let mut entry = descriptor.clone();
    let annotations = [(CONTAINERD_NAME, name), (ANNOTATION_REF_NAME, tag)];
    entry.set_annotations(Some(
        annotations
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    ));
    entry
}
