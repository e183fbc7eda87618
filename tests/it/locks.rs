//! Locks of other tools as inputs, `oxcart.lock` across platforms, and what `lock` says about it.

use std::collections::BTreeMap;
use std::process::Command;

use testkit::WheelBuilder;

use crate::project::{Project, STANDARD};
use crate::samples::{oracle, succeed};
use crate::skip::{Need, left_out};

/// The wheels of `oxcart.lock`: name to version, and to sha256.
fn wheels(project: &Project, platform: &str) -> BTreeMap<String, (String, String)> {
    let lock: toml::Table = project.context.read("oxcart.lock").parse().unwrap();
    let platforms = lock["platform"].as_array().unwrap();
    let found = platforms
        .iter()
        .find(|it| it["name"].as_str() == Some(platform));
    let wheels = found.unwrap().get("wheel").and_then(toml::Value::as_array);
    let text = |wheel: &toml::Value, key: &str| wheel[key].as_str().unwrap().to_owned();
    wheels
        .into_iter()
        .flatten()
        .map(|wheel| {
            let value = (text(wheel, "version"), text(wheel, "sha256"));
            (text(wheel, "name"), value)
        })
        .collect()
}

/// `name version` of the wheels for a platform.
pub(crate) fn pins(project: &Project, platform: &str) -> Vec<String> {
    let wheels = wheels(project, platform).into_iter();
    wheels
        .map(|(name, (version, _))| format!("{name} {version}"))
        .collect()
}

/// Sets the standard project's `[dependencies]` to `table`.
pub(crate) fn depend(project: &Project, table: &str) {
    let table = format!("{table}\nindex = \"$INDEX\"");
    project.configure(&STANDARD.replace(
        "requirements = [\"requirements.txt\"]\nindex = \"$INDEX\"",
        &table,
    ));
}

/// A uv.lock of one package of the project's index.
pub(crate) fn uv_lock(project: &Project, wheel: &WheelBuilder) -> String {
    format!(
        "version = 1\nrequires-python = \">=3.12\"\n[[package]]\nname = \"app\"\nversion = \"0\"\n\
         source = {{ virtual = \".\" }}\ndependencies = [{{ name = \"{name}\" }}]\n[[package]]\n\
         name = \"{name}\"\nversion = \"{version}\"\nsource = {{ registry = \"{index}\" }}\n\
         wheels = [{{ url = \"{url}\", hash = \"sha256:{hash}\" }}]\n",
        name = wheel.name(),
        version = wheel.version(),
        index = project.index.url(),
        url = project.index.file_url(&wheel.filename()),
        hash = wheel.sha256(),
    )
}

#[test]
fn a_uv_lock_is_built_from_and_watched() {
    let project = Project::standard();
    let old = WheelBuilder::simple("helper", "1.5");
    project.index.add(&old);
    project.context.write("uv.lock", uv_lock(&project, &old));
    depend(&project, "lock = \"uv.lock\"");
    // The command is that of another wheel.
    project.build(&["--no-check"]);
    for platform in ["linux/amd64", "linux/arm64"] {
        assert_eq!(
            pins(&project, platform),
            ["helper 1.5"],
            "nothing is resolved"
        );
        let file = format!(
            "opt/venv/lib/python3.13/site-packages/{}",
            "helper/__init__.py"
        );
        assert!(project.image(platform).has(&file));
    }
    project.context.succeeds(["lock", "--check"]);
    let new = crate::project::helper();
    project.context.write("uv.lock", uv_lock(&project, &new));
    project.context.fails(["lock", "--check"]);
    project.context.succeeds(["lock"]);
    assert_eq!(pins(&project, "linux/amd64"), ["helper 2.0"]);
}

#[test]
fn a_lock_stands_alone_in_the_configuration() {
    let project = Project::standard();
    project.context.write("uv.lock", "version = 1\n");
    project.context.write("poetry.lock", "");
    for (table, says) in [
        (
            "lock = \"uv.lock\"\npyproject = true",
            "has both lock and pyproject",
        ),
        (
            "lock = \"uv.lock\"\npackages = [\"a\"]",
            "has both lock and packages",
        ),
        ("lock = \"poetry.lock\"", "name a uv.lock, a pylock.toml"),
        ("lock = \"ux.lock\"", "did you mean `uv.lock`?"),
    ] {
        depend(&project, table);
        project.context.fails(["lock"]).says(&[says]);
    }
}

const PYPROJECT: &str = r#"
[project]
name = "app"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["fastapi", "numpy", "httpx[http2]", "colorama; sys_platform == 'win32'"]
[project.optional-dependencies]
cli = ["rich"]
[dependency-groups]
test = ["pytest"]
"#;

