//! Cases that other tools fail at: an image for another machine is not the environment of this one.
//! Each is locked or built, and what came of it looked at.

use testkit::{Registry, WheelBuilder, elf};

use crate::hand_made::{put_alpine, put_glibc};
use crate::locks::{depend, diverging, pins, uv_lock};
use crate::project::{BUILD, Image, Project, STANDARD};

const SITE: &str = "opt/venv/lib/python3.13/site-packages";
/// What the standard project starts, and what only `demo` has.
const COMMAND: &str = "entrypoint = [\"/opt/venv/bin/demo\"]\ncmd = [\"--port\", \"8000\"]\n";
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// A library of an architecture, with which `native` 3.1 of these tags would come.
fn tagged(version: &str, architecture: &str, tags: &str) -> WheelBuilder {
    WheelBuilder::simple("native", version)
        .tags(tags)
        .executable("native/_native.cpython-313.so", &elf(architecture))
}

/// The ELF machine of the library that an image has of `native`.
fn machine(image: &Image) -> u8 {
    image
        .file(&format!("{SITE}/native/_native.cpython-313.so"))
        .bytes[18]
}

/// The path that a link in an image leads to in the end.
fn followed(image: &Image, path: &str) -> String {
    let mut path = path.to_owned();
    for _ in 0..8 {
        let Some(target) = &image.file(&path).link else {
            return path;
        };
        path = match target.strip_prefix('/') {
            Some(absolute) => absolute.to_owned(),
            None => format!("{}/{target}", path.rsplit_once('/').unwrap().0),
        };
    }
    panic!("{path} leads nowhere")
}

#[test]
fn markers_from_the_host() {
    let project = Project::standard();
    for name in [
        "intel",
        "arm",
        "other-python",
        "this-python",
        "windows",
        "kernel",
    ] {
        project.index.add(&WheelBuilder::simple(name, "1.0"));
    }
    project.index.add(
        &WheelBuilder::simple("app", "1.0")
            .requires("intel; platform_machine == 'x86_64'")
            .requires("arm; platform_machine == 'aarch64'")
            .requires("this-python; python_full_version == '3.13.5'")
            .requires("other-python; python_full_version != '3.13.5'")
            .requires("windows; sys_platform != 'linux' or os_name != 'posix'")
            .requires("kernel; platform_release != ''"),
    );
    project.context.write("requirements.txt", "app\n");
    project.configure(&STANDARD.replace(COMMAND, ""));
    project.context.succeeds(BUILD);
    for (platform, own, not) in [
        ("linux/amd64", "intel", "arm"),
        ("linux/arm64", "arm", "intel"),
    ] {
        let image = project.image(platform);
        let has = |name: &str| image.has(&format!("{SITE}/{name}/__init__.py"));
        assert!(has(own) && has("this_python"), "{platform}");
        for absent in [not, "other_python", "windows", "kernel"] {
            assert!(!has(absent), "{platform} has {absent}");
        }
    }
}

/// What fits glibc 2.17 fits 2.41 as well, and every version between them is a tag of its own.
#[test]
fn pep_600_tags_not_expanded() {
    for (tags, chosen) in [
        (["manylinux_2_28", "manylinux_2_17"], "manylinux_2_28"),
        (["manylinux2014", "manylinux_2_39"], "manylinux_2_39"),
        (["manylinux_2_41", "manylinux_2_42"], "manylinux_2_41"),
        (["manylinux_2_31", "linux"], "manylinux_2_31"),
    ] {
        let project = Project::standard();
        for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
            for tag in tags {
                let tags = format!("cp313-cp313-{tag}_{machine}");
                project.index.add(&tagged("4.0", architecture, &tags));
            }
        }
        project.build(&[]);
        let lock = project.context.read("oxcart.lock");
        assert!(
            lock.contains(&format!("{chosen}_aarch64.whl")),
            "{tags:?}: {lock}"
        );
        assert_eq!(machine(&project.image("linux/arm64")), 183);
        assert_eq!(machine(&project.image("linux/amd64")), 62);
    }
}

