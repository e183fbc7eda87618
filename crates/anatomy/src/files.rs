//! What differs between two sets of files.

use std::collections::BTreeMap;

use contents::{Entry, Kind};
use serde::Serialize;

use crate::changes::Change;

/// A path that has something else in the other image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Without a slash before it.
    pub path: String,
    /// What became of it from A to B.
    pub change: Fate,
    /// What differs, where both have it: `kind`, `content` (sha256), `size`, `mode`, `owner`, `mtime`,
    /// `target`.
    pub fields: Vec<Change>,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Only B has it.
    Added,
    /// Only A has it.
    Removed,
    /// Both have it.
    Changed,
}

/// What differs, sorted by path.
pub(crate) fn compare<'a>(
    a: impl Iterator<Item = (&'a str, &'a Entry)>,
    b: impl Iterator<Item = (&'a str, &'a Entry)>,
) -> Vec<FileChange> {
    let mut paths: BTreeMap<&str, (Option<&Entry>, Option<&Entry>)> = BTreeMap::new();
    for (path, entry) in a {
        paths.entry(path).or_default().0 = Some(entry);
    }
    for (path, entry) in b {
        paths.entry(path).or_default().1 = Some(entry);
    }
    let paths = paths.into_iter();
    let changes = paths.filter_map(|(path, entries)| {
        let (change, fields) = match entries {
            (Some(a), Some(b)) => (Fate::Changed, fields(a, b)),
            (Some(_), None) => (Fate::Removed, Vec::new()),
            (None, _) => (Fate::Added, Vec::new()),
        };
        let path = path.to_owned();
        (change != Fate::Changed || !fields.is_empty()).then_some(FileChange {
            path,
            change,
            fields,
        })
    });
    changes.collect()
}

fn fields(a: &Entry, b: &Entry) -> Vec<Change> {
    let mut fields = Vec::new();
    match (&a.kind, &b.kind) {
        (Kind::File(a), Kind::File(b)) => {
            let digest = |file: &contents::File| file.sha256.map(|it| it.to_string());
            if a.sha256 != b.sha256 {
                fields.push(Change::new("content", digest(a), digest(b)));
            }
            if a.size != b.size {
                fields.push(Change::new("size", a.size, b.size));
            }
        }
        (a, b) if name(a) != name(b) => fields.push(Change::new("kind", name(a), name(b))),
        (a, b) => {
            if target(a) != target(b) {
                fields.push(Change::new("target", target(a), target(b)));
            }
        }
    }
    if a.mode != b.mode {
        let octal = |mode: u32| format!("{mode:04o}");
        fields.push(Change::new("mode", octal(a.mode), octal(b.mode)));
    }
    if (a.uid, a.gid) != (b.uid, b.gid) {
        let owner = |entry: &Entry| format!("{}:{}", entry.uid, entry.gid);
        fields.push(Change::new("owner", owner(a), owner(b)));
    }
    if a.mtime != b.mtime {
        fields.push(Change::new("mtime", a.mtime, b.mtime));
    }
    fields
}

pub(crate) fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File(_) => "file",
        Kind::Symlink { .. } => "symlink",
        Kind::Hardlink { .. } => "hardlink",
        Kind::Special => "special",
    }
}

pub(crate) fn target(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Symlink { target } | Kind::Hardlink { target } => Some(target),
        _ => None,
    }
}