#[test]
fn what_uv_locks_is_what_is_locked() {
    if left_out(Need::Network) {
        return;
    }
    let project = Project::empty();
    project.context.write("pyproject.toml", PYPROJECT);
    let uv = |arguments: &[&str]| {
        let mut uv = Command::new(oracle("uv"));
        uv.current_dir(project.context.project()).args(arguments);
        uv.args(["--quiet", "--no-config", "--python"])
            .arg(oracle("python"));
        succeed(&mut uv)
    };
    uv(&["lock"]);
    let asked = ["--frozen", "--extra", "cli", "--group", "test", "--no-dev"];
    let export = |format: &[&str]| uv(&[&["export"], &asked[..], format].concat());
    export(&[
        "--output-file",
        "exported.txt",
        "--no-hashes",
        "--no-emit-project",
    ]);
    export(&["--output-file", "pylock.toml"]);
    for lock in ["uv.lock", "pylock.toml"] {
        // uv's export to pylock.toml has no extras and groups: it is of those that were asked for.
        let asked = match lock {
            "uv.lock" => "extras = [\"cli\"]\ngroups = [\"test\"]",
            _ => "",
        };
        project.configure(&format!(
            "[image]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n[dependencies]\nlock = \
             \"{lock}\"\n{asked}\n"
        ));
        project.context.succeeds(["lock"]);
        let text = project.context.read(lock);
        for (platform, machine) in [("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")] {
            let theirs = uv(&[
                "pip",
                "compile",
                "exported.txt",
                "--no-deps",
                "--no-header",
                "--no-annotate",
                "--python-version",
                "3.13.5",
                "--python-platform",
                &format!("{machine}-manylinux_2_40"),
            ]);
            let theirs: Vec<String> = theirs.lines().map(|line| line.replace("==", " ")).collect();
            assert!(theirs.len() > 20, "{theirs:?}");
            assert_eq!(pins(&project, platform), theirs, "{lock} {platform}");
            for (name, (_, sha256)) in wheels(&project, platform) {
                assert!(text.contains(&sha256), "{lock} has {name} of another file");
            }
        }
    }
}

/// The index of the standard project, where `native` 3.2 is for amd64 alone.
pub(crate) fn diverging() -> Project {
    let project = Project::standard();
    let newer = WheelBuilder::simple("native", "3.2").tags("cp313-cp313-manylinux_2_17_x86_64");
    project.index.add(&newer);
    project
}

#[test]
fn what_cannot_be_aligned_is_told() {
    let project = diverging();
    let text = "demo==1.0\nnative\nnative>=3.2; platform_machine == 'x86_64'\n";
    project.context.write("requirements.txt", text);
    let run = project.context.succeeds(["lock"]);
    run.says(&[
        "native is not the same everywhere: 3.2 on linux/amd64, 3.1 on linux/arm64; on linux/amd64, \
         native<=3.1 has no solution: ",
    ]);
    assert_eq!(pins(&project, "linux/amd64")[2], "native 3.2");
    assert_eq!(pins(&project, "linux/arm64")[2], "native 3.1");
    depend(
        &project,
        "requirements = [\"requirements.txt\"]\nallow-divergence = [\"native\"]",
    );
    let run = project.context.succeeds(["lock"]);
    assert!(
        !run.stderr.contains("not the same everywhere"),
        "{}",
        run.stderr
    );
}

#[test]
fn policies_are_obeyed_and_watched() {
    let project = Project::standard();
    for version in ["2.1", "2.2"] {
        project.index.add(&WheelBuilder::simple("helper", version));
    }
    project
        .context
        .write("limits.txt", "helper<2.1\nunused==1\n");
    let given = "requirements = [\"requirements.txt\"]\n";
    let helper = |more: &str| {
        depend(&project, &format!("{given}{more}"));
        project.context.fails(["lock", "--check"]);
        project.context.succeeds(["lock", "--upgrade"]);
        project.context.succeeds(["lock", "--check"]);
        pins(&project, "linux/arm64")
    };
    let all = |version: &str| {
        [
            "demo 1.0".to_owned(),
            format!("helper {version}"),
            "native 3.1".to_owned(),
        ]
    };
    assert_eq!(helper(""), all("2.2"));
    assert_eq!(helper("constraints = [\"limits.txt\"]"), all("2.0"));
    assert_eq!(helper("constraints = [\"helper<2.2\"]"), all("2.1"));
    assert_eq!(helper("overrides = [\"helper==2.0\"]"), all("2.0"));
    assert_eq!(helper("exclude = [\"Helper\"]"), ["demo 1.0", "native 3.1"]);
    let index = testkit::PackageIndex::of([&WheelBuilder::simple("helper", "2.7")]);
    assert_eq!(
        helper(&format!("sources = {{ helper = \"{}\" }}", index.url())),
        all("2.7")
    );
}

