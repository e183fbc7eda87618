use testkit::{Fault, PackageIndex, WheelBuilder};

use crate::harness::{Harness, arm64, pins, requirements_of, resolve, wheel};
use crate::{Arch, Input, Libc, Target};

const DEMO: [&str; 9] = [
    "demo-1.0-py3-none-any.whl",
    "demo-1.0-cp313-cp313-manylinux_2_17_aarch64.whl",
    "demo-1.0-cp313-cp313-manylinux_2_36_aarch64.whl",
    "demo-1.0-cp313-cp313-manylinux_2_39_aarch64.whl",
    "demo-1.0-cp38-abi3-manylinux_2_36_aarch64.whl",
    "demo-1.0-cp313-cp313-musllinux_1_2_aarch64.whl",
    "demo-1.0-cp313-cp313-manylinux2014_x86_64.whl",
    "demo-1.0-cp313-cp313-linux_armv7l.whl",
    "demo-1.0-cp312-cp312-manylinux_2_17_aarch64.whl",
];

#[test]
fn each_target_gets_its_best_wheel() {
    let harness = Harness::with(&DEMO);
    let glibc = |minor| Libc::Glibc { major: 2, minor };
    for (arch, libc, python, expected) in [
        (Arch::Aarch64, glibc(36), "3.13.5", DEMO[2]),
        (Arch::Aarch64, glibc(41), "3.13.5", DEMO[3]),
        (Arch::Aarch64, glibc(17), "3.13.5", DEMO[1]),
        (Arch::Aarch64, glibc(36), "3.14.0", DEMO[4]),
        (Arch::Aarch64, glibc(31), "3.12.9", DEMO[8]),
        (
            Arch::Aarch64,
            Libc::Musl { major: 1, minor: 2 },
            "3.13.5",
            DEMO[5],
        ),
        (Arch::X86_64, glibc(36), "3.13.5", DEMO[6]),
        (Arch::Armv7l, glibc(36), "3.13.5", DEMO[7]),
        (
            Arch::Armv7l,
            Libc::Musl { major: 1, minor: 2 },
            "3.11.2",
            DEMO[0],
        ),
    ] {
        let target = Target {
            arch,
            libc,
            python: python.to_owned(),
        };
        let request = harness.request(target, requirements_of(&["demo"]));
        let resolution = resolve(&request).unwrap();
        let [demo] = &resolution.wheels[..] else {
            panic!("{resolution:?}")
        };
        assert_eq!(demo.filename, expected, "{}", request.target);
        assert_eq!(demo.sha256.as_deref(), Some(&wheel(expected).sha256()[..]));
        assert_eq!(demo.size, Some(wheel(expected).build().len() as u64));
        assert_eq!(demo.url, harness.index.file_url(expected));
        assert_eq!(demo.index, Some(harness.index.url()));
        assert!(demo.requested);
    }
}

#[test]
fn the_higher_build_tag_wins() {
    let harness = Harness::with(&[
        "demo-1.0-1-py3-none-any.whl",
        "demo-1.0-10-py3-none-any.whl",
        "demo-1.0-9-py3-none-any.whl",
    ]);
    let resolution = harness.resolve(&["demo"]).unwrap();
    assert_eq!(
        resolution.wheels[0].filename,
        "demo-1.0-10-py3-none-any.whl"
    );
}

