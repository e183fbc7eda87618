//! The engine: uv's resolver, set up for a target that is not this machine.
//!
//! No Python is asked for anything. Tags and markers are made from the target; the client takes
//! proxies and certificates from the environment (`HTTPS_PROXY`, `SSL_CERT_FILE`), and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use uv_cache::Cache;
use uv_client::{
    BaseClientBuilder, Certificates, Connectivity, FlatIndexClient, FlatIndexEntries,
    RegistryClient, RegistryClientBuilder,
};
use uv_configuration::{Constraints, Excludes, HashCheckingMode, Overrides};
use uv_distribution::DistributionDatabase;
use uv_distribution_filename::DistExtension;
use uv_distribution_types::{
    Dist, Index, IndexLocations, IndexUrl, Requirement, RequirementSource, RequiresPython,
    UnresolvedRequirement,
};
use uv_normalize::PackageName;
use uv_pep508::MarkerEnvironment;
use uv_platform_tags::Tags;
use uv_pypi_types::{Conflicts, ResolverMarkerEnvironment};
use uv_requirements_txt::{RequirementEntry, RequirementsTxtRequirement};
use uv_resolver::{
    Exclusions, FlatIndex, InMemoryIndex, Manifest, OptionsBuilder, Preference, Preferences,
    PythonRequirement, ResolveError, Resolver, ResolverEnvironment,
};
use uv_types::{BuildContext as _, EmptyInstalledPackages, HashStrategy};

use crate::context::NoBuilds;
use crate::{diagnose, downgrade};
use crate::error::{Error, NotAWheel, Place};
use crate::input::{Entry, Inputs, without_credentials};
use crate::request::{Indexes, Request};
use crate::resolution::{Pinned, Resolution, sha256};

/// How many requests to indexes are under way at a time.
pub(crate) const CONCURRENT_REQUESTS: usize = 50;

/// Finds the wheels that satisfy `request`.
///
/// The future is not `Send`: uv's client isn't. Several can run at a time within one task, with
/// `tokio::join!`, and can share a cache.
pub async fn resolve(request: &Request) -> Result<Resolution, Error> {
    let inputs = Inputs::read(&request.inputs).await?;
    let engine = Engine::new(request, &inputs).await?;
    let tags = request.target.uv_tags()?;
    match engine.solve(Some(&tags)).await {
        Ok(solution) => {
            let wanted = solution.wanted(&engine);
            let resolution = solution.into_resolution(&engine)?;
            downgrade::check(&engine, &tags, &resolution, &wanted).await?;
            Ok(resolution)
        }
        Err(error) => Err(diagnose::explain(&engine, &tags, error).await),
    }
}

/// All that stays the same between runs of the resolver.
pub(crate) struct Engine<'a> {
    pub(crate) request: &'a Request,
    pub(crate) inputs: &'a Inputs,
    pub(crate) markers: MarkerEnvironment,
    pub(crate) client: RegistryClient,
    pub(crate) context: NoBuilds,
    pub(crate) find_links: FlatIndexEntries,
    pub(crate) entries: Entries,
    manifest: Manifest,
    hasher: HashStrategy,
    /// What [`downgrade`] doesn't look at.
    free: Vec<PackageName>,
}

/// What a run of the resolver found, and the metadata that it read.
pub(crate) struct Solution {
    pub(crate) graph: uv_distribution_types::Resolution,
    pub(crate) index: InMemoryIndex,
}

impl<'a> Engine<'a> {
    async fn new(request: &'a Request, inputs: &'a Inputs) -> Result<Self, Error> {
        let markers = request.target.markers()?;
        check_python(request, inputs)?;
        let entries = Entries::gather(request, inputs)?;
        entries.check(&markers)?;
        let locations = locations(&request.index, &inputs.index)?;
        let cache = Cache::from_path(&request.cache).init().await.map_err(|error| Error::Cache {
            path: request.cache.clone(),
            message: diagnose::chain(&error),
        })?;
        let client = client(request, &locations, &cache)?;
        let find_links = FlatIndexClient::new(client.cached_client(), client.connectivity(), &cache)
            .fetch_all(locations.flat_indexes().map(Index::url))
            .await
            .map_err(|error| diagnose::find_links_error(&error))?;
        Ok(Self {
            request,
            inputs,
            manifest: entries.manifest(request, &markers)?,
            hasher: entries.hasher(inputs, &markers)?,
            free: entries.free(request)?,
            entries,
            markers,
            client,
            context: NoBuilds::new(cache, locations),
            find_links,
        })
    }

