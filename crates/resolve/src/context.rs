//! The build context that uv's resolver asks for: one that builds nothing.
//!
//! What source distributions require is found out by others ([`crate::sdists`]), before uv would build
//! them. What remains to answer is where the cache is and which indexes there are.

use std::path::{Path, PathBuf};

use uv_cache::Cache;
use uv_configuration::{BuildKind, BuildOptions, BuildOutput, NoBinary, NoBuild, NoSources};
use uv_distribution::Error as DistributionError;
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{
    CachedDist, ConfigSettings, DependencyMetadata, ExtraBuildRequires, ExtraBuildVariables,
    IndexCapabilities, IndexLocations, PackageConfigSettings, Requirement, SourceDist,
};
use uv_git::GitResolver;
use uv_python::{Interpreter, PythonEnvironment};
use uv_types::{
    AnyErrorBuild, BuildArena, BuildContext, BuildIsolation, BuildStack, ResolvedRequirements,
    SourceBuildTrait,
};
use uv_workspace::WorkspaceCache;

/// Answers what the resolver asks of a build context, with defaults for all that concerns builds.
pub(crate) struct NoBuilds {
    cache: Cache,
    locations: IndexLocations,
    build_options: BuildOptions,
    /// For packages that may come from wheels and sdists, and for those that come from sdists alone.
    pub(crate) either: BuildOptions,
    pub(crate) sdists: BuildOptions,
    git: GitResolver,
    arena: BuildArena<Never>,
    capabilities: IndexCapabilities,
    dependency_metadata: DependencyMetadata,
    config_settings: ConfigSettings,
    package_config_settings: PackageConfigSettings,
    sources: NoSources,
    workspaces: WorkspaceCache,
    extra_requires: ExtraBuildRequires,
    extra_variables: ExtraBuildVariables,
}

impl NoBuilds {
    pub(crate) fn new(cache: Cache, locations: IndexLocations) -> Self {
        Self {
            cache,
            locations,
            build_options: BuildOptions::new(NoBinary::None, NoBuild::All),
            either: BuildOptions::new(NoBinary::None, NoBuild::None),
            sdists: BuildOptions::new(NoBinary::All, NoBuild::None),
            git: GitResolver::default(),
            arena: BuildArena::default(),
            capabilities: IndexCapabilities::default(),
            dependency_metadata: DependencyMetadata::default(),
            config_settings: ConfigSettings::default(),
            package_config_settings: PackageConfigSettings::default(),
            sources: NoSources::All,
            workspaces: WorkspaceCache::default(),
            extra_requires: ExtraBuildRequires::default(),
            extra_variables: ExtraBuildVariables::default(),
        }
    }
}

/// A build that can't exist.
pub(crate) enum Never {}

impl SourceBuildTrait for Never {
    async fn metadata(&mut self) -> Result<Option<PathBuf>, AnyErrorBuild> {
        match *self {}
    }

    async fn wheel<'a>(&'a self, _wheel_dir: &'a Path) -> Result<String, AnyErrorBuild> {
        match *self {}
    }
}

#[expect(
    refining_impl_trait,
    reason = "the trait's own signatures can't name the error type"
)]
impl BuildContext for NoBuilds {
    type SourceDistBuilder = Never;

    async fn interpreter(&self) -> &Interpreter {
        unreachable!("only a build asks for an interpreter, and builds are disabled")
    }

    fn cache(&self) -> &Cache {
        &self.cache
    }

    fn git(&self) -> &GitResolver {
        &self.git
    }

    fn build_arena(&self) -> &BuildArena<Never> {
        &self.arena
    }

    fn capabilities(&self) -> &IndexCapabilities {
        &self.capabilities
    }

    fn dependency_metadata(&self) -> &DependencyMetadata {
        &self.dependency_metadata
    }

    fn build_options(&self) -> &BuildOptions {
        &self.build_options
    }

    fn build_isolation(&self) -> BuildIsolation<'_> {
        BuildIsolation::Isolated
    }

    fn config_settings(&self) -> &ConfigSettings {
        &self.config_settings
    }

    fn config_settings_package(&self) -> &PackageConfigSettings {
        &self.package_config_settings
    }

    fn sources(&self) -> &NoSources {
        &self.sources
    }

    fn locations(&self) -> &IndexLocations {
        &self.locations
    }

    fn workspace_cache(&self) -> &WorkspaceCache {
        &self.workspaces
    }

    fn extra_build_requires(&self) -> &ExtraBuildRequires {
        &self.extra_requires
    }

    fn extra_build_variables(&self) -> &ExtraBuildVariables {
        &self.extra_variables
    }

    async fn resolve<'a>(
        &'a self,
        _requirements: &'a [Requirement],
        _build_stack: &'a BuildStack,
    ) -> Result<ResolvedRequirements, DistributionError> {
        Err(DistributionError::NoBuild)
    }

    async fn install<'a>(
        &'a self,
        _requirements: &'a ResolvedRequirements,
        _venv: &'a PythonEnvironment,
        _build_stack: &'a BuildStack,
    ) -> Result<Vec<CachedDist>, DistributionError> {
        Err(DistributionError::NoBuild)
    }

    async fn setup_build<'a>(
        &'a self,
        _source: &'a Path,
        _subdirectory: Option<&'a Path>,
        _install_path: &'a Path,
        _stop_discovery_at: Option<&'a Path>,
        _version_id: Option<&'a str>,
        _dist: Option<&'a SourceDist>,
        _sources: &'a NoSources,
        _build_kind: BuildKind,
        _build_output: BuildOutput,
        _build_stack: BuildStack,
    ) -> Result<Never, DistributionError> {
        Err(DistributionError::NoBuild)
    }

    async fn direct_build<'a>(
        &'a self,
        _source: &'a Path,
        _subdirectory: Option<&'a Path>,
        _output_dir: &'a Path,
        _sources: NoSources,
        _build_kind: BuildKind,
        _version_id: Option<&'a str>,
    ) -> Result<Option<DistFilename>, DistributionError> {
        Err(DistributionError::NoBuild)
    }
}