#[test]
fn markers_and_extras_choose_the_dependencies() {
    let index = PackageIndex::start();
    let app = WheelBuilder::simple("App", "1.0")
        .requires("base>=1")
        .requires("arm; platform_machine == 'aarch64'")
        .requires("intel; platform_machine == 'x86_64'")
        .requires("windows; sys_platform == 'win32'")
        .requires("old; python_full_version < '3.13.5'")
        .requires("fast; extra == 'speed'")
        .extra("speed");
    index.add(&app);
    for name in ["base", "arm", "intel", "windows", "old", "fast"] {
        index.add(&WheelBuilder::simple(name, "1.0"));
    }
    let harness = Harness {
        index,
        directory: tempfile::tempdir().unwrap(),
    };
    let inputs = ["app[speed]", "base", "intel; platform_machine == 'x86_64'"];
    let resolution = harness.resolve(&inputs).unwrap();
    assert_eq!(
        pins(&resolution),
        ["app==1.0", "arm==1.0", "base==1.0", "fast==1.0"]
    );
    let requested: Vec<bool> = resolution
        .wheels
        .iter()
        .map(|wheel| wheel.requested)
        .collect();
    assert_eq!(requested, [true, false, true, false]);
    assert_eq!(resolution.wheels[0].dependencies, ["arm", "base", "fast"]);
    assert!(resolution.warnings.is_empty(), "{:?}", resolution.warnings);
}

#[test]
fn the_metadata_is_that_of_the_chosen_wheel() {
    let harness = Harness::with(&[
        "demo-1.0-cp313-cp313-manylinux_2_17_x86_64.whl needs=intel",
        "demo-1.0-cp313-cp313-manylinux_2_17_aarch64.whl needs=arm",
        "arm-1.0-py3-none-any.whl",
        "intel-1.0-py3-none-any.whl",
    ]);
    assert_eq!(
        pins(&harness.resolve(&["demo"]).unwrap()),
        ["arm==1.0", "demo==1.0"]
    );
}

#[test]
fn poorer_indexes_do() {
    let harness = Harness::with(&[
        "demo-1.0-py3-none-any.whl needs=other",
        "other-2-py3-none-any.whl",
    ]);
    harness.index.without_json();
    let html = harness.resolve(&["demo"]).unwrap();
    assert_eq!(pins(&html), ["demo==1.0", "other==2"]);
    assert!(html.wheels[0].sha256.is_some());

    let harness = Harness::with(&[
        "demo-1.0-py3-none-any.whl needs=other",
        "other-2-py3-none-any.whl",
    ]);
    harness.index.without_hashes().without_metadata();
    let bare = harness.resolve(&["demo"]).unwrap();
    assert_eq!(pins(&bare), ["demo==1.0", "other==2"]);
    assert_eq!(bare.wheels[0].sha256, None);
}

#[test]
fn a_busy_index_is_asked_again() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    harness
        .index
        .fault("/simple/demo/", Fault::Unavailable { times: 2 });
    assert_eq!(pins(&harness.resolve(&["demo"]).unwrap()), ["demo==1.0"]);
    assert_eq!(harness.index.requests("/simple/demo/"), 3);
}

#[test]
fn the_first_index_that_has_a_package_is_the_one() {
    let harness = Harness::with(&["demo-2.0-py3-none-any.whl", "other-1.0-py3-none-any.whl"]);
    let first = PackageIndex::of([&WheelBuilder::simple("demo", "1.0")]);
    let mut request = harness.request(arm64(), requirements_of(&["demo", "other"]));
    request.index.extra = vec![first.url()];
    assert_eq!(
        pins(&resolve(&request).unwrap()),
        ["demo==1.0", "other==1.0"]
    );
}

#[test]
fn find_links_add_to_the_index_and_do_without_it() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    let links = harness.path("links");
    std::fs::create_dir(&links).unwrap();
    let newer = wheel("demo-1.1-py3-none-any.whl");
    std::fs::write(links.join(newer.filename()), newer.build()).unwrap();

    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.index.find_links = vec![links.display().to_string()];
    let resolution = resolve(&request).unwrap();
    assert_eq!(pins(&resolution), ["demo==1.1"]);
    let path = links.join(newer.filename());
    assert_eq!(
        resolution.wheels[0].url,
        format!("file://{}", path.display())
    );
    assert_eq!(resolution.wheels[0].sha256, None);

    harness.index.forget();
    request.index.no_index = true;
    assert_eq!(pins(&resolve(&request).unwrap()), ["demo==1.1"]);
    assert_eq!(harness.index.requests("*"), 0);

    let page = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    let mut request = page.request(arm64(), requirements_of(&["demo"]));
    request.index.no_index = true;
    request.index.find_links = vec![page.index.links_url()];
    let resolution = resolve(&request).unwrap();
    assert_eq!(
        resolution.wheels[0].url,
        page.index.file_url("demo-1.0-py3-none-any.whl")
    );
    assert!(resolution.wheels[0].sha256.is_some());
}

