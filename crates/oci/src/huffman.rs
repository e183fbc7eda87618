//! Prefix codes of deflate, as tables to decode with (RFC 1951, sections 3.2.2 and 3.2.5).
//!
//! A table is looked up with the next bits of the stream. An entry tells all that its code stands for, the
//! base of a length or distance and the number of its extra bits included, so one look is a symbol. Codes
//! that are longer than the index of the table go on in a subtable.

/// What a prefix of the stream stands for. From the lowest bit on: bits that the code takes with its extra
/// bits (8), bits that it takes without them (4), flags (4), a value (15), and whether it is a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(u32);

const LITERAL: u32 = 1 << 31;
/// None of the others is set unless this one is.
const SPECIAL: u32 = 1 << 15;
const SUBTABLE: u32 = 1 << 14;
const END: u32 = 1 << 13;

impl Code {
    /// No code: an error once its bit is there.
    const INVALID: Self = Self(SPECIAL | 1);

    const fn base(value: u32, extra: u32) -> Self {
        Self(value << 16 | extra)
    }

    /// Bits to take for it, the extra ones among them.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        self.0 & 0xff
    }

    #[inline]
    pub(crate) fn is_literal(self) -> bool {
        self.0 & LITERAL != 0
    }

    /// Whether it is none of a literal, a length and a distance.
    #[inline]
    pub(crate) fn is_special(self) -> bool {
        self.0 & SPECIAL != 0
    }

    #[inline]
    pub(crate) fn is_subtable(self) -> bool {
        self.0 & SUBTABLE != 0
    }

    /// Whether it ends the block.
    #[inline]
    pub(crate) fn is_end(self) -> bool {
        self.0 & END != 0
    }

    #[inline]
    pub(crate) fn literal(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// `stream` without it, and the lowest six bits of how many are left of `count`. What the others say of
    /// the code costs nothing: shifts do not look at it.
    #[inline]
    pub(crate) fn drop(self, stream: u64, count: u32) -> (u64, u32) {
        (stream.wrapping_shr(self.0), count.wrapping_sub(self.0))
    }

    /// The length, distance or symbol that it stands for, where `stream` begins with it. It has no flags.
    #[inline]
    pub(crate) fn value(self, stream: u64) -> usize {
        let taken = stream & ((1 << self.bits()) - 1);
        (self.0 >> 16) as usize + taken.wrapping_shr(self.0 >> 8) as usize
    }

    /// Of a subtable: where the code that `stream` goes on with is in the table.
    #[inline]
    fn index(self, stream: u64) -> usize {
        let mask = (1 << (self.0 >> 8 & 0xf)) - 1;
        (self.0 >> 16) as usize + (stream & mask) as usize
    }
}

/// Codes of up to 15 bits, the first `BITS` of which are looked up at once.
#[derive(Debug, Clone)]
pub(crate) struct Table<const SIZE: usize, const BITS: u32> {
    codes: Box<[Code; SIZE]>,
}

/// Literals and lengths. A complete code with 11 bits at once takes 2,342 entries at the most.
pub(crate) type Lengths = Table<2400, 11>;
/// Distances, 402 entries at the most.
pub(crate) type Distances = Table<416, 8>;
/// Lengths of codes.
pub(crate) type Meta = Table<128, 7>;

/// Which of all streams of bits mean something in a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    All,
    Some,
}

/// The longest code.
const LONGEST: usize = 15;

impl<const SIZE: usize, const BITS: u32> Table<SIZE, BITS> {
    pub(crate) fn new() -> Self {
        Self {
            codes: Box::new([Code::INVALID; SIZE]),
        }
    }

    /// What `stream` begins with, or a subtable.
    #[inline]
    pub(crate) fn first(&self, stream: u64) -> Code {
        self.codes[(stream & ((1 << BITS) - 1)) as usize]
    }

    /// What a code goes on with; `stream` without its first part.
    #[inline]
    pub(crate) fn second(&self, first: Code, stream: u64) -> Code {
        self.codes[first.index(stream)]
    }

