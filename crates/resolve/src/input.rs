//! Inputs: where requirements come from, and the requirements that were read from there.
//!
//! Requirements follow the dependency specifiers specification. Nothing here depends on a target.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use uv_distribution_filename::WheelFilename;
use uv_distribution_types::{Requirement, RequirementSource};
use uv_normalize::PackageName;
use uv_pep440::VersionSpecifiers;
use uv_pep508::{MarkerTree, Pep508Error, UnnamedRequirement, VersionOrUrl};
use uv_pypi_types::{ParsedUrl, VerbatimParsedUrl};
use uv_requirements_txt::RequirementsTxtRequirement;
use uv_resolver::PrereleaseMode;

use crate::error::{Error, NotAWheel, Place};
use crate::formats::FormatOption;
use crate::locked::{Document, LockFile};
use crate::request::Indexes;
use crate::{pyproject, requirements};

/// One place that requirements come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A requirements file, as pip reads it. Relative paths in it are relative to its directory.
    RequirementsFile(PathBuf),
    /// A requirements file whose requirements are constraints: they limit versions and add nothing.
    ConstraintsFile(PathBuf),
    /// The dependencies that a pyproject.toml declares, without the project itself.
    Pyproject {
        /// The file.
        path: PathBuf,
        /// Extras (`[project.optional-dependencies]`) to add to `[project] dependencies`.
        extras: Vec<String>,
        /// Dependency groups to add.
        groups: Vec<String>,
    },
    /// A `uv.lock`, which is obeyed: nothing is resolved. No other input may stand beside it.
    UvLock {
        /// The file.
        path: PathBuf,
        /// Extras of the project to add to its dependencies.
        extras: Vec<String>,
        /// Dependency groups to add. None are taken that are not named here.
        groups: Vec<String>,
    },
    /// A `pylock.toml`, likewise.
    Pylock {
        /// The file.
        path: PathBuf,
        /// Extras to add.
        extras: Vec<String>,
        /// Dependency groups; the lock's default ones where none is named.
        groups: Vec<String>,
    },
    /// Requirements in which relative paths are relative to a directory.
    RequirementsAt {
        /// The directory.
        directory: PathBuf,
        /// The requirements.
        texts: Vec<String>,
    },
    /// A requirement: `httpx>=0.27`. Relative paths in it are relative to the current directory.
    Requirement(String),
}

/// What was read from some inputs.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    pub(crate) requirements: Vec<Entry>,
    pub(crate) constraints: Vec<Entry>,
    pub(crate) index: Indexes,
    /// The find-links of `index` as the files write them, which is the same on every machine.
    pub(crate) find_links: Vec<String>,
    pub(crate) require_hashes: bool,
    /// As `--pre` or `[tool.uv] prerelease` say.
    pub(crate) pre_releases: Option<PrereleaseMode>,
    /// Requirements that replace others of their name.
    pub(crate) overrides: Vec<Entry>,
    /// Names of packages that are left out.
    pub(crate) exclude: Vec<String>,
    /// Where the project runs, as `[tool.uv] environments` says. Empty where nothing is said.
    pub(crate) environments: Vec<MarkerTree>,
    pub(crate) formats: Vec<FormatOption>,
    pub(crate) prefer_binary: bool,
    pub(crate) requires_python: Vec<(PathBuf, VersionSpecifiers)>,
    pub(crate) warnings: Vec<String>,
    pub(crate) lock: Option<LockFile>,
}

/// A requirement, and what a requirements file adds to it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) requirement: Requirement,
    /// `sha256:…`, any of which the wheel may have.
    pub(crate) hashes: Vec<String>,
    /// What `[tool.uv.sources]` makes of it. None where it says nothing of the package.
    pub(crate) lowered: Option<Vec<Entry>>,
    /// What it names instead of a wheel, where the requirement does not show it.
    pub(crate) refused: Option<NotAWheel>,
}

