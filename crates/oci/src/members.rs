//! The members of a layer's tar stream, in order: a tree's entries with hard links settled.

use std::sync::Arc;

use crate::layer::{BodyFault, EncodeError};
use crate::tar::{Header, Typeflag};
use crate::{Checksum, Content, Entry, Kind, OnMismatch, Tree, TreePath};
use std::collections::BTreeMap;

/// One member: its header and, where it has a body, what that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) path: &'a TreePath,
    pub(crate) entry: &'a Entry,
    pub(crate) header: Header<'a>,
    pub(crate) content: Option<&'a Content>,
}

impl<'a> Member<'a> {
    /// What its body is checked against, if anything says.
    pub(crate) fn checksum(&self) -> Option<&'a (Checksum, OnMismatch)> {
        match self.content {
            Some(Content::Archived(archived)) => archived.checksum.as_ref(),
            _ => None,
        }
    }

    /// The error that this member's body has `fault`.
    pub(crate) fn error(&self, fault: BodyFault) -> EncodeError {
        let source = match self.content {
            Some(Content::Archived(archived)) => Some(archived.source.name()),
            Some(Content::File { source, .. }) => Some(source.name()),
            _ => None,
        };
        EncodeError::Body {
            path: self.path.clone(),
            origin: source.map_or_else(|| Arc::clone(&self.entry.origin), Arc::from),
            fault,
        }
    }

    /// Refuses a body that a splice map would have to hold as a whole.
    pub(crate) fn check_mappable(&self) -> Result<(), EncodeError> {
        let is_mappable = match self.content {
            None | Some(Content::Bytes(_)) => true,
            Some(Content::Archived(archived)) => archived.source.digest().is_some(),
            Some(Content::File { .. }) => false,
        };
        if is_mappable {
            return Ok(());
        }
        let (path, origin) = (self.path.clone(), Arc::clone(&self.entry.origin));
        Err(EncodeError::MapContent { path, origin })
    }
}

/// All members of `tree`, in path order. Of the names of one file the first in path order becomes the
/// file, with the mode and owner that the tree gives the file; the others become links to it.
pub(crate) fn members(tree: &Tree, mtime: u64) -> Result<Vec<Member<'_>>, EncodeError> {
    let mut firsts: BTreeMap<&TreePath, &TreePath> = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if matches!(entry.kind, Kind::Hardlink(_)) {
            let (file, _) = resolve(tree, path, entry)?;
            let first = firsts.entry(file).or_insert(file.min(path));
            *first = path.min(first);
        }
    }
    tree.iter()
        .map(|(path, entry)| {
            let (file, file_entry) = resolve(tree, path, entry)?;
            let first = firsts.get(file).copied().filter(|first| *first != path);
            member(path, entry, file_entry, first, mtime)
        })
        .collect()
}

fn member<'a>(
    path: &'a TreePath,
    entry: &'a Entry,
    file: &'a Entry,
    first: Option<&'a TreePath>,
    mtime: u64,
) -> Result<Member<'a>, EncodeError> {
    let (typeflag, link, content) = match (&file.kind, first) {
        (Kind::File(_), Some(first)) => (Typeflag::Hardlink, first.as_str(), None),
        (Kind::File(content), None) => (Typeflag::Regular, "", Some(content)),
        (Kind::Directory, _) => (Typeflag::Directory, "", None),
        (Kind::Symlink(target), _) => (Typeflag::Symlink, target.as_str(), None),
        (Kind::Hardlink(_), _) => unreachable!("resolve ends at something else"),
    };
    if typeflag == Typeflag::Symlink && (link.is_empty() || link.contains('\0')) {
        let (path, origin) = (path.clone(), Arc::clone(&entry.origin));
        return Err(EncodeError::Symlink { path, origin });
    }
    let header = Header {
        path: path.as_str(),
        typeflag,
        link,
        mode: file.mode,
        uid: file.uid,
        gid: file.gid,
        size: content.map_or(0, Content::size),
        mtime,
    };
    Ok(Member {
        path,
        entry,
        header,
        content,
    })
}

/// Where the links that begin at `path` end: at itself, or for a hard link at a file.
fn resolve<'a>(
    tree: &'a Tree,
    path: &'a TreePath,
    entry: &'a Entry,
) -> Result<(&'a TreePath, &'a Entry), EncodeError> {
    let (mut at, mut found) = (path, entry);
    let mut steps = 0;
    while let Kind::Hardlink(target) = &found.kind {
        steps += 1;
        match tree.get(target) {
            Some(next)
                if steps <= tree.len()
                    && matches!(next.kind, Kind::File(_) | Kind::Hardlink(_)) =>
            {
                (at, found) = (target, next);
            }
            _ => {
                return Err(EncodeError::Hardlink {
                    path: path.clone(),
                    origin: Arc::clone(&entry.origin),
                    target: target.clone(),
                });
            }
        }
    }
    Ok((at, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SHARED_MTIME;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn link(target: &str) -> Entry {
        Entry::new(Kind::Hardlink(path(target)), 0o777, &"test".into())
    }

    fn tree(links: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        let file = Entry::file(Content::Bytes(b"x"[..].into()), true, &"test".into());
        tree.insert(path("m"), file).unwrap();
        for (name, target) in links {
            tree.insert(path(name), link(target)).unwrap();
        }
        tree
    }

    #[track_caller]
    fn check(links: &[(&str, &str)], expect: &[(&str, &str)]) {
        let tree = tree(links);
        let found: Vec<_> = members(&tree, SHARED_MTIME)
            .unwrap()
            .iter()
            .map(|member| {
                assert_eq!(member.header.mode, 0o755, "a link has the mode of its file");
                assert_eq!(member.content.is_some(), member.header.link.is_empty());
                (member.path.as_str(), member.header.link)
            })
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn the_first_name_is_the_file() {
        check(&[("n", "m")], &[("m", ""), ("n", "m")]);
        check(&[("a", "m")], &[("a", ""), ("m", "a")]);
        check(
            &[("b", "m"), ("a", "z"), ("z", "m")],
            &[("a", ""), ("b", "a"), ("m", "a"), ("z", "a")],
        );
    }

    #[test]
    fn a_link_must_lead_to_a_file() {
        for links in [
            &[("a", "b")][..],
            &[("a", "a")],
            &[("a", "b"), ("b", "a")],
            &[("d/x", "d")],
        ] {
            let error = members(&tree(links), SHARED_MTIME).unwrap_err();
            assert!(matches!(error, EncodeError::Hardlink { .. }), "{error}");
        }
    }

    #[test]
    fn a_symlink_has_a_target() {
        for target in ["", "a\0b"] {
            let mut tree = Tree::new();
            tree.insert(path("l"), Entry::symlink(target, &"test".into()))
                .unwrap();
            let error = members(&tree, SHARED_MTIME).unwrap_err();
            insta::allow_duplicates! {
                insta::assert_snapshot!(error, @"/l from test is a symbolic link whose target is empty or has a NUL byte");
            }
        }
    }
}
