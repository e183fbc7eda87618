//! Symbols where there is plenty of input: nearly all of them.

use super::bits::{Bits, Input};
use super::{FAR, FULL, Inflate, InflateError, NO_DISTANCE, NO_LENGTH, Output, SIZE, WORD};
use crate::huffman::Code;

/// Input that a turn of the fast loop may read, in bytes: three words.
const AHEAD: usize = 24;

/// Whether the processor shifts by a register and cuts at a bit in one step.
pub(super) fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_them = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
    #[cfg(not(target_arch = "x86_64"))]
    let has_them = false;
    has_them
}

impl Inflate {
    /// Symbols as long as there is plenty of input and room. Gives whether the block is over.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "that the processor has these instructions is known at run time only"
        )
    )]
    pub(super) fn fast(&mut self, input: &mut Input<'_>) -> Result<bool, InflateError> {
        #[cfg(target_arch = "x86_64")]
        if !self.is_plain {
            // SAFETY: the function is safe but for the instructions it was compiled to, and they are there.
            return unsafe { self.bmi2(input) };
        }
        self.plain(input)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi1,bmi2")]
    fn bmi2(&mut self, input: &mut Input<'_>) -> Result<bool, InflateError> {
        self.turns(input)
    }

    fn plain(&mut self, input: &mut Input<'_>) -> Result<bool, InflateError> {
        self.turns(input)
    }

    /// The code that is next is looked up before a match is copied, since that takes as long.
    #[expect(
        clippy::inline_always,
        reason = "it is compiled for each caller's instructions"
    )]
    #[inline(always)]
    fn turns(&mut self, input: &mut Input<'_>) -> Result<bool, InflateError> {
        let (lengths, distances) = (&self.lengths, &self.distances);
        let output = &mut *self.output;
        let mut out = self.out;
        let mut stream = Stream {
            held: self.bits.held,
            count: self.bits.count,
            rest: &input.bytes[input.at..],
        };
        if stream.rest.len() < AHEAD || out >= FULL {
            return Ok(false);
        }
        let mut is_over = false;
        stream.refill();
        let mut code = lengths.first(stream.held);
        loop {
            // Three literals of 11 bits at the most, or two and a length of 20, are there.
            if code.is_literal() {
                output[out % SIZE] = code.literal();
                out += 1;
                stream.drop(code);
                code = lengths.first(stream.held);
                if code.is_literal() {
                    output[out % SIZE] = code.literal();
                    out += 1;
                    stream.drop(code);
                    code = lengths.first(stream.held);
                    if code.is_literal() {
                        output[out % SIZE] = code.literal();
                        out += 1;
                        stream.drop(code);
                        stream.refill();
                        code = lengths.first(stream.held);
                        if stream.rest.len() >= AHEAD && out < FULL {
                            continue;
                        }
                        break;
                    }
                }
            }
            if code.is_special() {
                if code.is_subtable() {
                    stream.drop(code);
                    code = lengths.second(code, stream.held);
                }
                if code.is_literal() {
                    output[out % SIZE] = code.literal();
                    out += 1;
                    stream.drop(code);
                    stream.refill();
                    code = lengths.first(stream.held);
                    if stream.rest.len() >= AHEAD && out < FULL {
                        continue;
                    }
                    break;
                }
                if code.is_special() {
                    if !code.is_end() {
                        return Err(NO_LENGTH);
                    }
                    stream.drop(code);
                    is_over = true;
                    break;
                }
            }
            let length = code.value(stream.held);
            stream.drop(code);
            if stream.count % 64 < 28 {
                stream.refill();
            }
            let mut far = distances.first(stream.held);
            if far.is_subtable() {
                stream.drop(far);
                far = distances.second(far, stream.held);
            }
            if far.is_special() {
                return Err(NO_DISTANCE);
            }
            let distance = far.value(stream.held);
            stream.drop(far);
            stream.refill();
            code = lengths.first(stream.held);
            if distance > out {
                return Err(FAR);
            }
            copy(output, out, distance, length);
            out += length;
            if stream.rest.len() < AHEAD || out >= FULL {
                break;
            }
        }
        self.out = out;
        self.bits = Bits {
            held: stream.held,
            count: stream.count % 64,
        }
        .exact();
        input.at = input.bytes.len() - stream.rest.len();
        Ok(is_over)
    }
}

/// Bits that were taken from the input, and the rest of it.
struct Stream<'a> {
    held: u64,
    /// How many of them, in the lowest six bits.
    count: u32,
    rest: &'a [u8],
}

impl Stream<'_> {
    /// Takes as many whole bytes as there is place for, of eight that are there at least: afterwards there are 56
    /// bits or more.
    #[inline]
    fn refill(&mut self) {
        if let Some(word) = self.rest.first_chunk() {
            self.held |= u64::from_le_bytes(*word).wrapping_shl(self.count);
            self.rest = &self.rest[7 - (self.count as usize >> 3 & 7)..];
            self.count |= 0b11_1000;
        }
    }

    #[inline]
    fn drop(&mut self, code: Code) {
        (self.held, self.count) = code.drop(self.held, self.count);
    }
}

/// A match, behind which there is room for a word more.
#[inline]
fn copy(output: &mut Output, out: usize, distance: usize, length: usize) {
    let from = out.wrapping_sub(distance);
    if distance >= WORD {
        word::<WORD>(output, from, out);
        let mut at = WORD;
        while at < length {
            word::<WORD>(output, from + at, out + at);
            at += WORD;
        }
    } else if distance == 1 {
        let word = [output[from % SIZE]; WORD];
        for at in (0..length).step_by(WORD) {
            output[(out + at) % SIZE..][..WORD].copy_from_slice(&word);
        }
    } else {
        // Of each word only the bytes before the next one count.
        let (mut at, by) = (0, distance.min(8));
        while at < length {
            word::<8>(output, from + at, out + at);
            at += by;
        }
    }
}

#[inline]
fn word<const N: usize>(output: &mut Output, from: usize, to: usize) {
    let word: [u8; N] = output[from % SIZE..][..N].try_into().expect("as many");
    output[to % SIZE..][..N].copy_from_slice(&word);
}
