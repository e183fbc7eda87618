//! The inner archives of a `.deb`: the part of tar that dpkg reads, which is POSIX ustar with GNU's
//! long names and no pax headers (deb(5)).

use oci::Source;
use tar::{EntryType, Header};

use crate::fault::TarFault;

const BLOCK: u64 = 512;
/// Linux's `PATH_MAX` is 4096, and no package comes near it.
const MAX_NAME: u64 = 4096;

/// One member of a tar archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As the archive has it.
    pub(crate) path: String,
    pub(crate) kind: MemberKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Where its contents begin in the archive.
    pub(crate) offset: u64,
    /// How many bytes they have.
    pub(crate) size: u64,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Symlink(String),
    Hardlink(String),
    /// Nothing that a package should have, in words.
    Other(&'static str),
}

/// Walks a tar archive; ends at its first block of zeros.
pub(crate) struct Tarball<'a> {
    source: &'a Source,
    position: u64,
    done: bool,
}

impl<'a> Tarball<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self {
            source,
            position: 0,
            done: false,
        }
    }

    fn read_member(&mut self) -> Result<Option<Member>, TarFault> {
        let (mut long_path, mut long_target) = (None, None);
        loop {
            let at = self.position;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let number = |field| TarFault::Number { offset: at, field };
            let size = header.entry_size().map_err(|_| number("size"))?;
            let offset = at + BLOCK;
            if size > self.source.size().saturating_sub(offset) {
                return Err(TarFault::Truncated);
            }
            self.position = offset + size.next_multiple_of(BLOCK);
            match header.entry_type() {
                EntryType::GNULongName => long_path = Some(self.long_name(at, offset, size)?),
                EntryType::GNULongLink => long_target = Some(self.long_name(at, offset, size)?),
                kind => {
                    let text = |bytes: Vec<u8>| {
                        String::from_utf8(bytes).map_err(|_| TarFault::Encoding { offset: at })
                    };
                    let path = text(long_path.unwrap_or_else(|| header.path_bytes().into_owned()))?;
                    let target = || {
                        let short = || header.link_name_bytes().unwrap_or_default().into_owned();
                        text(long_target.unwrap_or_else(short))
                    };
                    let kind = member_kind(kind, &path, target)?;
                    if size > 0 && !matches!(kind, MemberKind::File | MemberKind::Other(_)) {
                        return Err(TarFault::Size { offset: at });
                    }
                    let id = |id: std::io::Result<u64>, field| {
                        id.ok()
                            .and_then(|id| u32::try_from(id).ok())
                            .ok_or_else(|| number(field))
                    };
                    return Ok(Some(Member {
                        kind,
                        mode: header.mode().map_err(|_| number("mode"))? & 0o7777,
                        uid: id(header.uid(), "uid")?,
                        gid: id(header.gid(), "gid")?,
                        path,
                        offset,
                        size,
                    }));
                }
            }
        }
    }

    /// The header at the current position; None at the end of the archive.
    fn header(&self) -> Result<Option<Header>, TarFault> {
        let mut block = [0; BLOCK as usize];
        let read = self.source.read_exact_at(&mut block, self.position);
        read.map_err(|_| TarFault::Truncated)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        let sum: u32 = block[..148]
            .iter()
            .chain(&block[156..])
            .map(|byte| u32::from(*byte))
            .sum();
        // The checksum field itself counts as eight spaces.
        if header.cksum().ok() != Some(sum + 8 * u32::from(b' ')) {
            return Err(TarFault::Checksum {
                offset: self.position,
            });
        }
        Ok(Some(header.clone()))
    }

    fn long_name(&self, at: u64, offset: u64, size: u64) -> Result<Vec<u8>, TarFault> {
        if size > MAX_NAME {
            return Err(TarFault::LongName {
                offset: at,
                limit: MAX_NAME,
            });
        }
        let mut name = vec![0; size as usize];
        let read = self.source.read_exact_at(&mut name, offset);
        read.map_err(|_| TarFault::Truncated)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }
}

fn member_kind(
    kind: EntryType,
    path: &str,
    target: impl FnOnce() -> Result<String, TarFault>,
) -> Result<MemberKind, TarFault> {
    Ok(match kind {
        // Archives older than the directory type mark directories with a slash.
        EntryType::Regular | EntryType::Continuous if path.ends_with('/') => MemberKind::Directory,
        EntryType::Regular | EntryType::Continuous => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink(target()?),
        EntryType::Link => MemberKind::Hardlink(target()?),
        EntryType::Char => MemberKind::Other("a character device"),
        EntryType::Block => MemberKind::Other("a block device"),
        EntryType::Fifo => MemberKind::Other("a FIFO"),
        EntryType::XHeader | EntryType::XGlobalHeader => MemberKind::Other("a pax header"),
        EntryType::GNUSparse => MemberKind::Other("a sparse file"),
        _ => MemberKind::Other("of a kind that dpkg does not know"),
    })
}

