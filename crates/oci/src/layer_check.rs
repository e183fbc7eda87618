//! Reads one layer blob from end to end: its digests, and the rules of image-spec `layer.md` for the
//! members of its tar stream.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::descriptor::Compression;
use crate::layer_paths::Paths;
use crate::untar::{Streamed, TarReader};
use crate::{DiffId, Digest, HashingWriter, TarFault};

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// What a layer blob is found to be.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// What its first bytes look like.
    pub(crate) starts_as: Compression,
    /// What the tar stream in it is like, or the first thing that is wrong.
    pub(crate) contents: Result<Contents, MemberFault>,
}

/// What a well-formed layer's tar stream is like.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    pub(crate) diff_id: DiffId,
    /// Bytes of the tar stream.
    pub(crate) size: u64,
    pub(crate) members: u64,
    /// How many directories are implied by what is in them but not in the layer themselves.
    pub(crate) implied: u64,
}

/// What is wrong with a layer, and with which of its members.
#[derive(Debug)]
pub(crate) struct MemberFault {
    /// Empty where it is about the stream and not a member.
    pub(crate) path: String,
    pub(crate) fault: TarFault,
}

impl From<TarFault> for MemberFault {
    fn from(fault: TarFault) -> Self {
        Self {
            path: String::new(),
            fault,
        }
    }
}

/// Reads all of `blob`. The blob's own digest is found even where its contents are broken.
pub(crate) fn check<R: Read>(blob: R, compression: Compression) -> io::Result<Checked> {
    let mut hashed = BufReader::with_capacity(BUFFER, Tee::new(blob));
    let starts_as = compression_of(hashed.fill_buf()?);
    let contents = match compression {
        Compression::None => contents(&mut hashed),
        Compression::Gzip => contents(MultiGzDecoder::new(&mut hashed)),
        Compression::Zstd => match zstd::Decoder::with_buffer(&mut hashed) {
            Ok(decoder) => contents(decoder),
            Err(error) => Err(TarFault::Read(error).into()),
        },
    };
    loop {
        let length = hashed.fill_buf()?.len();
        if length == 0 {
            break;
        }
        hashed.consume(length);
    }
    let (digest, size) = hashed.into_inner().finish();
    Ok(Checked {
        digest,
        size,
        starts_as,
        contents,
    })
}

