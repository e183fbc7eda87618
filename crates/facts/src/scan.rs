//! One layer, read as a stream: image-spec `layer.md`, sections "Representing Changes" and
//! "Whiteouts".

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::sync::Arc;

use crate::hashes::{Hashes, PathHash};
use crate::interest::{Interest, in_directory, in_file};
use crate::members::{Member, MemberKind, Members};
use crate::text::{BodyReader, Content};
use crate::{EntryFault, Error, HeaderFault, input, path};

/// Bytes of what is kept of one layer. Large images keep about 1 MiB of links and 1 MiB of metadata.
const MAX_KEPT: usize = 128 << 20;

/// Bytes that an entry takes beside its texts: measured.
const ENTRY: usize = 192;

/// Links followed one after the other, as in Linux.
pub(crate) const MAX_LINKS: usize = 40;

/// What one layer adds, hides and says, as far as it can matter. It takes eight bytes for each path
/// of the layer, and some more for links, interpreters and package metadata.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Sorted by path.
    pub(crate) entries: Vec<(String, Node)>,
    /// Everything that is no directory; it hides what lower layers have there and below.
    pub(crate) files: Hashes,
    /// Directories, those included that are only implied; they hide what lower layers have there,
    /// unless it is a directory.
    pub(crate) directories: Hashes,
    /// What is taken away from the lower layers.
    pub(crate) whiteouts: Hashes,
    /// Directories whose contents are taken away from the lower layers.
    pub(crate) opaque: Hashes,
}

/// Something in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    /// With its target as written.
    Symlink(String),
    /// With its target, which lower layers must have.
    Hardlink(String),
    File(Arc<File>),
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) is_executable: bool,
    pub(crate) content: Content,
}

/// Reads a whole layer. `media_type` is its descriptor's; how it is compressed is seen from its
/// first bytes (gzip, zstd or not at all). Digests are not checked: the caller's reader can.
///
/// Memory: about 12 MiB for a layer of a million files, and what decompression needs (of zstd, the
/// window that the layer asks for, up to 128 MiB). There are bounds for all that a layer can make
/// grow, about 250 MiB together; reaching one is an error. How long it may get has none.
pub fn scan(media_type: &str, reader: impl Read) -> Result<Scan, Error> {
    let mut members = Members::new(input::open(media_type, reader)?);
    let mut scanner = Scanner::default();
    while let Some(member) = members.next_member()? {
        scanner.member(&member, &mut members)?;
    }
    scanner.finish()
}

/// A layer as far as it has been read.
#[derive(Default)]
struct Scanner {
    scan: Scan,
    /// What is kept, by the numbers of the paths.
    kept: BTreeMap<u64, (String, Node)>,
    /// Bytes of it.
    weight: usize,
    /// The directory of the last entry: as written, and without links.
    directory: Option<(Vec<u8>, Vec<u8>)>,
}

/// A directory of the layer without links.
struct Followed {
    path: Vec<u8>,
    /// Where in it each of its components ends, and what the path up to there is in [`Hashes`].
    above: Vec<(usize, PathHash)>,
}

