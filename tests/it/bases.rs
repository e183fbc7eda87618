//! Images as bases: from a registry, a layout, an archive; pinned, kept as they are, and looked into
//! once.

use std::collections::BTreeMap;

use oci::{Index, MediaType};
use oci_spec::image::{ANNOTATION_BASE_IMAGE_NAME, ImageIndex};
use serde_json::{Value, json};
use testkit::{Kind, Registry, RegistryFault, WheelBuilder, elf};

use crate::hand_made::put_alpine;
use crate::project::{Project, STANDARD};

/// Where the base is.
const BASE: &str = "team/base";

/// What images are built for here.
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// What the base's project says.
const OF_BASE: &str = r#"
[image]
base = "debian:trixie"

[dependencies]
packages = ["helper==2.0", "private"]
index = "$INDEX"

[config]
user = "nonroot"
env = { FROM_BASE = "yes" }
entrypoint = ["/opt/venv/bin/python", "-c", "pass"]
cmd = ["base"]
labels = { of = "base" }
"#;

/// A project on a base in `registry`: `helper` and `private` are in the base's environment, and only
/// `helper` is in the index.
pub(crate) struct OnBase {
    pub(crate) project: Project,
    pub(crate) registry: Registry,
}

impl OnBase {
    pub(crate) fn new() -> Self {
        let project = Project::standard();
        let registry = Registry::start();
        project.configure(OF_BASE);
        project
            .index
            .add(&WheelBuilder::simple("private", "0.1").requires("helper"));
        let name = registry.reference(BASE);
        project
            .context
            .succeeds(["build", "--push", "--name", &name, "--tag", "1"]);
        std::fs::remove_file(project.context.path("oxcart.lock")).unwrap();
        let on_base = Self { project, registry };
        on_base.add_unknown_field();
        on_base.configure("");
        on_base
    }

    /// The project's own configuration, with a line for `[dependencies]`.
    fn configure(&self, dependencies: &str) {
        self.stand_on(&self.registry.reference("team/base:1"), dependencies);
    }

    /// The same on another base.
    fn stand_on(&self, base: &str, dependencies: &str) {
        let base = format!("base = \"{base}\"");
        self.project.configure(
            &STANDARD
                .replace("base = \"debian:trixie\"", &base)
                .replace(
                    "[dependencies]\n",
                    &format!("[dependencies]\n{dependencies}\n"),
                )
                .replace("user = \"nonroot\"\n", "")
                .replace("entrypoint = [\"/opt/venv/bin/demo\"]\n", ""),
        );
    }

