use testkit::WheelBuilder;

use crate::harness::{Harness, arm64, pins, requirements_of, resolve, wheel};
use crate::{Input, InstalledPackage, ReplacedPackage, Request, Resolution, WhyReplaced};

/// A wheel for every target: `demo-1.0 needs=other>=1`.
fn pure(line: &str) -> WheelBuilder {
    let end = line.find(' ').unwrap_or(line.len());
    let (stem, needs) = line.split_at(end);
    wheel(&format!("{stem}-py3-none-any.whl{needs}"))
}

/// A wheel as it is in the base image once installed.
fn installed(wheel: &WheelBuilder) -> InstalledPackage {
    InstalledPackage {
        name: wheel.name().to_owned(),
        version: wheel.version().to_owned(),
        metadata: String::from_utf8(wheel.metadata()).unwrap(),
    }
}

fn index(lines: &[&str]) -> Harness {
    let harness = Harness::with(&[]);
    for line in lines {
        harness.index.add(&pure(line));
    }
    harness
}

impl Harness {
    fn request_with(&self, requirements: &[&str], packages: &[&str]) -> Request {
        let mut request = self.request(arm64(), requirements_of(requirements));
        request.installed = packages.iter().map(|line| installed(&pure(line))).collect();
        request
    }

    fn resolve_with(&self, requirements: &[&str], packages: &[&str]) -> Resolution {
        resolve(&self.request_with(requirements, packages)).unwrap()
    }

    fn fails_with(&self, requirements: &[&str], packages: &[&str]) -> String {
        self.told(&resolve(&self.request_with(requirements, packages)).unwrap_err())
    }
}

/// What is new, what is kept and what is replaced: `demo==2.0`, `kept==1.0`, `demo 1.0 -> 2.0`.
fn told(resolution: &Resolution) -> String {
    let mut lines = pins(resolution);
    for kept in &resolution.satisfied {
        lines.push(format!("kept {} {}", kept.name, kept.version));
    }
    for replaced in &resolution.replaced {
        let ReplacedPackage {
            name,
            installed,
            version,
            ..
        } = replaced;
        lines.push(format!("replaced {name} {installed} -> {version}"));
    }
    lines.join(", ")
}

#[test]
fn what_will_do_is_kept_and_not_asked_for() {
    let harness = index(&["demo-2.0", "other-1.0 needs=demo>=1"]);
    let resolution = harness.resolve_with(&["demo>=1", "other"], &["Demo-1.0"]);
    assert_eq!(told(&resolution), "other==1.0, kept demo 1.0");
    assert_eq!(resolution.wheels[0].dependencies, ["demo"]);
    assert!(resolution.warnings.is_empty(), "{:?}", resolution.warnings);
    assert_eq!(harness.index.requests("/simple/demo/"), 0);
}

#[test]
fn what_only_the_base_has_is_enough() {
    let harness = index(&["app-1.0 needs=private"]);
    let resolution = harness.resolve_with(&["app", "private>=1"], &["private-1.5"]);
    assert_eq!(told(&resolution), "app==1.0, kept private 1.5");
    assert_eq!(harness.index.requests("/simple/private/"), 0);

    let mut request = harness.request_with(&["private"], &["private-1.5"]);
    request.offline = true;
    request.cache = harness.path("another");
    assert_eq!(told(&resolve(&request).unwrap()), "kept private 1.5");
}

#[test]
fn what_is_kept_brings_its_dependencies() {
    let harness = index(&["lib-1.0", "lib-2.0", "deep-1.0", "deep-2.0"]);
    let packages = ["app-1.0 needs=lib<2", "deep-1.0", "unrelated-1.0"];
    let resolution = harness.resolve_with(&["app", "deep"], &packages);
    assert_eq!(told(&resolution), "lib==1.0, kept app 1.0, kept deep 1.0");
    assert!(!resolution.wheels[0].requested);
}

