//! Layers through the public interface, read back with other implementations of gzip and tar.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::io::Write;

use common::{Pack, check, decode, encode, fixed, origin, path, tree_of};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use oci::{Checksum, Content, Digest, Encoder, Entry, Kind, Layer, Options, Output, Source, Tree};

/// Bytes that compress, with repetitions near and far.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    (0..length)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if n % 3000 < 2000 {
                (state >> 28) as u8
            } else {
                (n / 7 % 200) as u8
            }
        })
        .collect()
}

fn deflated(data: &[u8], level: u32, parts: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    for part in data.chunks(data.len().div_ceil(parts).max(1)) {
        encoder.write_all(part).unwrap();
        if parts > 1 {
            encoder.flush().unwrap();
        }
    }
    encoder.finish().unwrap()
}

/// Deflate streams of `data` as many kinds of producers make them.
fn streams(data: &[u8]) -> Vec<Vec<u8>> {
    use zlib_rs::{DeflateConfig, DeflateFlush, Method, Strategy};
    let mut streams: Vec<_> = (0..=9).map(|level| deflated(data, level, 1)).collect();
    streams.extend([1, 6, 9].map(|level| deflated(data, level, 7)));
    for strategy in [
        Strategy::Filtered,
        Strategy::HuffmanOnly,
        Strategy::Rle,
        Strategy::Fixed,
    ] {
        let (method, window_bits, mem_level) = (Method::Deflated, -12, 2);
        let config = DeflateConfig {
            level: 6,
            method,
            window_bits,
            mem_level,
            strategy,
        };
        let mut deflate = zlib_rs::Deflate::new_with_config(config);
        let mut out = vec![0; data.len() * 2 + 1000];
        deflate
            .compress(data, &mut out, DeflateFlush::Finish)
            .unwrap();
        out.truncate(deflate.total_out() as usize);
        streams.push(out);
    }
    streams.push(fixed(data));
    streams
}

#[test]
fn streams_of_every_producer_are_spliced() {
    for length in [1, 2, 100, 511, 512, 513, 20_000, 70_000, 131_072, 300_000] {
        let data = sample(length);
        let mut pack = Pack::new();
        for stream in streams(&data) {
            pack.deflated(&stream, &data);
        }
        pack.stored(&data);
        check(&pack.tree());
    }
}

#[test]
fn streams_end_at_each_of_eight_bits() {
    let mut pack = Pack::new();
    for nines in 0..8 {
        // Bytes of 144 and above take nine bits.
        let data = [&vec![200; nines][..], b"abc"].concat();
        let stream = fixed(&data);
        pack.deflated(&stream, &data);
        // The same with noise where the last byte has no meaning.
        let mut noisy = stream.clone();
        let unused = (8 - (3 + 9 * nines + 24 + 7) % 8) % 8;
        *noisy.last_mut().unwrap() |= !(0xff_u32 >> unused) as u8;
        pack.deflated(&noisy, &data);
    }
    check(&pack.tree());
}

#[test]
fn empty_files_are_headers_only() {
    let mut pack = Pack::new();
    pack.deflated(&[0x03, 0x00], b"");
    pack.deflated(&[0x01, 0x00, 0x00, 0xff, 0xff], b"");
    pack.stored(b"");
    let mut tree = pack.tree();
    let empty = Entry::file(Content::Bytes(b""[..].into()), false, &origin());
    tree.insert(path("none"), empty).unwrap();
    check(&tree);
    let bare = tree_of(&[("0", b""), ("1", b""), ("2", b""), ("none", b"")]);
    assert_eq!(encode(&tree).0.layer, encode(&bare).0.layer);
}

#[test]
fn an_empty_tree_is_a_layer() {
    let (encoded, _) = check(&Tree::new());
    let zeros = Digest::of(&[0; 1024]);
    assert_eq!(encoded.layer.diff_id.0, zeros);
}

#[test]
fn files_at_rest_and_in_memory_are_compressed_alike() {
    for length in [1, 65_535, 65_536, 65_537, 400_000] {
        let data = sample(length);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(&data).unwrap();
        let source = Source::from_file(file, "data", None).unwrap();
        let content = Content::File {
            source,
            offset: 6,
            length: length as u64,
        };
        let mut tree = Tree::new();
        tree.insert(path("f"), Entry::file(content, false, &origin()))
            .unwrap();
        let (encoded, _) = check(&tree);
        assert_eq!(encoded.layer, encode(&tree_of(&[("f", &data)])).0.layer);
    }
}

