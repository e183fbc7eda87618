//! Solutions: what a run of uv's resolver found, and the resolution that it comes to.

use std::collections::BTreeSet;

use uv_distribution::Metadata;
use uv_distribution_types::{
    BuiltDist, Diagnostic, Dist, Identifier as _, Name as _, Node, Requirement, ResolvedDist,
    SourceDist,
};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::MarkerTree;
use uv_platform_tags::Tags;
use uv_pypi_types::{HashAlgorithm, HashDigest};
use uv_resolver::{InMemoryIndex, MetadataResponse};

use crate::diagnose::chain;
use crate::error::{Error, NotAWheel};
use crate::resolution::{Pinned, Resolution, SatisfiedPackage};
use crate::sdists;
use crate::uv::Engine;

/// What a run of the resolver found, and the metadata that it read.
pub(crate) struct Solution {
    pub(crate) graph: uv_distribution_types::Resolution,
    pub(crate) index: InMemoryIndex,
}

impl Solution {
    /// The packages, with the version chosen for each.
    pub(crate) fn distributions(&self) -> impl Iterator<Item = (&PackageName, &Version)> {
        self.graph
            .distributions()
            .filter_map(|resolved| match resolved {
                ResolvedDist::Installable { dist, version } => {
                    Some((dist.name(), version.as_ref()?))
                }
                ResolvedDist::Installed { dist } => Some((dist.name(), dist.version())),
            })
    }

    /// The packages that another one depends on.
    pub(crate) fn dependencies(&self, name: &PackageName) -> BTreeSet<&PackageName> {
        let graph = self.graph.graph();
        let named = |node: &Node| match node {
            Node::Dist { dist, .. } => dist.name() == name,
            Node::Root => false,
        };
        let nodes = graph.node_indices().filter(|&node| named(&graph[node]));
        nodes
            .flat_map(|node| graph.neighbors(node))
            .filter_map(|node| match &graph[node] {
                Node::Dist { dist, .. } => Some(dist.name()),
                Node::Root => None,
            })
            .collect()
    }

    /// Whether the chosen version of a package has a wheel that fits. True of a direct URL, and of an
    /// installed package.
    pub(crate) fn has_wheel_for(&self, name: &PackageName, tags: &Tags) -> bool {
        self.graph
            .distributions()
            .filter(|resolved| resolved.name() == name)
            .all(|resolved| {
                let ResolvedDist::Installable { dist, .. } = resolved else {
                    return true;
                };
                let Dist::Built(BuiltDist::Registry(dist)) = &**dist else {
                    return true;
                };
                dist.wheels
                    .iter()
                    .any(|wheel| wheel.filename.is_compatible(tags))
            })
    }

    /// What the chosen wheels and installed packages require of each other, on this target.
    pub(crate) fn wanted(&self, engine: &Engine<'_>) -> Vec<Requirement> {
        let mut wanted = Vec::new();
        for resolved in self.graph.distributions() {
            let response = self.index.distributions().get(&resolved.distribution_id());
            let Some(MetadataResponse::Found(archive)) = response.as_deref() else {
                continue;
            };
            let Metadata {
                requires_dist,
                provides_extra,
                ..
            } = &archive.metadata;
            // An extra that nobody asked for does no harm: it can only make a guard doubt less.
            let holds = |requirement: &&Requirement| {
                requirement.evaluate_markers(Some(&engine.markers), provides_extra)
            };
            wanted.extend(requires_dist.iter().filter(holds).cloned());
        }
        wanted
    }

    /// Keeps of uv's solution what an image needs.
    pub(crate) fn resolution(&self, engine: &Engine<'_>) -> Result<Resolution, Error> {
        let mut warnings: BTreeSet<String> = engine.inputs.warnings.iter().cloned().collect();
        for entry in &engine.inputs.requirements {
            warn_of_kernel_markers(&entry.requirement, "an input", &mut warnings);
        }
        warnings.extend(self.graph.diagnostics().iter().map(Diagnostic::message));
        let environments = &engine.inputs.environments;
        let is_this = |it: &MarkerTree| it.evaluate(&engine.markers, &[]);
        if !environments.is_empty() && !environments.iter().any(is_this) {
            warnings.insert(format!(
                "[tool.uv] environments has none that is {}: uv would not resolve for it",
                engine.request.target
            ));
        }

        let requested = engine.requested();
        let (mut wheels, mut satisfied) = (Vec::new(), Vec::new());
        for resolved in self.graph.distributions() {
            warn_of_metadata(resolved, &self.index, engine, &mut warnings);
            let (dist, version) = match resolved {
                ResolvedDist::Installable { dist, version } => (dist, version),
                ResolvedDist::Installed { dist } => {
                    satisfied.push(SatisfiedPackage {
                        name: dist.name().to_string(),
                        version: dist.version().to_string(),
                    });
                    continue;
                }
            };
            let mut pinned = pin(dist, engine)?;
            if let Some(version) = version {
                // An sdist at a URL does not tell it by itself.
                pinned.version = version.to_string();
            }
            pinned.requested = requested.contains(dist.name());
            let dependencies = self.dependencies(dist.name()).into_iter();
            pinned.dependencies = dependencies.map(ToString::to_string).collect();
            wheels.push(pinned);
        }
        wheels.sort_by(|a, b| a.name.cmp(&b.name));
        satisfied.sort_by(|a, b| a.name.cmp(&b.name));
        let replaced = engine.installed.replaced(&wheels);
        warnings.extend(engine.installed.warnings(&replaced, &engine.markers));
        Ok(Resolution {
            wheels,
            satisfied,
            replaced,
            warnings: warnings.into_iter().collect(),
        })
    }
}

