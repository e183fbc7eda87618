//! Temporary files that are compressed as they are written and read at any place: what Debian packages unpack
//! to, until their layer is made.
//!
//! A file is cut into frames of one size, each a zstd frame of its own (RFC 8878, section 3.1.1), so that a read
//! decompresses the frames that it touches and no more. Such a file is read by the process that wrote it
//! alone: where its frames are is known in memory only.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, decompress_to_buffer};

use crate::{Digest, Source};

/// Bytes of a frame before it was compressed: as many as the encoder of layers reads at a time.
const FRAME: usize = crate::compress::PIECE;
/// In zstd's levels: files come out about as small as they will be in their layer, at a tenth of the time.
const LEVEL: i32 = 1;

/// Writes a temporary file, compressed, to be read as a [`Source`].
pub struct Packer {
    file: File,
    compressor: Compressor<'static>,
    /// What of the next frame has come.
    frame: Vec<u8>,
    /// The frame after it was compressed.
    out: Vec<u8>,
    frames: Frames,
}

/// Where the frames of a file are.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the file before it was compressed.
    size: u64,
    /// Where each frame ends.
    ends: Vec<u64>,
}

impl Packer {
    /// Writes into `file`, which is empty. Memory: two frames of 64 KiB, and 8 bytes for each.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            file,
            compressor: Compressor::new(LEVEL)?,
            frame: Vec::with_capacity(FRAME),
            out: Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME)),
            frames: Frames::default(),
        })
    }

    /// What was written, to be read. `name` and `digest`, the sha256 of what was written, are what
    /// [`Source::open`] says.
    pub fn finish(mut self, name: &str, digest: Option<Digest>) -> io::Result<Source> {
        if !self.frame.is_empty() {
            self.pack()?;
        }
        let packed = Packed {
            frames: self.frames,
            last: Mutex::default(),
        };
        Ok(Source::of_packed(self.file, packed, name, digest))
    }

    fn pack(&mut self) -> io::Result<()> {
        self.compressor
            .compress_to_buffer(&self.frame, &mut self.out)?;
        self.file.write_all(&self.out)?;
        self.frames.size += self.frame.len() as u64;
        let end = self.frames.disk_size() + self.out.len() as u64;
        self.frames.ends.push(end);
        self.frame.clear();
        Ok(())
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME - self.frame.len());
        self.frame.extend_from_slice(&bytes[..taken]);
        if self.frame.len() == FRAME {
            self.pack()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packer").field(&self.frames).finish()
    }
}

impl Frames {
    fn disk_size(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }
}

/// What a [`Packer`] wrote.
#[derive(Debug)]
pub(crate) struct Packed {
    frames: Frames,
    /// The number and the bytes of a frame that was read last, unless somebody is at it: files are read in
    /// about the order that they lie in.
    last: Mutex<Option<(usize, Vec<u8>)>>,
}

impl Packed {
    /// Bytes that can be read.
    pub(crate) fn size(&self) -> u64 {
        self.frames.size
    }

    /// Bytes that the file has.
    pub(crate) fn disk_size(&self) -> u64 {
        self.frames.disk_size()
    }

    /// As [`FileExt::read_at`] of the file before it was compressed: no more than the frame at `offset` has.
    pub(crate) fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.frames.size {
            return Ok(0);
        }
        let number = (offset / FRAME as u64) as usize;
        let last = self.last().take();
        let bytes = match last {
            Some((last, bytes)) if last == number => bytes,
            other => self.frame(file, number, other.map(|(_, bytes)| bytes))?,
        };
        let rest = &bytes[(offset % FRAME as u64) as usize..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        *self.last() = Some((number, bytes));
        Ok(length)
    }

    fn frame(&self, file: &File, number: usize, room: Option<Vec<u8>>) -> io::Result<Vec<u8>> {
        let start = number
            .checked_sub(1)
            .map_or(0, |before| self.frames.ends[before]);
        let mut packed = vec![0; (self.frames.ends[number] - start) as usize];
        file.read_exact_at(&mut packed, start)?;
        let mut bytes = room.unwrap_or_default();
        bytes.resize(FRAME, 0);
        let length = decompress_to_buffer(&packed, &mut bytes[..])?;
        let left = self.frames.size - (number * FRAME) as u64;
        if length as u64 != left.min(FRAME as u64) {
            return Err(io::Error::other(
                "a temporary file is not as it was written",
            ));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(usize, Vec<u8>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn packed(bytes: &[u8], piece: usize) -> Source {
        let mut packer = Packer::new(tempfile::tempfile().unwrap()).unwrap();
        for piece in bytes.chunks(piece) {
            packer.write_all(piece).unwrap();
        }
        packer.finish("data", None).unwrap()
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7 % 251) as u8).collect()
    }

    #[test]
    fn any_range_is_what_was_written() {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 10] {
            let bytes = bytes(length);
            for piece in [1000, FRAME, FRAME + 1] {
                let source = packed(&bytes, piece);
                assert_eq!(source.size(), length as u64);
                let ranges = [(0, length), (length / 2, length / 3), (length, 0)];
                for (start, length) in ranges {
                    let mut found = vec![0; length];
                    source.read_exact_at(&mut found, start as u64).unwrap();
                    assert!(found == bytes[start..][..length], "{start} {length}");
                }
                let mut found = Vec::new();
                let mut reader = source.range(5, u64::MAX);
                reader.read_to_end(&mut found).unwrap();
                assert!(found == bytes[length.min(5)..]);
                let beyond = source.read_exact_at(&mut [0], length as u64).unwrap_err();
                assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }

    #[test]
    fn it_takes_less_on_disk() {
        let source = packed(&bytes(10 * FRAME), FRAME);
        let on_disk = source.0.file.metadata().unwrap().len();
        assert_eq!(source.disk_size(), on_disk);
        assert!(on_disk < source.size() / 5, "{on_disk}");
    }

    #[test]
    fn threads_may_read_different_frames() {
        let bytes = bytes(8 * FRAME);
        let source = packed(&bytes, FRAME);
        std::thread::scope(|scope| {
            for first in 0..4 {
                let (source, bytes) = (&source, &bytes);
                scope.spawn(move || {
                    for n in 0..200 {
                        let at = (first + 3 * n) % 7 * FRAME + 100;
                        let mut found = vec![0; FRAME];
                        source.read_exact_at(&mut found, at as u64).unwrap();
                        assert!(found == bytes[at..][..FRAME]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_file_that_was_changed_is_an_error() {
        let source = packed(&bytes(2 * FRAME), FRAME);
        source.0.file.set_len(source.disk_size() - 1).unwrap();
        source.read_exact_at(&mut [0; 10], 0).unwrap();
        source
            .read_exact_at(&mut [0; 10], FRAME as u64)
            .unwrap_err();
        source.0.file.write_all_at(&[0; 100], 0).unwrap();
        source.read_exact_at(&mut [0; 10], 0).unwrap_err();
    }
}
