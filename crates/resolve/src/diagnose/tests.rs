use testkit::Fault;

use crate::harness::{Harness, arm64, requirements_of, resolve};
use crate::{Error, Input};

#[test]
fn a_libc_too_old_is_named() {
    let harness = Harness::with(&[
        "demo-2.0-cp313-cp313-manylinux_2_39_aarch64.whl",
        "demo-2.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        "demo-2.0-cp313-cp313-win_amd64.whl",
        "demo-1.0-py3-none-any.whl",
    ]);
    insta::assert_snapshot!(harness.fails(&["demo>=2"]));
}

#[test]
fn a_dependency_without_a_wheel_is_named_with_what_needs_it() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=middle",
        "middle-1.0-py3-none-any.whl needs=deep==3",
        "deep-3-cp312-cp312-manylinux_2_17_aarch64.whl",
        "deep-3-cp312-cp312-manylinux_2_17_x86_64.whl",
    ]);
    insta::assert_snapshot!(harness.fails(&["app"]));
}

#[test]
fn a_version_for_another_python_is_named_though_older_ones_fit() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=deep==3",
        "deep-3-cp312-cp312-manylinux_2_17_aarch64.whl",
        "deep-2-py3-none-any.whl",
    ]);
    insta::assert_snapshot!(harness.fails(&["app"]));
}

#[test]
fn a_package_of_source_archives_alone_is_named() {
    let harness = Harness::with(&["app-1.0-py3-none-any.whl needs=rare"]);
    harness.index.add_file("rare", "rare-0.9.tar.gz", b"");
    harness.index.add_file("rare", "rare-1.0.tar.gz", b"");
    insta::assert_snapshot!(harness.fails(&["app"]));
}

#[test]
fn requires_python_counts_as_python() {
    let harness = Harness::with(&[]);
    let wheel = testkit::WheelBuilder::simple("demo", "3.0").requires_python(">=3.14");
    harness.index.add(&wheel);
    insta::assert_snapshot!(harness.fails(&["demo"]));
}

#[test]
fn a_plain_conflict_is_told_in_the_resolvers_words() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=lib<2",
        "lib-1.0-py3-none-any.whl",
        "lib-2.0-py3-none-any.whl",
    ]);
    insta::assert_snapshot!(harness.fails(&["app", "lib>=2"]));
}

#[test]
fn a_package_that_is_not_there_is_named() {
    let harness = Harness::with(&[]);
    insta::assert_snapshot!(harness.fails(&["dmeo"]));
}

#[test]
fn a_missing_dependency_names_its_dependent() {
    let harness = Harness::with(&["app-1.0-py3-none-any.whl needs=gone"]);
    insta::assert_snapshot!(harness.fails(&["app"]));
}

#[test]
fn missing_credentials_are_told_apart_from_missing_packages() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    harness.index.require_credentials("ann", "s3cret");
    insta::assert_snapshot!(harness.fails(&["demo"]));
}

#[test]
fn an_index_that_fails_is_named_with_its_status() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    harness.index.fault("/simple/demo/", Fault::Status(500));
    insta::assert_snapshot!(harness.fails(&["demo"]));
}

#[test]
fn an_index_that_is_not_there_is_named() {
    let harness = Harness::with(&[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.index.default = Some(format!("http://ann:s3cret@127.0.0.1:{port}/simple/"));
    let told = harness.told(&resolve(&request).unwrap_err());
    insta::assert_snapshot!(told.replace(&port.to_string(), "<port>"));
}

#[test]
fn a_name_server_that_knows_nothing_leads_to_the_network() {
    let harness = Harness::with(&[]);
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.index.default = Some("http://index.invalid/simple/".to_owned());
    let error = resolve(&request).unwrap_err();
    let Error::Index {
        url, status: None, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(url, "http://index.invalid/simple/demo/");
    assert!(error.hint().unwrap().contains("network"), "{error}");
}

#[test]
fn an_empty_cache_without_the_network_says_so() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.offline = true;
    insta::assert_snapshot!(harness.told(&resolve(&request).unwrap_err()));
}

#[test]
fn hashes_that_lack_or_differ_stop_it() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=dep",
        "dep-1.0-py3-none-any.whl",
    ]);
    let app = crate::harness::wheel("app-1.0-py3-none-any.whl needs=dep").sha256();
    let wrong = "0".repeat(64);
    let mut told = Vec::new();
    for text in [
        "--require-hashes\napp==1.0\n".to_owned(),
        format!("--require-hashes\napp>=1.0 --hash=sha256:{app}\n"),
        format!("--require-hashes\napp==1.0 --hash=sha256:{app}\n"),
        format!("app==1.0 --hash=sha256:{wrong}\n"),
    ] {
        let file = harness.file("requirements.txt", &text);
        let request = harness.request(arm64(), vec![Input::RequirementsFile(file)]);
        told.push(harness.told(&resolve(&request).unwrap_err()));
    }
    insta::assert_snapshot!(told.join("\n---\n"));
}

