//! How sources are built: the table `[build-system]` of their `pyproject.toml` (PEP 517, PEP 518).

use std::io;
use std::path::{Component, Path};

use serde::Deserialize;

use crate::error::{At, Error};

/// The backend of a project, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSystem {
    /// Requirements of the backend.
    pub requires: Vec<String>,
    /// `module`, or `module:object`.
    pub backend: String,
    /// Directories of the sources that the backend is looked for in.
    pub backend_path: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "build-system")]
    build_system: Option<Table>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    requires: Vec<String>,
    build_backend: Option<String>,
    #[serde(default)]
    backend_path: Vec<String>,
}

impl BuildSystem {
    /// What the sources in `directory`, which messages call `what`, say. Those that say nothing are
    /// built by setuptools, as they were before there was anything to say.
    pub fn read(directory: &Path, what: &str) -> Result<Self, Error> {
        let path = directory.join("pyproject.toml");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.at("read", &path)?,
        };
        Self::parse(&text).map_err(|message| Error::BuildSystem {
            what: what.to_owned(),
            message,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let document: Document =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let legacy = || "setuptools.build_meta:__legacy__".to_owned();
        let Some(table) = document.build_system else {
            return Ok(Self {
                requires: vec!["setuptools>=40.8.0".to_owned()],
                backend: legacy(),
                backend_path: Vec::new(),
            });
        };
        let leaves = |path: &&String| {
            let is_inside = |it| matches!(it, Component::Normal(_) | Component::CurDir);
            !Path::new(path.as_str()).components().all(is_inside)
        };
        if let Some(outside) = table.backend_path.iter().find(leaves) {
            return Err(format!("backend-path has `{outside}`, which leads outside"));
        }
        Ok(Self {
            requires: table.requires,
            backend: table.build_backend.unwrap_or_else(legacy),
            backend_path: table.backend_path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_setuptools() {
        let legacy = BuildSystem::parse("[project]\nname = 'x'\n").unwrap();
        assert_eq!(legacy.backend, "setuptools.build_meta:__legacy__");
        assert_eq!(legacy.requires, ["setuptools>=40.8.0"]);
        let without_backend = BuildSystem::parse("[build-system]\nrequires = ['a']\n").unwrap();
        assert_eq!(without_backend.backend, "setuptools.build_meta:__legacy__");
        assert_eq!(without_backend.requires, ["a"]);
    }

    #[test]
    fn faults_are_told() {
        for (text, expected) in [
            (
                "[build-system]\nbuild-backend = 'x'\n",
                "missing field `requires`",
            ),
            (
                "[build-system]\nrequires = []\nbackend-path = ['../x']\n",
                "leads outside",
            ),
            (
                "[build-system]\nrequires = []\nbackend-path = ['/x']\n",
                "leads outside",
            ),
            ("[", "TOML parse error"),
        ] {
            let told = BuildSystem::parse(text).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }
}
