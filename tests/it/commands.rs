//! The commands beside `build`: init, lock, plan, inspect, store.

use std::fs;

use serde_json::Value;
use testkit::WheelBuilder;

use crate::project::{Project, STANDARD};

#[test]
fn init_writes_what_can_be_built() {
    let project = Project::empty();
    project.context.write("requirements.txt", "");
    project.context.write("requirements.dev.txt", "");
    project.context.write("app/__init__.py", "");
    project.context.write("app/__main__.py", "print('hello')\n");
    project.context.succeeds(["init"]);
    let text = project.context.read("oxcart.toml");
    let run = project.context.fails(["init"]);
    run.says(&["oxcart.toml is there already", "hint:"]);
    assert_eq!(
        project.context.read("oxcart.toml"),
        text,
        "nothing is overwritten"
    );
    project.configure(&text);
    project.build(&[]);
    assert_eq!(
        project.image("linux/amd64").text("app/app/__main__.py"),
        "print('hello')\n"
    );
}

#[test]
fn a_lock_is_made_once_and_kept() {
    let project = Project::standard();
    project
        .context
        .fails(["lock", "--check"])
        .says(&["oxcart.lock", "run `oxcart lock`"]);
    project
        .context
        .fails(["build", "--locked"])
        .says(&["oxcart.lock", "run `oxcart lock`"]);
    project.context.succeeds(["lock"]);
    let text = project.context.read("oxcart.lock");
    project.context.succeeds(["lock", "--check"]);
    // What is newer now does not matter to a lock that is there.
    project.index.add(&WheelBuilder::simple("helper", "2.1"));
    project.context.succeeds(["lock"]);
    project.build(&["--locked"]);
    assert_eq!(project.context.read("oxcart.lock"), text);
    project.context.succeeds(["lock", "--upgrade"]);
    let upgraded = project.context.read("oxcart.lock");
    assert!(
        !text.contains("helper-2.1") && upgraded.contains("helper-2.1"),
        "{upgraded}"
    );
    project.context.write("requirements.txt", "demo==1.0\n");
    project
        .context
        .fails(["lock", "--check"])
        .says(&["linux/amd64 is made of was changed"]);
}

#[test]
fn one_package_is_upgraded_and_the_others_stay() {
    let project = Project::standard();
    project.context.write("requirements.txt", "demo\nhelper\n");
    project.context.succeeds(["lock"]);
    project.index.add(&WheelBuilder::simple("helper", "2.1"));
    project
        .index
        .add(&WheelBuilder::simple("demo", "1.1").requires("helper"));
    project.context.succeeds(["lock", "--upgrade=helper"]);
    let text = project.context.read("oxcart.lock");
    assert!(
        text.contains("helper-2.1") && text.contains("demo-1.0"),
        "{text}"
    );
    project.context.succeeds(["lock", "--upgrade"]);
    assert!(project.context.read("oxcart.lock").contains("demo-1.1"));
}

