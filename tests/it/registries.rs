//! A registry that is not ours, Debian's docker-registry: pushed to, read back by other programs, and
//! bases taken from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use oci::Platform;
use serde_json::Value;

use crate::docker_registry::{Asks, DockerRegistry, PASSWORD, USER};
use crate::samples::{Built, Sample, enter, oxcart, succeed};
use crate::skip::{Need, left_out};

const PLATFORMS: [Platform; 2] = [Platform::Amd64, Platform::Arm64];

/// `oxcart build --push` of a sample that was built; returns what it printed and its metadata.
fn push(built: &Built, registry: &DockerRegistry, repository: &str) -> (String, Value) {
    let directory = tempfile::tempdir().unwrap();
    let metadata = directory.path().join("metadata.json");
    let mut command = registry.allow(oxcart());
    command
        .args(["build", "--locked", "--push", "--project"])
        .arg(built.project())
        .args(built.profile())
        .args(["--name", &registry.name(repository), "--tag", "1"])
        .arg("--metadata-file")
        .arg(&metadata);
    let stdout = succeed(&mut command);
    let metadata = fs::read(metadata).unwrap();
    (stdout, serde_json::from_slice(&metadata).unwrap())
}

/// The digests of all blobs that an image's metadata names, its configurations aside.
fn layers(metadata: &Value) -> BTreeSet<String> {
    let platforms = metadata["platforms"].as_object().unwrap().values();
    platforms
        .flat_map(|platform| platform["layers"].as_array().unwrap())
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}

fn count(registry: &DockerRegistry, what: &str) -> usize {
    let requests = registry.requests();
    requests.iter().filter(|it| it.contains(what)).count()
}

/// The samples, for both platforms: pushed, pushed again, mounted elsewhere.
fn check(sample: Sample, asks: Asks) {
    let built = sample.built();
    let registry = DockerRegistry::start(asks);
    let digest = built.stdout().trim().to_owned();
    let (stdout, metadata) = push(&built, &registry, "team/first");
    assert_eq!(
        stdout,
        format!("{}@{digest}\n", registry.name("team/first"))
    );
    let blobs = layers(&metadata).len() + PLATFORMS.len();
    assert_eq!(count(&registry, "PUT /v2/team/first/blobs/uploads/"), blobs);

    registry.forget();
    let (again, metadata) = push(&built, &registry, "team/first");
    assert_eq!(again, stdout);
    assert_eq!(metadata["bytes_uploaded"], 0);
    assert_eq!(count(&registry, "PUT "), 0);
    let requests = registry.requests().len();
    assert!(
        requests < 2 * blobs,
        "{requests} requests for {blobs} blobs"
    );

    registry.forget();
    let (_, metadata) = push(&built, &registry, "team/second");
    assert_eq!(metadata["bytes_uploaded"], 0);
    assert_eq!(count(&registry, "mount=sha256"), blobs);
    assert_eq!(count(&registry, "PUT /v2/team/second/blobs/"), 0);
    for platform in metadata["platforms"].as_object().unwrap().values() {
        for layer in platform["layers"].as_array().unwrap() {
            assert_eq!(layer["state"], "mounted", "{layer}");
        }
    }
    for repository in ["team/first", "team/second"] {
        read_back(&registry, repository, &built);
    }
}

/// Other programs find there what was built.
fn read_back(registry: &DockerRegistry, repository: &str, built: &Built) {
    let directory = tempfile::tempdir().unwrap();
    let reference = format!("docker://{}:1", registry.name(repository));
    let raw = succeed(registry.client("skopeo").args([
        "inspect",
        "--tls-verify=false",
        "--raw",
        &reference,
    ]));
    assert_eq!(
        oci::Digest::of(raw.as_bytes()).to_string(),
        built.stdout().trim()
    );
    let copy = format!("oci:{}:all", directory.path().join("copy").display());
    let mut skopeo = registry.client("skopeo");
    skopeo.args([
        "copy",
        "--quiet",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
    ]);
    succeed(skopeo.args([&reference, &copy]));
    let reader = oci::LayoutReader::open(&directory.path().join("copy")).unwrap();
    let report = oci::validate(&reader).unwrap();
    assert_eq!(report.images.len(), PLATFORMS.len());
}

#[test]
fn hello_is_pushed_once_and_mounted() {
    if left_out(Need::Network) {
        return;
    }
    check(Sample::Hello, Asks::PasswordOverTls);
}

#[test]
fn the_ml_image_is_pushed_once_and_mounted() {
    if left_out(Need::Network) {
        return;
    }
    check(Sample::Ml, Asks::Nothing);
}

