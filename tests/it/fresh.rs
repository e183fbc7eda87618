//! Fresh runners: with a lock that states every layer, and an empty store, what a registry has is neither
//! fetched nor built.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::{Context, Kind, Registry, Run, WheelBuilder};

use crate::bases::OnBase;
use crate::project::{Image, Project, STANDARD, digest_of};
use crate::reproducible::copy;

/// Pushes from an empty store, with the lock as it is.
fn push(context: &Context, name: &str, arguments: &[&str]) -> Run {
    let own = [
        "build",
        "--push",
        "--locked",
        "--metadata-file",
        "metadata.json",
        "--name",
        name,
    ];
    context.succeeds(own.iter().chain(arguments))
}

/// Number of layers by kind and state, of both platforms.
fn states(context: &Context) -> BTreeMap<String, usize> {
    let metadata: Value = serde_json::from_str(&context.read("metadata.json")).unwrap();
    let mut states = BTreeMap::new();
    for (_, platform) in metadata["platforms"].as_object().unwrap() {
        for layer in platform["layers"].as_array().unwrap() {
            let text = |key: &str| layer[key].as_str().unwrap().to_owned();
            let state = format!("{} {}", text("kind"), text("state"));
            *states.entry(state).or_default() += 1;
        }
    }
    states
}

fn expect(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let pairs = expected.iter();
    pairs
        .map(|(state, number)| ((*state).to_owned(), *number))
        .collect()
}

/// The standard project, built and locked in full and pushed; and a copy of it with an empty store.
fn pushed(registry: &Registry) -> (Project, Context, String) {
    let project = Project::standard();
    let name = registry.reference("team/demo");
    let digest = digest_of(
        &project
            .context
            .succeeds(["build", "--push", "--name", &name]),
    );
    let fresh = copy(&project);
    project.forget_requests();
    registry.forget();
    (project, fresh, digest)
}

#[test]
fn nothing_is_fetched_and_nothing_uploaded() {
    let registry = Registry::start();
    let (project, fresh, digest) = pushed(&registry);
    let run = push(&fresh, &registry.reference("team/demo"), &[]);
    assert_eq!(digest_of(&run), digest);
    assert_eq!(
        project.requests(),
        [""; 0],
        "neither wheels nor packages nor lists of them"
    );
    assert_eq!(
        (registry.uploaded_bytes(), registry.count(Kind::GetBlob)),
        (0, 0)
    );
    let all = expect(&[
        ("base registry", 2),
        ("venv registry", 2),
        ("wheel registry", 6),
        ("app registry", 2),
    ]);
    assert_eq!(states(&fresh), all);
    let metadata: Value = serde_json::from_str(&fresh.read("metadata.json")).unwrap();
    assert_eq!(metadata["bytes_downloaded"], 0);
    registry.assert_conformant();
}

#[test]
fn a_changed_file_costs_its_layer() {
    let registry = Registry::start();
    let (project, fresh, _) = pushed(&registry);
    fresh.write("app/main.py", "print('changed')\n");
    let run = push(&fresh, &registry.reference("team/demo"), &[]);
    assert_eq!(digest_of(&run), digest_of(&fresh.succeeds(["digest"])));
    assert_eq!(project.requests(), [""; 0]);
    // The layer that both platforms share, and two configurations.
    assert_eq!(registry.count(Kind::PutUpload), 3);
    assert_eq!(registry.complete("team/demo"), Ok(()));
    registry.assert_conformant();
}

#[test]
fn what_the_registry_lost_of_the_tags_image_is_built_again() {
    let registry = Registry::start();
    let (project, fresh, _) = pushed(&registry);
    let lost = |kind: &str, context: &Context| {
        let lock: toml::Table = context.read("oxcart.lock").parse().unwrap();
        let platforms = lock["platform"].as_array().unwrap();
        let layers = platforms
            .iter()
            .flat_map(|it| it["layer"].as_array().unwrap());
        for layer in layers.filter(|it| it["kind"].as_str() == Some(kind)) {
            let digest = layer["digest"].as_str().unwrap();
            registry.remove_blob("team/demo", &digest.parse().unwrap());
        }
    };
    lost("wheel", &fresh);
    fresh.write("app/main.py", "print('changed')\n");
    let run = push(&fresh, &registry.reference("team/demo"), &[]);
    assert_eq!(digest_of(&run), digest_of(&fresh.succeeds(["digest"])));
    assert_eq!(project.index.requests("*.whl"), 4);
    assert_eq!(
        project.requests().len(),
        4,
        "no list, and no package of Debian's"
    );
    // Four wheels, the layer of the application and two configurations.
    assert_eq!(registry.count(Kind::PutUpload), 7);
    assert_eq!(registry.complete("team/demo"), Ok(()));
}

