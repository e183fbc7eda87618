//! Tests of the inflater, with zlib-rs as the oracle.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::*;

/// All output, the bit positions of all blocks after the first, and that of the end, where the input comes in
/// pieces of so many bytes.
fn run(stream: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<usize>, usize), InflateError> {
    let usual = run_with(Inflate::new(), stream, piece);
    let mut inflate = Inflate::new();
    inflate.is_plain = true;
    assert_eq!(run_with(inflate, stream, piece), usual);
    usual
}

fn run_with(
    mut inflate: Inflate,
    stream: &[u8],
    piece: usize,
) -> Result<(Vec<u8>, Vec<usize>, usize), InflateError> {
    let (mut out, mut blocks, mut at, mut end) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        let step = inflate.step(&stream[at..end])?;
        at += step.consumed;
        out.extend_from_slice(inflate.produced());
        match step.stop {
            Stop::Block { unused } => blocks.push(at * 8 - unused as usize),
            Stop::End { unused } => return Ok((out, blocks, at * 8 - unused as usize)),
            Stop::Full => {}
            Stop::Starved if end == stream.len() => return Err(InflateError("starved")),
            Stop::Starved => {
                assert_eq!(at, end, "all of it is taken first");
                end = stream.len().min(end + piece);
            }
        }
    }
}

#[test]
fn an_empty_stream_ends_after_ten_bits() {
    assert_eq!(run(&[0x03, 0x00], 10).unwrap(), (vec![], vec![], 10));
}

#[test]
fn blocks_are_found_to_the_bit() {
    // Two fixed blocks with a literal each, then an empty fixed one: 18 + 18 + 10 bits.
    let mut bits = String::new();
    for block in ["01000110000", "01000110000", "1100000000"] {
        bits.push_str(&block[..3]);
        bits.push_str(&block[3..]);
        if block.len() == 11 {
            bits.push_str("0000000");
        }
    }
    let mut stream = vec![0; bits.len().div_ceil(8)];
    for (n, bit) in bits.bytes().enumerate() {
        stream[n / 8] |= (bit - b'0') << (n % 8);
    }
    assert_eq!(run(&stream, 1).unwrap(), (vec![0, 0], vec![18, 36], 46));
}

#[test]
fn an_error_has_the_librarys_words_and_a_reset_forgets_it() {
    let mut inflate = Inflate::new();
    let error = inflate.step(&[0x07]).unwrap_err();
    insta::assert_snapshot!(error, @"invalid block type");
    inflate.reset();
    let step = inflate.step(&[0x03, 0x00]).unwrap();
    assert_eq!(step.stop, Stop::End { unused: 6 });
}

#[test]
fn the_window_is_forgotten_between_streams() {
    let mut inflate = Inflate::new();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&vec![7; 40_000]).unwrap();
    inflate.step(&encoder.finish().unwrap()).unwrap();
    inflate.reset();
    // A fixed block: a match of three bytes at distance one, before which there is nothing.
    let error = inflate.step(&[0b0000_0011, 0b0000_0010, 0, 0]).unwrap_err();
    insta::assert_snapshot!(error, @"invalid distance too far back");
}

#[test]
fn a_stream_is_gone_on_with_at_every_block() {
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 27) as u8
    });
    let data: Vec<u8> = noise.take(200_000).collect();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&data).unwrap();
    let stream = encoder.finish().unwrap();
    let mut inflate = Inflate::new();
    let (mut out, mut at, mut blocks) = (Vec::new(), 0, 0);
    loop {
        let step = inflate.step(&stream[at..]).unwrap();
        at += step.consumed;
        out.extend_from_slice(inflate.produced());
        match step.stop {
            Stop::Block { unused } => {
                blocks += 1;
                let window = inflate.window();
                assert_eq!(*window, data[out.len().saturating_sub(WINDOW)..out.len()]);
                let mut other = Inflate::new();
                other.resume(stream[at - 1], unused, &window);
                inflate = other;
            }
            Stop::End { .. } => break,
            Stop::Full => {}
            Stop::Starved => panic!("starved"),
        }
    }
    assert!(blocks > 3, "{blocks}");
    assert_eq!(out, data);
}

/// What zlib makes of a stream, and how much of it; None where it refuses it or it has no end.
fn zlib(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut decoder = flate2::read::DeflateDecoder::new(stream);
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).ok()?;
    Some((out, decoder.total_in() as usize))
}

/// Data of words that come again, near and far, and more than are held at a time.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::collection::vec(any::<u8>(), 1..40);
    let words = proptest::collection::vec(word, 1..60);
    let order = proptest::collection::vec(any::<usize>(), 0..4000);
    (words, order, 1_usize..9).prop_map(|(words, order, times)| {
        let words = order.iter().map(|n| &words[n % words.len()]);
        words.flatten().copied().collect::<Vec<_>>().repeat(times)
    })
}

proptest! {
    #[test]
    fn streams_are_to_us_what_they_are_to_zlib(stream: Vec<u8>, piece in 1_usize..600) {
        let ours = run(&stream, piece).ok();
        prop_assert_eq!(ours.map(|(out, _, end)| (out, end.div_ceil(8))), zlib(&stream));
    }

    #[test]
    fn damaged_streams_are_to_us_what_they_are_to_zlib(
        data in data(),
        level in 0_u32..10,
        damage in proptest::collection::vec((any::<usize>(), 0_u8..8), 0..3),
        piece in 1_usize..100_000,
    ) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(&data).unwrap();
        let mut stream = encoder.finish().unwrap();
        for (at, bit) in damage {
            let at = at % stream.len();
            stream[at] ^= 1 << bit;
        }
        let ours = run(&stream, piece).ok();
        prop_assert_eq!(ours.map(|(out, _, end)| (out, end.div_ceil(8))), zlib(&stream));
    }

    #[test]
    fn the_last_block_found_has_the_final_bit(
        data in proptest::collection::vec(0_u8..4, 0..5000),
        level in 0_u32..10,
        flushes in 1_usize..9,
        piece in 1_usize..600,
    ) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        for part in data.chunks(data.len().div_ceil(flushes).max(1)) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        let stream = encoder.finish().unwrap();
        let (out, blocks, end) = run(&stream, piece).unwrap();
        prop_assert_eq!(out, data);
        let is_final = |bit: &usize| stream[bit / 8] >> (bit % 8) & 1 == 1;
        let all: Vec<_> = std::iter::once(0).chain(blocks).collect();
        prop_assert_eq!(all.iter().filter(|bit| is_final(bit)).count(), 1);
        prop_assert!(is_final(all.last().unwrap()));
        prop_assert_eq!(end.div_ceil(8), stream.len());
    }
}