impl Inputs {
    /// Reads all of `inputs`, and the files that they include.
    pub async fn read(inputs: &[Input]) -> Result<Self, Error> {
        let mut all = Self::default();
        for input in inputs {
            match input {
                Input::RequirementsFile(path) => requirements::read(path, &mut all).await?,
                Input::ConstraintsFile(path) => {
                    let mut read = Self::default();
                    requirements::read(path, &mut read).await?;
                    all.constraints.append(&mut read.requirements);
                    all.constraints.append(&mut read.constraints);
                    all.warnings.append(&mut read.warnings);
                }
                Input::Pyproject {
                    path,
                    extras,
                    groups,
                } => {
                    pyproject::read(path, extras, groups, &mut all)?;
                }
                Input::UvLock {
                    path,
                    extras,
                    groups,
                } => {
                    let document = |text: &str| toml::from_str(text).map(Document::Uv);
                    all.lock = Some(read_lock(path, extras, groups, document)?);
                }
                Input::Pylock {
                    path,
                    extras,
                    groups,
                } => {
                    let document = |text: &str| toml::from_str(text).map(Document::Pylock);
                    all.lock = Some(read_lock(path, extras, groups, document)?);
                }
                Input::RequirementsAt { directory, texts } => {
                    for text in texts {
                        let place = Place::Given(text.clone());
                        all.requirements.push(Entry::parse(text, directory, place)?);
                    }
                }
                Input::Requirement(text) => {
                    let directory = std::env::current_dir().unwrap_or_default();
                    let place = Place::Given(text.clone());
                    all.requirements
                        .push(Entry::parse(text, &directory, place)?);
                }
            }
        }
        match &all.lock {
            Some(lock) if inputs.len() > 1 => Err(Error::Invalid {
                place: Place::File(lock.path.clone(), None),
                message: "a lock is obeyed alone: nothing else may be required beside it"
                    .to_owned(),
            }),
            _ => Ok(all),
        }
    }

    /// Whether nothing is asked for. A lock counts as something.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && self.lock.is_none()
    }

    /// Whether a lock decides the versions.
    pub fn are_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// The requirements as written, apart from white space and the spelling of names. Sorted.
    pub fn requirements(&self) -> Vec<String> {
        lines(&self.requirements)
    }

    /// The constraints, likewise.
    pub fn constraints(&self) -> Vec<String> {
        lines(&self.constraints)
    }

    /// The indexes that the files name. URLs may hold credentials.
    pub fn indexes(&self) -> &Indexes {
        &self.index
    }

    /// The URLs that the files name: of indexes, of pages with links, of wheels. They may hold
    /// credentials.
    pub fn locations(&self) -> Vec<String> {
        let Indexes {
            default,
            extra,
            explicit,
            find_links,
            no_index: _,
        } = &self.index;
        let indexes = default
            .iter()
            .chain(extra)
            .chain(explicit)
            .chain(find_links);
        let entries = self.requirements.iter().chain(&self.overrides);
        let direct = entries.flat_map(Entry::lowered).filter_map(|entry| {
            let RequirementSource::Url { location, .. } = &entry.requirement.source else {
                return None;
            };
            Some(location.displayable_with_credentials().to_string())
        });
        indexes.cloned().chain(direct).collect()
    }

    /// What a reader should know about the files. Sorted.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The options of the files that mean something where packages may be built from sources, as a
    /// text. Where none may, [`Inputs::fingerprint`] has all that counts.
    pub fn format_options(&self) -> String {
        format!("{:?} {}", self.formats, self.prefer_binary)
    }

    /// All that was read, as a text that is the same whenever it means the same: in another order,
    /// in other files, with other comments. It holds no credentials.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        let mut line = |keyword: &str, value: &str| {
            text.push_str(keyword);
            text.push(' ');
            text.push_str(value);
            text.push('\n');
        };
        for requirement in self.requirements() {
            line("requirement", &requirement);
        }
        for constraint in self.constraints() {
            line("constraint", &constraint);
        }
        // The order of indexes decides which one is asked first.
        if let Some(url) = &self.index.default {
            line("index", &without_credentials(url));
        }
        for url in &self.index.extra {
            line("extra-index", &without_credentials(url));
        }
        for location in &self.find_links {
            line("find-links", &without_credentials(location));
        }
        if self.index.no_index {
            line("no-index", "true");
        }
        if self.require_hashes {
            line("require-hashes", "true");
        }
        if let Some(mode) = self.pre_releases {
            line("pre", &mode.to_string());
        }
        for text in lines(&self.overrides) {
            line("override", &text);
        }
        for name in &self.exclude {
            line("exclude", name);
        }
        // Everything comes from wheels anyway: without a `no-binary` the others say nothing new.
        let is_no_binary = |option: &FormatOption| matches!(option, FormatOption::NoBinary(_));
        if self.formats.iter().any(is_no_binary) {
            for option in &self.formats {
                match option {
                    FormatOption::OnlyBinary(value) => line("only-binary", value),
                    FormatOption::NoBinary(value) => line("no-binary", value),
                }
            }
        }
        if let Some(lock) = &self.lock {
            for (keyword, names) in [("extra", &lock.extras), ("group", &lock.groups)] {
                let mut names: Vec<_> = names.iter().collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    line(keyword, name);
                }
            }
            line("lock", &lock.text);
        }
        text
    }
}

