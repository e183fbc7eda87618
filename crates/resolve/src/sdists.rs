//! Source distributions: which packages may come from them, and what they require.
//!
//! Nothing is built here. What an sdist requires is asked of the request's [`Describe`], whose answers
//! are the text of a METADATA file.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use futures::future::LocalBoxFuture;
use uv_distribution::{ArchiveMetadata, Error as DistributionError};
use uv_distribution_types::{Name as _, SourceDist};
use uv_normalize::PackageName;
use uv_pypi_types::ResolutionMetadata;
use uv_resolver::{MetadataResponse, ResolveError, WheelMetadataResult};

use crate::diagnose::chain;
use crate::entries::package_name;
use crate::error::Error;
use crate::formats::Formats;
use crate::input::Inputs;
use crate::request::Request;
use crate::solution::sha256s;

/// Stands for every package.
const ALL: &str = ":all:";

/// What may come from sources.
#[derive(Debug, Clone, Default)]
pub struct Builds {
    /// The packages that may, or `:all:`.
    pub allowed: Vec<String>,
    /// Whether any wheel that fits is better than any sdist, whatever their versions.
    pub prefer_binary: bool,
    /// Tells what an sdist requires. Without it nothing comes from sources.
    pub describe: Option<Describe>,
}

/// A source distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdist {
    /// The normalised name of the package.
    pub name: String,
    /// Its version, where it is known before the sdist is looked into.
    pub version: Option<String>,
    /// Its file name.
    pub filename: String,
    /// Where it is: absolute, without credentials, `file:` for a local one.
    pub url: String,
    /// Its sha256, 64 lower-case hexadecimal digits, where the index gives it.
    pub sha256: Option<String>,
    /// Its size in bytes, where the index gives it.
    pub size: Option<u64>,
}

/// Why an sdist could not be looked into.
pub type DescribeError = Box<dyn std::error::Error + Send + Sync>;

type Answer = LocalBoxFuture<'static, Result<String, DescribeError>>;

/// Tells what an sdist requires: the METADATA of its wheel.
#[derive(Clone)]
pub struct Describe(Rc<dyn Fn(Sdist) -> Answer>);

impl Describe {
    /// Asks `describe`.
    pub fn new(describe: impl Fn(Sdist) -> Answer + 'static) -> Self {
        Self(Rc::new(describe))
    }
}

impl fmt::Debug for Describe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Describe")
    }
}

/// What a package may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Wheel,
    /// Of one version, a wheel before the sdist.
    Either,
    Sdist,
}

/// The rules of one request, and what happened under them.
pub(crate) struct Sdists {
    allowed: BTreeSet<PackageName>,
    all: bool,
    formats: Formats,
    /// With `prefer-binary`: the packages of which no wheel will do.
    needed: Option<BTreeSet<PackageName>>,
    describe: Option<Describe>,
    failed: Mutex<Option<Error>>,
}

impl Sdists {
    pub(crate) fn new(request: &Request, inputs: &Inputs) -> Result<Self, Error> {
        let Builds {
            allowed,
            prefer_binary,
            describe,
        } = &request.builds;
        let names = allowed.iter().filter(|name| *name != ALL);
        Ok(Self {
            allowed: names
                .map(|name| package_name(name))
                .collect::<Result<_, _>>()?,
            all: allowed.iter().any(|name| name == ALL),
            formats: request.formats.extended(&inputs.formats),
            needed: (*prefer_binary || inputs.prefer_binary).then(BTreeSet::new),
            describe: describe.clone(),
            failed: Mutex::default(),
        })
    }

    /// Whether the package may be built.
    pub(crate) fn allow(&self, name: &PackageName) -> bool {
        self.describe.is_some()
            && if self.allowed.contains(name) {
                self.formats.allow_named_sdist(name.as_ref())
            } else {
                self.all && self.formats.allow_sdist(name.as_ref())
            }
    }

    pub(crate) fn form(&self, name: &PackageName) -> Form {
        if !self.allow(name) {
            return Form::Wheel;
        }
        if !self.formats.allow_wheel(name.as_ref()) {
            return Form::Sdist;
        }
        match &self.needed {
            Some(needed) if !needed.contains(name) => Form::Wheel,
            _ => Form::Either,
        }
    }

    /// After a run without a solution: lets one more package come from sources, if it may and that can
    /// help. `lacking` is the package without a wheel, where that was found to be the reason;
    /// `involved` are those that the failure is about.
    pub(crate) fn relent(
        &mut self,
        lacking: Option<&PackageName>,
        involved: &BTreeSet<PackageName>,
    ) -> bool {
        let chosen = {
            let can_help = |name: &&PackageName| self.allow(name) && self.form(name) == Form::Wheel;
            let lacking = lacking.filter(can_help);
            lacking.or_else(|| involved.iter().find(can_help)).cloned()
        };
        match (&mut self.needed, chosen) {
            (Some(needed), Some(name)) => needed.insert(name),
            _ => false,
        }
    }

    /// What an sdist requires, as the resolver wants it.
    pub(crate) async fn metadata(&self, dist: &SourceDist) -> WheelMetadataResult {
        let failed = |error: Error| {
            let mut slot = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            slot.get_or_insert(error);
            // The resolver stops at any error; what it is is told by `failure`.
            Err(DistributionError::NoBuild)
        };
        let (Some(sdist), Some(describe)) = (sdist(dist), &self.describe) else {
            return Err(DistributionError::NoBuild);
        };
        let filename = sdist.filename.clone();
        let text = match (describe.0)(sdist).await {
            Ok(text) => text,
            Err(source) => return failed(Error::Sdist { filename, source }),
        };
        match ResolutionMetadata::parse_metadata(text.as_bytes()) {
            Ok(metadata) => Ok(MetadataResponse::Found(ArchiveMetadata::from_metadata23(
                metadata,
            ))),
            Err(error) => failed(Error::Resolver {
                message: format!(
                    "the metadata of {filename} can't be read: {}",
                    chain(&error)
                ),
            }),
        }
    }

    /// The failure of an sdist that stopped a run.
    pub(crate) fn failure(&self) -> Option<Error> {
        let mut slot = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

/// The packages that a failure is about.
pub(crate) fn involved(error: &ResolveError) -> BTreeSet<PackageName> {
    match error {
        ResolveError::NoSolution(error) => error.packages().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

/// The sdist that a distribution is; None of a repository and of a directory.
pub(crate) fn sdist(dist: &SourceDist) -> Option<Sdist> {
    let (url, filename, sha256, size) = match dist {
        SourceDist::Registry(dist) => (
            dist.file.url.to_url().ok()?,
            dist.file.filename.to_string(),
            sha256s(dist.file.hashes.as_slice()).into_iter().next(),
            dist.file.size,
        ),
        SourceDist::DirectUrl(dist) => {
            let url = (*dist.location).clone();
            let filename = url.path_segments()?.next_back()?.to_owned();
            (url, filename, None, dist.size)
        }
        SourceDist::Path(dist) => {
            let filename = dist.install_path.file_name()?.to_str()?.to_owned();
            (dist.url.to_url(), filename, None, None)
        }
        _ => return None,
    };
    let mut url = url.without_credentials().into_owned();
    url.set_fragment(None);
    Some(Sdist {
        name: dist.name().to_string(),
        version: dist.version().map(ToString::to_string),
        filename,
        url: url.to_string(),
        sha256,
        size,
    })
}
