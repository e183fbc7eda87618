//! The packages of a small Debian base with Python, shrunk to a few bytes each: Debian's names,
//! dependencies and paths, and content that only has to look right.

use crate::DebBuilder;
use crate::debian_archive::ARCHITECTURES;

/// The version of Python that the base has.
pub const PYTHON_VERSION: &str = "3.13.5";
/// The version of glibc that the base has.
pub const GLIBC_VERSION: &str = "2.41";

/// The start of an ELF file (a shared object) for one of Debian's architectures: enough for a reader
/// of the header.
pub fn elf(architecture: &str) -> Vec<u8> {
    let (class, machine): (u8, u16) = match architecture {
        "amd64" => (2, 62),
        "arm64" => (2, 183),
        "armhf" => (1, 40),
        other => panic!("no ELF machine is known for {other}"),
    };
    let mut bytes = b"\x7fELF".to_vec();
    bytes.extend([class, 1, 1, 0]);
    bytes.resize(16, 0);
    bytes.extend(3u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.resize(if class == 2 { 64 } else { 52 }, 0);
    bytes
}

/// The name of the directory of an architecture's libraries.
pub fn multiarch(architecture: &str) -> &'static str {
    match architecture {
        "amd64" => "x86_64-linux-gnu",
        "arm64" => "aarch64-linux-gnu",
        "armhf" => "arm-linux-gnueabihf",
        other => panic!("no directory is known for {other}"),
    }
}

/// All packages for all architectures.
pub(crate) fn packages() -> Vec<DebBuilder> {
    let mut all = independent();
    for architecture in ARCHITECTURES {
        all.extend([
            base_files(architecture),
            base_passwd(architecture),
            libc(architecture),
        ]);
        all.extend(LIBRARIES.map(|library| library.build(architecture)));
        all.extend(python(architecture));
    }
    all
}

/// A package with one shared library.
struct Library {
    package: &'static str,
    version: &'static str,
    file: &'static str,
    depends: &'static str,
}

const fn library(
    package: &'static str,
    version: &'static str,
    file: &'static str,
    depends: &'static str,
) -> Library {
    Library {
        package,
        version,
        file,
        depends,
    }
}

const LIBRARIES: [Library; 21] = [
    library(
        "libgcc-s1",
        "14.2.0-19",
        "libgcc_s.so.1",
        "gcc-14-base (= 14.2.0-19), libc6 (>= 2.35)",
    ),
    library(
        "libstdc++6",
        "14.2.0-19",
        "libstdc++.so.6.0.33",
        "gcc-14-base (= 14.2.0-19), libc6 (>= 2.38), libgcc-s1 (>= 4.2)",
    ),
    library(
        "libgomp1",
        "14.2.0-19",
        "libgomp.so.1.0.0",
        "gcc-14-base (= 14.2.0-19), libc6 (>= 2.34)",
    ),
    library(
        "zlib1g",
        "1:1.3.dfsg+really1.3.1-1+b1",
        "libz.so.1.3.1",
        "libc6 (>= 2.14)",
    ),
    library(
        "libssl3t64",
        "3.5.1-1",
        "libssl.so.3",
        "libc6 (>= 2.38), zlib1g (>= 1:1.1.4)",
    ),
    library(
        "libsqlite3-0",
        "3.46.1-7",
        "libsqlite3.so.0.8.6",
        "libc6 (>= 2.38)",
    ),
    library("libffi8", "3.4.8-2", "libffi.so.8.1.4", "libc6 (>= 2.34)"),
    library("libbz2-1.0", "1.0.8-6", "libbz2.so.1.0.4", "libc6 (>= 2.4)"),
    library("liblzma5", "5.8.1-1", "liblzma.so.5.8.1", "libc6 (>= 2.34)"),
    library(
        "libexpat1",
        "2.7.1-2",
        "libexpat.so.1.10.2",
        "libc6 (>= 2.36)",
    ),
    library("libuuid1", "2.41-5", "libuuid.so.1.3.0", "libc6 (>= 2.34)"),
    library(
        "libtinfo6",
        "6.5+20250216-2",
        "libtinfo.so.6.5",
        "libc6 (>= 2.34)",
    ),
    library(
        "libncursesw6",
        "6.5+20250216-2",
        "libncursesw.so.6.5",
        "libtinfo6 (= 6.5+20250216-2)",
    ),
    library(
        "libreadline8t64",
        "8.2-6",
        "libreadline.so.8.2",
        "readline-common, libc6 (>= 2.33), libtinfo6 (>= 6)",
    ),
    library(
        "libdb5.3t64",
        "5.3.28+dfsg2-9",
        "libdb-5.3.so",
        "libc6 (>= 2.34)",
    ),
    library(
        "libcrypt1",
        "1:4.4.38-1",
        "libcrypt.so.1.1.0",
        "libc6 (>= 2.36)",
    ),
    library(
        "libtirpc3t64",
        "1.3.6+ds-1",
        "libtirpc.so.3.0.0",
        "libc6 (>= 2.34)",
    ),
    library(
        "libnsl2",
        "1.3.0-3+b3",
        "libnsl.so.2.0.1",
        "libc6 (>= 2.15), libtirpc3t64 (>= 1.0.2)",
    ),
    library(
        "libzstd1",
        "1.5.7+dfsg-1",
        "libzstd.so.1.5.7",
        "libc6 (>= 2.34)",
    ),
    library(
        "libcom-err2",
        "1.47.2-3+b3",
        "libcom_err.so.2.1",
        "libc6 (>= 2.17)",
    ),
    library(
        "libmount1",
        "2.41-5",
        "libmount.so.1.1.0",
        "libc6 (>= 2.38)",
    ),
];

