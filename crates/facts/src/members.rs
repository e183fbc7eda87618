//! Walks the members of a tar stream (POSIX.1-2017, `pax` utility, sections "ustar Interchange Format"
//! and "pax Extended Header"; GNU's long names, base-256 numbers and sparse files).
//!
//! Layers come from many programs. What runtimes accept is accepted here, and understood as they
//! understand it: an end without its blocks of zeros, global extended headers, what follows the end.

use std::io::{self, BufRead};

use crate::{EntryFault, Error, HeaderFault};

const BLOCK: usize = 512;

/// Bytes of one extended header: as much as other readers take.
const MAX_EXTENSION: u64 = 1 << 20;

/// One member, its extended headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Of a link, as written.
    pub link: Vec<u8>,
    /// Someone may execute it.
    pub executable: bool,
    /// Its body is not its content: holes are left out.
    pub sparse: bool,
    /// Bytes of its body.
    pub size: u64,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: i64,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// With a body.
    File,
    /// Another name of a file.
    Hardlink,
    /// With a target that may not be there.
    Symlink,
    /// Nothing else is in it but what follows.
    Directory,
    /// Devices and named pipes.
    Special,
}

/// The members of a stream, one after the other.
pub struct Members<R> {
    input: R,
    /// Bytes of the last member's body that have not been read.
    body: u64,
    padding: u64,
    /// The path of the last member, for messages.
    last: Vec<u8>,
}

/// What extended headers say of the next member.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    sparse_path: Option<Vec<u8>>,
    sparse: bool,
}

impl<R: BufRead> Members<R> {
    /// Of a stream that is not compressed: see [`open`](crate::input::open).
    pub fn new(input: R) -> Self {
        Self {
            input,
            body: 0,
            padding: 0,
            last: Vec::new(),
        }
    }

