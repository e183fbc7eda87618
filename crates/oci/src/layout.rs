//! OCI image layouts as directories (image-spec `image-layout.md`): blobs by digest, and `index.json`
//! that names what is in it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, MediaType, SCHEMA_VERSION};
use serde_json::{Map, Value, json};

use crate::atomic::{AtomicFile, is_unfinished, sync_directory};
use crate::descriptor::annotation;
use crate::exact_copy::{BoxError, write_exactly};
use crate::{Digest, HashingWriter, Image, Index, LayoutError, json};

/// The file that says that a directory is a layout.
pub(crate) const MARKER: &str = "oci-layout";
/// The file that names what is in a layout.
pub(crate) const INDEX: &str = "index.json";
/// Where blobs are.
pub(crate) const BLOBS: &str = "blobs/sha256";
/// The version of layouts that this reads and writes.
pub(crate) const VERSION: &str = "1.0.0";

/// The path of a blob in a layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

/// The contents of `oci-layout`.
pub(crate) fn marker() -> Vec<u8> {
    json::canonical(&json!({"imageLayoutVersion": VERSION}))
}

/// Adds images to a layout directory. Blobs may be put from several threads, and several processes
/// may write to one layout.
#[derive(Debug)]
pub struct LayoutWriter {
    root: PathBuf,
    /// The directory, locked (shared) while this is in use, so that nobody takes our unfinished
    /// files for left-overs.
    _lock: Option<File>,
}

impl LayoutWriter {
    /// Opens the layout at `root`, or makes one where nothing is yet. Errors on a directory that
    /// holds something else.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        fs::create_dir_all(root).map_err(in_file(root))?;
        let marker_path = root.join(MARKER);
        let is_layout = marker_path.exists();
        if is_layout {
            check_marker(
                &fs::read(&marker_path).map_err(in_file(&marker_path))?,
                root,
            )?;
        } else {
            refuse_other_files(root)?;
        }
        let blobs = root.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(in_file(&blobs))?;
        let writer = Self {
            root: root.to_owned(),
            _lock: clean_and_lock(root).map_err(in_file(root))?,
        };
        if !is_layout {
            writer.replace(MARKER, &marker())?;
        }
        Ok(writer)
    }

    /// Whether the blob is there, by its size: only whole blobs get their names.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.root.join(blob_path(digest)))
            .is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Removes the blob where its bytes are not what its name says, as after a stick went bad; true
    /// where a whole one is there.
    pub fn mend(&self, digest: &Digest, size: u64) -> Result<bool, LayoutError> {
        if !self.has_blob(digest, size) {
            return Ok(false);
        }
        let path = self.root.join(blob_path(digest));
        let mut hasher = HashingWriter::new(io::sink());
        let mut file = File::open(&path).map_err(in_file(&path))?;
        io::copy(&mut file, &mut hasher).map_err(in_file(&path))?;
        if hasher.finish().1 == *digest {
            return Ok(true);
        }
        fs::remove_file(&path).map_err(in_file(&path))?;
        Ok(false)
    }

    /// Puts a blob that `produce` writes; false where it was there already and `produce` was not
    /// called. After an error there is no trace of it.
    pub fn put_blob<E: Into<BoxError>>(
        &self,
        digest: &Digest,
        size: u64,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<bool, LayoutError> {
        if self.has_blob(digest, size) {
            return Ok(false);
        }
        let path = self.root.join(blob_path(digest));
        let mut file = AtomicFile::create_in(&self.root).map_err(in_file(&self.root))?;
        let mut buffered = io::BufWriter::with_capacity(1 << 16, &mut file);
        write_exactly(&mut buffered, digest, size, produce)?;
        buffered.flush().map_err(in_file(&path))?;
        drop(buffered);
        file.commit(&path).map_err(in_file(&path))?;
        Ok(true)
    }

    /// Puts a blob that is at hand: a document.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<bool, LayoutError> {
        self.put_blob(&Digest::of(bytes), bytes.len() as u64, |out| {
            out.write_all(bytes)
        })
    }

    /// Puts the configuration and the manifest of `image`. Its layers are put one by one.
    pub fn put_image(&self, image: &Image) -> Result<(), LayoutError> {
        self.put_bytes(&image.config)?;
        self.put_bytes(&image.manifest)?;
        Ok(())
    }

    /// Puts the document of `index`.
    pub fn put_index(&self, index: &Index) -> Result<(), LayoutError> {
        self.put_bytes(&index.bytes).map(drop)
    }

    /// Lists `descriptor` in `index.json` under each of `names` (tags), in place of what had that
    /// name; without a name if there are none. This goes last: what is listed has to be there.
    pub fn publish(&self, descriptor: &Descriptor, names: &[&str]) -> Result<(), LayoutError> {
        let blobs = self.root.join(BLOBS);
        sync_directory(&blobs).map_err(in_file(&blobs))?;
        // Another process may be about to do the same: read, change and write as one.
        let lock = File::open(&blobs).map_err(in_file(&blobs))?;
        ignore_unsupported(lock.lock()).map_err(in_file(&blobs))?;
        let path = self.root.join(INDEX);
        let mut index = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| LayoutError::Json {
                document: INDEX.to_owned(),
                source,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(in_file(&path)(error)),
        };
        list(&mut index, entries(descriptor, names));
        self.replace(INDEX, &json::canonical(&index))?;
        sync_directory(&self.root).map_err(in_file(&self.root))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        let path = self.root.join(name);
        let mut file = AtomicFile::create_in(&self.root).map_err(in_file(&self.root))?;
        file.write_all(bytes).map_err(in_file(&path))?;
        file.commit(&path).map_err(in_file(&path))
    }
}

