//! A `.deb` as the tree of its files: what `dpkg --unpack` would leave, with no script run.
//!
//! Modes, owners and links stay as Debian has them. The inner archives come from outside: whatever
//! would leave the image, or make more of it than files, directories and links, is an error.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use oci::{Kind, Source, Tree, TreePath};

use crate::archive::Parts;
use crate::control::{self, Stanza};
use crate::data::Data;
use crate::error::{Error, ValueError};
use crate::fault::DebFault;
use crate::spool::Spool;
use crate::tarball::{Member, MemberKind, Tarball};
use crate::{hardlinks, paths};

/// How a package is unpacked.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Keeps documentation, manual pages, message catalogues and lintian's overrides. Copyright
    /// files are always kept.
    pub keep_docs: bool,
    /// Where files of `/bin`, `/sbin` and `/lib*` go.
    pub usr: Usr,
    /// How much a package may ask for.
    pub limits: Limits,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            keep_docs: false,
            usr: Usr::Merged,
            limits: Limits::default(),
        }
    }
}

/// Whether the image's `/bin`, `/sbin` and `/lib*` are links into `/usr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usr {
    /// They are, as in Debian since 12: `/lib/x` of a package becomes `/usr/lib/x`.
    Merged,
    /// They are directories.
    Split,
}

/// Bounds on what one package may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of `control.tar`, decompressed. 16 MiB by default.
    pub control: u64,
    /// Bytes of `data.tar`, decompressed. 8 GiB by default.
    pub data: u64,
    /// Members of each. 500,000 by default.
    pub members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            control: 16 << 20,
            data: 8 << 30,
            members: 500_000,
        }
    }
}

/// A `.deb` whose outer archive has been read.
#[derive(Debug, Clone)]
pub struct Deb {
    source: Source,
    parts: Parts,
}

/// A package's files and what dpkg would have to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// `Package`
    pub name: String,
    /// `Version`
    pub version: String,
    /// `Architecture`
    pub architecture: String,
    /// All fields of the control file.
    pub control: Stanza,
    /// Path and MD5 (32 hexadecimal digits) of each file that the package has a checksum for.
    pub md5sums: BTreeMap<TreePath, String>,
    /// Path and MD5 of each file that is the administrator's to change (deb-conffiles(5)): `md5sums` lacks them.
    pub conffiles: BTreeMap<TreePath, String>,
    /// The script that dpkg would run after unpacking.
    pub postinst: Option<String>,
    /// The files; their origin is the package's name and version.
    pub tree: Tree,
}

impl Unpacked {
    /// The name and version, as the tree's entries have it for their origin: `libc6 2.41-12`.
    pub fn origin(&self) -> Arc<str> {
        format!("{} {}", self.name, self.version).into()
    }
}

impl Deb {
    /// Reads the outer archive. `source` should have been checked against its sha256 before.
    pub fn open(source: Source) -> Result<Self, Error> {
        let parts = Parts::find(&source)?;
        Ok(Self { source, parts })
    }

    /// Decompresses the inner archives into unlinked files in the directory `spool`, and makes a
    /// tree of them. The disk space is given back when the last of the tree's entries is dropped.
    pub fn unpack(
        &self,
        spool: &std::path::Path,
        options: &UnpackOptions,
    ) -> Result<Unpacked, Error> {
        let spool = Spool {
            deb: &self.source,
            dir: spool,
        };
        let limits = options.limits;
        let archive = spool.decompress("control.tar", self.parts.control, limits.control)?;
        let files = self.control_files(&archive, limits.members)?;
        let control = files
            .control
            .ok_or_else(|| self.fault(DebFault::ControlFile { name: "control" }))?;
        let control = control::single(control.as_bytes(), self.source.name())?;
        let (name, version) = (
            self.field(&control, "Package")?,
            self.field(&control, "Version")?,
        );
        let architecture = self.field(&control, "Architecture")?;
        if !is_package_name(&name) {
            return Err(Error::Field {
                file: self.source.name().to_owned(),
                line: control.line,
                field: "Package",
                source: ValueError::Name(name),
            });
        }
        let archive = spool.decompress("data.tar", self.parts.data, limits.data)?;
        let origin = format!("{name} {version}").into();
        let tree = self.data(&archive, options, origin)?;
        let md5sums = self.md5sums(&files.md5sums.unwrap_or_default(), options.usr)?;
        let conffiles = conffiles(&files.conffiles.unwrap_or_default(), &tree, options.usr);
        let conffiles = conffiles.map_err(|source| Error::Read {
            file: archive.name().to_owned(),
            source,
        })?;
        let postinst = files.postinst;
        Ok(Unpacked {
            name,
            version,
            architecture,
            control,
            md5sums,
            conffiles,
            postinst,
            tree,
        })
    }

