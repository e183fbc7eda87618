//! A zip writer (PKWARE APPNOTE.TXT 6.3) for tests: deterministic bytes, and every field that a
//! hostile archive could lie about can be made to lie.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;
/// 1980-01-01, the first date that the format knows.
const DATE: u16 = 0x0021;
const UNIX: u16 = 3 << 8;
const FLAG_UTF8: u16 = 1 << 11;

/// One file of an archive. The fields are public so that a test can set them to what they are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name in the central directory.
    pub name: Vec<u8>,
    /// Name in the local header; `name` where None.
    pub local_name: Option<Vec<u8>>,
    /// As they lie in the archive.
    pub stored: Vec<u8>,
    /// 0 stored, 8 deflated.
    pub method: u16,
    /// General purpose bits: 1 encrypted, 8 data descriptor, 0x800 UTF-8 name.
    pub flags: u16,
    /// CRC-32 of the file.
    pub crc32: u32,
    /// Size of the file.
    pub uncompressed_size: u64,
    /// `st_mode`, with the file type.
    pub mode: u32,
    /// Sizes go into a ZIP64 extra field, however small they are.
    pub zip64: bool,
}

impl Member {
    /// A deflated regular file, 0644.
    pub fn deflated(name: &str, bytes: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(bytes).expect("a Vec takes every write");
        let stored = encoder.finish().expect("a Vec takes every write");
        Self {
            stored,
            method: 8,
            ..Self::stored(name, bytes)
        }
    }

    /// An uncompressed regular file, 0644.
    pub fn stored(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            local_name: None,
            stored: bytes.to_vec(),
            method: 0,
            flags: if name.is_ascii() { 0 } else { FLAG_UTF8 },
            crc32: crc32fast::hash(bytes),
            uncompressed_size: bytes.len() as u64,
            mode: 0o100_644,
            zip64: false,
        }
    }

    /// The same with another `st_mode`: `0o100755`, or `0o120777` for a symbolic link.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    fn version_needed(&self) -> u16 {
        if self.zip64 { 45 } else { 20 }
    }

    fn zip64_extra(&self) -> Vec<u8> {
        if !self.zip64 {
            return Vec::new();
        }
        let mut extra = Vec::new();
        put16(&mut extra, 1);
        put16(&mut extra, 16);
        put64(&mut extra, self.uncompressed_size);
        put64(&mut extra, self.stored.len() as u64);
        extra
    }

    /// The fields that both headers have, from "version needed" to "extra field length".
    fn put_common(&self, name: &[u8], extra: &[u8], out: &mut Vec<u8>) {
        put16(out, self.version_needed());
        put16(out, self.flags);
        put16(out, self.method);
        put16(out, 0);
        put16(out, DATE);
        put32(out, self.crc32);
        let size = |size: u64| if self.zip64 { u32::MAX } else { size as u32 };
        put32(out, size(self.stored.len() as u64));
        put32(out, size(self.uncompressed_size));
        put16(out, name.len() as u16);
        put16(out, extra.len() as u16);
    }

    fn put_local(&self, out: &mut Vec<u8>) {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let extra = self.zip64_extra();
        put32(out, LOCAL_HEADER);
        self.put_common(name, &extra, out);
        out.extend(name);
        out.extend(extra);
        out.extend(&self.stored);
    }

    fn put_central(&self, offset: u64, out: &mut Vec<u8>) {
        let extra = self.zip64_extra();
        put32(out, CENTRAL_HEADER);
        put16(out, UNIX | self.version_needed());
        self.put_common(&self.name, &extra, out);
        put16(out, 0); // comment length
        put16(out, 0); // disk
        put16(out, 0); // internal attributes
        put32(out, self.mode << 16);
        put32(out, offset as u32);
        out.extend(&self.name);
        out.extend(extra);
    }
}

/// The archive of `members`, in that order. Where a member is `zip64`, the end of the directory is
/// written in both forms.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        member.put_central(out.len() as u64, &mut directory);
        member.put_local(&mut out);
    }
    let offset = out.len() as u64;
    let size = directory.len() as u64;
    out.extend(directory);
    let zip64 = members.iter().any(|member| member.zip64);
    if zip64 {
        put_zip64_end(members.len() as u64, size, offset, &mut out);
    }
    put32(&mut out, END);
    put16(&mut out, 0);
    put16(&mut out, 0);
    for _ in 0..2 {
        put16(
            &mut out,
            if zip64 {
                u16::MAX
            } else {
                members.len() as u16
            },
        );
    }
    put32(&mut out, if zip64 { u32::MAX } else { size as u32 });
    put32(&mut out, if zip64 { u32::MAX } else { offset as u32 });
    put16(&mut out, 0);
    out
}

fn put_zip64_end(count: u64, size: u64, offset: u64, out: &mut Vec<u8>) {
    let at = out.len() as u64;
    put32(out, ZIP64_END);
    put64(out, 44);
    put16(out, UNIX + 45);
    put16(out, 45);
    put32(out, 0);
    put32(out, 0);
    put64(out, count);
    put64(out, count);
    put64(out, size);
    put64(out, offset);
    put32(out, ZIP64_LOCATOR);
    put32(out, 0);
    put64(out, at);
    put32(out, 1);
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_le_bytes());
}
