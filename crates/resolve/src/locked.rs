//! Lock files of other tools: what they pin for a target is taken as it is, and nothing is resolved.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::{Version, VersionSpecifiers};
use uv_pep508::{MarkerEnvironment, MarkerTree};
use uv_platform_tags::{TagCompatibility, Tags};
use uv_redacted::DisplaySafeUrl;

use crate::error::{Error, NotAWheel, Place};
use crate::input::{Inputs, without_credentials};
use crate::misfit::WheelSeen;
use crate::pylock::Pylock;
use crate::request::Request;
use crate::resolution::{Pinned, ReplacedPackage, Resolution, SatisfiedPackage, WhyReplaced};
use crate::sdists::Sdists;
use crate::target::Target;
use crate::uv_lock::UvLock;

/// Wheels that a message lists for each package.
const SHOWN: usize = 4;

/// A lock file, and what of it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct LockFile {
    pub(crate) path: PathBuf,
    pub(crate) extras: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) text: String,
    pub(crate) document: Document,
}

#[derive(Debug, Clone)]
pub(crate) enum Document {
    Uv(UvLock),
    Pylock(Pylock),
}

/// A package that a lock has for a target.
pub(crate) struct Entry {
    pub(crate) name: PackageName,
    /// Missing only where a lock leaves it to the source.
    pub(crate) version: Option<String>,
    pub(crate) wheels: Vec<LockedFile>,
    pub(crate) sdist: Option<LockedFile>,
    /// What it is where it is no wheel.
    pub(crate) instead: Option<NotAWheel>,
    /// The index that it came from.
    pub(crate) index: Option<String>,
    pub(crate) requested: bool,
    pub(crate) dependencies: Vec<String>,
}

/// A wheel or an sdist as a lock has it.
pub(crate) struct LockedFile {
    pub(crate) filename: String,
    pub(crate) url: String,
    pub(crate) sha256: Option<String>,
    pub(crate) size: Option<u64>,
}

/// What a lock is read for.
pub(crate) struct Reading<'a> {
    pub(crate) path: &'a Path,
    pub(crate) target: &'a Target,
    pub(crate) markers: &'a MarkerEnvironment,
    pub(crate) extras: &'a [String],
    pub(crate) groups: &'a [String],
}

/// A lock file that lacks wheels for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitLock {
    /// The file.
    pub path: PathBuf,
    /// What the wheels had to fit.
    pub target: Target,
    /// The packages without a wheel that fits. At least one, sorted.
    pub packages: Vec<UnfitEntry>,
    /// Whether uv wrote the lock for itself.
    pub of_uv: bool,
}

/// A package of a lock without a wheel that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitEntry {
    /// Its name.
    pub name: String,
    /// Its version, where the lock has one.
    pub version: Option<String>,
    /// What it is, where the lock lists no wheels.
    pub instead: Option<NotAWheel>,
    /// The wheels that the lock lists, the closest first.
    pub wheels_seen: Vec<WheelSeen>,
}

/// Takes what `lock` has for the request's target.
pub(crate) fn resolve(request: &Request, lock: &LockFile) -> Result<Resolution, Error> {
    let target = &request.target;
    let reading = Reading {
        path: &lock.path,
        target,
        markers: &target.markers()?,
        extras: &lock.extras,
        groups: &lock.groups,
    };
    let mut entries = match &lock.document {
        Document::Uv(lock) => lock.entries(&reading)?,
        Document::Pylock(lock) => lock.entries(&reading)?,
    };
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(reading.invalid(format!("two entries for {} fit {target}", pair[0].name)));
    }
    let tags = target.uv_tags()?;
    let mut resolution = Resolution {
        wheels: Vec::new(),
        satisfied: Vec::new(),
        replaced: Vec::new(),
        warnings: Vec::new(),
    };
    let sdists = Sdists::new(request, &Inputs::default())?;
    let mut unfit = Vec::new();
    for entry in entries {
        let installed = installed(request, &entry.name);
        if let Some(version) = installed
            && entry.is_version(version)
        {
            resolution.satisfied.push(SatisfiedPackage {
                name: entry.name.to_string(),
                version: entry.version.clone().unwrap_or_default(),
            });
            continue;
        }
        let may_be_built = sdists.allow(&entry.name);
        let built = || entry.pin_sdist().filter(|_| may_be_built);
        let Some(pinned) = entry.pin(&tags).or_else(built) else {
            unfit.push(entry.unfit(target));
            continue;
        };
        if let Some(installed) = installed {
            resolution.replaced.push(ReplacedPackage {
                name: pinned.name.clone(),
                installed: installed.to_owned(),
                version: pinned.version.clone(),
                why: WhyReplaced::Requirements,
            });
        }
        resolution.wheels.push(pinned);
    }
    if unfit.is_empty() {
        return Ok(resolution);
    }
    Err(Error::UnfitLock(Box::new(UnfitLock {
        path: lock.path.clone(),
        target: target.clone(),
        packages: unfit,
        of_uv: matches!(lock.document, Document::Uv(_)),
    })))
}

