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
        "oci", "wheel", "deb", "facts", "contents", "check", "registry", "oxcart", "testkit",
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
fn wheel_deb_and_facts_know_no_network() {
    for name in ["wheel", "deb", "facts", "contents", "check"] {
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

/// `registry` alone does, where the user has configured a credential helper.
#[test]
fn no_crate_of_a_build_spawns_a_process() {
    for name in [
        "oci", "wheel", "deb", "facts", "contents", "check", "resolve", "oxcart",
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
                    // What tests do at the end of a file is their own affair.
                    let shipped = text.split("#[cfg(test)]").next().unwrap();
                    assert!(!shipped.contains("process::Command"), "{}", path.display());
                }
            }
        }
        assert!(files > 1, "{name}");
    }
}