#[test]
fn policies_that_cannot_be_kept_are_refused() {
    let project = Project::standard();
    let refused = |more: &str, says: &[&str]| {
        depend(
            &project,
            &format!("requirements = [\"requirements.txt\"]\n{more}"),
        );
        project.context.fails(["lock"]).says(says);
    };
    refused(
        "build-from-source = [\"a b\"]",
        &["`a b` is no package name"],
    );
    refused(
        "no-binary = [\"demo\"]",
        &["no-binary rules out wheels of demo", "hint:"],
    );
    refused(
        "no-binary = [\":all:\"]\nonly-binary = [\"demo\"]",
        &["wheels of helper, native"],
    );
    refused(
        "no-binary = [\":all:\"]\nonly-binary = [\":all:\"]",
        &["both have `:all:`"],
    );
    refused("require-hashes = true", &["the required hashes don't hold"]);
    refused("constraints = [\"limit.txt\"]", &["the constraints file"]);
    refused("exclude = [\"a b\"]", &["`a b` is no package name"]);
    depend(
        &project,
        "requirements = [\"requirements.txt\"]\nprefer-binary = true\nonly-binary = [\":all:\"]",
    );
    project.context.succeeds(["lock"]);
}

#[test]
fn a_stale_lock_is_shown_with_what_would_change() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let text = project.context.read("oxcart.lock");
    let newer = WheelBuilder::simple("demo", "1.1").requires("extra");
    project
        .index
        .add(&newer)
        .add(&WheelBuilder::simple("extra", "0.1"));
    project
        .context
        .write("requirements.txt", "demo==1.1\nnative\n");
    let run = project.context.fails(["lock", "--check"]);
    run.says(&["oxcart.lock is not up to date", "hint: run `oxcart lock`"]);
    assert_eq!(run.status, Some(1));
    let change = "  demo 1.0 -> 1.1\n  + extra 0.1\n  - helper 2.0\n";
    assert_eq!(
        run.stdout,
        format!("linux/amd64\n{change}linux/arm64\n{change}")
    );
    assert_eq!(
        project.context.read("oxcart.lock"),
        text,
        "it is only shown"
    );
    project
        .context
        .write("requirements.txt", "demo>=1,<1.1\nnative\n");
    let run = project.context.fails(["lock", "--check"]);
    assert_eq!(run.stdout, "no package would change\n");
    project
        .context
        .write("requirements.txt", "demo==7\nnative\n");
    let run = project.context.fails(["lock", "--check"]);
    run.says(&["oxcart.lock is not up to date", "caused by:"]);
}

#[test]
fn a_lock_tells_in_what_platforms_differ() {
    let project = Project::standard();
    let text = "demo==1.0; platform_machine == 'x86_64'\nnative\n";
    project.context.write("requirements.txt", text);
    let run = project.context.succeeds(["lock"]);
    run.says(&["note: only linux/amd64 has demo, helper"]);
    let given = "requirements = [\"requirements.txt\"]\nallow-divergence = [\"Demo\"]";
    depend(&project, given);
    let run = project.context.succeeds(["lock"]);
    run.says(&["note: only linux/amd64 has helper"]);
    depend(&project, &given.replace("[\"Demo\"]", "true"));
    let run = project.context.succeeds(["lock"]);
    assert!(!run.stderr.contains("note:"), "{}", run.stderr);
    depend(&project, &given.replace("Demo", "a b"));
    let run = project.context.fails(["lock"]);
    run.says(&["allow-divergence: `a b` is no package name"]);
    depend(&project, &given.replace("[\"Demo\"]", "3"));
    let run = project.context.fails(["lock"]);
    run.says(&["expected names of packages, or true for all"]);
}

#[test]
fn other_needs_of_one_version_are_told() {
    let project = Project::standard();
    let native = crate::project::native("arm64", "aarch64").requires("helper");
    project.index.add(&native);
    project.context.write("requirements.txt", "native\n");
    let run = project.context.succeeds(["lock"]);
    run.says(&["note: native 3.1 also needs helper on linux/arm64"]);
    depend(
        &project,
        "requirements = [\"requirements.txt\"]\nallow-other-needs = [\"native\"]",
    );
    let run = project.context.succeeds(["lock"]);
    assert!(!run.stderr.contains("also needs"), "{}", run.stderr);
}
