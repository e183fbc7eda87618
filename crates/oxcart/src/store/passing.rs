//! A store for one build, which leaves nothing: a directory among the system's temporary files, from which a
//! source goes as soon as no layer needs it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use oci::Digest;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::Store;
use crate::build::Built;
use crate::diagnostics::{Failure, IoContext};
use crate::mutex::lock;
use crate::output;
use crate::store::Kept;

/// What the names of such directories begin with.
const PREFIX: &str = "oxcart-no-store-";

/// The directory, which its lock tells from one that a killed build left. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Passing {
    _directory: TempDir,
    _lock: File,
    /// The sources that are to go, with the layers that still need them.
    needs: Mutex<BTreeMap<Digest, BTreeSet<Digest>>>,
}

impl Store {
    /// A store that goes with its last clone. Removes what builds left that were killed.
    pub(crate) fn passing() -> Result<Self, Failure> {
        let parent = std::env::temp_dir();
        clean(&parent);
        loop {
            let directory = tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir_in(&parent)
                .at("create", &parent)?;
            // Another build may have taken it for one that is left, as long as it had no lock.
            let lock = match claim(directory.path()) {
                Err(error) if is_taken(&error) => continue,
                claimed => claimed.at("lock", directory.path())?,
            };
            if directory.path().is_dir() {
                let mut store = Self::open(Some(directory.path()))?;
                store.passing = Some(Arc::new(Passing {
                    _directory: directory,
                    _lock: lock,
                    needs: Mutex::default(),
                }));
                return Ok(store);
            }
        }
    }

    /// From now on, what `built` is made of goes with the last of its layers that is [out](Self::done_with).
    /// A store that stays keeps it.
    pub(crate) fn drop_what_is_written(&self, built: &Built) {
        let Some(passing) = &self.passing else {
            return;
        };
        let mut needs: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        for (layer, made) in output::layers(built) {
            let mut sources = made.map(|it| it.job.sources()).unwrap_or_default();
            if made.is_none_or(|it| it.record.kept == Kept::Blob) {
                sources.push(layer.digest);
            }
            for source in sources {
                needs.entry(source).or_default().insert(layer.digest);
            }
        }
        *lock(&passing.needs) = needs;
    }

    /// The layer with this digest has got where it is wanted.
    pub(crate) fn done_with(&self, layer: &Digest) {
        let Some(passing) = &self.passing else {
            return;
        };
        let mut needs = lock(&passing.needs);
        needs.retain(|source, layers| {
            let is_last = layers.remove(layer) && layers.is_empty();
            // One that cannot be removed goes with the directory.
            is_last.then(|| self.remove_blob(source).ok()).is_none()
        });
    }
}

/// Removes what nobody has a lock of.
fn clean(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && let Ok(_lock) = claim(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn claim(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Whether somebody else has the lock, or has had it and removed what it was of.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, WouldBlock};
    matches!(error.kind(), WouldBlock | NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let [left, used, other] = ["oxcart-no-store-a", "oxcart-no-store-b", "other"]
            .map(|name| parent.path().join(name));
        for directory in [&left, &used, &other] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("file"), "").unwrap();
        }
        let lock = claim(&used).unwrap();
        clean(parent.path());
        assert_eq!(
            [&left, &used, &other].map(|it| it.exists()),
            [false, true, true]
        );
        drop(lock);
        clean(parent.path());
        assert!(!used.exists());
    }

    #[test]
    fn it_goes_with_its_last_clone() {
        let store = Store::passing().unwrap();
        let spool = store.spool();
        let clone = store.clone();
        drop(store);
        assert!(spool.exists());
        drop(clone);
        assert!(!spool.exists());
    }
}