#[test]
fn links_modes_and_owners_arrive() {
    let mut tree = tree_of(&[("d/file", b"content"), ("z", b"z")]);
    let link = |target: &str| Entry::new(Kind::Hardlink(path(target)), 0o644, &origin());
    tree.insert(path("d/a-link"), link("d/file")).unwrap();
    tree.insert(path("e"), link("d/a-link")).unwrap();
    tree.insert(path("s"), Entry::symlink("/usr/bin/python3", &origin()))
        .unwrap();
    let owned = Entry {
        uid: 33,
        gid: 3_000_000,
        mode: 0o4755,
        ..tree.get(&path("z")).unwrap().clone()
    };
    tree.replace(path("z"), owned).unwrap();
    let (_, members) = check(&tree);
    let lines: Vec<_> = members.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
5 755 0:0 "d/" 0 bytes
0 644 0:0 "d/a-link" 7 bytes
1 644 0:0 "d/file" -> "d/a-link"
1 644 0:0 "e" -> "d/a-link"
2 777 0:0 "s" -> "/usr/bin/python3"
0 4755 33:3000000 "z" 1 bytes
"#);
}

#[test]
fn other_encoders_have_the_same_tar_stream() {
    let mut pack = Pack::new();
    let data = sample(500_000);
    for stream in streams(&data).into_iter().step_by(4) {
        pack.deflated(&stream, &data);
    }
    pack.stored(&data);
    pack.deflated(&[0x03, 0x00], b"");
    let mut tree = pack.tree();
    tree.merge(tree_of(&[("x/y", &data)])).unwrap();
    let (spliced, _) = check(&tree);
    for name in ["zstd:3", "zstd:19", "gzip:1", "gzip:6"] {
        let encoder: Encoder = name.parse().unwrap();
        let run = |jobs| {
            let mut blob = Vec::new();
            let options = Options {
                encoder,
                jobs,
                memory: 64 << 20,
                ..Options::default()
            };
            let done = oci::layer::encode(&tree, &options, Output::Blob(&mut blob)).unwrap();
            (done.layer, blob)
        };
        let (layer, blob) = run(1);
        assert_eq!(layer.diff_id, spliced.layer.diff_id);
        assert_eq!(
            (layer.digest, layer.size),
            (Digest::of(&blob), blob.len() as u64)
        );
        assert_eq!(Digest::of(&decode(&layer, &blob)), layer.diff_id.0);
        assert!(run(3) == (layer, blob), "{name}: bytes depend on threads");
    }
}

#[test]
fn the_number_of_threads_reaches_no_byte() {
    let data = sample(3_000_000);
    let mut pack = Pack::new();
    for (n, part) in data.chunks(300_000).enumerate() {
        pack.deflated(&deflated(part, 6, 1 + n), part);
        pack.stored(part);
    }
    // Large enough for a checksum thread of its own, at three places.
    let large = data.repeat(2);
    for level in [1, 9] {
        pack.deflated(&deflated(&large, level, 1), &large);
    }
    pack.stored(&large);
    let mut tree = pack.tree();
    for n in 0..3000 {
        let content = Content::Bytes(format!("file {n}").into_bytes().into());
        tree.insert(
            path(&format!("many/{n}")),
            Entry::file(content, false, &origin()),
        )
        .unwrap();
    }
    check(&tree);
}

#[test]
fn long_files_are_the_same_in_stretches() {
    let data = sample(17 << 20);
    let mut pack = Pack::new();
    // First what threads work on while they look ahead, and a long file before that is worth it.
    pack.deflated(&deflated(&data, 1, 1), &data);
    pack.stored(&data[..6 << 20]);
    for (level, flushes) in [(1, 1), (6, 3), (9, 1), (6, 5000), (0, 1)] {
        pack.deflated(&deflated(&data, level, flushes), &data);
        pack.stored(&data[..100_000]);
    }
    // One block, which has no seam.
    pack.deflated(&fixed(&data), &data);
    let mut tree = pack.tree();
    let last = Entry::file(pack.contents().swap_remove(4), true, &origin());
    tree.insert(path("~"), last).unwrap();
    check(&tree);
}