impl Library {
    fn build(&self, architecture: &str) -> DebBuilder {
        let path = format!("usr/lib/{}/{}", multiarch(architecture), self.file);
        let deb = package(self.package, self.version, architecture)
            .field("Multi-Arch", "same")
            .depends(self.depends)
            .file(&path, &elf(architecture));
        // libz.so.1.3.1 is also called libz.so.1.
        match self
            .file
            .split_once(".so.")
            .and_then(|(stem, rest)| Some((stem, rest.split_once('.')?.0)))
        {
            Some((stem, major)) => {
                let link = format!("usr/lib/{}/{stem}.so.{major}", multiarch(architecture));
                deb.symlink(&link, self.file)
            }
            None => deb,
        }
    }
}

/// A package with a copyright file, as policy wants.
fn package(name: &str, version: &str, architecture: &str) -> DebBuilder {
    DebBuilder::new(name, version, architecture)
        .file(
            &format!("usr/share/doc/{name}/copyright"),
            b"Made for a test.\n",
        )
        .file(
            &format!("usr/share/doc/{name}/changelog.Debian.gz"),
            b"not read by anyone",
        )
}

fn independent() -> Vec<DebBuilder> {
    vec![
        package("ca-certificates", "20250419", "all")
            .field("Multi-Arch", "foreign")
            .depends("openssl (>= 1.1.1), debconf (>= 0.5) | debconf-2.0")
            .file(
                "usr/share/ca-certificates/mozilla/Test_Root_A.crt",
                CERTIFICATE.as_bytes(),
            )
            .file(
                "usr/share/ca-certificates/mozilla/Test_Root_B.crt",
                CERTIFICATE.as_bytes(),
            )
            .file_with_mode("usr/sbin/update-ca-certificates", b"#!/bin/sh\n", 0o755)
            .directory("etc/ssl/certs", 0o755)
            .postinst("#!/bin/sh\nupdate-ca-certificates\n"),
        package("debconf", "1.5.91", "all").field("Multi-Arch", "foreign"),
        package("tzdata", "2025b-4+deb13u1", "all")
            .field("Multi-Arch", "foreign")
            .depends("debconf (>= 0.5) | debconf-2.0")
            .file("usr/share/zoneinfo/Etc/UTC", b"TZif2")
            .file("usr/share/zoneinfo/Europe/Berlin", b"TZif2 too"),
        package("netbase", "6.5", "all")
            .field("Multi-Arch", "foreign")
            .file("etc/protocols", b"tcp 6 TCP\n")
            .file("etc/services", b"http 80/tcp\n"),
        package("media-types", "13.0.0", "all")
            .field("Multi-Arch", "foreign")
            .file("etc/mime.types", b"text/plain txt\n"),
        package("readline-common", "8.2-6", "all")
            .field("Multi-Arch", "foreign")
            .file("usr/share/readline/inputrc", b"set meta-flag on\n"),
    ]
}