    /// Gives the configurations a field that this program does not know.
    fn add_unknown_field(&self) {
        let (_, bytes) = self.registry.manifest(BASE, "1").unwrap();
        let index: ImageIndex = serde_json::from_slice(&bytes).unwrap();
        let mut entries = Vec::new();
        for entry in index.manifests() {
            let (media_type, bytes) = self
                .registry
                .manifest(BASE, entry.digest().as_ref())
                .unwrap();
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            let digest = manifest["config"]["digest"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            let config = self.registry.blob(BASE, &digest).unwrap();
            let mut config: Value = serde_json::from_slice(&config).unwrap();
            config["x-own"] = json!({"kept": [1, null]});
            config["config"]["Healthcheck"] = json!({"Test": ["NONE"]});
            let config = serde_json::to_vec(&config).unwrap();
            manifest["config"]["size"] = config.len().into();
            manifest["config"]["digest"] = self.registry.put_blob(BASE, config).to_string().into();
            let manifest = serde_json::to_vec(&manifest).unwrap();
            let digest = oci::Digest::of(&manifest).to_string();
            let mut changed = oci::describe(MediaType::ImageManifest, &manifest);
            changed.set_platform(entry.platform().clone());
            self.registry
                .put_manifest(BASE, &digest, &media_type, manifest);
            entries.push(changed);
        }
        self.put_index("1", entries);
    }

    fn put_index(&self, tag: &str, entries: Vec<oci::Descriptor>) {
        let media_type = MediaType::ImageIndex.to_string();
        let index = Index::new(entries, &BTreeMap::new());
        self.registry
            .put_manifest(BASE, tag, &media_type, index.bytes);
    }

    fn entries(&self, tag: &str) -> Vec<oci::Descriptor> {
        let (_, bytes) = self.registry.manifest(BASE, tag).unwrap();
        let index: ImageIndex = serde_json::from_slice(&bytes).unwrap();
        index.manifests().clone()
    }
}

#[test]
fn what_the_base_has_is_kept() {
    let on_base = OnBase::new();
    let project = &on_base.project;
    project.build(&[]);
    for platform in PLATFORMS {
        let image = project.image(platform);
        let config = &image.config["config"];
        assert_eq!(image.config["x-own"], json!({"kept": [1, null]}));
        assert_eq!(config["Healthcheck"], json!({"Test": ["NONE"]}));
        assert_eq!(config["User"], "nonroot", "the base's");
        assert_eq!(
            config["Entrypoint"],
            json!(["/opt/venv/bin/python", "-c", "pass"]),
            "the base's"
        );
        assert_eq!(config["Cmd"], json!(["--port", "8000"]), "the project's");
        assert_eq!(config["Labels"], json!({"of": "base", "team": "demo"}));
        let env = config["Env"].as_array().unwrap();
        for expected in [
            "FROM_BASE=yes",
            "PYTHONUNBUFFERED=1",
            "VIRTUAL_ENV=/opt/venv",
        ] {
            assert!(env.contains(&expected.into()), "{env:?}");
        }
        let path = env
            .iter()
            .filter_map(|it| it.as_str()?.strip_prefix("PATH="));
        let path: Vec<_> = path.collect();
        assert!(
            matches!(path[..], [path] if path.starts_with("/opt/venv/bin:/usr/local/sbin")),
            "{path:?}"
        );
        assert!(image.has("opt/venv/bin/demo"));
        assert!(
            image.has("opt/venv/.wh..wh..opq"),
            "the base's environment does not show through"
        );
        let layers = image.config["history"].as_array().unwrap();
        assert!(layers.len() > 3);
    }
}

#[test]
fn the_manifest_names_it_and_inspect_shows_it() {
    let on_base = OnBase::new();
    let (project, registry) = (&on_base.project, &on_base.registry);
    let entries = on_base.entries("1");
    let index = registry.tags(BASE)[0].1.to_string();
    let tagged = registry.reference("team/base:1");
    let untagged = registry.reference(&format!("{BASE}@{index}"));
    for (written, name) in [
        (&tagged, None),
        (&format!("{tagged}@{index}"), None),
        (&untagged, Some(registry.reference(BASE))),
    ] {
        on_base.stand_on(written, "");
        project.build(&[]);
        let shown = project.context.succeeds(["inspect", "--json", "oci:image"]);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        for (n, (platform, entry)) in PLATFORMS.iter().zip(&entries).enumerate() {
            let digest = entry.digest().to_string();
            let name = name.as_ref().map(|name| format!("{name}@{digest}"));
            let expect = json!({"name": name.unwrap_or_else(|| tagged.clone()), "digest": digest});
            assert_eq!(shown["platforms"][n]["base"], expect, "{written}");
            let manifest = &project.image(platform).manifest;
            assert_eq!(manifest["annotations"].as_object().unwrap().len(), 2);
        }
    }
    // Our own base is no image that anyone could pull.
    project.configure(STANDARD);
    project.build(&[]);
    assert!(
        project
            .image(PLATFORMS[0])
            .manifest
            .get("annotations")
            .is_none()
    );
}

#[test]
fn it_is_pinned_until_it_is_upgraded() {
    let on_base = OnBase::new();
    let project = &on_base.project;
    let first = project.build(&[]);
    let lock = project.context.read("oxcart.lock");
    let digest = on_base.registry.tags(BASE)[0].1.to_string();
    assert!(lock.contains(&format!("index = \"{digest}\"")), "{lock}");
    assert!(!lock.contains("secret"));
    // The tag moves to an index without arm64.
    let amd64 = on_base.entries("1").remove(0);
    on_base.put_index("1", vec![amd64]);
    assert_eq!(project.build(&[]), first);
    project.context.succeeds(["lock"]);
    assert_eq!(project.context.read("oxcart.lock"), lock);
    let run = project.context.fails(["lock", "--upgrade"]);
    run.says(&["has no image for linux/arm64", "it has linux/amd64"]);
}

#[test]
fn it_is_looked_into_once_and_stored_only_to_be_written() {
    let on_base = OnBase::new();
    let (project, registry) = (&on_base.project, &on_base.registry);
    registry.forget();
    project.context.succeeds(["lock"]);
    let looked = registry.count(Kind::GetBlob);
    assert!(looked > 2, "{looked}");
    project.context.succeeds(["lock", "--upgrade"]);
    assert_eq!(
        registry.count(Kind::GetBlob),
        looked + 2,
        "the configurations alone"
    );
    registry.forget();
    let name = registry.reference("team/app");
    project
        .context
        .succeeds(["build", "--push", "--name", &name]);
    assert_eq!(
        registry.count(Kind::GetBlob),
        0,
        "layers of the base are mounted"
    );
    assert!(registry.count(Kind::Mount) > 2);
    assert_eq!(registry.complete("team/app"), Ok(()));
    registry.assert_conformant();
    // To another registry they are copied.
    let other = Registry::start();
    project
        .context
        .succeeds(["build", "--push", "--name", &other.reference("team/app")]);
    assert_eq!(other.complete("team/app"), Ok(()));
    assert_eq!(other.tags("team/app"), registry.tags("team/app"));
    other.assert_conformant();
}

#[test]
fn layouts_and_archives_are_bases_too() {
    let on_base = OnBase::new();
    let project = &on_base.project;
    project.build(&["--tag", "x"]);
    let of_registry = PLATFORMS.map(|platform| project.image(platform));
    let base = on_base.registry.reference("team/base:1");
    let pull = |directory: &str| {
        let status = std::process::Command::new("skopeo")
            .args(["copy", "--all", "--src-tls-verify=false"])
            .args([format!("docker://{base}"), directory.to_owned()])
            .current_dir(project.context.project())
            .output()
            .expect("skopeo");
        assert!(status.status.success(), "{status:?}");
    };
    for (destination, written) in [
        ("oci:base:1", "oci:base:1"),
        ("oci-archive:base.tar:1", "oci-archive:base.tar:1"),
    ] {
        pull(destination);
        on_base.stand_on(written, "");
        project.build(&["--tag", "x"]);
        for (platform, of_registry) in PLATFORMS.iter().zip(&of_registry) {
            let image = project.image(platform);
            let mut expect = of_registry.manifest.clone();
            let annotations = expect["annotations"].as_object_mut().unwrap();
            assert!(annotations.remove(ANNOTATION_BASE_IMAGE_NAME).is_some());
            assert_eq!(image.manifest, expect, "{written}: it has no name");
        }
    }
    // A layout that changes makes the lock stale.
    let amd64 = on_base.entries("1").remove(0);
    on_base.put_index("1", vec![amd64]);
    pull("oci-archive:base2.tar:1");
    std::fs::rename(
        project.context.path("base2.tar"),
        project.context.path("base.tar"),
    )
    .unwrap();
    project
        .context
        .fails(["build", "--locked"])
        .says(&["is not up to date"]);
    project
        .context
        .fails(["lock"])
        .says(&["has no image for linux/arm64"]);
}

#[test]
fn packages_of_the_base_can_count() {
    let on_base = OnBase::new();
    let project = &on_base.project;
    project
        .context
        .write("requirements.txt", "demo==1.0\nprivate\n");
    on_base.configure("reuse-base = true");
    project.index.add(&WheelBuilder::simple("helper", "2.9"));
    project.build(&[]);
    let lock = project.context.read("oxcart.lock");
    for name in ["helper", "private"] {
        assert!(
            lock.contains(&format!("[[platform.reused]]\nname = \"{name}\"")),
            "{lock}"
        );
        assert!(!lock.contains(&format!("filename = \"{name}-")), "{lock}");
    }
    let image = project.image("linux/arm64");
    for file in ["helper/__init__.py", "private/__init__.py", "demo/cli.py"] {
        assert!(
            image.has(&format!("opt/venv/lib/python3.13/site-packages/{file}")),
            "{file}"
        );
    }
    assert!(!image.has("opt/venv/.wh..wh..opq"));
    // What the base has is not replaced in its own environment.
    project.context.write("requirements.txt", "helper==2.9\n");
    let run = project.context.fails(["lock"]);
    run.says(&["has helper 2.0 in /opt/venv, and 2.9 is needed", "hint:"]);
    // Elsewhere it is: the base's environment is then not seen.
    on_base.configure("");
    project.context.succeeds(["lock"]);
}

#[test]
fn wheels_for_musl_go_on_a_base_with_musl() {
    let project = Project::standard();
    let registry = Registry::start();
    put_alpine(&registry, "library/alpine");
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let musl = WheelBuilder::simple("native", "3.1")
            .tags(&format!("cp313-cp313-musllinux_1_2_{machine}"))
            .executable("native/_native.cpython-313.so", &elf(architecture));
        project.index.add(&musl);
    }
    let base = registry.reference("library/alpine:1");
    let on_musl = STANDARD.replace("debian:trixie", &base);
    project.configure(&on_musl.replace("\"nonroot\"", "\"65532\""));
    project
        .context
        .succeeds(["build", "--push", "--name", &registry.reference("team/app")]);
    let lock = project.context.read("oxcart.lock");
    for part in [
        "libc = \"musl 1.2\"",
        "version = \"3.13.5\"",
        "interpreter = \"/usr/bin/python3.13\"",
    ] {
        assert!(lock.contains(part), "{lock}");
    }
    assert!(
        lock.contains("musllinux_1_2_aarch64") && !lock.contains("manylinux"),
        "{lock}"
    );
    // Docker's media types have become OCI's.
    assert_eq!(registry.complete("team/app"), Ok(()));
    for digest in registry.manifests("team/app") {
        let (_, bytes) = registry.manifest("team/app", &digest.to_string()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("docker"));
    }
    registry.assert_conformant();
}