#[test]
fn only_what_no_registry_has_is_fetched_and_built() {
    let registry = Registry::start();
    let (project, _, _) = pushed(&registry);
    project.index.add(&WheelBuilder::simple("helper", "2.1"));
    project.context.succeeds(["lock", "--upgrade=helper"]);
    project.context.succeeds(["lock", "--layers"]);
    let fresh = copy(&project);
    project.forget_requests();
    registry.forget();
    let run = push(&fresh, &registry.reference("team/demo"), &[]);
    assert_eq!(digest_of(&run), project.build(&[]));
    let wheels: Vec<_> = project.requests();
    assert_eq!(wheels, ["GET /files/helper-2.1-py3-none-any.whl 200"]);
    let found = states(&fresh);
    assert_eq!((found["wheel registry"], found["wheel built"]), (4, 2));
    assert_eq!(registry.complete("team/demo"), Ok(()));
    registry.assert_conformant();
}

#[test]
fn layers_are_mounted_from_another_repository() {
    let registry = Registry::start();
    let (project, fresh, digest) = pushed(&registry);
    let name = registry.reference("team/other");
    let run = push(
        &fresh,
        &name,
        &["--cache-from", &registry.reference("team/demo")],
    );
    assert_eq!(digest_of(&run), digest);
    assert_eq!(project.requests(), [""; 0]);
    assert_eq!(registry.uploaded_bytes(), 0);
    let all = expect(&[
        ("base mounted", 2),
        ("venv mounted", 2),
        ("wheel mounted", 6),
        ("app mounted", 2),
    ]);
    assert_eq!(states(&fresh), all);
    assert_eq!(registry.complete("team/other"), Ok(()));
    registry.assert_conformant();
}

#[test]
fn layers_are_streamed_from_another_registry() {
    let [near, far] = [Registry::start(), Registry::start()];
    let (project, fresh, digest) = pushed(&far);
    let cache = far.reference("team/demo");
    let text = STANDARD.replace(
        "[image]\n",
        &format!("[image]\ncache-from = [\"{cache}\"]\n"),
    );
    project.configure(&text);
    fresh.write("oxcart.toml", project.context.read("oxcart.toml"));
    let run = push(&fresh, &near.reference("team/demo"), &[]);
    assert_eq!(
        digest_of(&run),
        digest,
        "where layers come from is in no digest"
    );
    assert_eq!(project.requests(), [""; 0]);
    let found = states(&fresh);
    assert_eq!((found["base copied"], found["wheel copied"]), (2, 6));
    assert_eq!(near.complete("team/demo"), Ok(()));
    near.assert_conformant();
    far.assert_conformant();
}

#[test]
fn an_output_takes_layers_from_a_cache() {
    let registry = Registry::start();
    let (project, fresh, digest) = pushed(&registry);
    let cache = registry.reference("team/demo");
    let build = [
        "build",
        "--locked",
        "--output=oci:image",
        "--cache-from",
        &cache,
    ];
    let run = fresh.succeeds(build.iter().chain(&["--metadata-file=metadata.json"]));
    assert_eq!(digest_of(&run), digest);
    assert_eq!(project.requests(), [""; 0]);
    for platform in ["linux/amd64", "linux/arm64"] {
        Image::open(&fresh.path("image"), platform);
    }
    let found = states(&fresh);
    assert_eq!((found["base copied"], found["wheel copied"]), (2, 6));
    run.says(&["linux/arm64: checked "]);
    // What was pulled is there for the next output.
    registry.forget();
    fresh.succeeds(build.map(|it| it.replace("oci:image", "oci-archive:image.tar")));
    assert_eq!(registry.count(Kind::GetBlob), 0);
    assert_eq!(project.requests(), [""; 0]);
    // Unless it was damaged.
    let metadata: Value = serde_json::from_str(&fresh.read("metadata.json")).unwrap();
    let base = metadata["platforms"]["linux/arm64"]["layers"][0]["digest"].as_str();
    let base = base.unwrap().trim_start_matches("sha256:");
    let blob = fresh.store().join("blobs/sha256").join(base);
    std::fs::write(&blob, "damaged").unwrap();
    let again = build.map(|it| it.replace("oci:image", "oci:again"));
    assert_eq!(digest_of(&fresh.succeeds(again)), digest);
    assert_eq!(registry.count(Kind::GetBlob), 1);
    Image::open(&fresh.path("again"), "linux/arm64");
    // And what it does not have is built: here a wheel that is new, and everything.
    project.index.add(&WheelBuilder::simple("helper", "2.1"));
    project
        .context
        .succeeds(["lock", "--upgrade=helper", "--layers"]);
    let newer = copy(&project);
    project.forget_requests();
    let run = newer.succeeds(build);
    assert_eq!(digest_of(&run), project.build(&[]));
    assert_eq!(
        project.requests(),
        ["GET /files/helper-2.1-py3-none-any.whl 200"]
    );
    let other = copy(&project);
    let gone = Registry::start().reference("team/gone");
    let run = other.succeeds(["build", "--output=oci:image", "--cache-from", &gone]);
    assert_eq!(digest_of(&run), project.build(&[]));
    run.says(&["warning: cache-from 127.0.0.1:[PORT]/team/gone is left out"]);
}

