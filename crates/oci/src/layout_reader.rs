//! Reads OCI image layouts (image-spec `image-layout.md`): directories, and tar archives of them,
//! which are read in place.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;

use crate::descriptor::{Compression, annotation, digest_of, is_index};
use crate::index::select;
use crate::layer_check::compression_of;
use crate::layout::{INDEX, MARKER, blob_path, check_marker};
use crate::untar::{Input, MemberKind, TarReader};
use crate::{Digest, LayoutError, Platform, Source, SourceReader};

/// Bytes that a document may have, as in registries.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// An open layout. Documents are checked against their digests when they are read; blobs are not.
#[derive(Debug)]
pub struct LayoutReader {
    place: Place,
    index: ImageIndex,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Archive {
        source: Source,
        members: BTreeMap<String, Span>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Span {
    offset: u64,
    size: u64,
}

/// A blob, or another file of a layout, at rest.
#[derive(Debug, Clone)]
pub struct Blob {
    source: Source,
    span: Span,
}

impl Blob {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.span.size
    }

    /// The file it is in.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> SourceReader {
        self.source.range(self.span.offset, self.span.size)
    }
}

impl LayoutReader {
    /// Opens the layout directory, oci-archive or docker-archive (one with a layout in it) at `path`.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let in_file = |source| LayoutError::File {
            path: path.to_owned(),
            source,
        };
        let place = if fs::metadata(path).map_err(in_file)?.is_dir() {
            Place::Directory(path.to_owned())
        } else {
            let source = Source::open(path, &path.display().to_string(), None).map_err(in_file)?;
            Place::Archive {
                members: scan(&source)?,
                source,
            }
        };
        let not_a_layout = || LayoutError::NotALayout {
            path: path.to_owned(),
        };
        let marker = place.small_file(MARKER)?.ok_or_else(not_a_layout)?;
        check_marker(&marker, path)?;
        let index = place.small_file(INDEX)?.ok_or_else(not_a_layout)?;
        Ok(Self {
            index: parse(INDEX, &index)?,
            place,
        })
    }

    /// What `index.json` lists.
    pub fn index(&self) -> &ImageIndex {
        &self.index
    }

    /// The entry of that name (the annotation `org.opencontainers.image.ref.name`); without a name,
    /// the only image there is.
    pub fn resolve(&self, name: Option<&str>) -> Result<Descriptor, LayoutError> {
        let entries = self.index.manifests();
        let mut found = entries
            .iter()
            .filter(|entry| name.is_none() || name_of(entry) == name);
        let known = || {
            let text = |e: &Descriptor| name_of(e).unwrap_or(e.digest().as_ref()).to_owned();
            entries.iter().map(text).collect()
        };
        match (found.next(), name) {
            (Some(first), _) if found.all(|other| other.digest() == first.digest()) => {
                Ok(first.clone())
            }
            (None, Some(name)) => Err(LayoutError::UnknownName {
                name: name.to_owned(),
                known: known(),
            }),
            _ => Err(LayoutError::Ambiguous { known: known() }),
        }
    }

    /// The image for `platform` in an index; a manifest itself, which says no platform.
    pub fn select(
        &self,
        descriptor: &Descriptor,
        platform: Platform,
    ) -> Result<Descriptor, LayoutError> {
        if !is_index(descriptor.media_type()) {
            return Ok(descriptor.clone());
        }
        let index: ImageIndex = self.parsed(descriptor)?;
        select(&index, platform)
            .cloned()
            .map_err(|known| LayoutError::UnknownPlatform {
                wanted: platform,
                known,
            })
    }

    /// The bytes of a document: its digest and size are checked, and it has at most
    /// [`MAX_DOCUMENT`] bytes.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        let digest = sha256(descriptor)?;
        let blob = self.blob(&digest)?;
        if blob.size() != descriptor.size() {
            let (expected, found) = (descriptor.size(), blob.size());
            return Err(LayoutError::Size {
                digest,
                expected,
                found,
            });
        }
        let bytes = blob.small(&digest.to_string())?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(LayoutError::Digest {
                expected: digest,
                found,
            });
        }
        Ok(bytes)
    }

    /// The manifest and configuration documents of an image.
    pub fn image(&self, manifest: &Descriptor) -> Result<(Vec<u8>, Vec<u8>), LayoutError> {
        let bytes = self.document(manifest)?;
        let parsed: ImageManifest = parse(manifest.digest().as_ref(), &bytes)?;
        let config = self.document(parsed.config())?;
        Ok((bytes, config))
    }

    /// A document as what it says.
    pub(crate) fn parsed<T: DeserializeOwned>(&self, of: &Descriptor) -> Result<T, LayoutError> {
        parse(of.digest().as_ref(), &self.document(of)?)
    }

    /// A blob; its digest is not checked.
    pub fn blob(&self, digest: &Digest) -> Result<Blob, LayoutError> {
        self.place
            .file(&blob_path(digest))?
            .ok_or(LayoutError::Missing { digest: *digest })
    }

    /// Another file of the layout (`manifest.json` of a docker-archive); None where there is none.
    pub(crate) fn file(&self, name: &str) -> Result<Option<Vec<u8>>, LayoutError> {
        self.place.small_file(name)
    }
}

