//! Pushing: what a registry gets, what it does not get twice, and what joins under one tag.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use oci::Digest;
use oci_spec::image::{ImageIndex, ImageManifest};
use serde_json::Value;
use testkit::{Kind, Registry, RegistryFault, When};

use crate::project::{Project, STANDARD, digest_of};

/// Where the tests' image goes.
const NAME: &str = "team/demo";

/// Pushes the project's image to `NAME`, with `arguments` besides; returns the digest printed.
fn push(project: &Project, registry: &Registry, arguments: &[&str]) -> String {
    push_to(project, &registry.reference(NAME), arguments)
}

fn push_to(project: &Project, name: &str, arguments: &[&str]) -> String {
    let run = project
        .context
        .succeeds(["build", "--push", "--name", name].iter().chain(arguments));
    assert!(
        run.stdout.starts_with(&format!("{name}@sha256:")),
        "{}",
        run.account()
    );
    digest_of(&run)
}

fn index(registry: &Registry, target: &str) -> ImageIndex {
    let (media_type, bytes) = registry.manifest(NAME, target).unwrap();
    assert_eq!(media_type, "application/vnd.oci.image.index.v1+json");
    serde_json::from_slice(&bytes).unwrap()
}

fn platforms(registry: &Registry, target: &str) -> Vec<String> {
    let index = index(registry, target);
    let platforms = index
        .manifests()
        .iter()
        .map(|it| it.platform().clone().unwrap());
    platforms.map(|it| oci::platform_text(&it)).collect()
}

/// All blobs of the image.
fn blobs(registry: &Registry, target: &str) -> BTreeSet<String> {
    let mut blobs = BTreeSet::new();
    for entry in index(registry, target).manifests() {
        let (_, bytes) = registry.manifest(NAME, entry.digest().as_ref()).unwrap();
        let manifest: ImageManifest = serde_json::from_slice(&bytes).unwrap();
        let of_image = manifest.layers().iter().chain([manifest.config()]);
        blobs.extend(of_image.map(|blob| blob.digest().to_string()));
    }
    blobs
}

fn check(registry: &Registry) {
    registry.assert_conformant();
    assert_eq!(registry.complete(NAME), Ok(()));
    for (digest, _) in registry.blobs(NAME) {
        assert!(
            registry.committed(NAME, &digest) <= 1,
            "{digest} was uploaded twice"
        );
    }
}

#[test]
fn both_platforms_under_every_tag() {
    let project = Project::standard();
    let registry = Registry::start();
    let digest = push(&project, &registry, &["--tag", "1.0", "--tag", "latest"]);
    assert_eq!(
        digest,
        project.build(&[]),
        "pushed and written are one image"
    );
    let tags = registry.tags(NAME);
    let tags: Vec<_> = tags
        .iter()
        .map(|(tag, digest)| (tag.as_str(), digest.to_string()))
        .collect();
    assert_eq!(tags, [("1.0", digest.clone()), ("latest", digest)]);
    assert_eq!(platforms(&registry, "1.0"), ["linux/amd64", "linux/arm64"]);
    check(&registry);
}

#[test]
fn permission_is_asked_for_before_the_work() {
    let project = Project::standard();
    let registry = Registry::start();
    registry.fault(RegistryFault::PushDenied { status: 403 });
    let name = registry.reference(NAME);
    project.context.fails(["build", "--push", "--name", &name]);
    assert_eq!(
        project.requests(),
        [""; 0],
        "nothing was fetched for what cannot be pushed"
    );
    assert!(!project.context.path("oxcart.lock").exists());
}

#[test]
fn a_second_push_uploads_nothing() {
    let project = Project::standard();
    let registry = Registry::start();
    push(&project, &registry, &[]);
    let number = blobs(&registry, "latest").len();
    registry.forget();
    push(&project, &registry, &[]);
    assert_eq!(registry.count(Kind::PutUpload), 0);
    assert_eq!(registry.uploaded_bytes(), 0);
    assert_eq!(registry.count(Kind::PutManifest), 0);
    let requests = registry.requests();
    assert!(
        requests.len() < 2 * number,
        "{} requests for {number} blobs: {requests:?}",
        requests.len()
    );
    check(&registry);
}

