//! Locks that state layers: when they are written, what they are good for, and what happens when they
//! say something else than a build.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use testkit::{Run, WheelBuilder};

use crate::bases::OnBase;
use crate::project::{BUILD, Project, STANDARD, digest_of, helper};
use crate::reproducible::copy;

/// The keys of the layers that the lock states, with what is in each.
fn stated(text: &str) -> BTreeSet<(String, String)> {
    let lock: toml::Table = text.parse().unwrap();
    let platforms = lock["platform"].as_array().unwrap();
    let layers = platforms
        .iter()
        .filter_map(|it| it.get("layer").and_then(toml::Value::as_array))
        .flatten();
    let text = |layer: &toml::Value, key: &str| {
        layer.get(key).map_or(String::new(), |it| {
            it.as_str().map_or(it.to_string(), str::to_owned)
        })
    };
    layers
        .map(|layer| {
            (
                text(layer, "key"),
                text(layer, "kind") + &text(layer, "members"),
            )
        })
        .collect()
}

fn read(project: &Project) -> String {
    project.context.read("oxcart.lock")
}

#[test]
fn a_build_completes_the_lock_once() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let before = read(&project);
    assert!(
        stated(&before).is_empty(),
        "nothing was built yet\n{before}"
    );
    project.context.succeeds(["lock", "--check"]);
    project.build(&["--locked"]);
    assert_eq!(read(&project), before, "--locked writes nothing");
    project.build(&[]);
    let full = read(&project);
    // A base each, what `native` is each, and what they share: the environment and two bins.
    assert_eq!(stated(&full).len(), 7, "{full}");
    let lines: BTreeSet<_> = full.lines().collect();
    assert!(
        before.lines().all(|line| lines.contains(line)),
        "what was there stays"
    );
    project.build(&[]);
    project.build(&["--locked", "--no-cache"]);
    project.context.succeeds(["lock"]);
    project.context.succeeds(["lock", "--check"]);
    project.context.succeeds(["lock", "--layers"]);
    assert_eq!(read(&project), full);
}

#[test]
fn lock_states_what_the_store_knows_and_builds_the_rest_where_asked() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let bare = read(&project);
    let mut other = copy(&project);
    project.context.succeeds(["lock", "--layers"]);
    let full = read(&project);
    assert_eq!(stated(&full).len(), 7);
    assert!(!project.context.path("image").exists());
    // Where the store knows the layers, `lock` alone states them.
    other.use_store(project.context.store().to_owned());
    assert_eq!(fs::read_to_string(other.path("oxcart.lock")).unwrap(), bare);
    project.forget_requests();
    other.succeeds(["lock"]);
    assert_eq!(other.read("oxcart.lock"), full);
    assert_eq!(project.index.requests("*.whl"), 0);
    // A lock that states all of them needs nothing built, whatever the store has.
    other.use_store(other.root().join("empty"));
    other.succeeds(["lock", "--layers"]);
    assert_eq!(other.read("oxcart.lock"), full);
    assert_eq!(project.index.requests("*.whl"), 0);
}

#[test]
fn only_the_layer_of_what_changed_changes() {
    let project = Project::standard();
    project.build(&[]);
    let before = stated(&read(&project));
    project.index.add(&WheelBuilder::simple("helper", "2.1"));
    project.context.succeeds(["lock", "--upgrade=helper"]);
    let bare = stated(&read(&project));
    let gone: Vec<_> = before
        .difference(&bare)
        .map(|(_, it)| it.as_str())
        .collect();
    assert_eq!(gone, ["wheel[\"helper 2.0\"]"]);
    assert!(bare.is_subset(&before));
    project.build(&[]);
    let after = stated(&read(&project));
    let new: Vec<_> = after
        .difference(&before)
        .map(|(_, it)| it.as_str())
        .collect();
    assert_eq!(new, ["wheel[\"helper 2.1\"]"]);
}

