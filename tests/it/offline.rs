//! Builds without a network: from what `oxcart vendor` gathered, or from the store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::{Digest, LayoutReader};
use oci_spec::image::{ANNOTATION_TITLE, ImageManifest};
use serde_json::Value;
use testkit::{Context, Registry, Run, WheelBuilder};

use crate::bases::OnBase;
use crate::project::{Image, Project, STANDARD, digest_of, listing};
use crate::readme::commands_of;
use crate::samples::{Sample, copy, oxcart, succeed};
use crate::skip::{Need, left_out};

/// Gathers for both platforms.
pub(crate) const VENDOR: [&str; 3] = ["vendor", "--output", "vendor"];
/// Builds from what was gathered.
pub(crate) const OFFLINE: [&str; 6] = [
    "build",
    "--offline",
    "--vendor",
    "vendor",
    "--output",
    "oci:offline",
];
/// What the layout calls what is for both platforms.
const BOTH: &str = "default-linux-amd64-linux-arm64";

/// The project alone, with a store that has nothing: its servers are gone.
pub(crate) fn cut_off(project: Project) -> Context {
    let Project { mut context, .. } = project;
    empty_store(&mut context);
    context
}

fn empty_store(context: &mut Context) {
    let numbers = 1..;
    let mut stores = numbers.map(|n| context.root().join(format!("store-{n}")));
    let next = stores.find(|store| !store.exists()).unwrap();
    context.use_store(next);
}

/// The files of the artifact in the layout `directory`: name, media type, digest.
fn files(directory: &Path, name: &str) -> Vec<(String, String, Digest)> {
    let reader = LayoutReader::open(directory).unwrap();
    let descriptor = reader.resolve(Some(name)).unwrap();
    let manifest: ImageManifest =
        serde_json::from_slice(&reader.document(&descriptor).unwrap()).unwrap();
    let file = |layer: &oci::Descriptor| {
        let title = oci::annotation(layer, ANNOTATION_TITLE).unwrap().to_owned();
        (
            title,
            layer.media_type().to_string(),
            oci::digest_of(layer).unwrap(),
        )
    };
    manifest.layers().iter().map(file).collect()
}

/// Where the layout `vendor` has the file of that name.
fn blob(context: &Context, name: &str) -> PathBuf {
    let files = files(&context.path("vendor"), BOTH);
    let found = files.iter().find(|(title, ..)| title == name);
    let (.., digest) = found.unwrap_or_else(|| panic!("no {name} in {files:#?}"));
    context.path(&format!("vendor/blobs/sha256/{}", digest.hex()))
}

/// The requests for wheels and Debian packages themselves.
fn downloads(project: &Project) -> Vec<String> {
    let mut requests = project.requests();
    requests.retain(|it| it.starts_with("GET ") && (it.contains(".whl ") || it.contains(".deb ")));
    requests
}

#[test]
fn the_digest_is_that_of_the_online_build() {
    let project = Project::standard();
    let online = project.build(&[]);
    let run = project.context.succeeds(VENDOR);
    let layout = LayoutReader::open(&project.context.path("vendor")).unwrap();
    assert_eq!(
        digest_of(&run),
        layout.resolve(None).unwrap().digest().to_string()
    );
    let report = oci::validate(&layout).unwrap();
    assert_eq!(report.images.len(), 0, "it is no image");
    let run = project.context.fails(["inspect", "oci:vendor"]);
    run.says(&[
        "is no image: it is an artifact, application/vnd.oxcart.vendor.v1",
        "hint:",
    ]);

    let lock = project.context.read("oxcart.lock");
    let context = cut_off(project);
    let metadata = ["--metadata-file", "metadata.json"];
    let run = context.succeeds(OFFLINE.iter().chain(&metadata));
    assert_eq!(digest_of(&run), online);
    let metadata: Value = serde_json::from_str(&context.read("metadata.json")).unwrap();
    assert_eq!(metadata["bytes_downloaded"], 0);
    assert_eq!(context.read("oxcart.lock"), lock);
    assert_eq!(
        listing(&context.path("offline")),
        listing(&context.path("image"))
    );
    // Now the store has everything.
    fs::remove_dir_all(context.path("vendor")).unwrap();
    let run = context.succeeds(["build", "--offline", "--no-cache", "--output", "oci:again"]);
    assert_eq!(digest_of(&run), online);
}

