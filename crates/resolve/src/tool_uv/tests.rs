use testkit::{PackageIndex, WheelBuilder};

use crate::harness::{Harness, arm64, pins, read, resolve, wheel};
use crate::{Arch, Error, Input, Request, Target};

/// `demo` 1.0 and `other` 1.0 at the main index, which requires `demo`.
fn harness() -> Harness {
    Harness::with(&[
        "demo-1.0-py3-none-any.whl",
        "other-1.0-py3-none-any.whl needs=demo",
    ])
}

fn input(harness: &Harness, text: &str, extras: &[&str], groups: &[&str]) -> Input {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Input::Pyproject {
        path: harness.file("pyproject.toml", text),
        extras: owned(extras),
        groups: owned(groups),
    }
}

fn request(harness: &Harness, text: &str) -> Request {
    harness.request(arm64(), vec![input(harness, text, &[], &[])])
}

#[track_caller]
fn check(harness: &Harness, text: &str, expected: &[&str]) {
    assert_eq!(
        pins(&resolve(&request(harness, text)).unwrap()),
        expected,
        "{text}"
    );
}

const PROJECT: &str = "[project]\nname = 'app'\ndependencies = ['demo', 'other']\n";

/// An index that has another version of `demo`.
fn second(version: &str) -> PackageIndex {
    PackageIndex::of([&WheelBuilder::simple("demo", version)])
}

#[test]
fn an_index_that_is_explicit_has_only_what_names_it() {
    let (harness, second) = (harness(), second("2.0"));
    second.add(&WheelBuilder::simple("other", "2.0"));
    let index = format!(
        "[[tool.uv.index]]\nname = 'second'\nurl = '{}'\nexplicit = true\n",
        second.url()
    );
    check(
        &harness,
        &format!("{PROJECT}{index}"),
        &["demo==1.0", "other==1.0"],
    );
    // `other` requires `demo` too, and gets the one from the same place.
    let source = "[tool.uv.sources]\ndemo = { index = 'second' }\n";
    check(
        &harness,
        &format!("{PROJECT}{index}{source}"),
        &["demo==2.0", "other==1.0"],
    );
    let shared = index.replace("explicit = true", "");
    check(
        &harness,
        &format!("{PROJECT}{shared}"),
        &["demo==2.0", "other==2.0"],
    );
}

#[test]
fn the_configuration_wins_over_the_project() {
    let (harness, second, third) = (harness(), second("2.0"), second("3.0"));
    let text = format!(
        "{PROJECT}[[tool.uv.index]]\nname = 'second'\nurl = '{}'\nexplicit = true\n\
         [tool.uv.sources]\ndemo = {{ index = 'second' }}\n\
         [tool.uv]\noverride-dependencies = ['demo<3']\nindex-url = 'http://127.0.0.1:1/'\n",
        second.url()
    );
    check(&harness, &text, &["demo==2.0", "other==1.0"]);
    let mut own = request(&harness, &text);
    own.sources.insert("demo".to_owned(), third.url());
    own.overrides = vec!["demo".to_owned()];
    assert_eq!(
        pins(&resolve(&own).unwrap()),
        ["demo==3.0", "other==1.0"],
        "neither source nor override of the project"
    );
}

#[test]
fn a_default_index_is_in_place_of_the_usual_one() {
    let (harness, second) = (harness(), second("2.0"));
    second.add(&WheelBuilder::simple("other", "1.5"));
    let mut without = request(
        &harness,
        &format!(
            "{PROJECT}[[tool.uv.index]]\nurl = '{}'\ndefault = true\n",
            second.url()
        ),
    );
    without.index.default = None;
    assert_eq!(
        pins(&resolve(&without).unwrap()),
        ["demo==2.0", "other==1.5"]
    );
    let mut older = request(
        &harness,
        &format!(
            "{PROJECT}[tool.uv]\nindex-url = '{}'\nextra-index-url = ['{}']\n",
            harness.index.url(),
            second.url()
        ),
    );
    older.index.default = None;
    assert_eq!(pins(&resolve(&older).unwrap()), ["demo==2.0", "other==1.5"]);
}

