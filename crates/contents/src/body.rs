//! Bodies of files, read as what they are: by their path where that says it, else by their first bytes.

use facts::members::Wants;
use facts::path;
use oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::elf::{self, Elf, MAGIC};
use crate::kept::Kept;
use crate::listing::Body;

/// Bytes of a text. A larger one is not read: of a distribution with 5,000 packages dpkg's records take
/// 6 MiB.
const MAX_TEXT: usize = 32 << 20;

/// Bytes of a `#!` line; Linux reads 256.
const MAX_SCRIPT: usize = 1024;

/// What is read of package metadata ("Core metadata specifications").
const FIELDS: [&str; 3] = ["Name:", "Version:", "Requires-Dist:"];

/// What is kept of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Whole,
    /// Of the lines up to the first empty one those of [`FIELDS`].
    Header,
    /// What is after the checksum of each line.
    Sums,
}

/// Reads one body after the other.
#[derive(Debug)]
pub(crate) struct BodyReader {
    digests: bool,
    kept: Kept,
    /// The beginning of what is no ELF file, or all of a text.
    text: Vec<u8>,
}

impl BodyReader {
    pub(crate) fn new(digests: bool) -> Self {
        let (kept, text) = (Kept::default(), Vec::new());
        Self {
            digests,
            kept,
            text,
        }
    }

    /// The body of the file at `path`. `each` is given a sink, and pours the body into it.
    pub(crate) fn read<E>(
        &mut self,
        path: &str,
        each: impl FnOnce(&mut dyn FnMut(&[u8]) -> Wants) -> Result<(), E>,
    ) -> Result<(Body, Option<Digest>), E> {
        self.kept.clear();
        self.text.clear();
        let wanted = text_at(path);
        let mut hash = self.digests.then(Sha256::new);
        let (kept, text) = (&mut self.kept, &mut self.text);
        let mut is_elf = false;
        each(&mut |part| {
            if let Some(hash) = &mut hash {
                hash.update(part);
            }
            if is_elf {
                kept.push(part, elf::parts);
                return Wants::More;
            }
            let limit = match wanted {
                Some(_) => MAX_TEXT + 1,
                None => MAX_SCRIPT,
            };
            let room = limit.saturating_sub(text.len());
            text.extend_from_slice(&part[..room.min(part.len())]);
            if text.len() >= MAGIC.len() && text.starts_with(&MAGIC) {
                is_elf = true;
                kept.push(text, elf::parts);
                kept.push(&part[room.min(part.len())..], elf::parts);
                return Wants::More;
            }
            let is_read = match wanted {
                Some(Text::Header) => header_end(text).is_some() || room == 0,
                Some(Text::Whole | Text::Sums) => room == 0,
                None => text.len() >= 4 && (!text.starts_with(b"#!") || text.contains(&b'\n')),
            };
            if is_read && hash.is_none() {
                Wants::Nothing
            } else {
                Wants::More
            }
        })?;
        let digest = hash.map(|hash| Digest::from_bytes(hash.finalize().into()));
        let body = match wanted {
            _ if is_elf => Body::Elf(Box::new(Elf::read(&self.kept))),
            Some(Text::Header) => {
                let end = header_end(&self.text).unwrap_or(self.text.len());
                Body::Text(fields(&lossy(&self.text[..end])))
            }
            Some(_) if self.text.len() > MAX_TEXT => Body::Unread,
            Some(Text::Whole) => Body::Text(lossy(&self.text)),
            Some(Text::Sums) => Body::Text(without_sums(&lossy(&self.text))),
            None => script(&self.text).map_or(Body::Unread, Body::Script),
        };
        Ok((body, digest))
    }
}

/// The line after `#!`.
fn script(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    Some(lossy(line).trim().to_owned())
}

/// The lines of [`FIELDS`].
fn fields(header: &str) -> String {
    let is_kept = |line: &str| {
        let begins = |field: &str| {
            line.get(..field.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(field))
        };
        FIELDS.into_iter().any(begins)
    };
    let lines = header.split_inclusive('\n');
    lines.filter(|line| is_kept(line)).collect()
}

/// Two blanks and a path of each line: what dpkg has before them nobody asks for.
fn without_sums(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines
        .map(|line| line.find("  ").map_or(line, |at| &line[at..]))
        .collect()
}

fn header_end(text: &[u8]) -> Option<usize> {
    let lines = |end: &[u8]| text.windows(end.len()).position(|window| window == end);
    lines(b"\n\n").or_else(|| lines(b"\r\n\r\n"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Files whose text says something of the image.
fn text_at(path: &str) -> Option<Text> {
    let (directory, name) = path::split(path);
    let parent = path::name(directory);
    let has = |end: &str| {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        extension == Some(end)
    };
    let whole = match directory {
        "etc" => {
            matches!(
                name,
                "passwd" | "group" | "os-release" | "ld.so.conf" | "ld.so.preload"
            ) || name.starts_with("ld-musl-") && has("path")
        }
        "usr/lib" => name == "os-release",
        "etc/ld.so.conf.d" => has("conf"),
        "var/lib/dpkg" => name == "status",
        "var/lib/dpkg/status.d" if has("md5sums") => return Some(Text::Sums),
        "var/lib/dpkg/status.d" => true,
        "var/lib/dpkg/info" => has("list"),
        "lib/apk/db" | "usr/lib/apk/db" => name == "installed",
        _ => name == "pyvenv.cfg" || has("pth") && is_site(parent),
    };
    if whole {
        return Some(Text::Whole);
    }
    if parent.ends_with(".dist-info") {
        return match name {
            "METADATA" => Some(Text::Header),
            "WHEEL" | "RECORD" | "entry_points.txt" | "direct_url.json" | "INSTALLER"
            | "top_level.txt" => Some(Text::Whole),
            _ => None,
        };
    }
    if parent.ends_with(".egg-info") {
        return match name {
            "PKG-INFO" => Some(Text::Header),
            "entry_points.txt" | "installed-files.txt" | "requires.txt" | "top_level.txt" => {
                Some(Text::Whole)
            }
            _ => None,
        };
    }
    (has("egg-info") && is_site(parent)).then_some(Text::Header)
}

/// Directories in which Pythons look for packages.
pub(crate) fn is_site(name: &str) -> bool {
    matches!(name, "site-packages" | "dist-packages")
}
