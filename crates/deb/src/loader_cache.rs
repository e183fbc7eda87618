//! `/etc/ld.so.cache`, as `ldconfig` would have written it (glibc: `elf/cache.c`, `dl-cache.h`).
//!
//! The loader finds libraries in its default directories, Debian's multiarch directories among them,
//! without the cache. What needs it are directories that `ld.so.conf.d` names, and programs that ask
//! `ldconfig -p` where a library is, as Python's `ctypes.util.find_library` does.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oci::{Content, Entry, Kind, Tree, TreePath};

use crate::error::Error;
use crate::ground::Ground;
use crate::library;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes of the header and of one entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// "The file is little-endian".
const LITTLE: u8 = 2;
/// Marks an entry for processors of a certain level, which an extension of the file tells.
const LEVELS: u64 = 1 << 62;
/// Where it is in an image.
const PATH: &str = "etc/ld.so.cache";

/// A library: what it is for, what it is called, where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Library {
    flags: u32,
    name: String,
    path: String,
    osversion: u32,
    hwcap: u64,
}

impl Library {
    /// As `ldconfig` orders them: the loader searches by halving, from high to low.
    fn order(&self, other: &Self) -> Ordering {
        let flags = || other.flags.cmp(&self.flags);
        let hwcap = || other.hwcap.cmp(&self.hwcap);
        compare(&other.name, &self.name)
            .then_with(flags)
            .then_with(hwcap)
            .then_with(|| self.path.cmp(&other.path))
    }
}

/// `_dl_cache_libcmp`: runs of digits are numbers, and stand above all else.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first().copied(), b.first().copied()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let order = number(&mut a).cmp(&number(&mut b));
                if order != Ordering::Equal {
                    return order;
                }
            }
            (Some(x), Some(_)) if x.is_ascii_digit() => return Ordering::Greater,
            (Some(_), Some(y)) if y.is_ascii_digit() => return Ordering::Less,
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

fn number(text: &mut &[u8]) -> u64 {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    *text = rest;
    digits.iter().fold(0, |number: u64, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'))
    })
}

/// The bytes of a cache of nothing.
pub(crate) fn empty() -> Vec<u8> {
    bytes(&[])
}

/// The bytes of the cache that `tree` has.
pub(crate) fn of(tree: &Tree) -> Option<Vec<u8>> {
    match &tree.get(&TreePath::new(PATH).ok()?)?.kind {
        Kind::File(Content::Bytes(bytes)) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// Adds to `tree` the cache with the libraries of `ground` and of the tree, if one is needed: where
/// the image has one, or a package brings directories that the loader does not search by itself.
/// A cache in a form that is not known is left alone.
pub(crate) fn write(tree: &mut Tree, ground: &Ground) -> Result<(), Error> {
    let own = configured(tree)?;
    let mut libraries = match &ground.loader_cache {
        Some(bytes) => match parse(bytes) {
            Some(libraries) => libraries,
            None => return Ok(()),
        },
        None if own.is_empty() => return Ok(()),
        None => Vec::new(),
    };
    let before = libraries.clone();
    // What is in the tree replaces what was there, and entries for certain processors go with it.
    libraries.retain(|it| it.hwcap & LEVELS == 0);
    let mut found = BTreeMap::new();
    for (path, entry) in tree.iter() {
        let (directory, name) = path.as_str().rsplit_once('/').unwrap_or_default();
        let is_library = name.starts_with("lib") || name.starts_with("ld-");
        if !is_library || !name.contains(".so") || !is_searched(directory, &own) {
            continue;
        }
        let Some(content) = file(tree, ground, path, entry) else {
            continue;
        };
        if let Some(library) = library::read(content, &entry.origin)?
            && library.soname.as_deref().unwrap_or(name) == name
        {
            found
                .entry((name.to_owned(), library.flags))
                .or_insert_with(|| format!("/{path}"));
        }
    }
    for ((name, flags), path) in found {
        if !libraries
            .iter()
            .any(|it| it.name == name && it.flags == flags)
        {
            let (osversion, hwcap) = (0, 0);
            libraries.push(Library {
                flags,
                name,
                path,
                osversion,
                hwcap,
            });
        }
    }
    if libraries == before {
        return Ok(());
    }
    libraries.sort_by(Library::order);
    let bytes = Content::Bytes(bytes(&libraries).into());
    let origin = "the loader's cache".into();
    tree.replace(TreePath::new(PATH)?, Entry::file(bytes, false, &origin))?;
    Ok(())
}

/// Directories that files of `/etc/ld.so.conf.d` name.
fn configured(tree: &Tree) -> Result<BTreeSet<String>, Error> {
    let mut directories = BTreeSet::new();
    for (path, entry) in tree.iter() {
        let name = path.as_str().strip_prefix("etc/ld.so.conf.d/");
        let is_ours = name.is_some_and(|name| Path::new(name).extension() == Some("conf".as_ref()));
        if let (true, Kind::File(content)) = (is_ours, &entry.kind) {
            let text = crate::postinst::read(content, &entry.origin)?;
            let text = String::from_utf8_lossy(&text);
            let lines = text
                .lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim());
            directories.extend(
                lines
                    .filter_map(|line| line.strip_prefix('/'))
                    .map(str::to_owned),
            );
        }
    }
    Ok(directories)
}

/// Whether libraries in `directory` are in the cache: the default directories and those of `own`.
fn is_searched(directory: &str, own: &BTreeSet<String>) -> bool {
    let plain = directory.strip_prefix("usr/").unwrap_or(directory);
    let is_default = match plain.split_once('/') {
        None => matches!(plain, "lib" | "lib64" | "lib32"),
        Some(("lib", triplet)) => triplet.contains("-linux-gnu") && !triplet.contains('/'),
        Some(_) => false,
    };
    is_default || own.contains(directory)
}

/// The file at `path`, links followed as far as they stay in the tree.
fn file<'a>(
    tree: &'a Tree,
    ground: &Ground,
    path: &TreePath,
    entry: &'a Entry,
) -> Option<&'a Content> {
    let (mut path, mut entry) = (path.clone(), entry);
    for _ in 0..8 {
        let target = match &entry.kind {
            Kind::File(content) => return Some(content),
            Kind::Directory => return None,
            Kind::Hardlink(target) => target.clone(),
            Kind::Symlink(target) => follow(&path, target)?,
        };
        path = ground.place(&target).ok()?;
        entry = tree.get(&path)?;
    }
    None
}

