//! Inflating raw deflate streams block by block, with the positions of blocks in bits (RFC 1951).
//!
//! It is our own because no library with a safe interface tells where in a byte a block ends, and because
//! layers are made at the speed of this. Streams come and go in input of any size; what is refused is what
//! zlib refuses.

mod bits;
mod fast;
#[cfg(test)]
mod tests;

use bits::{Bits, Input, Pause};

use crate::huffman::{self, Distances, Lengths, Meta, Use};

/// How far back a stream refers, in bytes (RFC 1951, section 2).
pub(crate) const WINDOW: usize = 32 << 10;

/// Bytes of output that are held: a power of two, so that an index can be kept below it at no cost.
const SIZE: usize = 1 << 17;
/// Once it has so many it is full: behind it there is room for a turn of the fast loop.
const FULL: usize = SIZE - 512;
/// A copy writes whole words, of 16 bytes.
const WORD: usize = 16;

type Output = [u8; SIZE + WORD];

/// The inflater of one thread, used for one stream after the other.
pub(crate) struct Inflate {
    state: State,
    /// Whether the block at hand is the last one.
    is_last: bool,
    bits: Bits,
    /// What was produced: all from the beginning of the stream on, or the last [`WINDOW`] bytes or more.
    output: Box<Output>,
    /// How much of it there is, and how much there was before the last step.
    out: usize,
    before: usize,
    header: Header,
    meta: Meta,
    lengths: Lengths,
    distances: Distances,
    /// Whether the tables are those of fixed codes.
    is_fixed: bool,
    /// Whether the processor has no instructions that the fast loop is the faster for.
    is_plain: bool,
}

/// What comes next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Block,
    StoredLength,
    Stored { left: usize },
    Counts,
    Meta { next: usize },
    Lengths { next: usize },
    Symbols,
}

/// The lengths of a block's codes.
struct Header {
    /// Of literals and lengths, then of distances.
    lengths: [u8; 286 + 30],
    /// How many of the former and of both there are.
    literals: usize,
    all: usize,
    meta: [u8; 19],
    metas: usize,
}

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes taken from the input.
    pub(crate) consumed: usize,
    pub(crate) stop: Stop,
}

/// Why a call returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The input is used up.
    Starved,
    /// There is no room for more output before this is taken.
    Full,
    /// A block ended, and not the last one. The highest `unused` (0 to 7) bits of the byte that was
    /// consumed last belong to the next block.
    Block { unused: u32 },
    /// The last block ended. The highest `unused` bits of the byte consumed last mean nothing.
    End { unused: u32 },
}

/// Why a stream cannot be inflated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InflateError(&'static str);

const FAR: InflateError = InflateError("invalid distance too far back");
const NO_LENGTH: InflateError = InflateError("invalid literal/length code");
const NO_DISTANCE: InflateError = InflateError("invalid distance code");

