//! Layers on top of each other: image-spec `layer.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use facts::path;

use crate::links::follow;
use crate::listing::{Entry, File, Kind, Listing};
use crate::packages::{Package, packages};

/// A directory that no layer lists, but that something is in.
const IMPLIED: Entry = Entry {
    kind: Kind::Directory,
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtime: 0,
};

/// What a container of an image sees.
#[derive(Debug)]
pub struct Contents {
    layers: Vec<Arc<Listing>>,
    slots: BTreeMap<String, Slot>,
}

/// Where an entry is.
#[derive(Debug)]
struct Slot {
    layer: usize,
    /// The layer and path of a hard link's file, as it was when the layer was put on top.
    file: Option<(usize, String)>,
}

/// An entry of an image.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Without a slash before it; links in it are followed.
    pub path: &'a str,
    /// The number of its layer, from 0 at the bottom.
    pub layer: usize,
    /// What it is.
    pub entry: &'a Entry,
}

impl Contents {
    /// Puts the layers on top of each other, bottom to top, as runtimes do it with a directory for each:
    /// whiteouts and opaque directories hide what lower layers have, and so does whatever is at the same path,
    /// but for a directory over a directory.
    pub fn new(layers: &[Arc<Listing>]) -> Self {
        let mut contents = Self {
            layers: layers.to_vec(),
            slots: BTreeMap::new(),
        };
        for (n, layer) in layers.iter().enumerate() {
            for directory in &layer.opaque {
                contents.remove_below(directory);
            }
            for path in &layer.whiteouts {
                contents.remove_below(path);
                contents.slots.remove(path);
            }
            let mut parent = "";
            for (path, entry) in &layer.entries {
                if parent != path::parent(path) {
                    parent = path::parent(path);
                    contents.imply(parent, n);
                }
                contents.put(path, entry, n);
            }
        }
        contents
    }

    fn put(&mut self, path: &str, entry: &Entry, layer: usize) {
        if entry.kind == Kind::Directory {
            // Over something else, that is gone.
        } else if self.slots.contains_key(path) {
            self.remove_below(path);
        }
        let file = match &entry.kind {
            Kind::Hardlink { target } => self.hardlink(target, layer),
            _ => None,
        };
        self.slots.insert(path.to_owned(), Slot { layer, file });
    }

    /// The file that a hard link of `layer` is another name of.
    fn hardlink(&self, target: &str, layer: usize) -> Option<(usize, String)> {
        let here = |path: &str| self.layers[layer].entries.get(path);
        let mut target = target;
        for _ in 0..8 {
            match here(target).map(|entry| &entry.kind) {
                Some(Kind::Hardlink { target: next }) => target = next,
                Some(_) => return Some((layer, target.to_owned())),
                None => {
                    let slot = self.slots.get(target)?;
                    let real = slot.file.clone();
                    return Some(real.unwrap_or_else(|| (slot.layer, target.to_owned())));
                }
            }
        }
        None
    }

    /// `directory` is one from now on, and all that it is in.
    fn imply(&mut self, directory: &str, layer: usize) {
        let mut at = directory;
        while !at.is_empty() {
            let is_directory = self
                .slots
                .get(at)
                .is_some_and(|slot| self.entry(at, slot).kind == Kind::Directory);
            if !is_directory {
                self.slots.insert(at.to_owned(), Slot { layer, file: None });
            }
            at = path::parent(at);
        }
    }

    fn remove_below(&mut self, directory: &str) {
        let below: Vec<String> = self.names_below(directory).map(str::to_owned).collect();
        for path in below {
            self.slots.remove(&path);
        }
    }

