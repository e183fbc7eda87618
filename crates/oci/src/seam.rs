//! Seams: places inside a deflate stream where another thread can go on with it.
//!
//! A stream can only be inflated from its beginning. But once that was done, it can be done again from any of
//! its blocks on, with the 32 KiB before it at hand (RFC 1951, section 2). So long files of an archive are
//! checked ahead, one by each thread and their output dropped, and made in stretches by all threads when
//! their turn comes: memory holds seams in place of files.

use crate::inflate::WINDOW;

/// Bytes of output from one seam to the next, at least.
const LEAST: u64 = 1 << 20;
/// Seams of one file, at most.
const MOST: u64 = 80;
/// Bytes that these take.
pub(crate) const MEMORY: usize = MOST as usize * WINDOW;

/// A place between two blocks of a stream.
#[derive(Debug)]
pub(crate) struct Seam {
    /// Bytes of the stream before it, the one that it lies in among them.
    pub(crate) consumed: u64,
    /// The highest bits of the last of these bytes that come after it.
    pub(crate) unused: u32,
    /// That byte, as the archive has it.
    pub(crate) last: u8,
    /// Bytes of output before it.
    pub(crate) produced: u64,
    /// The last of them.
    pub(crate) window: Box<[u8]>,
}

/// What of a stream to take: from a seam or the beginning to another or the end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stretch<'a> {
    pub(crate) from: Option<&'a Seam>,
    pub(crate) to: Option<&'a Seam>,
}

/// The seams of a file as they are found.
#[derive(Debug)]
pub(crate) struct Seams {
    every: u64,
    next: u64,
    pub(crate) found: Vec<Seam>,
}

impl Seams {
    /// For a file of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        let every = LEAST.max(size / MOST);
        Self {
            every,
            next: every,
            found: Vec::new(),
        }
    }

    /// Whether a seam is wanted after `produced` bytes of output.
    pub(crate) fn wants(&self, produced: u64) -> bool {
        produced >= self.next
    }

    pub(crate) fn push(&mut self, seam: Seam) {
        self.next = seam.produced + self.every;
        self.found.push(seam);
    }
}

/// A long file that was checked ahead.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Its number among the members.
    pub(crate) member: usize,
    pub(crate) seams: Vec<Seam>,
}

impl Scanned {
    /// How many stretches it has.
    pub(crate) fn len(&self) -> usize {
        self.seams.len() + 1
    }

    pub(crate) fn stretch(&self, number: usize) -> Stretch<'_> {
        Stretch {
            from: number.checked_sub(1).and_then(|it| self.seams.get(it)),
            to: self.seams.get(number),
        }
    }
}
