//! Digesting the tar stream, and in the same pass the files in it whose checksum is known.
//!
//! A file's body begins where a block of tar does, so the blocks of its digest are those of the stream's: see
//! [`crate::sha256`].

use std::io::Write;

use sha2::{Digest as _, Sha384, Sha512};

use crate::buffer::Buffer;
use crate::layer::{BodyFault, EncodeError, Mismatch};
use crate::members::Member;
use crate::sha256::{BLOCK, State};
use crate::{Checksum, DiffId, Digest, OnMismatch};

/// Takes a tar stream in order, buffer by buffer.
pub(crate) struct TarDigest<'a> {
    members: &'a [Member<'a>],
    tar: State,
    file: Option<File>,
    /// Bytes of a block that is not whole yet.
    rest: [u8; BLOCK],
    /// Bytes of the stream so far.
    length: u64,
    mismatches: Vec<Mismatch>,
    /// Who else wants the stream.
    beside: &'a mut (dyn Write + Send),
}

/// The file at hand.
#[derive(Debug)]
struct File {
    /// Bytes of the stream before it.
    before: u64,
    strong: Strong,
}

#[derive(Debug)]
enum Strong {
    Sha256(State),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl<'a> TarDigest<'a> {
    /// `members` are those that edges in the buffers tell of. What is taken is written to `beside`: here it is
    /// in the processor's cache.
    pub(crate) fn new(members: &'a [Member<'a>], beside: &'a mut (dyn Write + Send)) -> Self {
        Self {
            members,
            tar: State::NEW,
            file: None,
            rest: [0; BLOCK],
            length: 0,
            mismatches: Vec::new(),
            beside,
        }
    }

    /// Takes the next bytes. Err where a file that ends in them must have another checksum.
    pub(crate) fn take(&mut self, buffer: &Buffer) -> Result<(), EncodeError> {
        let mut done = 0;
        for edge in &buffer.edges {
            self.update(&buffer.bytes[done..edge.at]);
            done = edge.at;
            let member = &self.members[edge.member];
            let Some(&(expected, on_mismatch)) = member.checksum() else {
                continue;
            };
            match self.file.take() {
                None => self.begin(&expected),
                Some(file) => self.end(file, member, expected, on_mismatch)?,
            }
        }
        self.update(&buffer.bytes[done..buffer.filled]);
        self.beside.write_all(buffer.filled())?;
        Ok(())
    }

    /// The digest of the stream, and the files that have another checksum than was stated.
    pub(crate) fn finish(self) -> (DiffId, Vec<Mismatch>) {
        let rest = &self.rest[..self.filled()];
        let digest = self.tar.finish(rest, self.length);
        (DiffId(Digest::from_bytes(digest)), self.mismatches)
    }

    fn begin(&mut self, expected: &Checksum) {
        debug_assert_eq!(self.filled(), 0, "headers and padding are whole blocks");
        self.file = Some(File {
            before: self.length,
            strong: match expected {
                Checksum::Sha256(_) => Strong::Sha256(State::NEW),
                Checksum::Sha384(_) => Strong::Sha384(Sha384::new()),
                Checksum::Sha512(_) => Strong::Sha512(Sha512::new()),
            },
        });
    }

