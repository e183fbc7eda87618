//! Any bytes as a deflate stream in a wheel: the layer they give is what other decoders read, or they
//! are refused.
//!
//! The first byte says by how much the size that the archive declares is wrong, if at all; flate2's
//! own decoder is the oracle for what the rest holds.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

use std::io::Read as _;
use std::sync::Arc;

use flate2::bufread::{DeflateDecoder, GzDecoder};
use libfuzzer_sys::fuzz_target;
use oci::layer::{self, Options, Output};
use oci::{Archived, Content, Entry, Method, Source, SpliceMap, Tree, TreePath};

/// Bytes that one stream may inflate to here.
const LARGEST: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&claim, stream)) = input.split_first() else {
        return;
    };
    let mut decoder = DeflateDecoder::new(stream).take(LARGEST + 1);
    let mut plain = Vec::new();
    let is_stream = decoder.read_to_end(&mut plain).is_ok();
    if plain.len() as u64 > LARGEST {
        return;
    }
    let is_whole = decoder.into_inner().total_in() == stream.len() as u64;
    let error = match claim {
        0..=199 => 0,
        odd => i64::from(odd) - 228,
    };
    let size = (plain.len() as u64).saturating_add_signed(error);
    let source = fuzz::source(stream, "fuzz-1-py3-none-any.whl").unwrap();
    let tree = tree(&source, stream, size, crc32fast::hash(&plain));
    let mut blob = Vec::new();
    let encoded = layer::encode(&tree, &Options::default(), Output::Blob(&mut blob));
    let is_right = is_stream && is_whole && size == plain.len() as u64;
    assert_eq!(encoded.is_ok(), is_right, "{encoded:?}");
    let Ok(encoded) = encoded else { return };

    let mut tar = Vec::new();
    GzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
    assert_eq!(oci::Digest::of(&tar), encoded.layer.diff_id.0);
    let mut archive = tar::Archive::new(&tar[..]);
    let contents = archive.entries().unwrap().map(|entry| {
        let mut content = Vec::new();
        entry.unwrap().read_to_end(&mut content).unwrap();
        content
    });
    assert!(contents.eq([&b"before"[..], &plain, stream, b"after"]));

    let mut map = SpliceMap::new();
    let options = Options {
        jobs: 2,
        ..Options::default()
    };
    let mapped = layer::encode(&tree, &options, Output::Map(&mut map)).unwrap();
    assert_eq!(mapped, encoded);
    let mut again = Vec::new();
    map.write_blob(&|_| Ok(source.clone()), &mut again).unwrap();
    assert!(again == blob, "the map gives another blob");
});

/// The stream as a file, the same bytes as a stored one, and small files around them.
fn tree(source: &Source, stream: &[u8], size: u64, crc32: u32) -> Tree {
    let archived = |method, uncompressed_size, crc32| {
        Content::Archived(Archived {
            source: source.clone(),
            method,
            offset: 0,
            length: stream.len() as u64,
            uncompressed_size,
            crc32,
            checksum: None,
        })
    };
    let small = |text: &'static str| Content::Bytes(text.as_bytes().into());
    let stored = archived(Method::Stored, stream.len() as u64, crc32fast::hash(stream));
    let mut tree = Tree::new();
    let origin: Arc<str> = "fuzz".into();
    for (path, content) in [
        ("a", small("before")),
        ("b", archived(Method::Deflated, size, crc32)),
        ("c", stored),
        ("d", small("after")),
    ] {
        let entry = Entry::file(content, false, &origin);
        tree.insert(TreePath::new(path).unwrap(), entry).unwrap();
    }
    tree
}
