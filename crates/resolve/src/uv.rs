//! The engine: uv's resolver, set up for a target that is not this machine.
//!
//! No Python is asked for anything. Tags and markers are made from the target; the client takes
//! proxies and certificates from the environment (`HTTPS_PROXY`, `SSL_CERT_FILE`), and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use uv_cache::Cache;
use uv_client::{
    BaseClientBuilder, Certificates, ClientBuildError, Connectivity, FlatIndexClient,
    FlatIndexEntries, RegistryClient, RegistryClientBuilder,
};
use uv_distribution::DistributionDatabase;
use uv_distribution_types::{
    Dist, Index, IndexLocations, IndexMetadata, IndexUrl, RequirementSource, RequiresPython,
};
use uv_git::GitResolver;
use uv_normalize::PackageName;
use uv_pep508::MarkerEnvironment;
use uv_platform_tags::Tags;
use uv_pypi_types::{Conflicts, ResolverMarkerEnvironment};
use uv_resolver::{
    AllowedYanks, DefaultResolverProvider, FlatIndex, InMemoryIndex, Manifest, OptionsBuilder,
    Prerelease, PrereleaseMode, PythonRequirement, ResolveError, Resolver, ResolverEnvironment,
};
use uv_types::{BuildContext as _, HashStrategy};

use crate::context::NoBuilds;
use crate::entries::Entries;
use crate::error::Error;
use crate::input::{Inputs, without_credentials};
use crate::installed::Installed;
use crate::provider::{Log, Provider};
use crate::request::{Indexes, Request};
use crate::resolution::{Pinned, Resolution};
use crate::sdists::Sdists;
use crate::solution::{Solution, sha256s};
use crate::{diagnose, downgrade, entries, locked, provider, sdists};

/// How many requests to indexes are under way at a time.
pub(crate) const CONCURRENT_REQUESTS: usize = 50;

/// To be called while the process has one thread. The maps that uv's crates share between threads have the
/// kernel order their accesses (membarrier(2)), and a process of several threads waits 10 ms and more until it does.
pub fn before_threads() {
    drop(GitResolver::default());
}

/// Finds the wheels that satisfy `request`.
///
/// The future is not `Send`: uv's client isn't. Several can run at a time within one task, with
/// `tokio::join!`, and can share a cache.
pub async fn resolve(request: &Request) -> Result<Resolution, Error> {
    let inputs = Inputs::read(&request.inputs).await?;
    if let Some(lock) = &inputs.lock {
        return locked::resolve(request, lock);
    }
    let mut engine = Engine::new(request, &inputs).await?;
    let tags = request.target.uv_tags()?;
    loop {
        let error = match engine.solve(Some(&tags)).await {
            Ok(solution) => return check(&engine, &tags, &solution).await,
            Err(error) => error,
        };
        if let Some(error) = engine.sdists.failure() {
            return Err(error);
        }
        let involved = sdists::involved(&error);
        let error = diagnose::explain(&engine, &tags, error).await;
        let lacking = match &error {
            Error::NoCompatibleWheel(error) => PackageName::from_str(&error.package).ok(),
            _ => None,
        };
        if !engine.sdists.relent(lacking.as_ref(), &involved) {
            return Err(error);
        }
    }
}

/// The resolution, if it is one that may be.
async fn check(engine: &Engine<'_>, tags: &Tags, solution: &Solution) -> Result<Resolution, Error> {
    let wanted = solution.wanted(engine);
    let resolution = solution.resolution(engine)?;
    downgrade::check(engine, tags, &resolution, &wanted).await?;
    check_formats(engine, &resolution)?;
    Ok(resolution)
}

/// All that stays the same between runs of the resolver.
pub(crate) struct Engine<'a> {
    pub(crate) request: &'a Request,
    pub(crate) inputs: &'a Inputs,
    pub(crate) markers: MarkerEnvironment,
    pub(crate) client: RegistryClient,
    /// The same, which answers from the cache alone.
    pub(crate) cached: RegistryClient,
    pub(crate) context: NoBuilds,
    pub(crate) find_links: FlatIndexEntries,
    pub(crate) entries: Entries,
    pub(crate) installed: Installed,
    pub(crate) sdists: Sdists,
    manifest: Manifest,
    hasher: HashStrategy,
    /// The one index that a package comes from.
    pub(crate) sources: BTreeMap<PackageName, IndexMetadata>,
    /// What [`downgrade`] doesn't look at.
    free: Vec<PackageName>,
}

