//! What `ldconfig` reads of a shared library: for which machine it is, and its own name (gABI,
//! chapters 4 and 5).

use std::io;

use oci::Content;

use crate::error::Error;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
/// Most program headers, bytes of the dynamic section and of a name that are read.
const MAX_HEADERS: u64 = 128;
const MAX_DYNAMIC: u64 = 64 << 10;
const MAX_NAME: u64 = 255;

/// A shared library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    /// As the loader's cache has it: glibc's, for this machine.
    pub(crate) flags: u32,
    /// `DT_SONAME`, where it has one.
    pub(crate) soname: Option<String>,
}

/// None for what is no shared library of a known machine. `origin` is what messages call it.
pub(crate) fn read(content: &Content, origin: &str) -> Result<Option<Library>, Error> {
    let file = File { content };
    file.library().map_err(|source| Error::Read {
        file: origin.to_owned(),
        source,
    })
}

struct File<'a> {
    content: &'a Content,
}

impl File<'_> {
    fn library(&self) -> io::Result<Option<Library>> {
        let Some(head) = self.bytes(0, 52)? else {
            return Ok(None);
        };
        let is_wide = head[4] == 2;
        let machine = u16::from_le_bytes([head[18], head[19]]);
        // FLAG_ELF_LIBC6 and the machine's own; see glibc's `ldconfig.h`.
        let flags = match (machine, is_wide) {
            (62, true) => 0x0303,
            (183, true) => 0x0a03,
            (40, false) => 0x0903,
            (3, false) => 0x0003,
            _ => return Ok(None),
        };
        // Little-endian, and a shared object.
        if head[..4] != *b"\x7fELF" || head[5] != 1 || head[16] != 3 {
            return Ok(None);
        }
        let soname = self.soname(is_wide)?;
        Ok(Some(Library { flags, soname }))
    }

    fn soname(&self, is_wide: bool) -> io::Result<Option<String>> {
        let word = if is_wide { 8 } else { 4 };
        let Some(head) = self.bytes(0, if is_wide { 64 } else { 52 })? else {
            return Ok(None);
        };
        let start = value(&head, if is_wide { 32 } else { 28 }, word);
        let [size, count] = if is_wide { [54, 56] } else { [42, 44] }.map(|at| value(&head, at, 2));
        let (mut loads, mut dynamic) = (Vec::new(), None);
        for n in 0..count.min(MAX_HEADERS) {
            let Some(header) = self.bytes(start.saturating_add(n * size), 4 * word as u64 + 8)?
            else {
                return Ok(None);
            };
            let field = |n: usize| value(&header, if is_wide { n * 8 } else { n * 4 }, word);
            let kind = value(&header, 0, 4);
            // Offset, address and size in the file.
            let segment = (field(1), field(2), field(4));
            match kind {
                PT_LOAD => loads.push(segment),
                PT_DYNAMIC => dynamic = Some(segment),
                _ => {}
            }
        }
        let Some((offset, _, length)) = dynamic else {
            return Ok(None);
        };
        let Some(dynamic) = self.bytes(offset, length.min(MAX_DYNAMIC))? else {
            return Ok(None);
        };
        let tag = |wanted| {
            let mut pairs = dynamic.chunks_exact(2 * word);
            let found = pairs.find(|pair| value(pair, 0, word) == wanted)?;
            Some(value(found, word, word))
        };
        let (Some(table), Some(name)) = (tag(DT_STRTAB), tag(DT_SONAME)) else {
            return Ok(None);
        };
        let place = loads
            .iter()
            .find(|(_, address, length)| table >= *address && table - address < *length);
        let Some((offset, address, _)) = place else {
            return Ok(None);
        };
        let at = (table - address)
            .saturating_add(*offset)
            .saturating_add(name);
        let rest = self.content.size().saturating_sub(at);
        let Some(text) = self.bytes(at, rest.min(MAX_NAME))? else {
            return Ok(None);
        };
        let end = text.iter().position(|byte| *byte == 0);
        Ok(end.and_then(|end| String::from_utf8(text[..end].to_vec()).ok()))
    }

    /// None where the file ends before.
    fn bytes(&self, offset: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= self.content.size());
        let Some(end) = end else { return Ok(None) };
        match self.content {
            Content::Bytes(bytes) => Ok(Some(bytes[offset as usize..end as usize].to_vec())),
            Content::File {
                source,
                offset: start,
                ..
            } => {
                let mut bytes = vec![0; length as usize];
                source.read_exact_at(&mut bytes, start + offset)?;
                Ok(Some(bytes))
            }
            Content::Archived(_) => Ok(None),
        }
    }
}

/// The number of `length` bytes at `at`.
fn value(bytes: &[u8], at: usize, length: usize) -> u64 {
    let part = bytes.get(at..at + length).unwrap_or_default();
    let fold = |value, byte: &u8| value << 8 | u64::from(*byte);
    part.iter().rev().fold(0, fold)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A library for arm64 with this name and little else.
    pub(crate) fn elf(soname: &str) -> Vec<u8> {
        let mut bytes = testkit::elf("arm64");
        bytes.resize(64 + 2 * 56, 0);
        bytes[32] = 64;
        (bytes[54], bytes[56]) = (56, 2);
        let dynamic = bytes.len() as u64;
        let table = dynamic + 48;
        let mut header = |at: usize, kind: u8, offset: u64, address: u64, size: u64| {
            bytes[at] = kind;
            for (n, value) in [(8, offset), (16, address), (32, size)] {
                bytes[at + n..at + n + 8].copy_from_slice(&value.to_le_bytes());
            }
        };
        header(64, 1, 0, 0x1000, 4096);
        header(120, 2, dynamic, 0x1000 + dynamic, 48);
        for value in [DT_SONAME, 1, DT_STRTAB, 0x1000 + table, 0, 0] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.push(0);
        bytes.extend(soname.as_bytes());
        bytes.push(0);
        bytes
    }

    fn read(bytes: Vec<u8>) -> Option<Library> {
        super::read(&Content::Bytes(bytes.into()), "x").unwrap()
    }

    #[test]
    fn the_name_and_the_machine() {
        let found = read(elf("libx.so.1")).unwrap();
        assert_eq!(
            (found.flags, found.soname.as_deref()),
            (0x0a03, Some("libx.so.1"))
        );
        assert_eq!(read(testkit::elf("amd64")).unwrap().flags, 0x0303);
        assert_eq!(
            read(testkit::elf("armhf")).unwrap(),
            Library {
                flags: 0x0903,
                soname: None
            }
        );
        assert_eq!(read(b"INPUT(libx.so.1)".repeat(9)), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(at in 0..300_usize, byte: u8, cut in 0..300_usize) {
            let mut bytes = elf("libx.so.1");
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(cut);
            let _ = read(bytes);
        }
    }
}