/// The version of a package that the base has; the first of a name counts.
fn installed<'a>(request: &'a Request, name: &PackageName) -> Option<&'a str> {
    let is_it = |own: &str| PackageName::from_str(own).is_ok_and(|own| own == *name);
    let found = request.installed.iter().find(|it| is_it(&it.name))?;
    Some(&found.version)
}

impl Entry {
    fn is_version(&self, version: &str) -> bool {
        let own = self.version.as_deref().map(Version::from_str);
        matches!((own, Version::from_str(version)), (Some(Ok(own)), Ok(it)) if own == it)
    }

    /// The best of the wheels that fit; of equals the one with the higher build tag.
    fn pin(&self, tags: &Tags) -> Option<Pinned> {
        let fitting = self.wheels.iter().filter_map(|wheel| {
            let filename = WheelFilename::from_str(&wheel.filename).ok()?;
            match filename.compatibility(tags) {
                TagCompatibility::Compatible(priority) => Some((priority, filename, wheel)),
                TagCompatibility::Incompatible(_) => None,
            }
        });
        let (_, filename, wheel) = fitting.max_by(|(a, left, _), (b, right, _)| {
            a.cmp(b)
                .then_with(|| left.build_tag().cmp(&right.build_tag()))
        })?;
        Some(Pinned {
            name: self.name.to_string(),
            version: filename.version.to_string(),
            filename: wheel.filename.clone(),
            is_sdist: false,
            url: wheel.url.clone(),
            sha256: wheel.sha256.clone(),
            size: wheel.size,
            uploaded: None,
            index: self.index.clone(),
            requested: self.requested,
            dependencies: self.dependencies.clone(),
        })
    }

    /// The sdist, where the lock has one and its version.
    fn pin_sdist(&self) -> Option<Pinned> {
        let sdist = self.sdist.as_ref().filter(|it| !is_wheel(&it.filename))?;
        Some(Pinned {
            name: self.name.to_string(),
            version: self.version.clone()?,
            filename: sdist.filename.clone(),
            is_sdist: true,
            url: sdist.url.clone(),
            sha256: sdist.sha256.clone(),
            size: sdist.size,
            uploaded: None,
            index: self.index.clone(),
            requested: self.requested,
            dependencies: self.dependencies.clone(),
        })
    }

    fn unfit(self, target: &Target) -> UnfitEntry {
        let mut wheels_seen: Vec<WheelSeen> = self
            .wheels
            .iter()
            .filter_map(|wheel| WheelSeen::new(&wheel.filename, None, target))
            .collect();
        wheels_seen.sort_by(|a, b| a.distance().cmp(&b.distance()));
        UnfitEntry {
            name: self.name.to_string(),
            version: self.version,
            instead: self.instead,
            wheels_seen,
        }
    }
}

