//! Packages together: one tree, configured and recorded, as a layer adds it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use oci::{Content, Entry, Kind, Tree, TreePath};

use crate::error::Error;
use crate::ground::Ground;
use crate::postinst::{self, Warning};
use crate::status::{self, Record};
use crate::{Unpacked, alternatives, hardlinks, loader_cache};

/// What packages come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// All of their files, what their scripts would have made, and the package database.
    pub tree: Tree,
    /// Packages whose scripts would have done more.
    pub warnings: Vec<Warning>,
}

/// Puts `packages` into one tree, on top of `ground`, which has none of them. Their order does not
/// matter. They were unpacked for its [`Ground::usr`].
pub fn install(packages: Vec<Unpacked>, ground: &Ground) -> Result<Assembled, Error> {
    install_without(packages, ground, |_, _| false)
}

/// As [`install`], without the files for whose package and path `is_left_out` says so.
pub(crate) fn install_without(
    mut packages: Vec<Unpacked>,
    ground: &Ground,
    is_left_out: impl Fn(&str, &TreePath) -> bool,
) -> Result<Assembled, Error> {
    packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    let mut merge = Merge {
        tree: Tree::new(),
        replaces: replaces(&packages),
    };
    let mut records = Vec::new();
    for package in &mut packages {
        ground.settle(package)?;
        let mut files = std::mem::take(&mut package.tree);
        let mut paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
        paths.retain(|path| {
            let stays = !is_left_out(&package.name, path);
            if !stays {
                hardlinks::remove(&mut files, path);
            }
            stays
        });
        for (path, entry) in files {
            merge.add(path, entry)?;
        }
        records.push(paths);
    }
    let Merge { mut tree, .. } = merge;
    hardlinks::settle(&mut tree);
    let (mut warnings, mut brought) = (Vec::new(), Vec::new());
    for package in &packages {
        let done = postinst::configure(package, &mut tree, ground)?;
        warnings.extend(done.warning);
        let origin = package.origin();
        brought.extend(done.alternatives.into_iter().map(|it| (it, origin.clone())));
    }
    alternatives::apply(brought, &mut tree, ground)?;
    loader_cache::write(&mut tree, ground)?;
    let records: Vec<_> = packages
        .iter()
        .zip(records)
        .map(|(package, paths)| Record { package, paths })
        .collect();
    status::write(&ground.database, &records, &mut tree)?;
    Ok(Assembled { tree, warnings })
}