#[test]
fn wheels_can_be_named_by_url_and_path() {
    let harness = Harness::with(&["dep-1.0-py3-none-any.whl", "far-3.0-py3-none-any.whl"]);
    let near = wheel("near-2.0-py3-none-any.whl needs=dep");
    std::fs::write(harness.path(&near.filename()), near.build()).unwrap();
    let far = harness.index.file_url("far-3.0-py3-none-any.whl");
    let hash = wheel("far-3.0-py3-none-any.whl").sha256();
    let text = format!("./{}\nfar @ {far}#sha256={hash}\n", near.filename());
    let file = harness.file("requirements.txt", &text);

    let request = harness.request(arm64(), vec![Input::RequirementsFile(file)]);
    let resolution = resolve(&request).unwrap();
    assert_eq!(pins(&resolution), ["dep==1.0", "far==3.0", "near==2.0"]);
    assert_eq!(resolution.wheels[1].url, far);
    assert_eq!(resolution.wheels[1].sha256, Some(hash));
    assert_eq!(resolution.wheels[1].index, None);
    let path = harness.path(&near.filename());
    assert_eq!(
        resolution.wheels[2].url,
        format!("file://{}", path.display())
    );
    assert!(resolution.wheels[2].requested);
}

#[test]
fn a_request_can_limit_replace_leave_out_and_prefer() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=lib<2, extra",
        "lib-1.0-py3-none-any.whl",
        "lib-1.1-py3-none-any.whl",
        "lib-2.0-py3-none-any.whl",
        "extra-1.0-py3-none-any.whl",
    ]);
    let check = |change: &dyn Fn(&mut crate::Request), expected: &[&str]| {
        let mut request = harness.request(arm64(), requirements_of(&["app"]));
        change(&mut request);
        assert_eq!(pins(&resolve(&request).unwrap()), expected);
    };
    check(&|_| {}, &["app==1.0", "extra==1.0", "lib==1.1"]);
    check(
        &|request| request.constraints = vec!["lib<1.1".to_owned(), "unused==9".to_owned()],
        &["app==1.0", "extra==1.0", "lib==1.0"],
    );
    check(
        &|request| request.overrides = vec!["lib>=2".to_owned()],
        &["app==1.0", "extra==1.0", "lib==2.0"],
    );
    check(
        &|request| request.exclude = vec!["Extra".to_owned()],
        &["app==1.0", "lib==1.1"],
    );
    let prefer = |version: &str| [("lib".to_owned(), version.to_owned())].into();
    check(
        &|request| request.prefer = prefer("1.0"),
        &["app==1.0", "extra==1.0", "lib==1.0"],
    );
    check(
        &|request| request.prefer = prefer("2.0"),
        &["app==1.0", "extra==1.0", "lib==1.1"],
    );
}

#[test]
fn a_yanked_version_is_taken_only_when_pinned() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl", "demo-1.1-py3-none-any.whl"]);
    harness
        .index
        .yank("demo-1.1-py3-none-any.whl", "wrong licence");
    assert_eq!(pins(&harness.resolve(&["demo"]).unwrap()), ["demo==1.0"]);
    let pinned = harness.resolve(&["demo==1.1"]).unwrap();
    assert_eq!(pins(&pinned), ["demo==1.1"]);
    assert_eq!(
        pinned.warnings,
        ["`demo==1.1` is yanked (reason: \"wrong licence\")"]
    );
}

