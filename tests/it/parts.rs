//! Wheels above 512 MiB, which become several layers. The index says that a small one is that large.

use std::collections::{BTreeMap, BTreeSet};

use flate2::read::GzDecoder;
use serde_json::Value;
use testkit::WheelBuilder;

use crate::project::{BUILD, Project, STANDARD, digest_of, noise};
use crate::reproducible::copy;

const MIB: u64 = 1 << 20;

fn large() -> WheelBuilder {
    let mut wheel = WheelBuilder::simple("large", "1.0")
        .console_script("large", "large.cli:main")
        .file("large/cli.py", b"def main():\n    pass\n");
    for n in 0..12 {
        let name = format!("large/part{}/data{n}", n / 5);
        wheel = wheel.file(&name, &noise(40_000 + n * 1000, n as u64));
    }
    wheel
}

/// A project with a wheel of which the index says that it has `mib` MiB.
fn project(mib: u64) -> Project {
    let project = Project::standard();
    let wheel = large();
    project.index.add(&wheel);
    project.index.says_size(&wheel.filename(), mib * MIB);
    project
        .context
        .write("requirements.txt", "demo==1.0\nnative\nlarge\n");
    project
}

fn layers(built: &Value) -> Vec<(String, String)> {
    let layers = built["platforms"]["linux/arm64"]["layers"].as_array();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let layers = layers.unwrap().iter();
    layers
        .map(|it| (text(&it["members"][0]), text(&it["digest"])))
        .filter(|(member, _)| member.starts_with("large"))
        .collect()
}