#[test]
fn an_output_fetches_what_its_layers_need() {
    let project = Project::standard();
    let digest = project.build(&["--platform=linux/arm64"]);
    project.build(&[]);
    let fresh = copy(&project);
    project.forget_requests();
    let run = fresh.succeeds([
        "build",
        "--locked",
        "--output=oci:image",
        "--platform=linux/arm64",
    ]);
    assert_eq!(digest_of(&run), digest);
    assert_eq!(project.index.requests("*.whl"), 3);
    assert_eq!(project.index.requests("*x86_64.whl"), 0);
}

#[test]
fn a_cache_that_cannot_be_asked_is_left_out() {
    let registry = Registry::start();
    let (project, fresh, digest) = pushed(&registry);
    let gone = Registry::start().reference("team/gone");
    let name = registry.reference("team/new");
    let run = push(&fresh, &name, &["--cache-from", &gone]);
    assert_eq!(digest_of(&run), digest);
    run.says(&["warning: cache-from 127.0.0.1:[PORT]/team/gone is left out"]);
    assert!(project.index.requests("*.whl") > 0, "they had to be built");
    let run = fresh.fails([
        "build",
        "--push",
        "--name",
        &name,
        "--cache-from",
        "x.example/a:1",
    ]);
    run.says(&["cache-from `x.example/a:1` has a tag or a digest", "hint:"]);
}

#[test]
fn a_lock_that_states_nothing_builds_everything() {
    let registry = Registry::start();
    let (project, fresh, digest) = pushed(&registry);
    let lock = fresh.read("oxcart.lock");
    let bare: Vec<_> = lock.split("\n[[platform.layer]]").collect();
    let second = bare.iter().find(|it| it.contains("linux/arm64")).unwrap();
    let second = &second[second.find("\n[[platform]]").unwrap()..];
    fresh.write("oxcart.lock", format!("{}{second}", bare[0]));
    let run = push(&fresh, &registry.reference("team/demo"), &[]);
    assert_eq!(digest_of(&run), digest);
    assert_eq!(project.index.requests("*.whl"), 4);
    assert_eq!(registry.uploaded_bytes(), 0);
}

#[test]
fn records_without_their_wheels_are_enough() {
    let registry = Registry::start();
    let project = Project::standard();
    let name = registry.reference("team/demo");
    let digest = digest_of(
        &project
            .context
            .succeeds(["build", "--push", "--name", &name]),
    );
    project.context.write("app/main.py", "print('changed')\n");
    std::fs::remove_dir_all(project.context.store().join("blobs/sha256")).unwrap();
    project.forget_requests();
    let run = push(&project.context, &name, &[]);
    assert_ne!(digest_of(&run), digest);
    assert_eq!(project.requests(), [""; 0]);
    assert_eq!(registry.complete("team/demo"), Ok(()));
}

#[test]
fn nothing_is_pulled_of_a_base_that_the_registry_has() {
    let OnBase { project, registry } = OnBase::new();
    let name = registry.reference("team/demo");
    let digest = digest_of(
        &project
            .context
            .succeeds(["build", "--push", "--name", &name]),
    );
    let fresh = copy(&project);
    project.forget_requests();
    registry.forget();
    let run = push(&fresh, &name, &[]);
    assert_eq!(digest_of(&run), digest);
    assert_eq!(project.requests(), [""; 0]);
    let of_base = registry.requests();
    assert!(
        of_base.iter().all(|it| !it.path.contains("team/base")),
        "{of_base:#?}"
    );
    assert_eq!(
        (registry.uploaded_bytes(), registry.count(Kind::GetBlob)),
        (0, 0)
    );
}
