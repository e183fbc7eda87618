//! `oxcart inspect`: its document over layout, archive and registry, what it reads, and its page's data.

use std::collections::BTreeMap;

use oci::Digest;
use serde_json::{Value, json};
use testkit::{Kind, Registry};

use crate::project::{Project, STANDARD};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

pub(crate) fn json_of(project: &Project, arguments: &[&str]) -> Value {
    let arguments = ["inspect", "--json"].iter().chain(arguments);
    serde_json::from_str(&project.context.succeeds(arguments).stdout).unwrap()
}

fn list<'a>(value: &'a Value, what: &str) -> impl Iterator<Item = &'a Value> {
    value[what].as_array().unwrap().iter()
}

fn sum(value: &Value, what: &str, field: &str) -> u64 {
    list(value, what)
        .map(|it| it[field].as_u64().unwrap())
        .sum()
}

#[test]
fn the_document_is_the_same_wherever_the_image_is() {
    let project = Project::standard();
    let digest = project.build(&["--tag", "1", "--output", "oci-archive:image.tar"]);
    let registry = Registry::start();
    let reference = registry.reference("team/demo:1");
    project.context.succeeds(["push", "oci:image", &reference]);
    let mut documents = [
        "oci:image",
        "oci-archive:image.tar",
        "image.tar",
        &reference,
    ]
    .map(|place| {
        let mut document = json_of(&project, &[place]);
        assert_eq!(document["name"].take(), *place);
        document
    });
    let [first, others @ ..] = &mut documents;
    for other in others {
        assert_eq!(first, other);
    }
    assert_eq!(first["version"], 1);
    assert_eq!(first["digest"], digest);
    registry.assert_conformant();
    check_contents(&project, &first["platforms"][1]);
}

/// What the document says of layers' contents is what another reader finds there.
fn check_contents(project: &Project, platform: &Value) {
    assert_eq!(platform["platform"], "linux/arm64");
    let image = project.image("linux/arm64");
    let contents = &platform["contents"];
    let bytes: u64 = image.files.values().map(|it| it.bytes.len() as u64).sum();
    assert_eq!(contents["size"], bytes);
    assert_eq!(
        sum(contents, "packages", "size") + sum(contents, "unowned", "size"),
        bytes
    );
    let files = sum(contents, "packages", "files") + sum(contents, "unowned", "files");
    assert_eq!(contents["files"], files);
    let hidden: u64 = list(contents, "layers")
        .map(|it| it["hidden"]["size"].as_u64().unwrap())
        .sum();
    assert_eq!(sum(contents, "layers", "size") - hidden, bytes);

    let packages: BTreeMap<_, _> = list(contents, "packages")
        .map(|it| (it["name"].as_str().unwrap(), it))
        .collect();
    let layer = |name: &str| packages[name]["layer"].as_u64().unwrap() as usize - 1;
    for (name, version) in [("demo", "1.0"), ("helper", "2.0"), ("native", "3.1")] {
        assert_eq!(packages[name]["version"], version);
        assert_eq!(packages[name]["ecosystem"], "python");
        let members = &platform["layers"][layer(name)]["members"];
        let member = format!("{name} {version}");
        assert!(
            members.as_array().unwrap().contains(&Value::from(member)),
            "{members}"
        );
    }
    assert_eq!(packages["libc6"]["ecosystem"], "debian");
    assert_eq!(layer("libc6"), 0);
    let native = &packages["native"]["types"]["native"];
    let elf = testkit::elf("arm64").len();
    assert_eq!(*native, elf, "the library of the wheel");
    let data = list(contents, "largest")
        .find(|it| it["path"].as_str().unwrap().ends_with("demo/data.txt"));
    let data = data.unwrap();
    assert_eq!(data["size"], 27 * 4000);
    assert_eq!([&data["package"], &data["type"]], ["demo", "documentation"]);
}