fn base_files(architecture: &str) -> DebBuilder {
    let os_release = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\n\
        VERSION_ID=\"13\"\nVERSION=\"13 (trixie)\"\nVERSION_CODENAME=trixie\nID=debian\n";
    let deb = package("base-files", "13.8+deb13u1", architecture)
        .field("Essential", "yes")
        .field("Multi-Arch", "foreign")
        .file("etc/debian_version", b"13.1\n")
        .file("usr/lib/os-release", os_release.as_bytes())
        .symlink("etc/os-release", "../usr/lib/os-release")
        .symlink("bin", "usr/bin")
        .symlink("lib", "usr/lib")
        .symlink("sbin", "usr/sbin")
        .directory("usr/bin", 0o755)
        .directory("usr/lib", 0o755)
        .directory("usr/sbin", 0o755)
        .directory("root", 0o700)
        .directory("tmp", 0o1777)
        .directory("var/tmp", 0o1777)
        .directory("home", 0o755)
        .directory("proc", 0o755)
        .directory("sys", 0o755)
        .directory("dev", 0o755)
        .directory("run", 0o755)
        .postinst("#!/bin/sh\nset -e\ninstall_from_default passwd\n");
    match architecture {
        "amd64" => deb
            .symlink("lib64", "usr/lib64")
            .directory("usr/lib64", 0o755),
        _ => deb,
    }
}

fn base_passwd(architecture: &str) -> DebBuilder {
    let passwd = "root:*:0:0:root:/root:/bin/bash\nwww-data:*:33:33:www-data:/var/www:/usr/sbin/nologin\n\
        nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    package("base-passwd", "3.6.7", architecture)
        .field("Essential", "yes")
        .field("Multi-Arch", "foreign")
        .file("usr/share/base-passwd/passwd.master", passwd.as_bytes())
        .file(
            "usr/share/base-passwd/group.master",
            b"root:*:0:\nwww-data:*:33:\nnogroup:*:65534:\n",
        )
        .postinst("#!/bin/sh\nupdate-passwd\n")
}