/// `descriptor` once for each of `names`, with the name as its annotation.
pub(crate) fn entries(descriptor: &Descriptor, names: &[&str]) -> Vec<Descriptor> {
    let with_name = |name: &&str| {
        let mut entry = descriptor.clone();
        let mut annotations = entry.annotations().clone().unwrap_or_default();
        annotations.insert(ANNOTATION_REF_NAME.to_owned(), (*name).to_owned());
        entry.set_annotations(Some(annotations));
        entry
    };
    match names {
        [] => vec![descriptor.clone()],
        names => names.iter().map(with_name).collect(),
    }
}

/// Puts `entries` into an `index.json`, each in the place of one with the same name; an entry
/// without a name in the place of the same entry. All other fields and entries stay.
fn list(index: &mut Map<String, Value>, entries: Vec<Descriptor>) {
    index.insert("schemaVersion".to_owned(), SCHEMA_VERSION.into());
    index.insert(
        "mediaType".to_owned(),
        MediaType::ImageIndex.as_ref().into(),
    );
    let manifests = index.entry("manifests").or_insert(Value::Null);
    if !manifests.is_array() {
        *manifests = json!([]);
    }
    let manifests = manifests.as_array_mut().expect("was just made an array");
    for entry in entries {
        let entry_name = annotation(&entry, ANNOTATION_REF_NAME).map(str::to_owned);
        let value = json!(entry);
        let is_same = |other: &Value| match &entry_name {
            Some(name) => other["annotations"][ANNOTATION_REF_NAME].as_str() == Some(name),
            None => *other == value,
        };
        let first = manifests
            .iter()
            .position(is_same)
            .unwrap_or(manifests.len());
        manifests.retain(|other| !is_same(other));
        manifests.insert(first.min(manifests.len()), value);
    }
}

/// Errors unless `bytes` are an `oci-layout` of a known version.
pub(crate) fn check_marker(bytes: &[u8], path: &Path) -> Result<(), LayoutError> {
    let marker: Value = serde_json::from_slice(bytes).map_err(|source| LayoutError::Json {
        document: MARKER.to_owned(),
        source,
    })?;
    match marker["imageLayoutVersion"].as_str() {
        Some(VERSION) => Ok(()),
        other => Err(LayoutError::Version {
            path: path.to_owned(),
            version: other.unwrap_or_default().to_owned(),
        }),
    }
}

/// A directory without `oci-layout` may hold what a killed run left, and nothing else: otherwise a
/// slip of the keyboard strews blobs over somebody's home directory.
fn refuse_other_files(root: &Path) -> Result<(), LayoutError> {
    for entry in fs::read_dir(root).map_err(in_file(root))? {
        let name = entry.map_err(in_file(root))?.file_name();
        let name = name.to_string_lossy();
        // Another process may have made the layout just now; its `oci-layout` was there first.
        if name != "blobs" && !is_unfinished(&name) && !root.join(MARKER).exists() {
            return Err(LayoutError::NotALayout {
                path: root.to_owned(),
            });
        }
    }
    Ok(())
}

/// Removes what killed runs left, if no other process is at work here; then locks the directory.
/// None where the file system knows no locks.
fn clean_and_lock(root: &Path) -> io::Result<Option<File>> {
    let directory = File::open(root)?;
    if directory.try_lock().is_ok() {
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if is_unfinished(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(ignore_unsupported(directory.lock_shared())?.map(|()| directory))
}

fn ignore_unsupported(result: io::Result<()>) -> io::Result<Option<()>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        other => other.map(Some),
    }
}

fn in_file(path: &Path) -> impl Fn(io::Error) -> LayoutError + use<> {
    let path = path.to_owned();
    move |source| LayoutError::File {
        path: path.clone(),
        source,
    }
}
