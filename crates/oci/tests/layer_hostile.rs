//! Archives that are not what they say: each is refused, by the name of archive and file.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::io::Write as _;

use common::{Pack, fixed, origin, path, tree_of};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use oci::{
    BodyFault, Checksum, Content, EncodeError, Entry, Kind, OnMismatch, Options, Output, Source,
    SpliceMap, Tree,
};

const DATA: &[u8] = b"some data that is somewhat long";

/// A well-made archive of one file in two forms; `change` does the harm.
#[track_caller]
fn fault(change: impl Fn(&mut Pack)) -> String {
    let mut pack = Pack::new();
    pack.stored(b"x");
    pack.deflated(&fixed(DATA), DATA);
    pack.stored(DATA);
    pack.bytes.extend_from_slice(&vec![0; 300_000]);
    change(&mut pack);
    error(&pack.tree())
}

/// The same error with any number of threads.
#[track_caller]
fn error(tree: &Tree) -> String {
    let run = |jobs| {
        // Enough of other files for several runs.
        let mut tree = tree.clone();
        let filler = vec![0; if jobs > 1 { 1 << 20 } else { 1 }];
        tree.merge(tree_of(&[("~1", &filler), ("~2", &filler)]))
            .unwrap();
        let options = Options {
            jobs,
            memory: 64 << 20,
            ..Options::default()
        };
        let mut out = Vec::new();
        oci::layer::encode(&tree, &options, Output::Blob(&mut out)).unwrap_err()
    };
    let error = run(1);
    let EncodeError::Body { .. } = error else {
        panic!("{error}")
    };
    assert_eq!(chain(&error), chain(&run(3)));
    chain(&error)
}

/// Two of them, after enough to do for the other threads.
fn long_files() -> Pack {
    let data: Vec<u8> = (0..17_u32 << 20)
        .map(|n| (n.wrapping_mul(n) >> 9) as u8)
        .collect();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&data).unwrap();
    let stream = encoder.finish().unwrap();
    let mut pack = Pack::new();
    pack.stored(&data[..7 << 20]);
    pack.deflated(&stream, &data);
    pack.deflated(&stream, &data);
    pack
}

/// What is wrong with the second of two long files, of which the first may have the same fault.
#[track_caller]
fn long_fault(change: impl Fn(&mut Pack, usize)) -> String {
    let mut pack = long_files();
    pack.bytes.extend_from_slice(&[0; 10]);
    change(&mut pack, 2);
    let second = error(&pack.tree());
    change(&mut pack, 1);
    let first = error(&pack.tree());
    assert_eq!(first.replace("/1 ", "/2 "), second);
    second
}

#[test]
fn long_files_are_refused_in_their_turn() {
    let check = |change: &dyn Fn(&mut Pack, usize), expect: &str| {
        let found = long_fault(change);
        let (place, found) = found.split_once(": ").unwrap();
        assert_eq!(place, "cannot take /2 from test-1.0.whl");
        assert!(found.starts_with(expect), "{found}");
    };
    check(&|pack, n| pack.bodies[n].crc32 ^= 1, "its CRC-32 is");
    check(
        &|pack, n| pack.bodies[n].length += 3,
        "its deflate stream ends 3 bytes before",
    );
    check(
        &|pack, n| pack.bodies[n].length /= 2,
        "its deflate stream is longer than",
    );
    check(
        &|pack, n| pack.bodies[n].uncompressed_size -= 1,
        "it is larger than the 17825791 bytes",
    );
    check(
        &|pack, n| pack.bodies[n].uncompressed_size += 1,
        "it has 17825792 bytes, but the archive says",
    );
    let other = Checksum::Sha256([7; 32]);
    check(
        &|pack, n| pack.bodies[n].checksum = Some((other, OnMismatch::Fail)),
        "its checksum is",
    );
}

#[test]
fn a_wrong_checksum_is_told_before_the_fault_of_a_later_file() {
    let other = Checksum::Sha256([7; 32]);
    let expect = "cannot take /1 from test-1.0.whl: its checksum is";
    let short = fault(|pack| {
        pack.bodies[1].checksum = Some((other, OnMismatch::Fail));
        pack.bodies[2].crc32 ^= 1;
    });
    assert!(short.starts_with(expect), "{short}");
    let mut pack = long_files();
    pack.bodies[1].checksum = Some((other, OnMismatch::Fail));
    pack.bodies[2].crc32 ^= 1;
    let long = error(&pack.tree());
    assert!(long.starts_with(expect), "{long}");
}

