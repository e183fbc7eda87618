//! The tags of wheels that fit a target, best first.
//!
//! Follows the platform compatibility tags specification with PEP 600 (`manylinux_X_Y`), PEP 656
//! (`musllinux_X_Y`) and `packaging`'s order: `fixtures/tags/` holds the lists that `packaging`
//! gives, and `fixtures/tags/record.py` records them anew.

use crate::target::{Arch, Libc, Target};

/// The oldest stable ABI: `abi3` came with `CPython` 3.2.
const FIRST_ABI3_MINOR: u8 = 2;

/// All tags that fit `target`, whose Python is `(major, minor)`.
pub(crate) fn of(target: &Target, (major, minor): (u8, u8)) -> Vec<String> {
    let platforms = platforms(target.arch, target.libc);
    let cp = format!("cp{major}{minor}");
    let mut tags = Vec::new();
    let mut binary = |python: &str, abi: &str| {
        tags.extend(
            platforms
                .iter()
                .map(|platform| format!("{python}-{abi}-{platform}")),
        );
    };

    binary(&cp, &cp);
    binary(&cp, "abi3");
    binary(&cp, "none");
    for older in (FIRST_ABI3_MINOR..minor).rev() {
        binary(&format!("cp{major}{older}"), "abi3");
    }
    for python in pure(major, minor) {
        binary(&python, "none");
    }

    tags.push(format!("{cp}-none-any"));
    tags.extend(pure(major, minor).map(|python| format!("{python}-none-any")));
    tags
}

/// `py313`, `py3`, `py312`, … `py30`.
fn pure(major: u8, minor: u8) -> impl Iterator<Item = String> {
    [format!("py{major}{minor}"), format!("py{major}")]
        .into_iter()
        .chain(
            (0..minor)
                .rev()
                .map(move |older| format!("py{major}{older}")),
        )
}

/// The platform tags, best first.
fn platforms(arch: Arch, libc: Libc) -> Vec<String> {
    let mut tags = vec![format!("linux_{arch}")];
    match libc {
        Libc::Glibc { major: 2, minor } => {
            for minor in (glibc_floor(arch)..=minor).rev() {
                tags.push(format!("manylinux_2_{minor}_{arch}"));
                if let Some(alias) = legacy_alias(minor) {
                    tags.push(format!("{alias}_{arch}"));
                }
            }
        }
        // No rule says yet which glibc 2 a glibc 3 would stand in for.
        Libc::Glibc { major, minor } => tags.extend(
            (0..=minor)
                .rev()
                .map(|minor| format!("manylinux_{major}_{minor}_{arch}")),
        ),
        Libc::Musl { major, minor } => tags.extend(
            (0..=minor)
                .rev()
                .map(|minor| format!("musllinux_{major}_{minor}_{arch}")),
        ),
    }
    tags
}

/// The oldest minor version of glibc 2 that a tag may name: that of `CentOS` 5 where `CentOS` 5
/// ran, and of `CentOS` 7 elsewhere.
const fn glibc_floor(arch: Arch) -> u16 {
    match arch {
        Arch::X86_64 => 5,
        Arch::Aarch64 | Arch::Armv7l => 17,
    }
}

/// The names that tags had before PEP 600.
const fn legacy_alias(glibc_minor: u16) -> Option<&'static str> {
    match glibc_minor {
        17 => Some("manylinux2014"),
        12 => Some("manylinux2010"),
        5 => Some("manylinux1"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::target::{Arch, Libc, Target};

    /// One recorded list: `<python>-<arch>-<libc>-<major>.<minor>.txt`, one tag in each line.
    fn recorded(name: &str) -> Option<(Target, Vec<String>)> {
        let parts: Vec<&str> = name.strip_suffix(".txt")?.split('-').collect();
        let [python, arch, libc, version] = parts[..] else {
            panic!("{name}")
        };
        let (major, minor) = version.split_once('.').unwrap();
        let (major, minor) = (major.parse().unwrap(), minor.parse().unwrap());
        let target = Target {
            arch: Arch::ALL
                .into_iter()
                .find(|known| known.name() == arch)
                .unwrap(),
            libc: match libc {
                "glibc" => Libc::Glibc { major, minor },
                "musl" => Libc::Musl { major, minor },
                _ => panic!("{name}"),
            },
            python: format!("{python}.1"),
        };
        let text = std::fs::read_to_string(fixtures().join(name)).unwrap();
        Some((target, text.lines().map(str::to_owned).collect()))
    }

    fn fixtures() -> std::path::PathBuf {
        std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
            .join("../../fixtures/tags")
    }

    fn all_recorded() -> Vec<(Target, Vec<String>)> {
        let mut names: Vec<String> = std::fs::read_dir(fixtures())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.iter().filter_map(|name| recorded(name)).collect()
    }

    /// The fixtures are packaging's own words: `python3 fixtures/tags/record.py` writes them again.
    #[test]
    fn the_lists_are_those_of_packaging_in_its_order() {
        let lists = all_recorded();
        assert!(lists.len() >= 12, "only {} fixtures", lists.len());
        for (target, expected) in lists {
            assert_eq!(target.tags(), expected, "{target}");
        }
    }

    /// uv's list differs in one thing only: its plain `linux_*` tags come last, not first.
    #[test]
    fn uv_accepts_the_same_tags_in_the_same_order_but_for_plain_linux() {
        for (target, expected) in all_recorded() {
            let text = target.uv_tags().unwrap().to_string();
            let uv: Vec<&str> = text.lines().collect();
            let sorted = |tags: &[&str]| {
                tags.iter()
                    .map(|&tag| tag.to_owned())
                    .collect::<BTreeSet<String>>()
            };
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            assert_eq!(sorted(&uv), sorted(&expected), "{target}");
            let named = |tags: &[&str]| {
                tags.iter()
                    .filter(|tag| !tag.contains("-linux_"))
                    .map(|&tag| tag.to_owned())
                    .collect::<Vec<String>>()
            };
            assert_eq!(named(&uv), named(&expected), "{target}");
        }
    }
}
