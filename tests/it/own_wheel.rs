//! The project itself, installed as the wheel that its build backend makes.

use std::fs;

use testkit::{SdistBuilder, WheelBuilder};

use crate::project::{digest_of, listing};
use crate::sources::{FOREIGN, HOST, SITE, Sources, python};

/// A project with a package of its own.
fn own_project(tag: &str) -> (Sources, SdistBuilder) {
    let sources = Sources::new("pyproject = true\nproject = \"wheel\"");
    let own = sources.sdist("own", "0.1").tag(tag);
    write(&sources, &own);
    (sources, own)
}

fn write(sources: &Sources, own: &SdistBuilder) {
    for (path, bytes) in own.sources() {
        sources.project.context.write(&path, bytes);
    }
}

#[test]
fn the_project_itself_is_a_layer_of_its_own_that_follows_its_sources() {
    let (mut sources, own) = own_project("py3-none-any");
    let metadata = |sources: &Sources| {
        let document = sources.project.build_with_metadata(&[]);
        // In the project's directory, it would be one of its sources.
        fs::remove_file(sources.project.context.path("metadata.json")).unwrap();
        let layers = document["platforms"][FOREIGN]["layers"]
            .as_array()
            .unwrap()
            .clone();
        (document["digest"].as_str().unwrap().to_owned(), layers)
    };
    let (digest, layers) = metadata(&sources);
    let top = layers.last().unwrap();
    assert_eq!(top["members"][0], "own 0.1");
    assert_eq!(top["members"].as_array().unwrap().len(), 1);
    let image = sources.project.image(FOREIGN);
    assert_eq!(
        image.text(&format!("{SITE}/own/__init__.py")),
        "VERSION = '0.1'\n"
    );
    let lock = sources.project.context.read("oxcart.lock");
    assert!(
        lock.contains("[platform.project]\nname = \"own\"\n"),
        "{lock}"
    );
    let root = sources.project.context.root().display().to_string();
    assert!(!lock.contains(&root), "{lock}");
    // Nothing is left in the project, and nothing is built again for the same sources.
    assert!(
        !listing(sources.project.context.project())
            .iter()
            .any(|it| it.contains("__pycache__"))
    );
    sources.done();
    sources.without_python();
    sources.project.context.succeeds(["build", "--locked"]);
    assert_eq!(sources.done(), [""; 0]);

    sources.project.context.set("OXCART_PYTHON", python().0);
    write(&sources, &own.clone().file("src/own/more.py", b"x = 1\n"));
    let run = sources.project.context.succeeds(["lock", "--check"]);
    assert!(!run.stderr.contains("not up to date"), "{}", run.account());
    let (changed, new_layers) = metadata(&sources);
    assert_ne!(changed, digest);
    assert_eq!(new_layers[..new_layers.len() - 1].len(), layers.len() - 1);
    for (before, after) in layers.iter().zip(&new_layers).take(layers.len() - 1) {
        assert_eq!(before["digest"], after["digest"]);
    }
    assert!(
        sources
            .project
            .image(HOST)
            .has(&format!("{SITE}/own/more.py"))
    );
    assert_eq!(sources.project.context.read("oxcart.lock"), lock);
}

#[test]
fn the_digest_is_known_once_the_wheel_is_built() {
    let (mut sources, own) = own_project("py3-none-any");
    let digest = |sources: &Sources| digest_of(&sources.project.context.succeeds(["digest"]));
    sources.project.context.succeeds(["lock"]);
    sources.project.context.fails(["digest"]).says(&[
        "does not state every layer; it lacks",
        "hint: run `oxcart lock --layers`",
    ]);
    // The lock states the other layers.
    sources.project.context.succeeds(["lock", "--layers"]);
    let lock = sources.project.context.read("oxcart.lock");
    assert!(
        lock.contains("[[platform.layer]]") && !lock.contains("own 0.1"),
        "{lock}"
    );
    let first = digest(&sources);
    assert_eq!(first, sources.project.build(&[]));
    assert_eq!(sources.project.context.read("oxcart.lock"), lock);
    // It follows the sources, and what was built is not built again.
    write(&sources, &own.clone().file("src/own/more.py", b"x = 1\n"));
    let second = digest(&sources);
    assert_ne!(first, second);
    sources.done();
    sources.without_python();
    assert_eq!(digest(&sources), second);
    assert_eq!(sources.project.build(&["--locked"]), second);
    assert_eq!(sources.done(), [""; 0]);
    sources.forget_store();
    let run = sources.project.context.fails(["digest"]);
    run.says(&["there is no Python to build the project own with"]);
}

#[test]
fn the_project_is_built_offline_with_what_is_vendored() {
    let (mut sources, own) = own_project("py3-none-any");
    sources
        .project
        .index
        .add(&WheelBuilder::simple("maker", "1.0"));
    write(&sources, &own.build_requires("maker", "maker"));
    let digest = sources.project.build(&[]);
    sources
        .project
        .context
        .succeeds(["vendor", "--output", "vendor"]);
    sources.forget_store();
    sources.project.forget_requests();
    fs::remove_dir_all(sources.project.context.path("image")).unwrap();
    let offline = sources.project.build(&["--offline", "--vendor", "vendor"]);
    assert_eq!(offline, digest);
    assert_eq!(sources.project.requests(), [""; 0]);
}

#[test]
fn a_lock_keeps_what_backends_required_until_it_is_upgraded() {
    let (sources, own) = own_project("py3-none-any");
    let index = &sources.project.index;
    index.add(&WheelBuilder::simple("maker", "1.0"));
    index.add_sdist(
        &sources
            .sdist("demo", "1.0")
            .build_requires("maker", "maker"),
    );
    write(&sources, &own.build_requires("maker", "maker"));
    sources.depend("packages = [\"demo\"]\nbuild-from-source = [\"demo\"]\nproject = \"wheel\"");
    sources.project.context.succeeds(["lock"]);
    let lock = sources.project.context.read("oxcart.lock");
    assert_eq!(lock.matches("maker-1.0").count(), 8, "{lock}");
    index.add(&WheelBuilder::simple("maker", "2.0"));
    sources.project.context.succeeds(["lock"]);
    assert_eq!(sources.project.context.read("oxcart.lock"), lock);
    sources.project.context.succeeds(["lock", "--upgrade"]);
    let upgraded = sources.project.context.read("oxcart.lock");
    assert_eq!(upgraded.matches("maker-2.0").count(), 8, "{upgraded}");
}

#[test]
fn a_project_that_is_not_pure_is_refused_for_foreign_platforms() {
    let tag = format!("py3-none-linux_{}", std::env::consts::ARCH);
    let (sources, _) = own_project(&tag);
    let run = sources.project.context.fails(["build"]);
    run.says(&["the project own gives", &format!("does not fit {FOREIGN}")]);
}

#[test]
fn a_project_without_a_name_is_no_wheel() {
    let sources = Sources::new("pyproject = true\nproject = \"wheel\"");
    sources
        .project
        .context
        .write("pyproject.toml", "[tool.x]\n");
    let run = sources.project.context.fails(["build"]);
    run.says(&["pyproject.toml has no [project]"]);
}