#[test]
fn an_archive_for_docker() {
    let project = Project::standard();
    let one = ["--platform", "linux/arm64"];
    let online = digest_of(&project.context.succeeds(["build"].iter().chain(&one)));
    project.context.succeeds(VENDOR.iter().chain(&one));
    let names = files(&project.context.path("vendor"), "default-linux-arm64");
    assert!(
        names.iter().any(|(name, ..)| name.ends_with("aarch64.whl")),
        "{names:#?}"
    );
    assert!(
        !names.iter().any(|(name, ..)| name.contains("x86_64")),
        "{names:#?}"
    );
    let context = cut_off(project);
    let run = context.succeeds(
        [
            "build",
            "--offline",
            "--vendor",
            "oci:vendor",
            "--output",
            "docker-archive:demo.tar",
        ]
        .iter()
        .chain(&one),
    );
    assert_eq!(digest_of(&run), online);
    let image = Image::open(&context.path("demo.tar"), "linux/arm64");
    assert!(image.has("opt/venv/bin/demo"));
}

#[test]
fn what_is_vendored_is_the_same_bytes_anywhere() {
    let project = Project::standard();
    project.context.succeeds(VENDOR);
    project.context.succeeds([
        "vendor",
        "--output",
        "again",
        "--platform",
        "linux/arm64",
        "--platform",
        "linux/amd64",
    ]);
    let (one, other) = (
        project.context.path("vendor"),
        project.context.path("again"),
    );
    assert_eq!(listing(&one), listing(&other));
    for name in listing(&one) {
        assert!(
            fs::read(one.join(&name)).unwrap() == fs::read(other.join(&name)).unwrap(),
            "{name}"
        );
    }
    let mut types: Vec<_> = files(&one, BOTH)
        .into_iter()
        .map(|(_, media_type, _)| media_type)
        .collect();
    types.sort();
    types.dedup();
    assert_eq!(
        types,
        [
            "application/vnd.oxcart.deb.v1",
            "application/vnd.oxcart.wheel.v1"
        ]
    );
    let index: Value = serde_json::from_str(&project.context.read("vendor/index.json")).unwrap();
    assert_eq!(
        index["manifests"][0]["artifactType"],
        "application/vnd.oxcart.vendor.v1"
    );
}

#[test]
fn only_what_is_new_is_added() {
    let mut project = Project::standard();
    let first = digest_of(&project.context.succeeds(VENDOR));
    assert!(!downloads(&project).is_empty());
    project.forget_requests();
    empty_store(&mut project.context);
    assert_eq!(digest_of(&project.context.succeeds(VENDOR)), first);
    assert_eq!(project.requests(), [""; 0], "all of it is there");

    let before = listing(&project.context.path("vendor/blobs"));
    project.index.add(&WheelBuilder::simple("further", "1.0"));
    project
        .context
        .write("requirements.txt", "demo==1.0\nnative\nfurther\n");
    project.context.succeeds(["lock"]);
    project.forget_requests();
    let run = project.context.succeeds(VENDOR);
    run.says(&["1 of them are new"]);
    let fetched = downloads(&project);
    assert!(
        matches!(&fetched[..], [one] if one.contains("further-1.0")),
        "{fetched:#?}"
    );
    let after = listing(&project.context.path("vendor/blobs"));
    assert!(
        before.iter().all(|name| after.contains(name)),
        "what was there stays"
    );
    assert_eq!(after.len(), before.len() + 2, "the wheel and the manifest");
    // Another set of platforms stands beside it, and shares its files.
    project
        .context
        .succeeds(VENDOR.iter().chain(&["--platform", "linux/amd64"]));
    assert_eq!(
        listing(&project.context.path("vendor/blobs")).len(),
        after.len() + 1
    );
    let layout = LayoutReader::open(&project.context.path("vendor")).unwrap();
    assert_eq!(layout.index().manifests().len(), 2);
}

