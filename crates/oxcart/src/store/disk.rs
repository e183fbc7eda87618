//! What a build has on disk: the files that it writes into the store, counted as they grow and go.
//!
//! Not counted are answers of package indexes, which only a resolution asks for and whose keeper is not ours,
//! and what the build backends of sdists write.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use oci::Digest;
use serde::Serialize;

use crate::commands::bytes;
use crate::mutex::lock;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// What is installed: wheels, and the sdists that some are built from.
    Wheels,
    /// Debian packages, and the indexes that they are found in.
    Packages,
    /// Blobs of layers that would have to be compressed again, and a base image's where it is written.
    Layers,
    /// Records and maps of layers, listings, documents.
    Records,
    /// Packages decompressed, to be sorted into a layer.
    Spooled,
}

impl Use {
    /// That of a download, by what messages call it: a file's name.
    pub(crate) fn of_download(name: &str) -> Self {
        let is_python = [".whl", ".tar.gz", ".zip"]
            .iter()
            .any(|it| name.ends_with(it));
        if is_python {
            Self::Wheels
        } else {
            Self::Packages
        }
    }
}

/// Bytes by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct OnDisk {
    #[serde(skip)]
    wheels: u64,
    pub(crate) packages: u64,
    pub(crate) layers: u64,
    pub(crate) records: u64,
    pub(crate) spooled: u64,
}

impl OnDisk {
    /// All but the wheels.
    pub(crate) fn beside_wheels(&self) -> u64 {
        self.packages + self.layers + self.records + self.spooled
    }

    fn of(&mut self, what: Use) -> &mut u64 {
        match what {
            Use::Wheels => &mut self.wheels,
            Use::Packages => &mut self.packages,
            Use::Layers => &mut self.layers,
            Use::Records => &mut self.records,
            Use::Spooled => &mut self.spooled,
        }
    }
}

impl fmt::Display for OnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (Debian packages {}, their files {}, blobs of layers {}, records {})",
            bytes(self.beside_wheels()),
            bytes(self.packages),
            bytes(self.spooled),
            bytes(self.layers),
            bytes(self.records)
        )
    }
}

/// The account of one process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    now: OnDisk,
    peak: OnDisk,
    /// What was put where blobs are.
    blobs: BTreeMap<Digest, (Use, u64)>,
}

impl Disk {
    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.0)
    }

    /// Counts `bytes` more.
    pub(crate) fn add(&self, what: Use, bytes: u64) {
        let mut account = self.account();
        *account.now.of(what) += bytes;
        if account.now.beside_wheels() > account.peak.beside_wheels() {
            account.peak = account.now;
        }
    }

    /// Counts `bytes` less.
    pub(crate) fn take(&self, what: Use, bytes: u64) {
        let mut account = self.account();
        let now = account.now.of(what);
        *now = now.saturating_sub(bytes);
    }

    /// Counts `bytes` as long as the value lives.
    pub(crate) fn hold(&self, what: Use, bytes: u64) -> Held {
        self.add(what, bytes);
        Held {
            disk: self.clone(),
            what,
            bytes,
        }
    }

    /// When there was most on disk besides wheels: what it was.
    pub(crate) fn peak(&self) -> OnDisk {
        self.account().peak
    }

    /// What is held is the blob `digest` now, in the place of one that may have been there.
    pub(super) fn keep(&self, digest: &Digest, mut held: Held) {
        let blob = (held.what, std::mem::take(&mut held.bytes));
        let before = self.account().blobs.insert(*digest, blob);
        if let Some((what, bytes)) = before {
            self.take(what, bytes);
        }
    }

    /// The blob is gone.
    pub(super) fn remove(&self, digest: &Digest) {
        let removed = self.account().blobs.remove(digest);
        if let Some((what, bytes)) = removed {
            self.take(what, bytes);
        }
    }
}

/// Bytes of a file that somebody has.
#[derive(Debug)]
pub(crate) struct Held {
    disk: Disk,
    what: Use,
    bytes: u64,
}

impl Held {
    /// The file has `bytes` more.
    pub(crate) fn grow(&mut self, bytes: u64) {
        self.disk.add(self.what, bytes);
        self.bytes += bytes;
    }

    /// The file is there for good.
    pub(super) fn stays(mut self) {
        self.bytes = 0;
    }

    /// The file is empty again.
    pub(crate) fn clear(&mut self) {
        self.disk.take(self.what, std::mem::take(&mut self.bytes));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_all_but_wheels() {
        let disk = Disk::default();
        disk.add(Use::Wheels, 1000);
        let mut first = disk.hold(Use::Spooled, 5);
        first.grow(20);
        disk.add(Use::Records, 1);
        drop(first);
        disk.add(Use::Layers, 10);
        disk.add(Use::Wheels, 1000);
        let peak = disk.peak();
        assert_eq!((peak.spooled, peak.records, peak.layers), (25, 1, 0));
        assert_eq!(peak.beside_wheels(), 26);
        let again = disk.hold(Use::Packages, 16);
        assert_eq!(disk.peak().beside_wheels(), 27);
        disk.keep(&Digest::of(b"a"), again);
        disk.keep(&Digest::of(b"a"), disk.hold(Use::Packages, 16));
        disk.remove(&Digest::of(b"a"));
        assert_eq!(disk.account().now.beside_wheels(), 11);
    }
}
