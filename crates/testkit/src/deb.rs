//! Debian binary packages made in memory: deb(5), with control fields of deb-control(5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use md5::Md5;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::deb_member::{Member, MemberKind, put_ar_member, put_tar_member};

/// How `data.tar` (and, where dpkg allows it, `control.tar`) is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// `data.tar`
    None,
    /// `data.tar.gz`
    Gzip,
    /// `data.tar.xz`, what Debian uses.
    #[default]
    Xz,
    /// `data.tar.zst`, what Ubuntu uses.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Gzip, Self::Xz, Self::Zstd];

    /// `""`, `.gz`, `.xz` or `.zst`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    /// `bytes` compressed so.
    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        const VEC: &str = "a Vec takes every write";
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let level = flate2::Compression::new(6);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).expect(VEC);
                encoder.finish().expect(VEC)
            }
            Self::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).expect(VEC);
                encoder.finish().expect(VEC)
            }
            Self::Zstd => zstd::encode_all(bytes, 3).expect(VEC),
        }
    }
}

/// The member of `control.tar` that lists them.
const CONFFILES: &str = "conffiles";

/// Describes a package; [`DebBuilder::build`] gives its bytes.
#[derive(Debug, Clone)]
pub struct DebBuilder {
    name: String,
    version: String,
    architecture: String,
    fields: BTreeMap<String, String>,
    members: Vec<Member>,
    scripts: BTreeMap<String, Vec<u8>>,
    compression: Compression,
    wrong_md5: BTreeSet<String>,
    truncated: Option<usize>,
}