    /// Makes the table of the code in which symbol `n` has `lengths[n]` bits, or none, and stands for
    /// `meanings[n]`. None where there is no such code, or one that leaves bits without a meaning; but one
    /// symbol of one bit, or none at all, will do.
    pub(crate) fn set(&mut self, lengths: &[u8], meanings: &[Code]) -> Option<Use> {
        let mut counts = [0_u16; LONGEST + 1];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        counts[0] = 0;
        let longest = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        // Codes of each length that are left, if shorter ones take theirs.
        let mut left = 1_i32;
        for count in &counts[1..] {
            left = 2 * left - i32::from(*count);
            if left < 0 {
                return None;
            }
        }
        if left > 0 {
            if longest > 1 {
                return None;
            }
            self.codes[..1 << BITS].fill(Code::INVALID);
        }
        let mut starts = [0_u16; LONGEST + 2];
        for length in 1..=LONGEST {
            starts[length + 1] = starts[length] + counts[length];
        }
        let mut sorted = [0_u16; 288];
        let mut next = starts;
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, it)| **it > 0) {
            let place = &mut next[usize::from(*length)];
            sorted[usize::from(*place)] = symbol as u16;
            *place += 1;
        }
        let of = |length: usize| &sorted[starts[length].into()..starts[length + 1].into()];
        // Codes begin with their highest bit, so they are counted up from that end.
        let mut code = 0_usize;
        let mut size = 1;
        for length in 1..=BITS as usize {
            self.codes.copy_within(..size, size);
            size *= 2;
            for symbol in of(length) {
                self.codes[code] = meaning(meanings[usize::from(*symbol)], length);
                code = following(code, length);
            }
        }
        if longest > BITS as usize {
            self.set_subtables(code, &mut counts, of, meanings);
        }
        Some(if left == 0 { Use::All } else { Use::Some })
    }

    /// The codes of more than `BITS` bits, of which `code` is the first.
    fn set_subtables<'a>(
        &mut self,
        mut code: usize,
        counts: &mut [u16; LONGEST + 1],
        of: impl Fn(usize) -> &'a [u16],
        meanings: &[Code],
    ) {
        let main = 1_usize << BITS;
        let mut end = main;
        let (mut prefix, mut start) = (usize::MAX, 0);
        for length in BITS as usize + 1..=LONGEST {
            for symbol in of(length) {
                if code % main != prefix {
                    prefix = code % main;
                    start = end;
                    let bits = subtable_bits(length, BITS as usize, counts);
                    end += 1 << bits;
                    let entry =
                        SPECIAL | SUBTABLE | (start as u32) << 16 | (bits as u32) << 8 | BITS;
                    self.codes[prefix] = Code(entry);
                }
                let entry = meaning(meanings[usize::from(*symbol)], length - BITS as usize);
                let places = self.codes[start..end].iter_mut().skip(code / main);
                places
                    .step_by(1 << (length - BITS as usize))
                    .for_each(|it| *it = entry);
                counts[length] -= 1;
                code = following(code, length);
            }
        }
    }
}

/// Bits of the subtable whose first code has `length` bits, from what is left of each length.
fn subtable_bits(length: usize, main: usize, counts: &[u16; LONGEST + 1]) -> usize {
    let mut bits = length - main;
    let mut used = usize::from(counts[length]);
    while used < 1 << bits && main + bits < LONGEST {
        bits += 1;
        used = 2 * used + usize::from(counts[main + bits]);
    }
    bits
}

/// The code of `length` bits after this one, both with their first bit lowest.
fn following(code: usize, length: usize) -> usize {
    let zeros = !code & ((1 << length) - 1);
    match zeros.checked_ilog2() {
        Some(highest) => code & ((1 << highest) - 1) | 1 << highest,
        None => code,
    }
}

/// `meaning`, where its code takes `length` bits here.
fn meaning(meaning: Code, length: usize) -> Code {
    Code(meaning.0 + (length as u32) * 0x101)
}

/// What the symbols of literals and lengths stand for. The last two are in no stream.
pub(crate) const LENGTHS: [Code; 288] = {
    let mut all = [Code(SPECIAL); 288];
    let mut n = 0;
    while n < 256 {
        all[n] = Code(LITERAL | (n as u32) << 16);
        n += 1;
    }
    all[256] = Code(SPECIAL | END);
    let mut base = 3;
    n = 257;
    while n < 285 {
        let extra = if n < 265 { 0 } else { (n as u32 - 261) / 4 };
        all[n] = Code::base(base, extra);
        base += 1 << extra;
        n += 1;
    }
    all[285] = Code::base(258, 0);
    all
};

/// What the symbols of distances stand for. The last two are in no stream.
pub(crate) const DISTANCES: [Code; 32] = {
    let mut all = [Code(SPECIAL); 32];
    let mut base = 1;
    let mut n = 0;
    while n < 30 {
        let extra = if n < 4 { 0 } else { (n as u32 - 2) / 2 };
        all[n] = Code::base(base, extra);
        base += 1 << extra;
        n += 1;
    }
    all
};

/// What the symbols of lengths of codes stand for: themselves.
pub(crate) const META: [Code; 19] = {
    let mut all = [Code(0); 19];
    let mut n = 0;
    while n < 19 {
        all[n] = Code::base(n as u32, 0);
        n += 1;
    }
    all
};

/// The lengths of fixed codes (RFC 1951, section 3.2.6).
pub(crate) const FIXED: [u8; 288] = {
    let mut all = [8; 288];
    let mut n = 144;
    while n < 280 {
        all[n] = if n < 256 { 9 } else { 7 };
        n += 1;
    }
    all
};
