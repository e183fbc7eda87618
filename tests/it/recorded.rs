//! Real packages, from what the real index said of them when `fixtures/pins` was recorded. Nothing is
//! downloaded.

use std::path::PathBuf;

use testkit::RecordedIndex;

use crate::project::Project;

/// A project for one platform that requires one package of the recorded index.
fn project(platform: &str, package: &str) -> (Project, RecordedIndex) {
    let fixtures =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../fixtures/pins");
    let index = RecordedIndex::open(&fixtures.join("index.jsonl.xz"));
    let project = Project::empty();
    project.configure(&format!(
        "[image]\nplatforms = [\"{platform}\"]\n[dependencies]\npackages = [\"{package}\"]\n\
         index = \"{}\"\n",
        index.url()
    ));
    (project, index)
}

#[test]
fn langchain_for_arm_v7_is_refused_with_the_reason() {
    let (project, _index) = project("linux/arm/v7", "langchain");
    let run = project.context.fails(["lock"]);
    run.says(&[
        "the dependencies for linux/arm/v7 cannot be resolved",
        "langchain would go back from ",
        "armv7l",
        "hint: say `allow-downgrade = [\"langchain\"]` if ",
    ]);
    assert!(!project.context.path("oxcart.lock").exists());
}

#[test]
fn torch_for_arm64_warns_of_its_size() {
    let (project, index) = project("linux/arm64", "torch");
    let run = project.context.succeeds(["lock"]);
    let warning = run.stderr.lines().find(|it| it.contains("are large"));
    let warning = warning.unwrap_or_else(|| panic!("{}", run.account()));
    insta::assert_snapshot!(warning);
    assert_eq!(index.requests("*.whl"), 0, "nothing is downloaded");
    let text = project.context.read("oxcart.toml");
    let allowed = text.replace("packages =", "allow-large = [\"Torch\"]\npackages =");
    project.context.write("oxcart.toml", allowed);
    let run = project.context.succeeds(["lock"]);
    assert!(!run.stderr.contains("are large"), "{}", run.account());
}