    /// Runs the resolver. Without tags, every wheel counts as compatible.
    pub(crate) async fn solve(&self, tags: Option<&Tags>) -> Result<Solution, ResolveError> {
        let python = self.markers.python_full_version().version.clone();
        let python = PythonRequirement::from_marker_environment(
            &self.markers,
            RequiresPython::greater_than_equal_version(&python),
        );
        let find_links = FlatIndex::from_entries(
            self.find_links.clone(),
            tags,
            &self.hasher,
            self.context.build_options(),
        );
        let index = InMemoryIndex::default();
        let database = DistributionDatabase::new(
            &self.client,
            &self.context,
            Arc::new(Semaphore::new(CONCURRENT_REQUESTS)),
        );
        let options =
            OptionsBuilder::new().build_options(self.context.build_options().clone()).build();
        let resolver = Resolver::new(
            self.manifest.clone(),
            options,
            &python,
            environment(&self.markers),
            &self.markers,
            Conflicts::empty(),
            tags,
            &find_links,
            &index,
            &self.hasher,
            &self.context,
            EmptyInstalledPackages,
            database,
        )?;
        let output = resolver.resolve().await?;
        Ok(Solution { graph: output.into(), index })
    }

    /// Whether a wheel may not be an old one: it may where an override sets the version, and where
    /// the request allows it.
    pub(crate) fn is_guarded(&self, pinned: &Pinned) -> bool {
        let named = |names: &[PackageName]| names.iter().any(|name| name.as_ref() == pinned.name);
        pinned.index.is_some() && !named(&self.free)
    }

    /// The sha256 that the inputs require of a direct URL or path.
    pub(crate) fn required_sha256(&self, dist: &Dist) -> Option<String> {
        sha256(self.hasher.get(dist).digests())
    }

    /// The names of the packages that the inputs name, on this target.
    pub(crate) fn requested(&self) -> BTreeSet<&PackageName> {
        self.inputs
            .requirements
            .iter()
            .map(|entry| &entry.requirement)
            .filter(|requirement| requirement.evaluate_markers(Some(&self.markers), &[]))
            .map(|requirement| &requirement.name)
            .collect()
    }
}

/// The requirements of the inputs and of the request itself.
pub(crate) struct Entries {
    pub(crate) requirements: Vec<Entry>,
    pub(crate) constraints: Vec<Entry>,
    overrides: Vec<Entry>,
}

impl Entries {
    fn gather(request: &Request, inputs: &Inputs) -> Result<Self, Error> {
        let parse = |texts: &[String]| -> Result<Vec<Entry>, Error> {
            let directory = std::env::current_dir().unwrap_or_default();
            let parse = |text: &String| Entry::parse(text, &directory, Place::Given(text.clone()));
            texts.iter().map(parse).collect()
        };
        let mut constraints = inputs.constraints.clone();
        constraints.extend(parse(&request.constraints)?);
        Ok(Self {
            requirements: inputs.requirements.clone(),
            constraints,
            overrides: parse(&request.overrides)?,
        })
    }

    /// Refuses what is no wheel, unless its marker excludes it anyway.
    fn check(&self, markers: &MarkerEnvironment) -> Result<(), Error> {
        for entry in self.requirements.iter().chain(&self.overrides) {
            if !entry.requirement.evaluate_markers(Some(markers), &[]) {
                continue;
            }
            let kind = match &entry.requirement.source {
                RequirementSource::Registry { .. }
                | RequirementSource::Url { ext: DistExtension::Wheel, .. }
                | RequirementSource::Path { ext: DistExtension::Wheel, .. } => continue,
                RequirementSource::Url { .. } | RequirementSource::Path { .. } => NotAWheel::Archive,
                RequirementSource::GitDirectory { .. } | RequirementSource::GitPath { .. } => {
                    NotAWheel::Repository
                }
                RequirementSource::Directory { editable: Some(true), .. } => NotAWheel::Editable,
                RequirementSource::Directory { .. } => NotAWheel::Directory,
            };
            return Err(Error::NotAWheel { requirement: entry.text(), kind });
        }
        Ok(())
    }

    fn manifest(&self, request: &Request, markers: &MarkerEnvironment) -> Result<Manifest, Error> {
        let plain = |entries: &[Entry]| -> Vec<Requirement> {
            entries.iter().map(|entry| entry.requirement.clone()).collect()
        };
        let excludes =
            request.exclude.iter().map(|name| package_name(name)).collect::<Result<Excludes, _>>()?;
        Ok(Manifest::new(
            plain(&self.requirements),
            Constraints::from_requirements(plain(&self.constraints).into_iter()),
            Overrides::from_requirements(plain(&self.overrides)),
            excludes,
            preferences(&request.prefer, markers)?,
            None,
            BTreeSet::new(),
            Exclusions::default(),
            Vec::new(),
        ))
    }

