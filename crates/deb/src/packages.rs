//! Packages of an index (`Packages`) and of an installation (`status`), with the fields that
//! choosing, fetching and describing them needs: Policy 5.3 and the repository format.

use std::fmt;
use std::io::{BufReader, Read};

use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use oci::{Digest, Platform};

use crate::control::{Stanza, Stanzas};
use crate::relation::{self, Dependency, RelationError, is_name};
use crate::{Error, ValueError, Version};

/// What an xz stream may ask for to be decompressed; `xz -9` asks for 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// A package of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// `Package`.
    pub name: String,
    /// `Version`.
    pub version: Version,
    /// `Architecture`.
    pub architecture: Architecture,
    /// `Filename`: the .deb's path below the mirror.
    pub filename: String,
    /// `SHA256` of the .deb.
    pub sha256: Digest,
    /// `Size` of the .deb in bytes.
    pub size: u64,
    /// `Source`, where it is not the package's own name and version.
    pub source: Option<String>,
    /// `Pre-Depends`.
    pub pre_depends: Relations,
    /// `Depends`.
    pub depends: Relations,
    /// `Conflicts`.
    pub conflicts: Relations,
    /// `Breaks`.
    pub breaks: Relations,
    /// `Provides`.
    pub provides: Vec<(String, Option<Version>)>,
    /// `Multi-Arch`.
    pub multi_arch: MultiArch,
    /// `Essential`.
    pub essential: bool,
    /// `Priority`.
    pub priority: Priority,
}

/// A package of an existing base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// `Package`.
    pub name: String,
    /// `Version`.
    pub version: Version,
    /// `Architecture`.
    pub architecture: Architecture,
    /// `Provides`.
    pub provides: Vec<(String, Option<Version>)>,
    /// `Multi-Arch`.
    pub multi_arch: MultiArch,
    /// `Conflicts`.
    pub conflicts: Relations,
    /// `Breaks`.
    pub breaks: Relations,
}

impl From<&Package> for Installed {
    /// The package, once it is installed.
    fn from(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            provides: package.provides.clone(),
            multi_arch: package.multi_arch,
            conflicts: package.conflicts.clone(),
            breaks: package.breaks.clone(),
        }
    }
}

/// A field of relations, as its text: an index has 70 000 packages, of which few are ever looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations(Box<str>);

impl Relations {
    /// A field with this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The items of the field.
    pub fn parse(&self) -> Result<Vec<Dependency>, RelationError> {
        relation::parse_field(&self.0)
    }
}

/// Debian's name for an architecture, or `all`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Architecture(Box<str>);

impl Architecture {
    /// The one that is called so.
    pub fn new(name: &str) -> Result<Self, ValueError> {
        if is_name(name) {
            return Ok(Self(name.into()));
        }
        Err(ValueError::Name(name.to_owned()))
    }

    /// That of an image's platform.
    pub fn of(platform: Platform) -> Self {
        Self(match platform {
            Platform::Amd64 => "amd64".into(),
            Platform::Arm64 => "arm64".into(),
            Platform::ArmV7 => "armhf".into(),
        })
    }

    /// Whether it stands for packages that are the same on all architectures.
    pub fn is_all(&self) -> bool {
        &*self.0 == "all"
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `Multi-Arch`: how a package stands to those of other architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiArch {
    /// Not in any way; what is meant without the field.
    No,
    /// Several architectures' can be installed at once.
    Same,
    /// Satisfies dependencies of packages of any architecture.
    Foreign,
    /// Satisfies such dependencies if they say `:any`.
    Allowed,
}

/// `Priority`, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of Policy 2.5")]
pub enum Priority {
    Required,
    Important,
    Standard,
    Optional,
    /// The deprecated `extra`, and packages without the field.
    Extra,
}

const FIELDS: &[&str] = &[
    "Package",
    "Version",
    "Architecture",
    "Filename",
    "SHA256",
    "Size",
    "Source",
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Provides",
    "Multi-Arch",
    "Essential",
    "Priority",
    "Status",
];

/// The packages of an index, in its order. `file` is what messages call it, and its ending tells
/// how it is compressed: `.xz`, `.gz`, or not.
pub fn parse(reader: impl Read, file: &str) -> Result<Vec<Package>, Error> {
    let stanzas = Stanzas::new(BufReader::new(decompressed(reader, file)?), file).keeping(FIELDS);
    stanzas
        .map(|stanza| {
            Fields {
                stanza: &stanza?,
                file,
            }
            .package()
        })
        .collect()
}

/// The packages that a `/var/lib/dpkg/status` counts as installed, or that one file of a `status.d`
/// describes (whose stanzas have no `Status`).
pub fn installed(reader: impl Read, file: &str) -> Result<Vec<Installed>, Error> {
    let mut packages = Vec::new();
    for stanza in Stanzas::new(BufReader::new(reader), file).keeping(FIELDS) {
        let stanza = stanza?;
        let state = stanza
            .get("Status")
            .map(|status| status.split_ascii_whitespace().last());
        if matches!(
            state,
            None | Some(Some("installed" | "triggers-awaited" | "triggers-pending"))
        ) {
            packages.push(
                Fields {
                    stanza: &stanza,
                    file,
                }
                .installed()?,
            );
        }
    }
    Ok(packages)
}

fn decompressed<'a>(reader: impl Read + 'a, file: &str) -> Result<Box<dyn Read + 'a>, Error> {
    Ok(match file.rsplit_once('.') {
        Some((_, "xz")) => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
            let read = |source: liblzma::stream::Error| Error::Read {
                file: file.to_owned(),
                source: source.into(),
            };
            Box::new(XzDecoder::new_stream(reader, stream.map_err(read)?))
        }
        Some((_, "gz")) => Box::new(MultiGzDecoder::new(reader)),
        _ => Box::new(reader),
    })
}

