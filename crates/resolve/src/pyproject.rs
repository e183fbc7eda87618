//! The dependencies that a pyproject.toml declares.
//!
//! Follows the pyproject.toml specification, `[project]` table, and the dependency groups
//! specification. The project itself isn't built or installed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep440::VersionSpecifiers;
use uv_pep508::MarkerTree;

use crate::error::{Error, Place};
use crate::input::{Entry, Inputs, read_text, syntax};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    project: Option<Project>,
    #[serde(default)]
    dependency_groups: BTreeMap<String, Vec<Spanned<toml::Value>>>,
    tool: Option<Tool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Project {
    name: Option<String>,
    requires_python: Option<Spanned<String>>,
    #[serde(default)]
    dynamic: Vec<String>,
    #[serde(default)]
    dependencies: Vec<Spanned<String>>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
struct Tool {
    uv: Option<ToolUv>,
}

#[derive(Deserialize)]
struct ToolUv {
    sources: Option<toml::Table>,
}

/// Adds the dependencies of the project at `path`, of its `extras` and of its `groups`.
pub(crate) fn read(
    path: &Path,
    extras: &[String],
    groups: &[String],
    inputs: &mut Inputs,
) -> Result<(), Error> {
    let text = read_text(path)?;
    let document: Document = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
    let mut reader = Reader {
        path,
        text: &text,
        document: &document,
        found: Vec::new(),
    };
    reader.project(extras, inputs)?;
    for group in groups {
        reader.group(group, &mut Vec::new())?;
    }
    let names: BTreeSet<String> = reader
        .found
        .iter()
        .map(|entry| entry.requirement.name.to_string())
        .collect();
    inputs.requirements.append(&mut reader.found);
    for name in document.uv_sources() {
        if names.contains(&name) {
            let path = path.display();
            inputs
                .warnings
                .push(format!("{path}: [tool.uv.sources] has no effect on {name}"));
        }
    }
    Ok(())
}

impl Document {
    fn uv_sources(&self) -> impl Iterator<Item = String> {
        let tool = self.tool.as_ref().and_then(|tool| tool.uv.as_ref());
        let sources = tool.and_then(|uv| uv.sources.as_ref());
        sources
            .into_iter()
            .flat_map(toml::Table::keys)
            .filter_map(|name| PackageName::from_str(name).ok())
            .map(|name| name.to_string())
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    document: &'a Document,
    found: Vec<Entry>,
}

impl Reader<'_> {
    fn project(&mut self, extras: &[String], inputs: &mut Inputs) -> Result<(), Error> {
        let Some(project) = &self.document.project else {
            return match extras.first() {
                Some(extra) => Err(self.undefined("extra", extra, Vec::new())),
                None => Ok(()),
            };
        };
        if let Some(field) = project.dynamic_field(!extras.is_empty()) {
            return Err(Error::Invalid {
                place: Place::File(self.path.to_owned(), None),
                message: format!("`{field}` is dynamic: only a build of the project could tell it"),
            });
        }
        if let Some(requires) = &project.requires_python {
            let specifiers = VersionSpecifiers::from_str(requires.get_ref()).map_err(|_| {
                let message = format!("`{}` is no version specifier", requires.get_ref());
                self.invalid(requires, message)
            })?;
            inputs
                .requires_python
                .push((self.path.to_owned(), specifiers));
        }
        for dependency in &project.dependencies {
            self.requirement(dependency, MarkerTree::TRUE, &mut Vec::new())?;
        }
        for extra in extras {
            self.extra(extra, MarkerTree::TRUE, &mut Vec::new())?;
        }
        Ok(())
    }

    /// Adds an extra's dependencies. `within` are the extras that it is being expanded for.
    fn extra(
        &mut self,
        name: &str,
        marker: MarkerTree,
        within: &mut Vec<ExtraName>,
    ) -> Result<(), Error> {
        let extras = self
            .document
            .project
            .as_ref()
            .map(|project| &project.optional_dependencies);
        let known = || {
            extras
                .into_iter()
                .flat_map(BTreeMap::keys)
                .cloned()
                .collect()
        };
        let undefined = || self.undefined("extra", name, known());
        let wanted = ExtraName::from_str(name).map_err(|_| undefined())?;
        let matches = |key: &str| ExtraName::from_str(key).is_ok_and(|key| key == wanted);
        let (_, dependencies) = extras
            .and_then(|extras| extras.iter().find(|(key, _)| matches(key)))
            .ok_or_else(undefined)?;
        if within.contains(&wanted) {
            return Ok(());
        }
        within.push(wanted);
        for dependency in dependencies {
            self.requirement(dependency, marker, within)?;
        }
        within.pop();
        Ok(())
    }

    /// Adds a group's dependencies. `within` are the groups that include it.
    fn group(&mut self, name: &str, within: &mut Vec<GroupName>) -> Result<(), Error> {
        let groups = &self.document.dependency_groups;
        let undefined =
            || self.undefined("dependency group", name, groups.keys().cloned().collect());
        let wanted = GroupName::from_str(name).map_err(|_| undefined())?;
        let matches = |key: &str| GroupName::from_str(key).is_ok_and(|key| key == wanted);
        let (_, items) = groups
            .iter()
            .find(|(key, _)| matches(key))
            .ok_or_else(undefined)?;
        if within.contains(&wanted) {
            return Err(Error::Invalid {
                place: Place::File(self.path.to_owned(), None),
                message: format!("the dependency group `{name}` includes itself"),
            });
        }
        within.push(wanted);
        for item in items {
            let included = item
                .get_ref()
                .get("include-group")
                .and_then(toml::Value::as_str);
            if let Some(text) = item.get_ref().as_str() {
                let text = Spanned::new(item.span(), text.to_owned());
                self.requirement(&text, MarkerTree::TRUE, &mut Vec::new())?;
            } else if let Some(included) = included {
                self.group(included, within)?;
            } else {
                let expected = "expected a requirement or `{include-group = \"…\"}`".to_owned();
                return Err(self.invalid(item, expected));
            }
        }
        within.pop();
        Ok(())
    }

    /// Adds one requirement, or what it stands for where it names the project's own extras.
    fn requirement(
        &mut self,
        text: &Spanned<String>,
        marker: MarkerTree,
        within: &mut Vec<ExtraName>,
    ) -> Result<(), Error> {
        let directory = std::path::absolute(self.path)
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_default();
        let mut entry = Entry::parse(text.get_ref(), &directory, self.place(text))?;
        entry.requirement.marker = entry.requirement.marker.and(marker);
        if self.is_own_name(&entry.requirement.name) {
            for extra in &entry.requirement.extras {
                self.extra(extra.as_ref(), entry.requirement.marker, within)?;
            }
        } else {
            self.found.push(entry);
        }
        Ok(())
    }

    fn is_own_name(&self, name: &PackageName) -> bool {
        let own = self
            .document
            .project
            .as_ref()
            .and_then(|project| project.name.as_deref());
        own.is_some_and(|own| PackageName::from_str(own).is_ok_and(|own| own == *name))
    }

    fn place<T>(&self, text: &Spanned<T>) -> Place {
        Place::File(
            self.path.to_owned(),
            Some(line(self.text, text.span().start)),
        )
    }

    fn invalid<T>(&self, text: &Spanned<T>, message: String) -> Error {
        Error::Invalid {
            place: self.place(text),
            message,
        }
    }

    fn undefined(&self, kind: &'static str, name: &str, known: Vec<String>) -> Error {
        Error::Undefined {
            path: self.path.to_owned(),
            kind,
            name: name.to_owned(),
            known,
        }
    }
}

impl Project {
    fn dynamic_field(&self, with_extras: bool) -> Option<&'static str> {
        let fields: &[&str] = if with_extras {
            &["dependencies", "optional-dependencies"]
        } else {
            &["dependencies"]
        };
        fields
            .iter()
            .copied()
            .find(|&field| self.dynamic.iter().any(|name| name == field))
    }
}

/// The line, counted from 1, in which the byte at `position` is.
pub(crate) fn line(text: &str, position: usize) -> usize {
    text.get(..position)
        .map_or(1, |before| before.matches('\n').count() + 1)
}
