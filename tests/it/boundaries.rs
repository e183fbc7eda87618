//! What each crate may import: absences that the architecture stands on.

use std::collections::BTreeSet;
use std::fs;

use crate::samples::workspace;

/// Crates of uv that hold one noun of a specification and import no resolver and no network.
const LEAVES: [&str; 5] = [
    "uv-distribution-filename",
    "uv-normalize",
    "uv-pep440",
    "uv-pep508",
    "uv-platform-tags",
];

/// What a crate's manifest names under `[dependencies]`.
fn dependencies(name: &str) -> BTreeSet<String> {
    let path = workspace().join("crates").join(name).join("Cargo.toml");
    let manifest: toml::Value = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let table = manifest["dependencies"].as_table().unwrap();
    table.keys().cloned().collect()
}

#[test]
fn oci_knows_no_network_no_python_no_debian() {
    for forbidden in dependencies("oci") {
        let network = ["reqwest", "hyper", "tokio", "url"].contains(&forbidden.as_str());
        let other = ["wheel", "resolve", "deb", "pgp", "liblzma"].contains(&forbidden.as_str());
        assert!(
            !network && !other && !forbidden.starts_with("uv-"),
            "oci imports {forbidden}"
        );
    }
}

#[test]
fn uv_lives_in_resolve_alone() {
    for name in [
        "oci", "wheel", "deb", "facts", "contents", "check", "registry", "backend", "oxcart",
        "testkit",
    ] {
        for dependency in dependencies(name) {
            let leaf = LEAVES.contains(&dependency.as_str());
            assert!(
                leaf || !dependency.starts_with("uv-"),
                "{name} imports {dependency}"
            );
        }
    }
}

#[test]
fn what_reads_archives_knows_no_network() {
    for name in [
        "wheel", "deb", "facts", "contents", "check", "anatomy", "backend",
    ] {
        for dependency in dependencies(name) {
            let network = ["reqwest", "hyper", "tokio"].contains(&dependency.as_str());
            assert!(!network, "{name} imports {dependency}");
        }
    }
}

#[test]
fn the_registry_client_knows_no_python_and_no_debian() {
    for dependency in dependencies("registry") {
        let other = ["wheel", "resolve", "deb", "facts"].contains(&dependency.as_str());
        assert!(!other, "registry imports {dependency}");
    }
}

/// But for the credential helpers that the user has configured, and the host's Python where
/// `build-from-source` or `project` asks for it: each is spawned in one file.
#[test]
fn no_crate_of_a_build_spawns_a_process() {
    let allowed = ["backend/src/process.rs", "registry/src/helper.rs"];
    let allowed = allowed.map(|file| workspace().join("crates").join(file));
    for name in [
        "oci", "wheel", "deb", "facts", "contents", "check", "anatomy", "registry", "resolve",
        "backend", "oxcart",
    ] {
        let mut directories = vec![workspace().join("crates").join(name).join("src")];
        let mut files = 0;
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    files += 1;
                    let text = fs::read_to_string(&path).unwrap();
                    // What tests do is their own affair.
                    if path.to_string_lossy().contains("tests") {
                        continue;
                    }
                    let shipped = text.split("#[cfg(test)]").next().unwrap();
                    let names = |line: &str| line.contains("process::") && line.contains("Command");
                    let spawns = shipped.contains("Command::new(") && shipped.lines().any(names);
                    assert_eq!(spawns, allowed.contains(&path), "{}", path.display());
                }
            }
        }
        assert!(files > 1, "{name}");
    }
}