#[test]
fn one_changed_file_uploads_one_layer() {
    let project = Project::standard();
    let registry = Registry::start();
    push(&project, &registry, &[]);
    registry.forget();
    project.context.write("app/main.py", "print('changed')\n");
    push(&project, &registry, &[]);
    // The app's layer, which both platforms share, and the two configurations.
    assert_eq!(registry.count(Kind::PutUpload), 3);
    // The others are of the image that the tag named before.
    assert_eq!(registry.count(Kind::HeadBlob), 3);
    check(&registry);
}

#[test]
fn what_the_registry_lost_of_the_tags_image_is_uploaded_again() {
    let project = Project::standard();
    let registry = Registry::start();
    push(&project, &registry, &[]);
    for digest in blobs(&registry, "latest") {
        registry.remove_blob(NAME, &digest.parse().unwrap());
    }
    project.context.write("app/main.py", "print('changed')\n");
    push(&project, &registry, &[]);
    let there = registry.blobs(NAME);
    let there: BTreeSet<_> = there.iter().map(|(it, _)| it.to_string()).collect();
    assert!(blobs(&registry, "latest").is_subset(&there));
}

#[test]
fn a_second_repository_mounts_every_blob() {
    let project = Project::standard();
    let registry = Registry::start();
    push(&project, &registry, &[]);
    let number = blobs(&registry, "latest").len();
    registry.forget();
    push_to(&project, &registry.reference("team/other"), &[]);
    assert_eq!(registry.count(Kind::Mount), number);
    assert_eq!(registry.count(Kind::PutUpload), 0);
    assert_eq!(registry.complete("team/other"), Ok(()));
    registry.assert_conformant();
}

#[test]
fn metadata_tells_what_became_of_each_layer() {
    let project = Project::standard();
    let registry = Registry::start();
    let states = |name: &str| {
        push_to(
            &project,
            &registry.reference(name),
            &["--metadata-file", "metadata.json"],
        );
        let metadata: Value = serde_json::from_str(&project.context.read("metadata.json")).unwrap();
        let layers = metadata["platforms"]["linux/arm64"]["layers"]
            .as_array()
            .unwrap()
            .clone();
        let states: BTreeSet<_> = layers
            .iter()
            .map(|it| it["state"].as_str().unwrap().to_owned())
            .collect();
        (
            states.into_iter().collect::<Vec<_>>().join(" "),
            metadata["bytes_uploaded"].as_u64().unwrap(),
        )
    };
    let (first, uploaded) = states(NAME);
    assert_eq!(first, "built");
    assert_eq!(uploaded, registry.uploaded_bytes());
    assert_eq!(states(NAME), ("registry".to_owned(), 0));
    assert_eq!(states("team/other"), ("mounted".to_owned(), 0));
}

#[test]
fn killed_while_it_pushes() {
    let project = Project::standard();
    project.build(&[]);
    let registry = Registry::start();
    registry.fault(RegistryFault::SlowCommit { millis: 300 });
    let name = registry.reference(NAME);
    for wanted in 1..5 {
        let mut running = project.context.start(["build", "--push", "--name", &name]);
        while running.is_running() && registry.count(Kind::PutUpload) < wanted {
            std::thread::sleep(Duration::from_millis(2));
        }
        running.kill();
        assert_eq!(registry.complete(NAME), Ok(()));
        assert_eq!(registry.tags(NAME), [], "a tag goes last");
    }
    registry.clear_faults();
    registry.several_clients();
    push(&project, &registry, &[]);
    assert_eq!(registry.complete(NAME), Ok(()));
}

#[test]
fn platforms_of_two_jobs_join() {
    let project = Project::standard();
    let registry = Registry::start();
    push(
        &project,
        &registry,
        &["--platform", "linux/arm64", "--join"],
    );
    assert_eq!(platforms(&registry, "latest"), ["linux/arm64"]);
    let joined = push(
        &project,
        &registry,
        &["--platform", "linux/amd64", "--join"],
    );
    assert_eq!(
        platforms(&registry, "latest"),
        ["linux/amd64", "linux/arm64"]
    );
    assert_eq!(
        joined,
        project.build(&[]),
        "as if both had been built at once"
    );
    check(&registry);
}

#[test]
fn a_platform_pushed_alone_tells_of_those_it_takes_away() {
    let project = Project::standard();
    let registry = Registry::start();
    push(&project, &registry, &[]);
    let name = registry.reference(NAME);
    let run = project.context.succeeds([
        "build",
        "--push",
        "--name",
        &name,
        "--platform",
        "linux/amd64",
    ]);
    run.says(&["loses linux/arm64: with --join they would stay"]);
    assert_eq!(platforms(&registry, "latest"), ["linux/amd64"]);
}

