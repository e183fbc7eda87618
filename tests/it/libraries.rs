//! Wheels that load Debian's libraries: the profile `system` of the backend, run for both platforms over
//! our own base and over one of somebody else's from a registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use oci::Platform;

use crate::docker_registry::{Asks, DockerRegistry};
use crate::emulation::{BYTECODE, share_bytecode_of};
use crate::registries::{mirror, unpack};
use crate::samples::{Sample, copy, enter, oxcart, succeed, workspace};
use crate::skip::{Need, left_out};

const PLATFORMS: [Platform; 2] = [Platform::Amd64, Platform::Arm64];

/// Each library does something, found as its wheel finds it.
const PROGRAM: &str = r#"
import ctypes, ctypes.util, io, platform
import magic, psycopg
assert psycopg.pq.__impl__ == "python", psycopg.pq.__impl__
assert psycopg.pq.version() >= 150000, psycopg.pq.version()
assert magic.from_buffer(b"%PDF-1.7\n", mime=True) == "application/pdf"
for name in ["gomp", "magic", "pq", "sndfile"]:
    assert ctypes.util.find_library(name), name
assert ctypes.CDLL(ctypes.util.find_library("gomp")).omp_get_max_threads() >= 1
sndfile = ctypes.CDLL("libsndfile.so.1")
sndfile.sf_version_string.restype = ctypes.c_char_p
assert sndfile.sf_version_string().startswith(b"libsndfile-1.")
import soundfile
file = io.BytesIO()
soundfile.write(file, [0.0, 0.5, 0.0, -0.5] * 100, 8000, format="FLAC")
file.seek(0)
data, rate = soundfile.read(file)
assert (len(data), rate) == (400, 8000)
print(platform.machine())
"#;

fn machine(platform: Platform) -> &'static str {
    match platform {
        Platform::Amd64 => "x86_64",
        Platform::Arm64 => "aarch64",
        Platform::ArmV7 => "armv7l",
    }
}

#[test]
fn they_work_over_our_own_base() {
    if left_out(Need::Emulation) {
        return;
    }
    let built = Sample::System.built();
    let bundles = PLATFORMS.map(|platform| built.bundle(platform));
    for bundle in &bundles {
        share_bytecode_of(&bundles[0].rootfs(), &bundle.rootfs());
        let mut python = bundle.command("/opt/venv/bin/python");
        python.env("PYTHONPYCACHEPREFIX", BYTECODE);
        let printed = succeed(python.args(["-W", "ignore", "-c", PROGRAM]));
        assert_eq!(printed.trim(), machine(bundle.platform()));
    }
}

/// What stands in for python:slim: dpkg's records, links into /usr, and a loader's cache as `ldconfig`
/// makes it there.
const BASE: &str = r#"
set -eu
mirror=$1 architecture=$2 out=$3
buildah() { command buildah --root "$PWD/root" --runroot "$PWD/runroot" --storage-driver vfs "$@"; }
mmdebstrap --quiet --variant=extract --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --arch="$architecture" \
    --include=python3-minimal,libpython3-stdlib,base-files,base-passwd,libc6,libc-bin,dpkg,coreutils,dash \
    --extract-hook='for deb in "$1"/var/cache/apt/archives/*.deb; do
        dpkg-deb -f "$deb" | sed "1a Status: install ok installed"; echo
    done > "$1/var/lib/dpkg/status"' \
    --aptopt='Acquire::Check-Valid-Until "false"' bookworm "$architecture.tar" \
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
image=$(buildah from --arch "$architecture" scratch)
buildah config --arch "$architecture" --os linux "$image" >/dev/null
buildah add --quiet "$image" "$architecture.tar" / >/dev/null
mounted=$(buildah mount "$image")
chroot "$mounted" /sbin/ldconfig
buildah umount "$image" >/dev/null
buildah commit --quiet "$image" "base-$architecture" >/dev/null
buildah push --quiet --tls-verify=false "localhost/base-$architecture" "docker://$out-$architecture"
"#;

#[test]
fn they_work_over_a_base_from_a_registry() {
    if left_out(Need::Emulation) {
        return;
    }
    let registry = DockerRegistry::start(Asks::Nothing);
    let directory = tempfile::tempdir().unwrap();
    let base = registry.name("hub/python:3");
    for platform in PLATFORMS {
        let mut shell = Command::new("sh");
        shell.args(["-c", BASE, "sh", &mirror(), platform.architecture(), &base]);
        succeed(shell.current_dir(directory.path()));
    }
    let sources = PLATFORMS.map(|it| format!("{base}-{}", it.architecture()));
    succeed(oxcart().args(["index", "create", &base]).args(&sources));

    let project = directory.path().join("project");
    copy(&workspace().join("images/genascope-backend"), &project);
    let file = project.join("oxcart.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("\"debian:trixie\"", &format!("{base:?}"));
    let text = text.replace("version = \"3.13\"", "version = \"3.11\"");
    fs::write(&file, text.replace("user = \"nonroot\"", "user = \"1000\"")).unwrap();
    let mut build = oxcart();
    build.args(["build", "--profile", "system", "--push", "--tag", "1"]);
    build.args(["--name", &registry.name("team/app"), "--project"]);
    succeed(build.arg(&project));
    let rootfs = PLATFORMS
        .map(|platform| unpack(&registry, "team/app:1", platform, directory.path()).join("rootfs"));
    for (rootfs_of, platform) in rootfs.iter().zip(PLATFORMS) {
        share_bytecode_of(&rootfs[0], rootfs_of);
        check(rootfs_of, platform);
    }
}

fn check(rootfs: &Path, platform: Platform) {
    assert!(rootfs.join("lib").is_symlink(), "the base's link");
    let run = |program: &str| {
        let mut command = enter(rootfs, "/", (0, 0), program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PYTHONPYCACHEPREFIX", BYTECODE);
        command
    };
    let mut python = run("/opt/venv/bin/python");
    let printed = succeed(python.args(["-W", "ignore", "-c", PROGRAM]));
    assert_eq!(printed.trim(), machine(platform));
    // The base's own ldconfig reads the cache, and dpkg its records.
    let cache = succeed(run("/sbin/ldconfig").arg("-p"));
    for name in ["libpq.so.5 ", "libc.so.6 "] {
        assert!(cache.contains(name), "{cache}");
    }
    let ours = fs::read(rootfs.join("etc/ld.so.cache")).unwrap();
    succeed(&mut run("/sbin/ldconfig"));
    let theirs = succeed(run("/sbin/ldconfig").arg("-p"));
    assert_eq!(
        names(&cache),
        names(&theirs),
        "what ldconfig finds by itself"
    );
    fs::write(rootfs.join("etc/ld.so.cache"), ours).unwrap();
    let listed =
        succeed(run("/usr/bin/dpkg-query").args(["-W", "-f", "${Package} ${db:Status-Status}\n"]));
    for name in ["libpq5", "libmagic1", "libc6"] {
        assert!(listed.contains(&format!("{name} installed\n")), "{listed}");
    }
    let owner = succeed(run("/usr/bin/dpkg-query").args(["-L", "libpq5"]));
    assert!(owner.contains("/libpq.so.5"), "{owner}");
}

/// The names of libraries that `ldconfig -p` prints.
fn names(cache: &str) -> Vec<&str> {
    let lines = cache.lines().filter(|line| line.contains(" => "));
    let mut names: Vec<_> = lines
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    names.sort_unstable();
    names
}