/// The error and its sources, as programs print them.
fn chain(error: &EncodeError) -> String {
    let first: &dyn std::error::Error = error;
    let errors = std::iter::successors(Some(first), |error| error.source());
    errors
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[test]
fn a_stream_that_goes_on_or_ends_early_is_refused() {
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].length -= 1), @"cannot take /1 from test-1.0.whl: its deflate stream is longer than the 32 bytes the archive says");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].length = 0), @"cannot take /1 from test-1.0.whl: its deflate stream is longer than the 0 bytes the archive says");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].length += 1), @"cannot take /1 from test-1.0.whl: its deflate stream ends 1 bytes before the 34 bytes the archive says");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].length += 200_000), @"cannot take /1 from test-1.0.whl: its deflate stream ends 200000 bytes before the 200033 bytes the archive says");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].offset = 1 << 40), @"cannot take /1 from test-1.0.whl: it lies at 1099511627776 and 33 bytes on, but the archive has 300071 bytes");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].offset = u64::MAX), @"cannot take /1 from test-1.0.whl: it lies at 18446744073709551615 and 33 bytes on, but the archive has 300071 bytes");
}

#[test]
fn a_stream_that_is_none_is_refused() {
    let harm = |byte: u8| {
        move |pack: &mut Pack| {
            let at = pack.bodies[1].offset as usize;
            pack.bytes[at] = byte;
        }
    };
    insta::assert_snapshot!(fault(harm(0b111)), @"cannot take /1 from test-1.0.whl: it is not a deflate stream: invalid block type");
    insta::assert_snapshot!(fault(harm(0b001)), @"cannot take /1 from test-1.0.whl: it is not a deflate stream: invalid stored block lengths");
}

#[test]
fn a_stream_that_reaches_before_its_file_is_refused() {
    // A fixed block: a match of three bytes at distance one, and nothing before it but another file.
    insta::assert_snapshot!(fault(|pack| {
        let at = pack.bodies[1].offset as usize;
        pack.bytes[at..at + 4].copy_from_slice(&[0b0000_0011, 0b0000_0010, 0, 0]);
    }), @"cannot take /1 from test-1.0.whl: it is not a deflate stream: invalid distance too far back");
}

#[test]
fn sizes_are_kept_to() {
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].uncompressed_size -= 1), @"cannot take /1 from test-1.0.whl: it is larger than the 30 bytes the archive says");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].uncompressed_size = 0), @"cannot take /1 from test-1.0.whl: it is larger than the 0 bytes the archive says");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].uncompressed_size += 1), @"cannot take /1 from test-1.0.whl: it has 31 bytes, but the archive says 32");
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].uncompressed_size = 1 << 50), @"cannot take /1 from test-1.0.whl: it has 31 bytes, but the archive says 1125899906842624");
    insta::assert_snapshot!(fault(|pack| pack.bodies[2].uncompressed_size += 1), @"cannot take /2 from test-1.0.whl: it is stored as 31 bytes but should have 32");
    insta::assert_snapshot!(fault(|pack| pack.bodies[2].length -= 1), @"cannot take /2 from test-1.0.whl: it is stored as 30 bytes but should have 31");
}

#[test]
fn a_bomb_is_cut_off_at_its_declared_size() {
    struct Count(u64);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(0), 64 << 20),
        &mut encoder,
    )
    .unwrap();
    let mut pack = Pack::new();
    pack.deflated(&encoder.finish().unwrap(), &[0; 1000]);
    let mut count = Count(0);
    let encoder = "gzip:1".parse().unwrap();
    let options = Options {
        encoder,
        ..Options::default()
    };
    let result = oci::layer::encode(&pack.tree(), &options, Output::Blob(&mut count));
    let error = result.unwrap_err();
    assert!(
        matches!(
            error,
            EncodeError::Body {
                fault: BodyFault::TooLong { size: 1000 },
                ..
            }
        ),
        "{error}"
    );
    assert!(count.0 < 1000);
}

