//! Sets of paths as numbers: what a layer has cannot be kept by name, a million names are too many.
//!
//! Eight bytes a path. Of two paths with one number (FNV-1a, 64 bits) one could hide the other, which
//! does not happen to an image that is not made for it, and then costs that image a fact.

use crate::HeaderFault;

/// How many paths a layer may have.
pub(crate) const MAX_PATHS: usize = 4_000_000;

const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// The number of a path, as far as it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathHash(u64);

impl PathHash {
    /// Of the root.
    pub(crate) const ROOT: Self = Self(START);

    /// Of a path.
    pub(crate) fn of(path: &[u8]) -> u64 {
        let parts = path.split(|byte| *byte == b'/');
        let names = parts.filter(|name| !name.is_empty());
        names.fold(Self::ROOT, Self::child).value()
    }

    /// Of what is called `name` in the directory that this is the number of.
    pub(crate) fn child(self, name: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        Self(name.iter().chain(b"/").fold(self.0, step))
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// A set that is filled first and asked afterwards.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hashes {
    values: Vec<u64>,
    /// How many there were when there was none twice.
    distinct: usize,
}

impl Hashes {
    pub(crate) fn add(&mut self, value: u64) -> Result<(), HeaderFault> {
        if self.values.len() >= self.distinct.max(1 << 16) * 2 {
            self.compact();
            if self.values.len() > MAX_PATHS {
                return Err(HeaderFault::Paths { limit: MAX_PATHS });
            }
        }
        self.values.push(value);
        Ok(())
    }

    /// To be asked, and small.
    pub(crate) fn finish(mut self) -> Self {
        self.compact();
        self.values.shrink_to_fit();
        self
    }

    fn compact(&mut self) {
        self.values.sort_unstable();
        self.values.dedup();
        self.distinct = self.values.len();
    }

    pub(crate) fn contains(&self, value: u64) -> bool {
        self.values.binary_search(&value).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_components() {
        let ab = PathHash::ROOT.child(b"a").child(b"b");
        assert_eq!(ab.value(), PathHash::of(b"a/b"));
        let others: [&[u8]; 5] = [b"ab", b"a", b"b/a", b"a/b/c", b""];
        for other in others {
            assert_ne!(ab.value(), PathHash::of(other));
        }
    }

    #[test]
    fn a_set_with_repetitions_stays_small() {
        let mut hashes = Hashes::default();
        for value in 0..1_000_000_u64 {
            hashes.add(value % 1000).unwrap();
        }
        assert!(hashes.values.len() <= 1 << 17);
        let hashes = hashes.finish();
        assert_eq!(hashes.values.len(), 1000);
        assert!(hashes.contains(999) && !hashes.contains(1000));
    }

    #[test]
    fn a_set_has_an_end() {
        let mut hashes = Hashes::default();
        let fault = (0..10_000_000_u64).find_map(|value| hashes.add(value).err());
        assert_eq!(fault, Some(HeaderFault::Paths { limit: MAX_PATHS }));
    }
}
