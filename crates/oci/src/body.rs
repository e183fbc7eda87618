//! Bodies: what the splicer does with a file's bytes, wherever they come from.
//!
//! Nothing of a body leaves the splicer beyond the size its archive declares. The streams of archives
//! are spliced as RFC 1951, sections 3.2.3 and 3.2.4, allows: the bit that marks the last block is
//! cleared, and an empty stored block fills the last byte up.

use std::io;

use crate::buffer::{Copy, Sink};
use crate::compress::{Deflate, PIECE};
use crate::deflate;
use crate::inflate::Stop;
use crate::layer::{BodyFault, EncodeError};
use crate::members::Member;
use crate::seam::{Seam, Stretch};
use crate::splice::Splicer;
use crate::{Archived, Content, Method, Source};

impl<S: Sink> Splicer<S> {
    /// The body of `member`, the one of this number, if it has one.
    pub(crate) fn body(&mut self, member: &Member<'_>, number: usize) -> Result<(), EncodeError> {
        check_bounds(member)?;
        self.edge(member, number);
        let mut crc = crc32fast::Hasher::new();
        match member.content {
            None => return Ok(()),
            Some(Content::Bytes(bytes)) => {
                self.compress(member, &Plain::Bytes(bytes), &mut crc)?;
            }
            Some(Content::File { source, offset, .. }) => {
                self.compress(member, &Plain::File(source, *offset), &mut crc)?;
            }
            Some(Content::Archived(archived)) => match archived.method {
                Method::Stored => self.stored(member, archived, &mut crc)?,
                Method::Deflated => {
                    self.deflated(member, archived, Stretch::default(), &mut crc)?;
                }
            },
        }
        self.crc.combine(&crc);
        if let Some(Content::Archived(archived)) = member.content {
            let (expected, found) = (archived.crc32, crc.finalize());
            if expected != found {
                return Err(member.error(BodyFault::Crc { expected, found }));
            }
        }
        self.edge(member, number);
        Ok(())
    }

    /// A body that is not compressed at rest, or not in an archive.
    fn compress(
        &mut self,
        member: &Member<'_>,
        plain: &Plain<'_>,
        crc: &mut crc32fast::Hasher,
    ) -> Result<(), EncodeError> {
        let size = member.header.size;
        let mut deflate = self.deflate.take().unwrap_or_else(Deflate::new);
        deflate.reset();
        let mut done = 0;
        while done < size {
            let length = (size - done).min(PIECE as u64) as usize;
            let mut piece = std::mem::take(&mut self.piece);
            let part = plain.part(done, &mut piece[..length]);
            let part = part.map_err(|error| member.error(BodyFault::Read(error)))?;
            done += length as u64;
            crc.update(part);
            self.put_tar(part)?;
            if self.splice {
                deflate.piece(part, done == size, |bytes| self.put_blob(bytes, None))?;
            }
            self.piece = piece;
        }
        self.deflate = Some(deflate);
        Ok(())
    }

    /// A body that an archive has as it is.
    fn stored(
        &mut self,
        member: &Member<'_>,
        archived: &Archived,
        crc: &mut crc32fast::Hasher,
    ) -> Result<(), EncodeError> {
        let (length, size) = (archived.length, archived.uncompressed_size);
        if length != size {
            return Err(member.error(BodyFault::Stored { length, size }));
        }
        let mut done = 0;
        while done < size {
            let length = (size - done).min(deflate::STORED_MAX as u64) as usize;
            let mut piece = std::mem::take(&mut self.piece);
            let part = &mut piece[..length];
            let offset = archived.offset + done;
            archived
                .source
                .read_exact_at(part, offset)
                .map_err(|error| member.error(BodyFault::Read(error)))?;
            crc.update(part);
            self.put_tar(part)?;
            if self.splice {
                let mut packed = std::mem::take(&mut self.packed);
                packed.clear();
                deflate::stored_header(length as u16, &mut packed);
                self.put_blob(&packed, None)?;
                self.put_blob(
                    part,
                    archived.source.digest().map(|digest| (digest, offset)),
                )?;
                self.packed = packed;
            }
            done += length as u64;
            self.piece = piece;
        }
        Ok(())
    }

