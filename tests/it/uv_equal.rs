//! The environment in an image equals the one that uv makes of the same wheels.
//!
//! uv runs in a root directory of its own, the `hello` image's base, where it makes a virtual
//! environment at the image's prefix with the image's Python. What is for arm64 it installs there
//! too, below another prefix, because it needs a Python that runs.
//!
//! The differences that are meant: INSTALLER says `oxcart`; uv compares launchers' suffixes in other
//! words; uv keeps `uv_cache.json`; uv's environment has activation scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use oci::{Digest, Platform};

use crate::once::Once;
use crate::samples::{Built, Sample, enter, oracle, store, succeed};
use crate::skip::{Need, left_out};

#[test]
fn the_amd64_environment_equals_uvs() {
    check(Platform::Amd64, "opt/venv");
}

#[test]
fn the_arm64_environment_equals_uvs() {
    check(Platform::Arm64, "opt/arm64");
}

const SITE_PACKAGES: &str = "lib/python3.13/site-packages";

fn check(platform: Platform, prefix: &str) {
    if left_out(Need::Network) {
        return;
    }
    let built = Sample::Ml.built();
    let wheels = built.wheels(platform).len();
    assert!(wheels >= 60, "only {wheels} wheels");
    let uv = uv_root(&built);
    let bundle = built.bundle(platform);
    let ours = Environment::read(&bundle.rootfs().join("opt/venv"));
    let theirs = Environment::read(&uv.path().join("root").join(prefix));
    assert_eq!(
        theirs.records.len(),
        wheels,
        "distributions that uv installed"
    );
    assert!(
        theirs.files.len() > 10_000 && theirs.launchers.len() > 20,
        "nothing to compare"
    );
    differences("files", &ours.files, &theirs.files);
    differences("launchers", &ours.launchers, &theirs.launchers);
    differences("records", &ours.records, &theirs.records);
    differences("requested", &requested(&built, platform), &ours.requested);
}

/// Names the entries that differ, and only those.
fn differences<T: PartialEq + std::fmt::Debug>(
    what: &str,
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
) {
    let paths: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differ: Vec<_> = paths
        .into_iter()
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| {
            format!(
                "{path}:\n  ours   {:?}\n  theirs {:?}",
                ours.get(path),
                theirs.get(path)
            )
        })
        .collect();
    let shown = differ
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        differ.is_empty(),
        "{} {what} differ of {}:\n{shown}",
        differ.len(),
        ours.len()
    );
}

/// A root directory in which uv installed the wheels of both platforms.
fn uv_root(built: &Built) -> Once {
    Once::get("uv-equal", |path| {
        let root = path.join("root");
        let base = Sample::Hello.built().bundle(Platform::Amd64);
        succeed(Command::new("cp").arg("-a").arg(base.rootfs()).arg(&root));
        fs::remove_dir_all(root.join("opt/venv")).expect("the environment");
        fs::copy(oracle("uv"), root.join("uv")).expect("uv");
        let uv = |arguments: &[&str]| {
            let mut command = enter(&root, "/", (0, 0), "/uv");
            command
                .env_clear()
                .env("UV_CACHE_DIR", "/uv-cache")
                .env("UV_LINK_MODE", "copy");
            succeed(command.env("UV_PYTHON_DOWNLOADS", "never").args(arguments));
        };
        uv(&[
            "venv",
            "--quiet",
            "--python",
            "/usr/bin/python3.13",
            "/opt/venv",
        ]);
        let install = |platform: Platform, options: &[&str]| {
            let wheels = link_wheels(built, platform, &root);
            let mut arguments = vec!["pip", "install", "--quiet", "--no-config", "--no-deps"];
            arguments.extend([
                "--python",
                "/opt/venv/bin/python",
                "--no-index",
                "--find-links",
            ]);
            arguments.push(&wheels.0);
            arguments.extend(options);
            arguments.extend(wheels.1.iter().map(String::as_str));
            uv(&arguments);
        };
        let platform = "aarch64-manylinux_2_40";
        install(
            Platform::Arm64,
            &["--prefix", "/opt/arm64", "--python-platform", platform],
        );
        install(Platform::Amd64, &[]);
        for directory in ["uv-cache", "wheels-linux-amd64", "wheels-linux-arm64"] {
            fs::remove_dir_all(root.join(directory)).expect("remove");
        }
    })
}

/// Puts the platform's wheels into a directory of `root`, and returns it and what to ask uv for.
fn link_wheels(built: &Built, platform: Platform, root: &Path) -> (String, Vec<String>) {
    let directory = format!("/wheels-{}", platform.slug());
    let path = root.join(directory.trim_start_matches('/'));
    fs::create_dir(&path).expect("directory");
    let mut requirements = Vec::new();
    for wheel in built.wheels(platform) {
        let blob = store().join("blobs/sha256").join(&wheel.sha256);
        let link = path.join(&wheel.filename);
        if fs::hard_link(&blob, &link).is_err() {
            fs::copy(&blob, &link).expect("the store holds the wheel");
        }
        requirements.push(format!("{}=={}", wheel.name, wheel.version));
    }
    (directory, requirements)
}

/// The distributions that the lock says were asked for by name.
fn requested(built: &Built, platform: Platform) -> BTreeMap<String, bool> {
    let wheels = built
        .wheels(platform)
        .into_iter()
        .filter(|wheel| wheel.requested);
    wheels.map(|wheel| (wheel.name, true)).collect()
}

