//! Requests: everything that a resolution depends on, the index's answers apart.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::formats::Formats;
use crate::input::Input;
use crate::sdists::Builds;
use crate::target::Target;

/// What to resolve, for which target, from which indexes.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the wheels must fit.
    pub target: Target,
    /// Where the requirements come from.
    pub inputs: Vec<Input>,
    /// Where packages come from. What it leaves open, a requirements file may set.
    pub index: Indexes,
    /// Limits on versions, as in a constraints file: they add no package.
    pub constraints: Vec<String>,
    /// Requirements that replace those of the same name, wherever they are made.
    pub overrides: Vec<String>,
    /// What relative paths in the two above are relative to.
    pub directory: PathBuf,
    /// Packages that are left out, though something requires them.
    pub exclude: Vec<String>,
    /// Which packages may not come from wheels. Options of requirements files add to it.
    pub formats: Formats,
    /// What may come from sources.
    pub builds: Builds,
    /// Whether versions before a release are as good as others, as with pip's `--pre`.
    pub pre_releases: bool,
    /// Whether every package must have a hash in the inputs.
    pub require_hashes: bool,
    /// The URL of the one index that a package comes from, by the package's name.
    pub sources: BTreeMap<String, String>,
    /// Versions to take where they are allowed and fit, by name: those of an older lock, or of
    /// another target. They are preferred, not required.
    pub prefer: BTreeMap<String, String>,
    /// Packages that may go back to another major version, or to one 18 months older, where the
    /// newer ones have no wheel for the target.
    pub allow_downgrade: Vec<String>,
    /// Packages that are there already, in the environment that the wheels are added to. One that
    /// satisfies all requirements is kept, newer versions or not. Of several with one name the first
    /// counts: the one that Python finds first.
    pub installed: Vec<InstalledPackage>,
    /// How long an index may say nothing before it is asked again, and given up after some times.
    pub timeout: Duration,
    /// Whether to answer from the cache alone.
    pub offline: bool,
    /// A directory for the index's answers. Made where missing; several requests may share it.
    pub cache: PathBuf,
}

impl Request {
    /// A request with nothing but the necessary: uv's default index, no preferences.
    pub fn new(target: Target, inputs: Vec<Input>, cache: PathBuf) -> Self {
        Self {
            target,
            inputs,
            index: Indexes::default(),
            constraints: Vec::new(),
            overrides: Vec::new(),
            directory: std::env::current_dir().unwrap_or_default(),
            exclude: Vec::new(),
            formats: Formats::default(),
            builds: Builds::default(),
            pre_releases: false,
            require_hashes: false,
            sources: BTreeMap::new(),
            prefer: BTreeMap::new(),
            allow_downgrade: Vec::new(),
            installed: Vec::new(),
            timeout: Duration::from_secs(30),
            offline: false,
            cache,
        }
    }
}

/// A package of the base image's own environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// Its name, in any spelling.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The header of its METADATA: Name, Version, Requires-Dist, Requires-Python, Provides-Extra.
    /// Follows the core metadata specification.
    pub metadata: String,
}

/// The indexes that packages come from. For each package the first one that has it is used:
/// `extra` in their order, then `default`. URLs may hold credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes {
    /// The URL of the main index. None stands for uv's default.
    pub default: Option<String>,
    /// The URLs of further indexes, asked before the main one.
    pub extra: Vec<String>,
    /// The URLs of indexes that only the packages come from of which that is said.
    pub explicit: Vec<String>,
    /// Directories, or URLs of pages, with wheels. Theirs are added to those of the indexes.
    pub find_links: Vec<String>,
    /// Whether to use `find_links` alone.
    pub no_index: bool,
}
