//! What builds give: images, in each form of output, and an account of them.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use testkit::{DebBuilder, WheelBuilder};

use crate::project::{BUILD, Image, Project, STANDARD, digest_of, listing};

const SITE: &str = "opt/venv/lib/python3.13/site-packages";

#[test]
fn an_image_has_base_environment_wheels_and_application() {
    let project = Project::standard();
    project.build(&[]);
    for (platform, machine) in [("linux/amd64", 62), ("linux/arm64", 183)] {
        let image = project.image(platform);
        assert_eq!(image.text("app/app/main.py"), "print('hello')\n");
        let script = image.file("opt/venv/bin/demo");
        assert_eq!(script.mode, 0o755);
        assert!(script.bytes.starts_with(b"#!/opt/venv/bin/python"));
        assert_eq!(
            image.file("opt/venv/bin/python").link.as_deref(),
            Some("/usr/bin/python3.13")
        );
        assert_eq!(
            image.text(&format!("{SITE}/helper/__init__.py")),
            "__version__ = \"2.0\"\n"
        );
        let library = image.file(&format!("{SITE}/native/_native.cpython-313.so"));
        assert_eq!((library.bytes[18], library.mode), (machine, 0o755));
        assert_eq!(image.file("usr/bin/python3.13").bytes[18], machine);
        let accounts = image.text("etc/passwd");
        assert!(accounts.contains("\nnonroot:*:65532:65532:"), "{accounts}");
        assert!(
            image
                .text("etc/ssl/certs/ca-certificates.crt")
                .matches("BEGIN CERTIFICATE")
                .count()
                == 2
        );
        assert!(image.has("var/lib/dpkg/status.d/libc6"));
        assert!(image.has("usr/share/doc/libc6/copyright"));
        assert!(!image.has("usr/share/doc/libc6/changelog.Debian.gz"));
        assert!(!image.has("usr/bin/openssl") && !image.has("usr/share/man/man1/python3.13.1.gz"));
    }
}

#[test]
fn only_what_was_asked_for_is_marked_as_requested() {
    let project = Project::standard();
    project.build(&[]);
    let image = project.image("linux/arm64");
    let marked = |wheel: &str| image.has(&format!("{SITE}/{wheel}.dist-info/REQUESTED"));
    assert_eq!(
        [
            marked("demo-1.0"),
            marked("native-3.1"),
            marked("helper-2.0")
        ],
        [true, true, false]
    );
    assert_eq!(
        image
            .text(&format!("{SITE}/demo-1.0.dist-info/INSTALLER"))
            .trim(),
        "oxcart"
    );
}

#[test]
fn the_configuration_says_how_containers_run() {
    let project = Project::standard();
    project.build(&[]);
    let image = project.image("linux/arm64");
    let config = &image.config["config"];
    assert_eq!(config["User"], "nonroot");
    assert_eq!(config["WorkingDir"], "/app");
    assert_eq!(config["Entrypoint"], json!(["/opt/venv/bin/demo"]));
    assert_eq!(config["Cmd"], json!(["--port", "8000"]));
    assert_eq!(config["ExposedPorts"], json!({ "8000/tcp": {} }));
    assert_eq!(config["Labels"], json!({ "team": "demo" }));
    let environment: Vec<_> = config["Env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert!(
        environment
            .iter()
            .any(|it| it.starts_with("PATH=/opt/venv/bin:/usr/local/sbin:"))
    );
    assert!(environment.contains(&"VIRTUAL_ENV=/opt/venv"));
    assert!(environment.contains(&"PYTHONUNBUFFERED=1"));
    assert_eq!(
        (&image.config["os"], &image.config["architecture"]),
        (&json!("linux"), &json!("arm64"))
    );
    assert_eq!(image.config["created"], "1980-01-01T00:00:00Z");
    let index: Value = serde_json::from_str(&project.context.read("image/index.json")).unwrap();
    assert_eq!(
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
        "latest"
    );
}

