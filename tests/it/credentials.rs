//! Credentials of package indexes: where they may come from, and where they never go.

use std::fs;

use testkit::{PackageIndex, Run, WheelBuilder};

use crate::project::{BUILD, Project, STANDARD, demo, helper, listing};

const SECRET: &str = "s3cret-word";

/// A project whose index asks for credentials, and whose configuration has none.
fn private() -> Project {
    let project = Project::standard();
    project.index.require_credentials("robot", SECRET);
    project
}

/// Builds twice, the second time with the lock alone, and looks for the secret in all that is left.
fn builds(project: &mut Project, holds: &[&str]) {
    let arguments = ["-vvv", "--metadata-file", "metadata.json"];
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

/// Each index has its own: the main one in netrc, one in the configuration's URL, one in the variables
/// that uv has for the indexes of a pyproject.toml, and one in a requirements file's URL.
#[test]
fn several_indexes_with_a_word_each() {
    let mut project = Project::standard();
    let word = |name: &str| format!("{SECRET}-of-{name}");
    let (sourced, named, linked) = (
        PackageIndex::of([&demo()]),
        PackageIndex::of([&helper()]),
        PackageIndex::of([&WheelBuilder::simple("linked", "1.0")]),
    );
    for (index, name) in [
        (&project.index, "main"),
        (&sourced, "sourced"),
        (&named, "named"),
        (&linked, "linked"),
    ] {
        index.require_credentials(name, &word(name));
    }
    let netrc = format!("machine 127.0.0.1 login main password {}\n", word("main"));
    fs::write(project.context.root().join("home/.netrc"), netrc).unwrap();
    let links = linked.url_with_credentials("linked", &word("linked"));
    let links = links.replace("/simple/", "/files/linked-1.0-py3-none-any.whl");
    let text = format!("native\nlinked @ {links}\n");
    project.context.write("requirements.txt", text);
    project.context.write(
        "pyproject.toml",
        format!(
            "[project]\nname = \"app\"\ndependencies = [\"demo\", \"helper\"]\n\
             [[tool.uv.index]]\nname = \"named\"\nurl = \"{}\"\nexplicit = true\n\
             [tool.uv.sources]\nhelper = {{ index = \"named\" }}\n",
            named.url()
        ),
    );
    project.context.set("UV_INDEX_NAMED_USERNAME", "named");
    project
        .context
        .set("UV_INDEX_NAMED_PASSWORD", word("named"));
    let source = sourced.url_with_credentials("sourced", &word("sourced"));
    project.configure(&STANDARD.replace(
        "requirements = [",
        &format!("pyproject = true\nsources = {{ demo = \"{source}\" }}\nrequirements = ["),
    ));
    builds(&mut project, &["oxcart.toml", "requirements.txt"]);
    for (index, file) in [
        (&project.index, "native"),
        (&sourced, "demo"),
        (&named, "helper"),
        (&linked, "linked"),
    ] {
        let served = index.served();
        let of_it = |it: &&testkit::Served| it.path.contains(&format!("/files/{file}-"));
        let statuses: Vec<_> = served.iter().filter(of_it).map(|it| it.status).collect();
        assert!(statuses.contains(&200), "{file}: {statuses:?}");
    }
    let lock = project.context.read("oxcart.lock");
    for index in [&project.index, &sourced, &named, &linked] {
        assert!(lock.contains(&index.at("/files/")), "{lock}");
    }
}
