//! A project: its configuration, checked and completed. What is in here can be built as far as the
//! configuration alone can tell.

pub(crate) mod config;
pub(crate) mod debian;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use oci::{Encoder, Platform, TreePath};
use registry::Reference;
use uv_normalize::PackageName;

pub(crate) use config::{
    Allowed, ConfigTable, DependenciesTable, InstallProject, MirrorTable, Record, Versions,
};
pub(crate) use debian::{Debian, Repository};

use crate::credentials::Credentials;
use crate::diagnostics::{Failure, nearest};
use crate::place::Location;

/// Layers that an image may have at most: what runtimes with overlay mounts take.
const LAYER_LIMIT: usize = 127;

/// A project under one profile.
#[derive(Debug)]
pub(crate) struct Project {
    /// Absolute.
    pub(crate) directory: PathBuf,
    pub(crate) profile: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) base: Base,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) encoder: Encoder,
    /// Repositories that may have layers, besides the one that is pushed to.
    pub(crate) cache_from: Vec<String>,
    pub(crate) max_layers: usize,
    /// `major.minor`, where the configuration states it.
    pub(crate) python: Option<String>,
    /// The virtual environment's directory, where the configuration states it.
    pub(crate) venv: Option<TreePath>,
    /// In the configuration's order.
    pub(crate) platforms: Vec<(Platform, Dependencies)>,
    pub(crate) system: Vec<String>,
    pub(crate) debian: Debian,
    pub(crate) apps: Vec<App>,
    pub(crate) config: ConfigTable,
}

/// What the image stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Debian's own packages.
    Debian(deb::base::Base),
    /// An image, and how the configuration writes it.
    Image { text: String, location: Location },
    /// Nothing.
    Scratch,
}

impl Base {
    /// The reference, where it is one.
    pub(crate) fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Image { location, .. } => location.reference(),
            Self::Debian(_) | Self::Scratch => None,
        }
    }

    /// Where the base image is, where it is one.
    pub(crate) fn location(&self) -> Option<&Location> {
        match self {
            Self::Image { location, .. } => Some(location),
            Self::Debian(_) | Self::Scratch => None,
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(base) => write!(f, "debian:{}", base.codename),
            Self::Image { text, .. } => f.write_str(text),
            Self::Scratch => f.write_str("scratch"),
        }
    }
}

/// What one platform depends on.
#[derive(Debug, Clone)]
pub(crate) struct Dependencies {
    pub(crate) inputs: Vec<resolve::Input>,
    pub(crate) indexes: resolve::Indexes,
    pub(crate) policies: Policies,
    /// How the project itself is installed, where it is.
    pub(crate) project: Option<InstallProject>,
    pub(crate) versions: Versions,
    /// With what they need.
    pub(crate) allow_large: Allowed,
    pub(crate) allow_divergence: Allowed,
    pub(crate) allow_other_needs: Allowed,
    pub(crate) allow_downgrade: Vec<String>,
    pub(crate) record: BTreeMap<PackageName, Record>,
    /// Whether packages of the base's environment count as installed.
    pub(crate) reuse_base: bool,
}

/// How packages are chosen, beside what is required.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    pub(crate) constraints: Vec<String>,
    pub(crate) overrides: Vec<String>,
    /// Normalised names.
    pub(crate) exclude: Vec<String>,
    pub(crate) formats: resolve::Formats,
    /// The packages and `:all:` that `no-binary` names.
    pub(crate) no_binary: Vec<String>,
    pub(crate) prefer_binary: bool,
    /// Normalised names of packages that may be built from sdists, or `:all:`.
    pub(crate) build_from_source: Vec<String>,
    pub(crate) pre_releases: bool,
    pub(crate) require_hashes: bool,
    /// Normalised name to the URL of an index.
    pub(crate) sources: BTreeMap<String, String>,
}

/// Files of the project that enter the image.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Relative to the project, as configured.
    pub(crate) source: PathBuf,
    pub(crate) destination: TreePath,
    pub(crate) exclude: Vec<String>,
}

impl Project {
    /// Reads and checks the configuration in `directory`, for `profile`.
    pub(crate) fn open(directory: &Path, profile: Option<&str>) -> Result<Self, Failure> {
        let directory = std::path::absolute(directory)
            .map_err(|error| Failure::new("the project's directory is unknown").caused_by(error))?;
        let (document, file) = config::read(&directory)?;
        Checker { directory, file }.check(document, profile)
    }