#[test]
fn every_output_has_the_same_image() {
    let project = Project::standard();
    let digest = project.build(&[
        "--output",
        "oci-archive:all.tar",
        "--tag",
        "v1",
        "--tag",
        "v2",
    ]);
    let run = project
        .context
        .succeeds(["build", "--output", "-", "--tag", "v1", "--tag", "v2"]);
    assert!(
        run.stdout_bytes == fs::read(project.context.path("all.tar")).unwrap(),
        "stdout differs"
    );
    run.says(&[digest.as_str()]);
    let layout = project.image("linux/arm64");
    let archive = Image::open(&project.context.path("all.tar"), "linux/arm64");
    assert_eq!(layout.config, archive.config);
    assert!(layout.files == archive.files);

    let arguments = [
        "build",
        "--platform",
        "linux/arm64",
        "--output",
        "docker-archive:one.tar",
    ];
    project.context.succeeds(arguments);
    let docker = Image::open(&project.context.path("one.tar"), "linux/arm64");
    assert_eq!(docker.config, layout.config);
    let mut tar = tar::Archive::new(fs::File::open(project.context.path("one.tar")).unwrap());
    let manifest = tar.entries().unwrap().map(Result::unwrap);
    let manifest = manifest
        .into_iter()
        .find(|it| it.path().unwrap().as_os_str() == "manifest.json");
    let manifest: Value = serde_json::from_reader(manifest.unwrap()).unwrap();
    assert_eq!(
        manifest[0]["RepoTags"],
        json!(["registry.example/team/demo:latest"])
    );

    let index: Value = serde_json::from_str(&project.context.read("image/index.json")).unwrap();
    let names: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            it["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(names, ["v1", "v2"]);
}

#[test]
fn a_docker_archive_takes_one_platform() {
    let project = Project::standard();
    let run = project
        .context
        .fails(["build", "--output", "docker-archive:image.tar"]);
    run.says(&["2 platforms", "hint: add --platform"]);
    assert!(project.requests().is_empty(), "that could be said at once");
    assert!(!project.context.path("image.tar").exists());
}

#[test]
fn one_platform_of_several() {
    let project = Project::standard();
    project.build(&["--platform", "linux/arm64"]);
    let reader = oci::LayoutReader::open(&project.context.path("image")).unwrap();
    let report = oci::validate(&reader).unwrap();
    let platforms: Vec<_> = report
        .images
        .iter()
        .map(|it| it.platform.as_str())
        .collect();
    assert_eq!(platforms, ["linux/arm64"]);
    let run = project
        .context
        .fails(["build", "--platform", "linux/arm/v7"]);
    run.says(&["the project is not built for linux/arm/v7", "hint:"]);
}

#[test]
fn a_32_bit_platform() {
    let project = Project::standard();
    project.configure(&STANDARD.replace("\"linux/amd64\", \"linux/arm64\"", "\"linux/arm/v7\""));
    project.build(&[]);
    let image = project.image("linux/arm/v7");
    assert_eq!(
        (&image.config["architecture"], &image.config["variant"]),
        (&json!("arm"), &json!("v7"))
    );
    assert_eq!(
        image
            .file(&format!("{SITE}/native/_native.cpython-313.so"))
            .bytes[18],
        40
    );
}

#[test]
fn the_metadata_file_accounts_for_everything() {
    let project = Project::standard();
    let document = project.build_with_metadata(&[]);
    let run = project.context.succeeds(BUILD);
    assert_eq!(document["digest"], digest_of(&run));
    assert_eq!(document["name"], "registry.example/team/demo");
    assert!(
        document["bytes_downloaded"].as_u64().unwrap() > 10_000,
        "{document}"
    );
    assert_eq!(
        (&document["bytes_uploaded"], &document["warnings"]),
        (&json!(0), &json!([]))
    );
    for part in ["lock", "fetch", "layers", "total"] {
        assert!(
            document["seconds"][part]
                .as_f64()
                .is_some_and(|it| it >= 0.0),
            "{part}: {document}"
        );
    }
    for platform in ["linux/amd64", "linux/arm64"] {
        let image = project.image(platform);
        let layers = document["platforms"][platform]["layers"]
            .as_array()
            .unwrap();
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|layer| layer["diff_id"].clone())
            .collect();
        assert_eq!(image.config["rootfs"]["diff_ids"], json!(diff_ids));
        let kinds: Vec<_> = layers
            .iter()
            .map(|layer| layer["kind"].as_str().unwrap())
            .collect();
        assert_eq!((kinds.first(), kinds.last()), (Some(&"base"), Some(&"app")));
        let members: BTreeSet<_> = layers
            .iter()
            .filter(|layer| layer["kind"] == "wheel")
            .flat_map(|layer| layer["members"].as_array().unwrap())
            .map(|member| member.as_str().unwrap())
            .collect();
        assert_eq!(members, ["demo 1.0", "helper 2.0", "native 3.1"].into());
    }
    assert_eq!(states(&document), ["built"].into());
}

