//! The outer archive of a `.deb`: an `ar` file with three members, as deb(5) describes it.
//!
//! What lies after the data member is ignored, and so are members before it whose names begin with
//! `_`: both are what deb(5) asks of readers. Everything else has to be exactly as described.

use oci::Source;

use crate::error::Error;
use crate::fault::DebFault;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: u64 = 60;
/// `debian-binary` is a version number and a newline.
const MAX_VERSION: u64 = 64;

/// The two inner archives of a `.deb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) control: Part,
    pub(crate) data: Part,
}

/// Where a compressed tar archive lies in the `.deb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) compression: Compression,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// How an inner archive is compressed, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    fn from_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "" => Some(Self::None),
            ".gz" => Some(Self::Gzip),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl Parts {
    /// Finds the members of the `.deb` in `source`.
    pub(crate) fn find(source: &Source) -> Result<Self, Error> {
        let mut members = Members {
            source,
            position: MAGIC.len() as u64,
        };
        members.check_magic()?;
        members.check_version()?;
        let control = members.inner("control.tar")?;
        let data = members.inner("data.tar")?;
        Ok(Self { control, data })
    }
}

struct Members<'a> {
    source: &'a Source,
    position: u64,
}

struct Member {
    name: String,
    offset: u64,
    length: u64,
}

