//! Buffers of one size, in which the tar stream and the blob go from the splicer to who digests them.

use std::sync::{Mutex, PoisonError};

use crate::Digest;
use crate::layer::EncodeError;

/// Size of a buffer in bytes: small enough for the second-level cache, large enough that a call per
/// buffer costs nothing.
pub(crate) const BUFFER: usize = 128 * 1024;

/// Bytes on their way, and which of them are at rest in an archive.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Box<[u8]>,
    /// How many of the bytes mean something.
    pub(crate) filled: usize,
    /// Ranges of the filled bytes, ascending, that a source has as they are.
    pub(crate) copies: Vec<Copy>,
    /// In a buffer of the tar stream: where files begin and end that are checked, in order.
    pub(crate) edges: Vec<Edge>,
}

/// Where the body of a file begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) at: usize,
    /// The file's number among the members.
    pub(crate) member: usize,
}

/// A range of a buffer that equals a range of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) source: Digest,
    /// Where `start` is in the source.
    pub(crate) offset: u64,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER].into(),
            filled: 0,
            copies: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// A place holder without room.
    pub(crate) fn none() -> Self {
        Self {
            bytes: Box::default(),
            filled: 0,
            copies: Vec::new(),
            edges: Vec::new(),
        }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(crate) fn room(&self) -> usize {
        self.bytes.len() - self.filled
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
        self.copies.clear();
        self.edges.clear();
    }

    /// Takes as much of `bytes` as there is room for; returns how much that is.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.room());
        self.bytes[self.filled..][..length].copy_from_slice(&bytes[..length]);
        self.filled += length;
        length
    }

    /// Changes one byte, which from then on is no longer the source's.
    pub(crate) fn patch(&mut self, at: usize, byte: u8) {
        self.bytes[at] = byte;
        let Some(index) = self
            .copies
            .iter()
            .rposition(|copy| (copy.start..copy.end).contains(&at))
        else {
            return;
        };
        let copy = self.copies.remove(index);
        let before = Copy { end: at, ..copy };
        let after = Copy {
            start: at + 1,
            offset: copy.offset + (at + 1 - copy.start) as u64,
            ..copy
        };
        let parts = [before, after]
            .into_iter()
            .filter(|part| part.start < part.end);
        self.copies.splice(index..index, parts);
    }
}

/// Who takes the two streams, buffer by buffer and each in its order.
pub(crate) trait Sink {
    /// Takes the next bytes of the tar stream; gives an empty buffer for the ones after.
    fn tar(&mut self, buffer: Buffer) -> Result<Buffer, EncodeError>;
    /// Takes the next bytes of the blob; gives an empty buffer for the ones after.
    fn blob(&mut self, buffer: Buffer) -> Result<Buffer, EncodeError>;
}

impl<S: Sink> Sink for &mut S {
    fn tar(&mut self, buffer: Buffer) -> Result<Buffer, EncodeError> {
        (**self).tar(buffer)
    }

    fn blob(&mut self, buffer: Buffer) -> Result<Buffer, EncodeError> {
        (**self).blob(buffer)
    }
}

/// Takes both streams nowhere.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn tar(&mut self, mut buffer: Buffer) -> Result<Buffer, EncodeError> {
        buffer.clear();
        Ok(buffer)
    }

    fn blob(&mut self, buffer: Buffer) -> Result<Buffer, EncodeError> {
        self.tar(buffer)
    }
}

/// Buffers that are not in use, so that they need not be allocated and zeroed again. There are never
/// more than were in use at one time.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<Buffer>>);

impl Pool {
    pub(crate) fn take(&self) -> Buffer {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(Buffer::new)
    }

    pub(crate) fn give(&self, mut buffer: Buffer) {
        buffer.clear();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_byte_is_no_copy() {
        let copy = |start, end, offset| Copy {
            start,
            end,
            source: Digest::of(b""),
            offset,
        };
        for (at, expect) in [
            (10, vec![copy(11, 20, 101)]),
            (15, vec![copy(10, 15, 100), copy(16, 20, 106)]),
            (19, vec![copy(10, 19, 100)]),
            (20, vec![copy(10, 20, 100)]),
        ] {
            let mut buffer = Buffer::new();
            buffer.filled = 30;
            buffer.copies.push(copy(10, 20, 100));
            buffer.patch(at, 7);
            assert_eq!((buffer.bytes[at], buffer.copies), (7, expect));
        }
    }
}