#[test]
fn every_file_is_listed_for_those_who_ask() {
    let project = Project::standard();
    project.build(&[]);
    let document = json_of(
        &project,
        &["oci:image", "--tree", "--platform", "linux/amd64"],
    );
    assert_eq!(document["platforms"].as_array().unwrap().len(), 1);
    let all: BTreeMap<_, _> = list(&document["platforms"][0]["contents"], "all")
        .map(|it| (it["path"].as_str().unwrap().to_owned(), it))
        .collect();
    let image = project.image("linux/amd64");
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        image.files.keys().collect::<Vec<_>>()
    );
    for (path, file) in &image.files {
        let found = all[path];
        assert_eq!(found["size"], file.bytes.len(), "{path}");
        assert_eq!(
            found["mode"],
            format!("{:04o}", file.mode & 0o7777),
            "{path}"
        );
        assert_eq!(
            found["owner"],
            format!("{}:{}", file.owner.0, file.owner.1),
            "{path}"
        );
        assert_eq!(found["mtime"], file.mtime, "{path}");
        assert_eq!(found["target"].as_str(), file.link.as_deref(), "{path}");
    }
    let text = project
        .context
        .succeeds(["inspect", "oci:image", "--tree", "--depth", "0"])
        .stdout;
    assert!(text.contains("data.txt") && text.contains("app/"), "{text}");
    let text = project
        .context
        .succeeds(["inspect", "oci:image", "--by-layer"])
        .stdout;
    assert!(text.contains("linux/arm64, layer 1: base:"), "{text}");
}