    /// A body that an archive has as a deflate stream, or a stretch of it.
    pub(crate) fn deflated(
        &mut self,
        member: &Member<'_>,
        archived: &Archived,
        stretch: Stretch<'_>,
        crc: &mut crc32fast::Hasher,
    ) -> Result<(), EncodeError> {
        let fault = |fault| member.error(fault);
        let size = match stretch.to {
            None => archived.uncompressed_size,
            Some(seam) => seam.produced,
        };
        // Of an empty file nothing is taken over: its stream is only checked, in a buffer of its own.
        let splice = self.splice && size > 0;
        if !splice {
            self.flush_blob()?;
        }
        match stretch.from {
            None => self.inflate.reset(),
            Some(seam) => self.inflate.resume(seam.last, seam.unused, &seam.window),
        }
        let mut stream = Stream::new(archived, stretch);
        let mut produced = stretch.from.map_or(0, |seam| seam.produced);
        let unused = loop {
            if stream.is_starved() {
                self.refill(&mut stream, splice)
                    .map_err(|error| match error {
                        Refill::Fault(cause) => fault(cause),
                        Refill::Output(error) => error,
                    })?;
            }
            let input = &self.blob.bytes[stream.next..stream.end];
            let step = self
                .inflate
                .step(input)
                .map_err(|error| fault(error.into()))?;
            stream.is_output_full = step.stop == Stop::Full;
            let part = self.inflate.produced();
            produced += part.len() as u64;
            if produced > size {
                return Err(fault(BodyFault::TooLong { size }));
            }
            crc.update(part);
            // What is only scanned nobody takes.
            if self.seams.is_none() {
                self.put_produced()?;
            }
            stream.next += step.consumed;
            if step.consumed > 0 && std::mem::take(&mut stream.is_block_next) {
                let at = stream.next - step.consumed;
                self.clear_final(at, 0);
            }
            let unused = match step.stop {
                Stop::Starved | Stop::Full => continue,
                Stop::End { unused } => break unused,
                Stop::Block { unused } => unused,
            };
            if let Some(seams) = &mut self.seams
                && seams.wants(produced)
            {
                seams.push(Seam {
                    consumed: stream.consumed(),
                    unused,
                    last: self.blob.bytes[stream.next - 1],
                    produced,
                    window: self.inflate.window(),
                });
            }
            match unused {
                0 => stream.is_block_next = true,
                unused => self.clear_final(stream.next - 1, 8 - unused),
            }
            if stretch.to.is_some() && stream.is_used_up() {
                if !splice {
                    self.blob.clear();
                }
                return Ok(());
            }
        };
        let left = stream.left + (stream.end - stream.next) as u64;
        if left > 0 {
            return Err(fault(BodyFault::Trailing {
                length: archived.length,
                left,
            }));
        }
        if produced < size {
            return Err(fault(BodyFault::TooShort {
                size,
                found: produced,
            }));
        }
        if !splice {
            self.blob.clear();
            return Ok(());
        }
        self.align(stream.next - 1, unused)
    }

    /// Reads more of an archive's stream into the blob's buffer, behind what is there.
    fn refill(&mut self, stream: &mut Stream<'_>, splice: bool) -> Result<(), Refill> {
        if stream.left == 0 {
            return Err(Refill::Fault(BodyFault::Truncated {
                length: stream.archived.length,
            }));
        }
        if self.blob.room() == 0 {
            if splice {
                self.flush_blob().map_err(Refill::Output)?;
            } else {
                self.blob.clear();
            }
        }
        let start = self.blob.filled;
        let length = stream.left.min(self.blob.room() as u64) as usize;
        let (archived, offset) = (stream.archived, stream.offset);
        let room = &mut self.blob.bytes[start..][..length];
        archived
            .source
            .read_exact_at(room, offset)
            .map_err(|error| Refill::Fault(BodyFault::Read(error)))?;
        let end = start + length;
        if let Some(source) = archived.source.digest() {
            self.blob.copies.push(Copy {
                start,
                end,
                source,
                offset,
            });
        }
        self.blob.filled = end;
        (stream.next, stream.end) = (start, end);
        stream.left -= length as u64;
        stream.offset += length as u64;
        Ok(())
    }

