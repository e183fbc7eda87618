//! The splicer: makes a layer's tar stream and, beside it, the deflate stream of the same bytes.
//!
//! Here are the headers, which our own encoder deflates ([`crate::deflate`]), and the buffers; the
//! bodies are in [`crate::body`].

use std::ops::Range;

use crate::buffer::{Buffer, Copy, Edge, Sink};
use crate::compress::{Deflate, PIECE};
use crate::deflate::{self, Previous};
use crate::inflate::Inflate;
use crate::layer::EncodeError;
use crate::members::Member;
use crate::seam::{Scanned, Seams};
use crate::tar::{self, BLOCK, TRAILER};
use crate::{Content, Digest};

/// Encodes runs of members, one after the other. Everything of fixed size is kept between runs.
pub(crate) struct Splicer<S> {
    pub(crate) sink: S,
    /// Whether the deflate stream is wanted, or only the tar stream.
    pub(crate) splice: bool,
    pub(crate) tar: Buffer,
    /// Of the deflate stream; without one, what an archive's stream is read into.
    pub(crate) blob: Buffer,
    /// Of the run's tar stream so far.
    pub(crate) crc: crc32fast::Hasher,
    pub(crate) inflate: Inflate,
    pub(crate) deflate: Option<Deflate>,
    pub(crate) piece: Box<[u8]>,
    headers: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    /// Those of the file at hand, where they are wanted.
    pub(crate) seams: Option<Seams>,
}

impl<S: Sink> Splicer<S> {
    pub(crate) fn new(sink: S, splice: bool) -> Self {
        Self {
            sink,
            splice,
            tar: Buffer::new(),
            blob: Buffer::new(),
            crc: crc32fast::Hasher::new(),
            inflate: Inflate::new(),
            deflate: None,
            piece: vec![0; PIECE].into(),
            headers: Vec::new(),
            packed: Vec::new(),
            seams: None,
        }
    }

