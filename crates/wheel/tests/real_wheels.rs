//! Wheels as they are found in the wild, installed by us and by uv: the two must agree.
//!
//! `OXCART_TEST_WHEELS` names a directory of wheels. Without it there is nothing to install, and
//! the test says so.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "clippy.toml allows them in tests, and helpers of an integration test do not count"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use oci::{Archived, Checksum, Content, Digest, Kind, Source, Tree, TreePath};
use wheel::{Implementation, InstallOptions, Limits, RecordPolicy, Venv, Wheel, WheelFilename};

#[test]
fn real_wheels_install_as_uv_installs_them() {
    let Some(directory) = std::env::var_os("OXCART_TEST_WHEELS") else {
        eprintln!("SKIPPED: OXCART_TEST_WHEELS names no directory of wheels");
        return;
    };
    let wheels = wheels_in(Path::new(&directory));
    let scratch = tempfile::tempdir().unwrap();
    // Both environments are at one path, so that first lines can be compared; uv's is moved away.
    let prefix = scratch.path().join("venv");
    let venv = Venv {
        prefix: TreePath::new(prefix.to_str().unwrap()).unwrap(),
        python: "3.13.0".parse().unwrap(),
        interpreter: "/usr/bin/python3.13".to_owned(),
        implementation: Implementation::CPython,
    };
    let uvs = uv_environment(&prefix, &wheels);
    let mut failed = Vec::new();
    let start = std::time::Instant::now();
    let mut tree = venv.skeleton();
    for path in &wheels {
        match install(path, &venv) {
            Ok(files) => merge(&mut tree, files, &mut failed),
            Err(error) => failed.push(error),
        }
    }
    let trees = start.elapsed();
    check_checksums(&tree, &mut failed);
    let ours = scratch.path().join("ours");
    std::fs::create_dir(&ours).unwrap();
    testkit::materialise(&tree, &ours).unwrap();
    let ours = ours.join(venv.prefix.as_str());
    let differences = testkit::compare_with_uv(&ours, &uvs).unwrap();
    let (wheels, entries) = (wheels.len(), tree.len());
    eprintln!("{wheels} wheels to {entries} entries in {trees:?}");
    assert!(
        failed.is_empty() && differences.is_empty(),
        "failed:\n{}\ndifferences:\n{}",
        failed.join("\n"),
        differences.join("\n")
    );
}

/// What an encoder would do: every file has the checksum that RECORD gives for it.
fn check_checksums(tree: &Tree, failed: &mut Vec<String>) {
    for (path, entry) in tree.iter() {
        let Kind::File(content) = &entry.kind else {
            continue;
        };
        if let Content::Archived(Archived { checksum, .. }) = content
            && let Some((Checksum::Sha256(expected), _)) = checksum
            && *Digest::of(&testkit::read_content(content).unwrap()).as_bytes() != *expected
        {
            failed.push(format!("{}: checksum of {path}", entry.origin));
        }
    }
}

fn wheels_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut wheels: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    wheels.retain(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheels.sort();
    wheels
}

fn install(path: &Path, venv: &Venv) -> Result<Tree, String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let filename: WheelFilename = name.parse().map_err(|error| format!("{error}"))?;
    let source = Source::open(path, name, None).unwrap();
    let wheel = Wheel::open(source, &filename, &Limits::default());
    let wheel = wheel.map_err(|error| format!("{error:#}"))?;
    let installed = wheel
        .install(venv, &InstallOptions::default())
        .or_else(|error| {
            eprintln!("with `record = \"warn\"`: {error}");
            let options = InstallOptions {
                record: RecordPolicy::Warn,
                ..Default::default()
            };
            wheel
                .install(venv, &options)
                .map_err(|error| error.to_string())
        })?;
    installed
        .warnings
        .iter()
        .for_each(|warning| eprintln!("{warning}"));
    Ok(installed.tree)
}

/// Later wheels win, as they do when they are installed in that order.
fn merge(tree: &mut Tree, files: Tree, failed: &mut Vec<String>) {
    for (path, entry) in files {
        if entry.kind == Kind::Directory {
            continue;
        }
        match tree.replace(path.clone(), entry.clone()) {
            Ok(Some(previous)) if !previous.is_same_as(&entry) => {
                eprintln!("{path} is in {} and in {}", previous.origin, entry.origin);
            }
            Ok(_) => {}
            Err(error) => failed.push(error.to_string()),
        }
    }
}

/// Where uv's environment with `wheels` is now; it was made at `prefix`.
fn uv_environment(prefix: &Path, wheels: &[PathBuf]) -> PathBuf {
    let run = |command: &mut Command| {
        let output = command.output().expect("uv is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(Command::new("uv")
        .args(["venv", "--quiet", "--python", "3.13"])
        .arg(prefix));
    run(Command::new("uv")
        .args([
            "pip",
            "install",
            "--no-deps",
            "--no-index",
            "--link-mode=copy",
            "--no-cache",
        ])
        .args(["--python-platform", "aarch64-manylinux_2_28", "--python"])
        .arg(prefix.join("bin/python"))
        .args(wheels));
    let moved = prefix.with_file_name("uv");
    std::fs::rename(prefix, &moved).unwrap();
    moved
}