    /// The lock of this profile.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.directory.join(match &self.profile {
            Some(profile) => format!("oxcart.{profile}.lock"),
            None => "oxcart.lock".to_owned(),
        })
    }

    /// The image's name, or the project directory's where it has none: only for archives, which
    /// can't do without one.
    pub(crate) fn display_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let name = self
                .directory
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            name.to_lowercase()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        })
    }

    /// The platforms to build: all, or those `chosen`, each of which must be one of the project's.
    pub(crate) fn choose(&self, chosen: &[Platform]) -> Result<Vec<Platform>, Failure> {
        let known: Vec<_> = self
            .platforms
            .iter()
            .map(|(platform, _)| *platform)
            .collect();
        if let Some(unknown) = chosen.iter().find(|platform| !known.contains(platform)) {
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            return Err(
                Failure::new(format!("the project is not built for {unknown}")).hint(format!(
                    "it has {}; add the platform to [image] platforms",
                    known.join(", ")
                )),
            );
        }
        Ok(known
            .into_iter()
            .filter(|it| chosen.is_empty() || chosen.contains(it))
            .collect())
    }

    /// The credentials of the package indexes.
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::of(self.platforms.iter().flat_map(|(_, dependencies)| {
            let indexes = &dependencies.indexes;
            indexes
                .default
                .iter()
                .chain(&indexes.extra)
                .chain(&indexes.find_links)
                .chain(dependencies.policies.sources.values())
                .map(String::as_str)
        }))
    }

    /// What `platform` depends on.
    pub(crate) fn dependencies(&self, platform: Platform) -> Option<&Dependencies> {
        self.platforms
            .iter()
            .find(|(it, _)| *it == platform)
            .map(|(_, dependencies)| dependencies)
    }
}

/// What the image says of itself: what `[image] annotations` state, and what pyproject.toml's
/// `[project]` tells besides. Registries show it (image-spec `annotations.md`).
fn annotations(
    directory: &Path,
    mut stated: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    for (name, value) in config::described(directory)? {
        stated
            .entry(format!("org.opencontainers.image.{name}"))
            .or_insert(value);
    }
    Ok(stated)
}

/// Checks a document; knows the file that messages name.
struct Checker {
    directory: PathBuf,
    file: PathBuf,
}

impl Checker {
    fn check(self, document: config::Document, profile: Option<&str>) -> Result<Project, Failure> {
        let mut profiles = document.profile;
        let names: Vec<_> = profiles.keys().cloned().collect();
        let chosen = match profile {
            None => None,
            Some(name) => Some(
                profiles
                    .remove(name)
                    .ok_or_else(|| self.no_profile(name, &names))?,
            ),
        };
        let chosen = chosen.unwrap_or_default();
        let platforms = chosen
            .platforms
            .or(document.image.platforms)
            .unwrap_or_else(|| vec![Platform::Amd64.to_string(), Platform::Arm64.to_string()]);
        for name in document.platform.keys().chain(chosen.platform.keys()) {
            self.platform(name, "[platform]")?;
        }
        let venv = document.python.venv.as_deref();
        let platforms = platforms
            .iter()
            .map(|name| {
                let platform = self.platform(name, "[image] platforms")?;
                // The most particular table that is there replaces the others whole.
                let table = chosen
                    .platform
                    .get(name)
                    .and_then(|table| table.dependencies.as_ref())
                    .or(chosen.dependencies.as_ref())
                    .or_else(|| {
                        document
                            .platform
                            .get(name)
                            .and_then(|table| table.dependencies.as_ref())
                    })
                    .unwrap_or(&document.dependencies);
                Ok((platform, self.dependencies(table)?))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        if platforms.is_empty() {
            return Err(self.fault("[image] platforms is empty"));
        }
        if let Some(twice) = (1..platforms.len())
            .find(|&n| platforms[..n].iter().any(|(it, _)| *it == platforms[n].0))
        {
            return Err(self.fault(&format!(
                "[image] platforms has {} twice",
                platforms[twice].0
            )));
        }
        let max_layers = document.image.max_layers.unwrap_or(64);
        if !(8..=LAYER_LIMIT).contains(&max_layers) {
            return Err(self.fault(&format!(
                "[image] max-layers is {max_layers}: it can be 8 to {LAYER_LIMIT}"
            )));
        }
        let encoder = match &document.image.compression {
            None => Encoder::default(),
            Some(text) => text.parse().map_err(|error| {
                self.fault("[image] compression is not known")
                    .hint("use \"splice\", \"zstd:LEVEL\" or \"gzip:LEVEL\"")
                    .caused_by(anyhow::Error::new(error))
            })?,
        };
        let base = self.base(document.image.base.as_deref().unwrap_or("debian:trixie"))?;
        let system = chosen.system.unwrap_or(document.system).packages;
        let debian = self.debian(document.debian, &document.platform)?;
        self.agree(&base, &system, &debian)?;
        Ok(Project {
            profile: profile.map(str::to_owned),
            name: document.image.name,
            base,
            annotations: annotations(&self.directory, document.image.annotations)?,
            encoder,
            cache_from: document.image.cache_from,
            max_layers,
            python: document.python.version,
            venv: venv
                .map(|venv| self.image_path(venv, "[python] venv"))
                .transpose()?,
            platforms,
            system,
            debian,
            apps: document
                .app
                .into_iter()
                .map(|table| self.app(table))
                .collect::<Result<_, _>>()?,
            config: self.config(document.config)?,
            directory: self.directory,
        })
    }

    fn fault(&self, what: &str) -> Failure {
        Failure::new(format!("{}: {what}", self.file.display()))
    }

    fn no_profile(&self, name: &str, known: &[String]) -> Failure {
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("add [profile.{name}.dependencies]"),
            None => format!("known: {}", known.join(", ")),
        };
        self.fault(&format!("there is no [profile.{name}]"))
            .hint(hint)
    }

    fn platform(&self, name: &str, place: &str) -> Result<Platform, Failure> {
        name.parse().map_err(|error: oci::PlatformError| {
            let names = Platform::ALL.map(|platform| platform.to_string());
            let failure = self.fault(&format!("{place}: {error}"));
            match nearest(name, names.iter().map(String::as_str)) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure.hint("a platform is written as in `docker pull --platform`"),
            }
        })
    }

