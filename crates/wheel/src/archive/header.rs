//! One member's central and local header (APPNOTE.TXT 4.3.7, 4.3.9, 4.3.12 and 4.5.3).

use super::MemberFault;
use super::fields::Fields;

pub(super) const CENTRAL_SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x01\x02");
pub(super) const LOCAL_SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x03\x04");
const DESCRIPTOR_SIGNATURE: u32 = u32::from_le_bytes(*b"PK\x07\x08");
/// Size of a local header without its name and extra field.
pub(super) const LOCAL_SIZE: usize = 30;

const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const DESCRIPTOR: u16 = 1 << 3;
const PATCHED: u16 = 1 << 5;
const UTF8: u16 = 1 << 11;

const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_UNICODE_PATH: u16 = 0x7075;

/// What a central header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Central<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc32: u32,
    pub(super) length: u64,
    pub(super) uncompressed_size: u64,
    pub(super) local_offset: u64,
    /// File type and permission bits, where the archive was made on a system that has them.
    pub(super) unix_mode: Option<u16>,
    /// The same 16 bits whatever the system.
    pub(super) high_attributes: u16,
}

/// The next header's fixed fields and variable parts, before any of it is judged.
pub(super) struct RawCentral<'a> {
    pub(super) name: &'a [u8],
    extra: &'a [u8],
    made_on: u16,
    flags: u16,
    method: u16,
    crc32: u32,
    sizes: (u32, u32),
    disk: u16,
    attributes: u32,
    local_offset: u32,
}

/// Takes one central header; None where the directory is no such thing.
pub(super) fn next_central<'a>(fields: &mut Fields<'a>) -> Option<RawCentral<'a>> {
    if fields.u32()? != CENTRAL_SIGNATURE {
        return None;
    }
    let made_on = fields.u16()? >> 8;
    let _needed = fields.u16()?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    let _time_and_date = fields.u32()?;
    let (crc32, sizes) = (fields.u32()?, (fields.u32()?, fields.u32()?));
    let lengths = [fields.u16()?, fields.u16()?, fields.u16()?].map(usize::from);
    let disk = fields.u16()?;
    let _internal_attributes = fields.u16()?;
    let (attributes, local_offset) = (fields.u32()?, fields.u32()?);
    let [name, extra, _comment] = [
        fields.bytes(lengths[0])?,
        fields.bytes(lengths[1])?,
        fields.bytes(lengths[2])?,
    ];
    Some(RawCentral {
        name,
        extra,
        made_on,
        flags,
        method,
        crc32,
        sizes,
        disk,
        attributes,
        local_offset,
    })
}

impl<'a> RawCentral<'a> {
    pub(super) fn check(self) -> Result<Central<'a>, MemberFault> {
        const UNIX: u16 = 3;
        const DARWIN: u16 = 19;
        if self.flags & ENCRYPTED != 0 {
            return Err(MemberFault::Encrypted);
        }
        if self.flags & PATCHED != 0 {
            return Err(MemberFault::Patched);
        }
        let extra = Extra::parse(self.extra)?;
        if extra.path.is_some_and(|path| path != self.name) {
            return Err(MemberFault::SecondName);
        }
        let mut widened = extra.widener();
        let uncompressed_size = widened(self.sizes.1)?;
        let length = widened(self.sizes.0)?;
        let local_offset = widened(self.local_offset)?;
        if self.disk != 0 {
            return Err(MemberFault::OtherDisk);
        }
        let high_attributes = (self.attributes >> 16) as u16;
        Ok(Central {
            name: self.name,
            flags: self.flags,
            method: self.method,
            crc32: self.crc32,
            length,
            uncompressed_size,
            local_offset,
            unix_mode: matches!(self.made_on, UNIX | DARWIN).then_some(high_attributes),
            high_attributes,
        })
    }
}

