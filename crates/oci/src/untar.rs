//! Reads tar streams, and refuses those that two readers could understand differently.
//!
//! Follows POSIX.1-2017, `pax` utility, sections "ustar Interchange Format" and "pax Extended Header",
//! with GNU's long names and base-256 numbers, which many layers have. The `tar` crate is made to
//! read on where it can; this is made to find what is wrong.

use std::io::{self, Read};

use crate::TarFault;
use crate::tar::{BLOCK, padding};
use crate::tar_block::{Block, Extension, Extensions, set_once};

/// Bytes of one PAX extended header or GNU long name: far above any path or capability, far below
/// what would hurt.
const MAX_EXTENSION: u64 = 1 << 20;

/// What a tar stream is read from.
pub(crate) trait Input: Read {
    /// Passes over `count` bytes; `UnexpectedEof` where there are fewer.
    fn skip(&mut self, count: u64) -> io::Result<()>;
}

/// An input that can only be read.
pub(crate) struct Streamed<R>(pub(crate) R);

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Streamed<R> {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut left = count;
        while left > 0 {
            let part = left.min(buffer.len() as u64) as usize;
            self.0.read_exact(&mut buffer[..part])?;
            left -= part as u64;
        }
        Ok(())
    }
}

/// One member of a tar stream, its extended headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As it was written.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: MemberKind,
    /// Of a link; empty for the rest.
    pub(crate) link: Vec<u8>,
    /// Bytes of the body.
    pub(crate) size: u64,
    /// Of the body, in the stream.
    pub(crate) offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Hardlink,
    Symlink,
    Directory,
    /// Character and block devices, named pipes.
    Special,
}

/// Walks the members of a stream, from one header to the next.
pub(crate) struct TarReader<R> {
    input: R,
    /// Where the input stands.
    position: u64,
    /// Body and padding of the last member.
    pending: u64,
}

