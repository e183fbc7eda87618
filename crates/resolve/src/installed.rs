//! Installed packages: those of the base image's environment, as uv's resolver wants them.
//!
//! They follow the core metadata specification, and are known from their metadata alone: nothing of
//! them is on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{
    InstalledDist, InstalledDistKind, InstalledRegistryDist, Requirement, RequirementSource,
};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::MarkerEnvironment;
use uv_pypi_types::ResolutionMetadata;
use uv_types::InstalledPackagesProvider;

use crate::diagnose::chain;
use crate::entries::Entries;
use crate::input::Inputs;
use crate::request::{InstalledPackage, Request};
use crate::resolution::{Pinned, ReplacedPackage, WhyReplaced};

/// Where installed packages are said to be: a place below which no file can be. uv looks there for
/// tags, and takes a package without any for one that fits.
const NOWHERE: &str = "/dev/null";

/// The packages of the base image's environment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Installed {
    /// Those that count as satisfied where the requirements allow them.
    usable: Arc<BTreeMap<PackageName, Package>>,
    /// The others: the version that is installed, and why it can't be used.
    set_aside: Arc<BTreeMap<PackageName, (String, WhyReplaced)>>,
}

struct Package {
    dist: InstalledDist,
    metadata: ArchiveMetadata,
    /// The version as the request has it.
    version: String,
}

impl Installed {
    pub(crate) fn gather(
        request: &Request,
        inputs: &Inputs,
        entries: &Entries,
        markers: &MarkerEnvironment,
    ) -> Self {
        let hashed = entries.hashed(markers);
        let (mut usable, mut set_aside) = (BTreeMap::new(), BTreeMap::new());
        for package in &request.installed {
            // Nothing can require a package whose name is none.
            let Ok(name) = PackageName::from_str(&package.name) else {
                continue;
            };
            if usable.contains_key(&name) || set_aside.contains_key(&name) {
                continue;
            }
            let version = package.version.clone();
            if inputs.require_hashes || hashed.contains(&name) {
                set_aside.insert(name, (version, WhyReplaced::Hashes));
                continue;
            }
            match Package::read(&name, package) {
                Ok(package) => {
                    usable.insert(name, package);
                }
                Err(message) => {
                    set_aside.insert(name, (version, WhyReplaced::Metadata { message }));
                }
            }
        }
        Self {
            usable: Arc::new(usable),
            set_aside: Arc::new(set_aside),
        }
    }

    /// The version of a package that counts as satisfied where the requirements allow it.
    pub(crate) fn version(&self, name: &PackageName) -> Option<&Version> {
        self.usable.get(name).map(|package| package.dist.version())
    }

    pub(crate) fn metadata(&self, name: &PackageName) -> Option<&ArchiveMetadata> {
        self.usable.get(name).map(|package| &package.metadata)
    }

    /// The packages whose installed version one of the requirements excludes.
    pub(crate) fn excluded<'a>(
        &self,
        requirements: impl IntoIterator<Item = &'a Requirement>,
    ) -> BTreeSet<PackageName> {
        let excludes = |requirement: &&Requirement| {
            let specifiers = requirement.source.version_specifiers();
            self.version(&requirement.name)
                .zip(specifiers)
                .is_some_and(|(version, specifiers)| !specifiers.contains(version))
        };
        let excluding = requirements.into_iter().filter(excludes);
        excluding
            .map(|requirement| requirement.name.clone())
            .collect()
    }

    /// The installed packages that some wheels stand in for.
    pub(crate) fn replaced(&self, wheels: &[Pinned]) -> Vec<ReplacedPackage> {
        let replaced = wheels.iter().filter_map(|wheel| {
            // It was printed from what it is parsed to.
            let name = PackageName::from_str(&wheel.name).ok()?;
            let (installed, why) = match self.usable.get(&name) {
                Some(package) => (package.version.clone(), WhyReplaced::Requirements),
                None => self.set_aside.get(&name)?.clone(),
            };
            Some(ReplacedPackage {
                name: wheel.name.clone(),
                installed,
                version: wheel.version.clone(),
                why,
            })
        });
        replaced.collect()
    }

    /// What a reader should know of the packages that were replaced.
    pub(crate) fn warnings(
        &self,
        replaced: &[ReplacedPackage],
        markers: &MarkerEnvironment,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut hashed = Vec::new();
        for package in replaced {
            match &package.why {
                WhyReplaced::Requirements => {}
                WhyReplaced::Hashes => {
                    hashed.push(format!("{} {}", package.name, package.installed));
                }
                WhyReplaced::Metadata { message } => warnings.push(format!(
                    "{} {} of the base image is not used: {message}",
                    package.name, package.installed
                )),
            }
            warnings.extend(self.let_down(package, replaced, markers));
        }
        if !hashed.is_empty() {
            warnings.push(format!(
                "packages of the base image are not used, because the inputs require hashes of \
                 them: {}",
                hashed.join(", ")
            ));
        }
        warnings
    }

    /// The installed packages that want another version of a replaced one. Like pip, the resolver
    /// does not consider them: nobody has asked for them.
    fn let_down(
        &self,
        replaced: &ReplacedPackage,
        all: &[ReplacedPackage],
        markers: &MarkerEnvironment,
    ) -> Vec<String> {
        let Ok(version) = Version::from_str(&replaced.version) else {
            return Vec::new();
        };
        let stays = |name: &PackageName| all.iter().all(|replaced| replaced.name != name.as_ref());
        let mut warnings = Vec::new();
        for (name, package) in self.usable.iter().filter(|(name, _)| stays(name)) {
            for requirement in &package.metadata.metadata.requires_dist {
                if requirement.name.as_ref() == replaced.name
                    && requirement.evaluate_markers(Some(markers), &[])
                    && let RequirementSource::Registry { specifier, .. } = &requirement.source
                    && !specifier.contains(&version)
                {
                    warnings.push(format!(
                        "{name} {} of the base image requires {}{specifier}, and gets {version}",
                        package.version, replaced.name
                    ));
                }
            }
        }
        warnings
    }
}

impl Package {
    /// Reads the metadata of a package, or says what is wrong with it.
    fn read(name: &PackageName, package: &InstalledPackage) -> Result<Self, String> {
        let metadata = ResolutionMetadata::parse_metadata(package.metadata.as_bytes())
            .map_err(|error| format!("its metadata can't be read: {}", chain(&error)))?;
        let same_version =
            Version::from_str(&package.version).is_ok_and(|version| version == metadata.version);
        if metadata.name != *name || !same_version {
            return Err(format!(
                "its metadata is that of {} {}",
                metadata.name, metadata.version
            ));
        }
        let dist = InstalledRegistryDist {
            name: name.clone(),
            version: metadata.version.clone(),
            path: Path::new(NOWHERE).join(name.as_ref()).into(),
            cache_info: None,
            build_info: None,
        };
        Ok(Self {
            dist: InstalledDist::from(InstalledDistKind::Registry(dist)),
            metadata: ArchiveMetadata::from_metadata23(metadata),
            version: package.version.clone(),
        })
    }
}

impl InstalledPackagesProvider for Installed {
    fn iter(&self) -> impl Iterator<Item = &InstalledDist> {
        self.usable.values().map(|package| &package.dist)
    }

    fn get_packages(&self, name: &PackageName) -> Vec<&InstalledDist> {
        let package = self.usable.get(name);
        package.map(|package| &package.dist).into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
