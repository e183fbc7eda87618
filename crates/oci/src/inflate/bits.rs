//! The bits of a stream, and the input that they are taken from.

use super::InflateError;

/// Bits of the stream that were taken but not used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bits {
    /// The next one lowest. Those beyond `count` are zeros.
    pub(super) held: u64,
    pub(super) count: u32,
}

/// The input of a call.
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes of it that were taken.
    pub(super) at: usize,
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
    pub(super) fn fill(&mut self, input: &mut Input<'_>) {
        while self.count < 56 && input.at < input.bytes.len() {
            self.held |= u64::from(input.bytes[input.at]) << self.count;
            self.count += 8;
            input.at += 1;
        }
    }

    /// The next `count` bits.
    pub(super) fn take(&mut self, count: u32, input: &mut Input<'_>) -> Result<u64, Pause> {
        self.fill(input);
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
    pub(super) fn give_back(&mut self, input: &mut Input<'_>) {
        let bytes = (self.count as usize / 8).min(input.at);
        input.at -= bytes;
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
