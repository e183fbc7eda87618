//! `oxcart check`, and the proof that every build makes before it writes or pushes anything.

use std::fs;

use serde_json::Value;
use testkit::{ElfBuilder, Registry, WheelBuilder};

use crate::locks::{depend, uv_lock};
use crate::project::{BUILD, Project, demo, listing};
use crate::samples::{Sample, oxcart, succeed};
use crate::skip::{Need, left_out};

/// `native` for both platforms, and for arm64 with a library of `architecture`.
fn with_library_of(architecture: &str) -> Project {
    let project = Project::standard();
    let wheel = WheelBuilder::simple("crossed", "1.0");
    for (own, machine) in [("amd64", "x86_64"), (architecture, "aarch64")] {
        let tags = format!("cp313-cp313-manylinux_2_17_{machine}");
        let library = ElfBuilder::new(own).build();
        let wheel = wheel.clone().tags(&tags);
        project
            .index
            .add(&wheel.executable("crossed/_native.cpython-313.so", &library));
    }
    project
        .context
        .write("requirements.txt", "demo==1.0\ncrossed\n");
    project
}

/// The document of `check --json` on the image of the project.
fn report(project: &Project, arguments: &[&str]) -> (bool, Value) {
    let run = project
        .context
        .run(["check", "--json"].iter().chain(arguments));
    (
        run.status == Some(0),
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.account())),
    )
}

#[test]
fn an_amd64_library_in_an_arm64_image_is_not_built() {
    let project = with_library_of("amd64");
    let run = project.context.fails(BUILD);
    run.says(&[
        "linux/arm64: wrong-architecture: ",
        "/crossed/_native.cpython-313.so (crossed 1.0) is for x86-64 (64-bit), and the image for linux/arm64",
        "error: a fault in the image: it is neither written nor pushed",
        "--no-check",
    ]);
    assert_eq!(run.stdout, "");
    project.assert_nothing_half_written();

    project.build(&["--no-check"]);
    let run = project.context.run(["check", "oci:image"]);
    assert_eq!(run.status, Some(1), "{}", run.account());
    assert!(run.stdout.contains("linux/amd64"), "{}", run.account());
    assert!(
        run.stdout.contains("  fault: wrong-architecture: "),
        "{}",
        run.account()
    );
    let (good, json) = report(&project, &["oci:image"]);
    assert!(!good);
    let platforms = json["platforms"].as_array().unwrap();
    let findings: Vec<_> = platforms
        .iter()
        .map(|it| it["findings"].as_array().unwrap())
        .collect();
    assert_eq!((findings[0].len(), findings[1].len()), (0, 1), "{json:#}");
    assert_eq!(findings[1][0]["code"], "wrong-architecture");
    assert_eq!(findings[1][0]["severity"], "fault");
    assert_eq!(findings[1][0]["owner"], "crossed 1.0");
    let (good, json) = report(&project, &["oci:image", "--platform", "linux/amd64"]);
    assert!(good, "{json:#}");

    let mended = with_library_of("arm64");
    mended.build(&[]);
    let (good, json) = report(&mended, &["oci:image"]);
    assert!(good, "{json:#}");
    assert_eq!(json["platforms"][1]["platform"], "linux/arm64");
    assert!(
        json["platforms"][1]["proven"]["elf-files"].as_u64() > Some(5),
        "{json:#}"
    );
}

#[test]
fn a_faulty_image_is_not_pushed() {
    let project = with_library_of("amd64");
    let registry = Registry::start();
    let name = registry.reference("team/demo");
    project
        .context
        .fails(["build", "--push", "--name", &name])
        .says(&["it is neither written nor pushed"]);
    assert!(registry.blobs("team/demo").is_empty());
    assert!(registry.manifest("team/demo", "latest").is_none());
    project
        .context
        .succeeds(["build", "--push", "--no-check", "--name", &name]);
    let run = project.context.run(["check", &format!("{name}:latest")]);
    assert_eq!(run.status, Some(1), "{}", run.account());
    assert!(
        run.stdout.contains("fault: wrong-architecture"),
        "{}",
        run.account()
    );
    registry.assert_conformant();
}

#[test]
fn archives_are_read_too() {
    let project = Project::standard();
    project
        .context
        .succeeds(["build", "--output", "oci-archive:image.tar"]);
    let (good, json) = report(&project, &["oci-archive:image.tar"]);
    assert!(good, "{json:#}");
    project
        .context
        .fails([
            "check",
            "oci-archive:image.tar",
            "--platform",
            "linux/arm/v7",
        ])
        .says(&["no image that could be checked"]);
    project
        .context
        .fails(["check", "nothing-here"])
        .says(&["there is no image at nothing-here"]);
}

#[test]
fn a_layer_is_looked_into_once_and_an_image_is_proven_once() {
    let project = Project::standard();
    project.build(&[]);
    let store = project.context.store();
    let listings = listing(&store.join("listings"));
    assert!(listings.len() >= 5, "{listings:?}");
    assert_eq!(
        listing(&store.join("proofs")).len(),
        4,
        "for each platform by its layers, and by what was seen of them"
    );
    fs::remove_dir_all(store.join("listings")).unwrap();
    project.build(&["--output", "oci:again"]);
    assert_eq!(
        listing(&store.join("listings")),
        [""; 0],
        "the proof is known"
    );
    fs::remove_dir_all(store.join("proofs")).unwrap();
    project.context.succeeds(["check", "oci:again"]);
    assert_eq!(listing(&store.join("listings")), listings);
}

