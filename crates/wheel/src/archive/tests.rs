use std::io::Write as _;

use proptest::prelude::*;
use testkit::zip::{Member as Packed, archive};

use super::*;

fn source(bytes: &[u8]) -> Source {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Source::from_file(file, "demo.whl", None).unwrap()
}

fn open(bytes: &[u8]) -> Result<Archive, Error> {
    Archive::open(source(bytes), &Limits::default())
}

fn fault(bytes: &[u8]) -> String {
    open(bytes).unwrap_err().to_string()
}

fn two() -> Vec<u8> {
    archive(&[
        Packed::deflated("b.py", &b"x = 1\n".repeat(50)),
        Packed::stored("a.txt", b"hello"),
    ])
}

fn one(change: impl FnOnce(&mut Packed)) -> Vec<u8> {
    let mut member = Packed::stored("a", b"hello");
    change(&mut member);
    archive(&[member])
}

/// An archive taken apart, to be put together wrongly.
struct Parts {
    bytes: Vec<u8>,
}

impl Parts {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    fn end(&self) -> usize {
        self.bytes.len() - 22
    }

    fn u32(&self, at: usize) -> usize {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap()) as usize
    }

    fn directory(&self) -> usize {
        self.u32(self.end() + 16)
    }

    /// Offset of the central header of the `n`th member.
    fn central(&self, n: usize) -> usize {
        (0..n).fold(self.directory(), |at, _| {
            let length = |field| usize::from(self.bytes[at + field]);
            at + 46 + length(28) + length(30) + length(32)
        })
    }

    fn local(&self, n: usize) -> usize {
        self.u32(self.central(n) + 42)
    }

    fn set(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn set32(self, at: usize, value: usize) -> Self {
        self.set(at, &u32::try_from(value).unwrap().to_le_bytes())
    }

    fn insert(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes.splice(at..at, bytes.iter().copied());
        self
    }

    /// Puts `bytes` before the local header of member `n`, or before the directory after the last
    /// one, and corrects every offset.
    fn insert_before(self, n: usize, bytes: &[u8]) -> Self {
        let entries = usize::from(self.bytes[self.end() + 10]);
        let at = if n == entries {
            self.directory()
        } else {
            self.local(n)
        };
        let directory = self.directory() + bytes.len();
        let locals: Vec<_> = (0..entries).map(|n| self.local(n)).collect();
        let mut parts = self.insert(at, bytes);
        let field = parts.end() + 16;
        parts = parts.set32(field, directory);
        for (n, local) in locals.into_iter().enumerate() {
            let field = parts.central(n) + 42;
            parts = parts.set32(
                field,
                if local < at {
                    local
                } else {
                    local + bytes.len()
                },
            );
        }
        parts
    }

    /// Appends to the extra field of the central header of member `n`.
    fn central_extra(self, n: usize, extra: &[u8]) -> Self {
        let (at, end) = (self.central(n), self.end());
        let name = usize::from(self.bytes[at + 28]);
        let length = self.bytes[at + 30] + u8::try_from(extra.len()).unwrap();
        let size = self.u32(end + 12) + extra.len();
        self.set32(end + 12, size)
            .set(at + 30, &[length])
            .insert(at + 46 + name, extra)
    }

    fn fault(&self) -> String {
        fault(&self.bytes)
    }
}

