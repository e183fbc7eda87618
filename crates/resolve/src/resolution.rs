//! Resolutions: the wheels that satisfy a request, one for each package.

use std::collections::BTreeSet;

use uv_distribution::Metadata;
use uv_distribution_types::{
    BuiltDist, Diagnostic, Dist, Identifier as _, Name as _, Node, Requirement, ResolvedDist,
};
use uv_pypi_types::{HashAlgorithm, HashDigest};
use uv_resolver::{InMemoryIndex, MetadataResponse};

use crate::diagnose::chain;
use crate::error::{Error, NotAWheel};
use crate::uv::{Engine, Solution};

/// The wheels that satisfy a request on its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Sorted by name.
    pub wheels: Vec<Pinned>,
    /// What a reader should know, though it stops nothing. Sorted.
    pub warnings: Vec<String>,
}

/// The one wheel that was chosen for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The normalised name of the package.
    pub name: String,
    /// Its version, normalised, with a local part where it has one: `2.1.0+cpu`.
    pub version: String,
    /// The file name of the wheel.
    pub filename: String,
    /// Where the wheel is: absolute, without credentials, `file:` for a local one.
    pub url: String,
    /// The sha256 of the wheel, 64 lower-case hexadecimal digits. None where the index gives none.
    pub sha256: Option<String>,
    /// The size of the wheel in bytes, where the index gives it.
    pub size: Option<u64>,
    /// When the wheel was uploaded, in milliseconds since 1970, where the index gives it.
    pub uploaded: Option<i64>,
    /// The URL of the index that it came from, without credentials. None for a direct URL or path.
    pub index: Option<String>,
    /// Whether an input names the package itself.
    pub requested: bool,
    /// The names of the packages that it depends on, on this target. Sorted.
    pub dependencies: Vec<String>,
}

impl Solution {
    /// What the chosen wheels require of each other, on this target.
    pub(crate) fn wanted(&self, engine: &Engine<'_>) -> Vec<Requirement> {
        let mut wanted = Vec::new();
        for resolved in self.graph.distributions() {
            let ResolvedDist::Installable { dist, .. } = resolved else { continue };
            let response = self.index.distributions().get(&dist.distribution_id());
            let Some(MetadataResponse::Found(archive)) = response.as_deref() else { continue };
            let Metadata { requires_dist, provides_extra, .. } = &archive.metadata;
            // An extra that nobody asked for does no harm: it can only make a guard doubt less.
            let holds = |requirement: &&Requirement| {
                requirement.evaluate_markers(Some(&engine.markers), provides_extra)
            };
            wanted.extend(requires_dist.iter().filter(holds).cloned());
        }
        wanted
    }

    /// Keeps of uv's solution what an image needs.
    pub(crate) fn into_resolution(self, engine: &Engine<'_>) -> Result<Resolution, Error> {
        let Self { graph: solution, index } = self;
        let mut warnings: BTreeSet<String> = engine.inputs.warnings.iter().cloned().collect();
        for entry in &engine.inputs.requirements {
            warn_of_kernel_markers(&entry.requirement, "an input", &mut warnings);
        }
        warnings.extend(solution.diagnostics().iter().map(Diagnostic::message));

        let requested = engine.requested();
        let graph = solution.graph();
        let mut wheels = Vec::new();
        for node in graph.node_indices() {
            let Node::Dist { dist: resolved, .. } = &graph[node] else { continue };
            let ResolvedDist::Installable { dist, .. } = resolved else { continue };
            let mut pinned = pin(dist, engine)?;
            pinned.requested = requested.contains(dist.name());
            let dependencies: BTreeSet<String> = graph
                .neighbors(node)
                .filter_map(|dependency| match &graph[dependency] {
                    Node::Dist { dist, .. } => Some(dist.name().to_string()),
                    Node::Root => None,
                })
                .collect();
            pinned.dependencies = dependencies.into_iter().collect();
            wheels.push(pinned);
            warn_of_metadata(dist, &index, engine, &mut warnings);
        }
        wheels.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Resolution { wheels, warnings: warnings.into_iter().collect() })
    }
}

/// The chosen wheel of a distribution.
fn pin(dist: &Dist, engine: &Engine<'_>) -> Result<Pinned, Error> {
    let (filename, url, index, file) = match dist {
        Dist::Built(BuiltDist::Registry(wheels)) => {
            let wheel = wheels.best_wheel();
            let url = wheel.file.url.to_url().map_err(|error| Error::Resolver {
                message: format!("{}: {}", wheel.filename, chain(&error)),
            })?;
            (&wheel.filename, url, Some(&wheel.index), Some(&wheel.file))
        }
        Dist::Built(BuiltDist::DirectUrl(wheel)) => {
            (&wheel.filename, (*wheel.location).clone(), None, None)
        }
        Dist::Built(BuiltDist::Path(wheel)) => {
            (&wheel.filename, wheel.url.to_url(), None, None)
        }
        Dist::Built(BuiltDist::GitPath(_)) | Dist::Source(_) => {
            return Err(Error::NotAWheel { requirement: dist.to_string(), kind: NotAWheel::Archive });
        }
    };
    let sha256 = match file {
        Some(file) => sha256(file.hashes.as_slice()),
        None => engine.required_sha256(dist),
    };
    let mut url = url;
    url.set_fragment(None);
    Ok(Pinned {
        name: filename.name.to_string(),
        version: filename.version.to_string(),
        // The index's spelling of the name, where there is one: uv's own is normalised.
        filename: file.map_or_else(|| filename.to_string(), |file| file.filename.to_string()),
        url: url.without_credentials().to_string(),
        sha256,
        size: file.and_then(|file| file.size),
        uploaded: file.and_then(|file| file.upload_time_utc_ms),
        index: index.map(|index| index.url().without_credentials().to_string()),
        requested: false,
        dependencies: Vec::new(),
    })
}

pub(crate) fn sha256(hashes: &[HashDigest]) -> Option<String> {
    let hash = hashes.iter().find(|hash| hash.algorithm == HashAlgorithm::Sha256)?;
    Some(hash.digest.to_ascii_lowercase())
}

/// Warns where the wheel's metadata says what the resolver does not act on.
fn warn_of_metadata(
    dist: &Dist,
    index: &InMemoryIndex,
    engine: &Engine<'_>,
    warnings: &mut BTreeSet<String>,
) {
    let response = index.distributions().get(&dist.distribution_id());
    let Some(MetadataResponse::Found(archive)) = response.as_deref() else { return };
    let metadata = &archive.metadata;
    let package = format!("{} {}", metadata.name, metadata.version);
    for requirement in &metadata.requires_dist {
        warn_of_kernel_markers(requirement, &package, warnings);
    }
    let python = &engine.markers.python_full_version().version;
    if let Some(versions) = &metadata.requires_python
        && !versions.contains(python)
    {
        warnings.insert(format!("{package} is for Python {versions}, the image has {python}"));
    }
}

/// An image has no kernel: a marker that asks for its release gets an empty answer.
fn warn_of_kernel_markers(requirement: &Requirement, whose: &str, into: &mut BTreeSet<String>) {
    let Some(marker) = requirement.marker.try_to_string() else { return };
    for name in ["platform_release", "platform_version"] {
        if marker.contains(name) {
            into.insert(format!(
                "{whose} requires {} depending on {name}, which is empty here: an image has no kernel",
                requirement.name
            ));
        }
    }
}
