//! The program interpreter of an ELF file (System V ABI, "Program Header", `PT_INTERP`), found in a
//! stream: where it is stands near the beginning of the file, the text itself may come anywhere after.

/// Bytes from the beginning of the file in which the program headers are looked for.
const HEAD: usize = 4 << 10;

/// Bytes that a path may have.
const MAX_PATH: u64 = 4096;

const PT_INTERP: u32 = 3;

/// Looks for the program interpreter in the parts of a file.
#[derive(Debug, Default)]
pub(crate) struct InterpreterSearch {
    position: u64,
    head: Vec<u8>,
    state: State,
    text: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Between these two offsets.
    Text(u64, u64),
    Over,
}

impl InterpreterSearch {
    /// The next part of the file.
    pub(crate) fn feed(&mut self, part: &[u8]) {
        let missing = HEAD - self.head.len();
        self.head
            .extend_from_slice(&part[..missing.min(part.len())]);
        if self.state == State::Head && self.head.len() == HEAD {
            self.locate();
        }
        if let State::Text(start, end) = self.state {
            let from = start.max(self.position) - self.position;
            let to = end.saturating_sub(self.position).min(part.len() as u64);
            if from < to {
                self.text
                    .extend_from_slice(&part[from as usize..to as usize]);
            }
        }
        self.position += part.len() as u64;
    }

    /// At the end of the file: whether it is an ELF file, and what its interpreter is.
    pub(crate) fn finish(mut self) -> (bool, Option<String>) {
        if self.state == State::Head {
            self.locate();
        }
        let is_elf = self.head.starts_with(b"\x7fELF");
        let text = self.text.split(|byte| *byte == 0).next();
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let is_whole = matches!(self.state, State::Text(_, end) if end <= self.position);
        let text = text.filter(|text| is_whole && text.starts_with('/'));
        (is_elf, text.map(str::to_owned))
    }

    /// Reads the program headers, and what of the text has passed already.
    fn locate(&mut self) {
        self.state = State::Over;
        let Some((start, length)) = interpreter(&self.head) else {
            return;
        };
        let Some(end) = start.checked_add(length) else {
            return;
        };
        self.state = State::Text(start, end);
        // The part that completes the head is looked at after this.
        let passed = self.position.min(self.head.len() as u64);
        if start < passed {
            let range = start as usize..end.min(passed) as usize;
            self.text.extend_from_slice(&self.head[range]);
        }
    }
}

/// Where the text is: its offset and length.
fn interpreter(head: &[u8]) -> Option<(u64, u64)> {
    let reader = Fields {
        bytes: head,
        is_big: head.get(5) == Some(&2),
    };
    let is_wide = match head.get(..5)? {
        b"\x7fELF\x01" => false,
        b"\x7fELF\x02" => true,
        _ => return None,
    };
    let (table, size, count) = if is_wide {
        (reader.u64(32)?, reader.u16(54)?, reader.u16(56)?)
    } else {
        (u64::from(reader.u32(28)?), reader.u16(42)?, reader.u16(44)?)
    };
    for n in 0..u64::from(count) {
        let at = table.checked_add(n.checked_mul(u64::from(size))?)?;
        let at = usize::try_from(at).ok()?;
        if reader.u32(at)? == PT_INTERP {
            let (offset, length) = if is_wide {
                (
                    reader.u64(at.checked_add(8)?)?,
                    reader.u64(at.checked_add(32)?)?,
                )
            } else {
                let offset = reader.u32(at.checked_add(4)?)?;
                (
                    u64::from(offset),
                    u64::from(reader.u32(at.checked_add(16)?)?),
                )
            };
            return (length <= MAX_PATH).then_some((offset, length));
        }
    }
    None
}

/// Numbers of either byte order.
struct Fields<'a> {
    bytes: &'a [u8],
    is_big: bool,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let bytes = self.bytes.get(at..at.checked_add(N)?)?;
        let mut array: [u8; N] = bytes.try_into().ok()?;
        if self.is_big {
            array.reverse();
        }
        Some(array)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(bytes: &[u8], part: usize) -> (bool, Option<String>) {
        let mut search = InterpreterSearch::default();
        bytes.chunks(part).for_each(|part| search.feed(part));
        search.finish()
    }

    /// An ELF file of either width and order with its interpreter at `offset`.
    fn file(is_wide: bool, is_big: bool, offset: usize) -> Vec<u8> {
        let text = b"/lib/ld-linux-armhf.so.3\0";
        let mut bytes = vec![0; offset.max(200)];
        bytes.truncate(offset);
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(&[7; 100]);
        bytes[..6].copy_from_slice(b"\x7fELF\x01\x01");
        bytes[4] += u8::from(is_wide);
        bytes[5] += u8::from(is_big);
        let mut put = |at: usize, width: usize, value: usize| {
            let little = value.to_le_bytes();
            for (n, byte) in little[..width].iter().enumerate() {
                bytes[if is_big { at + width - 1 - n } else { at + n }] = *byte;
            }
        };
        let header = if is_wide {
            [
                (32, 8, 64),
                (54, 2, 56),
                (56, 2, 2),
                (120, 4, 3),
                (128, 8, offset),
                (152, 8, text.len()),
            ]
        } else {
            [
                (28, 4, 64),
                (42, 2, 32),
                (44, 2, 2),
                (96, 4, 3),
                (100, 4, offset),
                (112, 4, text.len()),
            ]
        };
        for (at, width, value) in header {
            put(at, width, value);
        }
        bytes
    }

    #[test]
    fn the_interpreter_is_found_wherever_it_is() {
        let expect = (true, Some("/lib/ld-linux-armhf.so.3".to_owned()));
        for (is_wide, is_big) in [(false, false), (false, true), (true, false), (true, true)] {
            for offset in [180, HEAD - 100, HEAD - 5, HEAD, 3 * HEAD + 1] {
                let bytes = file(is_wide, is_big, offset);
                for part in [1, 7, 500, HEAD, 1 << 20] {
                    assert_eq!(
                        search(&bytes, part),
                        expect,
                        "{is_wide} {is_big} {offset} {part}"
                    );
                }
                let cut = &bytes[..offset + 10];
                assert_eq!(search(cut, 512), (true, None));
            }
        }
    }

    #[test]
    fn files_without_one() {
        assert_eq!(search(b"", 1), (false, None));
        assert_eq!(search(b"#!/bin/sh\n", 3), (false, None));
        assert_eq!(search(b"\x7fELF", 1), (true, None));
        let mut relative = file(true, false, 200);
        relative[200] = b'.';
        assert_eq!(search(&relative, 64), (true, None));
    }
}