impl Scanner {
    fn member<R: BufRead>(
        &mut self,
        member: &Member,
        members: &mut Members<R>,
    ) -> Result<(), Error> {
        let written = path::clean(&member.path).map_err(|fault| at(member, fault))?;
        if written.is_empty() || is_of_aufs(&written) {
            return Ok(());
        }
        let (directory, name) = split(&written);
        self.enter(directory, member)?;
        let directory = self.directory.as_ref().map_or(&b""[..], |(_, real)| real);
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            let directory = directory.to_vec();
            return self.whiteout(&directory, hidden, member);
        }
        let path = match directory {
            b"" => name.to_vec(),
            directory => [directory, b"/", name].concat(),
        };
        let hash = PathHash::of(&path);
        let set = match member.kind {
            MemberKind::Directory => &mut self.scan.directories,
            _ => &mut self.scan.files,
        };
        set.add(hash).map_err(|fault| after(member, fault))?;
        let path = String::from_utf8(path).ok();
        let node = match &path {
            Some(path) => self.node(path, member, members)?,
            None => None,
        };
        let before = match (path, node) {
            (Some(path), Some(node)) => {
                if matches!(node, Node::Symlink(_)) {
                    self.directory = None;
                }
                self.keep(hash, path, node)
                    .map_err(|fault| at(member, fault))?
            }
            _ => self.kept.remove(&hash).map(|(_, node)| node),
        };
        if matches!(before, Some(Node::Symlink(_))) {
            self.directory = None;
        }
        Ok(())
    }

    /// What is kept of a member, if anything is.
    fn node<R: BufRead>(
        &mut self,
        path: &str,
        member: &Member,
        members: &mut Members<R>,
    ) -> Result<Option<Node>, Error> {
        Ok(match member.kind {
            MemberKind::Special => None,
            MemberKind::Directory => in_directory(path::name(path)).then_some(Node::Directory),
            MemberKind::Symlink if member.link.len() > path::MAX_PATH => {
                let limit = path::MAX_PATH;
                return Err(at(member, EntryFault::Length { limit }));
            }
            MemberKind::Symlink => {
                let target = std::str::from_utf8(&member.link).ok();
                target.map(|target| Node::Symlink(target.to_owned()))
            }
            MemberKind::Hardlink => {
                let node = self.hardlink(path, member);
                node.map_err(|fault| at(member, fault))?
            }
            MemberKind::File => match in_file(path) {
                Interest::Nothing => None,
                interest => Some(Node::File(Arc::new(File {
                    is_executable: member.executable,
                    content: content(interest, member, members)?,
                }))),
            },
        })
    }

    /// The target comes earlier in the layer, or is in a lower one.
    fn hardlink(&self, path: &str, member: &Member) -> Result<Option<Node>, EntryFault> {
        let target = path::clean(&member.link)?;
        let (directory, name) = split(&target);
        let mut target = self.follow(directory)?.path;
        if !target.is_empty() {
            target.push(b'/');
        }
        target.extend_from_slice(name);
        if let Some((_, node)) = self.kept.get(&PathHash::of(&target)) {
            return Ok(Some(node.clone()));
        }
        let is_wanted = in_file(path) != Interest::Nothing;
        let target = String::from_utf8(target).ok().filter(|_| is_wanted);
        Ok(target.map(Node::Hardlink))
    }

    /// Makes `directory` that of the next entry. It is there from now on, and all that it is in.
    fn enter(&mut self, directory: &[u8], member: &Member) -> Result<(), Error> {
        if let Some((written, _)) = &self.directory
            && written == directory
        {
            return Ok(());
        }
        let real = self.follow(directory).map_err(|fault| at(member, fault))?;
        let Followed { path: real, above } = real;
        for (end, hash) in above {
            let added = self.scan.directories.add(hash.value());
            added.map_err(|fault| after(member, fault))?;
            let path = std::str::from_utf8(&real[..end]).unwrap_or_default();
            if in_directory(path::name(path)) && !self.kept.contains_key(&hash.value()) {
                self.keep(hash.value(), path.to_owned(), Node::Directory)
                    .map_err(|fault| at(member, fault))?;
            }
        }
        self.directory = Some((directory.to_vec(), real));
        Ok(())
    }

    /// `directory` with the links in it followed that this layer has.
    ///
    /// Links of lower layers are not followed: runtimes put a layer's entries into a directory of
    /// their own, where these links are not.
    fn follow(&self, directory: &[u8]) -> Result<Followed, EntryFault> {
        let mut real = Vec::new();
        let mut above: Vec<(usize, PathHash)> = Vec::new();
        let mut links = 0;
        let mut todo: Vec<&[u8]> = directory.rsplit(|byte| *byte == b'/').collect();
        while let Some(name) = todo.pop() {
            match name {
                b"" | b"." => continue,
                b".." => {
                    above.pop();
                    real.truncate(above.last().map_or(0, |(end, _)| *end));
                    continue;
                }
                _ => {}
            }
            let hash = above.last().map_or(PathHash::ROOT, |(_, hash)| *hash);
            let hash = hash.child(name);
            if let Some((_, Node::Symlink(target))) = self.kept.get(&hash.value()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(EntryFault::Cycle);
                }
                if target.starts_with('/') {
                    above.clear();
                    real.clear();
                }
                todo.extend(target.as_bytes().rsplit(|byte| *byte == b'/'));
                continue;
            }
            if !real.is_empty() {
                real.push(b'/');
            }
            real.extend_from_slice(name);
            if real.len() > path::MAX_PATH {
                return Err(EntryFault::Length {
                    limit: path::MAX_PATH,
                });
            }
            above.push((real.len(), hash));
        }
        Ok(Followed { path: real, above })
    }

    fn whiteout(&mut self, directory: &[u8], hidden: &[u8], member: &Member) -> Result<(), Error> {
        let directory_hash = PathHash::of(directory);
        let added = match hidden {
            b"" | b"." | b".." => return Err(at(member, EntryFault::Whiteout)),
            b".wh..opq" => self.scan.opaque.add(directory_hash),
            hidden => {
                let path = [directory, b"/", hidden].concat();
                let path = path.strip_prefix(b"/").unwrap_or(&path);
                self.scan.whiteouts.add(PathHash::of(path))
            }
        };
        added.map_err(|fault| after(member, fault))
    }

    /// What was kept there before.
    fn keep(&mut self, hash: u64, path: String, node: Node) -> Result<Option<Node>, EntryFault> {
        self.weight += ENTRY + path.len();
        self.weight += match &node {
            Node::Directory => 0,
            Node::Symlink(target) | Node::Hardlink(target) => target.len(),
            Node::File(file) if Arc::strong_count(file) > 1 => 0,
            Node::File(file) => file.content.weight(),
        };
        if self.weight > MAX_KEPT {
            return Err(EntryFault::Budget { limit: MAX_KEPT });
        }
        let before = self.kept.insert(hash, (path, node));
        Ok(before.map(|(_, node)| node))
    }

    fn finish(self) -> Result<Scan, Error> {
        let mut scan = Scan {
            entries: self.kept.into_values().collect(),
            files: self.scan.files.finish(),
            directories: self.scan.directories.finish(),
            whiteouts: self.scan.whiteouts.finish(),
            opaque: self.scan.opaque.finish(),
        };
        scan.entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (path, node) in &mut scan.entries {
            if is_below_a_file(path, &scan.files) {
                return Err(Error::Entry {
                    entry: path.clone(),
                    fault: EntryFault::Parent,
                });
            }
            if let Node::Hardlink(target) = node
                && scan.files.contains(PathHash::of(target.as_bytes()))
            {
                *node = Node::unread();
            }
        }
        Ok(scan)
    }
}

