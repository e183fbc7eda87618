//! What a wheel's binaries need of the C library: the newest version of its symbols (LSB, "Symbol
//! Versioning"). The tag `linux_x86_64` does not tell.

use std::fmt;

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::FileHeader;
use wheel::Archive;

use crate::error::{At, Error};

const MAGIC: &[u8] = b"\x7fELF";

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 2
    pub major: u16,
    /// 41
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The newest glibc that a binary in `archive` needs, and which binary. None where none needs any.
pub fn newest_glibc(archive: &Archive) -> Result<Option<(Version, String)>, Error> {
    let mut newest = None;
    for member in archive.members() {
        if !archive.starts_with(member, MAGIC)? {
            continue;
        }
        let mut bytes = Vec::new();
        member
            .content(archive.source(), None)
            .write_to(&mut bytes)
            .at("read", member.name.as_ref())?;
        let needed = match bytes.get(4) {
            Some(1) => needed::<FileHeader32<Endianness>>(&bytes),
            _ => needed::<FileHeader64<Endianness>>(&bytes),
        };
        let versions = needed.unwrap_or_default();
        if let Some(version) = versions.iter().filter_map(|it| parse(it)).max()
            && newest.as_ref().is_none_or(|(other, _)| *other < version)
        {
            newest = Some((version, member.name.clone()));
        }
    }
    Ok(newest)
}

/// The names of all versions that a file needs of others. None where they can't be read: such a file
/// can't be loaded either.
fn needed<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Vec<String>> {
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, bytes).ok()?;
    let mut found = Vec::new();
    let Some((mut needs, link)) = sections.gnu_verneed(endian, bytes).ok()? else {
        return Some(found);
    };
    let strings = sections.strings(endian, bytes, link).ok()?;
    while let Some((_, mut versions)) = needs.next().ok()? {
        while let Some(version) = versions.next().ok()? {
            let name = version.name(endian, strings).ok()?;
            found.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Some(found)
}

/// `GLIBC_2.34`; not `GLIBC_PRIVATE`.
fn parse(name: &str) -> Option<Version> {
    let (major, minor) = name.strip_prefix("GLIBC_")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some(Version {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use oci::Source;
    use testkit::WheelBuilder;
    use wheel::Limits;

    use super::*;

    #[test]
    fn the_newest_symbol_of_all_binaries_counts() {
        assert_eq!(parse("GLIBC_2.2.5"), Some(Version { major: 2, minor: 2 }));
        assert_eq!(parse("GLIBC_PRIVATE"), None);
        assert_eq!(parse("GCC_3.0"), None);

        // The test itself is linked against the glibc of this machine.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let wheel = WheelBuilder::simple("demo", "1.0").file("demo/own.so", &own);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&wheel.build()).unwrap();
        let source = Source::from_file(file, "demo", None).unwrap();
        let archive = Archive::open(source, &Limits::default()).unwrap();
        let (version, name) = newest_glibc(&archive).unwrap().unwrap();
        assert!(
            version
                >= Version {
                    major: 2,
                    minor: 17
                },
            "{version}"
        );
        assert_eq!(name, "demo/own.so");
    }
}
