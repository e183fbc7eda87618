//! Archives at rest, and layers checked in every way there is.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use oci::{
    Archived, Checksum, Content, Digest, Encoded, Encoder, Entry, HashingWriter, Kind, Layer,
    Method, OnMismatch, Options, Output, Source, SpliceMap, Tree, TreePath,
};
use sha2::Digest as _;

pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

pub(crate) fn origin() -> Arc<str> {
    "test-1.0.whl".into()
}

pub(crate) fn tree_of(files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::new();
    for (name, bytes) in files {
        let entry = Entry::file(Content::Bytes((*bytes).into()), false, &origin());
        tree.insert(path(name), entry).unwrap();
    }
    tree
}

/// An archive being made: bodies one after the other, with a gap before each.
pub(crate) struct Pack {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bodies: Vec<Body>,
}

#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) method: Method,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) uncompressed_size: u64,
    pub(crate) crc32: u32,
    pub(crate) checksum: Option<(Checksum, OnMismatch)>,
}

impl Pack {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            bodies: Vec::new(),
        }
    }

    pub(crate) fn deflated(&mut self, stream: &[u8], data: &[u8]) {
        self.add(Method::Deflated, stream, data);
    }

    pub(crate) fn stored(&mut self, data: &[u8]) {
        self.add(Method::Stored, data, data);
    }

    fn add(&mut self, method: Method, stream: &[u8], data: &[u8]) {
        self.bytes.extend_from_slice(b"PK");
        // One after the other, all three kinds of checksums.
        let checksum = match self.bodies.len() % 4 {
            0 => Some(Checksum::Sha256(sha2::Sha256::digest(data).into())),
            1 => Some(Checksum::Sha384(sha2::Sha384::digest(data).into())),
            2 => Some(Checksum::Sha512(sha2::Sha512::digest(data).into())),
            _ => None,
        };
        self.bodies.push(Body {
            method,
            offset: self.bytes.len() as u64,
            length: stream.len() as u64,
            uncompressed_size: data.len() as u64,
            crc32: crc32fast::hash(data),
            checksum: checksum.map(|checksum| (checksum, OnMismatch::Fail)),
        });
        self.bytes.extend_from_slice(stream);
    }

    /// One for each body.
    pub(crate) fn contents(&self) -> Vec<Content> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.bytes).unwrap();
        let source =
            Source::from_file(file, "test-1.0.whl", Some(Digest::of(&self.bytes))).unwrap();
        let content = |body: &Body| {
            Content::Archived(Archived {
                source: source.clone(),
                method: body.method,
                offset: body.offset,
                length: body.length,
                uncompressed_size: body.uncompressed_size,
                crc32: body.crc32,
                checksum: body.checksum,
            })
        };
        self.bodies.iter().map(content).collect()
    }

    /// The bodies as files `0`, `1`, ….
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for (n, content) in self.contents().into_iter().enumerate() {
            tree.insert(path(&n.to_string()), Entry::file(content, false, &origin()))
                .unwrap();
        }
        tree
    }
}

/// A deflate stream of one final block of fixed codes without matches.
pub(crate) fn fixed(data: &[u8]) -> Vec<u8> {
    let mut bits = vec![true, true, false];
    for byte in data {
        let (code, count) = match u16::from(*byte) {
            low @ ..=143 => (0x30 + low, 8),
            high => (0x190 + high - 144, 9),
        };
        bits.extend((0..count).rev().map(|bit| code >> bit & 1 == 1));
    }
    bits.extend([false; 7]);
    let byte = |bits: &[bool]| {
        bits.iter()
            .rev()
            .fold(0, |byte, bit| byte << 1 | u8::from(*bit))
    };
    bits.chunks(8).map(byte).collect()
}

/// A member as read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    name: String,
    kind: char,
    mode: u32,
    owner: (u64, u64),
    link: String,
    content: Vec<u8>,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kind,
            mode,
            owner: (uid, gid),
            link,
            content,
        } = self;
        write!(f, "{kind} {mode:o} {uid}:{gid} {name:?}")?;
        match link.as_str() {
            "" => write!(f, " {} bytes", content.len()),
            link => write!(f, " -> {link:?}"),
        }
    }
}

/// The tar stream of a blob.
pub(crate) fn decode(layer: &Layer, blob: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if layer.media_type.ends_with("zstd") {
        zstd::Decoder::new(blob)
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        return out;
    }
    let mut gzip = flate2::bufread::GzDecoder::new(blob);
    gzip.read_to_end(&mut out).unwrap();
    let header = gzip.header().unwrap();
    assert_eq!(
        (header.mtime(), header.operating_system(), header.filename()),
        (0, 255, None)
    );
    assert!(gzip.into_inner().is_empty(), "more than one gzip member");
    out
}