#[test]
fn digest_is_what_build_gives_without_asking_anybody() {
    let project = Project::standard();
    let built = project.build_with_metadata(&[]);
    let mut other = copy(&project);
    let store = other.root().join("none");
    other.use_store(store.clone());
    project.forget_requests();
    let digest = |arguments: &[&str]| digest_of(&other.succeeds([&["digest"], arguments].concat()));
    assert_eq!(digest(&[]), built["digest"].as_str().unwrap());
    let run = other.succeeds(["digest", "--json"]);
    let shown: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(shown["digest"], built["digest"]);
    for platform in ["linux/amd64", "linux/arm64"] {
        let (shown, built) = (&shown["platforms"][platform], &built["platforms"][platform]);
        assert_eq!(shown["digest"], built["digest"]);
        assert_eq!(shown["layers"][3], built["layers"][3]["digest"]);
    }
    let one = digest(&["--platform", "linux/arm64"]);
    assert_eq!(project.requests(), [""; 0]);
    assert!(!store.exists(), "it needs no store");
    assert_eq!(one, project.build(&["--platform", "linux/arm64"]));
    // What is the project's own is looked at, and not locked.
    let changed = |context: &testkit::Context| {
        context.write("app/main.py", "print('changed')\n");
    };
    changed(&other);
    changed(&project.context);
    let digest = digest_of(&other.succeeds(["digest"]));
    assert_ne!(digest, built["digest"].as_str().unwrap());
    assert_eq!(digest, project.build(&[]));
    let mut dated = copy(&project);
    dated.set("SOURCE_DATE_EPOCH", "1700000000");
    assert_eq!(
        digest_of(&dated.succeeds(["digest"])),
        digest_of(&dated.succeeds(BUILD))
    );
    dated
        .set("GITHUB_ACTIONS", "true")
        .set("GITHUB_REPOSITORY", "Acme/Demo");
    project.context.write("pyproject.toml", "");
    assert_eq!(
        digest_of(&dated.succeeds(["digest"])),
        digest_of(&dated.succeeds(BUILD))
    );
}

#[test]
fn digest_needs_nothing_of_a_base_image_but_the_lock() {
    let OnBase { project, registry } = OnBase::new();
    let built = project.build(&[]);
    let other = copy(&project);
    drop(registry);
    assert_eq!(digest_of(&other.succeeds(["digest"])), built);
    let text = read(&project);
    assert_eq!(text.matches("\ncontent = ").count(), 2, "{text}");
    let edited = text.replacen("nonroot", "root", 1);
    assert_ne!(edited, text);
    other.write("oxcart.lock", edited);
    let run = other.fails(["digest"]);
    run.says(&["configuration of the base image", "is not sha256:", "hint:"]);
}

#[test]
fn digest_says_what_the_lock_lacks() {
    let project = Project::standard();
    project
        .context
        .fails(["digest"])
        .says(&["oxcart.lock is not up to date: it does not exist"]);
    project.context.succeeds(["lock"]);
    let run = project.context.fails(["digest"]);
    run.says(&[
        "oxcart.lock does not state every layer; it lacks",
        "\n  linux/amd64: base: 29 Debian packages",
        "\n  linux/arm64: native 3.1",
        "hint: run `oxcart lock --layers`",
    ]);
    project.build(&["--platform", "linux/arm64"]);
    let run = project.context.fails(["digest"]);
    assert!(!run.stderr.contains("linux/arm64"), "{}", run.account());
    project
        .context
        .succeeds(["digest", "--platform", "linux/arm64"]);
    project.context.write("requirements.txt", "demo\n");
    project
        .context
        .fails(["digest"])
        .says(&["is not up to date: what linux/amd64 is made of was changed"]);
}

