//! Providers: where uv's resolver gets versions and metadata from.
//!
//! No index is asked for an installed package as long as that package will do: it may be one that no
//! index has, or whose name should not leave the house. The resolver asks for a package's versions
//! before it says which of them it wants, though. So a run begins with the indexes held back from
//! installed packages, and a run in which one of them was turned down is done again, with the
//! indexes asked for it: see [`Log::turned_down`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uv_distribution::{Metadata, Reporter as DistributionReporter};
use uv_distribution_types::{
    BuildableSource, Dist, IndexMetadata, InstalledDist, Name as _, Requirement, VersionOrUrlRef,
};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::MarkerEnvironment;
use uv_redacted::DisplaySafeUrl;
use uv_resolver::{
    DefaultResolverProvider, MetadataResponse, PackageVersionsResult, ResolveError,
    ResolverProvider, ResolverReporter, VersionsResponse, WheelMetadataResult,
};

use crate::context::NoBuilds;
use crate::installed::Installed;
use crate::sdists::{Form, Sdists};
use crate::solution::Solution;

/// Answers from the indexes, and for installed packages from their own metadata.
pub(crate) struct Provider<'a> {
    pub(crate) indexes: Indexes<'a>,
    pub(crate) sdists: &'a Sdists,
    pub(crate) installed: &'a Installed,
    /// The installed packages that the indexes are asked for all the same.
    pub(crate) asked: &'a BTreeSet<PackageName>,
    pub(crate) markers: &'a MarkerEnvironment,
    /// The one index that a package comes from.
    pub(crate) sources: &'a BTreeMap<PackageName, IndexMetadata>,
    pub(crate) log: Arc<Log>,
}

/// The indexes, as they are seen by what a package may come from.
pub(crate) struct Indexes<'a> {
    pub(crate) wheels: DefaultResolverProvider<'a, NoBuilds>,
    pub(crate) either: DefaultResolverProvider<'a, NoBuilds>,
    pub(crate) sdists: DefaultResolverProvider<'a, NoBuilds>,
}

impl<'a> Indexes<'a> {
    fn of(&self, form: Form) -> &DefaultResolverProvider<'a, NoBuilds> {
        match form {
            Form::Wheel => &self.wheels,
            Form::Either => &self.either,
            Form::Sdist => &self.sdists,
        }
    }
}

impl Provider<'_> {
    /// Notes which installed packages some metadata excludes, before the resolver acts on it.
    fn note(&self, response: &MetadataResponse) {
        let MetadataResponse::Found(archive) = response else {
            return;
        };
        let Metadata {
            requires_dist,
            provides_extra,
            ..
        } = &archive.metadata;
        // An extra that nobody asked for does little harm: an index is asked in vain.
        let holds = |requirement: &&Requirement| {
            requirement.evaluate_markers(Some(self.markers), provides_extra)
        };
        let excluded = self.installed.excluded(requires_dist.iter().filter(holds));
        self.log.events().excluded.extend(excluded);
    }
}

impl ResolverProvider for Provider<'_> {
    async fn get_package_versions<'io>(
        &'io self,
        package_name: &'io PackageName,
        index: Option<&'io IndexMetadata>,
    ) -> PackageVersionsResult {
        if self.installed.version(package_name).is_some() && !self.asked.contains(package_name) {
            self.log.events().held_back.insert(package_name.clone());
            // Not an empty list of versions, from which the resolver would draw conclusions.
            return Ok(VersionsResponse::NotFound);
        }
        let index = index.or_else(|| self.sources.get(package_name));
        let indexes = self.indexes.of(self.sdists.form(package_name));
        indexes.get_package_versions(package_name, index).await
    }

    async fn get_or_build_wheel_metadata<'io>(&'io self, dist: &'io Dist) -> WheelMetadataResult {
        let response = match dist {
            Dist::Source(sdist) => self.sdists.metadata(sdist).await?,
            Dist::Built(_) => {
                self.indexes
                    .wheels
                    .get_or_build_wheel_metadata(dist)
                    .await?
            }
        };
        self.note(&response);
        Ok(response)
    }

    async fn get_installed_metadata<'io>(
        &'io self,
        dist: &'io InstalledDist,
    ) -> WheelMetadataResult {
        let Some(metadata) = self.installed.metadata(dist.name()) else {
            return self.indexes.wheels.get_installed_metadata(dist).await;
        };
        let response = MetadataResponse::Found(metadata.clone());
        self.note(&response);
        Ok(response)
    }

    fn with_reporter(self, reporter: Arc<dyn DistributionReporter>) -> Self {
        Self {
            indexes: Indexes {
                wheels: self.indexes.wheels.with_reporter(reporter),
                ..self.indexes
            },
            ..self
        }
    }
}