    fn free(&self, request: &Request) -> Result<Vec<PackageName>, Error> {
        let overridden = self.overrides.iter().map(|entry| Ok(entry.requirement.name.clone()));
        let allowed = request.allow_downgrade.iter().map(|name| package_name(name));
        overridden.chain(allowed).collect()
    }

    fn hasher(&self, inputs: &Inputs, markers: &MarkerEnvironment) -> Result<HashStrategy, Error> {
        let mode = if inputs.require_hashes {
            HashCheckingMode::Require
        } else {
            HashCheckingMode::Verify
        };
        let requirements: Vec<(UnresolvedRequirement, &[String])> = self
            .requirements
            .iter()
            .map(|entry| {
                let requirement = UnresolvedRequirement::Named(entry.requirement.clone());
                (requirement, entry.hashes.as_slice())
            })
            .collect();
        HashStrategy::from_requirements(
            requirements.iter().map(|(requirement, hashes)| (requirement, *hashes)),
            self.constraints.iter().map(|entry| (&entry.requirement, entry.hashes.as_slice())),
            Some(&ResolverMarkerEnvironment::from(markers.clone())),
            mode,
        )
        .map_err(|error| Error::Hashes { message: diagnose::chain(&error) })
    }
}

fn check_python(request: &Request, inputs: &Inputs) -> Result<(), Error> {
    let version = request.target.python_full_version()?;
    match inputs.requires_python.iter().find(|(_, specifiers)| !specifiers.contains(&version)) {
        None => Ok(()),
        Some((path, specifiers)) => Err(Error::RequiresPython {
            path: path.clone(),
            requires: specifiers.to_string(),
            python: request.target.python.clone(),
        }),
    }
}

fn environment(markers: &MarkerEnvironment) -> ResolverEnvironment {
    ResolverEnvironment::specific(ResolverMarkerEnvironment::from(markers.clone()))
}

fn package_name(name: &str) -> Result<PackageName, Error> {
    PackageName::from_str(name).map_err(|error| Error::Invalid {
        place: Place::Given(name.to_owned()),
        message: error.to_string(),
    })
}

fn preferences(
    prefer: &BTreeMap<String, String>,
    markers: &MarkerEnvironment,
) -> Result<Preferences, Error> {
    let mut preferences = Vec::new();
    for (name, version) in prefer {
        let text = format!("{name}=={version}");
        let invalid = |message: String| Error::Invalid { place: Place::Given(text.clone()), message };
        let requirement = RequirementsTxtRequirement::parse(&text, Path::new("/"), false)
            .map_err(|error| invalid(error.message.to_string()))?;
        let entry = RequirementEntry { requirement, hashes: Vec::new() };
        let preference =
            Preference::from_entry(entry).map_err(|error| invalid(error.to_string()))?;
        preferences.extend(preference);
    }
    Ok(Preferences::from_iter(preferences, &environment(markers)))
}

/// Puts the request's indexes before those of the files, which only add to them.
fn locations(request: &Indexes, files: &Indexes) -> Result<IndexLocations, Error> {
    let parse = |url: &String| {
        IndexUrl::parse(url, None).map_err(|error| Error::IndexUrl {
            url: without_credentials(url),
            message: error.to_string(),
        })
    };
    let mut indexes = Vec::new();
    for url in request.extra.iter().chain(&files.extra) {
        indexes.push(Index::from_extra_index_url(parse(url)?));
    }
    if let Some(url) = request.default.as_ref().or(files.default.as_ref()) {
        indexes.push(Index::from_index_url(parse(url)?));
    }
    let mut find_links = Vec::new();
    for location in request.find_links.iter().chain(&files.find_links) {
        find_links.push(Index::from_find_links(parse(location)?));
    }
    Ok(IndexLocations::new(indexes, find_links, request.no_index || files.no_index))
}

fn client(
    request: &Request,
    locations: &IndexLocations,
    cache: &Cache,
) -> Result<RegistryClient, Error> {
    let connectivity =
        if request.offline { Connectivity::Offline } else { Connectivity::Online };
    let mut base = BaseClientBuilder::default()
        .connectivity(connectivity)
        .with_system_certs(true)
        .no_retry_delay(false);
    if let Some(certificates) = Certificates::from_env() {
        base = base.custom_certificates(certificates);
    }
    RegistryClientBuilder::new(base, cache.clone())
        .index_locations(locations.clone())
        .build()
        .map_err(|error| Error::Resolver { message: diagnose::chain(&error) })
}

#[cfg(test)]
mod tests;