/// The paths in a layer of the project's layout, directories with a `/` at their end.
fn paths(project: &Project, digest: &str) -> Vec<String> {
    let reader = oci::LayoutReader::open(&project.context.path("image")).unwrap();
    let blob = reader.blob(&digest.parse().unwrap()).unwrap();
    let mut tar = tar::Archive::new(GzDecoder::new(blob.reader()));
    let entries = tar.entries().unwrap();
    entries
        .map(|it| it.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_image_is_the_one_without_parts() {
    let (whole, split) = (project(512), project(1500));
    let (one, parts) = (
        layers(&whole.build_with_metadata(&[])),
        layers(&split.build_with_metadata(&[])),
    );
    let names = |layers: &[(String, String)]| -> Vec<String> {
        layers.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&one), ["large 1.0"]);
    assert_eq!(
        names(&parts),
        [
            "large 1.0 (1 of 3)",
            "large 1.0 (2 of 3)",
            "large 1.0 (3 of 3)"
        ]
    );
    for platform in ["linux/amd64", "linux/arm64"] {
        let (whole, split) = (whole.image(platform), split.image(platform));
        assert!(whole.files == split.files, "{platform}");
        assert!(split.has("opt/venv/lib/python3.13/site-packages/large-1.0.dist-info/RECORD"));
    }
    // Each file is in one part, in the order of paths; directories are wherever they are needed.
    let whole = paths(&whole, &one[0].1);
    let mut files = Vec::new();
    for (name, digest) in &parts {
        let paths = paths(&split, digest);
        let (directories, own): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|it| it.ends_with('/'));
        assert!(own.len() > 2, "{name}: {own:?}");
        let needed: BTreeSet<_> = own
            .iter()
            .flat_map(|it| it.match_indices('/').map(|(at, _)| it[..=at].to_owned()))
            .collect();
        assert_eq!(directories.into_iter().collect::<BTreeSet<_>>(), needed);
        files.extend(own);
    }
    let expected: Vec<_> = whole.into_iter().filter(|it| !it.ends_with('/')).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_command_knows_parts() {
    let project = project(1025);
    let run = project.context.succeeds(BUILD);
    let digest = digest_of(&run);
    // What the lock said of large wheels is not said again: nothing else is to be said.
    let again = project.context.succeeds(["build", "--no-cache"]);
    assert_eq!(digest_of(&again), digest);
    assert!(!again.stderr.contains("warning"), "{}", again.account());

    let plan = project.context.succeeds(["plan"]);
    for part in ["(1 of 3)", "(2 of 3)", "(3 of 3)"] {
        assert!(
            plan.stdout.contains(&format!("large 1.0 {part}")),
            "{}",
            plan.account()
        );
    }
    let check = project.context.succeeds(["check", "oci:image"]);
    assert!(!check.stdout.contains("large"), "{}", check.account());
    let verify = project.context.succeeds(["verify", "oci:image"]);
    assert!(!verify.stdout.contains("differ"), "{}", verify.account());

    let shown = project.context.succeeds(["inspect", "oci:image", "--json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let packages = shown["platforms"][0]["contents"]["packages"].as_array();
    let packages = packages.unwrap_or_else(|| panic!("{shown:#}")).iter();
    let mut sizes = BTreeMap::new();
    for package in packages.filter(|it| it["name"] == "large") {
        sizes.insert(package["version"].to_string(), package["size"].as_u64());
    }
    assert_eq!(sizes.len(), 1, "{shown:#}");
    let files: usize = (0..12).map(|n| 40_000 + n * 1000).sum();
    let size = sizes.values().next().unwrap().unwrap() as usize;
    assert!(size > files && size < files + 5000, "{size} of {files}");

    // The lock has them, and is enough for the digest; an empty store gives the same.
    let lock = project.context.read("oxcart.lock");
    assert_eq!(
        lock.matches("members = [\"large 1.0 (2 of 3)\"]").count(),
        2,
        "{lock}"
    );
    let mut other = copy(&project);
    other.use_store(other.root().join("empty"));
    assert_eq!(digest_of(&other.succeeds(["digest"])), digest);
    assert_eq!(
        digest_of(&other.succeeds(["build", "--locked", "--output", "oci:image"])),
        digest
    );
    assert_eq!(
        digest_of(&other.succeeds(["build", "--no-cache", "--jobs=1"])),
        digest
    );
    // A lock alone, completed without a build.
    project.context.write("oxcart.lock", "");
    std::fs::remove_file(project.context.path("oxcart.lock")).unwrap();
    let store = project.context.store().join("layers");
    std::fs::remove_dir_all(store).unwrap();
    project.context.succeeds(["lock", "--layers"]);
    assert_eq!(project.context.read("oxcart.lock"), lock);
}

#[test]
fn a_diff_pairs_parts() {
    let project = project(1025);
    project.build(&[]);
    let newer = WheelBuilder::simple("large", "1.1").file("large/data", &noise(90_000, 3));
    project.index.add(&newer);
    project.index.says_size(&newer.filename(), 1025 * MIB);
    project.context.succeeds(["lock", "--upgrade=large"]);
    project.context.succeeds(["build", "--output", "oci:newer"]);
    let run = project.context.succeeds(["diff", "oci:image", "oci:newer"]);
    assert!(run.stdout.contains("large 1.0 → 1.1"), "{}", run.account());
}

#[test]
fn a_fresh_runner_moves_no_part_that_a_registry_has() {
    let project = project(1025);
    let registry = testkit::Registry::start();
    registry.several_clients();
    let name = registry.reference("team/demo");
    let push = ["build", "--push", "--name", &name];
    let pushed = digest_of(&project.context.succeeds(push));
    assert_eq!(registry.complete("team/demo"), Ok(()));
    let other = copy(&project);
    other.write("app/main.py", "print('changed')\n");
    project.forget_requests();
    let run = other.succeeds(push.iter().chain(&["--locked"]));
    assert_ne!(digest_of(&run), pushed);
    assert_eq!(project.index.requests("*.whl"), 0);
    assert_eq!(registry.complete("team/demo"), Ok(()));
}

#[test]
fn the_layer_budget_holds() {
    let project = project(90 * 512);
    let text = STANDARD.replace("[image]\n", "[image]\nmax-layers = 20\n");
    project.configure(&text);
    let built = project.build_with_metadata(&[]);
    let all = built["platforms"]["linux/arm64"]["layers"]
        .as_array()
        .unwrap()
        .len();
    // Base, environment and application; eight are for the small wheels, of which there are three.
    assert_eq!(layers(&built).len(), 20 - 3 - 8);
    assert!(all <= 20, "{all}");
}
