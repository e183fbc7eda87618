//! Independent readers accept what oxcart writes: skopeo, umoci, podman, tar, gzip, unpigz.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use oci::{HashingWriter, Platform};
use serde_json::Value;

use crate::samples::{Built, Sample, oxcart, succeed};
use crate::skip::{Need, left_out};

#[test]
fn skopeo_inspects_and_copies() {
    if left_out(Need::Network) {
        return;
    }
    for sample in [Sample::Hello, Sample::Backend, Sample::Ml] {
        let built = sample.built();
        let metadata = built.metadata();
        for platform in [Platform::Amd64, Platform::Arm64] {
            let mut skopeo = Command::new("skopeo");
            skopeo.args([
                "--override-arch",
                platform.architecture(),
                "inspect",
                &built.reference(),
            ]);
            let shown: Value = serde_json::from_str(&succeed(&mut skopeo)).unwrap();
            assert_eq!(shown["Architecture"], platform.architecture());
            assert_eq!(shown["Os"], "linux");
            let layers = metadata["platforms"][platform.to_string()]["layers"]
                .as_array()
                .unwrap();
            let digests: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
            assert_eq!(shown["Layers"], Value::Array(digests));
        }
        let copy = tempfile::tempdir().unwrap();
        let target = format!("oci:{}:copy", copy.path().join("layout").display());
        succeed(Command::new("skopeo").args([
            "copy",
            "--quiet",
            "--all",
            &built.reference(),
            &target,
        ]));
        // It copies documents byte for byte, or their digests would not hold.
        let raw = succeed(Command::new("skopeo").args(["inspect", "--raw", &target]));
        assert_eq!(
            oci::Digest::of(raw.as_bytes()).to_string(),
            metadata["digest"].as_str().unwrap()
        );
    }
}

#[test]
fn podman_pulls_the_layout() {
    if left_out(Need::Network) {
        return;
    }
    let built = Sample::Hello.built();
    let podman = Podman::new();
    for platform in [Platform::Amd64, Platform::Arm64] {
        let architecture = platform.architecture();
        // podman names what it pulls after its path, and takes no name with a part such as `.cache`.
        let layout = built.layout();
        let (parent, name) = (layout.parent().unwrap(), layout.file_name().unwrap());
        let reference = format!("oci:{}:latest", name.display());
        let mut pull = podman.command();
        pull.current_dir(parent);
        let id = succeed(pull.args(["pull", "--quiet", "--arch", architecture, &reference]));
        podman.check(id.trim(), architecture);
    }
}

