//! Versions from the records of package managers: dpkg's (deb822, `/var/lib/dpkg/status`) and apk's
//! (`lib/apk/db/installed`). Only the packages that Python and the C library are in.

use std::collections::BTreeMap;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Dpkg,
    Apk,
}

/// Installed packages and their versions.
pub(crate) type Records = BTreeMap<String, String>;

/// Reads records line by line.
#[derive(Debug)]
pub(crate) struct RecordReader {
    manager: Manager,
    name: Option<String>,
    version: Option<String>,
    is_removed: bool,
    records: Records,
}

impl RecordReader {
    pub(crate) fn new(manager: Manager) -> Self {
        Self {
            manager,
            name: None,
            version: None,
            is_removed: false,
            records: Records::new(),
        }
    }

    pub(crate) fn line(&mut self, line: &str) {
        if line.is_empty() {
            self.end();
            return;
        }
        let Some((key, value)) = line.split_once(':') else {
            return;
        };
        let value = value.trim();
        match (self.manager, key) {
            (Manager::Dpkg, "Package") | (Manager::Apk, "P") => self.name = Some(value.to_owned()),
            (Manager::Dpkg, "Version") | (Manager::Apk, "V") => {
                self.version = Some(value.to_owned());
            }
            // Files are left of a package that is removed, but not those.
            (Manager::Dpkg, "Status") => self.is_removed = !value.ends_with(" installed"),
            _ => {}
        }
    }

    pub(crate) fn finish(mut self) -> Records {
        self.end();
        self.records
    }

    fn end(&mut self) {
        let (name, version) = (self.name.take(), self.version.take());
        let is_removed = std::mem::take(&mut self.is_removed);
        if let (Some(name), Some(version), false) = (name, version, is_removed)
            && is_of_interest(&name)
        {
            self.records.insert(name, version);
        }
    }
}

/// The packages of a whole text.
pub(crate) fn records(manager: Manager, text: &str) -> Records {
    let mut reader = RecordReader::new(manager);
    text.lines().for_each(|line| reader.line(line));
    reader.finish()
}

fn is_of_interest(name: &str) -> bool {
    let python = name.strip_prefix("lib").unwrap_or(name);
    let python = python.strip_prefix("python").unwrap_or_default();
    matches!(name, "libc6" | "musl" | "glibc" | "python3")
        || python.starts_with("3.")
        || python.starts_with("-3.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(manager: Manager, text: &str) -> Vec<String> {
        records(manager, text)
            .into_iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect()
    }

    #[test]
    fn dpkg() {
        let text = "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u4\n\n\
            Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n\
            Package: python3.10-minimal\nStatus: deinstall ok config-files\nVersion: 3.10.1-1\n\n\
            Package: libpython3.11-minimal\nDescription: x\n Version: 9\nVersion: 3.11.2-6\n";
        assert_eq!(
            check(Manager::Dpkg, text),
            ["libc6 2.36-9+deb12u4", "libpython3.11-minimal 3.11.2-6"]
        );
    }

    #[test]
    fn apk() {
        let text = "C:Q1=\nP:musl\nV:1.2.5-r1\nF:lib\n\nP:python3\nV:3.12.3-r1\n\nP:zlib\nV:1\n\n\
            P:python-3.13-base\nV:3.13.1-r0";
        assert_eq!(
            check(Manager::Apk, text),
            [
                "musl 1.2.5-r1",
                "python-3.13-base 3.13.1-r0",
                "python3 3.12.3-r1"
            ]
        );
    }
}
