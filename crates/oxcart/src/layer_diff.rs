//! Where two layers differ: the first file that is not the same in both, and in what. Both are read as
//! streams; of a file's content only its digest is kept, and the two contents are read again where that
//! differs.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read, Write};

use facts::members::{Member, MemberKind, Members, Wants};
use oci::{DiffId, Digest, HashingWriter};

/// Bytes of a blob, again for each time that it is read.
pub(crate) type Opener<'a> = dyn Fn() -> anyhow::Result<Box<dyn Read + Send>> + 'a;

/// A layer that has been read.
pub(crate) struct ReadLayer {
    /// Of the blob.
    pub(crate) digest: Digest,
    /// Of the tar stream.
    pub(crate) diff_id: DiffId,
    files: BTreeMap<Vec<u8>, File>,
    /// The order of the paths.
    order: Vec<Vec<u8>>,
}

/// What is compared of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    kind: MemberKind,
    mode: u32,
    owner: (u64, u64),
    mtime: i64,
    link: Vec<u8>,
    size: u64,
    content: Digest,
}

impl ReadLayer {
    /// Reads a whole layer.
    pub(crate) fn of(media_type: &str, open: &Opener<'_>) -> anyhow::Result<Self> {
        let mut blob = HashedReader {
            inner: open()?,
            hasher: HashingWriter::new(io::sink()),
        };
        let (mut files, mut order) = (BTreeMap::new(), Vec::new());
        let diff_id = {
            let mut tar = HashedReader {
                inner: facts::input::open(media_type, &mut blob)?,
                hasher: HashingWriter::new(io::sink()),
            };
            let mut members = Members::new(&mut tar);
            while let Some(member) = members.next_member()? {
                let mut hasher = HashingWriter::new(io::sink());
                members.body(|part| {
                    let _ = hasher.write_all(part);
                    Ok(Wants::More)
                })?;
                let path = plain(&member.path).to_vec();
                order.push(path.clone());
                files.insert(path, File::new(member, hasher.finish().1));
            }
            io::copy(&mut tar, &mut io::sink())?;
            DiffId(tar.hasher.finish().1)
        };
        io::copy(&mut blob, &mut io::sink())?;
        Ok(Self {
            digest: blob.hasher.finish().1,
            diff_id,
            files,
            order,
        })
    }

