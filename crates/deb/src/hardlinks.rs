//! Which of a file's names is the file and which are the links.

use std::collections::BTreeMap;

use oci::{Entry, Kind, Tree, TreePath};

/// Makes the first name in path order the file, and the others links to it: layers are written in
/// path order, and a link can only be made to what is there.
pub(crate) fn settle(tree: &mut Tree) {
    for (file, links) in links(tree) {
        if links.first().is_some_and(|first| *first < file)
            && let Some(content) = tree.remove(&file)
        {
            put(tree, &content, links.into_iter().chain([file]));
        }
    }
}

/// Takes the entry at `path` out; another name of the file becomes the file.
pub(crate) fn remove(tree: &mut Tree, path: &TreePath) {
    if let Some(content) = tree.remove(path)
        && let Some(links) = links(tree).remove(path)
    {
        put(tree, &content, links);
    }
}

/// The files that have links, and those links in path order.
fn links(tree: &Tree) -> BTreeMap<TreePath, Vec<TreePath>> {
    let mut links: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if let Kind::Hardlink(file) = &entry.kind {
            links.entry(file.clone()).or_default().push(path.clone());
        }
    }
    links
}

/// Puts `content` at the first of `names` and links at the others. They have had entries before.
fn put(tree: &mut Tree, content: &Entry, names: impl IntoIterator<Item = TreePath>) {
    let mut first = None;
    for name in names {
        let kind = match &first {
            None => content.kind.clone(),
            Some(first) => Kind::Hardlink(TreePath::clone(first)),
        };
        first.get_or_insert_with(|| name.clone());
        let replaced = tree.replace(
            name,
            Entry {
                kind,
                ..content.clone()
            },
        );
        debug_assert!(replaced.is_ok(), "the parents are there already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{listing, path};
    use oci::Content;

    fn tree(file: &str, links: &[&str]) -> Tree {
        let origin = "test".into();
        let mut tree = Tree::new();
        let entry = Entry::file(Content::Bytes(b"x".as_slice().into()), true, &origin);
        tree.insert(path(file), entry).unwrap();
        for link in links {
            let entry = Entry::new(Kind::Hardlink(path(file)), 0o755, &origin);
            tree.insert(path(link), entry).unwrap();
        }
        tree
    }

    #[test]
    fn the_first_name_is_the_file() {
        let mut tree = tree("m", &["z", "a/b"]);
        settle(&mut tree);
        assert_eq!(
            listing(&tree),
            ["0755 a/b made, 1 bytes", "0755 m = a/b", "0755 z = a/b"]
        );
        let before = tree.clone();
        settle(&mut tree);
        assert_eq!(tree, before);
    }

    #[test]
    fn a_link_outlives_the_file() {
        let mut tree = tree("a", &["b", "c"]);
        remove(&mut tree, &path("a"));
        assert_eq!(listing(&tree), ["0755 b made, 1 bytes", "0755 c = b"]);
        remove(&mut tree, &path("c"));
        assert_eq!(listing(&tree), ["0755 b made, 1 bytes"]);
    }
}
