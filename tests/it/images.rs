//! The images of the sample projects: whole by `validate`, and as their projects say.

use oci::{LayoutReader, Platform};
use serde_json::Value;

use crate::samples::{Sample, oxcart, succeed};
use crate::skip::{Need, left_out};

const SAMPLES: [Sample; 3] = [Sample::Hello, Sample::Backend, Sample::Ml];

#[test]
fn every_digest_size_and_media_type_holds() {
    if left_out(Need::Network) {
        return;
    }
    for sample in SAMPLES {
        let built = sample.built();
        let metadata = built.metadata();
        let report = oci::validate(&LayoutReader::open(&built.layout()).unwrap()).unwrap();
        assert_eq!(report.notes, [], "{sample:?}");
        let platforms: Vec<_> = report
            .images
            .iter()
            .map(|image| image.platform.as_str())
            .collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
        for image in &report.images {
            let said = &metadata["platforms"][&image.platform];
            assert_eq!(said["digest"], image.manifest.to_string());
            let said = said["layers"].as_array().unwrap();
            assert_eq!(said.len(), image.layers.len());
            for (said, layer) in said.iter().zip(&image.layers) {
                assert_eq!(said["digest"], layer.digest.to_string());
                assert_eq!(said["diff_id"], layer.diff_id.to_string());
                assert_eq!(said["size"], layer.size);
            }
        }
    }
}

#[test]
fn stdout_is_the_name_and_the_digest() {
    if left_out(Need::Network) {
        return;
    }
    for (sample, name) in [
        (Sample::Hello, "registry.example/hello"),
        (Sample::Backend, "registry.example/genascope/backend"),
        (Sample::Ml, "registry.example/genascope/backend"),
    ] {
        let built = sample.built();
        let metadata = built.metadata();
        let digest = metadata["digest"].as_str().unwrap();
        assert_eq!(built.stdout(), format!("{digest}\n"));
        assert_eq!(metadata["name"], name);
    }
}

#[test]
fn the_base_is_small_and_layers_are_few() {
    if left_out(Need::Network) {
        return;
    }
    for sample in SAMPLES {
        let metadata = sample.built().metadata();
        for platform in ["linux/amd64", "linux/arm64"] {
            let layers = metadata["platforms"][platform]["layers"]
                .as_array()
                .unwrap();
            let of = |kind: &'static str| layers.iter().filter(move |layer| layer["kind"] == kind);
            let size = |layer: &Value| layer["size"].as_u64().unwrap();
            let base: u64 = of("base").map(size).sum();
            assert!(
                (1_000_000..40_000_000).contains(&base),
                "{sample:?} {platform}: {base} bytes"
            );
            assert!(
                layers.len() <= 64,
                "{sample:?} {platform}: {} layers",
                layers.len()
            );
            assert_eq!(of("venv").count(), 1);
            let members = of("wheel").flat_map(|layer| layer["members"].as_array().unwrap());
            let members: Vec<_> = members.map(|member| member.as_str().unwrap()).collect();
            let has = |name: &str| members.iter().any(|it| it.starts_with(&format!("{name} ")));
            assert!(has("fastapi") && has("uvicorn"), "{members:?}");
            let ml = sample == Sample::Ml || (sample, platform) == (Sample::Backend, "linux/amd64");
            assert_eq!(has("transformers"), ml, "{sample:?} {platform}");
        }
    }
}

#[test]
fn a_wheel_is_the_same_layer_in_every_project() {
    if left_out(Need::Network) {
        return;
    }
    let layers = |sample: Sample, platform: Platform| -> Vec<(Value, Value)> {
        let metadata = sample.built().metadata();
        let layers = metadata["platforms"][platform.to_string()]["layers"]
            .as_array()
            .unwrap()
            .clone();
        layers
            .into_iter()
            .map(|layer| (layer["members"].clone(), layer["digest"].clone()))
            .collect()
    };
    let ours = layers(Sample::Hello, Platform::Arm64);
    let theirs = layers(Sample::Ml, Platform::Arm64);
    let pydantic = ours.iter().find(|(members, _)| {
        members.as_array().unwrap().len() == 1
            && members[0].as_str().unwrap().starts_with("pydantic-core ")
    });
    assert!(theirs.contains(pydantic.expect("a layer of its own")));
    assert_eq!(ours[0], theirs[0], "the base");
}

#[test]
fn a_second_build_downloads_and_builds_nothing() {
    if left_out(Need::Network) {
        return;
    }
    let built = Sample::Hello.built();
    let directory = tempfile::tempdir().unwrap();
    let metadata = directory.path().join("metadata.json");
    let mut again = oxcart();
    again
        .args(["build", "--quiet", "--locked", "--project"])
        .arg(built.project());
    again
        .arg("--output")
        .arg(format!("oci:{}", directory.path().join("image").display()));
    let stdout = succeed(again.arg("--metadata-file").arg(&metadata));
    assert_eq!(stdout, built.stdout());
    assert!(
        built.stderr().is_ascii(),
        "no decoration in a log: {}",
        built.stderr()
    );
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["bytes_downloaded"], 0);
    for platform in metadata["platforms"].as_object().unwrap().values() {
        for layer in platform["layers"].as_array().unwrap() {
            assert_eq!(layer["state"], "stored", "{layer}");
        }
    }
}
