//! What goes wrong with what users depend on: their files, and the indexes that these name.

use std::time::{Duration, Instant};

use testkit::{Fault, Run, WheelBuilder};

use crate::locks::{depend, pins};
use crate::project::{BUILD, Project, STANDARD, demo};

/// Locks what cannot be locked, and looks at what is said and left.
#[track_caller]
fn refused(project: &Project, says: &[&str]) -> Run {
    let run = project.context.fails(["lock"]);
    run.says(says);
    assert_eq!((run.status, run.stdout.as_str()), (Some(1), ""));
    assert!(!run.stderr.contains("panicked"), "{}", run.account());
    project.assert_nothing_half_written();
    run
}

/// The standard project with these requirements.
fn requiring(text: &str) -> Project {
    let project = Project::standard();
    project.context.write("requirements.txt", text);
    project
}

#[test]
fn a_conflict_is_told_with_its_chain() {
    let project = requiring("app\nlib<2\n");
    let one = STANDARD.replace("\"linux/amd64\", ", "");
    project.configure(&one);
    for wheel in [
        WheelBuilder::simple("app", "1.0").requires("middle>=1"),
        WheelBuilder::simple("middle", "1.0").requires("lib>=2"),
        WheelBuilder::simple("middle", "1.1").requires("lib>=3"),
        WheelBuilder::simple("lib", "1.0"),
        WheelBuilder::simple("lib", "3.0"),
    ] {
        project.index.add(&wheel);
    }
    let run = refused(&project, &["have no solution"]);
    insta::assert_snapshot!(run.message());
}

#[test]
fn a_cycle_of_files() {
    let project = requiring("-r more.txt\nnative\n");
    project
        .context
        .write("more.txt", "-r requirements.txt\ndemo\n");
    refused(
        &project,
        &["more.txt", "requirements.txt", "includes itself"],
    );
    project
        .context
        .write("requirements.txt", "-r requirements.txt\n");
    refused(&project, &["requirements.txt", "includes itself"]);
    // Twice is no cycle.
    project.context.write("more.txt", "demo\n");
    project
        .context
        .write("requirements.txt", "-r more.txt\n-r more.txt\n");
    project.context.succeeds(["lock"]);
}

#[test]
fn a_pyproject_that_cannot_be_read() {
    let project = Project::standard();
    depend(&project, "pyproject = true");
    for (bytes, says) in [
        (
            &b"[project]\nname = \"app\"\ndependencies = [\"demo\"\n"[..],
            "pyproject.toml",
        ),
        (
            b"[project]\nname = \"\xff\xfe\"\n",
            "cannot read [PROJECT]/pyproject.toml",
        ),
        (
            b"[project]\nname = \"app\"\ndependencies = \"demo\"\n",
            "pyproject.toml:3",
        ),
        (
            b"[project]\nname = \"app\"\ndependencies = [\"demo >\"]\n",
            "pyproject.toml:3",
        ),
    ] {
        project.context.write("pyproject.toml", bytes);
        refused(&project, &[says]);
    }
    std::fs::remove_file(project.context.path("pyproject.toml")).unwrap();
    refused(&project, &["pyproject.toml does not exist"]);
}

#[test]
fn a_group_that_is_not_there() {
    let project = Project::standard();
    let text = "[project]\nname = \"app\"\n[dependency-groups]\ntest = [\"demo\"]\nlint = []\n";
    project.context.write("pyproject.toml", text);
    depend(&project, "pyproject = true\ngroups = [\"tset\"]");
    refused(
        &project,
        &["defines no dependency group `tset` (it has lint, test)"],
    );
    depend(&project, "pyproject = true\nextras = [\"web\"]");
    refused(&project, &["defines no extra `web`"]);
}

#[test]
fn a_hash_that_differs() {
    let wrong = "0".repeat(64);
    let project = requiring(&format!("demo==1.0 --hash=sha256:{wrong}\n"));
    refused(&project, &["demo", &demo().sha256(), "hash"]);
}

