//! What `validate` finds: each test breaks one thing and makes the rest fit again.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use oci::{
    Descriptor, Digest, Encoder, Index, LayoutReader, LayoutWriter, Note, describe, validate,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sample::{Sample, layer, message, open_archive};

/// A layout with the first image of the sample, after `edit` changed its documents. The manifest's
/// reference to the configuration is made right before `edit` sees the manifest.
struct Edited {
    dir: TempDir,
    sample: Sample,
}

impl Edited {
    fn new() -> Self {
        let edited = Self {
            dir: tempfile::tempdir().unwrap(),
            sample: Sample::new(),
        };
        edited.sample.write_layout(edited.dir.path(), &["good"]);
        edited
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.path().join("blobs/sha256").join(digest.hex())
    }

    fn layer(&self, n: usize) -> PathBuf {
        self.blob(&self.sample.images[0].layers[n].digest)
    }

    /// Only `entries` in `index.json`.
    fn list(&self, entries: Vec<Descriptor>) {
        let index = Index::new(entries, &std::collections::BTreeMap::new());
        fs::write(self.dir.path().join("index.json"), index.bytes).unwrap();
    }

    fn check(&self) -> String {
        match LayoutReader::open(self.dir.path()) {
            Err(error) => message(&error),
            Ok(reader) => message(&validate(&reader).unwrap_err()),
        }
    }

    fn put(&self, value: &Value) -> Descriptor {
        let bytes = serde_json::to_vec(value).unwrap();
        LayoutWriter::open(self.dir.path())
            .unwrap()
            .put_bytes(&bytes)
            .unwrap();
        describe("".into(), &bytes)
    }