#[test]
fn index_create_joins_what_other_jobs_pushed() {
    let project = Project::standard();
    let registry = Registry::start();
    push(
        &project,
        &registry,
        &["--platform", "linux/amd64", "--tag", "1-amd64"],
    );
    push(
        &project,
        &registry,
        &["--platform", "linux/arm64", "--tag", "1-arm64"],
    );
    let reference = |tag: &str| registry.reference(&format!("{NAME}:{tag}"));
    let create = |arguments: &[&str]| {
        let arguments: Vec<_> = ["index", "create"]
            .iter()
            .chain(arguments)
            .map(ToString::to_string)
            .collect();
        digest_of(&project.context.succeeds(arguments))
    };
    let joined = create(&[
        &reference("1"),
        &reference("1-amd64"),
        &reference("1-arm64"),
    ]);
    assert_eq!(joined, project.build(&[]));
    // An hour later, by its digest alone, and from a layout.
    create(&[&reference("2"), &reference("1-amd64")]);
    project.build(&["--platform", "linux/arm64"]);
    assert_eq!(create(&[&reference("2"), "oci:image"]), joined);
    assert_eq!(
        create(&[&reference("2"), "oci:image"]),
        joined,
        "once more changes nothing"
    );
    create(&[&reference("2"), &reference("1-arm64"), "--replace"]);
    assert_eq!(platforms(&registry, "2"), ["linux/arm64"]);
    check(&registry);
}

#[test]
fn two_jobs_that_join_at_once_lose_no_platform() {
    let project = Project::standard();
    let registry = Registry::start();
    for platform in ["amd64", "arm64"] {
        let full = format!("linux/{platform}");
        push(
            &project,
            &registry,
            &["--platform", &full, "--tag", platform],
        );
    }
    registry
        .several_clients()
        .seed(1)
        .fault(RegistryFault::SlowManifest { millis: 400 });
    for round in 0..6 {
        let target = registry.reference(&format!("{NAME}:round-{round}"));
        let jobs = ["amd64", "arm64"].map(|platform| {
            let source = registry.reference(&format!("{NAME}:{platform}"));
            project.context.start(["index", "create", &target, &source])
        });
        for run in jobs.map(testkit::Running::wait) {
            assert_eq!(run.status, Some(0), "{}", run.account());
        }
        let tag = format!("round-{round}");
        assert_eq!(
            platforms(&registry, &tag),
            ["linux/amd64", "linux/arm64"],
            "{round}"
        );
    }
    assert_eq!(registry.complete(NAME), Ok(()));
}

#[test]
fn a_layout_is_pushed_as_it_is() {
    let project = Project::standard();
    let digest = project.build(&["--tag", "1.0"]);
    let registry = Registry::start();
    let [one, two] = ["team/demo:a", "team/demo:b"].map(|name| registry.reference(name));
    let run = project
        .context
        .succeeds(["push", "oci:image:1.0", &one, &two]);
    assert_eq!(
        run.stdout,
        format!("{0}@{digest}\n{0}@{digest}\n", registry.reference(NAME))
    );
    check(&registry);
    let metadata = project.context.succeeds(["inspect", &one, "--json"]);
    let report: Value = serde_json::from_str(&metadata.stdout).unwrap();
    assert_eq!(report["digest"], digest);
    assert_eq!(report["platforms"][1]["platform"], "linux/arm64");
    // From registry to registry.
    let other = Registry::start();
    project
        .context
        .succeeds(["push", &one, &other.reference("copy/demo:1")]);
    assert_eq!(other.complete("copy/demo"), Ok(()));
    assert_eq!(other.tags("copy/demo")[0].1.to_string(), digest);
    other.assert_conformant();
}