#[test]
fn a_lock_has_no_local_path() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let text = project.context.read("oxcart.lock");
    let root = project.context.root().to_str().unwrap().to_owned();
    assert!(!text.contains(&root), "{text}");
    let lock: toml::Table = text.parse().unwrap();
    assert_eq!(lock["version"].as_integer(), Some(1));
    let platforms = lock["platform"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    for platform in platforms {
        let names: Vec<_> = platform["wheel"]
            .as_array()
            .unwrap()
            .iter()
            .map(|wheel| wheel["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["demo", "helper", "native"]);
        assert_eq!(
            platform["python"]["version"].as_str(),
            Some(testkit::PYTHON_VERSION)
        );
        let libc = format!("glibc {}", testkit::GLIBC_VERSION);
        assert_eq!(platform["python"]["libc"].as_str(), Some(libc.as_str()));
    }
}

#[test]
fn a_conflicted_lock_is_told() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let text = project.context.read("oxcart.lock");
    project.context.write(
        "oxcart.lock",
        format!("<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n"),
    );
    project
        .context
        .fails(["build"])
        .says(&["oxcart.lock has merge conflict markers", "hint:"]);
}

#[test]
fn a_plan_is_printed_without_a_download() {
    let project = Project::standard();
    let run = project.context.succeeds(["plan"]);
    assert_eq!(project.index.requests("*.whl"), 0);
    assert_eq!(project.archive.requests("*.deb"), 0);
    assert!(
        !project.context.path("oxcart.lock").exists(),
        "it writes nothing"
    );
    let text = run.stdout;
    for part in [
        "linux/amd64: debian:trixie, Python 3.13.5 on glibc 2.41",
        "linux/arm64:",
        "demo 1.0",
        "nonroot",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let run = project
        .context
        .succeeds(["plan", "--json", "--platform", "linux/arm64"]);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document.as_array().unwrap().len(), 1);
}

#[test]
fn a_plan_and_its_build_agree() {
    let project = Project::standard();
    let run = project.context.succeeds(["plan", "--json"]);
    let plans: Value = serde_json::from_str(&run.stdout).unwrap();
    let built = project.build_with_metadata(&[]);
    for (plan, platform) in plans
        .as_array()
        .unwrap()
        .iter()
        .zip(["linux/amd64", "linux/arm64"])
    {
        let members = |layers: &Value| -> Vec<Value> {
            layers
                .as_array()
                .unwrap()
                .iter()
                .map(|layer| layer["members"].clone())
                .collect()
        };
        assert_eq!(
            members(&plan["layers"]),
            members(&built["platforms"][platform]["layers"])
        );
    }
}

#[test]
fn inspect_shows_what_was_built() {
    let project = Project::standard();
    let built = project.build_with_metadata(&["--output", "oci-archive:image.tar"]);
    for place in ["oci:image", "oci-archive:image.tar", "image", "image.tar"] {
        let run = project.context.succeeds(["inspect", "--json", place]);
        let shown: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(shown["digest"], built["digest"], "{place}");
        let platform = &shown["platforms"][1];
        assert_eq!(platform["platform"], "linux/arm64");
        assert_eq!(
            platform["digest"],
            built["platforms"]["linux/arm64"]["digest"]
        );
        assert_eq!(platform["config"]["User"], "nonroot");
        let layers = platform["layers"].as_array().unwrap();
        let expected = built["platforms"]["linux/arm64"]["layers"]
            .as_array()
            .unwrap();
        for (layer, expected) in layers.iter().zip(expected) {
            assert_eq!(
                [&layer["digest"], &layer["diff_id"]],
                [&expected["digest"], &expected["diff_id"]]
            );
        }
    }
    let text = project.context.succeeds(["inspect", "oci:image"]).stdout;
    assert!(
        text.contains("linux/arm64") && text.contains("demo 1.0"),
        "{text}"
    );
    project
        .context
        .fails(["inspect", "nothing"])
        .says(&["there is no image at nothing", "hint:"]);
}

#[test]
fn the_store_is_measured_and_pruned() {
    let project = Project::standard();
    project.build(&[]);
    let size = || -> Value {
        serde_json::from_str(&project.context.succeeds(["store", "size", "--json"]).stdout).unwrap()
    };
    assert!(
        size()["blobs"]["bytes"].as_u64().unwrap() > 10_000,
        "{}",
        size()
    );
    assert_eq!(size()["spool"]["files"], 0);
    assert!(
        project
            .context
            .succeeds(["store", "size"])
            .stdout
            .contains("total")
    );
    project.context.succeeds(["store", "prune"]);
    assert!(
        size()["blobs"]["files"].as_u64().unwrap() > 0,
        "what was used today stays"
    );
    project
        .context
        .succeeds(["store", "prune", "--older-than", "0d"]);
    assert_eq!(
        (&size()["blobs"]["files"], &size()["layers"]["files"]),
        (&0.into(), &0.into())
    );
    fs::remove_dir_all(project.context.path("image")).unwrap();
    project.build(&["--locked"]);
    project.image("linux/amd64");
    project
        .context
        .fails(["store", "prune", "--older-than", "3 weeks"]);
}

#[test]
fn results_go_to_stdout_and_nothing_else_does() {
    let project = Project::standard();
    let run = project
        .context
        .succeeds(["build", "--quiet", "--output", "oci:image"]);
    assert_eq!(run.stderr, "", "quiet is quiet");
    assert_eq!(run.stdout.lines().count(), 1);
    let run = project.context.run(["no-such-command"]);
    assert_eq!(
        (run.status, run.stdout.as_str()),
        (Some(1), ""),
        "{}",
        run.account()
    );
    let run = project.context.fails(["build", "--output", "tar:image"]);
    run.says(&["`tar` is no kind of output"]);
}

#[test]
fn pyproject_may_hold_the_configuration() {
    let project = Project::standard();
    project.configure(STANDARD);
    let own = project.context.read("oxcart.toml");
    let first = project.build(&[]);
    let shared = own
        .replace("[[", "[[tool.oxcart.")
        .replace("\n[", "\n[tool.oxcart.");
    let shared = shared.replace("[tool.oxcart.[tool.oxcart.", "[[tool.oxcart.");
    project.context.write(
        "pyproject.toml",
        format!("[project]\nname = \"demo\"\nversion = \"1\"\n{shared}"),
    );
    fs::remove_file(project.context.path("oxcart.toml")).unwrap();
    assert_eq!(project.build(&[]), first);
}
