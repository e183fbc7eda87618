//! `oxcart.toml`, or `[tool.oxcart]` of `pyproject.toml`, as it is written: tables and keys, not yet
//! checked against one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::diagnostics::{Failure, IoContext, nearest};

/// The whole document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Document {
    pub(crate) image: ImageTable,
    pub(crate) python: PythonTable,
    pub(crate) dependencies: DependenciesTable,
    pub(crate) platform: BTreeMap<String, PlatformTable>,
    pub(crate) profile: BTreeMap<String, ProfileTable>,
    pub(crate) system: SystemTable,
    pub(crate) debian: DebianTable,
    pub(crate) app: Vec<AppTable>,
    pub(crate) config: ConfigTable,
}

/// `[image]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ImageTable {
    pub(crate) name: Option<String>,
    pub(crate) platforms: Option<Vec<String>>,
    pub(crate) base: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// `splice` (default), `zstd:LEVEL` or `gzip:LEVEL`.
    pub(crate) compression: Option<String>,
    /// Repositories that may have layers, besides the image's own.
    pub(crate) cache_from: Vec<String>,
    /// Layer budget, base included.
    pub(crate) max_layers: Option<usize>,
}

/// `[python]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct PythonTable {
    pub(crate) version: Option<String>,
    pub(crate) venv: Option<String>,
}

/// `[dependencies]`, `[platform.P.dependencies]`, `[profile.N.dependencies]`, …
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the keys of a table are independent of each other"
)]
pub(crate) struct DependenciesTable {
    pub(crate) requirements: Vec<PathBuf>,
    pub(crate) packages: Vec<String>,
    pub(crate) pyproject: bool,
    /// A `uv.lock` or `pylock.toml`, instead of the three above.
    pub(crate) lock: Option<PathBuf>,
    pub(crate) extras: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) only_binary: Vec<String>,
    pub(crate) no_binary: Vec<String>,
    /// Any wheel that fits is better than any sdist.
    pub(crate) prefer_binary: bool,
    /// Packages that may be built from sdists, or `:all:`.
    pub(crate) build_from_source: Vec<String>,
    /// How the project itself is installed; files of it are `[[app]]` tables' affair.
    pub(crate) project: Option<InstallProject>,
    /// Requirements, or files of them, that limit versions.
    pub(crate) constraints: Vec<String>,
    /// Requirements that replace those of the same name.
    pub(crate) overrides: Vec<String>,
    /// Packages that are left out.
    pub(crate) exclude: Vec<String>,
    pub(crate) pre_releases: bool,
    pub(crate) require_hashes: bool,
    /// The URL of the index that a package comes from.
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) index: Option<String>,
    pub(crate) extra_indexes: Vec<String>,
    pub(crate) find_links: Vec<String>,
    pub(crate) versions: Versions,
    /// Packages that may be large, with what they need.
    pub(crate) allow_large: Allowed,
    /// Packages that may differ between platforms: in version, or in being there at all.
    pub(crate) allow_divergence: Allowed,
    /// Packages that may need others on each platform, being of one version.
    pub(crate) allow_other_needs: Allowed,
    /// Packages that may end at an old version because newer ones have no wheel.
    pub(crate) allow_downgrade: Vec<String>,
    /// Package name to what a faulty RECORD means.
    pub(crate) record: BTreeMap<String, Record>,
    /// Packages of the base's environment count as installed.
    pub(crate) reuse_base: bool,
}

/// Packages that nothing is said of: `["torch"]`, or `true` for all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected names of packages, or true for all")]
pub(crate) enum Allowed {
    All(bool),
    Named(Vec<String>),
}

impl Default for Allowed {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Allowed {
    pub(crate) fn has(&self, package: &str) -> bool {
        match self {
            Self::All(all) => *all,
            Self::Named(names) => names.iter().any(|name| name == package),
        }
    }
}

/// Whether platforms agree on versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Versions {
    /// They do, where one version exists for all.
    #[default]
    Aligned,
    /// Each has its own.
    Independent,
}

/// How the project itself is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InstallProject {
    /// As the wheel that its build backend makes.
    Wheel,
}

/// What a faulty RECORD of a wheel means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Record {
    Error,
    Warn,
}

/// `[platform."linux/arm64"]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct PlatformTable {
    pub(crate) dependencies: Option<DependenciesTable>,
    pub(crate) debian: Option<MirrorTable>,
}

/// `[profile.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ProfileTable {
    pub(crate) dependencies: Option<DependenciesTable>,
    pub(crate) platform: BTreeMap<String, PlatformTable>,
    pub(crate) platforms: Option<Vec<String>>,
    pub(crate) system: Option<SystemTable>,
}

/// `[system]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct SystemTable {
    pub(crate) packages: Vec<String>,
}

/// `[debian]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct DebianTable {
    pub(crate) mirror: Option<String>,
    pub(crate) security_mirror: Option<String>,
    pub(crate) keyring: Option<PathBuf>,
    pub(crate) accept_expired: bool,
    pub(crate) keep_docs: bool,
    pub(crate) suite: Option<String>,
    pub(crate) components: Option<Vec<String>>,
    /// Package name to its one version.
    pub(crate) pin: BTreeMap<String, String>,
    pub(crate) repository: Vec<RepositoryTable>,
}

/// `[platform."linux/arm64".debian]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct MirrorTable {
    pub(crate) mirror: Option<String>,
    pub(crate) security_mirror: Option<String>,
}