impl DebBuilder {
    /// A package with no file. `architecture` is Debian's: `amd64`, `arm64`, `armhf` or `all`.
    pub fn new(name: &str, version: &str, architecture: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
            fields: BTreeMap::new(),
            members: Vec::new(),
            scripts: BTreeMap::new(),
            compression: Compression::default(),
            wrong_md5: BTreeSet::new(),
            truncated: None,
        }
    }

    /// Any control field; a second value replaces the first.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.to_owned(), value.to_owned());
        self
    }

    /// `Depends`, as in control: `libc6 (>= 2.38), a | b`.
    #[must_use]
    pub fn depends(self, relations: &str) -> Self {
        self.field("Depends", relations)
    }

    /// A file, 0644; `path` is absolute in the image, with or without the leading `/`.
    #[must_use]
    pub fn file(self, path: &str, bytes: &[u8]) -> Self {
        self.file_with_mode(path, bytes, 0o644)
    }

    /// A file with all its permission bits: `0o4755` is setuid.
    #[must_use]
    pub fn file_with_mode(self, path: &str, bytes: &[u8], mode: u32) -> Self {
        self.member(path, MemberKind::File(bytes.to_vec()), mode)
    }

    /// A directory, with its mode. Parents that are not given are 0755.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.member(path, MemberKind::Directory, mode)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.member(path, MemberKind::Symlink(target.to_owned()), 0o777)
    }

    /// Another name of the file `target`, which is one of this package's.
    #[must_use]
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        let target = target.trim_start_matches('/').to_owned();
        self.member(path, MemberKind::Hardlink(target), 0o644)
    }

    /// A character device, which no image takes from a package.
    #[must_use]
    pub fn device(self, path: &str) -> Self {
        self.member(path, MemberKind::Other(EntryType::Char), 0o666)
    }

    /// Sets the numeric owner of the member given last.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        if let Some(member) = self.members.last_mut() {
            member.owner = (uid, gid);
        }
        self
    }

    /// The maintainer script that dpkg would run after unpacking.
    #[must_use]
    pub fn postinst(self, text: &str) -> Self {
        self.control_file("postinst", text.as_bytes())
    }

    /// A file that is the administrator's to change: `conffiles` has it, and `md5sums` does not.
    #[must_use]
    pub fn conffile(mut self, path: &str, bytes: &[u8]) -> Self {
        let list = self.scripts.entry(CONFFILES.to_owned()).or_default();
        list.extend(format!("/{}\n", path.trim_start_matches('/')).bytes());
        self.file(path, bytes)
    }

    /// Any other member of `control.tar`: `triggers`, `preinst`.
    #[must_use]
    pub fn control_file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.scripts.insert(name.to_owned(), bytes.to_vec());
        self
    }

    /// How `data.tar` is compressed; xz unless set.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Fault: `md5sums` has another checksum for `path`.
    #[must_use]
    pub fn wrong_md5(mut self, path: &str) -> Self {
        self.wrong_md5
            .insert(path.trim_start_matches('/').to_owned());
        self
    }

    /// Fault: only the first `length` bytes.
    #[must_use]
    pub fn truncated(mut self, length: usize) -> Self {
        self.truncated = Some(length);
        self
    }

    fn member(mut self, path: &str, kind: MemberKind, mode: u32) -> Self {
        let path = path.trim_start_matches('/').to_owned();
        self.members.push(Member {
            path,
            kind,
            mode,
            owner: (0, 0),
        });
        self
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version it was made with.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Debian's name of its architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// `demo_1.0-1_arm64.deb`, without the epoch.
    pub fn filename(&self) -> String {
        let version = self
            .version
            .split_once(':')
            .map_or(&*self.version, |(_, rest)| rest);
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }

    /// The sha256 of the archive in hexadecimal.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.build()))
    }

    /// The control file.
    pub fn control(&self) -> String {
        let mut text = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Test <test@example.com>\n",
            self.name, self.version, self.architecture
        );
        for (name, value) in &self.fields {
            writeln!(text, "{name}: {value}").expect("a String takes every write");
        }
        text.push_str("Description: made for a test\n with a second line\n");
        text
    }

    /// The bytes of the archive.
    pub fn build(&self) -> Vec<u8> {
        let mut out = b"!<arch>\n".to_vec();
        put_ar_member(&mut out, "debian-binary", b"2.0\n");
        // dpkg knows no uncompressed control archive before 1.17.6; nobody makes one.
        let compression = match self.compression {
            Compression::None => Compression::Gzip,
            other => other,
        };
        let control = compression.compress(&self.control_tar());
        put_ar_member(
            &mut out,
            &format!("control.tar{}", compression.suffix()),
            &control,
        );
        let data = self.compression.compress(&self.data_tar());
        put_ar_member(
            &mut out,
            &format!("data.tar{}", self.compression.suffix()),
            &data,
        );
        if let Some(length) = self.truncated {
            out.truncate(length);
        }
        out
    }

    fn control_tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        put_tar_member(&mut tar, &Member::directory("./", 0o755));
        put_tar_member(
            &mut tar,
            &Member::file("./control", self.control().as_bytes(), 0o644),
        );
        put_tar_member(
            &mut tar,
            &Member::file("./md5sums", self.md5sums().as_bytes(), 0o644),
        );
        for (name, bytes) in &self.scripts {
            put_tar_member(&mut tar, &Member::file(&format!("./{name}"), bytes, 0o755));
        }
        tar.extend([0; 1024]);
        tar
    }

    fn md5sums(&self) -> String {
        let mut text = String::new();
        let conffiles = self.scripts.get(CONFFILES).map_or(&[][..], Vec::as_slice);
        let conffiles = String::from_utf8_lossy(conffiles);
        let is_conffile = |path: &str| conffiles.lines().any(|line| line[1..] == *path);
        for member in &self.members {
            if let MemberKind::File(bytes) = &member.kind
                && !is_conffile(&member.path)
            {
                let wrong = self.wrong_md5.contains(&member.path);
                let digest = if wrong {
                    Md5::digest(b"wrong")
                } else {
                    Md5::digest(bytes)
                };
                writeln!(text, "{}  {}", hex::encode(digest), member.path)
                    .expect("a String takes every write");
            }
        }
        text
    }

    fn data_tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        put_tar_member(&mut tar, &Member::directory("./", 0o755));
        let mut made: BTreeSet<&str> = self
            .members
            .iter()
            .filter(|member| matches!(member.kind, MemberKind::Directory))
            .map(|member| member.path.as_str())
            .collect();
        for member in &self.members {
            for (end, _) in member.path.match_indices('/') {
                let parent = &member.path[..end];
                if !parent.is_empty() && parent != ".." && made.insert(parent) {
                    put_tar_member(&mut tar, &Member::directory(&format!("./{parent}/"), 0o755));
                }
            }
            let slash = if matches!(member.kind, MemberKind::Directory) {
                "/"
            } else {
                ""
            };
            let path = format!("./{}{slash}", member.path);
            put_tar_member(
                &mut tar,
                &Member {
                    path,
                    ..member.clone()
                },
            );
        }
        tar.extend([0; 1024]);
        tar
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn demo(compression: Compression) -> DebBuilder {
        DebBuilder::new("demo", "1:1.0-1", "arm64")
            .depends("libc6 (>= 2.38)")
            .directory("var/secret", 0o700)
            .file_with_mode("/usr/bin/su", b"#!", 0o4755)
            .symlink("usr/lib/libdemo.so.1", "libdemo.so.1.2")
            .hardlink("usr/bin/su2", "/usr/bin/su")
            .file(&format!("usr/share/{}/x", "long".repeat(40)), b"x")
            .postinst("#!/bin/sh\nexit 0\n")
            .compression(compression)
    }

    #[test]
    fn dpkg_reads_what_is_written() {
        for compression in Compression::ALL {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), demo(compression).build()).unwrap();
            let run = |option: &str| {
                let output = Command::new("dpkg-deb")
                    .arg(option)
                    .arg(file.path())
                    .output()
                    .ok()?;
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{compression:?} {option}: {error}");
                Some(String::from_utf8(output.stdout).unwrap())
            };
            let Some(fields) = run("--field") else {
                eprintln!("SKIPPED: no dpkg-deb to compare with");
                return;
            };
            assert!(fields.contains("Version: 1:1.0-1\n"), "{fields}");
            let listing = run("--contents").unwrap();
            let has = |mode: &str, end: &str| {
                let found = listing
                    .lines()
                    .any(|l| l.starts_with(mode) && l.ends_with(end));
                assert!(found, "no {mode} {end} in\n{listing}");
            };
            has("-rwsr-xr-x", " ./usr/bin/su");
            has("drwx------", " ./var/secret/");
            has("lrwxrwxrwx", " ./usr/lib/libdemo.so.1 -> libdemo.so.1.2");
            has("hrw-r--r--", " ./usr/bin/su2 link to ./usr/bin/su");
            has("-rw-r--r--", &format!("/{}/x", "long".repeat(40)));
        }
    }

    #[test]
    fn names_and_checksums() {
        let deb = demo(Compression::Gzip);
        assert_eq!(deb.filename(), "demo_1.0-1_arm64.deb");
        assert_eq!(deb.build(), deb.build());
        let good = deb.md5sums();
        assert!(good.starts_with(&format!(
            "{}  usr/bin/su\n",
            hex::encode(Md5::digest(b"#!"))
        )));
        assert_ne!(good, deb.wrong_md5("/usr/bin/su").md5sums());
    }
}