/// The chosen wheel of a distribution.
fn pin(dist: &Dist, engine: &Engine<'_>) -> Result<Pinned, Error> {
    if let Dist::Source(source) = dist {
        return pin_sdist(dist, source, engine);
    }
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
        Dist::Built(BuiltDist::Path(wheel)) => (&wheel.filename, wheel.url.to_url(), None, None),
        Dist::Built(BuiltDist::GitPath(_)) | Dist::Source(_) => {
            return Err(Error::NotAWheel {
                requirement: dist.to_string(),
                kind: NotAWheel::Archive,
            });
        }
    };
    let sha256 = file.and_then(|file| sha256s(file.hashes.as_slice()).into_iter().next());
    let mut url = url;
    url.set_fragment(None);
    let mut pinned = Pinned {
        name: filename.name.to_string(),
        version: filename.version.to_string(),
        // The index's spelling of the name, where there is one: uv's own is normalised.
        filename: file.map_or_else(|| filename.to_string(), |file| file.filename.to_string()),
        is_sdist: false,
        url: url.without_credentials().to_string(),
        sha256,
        size: file.and_then(|file| file.size),
        uploaded: file.and_then(|file| file.upload_time_utc_ms),
        index: index.map(|index| index.url().without_credentials().to_string()),
        requested: false,
        dependencies: Vec::new(),
    };
    engine.check_hashes(dist, &mut pinned)?;
    Ok(pinned)
}

/// The chosen sdist of a distribution.
fn pin_sdist(dist: &Dist, source: &SourceDist, engine: &Engine<'_>) -> Result<Pinned, Error> {
    let Some(sdist) = sdists::sdist(source) else {
        return Err(Error::NotAWheel {
            requirement: dist.to_string(),
            kind: NotAWheel::Archive,
        });
    };
    let (uploaded, index) = match source {
        SourceDist::Registry(dist) => (dist.file.upload_time_utc_ms, Some(&dist.index)),
        _ => (None, None),
    };
    let mut pinned = Pinned {
        name: sdist.name,
        version: sdist.version.unwrap_or_default(),
        filename: sdist.filename,
        is_sdist: true,
        url: sdist.url,
        sha256: sdist.sha256,
        size: sdist.size,
        uploaded,
        index: index.map(|index| index.url().without_credentials().to_string()),
        requested: false,
        dependencies: Vec::new(),
    };
    engine.check_hashes(dist, &mut pinned)?;
    Ok(pinned)
}

/// Those of some hashes that are sha256, in lower case.
pub(crate) fn sha256s(hashes: &[HashDigest]) -> Vec<String> {
    let sha256 = hashes
        .iter()
        .filter(|hash| hash.algorithm == HashAlgorithm::Sha256);
    sha256
        .map(|hash| hash.digest.to_ascii_lowercase())
        .collect()
}

/// Warns where a package's metadata says what the resolver does not act on.
fn warn_of_metadata(
    dist: &ResolvedDist,
    index: &InMemoryIndex,
    engine: &Engine<'_>,
    warnings: &mut BTreeSet<String>,
) {
    let response = index.distributions().get(&dist.distribution_id());
    let Some(MetadataResponse::Found(archive)) = response.as_deref() else {
        return;
    };
    let metadata = &archive.metadata;
    let package = format!("{} {}", metadata.name, metadata.version);
    for requirement in &metadata.requires_dist {
        warn_of_kernel_markers(requirement, &package, warnings);
    }
    let python = &engine.markers.python_full_version().version;
    if let Some(versions) = &metadata.requires_python
        && !versions.contains(python)
    {
        warnings.insert(format!(
            "{package} is for Python {versions}, the image has {python}"
        ));
    }
}

/// An image has no kernel: a marker that asks for its release gets an empty answer.
fn warn_of_kernel_markers(requirement: &Requirement, whose: &str, into: &mut BTreeSet<String>) {
    let Some(marker) = requirement.marker.try_to_string() else {
        return;
    };
    for name in ["platform_release", "platform_version"] {
        if marker.contains(name) {
            into.insert(format!(
                "{whose} requires {} depending on {name}, which is empty here: an image has no kernel",
                requirement.name
            ));
        }
    }
}