#[test]
fn members_are_sorted_and_point_at_their_data() {
    let mut packed = vec![
        Packed::deflated("b.py", &b"x = 1\n".repeat(50)),
        Packed::stored("a/", b"").mode(0o040_755),
        Packed::stored("a/é.txt", b"hello").mode(0o100_755),
        Packed::deflated("empty", b"").mode(0),
    ];
    for zip64 in [false, true] {
        for member in &mut packed {
            member.zip64 = zip64;
        }
        let archive = open(&archive(&packed)).unwrap();
        let members: Vec<_> = archive
            .members()
            .iter()
            .map(|member| {
                (
                    &*member.name,
                    member.executable,
                    archive.read(member).unwrap().len(),
                )
            })
            .collect();
        assert_eq!(
            members,
            [
                ("a/é.txt", true, 5),
                ("b.py", false, 300),
                ("empty", false, 0)
            ]
        );
        let member = archive.get("a/é.txt").unwrap();
        assert_eq!(
            testkit::read_content(&member.content(archive.source(), None)).unwrap(),
            b"hello"
        );
        assert!(
            archive
                .starts_with(archive.get("b.py").unwrap(), b"x = 1\nx")
                .unwrap()
        );
        assert!(!archive.starts_with(member, b"hello!").unwrap());
        assert_eq!(archive.get("a"), None);
    }
    assert_eq!(open(&archive(&[])).unwrap().members(), []);
}

#[test]
fn more_members_than_16_bits_count() {
    let mut packed: Vec<_> = (0..70_000)
        .map(|n| Packed::stored(&format!("{n}"), b""))
        .collect();
    packed[0].zip64 = true;
    assert_eq!(open(&archive(&packed)).unwrap().members().len(), 70_000);
}

#[test]
fn a_cut_archive_is_refused_wherever_it_is_cut() {
    let whole = two();
    for length in 0..whole.len() {
        assert!(open(&whole[..length]).is_err(), "{length}");
    }
    insta::assert_snapshot!(fault(b""), @"demo.whl is not a zip archive, or is cut off: it has no end-of-central-directory record");
}