/// How a blob's first bytes say that it is compressed.
pub(crate) fn compression_of(first: &[u8]) -> Compression {
    match first {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

fn contents(tar: impl Read) -> Result<Contents, MemberFault> {
    let mut reader = TarReader::new(Streamed(Tee::new(tar)));
    let mut paths = Paths::default();
    let mut members = 0;
    while let Some(member) = reader.next()? {
        members += 1;
        paths.add(&member).map_err(|fault| MemberFault {
            path: String::from_utf8_lossy(&member.path).into_owned(),
            fault,
        })?;
    }
    let (digest, size) = reader.into_input().0.finish();
    Ok(Contents {
        diff_id: DiffId(digest),
        size,
        members,
        implied: paths.implied(),
    })
}

/// Digests what is read through it.
struct Tee<R> {
    input: R,
    hasher: HashingWriter<io::Sink>,
}

impl<R> Tee<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            hasher: HashingWriter::new(io::sink()),
        }
    }

    fn finish(self) -> (Digest, u64) {
        let (_, digest, size) = self.hasher.finish();
        (digest, size)
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        io::Write::write_all(&mut self.hasher, &buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::layer_paths::normalise;
    use crate::tar::{Header, TRAILER, Typeflag};
    use crate::untar::MemberKind;

    const KINDS: [MemberKind; 5] = [
        MemberKind::File,
        MemberKind::Hardlink,
        MemberKind::Symlink,
        MemberKind::Directory,
        MemberKind::Special,
    ];

    /// Members as `path` or `path -> link`, with a kind before: `d`, `f`, `l` (symbolic) or `h`.
    fn tar(members: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for text in members {
            let (kind, rest) = text.split_once(' ').unwrap();
            let (path, link) = rest.split_once(" -> ").unwrap_or((rest, ""));
            let (typeflag, size) = match kind {
                "d" => (Typeflag::Directory, 0),
                "f" => (Typeflag::Regular, 3),
                "l" => (Typeflag::Symlink, 0),
                "h" => (Typeflag::Hardlink, 0),
                _ => panic!("{kind}"),
            };
            let header = Header {
                path,
                typeflag,
                link,
                mode: 0o644,
                uid: 0,
                gid: 0,
                size,
                mtime: 0,
            };
            header.write(&mut out);
            if size > 0 {
                out.extend_from_slice(b"abc");
                out.resize(out.len().next_multiple_of(512), 0);
            }
        }
        out.extend_from_slice(&TRAILER);
        out
    }

    fn fault(tar: &[u8]) -> String {
        let fault = check(tar, Compression::None).unwrap().contents.unwrap_err();
        format!("{}: {}", fault.path, fault.fault)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn finds_both_digests_in_every_wrapping() {
        let long = format!("f d/{}", "é".repeat(200));
        let tar = tar(&["d d", "f d/f", "h d/h -> d/f", "l d/l -> ../../x", &long]);
        let (first, second) = tar.split_at(700);
        let members = [gzip(first), gzip(second)].concat();
        let frames = [
            zstd::encode_all(first, 1).unwrap(),
            zstd::encode_all(second, 1).unwrap(),
        ]
        .concat();
        for (blob, compression) in [
            (tar.clone(), Compression::None),
            (gzip(&tar), Compression::Gzip),
            (members, Compression::Gzip),
            (frames, Compression::Zstd),
        ] {
            assert_eq!(compression_of(&blob), compression);
            let checked = check(&blob[..], compression).unwrap();
            assert_eq!(
                (checked.digest, checked.size),
                (Digest::of(&blob), blob.len() as u64)
            );
            let contents = checked.contents.unwrap();
            assert_eq!(
                (contents.diff_id.0, contents.size),
                (Digest::of(&tar), tar.len() as u64)
            );
            assert_eq!((contents.members, contents.implied), (5, 0));
        }
    }

    #[test]
    fn refuses_paths_that_could_leave_or_differ() {
        for path in ["/a", "a//b", "../a", "a/../b", "a/.", "a/"] {
            assert_eq!(
                fault(&tar(&[&format!("f {path}")])),
                format!("{path}: is not a path inside the image")
            );
        }
        insta::assert_snapshot!(fault(&tar(&["f a", "f ./a"])), @"./a: appears twice");
        insta::assert_snapshot!(fault(&tar(&["f a", "d a"])), @"a/: appears twice");
        insta::assert_snapshot!(fault(&tar(&["f a/b", "d a"])), @"a/: comes after something that is in it");
        insta::assert_snapshot!(fault(&tar(&["f a/b", "l a -> x"])), @"a: appears twice");
        insta::assert_snapshot!(fault(&tar(&["l a -> /etc", "f a/b"])), @"a/b: lies in something that is not a directory");
        insta::assert_snapshot!(fault(&tar(&["h a -> b", "f b"])), @"a: is a hard link to `b`, which is not an earlier file of the layer");
        insta::assert_snapshot!(fault(&tar(&["d b", "h a -> b"])), @"a: is a hard link to `b`, which is not an earlier file of the layer");
        insta::assert_snapshot!(fault(&tar(&["f b", "h a -> ../b"])), @"a: is a hard link to `../b`, which is not an earlier file of the layer");
    }

    proptest::proptest! {
        #[test]
        fn damage_is_found_or_changes_the_digest(at in 0_usize..5000, mask in 1_u8..) {
            let good = tar(&["d d", "f d/f", "h d/h -> d/f", &format!("f d/{}", "é".repeat(99))]);
            let mut bad = good.clone();
            bad[at % good.len()] ^= mask;
            let checked = check(&bad[..], Compression::None).unwrap();
            assert_ne!(checked.digest, Digest::of(&good));
            if let Ok(contents) = checked.contents {
                assert_eq!(contents.diff_id.0, checked.digest);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, path: Vec<u8>, kind in 0_usize..5) {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let magic: &[u8] = match compression {
                    Compression::None => b"",
                    Compression::Gzip => b"\x1f\x8b\x08",
                    Compression::Zstd => b"\x28\xb5\x2f\xfd",
                };
                let blob = [magic, &bytes].concat();
                assert_eq!(check(&blob[..], compression).unwrap().digest, Digest::of(&blob));
            }
            let kind = KINDS[kind];
            if let Ok(inner) = normalise(&path, kind) {
                assert!(!inner.starts_with(b"/") && !inner.ends_with(b"/"));
            }
        }
    }

    #[test]
    fn counts_implied_directories() {
        let contents = check(
            &tar(&["f a/b/c", "f a/b/d", "f e/f"])[..],
            Compression::None,
        );
        assert_eq!(contents.unwrap().contents.unwrap().implied, 3);
    }

    #[test]
    fn broken_streams() {
        let good = tar(&["f a"]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        insta::assert_snapshot!(fault(&with(0, b'b')), @": has a header whose checksum is wrong");
        insta::assert_snapshot!(fault(&with(good.len() - 1, 1)), @": does not end in two blocks of zeros and nothing else");
        for length in [0, 100, 512, 514, 1000, 1024] {
            assert_eq!(fault(&good[..length]), ": ends too early", "{length}");
        }
        insta::assert_snapshot!(fault(&good[..1536]), @": does not end in two blocks of zeros and nothing else");
        let more = [&good[..], &[0; 10240]].concat();
        assert!(
            check(&more[..], Compression::None)
                .unwrap()
                .contents
                .is_ok()
        );

        let packed = gzip(&good);
        for length in [5, 20, packed.len() - 1] {
            let checked = check(&packed[..length], Compression::Gzip).unwrap();
            assert_eq!(
                checked.contents.unwrap_err().fault.to_string(),
                "ends too early"
            );
            assert_eq!(checked.digest, Digest::of(&packed[..length]));
        }
        let mut wrong_crc = packed.clone();
        let at = packed.len() - 8;
        wrong_crc[at] ^= 1;
        assert!(
            check(&wrong_crc[..], Compression::Gzip)
                .unwrap()
                .contents
                .is_err()
        );
        let garbage = [&packed[..], b"x"].concat();
        assert!(
            check(&garbage[..], Compression::Gzip)
                .unwrap()
                .contents
                .is_err()
        );
        let frame = zstd::encode_all(&good[..], 1).unwrap();
        let cut = check(&frame[..frame.len() - 1], Compression::Zstd).unwrap();
        assert_eq!(
            cut.contents.unwrap_err().fault.to_string(),
            "ends too early"
        );
    }
}
