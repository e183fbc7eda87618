//! Source distributions unpacked: `.tar.gz` (PEP 625, in the formats of PEP 706) and `.zip`.
//!
//! No entry and no link reaches outside, files have mode 0644 or 0755, and the archive's claims are
//! bounded. What comes out is one directory.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use oci::{Source, TreePath};
use tar::EntryType;
use wheel::Archive;

use crate::error::{At, Error, UnpackFault};

/// What an archive of sources may at most ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, directories and links.
    pub members: u64,
}

impl Default for Limits {
    /// The sources of tensorflow are 70 MB, those of a Qt binding 200 MB.
    fn default() -> Self {
        Self {
            bytes: 4 << 30,
            members: 500_000,
        }
    }
}

/// Whether `filename` is that of an archive that [`unpack`] takes.
pub fn is_archive(filename: &str) -> bool {
    Format::of(filename).is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar,
    Zip,
}

impl Format {
    fn of(filename: &str) -> Option<Self> {
        let ends = [
            (".tar.gz", Self::Tar),
            (".tgz", Self::Tar),
            (".zip", Self::Zip),
        ];
        let found = ends.into_iter().find(|(end, _)| filename.ends_with(end));
        Some(found?.1)
    }
}

/// Unpacks the archive `source`, whose name is its file name, into `directory`, which is empty.
/// Returns the one directory that it holds.
pub fn unpack(source: &Source, directory: &Path, limits: Limits) -> Result<PathBuf, Error> {
    let fault = |fault| Error::Unpack {
        archive: source.name().to_owned(),
        fault,
    };
    let mut unpacking = Unpacking {
        directory,
        limits,
        bytes: 0,
        members: 0,
        files: BTreeSet::new(),
        tops: BTreeSet::new(),
    };
    match Format::of(source.name()) {
        None => return Err(fault(UnpackFault::Format)),
        Some(Format::Zip) => unpacking.zip(source).map_err(fault)?,
        Some(Format::Tar) => unpacking.tar(source).map_err(fault)?,
    }
    let tops: Vec<_> = unpacking.tops.into_iter().collect();
    match &tops[..] {
        [top]
            if directory
                .join(top)
                .symlink_metadata()
                .at("read", directory)?
                .is_dir() =>
        {
            Ok(directory.join(top))
        }
        _ => Err(fault(UnpackFault::Top {
            found: if tops.is_empty() {
                vec!["nothing".to_owned()]
            } else {
                tops.into_iter().take(5).collect()
            },
        })),
    }
}

struct Unpacking<'a> {
    directory: &'a Path,
    limits: Limits,
    bytes: u64,
    members: u64,
    /// All that is no directory.
    files: BTreeSet<TreePath>,
    tops: BTreeSet<String>,
}

/// An I/O error of reading is the archive's.
fn damaged(error: impl std::fmt::Display) -> UnpackFault {
    UnpackFault::Damaged(error.to_string())
}