    /// The next member, past what was not read of the last one. At the end of the archive the input
    /// is read to its own end, so that a damaged one is found.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        self.pass(self.body.saturating_add(self.padding))?;
        self.body = 0;
        self.padding = 0;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = number(header.entry_size(), &header.as_old().size)
                .ok_or_else(|| self.fault(HeaderFault::Number { field: "size" }))?;
            match header.as_old().linkflag[0] {
                b'x' => {
                    let bytes = self.extension(size)?;
                    extensions
                        .read(&bytes)
                        .ok_or_else(|| self.fault(HeaderFault::Extension))?;
                }
                b'g' => drop(self.extension(size)?),
                b'L' => extensions.long_path = until_nul(self.extension(size)?),
                b'K' => extensions.long_link = until_nul(self.extension(size)?),
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// Gives the body of the last member to `sink`, part by part, as long as that wants more.
    pub fn body(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<Wants, Error>,
    ) -> Result<(), Error> {
        while self.body > 0 {
            let left = self.body;
            let part = self.part()?;
            let length = left.min(part.len() as u64) as usize;
            if length == 0 {
                return Err(self.fault(HeaderFault::Truncated));
            }
            let wants = sink(&part[..length])?;
            self.input.consume(length);
            self.body -= length as u64;
            if wants == Wants::Nothing {
                break;
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        header: &tar::Header,
        size: u64,
        extensions: Extensions,
    ) -> Result<Member, Error> {
        let flag = header.as_old().linkflag[0];
        let path = extensions
            .long_path
            .or(extensions.sparse_path)
            .or(extensions.path)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions.long_link.or(extensions.link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into());
        self.last.clone_from(&path);
        let kind = match flag {
            0 if path.ends_with(b"/") => MemberKind::Directory,
            0 | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::Hardlink,
            b'2' => MemberKind::Symlink,
            b'3' | b'4' | b'6' => MemberKind::Special,
            b'5' => MemberKind::Directory,
            other => {
                let flag = char::from(other);
                return Err(Error::Entry {
                    entry: String::from_utf8_lossy(&path).into_owned(),
                    fault: EntryFault::Typeflag { flag },
                });
            }
        };
        if flag == b'S' {
            self.pass_sparse_map(header)?;
        }
        if kind == MemberKind::File {
            self.body = extensions.size.unwrap_or(size);
            self.padding = self.body.wrapping_neg() % BLOCK as u64;
        }
        Ok(Member {
            path,
            kind,
            link,
            executable: header.mode().is_ok_and(|mode| mode & 0o111 != 0),
            sparse: flag == b'S' || extensions.sparse,
            size: self.body,
            mode: header.mode().unwrap_or_default() & 0o7777,
            uid: extensions.uid.or(header.uid().ok()).unwrap_or_default(),
            gid: extensions.gid.or(header.gid().ok()).unwrap_or_default(),
            mtime: extensions.mtime.unwrap_or_else(|| mtime(header)),
        })
    }

    /// The blocks between the header and the body of an old GNU sparse file.
    fn pass_sparse_map(&mut self, header: &tar::Header) -> Result<(), Error> {
        let mut more = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while more {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            more = block[504] == 1;
        }
        Ok(())
    }

    /// The next block, if the archive does not end.
    fn header(&mut self) -> Result<Option<tar::Header>, Error> {
        let mut header = tar::Header::new_old();
        let block = header.as_mut_bytes();
        match self.block(block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(self.fault(HeaderFault::Truncated)),
        }
        if *block == [0; BLOCK] {
            let mut second = [0; BLOCK];
            self.block(&mut second)?;
            if second != [0; BLOCK] {
                return Err(self.fault(HeaderFault::Zeros));
            }
            return self.drain().map(|()| None);
        }
        let sum = checksum(block);
        match header.cksum() {
            Ok(found) if found == sum => Ok(Some(header)),
            _ => Err(self.fault(HeaderFault::Checksum)),
        }
    }

    /// The body of an extended header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > MAX_EXTENSION {
            return Err(self.fault(HeaderFault::ExtensionSize { size }));
        }
        let mut bytes = vec![0; (size as usize).next_multiple_of(BLOCK)];
        self.fill(&mut bytes)?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// Reads as much as there is; how much that was.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.last, error)),
            }
        }
        Ok(filled)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.input
            .read_exact(buffer)
            .map_err(|error| unreadable(&self.last, error))
    }

    /// Reads to the end of the input.
    fn drain(&mut self) -> Result<(), Error> {
        loop {
            match self.part()?.len() {
                0 => return Ok(()),
                length => self.input.consume(length),
            }
        }
    }

    fn pass(&mut self, count: u64) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let length = left.min(self.part()?.len() as u64);
            if length == 0 {
                return Err(self.fault(HeaderFault::Truncated));
            }
            self.input.consume(length as usize);
            left -= length;
        }
        Ok(())
    }

    /// Some of what comes next; nothing at the end of the input.
    fn part(&mut self) -> Result<&[u8], Error> {
        loop {
            match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&self.last, error)),
                Ok(_) => break,
            }
        }
        // Nothing is read here: the buffer is full, or the input at its end.
        let Self { input, last, .. } = self;
        input.fill_buf().map_err(|error| unreadable(last, error))
    }

    fn fault(&self, fault: HeaderFault) -> Error {
        Error::Header {
            after: String::from_utf8_lossy(&self.last).into_owned(),
            fault,
        }
    }
}

/// Whether a reader of a body is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// It is not.
    More,
    /// It is: the rest is passed over.
    Nothing,
}

impl Extensions {
    /// The records of a PAX extended header: `length key=value\n`. None if they are malformed.
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
            let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
            rest = &rest[length..];
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let text = || match value {
                [] => Some(None),
                value => (!value.contains(&0)).then(|| Some(value.to_vec())),
            };
            match key {
                b"path" => self.path = text()?,
                b"linkpath" => self.link = text()?,
                b"size" => self.size = Some(decimal(value)?),
                b"uid" => self.uid = decimal(value),
                b"gid" => self.gid = decimal(value),
                b"mtime" => self.mtime = seconds(value),
                b"GNU.sparse.name" => self.sparse_path = text()?,
                _ => {}
            }
            self.sparse |= key.starts_with(b"GNU.sparse.");
        }
        Some(())
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whole seconds of a PAX time, which may have a fraction and lie before 1970.
fn seconds(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok()
}

/// Of a ustar or GNU header; 0 where it is no number.
fn mtime(header: &tar::Header) -> i64 {
    header.mtime().map_or(0, u64::cast_signed)
}

/// A number; an empty field counts as 0.
fn number(read: io::Result<u64>, field: &[u8]) -> Option<u64> {
    let is_blank = || field.iter().all(|byte| matches!(byte, 0 | b' '));
    read.ok().or_else(|| is_blank().then_some(0))
}

fn checksum(block: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

fn until_nul(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn unreadable(last: &[u8], source: io::Error) -> Error {
    let after = String::from_utf8_lossy(last).into_owned();
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Header {
            after,
            fault: HeaderFault::Truncated,
        },
        _ => Error::Read { after, source },
    }
}
