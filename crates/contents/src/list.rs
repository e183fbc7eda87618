//! One layer, read as a stream: image-spec `layer.md`, sections "Representing Changes" and "Whiteouts".

use std::io::{BufRead, Read};

use facts::members::{Member, MemberKind, Members};
use facts::{EntryFault, input, path};

use crate::Error;
use crate::body::BodyReader;
use crate::links::follow;
use crate::listing::{Body, Entry, File, Kind, Listing};
use crate::record;

/// Bytes of what a listing keeps.
const MAX_KEPT: usize = 512 << 20;

/// Bytes that an entry takes beside its texts, about.
const ENTRY: usize = 240;

/// How to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Each file's sha256 is wanted.
    pub digests: bool,
}

/// Reads a whole layer. `media_type` is its descriptor's; how it is compressed is seen from its first bytes
/// (gzip, zstd or not at all). The layer's own digest is not checked: the caller's reader can.
///
/// Memory: what the listing takes, up to 512 MiB (images of 100,000 files take 40 MiB), and while an
/// ELF file streams by the parts of it where tables can lie: of the largest libraries 64 MiB and
/// more. Time has no bound but the stream's length.
pub fn list(media_type: &str, reader: impl Read, options: Options) -> Result<Listing, Error> {
    list_tar(input::open(media_type, reader)?, options)
}

/// As [`list`], of a layer's tar stream.
pub fn list_tar(tar: impl BufRead, options: Options) -> Result<Listing, Error> {
    let mut members = Members::new(tar);
    let mut lister = Lister {
        listing: Listing::default(),
        weight: 0,
        directory: None,
        bodies: BodyReader::new(options.digests),
    };
    while let Some(member) = members.next_member()? {
        lister.member(&member, &mut members)?;
    }
    record::settle(&mut lister.listing);
    Ok(lister.listing)
}

/// A layer as far as it has been read.
struct Lister {
    listing: Listing,
    /// Bytes that it takes.
    weight: usize,
    /// The directory of the last entry: as written, and without links.
    directory: Option<(String, String)>,
    bodies: BodyReader,
}

impl Lister {
    fn member<R: BufRead>(
        &mut self,
        member: &Member,
        members: &mut Members<R>,
    ) -> Result<(), Error> {
        let written = path::clean(&member.path).map_err(|fault| at(member, fault))?;
        let written = String::from_utf8_lossy(&written);
        if written.is_empty() || is_of_aufs(&written) {
            return Ok(());
        }
        let (directory, name) = path::split(&written);
        let directory = self.directory(directory, member)?;
        if let Some(hidden) = name.strip_prefix(".wh.") {
            self.weight += ENTRY + directory.len();
            match hidden {
                "" | "." | ".." => return Err(at(member, EntryFault::Whiteout)),
                ".wh..opq" => self.listing.opaque.insert(directory),
                hidden => self
                    .listing
                    .whiteouts
                    .insert(path::join(&directory, hidden)),
            };
            return self.check_weight(member);
        }
        let path = path::join(&directory, name);
        let kind = match member.kind {
            MemberKind::Directory => Kind::Directory,
            MemberKind::Special => Kind::Special,
            MemberKind::Symlink | MemberKind::Hardlink if member.link.len() > path::MAX_PATH => {
                let limit = path::MAX_PATH;
                return Err(at(member, EntryFault::Length { limit }));
            }
            MemberKind::Symlink => Kind::Symlink {
                target: String::from_utf8_lossy(&member.link).into_owned(),
            },
            MemberKind::Hardlink => {
                let target = path::clean(&member.link).map_err(|fault| at(member, fault))?;
                let target = String::from_utf8_lossy(&target).into_owned();
                let (directory, name) = path::split(&target);
                let directory = self.follow(directory, member)?;
                Kind::Hardlink {
                    target: path::join(&directory, name),
                }
            }
            MemberKind::File => Kind::File(self.file(&path, member, members)?),
        };
        self.weight += ENTRY + path.len() + weight(&kind);
        self.check_weight(member)?;
        let entry = Entry {
            kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
        };
        let is_link = |entry: &Entry| matches!(entry.kind, Kind::Symlink { .. });
        let becomes_link = is_link(&entry);
        let before = self.listing.entries.insert(path, entry);
        if becomes_link || before.as_ref().is_some_and(is_link) {
            self.directory = None;
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        path: &str,
        member: &Member,
        members: &mut Members<R>,
    ) -> Result<File, Error> {
        let (body, sha256) = if member.sparse {
            (Body::Unread, None)
        } else {
            self.bodies.read(path, |sink| {
                members.body(|part| Ok::<_, facts::Error>(sink(part)))
            })?
        };
        Ok(File {
            size: member.size,
            sha256,
            body,
        })
    }

    /// The directory of the next entry without the links in it that this layer has. Links of lower layers are
    /// not followed: runtimes put a layer's entries into a directory of their own, where these are not.
    fn directory(&mut self, directory: &str, member: &Member) -> Result<String, Error> {
        if let Some((written, real)) = &self.directory
            && written == directory
        {
            return Ok(real.clone());
        }
        let real = self.follow(directory, member)?;
        self.directory = Some((directory.to_owned(), real.clone()));
        Ok(real)
    }

    fn follow(&self, directory: &str, member: &Member) -> Result<String, Error> {
        let link = |path: &str| match &self.listing.entries.get(path)?.kind {
            Kind::Symlink { target } => Some(target.as_str()),
            _ => None,
        };
        follow(directory, link).map_err(|fault| at(member, fault))
    }

    fn check_weight(&self, member: &Member) -> Result<(), Error> {
        if self.weight > MAX_KEPT {
            return Err(Error::Budget {
                entry: String::from_utf8_lossy(&member.path).into_owned(),
                limit: MAX_KEPT,
            });
        }
        Ok(())
    }
}

/// Bytes of the texts in it.
fn weight(kind: &Kind) -> usize {
    match kind {
        Kind::Directory | Kind::Special => 0,
        Kind::Symlink { target } | Kind::Hardlink { target } => target.len(),
        Kind::File(file) => match &file.body {
            Body::Unread | Body::Record(_) => 0,
            Body::Script(text) | Body::Text(text) => text.len(),
            Body::Elf(elf) => {
                let names = elf.needed.iter().chain(&elf.defines);
                let needs = elf.needs.iter().flat_map(|need| &need.versions);
                names
                    .chain(needs)
                    .map(|name| 24 + name.len())
                    .sum::<usize>()
                    + 300
            }
        },
    }
}

/// What aufs keeps for itself, which is to be ignored: names that begin with `.wh..wh.`, but for the mark of
/// an opaque directory.
fn is_of_aufs(path: &str) -> bool {
    let (directory, name) = path::split(path);
    let is_mark = |name: &str| name.starts_with(".wh..wh.");
    directory.split('/').any(is_mark) || is_mark(name) && name != ".wh..wh..opq"
}

fn at(member: &Member, fault: EntryFault) -> Error {
    facts::Error::Entry {
        entry: String::from_utf8_lossy(&member.path).into_owned(),
        fault,
    }
    .into()
}
