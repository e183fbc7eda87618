//! Inflating raw deflate streams block by block, with the positions of blocks in bits (RFC 1951).
//!
//! It is our own because no library with a safe interface tells where in a byte a block ends, and because
//! layers are made at the speed of this. Streams come and go in pieces of any size; what is refused is what
//! zlib refuses.

mod bits;
mod fast;
#[cfg(test)]
mod tests;

use bits::{Bits, Pause, Pieces};

use crate::huffman::{self, Distances, Lengths, Meta, Use};

/// How far back a stream refers, in bytes (RFC 1951, section 2).
pub(crate) const WINDOW: usize = 32 << 10;

/// The inflater of one thread, used for one stream after the other.
pub(crate) struct Inflate {
    state: State,
    /// Whether the block at hand is the last one.
    is_last: bool,
    bits: Bits,
    /// What was produced last: [`WINDOW`] bytes or more, but for the beginning of a stream.
    history: Vec<u8>,
    header: Header,
    meta: Meta,
    lengths: Lengths,
    distances: Distances,
    /// Whether the tables are those of fixed codes.
    is_fixed: bool,
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
    Match { length: usize, distance: usize },
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
            history: Vec::with_capacity(2 * WINDOW),
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
        }
    }

    /// Makes ready for another stream, whatever became of the one before.
    pub(crate) fn reset(&mut self) {
        self.state = State::Block;
        self.bits = Bits::default();
        self.history.clear();
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
        self.history.extend_from_slice(window);
    }

    /// What was produced last, as far back as the stream may refer to it.
    pub(crate) fn window(&self) -> Box<[u8]> {
        self.history[self.history.len().saturating_sub(WINDOW)..].into()
    }

    /// Inflates from `input` to `output` until one of them is used up or a block ends. Not to be
    /// called after [`Stop::End`] or an error before [`Inflate::reset`]. What lies in `output` behind
    /// the produced bytes may be overwritten.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, InflateError> {
        let mut pieces = Pieces {
            input,
            at: 0,
            output,
            out: 0,
        };
        let is_block_over = match self.inflate(&mut pieces) {
            Ok(()) => true,
            Err(Pause::Starved | Pause::Full) => false,
            Err(Pause::Error(error)) => return Err(error),
        };
        let Pieces { at, out, .. } = pieces;
        self.remember(&pieces.output[..out]);
        let unused = self.bits.count;
        let stop = match (is_block_over, self.is_last) {
            (false, _) => Stop::Starved,
            (true, false) => Stop::Block { unused },
            (true, true) => Stop::End { unused },
        };
        Ok(Step {
            consumed: at,
            produced: out,
            stop,
        })
    }

    /// Up to the end of a block. Afterwards there are only bits of the last byte that was taken, unless the
    /// input is used up.
    fn inflate(&mut self, pieces: &mut Pieces<'_>) -> Result<(), Pause> {
        loop {
            let done = self.part(pieces);
            match done {
                Ok(false) => continue,
                Ok(true) => self.state = State::Block,
                Err(Pause::Full) => {}
                Err(pause) => return Err(pause),
            }
            self.bits.give_back(pieces);
            return done.map(|_| ());
        }
    }

    /// One part of a block. Gives whether the block is over.
    fn part(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, Pause> {
        match self.state {
            State::Block => {
                let bits = self.bits.take(3, pieces)?;
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
                let bits = self.bits.take(32, pieces)? as u32;
                let (length, check) = (bits as u16, (bits >> 16) as u16);
                if length != !check {
                    return Err(InflateError("invalid stored block lengths").into());
                }
                self.bits.give_back(pieces);
                let left = length.into();
                self.state = State::Stored { left };
            }
            State::Stored { left } => {
                let length = left.min(pieces.room()).min(pieces.input.len() - pieces.at);
                let bytes = &pieces.input[pieces.at..][..length];
                pieces.output[pieces.out..][..length].copy_from_slice(bytes);
                pieces.at += length;
                pieces.out += length;
                let left = left - length;
                self.state = State::Stored { left };
                if left > 0 {
                    return Err(pieces.pause());
                }
                return Ok(true);
            }
            State::Counts => {
                let bits = self.bits.take(14, pieces)? as usize;
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
                self.header.meta[META_ORDER[next]] = self.bits.take(3, pieces)? as u8;
                self.state = State::Meta { next: next + 1 };
            }
            State::Meta { .. } => {
                if self.meta.set(&self.header.meta, &huffman::META) != Some(Use::All) {
                    return Err(InflateError("invalid code lengths set").into());
                }
                self.state = State::Lengths { next: 0 };
            }
            State::Lengths { next } if next < self.header.all => self.code_length(next, pieces)?,
            State::Lengths { .. } => {
                self.set_dynamic()?;
                self.state = State::Symbols;
            }
            State::Symbols => {
                if self.fast(pieces)? {
                    return Ok(true);
                }
                return self.symbol(pieces);
            }
            State::Match { length, distance } => {
                let now = length.min(pieces.room());
                pieces.copy(&self.history, distance, now);
                let length = length - now;
                if length > 0 {
                    self.state = State::Match { length, distance };
                    return Err(Pause::Full);
                }
                self.state = State::Symbols;
            }
        }
        Ok(false)
    }

    /// The length of one code, or of several that are alike.
    fn code_length(&mut self, next: usize, pieces: &mut Pieces<'_>) -> Result<(), Pause> {
        self.bits.fill(pieces);
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
    fn symbol(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, Pause> {
        self.bits.fill(pieces);
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
            if pieces.room() == 0 {
                return Err(Pause::Full);
            }
            pieces.output[pieces.out] = code.literal();
            pieces.out += 1;
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
        if distance > pieces.out + self.history.len() {
            return Err(FAR.into());
        }
        self.bits.drop(used + code.bits());
        self.state = State::Match { length, distance };
        Ok(false)
    }

    /// Keeps what later matches may refer to.
    fn remember(&mut self, produced: &[u8]) {
        let produced = &produced[produced.len().saturating_sub(WINDOW)..];
        if self.history.len() + produced.len() > 2 * WINDOW {
            let kept = WINDOW - produced.len();
            self.history.drain(..self.history.len() - kept);
        }
        self.history.extend_from_slice(produced);
    }
}

/// In which order the lengths of codes for lengths come (RFC 1951, section 3.2.7).
const META_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
