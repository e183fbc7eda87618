//! Where a Python may be, in the order in which a container would find it.

use std::collections::BTreeMap;

use crate::interest::executable;
use crate::path;
use crate::view::View;

/// `PATH` of a container whose image sets none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How many executables are looked at. Images have about ten.
const MAX_CANDIDATES: usize = 1000;

/// Directories that are looked into first when `PATH` has no more.
const USUAL: [&str; 5] = [
    "usr/local/bin",
    "usr/bin",
    "opt/venv/bin",
    "app/.venv/bin",
    "opt/conda/bin",
];

/// The environment variables of an image's config.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// From `NAME=value` each; the last of one name counts.
    pub(crate) fn new(env: &[String]) -> Self {
        let pairs = env.iter().filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Paths of executables, the likeliest first. Those in `PATH` need not exist. Some may come twice.
pub(crate) fn candidates(view: &View, variables: &Variables) -> Vec<String> {
    let search = variables.get("PATH").unwrap_or(PATH);
    let directories: Vec<String> = search.split(':').filter_map(path::relative).collect();
    let mut found = Vec::new();
    for directory in &directories {
        found.extend(["python3", "python"].map(|name| path::join(directory, name)));
    }
    for directory in &directories {
        found.extend(versioned(view, directory));
    }
    if let Some(environment) = variables.get("VIRTUAL_ENV").and_then(path::relative) {
        found.push(path::join(&environment, "bin/python3"));
        found.push(path::join(&environment, "bin/python"));
    }
    let others = view.paths().filter(|path| {
        let (directory, name) = path::split(path);
        path::name(directory) == "bin"
            && executable(name).is_some()
            && !directory.starts_with("usr/lib/debug/")
    });
    let mut others: Vec<&str> = others.collect();
    let rank = |path: &str| {
        let directory = path::parent(path);
        let usual = USUAL.iter().position(|usual| *usual == directory);
        usual.unwrap_or(USUAL.len())
    };
    others.sort_by_key(|path| rank(path));
    found.extend(others.into_iter().map(str::to_owned));
    found.truncate(MAX_CANDIDATES);
    found
}

/// `python3.N` in a directory, the newest first.
fn versioned(view: &View, directory: &str) -> Vec<String> {
    let real = view.resolve(directory).unwrap_or_default();
    let names = view.names_in(&real).into_iter();
    let mut versions: Vec<(u32, &str)> = names
        .filter_map(|name| Some((executable(name)?.minor?, name)))
        .collect();
    versions.sort_by_key(|(minor, _)| std::cmp::Reverse(*minor));
    let paths = versions
        .into_iter()
        .map(|(_, name)| path::join(directory, name));
    paths.collect()
}

/// What pyenv would run for its script at `path`.
pub(crate) fn behind_shim(view: &View, variables: &Variables, path: &str) -> Option<String> {
    let root = path
        .strip_suffix(path::name(path))?
        .strip_suffix("/shims/")?;
    let chosen = variables
        .get("PYENV_VERSION")
        .map(|value| value.split(':').next());
    let version = chosen.unwrap_or_else(|| view.text(&path::join(root, "version"))?.lines().next());
    let version = version
        .map(str::trim)
        .filter(|version| !version.is_empty())?;
    Some(path::join(root, &format!("versions/{version}/bin/python3")))
}
