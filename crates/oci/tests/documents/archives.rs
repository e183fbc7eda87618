//! oci-archive and docker-archive.

use std::io::{self, Write};

use oci::{ArchiveWriter, Digest, LayoutReader, Platform, SHARED_MTIME, validate};
use serde_json::Value;

use crate::sample::{Sample, message, open_archive};

fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut reader = tar::Archive::new(archive);
    let read = |entry: io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), SHARED_MTIME);
        let mut bytes = Vec::new();
        io::copy(&mut entry, &mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    reader.entries().unwrap().map(read).collect()
}

fn member(archive: &[u8], name: &str) -> Value {
    let (_, bytes) = members(archive)
        .into_iter()
        .find(|(path, _)| path == name)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn an_oci_archive_is_a_layout() {
    let sample = Sample::new();
    let archive = sample.oci_archive(&["1.0"]);
    assert_eq!(archive, Sample::new().oci_archive(&["1.0"]));
    let names: Vec<_> = members(&archive)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names[..3], ["blobs/", "blobs/sha256/", "oci-layout"]);
    assert_eq!(names.last().unwrap(), "index.json");
    assert_eq!(names.len(), 3 + 4 + 3 + 1 + 1);

    let reader = open_archive(&archive).unwrap();
    let index = reader.resolve(Some("1.0")).unwrap();
    let manifest = reader.select(&index, Platform::Amd64).unwrap();
    assert_eq!(reader.image(&manifest).unwrap().1, sample.images[0].config);
    let dir = tempfile::tempdir().unwrap();
    sample.write_layout(dir.path(), &["1.0"]);
    let from_directory = validate(&LayoutReader::open(dir.path()).unwrap()).unwrap();
    assert_eq!(validate(&reader).unwrap(), from_directory);
}

#[test]
fn a_docker_archive_is_both() {
    let sample = Sample::new();
    let archive = sample.docker_archive(&["ghcr.io/acme/app:1.0", "localhost:5000/app"]);
    let layer = |n: usize| format!("blobs/sha256/{}", sample.images[0].layers[n].digest.hex());
    assert_eq!(
        member(&archive, "manifest.json"),
        serde_json::json!([{
            "Config": format!("blobs/sha256/{}", Digest::of(&sample.images[0].config).hex()),
            "Layers": [layer(0), layer(1)],
            "RepoTags": ["ghcr.io/acme/app:1.0", "localhost:5000/app"],
        }])
    );
    let index = member(&archive, "index.json");
    let annotations: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["annotations"].to_string())
        .collect();
    insta::assert_snapshot!(annotations.join(" "), @r#"{"io.containerd.image.name":"ghcr.io/acme/app:1.0","org.opencontainers.image.ref.name":"1.0"} {"io.containerd.image.name":"localhost:5000/app","org.opencontainers.image.ref.name":"latest"}"#);
    let report = validate(&open_archive(&archive).unwrap()).unwrap();
    assert_eq!(report.images[0].platform, "linux/amd64");
    assert!(!sample.docker_archive(&[]).is_empty());
}

#[test]
fn a_blob_goes_in_once_and_is_checked() {
    let mut archive = ArchiveWriter::new(Vec::new(), 0).unwrap();
    assert!(archive.put_bytes(b"blob").unwrap());
    assert!(!archive.put_bytes(b"blob").unwrap());
    let digest = Digest::of(b"other");
    for bytes in [&b"othe"[..], b"others", b"OTHER"] {
        let error = archive
            .put_blob(&digest, 5, |out| out.write_all(bytes))
            .unwrap_err();
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
        assert!(!archive.has_blob(&digest));
    }
}

#[test]
fn an_output_that_fails_is_reported() {
    #[derive(Debug)]
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    insta::assert_snapshot!(message(&ArchiveWriter::new(Full(600), 0).unwrap_err()), @"the archive could not be written: no storage space");
    let mut archive = ArchiveWriter::new(Full(3000), 0).unwrap();
    insta::assert_snapshot!(message(&archive.put_bytes(&[1; 2000]).unwrap_err()), @"blob sha256:… could not be written: no storage space");
}

#[test]
fn archives_that_others_make_are_read() {
    // As `tar -C layout -cf archive .` writes them.
    let sample = Sample::new();
    let mut out = tar::Builder::new(Vec::new());
    for (name, bytes) in members(&sample.oci_archive(&["1.0"])) {
        if name.ends_with('/') {
            continue;
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_path("x").unwrap();
        let dotted = format!("./{name}");
        header.as_mut_bytes()[..dotted.len()].copy_from_slice(dotted.as_bytes());
        header.set_cksum();
        out.append(&header, &bytes[..]).unwrap();
    }
    let mut archive = out.into_inner().unwrap();
    archive.resize(archive.len().next_multiple_of(10240), 0);
    validate(&open_archive(&archive).unwrap()).unwrap();
}

#[test]
fn broken_archives_are_refused() {
    let archive = Sample::new().oci_archive(&["1.0"]);
    let open = |bytes: &[u8]| message(&open_archive(bytes).unwrap_err());
    let index = archive
        .windows(10)
        .rposition(|window| window == b"index.json")
        .unwrap();
    for length in (0..archive.len()).step_by(100).chain([archive.len() - 1]) {
        let text = open(&archive[..length]);
        assert!(
            text.contains("ends too early") || text.contains("nothing else"),
            "{length}: {text}"
        );
    }
    insta::assert_snapshot!(open(&archive[..index + 600]), @"TMP is broken after `index.json`: ends too early");
    insta::assert_snapshot!(open(&archive[..archive.len() - 512]), @"TMP is broken after `index.json`: does not end in two blocks of zeros and nothing else");
    let mut doubled = archive[..archive.len() - 1024].to_vec();
    doubled.extend_from_slice(&archive[index..]);
    insta::assert_snapshot!(open(&doubled), @"TMP has two members named `index.json`");
    let mut damaged = archive.clone();
    damaged[index] = b'I';
    insta::assert_snapshot!(open(&damaged), @"TMP is broken after `blobs/sha256/430e48798bad077e3775f30953ef99dd60cf569fa469b498e9469a033df671fa`: has a header whose checksum is wrong");
    insta::assert_snapshot!(open(b"\x1f\x8b\x08\x00 and so on"), @"TMP is compressed: decompress it first");
    insta::assert_snapshot!(open(b"just a text"), @"TMP is broken from its beginning: ends too early");
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
    insta::assert_snapshot!(open(&empty), @"TMP is not an OCI image layout: it has no `oci-layout`");
}
