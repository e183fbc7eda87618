//! Files that are there whole or not at all: written to a temporary name, synced, and renamed.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// What the names of unfinished files begin and end with.
const PREFIX: &str = ".oxcart-";
const SUFFIX: &str = ".tmp";

/// A file under a temporary name. Dropped without a [`AtomicFile::commit`], it is gone.
#[derive(Debug)]
pub struct AtomicFile(NamedTempFile);

impl AtomicFile {
    /// Begins a file in `directory`, which has to be on the file system of its later place. Its mode
    /// is what the umask leaves of 0666.
    pub fn create_in(directory: &Path) -> io::Result<Self> {
        tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map(Self)
    }

    /// Syncs the contents and puts the file at `path`, over what was there. The new name itself is
    /// on disk after [`sync_directory`].
    pub fn commit(self, path: &Path) -> io::Result<()> {
        self.0.as_file().sync_all()?;
        self.0.persist(path)?;
        Ok(())
    }

    /// The open file.
    pub fn file_mut(&mut self) -> &mut File {
        self.0.as_file_mut()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_file_mut().flush()
    }
}

/// Makes the names in `directory` durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Whether `name` is one of an unfinished file, left by a process that was killed.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_committed_and_leaves_nothing_when_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = AtomicFile::create_in(dir.path()).unwrap();
        file.write_all(b"half").unwrap();
        let name = std::fs::read_dir(dir.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .file_name();
        assert!(is_unfinished(name.to_str().unwrap()));
        drop(file);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut file = AtomicFile::create_in(dir.path()).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
