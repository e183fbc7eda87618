//! Where the dynamic loader looks for a library: ld.so(8) of glibc, and musl's `ldso/dynlink.c`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use contents::{Body, Elf};
use facts::path::{join, parent, relative};
use oci::Platform;

use crate::image::Image;
use crate::machine::{elf_files, fits};

/// Whose loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Libc {
    Glibc,
    Musl,
}

impl Libc {
    /// The end of a triple: `gnu` of `x86_64-linux-gnu`.
    pub(crate) fn suffix(self, platform: Platform) -> &'static str {
        match (self, platform) {
            (Self::Glibc, Platform::ArmV7) => "gnueabihf",
            (Self::Glibc, _) => "gnu",
            (Self::Musl, Platform::ArmV7) => "musleabihf",
            (Self::Musl, _) => "musl",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        }
    }
}

impl Image<'_> {
    /// The C library that Python uses; without one, that of the image.
    pub(crate) fn libc(&self) -> Libc {
        let python = self.python.as_ref().map(|python| python.program.as_str());
        let elf = python.and_then(|path| elf_at(self, path));
        let of_python = elf.and_then(|elf| elf.interpreter.as_deref());
        let is_musl = match of_python {
            Some(interpreter) => interpreter.contains("/ld-musl-"),
            None => self
                .contents
                .names_in("lib")
                .iter()
                .any(|name| name.starts_with("ld-musl-")),
        };
        if is_musl { Libc::Musl } else { Libc::Glibc }
    }
}

/// The ELF file at `path`, links followed.
pub(crate) fn elf_at<'a>(image: &'a Image<'_>, path: &str) -> Option<&'a Elf> {
    match &image.contents.file(path)?.body {
        Body::Elf(elf) => Some(elf),
        _ => None,
    }
}

/// The loader of an image.
pub(crate) struct Loader<'a> {
    image: &'a Image<'a>,
    pub(crate) libc: Libc,
    /// `LD_LIBRARY_PATH`, with `:` between its directories.
    stated: String,
    /// Directories that ldconfig put into its cache, and the layer of that.
    cached: Option<(usize, Vec<String>)>,
    /// Directories that are compiled in.
    default: Vec<String>,
    /// `lib/x86_64-linux-gnu`, what `$LIB` stands for.
    lib: String,
    /// What was looked for before.
    known: RefCell<BTreeMap<(String, String), Option<Library>>>,
}

/// A library that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    /// As it was opened: `$ORIGIN` is the directory of this.
    pub(crate) opened: String,
    /// Links followed.
    pub(crate) real: String,
}

