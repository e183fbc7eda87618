//! Symbols where there is plenty of input and room: nearly all of them.

use super::bits::Pieces;
use super::{FAR, Inflate, InflateError, NO_DISTANCE, NO_LENGTH};

/// The longest match in bytes.
const LONGEST: usize = 258;
/// Room that a turn of the fast loop may write in: two literals and a match, in words of 16 bytes.
const ROOM: usize = 2 + LONGEST + 16;
/// Input that a turn of it may read, in bytes: three words.
const AHEAD: usize = 24;

impl Inflate {
    /// Symbols as long as there is plenty of input and room. Gives whether the block is over.
    ///
    /// The code that is next is looked up before a match is copied, since that takes as long.
    #[inline(never)]
    pub(super) fn fast(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, InflateError> {
        let (lengths, distances) = (&self.lengths, &self.distances);
        let (input, output) = (pieces.input, &mut *pieces.output);
        let (mut bits, mut at, mut out) = (self.bits, pieces.at, pieces.out);
        let input_end = input.len().saturating_sub(AHEAD);
        let output_end = output.len().saturating_sub(ROOM);
        if at >= input_end || out >= output_end {
            return Ok(false);
        }
        let mut is_over = false;
        bits.refill(input, &mut at);
        let mut code = lengths.first(bits.held);
        loop {
            // Three literals of 11 bits at the most, or two and a length of 20, are there.
            if code.is_literal() {
                let place = &mut output[out..out + 3];
                place[0] = code.literal();
                out += 1;
                bits.drop(code.bits());
                code = lengths.first(bits.held);
                if code.is_literal() {
                    place[1] = code.literal();
                    out += 1;
                    bits.drop(code.bits());
                    code = lengths.first(bits.held);
                    if code.is_literal() {
                        place[2] = code.literal();
                        out += 1;
                        bits.drop(code.bits());
                        bits.refill(input, &mut at);
                        code = lengths.first(bits.held);
                        if at < input_end && out < output_end {
                            continue;
                        }
                        break;
                    }
                }
            }
            if code.is_special() {
                if code.is_subtable() {
                    bits.drop(code.bits());
                    code = lengths.second(code, bits.held);
                }
                if code.is_literal() {
                    output[out] = code.literal();
                    out += 1;
                    bits.drop(code.bits());
                    bits.refill(input, &mut at);
                    code = lengths.first(bits.held);
                    if at < input_end && out < output_end {
                        continue;
                    }
                    break;
                }
                if code.is_special() {
                    if !code.is_end() {
                        return Err(NO_LENGTH);
                    }
                    bits.drop(code.bits());
                    is_over = true;
                    break;
                }
            }
            let length = code.value(bits.held);
            bits.drop(code.bits());
            bits.refill(input, &mut at);
            let mut far = distances.first(bits.held);
            if far.is_subtable() {
                bits.drop(far.bits());
                far = distances.second(far, bits.held);
            }
            if far.is_special() {
                return Err(NO_DISTANCE);
            }
            let distance = far.value(bits.held);
            bits.drop(far.bits());
            bits.refill(input, &mut at);
            code = lengths.first(bits.held);
            if distance <= out {
                copy(output, out, distance, length);
            } else {
                copy_far(output, out, &self.history, distance, length)?;
            }
            out += length;
            if at >= input_end || out >= output_end {
                break;
            }
        }
        self.bits = bits.exact();
        (pieces.at, pieces.out) = (at, out);
        Ok(is_over)
    }
}

/// A match within the output, behind which there is room for 16 bytes more.
#[inline]
fn copy(output: &mut [u8], out: usize, distance: usize, length: usize) {
    let window = &mut output[out - distance..out + length + 16];
    if distance >= 16 {
        let word: [u8; 16] = window[..16].try_into().expect("sixteen bytes");
        window[distance..distance + 16].copy_from_slice(&word);
        let mut at = 16;
        while at < length {
            let word: [u8; 16] = window[at..at + 16].try_into().expect("sixteen bytes");
            window[distance + at..distance + at + 16].copy_from_slice(&word);
            at += 16;
        }
    } else if distance == 1 {
        let byte = window[0];
        window[1..=length].fill(byte);
    } else {
        // Of each word only the bytes before the next one count.
        let (mut at, by) = (0, distance.min(8));
        while at < length {
            let word: [u8; 8] = window[at..at + 8].try_into().expect("eight bytes");
            window[distance + at..distance + at + 8].copy_from_slice(&word);
            at += by;
        }
    }
}

/// A match that begins before the output.
#[inline(never)]
fn copy_far(
    output: &mut [u8],
    out: usize,
    history: &[u8],
    distance: usize,
    length: usize,
) -> Result<(), InflateError> {
    let Some(from) = (history.len() + out).checked_sub(distance) else {
        return Err(FAR);
    };
    let far = length.min(distance - out);
    output[out..out + far].copy_from_slice(&history[from..from + far]);
    for at in out + far..out + length {
        output[at] = output[at - distance];
    }
    Ok(())
}