    fn control_files(&self, archive: &Source, limit: usize) -> Result<ControlFiles, Error> {
        let mut files = ControlFiles::default();
        for member in self.members("control.tar", archive, limit) {
            let member = member?;
            let (slot, name) = match member.path.strip_prefix("./").unwrap_or(&member.path) {
                "control" => (&mut files.control, "control"),
                "md5sums" => (&mut files.md5sums, "md5sums"),
                "conffiles" => (&mut files.conffiles, "conffiles"),
                "postinst" => (&mut files.postinst, "postinst"),
                _ => continue,
            };
            let mut bytes = vec![0; member.size as usize];
            archive
                .read_exact_at(&mut bytes, member.offset)
                .map_err(|source| Error::Read {
                    file: archive.name().to_owned(),
                    source,
                })?;
            // A script may hold anything; what is looked for in it is ASCII.
            let text = match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) if name == "postinst" => {
                    String::from_utf8_lossy(error.as_bytes()).into_owned()
                }
                Err(_) => return Err(self.fault(DebFault::ControlFile { name })),
            };
            if member.kind != MemberKind::File || slot.replace(text).is_some() {
                return Err(self.fault(DebFault::ControlFile { name }));
            }
        }
        Ok(files)
    }

    fn data(
        &self,
        archive: &Source,
        options: &UnpackOptions,
        origin: Arc<str>,
    ) -> Result<Tree, Error> {
        let mut data = Data::new(archive, options, origin);
        for member in self.members("data.tar", archive, options.limits.members) {
            let member = member?;
            data.add(&member).map_err(|fault| {
                self.fault(DebFault::Entry {
                    path: member.path,
                    fault,
                })
            })?;
        }
        hardlinks::settle(&mut data.tree);
        Ok(data.tree)
    }

    fn members<'a>(
        &'a self,
        part: &'static str,
        archive: &'a Source,
        limit: usize,
    ) -> impl Iterator<Item = Result<Member, Error>> + 'a {
        Tarball::new(archive).enumerate().map(move |(n, member)| {
            if n >= limit {
                return Err(self.fault(DebFault::TooMany {
                    member: part,
                    limit,
                }));
            }
            member.map_err(|fault| {
                self.fault(DebFault::Tar {
                    member: part,
                    fault,
                })
            })
        })
    }

    fn md5sums(&self, text: &str, usr: Usr) -> Result<BTreeMap<TreePath, String>, Error> {
        let line = |line: &str| {
            let (md5, path) = line.split_once([' ', '\t'])?;
            let is_md5 = md5.len() == 32 && md5.bytes().all(|b| b.is_ascii_hexdigit());
            let path = paths::package_path(path.trim_start_matches([' ', '*'])).ok()??;
            Some((
                paths::in_image(path, usr).ok().filter(|_| is_md5)?,
                md5.to_ascii_lowercase(),
            ))
        };
        text.lines()
            .filter(|text| !text.trim().is_empty())
            .map(|text| {
                line(text).ok_or_else(|| {
                    self.fault(DebFault::Md5sums {
                        line: text.to_owned(),
                    })
                })
            })
            .collect()
    }

    fn field(&self, control: &Stanza, field: &'static str) -> Result<String, Error> {
        let value = control
            .get(field)
            .filter(|value| !value.is_empty())
            .map(str::to_owned);
        value.ok_or_else(|| Error::MissingField {
            file: self.source.name().to_owned(),
            line: control.line,
            field,
        })
    }

    fn fault(&self, fault: DebFault) -> Error {
        Error::Deb {
            file: self.source.name().to_owned(),
            fault,
        }
    }
}