#[test]
fn data_around_the_archive() {
    let after = [two(), b"x".to_vec()].concat();
    insta::assert_snapshot!(fault(&after), @"demo.whl has data after its end record, or is cut off within its comment");
    let before = [b"#!/bin/sh\n".to_vec(), two()].concat();
    insta::assert_snapshot!(fault(&before), @"demo.whl has data before its first byte or after its central directory: that should end at byte 189, and the end record begins at byte 199");
    let before = Parts::of(two()).insert_before(0, b"#!/bin/sh\n");
    insta::assert_snapshot!(before.fault(), @"demo.whl has 10 bytes before its first member");
    let parts = Parts::of(two());
    let end = parts.end();
    insta::assert_snapshot!(parts.insert(end, b"xx").fault(), @"demo.whl has data before its first byte or after its central directory: that should end at byte 189, and the end record begins at byte 191");
    let between = Parts::of(two()).insert_before(1, b"xxxx");
    insta::assert_snapshot!(between.fault(), @r#"demo.whl: member "b.py" is followed by 4 bytes that belong to no member"#);
    let last = Parts::of(two()).insert_before(2, b"xxx");
    insta::assert_snapshot!(last.fault(), @r#"demo.whl: member "a.txt" is followed by 3 bytes that belong to no member"#);
}

#[test]
fn comments_are_fine_but_hide_no_second_end() {
    let with_comment = |comment: &[u8]| {
        let parts = Parts::of(two());
        let end = parts.end();
        let mut bytes = parts
            .set(end + 20, &[u8::try_from(comment.len()).unwrap()])
            .bytes;
        bytes.extend(comment);
        bytes
    };
    assert!(open(&with_comment(b"made by hand")).is_ok());
    let mut hidden = two()[two().len() - 22..].to_vec();
    insta::assert_snapshot!(fault(&with_comment(&hidden)), @"demo.whl has several end records, of which readers may take any");
    hidden.extend(b"more");
    insta::assert_snapshot!(fault(&with_comment(&hidden)), @"demo.whl has several end records, of which readers may take any");
}

#[test]
fn several_disks() {
    let parts = Parts::of(two());
    let end = parts.end();
    insta::assert_snapshot!(parts.set(end + 4, &[1]).fault(), @"demo.whl is a part of an archive in several files");
    let parts = Parts::of(two());
    let at = parts.central(0) + 34;
    insta::assert_snapshot!(parts.set(at, &[1]).fault(), @r#"demo.whl: member "b.py" lies in another part of a split archive"#);
}

#[test]
fn a_directory_that_is_none() {
    let parts = Parts::of(two());
    let at = parts.central(1);
    insta::assert_snapshot!(parts.set(at, b"XX").fault(), @"demo.whl has a broken central directory");
    let parts = Parts::of(two());
    let end = parts.end();
    insta::assert_snapshot!(parts.set(end + 8, &[3, 0, 3, 0]).fault(), @"demo.whl should have 3 members and has 2");
    let parts = Parts::of(two());
    let end = parts.end();
    assert!(
        parts
            .set32(end + 16, u32::MAX as usize)
            .fault()
            .contains("central directory")
    );
}

#[test]
fn zip64_records_agree_with_the_plain_ones() {
    let zip64 = || Parts::of(one(|member| member.zip64 = true));
    let count = zip64().end() + 8;
    assert!(open(&zip64().set(count, &[1, 0, 1, 0]).bytes).is_ok());
    insta::assert_snapshot!(zip64().set(count, &[2, 0, 2, 0]).fault(), @"demo.whl has a ZIP64 end record that does not agree with its plain one");
    let offset = zip64().end() - 12;
    insta::assert_snapshot!(zip64().set(offset, &[0]).fault(), @"demo.whl has a ZIP64 end record that does not agree with its plain one");
    let size = zip64().end() - 20 - 56 + 4;
    insta::assert_snapshot!(zip64().set(size, &[45]).fault(), @"demo.whl has a ZIP64 end record that does not agree with its plain one");
    let disks = zip64().end() - 4;
    insta::assert_snapshot!(zip64().set(disks, &[2]).fault(), @"demo.whl is a part of an archive in several files");
}

#[test]
fn names_stay_within_the_tree() {
    let check = |name: &str| fault(&archive(&[Packed::stored(name, b"")]));
    insta::assert_snapshot!(check("/etc/passwd"), @r#"demo.whl: member "/etc/passwd" has an absolute name"#);
    insta::assert_snapshot!(check("../a"), @r#"demo.whl: member "../a" has a name that has a `..` component"#);
    insta::assert_snapshot!(check("a/../../b"), @r#"demo.whl: member "a/../../b" has a name that has a `..` component"#);
    insta::assert_snapshot!(check("a/./b"), @r#"demo.whl: member "a/./b" has a name that has a `.` component"#);
    insta::assert_snapshot!(check("a//b"), @r#"demo.whl: member "a//b" has a name that has an empty component"#);
    insta::assert_snapshot!(check("a//"), @r#"demo.whl: member "a//" has a name that has an empty component"#);
    insta::assert_snapshot!(check(""), @r#"demo.whl: member "" has a name that is empty"#);
    insta::assert_snapshot!(check("a\0b"), @r#"demo.whl: member "a\0b" has a name that has a NUL byte"#);
    insta::assert_snapshot!(check("..\\a"), @r#"demo.whl: member "..\\a" has a backslash in its name"#);
    assert!(
        check(&"x".repeat(256)).ends_with("has a component of more than 255 bytes in its name")
    );
    insta::assert_snapshot!(fault(&one(|member| member.name = b"\xff".to_vec())), @r#"demo.whl: member "�" has a name that is not UTF-8"#);
}

#[test]
fn names_are_had_once() {
    let check = |names: [&str; 2]| fault(&archive(&names.map(|name| Packed::stored(name, b""))));
    insta::assert_snapshot!(check(["a", "a"]), @r#"demo.whl: member "a" is in the archive twice"#);
    insta::assert_snapshot!(check(["a/b", "a"]), @r#"demo.whl: member "a/b" lies below a path that is a file"#);
    insta::assert_snapshot!(check(["a/", "a"]), @r#"demo.whl: member "a/" lies below a path that is a file"#);
}

#[test]
fn only_files_and_directories() {
    let check = |mode| fault(&one(|member| member.mode = mode));
    insta::assert_snapshot!(check(0o120_777), @r#"demo.whl: member "a" is a symbolic link"#);
    insta::assert_snapshot!(check(0o060_644), @r#"demo.whl: member "a" is neither a file nor a directory, or not what its name says (type 0o60000)"#);
    insta::assert_snapshot!(check(0o040_755), @r#"demo.whl: member "a" is neither a file nor a directory, or not what its name says (type 0o40000)"#);
    insta::assert_snapshot!(fault(&one(|member| member.name = b"a/".to_vec())), @r#"demo.whl: member "a/" is a directory that holds data"#);
    // A link is one whatever system the archive says it is from.
    let parts = Parts::of(one(|member| member.mode = 0o120_777));
    let made_on = parts.central(0) + 5;
    insta::assert_snapshot!(parts.set(made_on, &[0]).fault(), @r#"demo.whl: member "a" is a symbolic link"#);
}

#[test]
fn permissions_count_where_the_system_has_them() {
    let executable = |made_on| {
        let parts = Parts::of(one(|member| member.mode = 0o100_755));
        let at = parts.central(0) + 5;
        open(&parts.set(at, &[made_on]).bytes).unwrap().members()[0].executable
    };
    assert_eq!([3, 19, 0].map(executable), [true, true, false]);
}

#[test]
fn encryption_patches_and_other_methods() {
    for flag in [1, 1 << 6, 1 << 13] {
        let message = fault(&one(|member| member.flags = flag));
        insta::allow_duplicates! {
            insta::assert_snapshot!(message, @r#"demo.whl: member "a" is encrypted"#);
        }
    }
    insta::assert_snapshot!(fault(&one(|member| member.flags = 1 << 5)), @r#"demo.whl: member "a" is a patch, not a file"#);
    for method in [1, 9, 12, 14, 93, 99] {
        assert!(fault(&one(|member| member.method = method)).contains("compression method"));
    }
    insta::assert_snapshot!(fault(&one(|member| member.method = 12)), @r#"demo.whl: member "a" has compression method 12; only 0 (stored) and 8 (deflate) are allowed"#);
}

#[test]
fn both_headers_agree() {
    let check = |field: usize| {
        let parts = Parts::of(two());
        let at = parts.local(0) + field;
        let changed = parts.bytes[at] ^ 1;
        parts.set(at, &[changed]).fault()
    };
    insta::assert_snapshot!(check(6), @r#"demo.whl: member "b.py" has headers that do not agree on its flags"#);
    insta::assert_snapshot!(check(8), @r#"demo.whl: member "b.py" has headers that do not agree on its compression method"#);
    insta::assert_snapshot!(check(14), @r#"demo.whl: member "b.py" has headers that do not agree on its CRC-32"#);
    insta::assert_snapshot!(check(18), @r#"demo.whl: member "b.py" has headers that do not agree on its size"#);
    insta::assert_snapshot!(check(22), @r#"demo.whl: member "b.py" has headers that do not agree on its size"#);
    insta::assert_snapshot!(check(30), @r#"demo.whl: member "b.py" has headers that do not agree on its name"#);
    insta::assert_snapshot!(check(0), @r#"demo.whl: member "b.py" has no local header where the central directory says"#);
    insta::assert_snapshot!(fault(&one(|member| member.uncompressed_size = 6)), @r#"demo.whl: member "a" has headers that do not agree on its size"#);
}

#[test]
fn members_do_not_overlap() {
    // The data of one member holds another, header and all.
    let inner = archive(&[Packed::stored("b", b"inner")]);
    let inner = &inner[..Parts::of(inner.clone()).directory()];
    let parts = Parts::of(archive(&[
        Packed::stored("a", inner),
        Packed::stored("b", b"inner"),
    ]));
    let field = parts.central(1) + 42;
    insta::assert_snapshot!(parts.set32(field, 31).fault(), @r#"demo.whl: member "a" overlaps what comes after it"#);
    // The data goes on into the central directory.
    let parts = Parts::of(one(|member| member.method = 8));
    let (central, local) = (parts.central(0), parts.local(0));
    let parts = parts.set(central + 20, &[6]).set(local + 18, &[6]);
    insta::assert_snapshot!(parts.fault(), @r#"demo.whl: member "a" overlaps what comes after it"#);
    // The header is there.
    let parts = Parts::of(one(|_| ()));
    let (field, directory) = (parts.central(0) + 42, parts.directory());
    assert!(open(&parts.set32(field, directory).bytes).is_err());
}

#[test]
fn data_descriptors() {
    let crc32 = crc32fast::hash(b"hello").to_le_bytes().to_vec();
    let signature = b"PK\x07\x08".to_vec();
    let narrow = [5u32.to_le_bytes(), 5u32.to_le_bytes()].concat();
    let wide = [5u64.to_le_bytes(), 5u64.to_le_bytes()].concat();
    let with = |descriptor: &[u8]| {
        let parts = Parts::of(one(|member| member.flags = 8)).insert_before(1, descriptor);
        parts.set(14, &[0; 12])
    };
    for sizes in [&narrow, &wide] {
        assert!(open(&with(&[crc32.clone(), sizes.clone()].concat()).bytes).is_ok());
        let all = [signature.clone(), crc32.clone(), sizes.clone()].concat();
        assert!(open(&with(&all).bytes).is_ok());
    }
    let wrong = [signature, vec![0; 4], narrow.clone()].concat();
    insta::assert_snapshot!(with(&wrong).fault(), @r#"demo.whl: member "a" has headers that do not agree on its data descriptor"#);
    assert!(with(&[]).fault().ends_with("data descriptor"));
    assert!(
        with(&[crc32, narrow, vec![0; 40]].concat())
            .fault()
            .ends_with("data descriptor")
    );
}

#[test]
fn extra_fields_tell_nothing_else() {
    let check = |extra: &[u8]| Parts::of(two()).central_extra(0, extra);
    let named = |name: &[u8]| {
        [
            &[
                0x75,
                0x70,
                u8::try_from(name.len() + 5).unwrap(),
                0,
                1,
                0,
                0,
                0,
                0,
            ],
            name,
        ]
        .concat()
    };
    assert!(open(&check(&named(b"b.py")).bytes).is_ok());
    assert!(open(&check(&[0x99, 0x99, 1, 0, 7]).bytes).is_ok());
    insta::assert_snapshot!(check(&named(b"c.py")).fault(), @r#"demo.whl: member "b.py" has a second, different name in an extra field"#);
    insta::assert_snapshot!(check(&[1, 0, 9, 0]).fault(), @r#"demo.whl: member "b.py" has a broken extra field"#);
    insta::assert_snapshot!(check(&[1, 0, 0, 0, 1, 0, 0, 0]).fault(), @r#"demo.whl: member "b.py" has a broken extra field"#);
    insta::assert_snapshot!(check(&[1]).fault(), @r#"demo.whl: member "b.py" has a broken extra field"#);
    // All ones, and a ZIP64 field that is too short to say what they mean.
    let parts = Parts::of(two()).central_extra(0, &[1, 0, 4, 0, 0, 0, 0, 0]);
    let at = parts.central(0) + 20;
    insta::assert_snapshot!(parts.set(at, &[0xff; 4]).fault(), @r#"demo.whl: member "b.py" has a broken extra field"#);
}

#[test]
fn limits() {
    let check = |limit: fn(&mut Limits)| {
        let mut limits = Limits::default();
        limit(&mut limits);
        Archive::open(source(&two()), &limits)
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(check(|limits| limits.members = 1), @"demo.whl has 2 members; the limit is 1");
    insta::assert_snapshot!(check(|limits| limits.directory = 100), @"demo.whl has a central directory of 101 bytes; the limit is 100");
    insta::assert_snapshot!(check(|limits| limits.file = 299), @r#"demo.whl: member "b.py" unpacks to 300 bytes; the limit is 299"#);
    insta::assert_snapshot!(check(|limits| limits.wheel = 304), @"demo.whl unpacks to 305 bytes; the limit is 304");
    let ratio = |limits: &mut Limits| (limits.ratio, limits.ratio_from) = (10, 299);
    insta::assert_snapshot!(check(ratio), @r#"demo.whl: member "b.py" unpacks 14 bytes to 300; the limit is 10 times"#);
    let ratio = |limits: &mut Limits| (limits.ratio, limits.ratio_from) = (10, 304);
    insta::assert_snapshot!(check(ratio), @"demo.whl unpacks 19 bytes to 305; the limit is 10 times");
}

#[test]
fn the_default_limits_are_for_torch_and_not_for_bombs() {
    const GIB: u64 = 1 << 30;
    let limits = Limits::default();
    assert!(limits.members >= 100_000 && limits.file >= 8 * GIB);
    assert!(!limits.exceeds_ratio(3 * GIB / 2, GIB / 4));
    assert!(!limits.exceeds_ratio(100 << 20, 100 << 10));
    assert!(limits.exceeds_ratio(GIB, GIB / 1000));
}

#[test]
fn what_is_read_is_checked() {
    let check = |change: fn(&mut Packed)| {
        let mut member = Packed::deflated("a", b"hello");
        change(&mut member);
        let archive = open(&archive(&[member])).unwrap();
        archive.read(&archive.members()[0]).unwrap_err().to_string()
    };
    insta::assert_snapshot!(check(|member| member.crc32 = 1), @r#"demo.whl: member "a" does not unpack to data of the CRC-32 that it should have"#);
    insta::assert_snapshot!(check(|member| member.uncompressed_size = 4), @r#"demo.whl: member "a" does not unpack to the 4 bytes that it should have"#);
    insta::assert_snapshot!(check(|member| member.uncompressed_size = 6), @r#"demo.whl: member "a" does not unpack to the 6 bytes that it should have"#);
    insta::assert_snapshot!(check(|member| member.stored = vec![0xff; 8]), @r#"demo.whl: member "a" cannot be unpacked"#);
    insta::assert_snapshot!(check(|member| member.uncompressed_size = 1 << 27), @r#"demo.whl: member "a" has 134217728 bytes, which is too much to read it; the limit is 67108864"#);
}

/// Opens `bytes`, and reads everything where that works.
fn exercise(bytes: &[u8]) {
    let Ok(archive) = open(bytes) else { return };
    for member in archive.members() {
        assert!(member.offset + member.length <= archive.source().size());
        let _ = archive.read(member);
        let _ = archive.starts_with(member, b"#!python");
    }
}

fn any_archive() -> impl Strategy<Value = Vec<u8>> {
    let member = ("[a-c/]{1,4}", "[a-z]{0,40}", any::<(bool, bool)>());
    proptest::collection::vec(member, 0..4).prop_map(|members| {
        let pack = |(name, data, (deflated, zip64)): (String, String, (bool, bool))| {
            let pack = if deflated {
                Packed::deflated
            } else {
                Packed::stored
            };
            Packed {
                zip64,
                ..pack(&name, data.as_bytes())
            }
        };
        archive(&members.into_iter().map(pack).collect::<Vec<_>>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_no_reason_to_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn mutated_archives_are_no_reason_to_panic(
        mut bytes in any_archive(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise(&bytes);
    }

    /// The fields of the headers are where the mutations do something.
    #[test]
    fn extreme_fields_are_no_reason_to_panic(
        at in 0usize..46,
        value in prop::sample::select(vec![0u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX]),
        zip64 in any::<bool>(),
        part in 0usize..3,
    ) {
        let parts = Parts::of(archive(&[
            Packed { zip64, ..Packed::stored("a", b"hello") },
            Packed { zip64, ..Packed::deflated("b", b"hello") },
        ]));
        let start = match part {
            0 => parts.end().saturating_sub(if zip64 { 76 } else { 0 }),
            1 if !zip64 => parts.central(1),
            _ => 36,
        };
        let at = (start + at).min(parts.bytes.len() - 4);
        exercise(&parts.set(at, &value.to_le_bytes()).bytes);
    }
}
