//! What inputs say against the metadata of packages: requirements that are replaced or left out.

use std::str::FromStr;

use serde::Deserialize;
use uv_normalize::PackageName;

use crate::input::{Entry, Inputs};
use crate::locked::Document;

/// Requirements of packages that hold no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The package that has them; None for all that do.
    of: Option<PackageName>,
    /// The package that they are on; None for all.
    on: Option<PackageName>,
    /// What says so: `override numpy==2.0 of uv.lock`.
    by: String,
}

impl Replaced {
    /// Whether it is about what `owner` requires of `subject`, two packages by name.
    pub fn covers(&self, owner: &str, subject: &str) -> bool {
        let is = |wanted: &Option<PackageName>, name: &str| {
            let name = PackageName::from_str(name).ok();
            wanted.is_none() || *wanted == name
        };
        is(&self.of, owner) && is(&self.on, subject)
    }

    /// What says so: `override numpy==2.0 of uv.lock`.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// By an override or exclusion, of any package.
    fn named(kind: &str, name: &PackageName, text: &str, place: &str) -> Self {
        Self {
            of: None,
            on: Some(name.clone()),
            by: format!("{kind} {text}{place}"),
        }
    }

    /// The same that a project states itself: `overrides` and `exclude`.
    pub fn stated(overrides: &[String], exclude: &[String]) -> Vec<Self> {
        let all = [("override", overrides), ("exclude", exclude)];
        all.into_iter()
            .flat_map(|(kind, texts)| texts.iter().map(move |text| (kind, text)))
            .filter_map(|(kind, text)| {
                let is_end = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.');
                let name = PackageName::from_str(text.split(is_end).next()?).ok()?;
                // A URL may have credentials.
                let text = text.split('@').next()?.trim_end();
                Some(Self::named(kind, &name, text, ""))
            })
            .collect()
    }
}

impl Inputs {
    /// What these inputs replace: `[tool.uv]` of pyproject.toml, and the manifest of a uv.lock.
    pub fn replaced(&self) -> Vec<Replaced> {
        let overridden = self.overrides.iter().map(|entry: &Entry| {
            let place = " of [tool.uv]";
            Replaced::named("override", &entry.requirement.name, &entry.text(), place)
        });
        let excluded = self.exclude.iter().filter_map(|name| {
            let parsed = PackageName::from_str(name).ok()?;
            Some(Replaced::named("exclude", &parsed, name, " of [tool.uv]"))
        });
        let locked = self.lock.iter().flat_map(|lock| match &lock.document {
            Document::Uv(document) => document.replaced(),
            Document::Pylock(_) => Vec::new(),
        });
        overridden.chain(excluded).chain(locked).collect()
    }
}

/// What uv.lock's manifest says of it. Each may be for one package alone (uv's
/// `{ package = { name = "…" }, dependencies = […] }`).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct OfManifest {
    overrides: Vec<Stated>,
    excludes: Vec<Stated>,
    dependency_metadata: Vec<Named>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Stated {
    Name(PackageName),
    Of {
        package: Named,
        dependencies: Vec<Stated>,
    },
    On(Named),
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    name: PackageName,
    specifier: Option<String>,
}

impl OfManifest {
    pub(crate) fn replaced(&self) -> Vec<Replaced> {
        let mut all = Vec::new();
        for (kind, stated) in [("override", &self.overrides), ("exclude", &self.excludes)] {
            for stated in stated {
                stated.collect(kind, None, &mut all);
            }
        }
        all.extend(self.dependency_metadata.iter().map(|it| Replaced {
            of: Some(it.name.clone()),
            on: None,
            by: format!("dependency-metadata {} of uv.lock", it.name),
        }));
        all
    }
}

impl Stated {
    fn collect(&self, kind: &str, of: Option<&PackageName>, into: &mut Vec<Replaced>) {
        let (name, specifier) = match self {
            Self::Name(name) => (name, ""),
            Self::On(named) => (&named.name, named.specifier.as_deref().unwrap_or_default()),
            Self::Of {
                package,
                dependencies,
            } => {
                for it in dependencies {
                    it.collect(kind, Some(&package.name), into);
                }
                return;
            }
        };
        let text = format!("{name}{specifier}");
        into.push(Replaced {
            of: of.cloned(),
            ..Replaced::named(kind, name, &text, " of uv.lock")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(replaced: Vec<Replaced>) -> Vec<String> {
        let name = |name: Option<PackageName>| name.map_or("*".to_owned(), |it| it.to_string());
        let lines = replaced.into_iter();
        lines
            .map(|it| format!("{} -> {}: {}", name(it.of), name(it.on), it.by))
            .collect()
    }

    #[test]
    fn of_a_project() {
        let overrides = [
            "Num_Py==2.0".to_owned(),
            "x @ https://u:p@h/x.whl".to_owned(),
        ];
        let found = Replaced::stated(&overrides, &["gone".to_owned(), "!".to_owned()]);
        assert_eq!(
            shown(found),
            [
                "* -> num-py: override Num_Py==2.0",
                "* -> x: override x",
                "* -> gone: exclude gone"
            ]
        );
    }

    #[test]
    fn of_a_manifest() {
        let manifest: OfManifest = toml::from_str(
            r#"
            overrides = [
                { name = "numpy", specifier = "==2.0" },
                { name = "local", path = "dist/local.whl" },
                { package = { name = "of" }, dependencies = [{ name = "one", specifier = ">1" }] },
            ]
            excludes = ["gone", { package = { name = "of", version = "1" }, dependencies = ["two"] }]
            dependency-metadata = [{ name = "old", version = "1.0", requires-dist = ["x>=1"] }]
            "#,
        )
        .unwrap();
        assert_eq!(
            shown(manifest.replaced()),
            [
                "* -> numpy: override numpy==2.0 of uv.lock",
                "* -> local: override local of uv.lock",
                "of -> one: override one>1 of uv.lock",
                "* -> gone: exclude gone of uv.lock",
                "of -> two: exclude two of uv.lock",
                "old -> *: dependency-metadata old of uv.lock",
            ]
        );
    }

    #[test]
    fn what_is_covered() {
        let name = |text: &str| PackageName::from_str(text).unwrap();
        let one = Replaced {
            of: Some(name("of")),
            on: Some(name("one")),
            by: String::new(),
        };
        assert!(one.covers("Of", "one"));
        assert!(!one.covers("other", "one"));
        assert!(!one.covers("of", "two"));
    }
}
