//! Layout directories.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use oci::{Digest, LayoutReader, LayoutWriter, Platform, validate};
use serde_json::Value;

use crate::sample::{Sample, layer, message};

fn files(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for directory in [root.to_owned(), root.join("blobs/sha256")] {
        let entries = fs::read_dir(directory).unwrap();
        names.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    names.sort();
    names
}

fn names(root: &Path) -> Vec<String> {
    let index: Value = serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap();
    let name = |entry: &Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"]
            .as_str()
            .unwrap_or("-")
            .to_owned()
    };
    index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect()
}

#[test]
fn what_is_written_can_be_read() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let root = dir.path().join("deep/er");
    sample.write_layout(&root, &["1.0", "latest"]);
    assert_eq!(
        fs::read_to_string(root.join("oci-layout")).unwrap(),
        r#"{"imageLayoutVersion":"1.0.0"}"#
    );
    // Three layers, two images of two documents, an index.
    assert_eq!(files(&root).len(), 3 + 4 + 1 + 3);

    let reader = LayoutReader::open(&root).unwrap();
    let index = reader.resolve(Some("1.0")).unwrap();
    assert_eq!(reader.document(&index).unwrap(), sample.index.bytes);
    assert_eq!(reader.resolve(None).unwrap().digest(), index.digest());
    let manifest = reader.select(&index, Platform::ArmV7).unwrap();
    let (manifest, config) = reader.image(&manifest).unwrap();
    assert_eq!(
        (&manifest, &config),
        (&sample.images[1].manifest, &sample.images[1].config)
    );
    for (digest, blob) in &sample.blobs {
        let mut bytes = Vec::new();
        reader
            .blob(digest)
            .unwrap()
            .reader()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(&bytes, blob);
    }

    let report = validate(&reader).unwrap();
    let platforms: Vec<_> = report
        .images
        .iter()
        .map(|image| image.platform.as_str())
        .collect();
    // Listed twice in `index.json`.
    assert_eq!(
        platforms,
        ["linux/amd64", "linux/arm/v7", "linux/amd64", "linux/arm/v7"]
    );
    assert_eq!(
        report.images[1].layers[1].diff_id,
        sample.images[1].layers[1].diff_id
    );
    // opt, opt/venv and the file.
    assert_eq!(report.images[0].layers[0].members, 3);
    assert_eq!(report.notes, []);
}

#[test]
fn a_name_is_replaced_and_everything_else_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    sample.write_layout(dir.path(), &["a", "b", "c"]);
    let index = dir.path().join("index.json");
    let text = fs::read_to_string(&index)
        .unwrap()
        .replacen('{', r#"{"x-own":[1],"#, 1);
    fs::write(&index, text).unwrap();

    let layout = LayoutWriter::open(dir.path()).unwrap();
    let amd64 = &sample.images[0].manifest_descriptor;
    layout.publish(amd64, &["b"]).unwrap();
    assert_eq!(names(dir.path()), ["a", "b", "c"]);
    layout.publish(amd64, &[]).unwrap();
    layout.publish(amd64, &[]).unwrap();
    assert_eq!(names(dir.path()), ["a", "b", "c", "-"]);
    let reader = LayoutReader::open(dir.path()).unwrap();
    assert_eq!(reader.resolve(Some("b")).unwrap().digest(), amd64.digest());
    assert_eq!(
        reader.resolve(Some("c")).unwrap().digest(),
        sample.index.descriptor.digest()
    );
    assert!(
        fs::read_to_string(&index)
            .unwrap()
            .contains(r#""x-own":[1]"#)
    );
    validate(&reader).unwrap();
}

#[test]
fn a_blob_that_is_there_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::open(dir.path()).unwrap();
    let digest = Digest::of(b"blob");
    assert!(!layout.has_blob(&digest, 4));
    assert!(layout.put_bytes(b"blob").unwrap());
    assert!(layout.has_blob(&digest, 4));
    let never = |_: &mut dyn Write| -> io::Result<()> { panic!("was called") };
    assert!(!layout.put_blob(&digest, 4, never).unwrap());

    // A file cut short by another program has the wrong size and is replaced.
    fs::write(dir.path().join("blobs/sha256").join(digest.hex()), b"blo").unwrap();
    assert!(layout.put_bytes(b"blob").unwrap());
}

#[test]
fn a_wrong_blob_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::open(dir.path()).unwrap();
    let before = files(dir.path());
    let fault = |size: u64, bytes: &'static [u8]| {
        let error = layout.put_blob(&Digest::of(b"blob"), size, |out| out.write_all(bytes));
        message(&error.unwrap_err())
    };
    insta::assert_snapshot!(fault(4, b"blo"), @"blob sha256:… has 3 bytes, expected 4");
    insta::assert_snapshot!(fault(4, b"blob and more"), @"blob sha256:… has more than the expected 4 bytes");
    insta::assert_snapshot!(fault(4, b"BLOB"), @"blob sha256:… has the digest sha256:…");
    let gone = |_: &mut dyn Write| Err(io::Error::other("wheel is gone"));
    let error = layout.put_blob(&Digest::of(b"blob"), 4, gone).unwrap_err();
    insta::assert_snapshot!(message(&error), @"blob sha256:… could not be written: wheel is gone");
    assert_eq!(files(dir.path()), before);
}

