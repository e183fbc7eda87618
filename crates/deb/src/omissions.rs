//! What a base does without: packages that others depend on, and files of its own packages.

use oci::TreePath;

/// A package that others depend on and a base does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Omitted {
    /// Its name.
    pub name: &'static str,
    /// Why nothing of the base misses it.
    pub reason: &'static str,
}

const fn omitted(name: &'static str, reason: &'static str) -> Omitted {
    Omitted { name, reason }
}

pub(crate) const OMITTED: &[Omitted] = &[
    omitted("debconf", "asks questions during installation; needs perl"),
    omitted("debconf-2.0", "a virtual package of debconf"),
    omitted("dpkg", "installs packages; no script runs in an image"),
    omitted("tar", "used by dpkg"),
    omitted("install-info", "registers manuals, which are left out"),
    omitted("mawk", "used by installation scripts"),
    omitted("awk", "a virtual package of mawk"),
    omitted("dash", "a shell; used by installation scripts"),
    omitted("bash", "a shell"),
    omitted("perl-base", "used by installation scripts"),
    omitted(
        "libdebconfclient0",
        "used by update-passwd, which is left out",
    ),
    omitted("libselinux1", "used by update-passwd, which is left out"),
    omitted(
        "readline-common",
        "manuals and a configuration of key bindings",
    ),
];

/// Files of a base's packages that nothing in an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// The package, or `*` for any.
    pub package: &'static str,
    /// A path, or with `/` at its end a directory with all that is in it. A `*` stands for
    /// characters of one name.
    pub path: &'static str,
    /// Why nothing misses them.
    pub reason: &'static str,
}

const fn left_out(package: &'static str, path: &'static str, reason: &'static str) -> LeftOut {
    LeftOut {
        package,
        path,
        reason,
    }
}

pub(crate) const LEFT_OUT: &[LeftOut] = &[
    left_out(
        "base-files",
        "etc/update-motd.d/",
        "shell scripts for a login",
    ),
    left_out("base-passwd", "usr/sbin/", "needs libselinux1"),
    left_out("ca-certificates", "usr/sbin/", "a shell script"),
    left_out("libc-bin", "usr/bin/", "tools of a shell user"),
    // ldconfig stays: `ctypes.util.find_library` asks it.
    left_out("libc-bin", "usr/sbin/iconvconfig", "a tool of a shell user"),
    left_out("libc-bin", "usr/sbin/zic", "a tool of a shell user"),
    left_out("openssl", "usr/bin/", "tools of a shell user"),
    left_out("openssl", "usr/lib/ssl/misc/", "perl scripts"),
    left_out("python3-minimal", "usr/bin/py3*", "for package scripts"),
    left_out(
        "python3-minimal",
        "usr/share/python3/",
        "for package scripts",
    ),
    left_out("*", "usr/lib/binfmt.d/", "for an init system"),
    left_out("*", "usr/share/binfmts/", "for an init system"),
    left_out("*", "usr/share/applications/", "for a desktop"),
    left_out("*", "usr/share/pixmaps/", "for a desktop"),
    left_out("*", "usr/lib/python3.*/test/", "Python's own tests"),
    left_out(
        "*",
        "usr/lib/python3.*/lib2to3/tests/",
        "Python's own tests",
    ),
    left_out(
        "*",
        "usr/lib/python3.*/lib-dynload/_ctypes_test*",
        "Python's own tests",
    ),
    left_out(
        "*",
        "usr/lib/python3.*/lib-dynload/_test*",
        "Python's own tests",
    ),
    left_out(
        "*",
        "usr/lib/python3.*/lib-dynload/_xx*",
        "Python's own tests",
    ),
    left_out(
        "*",
        "usr/lib/python3.*/lib-dynload/xx*",
        "Python's own tests",
    ),
    left_out("*", "usr/lib/python3.*/idlelib/", "for a desktop"),
    left_out(
        "*",
        "usr/lib/python3.*/ensurepip/",
        "nothing is installed later",
    ),
];

/// Whether a rule covers the file at `path` of `package`.
pub(crate) fn is_left_out(package: &str, path: &TreePath) -> bool {
    LEFT_OUT
        .iter()
        .any(|rule| ["*", package].contains(&rule.package) && covers(rule.path, path.as_str()))
}

/// Whether `pattern` is `path` or a directory above it. Each `*` stands for characters of one name.
fn covers(pattern: &str, path: &str) -> bool {
    let directory = pattern.strip_suffix('/');
    let (mut names, mut parts) = (path.split('/'), directory.unwrap_or(pattern).split('/'));
    let all = parts.all(|part| names.next().is_some_and(|name| is_match(part, name)));
    all && (directory.is_some() || names.next().is_none())
}

fn is_match(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_cover_what_they_say() {
        for (pattern, path, expect) in [
            ("usr/sbin/", "usr/sbin/x/y", true),
            ("usr/sbin/", "usr/sbin", true),
            ("usr/sbin/", "usr/sbin2", false),
            ("usr/bin/py3*", "usr/bin/py3clean", true),
            ("usr/bin/py3*", "usr/bin/python3", false),
            ("usr/bin/py3*", "usr/bin/py3/x", false),
            ("usr/lib/python3.*/test/", "usr/lib/python3.13/test/a", true),
            ("usr/lib/python3.*/test/", "usr/lib/python3.13/tests", false),
            ("usr/lib/python3.*/test/", "usr/lib/python3.13", false),
        ] {
            assert_eq!(covers(pattern, path), expect, "{pattern} {path}");
        }
    }
}