impl<R: Input> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            pending: 0,
        }
    }

    /// The next member; None after the end-of-archive blocks.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarFault> {
        self.input.skip(self.pending).map_err(TarFault::of_read)?;
        self.position += self.pending;
        self.pending = 0;
        let mut extensions = Extensions::default();
        let mut extended = false;
        loop {
            let block = self.block()?;
            if block.0 == [0; BLOCK] {
                if extended {
                    return Err(TarFault::Dangling);
                }
                return self.end().map(|()| None);
            }
            block.check()?;
            let size = block
                .number(124..136)
                .ok_or(TarFault::Number { field: "size" })?;
            match block.0[156] {
                b'x' => self.extension(size)?.apply_pax(&mut extensions)?,
                b'L' => set_once(&mut extensions.path, self.extension(size)?.text())?,
                b'K' => set_once(&mut extensions.link, self.extension(size)?.text())?,
                flag => return self.member(&block, flag, size, extensions).map(Some),
            }
            extended = true;
        }
    }

    /// The input, wherever it stands.
    pub(crate) fn into_input(self) -> R {
        self.input
    }

    fn member(
        &mut self,
        block: &Block,
        flag: u8,
        size: u64,
        extensions: Extensions,
    ) -> Result<Member, TarFault> {
        let kind = match flag {
            0 | b'0' | b'7' => MemberKind::File,
            b'1' => MemberKind::Hardlink,
            b'2' => MemberKind::Symlink,
            b'3' | b'4' | b'6' => MemberKind::Special,
            b'5' => MemberKind::Directory,
            other => {
                return Err(TarFault::Typeflag {
                    flag: char::from(other),
                });
            }
        };
        let size = extensions.size.unwrap_or(size);
        if kind != MemberKind::File && size != 0 {
            return Err(TarFault::BodyOfLink { size });
        }
        let path = extensions.path.unwrap_or_else(|| block.path());
        let link = extensions.link.unwrap_or_else(|| block.text(157..257));
        let offset = self.position;
        let end = size.checked_add(padding(size) as u64);
        self.pending = end
            .filter(|pending| offset.checked_add(*pending).is_some())
            .ok_or(TarFault::Number { field: "size" })?;
        Ok(Member {
            path,
            kind,
            link,
            size,
            offset,
        })
    }

    fn block(&mut self) -> Result<Block, TarFault> {
        let mut block = [0; BLOCK];
        self.input
            .read_exact(&mut block)
            .map_err(TarFault::of_read)?;
        self.position += BLOCK as u64;
        Ok(Block(block))
    }

    /// The body of an extended header.
    fn extension(&mut self, size: u64) -> Result<Extension, TarFault> {
        if size > MAX_EXTENSION {
            return Err(TarFault::Extension { size });
        }
        let mut bytes = vec![0; size as usize + padding(size)];
        self.input
            .read_exact(&mut bytes)
            .map_err(TarFault::of_read)?;
        self.position += bytes.len() as u64;
        bytes.truncate(size as usize);
        Ok(Extension(bytes))
    }

    /// After the first block of zeros: a second one, and then nothing but zeros.
    fn end(&mut self) -> Result<(), TarFault> {
        let block = self.block().map_err(|fault| match fault {
            TarFault::Truncated => TarFault::Trailer,
            other => other,
        })?;
        let mut rest = block.0;
        let mut length = BLOCK;
        while length > 0 {
            if rest[..length].iter().any(|byte| *byte != 0) {
                return Err(TarFault::Trailer);
            }
            length = match self.input.read(&mut rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(TarFault::of_read)?,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::TRAILER;

    /// A header block as other programs write them.
    fn header(path: &str, flag: u8, edit: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::new(flag));
        edit(&mut header);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn body(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn extension(flag: u8, text: &str) -> Vec<u8> {
        let size = text.len() as u64;
        [
            header("ext", flag, |header| header.set_size(size)),
            body(text),
        ]
        .concat()
    }

    fn read(parts: &[Vec<u8>]) -> Result<Vec<Member>, TarFault> {
        let bytes = [&parts.concat()[..], &TRAILER].concat();
        let mut reader = TarReader::new(Streamed(&bytes[..]));
        let mut members = Vec::new();
        while let Some(member) = reader.next()? {
            members.push(member);
        }
        Ok(members)
    }

    fn message(parts: &[Vec<u8>]) -> String {
        read(parts).unwrap_err().to_string()
    }

    #[test]
    fn reads_what_others_write() {
        let file = |path| header(path, b'0', |header| header.set_size(3));
        let members = read(&[
            extension(b'L', "long/name\0"),
            extension(b'K', "long/target\0"),
            header("short", b'2', |_| ()),
            extension(b'x', "17 path=pax/name\n11 mtime=1\n10 size=4\n"),
            file("short"),
            body("abcd"),
            header("fifo", b'6', |_| ()),
            header("big", b'0', |header| {
                header.as_mut_bytes()[124..136].copy_from_slice(b"    2 \0\0\0\0\0\0");
            }),
            body("ab"),
        ]);
        let member = |path: &str, kind, link: &str, size, offset| Member {
            path: path.into(),
            kind,
            link: link.into(),
            size,
            offset,
        };
        assert_eq!(
            members.unwrap(),
            [
                member("long/name", MemberKind::Symlink, "long/target", 0, 5 * 512),
                member("pax/name", MemberKind::File, "", 4, 8 * 512),
                member("fifo", MemberKind::Special, "", 0, 10 * 512),
                member("big", MemberKind::File, "", 2, 11 * 512),
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_extended_header_is_read_without_a_panic(text in "([0-9]{1,20} (path|size|x)?=?.{0,9}\n?){0,3}") {
            let result = read(&[extension(b'x', &text), header("f", b'0', |_| ())]);
            assert!(result.is_err() || result.unwrap().len() == 1);
        }

        #[test]
        fn any_header_is_read_without_a_panic(block: Vec<u8>) {
            let mut bytes = block;
            bytes.resize(BLOCK, b'0');
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes);
            header.set_cksum();
            let _ = read(&[header.as_bytes().to_vec()]);
        }
    }

    #[test]
    fn a_prefix_counts_in_ustar_only() {
        let mut ustar = tar::Header::new_ustar();
        ustar.set_size(0);
        ustar.as_mut_bytes()[0] = b'n';
        ustar.as_mut_bytes()[345] = b'p';
        ustar.set_cksum();
        let path = |block: &[u8]| read(&[block.to_vec()]).unwrap().remove(0).path;
        assert_eq!(path(ustar.as_bytes()), b"p/n");
        let gnu = header("n", b'0', |header| header.as_mut_bytes()[345] = b'7');
        assert_eq!(path(&gnu), b"n");
    }

    #[test]
    fn refuses_what_readers_understand_differently() {
        let file = || header("f", b'0', |_| ());
        let linked = header("l", b'1', |header| header.set_size(5));
        let number = header("f", b'0', |header| {
            header.as_mut_bytes()[124..136].fill(b'9');
        });
        let minus = header("f", b'0', |header| {
            header.as_mut_bytes()[124..136].fill(0xff);
        });
        let huge = header("f", b'0', |header| header.set_size(u64::MAX));
        insta::assert_snapshot!(message(&[header("g", b'g', |_| ())]), @"has a member of type `g`");
        insta::assert_snapshot!(message(&[header("s", b'S', |_| ())]), @"has a member of type `S`");
        insta::assert_snapshot!(message(&[linked]), @"has 5 bytes of body on a member that can have none");
        insta::assert_snapshot!(message(&[number]), @"has a header whose size is not a number");
        insta::assert_snapshot!(message(&[minus]), @"has a header whose size is not a number");
        insta::assert_snapshot!(message(&[huge]), @"has a header whose size is not a number");
        insta::assert_snapshot!(message(&[extension(b'x', "9 path=a\n")]), @"has an extended header at its end");
        let large = header("x", b'x', |header| header.set_size(MAX_EXTENSION + 1));
        insta::assert_snapshot!(message(&[large]), @"has an extended header of 1048577 bytes");
        for text in [
            "9 path=a\n9 path=b\n",
            "8 path=a\n",
            "99 path=a\n",
            "9 path=a\0",
            "x path=a\n",
            "8 path=\n",
            "11 path=\0a\n",
            "4 a\n",
            "0 ",
        ] {
            let found = message(&[extension(b'x', text), file()]);
            assert_eq!(found, "has a malformed extended header", "{text:?}");
        }
        let sparse = extension(b'x', "22 GNU.sparse.major=1\n");
        insta::assert_snapshot!(message(&[sparse, file()]), @"has a sparse file");
        insta::assert_snapshot!(message(&[extension(b'L', "a"), extension(b'L', "b"), file()]), @"has a malformed extended header");
    }
}
