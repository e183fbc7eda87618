//! The end of a zip archive: where its central directory lies (APPNOTE.TXT 4.3.14 to 4.3.16).

use oci::Source;

use super::{ArchiveFault, fields::Fields};
use crate::Error;

const SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const SIZE: usize = 22;
const LOCATOR_SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x06\x07");
const LOCATOR_SIZE: u64 = 20;
const ZIP64_SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x06\x06");
const ZIP64_SIZE: u64 = 56;

/// Where the central directory is, and how many headers it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) entries: u64,
}

/// Finds the central directory of `source`: it must reach up to the end records, and they up to the
/// end of the file.
pub(super) fn locate(source: &Source) -> Result<Directory, Error> {
    let fault = |fault| Error::archive(source, fault);
    let (at, record) = find(source)?;
    let end = parse(&record).map_err(fault)?;
    let (directory, ends_at) = match zip64(source, at)? {
        Some((wide, ends_at)) if end.agrees_with(&wide) => (wide, ends_at),
        Some(_) => return Err(fault(ArchiveFault::Zip64)),
        None => (end, at),
    };
    let stated = directory.offset.checked_add(directory.size);
    if stated != Some(ends_at) {
        let stated = stated.unwrap_or(u64::MAX);
        return Err(fault(ArchiveFault::Misplaced {
            stated,
            actual: ends_at,
        }));
    }
    Ok(directory)
}

impl Directory {
    /// Whether every field that is not set to "see ZIP64" says the same as `wide`.
    fn agrees_with(&self, wide: &Self) -> bool {
        let same = |narrow, wide, limit| narrow == limit || narrow == wide;
        same(self.offset, wide.offset, u64::from(u32::MAX))
            && same(self.size, wide.size, u64::from(u32::MAX))
            && same(self.entries, wide.entries, u64::from(u16::MAX))
    }
}

/// The one end record whose comment reaches the end of the file, and its offset. Readers differ in
/// which of several they take, so that none may be hidden in the comment of another.
fn find(source: &Source) -> Result<(u64, [u8; SIZE]), Error> {
    let fault = |fault| Err(Error::archive(source, fault));
    let window = source.size().min((SIZE + usize::from(u16::MAX)) as u64);
    let mut tail = vec![0; window as usize];
    let start = source.size() - window;
    source
        .read_exact_at(&mut tail, start)
        .map_err(|error| Error::read(source, error))?;

    let mut found = Vec::new();
    let mut last = None;
    for (at, record) in tail
        .windows(SIZE)
        .enumerate()
        .filter(|(_, w)| w.starts_with(&SIGNATURE))
    {
        let comment = usize::from(u16::from_le_bytes([record[20], record[21]]));
        last = Some(at);
        if at + SIZE + comment == tail.len() {
            found.push(at);
        }
    }
    match (found.as_slice(), last) {
        (_, None) => fault(ArchiveFault::NoEnd),
        (&[at], Some(last)) if at == last => {
            let mut record = [0; SIZE];
            record.copy_from_slice(&tail[at..at + SIZE]);
            Ok((start + at as u64, record))
        }
        ([], Some(_)) => fault(ArchiveFault::DataAfter),
        _ => fault(ArchiveFault::SeveralEnds),
    }
}

fn parse(record: &[u8]) -> Result<Directory, ArchiveFault> {
    let mut fields = Fields(record);
    let mut read = || {
        let _signature = fields.u32()?;
        let (disk, directory_disk) = (fields.u16()?, fields.u16()?);
        let (here, entries) = (fields.u16()?, fields.u16()?);
        let directory = Directory {
            entries: entries.into(),
            size: fields.u32()?.into(),
            offset: fields.u32()?.into(),
        };
        Some((
            disk == 0 && directory_disk == 0 && here == entries,
            directory,
        ))
    };
    match read() {
        Some((true, directory)) => Ok(directory),
        Some((false, _)) => Err(ArchiveFault::SeveralDisks),
        None => Err(ArchiveFault::NoEnd),
    }
}

/// The ZIP64 end record and its offset, if its locator comes right before the end record at `end`.
fn zip64(source: &Source, end: u64) -> Result<Option<(Directory, u64)>, Error> {
    let fault = || Error::archive(source, ArchiveFault::Zip64);
    let Some(locator_at) = end.checked_sub(LOCATOR_SIZE) else {
        return Ok(None);
    };
    let mut locator = [0; LOCATOR_SIZE as usize];
    source
        .read_exact_at(&mut locator, locator_at)
        .map_err(|error| Error::read(source, error))?;
    let mut fields = Fields(&locator);
    if fields.u32() != Some(LOCATOR_SIGNATURE) {
        return Ok(None);
    }
    let (disk, at, disks) = (fields.u32(), fields.u64(), fields.u32());
    let at = at
        .filter(|at| at.checked_add(ZIP64_SIZE) == Some(locator_at))
        .ok_or_else(fault)?;
    if disk != Some(0) || disks != Some(1) {
        return Err(Error::archive(source, ArchiveFault::SeveralDisks));
    }
    let mut record = [0; ZIP64_SIZE as usize];
    source
        .read_exact_at(&mut record, at)
        .map_err(|error| Error::read(source, error))?;
    parse_zip64(&record)
        .map(|directory| Some((directory, at)))
        .ok_or_else(fault)
}

fn parse_zip64(record: &[u8]) -> Option<Directory> {
    let mut fields = Fields(record);
    let (signature, size) = (fields.u32()?, fields.u64()?);
    let _versions = fields.u32()?;
    let disks = (fields.u32()?, fields.u32()?);
    let (here, entries) = (fields.u64()?, fields.u64()?);
    let (size_ok, disks_ok) = (size == ZIP64_SIZE - 12, disks == (0, 0) && here == entries);
    (signature == ZIP64_SIGNATURE && size_ok && disks_ok)
        .then_some(())
        .and_then(|()| {
            Some(Directory {
                entries,
                size: fields.u64()?,
                offset: fields.u64()?,
            })
        })
}
