//! The Pythons of an image: which executables are one, and which environment running them means
//! (PEP 405; `Modules/getpath.py` of CPython says the same in full).

use std::collections::BTreeSet;

use crate::binary::Binary;
use crate::identity::{Identity, identify};
use crate::interest::{Executable, executable};
use crate::path::{self, absolute, join};
use crate::records::Records;
use crate::search::{Variables, behind_shim, candidates};
use crate::site::{Layout, packages};
use crate::text::Content;
use crate::venv::Config;
use crate::view::View;
use crate::{Environment, EnvironmentKind, Python};

/// How many Pythons are told of. Images have one or two.
const MAX_PYTHONS: usize = 32;

/// All that Pythons are looked for in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finder<'a> {
    pub(crate) view: &'a View,
    pub(crate) variables: &'a Variables,
    pub(crate) dpkg: &'a Records,
    pub(crate) apk: &'a Records,
}

/// A Python, and the loader that its executable names.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) python: Python,
    pub(crate) loader: Option<&'a str>,
}

/// An executable that is a Python, as it was found and as it is.
#[derive(Debug)]
pub(crate) struct Interpreter<'a> {
    /// Where it really is.
    pub(crate) path: String,
    /// What its name says.
    pub(crate) executable: Executable,
    pub(crate) binary: &'a Binary,
    /// The virtual environment that running it means: its prefix and its configuration.
    pub(crate) venv: Option<(String, Config)>,
}

impl<'a> Finder<'a> {
    /// The Pythons in the order of [`candidates`], each once for an environment.
    pub(crate) fn all(self) -> Vec<Found<'a>> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for path in candidates(self.view, self.variables) {
            let Some(interpreter) = self.interpreter(&path) else {
                continue;
            };
            // Not told of without a version that is known to its last number.
            let Some(identity) = identify(self, &interpreter) else {
                continue;
            };
            let prefix = match &interpreter.venv {
                Some((prefix, _)) => prefix.clone(),
                None => identity.layout.prefix.clone(),
            };
            // One file can have many names, and so can a directory.
            let file = std::ptr::from_ref(interpreter.binary);
            if seen.insert((file, self.view.resolve(&prefix))) {
                found.push(self.describe(&interpreter, identity));
            }
            if found.len() == MAX_PYTHONS {
                break;
            }
        }
        found
    }

    fn describe(self, interpreter: &Interpreter<'a>, identity: Identity) -> Found<'a> {
        let layout = identity.layout;
        let view = self.view;
        let own = || layout.system(view, self.is_debian(&layout));
        let (prefix, kind, directories) = match &interpreter.venv {
            None => (layout.prefix.clone(), EnvironmentKind::System, own()),
            Some((prefix, config)) => {
                let inner = Layout {
                    prefix: prefix.clone(),
                    ..layout.clone()
                };
                let mut directories = inner.virtual_environment(view);
                let system_site_packages = config.system_site_packages;
                if system_site_packages {
                    directories.extend(own());
                }
                let kind = EnvironmentKind::Venv {
                    system_site_packages,
                };
                (prefix.clone(), kind, directories)
            }
        };
        let environment = Environment {
            prefix: absolute(&prefix),
            kind,
            site_packages: directories.iter().map(|path| absolute(path)).collect(),
            packages: packages(view, &directories),
        };
        Found {
            python: Python {
                version: identity.version.text,
                interpreter: absolute(&identity.interpreter),
                free_threaded: identity.is_free_threaded,
                environment,
            },
            loader: interpreter.binary.loader.as_deref(),
        }
    }

    /// Whether it is Debian's own Python, which calls its directories `dist-packages`.
    fn is_debian(self, layout: &Layout) -> bool {
        let minor = layout.minor;
        let packages = [
            format!("python3.{minor}-minimal"),
            format!("libpython3.{minor}-minimal"),
        ];
        layout.prefix == "usr"
            && (packages.iter().any(|name| self.dpkg.contains_key(name))
                || self.view.is_directory("usr/lib/python3/dist-packages"))
    }

    /// The interpreter that running `path` means.
    fn interpreter(self, path: &str) -> Option<Interpreter<'a>> {
        let (real, executable, binary) = match self.executable(path) {
            Some((real, executable, binary)) if binary.is_elf => (real, executable, binary),
            Some(_) => {
                let path = behind_shim(self.view, self.variables, path)?;
                self.executable(&path)
                    .filter(|(_, _, binary)| binary.is_elf)?
            }
            None => return None,
        };
        let bin = path::parent(path);
        let prefix = path::parent(bin);
        let config = [prefix, bin].map(|directory| self.view.text(&join(directory, "pyvenv.cfg")));
        let Some(config) = config.into_iter().flatten().next().map(Config::new) else {
            return Some(Interpreter {
                path: real,
                executable,
                binary,
                venv: None,
            });
        };
        // A copy of the executable in the environment has its library at home.
        let is_copy = self.view.resolve(bin).as_deref() == Some(path::parent(&real));
        let (real, executable, binary) = if is_copy {
            self.at_home(&config, executable)?
        } else {
            (real, executable, binary)
        };
        Some(Interpreter {
            path: real,
            executable,
            binary,
            venv: Some((prefix.to_owned(), config)),
        })
    }

    /// The interpreter that a virtual environment was made with.
    fn at_home(
        self,
        config: &Config,
        copy: Executable,
    ) -> Option<(String, Executable, &'a Binary)> {
        let home = path::relative(config.home.as_deref()?)?;
        let versioned = copy
            .minor
            .or(config.minor)
            .map(|minor| format!("python3.{minor}"));
        versioned
            .into_iter()
            .chain(["python3".to_owned(), "python".to_owned()])
            .filter_map(|name| self.executable(&join(&home, &name)))
            .find(|(_, _, binary)| binary.is_elf)
    }

    /// The file that `path` leads to, if it can be run and its name is that of a Python.
    fn executable(self, path: &str) -> Option<(String, Executable, &'a Binary)> {
        let real = self.view.resolve(path)?;
        let executable = executable(path::name(&real))?;
        let file = self.view.file(&real).filter(|file| file.is_executable)?;
        match &file.content {
            Content::Binary(binary) => Some((real, executable, binary)),
            _ => None,
        }
    }
}
