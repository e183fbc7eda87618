//! The dependencies that a pyproject.toml declares, with what `[tool.uv]` says of them.
//!
//! Follows the pyproject.toml specification, `[project]` table, and the dependency groups
//! specification. The project itself isn't built or installed.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;
use uv_normalize::{ExtraName, GroupName, PackageName};
use uv_pep440::VersionSpecifiers;
use uv_pep508::MarkerTree;

use crate::error::{Error, Place};
use crate::input::{Entry, Inputs, read_text, syntax};
use crate::tool_uv::{NOT_OBEYED, ToolUv, Within, directory};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    project: Option<Project>,
    #[serde(default)]
    dependency_groups: BTreeMap<String, Vec<Spanned<toml::Value>>>,
    #[serde(default)]
    tool: Tool,
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

#[derive(Deserialize, Default)]
struct Tool {
    #[serde(default)]
    uv: ToolUv,
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
    let uv = &document.tool.uv;
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
    inputs.requirements.append(&mut reader.found);
    for (texts, into) in [
        (&uv.constraint_dependencies, &mut inputs.constraints),
        (&uv.override_dependencies, &mut inputs.overrides),
    ] {
        for text in texts {
            into.push(reader.entry(text, MarkerTree::TRUE, Within::Project)?);
        }
    }
    uv.settings(path, inputs)?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
    let tool = table.get("tool").and_then(|tool| tool.get("uv"));
    for key in NOT_OBEYED {
        if tool.is_some_and(|uv| uv.get(key).is_some()) {
            let path = path.display();
            let warning = format!("{path}: [tool.uv] {key} has no effect");
            inputs.warnings.push(warning);
        }
    }
    Ok(())
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
            let within = &mut Vec::new();
            self.requirement(dependency, MarkerTree::TRUE, Within::Project, within)?;
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
        within.push(wanted.clone());
        for dependency in dependencies {
            self.requirement(dependency, marker, Within::Extra(&wanted), within)?;
        }
        within.pop();
        Ok(())
    }

    /// Adds a group's dependencies. `within` are the groups that include it.
    fn group(&mut self, name: &str, within: &mut Vec<GroupName>) -> Result<(), Error> {
        let document = self.document;
        let groups = document.groups();
        let known = || groups.keys().map(ToString::to_string).collect();
        let undefined = || self.undefined("dependency group", name, known());
        let wanted = GroupName::from_str(name).map_err(|_| undefined())?;
        let matches = |key: &str| GroupName::from_str(key).is_ok_and(|key| key == wanted);
        let mut items = groups.iter().filter(|(key, _)| matches(key)).peekable();
        items.peek().ok_or_else(undefined)?;
        let items = items.flat_map(|(_, items)| items.iter().copied());
        if within.contains(&wanted) {
            return Err(Error::Invalid {
                place: Place::File(self.path.to_owned(), None),
                message: format!("the dependency group `{name}` includes itself"),
            });
        }
        within.push(wanted.clone());
        for item in items {
            let included = item
                .get_ref()
                .get("include-group")
                .and_then(toml::Value::as_str);
            if let Some(text) = item.get_ref().as_str() {
                let text = Spanned::new(item.span(), text.to_owned());
                let part = Within::Group(&wanted);
                self.requirement(&text, MarkerTree::TRUE, part, &mut Vec::new())?;
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
        part: Within<'_>,
        within: &mut Vec<ExtraName>,
    ) -> Result<(), Error> {
        let entry = self.entry(text, marker, part)?;
        if self.is_own_name(&entry.requirement.name) {
            for extra in &entry.requirement.extras {
                self.extra(extra.as_ref(), entry.requirement.marker, within)?;
            }
        } else {
            self.found.push(entry);
        }
        Ok(())
    }

    /// Reads one requirement, with what `[tool.uv.sources]` makes of it.
    fn entry(
        &self,
        text: &Spanned<String>,
        marker: MarkerTree,
        part: Within<'_>,
    ) -> Result<Entry, Error> {
        let mut entry = Entry::parse(text.get_ref(), &directory(self.path), self.place(text))?;
        entry.requirement.marker = entry.requirement.marker.and(marker);
        let uv = &self.document.tool.uv;
        entry.lowered = uv.lower(&entry, part, self.path, self.text)?;
        Ok(entry)
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

impl Document {
    /// The items of the dependency groups, and of uv's older `dev-dependencies`.
    fn groups(&self) -> BTreeMap<&str, Vec<&Spanned<toml::Value>>> {
        let mut groups: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (name, items) in &self.dependency_groups {
            groups.entry(name).or_default().extend(items);
        }
        if let older @ [_, ..] = &self.tool.uv.dev_dependencies[..] {
            groups.entry("dev").or_default().extend(older);
        }
        groups
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