    fn base(&self, text: &str) -> Result<Base, Failure> {
        if text == "scratch" {
            return Ok(Base::Scratch);
        }
        let Some(codename) = text.strip_prefix("debian:") else {
            let location = Location::parse(text, &self.directory).map_err(|error| {
                self.fault(&format!("[image] base is `{text}`"))
                    .hint("use \"debian:trixie\", \"scratch\", a reference such as \"python:3.13-slim\", or oci:DIR, oci-archive:FILE, docker-archive:FILE")
                    .caused_by(error)
            })?;
            return Ok(Base::Image {
                text: text.to_owned(),
                location,
            });
        };
        deb::base::Base::of(codename)
            .map(Base::Debian)
            .ok_or_else(|| {
                let known: Vec<_> = deb::base::Base::codenames()
                    .map(|name| format!("\"debian:{name}\""))
                    .collect();
                self.fault(&format!("[image] base: there is no recipe for Debian `{codename}`"))
                    .hint(format!("use {}; for the image of that name on Docker Hub, write \"docker.io/library/{text}\"", known.join(", ")))
            })
    }

    fn image_path(&self, text: &str, place: &str) -> Result<TreePath, Failure> {
        if !text.starts_with('/') {
            return Err(self
                .fault(&format!("{place} is `{text}`"))
                .hint("write the path in the image from its root: it starts with `/`"));
        }
        TreePath::new(text.trim_end_matches('/')).map_err(|error| {
            self.fault(&format!("{place} is no path in an image"))
                .caused_by(error)
        })
    }

