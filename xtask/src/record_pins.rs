//! `cargo xtask record-pins`: what uv and pip choose for the sets of `fixtures/pins`, from the real index,
//! and what that index says of the projects that they looked at. It takes about half an hour the first
//! time; what was read of the index stays in the cache.

use std::process::Command;

use crate::packages;
use crate::tools::{cache, cargo, root, run};

/// How many sets are resolved at a time: they mostly wait for the index.
const JOBS: &str = "8";

/// Records anew; or, with `more`, adds to the recording what oxcart's own tests ask for.
pub(crate) fn record(more: bool) -> anyhow::Result<()> {
    let bin = packages::oracles()?;
    // Not compiled while the index waits.
    run(cargo(TEST).arg("--no-run"))?;
    let mut command = Command::new(bin.join("python"));
    command.arg(root().join("fixtures/pins/record.py"));
    command.arg("--uv").arg(bin.join("uv"));
    command.arg("--pip-python").arg(bin.join("python"));
    command.arg("--cache").arg(cache()?.join("pins"));
    command.args(["--jobs", JOBS]);
    if more {
        command.arg("--more");
    }
    let mut test = cargo(TEST);
    test.args(["--", "recorded::"]);
    command
        .current_dir(root())
        .arg("--")
        .arg(test.get_program());
    run(command.args(test.get_args()))
}

/// The tests that ask the index again.
const TEST: [&str; 6] = [
    "test",
    "--locked",
    "--package",
    "resolve",
    "--package",
    "oxcart",
];