    fn end(
        &mut self,
        file: File,
        member: &Member<'_>,
        expected: Checksum,
        on_mismatch: OnMismatch,
    ) -> Result<(), EncodeError> {
        let rest = &self.rest[..self.filled()];
        let found = match file.strong {
            Strong::Sha256(state) => {
                Checksum::Sha256(state.finish(rest, self.length - file.before))
            }
            Strong::Sha384(hasher) => Checksum::Sha384(hasher.finalize().into()),
            Strong::Sha512(hasher) => Checksum::Sha512(hasher.finalize().into()),
        };
        match on_mismatch {
            _ if expected == found => {}
            OnMismatch::Fail => {
                let (expected, found) = (Box::new(expected), Box::new(found));
                return Err(member.error(BodyFault::Checksum { expected, found }));
            }
            OnMismatch::Report => {
                let (path, origin) = (member.path.clone(), member.entry.origin.clone());
                self.mismatches.push(Mismatch {
                    path,
                    origin,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// How much of the block that is not whole there is.
    fn filled(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    fn update(&mut self, mut bytes: &[u8]) {
        match self.file.as_mut().map(|file| &mut file.strong) {
            None | Some(Strong::Sha256(_)) => {}
            Some(Strong::Sha384(hasher)) => hasher.update(bytes),
            Some(Strong::Sha512(hasher)) => hasher.update(bytes),
        }
        let filled = self.filled();
        self.length += bytes.len() as u64;
        if filled > 0 {
            let taken = bytes.len().min(BLOCK - filled);
            let (more, after) = bytes.split_at(taken);
            self.rest[filled..][..taken].copy_from_slice(more);
            if filled + taken < BLOCK {
                return;
            }
            let whole = self.rest;
            self.blocks(&[whole]);
            bytes = after;
        }
        let (blocks, rest) = bytes.as_chunks();
        self.blocks(blocks);
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    fn blocks(&mut self, blocks: &[[u8; BLOCK]]) {
        match self.file.as_mut().map(|file| &mut file.strong) {
            Some(Strong::Sha256(file)) => self.tar.update_both(file, blocks),
            _ => self.tar.update(blocks),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;
    use crate::buffer::Edge;
    use crate::members::members;
    use crate::{Archived, Content, Entry, Method, SHARED_MTIME, Source, Tree, TreePath};

    /// A file whose RECORD has `checksum`.
    fn file(checksum: Checksum, on_mismatch: OnMismatch) -> Content {
        let source = Source::from_file(tempfile::tempfile().unwrap(), "test.whl", None).unwrap();
        Content::Archived(Archived {
            source,
            method: Method::Stored,
            offset: 0,
            length: 0,
            uncompressed_size: 0,
            crc32: 0,
            checksum: Some((checksum, on_mismatch)),
        })
    }

    fn tree(checksums: &[(Checksum, OnMismatch)]) -> Tree {
        let mut tree = Tree::new();
        for (n, &(checksum, on_mismatch)) in checksums.iter().enumerate() {
            let path = TreePath::new(&format!("{n:02}")).unwrap();
            let content = file(checksum, on_mismatch);
            let entry = Entry::file(content, false, &"test".into());
            tree.insert(path, entry).unwrap();
        }
        tree
    }

    fn checksum(kind: usize, bytes: &[u8]) -> Checksum {
        match kind {
            0 => Checksum::Sha256(Sha256::digest(bytes).into()),
            1 => Checksum::Sha384(Sha384::digest(bytes).into()),
            _ => Checksum::Sha512(Sha512::digest(bytes).into()),
        }
    }

    /// Whole blocks of stream around `files`, in buffers of `size` bytes.
    fn buffers(files: &[Vec<u8>], size: usize) -> (Vec<u8>, Vec<Buffer>) {
        let (mut stream, mut edges) = (Vec::new(), Vec::new());
        for (member, file) in files.iter().enumerate() {
            stream.extend_from_slice(&[member as u8 + 1; 512]);
            edges.push((stream.len(), member));
            stream.extend_from_slice(file);
            edges.push((stream.len(), member));
            stream.resize(stream.len().next_multiple_of(512), 0);
        }
        let mut edges = edges.into_iter().peekable();
        let buffers = stream.chunks(size).enumerate().map(|(n, bytes)| {
            let mut buffer = Buffer::new();
            buffer.push(bytes);
            let end = n * size + bytes.len();
            while let Some((at, member)) = edges.next_if(|(at, _)| *at <= end) {
                let at = at - n * size;
                buffer.edges.push(Edge { at, member });
            }
            buffer
        });
        let buffers = buffers.collect();
        (stream, buffers)
    }

    proptest! {
        #[test]
        fn files_and_stream_have_their_digests(
            files in prop::collection::vec(
                (0..3_usize, prop::collection::vec(any::<u8>(), 0..700), any::<bool>()),
                0..9,
            ),
            size in 1..2000_usize,
        ) {
            let stated = files.iter().map(|(kind, bytes, is_right)| {
                let checksum = checksum(*kind, if *is_right { bytes } else { b"other" });
                (checksum, OnMismatch::Report)
            });
            let tree = tree(&stated.collect::<Vec<_>>());
            let members = members(&tree, SHARED_MTIME).unwrap();
            let bodies: Vec<_> = files.iter().map(|(_, bytes, _)| bytes.clone()).collect();
            let (stream, buffers) = buffers(&bodies, size);
            let mut beside = Vec::new();
            let mut digest = TarDigest::new(&members, &mut beside);
            for buffer in &buffers {
                digest.take(buffer).unwrap();
            }
            let (diff_id, mismatches) = digest.finish();
            prop_assert_eq!(diff_id.0, Digest::of(&stream));
            prop_assert_eq!(beside, stream);
            let found: Vec<_> = mismatches.into_iter().map(|it| (it.path.to_string(), it.found)).collect();
            let wrong = files.iter().enumerate().filter(|(_, (.., is_right))| !is_right);
            let wrong: Vec<_> = wrong
                .map(|(n, (kind, bytes, _))| (format!("{n:02}"), checksum(*kind, bytes)))
                .collect();
            prop_assert_eq!(found, wrong);
        }
    }
}
