//! Tar headers: POSIX ustar, with a PAX extended header only where ustar cannot hold a value.
//!
//! Follows POSIX.1-2017, `pax` utility, sections "ustar Interchange Format" and "pax Extended Header".
//! Written by hand because a layer's digest hangs on each of these bytes.

/// Size in bytes of a header, and what members' bodies are padded to.
pub(crate) const BLOCK: usize = 512;

/// What ends an archive: two blocks of zeros.
pub(crate) const TRAILER: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The fields of one member's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    /// Relative to the root, without a trailing `/`.
    pub(crate) path: &'a str,
    pub(crate) typeflag: Typeflag,
    /// Target of a link; empty for the rest.
    pub(crate) link: &'a str,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Bytes of the body, without padding.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: u64,
}

/// What kind of member a header introduces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Typeflag {
    Regular = b'0',
    Hardlink = b'1',
    Symlink = b'2',
    Directory = b'5',
    Extended = b'x',
}

/// Number of zeros that follow a body of `size` bytes.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

impl Header<'_> {
    /// Appends the header to `out`: one block, or three and more where PAX records are needed. The
    /// member's own header is always the last block.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let name = self.name();
        let records = self.records(&name);
        if !records.is_empty() {
            let base = self.path.rsplit('/').next().unwrap_or_default();
            let extended = Fields {
                prefix: b"",
                name: &short(&format!("PaxHeaders/{base}")),
                typeflag: Typeflag::Extended,
                link: b"",
                mode: 0o644,
                uid: 0,
                gid: 0,
                size: records.len() as u64,
                mtime: self.mtime,
            };
            extended.write(out);
            out.extend_from_slice(&records);
            out.resize(out.len() + padding(records.len() as u64), 0);
        }
        let (prefix, short_name) = match split(&name) {
            Some((prefix, name)) => (prefix.as_bytes(), name.as_bytes().to_vec()),
            None => (&b""[..], short(&name)),
        };
        let link = if is_plain(self.link, LINK) {
            self.link.into()
        } else {
            short(self.link)
        };
        let fields = Fields {
            prefix,
            name: &short_name,
            typeflag: self.typeflag,
            link: &link,
            mode: self.mode,
            uid: self.uid.into(),
            gid: self.gid.into(),
            size: self.size,
            mtime: self.mtime,
        };
        fields.write(out);
    }

    fn name(&self) -> String {
        let slash = if self.typeflag == Typeflag::Directory {
            "/"
        } else {
            ""
        };
        format!("{}{slash}", self.path)
    }

    /// The PAX records of all values that ustar cannot hold, keys in alphabetical order.
    fn records(&self, name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if u64::from(self.gid) > OCTAL_7 {
            record("gid", &self.gid.to_string(), &mut out);
        }
        if !is_plain(self.link, LINK) {
            record("linkpath", self.link, &mut out);
        }
        if self.mtime > OCTAL_11 {
            record("mtime", &self.mtime.to_string(), &mut out);
        }
        if split(name).is_none() {
            record("path", name, &mut out);
        }
        if self.size > OCTAL_11 {
            record("size", &self.size.to_string(), &mut out);
        }
        if u64::from(self.uid) > OCTAL_7 {
            record("uid", &self.uid.to_string(), &mut out);
        }
        out
    }
}

const NAME: usize = 100;
const LINK: usize = 100;
const PREFIX: usize = 155;
/// The largest values of fields of seven and eleven octal digits.
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;

/// One `length key=value\n` record, whose length counts its own digits.
fn record(key: &str, value: &str, out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}

fn is_plain(text: &str, room: usize) -> bool {
    text.is_ascii() && text.len() <= room
}

/// Prefix and name as ustar can hold them, cut at the last `/` that fits; None where it cannot.
fn split(name: &str) -> Option<(&str, &str)> {
    if is_plain(name, NAME) {
        return Some(("", name));
    }
    if !name.is_ascii() {
        return None;
    }
    let body = name.strip_suffix('/').unwrap_or(name);
    let cut = body
        .as_bytes()
        .iter()
        .take(PREFIX + 1)
        .rposition(|byte| *byte == b'/')?;
    (cut > 0 && name.len() - cut - 1 <= NAME).then(|| (&name[..cut], &name[cut + 1..]))
}

/// What a reader without PAX sees in place of a text that ustar cannot hold.
fn short(text: &str) -> Vec<u8> {
    text.bytes()
        .take(NAME)
        .map(|byte| if byte.is_ascii() { byte } else { b'_' })
        .collect()
}

/// The values of one header block, each of which fits its field or is in a PAX record.
struct Fields<'a> {
    prefix: &'a [u8],
    name: &'a [u8],
    typeflag: Typeflag,
    link: &'a [u8],
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
}

impl Fields<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut block = [0; BLOCK];
        block[..self.name.len()].copy_from_slice(self.name);
        octal(&mut block[100..107], u64::from(self.mode & 0o7777));
        octal(&mut block[108..115], self.uid);
        octal(&mut block[116..123], self.gid);
        octal(&mut block[124..135], self.size);
        octal(&mut block[136..147], self.mtime);
        block[148..156].fill(b' ');
        block[156] = self.typeflag as u8;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..336], 0);
        octal(&mut block[337..344], 0);
        block[345..345 + self.prefix.len()].copy_from_slice(self.prefix);
        let sum = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..154], sum);
        block[154] = 0;
        out.extend_from_slice(&block);
    }
}

