//! `cargo xtask ci`: what must pass before a change is taken.

use std::process::Command;

use crate::tools::{cache, cargo, run};
use crate::{fuzz, test, tools};

/// The cargo-deny that is known to build with the workspace's Rust.
const CARGO_DENY: &str = "0.20.2";

/// Cheapest first, so that a typo does not wait for the tests; the tests last, so that their count
/// is the last line.
pub(crate) fn run_all() -> anyhow::Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    deny()?;
    run(&mut cargo([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]))?;
    let mut doc = cargo([
        "doc",
        "--locked",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    fuzz::fuzz(&fuzz::Options::short())?;
    test::run(&[])
}

/// Licences, sources and bans of every dependency. The advisory database is a download from
/// somewhere else and changes under a commit, so it is not part of this check.
fn deny() -> anyhow::Result<()> {
    let tools = cache()?.join("tools");
    let program = tools.join("bin/cargo-deny");
    let installed = Command::new(&program).arg("--version").output();
    let current = installed.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .ends_with(CARGO_DENY)
    });
    if !current {
        let mut install = cargo(["install", "--locked", "--version", CARGO_DENY, "--root"]);
        install
            .arg(&tools)
            .arg("--target-dir")
            .arg(tools.join("target"))
            .arg("cargo-deny");
        run(&mut install)?;
        // Half a gigabyte that nothing needs again.
        std::fs::remove_dir_all(tools.join("target"))?;
    }
    let mut check = Command::new(&program);
    check.current_dir(tools::root());
    run(check.args(["--locked", "check", "bans", "licenses", "sources"]))
}
