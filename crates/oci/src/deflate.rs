//! A small deflate encoder for tar headers: one block of fixed Huffman codes, then an empty stored
//! block up to the byte boundary.
//!
//! Follows RFC 1951, sections 3.2.4 and 3.2.6. It is our own because a compressor's next version may
//! choose other bytes, and these must not change: a golden test pins them.

use crate::tar::BLOCK;

/// How far back a match may reach, in bytes.
const WINDOW: u64 = 32_768;

/// What follows the three bits that begin a stored block, when it is empty.
pub(crate) const EMPTY_STORED: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A final block with nothing in it: ends a stream that is at a byte boundary.
pub(crate) const END: [u8; 2] = [0x03, 0x00];

/// The longest stored block in bytes.
pub(crate) const STORED_MAX: usize = 65_535;

/// Appends to `out` the five bytes that announce a stored block of `length` bytes, at a byte
/// boundary.
pub(crate) fn stored_header(length: u16, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
}

/// A header that was written before, to which matches can refer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Previous<'a> {
    pub(crate) header: &'a [u8; BLOCK],
    /// From its first byte to the first byte of the header that is written now.
    pub(crate) distance: u64,
}

/// Appends `bytes` to `out` as a fixed-code block, and aligns to a byte boundary. `out` must be at
/// one. The last 512 bytes may be coded as matches against `previous`, where that is near enough;
/// of everything else only what lies within `bytes` is referred to.
pub(crate) fn headers(bytes: &[u8], previous: Option<Previous<'_>>, out: &mut Vec<u8>) {
    let previous = previous.filter(|previous| previous.distance <= WINDOW);
    let start = bytes.len().saturating_sub(BLOCK);
    let mut bits = Bits {
        out,
        hold: 0,
        count: 0,
    };
    bits.put(0b010, 3);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let run = if at > 0 {
            common(rest, &bytes[at - 1..])
        } else {
            0
        };
        let back = match previous {
            Some(previous) if at >= start => common(rest, &previous.header[at - start..]),
            _ => 0,
        };
        at += match previous {
            Some(previous) if back >= MIN_BACK && back > run => {
                bits.copy(back, previous.distance as u16);
                back
            }
            _ if run >= MIN_RUN => {
                bits.copy(run, 1);
                run
            }
            _ => {
                bits.literal(bytes[at]);
                1
            }
        };
    }
    bits.put(0, 7);
    bits.put(0b000, 3);
    bits.align();
    out.extend_from_slice(&EMPTY_STORED);
}

/// A run of three costs 12 bits, less than two literals.
const MIN_RUN: usize = 3;
/// A far match costs 20 to 25 bits, about three literals.
const MIN_BACK: usize = 4;
const MAX_MATCH: usize = 258;

/// How many bytes `a` and `b` begin with in common, as far as one match goes.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter()
        .zip(b)
        .take(MAX_MATCH)
        .take_while(|(a, b)| a == b)
        .count()
}

struct Bits<'a> {
    out: &'a mut Vec<u8>,
    hold: u64,
    count: u32,
}

impl Bits<'_> {
    /// The low `count` bits of `value`, lowest first.
    fn put(&mut self, value: u32, count: u32) {
        self.hold |= u64::from(value) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.out.push(self.hold as u8);
            self.hold >>= 8;
            self.count -= 8;
        }
    }

    /// A Huffman code, whose highest bit goes first.
    fn code(&mut self, code: u32, count: u32) {
        self.put(code.reverse_bits() >> (32 - count), count);
    }

    fn literal(&mut self, byte: u8) {
        match u32::from(byte) {
            low @ ..=143 => self.code(0x30 + low, 8),
            high => self.code(0x190 + high - 144, 9),
        }
    }

    fn copy(&mut self, length: usize, distance: u16) {
        let (symbol, extra, count) = length_code(length);
        match symbol {
            ..=279 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
        self.put(extra, count);
        let (symbol, extra, count) = distance_code(distance);
        self.code(symbol, 5);
        self.put(extra, count);
    }

    fn align(&mut self) {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
    }
}

/// Symbol, extra bits and their number for a match of 3 to 258 bytes.
fn length_code(length: usize) -> (u32, u32, u32) {
    let value = length as u32 - 3;
    match value {
        0..8 => (257 + value, 0, 0),
        255 => (285, 0, 0),
        _ => {
            let count = value.ilog2() - 2;
            (
                257 + 4 * count + (value >> count),
                value & ((1 << count) - 1),
                count,
            )
        }
    }
}

