//! What the maintainer scripts of a few packages would have done, as data (Policy 6.5).
//!
//! No script runs. The packages whose scripts matter to a running program are listed here with what
//! their scripts leave behind; every other script is [searched](crate::script) for commands that
//! would have done something, and its package is named in a warning.

use std::fmt;
use std::path::Path;

use oci::{Content, Entry, Kind, Tree, TreePath};

use crate::alternatives::{self, Alternative};
use crate::error::Error;
use crate::ground::Ground;
use crate::{Unpacked, script};

/// What is done for a package. A `*` in the name stands for digits, which replace every `*` of the
/// paths.
struct Row {
    package: &'static str,
    actions: &'static [Action],
}

enum Action {
    /// Unless something is there, in the image or in the tree: a directory with its mode and group.
    Directory(&'static str, u32, u32),
    /// A symbolic link, in place of an empty directory if there is one.
    Link(&'static str, &'static str),
    /// Unless something is there: a file with this text.
    Text(&'static str, &'static str),
    /// Unless something is there: the same file as one of the package's.
    Copy {
        from: &'static str,
        to: &'static str,
    },
    /// All certificates below a directory, one after the other, and the list of their names.
    Certificates {
        from: &'static str,
        bundle: &'static str,
        list: &'static str,
    },
}

use Action::{Certificates, Copy, Directory, Link, Text};

/// Debian's group of `/var/mail`, which base-passwd fixes.
const MAIL: u32 = 8;

const TABLE: &[Row] = &[
    // Left out: what login shells and login records need. An image has neither.
    Row {
        package: "base-files",
        actions: &[
            Link("etc/dpkg/origins/default", "debian"),
            Directory("mnt", 0o755, 0),
            Directory("srv", 0o755, 0),
            Directory("opt", 0o755, 0),
            Directory("etc/opt", 0o755, 0),
            Directory("var/opt", 0o755, 0),
            Directory("media", 0o755, 0),
            Directory("var/mail", 0o2775, MAIL),
            Link("var/spool/mail", "../mail"),
            Directory("run/lock", 0o1777, 0),
            Link("var/run", "/run"),
            Link("var/lock", "/run/lock"),
            Directory("usr/local/bin", 0o755, 0),
            Directory("usr/local/etc", 0o755, 0),
            Directory("usr/local/games", 0o755, 0),
            Directory("usr/local/include", 0o755, 0),
            Directory("usr/local/lib", 0o755, 0),
            Directory("usr/local/sbin", 0o755, 0),
            Directory("usr/local/share/man", 0o755, 0),
            Directory("usr/local/src", 0o755, 0),
            Link("usr/local/man", "share/man"),
        ],
    },
    Row {
        package: "base-passwd",
        actions: &[
            Copy {
                from: "usr/share/base-passwd/passwd.master",
                to: "etc/passwd",
            },
            Copy {
                from: "usr/share/base-passwd/group.master",
                to: "etc/group",
            },
            Text("etc/subuid", ""),
            Text("etc/subgid", ""),
        ],
    },
    Row {
        package: "ca-certificates",
        actions: &[
            Directory("usr/local/share/ca-certificates", 0o755, 0),
            Certificates {
                from: "usr/share/ca-certificates",
                bundle: "etc/ssl/certs/ca-certificates.crt",
                list: "etc/ca-certificates.conf",
            },
        ],
    },
    Row {
        package: "libc-bin",
        actions: &[Copy {
            from: "usr/share/libc-bin/nsswitch.conf",
            to: "etc/nsswitch.conf",
        }],
    },
    // Restarts services after an upgrade.
    Row {
        package: "libc6",
        actions: &[],
    },
    // Writes a file only where the package's own is missing.
    Row {
        package: "libpython3.*-minimal",
        actions: &[],
    },
    Row {
        package: "netbase",
        actions: &[
            Text(
                "etc/hosts",
                "127.0.0.1\tlocalhost\n\
                 ::1\t\tlocalhost ip6-localhost ip6-loopback\n\
                 ff02::1\t\tip6-allnodes\n\
                 ff02::2\t\tip6-allrouters\n",
            ),
            Text(
                "etc/networks",
                "default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n",
            ),
        ],
    },
    // Links /usr/lib/ssl where the package's own directory is missing.
    Row {
        package: "openssl",
        actions: &[],
    },
    // Compiles the standard library; Python does so in memory.
    Row {
        package: "python3.*",
        actions: &[],
    },
    Row {
        package: "python3.*-minimal",
        actions: &[Directory("usr/local/lib/python3.*/dist-packages", 0o755, 0)],
    },
    Row {
        package: "tzdata",
        actions: &[
            Link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
            Text("etc/timezone", "Etc/UTC\n"),
        ],
    },
];

/// A package whose `postinst` would have done something that was not done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The commands that were not run.
    pub commands: Vec<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            package,
            version,
            commands,
        } = self;
        write!(
            f,
            "{package} {version} has an installation script that was not run; it uses "
        )?;
        for (n, command) in commands.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}`{command}`")?;
        }
        Ok(())
    }
}

/// What came of a script.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Where it would have done more.
    pub(crate) warning: Option<Warning>,
    /// To be made once all packages are there.
    pub(crate) alternatives: Vec<Alternative>,
}

