//! Programs, found as execvp(3) does it.

use contents::{Found, Kind};
use facts::path::join;

use crate::image::Image;

/// What came of looking for a program.
pub(crate) enum Program<'a> {
    /// An executable file. Its path is that after all links.
    Found(Found<'a>),
    /// Nothing of that name.
    Missing,
    /// A directory, or a file that nobody may execute.
    NotExecutable(String),
}

impl Image<'_> {
    /// `name` in `PATH`, or where it says if it has a slash; relative to the working directory.
    pub(crate) fn program(&self, name: &str) -> Program<'_> {
        if name.contains('/') {
            return self.executable(&self.in_workdir(name));
        }
        let mut worst = Program::Missing;
        for directory in self.path() {
            match self.executable(&join(directory.trim_matches('/'), name)) {
                Program::Missing => {}
                found @ Program::Found(_) => return found,
                other => worst = other,
            }
        }
        worst
    }

    fn executable(&self, path: &str) -> Program<'_> {
        match self.contents.resolve(path) {
            None => Program::Missing,
            Some(found) if is_executable(&found) => Program::Found(found),
            Some(found) => Program::NotExecutable(found.path.to_owned()),
        }
    }

    /// `path` without its first slash, from the working directory where it has none.
    pub(crate) fn in_workdir(&self, path: &str) -> String {
        match path.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => join(self.config.working_dir.trim_matches('/'), path),
        }
    }

    /// Whether there is a directory.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        if path.trim_matches('/').is_empty() {
            return true;
        }
        let found = self.contents.resolve(path);
        found.is_some_and(|found| found.entry.kind == Kind::Directory)
    }
}

pub(crate) fn is_executable(found: &Found<'_>) -> bool {
    found.entry.file().is_some() && found.entry.mode & 0o111 != 0
}
