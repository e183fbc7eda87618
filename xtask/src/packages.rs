//! What the end-to-end tests use and the workspace does not hold: Debian packages, Python tools in
//! an environment of their own, and the kernel's registration of qemu for arm64 programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::tools::{cache, run, succeeds, which};

/// Debian packages, and what is looked for to know that each is there.
const NEEDED: [(&str, &str); 13] = [
    ("binfmt-support", "update-binfmts"),
    ("buildah", "buildah"),
    ("ca-certificates", "update-ca-certificates"),
    ("chromium", "chromium"),
    ("docker-registry", "docker-registry"),
    ("mmdebstrap", "mmdebstrap"),
    ("openssl", "openssl"),
    ("pigz", "pigz"),
    ("podman", "podman"),
    ("python3-venv", "python3"),
    ("qemu-user-static", "qemu-aarch64-static"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
];

/// The names of the Debian packages.
pub(crate) const DEBIAN: [&str; NEEDED.len()] = {
    let mut names = [""; NEEDED.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = NEEDED[at].0;
        at += 1;
    }
    names
};

/// The Python tools that the tests compare with.
const ORACLES: [&str; 3] = ["packaging==26.3", "pip==26.3", "uv==0.13.9"];

/// Installs the Debian packages that are missing, where root and apt may; otherwise an error names
/// them.
pub(crate) fn install_debian() -> anyhow::Result<()> {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(_, program)| which(program).is_none())
        .map(|(name, _)| *name)
        .collect();
    let venv = succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"]));
    if missing.is_empty() && venv {
        return Ok(());
    }
    let names = if missing.is_empty() {
        vec!["python3-venv"]
    } else {
        missing
    };
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root || which("apt-get").is_none() {
        bail!(
            "the end-to-end tests need these Debian packages: {}; install them, or leave the tests \
             out that need them with OXCART_TEST_SKIP=network,emulation",
            names.join(" ")
        );
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        run(command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments))
    };
    apt(&["update", "--quiet"])?;
    apt(&[
        &["install", "--yes", "--quiet", "--no-install-recommends"],
        names.as_slice(),
    ]
    .concat())
}

/// The `bin` directory of the environment that holds the Python tools, made when it is not there.
pub(crate) fn oracles() -> anyhow::Result<PathBuf> {
    let environment = cache()?.join("oracles");
    let bin = environment.join("bin");
    let stamp = environment.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == ORACLES.join("\n")) {
        return Ok(bin);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    let mut pip = Command::new(bin.join("python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    run(pip.args(["--only-binary=:all:"]).args(ORACLES))?;
    std::fs::write(&stamp, ORACLES.join("\n"))?;
    Ok(bin)
}

/// Has the kernel run arm64 programs with qemu. Nothing to do on an arm64 machine.
pub(crate) fn enable_emulation() -> anyhow::Result<()> {
    const REGISTRY: &str = "/proc/sys/fs/binfmt_misc";
    if std::env::consts::ARCH == "aarch64" {
        return Ok(());
    }
    let registered = || {
        std::fs::read_to_string(Path::new(REGISTRY).join("qemu-aarch64"))
            .is_ok_and(|entry| entry.starts_with("enabled"))
    };
    if registered() {
        return Ok(());
    }
    if !Path::new(REGISTRY).join("register").exists() {
        run(Command::new("mount").args(["-t", "binfmt_misc", "binfmt_misc", REGISTRY]))?;
    }
    let update = which("update-binfmts").context("update-binfmts (binfmt-support) is missing")?;
    if !registered() {
        run(Command::new(update).args(["--enable", "qemu-aarch64"]))?;
    }
    if !registered() {
        bail!(
            "the kernel does not run arm64 programs with qemu: {REGISTRY}/qemu-aarch64 is missing; \
             leave those tests out with OXCART_TEST_SKIP=emulation"
        );
    }
    Ok(())
}