/// Does in `tree` what the script of `package` would have done, as far as that is known.
pub(crate) fn configure(
    package: &Unpacked,
    tree: &mut Tree,
    ground: &Ground,
) -> Result<Done, Error> {
    let found = TABLE
        .iter()
        .find_map(|row| Some((row, star(row.package, &package.name)?)));
    if let Some((row, digits)) = found {
        let mut run = Run {
            package,
            tree,
            ground,
            digits,
        };
        row.actions
            .iter()
            .try_for_each(|action| run.action(action))?;
        return Ok(Done::default());
    }
    let script = package.postinst.as_deref().unwrap_or_default();
    let mut commands = script::changes(script);
    let alternatives = alternatives::installed_by(script);
    if alternatives.is_some() {
        commands.retain(|command| command != "update-alternatives");
    }
    Ok(Done {
        warning: (!commands.is_empty()).then(|| Warning {
            package: package.name.clone(),
            version: package.version.clone(),
            commands,
        }),
        alternatives: alternatives.unwrap_or_default(),
    })
}

/// The digits that `*` stands for; empty where there is no `*`.
fn star<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let Some((head, tail)) = pattern.split_once('*') else {
        return (pattern == name).then_some("");
    };
    let digits = name.strip_prefix(head)?.strip_suffix(tail)?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

struct Run<'a> {
    package: &'a Unpacked,
    tree: &'a mut Tree,
    ground: &'a Ground,
    digits: &'a str,
}

impl Run<'_> {
    fn action(&mut self, action: &Action) -> Result<(), Error> {
        let origin = self.package.origin();
        match *action {
            Directory(path, mode, gid) => {
                let entry = Entry {
                    gid,
                    ..Entry::new(Kind::Directory, mode, &origin)
                };
                self.add(path, entry)
            }
            Text(path, text) => self.add_bytes(path, text.as_bytes()),
            Copy { from, to } => {
                let path = self.path(from)?;
                let entry = self
                    .tree
                    .get(&path)
                    .cloned()
                    .ok_or_else(|| self.lacks(path))?;
                self.add(to, Entry { origin, ..entry })
            }
            Link(path, target) => {
                let path = self.path(path)?;
                if self.ground.keeps(path.as_str()) {
                    return Ok(());
                }
                self.make_way(&path)?;
                self.tree.replace(path, Entry::symlink(target, &origin))?;
                Ok(())
            }
            Certificates { from, bundle, list } => self.certificates(from, bundle, list),
        }
    }

    fn path(&self, text: &str) -> Result<TreePath, Error> {
        Ok(TreePath::new(&text.replace('*', self.digits))?)
    }

    fn add(&mut self, path: &str, entry: Entry) -> Result<(), Error> {
        let path = self.path(path)?;
        if self.tree.get(&path).is_none() && !self.ground.keeps(path.as_str()) {
            self.tree.insert(path, entry)?;
        }
        Ok(())
    }

    fn add_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let origin = self.package.origin();
        self.add(
            path,
            Entry::file(Content::Bytes(bytes.into()), false, &origin),
        )
    }

    /// Refuses to put a link where a directory with something in it is.
    fn make_way(&mut self, path: &TreePath) -> Result<(), Error> {
        let prefix = format!("{path}/");
        match self
            .tree
            .iter()
            .find(|(other, _)| other.as_str().starts_with(&prefix))
        {
            None => Ok(()),
            Some((_, entry)) => Err(oci::TreeError::Conflict {
                path: path.clone(),
                first: entry.origin.clone(),
                second: self.package.origin(),
            }
            .into()),
        }
    }

    /// As `update-ca-certificates` does: each ends with a newline, in the order of their names.
    fn certificates(&mut self, from: &str, bundle: &str, list: &str) -> Result<(), Error> {
        let (mut certificates, mut names) = (Vec::new(), String::new());
        let prefix = format!("{from}/");
        for (path, entry) in self.tree.iter() {
            let Some(name) = path
                .as_str()
                .strip_prefix(&prefix)
                .filter(|name| is_certificate(name))
            else {
                continue;
            };
            let Kind::File(content) = &entry.kind else {
                continue;
            };
            certificates.extend(read(content, &entry.origin)?);
            if certificates.last() != Some(&b'\n') {
                certificates.push(b'\n');
            }
            names.push_str(name);
            names.push('\n');
        }
        if certificates.is_empty() {
            return Err(self.lacks(self.path(from)?));
        }
        self.add_bytes(bundle, &certificates)?;
        self.add_bytes(list, names.as_bytes())
    }

    fn lacks(&self, path: TreePath) -> Error {
        Error::Lacks {
            package: self.package.origin().to_string(),
            path,
        }
    }
}

fn is_certificate(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "crt")
}

/// A certificate has some 2 KiB.
const MAX_FILE: u64 = 1 << 20;

/// The bytes of a small file.
pub(crate) fn read(content: &Content, origin: &str) -> Result<Vec<u8>, Error> {
    let result = match content {
        Content::Bytes(bytes) => return Ok(bytes.to_vec()),
        Content::File {
            source,
            offset,
            length,
        } if *length <= MAX_FILE => {
            let mut bytes = vec![0; *length as usize];
            source.read_exact_at(&mut bytes, *offset).map(|()| bytes)
        }
        _ => Err(std::io::ErrorKind::FileTooLarge.into()),
    };
    result.map_err(|source| Error::Read {
        file: origin.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_digits() {
        assert_eq!(star("python3.*", "python3.13"), Some("13"));
        assert_eq!(star("python3.*", "python3.13-minimal"), None);
        assert_eq!(star("python3.*-minimal", "python3.13-minimal"), Some("13"));
        assert_eq!(star("python3.*", "python3."), None);
        assert_eq!(star("tzdata", "tzdata"), Some(""));
        assert_eq!(star("tzdata", "tzdata-legacy"), None);
    }

    #[test]
    fn the_paths_of_the_table_are_paths() {
        for row in TABLE {
            for action in row.actions {
                let (Directory(path, ..) | Link(path, _) | Text(path, _)) = action else {
                    continue;
                };
                assert!(
                    TreePath::new(path).is_ok() && !path.starts_with('/'),
                    "{path}"
                );
            }
        }
    }
}