/// `[[debian.repository]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RepositoryTable {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) suite: String,
    pub(crate) components: Option<Vec<String>>,
    pub(crate) keyring: Option<PathBuf>,
    pub(crate) packages: Option<Vec<String>>,
}

/// `[[app]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AppTable {
    pub(crate) source: PathBuf,
    pub(crate) destination: String,
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
}

/// `[config]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ConfigTable {
    pub(crate) user: Option<String>,
    pub(crate) workdir: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) expose: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) stop_signal: Option<String>,
}

/// Finds and reads the configuration of the project in `directory`: the document and its file.
pub(crate) fn read(directory: &Path) -> Result<(Document, PathBuf), Failure> {
    let own = directory.join("oxcart.toml");
    if own.is_file() {
        let text = std::fs::read_to_string(&own).at("read", &own)?;
        let document = toml::from_str(&text).map_err(|error| syntax(&own, &error))?;
        return Ok((document, own));
    }
    let shared = directory.join("pyproject.toml");
    if shared.is_file() {
        let text = std::fs::read_to_string(&shared).at("read", &shared)?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| syntax(&shared, &error))?;
        let tool = table.get("tool").and_then(|tool| tool.get("oxcart"));
        if let Some(tool) = tool {
            let document =
                Document::deserialize(tool.clone()).map_err(|error| syntax(&shared, &error))?;
            return Ok((document, shared));
        }
    }
    Err(
        Failure::new(format!("no oxcart.toml in {}", directory.display()))
            .hint("`oxcart init` writes one from what is there; --project names another directory"),
    )
}

/// What pyproject.toml's `[project]` says that people read, by the last part of the annotation for it.
pub(crate) fn described(directory: &Path) -> Result<Vec<(&'static str, String)>, Failure> {
    let path = directory.join("pyproject.toml");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path).at("read", &path)?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| syntax(&path, &error))?;
    let Some(project) = table.get("project") else {
        return Ok(Vec::new());
    };
    let text = |value: Option<&toml::Value>| Some(value?.as_str()?.to_owned());
    // PEP 621's table form, besides the expression of PEP 639.
    let license = project.get("license");
    let license = text(license).or_else(|| text(license?.get("text")));
    let urls = project.get("urls").and_then(toml::Value::as_table);
    // "Well-known Project URLs" of the packaging specifications: letters count, case does not.
    let url = |names: &[&str]| {
        let found = urls?.iter().find(|(label, _)| {
            let label: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
            names.contains(&label.to_lowercase().as_str())
        });
        text(Some(found?.1))
    };
    Ok([
        ("description", text(project.get("description"))),
        ("licenses", license),
        (
            "source",
            url(&["source", "repository", "sourcecode", "github"]),
        ),
        ("url", url(&["homepage"])),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect())
}

/// A message that names the file and the line, with the nearest key for an unknown one.
fn syntax(file: &Path, error: &toml::de::Error) -> Failure {
    let failure = Failure::new(format!("{} is not valid", file.display()));
    let message = error.message();
    let failure = match unknown_key(message) {
        Some((key, known)) => failure.hint(match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        }),
        None => failure,
    };
    failure.caused_by(anyhow::anyhow!("{}", error.to_string().trim_end()))
}

/// The key and the known ones out of serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("oxcart.toml"), text).unwrap();
        let failure = read(directory.path()).unwrap_err();
        let hint = format!("{failure:?}");
        hint.split("hint: ")
            .nth(1)
            .unwrap()
            .split(", source")
            .next()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_one() {
        assert_eq!(
            fault("[image]\nplatfroms = []\n"),
            r#"Some("did you mean `platforms`?")"#
        );
        assert_eq!(
            fault("[dependecies]\n"),
            r#"Some("did you mean `dependencies`?")"#
        );
        assert!(fault("[config]\nzzzzzz = 1\n").contains("known here: user, workdir"));
    }

    #[test]
    fn a_project_describes_itself() {
        let directory = tempfile::tempdir().unwrap();
        let check = |text: &str, expected: &[(&str, &str)]| {
            std::fs::write(directory.path().join("pyproject.toml"), text).unwrap();
            let found = described(directory.path()).unwrap();
            let found: Vec<_> = found
                .iter()
                .map(|(name, it)| (*name, it.as_str()))
                .collect();
            assert_eq!(found, expected, "{text}");
        };
        check("[tool.x]\n", &[]);
        check(
            "[project]\nname = 'x'\ndescription = 'An x'\nlicense = 'MIT'\n[project.urls]\n'Source Code' = 'https://x.test/x'\n",
            &[
                ("description", "An x"),
                ("licenses", "MIT"),
                ("source", "https://x.test/x"),
            ],
        );
        check(
            "[project]\nlicense = { text = 'BSD' }\n",
            &[("licenses", "BSD")],
        );
        check("[project]\nlicense = { file = 'LICENSE' }\nurls = 3\n", &[]);
    }

    #[test]
    fn pyproject_may_hold_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pyproject.toml");
        std::fs::write(
            &file,
            "[project]\nname = 'x'\n[tool.oxcart.image]\nname = 'r/x'\n",
        )
        .unwrap();
        let (document, found) = read(directory.path()).unwrap();
        assert_eq!((document.image.name.as_deref(), found), (Some("r/x"), file));
    }
}