#[test]
fn umoci_and_podman_read_what_was_pushed() {
    if left_out(Need::Network) {
        return;
    }
    let built = Sample::Hello.built();
    let registry = DockerRegistry::start(Asks::PasswordOverTls);
    push(&built, &registry, "team/hello");
    let directory = tempfile::tempdir().unwrap();
    for platform in PLATFORMS {
        let bundle = unpack(&registry, "team/hello:1", platform, directory.path());
        assert!(bundle.join("rootfs/opt/venv/bin/uvicorn").exists());
    }
    let at = |name: &str| directory.path().join(name).display().to_string();
    let mut podman = registry.client("podman");
    podman.args([
        "--root",
        &at("root"),
        "--runroot",
        &at("runroot"),
        "--storage-driver",
        "vfs",
    ]);
    podman.args([
        "pull",
        "--quiet",
        "--tls-verify=false",
        &registry.name("team/hello:1"),
    ]);
    assert_eq!(succeed(&mut podman).trim().len(), 64);
}

#[test]
fn passwords_and_certificates_that_are_wrong() {
    if left_out(Need::Network) {
        return;
    }
    let layout = Sample::Hello.built().layout();
    let registry = DockerRegistry::start(Asks::PasswordOverTls);
    let attempt = |auth: &str, ca: Option<&Path>| {
        let mut command = oxcart();
        command.arg("push").arg(format!("oci:{}", layout.display()));
        command
            .arg(registry.name("team/hello:1"))
            .env("OXCART_AUTH", auth);
        if let Some(ca) = ca {
            command.arg("--ca").arg(ca);
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("hint:"), "{stderr}");
        stderr
    };
    let right = format!("{USER}:{PASSWORD}");
    let stderr = attempt(&right, None);
    assert!(
        stderr.contains("certificate") && stderr.contains("--ca"),
        "{stderr}"
    );
    let stderr = attempt(&right, Some(&layout.join("index.json")));
    assert!(stderr.contains("index.json"), "{stderr}");
    let stderr = attempt("robot:wrong", Some(&registry.authority()));
    assert!(
        stderr.contains("team/hello") && stderr.contains("OXCART_AUTH"),
        "{stderr}"
    );
    assert!(!stderr.contains("wrong"), "{stderr}");
}

/// The image for one platform, unpacked by umoci.
pub(crate) fn unpack(
    registry: &DockerRegistry,
    name: &str,
    platform: Platform,
    directory: &Path,
) -> std::path::PathBuf {
    let one = directory.join(format!("one-{}", platform.slug()));
    let bundle = directory.join(format!("bundle-{}", platform.slug()));
    let mut skopeo = registry.client("skopeo");
    skopeo.args([
        "--override-arch",
        platform.architecture(),
        "copy",
        "--quiet",
        "--src-tls-verify=false",
    ]);
    skopeo.arg(format!("docker://{}", registry.name(name)));
    succeed(skopeo.arg(format!("oci:{}:one", one.display())));
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--image", &format!("{}:one", one.display())]);
    succeed(umoci.arg(&bundle));
    bundle
}

/// What stands in for an image of the Hub: Debian's packages, put together and changed by buildah. Two
/// layers, the upper one with whiteouts; an environment, a label, a directory.
const BUILDAH: &str = r#"
set -eu
mirror=$1 architecture=$2 out=$3
buildah() { command buildah --root "$PWD/root" --runroot "$PWD/runroot" --storage-driver vfs "$@"; }
mmdebstrap --quiet --variant=extract --arch="$architecture" \
    --include=python3-minimal,libpython3-stdlib,base-files,base-passwd,libc6,coreutils,dash \
    --aptopt='Acquire::Check-Valid-Until "false"' bookworm "$architecture.tar" \
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
first=$(buildah from --arch "$architecture" scratch)
buildah config --arch "$architecture" --os linux --env FROM_BUILDAH=yes --env LANG=C.UTF-8 \
    --label of=buildah --workingdir /srv --user 1000:1000 "$first" >/dev/null
buildah add --quiet "$first" "$architecture.tar" / >/dev/null
buildah commit --quiet "$first" "first-$architecture" >/dev/null
second=$(buildah from --arch "$architecture" --pull-never "localhost/first-$architecture")
mounted=$(buildah mount "$second")
rm -r "$mounted/usr/share/doc" "$mounted/etc/issue"
mkdir -p "$mounted/srv"
echo below > "$mounted/srv/below"
buildah umount "$second" >/dev/null
buildah commit --quiet "$second" "second-$architecture" >/dev/null
buildah push --quiet --tls-verify=false "localhost/second-$architecture" "docker://$out-$architecture"
"#;