fn members(tar: &[u8]) -> Vec<Member> {
    let mut archive = tar::Archive::new(tar);
    let member = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut owner = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
        for record in entry.pax_extensions().unwrap().into_iter().flatten() {
            let record = record.unwrap();
            match record.key().unwrap() {
                "uid" => owner.0 = record.value().unwrap().parse().unwrap(),
                "gid" => owner.1 = record.value().unwrap().parse().unwrap(),
                _ => {}
            }
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let head = entry.header();
        assert_eq!(head.mtime().unwrap(), oci::SHARED_MTIME);
        let kind = char::from(head.entry_type().as_byte());
        let mode = head.mode().unwrap();
        let name = text(&entry.path_bytes());
        let link = text(entry.link_name_bytes().as_deref().unwrap_or_default());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        Member {
            name,
            kind,
            mode,
            owner,
            link,
            content,
        }
    };
    archive.entries().unwrap().map(member).collect()
}

pub(crate) fn encode(tree: &Tree) -> (Encoded, Vec<u8>) {
    let mut blob = Vec::new();
    let encoded = oci::layer::encode(tree, &Options::default(), Output::Blob(&mut blob)).unwrap();
    (encoded, blob)
}

/// What a tree's members should be read back as. Names of one file: the first is the file.
fn expected(tree: &Tree) -> Vec<Member> {
    let file = |path: &TreePath| {
        let mut path = path.clone();
        while let Kind::Hardlink(target) = &tree.get(&path).unwrap().kind {
            path = target.clone();
        }
        path
    };
    tree.iter()
        .map(|(path, _)| {
            let target = file(path);
            let real = tree.get(&target).unwrap();
            let first = tree
                .iter()
                .map(|(path, _)| path)
                .find(|path| file(path) == target)
                .unwrap();
            let (kind, slash, link, content) = match &real.kind {
                Kind::File(_) if first != path => ('1', "", first.as_str(), Vec::new()),
                Kind::File(content) => ('0', "", "", plain(content)),
                Kind::Directory => ('5', "/", "", Vec::new()),
                Kind::Symlink(target) => ('2', "", target.as_str(), Vec::new()),
                Kind::Hardlink(_) => unreachable!(),
            };
            let owner = (real.uid.into(), real.gid.into());
            let name = format!("{path}{slash}");
            Member {
                name,
                kind,
                mode: real.mode,
                owner,
                link: link.to_owned(),
                content,
            }
        })
        .collect()
}

fn plain(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    match content {
        Content::Bytes(bytes) => return bytes.to_vec(),
        Content::File {
            source,
            offset,
            length,
        } => {
            source
                .range(*offset, *length)
                .read_to_end(&mut bytes)
                .unwrap();
        }
        Content::Archived(archived) => {
            let range = archived.source.range(archived.offset, archived.length);
            match archived.method {
                Method::Stored => { range }.read_to_end(&mut bytes).unwrap(),
                Method::Deflated => flate2::read::DeflateDecoder::new(range)
                    .read_to_end(&mut bytes)
                    .unwrap(),
            };
        }
    }
    bytes
}

/// Encodes `tree` in every way, reads it back and compares everything.
#[track_caller]
pub(crate) fn check(tree: &Tree) -> (Encoded, Vec<Member>) {
    let (encoded, blob) = encode(tree);
    let layer = &encoded.layer;
    assert_eq!(
        (layer.digest, layer.size),
        (Digest::of(&blob), blob.len() as u64)
    );
    let tar = decode(layer, &blob);
    assert_eq!(layer.diff_id.0, Digest::of(&tar));
    assert!(tar.ends_with(&[0; 1024]) && tar.len().is_multiple_of(512));
    let members = members(&tar);
    assert!(members == expected(tree), "{members:#?}");

    for jobs in [1, 2, 5] {
        let options = Options {
            jobs,
            memory: 64 << 20,
            ..Options::default()
        };
        let discarded = oci::layer::encode(tree, &options, Output::Discard).unwrap();
        assert_eq!(discarded, encoded);
        if let Some((mapped, again)) = through_a_map(tree, &options) {
            assert_eq!(mapped, encoded);
            assert!(again == blob, "the map gives another blob");
        }
    }
    (encoded, members)
}

/// The blob made from a map that was serialised in between; None if the tree can't have one.
fn through_a_map(tree: &Tree, options: &Options) -> Option<(Encoded, Vec<u8>)> {
    let mut archive = None;
    for (_, entry) in tree.iter() {
        match &entry.kind {
            Kind::File(Content::Archived(archived)) => archive = Some(archived.source.clone()),
            Kind::File(Content::File { .. }) => return None,
            _ => {}
        }
    }
    assert_eq!(options.encoder, Encoder::Splice);
    let mut map = SpliceMap::new();
    let encoded = oci::layer::encode(tree, options, Output::Map(&mut map)).unwrap();
    let mut bytes = Vec::new();
    map.to_writer(&mut bytes).unwrap();
    assert_eq!(SpliceMap::from_reader(&mut &bytes[..]).unwrap(), map);
    assert_eq!(map.size(), encoded.layer.size);
    let open = |digest: &Digest| {
        let source = archive.clone().unwrap();
        assert_eq!(source.digest(), Some(*digest));
        Ok(source)
    };
    let mut out = HashingWriter::new(Vec::new());
    map.write_blob(&open, &mut out).unwrap();
    let (blob, digest, _) = out.finish();
    assert_eq!(digest, encoded.layer.digest);
    Some((encoded, blob))
}