/// A stanza with the name of its file, for messages.
struct Fields<'a> {
    stanza: &'a Stanza,
    file: &'a str,
}

impl Fields<'_> {
    fn package(&self) -> Result<Package, Error> {
        let size = |text: &str| text.parse().map_err(|_| ValueError::Size(text.to_owned()));
        Ok(Package {
            name: self.required("Package", name)?,
            version: self.required("Version", |text| Ok(text.parse()?))?,
            architecture: self.required("Architecture", Architecture::new)?,
            filename: self.required("Filename", |text| Ok(text.to_owned()))?,
            sha256: self.required("SHA256", |text| Ok(Digest::from_hex(text)?))?,
            size: self.required("Size", size)?,
            source: self.stanza.get("Source").map(str::to_owned),
            pre_depends: self.relations("Pre-Depends"),
            depends: self.relations("Depends"),
            conflicts: self.relations("Conflicts"),
            breaks: self.relations("Breaks"),
            provides: self.provides()?,
            multi_arch: self.multi_arch()?,
            essential: self.stanza.get("Essential") == Some("yes"),
            priority: self.priority(),
        })
    }

    fn installed(&self) -> Result<Installed, Error> {
        Ok(Installed {
            name: self.required("Package", name)?,
            version: self.required("Version", |text| Ok(text.parse()?))?,
            architecture: self.required("Architecture", Architecture::new)?,
            provides: self.provides()?,
            multi_arch: self.multi_arch()?,
            conflicts: self.relations("Conflicts"),
            breaks: self.relations("Breaks"),
        })
    }

    fn required<T>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<T, Error> {
        let (file, line) = (self.file.to_owned(), self.stanza.line);
        match self.stanza.get(field) {
            None => Err(Error::MissingField { file, line, field }),
            Some(text) => parse(text).map_err(|source| Error::Field {
                file,
                line,
                field,
                source,
            }),
        }
    }

    fn or<T>(
        &self,
        field: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<T, Error> {
        match self.stanza.get(field) {
            None => Ok(default),
            Some(_) => self.required(field, parse),
        }
    }

    fn relations(&self, field: &'static str) -> Relations {
        Relations::new(self.stanza.get(field).unwrap_or_default())
    }

    fn provides(&self) -> Result<Vec<(String, Option<Version>)>, Error> {
        self.or("Provides", Vec::new(), |text| {
            Ok(relation::parse_provides(text)?)
        })
    }

    fn multi_arch(&self) -> Result<MultiArch, Error> {
        self.or("Multi-Arch", MultiArch::No, |text| match text {
            "no" => Ok(MultiArch::No),
            "same" => Ok(MultiArch::Same),
            "foreign" => Ok(MultiArch::Foreign),
            "allowed" => Ok(MultiArch::Allowed),
            _ => Err(ValueError::Unknown(text.to_owned())),
        })
    }

    fn priority(&self) -> Priority {
        match self.stanza.get("Priority") {
            Some("required") => Priority::Required,
            Some("important") => Priority::Important,
            Some("standard") => Priority::Standard,
            Some("optional") => Priority::Optional,
            _ => Priority::Extra,
        }
    }
}

fn name(text: &str) -> Result<String, ValueError> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(ValueError::Name(text.to_owned()))
}

#[cfg(test)]
#[path = "packages_tests.rs"]
pub(crate) mod tests;