    fn dependencies(&self, table: &DependenciesTable) -> Result<Dependencies, Failure> {
        let inputs = match &table.lock {
            Some(lock) => vec![self.lock_input(table, lock)?],
            None => self.inputs(table)?,
        };
        let record = table
            .record
            .iter()
            .map(|(name, record)| {
                let name = name
                    .parse()
                    .map_err(|error: uv_normalize::InvalidNameError| {
                        self.fault(&format!(
                            "[dependencies] record: `{name}` is no package name"
                        ))
                        .caused_by(error)
                    })?;
                Ok((name, *record))
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Dependencies {
            inputs,
            indexes: resolve::Indexes {
                default: table.index.clone(),
                extra: table.extra_indexes.clone(),
                explicit: Vec::new(),
                find_links: table.find_links.clone(),
                no_index: false,
            },
            policies: self.policies(table)?,
            project: table.project,
            versions: table.versions,
            allow_large: self.allowed("allow-large", &table.allow_large)?,
            allow_divergence: self.allowed("allow-divergence", &table.allow_divergence)?,
            allow_other_needs: self.allowed("allow-other-needs", &table.allow_other_needs)?,
            allow_downgrade: table.allow_downgrade.clone(),
            record,
            reuse_base: table.reuse_base,
        })
    }

    /// The packages that a note is not to name, by their normalised names.
    fn allowed(&self, key: &str, allowed: &Allowed) -> Result<Allowed, Failure> {
        let Allowed::Named(names) = allowed else {
            return Ok(allowed.clone());
        };
        let names = names.iter().map(|it| self.package(key, it));
        names.collect::<Result<_, _>>().map(Allowed::Named)
    }

    fn package(&self, key: &str, text: &str) -> Result<String, Failure> {
        resolve::normalize_name(text).map_err(|error| {
            self.fault(&format!(
                "[dependencies] {key}: `{text}` is no package name"
            ))
            .caused_by(error)
        })
    }

    fn policies(&self, table: &DependenciesTable) -> Result<Policies, Failure> {
        let name = |key: &str, text: &str| self.package(key, text);
        let (mut formats, is_all) = (resolve::Formats::default(), |it: &String| it == ":all:");
        if table.only_binary.iter().any(is_all) && table.no_binary.iter().any(is_all) {
            return Err(self
                .fault("[dependencies] only-binary and no-binary both have `:all:`")
                .hint("keep one of them: a name wins over `:all:`"));
        }
        // The order of keys means nothing, and a later option wins over an earlier one: `:all:` goes
        // first.
        for all in [true, false] {
            let chosen = |values: &[String]| -> Result<Vec<String>, Failure> {
                let values = values.iter().filter(|it| is_all(it) == all);
                values
                    .map(|it| {
                        if it.starts_with(':') {
                            Ok(it.clone())
                        } else {
                            name("only-binary, no-binary", it)
                        }
                    })
                    .collect()
            };
            for value in chosen(&table.only_binary)? {
                formats.only_binary(&value);
            }
            for value in chosen(&table.no_binary)? {
                formats.no_binary(&value);
            }
        }
        let build = table.build_from_source.iter().map(|it| match it.as_str() {
            ":all:" => Ok(it.clone()),
            it => name("build-from-source", it),
        });
        let build_from_source = build.collect::<Result<Vec<_>, Failure>>()?;
        let only_binary = table
            .only_binary
            .iter()
            .map(|it| resolve::normalize_name(it));
        if let Some(both) = only_binary
            .flatten()
            .find(|it| build_from_source.contains(it))
        {
            return Err(self
                .fault(&format!(
                    "[dependencies] only-binary and build-from-source both have `{both}`"
                ))
                .hint("keep one of them: only-binary forbids what build-from-source allows"));
        }
        let exclude = table.exclude.iter().map(|it| name("exclude", it));
        let sources = table.sources.iter();
        let sources = sources.map(|(it, url)| Ok((name("sources", it)?, url.clone())));
        Ok(Policies {
            constraints: self.constraints(table).1,
            overrides: table.overrides.clone(),
            exclude: exclude.collect::<Result<_, Failure>>()?,
            formats,
            no_binary: table.no_binary.clone(),
            prefer_binary: table.prefer_binary,
            build_from_source,
            pre_releases: table.pre_releases,
            require_hashes: table.require_hashes,
            sources: sources.collect::<Result<_, Failure>>()?,
        })
    }

    /// The constraints that are files, and those that are requirements.
    fn constraints(&self, table: &DependenciesTable) -> (Vec<PathBuf>, Vec<String>) {
        let is_file = |it: &&String| {
            let is_named_so = Path::new(it.as_str())
                .extension()
                .is_some_and(|it| it == "txt" || it == "in");
            is_named_so || self.directory.join(it.as_str()).is_file()
        };
        let (files, texts): (Vec<_>, Vec<_>) = table.constraints.iter().partition(is_file);
        let files = files.into_iter().map(PathBuf::from).collect();
        (files, texts.into_iter().cloned().collect())
    }

    /// What is required, where no lock says so.
    fn inputs(&self, table: &DependenciesTable) -> Result<Vec<resolve::Input>, Failure> {
        let mut inputs = Vec::new();
        for path in &table.requirements {
            inputs.push(resolve::Input::RequirementsFile(
                self.existing(path, "requirements file")?,
            ));
        }
        for path in self.constraints(table).0 {
            inputs.push(resolve::Input::ConstraintsFile(
                self.existing(&path, "constraints file")?,
            ));
        }
        if table.pyproject {
            inputs.push(resolve::Input::Pyproject {
                path: self.existing(Path::new("pyproject.toml"), "pyproject.toml")?,
                extras: table.extras.clone(),
                groups: table.groups.clone(),
            });
        } else if !table.extras.is_empty() || !table.groups.is_empty() {
            return Err(self
                .fault("[dependencies] has extras or groups, and nothing that they are of")
                .hint("add `pyproject = true`, or `lock = \"uv.lock\"`"));
        }
        if !table.packages.is_empty() {
            inputs.push(resolve::Input::RequirementsAt {
                directory: self.directory.clone(),
                texts: table.packages.clone(),
            });
        }
        Ok(inputs)
    }

    /// Another tool's lock, which stands alone.
    fn lock_input(
        &self,
        table: &DependenciesTable,
        lock: &Path,
    ) -> Result<resolve::Input, Failure> {
        let beside = [
            ("requirements", !table.requirements.is_empty()),
            ("packages", !table.packages.is_empty()),
            ("pyproject", table.pyproject),
            ("constraints", !table.constraints.is_empty()),
            ("overrides", !table.overrides.is_empty()),
            ("exclude", !table.exclude.is_empty()),
            ("no-binary", !table.no_binary.is_empty()),
        ];
        if let Some((key, _)) = beside.iter().find(|(_, is_there)| *is_there) {
            return Err(self
                .fault(&format!("[dependencies] has both lock and {key}"))
                .hint("a lock says everything: keep one of them"));
        }
        let path = self.existing(lock, "lock")?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (extras, groups) = (table.extras.clone(), table.groups.clone());
        if name == "pylock.toml" || (name.starts_with("pylock.") && name.ends_with(".toml")) {
            return Ok(resolve::Input::Pylock {
                path,
                extras,
                groups,
            });
        }
        if name == "uv.lock" {
            return Ok(resolve::Input::UvLock {
                path,
                extras,
                groups,
            });
        }
        Err(self
            .fault(&format!("[dependencies] lock is `{}`", lock.display()))
            .hint("name a uv.lock, a pylock.toml or a pylock.NAME.toml"))
    }

    fn existing(&self, path: &Path, what: &str) -> Result<PathBuf, Failure> {
        let full = self.directory.join(path);
        if full.is_file() {
            return Ok(full);
        }
        let failure = self.fault(&format!("the {what} {} does not exist", full.display()));
        let there = self.similar(&full);
        Err(match there {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint("paths are relative to the project's directory"),
        })
    }

    /// The file beside a missing one whose name is nearest.
    fn similar(&self, missing: &Path) -> Option<String> {
        let names: Vec<String> = std::fs::read_dir(missing.parent()?)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| self.file.file_name().is_none_or(|own| own != name.as_str()))
            .collect();
        nearest(
            missing.file_name()?.to_str()?,
            names.iter().map(String::as_str),
        )
        .map(str::to_owned)
    }