/// The digest of a descriptor, or the error that it is none we know.
pub(crate) fn sha256(descriptor: &Descriptor) -> Result<Digest, LayoutError> {
    digest_of(descriptor).ok_or_else(|| LayoutError::Algorithm {
        digest: descriptor.digest().to_string(),
    })
}

fn parse<T: DeserializeOwned>(document: &str, bytes: &[u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|source| LayoutError::Json {
        document: document.to_owned(),
        source,
    })
}

impl Place {
    fn file(&self, name: &str) -> Result<Option<Blob>, LayoutError> {
        match self {
            Self::Archive { source, members } => Ok(members.get(name).map(|span| Blob {
                source: source.clone(),
                span: *span,
            })),
            Self::Directory(root) => {
                let path = root.join(name);
                match Source::open(&path, &path.display().to_string(), None) {
                    Ok(source) => {
                        let span = Span {
                            offset: 0,
                            size: source.size(),
                        };
                        Ok(Some(Blob { source, span }))
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(LayoutError::File { path, source }),
                }
            }
        }
    }

    fn small_file(&self, name: &str) -> Result<Option<Vec<u8>>, LayoutError> {
        self.file(name)?.map(|blob| blob.small(name)).transpose()
    }
}

impl Blob {
    /// All of it, if it may be a document.
    fn small(&self, document: &str) -> Result<Vec<u8>, LayoutError> {
        if self.size() > MAX_DOCUMENT {
            return Err(LayoutError::TooLarge {
                document: document.to_owned(),
                size: self.size(),
                limit: MAX_DOCUMENT,
            });
        }
        let mut bytes = Vec::new();
        self.reader()
            .read_to_end(&mut bytes)
            .map_err(|source| LayoutError::File {
                path: PathBuf::from(self.source.name()),
                source,
            })?;
        Ok(bytes)
    }
}

/// The regular files of an archive, by name. Only headers are read.
fn scan(source: &Source) -> Result<BTreeMap<String, Span>, LayoutError> {
    let mut first = [0; 4];
    let readable = source.read_exact_at(&mut first, 0).is_ok();
    if readable && compression_of(&first) != Compression::None {
        return Err(LayoutError::Compressed {
            name: source.name().to_owned(),
        });
    }
    let mut last = String::new();
    let mut members = BTreeMap::new();
    let mut reader = TarReader::new(Ranged {
        source: source.clone(),
        position: 0,
    });
    loop {
        let member = match reader.next() {
            Ok(Some(member)) => member,
            Ok(None) => return Ok(members),
            Err(fault) => {
                let name = source.name().to_owned();
                return Err(LayoutError::Archive {
                    name,
                    member: last,
                    fault,
                });
            }
        };
        let path = member.path.strip_prefix(b"./").unwrap_or(&member.path);
        last = String::from_utf8_lossy(path).into_owned();
        if member.kind == MemberKind::File {
            let span = Span {
                offset: member.offset,
                size: member.size,
            };
            if members.insert(last.clone(), span).is_some() {
                let name = source.name().to_owned();
                return Err(LayoutError::DuplicateMember { name, member: last });
            }
        }
    }
}

/// A tar stream in a file: bodies are passed over without reading them.
struct Ranged {
    source: Source,
    position: u64,
}

impl Read for Ranged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size().saturating_sub(self.position);
        let read = self.source.range(self.position, left).read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Input for Ranged {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        match self.position.checked_add(count) {
            Some(end) if end <= self.source.size() => self.position = end,
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    annotation(entry, ANNOTATION_REF_NAME)
}