    fn names_below<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = match directory {
            "" => String::new(),
            directory => format!("{directory}/"),
        };
        let paths = self.slots.range(prefix.clone()..);
        paths
            .map(|(path, _)| path.as_str())
            .take_while(move |path| path.starts_with(&prefix))
    }

    fn entry(&self, path: &str, slot: &Slot) -> &Entry {
        let listed = self.layers[slot.layer].entries.get(path);
        listed.unwrap_or(&IMPLIED)
    }

    /// The layers, bottom to top.
    pub fn layers(&self) -> &[Arc<Listing>] {
        &self.layers
    }

    /// What is at `path`. Links of directories are followed, one at the end is not.
    pub fn get(&self, path: &str) -> Option<Found<'_>> {
        let path = path.trim_matches('/');
        if let Some(found) = self.at(path) {
            return Some(found);
        }
        let (directory, name) = path::split(path);
        match name {
            "" | "." | ".." => self.at(&self.follow(path)?),
            name => self.at(&path::join(&self.follow(directory)?, name)),
        }
    }

    /// What is behind `path`: links are followed, up to 40. A hard link gives the file that it is another name
    /// of, under the link's own path.
    pub fn resolve(&self, path: &str) -> Option<Found<'_>> {
        let found = self.at(&self.follow(path)?)?;
        let slot = self.slots.get(found.path)?;
        match &slot.file {
            Some((layer, target)) => {
                let entry = self.layers[*layer].entries.get(target)?;
                Some(Found { entry, ..found })
            }
            None => Some(found),
        }
    }

    /// The file at `path`, links followed.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.resolve(path)?.entry.file()
    }

    /// The text of the file at `path`, where it was kept; links are followed.
    pub fn text(&self, path: &str) -> Option<&str> {
        match &self.file(path)?.body {
            crate::Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The paths that the RECORD at `path` lists, sorted, and of each the beginning of its checksum, where
    /// it has one; links are followed.
    pub fn record(
        &self,
        path: &str,
    ) -> Option<impl Iterator<Item = (&str, Option<&str>)> + use<'_>> {
        let found = self.resolve(path)?;
        let slot = self.slots.get(found.path)?;
        let layer = slot.file.as_ref().map_or(slot.layer, |(layer, _)| *layer);
        match &found.entry.file()?.body {
            crate::Body::Record(record) => Some(record.rows(&self.layers[layer])),
            _ => None,
        }
    }

    /// `path` with all links in it followed, whether something is there or not. None where links lead in a
    /// circle.
    pub fn follow(&self, path: &str) -> Option<String> {
        follow(path, |path| {
            match &self.entry(path, self.slots.get(path)?).kind {
                Kind::Symlink { target } => Some(target.as_str()),
                _ => None,
            }
        })
        .ok()
    }

    /// Everything that is there, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = Found<'_>> {
        self.slots.iter().map(|(path, slot)| Found {
            path,
            layer: slot.layer,
            entry: self.entry(path, slot),
        })
    }

    /// The names in a directory, sorted. Links in its path are followed.
    pub fn names_in(&self, directory: &str) -> Vec<&str> {
        let Some(real) = self.follow(directory) else {
            return Vec::new();
        };
        let prefix = match real.as_str() {
            "" => String::new(),
            real => format!("{real}/"),
        };
        let mut names = Vec::new();
        let mut from = prefix.clone();
        while let Some((path, _)) = self.slots.range(from.clone()..).next() {
            let Some(rest) = path.strip_prefix(&prefix) else {
                break;
            };
            from = if let Some((name, _)) = rest.split_once('/') {
                // Past all that is in it: `0` follows `/`.
                format!("{prefix}{name}0")
            } else {
                names.push(rest);
                format!("{path}\0")
            };
        }
        names
    }

    /// The installed packages, sorted by ecosystem and name.
    pub fn packages(&self) -> Vec<Package> {
        packages(self)
    }

    fn at(&self, path: &str) -> Option<Found<'_>> {
        let (path, slot) = self.slots.get_key_value(path)?;
        Some(Found {
            path,
            layer: slot.layer,
            entry: self.entry(path, slot),
        })
    }
}
