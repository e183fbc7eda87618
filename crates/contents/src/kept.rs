//! What is kept of an ELF file while it streams by: the parts where the loader's tables can lie. They lie in
//! segments that are loaded: a linker puts most of them before the code and the dynamic section after it,
//! patchelf puts new ones at the end.

use std::ops::Range;

/// Bytes of the beginning, by which the other parts are chosen.
pub(crate) const HEAD: u64 = 64 << 10;

/// A file that streams by.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Bytes that have come.
    length: u64,
    /// The parts that are kept, in their order, none of which touches another. Empty as long as the beginning is
    /// not there.
    parts: Vec<Range<u64>>,
    /// What has come of them.
    bytes: Vec<u8>,
}

impl Kept {
    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.length = 0;
        self.parts.clear();
        self.bytes.clear();
    }

    /// The beginning, at least [`HEAD`] of it where the file is that long.
    pub(crate) fn head(&self) -> &[u8] {
        let end = self.parts.first().map_or(self.length, |part| part.end);
        &self.bytes[..end.min(self.bytes.len() as u64) as usize]
    }

    /// Takes the next bytes. `choose` is asked once, with the beginning, what else is to be kept.
    pub(crate) fn push(&mut self, bytes: &[u8], choose: impl FnOnce(&[u8]) -> Vec<Range<u64>>) {
        let mut rest = bytes;
        if self.parts.is_empty() {
            let room = HEAD.saturating_sub(self.length) as usize;
            let (head, after) = rest.split_at(room.min(rest.len()));
            self.bytes.extend_from_slice(head);
            self.length += head.len() as u64;
            rest = after;
            if self.length < HEAD {
                return;
            }
            let mut parts = choose(&self.bytes);
            parts.push(0..HEAD);
            self.parts = joined(parts);
        }
        let (start, end) = (self.length, self.length + rest.len() as u64);
        for part in &self.parts {
            let (from, to) = (part.start.max(start), part.end.min(end));
            if from < to {
                let wanted = (from - start) as usize..(to - start) as usize;
                self.bytes.extend_from_slice(&rest[wanted]);
            }
        }
        self.length = end;
    }

    /// What lies at `offset`; None where that is not in the file or was not kept.
    pub(crate) fn at(&self, offset: u64, size: u64) -> Option<&[u8]> {
        let bytes = self.from(offset)?;
        bytes.get(..usize::try_from(size).ok()?)
    }

    /// The text at `offset` up to its NUL, at most `limit` bytes of it.
    pub(crate) fn text(&self, offset: u64, limit: u64) -> Option<&[u8]> {
        let bytes = self.from(offset)?;
        let bytes = &bytes[..bytes.len().min(usize::try_from(limit).ok()?)];
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(&bytes[..end])
    }

    /// What lies at `offset` and after it, up to the end of its part.
    fn from(&self, offset: u64) -> Option<&[u8]> {
        if self.parts.is_empty() {
            return self.bytes.get(usize::try_from(offset).ok()?..);
        }
        let mut before = 0;
        for part in &self.parts {
            if part.contains(&offset) {
                let end = part.end.min(self.length);
                let (from, to) = (
                    before + offset - part.start,
                    before + end.checked_sub(part.start)?,
                );
                return self.bytes.get(from as usize..to as usize);
            }
            before += part.end - part.start;
        }
        None
    }
}

/// The same in order, without overlaps.
fn joined(mut parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    parts.retain(|part| !part.is_empty());
    parts.sort_by_key(|part| part.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(n: u64) -> u8 {
        (n % 251) as u8
    }

    fn bytes(range: Range<u64>) -> Vec<u8> {
        range.map(byte).collect()
    }

    /// A file of `size` that comes in pieces.
    fn kept(size: u64, piece: u64, parts: &[Range<u64>]) -> Kept {
        let mut kept = Kept::default();
        let mut at = 0;
        while at < size {
            let end = (at + piece).min(size);
            kept.push(&bytes(at..end), |head| {
                assert_eq!(head, bytes(0..HEAD));
                parts.to_vec()
            });
            at = end;
        }
        kept
    }

    #[test]
    fn of_a_large_file_what_was_chosen() {
        let size = 1_000_000;
        let parts = [
            700_000..size + 5,
            300_000..400_000,
            100..70_000,
            350_000..410_000,
            9..9,
        ];
        for piece in [1_000, 99_991, size] {
            let kept = kept(size, piece, &parts);
            assert_eq!(kept.length, size);
            assert_eq!(kept.bytes.len(), 70_000 + 110_000 + 300_000);
            for range in [
                0..HEAD + 100,
                HEAD..70_000,
                300_000..410_000,
                700_000..size,
                size - 1..size,
            ] {
                let found = kept.at(range.start, range.end - range.start);
                assert_eq!(found, Some(&bytes(range.clone())[..]), "{range:?}");
            }
            for (offset, size) in [
                (69_999, 2),
                (70_000, 1),
                (299_999, 1),
                (409_000, 2_000),
                (size - 1, 2),
                (size, 1),
            ] {
                assert_eq!(kept.at(offset, size), None, "{offset} {size}");
            }
            assert_eq!(kept.text(300_000, 4096), Some(&bytes(300_000..300_196)[..]));
            assert_eq!(kept.text(409_990, 4), None, "its NUL is not kept");
        }
    }

    #[test]
    fn of_a_small_file_all() {
        let size = HEAD - 1;
        let kept = kept(size, 1000, &[]);
        assert_eq!(kept.head(), bytes(0..size));
        assert_eq!(kept.at(size - 9, 9), Some(&bytes(size - 9..size)[..]));
        assert_eq!(kept.at(size - 9, 10), None);
    }
}
