//! What adding Debian packages to an image depends on: dpkg's records, and what of the image's files
//! a package must not replace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::path;
use crate::records::{Manager, Records, records};
use crate::scan::Node;
use crate::view::View;

/// The directory that records are in, or directories of them.
const DIRECTORY: &str = "var/lib/dpkg";
/// What the loader reads before its default directories.
pub(crate) const LOADER_CACHE: &str = "etc/ld.so.cache";

/// An image that has dpkg's records, as packages that are added to it find it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dpkg {
    /// The form of the records.
    pub database: DpkgDatabase,
    /// The records themselves, by their paths: `/var/lib/dpkg/status`, or each file of `status.d`.
    pub records: BTreeMap<String, String>,
    /// Links that lead to a directory, and the directory, without a slash before either: `lib`,
    /// `usr/lib`. A directory of a layer above would hide the link and all that is behind it.
    pub links: BTreeMap<String, String>,
    /// Files and links below `etc`, sorted: configuration, which stays as the image has it.
    pub etc: Vec<String>,
    /// The bytes of `/etc/ld.so.cache` in hexadecimal, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader_cache: Option<String>,
}

/// The form of dpkg's records.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DpkgDatabase {
    /// One file for all packages: `/var/lib/dpkg/status`.
    Status,
    /// One file for each package, in `/var/lib/dpkg/status.d`, as images without dpkg have it.
    StatusD,
}

impl Dpkg {
    /// None where the image has no records.
    pub(crate) fn of(view: &View, is_directory: impl Fn(&str) -> bool) -> Option<Self> {
        let (database, records) = files(view)?;
        let links = view
            .nodes()
            .filter(|(_, node)| matches!(node, Node::Symlink(_)))
            .filter_map(|(link, _)| Some((link.to_owned(), view.resolve(link)?)))
            .filter(|(_, target)| is_directory(target));
        let etc = view
            .nodes()
            .filter(|(path, node)| path.starts_with("etc/") && **node != Node::Directory);
        Some(Self {
            database,
            records,
            links: links.collect(),
            etc: etc.map(|(path, _)| path.to_owned()).collect(),
            loader_cache: view.bytes(LOADER_CACHE).map(hexadecimal),
        })
    }

    /// The versions that the search for Python and the C library asks for.
    pub(crate) fn versions(&self) -> Records {
        let texts = self.records.values();
        texts
            .flat_map(|text| records(Manager::Dpkg, text))
            .collect()
    }
}

/// The records in either form. An empty `status` counts only where there is nothing else.
fn files(view: &View) -> Option<(DpkgDatabase, BTreeMap<String, String>)> {
    let read = |name: &str| {
        let path = path::join(DIRECTORY, name);
        let text = view.text(&path)?.to_owned();
        Some((path::absolute(&path), text))
    };
    let whole = read("status");
    if let Some((path, text)) = whole.as_ref().filter(|(_, text)| !text.trim().is_empty()) {
        let records = BTreeMap::from([(path.clone(), text.clone())]);
        return Some((DpkgDatabase::Status, records));
    }
    let names = view.names_in("var/lib/dpkg/status.d").into_iter();
    let parts: BTreeMap<_, _> = names
        .filter_map(|name| read(&path::join("status.d", name)))
        .collect();
    if parts.is_empty() {
        return Some((DpkgDatabase::Status, BTreeMap::from([whole?])));
    }
    Some((DpkgDatabase::StatusD, parts))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, image};

    const LIBC: &str = "Package: libc6\nStatus: install ok installed\nVersion: 2.41-12\n";

    fn dpkg(layers: &[Layer]) -> Dpkg {
        image(&[], layers).dpkg.unwrap()
    }

    #[test]
    fn records_are_the_upper_layers() {
        let lower = Layer::new().file("var/lib/dpkg/status", LIBC);
        let both = format!("{LIBC}\nPackage: x\nVersion: 1\n");
        let upper = Layer::new().file("var/lib/dpkg/status", &both);
        let found = dpkg(&[lower, upper]);
        assert_eq!(found.database, DpkgDatabase::Status);
        let expect = [("/var/lib/dpkg/status".to_owned(), both)];
        assert_eq!(found.records, BTreeMap::from(expect));
    }

    #[test]
    fn an_empty_status_gives_way_to_status_d() {
        let layer = Layer::new().file("var/lib/dpkg/status", "\n");
        let found = dpkg(std::slice::from_ref(&layer));
        assert_eq!(found.database, DpkgDatabase::Status);
        let found = dpkg(&[layer.file("var/lib/dpkg/status.d/libc6", LIBC)]);
        assert_eq!(found.database, DpkgDatabase::StatusD);
        assert_eq!(
            found.records.keys().collect::<Vec<_>>(),
            ["/var/lib/dpkg/status.d/libc6"]
        );
        assert_eq!(
            image(&[], &[Layer::new().file("etc/passwd", "")]).dpkg,
            None
        );
    }

    #[test]
    fn links_to_directories_are_told_with_where_they_lead() {
        let lower = Layer::new()
            .file("var/lib/dpkg/status", LIBC)
            .link("lib", "usr/lib")
            .link("var/run", "/run")
            .link("usr/lib/x.so", "x.so.1")
            .link("opt/gone", "nowhere")
            .link("opt/hidden", "/srv")
            .file("usr/lib/x.so.1", "")
            .file("run/lock/x", "")
            .file("srv/x", "");
        let upper = Layer::new().link("opt/again", "../lib").file(".wh.srv", "");
        let links: Vec<_> = dpkg(&[lower, upper]).links.into_iter().collect();
        let expect = [
            ("lib", "usr/lib"),
            ("opt/again", "usr/lib"),
            ("var/run", "run"),
        ];
        let expect = expect.map(|(link, target)| (link.to_owned(), target.to_owned()));
        assert_eq!(links, expect);
    }

    #[test]
    fn configuration_and_the_loaders_cache() {
        let layer = Layer::new()
            .file("var/lib/dpkg/status", LIBC)
            .file("etc/a/b.conf", "x")
            .link("etc/alternatives/awk", "/usr/bin/mawk")
            .directory("etc/empty")
            .file("etc/ld.so.cache", [0xff, 0x0a]);
        let found = dpkg(&[layer]);
        assert_eq!(
            found.etc,
            ["etc/a/b.conf", "etc/alternatives/awk", "etc/ld.so.cache"]
        );
        assert_eq!(found.loader_cache.as_deref(), Some("ff0a"));
    }
}