#[test]
fn checksums_are_compared() {
    insta::assert_snapshot!(fault(|pack| pack.bodies[1].crc32 ^= 1), @"cannot take /1 from test-1.0.whl: its CRC-32 is c1dda510, but the archive says c1dda511");
    insta::assert_snapshot!(fault(|pack| pack.bodies[2].crc32 ^= 1), @"cannot take /2 from test-1.0.whl: its CRC-32 is c1dda510, but the archive says c1dda511");
    let wrong = |checksum| {
        move |pack: &mut Pack| pack.bodies[1].checksum = Some((checksum, OnMismatch::Fail))
    };
    insta::assert_snapshot!(fault(wrong(Checksum::Sha256([1; 32]))), @"cannot take /1 from test-1.0.whl: its checksum is sha256:de3f3678d17778ccfcfd8874f6baba42ca2ab954d280b62c83b9962476f0754f, but should be sha256:0101010101010101010101010101010101010101010101010101010101010101");
    assert!(fault(wrong(Checksum::Sha384([1; 48]))).contains("should be sha384:0101"));
    assert!(fault(wrong(Checksum::Sha512([1; 64]))).contains("should be sha512:0101"));
}

#[test]
fn a_mismatch_can_be_reported_instead() {
    let mut pack = Pack::new();
    pack.deflated(&fixed(DATA), DATA);
    pack.stored(DATA);
    let wrong = Checksum::Sha256([1; 32]);
    pack.bodies[0].checksum = Some((wrong, OnMismatch::Report));
    for jobs in [1, 3] {
        let options = Options {
            jobs,
            memory: 64 << 20,
            ..Options::default()
        };
        let mut tree = pack.tree();
        tree.merge(tree_of(&[
            ("~1", &vec![0; 1 << 20]),
            ("~2", &vec![0; 1 << 20]),
        ]))
        .unwrap();
        let encoded = oci::layer::encode(&tree, &options, Output::Discard).unwrap();
        let [mismatch] = &encoded.mismatches[..] else {
            panic!("{encoded:?}")
        };
        assert_eq!(
            (mismatch.path.as_str(), &*mismatch.origin),
            ("0", "test-1.0.whl")
        );
        assert_eq!(mismatch.expected, wrong);
        assert_ne!(mismatch.found, wrong);
    }
}

#[test]
fn a_map_holds_no_files_and_no_unknown_archives() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1000).unwrap();
    let source = Source::from_file(file, "data.tar", None).unwrap();
    let content = Content::File {
        source,
        offset: 0,
        length: 1000,
    };
    let mut tree = Tree::new();
    tree.insert(path("f"), Entry::file(content, false, &origin()))
        .unwrap();
    let mut map = SpliceMap::new();
    let result = oci::layer::encode(&tree, &Options::default(), Output::Map(&mut map));
    insta::assert_snapshot!(result.unwrap_err(), @"/f from test-1.0.whl lies in no archive of a known digest: its layer has no splice map");
    let encoder = "zstd:3".parse().unwrap();
    let options = Options {
        encoder,
        ..Options::default()
    };
    let result = oci::layer::encode(&Tree::new(), &options, Output::Map(&mut map));
    insta::assert_snapshot!(result.unwrap_err(), @"layers of encoder zstd:3 have no splice map");
}

#[test]
fn a_link_to_nothing_is_refused() {
    let mut tree = Tree::new();
    let link = Entry::new(Kind::Hardlink(path("b")), 0o644, &origin());
    tree.insert(path("a"), link).unwrap();
    let result = oci::layer::encode(&tree, &Options::default(), Output::Discard);
    insta::assert_snapshot!(result.unwrap_err(), @"/a from test-1.0.whl is a hard link to /b, which is no file of the same layer");
}

#[test]
fn a_writer_that_fails_stops_the_work() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let filler = vec![0; 1 << 20];
    let tree = tree_of(&[("1", &filler), ("2", &filler), ("3", &filler)]);
    for jobs in [1, 4] {
        let options = Options {
            jobs,
            memory: 64 << 20,
            ..Options::default()
        };
        let result = oci::layer::encode(&tree, &options, Output::Blob(&mut Full));
        assert!(matches!(result, Err(EncodeError::Write(_))), "{result:?}");
    }
}