#[test]
fn host_shebangs_in_the_target() {
    let project = Project::standard();
    let scripts = crate::project::demo()
        .data_file("scripts/plain", b"#!python\nprint()\n")
        .data_file("scripts/window", b"#!pythonw\nprint()\n")
        .data_file("scripts/shell", b"#!/bin/sh\ntrue\n");
    project.index.add(&scripts);
    project.build(&[]);
    for platform in PLATFORMS {
        let image = project.image(platform);
        for (script, first) in [
            ("demo", "#!/opt/venv/bin/python"),
            ("plain", "#!/opt/venv/bin/python"),
            ("window", "#!/opt/venv/bin/python"),
            ("shell", "#!/bin/sh"),
        ] {
            let path = format!("opt/venv/bin/{script}");
            assert_eq!(image.text(&path).lines().next(), Some(first), "{script}");
            assert_eq!(image.file(&path).mode, 0o755, "{script}");
        }
        let here = project.context.root().display().to_string();
        for (path, file) in &image.files {
            let holds = file
                .bytes
                .windows(here.len())
                .any(|it| it == here.as_bytes());
            assert!(!holds, "{path} names a path of this machine");
        }
    }
}

#[test]
fn dangling_venv_python() {
    let project = Project::standard();
    project.build(&[]);
    for platform in PLATFORMS {
        let image = project.image(platform);
        for name in ["python", "python3", "python3.13"] {
            let end = followed(&image, &format!("opt/venv/bin/{name}"));
            assert_eq!(end, "usr/bin/python3.13");
        }
        assert!(
            image
                .text("opt/venv/pyvenv.cfg")
                .contains("home = /usr/bin\n")
        );
    }
}

/// Tools that assume a glibc take wheels that the image cannot load, or leave those that it can.
#[test]
fn glibc_default_too_old_or_too_new() {
    let registry = Registry::start();
    for (version, chosen) in [("2.17", "4.0"), ("2.36", "4.1"), ("2.43", "4.2")] {
        let project = Project::standard();
        let repository = format!("base/glibc-{version}");
        put_glibc(&registry, &repository, version);
        for (version, tag) in [("4.0", "2_17"), ("4.1", "2_31"), ("4.2", "2_42")] {
            for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
                let tags = format!("cp313-cp313-manylinux_{tag}_{machine}");
                project.index.add(&tagged(version, architecture, &tags));
            }
        }
        let base = registry.reference(&format!("{repository}:1"));
        project.configure(
            &STANDARD
                .replace("debian:trixie", &base)
                .replace("[config]\nuser = \"nonroot\"\n", "[config]\n"),
        );
        project.build(&[]);
        for platform in PLATFORMS {
            assert_eq!(pins(&project, platform)[2], format!("native {chosen}"));
            let metadata = format!("{SITE}/native-{chosen}.dist-info/METADATA");
            assert!(project.image(platform).has(&metadata), "{version}");
        }
        assert!(
            project
                .context
                .read("oxcart.lock")
                .contains(&format!("libc = \"glibc {version}\""))
        );
    }
}

#[test]
fn a_local_version_on_one_arch_only() {
    let project = Project::standard();
    project.index.add(&tagged(
        "4.0+cpu",
        "amd64",
        "cp313-cp313-manylinux_2_28_x86_64",
    ));
    project.index.add(&tagged(
        "4.0",
        "arm64",
        "cp313-cp313-manylinux_2_28_aarch64",
    ));
    project.index.add(&tagged(
        "4.1+cpu",
        "amd64",
        "cp313-cp313-manylinux_2_28_x86_64",
    ));
    project.context.write("requirements.txt", "native\n");
    project.configure(&STANDARD.replace(COMMAND, ""));
    let run = project.context.succeeds(BUILD);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(pins(&project, "linux/amd64"), ["native 4.0+cpu"]);
    assert_eq!(pins(&project, "linux/arm64"), ["native 4.0"]);
    assert_eq!(machine(&project.image("linux/arm64")), 183);
    assert_eq!(machine(&project.image("linux/amd64")), 62);
    // Asked for by its whole name, it is an error where there is none.
    project
        .context
        .write("requirements.txt", "native==4.0+cpu\n");
    project.context.fails(["lock"]).says(&[
        "the dependencies for linux/arm64 cannot be resolved",
        "no wheel of native 4.0+cpu fits the image",
        "manylinux_2_28_x86_64 is for x86_64, the image is aarch64",
    ]);
}