impl<'a> Engine<'a> {
    async fn new(request: &'a Request, inputs: &'a Inputs) -> Result<Self, Error> {
        let markers = request.target.markers()?;
        check_python(request, inputs)?;
        let entries = Entries::gather(request, inputs)?;
        let sdists = Sdists::new(request, inputs)?;
        entries.check(&markers, &sdists)?;
        let locations = locations(&request.index, &inputs.index)?;
        let cache = Cache::from_path(&request.cache)
            .init()
            .await
            .map_err(|error| Error::Cache {
                path: request.cache.clone(),
                message: diagnose::chain(&error),
            })?;
        let (client, cached) = clients(request, &locations, &cache)?;
        let find_links =
            FlatIndexClient::new(client.cached_client(), client.connectivity(), &cache)
                .fetch_all(locations.flat_indexes().map(Index::url))
                .await
                .map_err(|error| diagnose::find_links_error(&error))?;
        Ok(Self {
            request,
            inputs,
            manifest: entries.manifest(request, &markers)?,
            hasher: entries.hasher(request, inputs, &markers)?,
            free: entries.free(request)?,
            installed: Installed::gather(request, inputs, &entries, &markers),
            sources: sources(&request.sources, &entries, &markers)?,
            entries,
            sdists,
            markers,
            client,
            cached,
            context: NoBuilds::new(cache, locations),
            find_links,
        })
    }

    /// Runs the resolver, until it has asked the indexes for all that it must. Without tags, every
    /// wheel counts as compatible.
    pub(crate) async fn solve(&self, tags: Option<&Tags>) -> Result<Solution, ResolveError> {
        // What failed in a run that only looked around is no longer of interest.
        drop(self.sdists.failure());
        let requirements = self.entries.holding(&self.markers);
        let mut asked = self
            .installed
            .excluded(requirements.map(|entry| &entry.requirement));
        loop {
            let log = Arc::new(Log::default());
            let outcome = self.run(tags, &asked, &log).await;
            let turned_down = log.turned_down(outcome.as_ref());
            if turned_down.is_empty() {
                return outcome;
            }
            asked.extend(turned_down);
        }
    }

    /// Runs the resolver once. Of the installed packages, the indexes are asked for some.
    async fn run(
        &self,
        tags: Option<&Tags>,
        asked: &BTreeSet<PackageName>,
        log: &Arc<Log>,
    ) -> Result<Solution, ResolveError> {
        let version = &self.markers.python_full_version().version;
        let versions = RequiresPython::greater_than_equal_version(version);
        let python = PythonRequirement::from_marker_environment(&self.markers, versions.clone());
        let context = &self.context;
        let index = InMemoryIndex::default();
        let environment = environment(&self.markers);
        let options = OptionsBuilder::new()
            .build_options(context.build_options().clone())
            .prerelease(self.pre_releases())
            .build();
        let requests = Arc::new(Semaphore::new(CONCURRENT_REQUESTS));
        let by_format = [context.build_options(), &context.either, &context.sdists];
        let find_links = by_format.map(|formats| {
            FlatIndex::from_entries(self.find_links.clone(), tags, &self.hasher, formats)
        });
        let indexes = |n: usize| {
            let formats = by_format[n];
            DefaultResolverProvider::new(
                DistributionDatabase::new(&self.client, context, Arc::clone(&requests)),
                &find_links[n],
                tags,
                &versions,
                AllowedYanks::from_manifest(&self.manifest, &environment, options.dependency_mode),
                &self.hasher,
                options.exclude_newer.clone(),
                context.locations(),
                formats,
                context.capabilities(),
            )
        };
        let provider = Provider {
            indexes: provider::Indexes {
                wheels: indexes(0),
                either: indexes(1),
                sdists: indexes(2),
            },
            sdists: &self.sdists,
            installed: &self.installed,
            asked,
            markers: &self.markers,
            sources: &self.sources,
            log: Arc::clone(log),
        };
        let resolver = Resolver::new_custom_io(
            self.manifest.clone(),
            options,
            &self.hasher,
            environment,
            &self.markers,
            tags.cloned(),
            &python,
            Conflicts::empty(),
            &index,
            context.git(),
            context.capabilities(),
            context.locations(),
            provider,
            self.installed.clone(),
        );
        let reporter = Arc::clone(log);
        let output = resolver.with_reporter(reporter).resolve().await?;
        Ok(Solution {
            graph: output.into(),
            index,
        })
    }

    fn pre_releases(&self) -> Prerelease {
        let global = if self.request.pre_releases {
            PrereleaseMode::Allow
        } else {
            self.inputs.pre_releases.unwrap_or_default()
        };
        Prerelease {
            global,
            ..Prerelease::default()
        }
    }

    /// Whether a wheel may not be an old one: it may where an override sets the version, and where
    /// the request allows it.
    pub(crate) fn is_guarded(&self, pinned: &Pinned) -> bool {
        let named = |names: &[PackageName]| names.iter().any(|name| name.as_ref() == pinned.name);
        // Of what may be built, the newest version is chosen, or a wheel where one is preferred.
        let may_be_built =
            PackageName::from_str(&pinned.name).is_ok_and(|name| self.sdists.allow(&name));
        pinned.index.is_some() && !named(&self.free) && !may_be_built
    }