impl Iterator for Tarball<'_> {
    type Item = Result<Member, TarFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let member = self.read_member().transpose();
        self.done = !matches!(member, Some(Ok(_)));
        member
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::source;

    fn member(kind: EntryType, path: &str, target: &str, bytes: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(2);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        let mut out = header.as_bytes().to_vec();
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    fn ended(mut archive: Vec<u8>) -> Vec<u8> {
        archive.resize(archive.len() + 1024, 0);
        archive
    }

    fn read(archive: &[u8]) -> Result<Vec<Member>, TarFault> {
        Tarball::new(&source(archive)).collect()
    }

    #[test]
    fn reads_long_names_and_old_directories() {
        let long = format!("{}\0", "x".repeat(300));
        let mut archive = member(EntryType::GNULongName, "././@LongLink", "", long.as_bytes());
        archive.extend(member(
            EntryType::GNULongLink,
            "././@LongLink",
            "",
            long.as_bytes(),
        ));
        archive.extend(member(EntryType::Symlink, "short", "short", b""));
        archive.extend(member(EntryType::Regular, "old/", "", b""));
        archive.extend(member(EntryType::Regular, "f", "", b"bytes"));
        let members = read(&ended(archive)).unwrap();
        let long = &long[..300];
        assert_eq!(
            (members[0].path.as_str(), &members[0].kind),
            (long, &MemberKind::Symlink(long.into()))
        );
        assert_eq!(
            (members[1].path.as_str(), &members[1].kind),
            ("old/", &MemberKind::Directory)
        );
        let file = &members[2];
        assert_eq!(
            (file.path.as_str(), &file.kind, file.size),
            ("f", &MemberKind::File, 5)
        );
        assert_eq!((file.mode, file.uid, file.gid), (0o644, 1, 2));
        assert_eq!(members.len(), 3);
    }

    #[test]
    fn a_name_cannot_take_the_memory() {
        let name = vec![b'x'; 4097];
        let archive = ended(member(EntryType::GNULongName, "l", "", &name));
        insta::assert_snapshot!(read(&archive).unwrap_err(), @"the name at byte 0 is longer than 4096 bytes");
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let archive = member(EntryType::Regular, "f", "", &[1; 700]);
        for length in [0, 511, 512, 1211, 1300, 1536] {
            let cut = read(&archive[..length]);
            assert_eq!(cut, Err(TarFault::Truncated), "{length}");
        }
    }

    #[test]
    fn a_size_beyond_the_end_is_an_error() {
        let mut archive = ended(member(EntryType::Regular, "f", "", b""));
        let mut header = Header::from_byte_slice(&archive[..512]).clone();
        for size in [1 << 20, u64::MAX / 2, u64::MAX] {
            header.set_size(size);
            header.set_cksum();
            archive[..512].copy_from_slice(header.as_bytes());
            assert!(read(&archive).is_err(), "{size}");
        }
    }

    #[test]
    fn headers_are_checked() {
        let mut archive = ended(member(EntryType::Regular, "f", "", b""));
        archive[0] = b'g';
        insta::assert_snapshot!(read(&archive).unwrap_err(), @"the header at byte 0 has a wrong checksum");
        let archive = ended(member(EntryType::Directory, "d", "", b"x"));
        insta::assert_snapshot!(read(&archive).unwrap_err(), @"the header at byte 0 gives a size to something that is no file");
        let mut bytes = member(EntryType::Regular, "f", "", b"");
        let mut header = Header::from_byte_slice(&bytes[..512]).clone();
        header.as_gnu_mut().unwrap().uid = *b"nobody!\0";
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        insta::assert_snapshot!(read(&ended(bytes)).unwrap_err(), @"the header at byte 0 has a bad uid");
        let archive = ended(member(EntryType::Regular, "f", "", b""));
        let mut header = Header::from_byte_slice(&archive[..512]).clone();
        header.as_gnu_mut().unwrap().name[0] = 0xff;
        header.set_cksum();
        let mut archive = archive;
        archive[..512].copy_from_slice(header.as_bytes());
        insta::assert_snapshot!(read(&archive).unwrap_err(), @"the name at byte 0 is not UTF-8");
    }
}