#[test]
fn sources_depend_on_markers_extras_and_groups() {
    let (harness, second, third) = (harness(), second("2.0"), second("3.0"));
    let indexes = format!(
        "[[tool.uv.index]]\nname = 'second'\nurl = '{}'\nexplicit = true\n\
         [[tool.uv.index]]\nname = 'third'\nurl = '{}'\nexplicit = true\n",
        second.url(),
        third.url()
    );
    let project = "[project]\nname = 'app'\ndependencies = []\n\
         [project.optional-dependencies]\na = ['demo']\nb = ['demo']\nall = ['app[a]']\n\
         [dependency-groups]\ng = ['demo']\n";
    let found = |source: &str, arch: Arch, extras: &[&str], groups: &[&str]| {
        let text = format!("{project}{indexes}[tool.uv.sources]\ndemo = {source}\n");
        let target = Target { arch, ..arm64() };
        let request = harness.request(target, vec![input(&harness, &text, extras, groups)]);
        pins(&resolve(&request).unwrap())
    };
    let by_marker = "[{ index = 'second', marker = \"platform_machine == 'x86_64'\" }, \
                     { index = 'third', marker = \"platform_machine == 'armv7l'\" }]";
    assert_eq!(found(by_marker, Arch::X86_64, &["a"], &[]), ["demo==2.0"]);
    assert_eq!(found(by_marker, Arch::Armv7l, &["a"], &[]), ["demo==3.0"]);
    assert_eq!(found(by_marker, Arch::Aarch64, &["a"], &[]), ["demo==1.0"]);
    let by_part = "[{ index = 'second', extra = 'a' }, { index = 'third', group = 'g' }]";
    assert_eq!(found(by_part, Arch::Aarch64, &["a"], &[]), ["demo==2.0"]);
    assert_eq!(found(by_part, Arch::Aarch64, &["all"], &[]), ["demo==2.0"]);
    assert_eq!(found(by_part, Arch::Aarch64, &["b"], &[]), ["demo==1.0"]);
    assert_eq!(found(by_part, Arch::Aarch64, &[], &["g"]), ["demo==3.0"]);
}

#[test]
fn a_wheel_is_named_by_url_or_path() {
    let harness = harness();
    let near = wheel("demo-1.5-py3-none-any.whl");
    std::fs::create_dir(harness.path("dist")).unwrap();
    std::fs::write(harness.path("dist").join(near.filename()), near.build()).unwrap();
    let source = |source: &str| format!("{PROJECT}[tool.uv.sources]\ndemo = {source}\n");
    let path = source("{ path = 'dist/demo-1.5-py3-none-any.whl' }");
    check(&harness, &path, &["demo==1.5", "other==1.0"]);
    let read = read(&[input(&harness, &path, &[], &[])]).unwrap();
    assert_eq!(
        read.requirements(),
        ["demo @ dist/demo-1.5-py3-none-any.whl", "other"],
        "nothing of this machine"
    );
    harness.index.add(&wheel("demo-1.7-py3-none-any.whl"));
    let url = harness.index.file_url("demo-1.7-py3-none-any.whl");
    check(
        &harness,
        &source(&format!("{{ url = '{url}' }}")),
        &["demo==1.7", "other==1.0"],
    );
    check(
        &harness,
        &source("{ workspace = false }"),
        &["demo==1.7", "other==1.0"],
    );
}

#[test]
fn what_only_a_build_would_give_is_refused_by_name() {
    let harness = harness();
    std::fs::create_dir(harness.path("demo")).unwrap();
    let source = |source: &str| format!("{PROJECT}[tool.uv.sources]\ndemo = {source}\n");
    let mut told = Vec::new();
    for text in [
        "{ git = 'https://user:s3cret@example.org/demo', tag = 'v1' }",
        "{ path = 'demo' }",
        "{ path = 'demo', editable = true }",
        "{ workspace = true }",
        "{ index = 'nowhere' }",
        "{ url = 'https://example.org/demo-1.0.tar.gz' }",
    ] {
        let error = resolve(&request(&harness, &source(text))).unwrap_err();
        told.push(harness.told(&error));
    }
    insta::assert_snapshot!(told.join("\n---\n"));
    // Neither elsewhere nor for what is left out does it matter.
    let elsewhere = "{ workspace = true, marker = \"platform_machine == 'x86_64'\" }";
    check(&harness, &source(elsewhere), &["demo==1.0", "other==1.0"]);
    let mut instead = request(&harness, &source("{ workspace = true }"));
    let built = wheel("demo-1.9-py3-none-any.whl");
    std::fs::write(harness.path(&built.filename()), built.build()).unwrap();
    instead.directory = harness.path("");
    instead.overrides = vec![format!("demo @ ./{}", built.filename())];
    assert_eq!(
        pins(&resolve(&instead).unwrap()),
        ["demo==1.9", "other==1.0"]
    );
    let mut without = request(&harness, &source("{ workspace = true }"));
    without.exclude = vec!["demo".to_owned()];
    assert_eq!(pins(&resolve(&without).unwrap()), ["other==1.0"]);
}

