//! What `oxcart check` says of popular wheels, against what happens when they are loaded: each set is built for
//! two platforms and unpacked, every extension module is opened and every top-level module imported, natively
//! and under qemu.
//!
//! CI does the first sets; the others take long, and are run by hand:
//! `cargo test -p oxcart --test it -- --ignored check_sets::by_hand`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use oci::Platform;
use serde_json::Value;

use crate::once::Once;
use crate::samples::{Bundle, oxcart, succeed};
use crate::skip::{Need, left_out};

/// A set's name, its requirements, and the libraries that the system lacks.
type Set = (&'static str, &'static str, &'static [&'static str]);

const IN_CI: [Set; 3] = [
    ("crypto", "cryptography pynacl bcrypt", &[]),
    (
        "missing",
        "soundfile python-magic lightgbm numpy",
        &["libgomp.so.1", "libmagic.so.1"],
    ),
    ("serving", "uvloop httptools gunicorn orjson", &[]),
];

/// A test for each, so that one can be run alone.
macro_rules! by_hand {
    ($($name:ident: $requirements:literal, $missing:expr;)*) => {$(
        #[test]
        #[ignore = "takes minutes: see the head of this file"]
        fn $name() {
            let counts = agree((stringify!($name), $requirements, &$missing));
            println!("{}: {counts:?}", stringify!($name));
        }
    )*};
}

mod by_hand {
    use super::agree;

    by_hand! {
        numeric: "numpy scipy", [];
        tables: "pandas pyarrow", [];
        vision: "opencv-python-headless", [];
        plots: "pillow matplotlib", [];
        trees: "scikit-learn lightgbm xgboost", ["libgomp.so.1"];
        databases: "psycopg2-binary asyncpg sqlalchemy", [];
        rpc: "grpcio protobuf", [];
        texts: "lxml orjson pydantic", [];
        models: "tokenizers onnxruntime", [];
        frames: "polars duckdb", [];
    }
}

/// Opens each library of a list in a process of its own, and imports each module; prints why not.
const LOADER: &str = r"
import ctypes, importlib, json, os, sys
def alone(work):
    out, into = os.pipe()
    if os.fork() == 0:
        os.close(out)
        try:
            work()
            why = ''
        except BaseException as error:
            why = f'{type(error).__name__}: {error}'
        os.write(into, why.encode()[:4000])
        os._exit(0)
    os.close(into)
    why = b''
    while part := os.read(out, 4096):
        why += part
    os.wait()
    return why.decode()
asked = json.load(open('/tmp/asked.json'))
libraries = {path: alone(lambda: ctypes.CDLL(path)) for path in asked['libraries']}
modules = {name: alone(lambda: importlib.import_module(name)) for name in asked['modules']}
print(json.dumps({'libraries': libraries, 'modules': modules}))
";

/// How often the two agreed.
#[derive(Debug, Default)]
struct Counts {
    libraries_that_load: usize,
    libraries_that_do_not: usize,
    modules_that_load: usize,
    modules_that_do_not: usize,
    notes: usize,
}

#[test]
fn what_it_says_of_three_sets_is_what_happens() {
    if left_out(Need::Emulation) {
        return;
    }
    let all: Vec<_> = IN_CI.iter().map(|set| agree(*set)).collect();
    // Both come about, else this would prove little.
    assert!(all.iter().any(|it| it.libraries_that_do_not > 0), "{all:?}");
    assert!(
        all.iter()
            .all(|it| it.libraries_that_load > 0 && it.modules_that_load > 0),
        "{all:?}"
    );
}

fn agree((name, requirements, missing): Set) -> Counts {
    let directory = build(name, requirements);
    let layout = directory.path().join("image");
    let output = oxcart()
        .args(["check", "--json"])
        .arg(&layout)
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut counts = Counts::default();
    for report in json["platforms"].as_array().unwrap() {
        let platform: Platform = report["platform"].as_str().unwrap().parse().unwrap();
        let reference = format!("oci:{}:latest", layout.display());
        let bundle = Bundle::of(&format!("set-{name}"), &reference, platform);
        compare(name, report, &bundle, missing, &mut counts);
    }
    assert_eq!(
        output.status.success(),
        missing.is_empty(),
        "{name}: {json:#}"
    );
    counts
}

