//! The page of `inspect --html` in a browser that has no network: what it shows is what `inspect --json`
//! says, and text of an image stays text.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::inspect::{Foreign, json_of};
use crate::project::Project;
use crate::samples::{Sample, oxcart, succeed};
use crate::skip::{Need, left_out};

/// The page's elements after its script ran. No name can be resolved, and no address reached.
fn dom(page: &Path) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut chromium = Command::new("unshare");
    chromium.args([
        "--net",
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
    ]);
    chromium.args([
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1400,1000",
    ]);
    chromium.arg(format!("--user-data-dir={}", profile.path().display()));
    let dom = succeed(
        chromium
            .arg("--dump-dom")
            .arg(format!("file://{}", page.display())),
    );
    assert!(
        dom.contains(r#"data-ready="true""#),
        "the script ran to its end"
    );
    dom
}

/// What is between the start of an element and its end.
fn inside<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start}"));
    rest.split_once(end)
        .unwrap_or_else(|| panic!("no {end} after {start}"))
        .0
}

/// The rows of a table: exact bytes of each, by key; the sums at its foot have the key "".
fn rows(dom: &str, table: &str) -> BTreeMap<String, Vec<u64>> {
    let table = inside(dom, &format!(r#"<table id="{table}">"#), "</table>");
    let rows = table.split("<tr").skip(1).map(|row| {
        let key = if row.contains("data-key=") {
            inside(row, r#"data-key=""#, "\"").replace("&amp;", "&")
        } else {
            String::new()
        };
        let values = row.split(r#"<data value=""#).skip(1);
        let values = values.map(|it| it.split('"').next().unwrap().parse().unwrap());
        (key, values.collect())
    });
    rows.collect()
}

/// Compares what the page at `page` shows with `document`; returns the page's elements.
fn check(page: &Path, document: &Value) -> String {
    let dom = dom(page);
    let platforms = document["platforms"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();

    let shown = rows(&dom, "platforms");
    for platform in platforms {
        let expect = [&platform["size"], &platform["contents"]["size"]].map(number);
        assert_eq!(shown[platform["platform"].as_str().unwrap()], expect);
    }

    let mut expect: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for platform in platforms {
        for package in list(&platform["contents"]["packages"]) {
            let name = package["name"].as_str().unwrap();
            let name = match package["ecosystem"].as_str().unwrap() {
                "python" => name.to_lowercase().replace(['_', '.'], "-"),
                _ => name.to_owned(),
            };
            let key = format!("{} {name}", package["ecosystem"].as_str().unwrap());
            expect
                .entry(key)
                .or_default()
                .push(number(&package["size"]));
        }
    }
    let mut shown = rows(&dom, "packages");
    let sums = shown.remove("").unwrap();
    let sizes: Vec<_> = platforms
        .iter()
        .map(|it| number(&it["contents"]["size"]))
        .collect();
    assert_eq!(sums, sizes, "the foot of the table");
    let unowned: u64 = shown
        .iter()
        .filter(|(key, _)| key.starts_with("unowned "))
        .flat_map(|(_, sizes)| sizes)
        .sum();
    shown.retain(|key, _| !key.starts_with("unowned "));
    assert_eq!(shown, expect);
    let packages: u64 = shown.values().flatten().sum();
    assert_eq!(packages + unowned, sizes.iter().sum::<u64>());

    let layers = rows(&dom, "layers");
    for platform in platforms {
        for (n, layer) in list(&platform["layers"]).iter().enumerate() {
            let key = format!(
                "{} {}",
                platform["platform"].as_str().unwrap(),
                layer["number"]
            );
            // What both platforms have is in the row of the first.
            if let Some(shown) = layers.get(&key) {
                let held = &platform["contents"]["layers"][n];
                let expect = [&layer["size"], &held["size"], &held["hidden"]["size"]].map(number);
                assert_eq!(*shown, expect, "{key}");
            }
        }
    }

    let listed: u64 = rows(&dom, "files").values().flatten().sum();
    let largest = platforms
        .iter()
        .flat_map(|it| list(&it["contents"]["largest"]));
    assert_eq!(listed, largest.map(|it| number(&it["size"])).sum::<u64>());

    // The tiles of all maps together are all files.
    let maps = inside(&dom, r#"<div id="maps">"#, r#"<p id="told""#);
    let tiles = maps.split(r#"data-bytes=""#).skip(1);
    let tiles = tiles.map(|it| it.split('"').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(tiles.sum::<u64>(), sizes.iter().sum::<u64>());
    dom
}

#[test]
fn it_shows_the_numbers_of_the_document() {
    if left_out(Need::Network) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for sample in [Sample::Hello, Sample::Ml] {
        let page = directory.path().join(format!("{}.html", sample.name()));
        let mut inspect = oxcart();
        inspect.arg("inspect").arg(sample.built().layout());
        let document = succeed(inspect.args(["--json", "--html"]).arg(&page));
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["platforms"].as_array().unwrap().len(), 2);
        let size = page.metadata().unwrap().len();
        assert!(size < 2_000_000, "{}: {size} bytes", sample.name());
        check(&page, &document);
    }
}

#[test]
fn text_of_an_image_is_no_markup() {
    const SCRIPT: &str = "</script><script>document.title='harm'</script>";
    if left_out(Need::Network) {
        return;
    }
    let project = Project::empty();
    let foreign = Foreign::new();
    let info = "usr/lib/python3/dist-packages/evil-1.dist-info";
    let metadata = format!("Metadata-Version: 2.1\nName: {SCRIPT}\nVersion: <b>1</b>\n\n");
    let layer = foreign.layer(&[
        (&format!("{info}/METADATA"), metadata.as_bytes()),
        (
            "etc/<img src=x onerror=\"document.title='harm'\">",
            &[0; 4096],
        ),
    ]);
    let reference = foreign.index(&[foreign.image(&[layer], &format!("RUN {SCRIPT}"))]);
    let document = json_of(&project, &[&reference, "--html", "page.html"]);
    let dom = dom(&project.context.path("page.html"));
    assert_eq!(
        inside(&dom, "<title>", "</title>"),
        format!("{} – oxcart", document["name"].as_str().unwrap())
    );
    assert!(!dom.contains("<img") && !dom.contains("<b>1"), "{dom}");
    assert_eq!(dom.matches("<script").count(), 2, "the page's own");
    assert!(
        dom.contains("&lt;script&gt;document.title"),
        "it is shown as it is"
    );
}