fn libc(architecture: &str) -> DebBuilder {
    let directory = format!("usr/lib/{}", multiarch(architecture));
    let (loader, link) = match architecture {
        "amd64" => ("ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        "arm64" => ("ld-linux-aarch64.so.1", "usr/lib/ld-linux-aarch64.so.1"),
        _ => ("ld-linux-armhf.so.3", "usr/lib/ld-linux-armhf.so.3"),
    };
    let mut text = elf(architecture);
    text.extend(format!("GNU C Library (Debian GLIBC {GLIBC_VERSION}-12) stable").as_bytes());
    package("libc6", "2.41-12", architecture)
        .field("Multi-Arch", "same")
        .depends("libgcc-s1")
        .file_with_mode(&format!("{directory}/libc.so.6"), &text, 0o755)
        .file_with_mode(&format!("{directory}/{loader}"), &elf(architecture), 0o755)
        .file(&format!("{directory}/libm.so.6"), &elf(architecture))
        .symlink(link, &format!("/{directory}/{loader}"))
        .control_file("triggers", b"activate-noawait ldconfig\n")
}

fn python(architecture: &str) -> Vec<DebBuilder> {
    let version = format!("{PYTHON_VERSION}-2");
    let exactly = |name: &str| format!("{name} (= {version})");
    let new = |name: &str| package(name, &version, architecture);
    let patch_level = format!("#define PY_VERSION \"{PYTHON_VERSION}\"\n");
    vec![
        package("gcc-14-base", "14.2.0-19", architecture).field("Multi-Arch", "same"),
        package("openssl", "3.5.1-1", architecture)
            .field("Multi-Arch", "foreign")
            .depends("libc6 (>= 2.34), libssl3t64 (>= 3.5.0)")
            .file_with_mode("usr/bin/openssl", &elf(architecture), 0o755)
            .file("etc/ssl/openssl.cnf", b"# made for a test\n")
            .symlink("usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf")
            .symlink("usr/lib/ssl/certs", "/etc/ssl/certs"),
        package("libc-bin", "2.41-12", architecture)
            .field("Essential", "yes")
            .field("Multi-Arch", "foreign")
            .depends("libc6 (>> 2.41), libc6 (<< 2.42)")
            .file("usr/share/libc-bin/nsswitch.conf", b"hosts: files dns\n")
            .file("usr/lib/locale/C.utf8/LC_CTYPE", b"made for a test")
            .file_with_mode("usr/bin/ldd", b"#!/bin/bash\n", 0o755),
        new("libpython3.13-minimal")
            .field("Multi-Arch", "same")
            .depends("libc6 (>= 2.14), libssl3t64 (>= 3.0.0)")
            .file("usr/lib/python3.13/os.py", b"# the standard library\n")
            .file("usr/lib/python3.13/site.py", b"# the standard library\n")
            .file("usr/include/python3.13/patchlevel.h", patch_level.as_bytes()),
        new("python3.13-minimal")
            .field("Multi-Arch", "allowed")
            .depends(&format!(
                "{}, libc6 (>= 2.38), libexpat1 (>= 2.1~beta3), zlib1g (>= 1:1.2.0)",
                exactly("libpython3.13-minimal")
            ))
            .file_with_mode("usr/bin/python3.13", &elf(architecture), 0o755)
            .postinst("#!/bin/sh\npy3compile -p python3.13-minimal\n"),
        new("libpython3.13-stdlib")
            .field("Multi-Arch", "same")
            .depends(&format!(
                "{}, media-types | mime-support, netbase, tzdata, libbz2-1.0, libc6 (>= 2.34), \
                 libdb5.3t64, libffi8 (>= 3.4), liblzma5 (>= 5.1.1alpha+20120614), libncursesw6 (>= 6.1), \
                 libreadline8t64 (>= 7.0~beta), libsqlite3-0 (>= 3.36.0), libtinfo6 (>= 6), \
                 libuuid1 (>= 2.20.1)",
                exactly("libpython3.13-minimal")
            ))
            .file("usr/lib/python3.13/ssl.py", b"# the standard library\n")
            .file(
                &format!(
                    "usr/lib/python3.13/lib-dynload/_ssl.cpython-313-{}.so",
                    multiarch(architecture)
                ),
                &elf(architecture),
            ),
        new("python3.13")
            .field("Multi-Arch", "allowed")
            .depends(&format!(
                "{}, {}, media-types | mime-support",
                exactly("python3.13-minimal"),
                exactly("libpython3.13-stdlib")
            ))
            .file("usr/share/man/man1/python3.13.1.gz", b"not read by anyone"),
        package("python3-minimal", "3.13.5-1", architecture)
            .field("Multi-Arch", "allowed")
            .depends("python3.13-minimal (>= 3.13.5-1~)")
            .symlink("usr/bin/python3", "python3.13"),
        package("libpython3-stdlib", "3.13.5-1", architecture)
            .field("Multi-Arch", "same")
            .depends("libpython3.13-stdlib (>= 3.13.5-1~)"),
        package("python3", "3.13.5-1", architecture)
            .field("Multi-Arch", "allowed")
            .depends("python3-minimal (= 3.13.5-1), python3.13 (>= 3.13.5-1~), libpython3-stdlib (= 3.13.5-1)"),
    ]
}

/// The bundle is made by putting such texts one after another; nobody reads what is in them.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nVGhpcyBpcyBub3QgYSBjZXJ0aWZpY2F0ZS4=\n-----END CERTIFICATE-----\n";