/// Builds a project with nothing but the requirements.
fn build(name: &str, requirements: &str) -> Once {
    Once::get(&format!("set-{name}"), |directory| {
        fs::write(
            directory.join("requirements.txt"),
            requirements.replace(' ', "\n"),
        )
        .unwrap();
        let config = "[image]\nname = \"registry.example/set\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\nbase = \"debian:trixie\"\n\n[dependencies]\nrequirements = [\"requirements.txt\"]\nonly-binary = [\":all:\"]\n\n[config]\nentrypoint = [\"/opt/venv/bin/python\"]\n";
        fs::write(directory.join("oxcart.toml"), config).unwrap();
        let mut build = oxcart();
        build
            .current_dir(directory)
            .args(["build", "--no-check", "--output", "oci:image"]);
        succeed(&mut build);
    })
}

#[expect(clippy::print_stdout, reason = "what is read where it is run by hand")]
fn compare(name: &str, report: &Value, bundle: &Bundle, missing: &[&str], counts: &mut Counts) {
    let findings = report["findings"].as_array().unwrap();
    let of = |severity: &str| -> Vec<&Value> {
        findings
            .iter()
            .filter(|it| it["severity"] == severity)
            .collect()
    };
    for note in of("note") {
        assert!(!note["hint"].as_str().unwrap().is_empty(), "{note:#}");
        println!(
            "{name} {}: {} {} {}",
            report["platform"], note["code"], note["path"], note["message"]
        );
    }
    counts.notes += of("note").len();
    // Every fault is one that was expected.
    let mut lacking = BTreeSet::new();
    for fault in of("fault") {
        assert_eq!(fault["code"], "missing-library", "{name}: {fault:#}");
        let message = fault["message"].as_str().unwrap();
        let library = missing.iter().find(|library| message.contains(*library));
        assert!(library.is_some(), "{name}: {fault:#}");
        lacking.insert(fault["path"].as_str().unwrap());
    }
    let (mut libraries, modules) = asked(&bundle.rootfs());
    let of_loader = findings.iter().filter(|it| it["code"] == "missing-library");
    let paths = of_loader.map(|it| it["path"].as_str().unwrap().to_owned());
    libraries.extend(paths.filter(|path| !path.ends_with("/METADATA")));
    libraries.sort();
    libraries.dedup();
    let asked = serde_json::json!({"libraries": libraries, "modules": modules});
    fs::write(bundle.rootfs().join("tmp/asked.json"), asked.to_string()).unwrap();
    let output = succeed(bundle.command("/opt/venv/bin/python").args(["-c", LOADER]));
    let found: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    for (path, why) in found["libraries"].as_object().unwrap() {
        let why = why.as_str().unwrap();
        let is_unfound =
            why.contains("cannot open shared object file") || why.contains("version `");
        let said = findings.iter().any(|it| {
            let code = it["code"].as_str().unwrap();
            ["missing-library", "missing-version", "preloaded"].contains(&code)
                && (it["path"] == *path
                    || it["subject"].as_str().is_some_and(|it| why.contains(it)))
        });
        assert_eq!(is_unfound, said, "{name}, {path}: {why}");
        if is_unfound {
            counts.libraries_that_do_not += 1;
        } else {
            counts.libraries_that_load += 1;
        }
    }
    for (module, why) in found["modules"].as_object().unwrap() {
        let why = why.as_str().unwrap();
        if why.is_empty() {
            counts.modules_that_load += 1;
            continue;
        }
        counts.modules_that_do_not += 1;
        println!("{name} {}: import {module}: {why}", report["platform"]);
        // What cannot be imported was said; a module that is for who has another package is not meant.
        let stem = |library: &str| library.split(".so").next().unwrap_or_default().to_owned();
        let said = !lacking.is_empty() && missing.iter().any(|it| why.contains(&stem(it)));
        let is_extra = why.starts_with("ModuleNotFoundError: No module named");
        assert!(said || is_extra, "{name}: import {module}: {why}");
    }
}

/// Extension modules, and modules at the top of the environment.
fn asked(root: &Path) -> (Vec<String>, Vec<String>) {
    let site = root.join("opt/venv/lib/python3.13/site-packages");
    let mut libraries = Vec::new();
    let mut todo = vec![site.clone()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            } else if name.contains(".cpython-") || name.ends_with(".abi3.so") {
                libraries.push(format!("/{}", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    let mut modules = BTreeSet::new();
    for entry in fs::read_dir(&site).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.join("__init__.py").exists() {
            modules.insert(name);
        } else if let Some(name) = name.strip_suffix(".py") {
            modules.insert(name.to_owned());
        }
    }
    libraries.sort();
    (libraries, modules.into_iter().collect())
}
