//! Files at rest whose parts go into layers: wheels, and the unpacked data of Debian packages.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::Digest;
use crate::packed::Packed;

/// A file that stays as it is while parts of it are read, from any thread.
///
/// Cloning is cheap and shares one open file. The file may have been unlinked (a temporary): what is
/// open stays readable until the last clone is dropped.
#[derive(Clone)]
pub struct Source(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    name: String,
    digest: Option<Digest>,
    pub(crate) file: File,
    len: u64,
    /// Where the file is compressed.
    packed: Option<Packed>,
}

impl Source {
    /// Opens the file at `path`. `name` is what messages call it (a wheel's filename, say), and
    /// `digest` is its sha256 where that is known: only such a source can be part of a splice map.
    pub fn open(path: &Path, name: &str, digest: Option<Digest>) -> io::Result<Self> {
        Self::from_file(File::open(path)?, name, digest)
    }

    /// A source over an open file.
    pub fn from_file(file: File, name: &str, digest: Option<Digest>) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            digest,
            file,
            len,
            packed: None,
        })))
    }

    pub(crate) fn of_packed(
        file: File,
        packed: Packed,
        name: &str,
        digest: Option<Digest>,
    ) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            digest,
            file,
            len: packed.size(),
            packed: Some(packed),
        }))
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The sha256 of the whole file, where known.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest
    }

    /// Size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        self.0.len
    }

    /// Bytes that it has on disk: fewer, where a [`Packer`](crate::Packer) wrote it.
    pub fn disk_size(&self) -> u64 {
        let packed = self.0.packed.as_ref();
        packed.map_or(self.0.len, Packed::disk_size)
    }

    /// Fills `buffer` from `offset` on; `UnexpectedEof` where the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.0.packed.is_none() {
            return self.0.file.read_exact_at(buffer, offset);
        }
        self.range(offset, buffer.len() as u64).read_exact(buffer)
    }

    /// A reader of the `length` bytes from `offset` on; ends early where the file does.
    pub fn range(&self, offset: u64, length: u64) -> SourceReader {
        SourceReader {
            source: self.clone(),
            offset,
            left: length,
        }
    }
}

impl PartialEq for Source {
    /// Same open file, or same digest.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.digest.is_some() && self.0.digest == other.0.digest)
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.0.name).finish()
    }
}

/// Reads a part of a [`Source`] from its beginning to its end.
#[derive(Debug, Clone)]
pub struct SourceReader {
    source: Source,
    offset: u64,
    left: u64,
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = (buffer.len() as u64).min(self.left) as usize;
        let (inner, buffer) = (&self.source.0, &mut buffer[..wanted]);
        let read = match &inner.packed {
            None => inner.file.read_at(buffer, self.offset)?,
            Some(packed) => packed.read_at(&inner.file, buffer, self.offset)?,
        };
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