/// For each package the names of those whose files it may replace (Policy 7.6.1).
fn replaces(packages: &[Unpacked]) -> BTreeMap<Arc<str>, BTreeSet<String>> {
    let names = |package: &Unpacked| {
        let field = package.control.get("Replaces").unwrap_or_default();
        let name = |relation: &str| {
            relation
                .trim()
                .split([' ', '(', ':'])
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        field.split(',').map(name).collect()
    };
    packages
        .iter()
        .map(|package| (package.origin(), names(package)))
        .collect()
}

struct Merge {
    tree: Tree,
    replaces: BTreeMap<Arc<str>, BTreeSet<String>>,
}

impl Merge {
    fn add(&mut self, path: TreePath, entry: Entry) -> Result<(), Error> {
        let Some(first) = self.tree.get(&path) else {
            self.tree.insert(path, entry)?;
            return Ok(());
        };
        match (&first.kind, &entry.kind) {
            // A link to a directory stays; what is in the directory comes by its own path.
            (Kind::Symlink(_), Kind::Directory) => return Ok(()),
            (Kind::File(a), Kind::File(b)) if a != b => {
                let same_metadata =
                    (first.mode, first.uid, first.gid) == (entry.mode, entry.uid, entry.gid);
                if self.may_replace(&first.origin, &entry.origin)
                    || (same_metadata && same_bytes(a, b, &entry.origin)?)
                {
                    return Ok(());
                }
                if self.may_replace(&entry.origin, &first.origin) {
                    self.tree.replace(path, entry)?;
                    return Ok(());
                }
            }
            _ => {}
        }
        self.tree.insert(path, entry)?;
        Ok(())
    }

    fn may_replace(&self, new: &Arc<str>, old: &str) -> bool {
        let old = old.split_once(' ').map_or(old, |(name, _)| name);
        self.replaces
            .get(new)
            .is_some_and(|names| names.contains(old))
    }
}

fn same_bytes(a: &Content, b: &Content, origin: &str) -> Result<bool, Error> {
    let (
        Content::File {
            source: a,
            offset: a_offset,
            length,
        },
        Content::File {
            source: b,
            offset: b_offset,
            length: b_length,
        },
    ) = (a, b)
    else {
        return Ok(a == b);
    };
    if length != b_length {
        return Ok(false);
    }
    let (mut a, mut b) = (a.range(*a_offset, *length), b.range(*b_offset, *length));
    let (mut a_buffer, mut b_buffer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let error = |source| Error::Read {
        file: origin.to_owned(),
        source,
    };
    loop {
        let read = a.read(&mut a_buffer).map_err(error)?;
        if read == 0 {
            return Ok(true);
        }
        b.read_exact(&mut b_buffer[..read]).map_err(error)?;
        if a_buffer[..read] != b_buffer[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{listing, path, text, unpack};
    use testkit::DebBuilder;

    fn all(debs: &[DebBuilder]) -> Result<Assembled, Error> {
        install(debs.iter().map(unpack).collect(), &Ground::bare())
    }

    fn files(debs: &[DebBuilder]) -> Vec<String> {
        let mut listing = listing(&all(debs).unwrap().tree);
        listing.retain(|line| !line.contains("/status.d/"));
        listing
    }

    fn deb(name: &str) -> DebBuilder {
        DebBuilder::new(name, "1", "arm64")
    }

    #[test]
    fn the_order_of_packages_does_not_matter() {
        let a = deb("aa").directory("etc/x", 0o700).file("etc/x/a", b"a");
        let b = deb("bb")
            .directory("etc/x", 0o755)
            .file("b0", b"b")
            .hardlink("b1", "b0");
        let (one, two) = (all(&[a.clone(), b.clone()]).unwrap(), all(&[b, a]).unwrap());
        assert_eq!(one, two);
        assert_eq!(one.tree.get(&path("etc/x")).unwrap().mode, 0o700);
    }

    #[test]
    fn a_link_is_not_replaced_by_a_directory() {
        let link = deb("zz")
            .directory("usr/share/doc/zz", 0o755)
            .symlink("usr/share/doc/xx", "zz");
        let directory = deb("aa").symlink("opt/x", "y").file("opt/y/f", b"");
        let other = deb("bb").directory("opt/x", 0o755);
        assert_eq!(
            files(&[link, directory, other]),
            [
                "0777 opt/x -> y",
                "0644 opt/y/f 0 bytes",
                "0777 usr/share/doc/xx -> zz"
            ]
        );
    }

    #[test]
    fn the_same_file_may_be_in_two_packages_and_another_may_not() {
        let a = deb("aa").file("etc/x", b"same");
        assert_eq!(
            files(&[a.clone(), deb("bb").file("etc/x", b"same")]),
            ["0644 etc/x 4 bytes"]
        );
        let other = deb("bb").file("etc/x", b"else");
        insta::assert_snapshot!(all(&[a.clone(), other.clone()]).unwrap_err(), @"aa 1 and bb 1 both have /etc/x, and it differs");
        let mode = deb("bb").file_with_mode("etc/x", b"same", 0o600);
        insta::assert_snapshot!(all(&[a.clone(), mode]).unwrap_err(), @"aa 1 and bb 1 both have /etc/x, and it differs");
        for (first, second) in [
            (a.clone(), other.clone().field("Replaces", "zz, aa (<< 3)")),
            (other.field("Replaces", "aa:any"), a),
        ] {
            let tree = all(&[first, second]).unwrap().tree;
            assert_eq!(text(&tree, "etc/x"), "else");
        }
    }

    #[test]
    fn scripts_that_do_more_are_named() {
        let usual = deb("usual").postinst("#!/bin/sh\nset -e\nldconfig\n");
        let more = deb("more").postinst("#!/bin/sh\nupdate-alternatives --set a b\nadduser x\n");
        let warnings = all(&[usual, more]).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        insta::assert_snapshot!(warnings[0], @"more 1 has an installation script that was not run; it uses `update-alternatives`, `adduser`");
    }

    #[test]
    fn a_file_that_the_table_wants_must_be_there() {
        insta::assert_snapshot!(all(&[deb("libc-bin")]).unwrap_err(), @"libc-bin 1 has no /usr/share/libc-bin/nsswitch.conf, which its installation needs");
        insta::assert_snapshot!(all(&[deb("ca-certificates")]).unwrap_err(), @"ca-certificates 1 has no /usr/share/ca-certificates, which its installation needs");
    }
}
