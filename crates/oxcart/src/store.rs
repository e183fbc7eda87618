//! The store: downloads by digest, and records of layers by key. Several builds may share one.
//!
//! Every file is written to `spool/` and renamed to its place; what does not show by itself that it is
//! whole is synced before, so that a file that has its name is whole.

mod disk;
mod passing;
mod records;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use oci::{DiffId, Digest, HashingWriter, Source};
use serde::Serialize;
use tempfile::NamedTempFile;

pub(crate) use disk::{Disk, Held, OnDisk, Use};
pub(crate) use records::{Kept, LayerRecord};

use crate::clock;
use crate::diagnostics::{Failure, IoContext};
use crate::mutex::lock;

/// What is kept, each in a directory of its own.
const KINDS: [&str; 10] = [
    "blobs",
    "layers",
    "facts",
    "built",
    "listings",
    "proofs",
    "homes",
    "partial",
    "spool",
    "index-cache",
];
/// How hard records are compressed, in zstd's levels.
const LEVEL: i32 = 9;
/// Repositories of one registry that are remembered for a blob.
const HOMES: usize = 4;

/// A record, compressed. All at once, so that zstd knows how much there is: for a stream without an end in sight
/// it clears tens of MiB at this level.
fn packed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, LEVEL)
}

/// Where downloads and layer records are kept.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
    /// Bytes this process put in.
    added: Arc<AtomicU64>,
    /// Blobs that this process has seen to be what their names say.
    seen: Arc<Mutex<BTreeSet<Digest>>>,
    disk: Disk,
    /// Where it is for one build.
    passing: Option<Arc<passing::Passing>>,
}

impl Store {
    /// The store at `chosen`, else at the user's cache directory. Makes its directories.
    pub(crate) fn open(chosen: Option<&Path>) -> Result<Self, Failure> {
        let root = match chosen {
            Some(path) => path.to_owned(),
            None => default_root()?,
        };
        let root = std::path::absolute(&root).at("find", &root)?;
        for directory in ["blobs/sha256"].iter().chain(&KINDS) {
            let directory = root.join(directory);
            fs::create_dir_all(&directory).at("create", &directory)?;
        }
        Ok(Self {
            root,
            added: Arc::default(),
            seen: Arc::default(),
            disk: Disk::default(),
            passing: None,
        })
    }

    /// The account of what this process has on disk in it.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Where the package indexes' answers are kept.
    pub(crate) fn index_cache(&self) -> PathBuf {
        self.root.join("index-cache")
    }

