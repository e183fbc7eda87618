//! `base = "debian:trixie"`: which packages a base is made of, and what of them is left out.

use std::collections::BTreeSet;

use oci::{Entry, Kind, Tree, TreePath};

use crate::error::Error;
use crate::ground::Ground;
use crate::install::{Assembled, install_without};
use crate::omissions::{LEFT_OUT, LeftOut, OMITTED, Omitted, is_left_out};
use crate::{Unpacked, accounts, loader_cache, paths};

/// A Debian release as a base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// `trixie`
    pub codename: &'static str,
    /// `13`
    pub version: &'static str,
    /// Its Python: `3.13`.
    python: &'static str,
}

const BASES: [Base; 2] = [
    Base {
        codename: "trixie",
        version: "13",
        python: "3.13",
    },
    Base {
        codename: "bookworm",
        version: "12",
        python: "3.11",
    },
];

/// What a base's packages say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where Python is: `/usr/bin/python3.13`.
    pub interpreter: String,
    /// Python's full version: `3.13.5`.
    pub python: String,
    /// glibc's version: `2.41`.
    pub glibc: String,
}

impl Base {
    /// The base `debian:<codename>`, if it is known.
    pub fn of(codename: &str) -> Option<Self> {
        BASES.into_iter().find(|base| base.codename == codename)
    }

    /// The codenames of all known bases, newest first.
    pub fn codenames() -> impl Iterator<Item = &'static str> {
        BASES.into_iter().map(|base| base.codename)
    }

    /// The packages that are wanted; those they depend on come along.
    pub fn packages(&self) -> Vec<String> {
        let python = format!("python{}", self.python);
        let names = [
            "base-files",
            "base-passwd",
            "ca-certificates",
            // The locale C.UTF-8 and nsswitch.conf.
            "libc-bin",
            "libc6",
            "libgcc-s1",
            "libstdc++6",
            "media-types",
            "netbase",
            // /usr/lib/ssl, where the library looks for certificates and its configuration.
            "openssl",
            // /usr/bin/python3
            "python3-minimal",
            &python,
            "tzdata",
        ];
        names.map(str::to_owned).to_vec()
    }

    /// The packages that are left out although others depend on them.
    pub fn omitted(&self) -> &'static [Omitted] {
        OMITTED
    }

    /// Files of those packages that are left out.
    pub fn left_out(&self) -> &'static [LeftOut] {
        LEFT_OUT
    }

    /// What follows from the chosen packages' names and versions. None where Python or glibc is not
    /// among them.
    pub fn facts<'a>(&self, chosen: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Facts> {
        let (mut python, mut glibc) = (None, None);
        let name = format!("python{}", self.python);
        for (package, version) in chosen {
            if package == name {
                python = Some(upstream(version).replace('~', ""));
            } else if package == "libc6" {
                glibc = Some(upstream(version).to_owned());
            }
        }
        Some(Facts {
            interpreter: format!("/usr/bin/{name}"),
            python: python?,
            glibc: glibc?,
        })
    }

    /// What the image's configuration starts with.
    pub fn environment(&self) -> [(&'static str, &'static str); 2] {
        [
            ("LANG", "C.UTF-8"),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
        ]
    }

    /// The base's one layer. The order of `packages` does not matter.
    pub fn assemble(&self, packages: Vec<Unpacked>) -> Result<Assembled, Error> {
        let ground = Ground {
            loader_cache: Some(loader_cache::empty()),
            ..Ground::bare()
        };
        let mut assembled = install_without(packages, &ground, is_left_out)?;
        add_usr_links(&mut assembled.tree)?;
        accounts::add_nonroot(&mut assembled.tree)?;
        Ok(assembled)
    }
}

/// The Python among packages, the newest of several: where it is and its full version.
pub fn python<'a>(
    chosen: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<(String, String)> {
    let versions = chosen.into_iter().filter_map(|(package, version)| {
        let minor: u32 = package.strip_prefix("python3.")?.parse().ok()?;
        Some((minor, version))
    });
    let (minor, version) = versions.max_by_key(|(minor, _)| *minor)?;
    let interpreter = format!("/usr/bin/python3.{minor}");
    Some((interpreter, upstream(version).replace('~', "")))
}

/// Names that count as satisfied for what is added to a base without dpkg: what such a base can do
/// without, libraries excepted.
pub fn omitted_by_additions() -> BTreeSet<String> {
    let names = OMITTED.iter().map(|it| it.name);
    names
        .filter(|name| !name.starts_with("lib"))
        .map(str::to_owned)
        .collect()
}

