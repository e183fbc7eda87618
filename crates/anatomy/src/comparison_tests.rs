//! Each cause that two digests can have for being two, and what is said of it.

use serde_json::json;

use crate::testing::{Image, Made};
use crate::{Comparison, Inspection};

fn image() -> Image {
    Image::new(&[
        Made::new(
            "oxcart base",
            "base: 0 Debian packages",
            &[("etc/hostname", "a")],
        ),
        Made::wheel("numpy", "2.1", "one"),
        Made::wheel("six", "1", "six"),
    ])
}

fn compare(a: &Image, b: &Image, all_files: bool) -> Comparison {
    let (of_a, of_b) = (a.inspection("a"), b.inspection("b"));
    let unshared = Comparison::unshared(&of_a, &of_b);
    let mut listings = a.listings();
    listings.extend(b.listings());
    if !all_files {
        let read: Vec<_> = unshared.a.iter().chain(&unshared.b).collect();
        listings.retain(|diff_id, _| read.iter().any(|it| it.diff_id == *diff_id));
    }
    Comparison::new(&of_a, &of_b, &listings, all_files)
}

/// What is said of an image and what became of it by `change`.
#[track_caller]
fn check(change: impl FnOnce(&mut Image), expect: &[&str]) -> Comparison {
    let a = image();
    let mut b = a.clone();
    change(&mut b);
    let found = compare(&a, &b, false);
    assert_eq!(found.why, expect, "{}", found.text());
    found
}

#[test]
fn nothing() {
    let found = check(|_| {}, &[]);
    assert!(found.same && found.platforms.is_empty());
    assert!(found.text().ends_with("They are the same.\n"));
    let a: Inspection = image().inspection("a");
    assert!(
        Comparison::unshared(&a, &a).a.is_empty(),
        "no layer is read"
    );
}

#[test]
fn times() {
    let found = check(
        |b| b.created = "1990-01-01T00:00:00Z",
        &["the `created` time of the configuration"],
    );
    assert!(
        found
            .text()
            .contains("They differ in one thing: the `created` time")
    );
    check(
        |b| b.layers[0].mtime = 5,
        &["layer 1: base: 0 Debian packages (the same files, other mtimes)"],
    );
}

#[test]
fn versions() {
    let found = check(
        |b| b.layers[1] = Made::wheel("numpy", "2.2", "four"),
        &["layer 2: numpy 2.1 → 2.2"],
    );
    let platform = &found.platforms[0];
    assert_eq!(platform.layers_shared, 2);
    assert_eq!(platform.packages.len(), 1);
    let sizes = [&platform.packages[0].a, &platform.packages[0].b];
    let [a, b] = sizes.map(|it| it.as_ref().unwrap().size);
    assert_eq!(a + 1, b, "`one` became `four`");
    assert!(
        platform.config.is_empty(),
        "the history follows from the layers"
    );
    check(
        |b| b.layers.insert(2, Made::wheel("new", "1", "")),
        &["only B has its layer 3: new 1"],
    );
    check(|b| drop(b.layers.pop()), &["only A has its layer 3: six 1"]);
    let found = check(
        |b| {
            let new = |n| Made::wheel(&format!("new{n}"), "1", "");
            b.layers.splice(2..2, (0..6).map(new));
            b.layers.push(new(7));
        },
        &["only B has its layers 3-8, 10: new0 1, new1 1, new2 1, new3 1 and 3 more"],
    );
    assert!(
        found.text().contains("+  python  new0  1  +"),
        "{}",
        found.text()
    );
    check(
        |b| b.layers[1] = Made::wheel("numpy", "2.1", "eins"),
        &[
            "layer 2: numpy 2.1 (files: 1 changed, first /opt/venv/lib/python3.13/site-packages/numpy.py)",
        ],
    );
}

#[test]
fn order() {
    check(
        |b| b.layers.swap(1, 2),
        &["the same layers in another order"],
    );
    check(
        |b| b.platforms.reverse(),
        &["the index differs in order of the platforms"],
    );
}

#[test]
fn compression() {
    check(
        |b| b.layers[1].compression = "other",
        &["layer 2: the same files, compressed in another way (diff_ids are equal)"],
    );
}

#[test]
fn configuration() {
    let found = check(
        |b| b.config = json!({"Env": ["PATH=/bin", "LANG=C.UTF-8"], "Labels": {"team": "x"}}),
        &["the configuration differs in config.Env.PATH, config.Labels.team, config.User"],
    );
    let text = found.text();
    assert!(
        text.contains("~  config.Env.PATH     /usr/bin → /bin"),
        "{text}"
    );
    assert!(text.contains("+  config.Labels.team  x"), "{text}");
    assert!(text.contains("-  config.User         nonroot"), "{text}");
    check(
        |b| b.layers[2].comment = "another".into(),
        &["the configuration differs in history.003.comment"],
    );
}

#[test]
fn index() {
    check(
        |b| b.annotations = json!({"source": "x"}),
        &["the index differs in annotations.source"],
    );
    let found = check(
        |b| b.platforms = vec!["amd64", "s390x"],
        &["only A has linux/arm64", "only B has linux/s390x"],
    );
    assert_eq!(found.platforms, []);
}

#[test]
fn one_platform_of_two() {
    let mut a = image();
    a.platforms = vec!["amd64"];
    let mut b = a.clone();
    b.created = "1990-01-01T00:00:00Z";
    let found = compare(&a, &b, false);
    assert_eq!(
        found.why,
        ["linux/amd64: the `created` time of the configuration"]
    );
}

#[test]
fn file_by_file() {
    let a = image();
    let mut b = a.clone();
    b.layers[0].files.insert("etc/new".into(), b"x".to_vec());
    b.layers[0]
        .files
        .insert("etc/hostname".into(), b"bc".to_vec());
    let found = compare(&a, &b, true);
    let files = found.platforms[0].files.as_ref().unwrap();
    let paths: Vec<_> = files.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["etc/hostname", "etc/new"]);
    let fields: Vec<_> = files[0].fields.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["content", "size"]);
    let text = found.text();
    assert!(
        text.contains("~  /etc/hostname  content, size 1 → 2"),
        "{text}"
    );
    assert!(text.contains("+  /etc/new"), "{text}");
}

#[test]
fn what_hides_or_records_needs_all_layers() {
    let listings = |path: &str| {
        let made = Made::new("RUN", "", &[(path, "")]);
        Image::new(&[made]).listings()
    };
    assert!(!Comparison::needs_all(&listings("etc/hostname")));
    assert!(Comparison::needs_all(&listings("etc/.wh.hostname")));
    assert!(Comparison::needs_all(&listings("opt/.wh..wh..opq")));
    assert!(Comparison::needs_all(&listings("var/lib/dpkg/status")));
}