#[test]
fn what_uv_would_be_held_to_holds() {
    let harness = harness();
    for line in [
        "demo-1.1-py3-none-any.whl",
        "demo-2.0-py3-none-any.whl",
        "demo-3.0a1-py3-none-any.whl",
    ] {
        harness.index.add(&wheel(line));
    }
    let uv = |text: &str| format!("{PROJECT}[tool.uv]\n{text}\n");
    check(&harness, &uv(""), &["demo==2.0", "other==1.0"]);
    for (text, expected) in [
        ("constraint-dependencies = ['demo<2']", "1.1"),
        ("override-dependencies = ['demo==1.0']", "1.0"),
        ("prerelease = 'allow'", "3.0a1"),
        ("prerelease = 'disallow'", "2.0"),
    ] {
        check(
            &harness,
            &uv(text),
            &[&format!("demo=={expected}"), "other==1.0"],
        );
    }
    check(
        &harness,
        &uv("exclude-dependencies = ['Demo']"),
        &["other==1.0"],
    );
    let text = uv("no-binary-package = ['other']\nno-build = true");
    let Err(Error::NoBinary { packages }) = resolve(&request(&harness, &text)) else {
        panic!("a wheel was taken")
    };
    assert_eq!(packages, ["other"]);
    std::fs::create_dir(harness.path("links")).unwrap();
    let linked = wheel("demo-2.5-py3-none-any.whl");
    std::fs::write(
        harness.path("links").join(linked.filename()),
        linked.build(),
    )
    .unwrap();
    check(
        &harness,
        &uv("find-links = ['links']"),
        &["demo==2.5", "other==1.0"],
    );
    let older = "[project]\nname = 'app'\n[tool.uv]\ndev-dependencies = ['other']\n";
    let request = harness.request(arm64(), vec![input(&harness, older, &[], &["dev"])]);
    assert_eq!(
        pins(&resolve(&request).unwrap()),
        ["demo==2.0", "other==1.0"]
    );
}

#[test]
fn what_is_not_obeyed_is_told() {
    let harness = harness();
    let text = format!(
        "{PROJECT}[tool.uv]\nexclude-newer = '2020-01-01'\nresolution = 'lowest'\n\
         managed = true\nenvironments = [\"sys_platform == 'darwin'\"]\n"
    );
    let warnings = resolve(&request(&harness, &text)).unwrap().warnings;
    let told = warnings.join("\n");
    let directory = harness.directory.path().display().to_string();
    insta::assert_snapshot!(told.replace(&directory, "<directory>"));
    let linux = text.replace("['sys", "['x").replace("darwin", "linux");
    assert_eq!(
        resolve(&request(&harness, &linux)).unwrap().warnings.len(),
        2
    );
}

#[test]
fn what_it_says_is_part_of_what_is_asked_for() {
    let harness = harness();
    let print = |uv: &str| {
        let text = format!("{PROJECT}{uv}");
        read(&[input(&harness, &text, &[], &[])])
            .unwrap()
            .fingerprint()
    };
    let index =
        "[[tool.uv.index]]\nname = 'x'\nurl = 'https://u:s3cret@example.org/'\nexplicit = true\n";
    let plain = print("");
    for uv in [
        "[tool.uv]\nconstraint-dependencies = ['demo<2']\n".to_owned(),
        "[tool.uv]\noverride-dependencies = ['demo<2']\n".to_owned(),
        "[tool.uv]\nexclude-dependencies = ['demo']\n".to_owned(),
        "[tool.uv]\nprerelease = 'allow'\n".to_owned(),
        "[tool.uv]\nno-binary-package = ['demo']\n".to_owned(),
        format!("{index}[tool.uv.sources]\ndemo = {{ index = 'x' }}\n"),
    ] {
        let other = print(&uv);
        assert_ne!(other, plain, "{uv}");
        assert!(!other.contains("s3cret"), "{other}");
    }
    // An explicit index that nothing names changes nothing.
    assert_eq!(print(index), plain);
}

#[test]
fn mistakes_are_placed() {
    let harness = harness();
    let mut told = Vec::new();
    for uv in [
        "[tool.uv.sources]\ndemo = { indx = 'x' }\n",
        "[tool.uv.sources]\ndemo = { git = 'https://x.org/x', url = 'https://x.org/x' }\n",
        "[tool.uv]\nconstraint-dependencies = ['demo>']\n",
        "[tool.uv]\nexclude-dependencies = [{ package = 'a' }]\n",
        "[[tool.uv.index]]\nname = 'x'\n",
    ] {
        let text = format!("{PROJECT}{uv}");
        let error = read(&[input(&harness, &text, &[], &[])]).unwrap_err();
        told.push(harness.told(&error));
    }
    insta::assert_snapshot!(told.join("\n---\n"));
}