    /// Encodes `members[range]`, and the end of the archive if that is the last of them. Runs are
    /// independent: what they give depends on the members, never on how they are cut. Gives the CRC-32 of
    /// the run's tar stream.
    pub(crate) fn run(
        &mut self,
        members: &[Member<'_>],
        range: Range<usize>,
    ) -> Result<crc32fast::Hasher, EncodeError> {
        let done = self.members(members, range);
        self.end_run(done)
    }

    fn members(&mut self, members: &[Member<'_>], range: Range<usize>) -> Result<(), EncodeError> {
        let is_last = range.end == members.len();
        let mut before = range.start.checked_sub(1).map(|index| &members[index]);
        for number in range {
            let member = &members[number];
            self.header(before, member)?;
            self.body(member, number)?;
            before = Some(member);
        }
        if is_last {
            self.headers.clear();
            self.headers.resize(
                before.map_or(0, |member| tar::padding(member.header.size)),
                0,
            );
            self.headers.extend_from_slice(&TRAILER);
            self.put_headers(None)?;
        }
        Ok(())
    }

    /// As [`Splicer::run`], of a stretch of a long file; the first one with the file's header.
    pub(crate) fn stretch(
        &mut self,
        members: &[Member<'_>],
        scanned: &Scanned,
        number: usize,
    ) -> Result<crc32fast::Hasher, EncodeError> {
        let done = self.file_stretch(members, scanned, number);
        self.end_run(done)
    }

    fn file_stretch(
        &mut self,
        members: &[Member<'_>],
        scanned: &Scanned,
        number: usize,
    ) -> Result<(), EncodeError> {
        let member = &members[scanned.member];
        if number == 0 {
            let before = scanned.member.checked_sub(1).map(|index| &members[index]);
            self.header(before, member)?;
            self.edge(member, scanned.member);
        }
        if let Some(Content::Archived(archived)) = member.content {
            let mut crc = crc32fast::Hasher::new();
            self.deflated(member, archived, scanned.stretch(number), &mut crc)?;
            self.crc.combine(&crc);
        }
        if number + 1 == scanned.len() {
            self.edge(member, scanned.member);
        }
        Ok(())
    }

    /// Hands out what there is, after a fault too: a checksum before it may be wrong, and is told first.
    fn end_run(&mut self, done: Result<(), EncodeError>) -> Result<crc32fast::Hasher, EncodeError> {
        self.flush_tar()?;
        done?;
        self.flush_blob()?;
        Ok(std::mem::take(&mut self.crc))
    }

    /// Checks a long file but for its checksum, and finds its seams.
    pub(crate) fn scan(
        &mut self,
        members: &[Member<'_>],
        member: usize,
    ) -> Result<Scanned, EncodeError> {
        self.seams = Some(Seams::new(members[member].header.size));
        let done = self.body(&members[member], member);
        let seams = self.seams.take().map_or_else(Vec::new, |it| it.found);
        self.tar.clear();
        self.blob.clear();
        self.crc.reset();
        done.map(|()| Scanned { member, seams })
    }

    /// Here the body of the member of this number begins, or ends.
    pub(crate) fn edge(&mut self, member: &Member<'_>, number: usize) {
        if member.checksum().is_some() {
            self.tar.edges.push(Edge {
                at: self.tar.filled,
                member: number,
            });
        }
    }

    /// The padding that the member before owes, and the header of `member`.
    fn header(
        &mut self,
        before: Option<&Member<'_>>,
        member: &Member<'_>,
    ) -> Result<(), EncodeError> {
        let Some(before) = before else {
            self.headers.clear();
            member.header.write(&mut self.headers);
            return self.put_headers(None);
        };
        self.headers.clear();
        before.header.write(&mut self.headers);
        let mut previous = [0; BLOCK];
        previous.copy_from_slice(&self.headers[self.headers.len() - BLOCK..]);
        self.headers.clear();
        self.headers.resize(tar::padding(before.header.size), 0);
        member.header.write(&mut self.headers);
        let distance = before.header.size.saturating_add(self.headers.len() as u64);
        self.put_headers(Some(Previous {
            header: &previous,
            distance,
        }))
    }

    fn put_headers(&mut self, previous: Option<Previous<'_>>) -> Result<(), EncodeError> {
        let headers = std::mem::take(&mut self.headers);
        self.crc.update(&headers);
        self.put_tar(&headers)?;
        if self.splice {
            let mut packed = std::mem::take(&mut self.packed);
            packed.clear();
            deflate::headers(&headers, previous, &mut packed);
            self.put_blob(&packed, None)?;
            self.packed = packed;
        }
        self.headers = headers;
        Ok(())
    }

    pub(crate) fn put_tar(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        put_tar(&mut self.tar, &mut self.sink, bytes)
    }

    /// What the inflater produced last.
    pub(crate) fn put_produced(&mut self) -> Result<(), EncodeError> {
        put_tar(&mut self.tar, &mut self.sink, self.inflate.produced())
    }

    /// `origin`: the archive and the offset where the bytes are.
    pub(crate) fn put_blob(
        &mut self,
        mut bytes: &[u8],
        mut origin: Option<(Digest, u64)>,
    ) -> Result<(), EncodeError> {
        loop {
            let start = self.blob.filled;
            let length = self.blob.push(bytes);
            if let Some((source, offset)) = &mut origin
                && length > 0
            {
                let copy = Copy {
                    start,
                    end: start + length,
                    source: *source,
                    offset: *offset,
                };
                self.blob.copies.push(copy);
                *offset += length as u64;
            }
            bytes = &bytes[length..];
            if bytes.is_empty() {
                return Ok(());
            }
            self.flush_blob()?;
        }
    }

    fn flush_tar(&mut self) -> Result<(), EncodeError> {
        flush_tar(&mut self.tar, &mut self.sink)
    }

    pub(crate) fn flush_blob(&mut self) -> Result<(), EncodeError> {
        if self.blob.filled > 0 {
            let full = std::mem::replace(&mut self.blob, Buffer::none());
            self.blob = self.sink.blob(full)?;
        }
        Ok(())
    }
}

/// Puts `bytes` behind what is in `tar`, and hands it out whenever it is full.
fn put_tar(tar: &mut Buffer, sink: &mut impl Sink, mut bytes: &[u8]) -> Result<(), EncodeError> {
    loop {
        bytes = &bytes[tar.push(bytes)..];
        if bytes.is_empty() {
            return Ok(());
        }
        flush_tar(tar, sink)?;
    }
}

fn flush_tar(tar: &mut Buffer, sink: &mut impl Sink) -> Result<(), EncodeError> {
    if tar.filled > 0 || !tar.edges.is_empty() {
        *tar = sink.tar(std::mem::replace(tar, Buffer::none()))?;
    }
    Ok(())
}
