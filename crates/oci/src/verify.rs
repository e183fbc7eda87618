//! Checking a file's bytes while they go by.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::Checksum;

/// Chunks of a file that may wait for a [`Background`] thread, of a buffer's size at most.
pub(crate) const AHEAD: usize = 4;

/// The checksums of the bytes of one file so far.
#[derive(Debug)]
pub(crate) struct Verify {
    crc: crc32fast::Hasher,
    strong: Place,
}

#[derive(Debug)]
enum Place {
    Here(Strong),
    There(Background),
}

#[derive(Debug)]
enum Strong {
    None,
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

/// A thread that takes the checksum of copies of the bytes: copying costs a tenth of digesting.
#[derive(Debug)]
struct Background {
    chunks: SyncSender<Vec<u8>>,
    /// Chunks that can be used again.
    spare: Receiver<Vec<u8>>,
    thread: JoinHandle<Strong>,
}

impl Verify {
    /// Takes the CRC-32, and what is needed to check `expected`.
    pub(crate) fn new(expected: Option<&Checksum>) -> Self {
        let strong = Place::Here(Strong::new(expected));
        Self {
            crc: crc32fast::Hasher::new(),
            strong,
        }
    }

    /// The same with a thread of its own, for a large file. Without one where none can be had.
    pub(crate) fn in_background(expected: &Checksum) -> Self {
        let mut verify = Self::new(Some(expected));
        if let Ok(background) = Background::start(Strong::new(Some(expected))) {
            verify.strong = Place::There(background);
        }
        verify
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        match &mut self.strong {
            Place::Here(strong) => strong.update(bytes),
            Place::There(background) => background.update(bytes),
        }
    }

    /// The CRC-32 as a state that others can be combined with, and the checksum of the kind expected.
    pub(crate) fn finish(self) -> (crc32fast::Hasher, Option<Checksum>) {
        let strong = match self.strong {
            Place::Here(strong) => strong,
            Place::There(background) => background.finish(),
        };
        (self.crc, strong.finish())
    }
}

impl Background {
    fn start(mut strong: Strong) -> std::io::Result<Self> {
        let (chunks, received) = mpsc::sync_channel::<Vec<u8>>(AHEAD);
        let (used, spare) = mpsc::channel();
        let thread = thread::Builder::new().spawn(move || {
            for chunk in received {
                strong.update(&chunk);
                // After an error in the file nobody wants it any more.
                let _ = used.send(chunk);
            }
            strong
        })?;
        Ok(Self {
            chunks,
            spare,
            thread,
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        let mut chunk = self.spare.try_recv().unwrap_or_default();
        chunk.clear();
        chunk.extend_from_slice(bytes);
        // It fails only if the thread has panicked, which `finish` passes on.
        let _ = self.chunks.send(chunk);
    }

    fn finish(self) -> Strong {
        drop(self.chunks);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Strong {
    fn new(expected: Option<&Checksum>) -> Self {
        match expected {
            None => Self::None,
            Some(Checksum::Sha256(_)) => Self::Sha256(Sha256::new()),
            Some(Checksum::Sha384(_)) => Self::Sha384(Sha384::new()),
            Some(Checksum::Sha512(_)) => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Option<Checksum> {
        match self {
            Self::None => None,
            Self::Sha256(hasher) => Some(Checksum::Sha256(hasher.finalize().into())),
            Self::Sha384(hasher) => Some(Checksum::Sha384(hasher.finalize().into())),
            Self::Sha512(hasher) => Some(Checksum::Sha512(hasher.finalize().into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_sees_what_the_foreground_sees() {
        for kind in [
            Checksum::Sha256([0; 32]),
            Checksum::Sha384([0; 48]),
            Checksum::Sha512([0; 64]),
        ] {
            let mut both = [Verify::new(Some(&kind)), Verify::in_background(&kind)];
            assert!(matches!(both[1].strong, Place::There(_)));
            for n in 0..200_u8 {
                for verify in &mut both {
                    verify.update(&vec![n; usize::from(n) * 50]);
                }
            }
            let [here, there] = both.map(Verify::finish);
            assert_eq!((here.0.finalize(), here.1), (there.0.finalize(), there.1));
        }
    }
}
