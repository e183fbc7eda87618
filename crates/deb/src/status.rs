//! What is installed, written where scanners and dpkg look for it (dpkg's `doc/` calls it the
//! package database): `/var/lib/dpkg/status.d` on our own base, which has no dpkg, or the `status`
//! file of a base that has one.

use std::fmt::Write as _;
use std::sync::Arc;

use oci::{Content, Entry, Kind, Tree, TreePath};

use crate::Unpacked;
use crate::control::Stanza;
use crate::error::Error;

/// Where packages are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// `/var/lib/dpkg/status.d/<name>` and `<name>.md5sums`: one file for each package, so that
    /// several layers can add to it. Scanners read it as they read `status`.
    StatusD,
    /// `/var/lib/dpkg/status`, given as the base has it, and files in `/var/lib/dpkg/info`: what
    /// dpkg itself reads.
    Status(Vec<u8>),
}

/// The files of one package in the database.
pub(crate) struct Record<'a> {
    pub(crate) package: &'a Unpacked,
    /// Every path of the package, directories included.
    pub(crate) paths: Vec<TreePath>,
}

impl Record<'_> {
    /// The stanza that says that the package is installed.
    fn stanza(&self) -> String {
        let mut text = stanza(&self.package.control);
        if !self.package.conffiles.is_empty() {
            text.push_str("Conffiles:\n");
        }
        for (path, md5) in &self.package.conffiles {
            let _ = writeln!(text, " /{path} {md5}");
        }
        text
    }

    /// What dpkg keeps of the package's own list.
    fn conffiles(&self) -> String {
        let paths = self.package.conffiles.keys();
        paths.fold(String::new(), |text, path| format!("{text}/{path}\n"))
    }

    /// A line for each file that is still there as the package has it.
    fn md5sums(&self, tree: &Tree) -> String {
        let origin = self.package.origin();
        let mut text = String::new();
        for (path, md5) in &self.package.md5sums {
            let is_there = tree.get(path).is_some_and(|entry| {
                entry.origin == origin && matches!(entry.kind, Kind::File(_) | Kind::Hardlink(_))
            });
            if is_there {
                let _ = writeln!(text, "{md5}  {path}");
            }
        }
        text
    }

    /// dpkg's list of the package's files.
    fn list(&self, tree: &Tree) -> String {
        let there = self.paths.iter().filter(|path| tree.get(path).is_some());
        there.fold("/.\n".to_owned(), |text, path| format!("{text}/{path}\n"))
    }

    /// Packages that may be installed for several architectures have theirs in file names.
    fn info_name(&self) -> String {
        let Unpacked {
            name,
            architecture,
            control,
            ..
        } = self.package;
        match control.get("Multi-Arch") {
            Some("same") => format!("{name}:{architecture}"),
            _ => name.clone(),
        }
    }
}

