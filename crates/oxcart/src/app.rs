//! Files of the project that enter the image: `[[app]]`, less what `.dockerignore` and `exclude` name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use globset::{GlobBuilder, GlobMatcher};
use oci::{Content, Digest, Entry, HashingWriter, Source, Tree};

use crate::diagnostics::{Failure, IoContext};
use crate::project::App;

/// Never part of an application, whatever the lists say not.
static NEVER: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns::new([
        "**/__pycache__",
        "**/*.pyc",
        "**/.git",
        "**/.venv",
        "**/.DS_Store",
    ])
    .expect("patterns that are tested")
});

/// One file as it is now.
#[derive(Debug, Clone)]
pub(crate) struct AppFile {
    /// Below the app's source, `/`-separated; empty where the source is itself a file.
    path: String,
    host: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    File { executable: bool },
    Symlink(String),
}

/// The files of `app`, sorted, in the project at `directory`.
pub(crate) fn files(directory: &Path, app: &App) -> Result<Vec<AppFile>, Failure> {
    let root = directory.join(&app.source);
    let source = app.source.to_string_lossy();
    let source = source.trim_start_matches("./").trim_end_matches(['/', '.']);
    let walk = Walk {
        root: &root,
        ignored: Patterns::of_file(&directory.join(".dockerignore"))?,
        prefix: if source.is_empty() {
            String::new()
        } else {
            format!("{source}/")
        },
        excluded: Patterns::new(app.exclude.iter().map(String::as_str))?,
    };
    let mut files = Vec::new();
    walk.visit(&root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if files.is_empty() {
        return Err(Failure::new(format!(
            "[[app]] source {} has no file for the image",
            root.display()
        ))
        .hint("look at .dockerignore and at the table's `exclude`"));
    }
    Ok(files)
}

/// What tells these files from others: path, content, executable bit.
pub(crate) fn fingerprint(files: &[AppFile]) -> Result<Vec<serde_json::Value>, Failure> {
    files
        .iter()
        .map(|file| {
            Ok(match &file.kind {
                Kind::Symlink(target) => serde_json::json!([file.path, "link", target]),
                Kind::File { executable } => {
                    let mut hasher = HashingWriter::new(io::sink());
                    let mut content = File::open(&file.host).at("read", &file.host)?;
                    io::copy(&mut content, &mut hasher).at("read", &file.host)?;
                    let digest: Digest = hasher.finish().1;
                    serde_json::json!([file.path, digest, executable])
                }
            })
        })
        .collect()
}

/// The files as a tree at the app's destination.
pub(crate) fn tree(app: &App, files: &[AppFile]) -> Result<Tree, Failure> {
    let origin: Arc<str> = app.source.to_string_lossy().into();
    let mut tree = Tree::new();
    for file in files {
        let entry = match &file.kind {
            Kind::Symlink(target) => Entry::symlink(target, &origin),
            Kind::File { executable } => {
                let source = Source::open(&file.host, &file.host.to_string_lossy(), None)
                    .at("read", &file.host)?;
                let length = source.size();
                Entry::file(
                    Content::File {
                        source,
                        offset: 0,
                        length,
                    },
                    *executable,
                    &origin,
                )
            }
        };
        let path = if file.path.is_empty() {
            Ok(app.destination.clone())
        } else {
            app.destination.join(&file.path)
        };
        let path = path.map_err(|error| {
            Failure::new(format!("{} has no place in an image", file.host.display()))
                .caused_by(error)
        })?;
        tree.insert(path, entry)
            .map_err(|error| Failure::new(format!("[[app]] {origin}")).caused_by(error))?;
    }
    Ok(tree)
}

struct Walk<'a> {
    root: &'a Path,
    /// Relative to the project.
    ignored: Patterns,
    prefix: String,
    /// Relative to the source.
    excluded: Patterns,
}