impl Unpacking<'_> {
    fn tar(&mut self, source: &Source) -> Result<(), UnpackFault> {
        let reader = MultiGzDecoder::new(io::BufReader::new(source.range(0, source.size())));
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let kind = entry.header().entry_type();
            if matches!(kind, EntryType::XGlobalHeader) {
                continue;
            }
            let bytes = entry.path_bytes().into_owned();
            let Some(path) = self.path(&bytes)? else {
                continue;
            };
            self.count(entry.size())?;
            match kind {
                EntryType::Directory => self.create_directory(&path)?,
                EntryType::Regular | EntryType::Continuous => {
                    let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
                    let mut file = self.create(&path, executable)?;
                    let limit = self.limits.bytes;
                    io::copy(&mut (&mut entry).take(limit), &mut file).map_err(damaged)?;
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    self.link(&path, &target, kind)?;
                }
                _ => {
                    return Err(UnpackFault::Special {
                        path: path.to_string(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The archive is one that a wheel could be as well, and is refused for the same reasons.
    fn zip(&mut self, source: &Source) -> Result<(), UnpackFault> {
        let limits = wheel::Limits {
            members: self.limits.members,
            wheel: self.limits.bytes,
            ..wheel::Limits::default()
        };
        let archive = Archive::open(source.clone(), &limits).map_err(damaged)?;
        for member in archive.members() {
            let Some(path) = self.path(member.name.as_bytes())? else {
                continue;
            };
            let mut file = self.create(&path, member.executable)?;
            member
                .content(source, None)
                .write_to(&mut file)
                .map_err(damaged)?;
        }
        Ok(())
    }

    /// The path of a member; None for the root itself.
    fn path(&mut self, bytes: &[u8]) -> Result<Option<TreePath>, UnpackFault> {
        let outside = || UnpackFault::Outside {
            path: String::from_utf8_lossy(bytes).into_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| outside())?;
        if text.starts_with('/') {
            return Err(outside());
        }
        let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
        let parts: Vec<_> = parts.collect();
        let Some(top) = parts.first() else {
            return Ok(None);
        };
        let path = TreePath::new(&parts.join("/")).map_err(|_| outside())?;
        self.tops.insert((*top).to_owned());
        Ok(Some(path))
    }

    fn count(&mut self, size: u64) -> Result<(), UnpackFault> {
        self.members += 1;
        self.bytes = self.bytes.saturating_add(size);
        let Limits { bytes, members } = self.limits;
        if self.bytes > bytes {
            return Err(UnpackFault::TooLarge {
                limit: bytes,
                what: "bytes",
            });
        }
        if self.members > members {
            return Err(UnpackFault::TooLarge {
                limit: members,
                what: "members",
            });
        }
        Ok(())
    }

    fn place(&self, path: &TreePath) -> PathBuf {
        self.directory.join(path.as_str())
    }

    /// Makes a directory and those above it. None of them may be a link.
    fn create_directory(&self, path: &TreePath) -> Result<(), UnpackFault> {
        if self.files.contains(path) {
            return Err(UnpackFault::Twice {
                path: path.to_string(),
            });
        }
        if let Some(parent) = path.parent() {
            self.create_directory(&parent)?;
        }
        match fs::create_dir(self.place(path)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(damaged(error)),
            _ => Ok(()),
        }
    }

    fn enter(&mut self, path: &TreePath) -> Result<PathBuf, UnpackFault> {
        if let Some(parent) = path.parent() {
            self.create_directory(&parent)?;
        }
        let place = self.place(path);
        if place.symlink_metadata().is_ok_and(|it| it.is_dir()) {
            return Err(UnpackFault::Twice {
                path: path.to_string(),
            });
        }
        // As with tar's programs, the later of two wins.
        if !self.files.insert(path.clone()) {
            fs::remove_file(&place).map_err(damaged)?;
        }
        Ok(place)
    }

    fn create(&mut self, path: &TreePath, executable: bool) -> Result<File, UnpackFault> {
        let place = self.enter(path)?;
        let mode = if executable { 0o755 } else { 0o644 };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&place)
            .map_err(damaged)?;
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(damaged)?;
        Ok(file)
    }

    fn link(&mut self, path: &TreePath, target: &str, kind: EntryType) -> Result<(), UnpackFault> {
        let outside = || UnpackFault::LinkOutside {
            path: path.to_string(),
            target: target.to_owned(),
        };
        // A symbolic link starts from its own directory, the other kind from the archive's root.
        let mut parts: Vec<&str> = match kind {
            EntryType::Symlink => path.as_str().split('/').collect(),
            _ => Vec::new(),
        };
        parts.pop();
        if target.starts_with('/') {
            return Err(outside());
        }
        let mut is_down = false;
        for part in target.split('/') {
            match part {
                "" | "." => {}
                // What a name before a `..` is, or will be, a link to, nobody knows.
                ".." if is_down => return Err(outside()),
                ".." => drop(parts.pop().ok_or_else(outside)?),
                part => {
                    is_down = true;
                    parts.push(part);
                }
            }
        }
        let resolved = TreePath::new(&parts.join("/")).map_err(|_| outside())?;
        if !self
            .tops
            .contains(resolved.as_str().split('/').next().unwrap_or_default())
        {
            return Err(outside());
        }
        if kind == EntryType::Symlink {
            let place = self.enter(path)?;
            return symlink(target, place).map_err(damaged);
        }
        if !self.files.contains(&resolved) || resolved == *path {
            return Err(outside());
        }
        let place = self.enter(path)?;
        fs::copy(self.place(&resolved), place).map_err(damaged)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    enum Member<'a> {
        File(&'a str, &'a str),
        Link(&'a str, &'a str),
        Hard(&'a str, &'a str),
        Device(&'a str),
    }

    fn archive(members: &[Member<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for member in members {
            let (path, kind, text, target) = match member {
                Member::File(path, text) => (path, EntryType::Regular, *text, ""),
                Member::Link(path, target) => (path, EntryType::Symlink, "", *target),
                Member::Hard(path, target) => (path, EntryType::Link, "", *target),
                Member::Device(path) => (path, EntryType::Char, "", ""),
            };
            let mut header = tar::Header::new_ustar();
            // Past what the library thinks right.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(kind);
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn opened(bytes: &[u8], name: &str) -> Source {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Source::from_file(file, name, None).unwrap()
    }

    /// What is wrong with an archive; that nothing came to be outside of where it was unpacked.
    fn fault(members: &[Member<'_>]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let source = opened(&archive(members), "demo-1.0.tar.gz");
        let error = unpack(&source, &inside, Limits::default()).unwrap_err();
        let beside: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(beside.len(), 1, "{error}");
        error.to_string()
    }

    #[test]
    fn no_path_and_no_link_leads_outside() {
        use Member::{Device, File, Hard, Link};
        for (members, expected) in [
            (vec![File("../x", "")], "`../x` leads outside"),
            (vec![File("/tmp/x", "")], "`/tmp/x` leads outside"),
            (vec![File("d/../../x", "")], "leads outside"),
            (
                vec![Link("d/l", "/etc/passwd")],
                "is a link to `/etc/passwd`",
            ),
            (vec![Link("d/l", "../../x")], "is a link to `../../x`"),
            (vec![Link("d/l", "../..")], "is a link to `../..`"),
            (vec![Link("d/l", "../e/x")], "is a link to `../e/x`"),
            (vec![Hard("d/l", "../x")], "is a link to `../x`"),
            (vec![Hard("d/l", "d/missing")], "is a link to `d/missing`"),
            (
                vec![Link("d/l", "e"), File("d/l/x", "")],
                "below something that is no directory",
            ),
            (
                vec![Link("d/a", "b/.."), Link("d/l", "a/../../x")],
                "is a link to",
            ),
            (vec![Device("d/null")], "neither file, directory nor link"),
            (
                vec![File("d/x", ""), File("e/x", "")],
                "it has to hold one directory and nothing beside it, and holds d, e",
            ),
            (vec![File("x", "")], "and holds x"),
            (vec![], "and holds nothing"),
        ] {
            let told = fault(&members);
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn links_inside_are_kept_and_modes_made_plain() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = archive(&[
            Member::File("./d/pkg/x", "x"),
            Member::Link("d/l", "pkg/x"),
            Member::Link("d/pkg/up", "../l"),
            Member::Hard("d/h", "d/pkg/x"),
        ]);
        let source = opened(&bytes, "d-1.tar.gz");
        let root = unpack(&source, directory.path(), Limits::default()).unwrap();
        for name in ["pkg/x", "l", "pkg/up", "h"] {
            assert_eq!(fs::read_to_string(root.join(name)).unwrap(), "x", "{name}");
        }
        let mode = root.join("pkg/x").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }

    #[test]
    fn claims_are_bounded() {
        let bytes = archive(&[Member::File("d/x", "0123456789"), Member::File("d/y", "")]);
        for (bytes_limit, members, expected) in [(9, 9, "9 bytes"), (99, 1, "1 members")] {
            let directory = tempfile::tempdir().unwrap();
            let limits = Limits {
                bytes: bytes_limit,
                members,
            };
            let source = opened(&bytes, "d-1.tar.gz");
            let told = unpack(&source, directory.path(), limits).unwrap_err();
            assert!(told.to_string().contains(expected), "{told}");
        }
    }

    #[test]
    fn other_formats_and_damage_are_told() {
        let directory = tempfile::tempdir().unwrap();
        for (name, expected) in [
            ("d-1.tar.bz2", "sources come as .tar.gz or .zip"),
            ("d-1.tar.gz", "d-1.tar.gz cannot be unpacked"),
            ("d-1.zip", "d-1.zip cannot be unpacked"),
        ] {
            let source = opened(b"no archive", name);
            let told = unpack(&source, directory.path(), Limits::default()).unwrap_err();
            assert!(told.to_string().contains(expected), "{told}");
        }
    }
}
