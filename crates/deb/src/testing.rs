//! What this crate's tests share.

use std::io::Write;

use oci::{Content, Kind, Source, Tree, TreePath};

use crate::{Deb, Error, UnpackOptions, Unpacked};

/// `bytes` as a source called `demo.deb`.
pub(crate) fn source(bytes: &[u8]) -> Source {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Source::from_file(file, "demo.deb", None).unwrap()
}

/// A tree path.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// The text of the file at `at`.
pub(crate) fn text(tree: &Tree, at: &str) -> String {
    let Some(Kind::File(content)) = tree.get(&path(at)).map(|entry| &entry.kind) else {
        panic!("no file at {at} in {:#?}", listing(tree));
    };
    String::from_utf8(testkit::read_content(content).unwrap()).unwrap()
}

/// One line for each entry that is no directory with the usual mode.
pub(crate) fn listing(tree: &Tree) -> Vec<String> {
    tree.iter()
        .filter(|(_, entry)| (&entry.kind, entry.mode) != (&Kind::Directory, 0o755))
        .map(|(path, entry)| {
            let what = match &entry.kind {
                Kind::Directory => "/".to_owned(),
                Kind::File(Content::Bytes(bytes)) => format!(" made, {} bytes", bytes.len()),
                Kind::File(content) => format!(" {} bytes", content.size()),
                Kind::Symlink(target) => format!(" -> {target}"),
                Kind::Hardlink(target) => format!(" = {target}"),
            };
            let owner = match (entry.uid, entry.gid) {
                (0, 0) => String::new(),
                (uid, gid) => format!(" {uid}:{gid}"),
            };
            format!("{:04o}{owner} {path}{what}", entry.mode)
        })
        .collect()
}

/// What the package that `deb` describes unpacks to.
pub(crate) fn unpack(deb: &testkit::DebBuilder) -> Unpacked {
    unpack_with(deb, &UnpackOptions::default()).unwrap()
}

/// As [`unpack`], with options and errors.
pub(crate) fn unpack_with(
    deb: &testkit::DebBuilder,
    options: &UnpackOptions,
) -> Result<Unpacked, Error> {
    let spool = tempfile::tempdir().unwrap();
    Deb::open(source(&deb.build()))?.unpack(spool.path(), options)
}