#[test]
fn an_index_without_hashes() {
    let project = Project::standard();
    let with = project.build(&[]);
    let lock = project.context.read("oxcart.lock");
    std::fs::remove_file(project.context.path("oxcart.lock")).unwrap();
    project
        .index
        .without_hashes()
        .without_metadata()
        .without_json();
    assert_eq!(project.build(&[]), with);
    assert_eq!(
        project.context.read("oxcart.lock"),
        lock,
        "every wheel has its sha256"
    );
}

#[test]
fn musl_falling_to_sdist() {
    let project = Project::standard();
    let registry = Registry::start();
    put_alpine(&registry, "library/alpine");
    let base = registry.reference("library/alpine:1");
    project.configure(
        &STANDARD
            .replace("debian:trixie", &base)
            .replace("[config]\nuser = \"nonroot\"\n", "[config]\n"),
    );
    project
        .index
        .add_file("native", "native-3.1.tar.gz", b"sources");
    project.context.fails(BUILD).says(&[
        "no wheel of native 3.1 fits the image (Linux ",
        "manylinux2014 needs glibc 2.17, the image has musl 1.2",
    ]);
    assert_eq!(project.index.requests("*.tar.gz"), 0);
    // An older wheel for musl is better than the newer sources.
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let tags = format!("cp313-cp313-musllinux_1_1_{machine}");
        project.index.add(&tagged("3.0", architecture, &tags));
    }
    project.build(&[]);
    assert_eq!(pins(&project, "linux/arm64")[2], "native 3.0");
    assert_eq!(machine(&project.image("linux/arm64")), 183);
}

#[test]
fn the_lost_executable_bit() {
    let project = Project::standard();
    let wheel = crate::project::demo()
        .executable("demo/bin/helper", b"#!/bin/sh\n")
        .file_with_mode("demo/private.py", b"", 0o600)
        .file_with_mode("demo/shared.py", b"", 0o666)
        .file_with_mode("demo/bin/own", b"#!/bin/sh\n", 0o700)
        .data_file("scripts/tool", b"#!python\n");
    project.index.add(&wheel);
    project.build(&[]);
    let image = project.image("linux/arm64");
    for (path, mode) in [
        (format!("{SITE}/demo/bin/helper"), 0o755),
        (format!("{SITE}/demo/bin/own"), 0o755),
        (format!("{SITE}/demo/private.py"), 0o644),
        (format!("{SITE}/demo/shared.py"), 0o644),
        ("opt/venv/bin/tool".to_owned(), 0o755),
        ("opt/venv/bin/demo".to_owned(), 0o755),
    ] {
        assert_eq!(image.file(&path).mode, mode, "{path}");
    }
}

#[test]
fn versions_that_diverge_per_architecture() {
    let project = diverging();
    let run = project.context.succeeds(["lock"]);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    let both = ["demo 1.0", "helper 2.0", "native 3.1"];
    assert_eq!(pins(&project, "linux/amd64"), both);
    assert_eq!(pins(&project, "linux/arm64"), both);
    // What agrees in the lock stays, though each alone could have something newer.
    let text = project.context.read("oxcart.lock");
    project.context.succeeds(["lock"]);
    assert_eq!(project.context.read("oxcart.lock"), text);

    depend(
        &project,
        "requirements = [\"requirements.txt\"]\nversions = \"independent\"",
    );
    project.context.fails(["lock", "--check"]);
    project.context.succeeds(["lock", "--upgrade"]);
    assert_eq!(pins(&project, "linux/amd64")[2], "native 3.2");
    assert_eq!(pins(&project, "linux/arm64")[2], "native 3.1");
}

#[test]
fn a_lock_with_no_aarch64_wheel() {
    let project = Project::standard();
    let native = crate::project::native("amd64", "x86_64");
    project.context.write("uv.lock", uv_lock(&project, &native));
    depend(&project, "lock = \"uv.lock\"");
    let run = project.context.fails(["lock"]);
    run.says(&[
        "the dependencies for linux/arm64 cannot be resolved",
        "uv.lock has no wheel of one package that fits the image (Linux aarch64",
        "native 3.1, whose only wheel in the lock is",
        "is for x86_64, the image is aarch64",
        "hint: let uv look for such wheels",
    ]);
}
