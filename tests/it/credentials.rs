//! Credentials of package indexes: where they may come from, and where they never go.

use std::fs;

use testkit::Run;

use crate::project::{BUILD, Project, STANDARD, listing};

const SECRET: &str = "s3cret-word";

/// A project whose index asks for credentials, and whose configuration has none.
fn private() -> Project {
    let project = Project::standard();
    project.index.require_credentials("robot", SECRET);
    project
}

/// Builds twice, the second time with the lock alone, and looks for the secret in all that is left.
fn builds(project: &mut Project, holds: &[&str]) {
    let arguments = ["-vv", "--metadata-file", "metadata.json"];
    let first = project.context.succeeds(BUILD.iter().chain(&arguments));
    let store = project.context.root().join("another-store");
    project.context.use_store(store);
    let second = ["--locked", "--no-cache"];
    let second = project
        .context
        .succeeds(BUILD.iter().chain(&arguments).chain(&second));
    let keeps_it = |run: &Run| assert!(!run.account().contains(SECRET), "{}", run.account());
    keeps_it(&first);
    keeps_it(&second);
    let known = |name: &str| holds.contains(&name) || name == "test-archive-keyring.asc";
    for name in listing(project.context.project()) {
        let bytes = fs::read(project.context.path(&name)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(known(&name) || !text.contains(SECRET), "{name}");
    }
}

#[test]
fn in_a_requirements_file() {
    let mut project = private();
    let url = project.index.url_with_credentials("robot", SECRET);
    project.configure(&STANDARD.replace("index = \"$INDEX\"", ""));
    let text = format!("--index-url {url}\ndemo==1.0\nnative\n");
    project.context.write("requirements.txt", text);
    builds(&mut project, &["requirements.txt"]);
}

#[test]
fn in_a_variable_that_a_requirements_file_names() {
    let mut project = private();
    let url = project
        .index
        .url_with_credentials("robot", "${INDEX_PASSWORD}");
    project.configure(&STANDARD.replace("index = \"$INDEX\"", ""));
    let text = format!("--index-url {url}\ndemo==1.0\nnative\n");
    project.context.write("requirements.txt", text);
    project.context.set("INDEX_PASSWORD", SECRET);
    builds(&mut project, &[]);
}

#[test]
fn in_netrc() {
    let mut project = private();
    let text = format!("machine 127.0.0.1 login robot password {SECRET}\n");
    fs::write(project.context.root().join("home/.netrc"), &text).unwrap();
    builds(&mut project, &[]);
}

#[test]
fn in_a_file_that_netrc_names() {
    let mut project = private();
    let path = project.context.root().join("netrc");
    fs::write(&path, "machine 127.0.0.1 login robot password wr0ng-word\n").unwrap();
    project.context.set("NETRC", path.to_str().unwrap());
    let run = project.context.fails(BUILD);
    assert!(!run.account().contains("wr0ng-word"), "{}", run.account());
    let text = format!("default login robot password {SECRET}\n");
    fs::write(&path, text).unwrap();
    builds(&mut project, &[]);
    project.context.set("NETRC", "/nowhere/netrc");
    let run = project.context.succeeds(BUILD);
    run.says(&["cannot read /nowhere/netrc"]);
}
