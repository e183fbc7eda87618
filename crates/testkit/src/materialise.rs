//! Trees written to a real directory, to be looked at and run by real programs.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use oci::{Content, Kind, Tree};

/// Writes `tree` below `dir`, which exists, with its modes and links. Owners are not set. Archived
/// files must have the size and CRC-32 that the tree says.
pub fn materialise(tree: &Tree, dir: &Path) -> io::Result<()> {
    for (path, entry) in tree.iter() {
        let target = dir.join(path.as_str());
        match &entry.kind {
            Kind::Directory => match fs::create_dir(&target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            },
            Kind::File(content) => {
                content.write_to(&mut File::create_new(&target)?)?;
                fs::set_permissions(&target, Permissions::from_mode(entry.mode))?;
            }
            Kind::Symlink(text) => symlink(text, &target)?,
            Kind::Hardlink(_) => {}
        }
    }
    for (path, entry) in tree.iter() {
        if let Kind::Hardlink(other) = &entry.kind {
            fs::hard_link(dir.join(other.as_str()), dir.join(path.as_str()))?;
        }
    }
    // Last, because a directory may be read-only.
    for (path, entry) in tree.iter() {
        if entry.kind == Kind::Directory {
            fs::set_permissions(dir.join(path.as_str()), Permissions::from_mode(entry.mode))?;
        }
    }
    Ok(())
}

/// The bytes of a file of a tree.
pub fn read_content(content: &Content) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.write_to(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use oci::{Archived, Entry, Method, Source, TreePath};

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    /// A tree over a deflated `hello` between two other bytes.
    fn archived(crc32: u32) -> Content {
        let mut file = tempfile::tempfile().unwrap();
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(b"hello").unwrap();
        let stream = encoder.finish().unwrap();
        file.write_all(b"<").unwrap();
        file.write_all(&stream).unwrap();
        file.write_all(b">").unwrap();
        Content::Archived(Archived {
            source: Source::from_file(file, "demo.whl", None).unwrap(),
            method: Method::Deflated,
            offset: 1,
            length: stream.len() as u64,
            uncompressed_size: 5,
            crc32,
            checksum: None,
        })
    }

    #[test]
    fn writes_files_links_and_modes() {
        let origin = "test".into();
        let mut tree = Tree::new();
        let file = |content| Entry::file(content, true, &origin);
        tree.insert(path("bin/a"), file(archived(crc32fast::hash(b"hello"))))
            .unwrap();
        tree.insert(path("bin/b"), file(Content::Bytes(b"b".as_slice().into())))
            .unwrap();
        tree.insert(path("bin/c"), Entry::symlink("a", &origin))
            .unwrap();
        let link = Entry::new(Kind::Hardlink(path("bin/b")), 0o755, &origin);
        tree.insert(path("a-link"), link).unwrap();
        tree.insert(path("closed"), Entry::new(Kind::Directory, 0o500, &origin))
            .unwrap();

        let dir = tempfile::tempdir().unwrap();
        materialise(&tree, dir.path()).unwrap();
        let mode = |name: &str| {
            fs::symlink_metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(fs::read(dir.path().join("bin/c")).unwrap(), b"hello");
        assert_eq!(fs::read(dir.path().join("a-link")).unwrap(), b"b");
        assert_eq!(
            (mode("bin/a"), mode("bin"), mode("closed")),
            (0o755, 0o755, 0o500)
        );
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let error = read_content(&archived(1)).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a file of demo.whl: CRC-32 is "),
            "{error}"
        );
    }
}