/// A build of the standard project whose full lock was changed, with `--locked` and without.
fn after(change: impl Fn(&str) -> String) -> (Project, Run, Run) {
    let project = Project::standard();
    project.build(&[]);
    let full = read(&project);
    let changed = change(&full);
    assert_ne!(changed, full);
    project.context.write("oxcart.lock", &changed);
    let locked = project
        .context
        .run(["build", "--locked", "--output", "oci:locked"]);
    project.context.write("oxcart.lock", &changed);
    let free = project.context.run(BUILD);
    (project, locked, free)
}

/// The text with the value of `key` in the entry of `helper`'s layer on both platforms replaced.
fn with(text: &str, key: &str, value: &str) -> String {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    for n in 0..lines.len() {
        if lines[n] == "members = [\"helper 2.0\"]" {
            let at = (n..lines.len())
                .find(|at| lines[*at].starts_with(&format!("{key} = ")))
                .unwrap();
            lines[at] = format!("{key} = {value}");
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn an_edited_layer_is_told_by_its_digests() {
    let wrong = format!("sha256:{}", "12".repeat(32));
    for key in ["digest", "diff_id"] {
        let value = format!("\"{wrong}\"");
        let (_, locked, free) = after(|text| with(text, key, &value));
        for run in [locked, free] {
            assert_eq!(run.status, Some(1), "{}", run.account());
            run.says(&[
                "oxcart.lock states another layer (helper 2.0) for linux/amd64: sha256:",
                "and the build gives sha256:",
                &wrong,
                "the lock's entry was edited, or merged by hand",
                "hint: get oxcart.lock back from version control",
            ]);
        }
    }
}

#[test]
fn a_changed_wheel_is_told_by_its_layer() {
    // The same name and version, but other bytes: the index has it, and somebody put its hash into the
    // lock.
    let other = helper().file("helper/new.py", b"print()\n");
    let project = Project::standard();
    project.build(&[]);
    let full = read(&project);
    let changed = full.replace(&helper().sha256(), &other.sha256());
    project.index.add(&other);
    project.context.write("oxcart.lock", &changed);
    let run = project.context.fails(["build", "--locked"]);
    run.says(&[
        "oxcart.lock states another layer (helper 2.0) for linux/amd64: sha256:",
        "and the build gives sha256:",
        "its sha256 in the lock was changed",
        "hint: if that is meant, run `oxcart lock --layers`",
    ]);
    // Without --locked, the lock follows its wheels.
    project.build(&[]);
    project.build(&["--locked"]);
    // The same bytes under the old hash are refused before they are a layer.
    let fresh = copy(&project);
    fresh.write("oxcart.lock", &full);
    let run = fresh.fails(BUILD);
    run.says(&["helper-2.0-py3-none-any.whl does not have its sha256"]);
}

#[test]
fn a_configuration_that_changes_all_layers_is_told() {
    let project = Project::standard();
    project.build(&[]);
    project.configure(&STANDARD.replace("[image]\n", "[image]\ncompression = \"gzip:6\"\n"));
    let run = project.context.fails(["build", "--locked"]);
    run.says(&["states another layer (base)", "[image] compression"]);
    project.build(&[]);
    project.build(&["--locked"]);
    project.context.succeeds(["lock", "--check"]);
}

#[test]
fn a_lock_of_another_layer_format_is_explained_and_upgraded() {
    let old = |text: &str| text.replace("layer-format = 1\n", "layer-format = 0\n");
    let (project, locked, free) = after(old);
    assert_eq!(locked.status, Some(1), "{}", locked.account());
    locked.says(&[
        "it was written for layer format 0, and this oxcart has 1",
        "hint: run `oxcart lock`",
    ]);
    assert_eq!(free.status, Some(0), "{}", free.account());
    free.says(&["writing oxcart.lock: it was written for layer format 0"]);
    project.context.write("oxcart.lock", old(&read(&project)));
    project
        .context
        .fails(["digest"])
        .says(&["it was written for layer format 0"]);
    project.context.succeeds(["lock"]);
    project.context.succeeds(["lock", "--check"]);
    assert_eq!(
        digest_of(&project.context.succeeds(["digest"])),
        project.build(&[])
    );
}
