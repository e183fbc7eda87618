//! What packages are put on: an image with files of its own, which a layer above must not hide.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Entry, Kind, Tree, TreePath};

use crate::error::Error;
use crate::install::Assembled;
use crate::loader_cache;
use crate::status::Database;
use crate::unpack::{Unpacked, Usr};

/// What an image has that matters to packages that are added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// Where its packages are recorded.
    pub database: Database,
    /// Links that lead to a directory, and the directory, in which no further link is: `lib`,
    /// `usr/lib`. What a package has behind a link goes to where the link leads.
    pub links: BTreeMap<String, String>,
    /// Files and links below `etc`. They are configuration, and stay as they are, as dpkg leaves
    /// what somebody changed.
    pub etc: BTreeSet<String>,
    /// The bytes of `/etc/ld.so.cache`, where there is one.
    pub loader_cache: Option<Vec<u8>>,
}

impl Ground {
    /// One with nothing on it, whose packages are recorded in `status.d`.
    pub fn bare() -> Self {
        Self {
            database: Database::StatusD,
            links: BTreeMap::new(),
            etc: BTreeSet::new(),
            loader_cache: None,
        }
    }

    /// One of ours, with `base` on it.
    pub fn of_base(base: &Assembled) -> Self {
        Self {
            loader_cache: loader_cache::of(&base.tree),
            ..Self::bare()
        }
    }

    /// Whether its `/lib` and the like are links into `/usr`.
    pub fn usr(&self) -> Usr {
        match self.links.get("lib").map(String::as_str) {
            Some("usr/lib") => Usr::Merged,
            _ => Usr::Split,
        }
    }

    /// Whether something is at `path` that stays.
    pub(crate) fn keeps(&self, path: &str) -> bool {
        self.etc.contains(path) || self.links.contains_key(path)
    }

    /// Brings the files of `package` to where links lead, and leaves out those that give way.
    pub(crate) fn settle(&self, package: &mut Unpacked) -> Result<(), Error> {
        if self.links.is_empty() && self.etc.is_empty() {
            return Ok(());
        }
        let mut tree = Tree::new();
        for (path, entry) in std::mem::take(&mut package.tree) {
            let path = match entry.kind {
                Kind::Directory => self.behind(path.as_str())?,
                _ => self.place(&path)?,
            };
            if entry.kind != Kind::Directory && self.keeps(path.as_str()) {
                continue;
            }
            let kind = match entry.kind {
                Kind::Hardlink(target) => Kind::Hardlink(self.place(&target)?),
                kind => kind,
            };
            tree.insert(path, Entry { kind, ..entry })?;
        }
        package.tree = tree;
        for sums in [&mut package.md5sums, &mut package.conffiles] {
            *sums = std::mem::take(sums)
                .into_iter()
                .map(|(path, md5)| Ok((self.place(&path)?, md5)))
                .collect::<Result<_, Error>>()?;
        }
        Ok(())
    }

    /// Where a file at `path` lies: the links in the path are followed, one at its end is not.
    pub(crate) fn place(&self, path: &TreePath) -> Result<TreePath, Error> {
        match path.parent() {
            None => Ok(path.clone()),
            Some(parent) => Ok(self.behind(parent.as_str())?.join(path.name())?),
        }
    }

    /// The directory that is found at `path`.
    fn behind(&self, path: &str) -> Result<TreePath, Error> {
        let mut real = String::new();
        for name in path.split('/') {
            if !real.is_empty() {
                real.push('/');
            }
            real.push_str(name);
            if let Some(target) = self.links.get(&real) {
                real.clone_from(target);
            }
        }
        Ok(TreePath::new(&real)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install;
    use crate::testing::{listing, text, unpack_with};
    use crate::unpack::UnpackOptions;
    use testkit::DebBuilder;

    fn ground(links: &[(&str, &str)], etc: &[&str]) -> Ground {
        let links = links
            .iter()
            .map(|(link, to)| ((*link).to_owned(), (*to).to_owned()));
        Ground {
            database: Database::Status(b"Package: dpkg\nVersion: 1\n".to_vec()),
            links: links.collect(),
            etc: etc.iter().map(|path| (*path).to_owned()).collect(),
            loader_cache: None,
        }
    }

    fn files(ground: &Ground, deb: &DebBuilder) -> Vec<String> {
        let options = UnpackOptions {
            usr: ground.usr(),
            ..UnpackOptions::default()
        };
        let packages = vec![unpack_with(deb, &options).unwrap()];
        let mut lines = listing(&install(packages, ground).unwrap().tree);
        lines.retain(|line| !line.contains("var/lib/dpkg"));
        lines
    }

    #[test]
    fn files_go_where_the_links_of_the_image_lead() {
        let deb = DebBuilder::new("demo", "1", "arm64")
            .directory("lib", 0o755)
            .file("lib/aarch64-linux-gnu/libx.so.1", b"x")
            .hardlink("usr/share/x/again", "lib/aarch64-linux-gnu/libx.so.1")
            .directory("var/cache/demo", 0o750)
            .file("opt/demo/bin/run", b"#!");
        let merged = ground(
            &[
                ("lib", "usr/lib"),
                ("opt/demo", "srv/d"),
                ("var/cache", "mnt"),
            ],
            &[],
        );
        assert_eq!(
            files(&merged, &deb),
            [
                "0750 mnt/demo/",
                "0644 srv/d/bin/run 2 bytes",
                "0644 usr/lib/aarch64-linux-gnu/libx.so.1 1 bytes",
                "0644 usr/share/x/again = usr/lib/aarch64-linux-gnu/libx.so.1",
            ]
        );
        assert_eq!(
            files(&ground(&[], &[]), &deb)[0],
            "0644 lib/aarch64-linux-gnu/libx.so.1 1 bytes",
            "an image that is not merged"
        );
    }

    #[test]
    fn a_link_of_the_image_stays() {
        let deb = DebBuilder::new("demo", "1", "arm64")
            .symlink("usr/share/doc/demo", "demo-common")
            .file("usr/share/doc/demo-common/copyright", b"free");
        let linked = ground(&[("usr/share/doc/demo", "usr/share/doc/other")], &[]);
        assert_eq!(
            files(&linked, &deb),
            ["0644 usr/share/doc/demo-common/copyright 4 bytes"]
        );
    }

    #[test]
    fn configuration_of_the_image_stays() {
        let deb = DebBuilder::new("netbase", "6", "all")
            .file("etc/protocols", b"new")
            .file("etc/services", b"new");
        let kept = ground(&[], &["etc/protocols", "etc/hosts"]);
        let lines = files(&kept, &deb);
        assert!(
            lines.contains(&"0644 etc/services 3 bytes".to_owned()),
            "{lines:#?}"
        );
        for path in ["etc/protocols", "etc/hosts"] {
            assert!(!lines.iter().any(|line| line.contains(path)), "{lines:#?}");
        }
        let bare = install(
            vec![unpack_with(&deb, &UnpackOptions::default()).unwrap()],
            &Ground::bare(),
        );
        assert!(text(&bare.unwrap().tree, "etc/hosts").contains("localhost"));
    }
}
