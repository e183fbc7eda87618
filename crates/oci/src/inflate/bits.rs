//! The bits of a stream that comes in pieces, and the pieces.

use super::InflateError;

/// Bits of the stream that were taken but not used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bits {
    /// The next one lowest. Those beyond `count` are zeros, but for the fast loop, where they may be what
    /// follows in the stream.
    pub(super) held: u64,
    pub(super) count: u32,
}

/// The two ends of a call.
pub(super) struct Pieces<'a> {
    pub(super) input: &'a [u8],
    /// Bytes of it that were taken.
    pub(super) at: usize,
    pub(super) output: &'a mut [u8],
    /// Bytes of it that were produced.
    pub(super) out: usize,
}

/// Why a part of a stream is not through.
pub(super) enum Pause {
    Starved,
    Full,
    Error(InflateError),
}

impl From<InflateError> for Pause {
    fn from(error: InflateError) -> Self {
        Self::Error(error)
    }
}

impl Bits {
    /// Takes bytes until there are enough bits for a symbol and all that belongs to it, or no more input.
    pub(super) fn fill(&mut self, pieces: &mut Pieces<'_>) {
        while self.count < 56 && pieces.at < pieces.input.len() {
            self.held |= u64::from(pieces.input[pieces.at]) << self.count;
            self.count += 8;
            pieces.at += 1;
        }
    }

    /// Takes as many whole bytes as there is place for, of eight that are there at least: afterwards there are 56
    /// bits or more.
    #[inline]
    pub(super) fn refill(&mut self, input: &[u8], at: &mut usize) {
        let word: [u8; 8] = input[*at..*at + 8].try_into().expect("eight bytes");
        self.held |= u64::from_le_bytes(word) << self.count;
        *at += (63 - self.count as usize) >> 3;
        self.count |= 0b11_1000;
    }

    /// The next `count` bits.
    pub(super) fn take(&mut self, count: u32, pieces: &mut Pieces<'_>) -> Result<u64, Pause> {
        self.fill(pieces);
        if self.count < count {
            return Err(Pause::Starved);
        }
        let bits = self.held & ((1 << count) - 1);
        self.drop(count);
        Ok(bits)
    }

    #[inline]
    pub(super) fn drop(&mut self, count: u32) {
        self.held >>= count;
        self.count -= count;
    }

    /// Gives back whole bytes that were taken and not used.
    pub(super) fn give_back(&mut self, pieces: &mut Pieces<'_>) {
        let bytes = (self.count as usize / 8).min(pieces.at);
        pieces.at -= bytes;
        self.count -= 8 * bytes as u32;
        *self = self.exact();
    }

    /// Without what is beyond them.
    pub(super) fn exact(self) -> Self {
        Self {
            held: self.held & ((1 << self.count) - 1),
            ..self
        }
    }
}

impl Pieces<'_> {
    pub(super) fn room(&self) -> usize {
        self.output.len() - self.out
    }

    /// Why a stored block or a symbol is not through.
    pub(super) fn pause(&self) -> Pause {
        match self.room() {
            0 => Pause::Full,
            _ => Pause::Starved,
        }
    }

    /// `length` bytes, for which there is room, from `distance` bytes back.
    pub(super) fn copy(&mut self, history: &[u8], distance: usize, length: usize) {
        for _ in 0..length {
            let byte = match self.out.checked_sub(distance) {
                Some(from) => self.output[from],
                None => history[history.len() + self.out - distance],
            };
            self.output[self.out] = byte;
            self.out += 1;
        }
    }
}