    /// Checks a wheel against the hashes that the inputs require of it. Where neither index nor
    /// wheel has one to compare, the sha256 that they require becomes the wheel's.
    pub(crate) fn check_hashes(&self, dist: &Dist, pinned: &mut Pinned) -> Result<(), Error> {
        let required = self.hasher.get(dist);
        let package = format!("{} {}", pinned.name, pinned.version);
        if required.digests().is_empty() {
            return match self.hasher {
                HashStrategy::Require(_) => Err(Error::Hashes {
                    message: format!("{package} is needed and has none"),
                }),
                _ => Ok(()),
            };
        }
        let allowed = sha256s(required.digests());
        match &pinned.sha256 {
            Some(found) if allowed.contains(found) => Ok(()),
            Some(found) => Err(Error::Hashes {
                message: format!(
                    "{} has sha256 {found}, which no input allows",
                    pinned.filename
                ),
            }),
            None => {
                // With several to choose from, whoever fetches the wheel must decide.
                if let [only] = &allowed[..] {
                    pinned.sha256 = Some(only.clone());
                }
                Ok(())
            }
        }
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

/// Refuses wheels that should have been built from sources.
fn check_formats(engine: &Engine<'_>, resolution: &Resolution) -> Result<(), Error> {
    let formats = engine.request.formats.extended(&engine.inputs.formats);
    let wheels = resolution.wheels.iter();
    // A wheel that is named by its URL was not chosen among formats.
    let refused =
        wheels.filter(|it| !it.is_sdist && it.index.is_some() && !formats.allow_wheel(&it.name));
    let packages: Vec<String> = refused.map(|wheel| wheel.name.clone()).collect();
    if packages.is_empty() {
        return Ok(());
    }
    Err(Error::NoBinary { packages })
}

/// The one index of each package that has one: what the request says wins over `[tool.uv.sources]`.
fn sources(
    sources: &BTreeMap<String, String>,
    entries: &Entries,
    markers: &MarkerEnvironment,
) -> Result<BTreeMap<PackageName, IndexMetadata>, Error> {
    let theirs = entries.holding(markers).filter_map(|entry| {
        let RequirementSource::Registry { index, .. } = &entry.requirement.source else {
            return None;
        };
        Some((entry.requirement.name.clone(), index.clone()?))
    });
    let mut all: BTreeMap<_, _> = theirs.collect();
    for (name, url) in sources {
        all.insert(
            entries::package_name(name)?,
            IndexMetadata::from(index_url(url)?),
        );
    }
    Ok(all)
}

pub(crate) fn index_url(url: &str) -> Result<IndexUrl, Error> {
    IndexUrl::parse(url, None).map_err(|error| Error::IndexUrl {
        url: without_credentials(url),
        message: error.to_string(),
    })
}

fn check_python(request: &Request, inputs: &Inputs) -> Result<(), Error> {
    let version = request.target.python_full_version()?;
    match inputs
        .requires_python
        .iter()
        .find(|(_, specifiers)| !specifiers.contains(&version))
    {
        None => Ok(()),
        Some((path, specifiers)) => Err(Error::RequiresPython {
            path: path.clone(),
            requires: specifiers.to_string(),
            python: request.target.python.clone(),
        }),
    }
}

pub(crate) fn environment(markers: &MarkerEnvironment) -> ResolverEnvironment {
    ResolverEnvironment::specific(ResolverMarkerEnvironment::from(markers.clone()))
}

/// Puts the request's indexes before those of the files, which only add to them.
fn locations(request: &Indexes, files: &Indexes) -> Result<IndexLocations, Error> {
    let mut indexes = Vec::new();
    for url in request.extra.iter().chain(&files.extra) {
        indexes.push(Index::from_extra_index_url(index_url(url)?));
    }
    for url in request.explicit.iter().chain(&files.explicit) {
        let mut index = Index::from_extra_index_url(index_url(url)?);
        index.explicit = true;
        indexes.push(index);
    }
    if let Some(url) = request.default.as_ref().or(files.default.as_ref()) {
        indexes.push(Index::from_index_url(index_url(url)?));
    }
    let mut find_links = Vec::new();
    for location in request.find_links.iter().chain(&files.find_links) {
        find_links.push(Index::from_find_links(index_url(location)?));
    }
    Ok(IndexLocations::new(
        indexes,
        find_links,
        request.no_index || files.no_index,
    ))
}

/// A client for the indexes, and one that shows what the first one has put into the cache.
fn clients(
    request: &Request,
    locations: &IndexLocations,
    cache: &Cache,
) -> Result<(RegistryClient, RegistryClient), Error> {
    let connectivity = if request.offline {
        Connectivity::Offline
    } else {
        Connectivity::Online
    };
    let mut base = BaseClientBuilder::default()
        .with_system_certs(true)
        .read_timeout(request.timeout)
        .no_retry_delay(false);
    if let Some(certificates) = Certificates::from_env() {
        base = base.custom_certificates(certificates);
    }
    let builder = |connectivity| {
        RegistryClientBuilder::new(base.clone().connectivity(connectivity), cache.clone())
            .index_locations(locations.clone())
    };
    let failed = |error: ClientBuildError| Error::Resolver {
        message: diagnose::chain(&error),
    };
    let client = builder(connectivity).build().map_err(failed)?;
    let cached = builder(Connectivity::Offline)
        .wrap_existing(client.cached_client().uncached())
        .map_err(failed)?;
    Ok((client, cached))
}

#[cfg(test)]
mod tests;
