//! Splice maps: a blob as a list of literal bytes and ranges of archives, from which it can be made
//! again without inflating or compressing anything.
//!
//! A map says nothing about its blob's digest: whoever makes the blob again knows the digest from the
//! layer, and compares (see [`HashingWriter`](crate::HashingWriter)).

use std::io::{self, BufRead, Read, Write};

use crate::{Digest, Source};

/// First bytes of a serialised map; the last one is the version.
const MAGIC: &[u8; 8] = b"oxsplic\x01";

/// A blob as literals and ranges of archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpliceMap {
    sources: Vec<Digest>,
    segments: Vec<Segment>,
    /// All literals, one after the other.
    literals: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal {
        length: u64,
    },
    Copy {
        source: u32,
        offset: u64,
        length: u64,
    },
}

/// Why a blob cannot be made from a map, or a map not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SpliceMapError {
    /// An archive is missing or too short.
    #[error("cannot read the archive {digest}")]
    Source {
        /// The archive's.
        digest: Digest,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The blob or the map could not be written.
    #[error("cannot write")]
    Write(#[source] io::Error),
    /// The map could not be read.
    #[error("cannot read the splice map")]
    Read(#[from] io::Error),
    /// These bytes are no map.
    #[error("not a splice map: {0}")]
    Format(&'static str),
}

impl SpliceMap {
    /// The map of an empty blob.
    pub fn new() -> Self {
        Self::default()
    }

    /// The digests of all archives it refers to, in the order of first use.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = Digest> {
        self.sources.iter().copied()
    }

    /// Size of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::length).sum()
    }

    /// Number of bytes of the blob that are in the map itself.
    pub fn literal_size(&self) -> u64 {
        self.literals.len() as u64
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push_literal(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.literals.extend_from_slice(bytes);
        match self.segments.last_mut() {
            Some(Segment::Literal { length }) => *length += bytes.len() as u64,
            _ => self.segments.push(Segment::Literal {
                length: bytes.len() as u64,
            }),
        }
    }

    pub(crate) fn push_copy(&mut self, digest: Digest, from: u64, more: u64) {
        if more == 0 {
            return;
        }
        let index = self.sources.iter().rposition(|source| *source == digest);
        let index = index.unwrap_or_else(|| {
            self.sources.push(digest);
            self.sources.len() - 1
        }) as u32;
        if let Some(Segment::Copy {
            source,
            offset,
            length,
        }) = self.segments.last_mut()
            && *source == index
            && *offset + *length == from
        {
            *length += more;
            return;
        }
        self.segments.push(Segment::Copy {
            source: index,
            offset: from,
            length: more,
        });
    }

    /// Writes the blob. `sources` opens an archive by its digest; each is opened once.
    pub fn write_blob(
        &self,
        sources: &dyn Fn(&Digest) -> io::Result<Source>,
        out: &mut dyn Write,
    ) -> Result<(), SpliceMapError> {
        let mut opened: Vec<Option<Source>> = vec![None; self.sources.len()];
        let mut out = Gather {
            out,
            buffer: vec![0; GATHER].into(),
            filled: 0,
        };
        let mut literals = &self.literals[..];
        for segment in &self.segments {
            match *segment {
                Segment::Literal { length } => {
                    let (bytes, rest) = literals.split_at(length as usize);
                    out.literal(bytes)?;
                    literals = rest;
                }
                Segment::Copy {
                    source,
                    offset,
                    length,
                } => {
                    let index = source as usize;
                    let digest = self.sources[index];
                    let fault = |error| SpliceMapError::Source { digest, error };
                    let source = match &mut opened[index] {
                        Some(source) => source,
                        none => none.insert(sources(&digest).map_err(fault)?),
                    };
                    out.copy(source, offset, length, fault)?;
                }
            }
        }
        out.flush()
    }

    /// Serialises the map: about a byte more than its literals, and a few for each range.
    pub fn to_writer(&self, out: &mut dyn Write) -> Result<(), SpliceMapError> {
        self.serialise(out).map_err(SpliceMapError::Write)
    }

    fn serialise(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        write_number(self.sources.len() as u64, out)?;
        for source in &self.sources {
            out.write_all(source.as_bytes())?;
        }
        let mut literals = &self.literals[..];
        let mut expected = vec![0; self.sources.len()];
        for segment in &self.segments {
            match *segment {
                Segment::Literal { length } => {
                    let (bytes, rest) = literals.split_at(length as usize);
                    write_number(length << 1, out)?;
                    out.write_all(bytes)?;
                    literals = rest;
                }
                Segment::Copy {
                    source,
                    offset,
                    length,
                } => {
                    let expected: &mut u64 = &mut expected[source as usize];
                    write_number(length << 1 | 1, out)?;
                    write_number(source.into(), out)?;
                    write_number(zigzag(offset.wrapping_sub(*expected)), out)?;
                    *expected = offset + length;
                }
            }
        }
        write_number(0, out)
    }

    /// Reads what [`SpliceMap::to_writer`] has written; nothing may follow. Memory is bounded by the
    /// number of bytes there are, whatever they claim.
    pub fn from_reader(reader: &mut dyn BufRead) -> Result<Self, SpliceMapError> {
        let mut magic = [0; MAGIC.len()];
        read_exact(reader, &mut magic)?;
        if &magic != MAGIC {
            return Err(SpliceMapError::Format("other first bytes"));
        }
        let mut map = Self::new();
        for _ in 0..read_number(reader)? {
            let mut bytes = [0; 32];
            read_exact(reader, &mut bytes)?;
            map.sources.push(Digest::from_bytes(bytes));
        }
        let mut expected = vec![0; map.sources.len()];
        let mut size = 0_u64;
        loop {
            let number = read_number(reader)?;
            if number == 0 {
                break;
            }
            let length = number >> 1;
            size = size.checked_add(length).ok_or(TOO_LARGE)?;
            if number & 1 == 0 {
                map.read_literal(length, reader)?;
            } else {
                map.read_copy(length, &mut expected, reader)?;
            }
        }
        if reader.fill_buf()?.is_empty() {
            Ok(map)
        } else {
            Err(SpliceMapError::Format("bytes after its end"))
        }
    }

    fn read_literal(
        &mut self,
        length: u64,
        reader: &mut dyn BufRead,
    ) -> Result<(), SpliceMapError> {
        let read = reader.take(length).read_to_end(&mut self.literals)?;
        if (read as u64) < length {
            return Err(SpliceMapError::Format(ENDS_EARLY));
        }
        self.segments.push(Segment::Literal { length });
        Ok(())
    }

    fn read_copy(
        &mut self,
        length: u64,
        expected: &mut [u64],
        reader: &mut dyn BufRead,
    ) -> Result<(), SpliceMapError> {
        let source = read_number(reader)?;
        let expected = usize::try_from(source)
            .ok()
            .and_then(|index| expected.get_mut(index));
        let expected = expected.ok_or(SpliceMapError::Format("a source that is not listed"))?;
        let offset = expected.wrapping_add(unzigzag(read_number(reader)?));
        *expected = offset.checked_add(length).ok_or(TOO_LARGE)?;
        self.segments.push(Segment::Copy {
            source: source as u32,
            offset,
            length,
        });
        Ok(())
    }
}

impl Segment {
    fn length(&self) -> u64 {
        match self {
            Self::Literal { length } | Self::Copy { length, .. } => *length,
        }
    }
}

const ENDS_EARLY: &str = "it ends early";
const TOO_LARGE: SpliceMapError = SpliceMapError::Format("sizes beyond 64 bits");

/// Bytes that are gathered into one write.
const GATHER: usize = 256 * 1024;

/// Gathers small segments into large writes.
struct Gather<'a> {
    out: &'a mut dyn Write,
    buffer: Box<[u8]>,
    filled: usize,
}

impl Gather<'_> {
    fn literal(&mut self, mut bytes: &[u8]) -> Result<(), SpliceMapError> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len() as u64)?;
            let (now, later) = bytes.split_at(room.len());
            room.copy_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn copy(
        &mut self,
        source: &Source,
        mut offset: u64,
        mut length: u64,
        fault: impl Fn(io::Error) -> SpliceMapError,
    ) -> Result<(), SpliceMapError> {
        while length > 0 {
            let room = self.room(length)?;
            source.read_exact_at(room, offset).map_err(&fault)?;
            offset += room.len() as u64;
            length -= room.len() as u64;
        }
        Ok(())
    }

    /// Room for some of `wanted` bytes, at least one, which are taken for filled.
    fn room(&mut self, wanted: u64) -> Result<&mut [u8], SpliceMapError> {
        if self.filled == self.buffer.len() {
            self.flush()?;
        }
        let start = self.filled;
        self.filled += wanted.min((self.buffer.len() - start) as u64) as usize;
        Ok(&mut self.buffer[start..self.filled])
    }

    fn flush(&mut self) -> Result<(), SpliceMapError> {
        self.out
            .write_all(&self.buffer[..self.filled])
            .map_err(SpliceMapError::Write)?;
        self.filled = 0;
        Ok(())
    }
}

