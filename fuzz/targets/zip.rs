//! Any bytes as a wheel: it installs below the environment and encodes, or it is refused.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use oci::TreePath;
use oci::layer::{self, Options, Output};
use uv_distribution_filename::WheelFilename;
use wheel::{Implementation, InstallOptions, Limits, RecordPolicy, Sees, Venv, Wheel};

static FILENAME: LazyLock<WheelFilename> =
    LazyLock::new(|| "fuzzed-1.0-py3-none-any.whl".parse().unwrap());

static VENV: LazyLock<Venv> = LazyLock::new(|| Venv {
    prefix: TreePath::new("opt/venv").unwrap(),
    python: "3.13.5".parse().unwrap(),
    interpreter: "/usr/bin/python3.13".to_owned(),
    implementation: Implementation::CPython,
    sees: Sees::Own,
});

fuzz_target!(|input: &[u8]| {
    // The first byte chooses whether a RECORD that is wrong is an error.
    let Some((&first, archive)) = input.split_first() else {
        return;
    };
    let source = fuzz::source(archive, "fuzzed-1.0-py3-none-any.whl").unwrap();
    let limits = Limits {
        file: 1 << 20,
        wheel: 4 << 20,
        text: 1 << 20,
        ..Limits::default()
    };
    let options = InstallOptions {
        requested: true,
        direct_url: None,
        record: match first % 2 {
            0 => RecordPolicy::Warn,
            _ => RecordPolicy::Strict,
        },
    };
    let Ok(wheel) = Wheel::open(source, &FILENAME, &limits) else {
        return;
    };
    let Ok(installed) = wheel.install(&VENV, &options) else {
        return;
    };
    for (path, _) in installed.tree.iter() {
        let path = path.as_str();
        assert!(
            ["opt", "opt/venv"].contains(&path) || path.starts_with("opt/venv/"),
            "{path} is outside"
        );
    }
    let one = layer::encode(&installed.tree, &Options::default(), Output::Discard);
    let two = Options {
        jobs: 2,
        ..Options::default()
    };
    let two = layer::encode(&installed.tree, &two, Output::Discard);
    assert_eq!(one.ok(), two.ok());
});