impl Central<'_> {
    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & DESCRIPTOR != 0
    }

    /// Checks the local header in `bytes` ([`LOCAL_SIZE`] bytes, then name and extra field as long
    /// as it says) against this one, and returns its size.
    pub(super) fn check_local(&self, bytes: &[u8]) -> Result<u64, MemberFault> {
        let local = Local::parse(bytes).ok_or(MemberFault::NoLocalHeader)?;
        let disagree = |what| Err(MemberFault::Disagree { what });
        let mut compared = ENCRYPTED | DESCRIPTOR | PATCHED;
        if !self.name.is_ascii() {
            compared |= UTF8;
        }
        if (self.flags ^ local.flags) & compared != 0 {
            return disagree("flags");
        }
        if self.method != local.method {
            return disagree("compression method");
        }
        if self.name != local.name {
            return disagree("name");
        }
        let extra = Extra::parse(local.extra)?;
        if extra.path.is_some_and(|path| path != self.name) {
            return Err(MemberFault::SecondName);
        }
        let mut widened = extra.widener();
        let uncompressed_size = widened(local.sizes.1)?;
        let length = widened(local.sizes.0)?;
        let may_be_zero = self.has_descriptor();
        let same = |here: u64, there: u64| here == there || (may_be_zero && there == 0);
        if !same(self.crc32.into(), local.crc32.into()) {
            return disagree("CRC-32");
        }
        if !same(self.length, length) || !same(self.uncompressed_size, uncompressed_size) {
            return disagree("size");
        }
        Ok(bytes.len() as u64)
    }

    /// Whether `bytes`, all that lies between this member's data and what comes next, is the data
    /// descriptor it should have. Its signature is optional and its sizes have 4 or 8 bytes.
    pub(super) fn check_descriptor(&self, bytes: &[u8]) -> Result<(), MemberFault> {
        let mut fields = Fields(bytes);
        let mut read = || {
            if matches!(bytes.len(), 16 | 24) && fields.u32()? != DESCRIPTOR_SIGNATURE {
                return None;
            }
            let crc32 = fields.u32()?;
            let wide = matches!(bytes.len(), 20 | 24);
            let mut size = || {
                if wide {
                    fields.u64()
                } else {
                    fields.u32().map(u64::from)
                }
            };
            Some((crc32, size()?, size()?))
        };
        let expected = (self.crc32, self.length, self.uncompressed_size);
        match (bytes.len(), read()) {
            (12 | 16 | 20 | 24, Some(found)) if found == expected => Ok(()),
            _ => Err(MemberFault::Disagree {
                what: "data descriptor",
            }),
        }
    }
}

/// Size of a local header with its name and extra field; None where `bytes` have not even its fixed part.
pub(super) fn local_size(bytes: &[u8]) -> Option<usize> {
    let fixed = bytes.first_chunk::<LOCAL_SIZE>()?;
    let length = |at: usize| usize::from(u16::from_le_bytes([fixed[at], fixed[at + 1]]));
    Some(LOCAL_SIZE + length(26) + length(28))
}

struct Local<'a> {
    flags: u16,
    method: u16,
    crc32: u32,
    sizes: (u32, u32),
    name: &'a [u8],
    extra: &'a [u8],
}

impl<'a> Local<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u32()? != LOCAL_SIGNATURE {
            return None;
        }
        let _needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _time_and_date = fields.u32()?;
        let (crc32, sizes) = (fields.u32()?, (fields.u32()?, fields.u32()?));
        let lengths = (fields.u16()?.into(), fields.u16()?.into());
        let (name, extra) = (fields.bytes(lengths.0)?, fields.bytes(lengths.1)?);
        Some(Self {
            flags,
            method,
            crc32,
            sizes,
            name,
            extra,
        })
    }
}

/// The parts of an extra field that could change what a member is.
#[derive(Default)]
struct Extra<'a> {
    zip64: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
}

impl<'a> Extra<'a> {
    /// Gives the true value of each field, asked in the order of the specification: the ZIP64
    /// extra field has the values of those, and only those, that are all ones.
    fn widener(&self) -> impl FnMut(u32) -> Result<u64, MemberFault> {
        let mut wide = self.zip64.map(Fields);
        move |narrow| match &mut wide {
            Some(wide) if narrow == u32::MAX => wide.u64().ok_or(MemberFault::Extra),
            _ => Ok(narrow.into()),
        }
    }

    fn parse(bytes: &'a [u8]) -> Result<Self, MemberFault> {
        let mut fields = Fields(bytes);
        let mut extra = Self::default();
        while !fields.0.is_empty() {
            let (id, body) = (|| Some((fields.u16()?, fields.u16()?)))()
                .and_then(|(id, size)| Some((id, fields.bytes(size.into())?)))
                .ok_or(MemberFault::Extra)?;
            let previous = match id {
                EXTRA_ZIP64 => extra.zip64.replace(body),
                // One byte of version and four of CRC come before the name.
                EXTRA_UNICODE_PATH => extra.path.replace(body.get(5..).ok_or(MemberFault::Extra)?),
                _ => None,
            };
            if previous.is_some() {
                return Err(MemberFault::Extra);
            }
        }
        Ok(extra)
    }
}