/// The name of a package as indexes and locks spell it: `Flask_SQLAlchemy` → `flask-sqlalchemy`.
pub fn normalize_name(name: &str) -> Result<String, Error> {
    PackageName::from_str(name)
        .map(|name| name.to_string())
        .map_err(|error| Error::Invalid {
            place: Place::Given(name.to_owned()),
            message: error.to_string(),
        })
}

impl Entry {
    /// Reads a requirement in which relative paths are relative to `directory`.
    pub(crate) fn parse(text: &str, directory: &Path, place: Place) -> Result<Self, Error> {
        match RequirementsTxtRequirement::parse(text.trim(), directory, false) {
            Ok(requirement) => Self::new(requirement, Vec::new(), place),
            Err(error) => Err(Error::Invalid {
                place,
                message: parse_message(&error),
            }),
        }
    }

    /// `place` is where the requirement was read.
    pub(crate) fn new(
        requirement: RequirementsTxtRequirement,
        hashes: Vec<String>,
        place: Place,
    ) -> Result<Self, Error> {
        let requirement = match requirement {
            RequirementsTxtRequirement::Named(requirement) => requirement,
            RequirementsTxtRequirement::Unnamed(requirement) => name(requirement, place)?,
        };
        Ok(Self {
            requirement: Requirement::from(requirement),
            hashes,
            lowered: None,
            refused: None,
        })
    }

    /// What stands for it: what `[tool.uv.sources]` makes of it, or itself.
    pub(crate) fn lowered(&self) -> &[Self] {
        self.lowered
            .as_deref()
            .unwrap_or_else(|| std::slice::from_ref(self))
    }

    /// Name and extras.
    pub(crate) fn named(&self) -> String {
        let Requirement { name, extras, .. } = &self.requirement;
        if extras.is_empty() {
            return name.to_string();
        }
        let mut extras: Vec<&str> = extras.iter().map(AsRef::as_ref).collect();
        extras.sort_unstable();
        format!("{name}[{}]", extras.join(","))
    }

    /// The requirement in one line, without credentials and without anything of this machine.
    pub(crate) fn text(&self) -> String {
        let Requirement { marker, source, .. } = &self.requirement;
        let mut text = self.named();
        match source {
            RequirementSource::Registry {
                specifier, index, ..
            } => {
                text.push_str(&specifier.to_string());
                if let Some(index) = index {
                    text = format!("{text} from {}", index.url.without_credentials());
                }
            }
            RequirementSource::Url { url, .. }
            | RequirementSource::GitDirectory { url, .. }
            | RequirementSource::GitPath { url, .. }
            | RequirementSource::Path { url, .. }
            | RequirementSource::Directory { url, .. } => {
                let url = url
                    .given()
                    .map_or_else(|| url.to_string(), without_credentials);
                text = format!("{text} @ {url}");
            }
        }
        if let Some(marker) = marker.try_to_string() {
            text = format!("{text} ; {marker}");
        }
        let mut hashes = self.hashes.clone();
        hashes.sort_unstable();
        for hash in hashes {
            text = format!("{text} --hash={hash}");
        }
        text
    }
}