#[test]
fn what_is_missing_is_told_at_once() {
    let project = Project::standard();
    project
        .context
        .succeeds(VENDOR.iter().chain(&["--platform", "linux/arm64"]));
    let index = project.index.url();
    let context = cut_off(project);
    let run = context.fails(OFFLINE);
    run.says(&[
        "are neither in the store nor in vendor, and --offline forbids the network:",
        "\n  native-3.1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl sha256:",
        "\n  libc6_",
        "_amd64.deb sha256:",
        "hint: where there is a network, run `oxcart vendor --output DIR`",
    ]);
    let host = index.split('/').nth(2).unwrap();
    assert!(
        run.stderr.contains(&format!(" http://{host}/")),
        "{}",
        run.account()
    );
    for there in ["demo-1.0", "aarch64", "_arm64.deb"] {
        assert!(!run.stderr.contains(there), "{there}: {}", run.account());
    }
    assert!(!context.path("offline").exists());
    assert_eq!(
        listing(&context.store().join("blobs")),
        [""; 0],
        "nothing was begun"
    );
    // With no layout at all, all is missing.
    let run = context.fails(["build", "--offline"]);
    run.says(&[
        "files are not in the store",
        "demo-1.0-py3-none-any.whl",
        "aarch64",
    ]);
}

#[test]
fn a_damaged_file_is_refused_and_mended() {
    let project = Project::standard();
    let online = project.build(&[]);
    project.context.succeeds(VENDOR);
    let name = "demo-1.0-py3-none-any.whl";
    let path = blob(&project.context, name);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut project = project;
    empty_store(&mut project.context);
    let run = project.context.fails(OFFLINE);
    run.says(&[
        &format!("{name} in vendor does not have its sha256"),
        "expected sha256:",
        "hint:",
    ]);
    assert!(!project.context.path("offline").exists());
    project.assert_store_is_whole();
    project.forget_requests();
    project
        .context
        .succeeds(VENDOR)
        .says(&["1 of them are new"]);
    assert_eq!(downloads(&project).len(), 1);
    assert_eq!(digest_of(&project.context.succeeds(OFFLINE)), online);
}

#[test]
fn a_base_from_a_registry() {
    let on_base = OnBase::new();
    let project = &on_base.project;
    project.context.succeeds(["lock"]);
    on_base.registry.forget();
    project.context.succeeds(VENDOR);
    let pulled = on_base.registry.count(testkit::Kind::GetBlob);
    project.context.succeeds(VENDOR);
    assert_eq!(
        on_base.registry.count(testkit::Kind::GetBlob),
        pulled,
        "nothing is pulled twice"
    );
    let online = project.build(&[]);
    assert_eq!(on_base.registry.count(testkit::Kind::GetBlob), pulled);
    let names: Vec<_> = files(&project.context.path("vendor"), BOTH);
    for expected in [
        "base-linux-amd64-manifest.json",
        "base-linux-arm64-config.json",
        "base-layer-",
    ] {
        assert!(
            names.iter().any(|(name, ..)| name.starts_with(expected)),
            "{names:#?}"
        );
    }
    let OnBase { project, registry } = on_base;
    let base = registry.reference("team/base:1");
    drop(registry);
    let context = cut_off(project);
    let run = context.fails(["build", "--offline", "--output", "oci:offline"]);
    run.says(&["base-layer-", "demo-1.0"]);
    assert!(
        !run.stderr.contains("base-linux-arm64-config.json"),
        "the lock has what is needed of it\n{}",
        run.account()
    );
    assert!(
        run.stderr.contains(&format!(" {base}@sha256:")),
        "{}",
        run.account()
    );
    assert_eq!(digest_of(&context.succeeds(OFFLINE)), online);
}

#[test]
fn carried_by_a_registry() {
    let project = Project::standard();
    let online = project.build(&[]);
    project.context.succeeds(VENDOR);
    let registry = Registry::start();
    let [pushed, copied] = ["team/pushed", "team/copied"];
    project.context.succeeds([
        "push",
        "oci:vendor",
        &registry.reference(&format!("{pushed}:1")),
    ]);
    assert_eq!(registry.complete(pushed), Ok(()));
    registry.assert_conformant();
    let skopeo = |from: &str, to: &str| {
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            from,
            to,
        ]);
        succeed(skopeo.current_dir(project.context.project()));
    };
    let at = |name: &str| format!("docker://{}", registry.reference(&format!("{name}:1")));
    skopeo(&format!("oci:vendor:{BOTH}"), &at(copied));
    assert_eq!(
        registry.tags(copied),
        registry.tags(pushed),
        "skopeo pushes the same"
    );
    skopeo(&at(pushed), "oci:back:1");
    skopeo(&at(pushed), "oci-archive:back.tar:1");
    drop(registry);
    let mut context = cut_off(project);
    for layout in ["back", "back.tar"] {
        let run = context.succeeds([
            "build",
            "--offline",
            "--vendor",
            layout,
            "--output",
            "oci:offline",
        ]);
        assert_eq!(digest_of(&run), online, "{layout}");
        empty_store(&mut context);
    }
}