/// The version without epoch and Debian revision (Policy 5.6.12).
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version
        .rsplit_once('-')
        .map_or(version, |(upstream, _)| upstream)
}

/// The links of a merged /usr. base-files has them since Debian 13; before, the installer made them.
fn add_usr_links(tree: &mut Tree) -> Result<(), Error> {
    let origin = "the merged /usr".into();
    for name in paths::USR_LINKS {
        let target = format!("usr/{name}");
        let is_directory = |entry: &Entry| entry.kind == Kind::Directory;
        let path = TreePath::new(name)?;
        if tree.get(&path).is_none() && tree.get(&TreePath::new(&target)?).is_some_and(is_directory)
        {
            tree.insert(path, Entry::symlink(&target, &origin))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{listing, path, text, unpack};
    use testkit::DebBuilder;

    const PASSWD: &str = "root:*:0:0:root:/root:/bin/bash\n";

    /// Debian in miniature.
    fn debs() -> Vec<DebBuilder> {
        let deb = |name| DebBuilder::new(name, "1", "arm64");
        vec![
            deb("base-files")
                .directory("bin", 0o755)
                .directory("lib", 0o755)
                .directory("usr/lib", 0o755)
                .directory("tmp", 0o1777)
                .directory("var/lock", 0o1777)
                .directory("var/run", 0o755)
                .directory("var/spool", 0o755)
                .file("usr/lib/os-release", b"ID=debian\n")
                .symlink("etc/os-release", "../usr/lib/os-release")
                .postinst("#!/bin/sh\nmkdir /mnt\n"),
            deb("base-passwd")
                .file("usr/share/base-passwd/passwd.master", PASSWD.as_bytes())
                .file(
                    "usr/share/base-passwd/group.master",
                    b"root:*:0:\nnogroup:*:65534:",
                )
                .file_with_mode("usr/sbin/update-passwd", b"\x7fELF", 0o755),
            deb("ca-certificates")
                .directory("etc/ssl/certs", 0o755)
                .file("usr/share/ca-certificates/mozilla/B.crt", b"b")
                .file("usr/share/ca-certificates/mozilla/A.crt", b"a\n")
                .file("usr/share/ca-certificates/README", b"no certificate")
                .file_with_mode("usr/sbin/update-ca-certificates", b"#!/bin/sh", 0o755),
            deb("libc-bin")
                .file("usr/share/libc-bin/nsswitch.conf", b"hosts: files dns\n")
                .file_with_mode("usr/sbin/ldconfig", b"\x7fELF", 0o755)
                .file("usr/lib/locale/C.utf8/LC_CTYPE", b""),
            deb("python3.13-minimal")
                .file_with_mode("usr/bin/python3.13", b"\x7fELF", 0o755)
                .file("usr/lib/python3.13/os.py", b"")
                .file("usr/lib/python3.13/test/support.py", b"")
                .file(
                    "usr/lib/python3.13/lib-dynload/_testcapi.cpython-313.so",
                    b"",
                )
                .postinst("#!/bin/sh\nmkdir x\n"),
            deb("tzdata").file("usr/share/zoneinfo/Etc/UTC", b"TZif"),
        ]
    }

    fn assemble(debs: &[DebBuilder]) -> Assembled {
        Base::of("trixie")
            .unwrap()
            .assemble(debs.iter().map(unpack).collect())
            .unwrap()
    }

    #[test]
    fn a_base_is_configured_as_its_scripts_would_have_done() {
        let Assembled { tree, warnings } = assemble(&debs());
        assert_eq!(warnings, []);
        let mut lines = listing(&tree);
        lines.retain(|line| !line.contains("/status.d/"));
        insta::assert_snapshot!(lines.join("\n"), @"0777 bin -> usr/bin
0644 etc/ca-certificates.conf made, 28 bytes
0777 etc/dpkg/origins/default -> debian
0644 etc/group made, 44 bytes
0777 etc/localtime -> /usr/share/zoneinfo/Etc/UTC
0644 etc/nsswitch.conf 17 bytes
0777 etc/os-release -> ../usr/lib/os-release
0644 etc/passwd made, 94 bytes
0644 etc/ssl/certs/ca-certificates.crt made, 4 bytes
0644 etc/subgid made, 0 bytes
0644 etc/subuid made, 0 bytes
0644 etc/timezone made, 8 bytes
0700 65532:65532 home/nonroot/
0777 lib -> usr/lib
1777 run/lock/
0777 sbin -> usr/sbin
1777 tmp/
0755 usr/bin/python3.13 4 bytes
0644 usr/lib/locale/C.utf8/LC_CTYPE 0 bytes
0644 usr/lib/os-release 10 bytes
0644 usr/lib/python3.13/os.py 0 bytes
0777 usr/local/man -> share/man
0755 usr/sbin/ldconfig 4 bytes
0644 usr/share/base-passwd/group.master 26 bytes
0644 usr/share/base-passwd/passwd.master 32 bytes
0644 usr/share/ca-certificates/README 14 bytes
0644 usr/share/ca-certificates/mozilla/A.crt 2 bytes
0644 usr/share/ca-certificates/mozilla/B.crt 1 bytes
0644 usr/share/libc-bin/nsswitch.conf 17 bytes
0644 usr/share/zoneinfo/Etc/UTC 4 bytes
0777 var/lock -> /run/lock
2775 0:8 var/mail/
0777 var/run -> /run
0777 var/spool/mail -> ../mail");
        for directory in [
            "mnt",
            "media",
            "usr/local/bin",
            "usr/local/lib/python3.13/dist-packages",
        ] {
            assert_eq!(
                tree.get(&path(directory)).unwrap().kind,
                Kind::Directory,
                "{directory}"
            );
        }
    }

    #[test]
    fn accounts() {
        let tree = assemble(&debs()).tree;
        assert_eq!(
            text(&tree, "etc/passwd"),
            format!("{PASSWD}nonroot:*:65532:65532:nonroot:/home/nonroot:/usr/sbin/nologin\n")
        );
        assert_eq!(
            text(&tree, "etc/group"),
            "root:*:0:\nnogroup:*:65534:\nnonroot:*:65532:\n"
        );
        let home = tree.get(&path("home/nonroot")).unwrap();
        assert_eq!((home.mode, home.uid, home.gid), (0o700, 65532, 65532));
    }

    #[test]
    fn certificates_are_one_file_in_the_order_of_their_names() {
        let tree = assemble(&debs()).tree;
        assert_eq!(text(&tree, "etc/ssl/certs/ca-certificates.crt"), "a\nb\n");
        assert_eq!(
            text(&tree, "etc/ca-certificates.conf"),
            "mozilla/A.crt\nmozilla/B.crt\n"
        );
    }

    #[test]
    fn the_same_packages_in_any_order_give_the_same_base() {
        let mut debs = debs();
        let first = assemble(&debs);
        debs.reverse();
        assert_eq!(first, assemble(&debs));
    }

    #[test]
    fn links_of_the_package_and_links_of_ours_agree() {
        let mut debs = debs();
        debs[0] = debs[0]
            .clone()
            .symlink("sbin", "usr/sbin")
            .directory("usr/sbin", 0o755);
        let tree = assemble(&debs).tree;
        for name in ["bin", "lib", "sbin"] {
            let kind = &tree.get(&path(name)).unwrap().kind;
            assert_eq!(*kind, Kind::Symlink(format!("usr/{name}")));
        }
        assert_eq!(tree.get(&path("lib64")), None);
    }

    #[test]
    fn facts_come_from_versions() {
        let facts = |python, glibc| {
            let chosen = [
                ("python3.13", python),
                ("python3.13-minimal", "9"),
                ("libc6", glibc),
            ];
            Base::of("trixie").unwrap().facts(chosen).unwrap()
        };
        let expect = |python: &str, glibc: &str| Facts {
            interpreter: "/usr/bin/python3.13".to_owned(),
            python: python.to_owned(),
            glibc: glibc.to_owned(),
        };
        assert_eq!(
            facts("3.13.5-2+deb13u5", "2.41-12"),
            expect("3.13.5", "2.41")
        );
        assert_eq!(facts("1:3.14.0~rc2-1", "2.42"), expect("3.14.0rc2", "2.42"));
        assert_eq!(
            Base::of("trixie").unwrap().facts([("libc6", "2.41-1")]),
            None
        );
        assert_eq!(Base::of("sid"), None);
        let added = [
            ("python3.11", "3.11.2-6"),
            ("python3-minimal", "3.13.5-1"),
            ("python3.13", "3.13.5-2"),
        ];
        let expect = ("/usr/bin/python3.13".to_owned(), "3.13.5".to_owned());
        assert_eq!(python(added), Some(expect));
        assert_eq!(python([("python3.13-minimal", "3.13.5-2")]), None);
    }

    #[test]
    fn nothing_is_both_wanted_and_left_out() {
        for base in BASES {
            let wanted = base.packages();
            assert!(
                base.omitted()
                    .iter()
                    .all(|omitted| !wanted.contains(&omitted.name.to_owned()))
            );
        }
    }
}
