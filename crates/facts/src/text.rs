//! Bodies of entries, read as what they are.

use crate::EntryFault;
use crate::binary::{Binary, BinaryScan};
use crate::interest::Interest;
use crate::lines::Lines;
use crate::members::Wants;
use crate::package::Header;
use crate::records::{Manager, RecordReader, Records};

/// Bytes of a small text: `os-release`, `pyvenv.cfg`, `patchlevel.h`.
const MAX_SMALL: usize = 256 << 10;
/// Bytes of the loader's cache. That of a desktop has some 150 KiB.
const MAX_CACHE: usize = 4 << 20;
/// Bytes of dpkg's records. Those of a desktop have some 5 MiB.
const MAX_STATUS: usize = 32 << 20;

/// What is kept of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// That it is there.
    Nothing,
    Binary(Binary),
    Text(String),
    Bytes(Vec<u8>),
    /// Header fields of METADATA or PKG-INFO.
    Header(Header),
    /// Of apk.
    Records(Records),
}

impl Content {
    /// Bytes that it takes, about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Binary(_) => size_of::<Binary>(),
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Header(header) => header.weight(),
            Self::Records(records) => records
                .iter()
                .map(|(name, version)| name.len() + version.len())
                .sum(),
        }
    }
}

/// Reads one body.
#[derive(Debug)]
pub(crate) enum BodyReader {
    Binary(BinaryScan),
    /// A text with what it may have at most.
    Small(Vec<u8>, usize),
    Bytes(Vec<u8>),
    Header(Lines, Header),
    Records(Lines, RecordReader),
}

impl BodyReader {
    /// None where a body does not matter.
    pub(crate) fn new(interest: Interest) -> Option<Self> {
        match interest {
            Interest::Nothing | Interest::Name => None,
            Interest::Binary => Some(Self::Binary(BinaryScan::default())),
            Interest::Text => Some(Self::Small(Vec::new(), MAX_SMALL)),
            Interest::Dpkg => Some(Self::Small(Vec::new(), MAX_STATUS)),
            Interest::Bytes => Some(Self::Bytes(Vec::new())),
            Interest::Metadata => Some(Self::Header(Lines::default(), Header::default())),
            Interest::Apk => {
                let reader = RecordReader::new(Manager::Apk);
                Some(Self::Records(Lines::default(), reader))
            }
        }
    }

    pub(crate) fn feed(&mut self, part: &[u8]) -> Result<Wants, EntryFault> {
        match self {
            Self::Binary(scan) => {
                scan.feed(part);
                Ok(Wants::More)
            }
            Self::Small(text, limit) => append(text, part, *limit),
            Self::Bytes(bytes) => append(bytes, part, MAX_CACHE),
            Self::Header(lines, header) => {
                let wants = lines.feed(part, |line| header.line(line))?;
                header.check_size()?;
                Ok(wants)
            }
            Self::Records(lines, reader) => lines.feed(part, |line| {
                reader.line(line);
                Wants::More
            }),
        }
    }

    pub(crate) fn finish(self) -> Content {
        match self {
            Self::Binary(scan) => Content::Binary(scan.finish()),
            Self::Bytes(bytes) => Content::Bytes(bytes),
            Self::Small(text, _) => Content::Text(String::from_utf8_lossy(&text).into_owned()),
            Self::Header(lines, mut header) => {
                if let Some(line) = lines.finish() {
                    header.line(&line);
                }
                Content::Header(header)
            }
            Self::Records(lines, mut reader) => {
                if let Some(line) = lines.finish() {
                    reader.line(&line);
                }
                Content::Records(reader.finish())
            }
        }
    }
}

fn append(kept: &mut Vec<u8>, part: &[u8], limit: usize) -> Result<Wants, EntryFault> {
    if kept.len() + part.len() > limit {
        return Err(EntryFault::Large { limit });
    }
    kept.extend_from_slice(part);
    Ok(Wants::More)
}