impl Members<'_> {
    fn check_magic(&self) -> Result<(), Error> {
        let mut magic = [0; MAGIC.len()];
        let is_ar = self.source.size() >= MAGIC.len() as u64 && {
            self.read(&mut magic, 0)?;
            &magic == MAGIC
        };
        if is_ar {
            Ok(())
        } else {
            Err(self.fault(DebFault::NotAnArchive))
        }
    }

    fn check_version(&mut self) -> Result<(), Error> {
        let member = self.next()?.ok_or_else(|| self.missing("debian-binary"))?;
        if member.name != "debian-binary" {
            return Err(self.unexpected(member, "debian-binary"));
        }
        let mut text = vec![0; member.length.min(MAX_VERSION) as usize];
        self.read(&mut text, member.offset)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.split_once('\n').map(|(line, _)| line);
        let minor = line.and_then(|line| line.strip_prefix("2."));
        if minor.is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
        {
            return Ok(());
        }
        Err(self.fault(DebFault::FormatVersion {
            found: text.trim_end().to_owned(),
        }))
    }

    /// The member that is `stem` with the suffix of a compression.
    fn inner(&mut self, stem: &'static str) -> Result<Part, Error> {
        let member = loop {
            let member = self.next()?.ok_or_else(|| self.missing(stem))?;
            if !member.name.starts_with('_') {
                break member;
            }
        };
        let Some(suffix) = member.name.strip_prefix(stem) else {
            return Err(self.unexpected(member, stem));
        };
        let compression = Compression::from_suffix(suffix).ok_or_else(|| {
            self.fault(DebFault::Compression {
                member: member.name.clone(),
            })
        })?;
        Ok(Part {
            compression,
            offset: member.offset,
            length: member.length,
        })
    }

    fn next(&mut self) -> Result<Option<Member>, Error> {
        let left = self.source.size() - self.position;
        if left == 0 {
            return Ok(None);
        }
        let fault = |fault| self.fault(fault);
        if left < HEADER {
            return Err(fault(DebFault::Truncated));
        }
        let mut header = [0; HEADER as usize];
        self.read(&mut header, self.position)?;
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range]).map(str::trim_end).ok()
        };
        let bad = || {
            fault(DebFault::MemberHeader {
                offset: self.position,
            })
        };
        if &header[58..] != b"`\n" {
            return Err(bad());
        }
        let name = text(0..16).ok_or_else(bad)?;
        let size = text(48..58).ok_or_else(bad)?;
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let length: u64 = size.parse().map_err(|_| bad())?;
        if length > left - HEADER {
            return Err(fault(DebFault::Truncated));
        }
        let offset = self.position + HEADER;
        // Members begin at even offsets; the last one's padding may be missing.
        let end = (offset + length)
            .next_multiple_of(2)
            .min(self.source.size());
        // GNU ar ends names with a slash, dpkg-deb does not.
        let name = name.strip_suffix('/').unwrap_or(name).to_owned();
        self.position = end;
        Ok(Some(Member {
            name,
            offset,
            length,
        }))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.source
            .read_exact_at(buffer, offset)
            .map_err(|source| Error::Read {
                file: self.source.name().to_owned(),
                source,
            })
    }

    fn missing(&self, member: &'static str) -> Error {
        self.fault(DebFault::MissingMember { member })
    }

    fn unexpected(&self, member: Member, expected: &'static str) -> Error {
        self.fault(DebFault::UnexpectedMember {
            found: member.name,
            expected,
        })
    }

    fn fault(&self, fault: DebFault) -> Error {
        Error::Deb {
            file: self.source.name().to_owned(),
            fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::source;
    use testkit::DebBuilder;

    fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut out = format!("{name:<16}{:<32}{:<10}`\n", 0, bytes.len()).into_bytes();
        out.extend(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
        out
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (name, bytes) in members {
            out.extend(member(name, bytes));
        }
        out
    }

    fn error(bytes: &[u8]) -> String {
        Parts::find(&source(bytes)).unwrap_err().to_string()
    }

    #[test]
    fn finds_the_inner_archives_and_skips_what_may_be_skipped() {
        let bytes = archive(&[
            ("debian-binary/", b"2.1\nmore\n"),
            ("_note", b"x"),
            ("control.tar.zst", b"c"),
            ("_other", b""),
            ("data.tar", b"data"),
            ("later", b"ignored"),
        ]);
        let parts = Parts::find(&source(&bytes)).unwrap();
        let at = |part: Part| &bytes[part.offset as usize..(part.offset + part.length) as usize];
        assert_eq!(
            (parts.control.compression, at(parts.control)),
            (Compression::Zstd, &b"c"[..])
        );
        assert_eq!(
            (parts.data.compression, at(parts.data)),
            (Compression::None, &b"data"[..])
        );
    }

    #[test]
    fn refuses_what_is_no_deb() {
        insta::assert_snapshot!(error(b""), @"demo.deb is not a Debian package: no ar archive");
        insta::assert_snapshot!(error(b"PK\x03\x04 a wheel, say"), @"demo.deb is not a Debian package: no ar archive");
        insta::assert_snapshot!(error(MAGIC), @"demo.deb has no member debian-binary");
        insta::assert_snapshot!(error(&archive(&[("debian-binary", b"3.0\n")])), @r#"demo.deb has package format "3.0", and only 2.x is known"#);
        insta::assert_snapshot!(error(&archive(&[("debian-binary", b"2.\n")])), @r#"demo.deb has package format "2.", and only 2.x is known"#);
        insta::assert_snapshot!(error(&archive(&[("data.tar.xz", b"")])), @r#"demo.deb has member "data.tar.xz" where debian-binary belongs"#);
        let binary: (&str, &[u8]) = ("debian-binary", b"2.0\n");
        insta::assert_snapshot!(error(&archive(&[binary])), @"demo.deb has no member control.tar");
        insta::assert_snapshot!(error(&archive(&[binary, ("data.tar.xz", b"")])), @r#"demo.deb has member "data.tar.xz" where control.tar belongs"#);
        insta::assert_snapshot!(error(&archive(&[binary, ("control.tar.lzma", b"")])), @r#"demo.deb has member "control.tar.lzma": only xz, gz and zst are read"#);
        insta::assert_snapshot!(
            error(&archive(&[binary, ("control.tar.gz", b""), ("evil", b"")])), @r#"demo.deb has member "evil" where data.tar belongs"#
        );
    }

    #[test]
    fn refuses_broken_headers() {
        let mut bytes = archive(&[("debian-binary", b"2.0\n")]);
        bytes[MAGIC.len() + 58] = b'x';
        insta::assert_snapshot!(error(&bytes), @"demo.deb has no valid member header at byte 8");
        for size in ["-1", "+1", "0x1", "", "1 2"] {
            let mut bytes = archive(&[("debian-binary", b"2.0\n")]);
            bytes[MAGIC.len() + 48..][..10].copy_from_slice(format!("{size:<10}").as_bytes());
            assert!(
                error(&bytes).ends_with("no valid member header at byte 8"),
                "{size:?}"
            );
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = DebBuilder::new("demo", "1", "all").file("a", b"a").build();
        let parts = Parts::find(&source(&bytes)).unwrap();
        for length in 0..(parts.data.offset + parts.data.length) as usize {
            assert!(Parts::find(&source(&bytes[..length])).is_err(), "{length}");
        }
    }
}
