//! `cargo xtask golden`: snapshots written anew, and the golden tests' word on what changed.

use std::process::Command;

use crate::tools::{cargo, root, run};

/// Snapshot files are rewritten. Golden digests stand in the tests: one that no longer holds is
/// printed with the one that was found, and taking that over means raising `oci::layer::FORMAT`.
pub(crate) fn write() -> anyhow::Result<()> {
    let mut snapshots = cargo(["test", "--locked", "--workspace", "--no-fail-fast"]);
    // Tests of snapshots pass while they are rewritten, so what fails then fails for its own reason.
    snapshots
        .env("INSTA_UPDATE", "always")
        .env("INSTA_FORCE_PASS", "1");
    let skip = "network,emulation";
    let outcome = run(snapshots
        .env("OXCART_TEST_SKIP", skip)
        .args(["--lib", "--bins", "--tests"]));
    run(Command::new("git")
        .current_dir(root())
        .args(["status", "--short", "--", "*.snap", "fixtures"]))?;
    outcome
}