    /// The content of one file is given to `out`.
    fn extract(
        media_type: &str,
        open: &Opener<'_>,
        path: &[u8],
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let mut members = Members::new(facts::input::open(media_type, open()?)?);
        let mut failed = None;
        while let Some(member) = members.next_member()? {
            if plain(&member.path) != path {
                continue;
            }
            members.body(|part| {
                failed = out.write_all(part).err();
                Ok(if failed.is_none() {
                    Wants::More
                } else {
                    Wants::Nothing
                })
            })?;
            break;
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl File {
    fn new(member: Member, content: Digest) -> Self {
        Self {
            kind: member.kind,
            mode: member.mode,
            owner: (member.uid, member.gid),
            mtime: member.mtime,
            link: member.link,
            size: member.size,
            content,
        }
    }
}

/// One of the two layers that are compared, open to be read again.
pub(crate) struct Side<'a> {
    pub(crate) layer: &'a ReadLayer,
    pub(crate) media_type: &'a str,
    pub(crate) open: &'a Opener<'a>,
}

/// How two layers differ whose tar streams are not the same.
pub(crate) struct Difference {
    /// The first file in question, and what is wrong with it.
    first: Option<(String, String)>,
    /// Files that differ.
    count: usize,
}

/// Compares what was `found` with what was `expected`. Contents are copied to files in `spool`.
pub(crate) fn difference(
    expected: &Side<'_>,
    found: &Side<'_>,
    spool: &std::path::Path,
) -> anyhow::Result<Difference> {
    let (ours, theirs) = (&expected.layer.files, &found.layer.files);
    let mut paths: Vec<_> = ours.keys().chain(theirs.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.retain(|path| ours.get(*path) != theirs.get(*path));
    let count = paths.len();
    let Some(path) = paths.first() else {
        return Ok(Difference { first: None, count });
    };
    let what = match (ours.get(*path), theirs.get(*path)) {
        (Some(_), None) => "is missing".to_owned(),
        (None, _) => "is not expected".to_owned(),
        (Some(ours), Some(theirs)) => match ours.against(theirs) {
            Some(text) => text,
            None => content(expected, found, path, spool)?,
        },
    };
    let path = String::from_utf8_lossy(path).into_owned();
    Ok(Difference {
        first: Some((path, what)),
        count,
    })
}

impl Difference {
    /// Whether the same files come in another order, or with attributes that were not compared.
    pub(crate) fn is_in_form_only(&self) -> bool {
        self.first.is_none()
    }
}

/// Whether two layers with the same files have them in the same order.
pub(crate) fn same_order(one: &ReadLayer, other: &ReadLayer) -> bool {
    one.order == other.order
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((path, what)) = &self.first else {
            return f.write_str("every file is the same");
        };
        write!(f, "/{path} {what}")?;
        match self.count {
            1 => f.write_str("; it is the only file that differs"),
            count => write!(f, "; it is the first of {count} files that differ"),
        }
    }
}

impl File {
    /// What differs besides the content.
    fn against(&self, found: &Self) -> Option<String> {
        let is = |what: &str, found: String, expected: String| {
            Some(format!("has {what} {found}, expected {expected}"))
        };
        if self.kind != found.kind {
            return Some(format!(
                "is {}, expected {}",
                named(found.kind),
                named(self.kind)
            ));
        }
        if self.mode != found.mode {
            let octal = |mode: u32| format!("{mode:04o}");
            return is("mode", octal(found.mode), octal(self.mode));
        }
        if self.owner != found.owner {
            let pair = |(uid, gid): (u64, u64)| format!("{uid}:{gid}");
            return is("owner", pair(found.owner), pair(self.owner));
        }
        if self.mtime != found.mtime {
            return is("mtime", found.mtime.to_string(), self.mtime.to_string());
        }
        if self.link != found.link {
            let text = |link: &[u8]| String::from_utf8_lossy(link).into_owned();
            return is("target", text(&found.link), text(&self.link));
        }
        if self.size != found.size {
            let bytes = |size: u64| format!("{size} bytes");
            return is("a size of", bytes(found.size), bytes(self.size));
        }
        None
    }
}

fn named(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::File => "a file",
        MemberKind::Hardlink => "a hard link",
        MemberKind::Symlink => "a symbolic link",
        MemberKind::Directory => "a directory",
        MemberKind::Special => "a device or named pipe",
    }
}

/// Where two contents of one size differ first.
fn content(
    expected: &Side<'_>,
    found: &Side<'_>,
    path: &[u8],
    spool: &std::path::Path,
) -> anyhow::Result<String> {
    let copy = |side: &Side<'_>| {
        let mut file = tempfile::tempfile_in(spool)?;
        ReadLayer::extract(side.media_type, side.open, path, &mut file)?;
        io::Seek::rewind(&mut file)?;
        anyhow::Ok(io::BufReader::new(file).bytes())
    };
    let mut pairs = copy(expected)?.zip(copy(found)?).enumerate();
    let first = pairs.find_map(|(offset, pair)| match pair {
        (Ok(expected), Ok(found)) => (expected != found).then_some((offset, expected, found)),
        _ => None,
    });
    Ok(first.map_or_else(
        || "has other content".to_owned(),
        |(offset, expected, found)| {
            format!(
                "has other content from byte {offset} on: {found:#04x}, expected {expected:#04x}"
            )
        },
    ))
}

/// A path as it is compared: `./a/` and `a` are one.
fn plain(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path)
}

/// Hashes what is read through it.
struct HashedReader<R> {
    inner: R,
    hasher: HashingWriter<io::Sink>,
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.write_all(&buffer[..read])?;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for HashedReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What is consumed was filled, and a hash takes all bytes.
        if let Ok(filled) = self.inner.fill_buf() {
            let _ = self.hasher.write_all(&filled[..count.min(filled.len())]);
        }
        self.inner.consume(count);
    }
}