#[test]
fn what_cannot_be_done_offline() {
    let project = Project::standard();
    let refused = |run: Run, says: &[&str]| {
        run.says(says);
        assert!(!run.stderr.contains("panicked"), "{}", run.account());
    };
    refused(
        project.context.fails(OFFLINE),
        &["vendor has nothing vendored", "hint:"],
    );
    refused(
        project.context.fails(["build", "--offline"]),
        &[
            "oxcart.lock is not up to date: it does not exist",
            "hint: run `oxcart vendor`",
        ],
    );
    refused(
        project.context.fails(["build", "--offline", "--push"]),
        &["--push"],
    );
    refused(
        project.context.fails(["build", "--vendor", "vendor"]),
        &["--offline"],
    );
    assert_eq!(project.requests(), [""; 0]);
    project.context.write("other/file", "");
    refused(
        project.context.fails(["vendor", "--output", "other"]),
        &["other"],
    );
    assert_eq!(project.requests(), [""; 0], "that could be said at once");
    project.build(&[]);
    project.context.write("requirements.txt", "demo\n");
    refused(
        project.context.fails(["build", "--offline"]),
        &["is not up to date: what linux/amd64 is made of was changed"],
    );
    // A base on disk is the project's own, and is read where it is.
    project.configure(&STANDARD.replace("debian:trixie", "oci:image"));
    project.context.succeeds(["lock"]);
    let online = digest_of(
        &project
            .context
            .succeeds(["build", "--output", "oci:online"]),
    );
    project.context.succeeds(VENDOR);
    assert_eq!(digest_of(&cut_off(project).succeeds(OFFLINE)), online);
}

/// The guide's commands, where those with `--offline` have no network interface; and both platforms.
#[test]
fn in_a_namespace_without_interfaces() {
    if left_out(Need::Network) {
        return;
    }
    let hello = Sample::Hello.built();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    copy(&hello.project(), &at.join("hello"));
    fs::copy(
        hello.project().join("oxcart.lock"),
        at.join("hello/oxcart.lock"),
    )
    .unwrap();
    let interfaces = succeed(Command::new("unshare").args(["--net", "cat", "/proc/net/dev"]));
    assert!(
        interfaces
            .lines()
            .skip(2)
            .all(|it| it.trim().starts_with("lo:")),
        "{interfaces}"
    );
    let run = |command: &str| {
        let (mut shell, store) = if command.contains(" --offline ") {
            let mut shell = Command::new("unshare");
            shell.args(["--net", "sh"]);
            (shell, at.join("board-store"))
        } else {
            (Command::new("sh"), crate::samples::store())
        };
        let program = oxcart();
        let directory = Path::new(program.get_program()).parent().unwrap();
        let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
        shell.args(["-euc", command]).current_dir(at);
        shell.env("PATH", path).env("OXCART_STORE", store);
        succeed(shell.env_remove("SOURCE_DATE_EPOCH"))
    };
    // Both platforms: the digest of the sample.
    run("oxcart vendor --project hello --output both");
    let build = "oxcart build --project hello --offline --vendor both --output oci:both-image";
    assert_eq!(run(build), hello.stdout());

    let guide = commands_of("docs/offline.md");
    let guide: Vec<_> = guide
        .iter()
        .filter(|it| it.starts_with("oxcart "))
        .collect();
    assert_eq!(guide.len(), 2, "{guide:#?}");
    fs::remove_dir_all(at.join("board-store")).unwrap();
    let printed: Vec<_> = guide.iter().map(|command| run(command)).collect();
    let online = run("oxcart build --project hello --platform linux/arm64");
    assert_eq!(printed[1], online);
    let archive = Image::open(&at.join("hello.tar"), "linux/arm64");
    assert!(archive.has("opt/venv/bin/python"));
}