#[test]
fn a_workflow_needs_no_configuration() {
    let mut project = Project::standard();
    let registry = Registry::start();
    project.configure(&STANDARD.replace(
        "annotations = { \"org.opencontainers.image.source\" = \"https://example.com/demo\" }\n",
        "",
    ));
    let summary = project.context.path("summary.md");
    fs::write(&summary, "before\n").unwrap();
    project
        .context
        .set("GITHUB_ACTIONS", "true")
        .set("GITHUB_REPOSITORY", "Acme/Backend")
        .set("GITHUB_STEP_SUMMARY", summary.to_str().unwrap());
    push(&project, &registry, &[]);
    let annotations: BTreeMap<_, _> = index(&registry, "latest")
        .annotations()
        .clone()
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(
        annotations["org.opencontainers.image.source"],
        "https://github.com/Acme/Backend"
    );
    let text = fs::read_to_string(&summary).unwrap();
    let digest = registry.tags(NAME)[0].1.to_string();
    assert!(text.starts_with("before\n"), "{text}");
    for part in [&digest, "| linux/arm64 |", "demo 1.0", "| built |"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn the_project_describes_its_package() {
    let project = Project::standard();
    project.context.write(
        "pyproject.toml",
        "[project]\nname = 'demo'\nversion = '1'\ndescription = 'A demo'\nlicense = 'MIT'\n",
    );
    let registry = Registry::start();
    push(&project, &registry, &[]);
    let annotations: BTreeMap<_, _> = index(&registry, "latest")
        .annotations()
        .clone()
        .unwrap()
        .into_iter()
        .collect();
    let expected = [
        ("description", "A demo"),
        ("licenses", "MIT"),
        ("source", "https://example.com/demo"),
    ];
    let expected = expected
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()));
    assert_eq!(annotations, expected.into());
}

#[test]
fn no_secret_is_shown_or_kept() {
    const PASSWORD: &str = "correct-horse-battery";
    let mut project = Project::standard();
    let registry = Registry::with_token_auth("robot", PASSWORD);
    registry.fault(RegistryFault::BlobRedirect);
    let name = registry.reference(NAME);
    project
        .context
        .set("OXCART_AUTH", format!("robot:{PASSWORD}"));
    let pushed = project.context.succeeds([
        "build",
        "--push",
        "--name",
        &name,
        "-vvv",
        "--metadata-file",
        "metadata.json",
    ]);
    pushed.says(&["OXCART_AUTH", "PUT"]);
    let other = Registry::start();
    let auth = format!("{}=robot:{PASSWORD}", registry.host());
    project.context.set("OXCART_AUTH", auth);
    let copied = project
        .context
        .succeeds(["push", &name, &other.reference("a/b:1"), "-vvv"]);
    registry.fault_when(RegistryFault::PushDenied { status: 401 }, When::Always);
    let failed = project
        .context
        .fails(["push", "-vvv", &name, &registry.reference("x/y:1")]);
    let mut shown: Vec<String> = [&pushed, &copied, &failed]
        .iter()
        .map(|run| run.account())
        .collect();
    shown.push(project.context.read("metadata.json"));
    shown.push(project.context.read("oxcart.lock"));
    for path in crate::project::listing(project.context.store()) {
        let bytes = fs::read(project.context.store().join(path)).unwrap();
        shown.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let mut secrets = registry.secrets();
    secrets.push(PASSWORD.to_owned());
    assert!(secrets.len() > 2, "{secrets:?}");
    for secret in secrets {
        assert!(secret.len() > 4, "{secret}");
        for text in &shown {
            assert!(!text.contains(&secret), "{secret} is in {text}");
        }
    }
}

/// A run that must fail, its message, and a registry without anything half-made.
#[track_caller]
fn fails(project: &Project, registry: &Registry, arguments: &[&str], says: &[&str]) {
    let run = project.context.fails(arguments);
    run.says(says);
    run.says(&["hint:"]);
    assert!(!run.stderr.contains("panicked"), "{}", run.account());
    assert_eq!(registry.tags(NAME), []);
}

#[test]
fn a_wrong_password() {
    let mut project = Project::standard();
    let registry = Registry::with_token_auth("robot", "secret");
    let name = registry.reference(NAME);
    let push = ["build", "--push", "--name", &name];
    fails(&project, &registry, &push, &[NAME, "no credentials"]);
    project.context.set("OXCART_AUTH", "robot:wrong");
    fails(&project, &registry, &push, &[NAME, "OXCART_AUTH"]);
    project.context.set("OXCART_AUTH", "robot:secret");
    project.context.succeeds(push);
    check(&registry);
}

#[test]
fn a_token_without_the_right_to_push() {
    let mut project = Project::standard();
    let registry = Registry::with_token_auth("robot", "secret");
    registry.account("reader", "secret", testkit::Access::Pull);
    project.context.set("OXCART_AUTH", "reader:secret");
    let name = registry.reference(NAME);
    let says = [NAME, "push", "OXCART_AUTH"];
    fails(
        &project,
        &registry,
        &["build", "--push", "--name", &name],
        &says,
    );
}

#[test]
fn registries_that_cannot_be_reached() {
    let project = Project::standard();
    let registry = Registry::start();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("127.0.0.1:{}/a/b:1", listener.local_addr().unwrap().port())
    };
    project.build(&[]);
    for (target, says) in [
        (closed.as_str(), "refuses connections"),
        ("registry.invalid/a/b:1", "registry.invalid"),
        ("127.0.0.1:1/a/b:1", "refuses connections"),
    ] {
        fails(&project, &registry, &["push", "oci:image", target], &[says]);
    }
}