#[test]
fn layers_are_read_when_they_must_be_and_once() {
    let mut project = Project::standard();
    project.build(&["--tag", "1"]);
    let registry = Registry::start();
    let reference = registry.reference("team/demo:1");
    project.context.succeeds(["push", "oci:image", &reference]);
    // The builder's store knows them already.
    let store = project.context.root().join("another-store");
    project.context.use_store(store);
    let get = |arguments: &[&str]| {
        registry.forget();
        let arguments = [&["inspect", &reference], arguments].concat();
        let run = project.context.succeeds(arguments);
        (registry.count(Kind::GetBlob), run.stdout)
    };
    let (configurations, text) = get(&[]);
    assert_eq!(configurations, 2, "the two configurations");
    assert!(
        text.contains("demo 1.0") && text.contains("nonroot"),
        "{text}"
    );
    let (read, text) = get(&["--json", "--documents"]);
    assert_eq!(read, 2);
    assert!(text.contains(r#""contents": null"#), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    let platforms = list(&document, "platforms");
    let layers: std::collections::BTreeSet<_> = platforms
        .flat_map(|it| list(it, "layers"))
        .map(|it| it["digest"].as_str().unwrap())
        .collect();
    let (read, _) = get(&["--packages"]);
    assert_eq!(read, 2 + layers.len());
    let (read, text) = get(&["--packages"]);
    assert_eq!(read, 2, "what layers hold is kept");
    assert!(
        text.contains("(of no package)") && text.contains("libc6"),
        "{text}"
    );
}

#[test]
fn platforms_are_chosen_by_name() {
    let project = Project::standard();
    project.build(&[]);
    let text = project
        .context
        .succeeds(["inspect", "oci:image", "--platform", "linux/arm64"])
        .stdout;
    assert!(
        text.contains("linux/arm64") && !text.contains("linux/amd64"),
        "{text}"
    );
    let run = project
        .context
        .fails(["inspect", "oci:image", "--platform", "linux/arm"]);
    run.says(&[
        "image has no image for linux/arm",
        "hint: it has linux/amd64, linux/arm64",
    ]);
}

#[test]
fn the_lock_is_compared_in_a_project() {
    let project = Project::standard();
    project.build(&[]);
    let state = |arguments: &[&str]| {
        json_of(&project, &[&["oci:image"], arguments].concat())["lock"].take()
    };
    let same = json!({"state": "same", "file": "oxcart.lock", "differences": []});
    assert_eq!(state(&[]), same);
    assert_eq!(state(&["--documents"]), same);
    let text = project.context.succeeds(["inspect", "oci:image"]).stdout;
    assert!(text.contains("oxcart.lock has the same"), "{text}");

    let lock = project.context.read("oxcart.lock");
    let changed = lock.replacen("version = \"2.0\"", "version = \"2.1\"", 1);
    assert_ne!(lock, changed);
    project.context.write("oxcart.lock", changed);
    let found = state(&["--documents"]);
    assert_eq!(found["state"], "different");
    assert_eq!(
        found["differences"],
        json!(["linux/amd64: helper 2.1, and 2.0 in the image"])
    );
    // The same versions, and another digest of a layer.
    let at = lock.find("diff_id = \"sha256:").unwrap() + "diff_id = \"sha256:".len();
    let changed = format!("{}{}{}", &lock[..at], "0".repeat(64), &lock[at + 64..]);
    project.context.write("oxcart.lock", changed);
    assert_eq!(
        state(&["--documents"])["differences"],
        json!(["linux/amd64: layer 1 has other bytes: base: 29 Debian packages"])
    );
    // A lock that fits, whichever profile it is for.
    project.context.write("oxcart.other.lock", lock);
    assert_eq!(state(&[])["file"], "oxcart.other.lock");
    for name in ["oxcart.lock", "oxcart.other.lock"] {
        std::fs::remove_file(project.context.path(name)).unwrap();
    }
    assert_eq!(state(&[])["state"], "none");
    std::fs::remove_file(project.context.path("oxcart.toml")).unwrap();
    assert_eq!(state(&[]), Value::Null);
}

#[test]
fn the_page_has_the_same_numbers() {
    let project = Project::standard();
    project.build(&[]);
    let run = project
        .context
        .succeeds(["inspect", "oci:image", "--html", "page.html", "--json"]);
    assert!(run.stderr.contains("wrote page.html"), "{}", run.account());
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let page = project.context.read("page.html");
    let (_, data) = page.split_once(r#"id="data">"#).unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), document);
    let run = project
        .context
        .fails(["inspect", "oci:image", "--html", "no/such/page.html"]);
    run.says(&["page.html"]);
}

/// An image that no builder of ours made.
pub(crate) struct Foreign {
    pub(crate) registry: Registry,
}

impl Foreign {
    pub(crate) fn new() -> Self {
        Self {
            registry: Registry::start(),
        }
    }

    /// A layer with these files, and its `diff_id`.
    pub(crate) fn layer(&self, files: &[(&str, &[u8])]) -> (Value, Digest) {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, *bytes).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let size = tar.len();
        let digest = self.registry.put_blob("team/foreign", tar);
        (
            json!({"mediaType": TAR, "digest": digest, "size": size}),
            digest,
        )
    }

    /// The descriptor of an image, put into the registry.
    pub(crate) fn image(&self, layers: &[(Value, Digest)], created_by: &str) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(_, diff_id)| diff_id).collect();
        let history: Vec<_> = layers
            .iter()
            .map(|_| json!({"created_by": created_by}))
            .collect();
        let config = json!({
            "os": "linux", "architecture": "amd64", "history": history,
            "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string();
        let size = config.len();
        let digest = self.registry.put_blob("team/foreign", config);
        let layers: Vec<_> = layers.iter().map(|(layer, _)| layer).collect();
        self.manifest(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
            "config": {"mediaType": CONFIG, "digest": digest, "size": size},
        }))
    }

    pub(crate) fn manifest(&self, manifest: &Value) -> Value {
        let bytes = manifest.to_string();
        let digest = Digest::of(bytes.as_bytes()).to_string();
        let size = bytes.len();
        self.registry
            .put_manifest("team/foreign", &digest, MANIFEST, bytes);
        json!({"mediaType": MANIFEST, "digest": digest, "size": size})
    }

    /// The reference of an index of these manifests.
    pub(crate) fn index(&self, manifests: &[Value]) -> String {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.registry
            .put_manifest("team/foreign", "1", INDEX, index.to_string());
        self.registry.reference("team/foreign:1")
    }
}

