//! The files of a package: members of `data.tar` become entries of a tree, or errors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oci::{Content, Entry, Kind, Source, Tree, TreeError, TreePath};

use crate::fault::EntryFault;
use crate::paths;
use crate::tarball::{Member, MemberKind};
use crate::unpack::UnpackOptions;

/// The tree of a `data.tar` while it is read.
pub(crate) struct Data<'a> {
    archive: &'a Source,
    options: &'a UnpackOptions,
    origin: Arc<str>,
    pub(crate) tree: Tree,
    /// Directories that the archive has, as opposed to those that were made for their contents.
    directories: BTreeSet<TreePath>,
    /// Every file so far, whether or not it is kept, and the name under which it came first.
    files: BTreeMap<TreePath, (TreePath, Entry)>,
}

impl<'a> Data<'a> {
    pub(crate) fn new(archive: &'a Source, options: &'a UnpackOptions, origin: Arc<str>) -> Self {
        let (tree, directories, files) = Default::default();
        Self {
            archive,
            options,
            origin,
            tree,
            directories,
            files,
        }
    }

    /// Adds what `member` is.
    pub(crate) fn add(&mut self, member: &Member) -> Result<(), EntryFault> {
        let Some(path) = paths::package_path(&member.path)? else {
            return Ok(());
        };
        let usr = self.options.usr;
        let path = match (paths::link_target(&path, usr), &member.kind) {
            (Some(link), MemberKind::Symlink(target)) => {
                if *target.trim_start_matches(['/', '.']) != link {
                    return Err(EntryFault::Link(link));
                }
                path
            }
            (None, _) | (_, MemberKind::Directory) => paths::in_image(path, usr)?,
            (Some(link), _) => return Err(EntryFault::Link(link)),
        };
        let dropped = !self.options.keep_docs && paths::is_documentation(&path, &member.kind);
        let entry = match &member.kind {
            MemberKind::Directory => return self.add_directory(&path, member, dropped),
            MemberKind::Hardlink(target) => return self.add_hardlink(&path, target, dropped),
            MemberKind::Other(kind) => return Err(EntryFault::Kind(kind)),
            MemberKind::Symlink(target) => {
                if paths::climbs(&path, target) {
                    return Err(EntryFault::Symlink(target.clone()));
                }
                Entry {
                    mode: 0o777,
                    ..self.entry(Kind::Symlink(target.clone()), member)
                }
            }
            MemberKind::File => {
                let (source, offset) = (self.archive.clone(), member.offset);
                let content = Content::File {
                    source,
                    offset,
                    length: member.size,
                };
                let entry = self.entry(Kind::File(content), member);
                self.files
                    .insert(path.clone(), (path.clone(), entry.clone()));
                entry
            }
        };
        if dropped {
            Ok(())
        } else {
            self.insert(&path, entry)
        }
    }

    fn add_directory(
        &mut self,
        path: &TreePath,
        member: &Member,
        dropped: bool,
    ) -> Result<(), EntryFault> {
        if dropped {
            return Ok(());
        }
        let entry = self.entry(Kind::Directory, member);
        let first = self.directories.insert(path.clone());
        if first
            && self
                .tree
                .get(path)
                .is_some_and(|entry| entry.kind == Kind::Directory)
        {
            self.tree.remove(path);
        }
        self.insert(path, entry)
    }

    fn add_hardlink(
        &mut self,
        path: &TreePath,
        target: &str,
        dropped: bool,
    ) -> Result<(), EntryFault> {
        let unknown = || EntryFault::Hardlink(target.to_owned());
        let other = paths::package_path(target)
            .ok()
            .flatten()
            .ok_or_else(unknown)?;
        let other = paths::in_image(other, self.options.usr)?;
        let (first, file) = self.files.get(&other).cloned().ok_or_else(unknown)?;
        self.files
            .insert(path.clone(), (first.clone(), file.clone()));
        if dropped {
            return Ok(());
        }
        // The first name may not have been kept; this one is the file then.
        let is_kept = self.tree.get(&first).is_some();
        let entry = if is_kept {
            Entry {
                kind: Kind::Hardlink(first),
                ..file
            }
        } else {
            file
        };
        self.insert(path, entry)
    }