/// What happened in one run of the resolver.
#[derive(Default)]
pub(crate) struct Log(Mutex<Events>);

#[derive(Default)]
struct Events {
    /// The packages that the indexes were not asked for.
    held_back: BTreeSet<PackageName>,
    /// The packages whose installed version something requires otherwise.
    excluded: BTreeSet<PackageName>,
    /// The versions that were tried, and how often.
    tried: BTreeMap<(PackageName, Version), usize>,
}

impl Log {
    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The installed packages that the resolver may have wanted in another version, so that asking
    /// the indexes for them could lead elsewhere. Never one that they were asked for.
    ///
    /// A package is turned down when a requirement excludes it, or when it was tried and its own
    /// requirements did not hold. Either way some version that had been tried until then is given
    /// up for good, or there is no solution.
    pub(crate) fn turned_down(
        &self,
        outcome: Result<&Solution, &ResolveError>,
    ) -> BTreeSet<PackageName> {
        let events = self.events();
        let excluded = &events.held_back & &events.excluded;
        match outcome {
            Ok(solution) => {
                let chosen: BTreeSet<_> = solution.distributions().collect();
                let mut versions = events.tried.keys();
                if versions.all(|(name, version)| chosen.contains(&(name, version))) {
                    return BTreeSet::new();
                }
                let given_up = |name: &&PackageName| {
                    let of_it = events.tried.iter().filter(|((tried, _), _)| tried == *name);
                    let times: usize = of_it.map(|(_, times)| times).sum();
                    let is_chosen = chosen.iter().any(|(chosen, _)| chosen == name);
                    times > 1 || (times == 1 && !is_chosen)
                };
                let given_up = events.held_back.iter().filter(given_up);
                excluded.into_iter().chain(given_up.cloned()).collect()
            }
            Err(ResolveError::NoSolution(_)) if !excluded.is_empty() => excluded,
            Err(_) => events.held_back.clone(),
        }
    }
}

/// Of all that the resolver reports, only what it tries is of interest.
impl ResolverReporter for Log {
    fn on_progress(&self, name: &PackageName, version: &VersionOrUrlRef) {
        if let VersionOrUrlRef::Version(version) = version {
            let tried = (name.clone(), (*version).clone());
            *self.events().tried.entry(tried).or_default() += 1;
        }
    }

    fn on_complete(&self) {}

    fn on_build_start(&self, _source: &BuildableSource) -> usize {
        0
    }

    fn on_build_complete(&self, _source: &BuildableSource, _id: usize) {}

    fn on_download_start(&self, _name: &PackageName, _size: Option<u64>) -> usize {
        0
    }

    fn on_download_progress(&self, _id: usize, _bytes: u64) {}

    fn on_download_complete(&self, _name: &PackageName, _id: usize) {}

    fn on_checkout_start(&self, _url: &DisplaySafeUrl, _rev: &str) -> usize {
        0
    }

    fn on_checkout_complete(&self, _url: &DisplaySafeUrl, _rev: &str, _id: usize) {}
}