/// The mirror that the host's apt uses, or the one that the tests are told.
pub(crate) fn mirror() -> String {
    std::env::var("OXCART_DEBIAN_MIRROR")
        .ok()
        .or_else(|| {
            let sources = deb::sources::of_host(Path::new("/etc/apt"));
            deb::sources::mirrors(&sources, "bookworm").main
        })
        .expect("a Debian mirror: OXCART_DEBIAN_MIRROR names one")
}

#[test]
fn images_on_a_base_of_buildah_and_on_one_of_ours_run() {
    if left_out(Need::Emulation) {
        return;
    }
    let registry = DockerRegistry::start(Asks::Nothing);
    let directory = tempfile::tempdir().unwrap();
    for platform in PLATFORMS {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            BUILDAH,
            "sh",
            &mirror(),
            platform.architecture(),
            &registry.name("hub/python:3"),
        ]);
        succeed(shell.current_dir(directory.path()));
    }
    // Two jobs of somebody else's, joined by ours.
    let sources = PLATFORMS.map(|it| registry.name(&format!("hub/python:3-{}", it.architecture())));
    let base = registry.name("hub/python:3");
    succeed(oxcart().args(["index", "create", &base]).args(&sources));
    let image = on_base(directory.path(), "app", &base, "");
    succeed(build(&image, &registry.name("team/app")).args(["--tag", "1"]));
    for platform in PLATFORMS {
        let bundle = unpack(&registry, "team/app:1", platform, directory.path());
        let rootfs = bundle.join("rootfs");
        assert!(
            !rootfs.join("usr/share/doc").exists(),
            "a whiteout of the base"
        );
        let config: Value =
            serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
        let env = config["process"]["env"].as_array().unwrap();
        for expected in ["FROM_BUILDAH=yes", "VIRTUAL_ENV=/opt/venv"] {
            assert!(env.contains(&expected.into()), "{env:?}");
        }
        assert_eq!(config["process"]["cwd"], "/srv");
        assert_eq!(config["process"]["user"]["uid"], 1000);
        let printed = python(
            &rootfs,
            "import markupsafe._speedups, sys, platform; print(platform.machine(), sys.prefix, open('/srv/below').read())",
        );
        let machine = if platform == Platform::Amd64 {
            "x86_64"
        } else {
            "aarch64"
        };
        assert_eq!(printed, format!("{machine} /opt/venv below\n\n"));
    }
    // Its environment is a base in turn: only what is new is added.
    let base = registry.name("team/app:1");
    let image = on_base(directory.path(), "thin", &base, "reuse-base = true");
    succeed(build(&image, &registry.name("team/thin")).args(["--tag", "1"]));
    let lock = fs::read_to_string(image.join("oxcart.lock")).unwrap();
    assert!(
        lock.contains("[[platform.reused]]\nname = \"markupsafe\""),
        "{lock}"
    );
    for platform in PLATFORMS {
        fs::remove_dir_all(directory.path().join(format!("bundle-{}", platform.slug()))).unwrap();
        fs::remove_dir_all(directory.path().join(format!("one-{}", platform.slug()))).unwrap();
        let bundle = unpack(&registry, "team/thin:1", platform, directory.path());
        let printed = python(
            &bundle.join("rootfs"),
            "import jinja2; print(jinja2.Template('{{ 6 * 7 }}').render())",
        );
        assert_eq!(printed, "42\n");
    }
}

fn python(rootfs: &Path, text: &str) -> String {
    let mut command = enter(rootfs, "/", (1000, 1000), "/opt/venv/bin/python");
    succeed(command.args(["-c", text]).env_clear())
}

/// A project with one wheel of each platform's own on `base`; with `reuse-base` another one on top.
fn on_base(directory: &Path, name: &str, base: &str, dependencies: &str) -> std::path::PathBuf {
    let project = directory.join(name);
    fs::create_dir(&project).unwrap();
    let packages = if dependencies.is_empty() {
        "\"markupsafe\""
    } else {
        "\"jinja2\", \"markupsafe\""
    };
    let text = format!(
        "[image]\nbase = \"{base}\"\n\n[dependencies]\npackages = [{packages}]\n{dependencies}\n"
    );
    fs::write(project.join("oxcart.toml"), text).unwrap();
    project
}

fn build(project: &Path, name: &str) -> Command {
    let mut command = oxcart();
    command
        .args(["build", "--push", "--name", name, "--project"])
        .arg(project);
    command
}