#[test]
fn attestations_are_told_and_are_no_images() {
    let project = Project::empty();
    let foreign = Foreign::new();
    let image = foreign.image(&[foreign.layer(&[("etc/a", b"a")])], "RUN true");
    let statement = foreign.registry.put_blob("team/foreign", "{}");
    let mut attestation = foreign.manifest(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": statement, "size": 2},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": statement, "size": 2}],
    }));
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    });
    let reference = foreign.index(&[image.clone(), attestation.clone()]);
    let document = json_of(&project, &[&reference]);
    assert_eq!(document["platforms"].as_array().unwrap().len(), 1);
    assert_eq!(document["platforms"][0]["contents"]["files"], 1);
    assert_eq!(
        document["attachments"],
        json!([{
            "digest": attestation["digest"], "kind": "attestation-manifest", "subject": image["digest"],
        }])
    );
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let project = Project::empty();
    let foreign = Foreign::new();
    let (layer, _) = foreign.layer(&[("etc/a", b"a")]);
    let other = Digest::of(b"something else");
    let reference = foreign.index(&[foreign.image(&[(layer, other)], "RUN true")]);
    project.context.succeeds(["inspect", &reference]);
    for _ in 0..2 {
        // Nothing is kept of it.
        let run = project.context.fails(["inspect", &reference, "--packages"]);
        run.says(&[
            "cannot be read",
            &format!("the configuration says {other}"),
            "hint:",
        ]);
    }
}

#[test]
fn damaged_images_are_told() {
    let project = Project::empty();
    let foreign = Foreign::new();
    let text = foreign
        .registry
        .put_blob("team/foreign", "no tar at all".repeat(100));
    let layer = json!({"mediaType": TAR, "digest": text, "size": 1300});
    let reference = foreign.index(&[foreign.image(&[(layer, text)], "RUN true")]);
    for arguments in [
        &["inspect", "--json", &reference][..],
        &["inspect", "--tree", &reference],
    ] {
        let run = project.context.fails(arguments);
        run.says(&[&format!("layer {text} of"), "cannot be read"]);
    }
    let blob = foreign.registry.put_blob("team/foreign", "{\"os\": ");
    let config = json!({"mediaType": CONFIG, "digest": blob, "size": 7});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    let reference = foreign.index(&[foreign.manifest(&manifest)]);
    let run = project.context.fails(["inspect", &reference]);
    run.says(&[&format!("the configuration {blob} cannot be read")]);
    let config = "{}";
    let blob = foreign.registry.put_blob("team/foreign", config);
    let (layer, _) = foreign.layer(&[("a", b"a")]);
    let config = json!({"mediaType": CONFIG, "digest": blob, "size": 2});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let reference = foreign.index(&[foreign.manifest(&manifest)]);
    let run = project.context.fails(["inspect", &reference]);
    run.says(&["has 1 layers, and its configuration names 0 of them"]);
}

#[test]
fn text_of_an_image_does_nothing_to_the_terminal() {
    let project = Project::empty();
    let foreign = Foreign::new();
    let hostile = "RUN \x1b[2J\r\nfake  sha256:0";
    let layer = foreign.layer(&[("etc/\x1b[31m", b"a")]);
    let reference = foreign.index(&[foreign.image(&[layer], hostile)]);
    for arguments in [&["--packages"][..], &["--tree"], &["--by-layer"]] {
        let text = project
            .context
            .succeeds(["inspect", &*reference].iter().chain(arguments))
            .stdout;
        assert!(!text.contains(['\x1b', '\r']), "{text}");
    }
}

#[test]
fn what_a_person_sees() {
    let project = Project::standard();
    project.configure(&STANDARD.replace(r#", "linux/arm64""#, ""));
    project.build(&[]);
    let run = project.context.succeeds(["inspect", "oci:image"]);
    insta::assert_snapshot!(without_digests(&run.stdout));
}

/// The text with a word for each digest: they depend on all that is in the packages for tests.
pub(crate) fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        out + "[DIGEST]" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
    })
}