/// Where the link at `path` with this target leads, by its text.
fn follow(path: &TreePath, target: &str) -> Option<TreePath> {
    let parent = path.parent();
    let mut parts: Vec<&str> = match (target.starts_with('/'), &parent) {
        (false, Some(parent)) => parent.as_str().split('/').collect(),
        _ => Vec::new(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    TreePath::new(&parts.join("/")).ok()
}

/// The libraries of a cache; None for a file that is none, or of another byte order.
fn parse(bytes: &[u8]) -> Option<Vec<Library>> {
    // Until glibc 2.32 the older form may stand before, which is passed over; offsets count from here.
    let start = (0..bytes.len().saturating_sub(MAGIC.len()))
        .step_by(4)
        .find(|at| bytes[*at..].starts_with(MAGIC))?;
    let bytes = &bytes[start..];
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let text = |at: u32| {
        let rest = bytes.get(at as usize..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(std::str::from_utf8(&rest[..end]).ok()?.to_owned())
    };
    if !matches!(bytes.get(28)? & 3, 0 | LITTLE) {
        return None;
    }
    let count = word(20)? as usize;
    let mut libraries = Vec::new();
    for n in 0..count {
        let at = HEADER + n * ENTRY;
        let hwcap = u64::from(word(at + 16)?) | u64::from(word(at + 20)?) << 32;
        libraries.push(Library {
            flags: word(at)?,
            name: text(word(at + 4)?)?,
            path: text(word(at + 8)?)?,
            osversion: word(at + 12)?,
            hwcap,
        });
    }
    Some(libraries)
}

fn bytes(libraries: &[Library]) -> Vec<u8> {
    let start = HEADER + libraries.len() * ENTRY;
    let (mut entries, mut texts) = (Vec::new(), Vec::new());
    let mut known: BTreeMap<&str, u32> = BTreeMap::new();
    for library in libraries {
        let mut at = |text| {
            *known.entry(text).or_insert_with(|| {
                let at = start + texts.len();
                texts.extend_from_slice(str::as_bytes(text));
                texts.push(0);
                at as u32
            })
        };
        let words = [
            library.flags,
            at(&library.name),
            at(&library.path),
            library.osversion,
        ];
        entries.extend(words.into_iter().flat_map(u32::to_le_bytes));
        entries.extend(library.hwcap.to_le_bytes());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend((libraries.len() as u32).to_le_bytes());
    bytes.extend((texts.len() as u32).to_le_bytes());
    bytes.push(LITTLE);
    bytes.resize(HEADER, 0);
    bytes.append(&mut entries);
    bytes.append(&mut texts);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install;
    use crate::testing::unpack;
    use testkit::DebBuilder;

    fn library(name: &str, path: &str) -> Library {
        Library {
            flags: 0x0a03,
            name: name.to_owned(),
            path: path.to_owned(),
            osversion: 0,
            hwcap: 0,
        }
    }

    fn cache(tree: &Tree) -> Option<Vec<Library>> {
        parse(&of(tree)?)
    }

    #[test]
    fn reads_what_it_writes() {
        let libraries = [
            library("libz.so.1", "/lib/libz.so.1"),
            library("libc.so.6", "/lib/libc.so.6"),
        ];
        let bytes = bytes(&libraries);
        assert_eq!(parse(&bytes).unwrap(), libraries);
        let old = [b"ld.so-1.7.0\0".as_slice(), &[0; 4], &bytes].concat();
        assert_eq!(parse(&old).unwrap(), libraries);
        for length in 0..bytes.len() {
            let _ = parse(&bytes[..length]);
        }
        assert_eq!(parse(b"something else"), None);
    }

    #[test]
    fn names_are_ordered_as_the_loader_searches_them() {
        for (low, high) in [
            ("libx.so.9", "libx.so.10"),
            ("liba.so", "libb.so"),
            ("lib.so", "lib1.so"),
            ("lib", "liba"),
        ] {
            assert_eq!(compare(low, high), Ordering::Less, "{low} {high}");
            assert_eq!(compare(high, low), Ordering::Greater);
        }
        assert_eq!(compare("libx.so.1", "libx.so.01"), Ordering::Equal);
    }

    fn demo() -> DebBuilder {
        let directory = "usr/lib/aarch64-linux-gnu";
        DebBuilder::new("libx1", "1", "arm64")
            .file(
                &format!("{directory}/libx.so.1.2"),
                &library::tests::elf("libx.so.1"),
            )
            .symlink(&format!("{directory}/libx.so.1"), "libx.so.1.2")
            .file(
                &format!("{directory}/x/plugin.so"),
                &library::tests::elf("plugin.so"),
            )
            .file("usr/share/libx.so.1", b"no library")
    }

    #[test]
    fn new_libraries_join_those_of_the_image() {
        let old = [
            library("libz.so.1", "/lib/libz.so.1"),
            library("liba.so.1", "/usr/local/lib/liba.so.1"),
        ];
        let ground = Ground {
            loader_cache: Some(bytes(&old)),
            ..Ground::bare()
        };
        let tree = install(vec![unpack(&demo())], &ground).unwrap().tree;
        let new = library("libx.so.1", "/usr/lib/aarch64-linux-gnu/libx.so.1");
        assert_eq!(cache(&tree).unwrap(), [old[0].clone(), new, old[1].clone()]);
        // Nothing new: the image's own stays.
        let data = DebBuilder::new("data", "1", "all").file("usr/share/x", b"");
        assert_eq!(
            cache(&install(vec![unpack(&data)], &ground).unwrap().tree),
            None
        );
        // Another form is not understood, and left alone.
        let strange = Ground {
            loader_cache: Some(b"strange".to_vec()),
            ..ground
        };
        assert_eq!(
            cache(&install(vec![unpack(&demo())], &strange).unwrap().tree),
            None
        );
    }

    #[test]
    fn an_image_without_one_gets_one_where_it_is_needed() {
        let without = install(vec![unpack(&demo())], &Ground::bare()).unwrap();
        assert_eq!(cache(&without.tree), None);
        let elsewhere = DebBuilder::new("liby1", "1", "arm64")
            .file("usr/lib/y/liby.so.1", &library::tests::elf("liby.so.1"))
            .file("etc/ld.so.conf.d/y.conf", b"# y\n/usr/lib/y\n");
        let with = install(vec![unpack(&elsewhere)], &Ground::bare()).unwrap();
        assert_eq!(
            cache(&with.tree).unwrap(),
            [library("liby.so.1", "/usr/lib/y/liby.so.1")]
        );
    }
}
