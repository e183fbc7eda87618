//! Files as a tree with their sizes, the largest first.

use std::collections::BTreeMap;
use std::fmt::Write;

use contents::{Contents, Entry};

use crate::human;
use crate::inspection::{Inspection, Platform};
use crate::table::{Table, count, plain, shortened};

/// Of a tree that is cut off at a depth, what is smaller than this part of the whole is summed up.
const SMALL: u64 = 1000;

/// What of the tree is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    /// Levels of directories, one that has nothing but another directory in it not counted; None for all
    /// of them, and every file.
    pub depth: Option<usize>,
    /// A tree for each layer, what it hides included, instead of one of what a container sees.
    pub by_layer: bool,
}

#[derive(Default)]
struct Node {
    size: u64,
    files: u64,
    is_directory: bool,
    inside: BTreeMap<String, Node>,
}

/// The trees of all platforms; `contents` is in their order.
pub fn tree(inspection: &Inspection, contents: &[Contents], options: Tree) -> String {
    let mut out = String::new();
    for (platform, contents) in inspection.platforms.iter().zip(contents) {
        if options.by_layer {
            for (n, layer) in contents.layers().iter().enumerate() {
                let entries = layer.entries.iter().map(|(path, it)| (path.as_str(), it));
                out.push_str(&layer_title(platform, n));
                one(&mut out, entries, options);
                for path in &layer.whiteouts {
                    let _ = writeln!(out, "  takes away /{}", plain(path));
                }
                for path in &layer.opaque {
                    let _ = writeln!(out, "  takes away what is in /{}", plain(path));
                }
                out.push('\n');
            }
        } else {
            let _ = writeln!(out, "{}", plain(&platform.platform));
            let entries = contents.iter().map(|found| (found.path, found.entry));
            one(&mut out, entries, options);
            out.push('\n');
        }
    }
    out
}

fn layer_title(platform: &Platform, n: usize) -> String {
    let layer = platform.layers.get(n);
    let title = layer.map(|it| shortened(&plain(it.title()), 80));
    format!(
        "{}, layer {}: {}\n",
        plain(&platform.platform),
        n + 1,
        title.unwrap_or_default()
    )
}

fn one<'a>(out: &mut String, entries: impl Iterator<Item = (&'a str, &'a Entry)>, options: Tree) {
    let mut root = Node {
        is_directory: true,
        ..Node::default()
    };
    for (path, entry) in entries {
        root.add(path, entry);
    }
    let small = options.depth.map_or(0, |_| root.size / SMALL);
    let mut table = Table::new(&[0]);
    let total = format!("/  {}", count(root.files, "file"));
    table.row([human(root.size), total]);
    root.write(&mut table, "", options.depth, small);
    table.write(out, 2);
}

impl Node {
    fn add(&mut self, path: &str, entry: &Entry) {
        let file = entry.file();
        let size = file.map_or(0, |file| file.size);
        let files = u64::from(file.is_some());
        let mut at = self;
        at.size += size;
        at.files += files;
        for name in path.split('/') {
            at.is_directory = true;
            at = at.inside.entry(name.to_owned()).or_default();
            at.size += size;
            at.files += files;
        }
        at.is_directory |= entry.kind == contents::Kind::Directory;
    }

    /// What is in it, `before` being drawn in front.
    fn write(&self, table: &mut Table, before: &str, depth: Option<usize>, small: u64) {
        if depth == Some(0) {
            return;
        }
        let mut inside: Vec<_> = self.inside.iter().collect();
        inside.sort_by(|a, b| b.1.size.cmp(&a.1.size).then(a.0.cmp(b.0)));
        let shown = inside.partition_point(|(_, node)| node.size >= small.max(1));
        let shown = if small == 0 { inside.len() } else { shown };
        let rest = &inside[shown..];
        for (n, (name, node)) in inside[..shown].iter().enumerate() {
            let is_last = n + 1 == shown && rest.is_empty();
            let (branch, below) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let (path, node) = node.only_child(name);
            let slash = if node.is_directory { "/" } else { "" };
            let line = format!("{before}{branch}{}{slash}", plain(&path));
            table.row([human(node.size), line]);
            let depth = depth.map(|depth| depth - 1);
            node.write(table, &format!("{before}{below}"), depth, small);
        }
        if !rest.is_empty() {
            let size = rest.iter().map(|(_, node)| node.size).sum();
            let line = format!("{before}└─ … {} more", rest.len());
            table.row([human(size), line]);
        }
    }

    /// The first directory below that has more than one entry, and the way to it.
    fn only_child(&self, name: &str) -> (String, &Self) {
        let (mut path, mut at) = (name.to_owned(), self);
        while at.inside.len() == 1
            && let Some((name, inner)) = at.inside.iter().next()
            && inner.is_directory
        {
            path = format!("{path}/{name}");
            at = inner;
        }
        (path, at)
    }
}