impl Inflate {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Block,
            is_last: false,
            bits: Bits::default(),
            output: vec![0; SIZE + WORD].try_into().expect("as long as it is"),
            out: 0,
            before: 0,
            header: Header {
                lengths: [0; 316],
                literals: 0,
                all: 0,
                meta: [0; 19],
                metas: 0,
            },
            meta: Meta::new(),
            lengths: Lengths::new(),
            distances: Distances::new(),
            is_fixed: false,
            is_plain: !fast::has_instructions(),
        }
    }

    /// Makes ready for another stream, whatever became of the one before.
    pub(crate) fn reset(&mut self) {
        self.state = State::Block;
        self.bits = Bits::default();
        (self.out, self.before) = (0, 0);
    }

    /// Makes ready to go on with a stream where a block begins: in the highest `unused` (0 to 7) bits of
    /// `last`, the byte before the next input, or with that. `window` is what [`Inflate::window`] gave there.
    pub(crate) fn resume(&mut self, last: u8, unused: u32, window: &[u8]) {
        assert!(unused < 8 && window.len() <= WINDOW);
        self.reset();
        self.bits = Bits {
            held: u64::from(last) >> (8 - unused),
            count: unused,
        };
        self.output[..window.len()].copy_from_slice(window);
        (self.out, self.before) = (window.len(), window.len());
    }

    /// What was produced last, as far back as the stream may refer to it.
    pub(crate) fn window(&self) -> Box<[u8]> {
        self.output[self.out.saturating_sub(WINDOW)..self.out].into()
    }

    /// What the last step produced.
    pub(crate) fn produced(&self) -> &[u8] {
        &self.output[self.before..self.out]
    }

    /// Inflates `input` until it is used up, there is no room for more, or a block ends. Not to be called
    /// after [`Stop::End`] or an error before [`Inflate::reset`].
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, InflateError> {
        if self.out >= FULL {
            self.output.copy_within(self.out - WINDOW..self.out, 0);
            self.out = WINDOW;
        }
        self.before = self.out;
        let mut input = Input {
            bytes: input,
            at: 0,
        };
        let done = self.inflate(&mut input);
        let unused = self.bits.count;
        let stop = match done {
            Ok(()) if self.is_last => Stop::End { unused },
            Ok(()) => Stop::Block { unused },
            Err(Pause::Starved) => Stop::Starved,
            Err(Pause::Full) => Stop::Full,
            Err(Pause::Error(error)) => return Err(error),
        };
        Ok(Step {
            consumed: input.at,
            stop,
        })
    }

    /// Up to the end of a block. Afterwards there are only bits of the last byte that was taken, unless the
    /// input is used up.
    fn inflate(&mut self, input: &mut Input<'_>) -> Result<(), Pause> {
        loop {
            let done = self.part(input);
            match done {
                Ok(false) => continue,
                Ok(true) => self.state = State::Block,
                Err(Pause::Full) => {}
                Err(pause) => return Err(pause),
            }
            self.bits.give_back(input);
            return done.map(|_| ());
        }
    }

    /// One part of a block. Gives whether the block is over.
    fn part(&mut self, input: &mut Input<'_>) -> Result<bool, Pause> {
        match self.state {
            State::Block => {
                let bits = self.bits.take(3, input)?;
                self.is_last = bits & 1 == 1;
                self.state = match bits >> 1 {
                    0 => State::StoredLength,
                    1 => {
                        self.set_fixed();
                        State::Symbols
                    }
                    2 => State::Counts,
                    _ => return Err(InflateError("invalid block type").into()),
                };
            }
            State::StoredLength => {
                self.bits.drop(self.bits.count % 8);
                let bits = self.bits.take(32, input)? as u32;
                let (length, check) = (bits as u16, (bits >> 16) as u16);
                if length != !check {
                    return Err(InflateError("invalid stored block lengths").into());
                }
                self.bits.give_back(input);
                let left = length.into();
                self.state = State::Stored { left };
            }
            State::Stored { left } => {
                let length = left
                    .min(FULL.saturating_sub(self.out))
                    .min(input.bytes.len() - input.at);
                let bytes = &input.bytes[input.at..][..length];
                self.output[self.out..][..length].copy_from_slice(bytes);
                input.at += length;
                self.out += length;
                let left = left - length;
                self.state = State::Stored { left };
                return match left {
                    0 => Ok(true),
                    _ if self.out < FULL => Err(Pause::Starved),
                    _ => Err(Pause::Full),
                };
            }
            State::Counts => {
                let bits = self.bits.take(14, input)? as usize;
                let (literals, distances) = (257 + (bits & 31), 1 + (bits >> 5 & 31));
                if literals > 286 || distances > 30 {
                    return Err(InflateError("too many length or distance symbols").into());
                }
                self.header.literals = literals;
                self.header.all = literals + distances;
                self.header.metas = 4 + (bits >> 10);
                self.header.meta = [0; 19];
                self.state = State::Meta { next: 0 };
            }
            State::Meta { next } if next < self.header.metas => {
                self.header.meta[META_ORDER[next]] = self.bits.take(3, input)? as u8;
                self.state = State::Meta { next: next + 1 };
            }
            State::Meta { .. } => {
                if self.meta.set(&self.header.meta, &huffman::META) != Some(Use::All) {
                    return Err(InflateError("invalid code lengths set").into());
                }
                self.state = State::Lengths { next: 0 };
            }
            State::Lengths { next } if next < self.header.all => self.code_length(next, input)?,
            State::Lengths { .. } => {
                self.set_dynamic()?;
                self.state = State::Symbols;
            }
            State::Symbols => {
                if self.fast(input)? {
                    return Ok(true);
                }
                return self.symbol(input);
            }
        }
        Ok(false)
    }

    /// The length of one code, or of several that are alike.
    fn code_length(&mut self, next: usize, input: &mut Input<'_>) -> Result<(), Pause> {
        self.bits.fill(input);
        let code = self.meta.first(self.bits.held);
        if code.bits() > self.bits.count {
            return Err(Pause::Starved);
        }
        let symbol = code.value(self.bits.held);
        let (extra, least) = match symbol {
            16 => (2, 3),
            17 => (3, 3),
            18 => (7, 11),
            _ => (0, 1),
        };
        if code.bits() + extra > self.bits.count {
            return Err(Pause::Starved);
        }
        self.bits.drop(code.bits());
        let times = least + (self.bits.held & ((1 << extra) - 1)) as usize;
        self.bits.drop(extra);
        let length = match symbol {
            16 => next.checked_sub(1).map(|it| self.header.lengths[it]),
            17 | 18 => Some(0),
            length => Some(length as u8),
        };
        let places = self.header.lengths[..self.header.all].get_mut(next..next + times);
        let (Some(length), Some(places)) = (length, places) else {
            return Err(InflateError("invalid bit length repeat").into());
        };
        places.fill(length);
        self.state = State::Lengths { next: next + times };
        Ok(())
    }

    fn set_fixed(&mut self) {
        if !self.is_fixed {
            let lengths = self.lengths.set(&huffman::FIXED, &huffman::LENGTHS);
            let distances = self.distances.set(&[5; 32], &huffman::DISTANCES);
            assert_eq!([lengths, distances], [Some(Use::All); 2]);
            self.is_fixed = true;
        }
    }

    fn set_dynamic(&mut self) -> Result<(), InflateError> {
        self.is_fixed = false;
        let lengths = &self.header.lengths[..self.header.all];
        let (literals, distances) = lengths.split_at(self.header.literals);
        if literals[256] == 0 {
            return Err(InflateError("invalid code -- missing end-of-block"));
        }
        if self.lengths.set(literals, &huffman::LENGTHS).is_none() {
            return Err(InflateError("invalid literal/lengths set"));
        }
        if self.distances.set(distances, &huffman::DISTANCES).is_none() {
            return Err(InflateError("invalid distances set"));
        }
        Ok(())
    }

    /// One symbol, near the end of a piece. Gives whether it ends the block.
    fn symbol(&mut self, input: &mut Input<'_>) -> Result<bool, Pause> {
        if self.out >= FULL {
            return Err(Pause::Full);
        }
        self.bits.fill(input);
        let mut stream = self.bits.held;
        let mut code = self.lengths.first(stream);
        let mut first = 0;
        if code.is_subtable() {
            first = code.bits();
            stream >>= first;
            code = self.lengths.second(code, stream);
        }
        if first + code.bits() > self.bits.count {
            return Err(Pause::Starved);
        }
        if code.is_literal() {
            self.output[self.out] = code.literal();
            self.out += 1;
            self.bits.drop(first + code.bits());
            return Ok(false);
        }
        if code.is_special() {
            self.bits.drop(first + code.bits());
            return if code.is_end() {
                Ok(true)
            } else {
                Err(NO_LENGTH.into())
            };
        }
        let length = code.value(stream);
        let mut used = first + code.bits();
        stream >>= code.bits();
        let mut code = self.distances.first(stream);
        if code.is_subtable() {
            used += code.bits();
            stream >>= code.bits();
            code = self.distances.second(code, stream);
        }
        if used + code.bits() > self.bits.count {
            return Err(Pause::Starved);
        }
        if code.is_special() {
            return Err(NO_DISTANCE.into());
        }
        let distance = code.value(stream);
        if distance > self.out {
            return Err(FAR.into());
        }
        self.bits.drop(used + code.bits());
        for at in self.out..self.out + length {
            self.output[at] = self.output[at - distance];
        }
        self.out += length;
        Ok(false)
    }
}

/// In which order the lengths of codes for lengths come (RFC 1951, section 3.2.7).
const META_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