impl Node {
    /// A file whose path did not tell that it matters.
    pub(crate) fn unread() -> Self {
        Self::File(Arc::new(File {
            is_executable: true,
            content: Content::Nothing,
        }))
    }
}

fn content<R: BufRead>(
    interest: Interest,
    member: &Member,
    members: &mut Members<R>,
) -> Result<Content, Error> {
    let Some(mut reader) = BodyReader::new(interest) else {
        return Ok(Content::Nothing);
    };
    if member.sparse && interest != Interest::Binary {
        return Err(at(member, EntryFault::Sparse));
    }
    members.body(|part| reader.feed(part).map_err(|fault| at(member, fault)))?;
    Ok(reader.finish())
}

fn is_below_a_file(path: &str, files: &Hashes) -> bool {
    let mut hash = PathHash::ROOT;
    path::parent(path).split('/').any(|name| {
        hash = hash.child(name.as_bytes());
        files.contains(hash.value())
    })
}

/// What aufs keeps for itself, which is to be ignored: names that begin with `.wh..wh.`, but for
/// the mark of an opaque directory.
fn is_of_aufs(path: &[u8]) -> bool {
    let (directory, name) = split(path);
    let is_mark = |name: &[u8]| name.starts_with(b".wh..wh.");
    directory.split(|byte| *byte == b'/').any(is_mark) || is_mark(name) && name != b".wh..wh..opq"
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn at(member: &Member, fault: EntryFault) -> Error {
    Error::Entry {
        entry: String::from_utf8_lossy(&member.path).into_owned(),
        fault,
    }
}

fn after(member: &Member, fault: HeaderFault) -> Error {
    Error::Header {
        after: String::from_utf8_lossy(&member.path).into_owned(),
        fault,
    }
}