#[test]
fn left_overs_of_killed_runs_go_when_nobody_else_is_at_work() {
    let dir = tempfile::tempdir().unwrap();
    // Killed before `oci-layout` was there.
    fs::create_dir(dir.path().join("blobs")).unwrap();
    let half = dir.path().join(".oxcart-abc123.tmp");
    fs::write(&half, "half").unwrap();
    let first = LayoutWriter::open(dir.path()).unwrap();
    assert!(!half.exists());
    fs::write(&half, "at work").unwrap();
    let second = LayoutWriter::open(dir.path()).unwrap();
    assert!(half.exists());
    drop((first, second));
    LayoutWriter::open(dir.path()).unwrap();
    assert!(!half.exists());
}

#[test]
fn a_damaged_blob_is_removed_and_can_be_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(dir.path()).unwrap();
    let digest = Digest::of(b"whole");
    assert!(!writer.mend(&digest, 5).unwrap());
    writer.put_bytes(b"whole").unwrap();
    assert!(writer.mend(&digest, 5).unwrap());
    let path = dir.path().join("blobs/sha256").join(digest.hex());
    fs::write(&path, b"whale").unwrap();
    assert!(!writer.mend(&digest, 5).unwrap());
    assert!(!path.exists());
    assert!(writer.put_bytes(b"whole").unwrap());
}

#[test]
fn several_writers_share_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    let tags: Vec<String> = (0..8).map(|n| format!("t{n}")).collect();
    std::thread::scope(|scope| {
        for tag in &tags {
            scope.spawn(|| sample.write_layout(dir.path(), &[tag]));
        }
    });
    let mut found = names(dir.path());
    found.sort();
    assert_eq!(found, tags);
    validate(&LayoutReader::open(dir.path()).unwrap()).unwrap();
}

#[test]
fn other_directories_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let error = LayoutWriter::open(dir.path()).unwrap_err();
    insta::assert_snapshot!(message(&error), @"TMP is not an OCI image layout: it has no `oci-layout`");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let error = LayoutReader::open(dir.path()).unwrap_err();
    insta::assert_snapshot!(message(&error), @"TMP is not an OCI image layout: it has no `oci-layout`");

    fs::write(
        dir.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"2.0.0"}"#,
    )
    .unwrap();
    insta::assert_snapshot!(message(&LayoutWriter::open(dir.path()).unwrap_err()), @"TMP is an OCI image layout of version `2.0.0`: only 1.0.0 is known");
    insta::assert_snapshot!(message(&LayoutReader::open(dir.path()).unwrap_err()), @"TMP is an OCI image layout of version `2.0.0`: only 1.0.0 is known");
    let error = LayoutReader::open(&dir.path().join("none")).unwrap_err();
    insta::assert_snapshot!(message(&error), @"TMP No such file or directory (os error 2)");
}

#[test]
fn names_and_platforms_that_are_not_there_are_answered_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    sample.write_layout(dir.path(), &["a"]);
    let layout = LayoutWriter::open(dir.path()).unwrap();
    layout
        .publish(&sample.images[0].manifest_descriptor, &["b"])
        .unwrap();
    let reader = LayoutReader::open(dir.path()).unwrap();
    insta::assert_snapshot!(message(&reader.resolve(Some("x")).unwrap_err()), @"no image is named `x`: there is a and b");
    insta::assert_snapshot!(message(&reader.resolve(None).unwrap_err()), @"no name says which image is meant: there is a and b");
    let error = reader
        .select(&sample.index.descriptor, Platform::Arm64)
        .unwrap_err();
    insta::assert_snapshot!(message(&error), @"no image is for linux/arm64: there is linux/amd64 and linux/arm/v7");
}

#[test]
fn documents_are_checked_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new();
    sample.write_layout(dir.path(), &["a"]);
    let reader = LayoutReader::open(dir.path()).unwrap();
    let index = &sample.index;
    let path = dir
        .path()
        .join("blobs/sha256")
        .join(Digest::of(&index.bytes).hex());
    let with = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        message(&reader.document(&index.descriptor).unwrap_err())
    };
    let other = vec![b' '; index.bytes.len()];
    insta::assert_snapshot!(with(&other), @"blob sha256:… has the digest sha256:…");
    insta::assert_snapshot!(with(&other[1..]), @"blob sha256:… has 503 bytes, expected 504");
    fs::remove_file(&path).unwrap();
    insta::assert_snapshot!(message(&reader.document(&index.descriptor).unwrap_err()), @"blob sha256:… is missing");
    let (missing, _) = layer("x", "x", oci::Encoder::Splice);
    insta::assert_snapshot!(message(&reader.blob(&missing.digest).unwrap_err()), @"blob sha256:… is missing");
}
