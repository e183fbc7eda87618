//! A strict reader of zip archives at rest (PKWARE's APPNOTE.TXT 6.3.9), for wheels that nobody
//! vouches for.
//!
//! Only the central directory is read and held. An archive is refused where two readers could see
//! two different things in it: members must lie one after the other from the first byte to the
//! central directory, with nothing between them, and both headers of each must agree.

mod end;
mod fault;
mod fields;
mod header;
mod limits;
mod name;

use std::io::Read;

use flate2::bufread::DeflateDecoder;
use oci::{Archived, Checksum, Content, Method, OnMismatch, Source};

pub use fault::{ArchiveFault, MemberFault};
pub use limits::Limits;

use crate::Error;
use end::Directory;
use fields::Fields;
use header::{Central, LOCAL_SIZE};
use name::{check_name, check_parents, check_type};

/// Headers, sorted by name.
type Headers<'a> = [(&'a str, Central<'a>)];

/// A zip archive whose central directory was found sound.
#[derive(Debug, Clone)]
pub struct Archive {
    source: Source,
    members: Vec<Member>,
    text_limit: u64,
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path: relative, `/`-separated, with no `.`, `..` or empty component.
    pub name: String,
    /// How its bytes lie in the archive.
    pub method: Method,
    /// First byte of its data in the archive, after the local header.
    pub offset: u64,
    /// Number of bytes in the archive.
    pub length: u64,
    /// Number of bytes of the file.
    pub uncompressed_size: u64,
    /// CRC-32 of the file.
    pub crc32: u32,
    /// Whether the archive gives anyone the right to execute it.
    pub executable: bool,
}

impl Member {
    /// The file as content of a tree. `source` is the archive it was found in.
    pub fn content(&self, source: &Source, checksum: Option<(Checksum, OnMismatch)>) -> Content {
        Content::Archived(Archived {
            source: source.clone(),
            method: self.method,
            offset: self.offset,
            length: self.length,
            uncompressed_size: self.uncompressed_size,
            crc32: self.crc32,
            checksum,
        })
    }
}

impl Archive {
    /// Reads and checks the central directory of `source`, and every local header against it.
    pub fn open(source: Source, limits: &Limits) -> Result<Self, Error> {
        let directory = end::locate(&source)?;
        limits.check_directory(&source, directory)?;
        let mut bytes = vec![0; directory.size as usize];
        source
            .read_exact_at(&mut bytes, directory.offset)
            .map_err(|error| Error::read(&source, error))?;
        let headers = read_headers(&source, &bytes, directory)?;
        limits.check(&source, &headers)?;
        let offsets = read_layout(&source, &headers, directory)?;

        let mut members = Vec::with_capacity(headers.len());
        // Neighbours are in one directory, mostly.
        let mut checked = "";
        for ((name, header), offset) in headers.iter().zip(offsets) {
            let fault = |fault| Error::member(&source, name, fault);
            let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
            if directory != checked {
                check_parents(name, &headers).map_err(fault)?;
                checked = directory;
            }
            check_type(name, header).map_err(fault)?;
            if !name.ends_with('/') {
                members.push(member(name, header, offset).map_err(fault)?);
            }
        }
        Ok(Self {
            source,
            members,
            text_limit: limits.text,
        })
    }

    /// Its files, sorted by name. Directories are left out: they hold nothing.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The file called `name`.
    pub fn get(&self, name: &str) -> Option<&Member> {
        let at = self
            .members
            .binary_search_by(|member| member.name.as_str().cmp(name))
            .ok()?;
        self.members.get(at)
    }

    /// The file it is.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The bytes of `member`, which may not have more than [`Limits::text`], with size and CRC-32
    /// checked.
    pub fn read(&self, member: &Member) -> Result<Vec<u8>, Error> {
        let fault = |fault| Err(Error::member(&self.source, &member.name, fault));
        if member.uncompressed_size > self.text_limit {
            return fault(MemberFault::TooLargeToRead {
                size: member.uncompressed_size,
                limit: self.text_limit,
            });
        }
        let mut bytes = Vec::new();
        // One byte more than there should be, to notice data that goes on.
        let mut reader = self.reader(member).take(member.uncompressed_size + 1);
        if let Err(error) = reader.read_to_end(&mut bytes) {
            return Err(self.unpack_error(member, error));
        }
        if bytes.len() as u64 != member.uncompressed_size {
            return fault(MemberFault::OtherSize {
                stated: member.uncompressed_size,
            });
        }
        if crc32fast::hash(&bytes) != member.crc32 {
            return fault(MemberFault::OtherCrc32);
        }
        Ok(bytes)
    }

    /// Whether the file begins with `prefix`; reads no more than that.
    pub fn starts_with(&self, member: &Member, prefix: &[u8]) -> Result<bool, Error> {
        let mut start = Vec::new();
        let mut reader = self.reader(member).take(prefix.len() as u64);
        match reader.read_to_end(&mut start) {
            Ok(_) => Ok(start == prefix),
            Err(error) => Err(self.unpack_error(member, error)),
        }
    }