/// The names of packages, at the front of wheels' file names, stand in for names left out.
fn name(
    requirement: UnnamedRequirement<VerbatimParsedUrl>,
    place: Place,
) -> Result<uv_pep508::Requirement<VerbatimParsedUrl>, Error> {
    let file = requirement
        .url
        .verbatim
        .path()
        .rsplit('/')
        .next()
        .unwrap_or_default();
    // A `+` of a local version is often escaped.
    let file = file.replace("%2B", "+").replace("%2b", "+");
    let name = match WheelFilename::from_str(&file) {
        Ok(filename) => filename.name,
        // It can't be installed anyway; a name lets it come as far as the error that says so.
        Err(_) => file
            .split(['-', '.', '@'])
            .next()
            .and_then(|stem| PackageName::from_str(stem).ok())
            .ok_or_else(|| unnamed(&requirement.url, place))?,
    };
    Ok(uv_pep508::Requirement {
        name,
        extras: requirement.extras,
        version_or_url: Some(VersionOrUrl::Url(requirement.url)),
        marker: requirement.marker,
        origin: requirement.origin,
    })
}

/// What is wrong with a location that names no package, such as `.`.
fn unnamed(url: &VerbatimParsedUrl, place: Place) -> Error {
    let given = url.verbatim.given().map(without_credentials);
    match &url.parsed_url {
        ParsedUrl::Directory(directory) => Error::NotAWheel {
            requirement: given.unwrap_or_else(|| directory.install_path.display().to_string()),
            kind: match directory.editable {
                Some(true) => NotAWheel::Editable,
                _ => NotAWheel::Directory,
            },
        },
        _ => Error::Invalid {
            place,
            message: "expected a requirement or the path of a wheel".to_owned(),
        },
    }
}

/// The first line says what is wrong; the others draw it, and add nothing that a place doesn't.
pub(crate) fn parse_message(error: &Pep508Error<VerbatimParsedUrl>) -> String {
    let message = error.message.to_string();
    let first = message
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(':');
    format!("{first}: `{}`", error.input)
}

/// A URL or path without the user and password in it. `${VARIABLES}` are names, not secrets.
pub(crate) fn without_credentials(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else {
        return location.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end]
        .rsplit_once('@')
        .map_or(&rest[..end], |(_, host)| host);
    format!("{scheme}://{host}{}", &rest[end..])
}

fn read_lock(
    path: &Path,
    extras: &[String],
    groups: &[String],
    document: impl FnOnce(&str) -> Result<Document, toml::de::Error>,
) -> Result<LockFile, Error> {
    let text = read_text(path)?;
    let document = document(&text).map_err(|error| syntax(path, &text, &error))?;
    Ok(LockFile {
        path: path.to_owned(),
        extras: extras.to_vec(),
        groups: groups.to_vec(),
        text,
        document,
    })
}

pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::MissingFile {
            path: path.to_owned(),
        },
        _ => Error::Unreadable {
            path: path.to_owned(),
            source,
        },
    })?;
    let is_marker = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    match text.lines().position(is_marker) {
        None => Ok(text),
        Some(before) => Err(Error::Invalid {
            place: Place::File(path.to_owned(), Some(before + 1)),
            message: "the file has merge conflict markers: settle the conflict first".to_owned(),
        }),
    }
}

/// What is wrong with a TOML document, and in which line.
pub(crate) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| pyproject::line(text, span.start));
    Error::Invalid {
        place: Place::File(path.to_owned(), line),
        message: error.message().to_owned(),
    }
}

fn lines(entries: &[Entry]) -> Vec<String> {
    let mut lines: Vec<String> = entries
        .iter()
        .flat_map(Entry::lowered)
        .map(Entry::text)
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests;