#[test]
fn an_index_with_a_page_for_everything() {
    let project = requiring("demo\nnaitve\n");
    project
        .index
        .fault("/simple/naitve/", Fault::HtmlForMissing);
    refused(&project, &["`naitve`", "hint:"]);
}

#[test]
fn an_index_that_hangs() {
    let mut project = Project::standard();
    project.context.set("OXCART_HTTP_TIMEOUT", "1");
    project.index.fault("/simple/demo/", Fault::Hang);
    let started = Instant::now();
    refused(
        &project,
        &[
            "cannot fetch http://127.0.0.1:[PORT]/simple/demo/",
            "timed out",
            "hint:",
        ],
    );
    assert!(started.elapsed() < Duration::from_mins(1));
    project.index.clear_faults();
    project.context.succeeds(["lock"]);
    project
        .index
        .fault("*/demo-*.whl", Fault::Stall { after: 100 });
    project
        .context
        .fails(BUILD)
        .says(&["demo-1.0-py3-none-any.whl", "timed out"]);
    project.context.set("OXCART_HTTP_TIMEOUT", "soon");
    project
        .context
        .fails(["lock"])
        .says(&["OXCART_HTTP_TIMEOUT is `soon`", "hint:"]);
}

/// What `Requires-Python` is in the wild. uv reads the usual slips, and leaves out a file whose
/// specifier means nothing.
#[test]
fn an_invalid_requires_python() {
    for (specifiers, is_taken) in [
        (">=3.6.*", true),
        (">= '3.7'", true),
        (">=3.7,!=3.8.*,", true),
        (">3.5.", false),
        ("three or more", false),
    ] {
        let project = requiring("odd\n");
        project.index.add(&WheelBuilder::simple("odd", "1.0"));
        project
            .index
            .add(&WheelBuilder::simple("odd", "1.1").requires_python(specifiers));
        project.context.succeeds(["lock"]);
        let version = if is_taken { "1.1" } else { "1.0" };
        assert_eq!(
            pins(&project, "linux/arm64"),
            [format!("odd {version}")],
            "{specifiers}"
        );
    }
}

#[test]
fn a_wheel_whose_metadata_is_of_another() {
    for (name, version, of_another) in [("other", "1.0", true), ("odd", "1.1", false)] {
        let project = requiring("odd\n");
        let other = WheelBuilder::simple(name, version);
        project.index.without_metadata();
        project
            .index
            .add_file("odd", "odd-1.0-py3-none-any.whl", &other.build());
        if !of_another {
            // uv lets another version pass: what is not what its name says is not installed.
            let run = project.context.fails(BUILD);
            run.says(&["odd-1.0-py3-none-any.whl", "odd-1.1.dist-info"]);
            project.assert_nothing_half_written();
            continue;
        }
        let run = refused(&project, &["odd==1.0 has an invalid package format"]);
        assert!(
            run.stderr.contains(&format!("{name}-{version}")),
            "{}",
            run.account()
        );
    }
}

#[test]
fn a_lock_that_is_stale_is_not_built_from() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let lock = project.context.read("oxcart.lock");
    project.context.write("requirements.txt", "demo\n");
    let run = project.context.fails(BUILD.iter().chain(&["--locked"]));
    run.says(&["oxcart.lock is not up to date", "hint: run `oxcart lock`"]);
    assert_eq!(
        (run.status, project.context.read("oxcart.lock")),
        (Some(1), lock)
    );
    project.assert_nothing_half_written();
}

#[test]
fn locks_with_conflict_markers() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let lock = project.context.read("oxcart.lock");
    let conflicted = |text: &str| format!("<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n");
    project.context.write("oxcart.lock", conflicted(&lock));
    for arguments in [&["build"][..], &["lock"], &["lock", "--check"], &["plan"]] {
        let run = project.context.fails(arguments);
        run.says(&["oxcart.lock has merge conflict markers", "hint:"]);
    }
    project.context.write("oxcart.lock", lock);
    project
        .context
        .write("uv.lock", conflicted("version = 1\n"));
    depend(&project, "lock = \"uv.lock\"");
    project
        .context
        .fails(["lock"])
        .says(&["uv.lock", "merge conflict markers"]);
}