#[test]
fn credentials_reach_the_index_and_nothing_else() {
    let harness = Harness::with(&[
        "demo-1.0-py3-none-any.whl needs=other",
        "other-1-py3-none-any.whl",
    ]);
    harness.index.require_credentials("ann", "s3cret");
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.index.default = Some(harness.index.url_with_credentials("ann", "s3cret"));
    let resolution = resolve(&request).unwrap();
    assert_eq!(pins(&resolution), ["demo==1.0", "other==1"]);
    assert!(
        !format!("{resolution:?}").contains("s3cret"),
        "{resolution:?}"
    );
    assert_eq!(resolution.wheels[0].index, Some(harness.index.url()));
}

#[test]
fn what_the_image_cannot_answer_is_warned_of() {
    let harness = Harness::with(&[
        "demo-1.0-py3-none-any.whl needs=other; platform_release >= '5'",
        "other-1.0-py3-none-any.whl",
    ]);
    let old = WheelBuilder::simple("old", "1.0").requires_python(">=3.8,<3.12");
    harness.index.add(&old);
    let resolution = harness.resolve(&["demo", "old"]).unwrap();
    insta::assert_snapshot!(resolution.warnings.join("\n"), @r"
    demo 1.0 requires other depending on platform_release, which is empty here: an image has no kernel
    old 1.0 is for Python >=3.8, <3.12, the image has 3.13.5
    ");
}

#[test]
fn hashes_are_obeyed() {
    let harness = Harness::with(&[
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-cp313-cp313-linux_aarch64.whl",
    ]);
    let pure = wheel("demo-1.0-py3-none-any.whl").sha256();
    let file = harness.file(
        "requirements.txt",
        &format!("--require-hashes\ndemo==1.0 \\\n  --hash=sha256:{pure}\n"),
    );
    let request = harness.request(arm64(), vec![Input::RequirementsFile(file)]);
    let resolution = resolve(&request).unwrap();
    assert_eq!(resolution.wheels[0].filename, "demo-1.0-py3-none-any.whl");
}

#[test]
fn targets_resolve_side_by_side_in_one_cache() {
    let harness = Harness::with(&DEMO);
    let requests: Vec<_> = Arch::ALL
        .into_iter()
        .map(|arch| {
            let target = Target { arch, ..arm64() };
            harness.request(target, requirements_of(&["demo"]))
        })
        .collect();
    let found = crate::harness::wait(async {
        tokio::join!(
            crate::resolve(&requests[0]),
            crate::resolve(&requests[1]),
            crate::resolve(&requests[2])
        )
    });
    let filename =
        |found: Result<crate::Resolution, crate::Error>| found.unwrap().wheels[0].filename.clone();
    assert_eq!(filename(found.0), DEMO[6]);
    assert_eq!(filename(found.1), DEMO[2]);
    assert_eq!(filename(found.2), DEMO[7]);
}

#[test]
fn the_cache_answers_without_the_network() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl"]);
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    let online = resolve(&request).unwrap();
    harness.index.forget();
    request.offline = true;
    assert_eq!(resolve(&request).unwrap(), online);
    assert_eq!(harness.index.requests("*"), 0);
}

/// An index with a source archive that is newer than the only wheel.
fn with_newer_sources() -> Harness {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl", "pure-1.0-py3-none-any.whl"]);
    harness
        .index
        .add_file("demo", "demo-1.1.tar.gz", b"sources");
    harness
}

#[test]
fn any_wheel_beats_a_newer_source_archive() {
    let harness = with_newer_sources();
    for text in [
        "demo\n",
        "--prefer-binary\ndemo\n",
        "--only-binary demo\ndemo\n",
    ] {
        let file = harness.file("requirements.txt", text);
        let request = harness.request(arm64(), vec![Input::RequirementsFile(file)]);
        assert_eq!(pins(&resolve(&request).unwrap()), ["demo==1.0"], "{text}");
    }
}