#[derive(Default)]
struct ControlFiles {
    control: Option<String>,
    md5sums: Option<String>,
    conffiles: Option<String>,
    postinst: Option<String>,
}

/// The paths of `text` that `tree` has files at, with their MD5. Lines that begin with a flag
/// (`remove-on-upgrade`) name what is there no more.
fn conffiles(text: &str, tree: &Tree, usr: Usr) -> io::Result<BTreeMap<TreePath, String>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('/')) {
        let path = paths::package_path(line.trim_matches(['/', ' ']))
            .ok()
            .flatten();
        let Some(path) = path.and_then(|path| paths::in_image(path, usr).ok()) else {
            continue;
        };
        if let Some(Kind::File(content)) = tree.get(&path).map(|entry| &entry.kind) {
            let mut hash = Hashing(Md5::new());
            content.write_to(&mut hash)?;
            found.insert(path, hex::encode(hash.0.finalize()));
        }
    }
    Ok(found)
}

struct Hashing(Md5);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Policy 5.6.1. It becomes a file name, so that more than taste depends on it.
fn is_package_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() >= 2
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|b| is_plain(b) || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{listing, path, source, text, unpack, unpack_with};
    use testkit::{Compression, DebBuilder};

    fn error(deb: &DebBuilder) -> String {
        unpack_with(deb, &UnpackOptions::default())
            .unwrap_err()
            .to_string()
    }

    fn demo() -> DebBuilder {
        DebBuilder::new("demo", "1:1.0-1", "arm64")
    }

    #[test]
    fn modes_owners_and_links_stay() {
        for compression in Compression::ALL {
            let deb = demo()
                .directory("var/mail", 0o2775)
                .owned_by(0, 8)
                .file_with_mode("usr/bin/su", b"#!", 0o4755)
                .hardlink("usr/bin/again", "usr/bin/su")
                .file("etc/demo.conf", b"a = b\n")
                .owned_by(7, 7)
                .symlink("usr/lib/libdemo.so.1", "libdemo.so.1.2")
                .compression(compression);
            let unpacked = unpack(&deb);
            assert_eq!(
                listing(&unpacked.tree),
                [
                    "0644 7:7 etc/demo.conf 6 bytes",
                    "4755 usr/bin/again 2 bytes",
                    "4755 usr/bin/su = usr/bin/again",
                    "0777 usr/lib/libdemo.so.1 -> libdemo.so.1.2",
                    "2775 0:8 var/mail/",
                ]
            );
            assert_eq!(text(&unpacked.tree, "etc/demo.conf"), "a = b\n");
            let origin = &unpacked.tree.get(&path("var")).unwrap().origin;
            assert_eq!(
                (&**origin, &*unpacked.origin()),
                ("demo 1:1.0-1", "demo 1:1.0-1")
            );
        }
    }

    #[test]
    fn control_files_come_along() {
        let deb = demo()
            .depends("libc6")
            .file("lib/x", b"x")
            .conffile("etc/x.conf", b"x")
            .postinst("#!/bin/sh\nldconfig\n");
        let unpacked = unpack(&deb);
        assert_eq!(unpacked.architecture, "arm64");
        assert_eq!(unpacked.control.get("depends"), Some("libc6"));
        assert_eq!(unpacked.postinst.as_deref(), Some("#!/bin/sh\nldconfig\n"));
        let md5 = "9dd4e461268c8034f5c8564e155c67a6".to_owned();
        assert_eq!(
            unpacked.md5sums,
            BTreeMap::from([(path("usr/lib/x"), md5.clone())])
        );
        assert_eq!(
            unpacked.conffiles,
            BTreeMap::from([(path("etc/x.conf"), md5)])
        );
    }

    #[test]
    fn the_same_package_gives_the_same_tree() {
        let deb = demo()
            .file("usr/bin/a", b"a")
            .hardlink("usr/bin/b", "usr/bin/a");
        assert_eq!(unpack(&deb), unpack(&deb));
        assert_ne!(
            unpack(&deb).tree,
            unpack(&demo().file("usr/bin/a", b"b")).tree
        );
    }

    #[test]
    fn broken_control_files_are_refused() {
        let with = |name: &str, bytes: &[u8]| demo().control_file(name, bytes);
        insta::assert_snapshot!(error(&with("control", b"Package: twice\n")), @"demo.deb has no readable control file in its control.tar");
        insta::assert_snapshot!(error(&demo().field("Package", "x")), @"demo.deb, line 5: the stanza has this field already");
        insta::assert_snapshot!(error(&DebBuilder::new("../x", "1", "all")), @"demo.deb, line 1: field `Package`");
        insta::assert_snapshot!(error(&DebBuilder::new("demo", "", "all")), @"demo.deb, line 1: the stanza has no field `Version`");
        // Not text, but a script may be any program.
        assert!(unpack(&with("postinst", b"\x7fELF\xff")).postinst.is_some());
    }

    #[test]
    fn bounds_are_kept() {
        let deb = demo()
            .file("a", &vec![0; 100_000])
            .file("b", b"")
            .compression(Compression::Xz);
        let with = |limits: Limits| {
            let options = UnpackOptions {
                limits,
                ..UnpackOptions::default()
            };
            unpack_with(&deb, &options).unwrap_err().to_string()
        };
        let limits = Limits::default();
        insta::assert_snapshot!(with(Limits { data: 100_000, ..limits }), @"demo.deb has a data.tar of more than 100000 bytes");
        insta::assert_snapshot!(with(Limits { control: 1000, ..limits }), @"demo.deb has a control.tar of more than 1000 bytes");
        insta::assert_snapshot!(with(Limits { members: 2, ..limits }), @"demo.deb has a control.tar of more than 2 files");
    }

    #[test]
    fn a_cut_or_changed_package_is_an_error() {
        for compression in Compression::ALL {
            let deb = demo().file("a", &[7; 4000]).compression(compression);
            let whole = deb.build();
            for length in (0..whole.len() - 1).step_by(3) {
                assert!(
                    unpack_with(&deb.clone().truncated(length), &UnpackOptions::default()).is_err(),
                    "{compression:?} {length} of {}",
                    whole.len()
                );
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_byte_may_be_another(at in 0..3000_usize, byte: u8) {
            let deb = demo().file("a", b"x").hardlink("b", "a").compression(Compression::None);
            let mut bytes = deb.build();
            let at = at % bytes.len();
            bytes[at] = byte;
            let spool = tempfile::tempdir().unwrap();
            // Read or refused, never a panic.
            let _ = Deb::open(source(&bytes))
                .and_then(|deb| deb.unpack(spool.path(), &UnpackOptions::default()));
        }
    }

    #[test]
    fn nothing_stays_in_the_spool() {
        let spool = tempfile::tempdir().unwrap();
        let deb = Deb::open(source(&demo().file("a", b"a").build())).unwrap();
        let unpacked = deb.unpack(spool.path(), &UnpackOptions::default()).unwrap();
        assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0);
        assert_eq!(text(&unpacked.tree, "a"), "a");
        let gone = deb
            .unpack(&spool.path().join("gone"), &UnpackOptions::default())
            .unwrap_err();
        assert!(
            gone.to_string()
                .starts_with("cannot write a temporary file in "),
            "{gone}"
        );
    }
}