#[test]
fn bases_that_cannot_be_used() {
    let on_base = OnBase::new();
    let (project, registry) = (&on_base.project, &on_base.registry);
    let check = |base: &str, says: &[&str]| {
        project.configure(&STANDARD.replace("debian:trixie", base));
        let run = project.context.fails(["build", "--output", "oci:image"]);
        run.says(says);
        run.says(&["hint:"]);
        assert!(!run.stderr.contains("panicked"), "{}", run.account());
        project.assert_nothing_half_written();
    };
    check(&registry.reference("team/base:none"), &["team/base:none"]);
    check(&registry.reference("team/none:1"), &["team/none:1"]);
    check("registry.invalid/team/base:1", &["registry.invalid"]);
    check("oci:nowhere", &["there is no image at"]);
    check("Not A Base", &["[image] base is `Not A Base`"]);
    check(
        "debian:bookworm-slim",
        &["docker.io/library/debian:bookworm-slim"],
    );
    let entries = on_base.entries("1");
    on_base.put_index("amd64", vec![entries[0].clone()]);
    check(
        &registry.reference("team/base:amd64"),
        &["has no image for linux/arm64", "it has linux/amd64"],
    );
    let (media_type, bytes) = registry.manifest(BASE, "1").unwrap();
    let mut inner = oci::describe(MediaType::ImageIndex, &bytes);
    inner.set_platform(entries[0].platform().clone());
    let nested = Index::new(vec![inner], &BTreeMap::new());
    registry.put_manifest(BASE, "nested", &media_type, nested.bytes);
    check(
        &registry.reference("team/base:nested"),
        &["lists another index", "NAME@sha256:"],
    );
    let manifest = registry
        .manifest(BASE, entries[0].digest().as_ref())
        .unwrap();
    registry.put_manifest(BASE, "single", &manifest.0, manifest.1);
    check(
        &registry.reference("team/base:single"),
        &["has no image for linux/arm64", "it has linux/amd64"],
    );
    registry.fault(RegistryFault::WrongManifest);
    check(&registry.reference("team/base:1"), &["digest"]);
    registry.clear_faults();
    registry.fault(RegistryFault::WrongBlob);
    check(&registry.reference("team/base:1"), &["digest"]);
    registry.clear_faults();
    registry.fault(RegistryFault::RedirectCycle);
    check(&registry.reference("team/base:1"), &["redirect"]);
}