#[test]
fn names_that_cannot_be_pushed_to() {
    let project = Project::standard();
    let registry = Registry::start();
    for (arguments, says) in [
        (
            &["build", "--push", "--name", "Team/Demo"][..],
            "lower case",
        ),
        (
            &["build", "--push", "--name", "127.0.0.1:1/a:1"],
            "has a tag or a digest",
        ),
        (&["build", "--push", "--tag=-x"], "`-x` is no tag"),
    ] {
        let run = project.context.run(arguments);
        assert_eq!(run.status, Some(1), "{}", run.account());
        run.says(&[says]);
    }
    project.configure(&STANDARD.replace("name = \"registry.example/team/demo\"\n", ""));
    fails(
        &project,
        &registry,
        &["build", "--push"],
        &["no name to be pushed under"],
    );
    let reference = format!("127.0.0.1:1/a@{}", Digest::of(b""));
    fails(
        &project,
        &registry,
        &["push", "oci:image", &reference],
        &["has a digest"],
    );
}

#[test]
fn credential_helpers_that_fail() {
    let mut project = Project::standard();
    let registry = Registry::with_token_auth("robot", "secret");
    project.build(&[]);
    let config = project.context.path("docker");
    fs::create_dir(&config).unwrap();
    let helper = format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, registry.host());
    fs::write(config.join("config.json"), helper).unwrap();
    project
        .context
        .set("DOCKER_CONFIG", config.to_str().unwrap());
    let target = registry.reference(&format!("{NAME}:1"));
    let push = ["push", "oci:image", &target];
    fails(&project, &registry, &push, &["docker-credential-test"]);
    let program = |text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = project.context.root().join("bin/docker-credential-test");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("echo garbage");
    fails(&project, &registry, &push, &["docker-credential-test"]);
    program(r#"echo '{"Username":"robot","Secret":"secret"}'"#);
    project.context.succeeds(push);
    fs::write(config.join("config.json"), "{").unwrap();
    let second = registry.reference("team/second:1");
    project
        .context
        .fails(["push", "oci:image", &second])
        .says(&["config.json"]);
}

#[test]
fn a_registry_that_is_not_what_it_says() {
    let project = Project::standard();
    let registry = Registry::start();
    push(&project, &registry, &[]);
    let name = registry.reference(&format!("{NAME}:latest"));
    let other = Registry::start();
    let target = other.reference("a/b:1");
    for (fault, says) in [
        (RegistryFault::WrongManifest, "digest"),
        (RegistryFault::WrongBlob, "digest"),
        (RegistryFault::LongBlob, "bytes"),
        (RegistryFault::RedirectCycle, "redirect"),
    ] {
        registry.fault(fault);
        let run = project.context.fails(["push", &name, &target]);
        run.says(&[says, "hint:"]);
        registry.clear_faults();
        assert_eq!(other.tags("a/b"), []);
        assert_eq!(other.complete("a/b"), Ok(()));
    }
    // An index in an index.
    let (media_type, bytes) = registry.manifest(NAME, "latest").unwrap();
    let inner = oci::describe(oci::MediaType::ImageIndex, &bytes);
    let outer = oci::Index::new(vec![inner], &BTreeMap::new());
    registry.put_manifest(NAME, "nested", &media_type, outer.bytes);
    let nested = registry.reference(&format!("{NAME}:nested"));
    project
        .context
        .fails(["push", &nested, &target])
        .says(&["lists another index", "hint:"]);
    project
        .context
        .fails(["inspect", &registry.reference("team/none:1")])
        .says(&["team/none"]);
}