#[test]
fn what_must_not_come_from_a_wheel_is_refused_where_it_is_needed() {
    let harness = with_newer_sources();
    harness.file("more.txt", "--no-binary :all:\n");
    let check = |text: &str, expected: Option<&[&str]>| {
        let file = harness.file("requirements.txt", text);
        let request = harness.request(arm64(), vec![Input::RequirementsFile(file)]);
        match (resolve(&request), expected) {
            (Ok(_), None) => {}
            (Err(crate::Error::NoBinary { packages }), Some(expected)) => {
                assert_eq!(packages, expected, "{text}");
            }
            (other, _) => panic!("{text}: {other:?}"),
        }
    };
    check("--no-binary other\ndemo\n", None);
    check("--no-binary demo\ndemo\npure\n", Some(&["demo"]));
    check("-r more.txt\ndemo\npure\n", Some(&["demo", "pure"]));
    check(
        "-r more.txt\n--only-binary=pure\ndemo\npure\n",
        Some(&["demo"]),
    );
    check(
        "--only-binary=pure\n-r more.txt\ndemo\npure\n",
        Some(&["demo", "pure"]),
    );
    check("-r more.txt\n--no-binary :none:\ndemo\npure\n", None);
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.formats.no_binary(":all:");
    insta::assert_snapshot!(harness.told(&resolve(&request).unwrap_err()), @r"
    no-binary rules out wheels of demo, and nothing allows to build them
    hint: allow it with `build-from-source`, which lists names, or take them out of no-binary (in requirements files: `--no-binary`)
    ");
}

#[test]
fn pre_releases_are_taken_where_allowed() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl", "demo-1.1rc1-py3-none-any.whl"]);
    assert_eq!(pins(&harness.resolve(&["demo"]).unwrap()), ["demo==1.0"]);
    let mut request = harness.request(arm64(), requirements_of(&["demo"]));
    request.pre_releases = true;
    assert_eq!(pins(&resolve(&request).unwrap()), ["demo==1.1rc1"]);
    let file = harness.file("requirements.txt", "--pre\ndemo\n");
    let request = harness.request(arm64(), vec![Input::RequirementsFile(file)]);
    assert_eq!(pins(&resolve(&request).unwrap()), ["demo==1.1rc1"]);
}

#[test]
fn a_package_can_have_an_index_of_its_own() {
    let harness = Harness::with(&[
        "app-1.0-py3-none-any.whl needs=torch",
        "torch-2.2-py3-none-any.whl",
        "other-1.0-py3-none-any.whl",
    ]);
    let builds = PackageIndex::of([
        &wheel("torch-2.1+cpu-py3-none-any.whl needs=other"),
        &wheel("app-9.0-py3-none-any.whl"),
    ]);
    let mut request = harness.request(arm64(), requirements_of(&["app"]));
    request.sources = [("Torch".to_owned(), builds.url())].into();
    let resolution = resolve(&request).unwrap();
    assert_eq!(
        pins(&resolution),
        ["app==1.0", "other==1.0", "torch==2.1+cpu"]
    );
    assert_eq!(resolution.wheels[2].index, Some(builds.url()));
    assert_eq!(harness.index.requests("/simple/torch/"), 0);
}

#[test]
fn a_file_of_constraints_adds_nothing() {
    let harness = Harness::with(&["demo-1.0-py3-none-any.whl", "demo-1.1-py3-none-any.whl"]);
    let file = harness.file("limits.txt", "demo<1.1\nunused==3\n");
    let mut inputs = requirements_of(&["demo"]);
    inputs.push(Input::ConstraintsFile(file));
    let found = resolve(&harness.request(arm64(), inputs)).unwrap();
    assert_eq!(pins(&found), ["demo==1.0"]);
}
