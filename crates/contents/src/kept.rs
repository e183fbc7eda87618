//! What is kept of an ELF file while it streams by. Its tables lie anywhere: a linker puts them first,
//! patchelf last, and the dynamic section comes after the code.

use std::ops::Range;

/// Bytes kept of a file's beginning.
const HEAD: usize = 64 << 20;

/// Bytes kept of its end.
const TAIL: usize = 32 << 20;

/// Bytes kept of a dynamic section that is in neither.
const MIDDLE: u64 = 1 << 20;

/// Of a file up to 128 MiB, all of it. Of a larger one the first 64 MiB, at least the last 32 MiB, and one
/// more range up to 1 MiB.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    /// Bytes left out after the first [`HEAD`].
    hole: u64,
    /// Where the range begins.
    middle_start: u64,
    middle_end: u64,
    middle: Vec<u8>,
}

impl Kept {
    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.middle.clear();
        (self.hole, self.middle_start, self.middle_end) = (0, 0, 0);
    }

    /// The beginning.
    pub(crate) fn head(&self) -> &[u8] {
        &self.bytes[..self.bytes.len().min(HEAD)]
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64 + self.hole
    }

    /// Takes the next part. `dynamic` is asked, once, when the beginning is there and more comes.
    pub(crate) fn push(&mut self, part: &[u8], dynamic: impl FnOnce(&[u8]) -> Option<Range<u64>>) {
        let start = self.len();
        let was_head = self.bytes.len() <= HEAD;
        self.bytes.extend_from_slice(part);
        if was_head && self.bytes.len() > HEAD {
            let range = dynamic(self.head()).unwrap_or_default();
            self.middle_start = range.start;
            self.middle_end = range.end.min(range.start.saturating_add(MIDDLE));
        }
        let from = self.middle_start.max(start);
        let to = self.middle_end.min(self.len());
        if from < to {
            self.middle
                .extend_from_slice(&part[(from - start) as usize..(to - start) as usize]);
        }
        if self.bytes.len() > HEAD + 2 * TAIL {
            let end = self.bytes.len() - TAIL;
            self.bytes.drain(HEAD..end);
            self.hole += (end - HEAD) as u64;
        }
    }

    /// What lies at `offset`; None where that is not in the file or was not kept.
    pub(crate) fn at(&self, offset: u64, size: u64) -> Option<&[u8]> {
        let end = offset.checked_add(size)?;
        let (bytes, start) = if self.hole == 0 || end <= HEAD as u64 {
            (&self.bytes, 0)
        } else if offset >= HEAD as u64 + self.hole {
            (&self.bytes, self.hole)
        } else {
            (&self.middle, self.middle_start)
        };
        let from = usize::try_from(offset.checked_sub(start)?).ok()?;
        let to = from.checked_add(usize::try_from(size).ok()?)?;
        bytes.get(from..to)
    }

    /// The text at `offset` up to its NUL, at most `limit` bytes of it.
    pub(crate) fn text(&self, offset: u64, limit: u64) -> Option<&[u8]> {
        let size = limit.min(self.len().checked_sub(offset)?);
        // A hole may begin before the limit.
        let bytes = self
            .at(offset, size)
            .or_else(|| self.at(offset, size.min((HEAD as u64).checked_sub(offset)?)))?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(&bytes[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_large_file_both_ends_and_a_range() {
        let size = (HEAD + 4 * TAIL) as u64;
        let middle = HEAD as u64 + 1000;
        let mut kept = Kept::default();
        let byte = |n: u64| (n % 251) as u8;
        let mut at = 0;
        while at < size {
            let part: Vec<u8> = (at..(at + 99_991).min(size)).map(byte).collect();
            kept.push(&part, |head| {
                assert_eq!(head.len(), HEAD);
                Some(middle..middle + 200_000)
            });
            at += part.len() as u64;
        }
        assert_eq!(kept.len(), size);
        assert!(kept.bytes.len() <= HEAD + 2 * TAIL);
        let check = |offset: u64, size: u64| {
            let bytes = kept.at(offset, size).map(<[u8]>::to_vec);
            let expect: Vec<u8> = (offset..offset + size).map(byte).collect();
            bytes.map(|bytes| assert_eq!(bytes, expect, "{offset}"))
        };
        assert!(check(0, 1000).is_some());
        assert!(check(HEAD as u64 - 10, 10).is_some());
        assert!(check(middle, 200_000).is_some());
        assert!(check(size - TAIL as u64, TAIL as u64).is_some());
        assert!(check(HEAD as u64 + 10, 10).is_none(), "in the hole");
        assert!(check(HEAD as u64 - 10, 20).is_none(), "into the hole");
        assert!(check(size - 1, 2).is_none(), "behind the end");
    }

    #[test]
    fn of_a_small_file_all() {
        let mut kept = Kept::default();
        kept.push(b"\x7fELF", |_| None);
        kept.push(b"abc\0", |_| None);
        assert_eq!(kept.at(2, 4), Some(&b"LFab"[..]));
        assert_eq!(kept.text(4, 100), Some(&b"abc"[..]));
        assert_eq!(kept.text(4, 2), None);
        kept.clear();
        assert_eq!(kept.at(0, 1), None);
    }
}
