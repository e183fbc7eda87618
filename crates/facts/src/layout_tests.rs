//! The layouts of known images.

use crate::testing::{GLIBC, Layer, MUSL, elf, glibc, musl, python, show};

const BIN: &str = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Debian without Python, `/lib` and the like merged into `/usr`.
fn debian() -> Layer {
    Layer::new()
        .link("./bin", "usr/bin")
        .link("./lib", "usr/lib")
        .link("./lib64", "usr/lib64")
        .link("./etc/os-release", "../usr/lib/os-release")
        .file(
            "./usr/lib/os-release",
            "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
        )
        .link(
            "./usr/lib64/ld-linux-x86-64.so.2",
            "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        )
        .file("./usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "\x7fELF")
        .file("./usr/lib/x86_64-linux-gnu/libc.so.6", glibc("2.36"))
        .file(
            "./var/lib/dpkg/status",
            "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u4\n",
        )
}

fn alpine() -> Layer {
    Layer::new()
        .link("etc/os-release", "../usr/lib/os-release")
        .file("usr/lib/os-release", "ID=alpine\nVERSION_ID=3.20.1\n")
        .executable("lib/ld-musl-x86_64.so.1", musl("1.2.5"))
        .link("lib/libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1")
        .file("lib/apk/db/installed", "P:musl\nV:1.2.5-r0\n\n")
}

/// The layer that docker-library's Dockerfile adds with the interpreter.
fn library_python(loader: &str) -> Layer {
    Layer::new()
        .executable("usr/local/bin/python3.12", elf(loader, &["Py_Main"]))
        .link("usr/local/bin/python3", "python3.12")
        .executable(
            "usr/local/lib/libpython3.12.so.1.0",
            elf("", &["%s: '%s'", "3.12.4"]),
        )
        .link("usr/local/lib/libpython3.12.so", "libpython3.12.so.1.0")
        .file("usr/local/lib/python3.12/os.py", "")
        .package("usr/local/lib/python3.12/site-packages", "pip", "24.0")
}

#[test]
fn docker_library_python() {
    let links = Layer::new().link("usr/local/bin/python", "/usr/local/bin/python3");
    let env = [BIN, "PYTHON_VERSION=3.12.9"];
    insta::assert_snapshot!(show(&env, &[debian(), library_python(GLIBC), links]), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.12.4 /usr/local/bin/python3.12
      /usr/local
      /usr/local/lib/python3.12/site-packages
        pip 24.0 /usr/local/lib/python3.12/site-packages/pip-24.0.dist-info
    ");
}

#[test]
fn docker_library_python_on_alpine() {
    insta::assert_snapshot!(show(&[BIN], &[alpine(), library_python(MUSL)]), @"
    alpine 3.20.1 -
    musl 1.2
    3.12.4 /usr/local/bin/python3.12
      /usr/local
      /usr/local/lib/python3.12/site-packages
        pip 24.0 /usr/local/lib/python3.12/site-packages/pip-24.0.dist-info
    ");
}

#[test]
fn alpine_python() {
    let layer = Layer::new()
        .executable("usr/bin/python3.12", elf(MUSL, &[]))
        .link("usr/bin/python3", "python3.12")
        .file("usr/lib/python3.12/os.py", "")
        .package("usr/lib/python3.12/site-packages", "yarl", "1.9.4")
        .file(
            "lib/apk/db/installed",
            "P:musl\nV:1.2.5-r0\n\nP:python3\nV:3.12.3-r1\n\n",
        );
    insta::assert_snapshot!(show(&[], &[alpine(), layer]), @"
    alpine 3.20.1 -
    musl 1.2
    3.12.3 /usr/bin/python3.12
      /usr
      /usr/lib/python3.12/site-packages
        yarl 1.9.4 /usr/lib/python3.12/site-packages/yarl-1.9.4.dist-info
    ");
}

#[test]
fn debian_python() {
    let layer = Layer::new()
        .link("usr/bin/python3", "python3.11")
        .executable("usr/bin/python3.11", python("3.11.2"))
        .file("usr/lib/python3.11/os.py", "")
        .file(
            "usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO",
            "Metadata-Version: 1.2\nName: six\nVersion: 1.16.0\n",
        )
        .file(
            "usr/lib/python3/dist-packages/old-1.egg-info",
            "Metadata-Version: 1.0\nName: old\nVersion: 1\n",
        )
        .file("usr/lib/python3/dist-packages/empty-1.dist-info/RECORD", "")
        .package("usr/local/lib/python3.11/dist-packages", "Six", "1.17.0");
    insta::assert_snapshot!(show(&[], &[debian(), layer]), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.11.2 /usr/bin/python3.11
      /usr
      /usr/local/lib/python3.11/dist-packages
      /usr/lib/python3/dist-packages
        old 1 /usr/lib/python3/dist-packages/old-1.egg-info
        Six 1.17.0 /usr/local/lib/python3.11/dist-packages/Six-1.17.0.dist-info
    ");
}

#[test]
fn distroless_python() {
    // Not merged into /usr, and no version in the executable.
    let libc = Layer::new()
        .link(
            "lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        )
        .file("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "")
        .file("lib/x86_64-linux-gnu/libc.so.6", glibc("2.36"))
        .file(
            "var/lib/dpkg/status.d/libc6",
            "Package: libc6\nVersion: 2.36-9+deb12u4\n",
        )
        .file("var/lib/dpkg/status.d/libc6.md5sums", "0 lib/x\n");
    let python = Layer::new()
        .executable("usr/bin/python3.11", elf(GLIBC, &[]))
        .link("usr/bin/python", "/usr/bin/python3.11")
        .file("usr/lib/python3.11/os.py", "")
        .file(
            "var/lib/dpkg/status.d/python3.11-minimal",
            "Package: python3.11-minimal\nVersion: 3.11.2-6+deb12u3\n",
        );
    insta::assert_snapshot!(show(&[], &[libc, python]), @"
    glibc 2.36
    StatusD
    3.11.2 /usr/bin/python3.11
      /usr
      /usr/local/lib/python3.11/dist-packages
      /usr/lib/python3/dist-packages
    ");
}

#[test]
fn our_own_base() {
    let system = Layer::new()
        .executable("usr/bin/python3.13", python("3.13.5"))
        .link("usr/bin/python3", "python3.13")
        .directory("usr/lib/python3/dist-packages")
        .file(
            "var/lib/dpkg/status.d/libc6",
            "Package: libc6\nVersion: 2.41-12\n",
        );
    let venv = Layer::new()
        .link("opt/venv/bin/python", "/usr/bin/python3.13")
        .link("opt/venv/bin/python3", "python")
        .link("opt/venv/bin/python3.13", "python")
        .link("opt/venv/lib64", "lib")
        .directory("opt/venv/lib/python3.13/site-packages")
        .file("opt/venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.13.5\n")
        .package("opt/venv/lib/python3.13/site-packages", "click", "8.1.7");
    insta::assert_snapshot!(show(&["PATH=/opt/venv/bin:/usr/bin"], &[system, venv]), @"
    glibc 2.41
    StatusD
    3.13.5 /usr/bin/python3.13
      /opt/venv venv
      /opt/venv/lib/python3.13/site-packages
        click 8.1.7 /opt/venv/lib/python3.13/site-packages/click-8.1.7.dist-info
    3.13.5 /usr/bin/python3.13
      /usr
      /usr/local/lib/python3.13/dist-packages
      /usr/lib/python3/dist-packages
    ");
}

#[test]
fn conda() {
    // Packages are hard links into a cache that comes first or last.
    let site = "opt/conda/lib/python3.12/site-packages";
    let layer = Layer::new()
        .executable("opt/conda/bin/python3.12", python("3.12.4"))
        .link("opt/conda/bin/python", "python3.12")
        .link("opt/conda/bin/python3", "python3.12")
        .file("opt/conda/lib/libpython3.12.so.1.0", elf("", &["3.12.9"]))
        .file(
            "opt/conda/pkgs/tqdm-4.66.4/site-packages/tqdm-4.66.4.dist-info/METADATA",
            "Name: tqdm\nVersion: 4.66.4\n",
        )
        .hardlink(
            &format!("{site}/tqdm-4.66.4.dist-info/METADATA"),
            "opt/conda/pkgs/tqdm-4.66.4/site-packages/tqdm-4.66.4.dist-info/METADATA",
        );
    insta::assert_snapshot!(show(&["PATH=/opt/conda/bin:/usr/bin"], &[debian(), layer]), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.12.4 /opt/conda/bin/python3.12
      /opt/conda
      /opt/conda/lib/python3.12/site-packages
        tqdm 4.66.4 /opt/conda/lib/python3.12/site-packages/tqdm-4.66.4.dist-info
    ");
}

#[test]
fn standalone_build_of_uv() {
    let root = "root/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu";
    let layer = Layer::new()
        .executable(&format!("{root}/bin/python3.12"), python("3.12.4"))
        .link(&format!("{root}/bin/python3"), "python3.12")
        .file(&format!("{root}/lib/python3.12/os.py"), "")
        .package(
            &format!("{root}/lib/python3.12/site-packages"),
            "pip",
            "24.1",
        )
        .link(
            "root/.local/share/uv/python/cpython-3.12-linux-x86_64-gnu",
            "cpython-3.12.4-linux-x86_64-gnu",
        )
        .link(
            "usr/local/bin/python3",
            "/root/.local/share/uv/python/cpython-3.12-linux-x86_64-gnu/bin/python3.12",
        );
    insta::assert_snapshot!(show(&[BIN], &[debian(), layer]), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.12.4 /root/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12
      /root/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu
      /root/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/lib/python3.12/site-packages
        pip 24.1 /root/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/lib/python3.12/site-packages/pip-24.1.dist-info
    ");
}

/// `libpython` of a build whose prefix ends in the version: the linker keeps only that text.
fn pyenv() -> Layer {
    let root = "root/.pyenv/versions/3.12.1";
    Layer::new()
        .executable(
            "root/.pyenv/shims/python3",
            "#!/usr/bin/env bash\nexec pyenv\n",
        )
        .file("root/.pyenv/version", "3.12.1\n")
        .executable(&format!("{root}/bin/python3.12"), elf(GLIBC, &[]))
        .link(&format!("{root}/bin/python3"), "python3.12")
        .file(&format!("{root}/lib/python3.12/os.py"), "")
        .file(
            &format!("{root}/lib/libpython3.12.so.1.0"),
            elf("", &["OPENSSL_3.12.0", "/root/.pyenv/versions/3.12.1"]),
        )
}

#[test]
fn pyenv_and_its_scripts() {
    let other = Layer::new()
        .executable("usr/bin/python3.11", python("3.11.2"))
        .link("usr/bin/python3", "python3.11")
        .file("usr/lib/python3.11/os.py", "");
    let layers = [debian(), other, pyenv()];
    let path = "PATH=/root/.pyenv/shims:/root/.pyenv/bin:/usr/bin";
    insta::assert_snapshot!(show(&[path], &layers), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.12.1 /root/.pyenv/versions/3.12.1/bin/python3.12
      /root/.pyenv/versions/3.12.1
      /root/.pyenv/versions/3.12.1/lib/python3.12/site-packages
    3.11.2 /usr/bin/python3.11
      /usr
      /usr/lib/python3.11/site-packages
    ");
    let other = show(&[path, "PYENV_VERSION=system"], &layers);
    assert!(other.find("3.11.2").unwrap() < other.find("3.12.1").unwrap());
}

#[test]
fn virtual_environments() {
    let site = "app/.venv/lib/python3.12/site-packages";
    let venv = |config: &str| {
        Layer::new()
            .link("app/.venv/bin/python", "/usr/local/bin/python3.12")
            .link("app/.venv/bin/python3", "python")
            .file("app/.venv/pyvenv.cfg", config)
            .package(site, "pip", "24.2")
            .package(site, "torch", "2.4.0")
    };
    let layers = |config| [debian(), library_python(GLIBC), venv(config)];
    let path = "PATH=/app/.venv/bin:/usr/local/bin:/usr/bin";
    let system = "home = /usr/local/bin\ninclude-system-site-packages = true\n";
    insta::assert_snapshot!(show(&[path], &layers(system)), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.12.4 /usr/local/bin/python3.12
      /app/.venv venv and system
      /app/.venv/lib/python3.12/site-packages
      /usr/local/lib/python3.12/site-packages
        pip 24.2 /app/.venv/lib/python3.12/site-packages/pip-24.2.dist-info
        torch 2.4.0 /app/.venv/lib/python3.12/site-packages/torch-2.4.0.dist-info
    3.12.4 /usr/local/bin/python3.12
      /usr/local
      /usr/local/lib/python3.12/site-packages
        pip 24.0 /usr/local/lib/python3.12/site-packages/pip-24.0.dist-info
    ");
    // What programs find decides, not what the image says of itself.
    let env = [BIN, "VIRTUAL_ENV=/app/.venv"];
    insta::assert_snapshot!(show(&env, &layers("home = /usr/local/bin")), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.12.4 /usr/local/bin/python3.12
      /usr/local
      /usr/local/lib/python3.12/site-packages
        pip 24.0 /usr/local/lib/python3.12/site-packages/pip-24.0.dist-info
    3.12.4 /usr/local/bin/python3.12
      /app/.venv venv
      /app/.venv/lib/python3.12/site-packages
        pip 24.2 /app/.venv/lib/python3.12/site-packages/pip-24.2.dist-info
        torch 2.4.0 /app/.venv/lib/python3.12/site-packages/torch-2.4.0.dist-info
    ");
}

#[test]
fn a_virtual_environment_of_copies_is_not_its_own_home() {
    let venv = Layer::new()
        .executable("opt/venv/bin/python3", elf(GLIBC, &[]))
        .file(
            "opt/venv/pyvenv.cfg",
            "home = /usr/local/bin\nversion_info = 3.12.4.final.0\n",
        );
    let layers = [debian(), library_python(GLIBC), venv.clone()];
    let found = show(&["PATH=/opt/venv/bin"], &layers);
    assert!(
        found.contains("3.12.4 /usr/local/bin/python3.12\n  /opt/venv venv"),
        "{found}"
    );
    // Its home is in an image that it was copied from.
    assert!(!show(&["PATH=/opt/venv/bin"], &[debian(), venv]).contains("/opt/venv"));
    let dangling = Layer::new()
        .link("opt/venv/bin/python3", "/root/.local/bin/python3.12")
        .file("opt/venv/pyvenv.cfg", "home = /root/.local/bin\n");
    assert!(!show(&["PATH=/opt/venv/bin"], &[debian(), dangling]).contains("/opt/venv"));
}

#[test]
fn fedora_and_its_relatives() {
    let layer = Layer::new()
        .link("lib64", "usr/lib64")
        .link("usr/bin/python3", "/etc/alternatives/python3")
        .link("etc/alternatives/python3", "/usr/bin/python3.6")
        .link("usr/bin/python3.6", "/usr/libexec/platform-python3.6")
        .executable("usr/libexec/platform-python3.6", elf(GLIBC, &[]))
        .file("usr/lib64/libpython3.6m.so.1.0", elf("", &["3.6.8"]))
        .file("usr/lib64/python3.6/os.py", "")
        .package("usr/lib64/python3.6/site-packages", "dbus", "1.2.4")
        .package("usr/lib/python3.6/site-packages", "six", "1.11.0")
        .file("usr/lib64/ld-linux-x86-64.so.2", "")
        .file("usr/lib64/libc.so.6", glibc("2.28"));
    insta::assert_snapshot!(show(&[], &[layer]), @"
    glibc 2.28
    3.6.8 /usr/libexec/platform-python3.6
      /usr
      /usr/local/lib64/python3.6/site-packages
      /usr/local/lib/python3.6/site-packages
      /usr/lib64/python3.6/site-packages
      /usr/lib/python3.6/site-packages
        dbus 1.2.4 /usr/lib64/python3.6/site-packages/dbus-1.2.4.dist-info
        six 1.11.0 /usr/lib/python3.6/site-packages/six-1.11.0.dist-info
    ");
}

#[test]
fn wolfi() {
    let layer = Layer::new()
        .executable("usr/bin/python3.13", elf(GLIBC, &[]))
        .link("usr/bin/python3", "python3.13")
        .file("usr/lib/python3.13/os.py", "")
        .file(
            "usr/lib/apk/db/installed",
            "P:glibc\nV:2.41-r3\n\nP:python-3.13-base\nV:3.13.2-r0\n\n",
        );
    insta::assert_snapshot!(show(&[], &[layer]), @"
    glibc 2.41
    3.13.2 /usr/bin/python3.13
      /usr
      /usr/lib/python3.13/site-packages
    ");
}

#[test]
fn nix() {
    let python = "nix/store/abc-python3-3.12.4";
    let loader = "/nix/store/def-glibc-2.39/lib/ld-linux-x86-64.so.2";
    let layer = Layer::new()
        .executable(
            &format!("{python}/bin/python3.12"),
            elf(loader, &["3.12.4"]),
        )
        .link(&format!("{python}/bin/python3"), "python3.12")
        .file("nix/store/def-glibc-2.39/lib/libc.so.6", glibc("2.39"))
        .package(
            &format!("{python}/lib/python3.12/site-packages"),
            "pip",
            "24.0",
        )
        .link("bin", "nix/store/env/bin")
        .link("nix/store/env/bin", &format!("/{python}/bin"));
    insta::assert_snapshot!(show(&["PATH=/bin"], &[layer]), @"
    glibc 2.39
    3.12.4 /nix/store/abc-python3-3.12.4/bin/python3.12
      /nix/store/abc-python3-3.12.4
      /nix/store/abc-python3-3.12.4/lib/python3.12/site-packages
        pip 24.0 /nix/store/abc-python3-3.12.4/lib/python3.12/site-packages/pip-24.0.dist-info
    ");
}

#[test]
fn without_the_global_interpreter_lock() {
    let banner = "%.80s experimental free-threading build (%.80s) %.80s";
    let layer = Layer::new()
        .executable("usr/local/bin/python3.13t", elf(GLIBC, &["3.13.1", banner]))
        .hardlink("usr/local/bin/python3.13", "usr/local/bin/python3.13t")
        .link("usr/local/bin/python3", "python3.13")
        .package("usr/local/lib/python3.13t/site-packages", "pip", "24.3");
    insta::assert_snapshot!(show(&[], &[debian(), layer]), @"
    debian 12 bookworm
    glibc 2.36
    Status
    3.13.1 free-threaded /usr/local/bin/python3.13
      /usr/local
      /usr/local/lib/python3.13t/site-packages
        pip 24.3 /usr/local/lib/python3.13t/site-packages/pip-24.3.dist-info
    ");
    // Both beside each other, with shared libraries.
    let layer = Layer::new()
        .executable("usr/bin/python3.13", elf(GLIBC, &[]))
        .executable("usr/bin/python3.13t", elf(GLIBC, &[]))
        .link("usr/bin/python3", "python3.13")
        .file("usr/lib/libpython3.13.so.1.0", elf("", &["3.13.0"]))
        .file(
            "usr/lib/libpython3.13t.so.1.0",
            elf("", &["3.13.1", banner]),
        );
    let found = show(&[], &[layer]);
    assert!(found.contains("3.13.0 /usr/bin/python3.13\n"), "{found}");
    assert!(
        found.contains("3.13.1 free-threaded /usr/bin/python3.13t\n"),
        "{found}"
    );
}

#[test]
fn the_libc_is_that_of_the_interpreter() {
    let both = debian()
        .executable("usr/lib/ld-musl-x86_64.so.1", musl("1.2.3"))
        .executable("usr/bin/python3.11", elf(MUSL, &["3.11.2"]));
    assert!(show(&[], &[both]).contains("\nmusl 1.2\n"));
    let none = debian().executable("usr/lib/ld-musl-x86_64.so.1", musl("1.2.3"));
    assert!(show(&[], &[none]).contains("\nglibc 2.36\n"));
    let old = Layer::new()
        .executable("usr/bin/python3.9", python("3.9.2"))
        .link(
            "lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/ld-2.31.so",
        )
        .link("lib/x86_64-linux-gnu/libc.so.6", "libc-2.31.so")
        .file("lib/x86_64-linux-gnu/libc-2.31.so", glibc("2.31"));
    assert!(show(&[], &[old]).starts_with("glibc 2.31\n"));
    let hidden = Layer::new().file(
        "var/lib/dpkg/status",
        "Package: libc6\nStatus: install ok installed\nVersion: 2.41-12+deb13u1\n",
    );
    assert!(show(&[], &[hidden]).starts_with("glibc 2.41\n"));
    assert_eq!(show(&[], &[]), "");
}