/// The states of all layers.
fn states(document: &Value) -> BTreeSet<&str> {
    let platforms = document["platforms"].as_object().unwrap().values();
    let layers = platforms.flat_map(|platform| platform["layers"].as_array().unwrap());
    layers
        .map(|layer| layer["state"].as_str().unwrap())
        .collect()
}

#[test]
fn a_second_build_asks_nobody() {
    let project = Project::standard();
    let first = project.build_with_metadata(&[]);
    project.forget_requests();
    let second = project.build_with_metadata(&["--locked"]);
    assert_eq!(project.requests(), [""; 0]);
    assert_eq!(
        (&second["bytes_downloaded"], &second["digest"]),
        (&json!(0), &first["digest"])
    );
    assert_eq!(states(&second), ["stored"].into());
}

#[test]
fn no_cache_builds_again_from_what_is_stored() {
    let project = Project::standard();
    let first = project.build_with_metadata(&[]);
    project.forget_requests();
    let second = project.build_with_metadata(&["--no-cache"]);
    assert_eq!(project.requests(), [""; 0]);
    assert_eq!(
        (&second["bytes_downloaded"], &second["digest"]),
        (&json!(0), &first["digest"])
    );
    assert_eq!(states(&second), ["built"].into());
}

#[test]
fn only_what_changed_is_built() {
    let project = Project::standard();
    let first = project.build_with_metadata(&[]);
    project.context.write("app/main.py", "print('changed')\n");
    let second = project.build_with_metadata(&[]);
    assert_ne!(first["digest"], second["digest"]);
    for layer in second["platforms"]["linux/arm64"]["layers"]
        .as_array()
        .unwrap()
    {
        let expected = if layer["kind"] == "app" {
            "built"
        } else {
            "stored"
        };
        assert_eq!(layer["state"], expected, "{layer}");
    }
}

#[test]
fn two_builds_share_a_store() {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let runs = ["one", "two", "three"].map(|name| {
        project
            .context
            .start(["build", "--locked", "--output", &format!("oci:{name}")])
    });
    let digests = runs.map(|run| {
        let run = run.wait();
        assert_eq!(run.status, Some(0), "{}", run.account());
        digest_of(&run)
    });
    assert!(
        digests[0] == digests[1] && digests[1] == digests[2],
        "{digests:?}"
    );
    for name in ["one", "two", "three"] {
        Image::open(&project.context.path(name), "linux/arm64");
    }
    project.assert_store_is_whole();
    assert_eq!(
        project.index.requests("*/demo-1.0-py3-none-any.whl"),
        1,
        "it is fetched once"
    );
}

#[test]
fn a_profile_has_its_own_dependencies_and_lock() {
    let project = Project::standard();
    project.index.add(&WheelBuilder::simple("debugger", "0.1"));
    project
        .context
        .write("requirements.dev.txt", "-r requirements.txt\ndebugger\n");
    let profile = "\n[profile.dev.dependencies]\nrequirements = [\"requirements.dev.txt\"]\nindex = \"$INDEX\"\n";
    project.configure(&format!("{STANDARD}{profile}"));
    let module = format!("{SITE}/debugger/__init__.py");
    let plain = project.build(&[]);
    assert!(!project.image("linux/arm64").has(&module));
    assert!(!project.context.path("oxcart.dev.lock").exists());
    let dev = project.build(&["--profile", "dev"]);
    assert_ne!(plain, dev);
    let image = project.image("linux/arm64");
    assert!(image.has(&module) && image.has("opt/venv/bin/demo"));
    assert!(project.context.read("oxcart.dev.lock").contains("debugger"));
    assert!(!project.context.read("oxcart.lock").contains("debugger"));
    let run = project.context.fails(["build", "--profile", "dve"]);
    run.says(&["[profile.dve]", "did you mean `dev`?"]);
}

