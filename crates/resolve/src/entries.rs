//! Entries: the requirements of a request as uv's resolver wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use uv_configuration::{Constraints, Excludes, HashCheckingMode, Overrides};
use uv_distribution_filename::DistExtension;
use uv_distribution_types::{Requirement, RequirementSource, UnresolvedRequirement};
use uv_normalize::PackageName;
use uv_pep508::MarkerEnvironment;
use uv_pypi_types::ResolverMarkerEnvironment;
use uv_requirements_txt::{RequirementEntry, RequirementsTxtRequirement};
use uv_resolver::{Exclusions, Manifest, Preference, Preferences};
use uv_types::HashStrategy;

use crate::diagnose;
use crate::error::{Error, NotAWheel, Place};
use crate::input::{Entry, Inputs};
use crate::request::Request;
use crate::sdists::Sdists;
use crate::uv::environment;

/// The requirements of the inputs and of the request itself.
pub(crate) struct Entries {
    pub(crate) requirements: Vec<Entry>,
    pub(crate) constraints: Vec<Entry>,
    overrides: Vec<Entry>,
    exclude: Vec<PackageName>,
}

impl Entries {
    pub(crate) fn gather(request: &Request, inputs: &Inputs) -> Result<Self, Error> {
        let parse = |texts: &[String]| -> Result<Vec<Entry>, Error> {
            let directory = &request.directory;
            let parse = |text: &String| Entry::parse(text, directory, Place::Given(text.clone()));
            texts.iter().map(parse).collect()
        };
        // What the request says of a package wins over what its project says.
        let lowered = |entries: &[Entry]| -> Vec<Entry> {
            let is_set = |it: &Entry| request.sources.contains_key(it.requirement.name.as_ref());
            let of = |entry: &Entry| {
                if is_set(entry) {
                    vec![entry.clone()]
                } else {
                    entry.lowered().to_vec()
                }
            };
            entries.iter().flat_map(of).collect()
        };
        let mut constraints = lowered(&inputs.constraints);
        constraints.extend(parse(&request.constraints)?);
        let mut overrides = parse(&request.overrides)?;
        let own: BTreeSet<_> = overrides.iter().map(Entry::named).collect();
        let theirs = lowered(&inputs.overrides).into_iter();
        overrides.extend(theirs.filter(|it| !own.contains(&it.named())));
        let mut exclude = inputs.exclude.clone();
        exclude.extend(request.exclude.iter().cloned());
        Ok(Self {
            requirements: lowered(&inputs.requirements),
            constraints,
            overrides,
            exclude: exclude
                .iter()
                .map(|name| package_name(name))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Refuses what is no wheel, unless its marker excludes it anyway, or something else stands for it.
    pub(crate) fn check(&self, markers: &MarkerEnvironment, sdists: &Sdists) -> Result<(), Error> {
        let overridden: BTreeSet<_> = self
            .overrides
            .iter()
            .map(|entry| &entry.requirement.name)
            .collect();
        let requirements = self.requirements.iter();
        let requirements = requirements.filter(|it| !overridden.contains(&it.requirement.name));
        for entry in requirements.chain(&self.overrides) {
            if !entry.requirement.evaluate_markers(Some(markers), &[])
                || self.exclude.contains(&entry.requirement.name)
            {
                continue;
            }
            if let RequirementSource::Path { install_path, .. }
            | RequirementSource::Directory { install_path, .. } = &entry.requirement.source
                && !install_path.exists()
            {
                return Err(Error::MissingFile {
                    path: install_path.to_path_buf(),
                });
            }
            let kind = match &entry.requirement.source {
                RequirementSource::Registry { .. } if entry.refused.is_some() => NotAWheel::Member,
                RequirementSource::Registry { .. }
                | RequirementSource::Url {
                    ext: DistExtension::Wheel,
                    ..
                }
                | RequirementSource::Path {
                    ext: DistExtension::Wheel,
                    ..
                } => continue,
                RequirementSource::Url { .. } | RequirementSource::Path { .. }
                    if sdists.allow(&entry.requirement.name) =>
                {
                    continue;
                }
                RequirementSource::Url { .. } | RequirementSource::Path { .. } => {
                    NotAWheel::Archive
                }
                RequirementSource::GitDirectory { .. } | RequirementSource::GitPath { .. } => {
                    NotAWheel::Repository
                }
                RequirementSource::Directory {
                    editable: Some(true),
                    ..
                } => NotAWheel::Editable,
                RequirementSource::Directory { .. } => NotAWheel::Directory,
            };
            return Err(Error::NotAWheel {
                requirement: entry.text(),
                kind,
            });
        }
        Ok(())
    }

    /// The requirements, constraints and overrides that hold on the target.
    pub(crate) fn holding(&self, markers: &MarkerEnvironment) -> impl Iterator<Item = &Entry> {
        self.requirements
            .iter()
            .chain(&self.constraints)
            .chain(&self.overrides)
            .filter(|entry| entry.requirement.evaluate_markers(Some(markers), &[]))
    }

    /// The packages that have hashes to check.
    pub(crate) fn hashed(&self, markers: &MarkerEnvironment) -> BTreeSet<&PackageName> {
        self.holding(markers)
            .filter(|entry| !entry.hashes.is_empty())
            .map(|entry| &entry.requirement.name)
            .collect()
    }

    pub(crate) fn manifest(
        &self,
        request: &Request,
        markers: &MarkerEnvironment,
    ) -> Result<Manifest, Error> {
        let plain = |entries: &[Entry]| -> Vec<Requirement> {
            entries
                .iter()
                .map(|entry| entry.requirement.clone())
                .collect()
        };
        Ok(Manifest::new(
            plain(&self.requirements),
            Constraints::from_requirements(plain(&self.constraints).into_iter()),
            Overrides::from_requirements(plain(&self.overrides)),
            self.exclude.iter().cloned().collect::<Excludes>(),
            preferences(&request.prefer, markers)?,
            None,
            BTreeSet::new(),
            Exclusions::default(),
            Vec::new(),
        ))
    }

    pub(crate) fn free(&self, request: &Request) -> Result<Vec<PackageName>, Error> {
        let overridden = self
            .overrides
            .iter()
            .map(|entry| Ok(entry.requirement.name.clone()));
        let allowed = request
            .allow_downgrade
            .iter()
            .map(|name| package_name(name));
        overridden.chain(allowed).collect()
    }

    pub(crate) fn hasher(
        &self,
        request: &Request,
        inputs: &Inputs,
        markers: &MarkerEnvironment,
    ) -> Result<HashStrategy, Error> {
        let mode = if inputs.require_hashes || request.require_hashes {
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
            requirements
                .iter()
                .map(|(requirement, hashes)| (requirement, *hashes)),
            self.constraints
                .iter()
                .map(|entry| (&entry.requirement, entry.hashes.as_slice())),
            Some(&ResolverMarkerEnvironment::from(markers.clone())),
            mode,
        )
        .map_err(|error| Error::Hashes {
            message: diagnose::chain(&error),
        })
    }
}

pub(crate) fn package_name(name: &str) -> Result<PackageName, Error> {
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
        let invalid = |message: String| Error::Invalid {
            place: Place::Given(text.clone()),
            message,
        };
        let requirement = RequirementsTxtRequirement::parse(&text, Path::new("/"), false)
            .map_err(|error| invalid(error.message.to_string()))?;
        let entry = RequirementEntry {
            requirement,
            hashes: Vec::new(),
        };
        let preference =
            Preference::from_entry(entry).map_err(|error| invalid(error.to_string()))?;
        preferences.extend(preference);
    }
    Ok(Preferences::from_iter(preferences, &environment(markers)))
}