impl Reading<'_> {
    /// Refuses a Python that the lock is not for.
    pub(crate) fn check_python(&self, requires: Option<&str>) -> Result<(), Error> {
        let Some(requires) = requires else {
            return Ok(());
        };
        let specifiers = VersionSpecifiers::from_str(requires)
            .map_err(|_| self.invalid(format!("`{requires}` is no version specifier")))?;
        if specifiers.contains(&self.target.python_full_version()?) {
            return Ok(());
        }
        Err(Error::RequiresPython {
            path: self.path.to_owned(),
            requires: specifiers.to_string(),
            python: self.target.python.clone(),
        })
    }

    /// Refuses a target that none of some markers is for. None at all are for every one.
    pub(crate) fn check_environments(&self, environments: &[String]) -> Result<(), Error> {
        for environment in environments {
            if self.marker(Some(environment))?.evaluate(self.markers, &[]) {
                return Ok(());
            }
        }
        if environments.is_empty() {
            return Ok(());
        }
        Err(self.invalid(format!(
            "it was made for other environments ({}), not for {}",
            environments.join("; "),
            self.target
        )))
    }

    pub(crate) fn marker(&self, text: Option<&str>) -> Result<MarkerTree, Error> {
        let Some(text) = text else {
            return Ok(MarkerTree::TRUE);
        };
        MarkerTree::from_str(text).map_err(|_| self.invalid(format!("`{text}` is no marker")))
    }

    /// The file at a URL, whose last part is its name where the lock gives none.
    pub(crate) fn at_url(&self, url: &str, name: Option<&str>) -> Result<(String, String), Error> {
        let end = url.find(['?', '#']).unwrap_or(url.len());
        let url = without_credentials(&url[..end]);
        let last = url.rsplit('/').next().unwrap_or_default();
        let filename = match name {
            Some(name) => name.to_owned(),
            None => last.replace("%2B", "+").replace("%2b", "+"),
        };
        if DisplaySafeUrl::parse(&url).is_err() {
            return Err(self.invalid(format!("`{url}` is no URL")));
        }
        Ok((filename, url))
    }

    /// The file at a path, which may be relative to the lock.
    pub(crate) fn at_path(&self, path: &Path) -> Result<(String, String), Error> {
        let absolute = std::path::absolute(self.path).unwrap_or_default();
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        let path = normal(&directory.join(path));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let url = DisplaySafeUrl::from_file_path(&path)
            .map_err(|()| self.invalid(format!("`{}` is no path of a file", path.display())))?;
        Ok((name.into_owned(), url.to_string()))
    }

    pub(crate) fn invalid(&self, message: String) -> Error {
        Error::Invalid {
            place: Place::File(self.path.to_owned(), None),
            message,
        }
    }

    pub(crate) fn undefined(&self, kind: &'static str, name: &str, known: Vec<String>) -> Error {
        Error::Undefined {
            path: self.path.to_owned(),
            kind,
            name: name.to_owned(),
            known,
        }
    }
}

/// A path without `.` and `..`, which URLs take for something else.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut free = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                free.pop();
            }
            std::path::Component::CurDir => {}
            other => free.push(other),
        }
    }
    free
}

/// Whether a file name is a wheel's.
pub(crate) fn is_wheel(filename: &str) -> bool {
    WheelFilename::from_str(filename).is_ok()
}

/// The sha256 of `sha256:…`; another algorithm checks nothing here.
pub(crate) fn sha256(hash: &str) -> Option<String> {
    let digits = hash.strip_prefix("sha256:")?;
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| digits.to_ascii_lowercase())
}

impl std::error::Error for UnfitLock {}

impl fmt::Display for UnfitLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, target) = (self.path.display(), &self.target);
        let of = match self.packages.len() {
            1 => "one package".to_owned(),
            number => format!("{number} packages"),
        };
        write!(
            f,
            "{path} has no wheel of {of} that fits the image ({target}):"
        )?;
        for package in &self.packages {
            write!(f, "\n  {package}")?;
        }
        Ok(())
    }
}

impl fmt::Display for UnfitEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        match (&self.instead, &self.wheels_seen[..]) {
            (Some(kind), _) => return write!(f, " is {kind}"),
            (None, []) => return write!(f, " has no wheel in the lock"),
            (None, [_]) => f.write_str(", whose only wheel in the lock is")?,
            (None, seen) => write!(
                f,
                ", whose closest of {} wheels in the lock are",
                seen.len()
            )?,
        }
        for wheel in self.wheels_seen.iter().take(SHOWN) {
            write!(f, "\n    {}", wheel.filename)?;
            for misfit in &wheel.misfits {
                write!(f, "\n      {}: {}", misfit.part, misfit.reason)?;
            }
        }
        Ok(())
    }
}

impl UnfitLock {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let arch = self.target.arch;
        let again = if self.of_uv {
            format!(
                "let uv look for such wheels ([tool.uv] required-environments = [\"sys_platform == \
                 'linux' and platform_machine == '{arch}'\"]) and run `uv lock` again"
            )
        } else {
            format!("write the lock again with versions that have wheels for {arch}")
        };
        format!(
            "{again}; or build the missing wheels elsewhere, require their files and lock again"
        )
    }
}

#[cfg(test)]
mod tests;
