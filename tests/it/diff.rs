//! `oxcart diff`: each cause that two digests can have for being two.

use serde_json::Value;
use testkit::{Kind, Registry, WheelBuilder};

use crate::inspect::{Foreign, without_digests};
use crate::project::{Project, STANDARD};

/// A project whose image is at `oci:a`.
fn project() -> Project {
    let project = Project::standard();
    build(&project, "a", &[]);
    project
}

fn build(project: &Project, name: &str, arguments: &[&str]) {
    let output = format!("oci:{name}");
    project
        .context
        .succeeds(["build", "--output", &output].iter().chain(arguments));
}

/// What `diff` says of `oci:a` and `oci:b`.
fn diff(project: &Project, arguments: &[&str]) -> Value {
    let run = ["diff", "oci:a", "oci:b", "--json"].iter().chain(arguments);
    serde_json::from_str(&project.context.succeeds(run).stdout).unwrap()
}

fn why(document: &Value) -> Vec<&str> {
    let why = document["why"].as_array().unwrap();
    why.iter().map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn nothing_and_nothing_is_read() {
    let project = project();
    build(&project, "b", &["--output", "oci-archive:b.tar"]);
    let registry = Registry::start();
    let reference = registry.reference("team/demo:1");
    project.context.succeeds(["push", "oci:a", &reference]);
    registry.forget();
    for other in ["oci:b", "b.tar", &reference] {
        let run = project
            .context
            .succeeds(["diff", "oci:a", other, "--exit-code", "--files"]);
        assert!(
            run.stdout.ends_with("They are the same.\n"),
            "{}",
            run.account()
        );
    }
    assert_eq!(registry.count(Kind::GetBlob), 2, "the configurations");
    let document = diff(&project, &[]);
    assert_eq!(
        [&document["same"], &document["version"]],
        [&Value::Bool(true), &1.into()]
    );
}

#[test]
fn a_package() {
    let project = project();
    let old = project.context.read("oxcart.lock");
    project
        .index
        .add(&WheelBuilder::simple("helper", "2.5").file("helper/more.py", b"more"));
    project.context.succeeds(["lock", "--upgrade"]);
    assert_ne!(project.context.read("oxcart.lock"), old);
    build(&project, "b", &[]);
    let document = diff(&project, &[]);
    let why = why(&document);
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(why[0].ends_with(": helper 2.0 → 2.5"), "{why:?}");
    let platform = &document["platforms"][0];
    let packages = platform["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 1);
    assert_eq!(packages[0]["name"], "helper");
    assert_eq!(packages[0]["a"]["version"], "2.0");
    assert!(packages[0]["b"]["size"].as_u64() > packages[0]["a"]["size"].as_u64());
    assert_eq!(platform["config"], Value::Array(Vec::new()));
    let run = project
        .context
        .run(["diff", "oci:a", "oci:b", "--exit-code"]);
    assert_eq!(
        (run.status, run.stderr.as_str()),
        (Some(1), ""),
        "{}",
        run.account()
    );
    insta::assert_snapshot!(without_digests(&run.stdout));
}

#[test]
fn a_layer_that_both_have_is_not_read() {
    let mut project = project();
    project.context.write("app/main.py", "print('changed')\n");
    build(&project, "b", &[]);
    let registry = Registry::start();
    let [a, b] = ["a", "b"].map(|name| {
        let reference = registry.reference(&format!("team/demo:{name}"));
        project
            .context
            .succeeds(["push", &format!("oci:{name}"), &reference]);
        reference
    });
    registry.forget();
    // The builder's store has the application's layers.
    let store = project.context.root().join("another-store");
    project.context.use_store(store);
    let run = project.context.succeeds(["diff", &a, &b]);
    assert!(
        run.stdout.contains("1 changed, first /app/app/main.py"),
        "{}",
        run.account()
    );
    // Of each: two configurations, and the application's layer, which its platforms share.
    assert_eq!(registry.count(Kind::GetBlob), 6);
}

#[test]
fn files() {
    let project = project();
    project.context.write("app/main.py", "print('changed')\n");
    project.context.write("app/new.py", "");
    build(&project, "b", &[]);
    let document = diff(&project, &["--files", "--platform", "linux/arm64"]);
    assert_eq!(document["platforms"].as_array().unwrap().len(), 1);
    let files = document["platforms"][0]["files"].as_array().unwrap();
    let seen: Vec<_> = files
        .iter()
        .map(|it| (it["path"].as_str().unwrap(), it["change"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [("app/app/main.py", "changed"), ("app/app/new.py", "added")]
    );
    let fields: Vec<_> = files[0]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["content", "size"]);
    let text = project
        .context
        .succeeds(["diff", "oci:a", "oci:b", "--files"])
        .stdout;
    assert!(
        text.contains("~  /app/app/main.py  content, size"),
        "{text}"
    );
}

#[test]
fn dates() {
    let mut project = project();
    project.context.set("SOURCE_DATE_EPOCH", "1000000000");
    build(&project, "b", &[]);
    let document = diff(&project, &[]);
    let why = why(&document);
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(
        why[0].ends_with("app → /app/app (the same files, other mtimes)"),
        "{why:?}"
    );
}

#[test]
fn compression() {
    let project = project();
    project.configure(&STANDARD.replace("base =", "compression = \"gzip:6\"\nbase ="));
    build(&project, "b", &[]);
    let document = diff(&project, &[]);
    let why = why(&document);
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(
        why[0].contains("the same files, compressed in another way (diff_ids are equal)"),
        "{why:?}"
    );
    assert_eq!(document["platforms"][0]["layers"], Value::Array(Vec::new()));
}

#[test]
fn configuration_and_annotations() {
    let project = project();
    project.configure(
        &STANDARD
            .replace("nonroot", "root")
            .replace("team = \"demo\"", "team = \"other\""),
    );
    build(&project, "b", &[]);
    assert_eq!(
        why(&diff(&project, &[])),
        ["the configuration differs in config.Labels.team, config.User"]
    );
    std::fs::remove_dir_all(project.context.path("b")).unwrap();
    project.configure(&STANDARD.replace("https://example.com/demo", "https://example.com/other"));
    build(&project, "b", &[]);
    let document = diff(&project, &[]);
    assert_eq!(
        why(&document),
        ["the index differs in annotations.org.opencontainers.image.source"]
    );
    assert_eq!(document["platforms"], Value::Array(Vec::new()));
    assert_eq!(document["index"][0]["b"], "https://example.com/other");
}

#[test]
fn platforms() {
    let project = project();
    build(&project, "b", &["--platform", "linux/amd64"]);
    let document = diff(&project, &[]);
    assert_eq!(why(&document), ["only A has linux/arm64"]);
    assert_eq!(document["platforms_removed"][0], "linux/arm64");
}

#[test]
fn order_of_layers_and_form_of_tar() {
    let project = Project::empty();
    let foreign = Foreign::new();
    let one = foreign.layer(&[("etc/a", b"a"), ("etc/b", b"b")]);
    let two = foreign.layer(&[("etc/c", b"c")]);
    let again = foreign.layer(&[("etc/b", b"b"), ("etc/a", b"a")]);
    let host = foreign.registry.reference("team/foreign");
    let name = host.strip_suffix(":latest").unwrap_or(&host);
    let reference = |layers: &[_]| {
        let image = foreign.image(layers, "RUN true");
        format!("{name}@{}", image["digest"].as_str().unwrap())
    };
    let a = reference(&[one.clone(), two.clone()]);
    for (layers, expect) in [
        (
            &[two.clone(), one.clone()],
            "They differ in one thing: the same layers in another order\n",
        ),
        (
            &[again, two.clone()],
            "layer 1: RUN true (the same files, in another order or form of tar)\n",
        ),
    ] {
        let run = project.context.succeeds(["diff", &a, &reference(layers)]);
        assert!(run.stdout.contains(expect), "{}", run.account());
    }
}

#[test]
fn what_is_not_there_is_told() {
    let project = project();
    project
        .context
        .fails(["diff", "oci:a", "oci:none"])
        .says(&["there is no image at ", "none"]);
    project
        .context
        .fails(["diff", "oci:a", "oci:a", "--platform", "linux/s390x"])
        .says(&["has no image for linux/s390x"]);
}