#[test]
fn what_will_not_do_is_replaced() {
    let harness = index(&["demo-1.0", "demo-2.0", "demo-3.0"]);
    let check = |change: &dyn Fn(&mut Request), expected: &str| {
        let mut request = harness.request_with(&["demo"], &["demo-1.0", "private-1"]);
        change(&mut request);
        let resolution = resolve(&request).unwrap();
        assert_eq!(told(&resolution), expected);
        for replaced in resolution.replaced {
            assert_eq!(replaced.why, WhyReplaced::Requirements);
        }
    };
    check(
        &|request| request.inputs = requirements_of(&["demo>1,<3", "private"]),
        "demo==2.0, kept private 1, replaced demo 1.0 -> 2.0",
    );
    check(
        &|request| request.constraints = vec!["demo!=1.0".to_owned()],
        "demo==3.0, replaced demo 1.0 -> 3.0",
    );
    check(
        &|request| request.overrides = vec!["demo==2".to_owned()],
        "demo==2.0, replaced demo 1.0 -> 2.0",
    );
    check(
        &|request| {
            request.constraints = vec!["demo!=1.0".to_owned()];
            request.prefer = [("demo".to_owned(), "2.0".to_owned())].into();
        },
        "demo==2.0, replaced demo 1.0 -> 2.0",
    );
    assert_eq!(harness.index.requests("/simple/private/"), 0);
    // What is there is preferred to what an older lock says.
    check(
        &|request| request.prefer = [("demo".to_owned(), "2.0".to_owned())].into(),
        "kept demo 1.0",
    );
    check(&|request| request.exclude = vec!["demo".to_owned()], "");
}

#[test]
fn nothing_goes_back_for_the_sake_of_what_is_installed() {
    let harness = index(&[
        "app-1.0 needs=lib, private",
        "app-2.0 needs=lib>=2, private",
        "lib-2.0",
    ]);
    let resolution = harness.resolve_with(&["app"], &["lib-1.0", "private-1"]);
    assert_eq!(
        told(&resolution),
        "app==2.0, lib==2.0, kept private 1, replaced lib 1.0 -> 2.0"
    );
    assert_eq!(harness.index.requests("/simple/private/"), 0);

    // Here nothing excludes the installed package but what it needs itself.
    let harness = index(&[
        "app-1.0 needs=middle",
        "app-2.0 needs=middle, lib>=2",
        "middle-2.0",
        "lib-1.0",
        "lib-2.0",
    ]);
    let resolution = harness.resolve_with(&["app"], &["middle-1.0 needs=lib<2"]);
    assert_eq!(
        told(&resolution),
        "app==2.0, lib==2.0, middle==2.0, replaced middle 1.0 -> 2.0"
    );
}

#[test]
fn what_has_to_be_given_up_is_not_held_against_the_rest() {
    // A version of an app is given up, and the index still isn't asked for what is kept.
    let harness = index(&[
        "app-1.0 needs=lib<2",
        "app-2.0 needs=missing",
        "lib-1.0 needs=private",
    ]);
    let resolution = harness.resolve_with(&["app"], &["private-1"]);
    assert_eq!(told(&resolution), "app==1.0, lib==1.0, kept private 1");
    assert_eq!(harness.index.requests("/simple/private/"), 0);
}

#[test]
fn extras_come_from_the_installed_metadata() {
    let harness = index(&["fast-1.0", "slow-1.0", "app-2.0"]);
    let app = WheelBuilder::simple("app", "1.0")
        .requires("fast; extra == 'speed'")
        .requires("slow; extra == 'sloth'")
        .extra("speed")
        .extra("sloth");
    let mut request = harness.request(arm64(), requirements_of(&["app[speed]"]));
    request.installed = vec![installed(&app)];
    let resolution = resolve(&request).unwrap();
    assert_eq!(told(&resolution), "fast==1.0, kept app 1.0");

    request.inputs = requirements_of(&["app[wings]"]);
    let resolution = resolve(&request).unwrap();
    assert_eq!(told(&resolution), "kept app 1.0");
    insta::assert_snapshot!(resolution.warnings.join("\n"), @r"The package `app==1.0` does not have an extra named `wings`");
    assert_eq!(harness.index.requests("/simple/app/"), 0);
}

#[test]
fn the_rest_of_the_base_is_warned_of_but_not_considered() {
    let harness = index(&["lib-1.0", "lib-2.0"]);
    let packages = [
        "lib-1.0",
        "tool-3.0 needs=lib<2",
        "windows-1 needs=lib<2; sys_platform == 'win32'",
    ];
    let resolution = harness.resolve_with(&["lib>=2"], &packages);
    assert_eq!(told(&resolution), "lib==2.0, replaced lib 1.0 -> 2.0");
    insta::assert_snapshot!(resolution.warnings.join("\n"), @"tool 3.0 of the base image requires lib<2, and gets 2.0");
}