#[test]
fn what_is_seen_of_a_layer_while_it_is_built_is_what_its_blob_holds() {
    let project = Project::standard();
    project.build(&[]);
    let store = project.context.store();
    let read = || -> Vec<(String, Vec<u8>)> {
        let listings = store.join("listings");
        let files = listing(&listings).into_iter();
        files
            .map(|name| {
                let bytes = fs::read(listings.join(&name)).unwrap();
                (name, bytes)
            })
            .collect()
    };
    let seen = read();
    fs::remove_dir_all(store.join("listings")).unwrap();
    fs::remove_dir_all(store.join("proofs")).unwrap();
    project.build(&["--output", "oci:again"]);
    assert!(read() == seen);
    assert!(seen.len() >= 5, "{}", seen.len());
}

#[test]
fn an_image_is_proven_again_where_more_than_bytes_of_its_own_files_change() {
    let project = Project::standard();
    project.build(&[]);
    let proofs = || listing(&project.context.store().join("proofs")).len();
    let first = proofs();
    project
        .context
        .write("app/main.py", "print('the same files')\n");
    project.build(&[]);
    assert_eq!(proofs(), first, "the same was seen of it");
    project.context.write(
        "app/main.py",
        "print('a layer that was not looked into yet')\n",
    );
    project.build(&["--no-check"]);
    project.build(&[]);
    assert_eq!(proofs(), first, "the same is seen of it");
    project.context.write("app/more.py", "");
    project.build(&[]);
    assert_eq!(proofs(), 2 * first, "a file was added");
    project.context.write("app/more.py", "#!/usr/bin/nothing\n");
    project.build(&[]);
    assert_eq!(proofs(), 3 * first, "a script's interpreter is read");
}

#[test]
fn the_samples_have_no_fault() {
    if left_out(Need::Network) {
        return;
    }
    for sample in [Sample::Hello, Sample::Ml] {
        let built = sample.built();
        let mut check = oxcart();
        check.args(["check", "--json"]).arg(built.layout());
        let json: Value = serde_json::from_str(&succeed(&mut check)).unwrap();
        let platforms = json["platforms"].as_array().unwrap();
        assert_eq!(platforms.len(), 2);
        for platform in platforms {
            let proven = &platform["proven"];
            assert!(proven["elf-files"].as_u64() > Some(100), "{proven}");
            for finding in platform["findings"].as_array().unwrap() {
                let hint = finding["hint"].as_str().unwrap();
                assert_eq!(finding["severity"], "note", "{finding:#}");
                assert!(!hint.is_empty(), "{finding:#}");
            }
        }
    }
}

#[test]
fn what_the_project_says_against_metadata_is_no_fault() {
    let check = |dependencies: &str, files: &[(&str, &str)], by: &str| {
        let project = Project::standard();
        project.index.add(&WheelBuilder::simple("helper", "1.0"));
        for (name, text) in files {
            project.context.write(name, *text);
        }
        depend(&project, dependencies);
        project.build(&[]);
        let (good, json) = report(&project, &["oci:image"]);
        assert!(good, "{json:#}");
        for platform in json["platforms"].as_array().unwrap() {
            let findings = platform["findings"].as_array().unwrap();
            assert_eq!(findings.len(), 1, "{json:#}");
            assert_eq!(findings[0]["code"], "missing-requirement");
            assert_eq!(findings[0]["severity"], "note");
            let hint = findings[0]["hint"].as_str().unwrap();
            assert!(hint.ends_with(&format!(": {by}")), "{hint}");
        }
        // Elsewhere nothing tells of it.
        let image = project.context.path("image");
        let (good, json) = report(&Project::empty(), &[image.to_str().unwrap()]);
        assert!(!good, "{json:#}");
    };
    let own = "requirements = [\"requirements.txt\"]\n";
    check(
        &format!("{own}overrides = [\"helper==1.0\"]"),
        &[],
        "override helper==1.0",
    );
    check(
        &format!("{own}exclude = [\"Helper\"]"),
        &[],
        "exclude helper",
    );
    let pyproject = |tool: &str| {
        format!(
            "[project]\nname = \"app\"\nversion = \"0\"\ndependencies = [\"demo==1.0\"]\n[tool.uv]\n{tool}\n"
        )
    };
    check(
        "pyproject = true",
        &[(
            "pyproject.toml",
            &pyproject("override-dependencies = [\"helper==1.0\"]"),
        )],
        "override helper==1.0 of [tool.uv]",
    );
    check(
        "pyproject = true",
        &[(
            "pyproject.toml",
            &pyproject("exclude-dependencies = [\"helper\"]"),
        )],
        "exclude helper of [tool.uv]",
    );
}

#[test]
fn what_a_uv_lock_was_made_with_is_no_fault() {
    for (manifest, by) in [
        (
            "overrides = [{ name = \"helper\", specifier = \"==1.0\", marker = \"sys_platform == 'win32'\" }]",
            "override helper==1.0 of uv.lock",
        ),
        ("excludes = [\"helper\"]", "exclude helper of uv.lock"),
        (
            "[[manifest.dependency-metadata]]\nname = \"demo\"\nversion = \"1.0\"",
            "dependency-metadata demo of uv.lock",
        ),
    ] {
        let project = Project::standard();
        let lock = uv_lock(&project, &demo());
        project
            .context
            .write("uv.lock", format!("{lock}[manifest]\n{manifest}\n"));
        depend(&project, "lock = \"uv.lock\"");
        project.build(&[]);
        let (good, json) = report(&project, &["oci:image"]);
        assert!(good, "{json:#}");
        let hint = json["platforms"][1]["findings"][0]["hint"]
            .as_str()
            .unwrap();
        assert!(hint.ends_with(&format!(": {by}")), "{hint}");
        // What was not replaced is a fault.
        project.context.write("uv.lock", lock);
        project
            .context
            .fails(BUILD)
            .says(&["missing-requirement", "requires helper"]);
    }
}