    fn put_manifest(&self, manifest: &Value) -> Descriptor {
        let mut descriptor = self.put(manifest);
        let original = &self.sample.images[0].manifest_descriptor;
        descriptor.set_media_type(original.media_type().clone());
        descriptor.set_platform(original.platform().clone());
        descriptor
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// What is found after the manifest was edited.
fn manifest(edit: impl FnOnce(&mut Value)) -> String {
    let edited = Edited::new();
    let mut manifest = parsed(&edited.sample.images[0].manifest);
    edit(&mut manifest);
    edited.list(vec![edited.put_manifest(&manifest)]);
    edited.check()
}

/// What is found after the configuration was edited.
fn config(edit: impl FnOnce(&mut Value)) -> String {
    let edited = Edited::new();
    let mut config = parsed(&edited.sample.images[0].config);
    edit(&mut config);
    let descriptor = edited.put(&config);
    let mut manifest = parsed(&edited.sample.images[0].manifest);
    manifest["config"]["digest"] = json!(descriptor.digest());
    manifest["config"]["size"] = json!(descriptor.size());
    edited.list(vec![edited.put_manifest(&manifest)]);
    edited.check()
}

/// What is found with another first layer.
fn first_layer(blob: &[u8], diff_id: Digest) -> String {
    let edited = Edited::new();
    LayoutWriter::open(edited.dir.path())
        .unwrap()
        .put_bytes(blob)
        .unwrap();
    let mut config = parsed(&edited.sample.images[0].config);
    config["rootfs"]["diff_ids"][0] = json!(diff_id);
    let descriptor = edited.put(&config);
    let mut manifest = parsed(&edited.sample.images[0].manifest);
    manifest["config"]["digest"] = json!(descriptor.digest());
    manifest["config"]["size"] = json!(descriptor.size());
    manifest["layers"][0]["digest"] = json!(Digest::of(blob));
    manifest["layers"][0]["size"] = json!(blob.len());
    edited.list(vec![edited.put_manifest(&manifest)]);
    edited.check()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(paths: &[&str]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for path in paths {
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        out.append(&header, &[][..]).unwrap();
    }
    out.into_inner().unwrap()
}

#[test]
fn blobs_on_disk() {
    let edited = Edited::new();
    let blob = fs::read(edited.layer(1)).unwrap();
    let mut other = blob.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(edited.layer(1), &other).unwrap();
    insta::assert_snapshot!(edited.check(), @"manifest sha256:…: layers[1].digest: blob sha256:… has the digest sha256:…");
    fs::write(edited.layer(1), &blob[1..]).unwrap();
    insta::assert_snapshot!(edited.check(), @"manifest sha256:…: layers[1].size: blob sha256:… has 144 bytes, expected 145");
    fs::remove_file(edited.layer(1)).unwrap();
    insta::assert_snapshot!(edited.check(), @"manifest sha256:…: layers[1]: blob sha256:… is missing");

    let edited = Edited::new();
    fs::remove_file(edited.blob(&Digest::of(&edited.sample.images[1].config))).unwrap();
    insta::assert_snapshot!(edited.check(), @"manifest sha256:…: config: blob sha256:… is missing");
    let path = edited.blob(&Digest::of(&edited.sample.images[0].manifest));
    fs::write(&path, vec![b' '; edited.sample.images[0].manifest.len()]).unwrap();
    insta::assert_snapshot!(edited.check(), @"index sha256:…: manifests[0].digest: blob sha256:… has the digest sha256:…");
}

#[test]
fn manifests() {
    insta::assert_snapshot!(manifest(|m| m["layers"][1]["size"] = json!(1)), @"manifest sha256:…: layers[1].size: blob sha256:… has 145 bytes, expected 1");
    insta::assert_snapshot!(manifest(|m| m["config"]["size"] = json!(1)), @"manifest sha256:…: config.size: blob sha256:… has 450 bytes, expected 1");
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    insta::assert_snapshot!(manifest(|m| m["layers"][0]["mediaType"] = json!(zstd)), @"manifest sha256:…: layers[0].mediaType is `application/vnd.oci.image.layer.v1.tar+zstd`, expected one for gzip");
    insta::assert_snapshot!(manifest(|m| m["layers"][0]["mediaType"] = json!("text/plain")), @"manifest sha256:…: layers[0].mediaType is `text/plain`, expected a layer's");
    let index = "application/vnd.oci.image.index.v1+json";
    insta::assert_snapshot!(manifest(|m| m["mediaType"] = json!(index)), @"manifest sha256:…: mediaType is `application/vnd.oci.image.index.v1+json`, expected `application/vnd.oci.image.manifest.v1+json`");
    insta::assert_snapshot!(manifest(|m| m["schemaVersion"] = json!(1)), @"manifest sha256:…: schemaVersion is `1`, expected `2`");
    insta::assert_snapshot!(manifest(|m| m["layers"] = json!([])), @"configuration sha256:…: rootfs.diff_ids has 2 entries for 0 layers");
    let sha512 = format!("sha512:{}", "0".repeat(128));
    insta::assert_snapshot!(manifest(|m| m["layers"][0]["digest"] = json!(sha512)), @"manifest sha256:…: layers[0].digest: digest `sha512:00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000`: only sha256 is supported");
    insta::assert_snapshot!(manifest(|m| m["layers"] = json!(1)), @"manifest sha256:… cannot be read: invalid type: integer `1`, expected a sequence at line 1 column 171");
}

#[test]
fn configurations() {
    let other = json!(Digest::of(b"other"));
    insta::assert_snapshot!(config(|c| c["rootfs"]["diff_ids"][1] = other), @"configuration sha256:…: rootfs.diff_ids[1] is sha256:…, but the layer's tar stream has sha256:…");
    insta::assert_snapshot!(config(|c| c["rootfs"]["diff_ids"][1] = json!("sha256:x")), @"configuration sha256:…: rootfs.diff_ids: digest `sha256:… only sha256 is supported");
    insta::assert_snapshot!(config(|c| c["rootfs"]["type"] = json!("x")), @"configuration sha256:…: rootfs.type is `x`, expected `layers`");
    insta::assert_snapshot!(config(|c| c["architecture"] = json!("arm64")), @"index.json: manifests[0].platform is linux/amd64, but the configuration says linux/arm64");
    insta::assert_snapshot!(config(|c| c["history"][0]["empty_layer"] = json!(true)), @"configuration sha256:…: history has 1 entries for 2 layers");
    insta::assert_snapshot!(config(|c| c["rootfs"] = json!({"type": "layers"})), @"configuration sha256:… cannot be read: missing field `diff_ids` at line 1 column 288");
    insta::assert_snapshot!(config(|c| c["x"] = json!("x".repeat(4 << 20))), @"manifest sha256:…: config: sha256:… has 4194761 bytes: documents may have 4194304");
}

#[test]
fn layers() {
    let good = tar(&["a", "b"]);
    let check = |tar: &[u8]| first_layer(&gzip(tar), Digest::of(tar));
    insta::assert_snapshot!(check(&tar(&["a", "../b"])), @"layer sha256:…: ../b is not a path inside the image");
    insta::assert_snapshot!(check(&tar(&["a", "a"])), @"layer sha256:…: a appears twice");
    insta::assert_snapshot!(check(&good[..good.len() - 513]), @"layer sha256:… ends too early");
    let packed = gzip(&good);
    insta::assert_snapshot!(first_layer(&packed[..packed.len() - 1], Digest::of(&good)), @"layer sha256:… ends too early");
    let mut damaged = packed.clone();
    damaged[12] = 0xff;
    insta::assert_snapshot!(first_layer(&damaged, Digest::of(&good)), @"layer sha256:… cannot be read: corrupt deflate stream");
    insta::assert_snapshot!(first_layer(b"", Digest::of(b"")), @"manifest sha256:…: layers[0].mediaType is `application/vnd.oci.image.layer.v1.tar+gzip`, expected one for an uncompressed tar stream");
}

#[test]
fn indexes() {
    let edited = Edited::new();
    let mut nested = edited.sample.index.descriptor.clone();
    for _ in 0..5 {
        let index = Index::new(vec![nested], &std::collections::BTreeMap::new());
        LayoutWriter::open(edited.dir.path())
            .unwrap()
            .put_index(&index)
            .unwrap();
        nested = index.descriptor;
    }
    edited.list(vec![nested]);
    insta::assert_snapshot!(edited.check(), @"index sha256:…: manifests[0] is nested too deep");
    let mut wrong = edited.sample.index.descriptor.clone();
    wrong.set_size(3);
    edited.list(vec![wrong]);
    insta::assert_snapshot!(edited.check(), @"index.json: manifests[0].size: blob sha256:… has 504 bytes, expected 3");
    fs::write(edited.dir.path().join("index.json"), "{}").unwrap();
    insta::assert_snapshot!(edited.check(), @"index.json cannot be read: missing field `schemaVersion` at line 1 column 2");
}

#[test]
fn the_first_fault_is_found_whatever_the_threads_do() {
    let edited = Edited::new();
    for n in 0..2 {
        fs::write(edited.layer(n), b"").unwrap();
    }
    for _ in 0..20 {
        let text = edited.check();
        assert!(text.contains("layers[0].size"), "{text}");
    }
}

#[test]
fn dockers_list_has_to_fit() {
    let sample = Sample::new();
    // The list is of another image than the one whose blobs are there.
    let archive = sample.begin_archive(&sample.images[..1]);
    let mut other = sample.images[0].clone();
    other.config.push(b' ');
    let bytes = archive.finish_docker(&other, &["a:b"]).unwrap();
    insta::assert_snapshot!(message(&validate(&open_archive(&bytes).unwrap()).unwrap_err()), @"manifest.json: [0].Config is not that of an image of the layout");
    let archive = sample.begin_archive(&sample.images[..1]);
    let mut other = sample.images[0].clone();
    other.layers.pop();
    let bytes = archive.finish_docker(&other, &["a:b"]).unwrap();
    insta::assert_snapshot!(message(&validate(&open_archive(&bytes).unwrap()).unwrap_err()), @"manifest.json: [0].Layers is not that of an image of the layout");
}

#[test]
fn what_is_allowed_is_noted() {
    let edited = Edited::new();
    let (own, blob) = layer("x", "attestation", Encoder::Splice);
    LayoutWriter::open(edited.dir.path())
        .unwrap()
        .put_bytes(&blob)
        .unwrap();
    let empty = edited.put(&json!({}));
    let attestation = edited.put_manifest(&json!({
        "schemaVersion": 2, "artifactType": "application/x-own",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty.digest(), "size": 2},
        "layers": [{"mediaType": "application/x-own", "digest": own.digest, "size": own.size}],
    }));
    edited.list(vec![attestation.clone()]);
    let report = validate(&LayoutReader::open(edited.dir.path()).unwrap()).unwrap();
    let digest = oci::digest_of(&attestation).unwrap();
    assert_eq!(
        (report.images.len(), report.notes),
        (0, vec![Note::Other { digest }])
    );
    fs::write(edited.blob(&own.digest), "").unwrap();
    insta::assert_snapshot!(edited.check(), @"manifest sha256:…: layers[0].size: blob sha256:… has 0 bytes, expected 127");
}