impl Walk<'_> {
    fn visit(&self, path: &Path, relative: &str, files: &mut Vec<AppFile>) -> Result<(), Failure> {
        let metadata = path.symlink_metadata().at("read", path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(path).at("read", path)? {
                let entry = entry.at("read", path)?;
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| {
                    Failure::new(format!(
                        "the name of {} is not UTF-8",
                        entry.path().display()
                    ))
                    .hint("rename it, or exclude it")
                })?;
                let below = if relative.is_empty() {
                    name.to_owned()
                } else {
                    format!("{relative}/{name}")
                };
                self.visit(&entry.path(), &below, files)?;
            }
            return Ok(());
        }
        if NEVER.matches(relative)
            || self.excluded.matches(relative)
            || self.ignored.matches(&format!("{}{relative}", self.prefix))
        {
            return Ok(());
        }
        let kind = if metadata.is_symlink() {
            Kind::Symlink(self.link(path)?)
        } else if metadata.is_file() {
            Kind::File {
                executable: std::os::unix::fs::PermissionsExt::mode(&metadata.permissions())
                    & 0o100
                    != 0,
            }
        } else {
            return Err(Failure::new(format!(
                "{} is neither file, directory nor link",
                path.display()
            ))
            .hint("exclude it in the [[app]] table"));
        };
        files.push(AppFile {
            path: relative.to_owned(),
            host: path.to_owned(),
            kind,
        });
        Ok(())
    }

    /// The target of a link that stays inside the source.
    fn link(&self, path: &Path) -> Result<String, Failure> {
        let target = fs::read_link(path).at("read", path)?;
        let inside = path
            .canonicalize()
            .ok()
            .zip(self.root.canonicalize().ok())
            .is_some_and(|(target, root)| target.starts_with(root));
        match target.to_str() {
            Some(text) if inside && target.is_relative() => Ok(text.to_owned()),
            _ => Err(Failure::new(format!("{} is a link to {}, which will not be in the image", path.display(), target.display()))
                .hint("only relative links to what is inside the [[app]] source are taken; exclude it, or copy the file")),
        }
    }
}

/// Patterns of a `.dockerignore`: the last that matches a path, or a directory above it, decides; `!`
/// brings back.
struct Patterns(Vec<(bool, GlobMatcher)>);

impl Patterns {
    fn of_file(path: &Path) -> Result<Self, Failure> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(Vec::new())),
            text => Self::new(text.at("read", path)?.lines()),
        }
    }

    fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, Failure> {
        let mut patterns = Vec::new();
        for line in lines {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (excludes, pattern) = line
                .strip_prefix('!')
                .map_or((true, line), |rest| (false, rest.trim()));
            let pattern = pattern.trim_start_matches("./").trim_matches('/');
            let glob = GlobBuilder::new(pattern)
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            let glob = glob.map_err(|error| {
                Failure::new(format!("`{line}` is no pattern"))
                    .hint("patterns are written as in .dockerignore")
                    .caused_by(error)
            })?;
            patterns.push((excludes, glob.compile_matcher()));
        }
        Ok(Self(patterns))
    }

    fn matches(&self, path: &str) -> bool {
        let covers = |glob: &GlobMatcher| {
            glob.is_match(path)
                || path
                    .match_indices('/')
                    .any(|(end, _)| glob.is_match(&path[..end]))
        };
        self.0
            .iter()
            .rev()
            .find(|(_, glob)| covers(glob))
            .is_some_and(|(excludes, _)| *excludes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], path: &str, expected: bool) {
        let patterns = Patterns::new(patterns.iter().copied()).unwrap();
        assert_eq!(patterns.matches(path), expected, "{path}");
    }

    #[test]
    fn patterns_are_dockers() {
        check(&["secret"], "secret", true);
        check(&["secret"], "secret/key.pem", true);
        check(&["secret"], "app/secret", false);
        check(&["**/secret"], "app/secret/x", true);
        check(&["*.md"], "a.md", true);
        check(&["*.md"], "docs/a.md", false);
        check(&["/docs/"], "docs/a.md", true);
        check(&["*", "!app"], "app/main.py", false);
        check(&["*", "!app", "app/tests"], "app/tests/x.py", true);
        check(&["# comment", ""], "comment", false);
    }

    #[test]
    fn takes_files_with_their_executable_bit_and_leaves_bytecode() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("app/__pycache__")).unwrap();
        fs::write(root.join("app/__pycache__/main.cpython-313.pyc"), "x").unwrap();
        fs::write(root.join("app/main.py"), "print()").unwrap();
        fs::write(root.join("app/notes.md"), "x").unwrap();
        std::os::unix::fs::symlink("main.py", root.join("app/link.py")).unwrap();
        fs::write(root.join(".dockerignore"), "app/*.md\n").unwrap();
        let app = App {
            source: "app".into(),
            destination: oci::TreePath::new("/srv/app").unwrap(),
            exclude: Vec::new(),
        };
        let files = files(root, &app).unwrap();
        let tree = tree(&app, &files).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            ["srv", "srv/app", "srv/app/link.py", "srv/app/main.py"]
        );
    }

    #[test]
    fn a_link_that_leads_out_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("app")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("app/p")).unwrap();
        let app = App {
            source: "app".into(),
            destination: oci::TreePath::new("/app").unwrap(),
            exclude: Vec::new(),
        };
        let message = files(directory.path(), &app).unwrap_err().to_string();
        assert!(
            message.ends_with("is a link to /etc/passwd, which will not be in the image"),
            "{message}"
        );
    }
}