fn golden_tree() -> Tree {
    let mut pack = Pack::new();
    for data in [&b"one"[..], b"two and more of it", &[0xff; 700]] {
        pack.deflated(&fixed(data), data);
        pack.stored(data);
    }
    let mut tree = pack.tree();
    tree.insert(
        path("bin/python"),
        Entry::symlink("/usr/bin/python3.13", &origin()),
    )
    .unwrap();
    let long = path(&format!(
        "lib/{}/naïve",
        "directory/".repeat(20).trim_end_matches('/')
    ));
    tree.insert(long.clone(), Entry::directory(&origin()))
        .unwrap();
    let link = Entry::new(Kind::Hardlink(path("0")), 0o644, &origin());
    tree.insert(long.join("link").unwrap(), link).unwrap();
    tree
}

fn golden_layer() -> Layer {
    check(&golden_tree()).0.layer
}

/// Every image that has such files changes if this does. It may only with `oci::layer::FORMAT`.
#[test]
fn golden_diff_id() {
    let expect = "sha256:8b68ba3ba2c6e732415fcdcdfe252a35583fe88893738729e2493d22201e3c34";
    assert_eq!(
        golden_layer().diff_id.to_string(),
        expect,
        "with FORMAT {}",
        oci::layer::FORMAT
    );
}

/// Every lock file that has such layers is outdated if this changes. It may only with
/// `oci::layer::FORMAT`. There is nothing in it that a library has compressed; see the golden corpus
/// of `compress.rs` for that.
#[test]
fn golden_blob_digest() {
    let expect = "sha256:4102b5b7aec0ea5958e92fa63b6a597faab0c3b3a99f5cc395dd0a6b75afcbd3";
    assert_eq!(
        golden_layer().digest.to_string(),
        expect,
        "with FORMAT {}",
        oci::layer::FORMAT
    );
}

#[test]
fn options_and_layers_have_documents() {
    let layer = golden_layer();
    let text = serde_json::to_string(&layer).unwrap();
    assert_eq!(serde_json::from_str::<Layer>(&text).unwrap(), layer);
    assert_eq!(
        layer.media_type,
        "application/vnd.oci.image.layer.v1.tar+gzip"
    );
    assert_eq!(
        Checksum::Sha256([0; 32]).to_string(),
        format!("sha256:{}", "0".repeat(64))
    );
}

mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Body {
        Bytes,
        Stored,
        Deflated(u32, usize),
        Symlink,
        Hardlink(prop::sample::Index),
        Directory,
    }

    fn component() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-d]{1,2}",
            2 => "[a-zA-Z0-9 ._+-]{1,30}x",
            1 => "[a-zé☃\t]{1,12}",
            1 => "[a-z]{90,160}",
        ]
    }

    fn entries() -> impl Strategy<Value = Vec<(String, Body, Vec<u8>)>> {
        let name = prop::collection::vec(component(), 1..5).prop_map(|parts| parts.join("/"));
        let body = prop_oneof![
            Just(Body::Bytes),
            Just(Body::Stored),
            (0_u32..10, 1_usize..4).prop_map(|(level, parts)| Body::Deflated(level, parts)),
            Just(Body::Symlink),
            any::<prop::sample::Index>().prop_map(Body::Hardlink),
            Just(Body::Directory),
        ];
        let data = prop_oneof![
            4 => prop::collection::vec(0_u8..9, 0..700),
            1 => prop::collection::vec(any::<u8>(), 30_000..40_000),
        ];
        prop::collection::vec((name, body, data), 0..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn trees_are_read_back(entries in entries()) {
            let mut pack = Pack::new();
            for (_, body, data) in &entries {
                match body {
                    Body::Stored => pack.stored(data),
                    Body::Deflated(level, parts) => pack.deflated(&deflated(data, *level, *parts), data),
                    _ => {}
                }
            }
            let mut contents = pack.contents().into_iter();
            let mut tree = Tree::new();
            let mut files: Vec<oci::TreePath> = Vec::new();
            for (name, body, data) in entries {
                let kind = match body {
                    Body::Bytes => Kind::File(Content::Bytes(data.into())),
                    Body::Stored | Body::Deflated(..) => Kind::File(contents.next().unwrap()),
                    Body::Symlink => Kind::Symlink(format!("../{name}")),
                    Body::Hardlink(_) if files.is_empty() => Kind::Directory,
                    Body::Hardlink(index) => Kind::Hardlink(index.get(&files).clone()),
                    Body::Directory => Kind::Directory,
                };
                let name = path(&name);
                let is_file = matches!(kind, Kind::File(_) | Kind::Hardlink(_));
                // Paths that clash with others are left out.
                if tree.insert(name.clone(), Entry::new(kind, 0o640, &origin())).is_ok() && is_file {
                    files.push(name);
                }
            }
            check(&tree);
        }
    }
}