#[test]
fn a_platform_has_its_own_dependencies() {
    let project = Project::standard();
    project.index.add(&WheelBuilder::simple("board", "0.1"));
    project.context.write("requirements.board.txt", "board\n");
    let table = "\n[platform.\"linux/arm64\".dependencies]\n\
        requirements = [\"requirements.board.txt\"]\nindex = \"$INDEX\"\n";
    project.configure(&format!("{STANDARD}{table}"));
    // arm64 has no wheel with the command.
    project.build(&["--no-check"]);
    let has = |platform: &str, module: &str| {
        project
            .image(platform)
            .has(&format!("{SITE}/{module}/__init__.py"))
    };
    assert_eq!(
        [has("linux/amd64", "demo"), has("linux/amd64", "board")],
        [true, false]
    );
    assert_eq!(
        [has("linux/arm64", "demo"), has("linux/arm64", "board")],
        [false, true]
    );
}

#[test]
fn markers_are_those_of_the_image() {
    let project = Project::standard();
    let requirements = "demo\n\
        native ; platform_machine == 'aarch64'\n\
        absent ; sys_platform == 'win32' or python_version < '3.13'\n\
        helper ; python_full_version == '3.13.5' and platform_machine == 'x86_64'\n";
    project.context.write("requirements.txt", requirements);
    project.build(&[]);
    let native = format!("{SITE}/native/__init__.py");
    assert_eq!(
        [
            project.image("linux/amd64").has(&native),
            project.image("linux/arm64").has(&native)
        ],
        [false, true]
    );
}

#[test]
fn application_files_are_those_that_dockerignore_leaves() {
    let project = Project::standard();
    let context = &project.context;
    context.write("app/static/style.css", "body {}\n");
    context.write("app/tests/test_main.py", "assert False\n");
    context.write("app/.env", "SECRET=1\n");
    context.write("app/__pycache__/main.cpython-313.pyc", "x");
    context.write("app/notes/keep.md", "kept\n");
    context.write("app/notes/drop.md", "dropped\n");
    context.write(
        ".dockerignore",
        "# comment\n**/.env\napp/notes/*\n!app/notes/keep.md\n",
    );
    project.configure(&STANDARD.replace(
        "source = \"app\"",
        "source = \"app\"\nexclude = [\"tests\"]",
    ));
    project.build(&[]);
    let image = project.image("linux/arm64");
    let files: Vec<_> = image
        .files
        .keys()
        .filter(|path| path.starts_with("app/app/") && path.contains('.'))
        .map(String::as_str)
        .collect();
    assert_eq!(
        files,
        [
            "app/app/main.py",
            "app/app/notes/keep.md",
            "app/app/static/style.css"
        ]
    );
    let file = image.file("app/app/main.py");
    assert_eq!(
        (file.mode, file.owner, file.mtime),
        (0o644, (0, 0), oci::SHARED_MTIME)
    );
}

#[test]
fn system_packages_are_a_layer_above_the_base() {
    let project = Project::standard();
    let extra = DebBuilder::new("libextra1", "1.2-3", "all")
        .depends("libgomp1, libc6 (>= 2.30)")
        .file("usr/lib/libextra.so.1", b"extra")
        .file("usr/share/doc/libextra1/copyright", b"c");
    project.archive.add(&extra);
    project.configure(&format!(
        "{STANDARD}\n[system]\npackages = [\"libextra1\"]\n"
    ));
    let document = project.build_with_metadata(&[]);
    let layer = &document["platforms"]["linux/arm64"]["layers"][1];
    assert_eq!(layer["kind"], "system");
    assert_eq!(
        layer["members"],
        json!(["libextra1 1.2-3", "libgomp1 14.2.0-19"])
    );
    let image = project.image("linux/arm64");
    assert!(
        image.has("usr/lib/libextra.so.1") && image.has("usr/lib/aarch64-linux-gnu/libgomp.so.1")
    );
    assert!(image.has("var/lib/dpkg/status.d/libextra1"));
}

#[test]
fn security_updates_win() {
    let project = Project::standard();
    let fixed = DebBuilder::new("tzdata", "2099a-0+deb13u1", "all")
        .file("usr/share/zoneinfo/Etc/UTC", b"new");
    project.archive.add_to("trixie-security", &fixed);
    project.build(&[]);
    assert_eq!(
        project
            .image("linux/arm64")
            .text("usr/share/zoneinfo/Etc/UTC"),
        "new"
    );
    assert!(
        project
            .context
            .read("oxcart.lock")
            .contains("2099a-0+deb13u1")
    );
}

