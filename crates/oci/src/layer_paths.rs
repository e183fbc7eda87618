//! The paths of a layer, as they come in its tar stream: image-spec `layer.md` forbids two entries
//! for one path, and what leads out of the image or through a link is refused as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::untar::{Member, MemberKind};
use crate::{Digest, TarFault};

/// A path by its digest's first half: what a layer's paths cost in memory does not depend on their
/// lengths.
type Key = [u8; 16];

/// The paths of a layer, as far as it has been read.
#[derive(Default)]
pub(crate) struct Paths {
    kinds: BTreeMap<Key, MemberKind>,
    /// Directories that something is in, but that are not there themselves.
    implied: BTreeSet<Key>,
}

impl Paths {
    /// The next member of the stream.
    pub(crate) fn add(&mut self, member: &Member) -> Result<(), TarFault> {
        let path = normalise(&member.path, member.kind)?;
        if path.is_empty() {
            // The root itself, as `./`.
            return Ok(());
        }
        let key = key(path);
        if member.kind == MemberKind::Hardlink {
            self.check_target(&member.link)?;
        }
        self.check_parents(path)?;
        if self.implied.contains(&key) {
            return Err(match member.kind {
                MemberKind::Directory => TarFault::ParentLate,
                _ => TarFault::Duplicate,
            });
        }
        match self.kinds.insert(key, member.kind) {
            None => Ok(()),
            Some(_) => Err(TarFault::Duplicate),
        }
    }

    /// How many directories are not there, though something is in them.
    pub(crate) fn implied(&self) -> u64 {
        self.implied.len() as u64
    }

    fn check_target(&self, link: &[u8]) -> Result<(), TarFault> {
        let target = normalise(link, MemberKind::File).ok().map(key);
        match target.and_then(|key| self.kinds.get(&key)) {
            Some(MemberKind::Directory) | None => Err(TarFault::HardlinkTarget {
                target: String::from_utf8_lossy(link).into_owned(),
            }),
            Some(_) => Ok(()),
        }
    }

    fn check_parents(&mut self, path: &[u8]) -> Result<(), TarFault> {
        let mut rest = path;
        while let Some(slash) = rest.iter().rposition(|byte| *byte == b'/') {
            rest = &rest[..slash];
            let key = key(rest);
            match self.kinds.get(&key) {
                Some(MemberKind::Directory) => return Ok(()),
                Some(_) => return Err(TarFault::ParentKind),
                None => {
                    // Its own parents were looked at then.
                    if !self.implied.insert(key) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

fn key(path: &[u8]) -> Key {
    let digest = Digest::of(path);
    let mut key = Key::default();
    key.copy_from_slice(&digest.as_bytes()[..16]);
    key
}

/// `path` without `./` before it, and without `/` after a directory's. Empty for the root.
pub(crate) fn normalise(path: &[u8], kind: MemberKind) -> Result<&[u8], TarFault> {
    let is_directory = kind == MemberKind::Directory;
    if is_directory && (path == b"." || path == b"./") {
        return Ok(b"");
    }
    let mut inner = path.strip_prefix(b"./").unwrap_or(path);
    if is_directory {
        inner = inner.strip_suffix(b"/").unwrap_or(inner);
    }
    let is_bad = |part: &[u8]| matches!(part, b"" | b"." | b"..");
    if inner.split(|byte| *byte == b'/').any(is_bad) {
        return Err(TarFault::Path);
    }
    Ok(inner)
}