    /// A block begins at `bit` of the blob buffer's byte `at`: it is not the last one any more.
    fn clear_final(&mut self, at: usize, bit: u32) {
        let byte = self.blob.bytes[at];
        if byte >> bit & 1 == 1 {
            self.blob.patch(at, byte & !(1 << bit));
        }
    }

    /// Fills the last byte of a taken-over stream up with an empty stored block. Its three bits go
    /// into the unused bits of the byte `at`, if there are that many.
    fn align(&mut self, at: usize, unused: u32) -> Result<(), EncodeError> {
        self.blob.patch(at, self.blob.bytes[at] & (0xff >> unused));
        if unused < 3 {
            self.put_blob(&[0], None)?;
        }
        self.put_blob(&deflate::EMPTY_STORED, None)
    }
}

/// Refuses a body that its archive is too short for.
fn check_bounds(member: &Member<'_>) -> Result<(), EncodeError> {
    let (source, offset, length) = match member.content {
        None | Some(Content::Bytes(_)) => return Ok(()),
        Some(Content::File {
            source,
            offset,
            length,
        }) => (source, *offset, *length),
        Some(Content::Archived(archived)) => (&archived.source, archived.offset, archived.length),
    };
    let size = source.size();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(member.error(BodyFault::Outside {
            offset,
            length,
            size,
        }));
    }
    Ok(())
}

/// How far an archive's stream was read and inflated.
struct Stream<'a> {
    archived: &'a Archived,
    /// Where in the archive the next bytes to read lie.
    offset: u64,
    /// Bytes that were not read yet.
    left: u64,
    /// What was read but not inflated, in the blob's buffer.
    next: usize,
    end: usize,
    /// Whether the inflater may have more to give without more input.
    is_output_full: bool,
    /// Whether the next byte is the first one of a block.
    is_block_next: bool,
}

impl<'a> Stream<'a> {
    fn new(archived: &'a Archived, stretch: Stretch<'_>) -> Self {
        let begin = stretch.from.map_or(0, |seam| seam.consumed);
        let end = stretch.to.map_or(archived.length, |seam| seam.consumed);
        Self {
            archived,
            offset: archived.offset + begin,
            left: end.saturating_sub(begin),
            next: 0,
            end: 0,
            is_output_full: false,
            is_block_next: stretch.from.is_none_or(|seam| seam.unused == 0),
        }
    }

    /// Bytes of the archive's stream that the inflater has taken.
    fn consumed(&self) -> u64 {
        self.offset - self.archived.offset - (self.end - self.next) as u64
    }

    /// Whether all of it was read and inflated.
    fn is_used_up(&self) -> bool {
        self.left == 0 && self.next == self.end
    }

    /// Only then may the buffer be emptied: until the inflater is through with all of it, a bit in
    /// its last byte may turn out to begin a block.
    fn is_starved(&self) -> bool {
        self.next == self.end && !self.is_output_full
    }
}

enum Refill {
    Fault(BodyFault),
    Output(EncodeError),
}

/// Bytes that no archive has.
enum Plain<'a> {
    Bytes(&'a [u8]),
    File(&'a Source, u64),
}

impl Plain<'_> {
    /// The bytes from `at` on, as many as `buffer` has, there or in place.
    fn part<'b>(&'b self, at: u64, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(&bytes[at as usize..][..buffer.len()]),
            Self::File(source, offset) => {
                source.read_exact_at(buffer, offset + at)?;
                Ok(buffer)
            }
        }
    }
}
