//! The memory for the buffers of the layers that are built at a time.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Mutex;

use oci::layer::LEAST_MEMORY;

use crate::diagnostics::Failure;
use crate::mutex::lock;
use crate::pipe;

/// What each layer gets in any case: its own buffers, and those of who looks on while it is made.
const LEAST: u64 = LEAST_MEMORY + pipe::MEMORY;
/// What all get where nobody says more or less.
const DEFAULT: u64 = 64 << 20;
/// What one more thread of a layer makes use of.
const OF_THREAD: u64 = 8 << 20;

/// Bytes for buffers, as they are typed: `64M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxMemory(pub(crate) u64);

impl fmt::Display for MaxMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.0 >> 20)
    }
}

impl FromStr for MaxMemory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shift = match text.chars().last() {
            Some('K') => 10,
            Some('M') => 20,
            Some('G') => 30,
            _ => 0,
        };
        let number = text.strip_suffix(['K', 'M', 'G']).unwrap_or(text);
        let bytes = number.parse::<u64>().ok();
        bytes
            .and_then(|bytes| bytes.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size: write a number and K, M or G, as in 64M"))
    }
}

/// What is left of the memory. Whoever takes of it gives it back before the next one of its thread does.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Beyond what each layer gets in any case.
    left: Mutex<u64>,
}

impl Buffers {
    /// For `threads` layers at a time: `memory`, or 64 MiB and more where there are many threads.
    pub(crate) fn new(memory: Option<MaxMemory>, threads: NonZeroUsize) -> Result<Self, Failure> {
        let least = threads.get() as u64 * LEAST;
        let memory = memory.unwrap_or(MaxMemory(DEFAULT.max(least)));
        let left = memory.0.checked_sub(least).ok_or_else(|| {
            let mebibytes = least.div_ceil(1 << 20);
            Failure::new(format!(
                "--max-memory {memory} is too little to build {threads} layers at a time"
            ))
            .hint(format!(
                "give {mebibytes}M or more, or fewer threads with --jobs"
            ))
        })?;
        let left = Mutex::new(left);
        Ok(Self { left })
    }

    /// Bytes for a layer that `threads` threads work on, until what is returned is dropped.
    pub(crate) fn take(&self, threads: NonZeroUsize) -> Taken<'_> {
        let mut left = lock(&self.left);
        let wanted = match threads.get() as u64 {
            1 => 0,
            threads => threads * OF_THREAD,
        };
        let more = wanted.min(*left);
        *left -= more;
        Taken { of: self, more }
    }
}

/// Memory for one layer.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    of: &'a Buffers,
    more: u64,
}

impl Taken<'_> {
    /// Bytes for the layer's own buffers.
    pub(crate) fn bytes(&self) -> u64 {
        LEAST_MEMORY + self.more
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *lock(&self.of.left) += self.more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    #[test]
    fn sizes_are_read() {
        let check = |text: &str| text.parse::<MaxMemory>().map(|it| it.0);
        assert_eq!(check("64M"), Ok(64 << 20));
        assert_eq!(check("1G"), Ok(1 << 30));
        assert_eq!(check("512K"), Ok(512 << 10));
        assert_eq!(check("9000000"), Ok(9_000_000));
        for text in ["", "M", "64MB", "-1", "1.5G", "99999999999G"] {
            let error = check(text).unwrap_err();
            assert!(
                error.starts_with(&format!("`{text}` is no size")),
                "{error}"
            );
        }
    }

    #[test]
    fn no_more_is_taken_than_there_is() {
        let buffers = Buffers::new(None, threads(4)).unwrap();
        let large = buffers.take(threads(4));
        assert_eq!(large.bytes(), LEAST_MEMORY + (32 << 20));
        let second = buffers.take(threads(4));
        let third = buffers.take(threads(4));
        let fourth = buffers.take(threads(1));
        let all = [&large, &second, &third, &fourth];
        let bytes: u64 = all.iter().map(|it| it.bytes() + pipe::MEMORY).sum();
        assert_eq!(bytes, 64 << 20);
        drop((large, second, third, fourth));
        assert_eq!(buffers.take(threads(2)).more, 2 * OF_THREAD);
        let many = Buffers::new(None, threads(64)).unwrap();
        assert_eq!(many.take(threads(64)).bytes(), LEAST_MEMORY);
    }

    #[test]
    fn too_little_is_told() {
        let error = Buffers::new(Some(MaxMemory(3 << 20)), threads(4)).unwrap_err();
        insta::assert_snapshot!(error, @"--max-memory 3M is too little to build 4 layers at a time");
    }
}