    fn unpack_error(&self, member: &Member, source: std::io::Error) -> Error {
        Error::Unpack {
            wheel: self.source.name().to_owned(),
            member: member.name.clone(),
            source,
        }
    }

    fn reader(&self, member: &Member) -> Box<dyn Read> {
        let raw = self.source.range(member.offset, member.length);
        match member.method {
            Method::Stored => Box::new(raw),
            Method::Deflated => Box::new(DeflateDecoder::new(std::io::BufReader::new(raw))),
        }
    }
}

/// All headers, sorted by name: as many as stated, in exactly the bytes stated.
fn read_headers<'a>(
    source: &Source,
    bytes: &'a [u8],
    directory: Directory,
) -> Result<Vec<(&'a str, Central<'a>)>, Error> {
    let mut headers = Vec::new();
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        let raw = header::next_central(&mut fields)
            .ok_or_else(|| Error::archive(source, ArchiveFault::Directory))?;
        let name = check_name(raw.name)
            .map_err(|fault| Error::member(source, &String::from_utf8_lossy(raw.name), fault))?;
        let header = raw
            .check()
            .map_err(|fault| Error::member(source, name, fault))?;
        headers.push((name, header));
    }
    headers.sort_by_key(|(name, _)| *name);
    if let Some(twins) = headers.windows(2).find(|it| it[0].0 == it[1].0) {
        return Err(Error::member(source, twins[0].0, MemberFault::Twice));
    }
    let (stated, found) = (directory.entries, headers.len() as u64);
    if found != stated {
        return Err(Error::archive(
            source,
            ArchiveFault::Count { stated, found },
        ));
    }
    Ok(headers)
}

/// Where the data of each member begins. Members follow each other from byte 0 to the central directory,
/// with no gap and no overlap.
fn read_layout(
    source: &Source,
    headers: &Headers<'_>,
    directory: Directory,
) -> Result<Vec<u64>, Error> {
    let mut order: Vec<_> = (0..headers.len()).collect();
    order.sort_by_key(|&n| headers[n].1.local_offset);
    let begin = |n: usize| {
        let member = order.get(n);
        member.map_or(directory.offset, |&n| headers[n].1.local_offset)
    };
    if begin(0) != 0 {
        return Err(Error::archive(
            source,
            ArchiveFault::DataBefore { size: begin(0) },
        ));
    }
    let mut offsets = vec![0; headers.len()];
    let mut bytes = Vec::new();
    for (n, &member) in order.iter().enumerate() {
        let (name, header) = &headers[member];
        let next = begin(n + 1);
        let offset = read_local(source, name, header, directory, &mut bytes)?;
        let fault = |fault| Error::member(source, name, fault);
        let Some(rest) = offset
            .checked_add(header.length)
            .and_then(|end| next.checked_sub(end))
        else {
            return Err(fault(MemberFault::Overlaps));
        };
        if header.has_descriptor() {
            bytes.resize(rest.min(32) as usize, 0);
            let at = next - bytes.len() as u64;
            source
                .read_exact_at(&mut bytes, at)
                .map_err(|error| Error::read(source, error))?;
            header.check_descriptor(&bytes).map_err(fault)?;
        } else if rest != 0 {
            return Err(fault(MemberFault::Gap { size: rest }));
        }
        offsets[member] = offset;
    }
    Ok(offsets)
}

/// Bytes that the extra field of a local header mostly has at the most.
const USUAL_EXTRA: usize = 32;

/// Checks a local header and returns the offset of the data after it. Reads it to `bytes`.
fn read_local(
    source: &Source,
    name: &str,
    header: &Central<'_>,
    directory: Directory,
    bytes: &mut Vec<u8>,
) -> Result<u64, Error> {
    let fault = |fault| Error::member(source, name, fault);
    let at = header.local_offset;
    let left = directory.offset.saturating_sub(at);
    let mut read = |size: usize| {
        bytes.resize(left.min(size as u64) as usize, 0);
        source
            .read_exact_at(bytes, at)
            .map_err(|error| Error::read(source, error))?;
        Ok(header::local_size(bytes))
    };
    let usual = LOCAL_SIZE + name.len() + USUAL_EXTRA;
    let size = read(usual)?
        .filter(|size| *size as u64 <= left)
        .ok_or_else(|| fault(MemberFault::NoLocalHeader))?;
    if size > usual {
        read(size)?;
    }
    Ok(at + header.check_local(&bytes[..size]).map_err(fault)?)
}

fn member(name: &str, header: &Central<'_>, offset: u64) -> Result<Member, MemberFault> {
    let method = match header.method {
        0 => Method::Stored,
        8 => Method::Deflated,
        method => return Err(MemberFault::Method { method }),
    };
    if method == Method::Stored && header.length != header.uncompressed_size {
        return Err(MemberFault::Disagree { what: "size" });
    }
    Ok(Member {
        name: name.to_owned(),
        method,
        offset,
        length: header.length,
        uncompressed_size: header.uncompressed_size,
        crc32: header.crc32,
        executable: header.unix_mode.is_some_and(|mode| mode & 0o111 != 0),
    })
}

#[cfg(test)]
mod tests;