/// `value` in octal digits over all of `field`; 0 where it does not fit (a PAX record has it).
fn octal(field: &mut [u8], value: u64) {
    let bits = 3 * field.len() as u32;
    let mut left = if value >> bits == 0 { value } else { 0 };
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (left & 7) as u8;
        left >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::{Digest, SHARED_MTIME};

    fn file(path: &str) -> Header<'_> {
        Header {
            path,
            typeflag: Typeflag::Regular,
            link: "",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: SHARED_MTIME,
        }
    }

    fn written(header: &Header<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        header.write(&mut out);
        out
    }

    /// Reads one header back with another implementation.
    #[track_caller]
    fn check(header: &Header<'_>, blocks: usize) {
        let mut bytes = written(header);
        assert_eq!(bytes.len(), blocks * BLOCK, "{header:?}");
        let body = header.size.min(1 << 20) as usize;
        bytes.resize(bytes.len() + body + padding(body as u64), 0);
        bytes.extend_from_slice(&TRAILER);
        let mut archive = ::tar::Archive::new(&bytes[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path_bytes(), header.name().as_bytes());
        let link = entry.link_name_bytes();
        assert_eq!(link.as_deref().unwrap_or_default(), header.link.as_bytes());
        assert_eq!(entry.size(), header.size);
        let head = entry.header();
        assert_eq!(head.entry_type().as_byte(), header.typeflag as u8);
        assert_eq!(head.mode().unwrap(), header.mode);
        if u64::from(header.uid.max(header.gid)) <= OCTAL_7 {
            assert_eq!(head.uid().unwrap(), u64::from(header.uid));
            assert_eq!(head.gid().unwrap(), u64::from(header.gid));
        }
        assert_eq!(
            (head.username(), head.groupname()),
            (Ok(Some("")), Ok(Some("")))
        );
    }

    #[test]
    fn plain_members_are_one_block() {
        check(&file("a"), 1);
        check(
            &Header {
                size: 1025,
                mode: 0o4755,
                uid: 1000,
                gid: 2_097_151,
                ..file("b/c")
            },
            1,
        );
        check(
            &Header {
                typeflag: Typeflag::Directory,
                ..file("opt/venv")
            },
            1,
        );
        check(
            &Header {
                typeflag: Typeflag::Symlink,
                link: "/usr/bin/python3.13",
                ..file("p")
            },
            1,
        );
        check(
            &Header {
                typeflag: Typeflag::Hardlink,
                link: "a/b",
                ..file("p")
            },
            1,
        );
    }

    #[test]
    fn long_names_are_split_where_they_can_be_and_extended_where_not() {
        let deep = |n: usize, m: usize| format!("{}/{}", "d".repeat(n), "f".repeat(m));
        check(&file(&"n".repeat(100)), 1);
        check(&file(&"n".repeat(101)), 3);
        check(&file(&deep(155, 100)), 1);
        check(&file(&deep(156, 10)), 3);
        check(&file(&deep(10, 101)), 3);
        check(
            &Header {
                typeflag: Typeflag::Directory,
                ..file(&deep(50, 99))
            },
            1,
        );
        check(
            &Header {
                typeflag: Typeflag::Directory,
                ..file(&deep(50, 100))
            },
            3,
        );
        check(&file("d/".repeat(600).trim_end_matches('/')), 5);
        let link = "l".repeat(101);
        check(
            &Header {
                typeflag: Typeflag::Symlink,
                link: &link,
                ..file("p")
            },
            3,
        );
    }

    #[test]
    fn other_scripts_are_extended() {
        check(&file("données/naïve.py"), 3);
        check(
            &Header {
                typeflag: Typeflag::Symlink,
                link: "ß",
                ..file("p")
            },
            3,
        );
    }

    #[test]
    fn numbers_that_ustar_cannot_hold_are_extended() {
        let header = Header {
            size: 1 << 33,
            uid: u32::MAX,
            gid: 2_097_152,
            mtime: 1 << 33,
            ..file("big")
        };
        let bytes = written(&header);
        let records = String::from_utf8(bytes[512..512 + 75].to_vec()).unwrap();
        assert_eq!(
            records.trim_end_matches('\0'),
            "15 gid=2097152\n20 mtime=8589934592\n19 size=8589934592\n18 uid=4294967295\n"
        );
        check(
            &Header {
                size: (1 << 33) - 1,
                ..file("almost")
            },
            1,
        );
        check(&header, 3);
    }

    #[test]
    fn a_record_counts_the_digits_of_its_length() {
        for length in 1..1200 {
            let mut out = Vec::new();
            record("path", &"x".repeat(length), &mut out);
            let text = String::from_utf8(out).unwrap();
            let (digits, _) = text.split_once(' ').unwrap();
            assert_eq!(digits.parse::<usize>().unwrap(), text.len());
        }
    }

    /// Changes only with [`crate::layer::FORMAT`].
    #[test]
    fn golden_headers() {
        let header = Header {
            size: 5,
            ..file("opt/venv/lib/python3.13/site-packages/a.py")
        };
        let digest = Digest::of(&written(&header)).hex();
        insta::assert_snapshot!(digest, @"ff750ef025f8f7da67e908ce0208a45cf0a6b9fb74016dec5389a7b5a2a9eb6b");
        let digest = Digest::of(&written(&file(&"é".repeat(80)))).hex();
        insta::assert_snapshot!(digest, @"c4acc323c18d9aba6d35410c3fb5f72cf77001749002be8d71570e5077aaf47c");
        let mut none = ::tar::Archive::new(&TRAILER[..]);
        assert!(none.entries().unwrap().next().is_none());
        let mut rest = Vec::new();
        none.into_inner().read_to_end(&mut rest).unwrap();
    }
}
