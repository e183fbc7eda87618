//! The Python that programs of the image use: its version, and where it looks for modules.

use facts::path::{join, name, parent, relative};

use crate::image::Image;
use crate::search::Program;

/// `CPython` in the image.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    /// Path of the executable, links followed.
    pub(crate) program: String,
    /// 13 of 3.13
    pub(crate) minor: u32,
    /// `3.13.5`; `3.13.0` where the image does not tell the last number.
    pub(crate) version: String,
    /// The directories of packages, in the order in which they are looked into.
    pub(crate) sites: Vec<String>,
    /// The directory of the standard library.
    pub(crate) library: String,
}

impl Python {
    /// What `python3` means in a container.
    pub(crate) fn find(image: &Image<'_>) -> Option<Self> {
        let directories = image.path().map(|path| path.trim_matches('/').to_owned());
        let venv = image.variables.get("VIRTUAL_ENV").copied();
        let venv = venv.map(|venv| join(venv.trim_matches('/'), "bin"));
        let mut directories: Vec<String> = directories.chain(venv).collect();
        directories.push("opt/venv/bin".to_owned());
        directories.push("usr/local/bin".to_owned());
        directories.into_iter().find_map(|directory| {
            let mut names = vec!["python3".to_owned(), "python".to_owned()];
            names.extend((8..30).rev().map(|minor| format!("python3.{minor}")));
            names
                .iter()
                .find_map(|name| Self::at(image, &join(&directory, name)))
        })
    }

    fn at(image: &Image<'_>, path: &str) -> Option<Self> {
        let Program::Found(program) = image.program(&format!("/{path}")) else {
            return None;
        };
        let contents = image.contents;
        let minor = minor_of(name(program.path)).or_else(|| {
            let prefix = parent(parent(program.path));
            let names = contents.names_in(&join(prefix, "lib"));
            names.into_iter().rev().find_map(minor_of)
        })?;
        let base = parent(parent(program.path)).to_owned();
        let named = format!("python3.{minor}");
        let prefix = parent(parent(path));
        let config = contents.text(&join(prefix, "pyvenv.cfg"));
        let lib = |prefix: &str| join(prefix, &format!("lib/{named}"));
        let mut sites = Vec::new();
        let field = |wanted: &str| {
            config?.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name.trim() == wanted).then(|| value.trim())
            })
        };
        let mut sees_system = true;
        if config.is_some() {
            sites.push(join(&lib(prefix), "site-packages"));
            sees_system = field("include-system-site-packages") == Some("true");
        }
        if sees_system {
            sites.push(join(&lib(&base), "site-packages"));
            sites.push(format!("usr/local/lib/{named}/dist-packages"));
            sites.push("usr/lib/python3/dist-packages".to_owned());
        }
        sites.dedup();
        let wanted = format!("3.{minor}.");
        let from_debian = || {
            let owner = image.owners.packages.iter().find(|package| {
                package.name == format!("libpython{}-minimal", &wanted[..wanted.len() - 1])
                    || package.name == format!("python{}-minimal", &wanted[..wanted.len() - 1])
                    || package.name == format!("python{}", &wanted[..wanted.len() - 1])
            })?;
            let version = owner.version.split(['-', '+', '~']).next()?;
            Some(version.rsplit(':').next()?.to_owned())
        };
        let version = field("version")
            .or_else(|| field("version_info"))
            .map(str::to_owned)
            .into_iter()
            .chain(
                image
                    .variables
                    .get("PYTHON_VERSION")
                    .map(ToString::to_string),
            )
            .chain(from_debian())
            .find(|version| version.starts_with(&wanted))
            .unwrap_or_else(|| format!("{wanted}0"));
        Some(Self {
            program: program.path.to_owned(),
            minor,
            version,
            sites,
            library: lib(&base),
        })
    }

    /// All directories of modules: `PYTHONPATH`, the standard library's, those of packages, and what `.pth`
    /// files in these add.
    pub(crate) fn module_directories(&self, image: &Image<'_>) -> Vec<String> {
        let stated = image.variables.get("PYTHONPATH").copied();
        let stated = stated.unwrap_or_default().split(':').filter_map(relative);
        let mut directories: Vec<String> = stated.collect();
        directories.push(self.library.clone());
        directories.push(join(&self.library, "lib-dynload"));
        for site in &self.sites {
            directories.push(site.clone());
            for file in image.contents.names_in(site) {
                if file.strip_suffix(".pth").is_none() {
                    continue;
                }
                let text = image.contents.text(&join(site, file)).unwrap_or_default();
                for line in text.lines().map(str::trim) {
                    if line.is_empty() || line.starts_with('#') || line.starts_with("import ") {
                        continue;
                    }
                    directories.push(match relative(line) {
                        Some(path) => path,
                        None => join(site, line),
                    });
                }
            }
        }
        directories
    }
}

/// 13 of `python3.13`.
fn minor_of(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("python3.")?;
    rest.trim_end_matches('t').parse().ok()
}