/// A file that looks for others, and by whom it was loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) opened: &'a str,
    pub(crate) elf: &'a Elf,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(image: &'a Image<'a>) -> Self {
        let libc = image.libc();
        let multiarch = match image.platform {
            Platform::Amd64 => "x86_64-linux-gnu",
            Platform::Arm64 => "aarch64-linux-gnu",
            Platform::ArmV7 => "arm-linux-gnueabihf",
        };
        let has_multiarch = ["lib", "usr/lib"]
            .iter()
            .any(|lib| image.is_directory(&join(lib, multiarch)));
        let (lib, default) = match libc {
            Libc::Musl => ("lib".to_owned(), musl_path(image)),
            Libc::Glibc if has_multiarch => {
                let lib = join("lib", multiarch);
                let default = [&lib, &join("usr", &lib), "lib", "usr/lib"];
                (lib.clone(), default.map(str::to_owned).to_vec())
            }
            Libc::Glibc => {
                let default = ["lib64", "usr/lib64", "lib", "usr/lib"];
                ("lib64".to_owned(), default.map(str::to_owned).to_vec())
            }
        };
        let stated = image.variables.get("LD_LIBRARY_PATH").copied();
        Self {
            image,
            libc,
            stated: stated.unwrap_or_default().replace(';', ":"),
            cached: cached(image).filter(|_| libc == Libc::Glibc),
            default,
            lib,
            known: RefCell::default(),
        }
    }

    /// Looks for `name`, which the first of `askers` needs; those after it loaded each other, the last is the
    /// program.
    pub(crate) fn find(&self, name: &str, askers: &[Asker<'_>]) -> Option<Library> {
        let asker = askers.first()?;
        if name.contains('/') {
            let path = self.expand(name, asker.opened)?;
            return self.open(parent(&path), facts::path::name(&path), None);
        }
        let look = |directories: &[String]| {
            let mut directories = directories.iter();
            directories.find_map(|directory| self.open(directory, name, None))
        };
        let stated = || look(&self.directories(Some(&self.stated), askers.last()?.opened));
        let rpath =
            |asker: &Asker<'_>, path: Option<&str>| look(&self.directories(path, asker.opened));
        match self.libc {
            Libc::Glibc => {
                // DT_RPATH reaches to all that a file loads; a DT_RUNPATH makes both void, and has no reach.
                let reaching = || {
                    let mut above = askers.iter().filter(|it| it.elf.runpath.is_none());
                    above.find_map(|above| rpath(above, above.elf.rpath.as_deref()))
                };
                let cached = || {
                    let (layer, directories) = self.cached.as_ref()?;
                    let mut directories = directories.iter();
                    directories.find_map(|directory| self.open(directory, name, Some(*layer)))
                };
                let default = || {
                    let looks = !asker.elf.no_default_directories;
                    looks.then(|| look(&self.default)).flatten()
                };
                let by_rpath = match asker.elf.runpath {
                    None => reaching(),
                    Some(_) => None,
                };
                by_rpath
                    .or_else(stated)
                    .or_else(|| rpath(asker, asker.elf.runpath.as_deref()))
                    .or_else(cached)
                    .or_else(default)
            }
            Libc::Musl => stated()
                .or_else(|| {
                    askers.iter().find_map(|above| {
                        let elf = above.elf;
                        let path = elf.runpath.as_deref().or(elf.rpath.as_deref());
                        rpath(above, path)
                    })
                })
                .or_else(|| look(&self.default)),
        }
    }

    /// Whether musl's loader takes a name as its own: it is the C library, the thread library and others.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        const OWN: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];
        let own = |rest: &str| OWN.contains(&rest.split('.').next().unwrap_or_default());
        self.libc == Libc::Musl
            && (name.strip_prefix("lib").is_some_and(own) || name.starts_with("ld-musl-"))
    }

    /// The file in a directory, where it can be loaded; not from a higher layer than `highest`.
    fn open(&self, directory: &str, name: &str, highest: Option<usize>) -> Option<Library> {
        let key = (directory.to_owned(), name.to_owned());
        let known = self.known.borrow().get(&key).cloned();
        let library = known.unwrap_or_else(|| {
            let library = self.look(directory, name);
            self.known.borrow_mut().insert(key, library.clone());
            library
        })?;
        let is_in_time = |highest: usize| {
            let found = self.image.contents.get(&library.real);
            found.is_some_and(|found| found.layer <= highest)
        };
        highest.is_none_or(is_in_time).then_some(library)
    }

    fn look(&self, directory: &str, name: &str) -> Option<Library> {
        let opened = join(&self.image.contents.follow(directory)?, name);
        let found = self.image.contents.resolve(&opened)?;
        let Body::Elf(elf) = &found.entry.file()?.body else {
            return None;
        };
        // A file for another machine is passed over, as the loader does it.
        fits(elf, self.image.platform).then(|| Library {
            opened,
            real: found.path.to_owned(),
        })
    }

    fn directories(&self, path: Option<&str>, opened: &str) -> Vec<String> {
        let parts = path.unwrap_or_default().split(':');
        parts.filter_map(|part| self.expand(part, opened)).collect()
    }

    /// With `$ORIGIN`, `$LIB` and `$PLATFORM` replaced. None for a path from where a program is started.
    fn expand(&self, text: &str, opened: &str) -> Option<String> {
        let origin = format!("/{}", parent(opened));
        let platform = match self.image.platform {
            Platform::Amd64 => "x86_64",
            Platform::Arm64 => "aarch64",
            Platform::ArmV7 => "v7l",
        };
        let mut path = text.to_owned();
        for (name, value) in [
            ("ORIGIN", &*origin),
            ("LIB", &self.lib),
            ("PLATFORM", platform),
        ] {
            path = path
                .replace(&format!("${{{name}}}"), value)
                .replace(&format!("${name}"), value);
        }
        relative(&path)
    }
}

/// The directories of `/etc/ld.so.conf`, where ldconfig made a cache of them.
fn cached(image: &Image<'_>) -> Option<(usize, Vec<String>)> {
    let cache = image.contents.resolve("etc/ld.so.cache")?;
    let mut directories = Vec::new();
    let mut todo = vec!["etc/ld.so.conf".to_owned()];
    let mut read = 0;
    while let Some(file) = todo.pop() {
        read += 1;
        if read > 100 {
            break;
        }
        for line in image.contents.text(&file).unwrap_or_default().lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(pattern) = line.strip_prefix("include") {
                let pattern = pattern.trim();
                let pattern = relative(pattern).unwrap_or_else(|| join("etc", pattern));
                let (start, end) = pattern.split_once('*').unwrap_or((&pattern, ""));
                let directory = parent(&pattern);
                for name in image.contents.names_in(directory).iter().rev() {
                    let path = join(directory, name);
                    if path.starts_with(start) && path.ends_with(end) {
                        todo.push(path);
                    }
                }
            } else {
                directories.extend(relative(line));
            }
        }
    }
    Some((cache.layer, directories))
}

/// The directories of musl's own file, else those that it has compiled in.
fn musl_path(image: &Image<'_>) -> Vec<String> {
    let arch = match image.platform {
        Platform::Amd64 => "x86_64",
        Platform::Arm64 => "aarch64",
        Platform::ArmV7 => "armhf",
    };
    let stated = image.contents.text(&format!("etc/ld-musl-{arch}.path"));
    let text = stated.unwrap_or("/lib:/usr/local/lib:/usr/lib");
    text.split([':', '\n'])
        .filter_map(|part| relative(part.trim()))
        .collect()
}

/// Every library and program that fits the platform.
pub(crate) fn loadable<'a>(image: &'a Image<'_>) -> impl Iterator<Item = (&'a str, &'a Elf)> {
    elf_files(image).filter(|(_, elf)| {
        use contents::ElfKind::{Executable, Shared};
        fits(elf, image.platform) && matches!(elf.kind, Executable | Shared)
    })
}
