//! Inflating raw deflate streams block by block, with the positions of blocks in bits.
//!
//! zlib's `inflate(Z_BLOCK)` stops at the end of each block and says in `data_type` how many bits of
//! the last byte it has not used. The safe interfaces hide that, so this module, alone in the
//! workspace, calls the C-like one of zlib-rs. Follows RFC 1951 and zlib.h.
#![expect(
    unsafe_code,
    reason = "no safe interface of zlib-rs tells where in a byte a block ends"
)]

use std::ffi::{CStr, c_int};
use std::mem::size_of;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_DATA_ERROR, Z_OK, Z_STREAM_END, inflate, inflateEnd,
    inflateGetDictionary, inflateInit2_, inflatePrime, inflateReset, inflateSetDictionary,
    z_stream, zlibVersion,
};

/// `windowBits` for a raw stream with the full window.
const RAW: c_int = -15;

/// What zlib compares the caller's idea of its stream with.
const SIZE: c_int = size_of::<z_stream>().cast_signed() as c_int;

/// How far back a stream refers, in bytes (RFC 1951, section 2).
pub(crate) const WINDOW: usize = 32 << 10;

/// The inflater of one thread, used for one stream after the other.
pub(crate) struct Inflate {
    /// Boxed because zlib's rules do not let it move.
    stream: Box<z_stream>,
}

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes taken from the input.
    pub(crate) consumed: usize,
    /// Bytes put at the beginning of the output.
    pub(crate) produced: usize,
    pub(crate) stop: Stop,
}

/// Why a call returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The input is used up or the output is full.
    Starved,
    /// A block ended, and not the last one. The highest `unused` (0 to 7) bits of the byte that was
    /// consumed last belong to the next block.
    Block { unused: u32 },
    /// The last block ended. The highest `unused` bits of the byte consumed last mean nothing.
    End { unused: u32 },
}

/// Why a stream cannot be inflated: zlib's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InflateError(String);

impl Inflate {
    pub(crate) fn new() -> Self {
        let mut stream = Box::new(z_stream::default());
        // SAFETY: `stream` is valid and default-made (no allocator functions, so the library uses its
        // own), and the version and size are those of the library it is made for.
        let code = unsafe { inflateInit2_(&raw mut *stream, RAW, zlibVersion(), SIZE) };
        assert_eq!(code, Z_OK, "inflateInit2 fails only when memory runs out");
        Self { stream }
    }

    /// Makes ready for another stream, whatever became of the one before.
    pub(crate) fn reset(&mut self) {
        // SAFETY: `stream` was initialised in `new` and is ended only in `drop`.
        let code = unsafe { inflateReset(&raw mut *self.stream) };
        assert_eq!(
            code, Z_OK,
            "inflateReset fails only on a stream that was not initialised"
        );
    }

    /// Makes ready to go on with a stream where a block begins: in the highest `unused` (0 to 7) bits of
    /// `last`, the byte before the next input, or with that. `window` is what [`Inflate::window`] gave there.
    pub(crate) fn resume(&mut self, last: u8, unused: u32, window: &[u8]) {
        assert!(unused < 8 && window.len() <= WINDOW);
        self.reset();
        let bits = (u32::from(last) >> (8 - unused)).cast_signed();
        let (unused, length) = (unused.cast_signed(), clamp(window.len()));
        // SAFETY: the stream is initialised, and `window` has `length` bytes.
        let codes = unsafe {
            [
                inflatePrime(&raw mut *self.stream, unused, bits),
                inflateSetDictionary(&raw mut *self.stream, window.as_ptr(), length),
            ]
        };
        assert_eq!(
            codes, [Z_OK; 2],
            "a raw stream takes both before its first block"
        );
    }

    /// What was produced last, as far back as the stream may refer to it.
    pub(crate) fn window(&self) -> Box<[u8]> {
        let mut window = vec![0; WINDOW];
        let mut length = 0;
        // SAFETY: the stream is initialised, and `window` has room for the largest window.
        let code = unsafe {
            inflateGetDictionary(
                &raw const *self.stream,
                window.as_mut_ptr(),
                &raw mut length,
            )
        };
        assert_eq!(code, Z_OK, "a stream that is initialised has a window");
        window.truncate(length as usize);
        window.into()
    }

