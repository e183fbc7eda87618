//! Where an interpreter looks for packages, and which are there.

use std::collections::BTreeMap;

use crate::Package;
use crate::path::{absolute, join};
use crate::view::View;

/// An interpreter's directories, as `site` and the distributions' changes to it compute them.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// `sys.prefix`, without its slash.
    pub(crate) prefix: String,
    pub(crate) minor: u32,
    /// Its directories have `t` after the version.
    pub(crate) is_free_threaded: bool,
}

impl Layout {
    /// Of a Python that is installed there, in import order.
    pub(crate) fn system(&self, view: &View, is_debian: bool) -> Vec<String> {
        let name = self.name();
        if is_debian {
            let version = self.in_library("lib", "dist-packages");
            let mut directories = vec![
                format!("usr/local/lib/{name}/dist-packages"),
                "usr/lib/python3/dist-packages".to_owned(),
            ];
            directories.extend(Some(version).filter(|version| view.is_directory(version)));
            return directories;
        }
        let mut directories = self.virtual_environment(view);
        if self.prefix == "usr" && directories.len() > 1 {
            // As Fedora and its relatives have it.
            let local = directories
                .iter()
                .map(|path| path.replacen("usr/", "usr/local/", 1));
            directories = local.chain(directories.iter().cloned()).collect();
        }
        directories
    }

    /// Of a virtual environment, in import order.
    pub(crate) fn virtual_environment(&self, view: &View) -> Vec<String> {
        let plain = self.in_library("lib", "site-packages");
        let wide = self.in_library("lib64", "site-packages");
        let is_other = view.is_directory(&wide) && view.resolve(&wide) != view.resolve(&plain);
        let wide = Some(wide).filter(|_| is_other);
        wide.into_iter().chain([plain]).collect()
    }

    /// Whether the standard library is there.
    pub(crate) fn is_there(&self, view: &View) -> bool {
        ["lib", "lib64"].iter().any(|library| {
            let path = join(&self.prefix, &format!("{library}/{}", self.name()));
            view.is_directory(&path)
        })
    }

    fn in_library(&self, library: &str, directory: &str) -> String {
        join(
            &self.prefix,
            &format!("{library}/{}/{directory}", self.name()),
        )
    }

    fn name(&self) -> String {
        let flag = if self.is_free_threaded { "t" } else { "" };
        format!("python3.{}{flag}", self.minor)
    }
}

/// The packages in `directories`, sorted by normalised name. Of two with one name the first in the
/// order of the directories counts, and within one directory the last by its file's name.
pub(crate) fn packages(view: &View, directories: &[String]) -> Vec<Package> {
    let mut packages = BTreeMap::new();
    for directory in directories {
        let Some(real) = view.resolve(directory) else {
            continue;
        };
        let mut here = BTreeMap::new();
        for name in view.names_in(&real) {
            let path = join(&real, name);
            let header = if name.ends_with(".dist-info") {
                view.header(&join(&path, "METADATA"))
            } else if name.ends_with(".egg-info") {
                view.header(&path)
                    .or_else(|| view.header(&join(&path, "PKG-INFO")))
            } else {
                None
            };
            let location = absolute(&join(directory, name));
            if let Some(package) = header.and_then(|header| header.package(&location)) {
                here.insert(package.normalised_name(), package);
            }
        }
        for (name, package) in here {
            packages.entry(name).or_insert(package);
        }
    }
    packages.into_values().collect()
}