/// Symbol, extra bits and their number for a distance of 1 to 32,768.
fn distance_code(distance: u16) -> (u32, u32, u32) {
    let value = u32::from(distance) - 1;
    if value < 4 {
        return (value, 0, 0);
    }
    let count = value.ilog2() - 1;
    (
        2 * count + (value >> count),
        value & ((1 << count) - 1),
        count,
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::read::DeflateDecoder;
    use proptest::prelude::*;

    use super::*;
    use crate::tar::{Header, Typeflag};

    fn inflate(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.extend_from_slice(&END);
        let mut out = Vec::new();
        let mut decoder = DeflateDecoder::new(&bytes[..]);
        decoder.read_to_end(&mut out).unwrap();
        assert_eq!(decoder.total_in(), bytes.len() as u64);
        out
    }

    fn header(path: &str, size: u64) -> [u8; BLOCK] {
        let mut out = Vec::new();
        let typeflag = Typeflag::Regular;
        let mtime = crate::SHARED_MTIME;
        Header {
            path,
            typeflag,
            link: "",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime,
        }
        .write(&mut out);
        out.try_into().unwrap()
    }

    #[test]
    fn every_length_and_distance_has_its_code() {
        let mut filler = vec![0; WINDOW as usize];
        let mut state = 1_u32;
        filler.fill_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        for (length, distance) in (3..=258)
            .map(|l| (l, 1000))
            .chain((1..=WINDOW as usize).step_by(7).map(|d| (9, d)))
        {
            let mut out = Vec::new();
            for chunk in filler.chunks(STORED_MAX) {
                stored_header(chunk.len() as u16, &mut out);
                out.extend_from_slice(chunk);
            }
            let mut bits = Bits {
                out: &mut out,
                hold: 0,
                count: 0,
            };
            bits.put(0b010, 3);
            bits.copy(length, distance as u16);
            bits.put(0, 10);
            bits.align();
            out.extend_from_slice(&EMPTY_STORED);
            let mut expect = filler.clone();
            for _ in 0..length {
                expect.push(expect[expect.len() - distance]);
            }
            assert!(inflate(out) == expect, "{length} {distance}");
        }
    }

    #[test]
    fn a_near_header_is_referred_to_and_a_far_one_is_not() {
        let [first, second] = [header("some/where/a.py", 17), header("some/where/b.py", 23)];
        let mut sizes = Vec::new();
        for body in [0, 1000, 32_768 - 512, 32_768 - 511] {
            let mut out = Vec::new();
            headers(&first, None, &mut out);
            stored_header(body, &mut out);
            out.resize(out.len() + usize::from(body), b'x');
            let before = out.len();
            let previous = Previous {
                header: &first,
                distance: 512 + u64::from(body),
            };
            headers(&second, Some(previous), &mut out);
            sizes.push(out.len() - before);
            let expect = [&first[..], &vec![b'x'; body.into()], &second].concat();
            assert_eq!(inflate(out), expect);
        }
        insta::assert_debug_snapshot!(sizes, @r"
[
    24,
    25,
    27,
    87,
]
");
    }

    /// Changes only with [`crate::layer::FORMAT`].
    #[test]
    fn golden_blocks() {
        let check = |bytes: &[u8], previous: Option<Previous<'_>>| {
            let mut out = Vec::new();
            headers(bytes, previous, &mut out);
            hex::encode(out)
        };
        let [first, second] = [header("some/where/a.py", 17), header("some/where/b.py", 23)];
        let previous = Previous {
            header: &first,
            distance: 1024,
        };
        insta::assert_snapshot!(check(&[], None), @"02000000ffff");
        insta::assert_snapshot!(check(&[0; 1024], None), @"621805a360148c5800000000ffff");
        insta::assert_snapshot!(check(&first, None), @"2acecf4dd52fcf482d4ad54fd42ba864a0053000023313130603086030800006031830326430303232333635323630306030303432303761503060a003282d2e492c62303060a010184000830104300c1100000000ffff");
        insta::assert_snapshot!(check(&second, Some(previous)), @"42caff490397ffcdd1f3bfa181f168fea70700000000ffff");
    }

    proptest! {
        #[test]
        fn inflates_to_what_went_in(
            bytes in proptest::collection::vec(prop_oneof![4 => Just(0_u8), 1 => any::<u8>()], 0..3000),
            changes in proptest::collection::vec((0..BLOCK, any::<u8>()), 0..20),
            gap in 0_usize..40_000,
        ) {
            let mut header = [0; BLOCK];
            let tail = bytes.len().min(BLOCK);
            header[BLOCK - tail..].copy_from_slice(&bytes[bytes.len() - tail..]);
            for (at, byte) in changes {
                header[at] = byte;
            }
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&header).unwrap();
            encoder.write_all(&vec![7; gap]).unwrap();
            encoder.flush().unwrap();
            let mut out = encoder.get_ref().clone();
            let expect = [&header[..], &vec![7; gap], &bytes].concat();
            let distance = (expect.len() - BLOCK) as u64;
            let previous = (bytes.len() >= BLOCK).then_some(Previous { header: &header, distance });
            headers(&bytes, previous, &mut out);
            prop_assert_eq!(inflate(out), expect);
        }
    }
}