#[test]
fn a_conflict_with_what_is_kept_is_a_conflict() {
    let harness = index(&["lib-1.0", "lib-2.0", "public-2"]);
    let packages = ["private-1.0 needs=lib<2", "public-1"];
    insta::assert_snapshot!(harness.fails_with(&["private", "lib>=2"], &packages), @r"
    the requirements have no solution for Linux aarch64, glibc 2.36, CPython 3.13.5:
    Because private was not found in the package registry and private==1.0 depends on lib<2, we can conclude that all versions of private depend on lib<2.
    And because you require private and lib>=2, we can conclude that your requirements are unsatisfiable.
    The base image has private 1.0.
    ");
    insta::assert_snapshot!(harness.fails_with(&["private>=2"], &packages), @r"
    the requirements have no solution for Linux aarch64, glibc 2.36, CPython 3.13.5:
    Because private was not found in the package registry and you require private>=2, we can conclude that your requirements are unsatisfiable.
    The base image has private 1.0.
    ");
    insta::assert_snapshot!(harness.fails_with(&["public>=3"], &packages), @r"
    the requirements have no solution for Linux aarch64, glibc 2.36, CPython 3.13.5:
    Because only public==2 is available and you require public>=3, we can conclude that your requirements are unsatisfiable.
    The base image has public 1.
    ");
    insta::assert_snapshot!(harness.fails_with(&["absent"], &packages), @r"
    no package is called `absent` at http://<index>/simple/
    hint: check the spelling, or name the index that has it
    ");
}

#[test]
fn a_package_without_a_fitting_wheel_is_blamed_and_not_what_is_installed() {
    let harness = Harness::with(&[
        "demo-1.0-py3-none-any.whl needs=native, lib",
        "lib-1.0-cp313-cp313-linux_x86_64.whl",
        "native-1.0-cp313-cp313-linux_x86_64.whl",
    ]);
    insta::assert_snapshot!(harness.fails_with(&["demo"], &["lib-1.0"]), @r"
    no wheel of native 1.0 fits the image (Linux aarch64, glibc 2.36, CPython 3.13.5)
      needed by: demo
      its only wheel:
        native-1.0-cp313-cp313-linux_x86_64.whl
          platform: linux_x86_64 is for x86_64, the image is aarch64
      no version of it has a wheel that fits
    hint: build a wheel of native for aarch64 elsewhere and name its directory with `find-links`
    ");
    let resolution = harness.resolve_with(&["demo"], &["lib-1.0", "native-1.0"]);
    assert_eq!(
        told(&resolution),
        "demo==1.0, kept lib 1.0, kept native 1.0"
    );
}

#[test]
fn a_direct_url_replaces() {
    let harness = index(&["demo-1.0", "app-1.0 needs=demo"]);
    let url = harness.index.file_url("demo-1.0-py3-none-any.whl");
    let resolution = harness.resolve_with(&[&format!("demo @ {url}"), "app"], &["demo-1.0"]);
    assert_eq!(
        told(&resolution),
        "app==1.0, demo==1.0, replaced demo 1.0 -> 1.0"
    );
    assert_eq!(resolution.replaced[0].why, WhyReplaced::Requirements);
}

#[test]
fn what_needs_a_hash_is_not_taken_from_the_base() {
    let harness = index(&["demo-1.0", "other-1.0", "other-2.0"]);
    let hash = wheel("demo-1.0-py3-none-any.whl").sha256();
    let pinned = format!("demo==1.0 --hash=sha256:{hash}\n");
    let resolution = |text: &str| {
        let file = harness.file("requirements.txt", text);
        let mut request = harness.request_with(&[], &["demo-1.0", "other-1.0"]);
        request.inputs = vec![Input::RequirementsFile(file)];
        resolve(&request)
    };
    let found = resolution(&format!("{pinned}other\n")).unwrap();
    assert_eq!(
        told(&found),
        "demo==1.0, kept other 1.0, replaced demo 1.0 -> 1.0"
    );
    assert_eq!(found.replaced[0].why, WhyReplaced::Hashes);
    insta::assert_snapshot!(found.warnings.join("\n"), @"packages of the base image are not used, because the inputs require hashes of them: demo 1.0");

    let found = resolution(&format!("--require-hashes\n{pinned}")).unwrap();
    assert_eq!(told(&found), "demo==1.0, replaced demo 1.0 -> 1.0");
    let error = resolution(&format!("--require-hashes\n{pinned}other\n")).unwrap_err();
    insta::assert_snapshot!(harness.told(&error), @"the required hashes don't hold: In `--require-hashes` mode, all requirements must have their versions pinned with `==`, but found: other");
}

#[test]
fn metadata_that_is_of_no_use_is_told() {
    let harness = index(&["demo-1.0", "other-1.0", "third-1.0", "fourth-1.0"]);
    let names = ["demo", "other", "third", "fourth"];
    let mut request = harness.request_with(&names, &["demo-1.0", "other-1.0", "third-1.0"]);
    request.installed[0].metadata = "Metadata-Version: 2.1\n".to_owned();
    request.installed[1].version = "1.1".to_owned();
    request.installed[2].metadata = "Name: third\nVersion: 1.0".to_owned();
    request.installed.push(InstalledPackage {
        name: "fourth".to_owned(),
        version: "1.0-ubuntu".to_owned(),
        metadata: "Name: fourth\nVersion: 1.0-ubuntu\n".to_owned(),
    });
    request.installed.push(installed(&pure("unrelated-1.0")));
    request.installed[4].metadata = String::new();
    let resolution = resolve(&request).unwrap();
    assert_eq!(
        told(&resolution),
        "demo==1.0, fourth==1.0, other==1.0, kept third 1.0, replaced demo 1.0 -> 1.0, \
         replaced fourth 1.0-ubuntu -> 1.0, replaced other 1.1 -> 1.0"
    );
    insta::assert_snapshot!(resolution.warnings.join("\n"), @r"
    demo 1.0 of the base image is not used: its metadata can't be read: Metadata field Name not found
    fourth 1.0-ubuntu of the base image is not used: its metadata can't be read: Invalid version: after parsing `1.0`, found `-ubuntu`, which is not part of a valid version
    other 1.1 of the base image is not used: its metadata is that of other 1.0
    ");
}

#[test]
fn versions_of_vendors_count() {
    let harness = index(&["torch-2.6.0", "torch-2.7.0"]);
    let check = |requirement: &str, installed: &str, expected: &str| {
        let resolution = harness.resolve_with(&[requirement], &[installed]);
        assert_eq!(told(&resolution), expected, "{requirement} {installed}");
    };
    check("torch==2.6.0", "torch-2.6.0+cpu", "kept torch 2.6.0+cpu");
    check(
        "torch>=2.5",
        "torch-2.6.0a0+nv25.1",
        "kept torch 2.6.0a0+nv25.1",
    );
    check(
        "torch>=2.6",
        "torch-2.6.0a0+nv25.1",
        "torch==2.7.0, replaced torch 2.6.0a0+nv25.1 -> 2.7.0",
    );
}

#[test]
fn the_first_of_two_counts() {
    let harness = index(&["some-demo-3.0"]);
    let packages = ["Some_Demo-1.0", "some.demo-2.0"];
    let resolution = harness.resolve_with(&["some-demo"], &packages);
    assert_eq!(told(&resolution), "kept some-demo 1.0");
}

#[test]
fn going_back_is_no_concern_of_what_is_kept() {
    let harness = index(&["demo-1.0", "lib-1.0"]);
    for name in ["demo", "lib"] {
        let archive = format!("{name}-2.0.tar.gz");
        harness.index.add_file(name, &archive, b"an archive");
    }
    assert!(harness.fails(&["demo"]).contains("would go back"));
    let resolution = harness.resolve_with(&["demo"], &["demo-1.0"]);
    assert_eq!(told(&resolution), "kept demo 1.0");
    // A wheel that is held back by what is kept did not go back for want of a newer one.
    let resolution = harness.resolve_with(&["tool"], &["tool-1.0 needs=lib<2"]);
    assert_eq!(told(&resolution), "lib==1.0, kept tool 1.0");
    let error = harness.fails_with(&["tool"], &["tool-1.0 needs=lib"]);
    assert!(error.contains("lib would go back"), "{error}");
}

#[test]
fn what_nobody_asks_for_changes_nothing() {
    let harness = index(&[
        "app-1.0 needs=lib<2",
        "app-2.0 needs=lib<2, absent",
        "lib-1.0",
        "lib-2.0",
    ]);
    let plain = harness.resolve(&["app"]).unwrap();
    assert_eq!(told(&plain), "app==1.0, lib==1.0");
    let resolution = harness.resolve_with(&["app"], &["unrelated-1.0 needs=lib>=2", "other-1"]);
    assert_eq!(resolution, plain);
}