    /// Where temporary files go.
    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Where a download is gathered until it is whole.
    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }

    /// Where the blob is, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is here.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// The blob as a source that messages call `name`: for what is hashed on its way out.
    pub(crate) fn source(&self, digest: &Digest, name: &str) -> Result<Source, Failure> {
        let path = self.blob_path(digest);
        let source = Source::open(&path, name, Some(*digest)).at("open", &path)?;
        touch(&path);
        Ok(source)
    }

    /// As [`Store::source`], once its bytes are seen to be those that its digest stands for: a disk
    /// may have lost some of them since they were fetched.
    pub(crate) fn checked_source(&self, digest: &Digest, name: &str) -> Result<Source, Failure> {
        let source = self.source(digest, name)?;
        self.check_blob(digest, name)?;
        Ok(source)
    }

    /// Refuses the blob, which is here and which messages call `name`, where its bytes are not what its
    /// digest stands for.
    pub(crate) fn check_blob(&self, digest: &Digest, name: &str) -> Result<(), Failure> {
        if self.is_intact(digest)? {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{name} is damaged in the store, at {}",
            self.blob_path(digest).display()
        ))
        .hint("remove that file, or run `oxcart build`, which does: it is fetched again"))
    }

    /// Whether the blob, which is here, has its digest. It is read once by each process.
    pub(crate) fn is_intact(&self, digest: &Digest) -> Result<bool, Failure> {
        if self.seen().contains(digest) {
            return Ok(true);
        }
        self.is_intact_now(digest)
    }

    /// As [`Store::is_intact`], whatever was seen before.
    pub(crate) fn is_intact_now(&self, digest: &Digest) -> Result<bool, Failure> {
        let path = self.blob_path(digest);
        let mut hasher = HashingWriter::new(io::sink());
        let copied = File::open(&path).and_then(|mut blob| io::copy(&mut blob, &mut hasher));
        copied.at("read", &path)?;
        let is_intact = hasher.finish().1 == *digest;
        if is_intact {
            self.seen().insert(*digest);
        }
        Ok(is_intact)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeSet<Digest>> {
        lock(&self.seen)
    }

    /// Takes the blob out of the store.
    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<(), Failure> {
        self.seen().remove(digest);
        remove(&self.blob_path(digest))?;
        self.disk.remove(digest);
        Ok(())
    }

    /// Moves `path`, whose bytes are counted by `held` and were seen to have `digest`, into the store.
    pub(crate) fn adopt(&self, path: &Path, digest: &Digest, held: Held) -> Result<(), Failure> {
        let size = path.metadata().at("read", path)?.len();
        let target = self.blob_path(digest);
        fs::rename(path, &target).at("write", &target)?;
        self.disk.keep(digest, held);
        self.seen().insert(*digest);
        self.added.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }

    /// A document that is kept by its digest, where it is here and whole.
    pub(crate) fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).ok()?;
        touch(&path);
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Keeps a document by its digest.
    pub(crate) fn put_document(&self, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.blob_path(&Digest::of(bytes));
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.place(&path, |out| out.write_all(bytes))
    }

    /// Where the facts of a base image are, or would be, by its manifest's digest.
    pub(crate) fn facts_path(&self, manifest: &Digest) -> PathBuf {
        self.root.join("facts").join(manifest.hex())
    }

    /// Keeps the facts of a base image.
    pub(crate) fn put_facts(&self, manifest: &Digest, bytes: &[u8]) -> Result<(), Failure> {
        self.place(&self.facts_path(manifest), |out| out.write_all(bytes))
    }

    /// What was kept of a layer that was looked into.
    pub(crate) fn listing(&self, diff_id: &DiffId) -> Option<Vec<u8>> {
        zstd::decode_all(&kept(&self.listing_path(diff_id))?[..]).ok()
    }

    /// Keeps what a layer holds.
    pub(crate) fn put_listing(&self, diff_id: &DiffId, bytes: &[u8]) -> Result<(), Failure> {
        let write = |out: &mut dyn Write| out.write_all(&packed(bytes)?);
        self.place_record(&self.listing_path(diff_id), write)
    }

    fn listing_path(&self, diff_id: &DiffId) -> PathBuf {
        self.root
            .join("listings")
            .join(format!("{}.zst", diff_id.0.hex()))
    }

    /// The proof of an image, by its key.
    pub(crate) fn proof(&self, key: &Digest) -> Option<Vec<u8>> {
        kept(&self.root.join("proofs").join(key.hex()))
    }

    /// Keeps the proof of an image.
    pub(crate) fn put_proof(&self, key: &Digest, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.root.join("proofs").join(key.hex());
        self.place_record(&path, |out| out.write_all(bytes))
    }

    /// The blob, to be read from its beginning, if it is here.
    pub(crate) fn reader(&self, digest: &Digest) -> Option<File> {
        File::open(self.blob_path(digest)).ok()
    }

    /// What is known of something that was built from sources, by the key of all that it depends on.
    pub(crate) fn built(&self, key: &Digest) -> Option<Vec<u8>> {
        kept(&self.root.join("built").join(key.hex()))
    }

    /// Keeps what is known of something that was built from sources.
    pub(crate) fn put_built(&self, key: &Digest, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.root.join("built").join(key.hex());
        self.place(&path, |out| out.write_all(bytes))
    }

    /// Repositories of `registry` that were seen to have the blob, the latest last.
    pub(crate) fn homes(&self, registry: &str, digest: &Digest) -> Vec<String> {
        fs::read_to_string(self.homes_path(registry, digest))
            .map(|text| text.lines().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// Notes that `repository` of `registry` has the blob. A hint, which nothing rests on: where it
    /// cannot be written, or only in part, a blob is uploaded that could have been mounted.
    pub(crate) fn note_home(&self, registry: &str, digest: &Digest, repository: &str) {
        let mut homes = self.homes(registry, digest);
        if homes.last().is_some_and(|last| last == repository) {
            return;
        }
        homes.retain(|home| home != repository);
        homes.push(repository.to_owned());
        let first = homes.len().saturating_sub(HOMES);
        let path = self.homes_path(registry, digest);
        if let Some(directory) = path.parent() {
            let _ = fs::create_dir_all(directory);
        }
        let _ = fs::write(&path, homes[first..].join("\n"));
    }

    fn homes_path(&self, registry: &str, digest: &Digest) -> PathBuf {
        let registry = registry.replace([':', '/'], "_");
        self.root.join("homes").join(registry).join(digest.hex())
    }

    /// A blob in the making: write to it, then [`NewBlob::keep`] it.
    pub(crate) fn new_blob(&self, what: Use) -> Result<NewBlob, Failure> {
        Ok(NewBlob {
            out: HashingWriter::new(BufWriter::new(self.temporary()?)),
            store: self.clone(),
            held: self.disk.hold(what, 0),
        })
    }

    /// Bytes that this process put into the store.
    pub(crate) fn added(&self) -> u64 {
        self.added.load(Ordering::Relaxed)
    }

    /// Bytes and number of files, by kind.
    pub(crate) fn sizes(&self) -> Result<Vec<(&'static str, Usage)>, Failure> {
        KINDS
            .into_iter()
            .map(|kind| {
                let mut usage = Usage::default();
                walk(&self.root.join(kind), &mut |_, metadata| {
                    usage.bytes += metadata.len();
                    usage.files += 1;
                    Ok(())
                })?;
                Ok((kind, usage))
            })
            .collect()
    }

    /// Removes what has not been used for `age`; returns what that was.
    pub(crate) fn prune(&self, age: Age) -> Result<Usage, Failure> {
        let limit = clock::now().saturating_sub(age.0.as_secs());
        let mut removed = Usage::default();
        for kind in KINDS {
            walk(&self.root.join(kind), &mut |path, metadata| {
                let used = metadata
                    .modified()
                    .ok()
                    .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                if used.is_none_or(|used| used.as_secs() <= limit) {
                    fs::remove_file(path)?;
                    removed.bytes += metadata.len();
                    removed.files += 1;
                }
                Ok(())
            })?;
        }
        Ok(removed)
    }

    fn temporary(&self) -> Result<NamedTempFile, Failure> {
        let spool = self.spool();
        NamedTempFile::new_in(&spool).at("write", &spool)
    }

    fn place(
        &self,
        target: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let file = self.written(target, write)?;
        file.as_file().sync_all().at("write", target)?;
        self.persist_record(file, target)
    }

    /// As [`Store::place`], of what is seen to be whole when it is read: it is not waited for until the disk
    /// has it. Where the power fails first, it is made again.
    fn place_record(
        &self,
        target: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let file = self.written(target, write)?;
        self.persist_record(file, target)
    }

    fn written(
        &self,
        target: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<NamedTempFile, Failure> {
        let mut out = BufWriter::new(self.temporary()?);
        write(&mut out).at("write", target)?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .at("write", target)
    }

    fn persist_record(&self, file: NamedTempFile, target: &Path) -> Result<(), Failure> {
        let before = target.metadata().map_or(0, |it| it.len());
        let held = self.disk.hold(Use::Records, file_size(&file, target)?);
        self.persist(file, target)?;
        self.disk.take(Use::Records, before);
        held.stays();
        Ok(())
    }

    fn persist_blob(
        &self,
        out: BufWriter<NamedTempFile>,
        digest: &Digest,
        held: Held,
    ) -> Result<(), Failure> {
        let target = self.blob_path(digest);
        let file = out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .at("write", &target)?;
        file.as_file().sync_all().at("write", &target)?;
        self.persist(file, &target)?;
        self.disk.keep(digest, held);
        self.seen().insert(*digest);
        Ok(())
    }

    fn persist(&self, file: NamedTempFile, target: &Path) -> Result<(), Failure> {
        let size = file_size(&file, target)?;
        file.persist(target)
            .map_err(|error| error.error)
            .at("write", target)?;
        self.added.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }
}

/// A blob in the making. Dropped, it leaves nothing behind.
pub(crate) struct NewBlob {
    out: HashingWriter<BufWriter<NamedTempFile>>,
    store: Store,
    held: Held,
}

impl NewBlob {
    /// Gives the blob its name.
    pub(crate) fn keep(self) -> Result<(Digest, u64), Failure> {
        let (out, digest, size) = self.out.finish();
        self.store.persist_blob(out, &digest, self.held)?;
        Ok((digest, size))
    }

    /// Gives the blob its name if that is `wanted`. Returns what its name would be: another one means
    /// that nothing is kept.
    pub(crate) fn keep_if(self, wanted: &Digest) -> Result<Digest, Failure> {
        let (out, digest, _) = self.out.finish();
        if digest == *wanted {
            self.store.persist_blob(out, &digest, self.held)?;
        }
        Ok(digest)
    }
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.held.grow(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// An age: `30d`, `12h`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age(Duration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("`{text}` is no age: write a number and d (days) or h (hours), as in 30d");
        let unit = text.chars().last().ok_or_else(error)?;
        let seconds = match unit {
            'd' => 24 * 3600,
            'h' => 3600,
            _ => return Err(error()),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| error())?;
        Ok(Self(Duration::from_secs(number.saturating_mul(seconds))))
    }
}

fn default_root() -> Result<PathBuf, Failure> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("oxcart"))
        .ok_or_else(|| {
            Failure::new("there is no place for the store: neither XDG_CACHE_HOME nor HOME is set")
                .hint("name a directory with --store or OXCART_STORE")
        })
}