/// Seven bits per byte, lowest first; the highest bit says that more follow.
fn write_number(mut number: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut bytes = [0; 10];
    let mut length = 0;
    while number >= 0x80 {
        bytes[length] = number as u8 | 0x80;
        number >>= 7;
        length += 1;
    }
    bytes[length] = number as u8;
    out.write_all(&bytes[..=length])
}

fn read_number(reader: &mut dyn BufRead) -> Result<u64, SpliceMapError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        read_exact(reader, &mut byte)?;
        let bits = u64::from(byte[0] & 0x7f);
        if bits << shift >> shift != bits {
            return Err(TOO_LARGE);
        }
        number |= bits << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(TOO_LARGE)
}

fn read_exact(reader: &mut dyn BufRead, bytes: &mut [u8]) -> Result<(), SpliceMapError> {
    reader
        .read_exact(bytes)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SpliceMapError::Format(ENDS_EARLY),
            _ => SpliceMapError::Read(error),
        })
}

/// A difference, taken for signed, with small ones of either sign becoming small numbers.
fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ (difference.cast_signed() >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(map: &SpliceMap) -> Vec<u8> {
        let mut out = Vec::new();
        map.to_writer(&mut out).unwrap();
        out
    }

    fn map() -> SpliceMap {
        let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
        let mut map = SpliceMap::new();
        map.push_literal(b"li");
        map.push_literal(b"teral");
        map.push_copy(a, 100, 20);
        map.push_copy(a, 120, 30);
        map.push_copy(b, u64::MAX >> 2, 1 << 40);
        map.push_copy(a, 10, 5);
        map.push_literal(b"end");
        map
    }

    #[test]
    fn neighbours_are_joined() {
        let map = map();
        assert_eq!(map.segments.len(), 5);
        assert_eq!(
            map.sources().collect::<Vec<_>>(),
            [Digest::of(b"a"), Digest::of(b"b")]
        );
        assert_eq!((map.size(), map.literal_size()), ((1 << 40) + 65, 10));
    }

    #[test]
    fn every_shortened_or_lengthened_map_is_refused() {
        let whole = bytes(&map());
        assert_eq!(SpliceMap::from_reader(&mut &whole[..]).unwrap(), map());
        for end in 0..whole.len() {
            let error = SpliceMap::from_reader(&mut &whole[..end]).unwrap_err();
            assert!(
                matches!(error, SpliceMapError::Format(ENDS_EARLY)),
                "{end}: {error:?}"
            );
        }
        let longer = [&whole[..], b"\0"].concat();
        assert!(SpliceMap::from_reader(&mut &longer[..]).is_err());
    }

    #[test]
    fn structure_is_checked() {
        let check = |tail: &[u8]| {
            let bytes = [&MAGIC[..], tail].concat();
            SpliceMap::from_reader(&mut &bytes[..])
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(check(&[0, 3, 0, 0, 0]), @"not a splice map: a source that is not listed");
        insta::assert_snapshot!(check(&[0xff; 11]), @"not a splice map: sizes beyond 64 bits");
        let source = [&[1][..], &[0; 32]].concat();
        let beyond = [&source[..], &[0xff; 9], &[1, 0, 1, 0]].concat();
        insta::assert_snapshot!(check(&beyond), @"not a splice map: sizes beyond 64 bits");
        // A literal that claims a quarter of all there is, with three bytes.
        let claim = [&[0][..], &[0xfe; 8], &[0x7f, 1, 2, 3]].concat();
        insta::assert_snapshot!(check(&claim), @"not a splice map: it ends early");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(tail: Vec<u8>) {
            let bytes = [&MAGIC[..], &tail].concat();
            if let Ok(map) = SpliceMap::from_reader(&mut &bytes[..]) {
                let missing = |_: &Digest| Err(io::Error::from(io::ErrorKind::NotFound));
                let _ = map.write_blob(&missing, &mut io::sink());
            }
        }

        #[test]
        fn maps_round_trip(
            segments in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| (bytes, None)),
                    (0_u8..4, 0..u64::MAX >> 8, 0..u64::MAX >> 10)
                        .prop_map(|(source, offset, length)| (vec![source], Some((offset, length)))),
                ],
                0..20,
            ),
        ) {
            let mut map = SpliceMap::new();
            for (bytes, copy) in segments {
                match copy {
                    None => map.push_literal(&bytes),
                    Some((offset, length)) => map.push_copy(Digest::of(&bytes), offset, length),
                }
            }
            prop_assert_eq!(SpliceMap::from_reader(&mut &bytes(&map)[..]).unwrap(), map);
        }
    }
}
