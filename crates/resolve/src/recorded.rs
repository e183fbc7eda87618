//! Our pins against those of uv and pip, for recorded answers of the real index: see `fixtures/pins`.
//!
//! `cargo xtask record-pins` runs these tests too, with the index in `OXCART_PINS_INDEX` that records
//! what they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures::{StreamExt as _, stream};
use serde::Deserialize;
use testkit::RecordedIndex;

use crate::harness::{pins, requirements_of, wait};
use crate::{Arch, Error, Libc, Request, Target};

/// `fixtures/pins/sets.toml`
#[derive(Deserialize)]
struct Asked {
    target: Vec<RecordedTarget>,
    set: Vec<Set>,
}

#[derive(Deserialize)]
struct RecordedTarget {
    name: String,
    machine: String,
    libc: String,
    python: String,
    /// False where pip is not asked.
    pip: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Set {
    name: String,
    requirements: Vec<String>,
    #[serde(default)]
    constraints: Vec<String>,
    #[serde(default)]
    pre_releases: bool,
    /// Why pip comes to other pins, though it is told the target's markers.
    pip: Option<String>,
}

/// `fixtures/pins/pins.toml`
#[derive(Deserialize)]
struct Recorded {
    pins: Vec<RecordedPins>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RecordedPins {
    set: String,
    target: String,
    /// None where uv finds no solution.
    uv: Option<String>,
    pip_differs: Option<toml::Value>,
    pip_differs_with_markers: Option<toml::Value>,
}

fn fixture(name: &str) -> PathBuf {
    let fixtures =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../fixtures/pins");
    fixtures.join(name)
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    toml::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

/// The recorded index, or the one that records.
struct Index {
    recorded: Option<RecordedIndex>,
    cache: tempfile::TempDir,
}

impl Index {
    fn new() -> Self {
        let records = std::env::var_os("OXCART_PINS_INDEX").is_some();
        Self {
            recorded: (!records).then(|| RecordedIndex::open(&fixture("index.jsonl.xz"))),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    fn request(&self, target: Target, requirements: &[&str]) -> Request {
        let cache = self.cache.path().to_owned();
        let mut request = Request::new(target, requirements_of(requirements), cache);
        request.index.default = Some(match &self.recorded {
            Some(index) => index.url(),
            None => std::env::var("OXCART_PINS_INDEX").unwrap(),
        });
        request
    }
}

impl RecordedTarget {
    fn target(&self) -> Target {
        let (libc, version) = self.libc.split_once(' ').unwrap();
        let (major, minor) = version.split_once('.').unwrap();
        let (major, minor) = (major.parse().unwrap(), minor.parse().unwrap());
        let arch = Arch::ALL.into_iter().find(|it| it.name() == self.machine);
        Target {
            arch: arch.unwrap(),
            libc: match libc {
                "musl" => Libc::Musl { major, minor },
                _ => Libc::Glibc { major, minor },
            },
            python: self.python.clone(),
        }
    }
}

/// What differs between our pins and uv's for one of the targets.
fn differences(number: usize) -> Vec<String> {
    let (asked, recorded): (Asked, Recorded) = (read("sets.toml"), read("pins.toml"));
    let index = Index::new();
    let target = &asked.target[number];
    let compare = async |set: &Set| {
        let mut of_both = recorded.pins.iter();
        let theirs = of_both.find(|it| it.set == set.name && it.target == target.name);
        let theirs = theirs.unwrap_or_else(|| panic!("{} is not recorded", set.name));
        let theirs: Option<BTreeSet<String>> = theirs
            .uv
            .as_ref()
            .map(|pins| pins.split_whitespace().map(str::to_owned).collect());
        let requirements: Vec<_> = set.requirements.iter().map(String::as_str).collect();
        let mut request = index.request(target.target(), &requirements);
        request.constraints.clone_from(&set.constraints);
        request.pre_releases = set.pre_releases;
        // uv has no guard, so that what it would keep from is compared too.
        let names = theirs.iter().flatten();
        let names = names.filter_map(|pin| Some(pin.split_once("==")?.0.to_owned()));
        request.allow_downgrade = names.collect();
        let ours: Option<BTreeSet<String>> = match crate::resolve(&request).await {
            Ok(ours) => Some(pins(&ours).into_iter().collect()),
            Err(
                Error::Conflict { .. }
                | Error::NoCompatibleWheel(_)
                | Error::PackageNotFound { .. },
            ) => None,
            Err(error) => panic!("{}, {}: {error}", set.name, target.name),
        };
        match (&ours, &theirs) {
            (Some(ours), Some(theirs)) => {
                let differ: Vec<_> = ours.symmetric_difference(theirs).cloned().collect();
                (!differ.is_empty()).then(|| format!("{}: {}", set.name, differ.join(" ")))
            }
            (None, None) => None,
            (ours, theirs) => Some(format!("{}: ours {ours:?}, uv's {theirs:?}", set.name)),
        }
    };
    let found = stream::iter(&asked.set).map(compare).buffered(4);
    wait(found.filter_map(async |it| it).collect())
}

#[test]
fn on_amd64_they_are_those_of_uv() {
    assert_eq!(differences(0), [""; 0]);
}

#[test]
fn on_arm64_they_are_those_of_uv() {
    assert_eq!(differences(1), [""; 0]);
}

#[test]
fn on_an_older_glibc_they_are_those_of_uv() {
    assert_eq!(differences(2), [""; 0]);
}

#[test]
fn on_musl_they_are_those_of_uv() {
    assert_eq!(differences(3), [""; 0]);
}

/// pip takes most markers from the machine that it runs on. Once it is told the target's, what still
/// differs has a reason that the set states.
#[test]
fn where_pip_differs_there_is_a_reason() {
    let (asked, recorded): (Asked, Recorded) = (read("sets.toml"), read("pins.toml"));
    let without: Vec<_> = asked
        .target
        .iter()
        .filter(|it| it.pip == Some(false))
        .collect();
    let with = asked.target.len() - without.len();
    assert!(
        asked.set.len() >= 40 && with >= 3,
        "{} sets for {with}",
        asked.set.len()
    );
    assert_eq!(recorded.pins.len(), asked.set.len() * asked.target.len());
    let (mut same, mut by_markers) = (0, 0);
    let mut unexplained: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pins in &recorded.pins {
        if without.iter().any(|it| it.name == pins.target) {
            continue;
        }
        match (&pins.pip_differs, &pins.pip_differs_with_markers) {
            (None, _) => same += 1,
            (Some(_), None) => by_markers += 1,
            (Some(_), Some(difference)) => {
                let found = unexplained.entry(&pins.set).or_default();
                found.push(format!("{}: {difference}", pins.target));
            }
        }
    }
    for set in &asked.set {
        let found = unexplained.get(set.name.as_str());
        assert_eq!(
            found.is_some(),
            set.pip.is_some(),
            "{}: {found:#?} {:?}",
            set.name,
            set.pip
        );
    }
    let unexplained: usize = unexplained.values().map(Vec::len).sum();
    assert_eq!(same + by_markers + unexplained, asked.set.len() * with);
    assert!(
        same > by_markers && by_markers > unexplained,
        "{same}, {by_markers}, {unexplained}"
    );
}

#[test]
fn langchain_for_arm_v7_is_refused_by_the_guard() {
    let index = Index::new();
    let target = Target {
        arch: Arch::Armv7l,
        libc: Libc::Glibc {
            major: 2,
            minor: 41,
        },
        python: "3.13.5".to_owned(),
    };
    let error = wait(crate::resolve(&index.request(target, &["langchain"]))).unwrap_err();
    let Error::Downgrade(downgrade) = &error else {
        panic!("{error}")
    };
    assert_eq!(downgrade.package, "langchain");
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()));
}