#[test]
fn a_script_that_would_have_run_is_told() {
    let project = Project::standard();
    let daemon = DebBuilder::new("daemon", "1", "all")
        .file("usr/sbin/daemon", b"#!/bin/sh\n")
        .postinst("#!/bin/sh\nset -e\nadduser --system daemon\n");
    project.archive.add(&daemon);
    project.configure(&format!("{STANDARD}\n[system]\npackages = [\"daemon\"]\n"));
    let document = project.build_with_metadata(&[]);
    let warnings = document["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].as_str().unwrap().contains("daemon"),
        "{warnings:?}"
    );
    // Known layers say it again.
    assert_eq!(
        &project.build_with_metadata(&[])["warnings"],
        &document["warnings"]
    );
}

#[test]
fn wheels_that_share_a_path_are_told() {
    let project = Project::standard();
    project
        .index
        .add(&WheelBuilder::simple("clash", "1").file("demo/data.txt", b"another\n"));
    project
        .context
        .write("requirements.txt", "demo\nclash\nnative\n");
    project.context.fails(BUILD).says(&[
        "owned-twice: /opt/venv/lib/python3.13/site-packages/demo/data.txt (clash 1)",
        "is in clash 1 and in demo 1.0, and it differs",
    ]);
    let document = project.build_with_metadata(&["--no-check", "--no-cache"]);
    // Of two layers the upper one's is seen.
    let layers = document["platforms"]["linux/arm64"]["layers"].to_string();
    let (demo, clash) = (
        layers.find("demo 1.0").unwrap(),
        layers.find("clash 1").unwrap(),
    );
    let expected = if demo < clash { "another\n" } else { "a line" };
    assert!(
        project
            .image("linux/arm64")
            .text(&format!("{SITE}/demo/data.txt"))
            .starts_with(expected)
    );
}

#[test]
fn a_layout_keeps_the_images_of_other_tags() {
    let project = Project::standard();
    let first = project.build(&["--tag", "one"]);
    project.context.write("app/main.py", "print('two')\n");
    let second = project.build(&["--tag", "two"]);
    let index: Value = serde_json::from_str(&project.context.read("image/index.json")).unwrap();
    let digests: BTreeSet<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["digest"].as_str().unwrap())
        .collect();
    assert_eq!(digests, [first.as_str(), &second].into());
    oci::validate(&oci::LayoutReader::open(&project.context.path("image")).unwrap()).unwrap();
}

#[test]
fn credentials_stay_out_of_lock_image_and_messages() {
    let project = Project::standard();
    project.index.require_credentials("robot", "s3cret-word");
    let url = project.index.url_with_credentials("robot", "s3cret-word");
    project.configure(&STANDARD.replace("$INDEX", &url));
    let run = project
        .context
        .succeeds(BUILD.iter().chain(&["--metadata-file", "metadata.json"]));
    assert!(!run.account().contains("s3cret-word"), "{}", run.account());
    let out = ["oxcart.toml", "test-archive-keyring.asc"];
    for name in listing(project.context.project())
        .iter()
        .filter(|name| !out.contains(&name.as_str()))
    {
        let bytes = fs::read(project.context.path(name)).unwrap();
        assert!(
            !String::from_utf8_lossy(&bytes).contains("s3cret-word"),
            "{name}"
        );
    }
    project.configure(&STANDARD.replace("$INDEX", &url.replace("s3cret-word", "wr0ng-word")));
    fs::remove_file(project.context.path("oxcart.lock")).unwrap();
    let run = project.context.fails(BUILD);
    assert!(!run.account().contains("wr0ng-word"), "{}", run.account());
    run.says(&["credentials"]);
}

#[test]
fn a_layer_is_used_though_its_wheel_is_no_longer_stored() {
    let project = Project::standard();
    let gzip = STANDARD.replace("[image]", "[image]\ncompression = \"gzip:6\"");
    project.configure(&gzip);
    project.build(&[]);
    let store = project.context.store().join("blobs/sha256");
    let demo = store.join(crate::project::demo().sha256());
    // Some of these share demo's layer, and have its wheel fetched again; the others leave it alone.
    let mut left_alone = 0;
    for number in 0..8 {
        if demo.exists() {
            fs::remove_file(&demo).unwrap();
        }
        let name = format!("extra{number}");
        project.index.add(&WheelBuilder::simple(&name, "1.0"));
        let path = project.context.path("requirements.txt");
        let requirements = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{requirements}\n{name}\n")).unwrap();
        project.build(&[]);
        left_alone += u32::from(!demo.exists());
    }
    assert!(left_alone > 0);
}