#[test]
fn only_wheels_are_accepted() {
    let harness = Harness::with(&[]);
    std::fs::create_dir(harness.path("project")).unwrap();
    harness.file(
        "project/pyproject.toml",
        "[project]\nname = 'project'\nversion = '1'\n",
    );
    harness.file("sources-1.0.tar.gz", "");
    let mut told = Vec::new();
    for line in [
        "a @ https://example.org/a-1.0.tar.gz",
        "./sources-1.0.tar.gz",
        "b @ git+https://example.org/b@v1",
        "./project",
        "-e ./project",
        "./nothing-1.0-py3-none-any.whl",
    ] {
        let file = harness.file("requirements.txt", &format!("{line}\n"));
        let request = harness.request(arm64(), vec![Input::RequirementsFile(file)]);
        told.push(harness.told(&resolve(&request).unwrap_err()));
    }
    insta::assert_snapshot!(told.join("\n---\n"));
}

#[test]
fn a_source_that_the_target_does_not_need_is_no_error() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    let git = "b @ git+https://example.org/b@v1 ; sys_platform == 'win32'";
    assert_eq!(harness.resolve(&["demo", git]).unwrap().wheels.len(), 1);
}

#[test]
fn an_index_that_is_no_url_is_refused() {
    let harness = Harness::with(&[]);
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.index.default = Some("https://ann:s3cret@[nowhere/simple".to_owned());
    let told = harness.told(&resolve(&request).unwrap_err());
    assert!(!told.contains("s3cret"), "{told}");
    assert!(told.contains("is not the URL of an index"), "{told}");
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let harness = Harness::with(&[]);
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.cache = harness.file("taken", "");
    let Error::Cache { path, .. } = resolve(&request).unwrap_err() else {
        panic!()
    };
    assert_eq!(path, request.cache);
}

#[test]
fn a_project_for_another_python_is_refused() {
    let harness = Harness::with(&[]);
    let text = "[project]\nname = 'app'\nrequires-python = '>=3.14'\n";
    let path = harness.file("pyproject.toml", text);
    let input = Input::Pyproject {
        path,
        extras: Vec::new(),
        groups: Vec::new(),
    };
    let error = resolve(&harness.request(arm64(), vec![input])).unwrap_err();
    insta::assert_snapshot!(harness.told(&error));
}

/// New versions for `x86_64` alone, and what is left for aarch64.
fn left_behind(chosen: &str) -> Harness {
    let harness = Harness::with(&[
        &format!("demo-{chosen}-py3-none-any.whl"),
        "demo-3.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        "app-1.0-py3-none-any.whl needs=demo",
        "careful-1.0-py3-none-any.whl needs=demo<3",
    ]);
    harness.index.uploaded(
        "demo-3.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        "2026-01-01T00:00:00Z",
    );
    harness
}

#[test]
fn a_quiet_downgrade_to_another_major_version_is_refused() {
    insta::assert_snapshot!(left_behind("0.9").fails(&["app"]));
}

#[test]
fn a_dependency_without_a_wheel_makes_a_downgrade_too() {
    let harness = Harness::with(&[
        "app-3.0-py3-none-any.whl needs=middle",
        "app-0.1-py3-none-any.whl",
        "middle-1.0-py3-none-any.whl needs=deep",
        "deep-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
    ]);
    insta::assert_snapshot!(harness.fails(&["app"]));
}

#[test]
fn a_version_that_another_package_rules_out_is_no_downgrade() {
    let harness = Harness::with(&[
        "app-3.0-py3-none-any.whl needs=lib>=2",
        "app-0.1-py3-none-any.whl",
        "lib-2.0-py3-none-any.whl",
        "lib-1.0-py3-none-any.whl",
        "other-1.0-py3-none-any.whl needs=lib<2",
    ]);
    assert_eq!(
        harness.resolve(&["app", "other"]).unwrap().wheels[0].version,
        "0.1"
    );
}

#[test]
fn a_quiet_downgrade_by_years_is_refused() {
    let harness = left_behind("3.0rc1");
    let harness = Harness {
        index: harness.index,
        ..Harness::with(&[])
    };
    let old = "demo-3.0a1-py3-none-any.whl";
    harness
        .index
        .remove("demo-3.0rc1-py3-none-any.whl")
        .add(&crate::harness::wheel(old));
    harness.index.uploaded(old, "2025-01-01T00:00:00Z");
    let check = || harness.resolve(&["demo>=3.0a0"]);
    assert!(check().is_ok());
    harness.index.uploaded(old, "2024-01-01T00:00:00Z");
    let harness = Harness {
        index: harness.index,
        ..Harness::with(&[])
    };
    let error = harness.resolve(&["demo>=3.0a0"]).unwrap_err();
    assert!(matches!(error, Error::Downgrade(_)), "{error}");
}

#[test]
fn a_downgrade_that_is_asked_for_or_allowed_is_none() {
    let harness = left_behind("0.9");
    assert!(harness.resolve(&["demo<3"]).is_ok());
    assert!(harness.resolve(&["app", "careful"]).is_ok());
    let mut request = harness.request(arm64(), requirements_of(&["app"]));
    request.allow_downgrade = vec!["Demo".to_owned()];
    assert!(resolve(&request).is_ok());
    request.allow_downgrade.clear();
    request.constraints = vec!["demo<2".to_owned()];
    assert!(resolve(&request).is_ok());
}

#[test]
fn newer_versions_of_source_archives_alone_are_a_downgrade_too() {
    let harness = Harness::with(&["demo-0.1-py3-none-any.whl"]);
    harness.index.add_file("demo", "demo-2.0.tar.gz", b"");
    insta::assert_snapshot!(harness.fails(&["demo"]));
}
