//! `[tool.uv]` of a pyproject.toml: which index, URL or file a requirement comes from, and what uv's
//! own resolution of the project would be held to.
//!
//! Follows uv's reference, sections Settings and Dependency sources. `[tool.uv.pip]` and uv.toml are
//! not read: they belong to the command line, or to the user, and not to the project.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use uv_distribution_types::{Index, IndexFormat, IndexMetadata, RequirementSource};
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep508::MarkerTree;
use uv_resolver::PrereleaseMode;
use uv_workspace::pyproject::{Source, Sources, WorkspaceReference};

use crate::error::{Error, NotAWheel, Place};
use crate::formats::FormatOption;
use crate::input::{Entry, Inputs};

/// The keys that mean something to a resolution for an image.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct ToolUv {
    sources: BTreeMap<PackageName, Spanned<Sources>>,
    index: Vec<Index>,
    pub(crate) constraint_dependencies: Vec<Spanned<String>>,
    pub(crate) override_dependencies: Vec<Spanned<String>>,
    exclude_dependencies: Vec<PackageName>,
    /// What `[dependency-groups] dev` was before there were groups.
    pub(crate) dev_dependencies: Vec<Spanned<toml::Value>>,
    index_url: Option<String>,
    extra_index_url: Vec<String>,
    find_links: Vec<String>,
    no_index: bool,
    prerelease: Option<PrereleaseMode>,
    no_binary: bool,
    no_binary_package: Vec<PackageName>,
    environments: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(MarkerTree),
    Many(Vec<MarkerTree>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// Keys by which uv would come to other pins, and which are not obeyed.
pub(crate) const NOT_OBEYED: [&str; 7] = [
    "dependency-metadata",
    "exclude-newer",
    "exclude-newer-package",
    "index-strategy",
    "keyring-provider",
    "prerelease-package",
    "resolution",
];

/// The extra or the group of the project that a requirement was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within<'a> {
    Project,
    Extra(&'a ExtraName),
    Group(&'a GroupName),
}

impl ToolUv {
    /// Adds all but the sources and requirements to `inputs`.
    pub(crate) fn settings(&self, path: &Path, inputs: &mut Inputs) -> Result<(), Error> {
        let directory = directory(path);
        let indexes = &mut inputs.index;
        for index in &self.index {
            let url = located(index, path)?;
            if index.explicit {
                indexes.explicit.push(url);
            } else if index.format == IndexFormat::Flat {
                inputs.find_links.push(url.clone());
                indexes.find_links.push(url);
            } else if !index.default {
                indexes.extra.push(url);
            } else if indexes.default.is_none() {
                indexes.default = Some(url);
            }
        }
        if indexes.default.is_none() {
            indexes.default.clone_from(&self.index_url);
        }
        indexes.extra.extend(self.extra_index_url.iter().cloned());
        let links = self.find_links.iter();
        let links = links.map(|it| absolute(it, &directory));
        indexes.find_links.extend(links);
        inputs.find_links.extend(self.find_links.iter().cloned());
        indexes.no_index |= self.no_index;
        let names = self.exclude_dependencies.iter();
        inputs.exclude.extend(names.map(ToString::to_string));
        inputs.pre_releases = inputs.pre_releases.or(self.prerelease);
        if self.no_binary {
            let all = FormatOption::NoBinary(":all:".to_owned());
            inputs.formats.push(all);
        }
        for name in &self.no_binary_package {
            inputs
                .formats
                .push(FormatOption::NoBinary(name.to_string()));
        }
        match &self.environments {
            OneOrMany::One(marker) => inputs.environments.push(*marker),
            OneOrMany::Many(markers) => inputs.environments.extend(markers),
        }
        Ok(())
    }

    /// What the sources make of a requirement that was found `within` a part of the project: one for
    /// each source that applies, and the requirement itself where none does. None where the package
    /// has no source.
    pub(crate) fn lower(
        &self,
        entry: &Entry,
        within: Within<'_>,
        path: &Path,
        text: &str,
    ) -> Result<Option<Vec<Entry>>, Error> {
        let Some(sources) = self.sources.get(&entry.requirement.name) else {
            return Ok(None);
        };
        let line = crate::pyproject::line(text, sources.span().start);
        let place = Place::File(path.to_owned(), Some(line));
        let applies = |source: &&Source| {
            source.extra().is_none_or(|it| within == Within::Extra(it))
                && source.group().is_none_or(|it| within == Within::Group(it))
        };
        let (mut lowered, mut covered) = (Vec::new(), MarkerTree::FALSE);
        for source in sources.get_ref().iter().filter(applies) {
            covered = covered.or(source.marker());
            let mut one = self.take_from(entry, source, path, &place)?;
            one.requirement.marker = entry.requirement.marker.and(source.marker());
            lowered.push(one);
        }
        let mut rest = entry.clone();
        rest.requirement.marker = entry.requirement.marker.and(covered.negate());
        lowered.push(rest);
        lowered.retain(|entry| !entry.requirement.marker.is_false());
        Ok(Some(lowered))
    }

    fn take_from(
        &self,
        entry: &Entry,
        source: &Source,
        path: &Path,
        place: &Place,
    ) -> Result<Entry, Error> {
        let mut entry = entry.clone();
        let at = |target: &str| {
            let text = format!("{} @ {target}", entry.named());
            Entry::parse(&text, &directory(path), place.clone())
        };
        match source {
            Source::Registry { index, .. } => {
                let mut known = self.index.iter();
                let Some(found) = known.find(|it| it.name.as_ref() == Some(index)) else {
                    return Err(Error::Invalid {
                        place: place.clone(),
                        message: format!(
                            "{} comes from the index `{index}`, and no [[tool.uv.index]] has that name",
                            entry.requirement.name
                        ),
                    });
                };
                let url = located(found, path)?;
                let from = IndexMetadata {
                    url: crate::uv::index_url(&url)?,
                    format: found.format,
                };
                if let RequirementSource::Registry { index, .. } = &mut entry.requirement.source {
                    *index = Some(from);
                }
                Ok(entry)
            }
            Source::Url { url, .. } => at(&url.displayable_with_credentials().to_string()),
            Source::Git { git, .. } => at(&format!("git+{}", git.displayable_with_credentials())),
            Source::Path { path, editable, .. } => {
                let mut entry = at(&path.to_string())?;
                if let RequirementSource::Directory { editable: own, .. } =
                    &mut entry.requirement.source
                {
                    *own = *editable;
                }
                Ok(entry)
            }
            Source::Workspace {
                workspace: WorkspaceReference::Bool(false),
                ..
            } => Ok(entry),
            Source::Workspace { .. } => {
                entry.refused = Some(NotAWheel::Member);
                Ok(entry)
            }
        }
    }
}

/// The URL of an index, with the credentials that uv would find for it: those of the variables
/// `UV_INDEX_NAME_USERNAME` and `UV_INDEX_NAME_PASSWORD`, else its own.
fn located(index: &Index, path: &Path) -> Result<String, Error> {
    let failed = |message: String| Error::IndexUrl {
        url: index.url.without_credentials().to_string(),
        message,
    };
    let index = index.clone().relative_to(&directory(path));
    let index = index.map_err(|error| failed(error.to_string()))?;
    let mut url = index.url.url().clone();
    let credentials = index
        .credentials()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(credentials) = credentials {
        let _ = url.set_username(credentials.username().unwrap_or_default());
        let _ = url.set_password(credentials.password());
    }
    Ok(url.displayable_with_credentials().to_string())
}

/// A path in the file at the project's directory is relative to that; a URL stands for itself.
fn absolute(location: &str, directory: &Path) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    directory.join(location).display().to_string()
}

/// The directory of a file, absolute.
pub(crate) fn directory(path: &Path) -> std::path::PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.parent().map(Path::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests;