    fn entry(&self, kind: Kind, member: &Member) -> Entry {
        let entry = Entry::new(kind, member.mode, &self.origin);
        Entry {
            uid: member.uid,
            gid: member.gid,
            ..entry
        }
    }

    fn insert(&mut self, path: &TreePath, entry: Entry) -> Result<(), EntryFault> {
        self.tree
            .insert(path.clone(), entry)
            .map_err(|error| match error {
                TreeError::Conflict { path: other, .. } if other == *path => EntryFault::Twice,
                TreeError::Conflict { path: other, .. } => EntryFault::Below(other.to_string()),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Usr;
    use crate::testing::{listing, path, text, unpack, unpack_with};
    use testkit::DebBuilder;

    fn error(deb: &DebBuilder) -> String {
        unpack_with(deb, &UnpackOptions::default())
            .unwrap_err()
            .to_string()
    }

    fn demo() -> DebBuilder {
        DebBuilder::new("demo", "1:1.0-1", "arm64")
    }

    #[test]
    fn documentation_goes_and_copyright_stays() {
        let deb = demo()
            .directory("usr/share/doc/demo", 0o755)
            .file("usr/share/doc/demo/copyright", b"free")
            .file("usr/share/doc/demo/README", b"read")
            .hardlink("usr/lib/readme", "usr/share/doc/demo/README")
            .hardlink("usr/lib/readme2", "usr/share/doc/demo/README")
            .symlink("usr/share/doc/demo-data", "demo")
            .symlink("usr/share/doc/demo/FAQ", "README")
            .file("usr/share/man/man1/demo.1.gz", b"man")
            .file("usr/share/info/demo.info", b"info")
            .file("usr/share/locale/de/LC_MESSAGES/demo.mo", b"mo")
            .file("usr/share/lintian/overrides/demo", b"tags")
            .file("usr/share/locales-list", b"no");
        assert_eq!(
            listing(&unpack(&deb).tree),
            [
                "0644 usr/lib/readme 4 bytes",
                "0644 usr/lib/readme2 4 bytes",
                "0777 usr/share/doc/demo-data -> demo",
                "0644 usr/share/doc/demo/copyright 4 bytes",
                "0644 usr/share/locales-list 2 bytes",
            ]
        );
        let options = UnpackOptions {
            keep_docs: true,
            ..UnpackOptions::default()
        };
        let all = unpack_with(&deb, &options).unwrap();
        assert_eq!(text(&all.tree, "usr/share/man/man1/demo.1.gz"), "man");
        assert_eq!(listing(&all.tree).len(), 11);
    }

    #[test]
    fn files_of_a_split_usr_move_into_the_merged_one() {
        let deb = demo()
            .directory("bin", 0o755)
            .file("lib/aarch64-linux-gnu/libx.so.1", b"x")
            .directory("var/run/demo", 0o700)
            .directory("var/lock", 0o1777)
            .symlink("lib64/ld.so", "/lib/aarch64-linux-gnu/libx.so.1")
            .hardlink("sbin/x", "lib/aarch64-linux-gnu/libx.so.1")
            .file("library", b"");
        assert_eq!(
            listing(&unpack(&deb).tree),
            [
                "0644 library 0 bytes",
                "0700 run/demo/",
                "1777 run/lock/",
                "0644 usr/lib/aarch64-linux-gnu/libx.so.1 1 bytes",
                "0777 usr/lib64/ld.so -> /lib/aarch64-linux-gnu/libx.so.1",
                "0644 usr/sbin/x = usr/lib/aarch64-linux-gnu/libx.so.1",
            ]
        );
        assert!(unpack(&deb).tree.get(&path("usr/bin")).is_some());
        assert!(unpack(&deb).tree.get(&path("bin")).is_none());
        let options = UnpackOptions {
            usr: Usr::Split,
            ..UnpackOptions::default()
        };
        let split = unpack_with(&deb, &options).unwrap().tree;
        assert!(
            split
                .get(&path("lib/aarch64-linux-gnu/libx.so.1"))
                .is_some()
        );
        assert!(split.get(&path("usr")).is_none());
    }

    #[test]
    fn the_links_of_the_merged_usr_stay_links() {
        let links = demo().directory("usr/lib", 0o755).symlink("lib", "usr/lib");
        let links = links.symlink("var/run", "../run").file("lib/x", b"");
        assert_eq!(
            listing(&unpack(&links).tree),
            [
                "0777 lib -> usr/lib",
                "0644 usr/lib/x 0 bytes",
                "0777 var/run -> ../run"
            ]
        );
        let file = demo().file("lib", b"");
        insta::assert_snapshot!(error(&file), @r#"demo.deb has "./lib", which takes the place of the link to /usr/lib"#);
        let astray = demo().symlink("lib", "opt/lib");
        insta::assert_snapshot!(error(&astray), @r#"demo.deb has "./lib", which takes the place of the link to /usr/lib"#);
    }

    #[test]
    fn hostile_paths_are_refused() {
        insta::assert_snapshot!(error(&demo().file("../etc/passwd", b"")), @r#"demo.deb has "./../etc/", which is no path inside an image: it has a `..` component"#);
        insta::assert_snapshot!(error(&demo().file("a/../../etc/passwd", b"")), @r#"demo.deb has "./a/../", which is no path inside an image: it has a `..` component"#);
        insta::assert_snapshot!(error(&demo().file("a//b", b"")), @r#"demo.deb has "./a//", which is no path inside an image: it has an empty component"#);
        insta::assert_snapshot!(error(&demo().symlink("usr/a", "../../etc")), @r#"demo.deb has "./usr/a", which is a symbolic link to "../../etc", which leads outside the image"#);
        insta::assert_snapshot!(error(&demo().symlink("usr/a", "/../etc")), @r#"demo.deb has "./usr/a", which is a symbolic link to "/../etc", which leads outside the image"#);
        insta::assert_snapshot!(error(&demo().symlink("a", "")), @r#"demo.deb has "./a", which is a symbolic link to "", which leads outside the image"#);
    }

    #[test]
    fn hostile_links_are_refused() {
        insta::assert_snapshot!(error(&demo().hardlink("a", "../../etc/shadow")), @r#"demo.deb has "./a", which is a hard link to "./../../etc/shadow", which is no earlier file of the package"#);
        insta::assert_snapshot!(error(&demo().hardlink("a", "etc/shadow")), @r#"demo.deb has "./a", which is a hard link to "./etc/shadow", which is no earlier file of the package"#);
        insta::assert_snapshot!(error(&demo().hardlink("a", "b").file("b", b"")), @r#"demo.deb has "./a", which is a hard link to "./b", which is no earlier file of the package"#);
        let through = demo().symlink("a", "/etc").file("a/passwd", b"");
        insta::assert_snapshot!(error(&through), @r#"demo.deb has "./a/", which is there twice and differs"#);
        let after = demo().file("a/passwd", b"").symlink("a", "/etc");
        insta::assert_snapshot!(error(&after), @r#"demo.deb has "./a", which is there twice and differs"#);
        let via_usr = demo().symlink("usr/lib", "/etc").file("lib/passwd", b"");
        insta::assert_snapshot!(error(&via_usr), @r#"demo.deb has "./lib/", which is there twice and differs"#);
    }

    #[test]
    fn odd_members_are_refused() {
        insta::assert_snapshot!(error(&demo().device("dev/null")), @r#"demo.deb has "./dev/null", which is a character device, and packages have files, directories and links only"#);
        insta::assert_snapshot!(error(&demo().file("a", b"1").file("a", b"2")), @r#"demo.deb has "./a", which is there twice and differs"#);
        let below = demo().file("a", b"").file("a/b", b"").directory("a", 0o755);
        insta::assert_snapshot!(error(&below), @r#"demo.deb has "./a/b", which lies below "a", which is no directory"#);
    }
}