fn file_size(file: &NamedTempFile, target: &Path) -> Result<u64, Failure> {
    let metadata = file.as_file().metadata().at("write", target)?;
    Ok(metadata.len())
}

/// A file of what is kept, if it is there.
fn kept(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    touch(path);
    Some(bytes)
}

/// Notes that a file was used: its mtime is what `prune` goes by. Where that fails (a read-only
/// store), the file only looks older than it is.
fn touch(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.set_modified(UNIX_EPOCH + Duration::from_secs(clock::now()));
    }
}

/// Removes a file, unless another process was quicker.
fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}

fn walk(
    directory: &Path,
    visit: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> Result<(), Failure> {
    for entry in fs::read_dir(directory).at("read", directory)? {
        let path = entry.at("read", directory)?.path();
        let metadata = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.at("read", &path)?,
        };
        if metadata.is_dir() {
            walk(&path, visit)?;
        } else {
            visit(&path, &metadata).at("remove", &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!("30d".parse::<Age>().unwrap().0, Duration::from_hours(720));
        assert_eq!("0h".parse::<Age>().unwrap().0, Duration::ZERO);
        for text in ["", "d", "3", "3w", "-1d"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_small_record_is_compressed_as_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        let diff_id = DiffId(Digest::of(b"layer"));
        store.put_listing(&diff_id, &[7; 1000]).unwrap();
        assert_eq!(store.listing(&diff_id).unwrap(), [7; 1000]);
        // zstd was told: a thousand bytes, and not as many as may come.
        let kept = fs::read(store.listing_path(&diff_id)).unwrap();
        let size = zstd::zstd_safe::get_frame_content_size(&kept);
        assert_eq!(size.unwrap(), Some(1000));
    }

    #[test]
    fn blobs_are_named_by_their_digest_and_pruned_by_age() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        let mut blob = store.new_blob(Use::Layers).unwrap();
        blob.write_all(b"abc").unwrap();
        let (digest, _) = blob.keep().unwrap();
        assert_eq!(fs::read(store.blob_path(&digest)).unwrap(), b"abc");
        assert_eq!(store.prune("1d".parse().unwrap()).unwrap().files, 0);
        assert_eq!(store.prune("0d".parse().unwrap()).unwrap().bytes, 3);
        assert!(!store.has_blob(&digest));
    }

    #[test]
    fn a_dropped_blob_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        let mut blob = store.new_blob(Use::Layers).unwrap();
        blob.write_all(b"half").unwrap();
        drop(blob);
        assert!(
            store
                .sizes()
                .unwrap()
                .iter()
                .all(|(_, usage)| usage.files == 0)
        );
    }
}