    /// Inflates from `input` to `output` until one of them is used up or a block ends. Not to be
    /// called after [`Stop::End`] or an error before [`Inflate::reset`]. What lies in `output` behind
    /// the produced bytes may be overwritten.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, InflateError> {
        let stream = &mut *self.stream;
        let (avail_in, avail_out) = (clamp(input.len()), clamp(output.len()));
        stream.next_in = input.as_ptr();
        stream.avail_in = avail_in;
        stream.next_out = output.as_mut_ptr();
        stream.avail_out = avail_out;
        // SAFETY: the stream is initialised; `next_in` and `next_out` point to at least `avail_in`
        // and `avail_out` bytes that are borrowed for the time of the call, the latter exclusively.
        let code = unsafe { inflate(&raw mut *stream, Z_BLOCK) };
        let consumed = (avail_in - stream.avail_in) as usize;
        let produced = (avail_out - stream.avail_out) as usize;
        let state = stream.data_type;
        let unused = (state & 63).cast_unsigned();
        let stop = match (code, state & (128 | 64)) {
            (Z_OK | Z_BUF_ERROR, 128) => Stop::Block { unused },
            (Z_OK | Z_BUF_ERROR | Z_STREAM_END, 192) => Stop::End { unused },
            (Z_OK | Z_BUF_ERROR, _) => {
                if consumed == 0 && produced == 0 && !input.is_empty() && !output.is_empty() {
                    return Err(self.error("no progress"));
                }
                Stop::Starved
            }
            (Z_DATA_ERROR, _) => return Err(self.error("invalid data")),
            _ => return Err(self.error("unexpected state")),
        };
        if unused > 7 && stop != Stop::Starved {
            return Err(self.error("more than a byte is unused at the end of a block"));
        }
        Ok(Step {
            consumed,
            produced,
            stop,
        })
    }

    fn error(&self, otherwise: &str) -> InflateError {
        if self.stream.msg.is_null() {
            return InflateError(otherwise.to_owned());
        }
        // SAFETY: a message that is not null is one of the library's static texts, NUL at its end.
        let message = unsafe { CStr::from_ptr(self.stream.msg) };
        InflateError(message.to_string_lossy().into_owned())
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, and nothing can use it after this.
        unsafe { inflateEnd(&raw mut *self.stream) };
    }
}

/// The library counts in 32 bits; a step over more than that simply does less.
fn clamp(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    /// All output, the bit positions of all blocks after the first, and that of the end.
    fn run(stream: &[u8], room: usize) -> Result<(Vec<u8>, Vec<usize>, usize), InflateError> {
        let mut inflate = Inflate::new();
        let (mut out, mut blocks, mut at) = (Vec::new(), Vec::new(), 0);
        let mut buffer = vec![0; room];
        loop {
            let step = inflate.step(&stream[at..], &mut buffer)?;
            at += step.consumed;
            out.extend_from_slice(&buffer[..step.produced]);
            match step.stop {
                Stop::Block { unused } => blocks.push(at * 8 - unused as usize),
                Stop::End { unused } => return Ok((out, blocks, at * 8 - unused as usize)),
                Stop::Starved if step.consumed == 0 && step.produced == 0 => {
                    return Err(InflateError("starved".to_owned()));
                }
                Stop::Starved => {}
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
        let error = inflate.step(&[0x07], &mut [0; 10]).unwrap_err();
        insta::assert_snapshot!(error, @"invalid block type");
        inflate.reset();
        let step = inflate.step(&[0x03, 0x00], &mut [0; 10]).unwrap();
        assert_eq!(step.stop, Stop::End { unused: 6 });
    }

    #[test]
    fn the_window_is_forgotten_between_streams() {
        let mut inflate = Inflate::new();
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&vec![7; 40_000]).unwrap();
        inflate
            .step(&encoder.finish().unwrap(), &mut vec![0; 50_000])
            .unwrap();
        inflate.reset();
        // A fixed block: a match of three bytes at distance one, before which there is nothing.
        let error = inflate
            .step(&[0b0000_0011, 0b0000_0010, 0, 0], &mut [0; 10])
            .unwrap_err();
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
        let mut out = vec![0; data.len()];
        let (mut at, mut done, mut blocks) = (0, 0, 0);
        loop {
            let step = inflate.step(&stream[at..], &mut out[done..]).unwrap();
            at += step.consumed;
            done += step.produced;
            match step.stop {
                Stop::Block { unused } => {
                    blocks += 1;
                    let window = inflate.window();
                    assert_eq!(*window, data[done.saturating_sub(WINDOW)..done]);
                    let mut other = Inflate::new();
                    other.resume(stream[at - 1], unused, &window);
                    inflate = other;
                }
                Stop::End { .. } => break,
                Stop::Starved => panic!("starved"),
            }
        }
        assert!(blocks > 3, "{blocks}");
        assert_eq!(out, data);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(stream: Vec<u8>, room in 1_usize..300) {
            let _ = run(&stream, room);
        }

        #[test]
        fn the_last_block_found_has_the_final_bit(
            data in proptest::collection::vec(0_u8..4, 0..5000),
            level in 0_u32..10,
            flushes in 1_usize..9,
            room in 1_usize..600,
        ) {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
            for part in data.chunks(data.len().div_ceil(flushes).max(1)) {
                encoder.write_all(part).unwrap();
                encoder.flush().unwrap();
            }
            let stream = encoder.finish().unwrap();
            let (out, blocks, end) = run(&stream, room).unwrap();
            prop_assert_eq!(out, data);
            let is_final = |bit: &usize| stream[bit / 8] >> (bit % 8) & 1 == 1;
            let all: Vec<_> = std::iter::once(0).chain(blocks).collect();
            prop_assert_eq!(all.iter().filter(|bit| is_final(bit)).count(), 1);
            prop_assert!(is_final(all.last().unwrap()));
            prop_assert_eq!(end.div_ceil(8), stream.len());
        }
    }
}