    /// Checks `[system]` and `[debian]` against the base.
    fn agree(&self, base: &Base, system: &[String], debian: &Debian) -> Result<(), Failure> {
        match (base, system, &debian.suite) {
            (Base::Scratch, [first, ..], _) => Err(self
                .fault(&format!(
                    "[system] packages: `{first}` cannot be added to nothing"
                ))
                .hint("use base = \"debian:trixie\", or an image with Debian packages")),
            (Base::Debian(base), _, Some(suite)) => Err(self
                .fault(&format!(
                    "[debian] suite is {suite}, and the base is debian:{}",
                    base.codename
                ))
                .hint("leave suite out: it is for base images that do not tell their release")),
            _ => Ok(()),
        }
    }

    fn debian(
        &self,
        table: config::DebianTable,
        platforms: &BTreeMap<String, config::PlatformTable>,
    ) -> Result<Debian, Failure> {
        let mut mirrors = BTreeMap::new();
        for (name, platform) in platforms {
            if let Some(table) = &platform.debian {
                mirrors.insert(self.platform(name, "[platform]")?, table.clone());
            }
        }
        let checked = debian::check(table, mirrors, &self.directory);
        checked.map_err(|failure| failure.of_file(&self.file))
    }

    fn app(&self, table: config::AppTable) -> Result<App, Failure> {
        let full = self.directory.join(&table.source);
        if !full.exists() {
            return Err(self
                .fault(&format!("[[app]] source {} does not exist", full.display()))
                .hint("paths are relative to the project's directory"));
        }
        Ok(App {
            destination: self.image_path(&table.destination, "[[app]] destination")?,
            source: table.source,
            exclude: table.exclude,
        })
    }

    fn config(&self, table: ConfigTable) -> Result<ConfigTable, Failure> {
        if let Some(workdir) = &table.workdir {
            self.image_path(workdir, "[config] workdir")?;
        }
        if let Some(name) = table
            .env
            .keys()
            .find(|name| name.is_empty() || name.contains('='))
        {
            return Err(self.fault(&format!("[config] env: `{name}` is no variable name")));
        }
        Ok(table)
    }
}
