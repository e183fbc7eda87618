use std::path::PathBuf;

use crate::harness::{Harness, arm64, pins, resolve};
use crate::{Arch, Error, Input, InstalledPackage, Resolution, Target};

/// Entries for `demo` and what it may need; `$` stands for 64 digits.
const LOCK: &str = r#"
version = 1
revision = 3
requires-python = ">=3.12"

[[package]]
name = "app"
version = "0.1"
source = { editable = "." }
dependencies = [
    { name = "base" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
    { name = "native", version = "1.0", source = { registry = "https://one.example/simple" }, marker = "platform_machine != 'aarch64'" },
    { name = "native", version = "2.0", source = { registry = "https://one.example/simple" }, marker = "platform_machine == 'aarch64'" },
]

[package.optional-dependencies]
cli = [
    { name = "base", extra = ["colour"] },
]

[package.dev-dependencies]
dev = [
    { name = "local" },
]

[package.metadata]
provides-extras = ["cli", "nothing"]

[package.metadata.requires-dev]
dev = [{ name = "local" }]

[[package]]
name = "base"
version = "3.1"
source = { registry = "https://ann:s3cret@one.example/simple" }
dependencies = [
    { name = "deep" },
]
wheels = [
    { url = "https://ann:s3cret@one.example/f/base-3.1-py3-none-any.whl", hash = "sha256:$1", size = 7 },
]

[package.optional-dependencies]
colour = [
    { name = "paint" },
]

[[package]]
name = "colorama"
version = "0.4"
source = { registry = "https://one.example/simple" }
sdist = { url = "https://one.example/f/colorama-0.4.tar.gz", hash = "sha256:$1" }

[[package]]
name = "deep"
version = "1"
source = { url = "https://two.example/f/deep-1%2Bcpu-py3-none-any.whl" }
wheels = [
    { url = "https://two.example/f/deep-1%2Bcpu-py3-none-any.whl", hash = "sha256:$2" },
]

[[package]]
name = "local"
version = "5"
source = { path = "wheels/local-5-py3-none-any.whl" }
wheels = [
    { filename = "local-5-py3-none-any.whl", hash = "sha256:$3" },
]

[[package]]
name = "native"
version = "1.0"
source = { registry = "https://one.example/simple" }
wheels = [
    { url = "https://one.example/f/native-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", hash = "sha256:$4" },
    { url = "https://one.example/f/native-1.0-cp313-cp313-manylinux_2_28_x86_64.whl", hash = "sha256:$5" },
    { url = "https://one.example/f/native-1.0-cp313-cp313-manylinux_2_39_x86_64.whl", hash = "sha256:$6" },
]

[[package]]
name = "native"
version = "2.0"
source = { registry = "https://one.example/simple" }
wheels = [
    { url = "https://one.example/f/native-2.0-1-cp313-cp313-manylinux_2_17_aarch64.whl", hash = "sha256:$4" },
    { url = "https://one.example/f/native-2.0-2-cp313-cp313-manylinux_2_17_aarch64.whl", hash = "sha256:$5" },
]

[[package]]
name = "paint"
version = "9"
source = { registry = "links" }
wheels = [
    { path = "paint-9-py3-none-any.whl" },
]
"#;

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The text with each `$N` made 64 digits.
fn digits(text: &str) -> String {
    ('1'..='6').fold(text.to_owned(), |text, digit| {
        text.replace(&format!("${digit}"), &digit.to_string().repeat(64))
    })
}

fn uv_lock(path: PathBuf, extras: &[&str], groups: &[&str]) -> Input {
    Input::UvLock {
        path,
        extras: own(extras),
        groups: own(groups),
    }
}

fn pylock(path: PathBuf, extras: &[&str], groups: &[&str]) -> Input {
    Input::Pylock {
        path,
        extras: own(extras),
        groups: own(groups),
    }
}

fn amd64() -> Target {
    Target {
        arch: Arch::X86_64,
        ..arm64()
    }
}

fn on(target: Target, input: Input) -> Result<Resolution, Error> {
    let harness = Harness::with(&[]);
    let found = resolve(&harness.request(target, vec![input]));
    assert_eq!(harness.index.requests("*"), 0, "a lock needs no index");
    found
}

#[test]
fn a_uv_lock_is_obeyed_for_each_target() {
    let harness = Harness::with(&[]);
    let path = harness.file("uv.lock", &digits(LOCK));
    let amd = on(amd64(), uv_lock(path.clone(), &[], &[])).unwrap();
    assert_eq!(pins(&amd), ["base==3.1", "deep==1+cpu", "native==1.0"]);
    let arm = on(arm64(), uv_lock(path, &[], &[])).unwrap();
    assert_eq!(pins(&arm), ["base==3.1", "deep==1+cpu", "native==2.0"]);
    let [base, deep, native] = &amd.wheels[..] else {
        panic!("{amd:?}")
    };
    assert_eq!(base.url, "https://one.example/f/base-3.1-py3-none-any.whl");
    assert_eq!(base.index.as_deref(), Some("https://one.example/simple"));
    assert_eq!((base.size, &base.sha256), (Some(7), &Some("1".repeat(64))));
    assert_eq!(
        (base.requested, &base.dependencies[..]),
        (true, &["deep".to_owned()][..])
    );
    assert_eq!(deep.filename, "deep-1+cpu-py3-none-any.whl");
    assert!(!deep.requested);
    // The newest glibc that the image has, and the highest build number.
    assert_eq!(
        native.filename,
        "native-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    );
    let native = "native-2.0-2-cp313-cp313-manylinux_2_17_aarch64.whl";
    assert_eq!(arm.wheels[2].filename, native);
}

#[test]
fn a_uv_locks_extras_and_groups_are_taken_where_named() {
    let harness = Harness::with(&[]);
    let path = harness.file("uv.lock", &digits(LOCK));
    let all = on(arm64(), uv_lock(path.clone(), &["CLI"], &["dev"])).unwrap();
    assert_eq!(
        pins(&all),
        [
            "base==3.1",
            "deep==1+cpu",
            "local==5",
            "native==2.0",
            "paint==9"
        ]
    );
    let at = |name: &str| format!("file://{}", harness.path(name).display());
    assert_eq!(all.wheels[2].url, at("wheels/local-5-py3-none-any.whl"));
    assert_eq!(all.wheels[4].url, at("links/paint-9-py3-none-any.whl"));
    assert!(on(arm64(), uv_lock(path.clone(), &["nothing"], &[])).is_ok());
    let told = |extras: &[&str], groups: &[&str]| {
        harness.told(&on(arm64(), uv_lock(path.clone(), extras, groups)).unwrap_err())
    };
    insta::assert_snapshot!(format!("{}\n{}", told(&["gui"], &[]), told(&[], &["docs"])), @r"
    <directory>/uv.lock defines no extra `gui` (it has cli, nothing)
    <directory>/uv.lock defines no dependency group `docs` (it has dev)
    ");
}

#[test]
fn what_the_base_has_in_the_locked_version_is_kept() {
    let harness = Harness::with(&[]);
    let path = harness.file("uv.lock", &digits(LOCK));
    let mut request = harness.request(arm64(), vec![uv_lock(path, &[], &[])]);
    for (name, version) in [("Base", "3.1.0"), ("native", "1.0"), ("else", "1")] {
        request.installed.push(InstalledPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            metadata: String::new(),
        });
    }
    let found = resolve(&request).unwrap();
    assert_eq!(pins(&found), ["deep==1+cpu", "native==2.0"]);
    assert_eq!(found.satisfied[0].name, "base");
    assert_eq!(found.replaced[0].installed, "1.0");
}

#[test]
fn a_uv_lock_without_aarch64_wheels_is_refused() {
    let harness = Harness::with(&[]);
    let text = r#"
version = 1
requires-python = ">=3.12"
[[package]]
name = "app"
source = { virtual = "." }
dependencies = [{ name = "native" }, { name = "other" }, { name = "gone" }, { name = "fine" }, { name = "member" }]
[[package]]
name = "fine"
version = "1"
source = { registry = "https://one.example/simple" }
wheels = [{ url = "https://one.example/f/fine-1-py3-none-any.whl", hash = "sha256:$1" }]
[[package]]
name = "native"
version = "1.0"
source = { registry = "https://one.example/simple" }
wheels = [
    { url = "https://one.example/f/native-1.0-cp313-cp313-win_amd64.whl", hash = "sha256:$2" },
    { url = "https://one.example/f/native-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", hash = "sha256:$1" },
]
[[package]]
name = "other"
version = "2.0"
source = { registry = "https://one.example/simple" }
sdist = { url = "https://one.example/f/other-2.0.tar.gz", hash = "sha256:$1" }
[[package]]
name = "gone"
version = "3"
source = { git = "https://git.example/gone?rev=main#0123" }
[[package]]
name = "member"
version = "0"
source = { editable = "packages/member" }
"#;
    let path = harness.file("uv.lock", &digits(text));
    let error = on(arm64(), uv_lock(path, &[], &[])).unwrap_err();
    insta::assert_snapshot!(harness.told(&error));
}

#[test]
fn conflicting_extras_of_a_uv_lock_are_told_apart() {
    let text = r#"
version = 1
conflicts = [[{ package = "app", extra = "cpu" }, { package = "app", extra = "cu" }]]
[[package]]
name = "app"
source = { virtual = "." }
[package.optional-dependencies]
cpu = [{ name = "torch", version = "2+cpu", source = { registry = "https://c.example" }, marker = "extra == 'extra-3-app-cpu'" }, { name = "lib" }]
cu = [{ name = "torch", version = "2+cu", source = { registry = "https://g.example" } }, { name = "lib" }]
[[package]]
name = "lib"
version = "1"
source = { registry = "https://c.example" }
dependencies = [
    { name = "torch", version = "2+cpu", source = { registry = "https://c.example" }, marker = "extra == 'extra-3-app-cpu'" },
    { name = "torch", version = "2+cu", source = { registry = "https://g.example" }, marker = "extra == 'extra-3-app-cu' or extra != 'extra-3-app-cpu'" },
]
wheels = [{ url = "https://c.example/lib-1-py3-none-any.whl" }]
[[package]]
name = "torch"
version = "2+cpu"
source = { registry = "https://c.example" }
wheels = [{ url = "https://c.example/torch-2%2Bcpu-py3-none-any.whl" }]
[[package]]
name = "torch"
version = "2+cu"
source = { registry = "https://g.example" }
wheels = [{ url = "https://g.example/torch-2%2Bcu-py3-none-any.whl" }]
"#;
    let harness = Harness::with(&[]);
    let path = harness.file("uv.lock", text);
    let chosen = |extra: &str| pins(&on(arm64(), uv_lock(path.clone(), &[extra], &[])).unwrap());
    assert_eq!(chosen("cpu"), ["lib==1", "torch==2+cpu"]);
    assert_eq!(chosen("cu"), ["lib==1", "torch==2+cu"]);
}

const PYLOCK: &str = r#"
lock-version = "1.0"
created-by = "hand"
requires-python = ">=3.12"
environments = ["sys_platform == 'linux'"]
extras = ["cli"]
dependency-groups = ["dev", "docs"]
default-groups = ["dev"]

[[packages]]
name = "app"
directory = { path = ".", editable = true }

[[packages]]
name = "base"
version = "3.1"
index = "https://one.example/simple"
dependencies = [{ name = "paint" }]
wheels = [{ url = "https://one.example/f/base-3.1-py3-none-any.whl", size = 7, hashes = { sha256 = "$1" } }]

[[packages]]
name = "colorama"
version = "0.4"
marker = "sys_platform == 'win32'"
sdist = { url = "https://one.example/f/colorama-0.4.tar.gz", hashes = { sha256 = "$1" } }

[[packages]]
name = "native"
version = "1.0"
marker = "platform_machine == 'aarch64'"
wheels = [
    { name = "native-1.0-cp313-cp313-manylinux_2_17_aarch64.whl", url = "https://one.example/get?id=7", hashes = { sha256 = "$2" } },
    { name = "native-1.0-py3-none-any.whl", url = "https://one.example/get?id=8", hashes = { sha256 = "$3" } },
]

[[packages]]
name = "paint"
version = "9"
marker = "'cli' in extras"
archive = { path = "../paint-9-py3-none-any.whl", hashes = { sha256 = "$4" } }

[[packages]]
name = "tests"
version = "1"
marker = "'dev' in dependency_groups"
wheels = [{ path = "tests-1-py3-none-any.whl", hashes = { sha256 = "$5" } }]
"#;

#[test]
fn a_pylock_is_obeyed() {
    let harness = Harness::with(&[]);
    std::fs::create_dir(harness.path("p")).unwrap();
    let path = harness.file("p/pylock.toml", &digits(PYLOCK));
    let chosen = |target: Target, extras: &[&str], groups: &[&str]| {
        on(target, pylock(path.clone(), extras, groups)).unwrap()
    };
    let arm = chosen(arm64(), &["cli"], &["docs"]);
    assert_eq!(pins(&arm), ["base==3.1", "native==1.0", "paint==9"]);
    assert_eq!(
        arm.wheels[1].filename,
        "native-1.0-cp313-cp313-manylinux_2_17_aarch64.whl"
    );
    let paint = harness.path("paint-9-py3-none-any.whl");
    assert_eq!(arm.wheels[2].url, format!("file://{}", paint.display()));
    assert_eq!(arm.wheels[2].sha256, Some("4".repeat(64)));
    assert_eq!(arm.wheels[0].size, Some(7));
    assert_eq!(pins(&chosen(amd64(), &[], &[])), ["base==3.1", "tests==1"]);
    let unknown = on(arm64(), pylock(path.clone(), &[], &["lint"])).unwrap_err();
    assert!(
        unknown
            .to_string()
            .ends_with("defines no dependency group `lint` (it has dev, docs)")
    );
}

#[test]
fn locks_that_cannot_be_used_say_why() {
    let harness = Harness::with(&[]);
    let pinned = |rest: &str| format!("lock-version = '1.0'\n{rest}");
    let wheel = |more: &str| {
        format!(
            "[[packages]]\nname = 'a'\n{more}wheels = [{{ url = 'https://x.example/a-1-py3-none-any.whl', hashes = {{ sha256 = '{}' }} }}]\n",
            "a".repeat(64)
        )
    };
    let cases = [
        ("pylock.toml", "lock-version = '2.0'".to_owned()),
        ("pylock.toml", pinned("environments = [\"sys_platform == 'win32'\"]")),
        ("pylock.toml", pinned("requires-python = '<3.13'")),
        ("pylock.toml", pinned(&wheel("").repeat(2))),
        ("pylock.toml", pinned(&wheel("requires-python = '>=3.14'\n"))),
        ("pylock.toml", pinned("[[packages]]\nname = 'a'\nwheels = [{ url = 'https://x.example/a-1-py3-none-any.whl' }]")),
        ("pylock.toml", pinned("[[packages]]\nname = 'a'\nvcs = { type = 'git', url = 'https://x.example/a' }")),
        ("pylock.toml", pinned("packages = 3")),
        ("uv.lock", "version = 2".to_owned()),
        ("uv.lock", "version = 1\n[[package]]\nname = 'a'\nsource = { virtual = '.' }\ndependencies = [{ name = 'b' }]".to_owned()),
        ("uv.lock", "version = 1\n[[package]]\nname = 'a'\nsource = { virtual = '.' }\ndependencies = [{ name = 'b' }]\n[[package]]\nname = 'b'\nsource = { registry = 'https://x.example' }\nwheels = [{ url = 'https://x.example/b-1-py3-none-any.whl', hash = 'md5:0' }]".to_owned()),
    ];
    let mut told = Vec::new();
    for (name, text) in cases {
        let path = harness.file(name, &text);
        let input = match name {
            "uv.lock" => uv_lock(path, &[], &[]),
            _ => pylock(path, &[], &[]),
        };
        told.push(harness.told(&on(arm64(), input).unwrap_err()));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_lock_stands_alone_and_its_content_is_its_fingerprint() {
    let harness = Harness::with(&[]);
    let path = harness.file("uv.lock", &digits(LOCK));
    let lock = uv_lock(path.clone(), &[], &["dev"]);
    let beside = [lock.clone(), Input::Requirement("demo".to_owned())];
    let error = crate::harness::read(&beside).unwrap_err();
    assert!(error.to_string().contains("obeyed alone"), "{error}");
    let print = |input: &Input| {
        crate::harness::read(std::slice::from_ref(input))
            .unwrap()
            .fingerprint()
    };
    let before = print(&lock);
    assert_ne!(before, print(&uv_lock(path, &[], &[])));
    harness.file("uv.lock", &digits(LOCK).replace("3.1", "3.2"));
    assert_ne!(before, print(&lock));
}