/// A virtual environment, in the form in which two are compared.
#[derive(Default)]
struct Environment {
    /// Path to executable bit and digest of everything that came out of a wheel.
    files: BTreeMap<String, (bool, String)>,
    /// Path to the words of a generated launcher that matter.
    launchers: BTreeMap<String, (bool, Vec<String>)>,
    /// RECORD's path to its lines.
    records: BTreeMap<String, BTreeSet<String>>,
    /// Names of the distributions with a REQUESTED file.
    requested: BTreeMap<String, bool>,
}

impl Environment {
    fn read(prefix: &Path) -> Self {
        let mut environment = Self::default();
        let mut stack = vec![prefix.to_owned()];
        while let Some(directory) = stack.pop() {
            for entry in fs::read_dir(&directory).expect("directory") {
                let path = entry.expect("an entry").path();
                // Links are the skeleton's: python, lib64.
                if path.is_dir() && !path.is_symlink() {
                    stack.push(path);
                } else if !path.is_symlink() {
                    environment.add(prefix, &path);
                }
            }
        }
        environment
    }

    fn add(&mut self, prefix: &Path, file: &Path) {
        let relative = file
            .strip_prefix(prefix)
            .expect("below")
            .to_str()
            .expect("UTF-8");
        let relative = relative.to_owned();
        let name = relative.rsplit('/').next().unwrap_or_default();
        let bytes = fs::read(file).expect("file");
        let executable = fs::metadata(file).expect("file").permissions().mode() & 0o111 != 0;
        let in_dist_info = is_in_dist_info(&relative);
        if is_uvs_own(&relative) {
        } else if in_dist_info && name == "RECORD" {
            let text = String::from_utf8(bytes).expect("UTF-8");
            self.records
                .insert(relative, text.lines().filter_map(record_line).collect());
        } else if in_dist_info && name == "REQUESTED" {
            let metadata = fs::read_to_string(file.with_file_name("METADATA")).expect("METADATA");
            let name = metadata
                .lines()
                .find_map(|line| line.strip_prefix("Name: "));
            self.requested
                .insert(normalise(name.expect("a name").trim()), true);
        } else if let Some(words) = launcher(&relative, &bytes) {
            self.launchers.insert(relative, (executable, words));
        } else {
            let bytes = if relative.starts_with("bin/") {
                without_interpreter(bytes)
            } else {
                bytes
            };
            self.files
                .insert(relative, (executable, Digest::of(&bytes).to_string()));
        }
    }
}

fn normalise(name: &str) -> String {
    let lower = name.to_lowercase().replace(['_', '.'], "-");
    lower
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// What stands for no wheel: of the environment itself, or a note of the installer's.
fn is_uvs_own(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let environment = ["pyvenv.cfg", ".gitignore", ".lock", "CACHEDIR.TAG"].contains(&path)
        || path.starts_with("bin/activate")
        || path == "bin/deactivate.bat"
        || path == "bin/pydoc.bat"
        || path == format!("{SITE_PACKAGES}/_virtualenv.py")
        || path == format!("{SITE_PACKAGES}/_virtualenv.pth");
    let installer = ["INSTALLER", "uv_cache.json", "uv_build.json"].contains(&name);
    environment || (installer && is_in_dist_info(path))
}

/// Whether the file is of an installed distribution's metadata; some carry others' inside them.
fn is_in_dist_info(path: &str) -> bool {
    let in_site_packages = path
        .strip_prefix(SITE_PACKAGES)
        .and_then(|path| path.strip_prefix('/'));
    in_site_packages
        .and_then(|path| path.split_once('/'))
        .is_some_and(|(directory, _)| directory.ends_with(".dist-info"))
}

/// A line of RECORD, without the hashes of files whose bytes are not compared.
fn record_line(line: &str) -> Option<String> {
    let (path, _) = line.rsplit_once(',')?.0.rsplit_once(',')?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let note = ["INSTALLER", "REQUESTED", "uv_cache.json"].contains(&name);
    if note && path.contains(".dist-info/") {
        return None;
    }
    let script = path.starts_with("../../../bin/");
    Some(if script {
        path.to_owned()
    } else {
        line.to_owned()
    })
}

/// The import and the call of a launcher, and the name of its interpreter.
fn launcher(path: &str, bytes: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|_| path.starts_with("bin/"))?;
    let imports = text.lines().find(|line| line.starts_with("from "))?;
    let call = text
        .lines()
        .find(|line| line.starts_with("    sys.exit("))?;
    let generated = text.lines().nth(1) == Some("# -*- coding: utf-8 -*-")
        && text.contains(r#"if __name__ == "__main__":"#)
        && text.contains("-script.pyw");
    let interpreter = text.lines().next().unwrap_or_default();
    assert!(
        interpreter.starts_with("#!/opt/venv/bin/python"),
        "{path}: {interpreter}"
    );
    generated.then(|| vec![imports.to_owned(), call.to_owned()])
}

/// A script without its first line, which names `python` or `python3` by the installer's taste.
fn without_interpreter(bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    if bytes.starts_with(b"#!/opt/venv/bin/python") {
        bytes[end..].to_vec()
    } else {
        bytes
    }
}