/// Adds the files of `records` to `tree`.
pub(crate) fn write(
    database: &Database,
    records: &[Record<'_>],
    tree: &mut Tree,
) -> Result<(), Error> {
    match database {
        Database::StatusD => {
            for record in records {
                let name = &record.package.name;
                let md5sums = record.md5sums(tree);
                let origin = record.package.origin();
                add(tree, &format!("status.d/{name}"), &record.stanza(), &origin)?;
                add(tree, &format!("status.d/{name}.md5sums"), &md5sums, &origin)?;
            }
        }
        Database::Status(status) => {
            let mut status = status.clone();
            while status.last() == Some(&b'\n') {
                status.pop();
            }
            if !status.is_empty() {
                status.push(b'\n');
            }
            for record in records {
                if !status.is_empty() {
                    status.push(b'\n');
                }
                status.extend(record.stanza().bytes());
                let (name, origin) = (record.info_name(), record.package.origin());
                let (list, md5sums) = (record.list(tree), record.md5sums(tree));
                add(tree, &format!("info/{name}.list"), &list, &origin)?;
                add(tree, &format!("info/{name}.md5sums"), &md5sums, &origin)?;
                let conffiles = record.conffiles();
                if !conffiles.is_empty() {
                    let name = format!("info/{name}.conffiles");
                    add(tree, &name, &conffiles, &origin)?;
                }
            }
            let origin = "the package database".into();
            let entry = Entry::file(Content::Bytes(status.into()), false, &origin);
            tree.insert(path("status")?, entry)?;
        }
    }
    Ok(())
}

fn add(tree: &mut Tree, name: &str, text: &str, origin: &Arc<str>) -> Result<(), Error> {
    let entry = Entry::file(Content::Bytes(text.as_bytes().into()), false, origin);
    tree.insert(path(name)?, entry)?;
    Ok(())
}

fn path(name: &str) -> Result<TreePath, Error> {
    Ok(TreePath::new(&format!("var/lib/dpkg/{name}"))?)
}

/// The fields of a control file, with `Status` after `Package` as dpkg has it.
fn stanza(control: &Stanza) -> String {
    let mut text = String::new();
    for (name, value) in control.fields() {
        if name.eq_ignore_ascii_case("Status") {
            continue;
        }
        let value = value.replace('\n', "\n ");
        let blank = if value.starts_with('\n') { "" } else { " " };
        let _ = writeln!(text, "{name}:{blank}{value}");
        if name.eq_ignore_ascii_case("Package") {
            text.push_str("Status: install ok installed\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Stanzas;
    use crate::testing::{path, text, unpack};
    use crate::{Ground, install};
    use testkit::DebBuilder;

    /// The value of the field, its lines without the blank before them.
    const CONFFILES: &str = "\n/etc/x.conf 9dd4e461268c8034f5c8564e155c67a6";

    fn packages() -> Vec<Unpacked> {
        let library = DebBuilder::new("libx1", "1:2.0-1", "arm64")
            .field("Multi-Arch", "same")
            .field("Status", "install ok half-installed")
            .depends("libc6 (>= 2.38)")
            .file("lib/libx.so.1", b"x")
            .file("usr/share/doc/libx1/README", b"left out")
            .symlink("usr/lib/libx.so", "libx.so.1");
        let data = DebBuilder::new("x-data", "3", "all")
            .file("usr/share/x/a", b"a")
            .conffile("etc/x.conf", b"x");
        vec![unpack(&library), unpack(&data)]
    }

    fn on(database: Database) -> Ground {
        Ground {
            database,
            ..Ground::bare()
        }
    }

    fn read(text: &str) -> Vec<Stanza> {
        Stanzas::new(text.as_bytes(), "status")
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn status_d_is_read_back_as_control_files() {
        let tree = install(packages(), &Ground::bare()).unwrap().tree;
        let stanzas = read(&text(&tree, "var/lib/dpkg/status.d/libx1"));
        assert_eq!(stanzas.len(), 1);
        let mut fields: Vec<_> = stanzas[0].fields().collect();
        assert_eq!(fields.remove(1), ("Status", "install ok installed"));
        let original = packages().remove(0).control;
        let expect: Vec<_> = original
            .fields()
            .filter(|(name, _)| *name != "Status")
            .collect();
        assert_eq!(fields, expect);
        assert_eq!(
            text(&tree, "var/lib/dpkg/status.d/libx1.md5sums"),
            "9dd4e461268c8034f5c8564e155c67a6  usr/lib/libx.so.1\n"
        );
        assert!(tree.get(&path("var/lib/dpkg/status")).is_none());
        let data = read(&text(&tree, "var/lib/dpkg/status.d/x-data"));
        assert_eq!(data[0].get("Conffiles"), Some(CONFFILES));
    }

    #[test]
    fn the_status_of_a_base_is_added_to() {
        let old = "Package: dpkg\nStatus: install ok installed\nVersion: 1\n\n\n";
        let database = Database::Status(old.as_bytes().to_vec());
        let tree = install(packages(), &on(database)).unwrap().tree;
        let status = text(&tree, "var/lib/dpkg/status");
        let names: Vec<_> = read(&status)
            .iter()
            .map(|s| s.get("Package").unwrap().to_owned())
            .collect();
        assert_eq!(names, ["dpkg", "libx1", "x-data"]);
        assert!(
            status.starts_with(old.trim_end()) && status.ends_with('\n'),
            "{status}"
        );
        assert_eq!(
            text(&tree, "var/lib/dpkg/info/libx1:arm64.list"),
            "/.\n/usr\n/usr/lib\n/usr/lib/libx.so\n/usr/lib/libx.so.1\n/usr/share\n"
        );
        assert!(
            tree.get(&path("var/lib/dpkg/info/x-data.md5sums"))
                .is_some()
        );
        assert!(tree.get(&path("var/lib/dpkg/status.d")).is_none());
        assert_eq!(read(&status)[2].get("Conffiles"), Some(CONFFILES));
        assert_eq!(
            text(&tree, "var/lib/dpkg/info/x-data.conffiles"),
            "/etc/x.conf\n"
        );
        assert!(
            tree.get(&path("var/lib/dpkg/info/libx1:arm64.conffiles"))
                .is_none()
        );
    }

    #[test]
    fn an_empty_status_begins_with_a_package() {
        let tree = install(packages(), &on(Database::Status(Vec::new())))
            .unwrap()
            .tree;
        assert!(text(&tree, "var/lib/dpkg/status").starts_with("Package: libx1\n"));
    }
}
