//! The files of an image that matter: its layers on top of each other, and links followed in it.

use std::collections::BTreeMap;

use crate::binary::Binary;
use crate::hashes::PathHash;
use crate::package::Header;
use crate::records::Records;
use crate::scan::{File, MAX_LINKS, Node, Scan};
use crate::text::Content;
use crate::{EntryFault, Error, path};

/// What containers see. Paths have no slash before them.
#[derive(Debug, Default)]
pub(crate) struct View {
    nodes: BTreeMap<String, Node>,
}

impl View {
    /// Of the layers, the lowest first.
    pub(crate) fn new(layers: &[Scan]) -> Result<Self, Error> {
        let mut view = Self::default();
        for (n, layer) in layers.iter().enumerate() {
            view.nodes.retain(|path, node| !hides(layer, path, node));
            for (path, node) in &layer.entries {
                let node = match node {
                    Node::Hardlink(target) => {
                        let is_known =
                            |lower: &Scan| lower.files.contains(PathHash::of(target.as_bytes()));
                        match view.nodes.get(target) {
                            Some(node) => node.clone(),
                            None if layers[..n].iter().any(is_known) => Node::unread(),
                            None => {
                                return Err(Error::Entry {
                                    entry: path.clone(),
                                    fault: EntryFault::Target {
                                        target: target.clone(),
                                    },
                                });
                            }
                        }
                    }
                    node => node.clone(),
                };
                view.nodes.insert(path.clone(), node);
            }
        }
        Ok(view)
    }

    /// Everything that is known, sorted.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The same with what is there.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// What is known in `directory`, which has no links in it: names, sorted.
    pub(crate) fn names_in(&self, directory: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .below(directory)
            .filter_map(|rest| rest.split('/').next())
            .collect();
        names.dedup();
        names
    }

    /// `path` with all links in it followed, whether something is known there or not. None where
    /// links lead in a circle.
    pub(crate) fn resolve(&self, path: &str) -> Option<String> {
        let mut real = String::new();
        let mut links = 0;
        let mut todo: Vec<&str> = path.rsplit('/').collect();
        while let Some(name) = todo.pop() {
            match name {
                "" | "." => {}
                ".." => real.truncate(path::parent(&real).len()),
                name => {
                    let next = path::join(&real, name);
                    match self.nodes.get(&next) {
                        Some(Node::Symlink(target)) => {
                            links += 1;
                            if links > MAX_LINKS {
                                return None;
                            }
                            if target.starts_with('/') {
                                real.clear();
                            }
                            todo.extend(target.rsplit('/'));
                        }
                        _ => real = next,
                    }
                }
            }
            if real.len() > path::MAX_PATH {
                return None;
            }
        }
        Some(real)
    }

    /// The file at `path`, links followed.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        match self.nodes.get(&self.resolve(path)?)? {
            Node::File(file) => Some(file),
            _ => None,
        }
    }

    /// What the executable or library at `path` says of itself.
    pub(crate) fn binary(&self, path: &str) -> Option<&Binary> {
        match &self.file(path)?.content {
            Content::Binary(binary) => Some(binary),
            _ => None,
        }
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        match &self.file(path)?.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, path: &str) -> Option<&[u8]> {
        match &self.file(path)?.content {
            Content::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn header(&self, path: &str) -> Option<&Header> {
        match &self.file(path)?.content {
            Content::Header(header) => Some(header),
            _ => None,
        }
    }

    pub(crate) fn records(&self, path: &str) -> Option<&Records> {
        match &self.file(path)?.content {
            Content::Records(records) => Some(records),
            _ => None,
        }
    }

    /// Whether something is known in the directory, or the directory itself; links followed.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        let Some(real) = self.resolve(path) else {
            return false;
        };
        matches!(self.nodes.get(&real), Some(Node::Directory)) || self.below(&real).next().is_some()
    }

    /// The rests of the paths below `directory`.
    fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> {
        let prefix = match directory {
            "" => String::new(),
            directory => format!("{directory}/"),
        };
        let paths = self.nodes.range(prefix.clone()..);
        paths.map_while(move |(path, _)| path.strip_prefix(&prefix))
    }
}

/// Whether the image of `layers` has a directory at `path`, which has no links in it.
pub(crate) fn is_directory(layers: &[Scan], path: &str) -> bool {
    let hash = PathHash::of(path.as_bytes());
    for layer in layers.iter().rev() {
        if layer.directories.contains(hash) {
            return true;
        }
        if hides(layer, path, &Node::Directory) {
            return false;
        }
    }
    path.is_empty()
}

/// Whether `layer` takes away what lower layers have at `path`.
fn hides(layer: &Scan, path: &str, node: &Node) -> bool {
    let mut hash = PathHash::ROOT;
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        if layer.opaque.contains(hash.value()) {
            return true;
        }
        hash = hash.child(name.as_bytes());
        let value = hash.value();
        if layer.files.contains(value) || layer.whiteouts.contains(value) {
            return true;
        }
        if names.peek().is_none() && *node != Node::Directory && layer.directories.contains(value) {
            return true;
        }
    }
    false
}