#[test]
fn podman_and_skopeo_load_the_archives() {
    if left_out(Need::Network) {
        return;
    }
    let built = Sample::Hello.built();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let host = Platform::host().expect("a host that images are built for");
    let mut again = oxcart();
    again
        .args(["build", "--quiet", "--locked", "--project"])
        .arg(built.project());
    again.args(["--output", &format!("oci-archive:{}", path("oci.tar"))]);
    assert_eq!(
        succeed(&mut again),
        built.stdout(),
        "the same image, by another way out"
    );
    // `docker load` takes one platform.
    let mut docker = oxcart();
    docker
        .args(["build", "--quiet", "--locked", "--project"])
        .arg(built.project());
    docker.args(["--platform", &host.to_string()]);
    docker.args([
        "--output",
        &format!("docker-archive:{}", path("docker.tar")),
    ]);
    succeed(&mut docker);
    for name in ["oci.tar", "docker.tar"] {
        succeed(Command::new("tar").args(["-tf", &path(name)]));
        let podman = Podman::new();
        let loaded = succeed(podman.command().args(["load", "--input", &path(name)]));
        let image = loaded.lines().last().unwrap().rsplit(' ').next().unwrap();
        podman.check(image, host.architecture());
    }
    let reference = format!("docker-archive:{}", path("docker.tar"));
    let shown = succeed(Command::new("skopeo").args(["inspect", &reference]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["Architecture"], host.architecture());
}

#[test]
fn umoci_unpacks_what_the_image_should_hold() {
    if left_out(Need::Network) {
        return;
    }
    for platform in [Platform::Amd64, Platform::Arm64] {
        let bundle = Sample::Hello.built().bundle(platform);
        let rootfs = bundle.rootfs();
        assert_eq!(bundle.uid(), 65532);
        for path in [
            "app/app/main.py",
            "opt/venv/bin/uvicorn",
            "etc/ssl/certs/ca-certificates.crt",
        ] {
            assert!(rootfs.join(path).is_file(), "{platform}: {path}");
        }
        let python = fs::read_link(rootfs.join("opt/venv/bin/python")).unwrap();
        assert!(
            python.to_string_lossy().contains("python3.13"),
            "{python:?}"
        );
        for program in ["bin/sh", "usr/bin/sh", "usr/bin/apt-get", "usr/bin/perl"] {
            assert!(!rootfs.join(program).exists(), "{platform}: {program}");
        }
        assert!(rootfs.join("var/lib/dpkg/status.d/libc6").is_file());
    }
}

#[test]
fn tar_gzip_and_unpigz_read_every_layer() {
    if left_out(Need::Network) {
        return;
    }
    for sample in [Sample::Hello, Sample::Backend, Sample::Ml] {
        let built = sample.built();
        for (blob, diff_id) in blobs(&built) {
            let path = built.layout().join("blobs/sha256").join(&blob);
            succeed(Command::new("sh").args(["-c", "gzip -t < $0"]).arg(&path));
            assert_eq!(decompressed("gzip", &path), diff_id, "{blob}");
            assert_eq!(decompressed("unpigz", &path), diff_id, "{blob}");
            succeed(Command::new("tar").arg("-tzf").arg(&path));
        }
    }
}

/// Every layer once: the blob's file name, and its `diff_id`.
fn blobs(built: &Built) -> std::collections::BTreeMap<String, String> {
    let metadata = built.metadata();
    let platforms = metadata["platforms"].as_object().unwrap();
    let layers = platforms
        .values()
        .flat_map(|platform| platform["layers"].as_array().unwrap());
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:")
            .to_owned()
    };
    layers
        .map(|layer| (text(&layer["digest"]), text(&layer["diff_id"])))
        .collect()
}

/// The digest of what `program` makes of the file.
fn decompressed(program: &str, path: &Path) -> String {
    let mut command = Command::new(program);
    command
        .arg("-dc")
        .stdin(File::open(path).unwrap())
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut writer = HashingWriter::new(io::sink());
    io::copy(child.stdout.as_mut().unwrap(), &mut writer).unwrap();
    assert!(
        child.wait().unwrap().success(),
        "{program} refuses {}",
        path.display()
    );
    writer.finish().1.hex()
}

/// A podman with a storage of its own, which goes with it.
struct Podman {
    directory: tempfile::TempDir,
}

impl Podman {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("directory"),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(self.directory.path().join("root"));
        command
            .arg("--runroot")
            .arg(self.directory.path().join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    }

    /// The image is there, and podman understands its config.
    fn check(&self, image: &str, architecture: &str) {
        let shown = succeed(self.command().args(["image", "inspect", image]));
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let config = &shown[0]["Config"];
        assert_eq!(shown[0]["Architecture"], architecture);
        assert_eq!(config["Entrypoint"][0], "/opt/venv/bin/uvicorn");
        assert_eq!(config["WorkingDir"], "/app");
        assert!(config["ExposedPorts"].get("8000/tcp").is_some(), "{config}");
        let environment = config["Env"].as_array().expect("Env");
        let path = environment
            .iter()
            .filter_map(Value::as_str)
            .find(|it| it.starts_with("PATH="));
        assert!(
            path.is_some_and(|path| path.starts_with("PATH=/opt/venv/bin:")),
            "{path:?}"
        );
    }
}
