//! Every library that a file needs is found, with the symbol versions that are needed of it.
//!
//! For each file that a program or Python itself may load, loading is played through as the loader does it:
//! breadth first, what is loaded already is not looked for again. A library that others load is judged where
//! they load it, because what they are found by (`DT_RPATH`, an earlier one of the same name) holds for it too.

use std::collections::{BTreeMap, BTreeSet};

use contents::{Ecosystem, Elf, ElfKind};
use facts::path::name;

use crate::image::Image;
use crate::known;
use crate::loader::{Asker, Libc, Library, Loader, elf_at, loadable};
use crate::machine::{elf_files, fits, machine};
use crate::metadata::Dependencies;
use crate::report::{Code, Counts, Finding, Severity};

/// Files loaded by one; more are not followed.
const MAX_LOADED: usize = 5000;

pub(crate) fn check(image: &Image<'_>, counts: &mut Counts, findings: &mut Vec<Finding>) {
    let loader = Loader::new(image);
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, _) in elf_files(image) {
        by_name.entry(name(path)).or_default().push(path);
    }
    let prover = Prover {
        image,
        by_name,
        dependencies: Dependencies::of(image),
        python: program(image, &loader),
        loader,
    };
    let mut loads = Vec::new();
    for (path, elf) in loadable(image) {
        counts.libraries += elf.needed.len() as u64;
        counts.versions += elf
            .needs
            .iter()
            .map(|need| need.versions.len() as u64)
            .sum::<u64>();
        if let Some(finding) = prover.other_libc(path, elf) {
            findings.push(finding);
        } else if elf.kind == ElfKind::Executable || elf.interpreter.is_some() {
            match prover.interpreter(path, elf) {
                Some(finding) => findings.push(finding),
                None => loads.push(prover.load(path, elf, None)),
            }
        } else {
            loads.push(prover.load(path, elf, prover.python.as_ref()));
        }
    }
    prover.judge(&loads, findings);
    prover.opened(counts, findings);
}

/// What one file loads, and what is wrong with that.
struct Load<'a> {
    root: &'a str,
    /// Files after all links, the root left out.
    loaded: BTreeSet<String>,
    missing: Vec<Missing>,
    /// The file, the library, and versions that it does not have.
    versions: Vec<(String, String, Vec<String>)>,
    /// The file, and what a package loads before it.
    preloaded: Vec<(String, String)>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Missing {
    /// That needs it.
    file: String,
    library: String,
}

/// A loaded file.
struct Node<'a> {
    library: Library,
    elf: &'a Elf,
    /// Who loaded it.
    by: Option<usize>,
}

/// The program that everything else is loaded into, with its own libraries.
struct Program<'a> {
    nodes: Vec<Node<'a>>,
    names: BTreeMap<String, String>,
}

/// Python with its libraries.
fn program<'a>(image: &'a Image<'a>, loader: &Loader<'a>) -> Option<Program<'a>> {
    let path = image.python.as_ref()?.program.clone();
    let elf = elf_at(image, &path)?;
    let mut process = Process::of(&path, elf, None);
    process.run(image, loader, |_, _| None);
    Some(Program {
        nodes: process.nodes,
        names: process.names,
    })
}

/// A process in which something is loaded.
struct Process<'a> {
    nodes: Vec<Node<'a>>,
    /// Files by the names that they are known by.
    names: BTreeMap<String, String>,
    /// The first node that is not the program's.
    first: usize,
    missing: Vec<Missing>,
    preloaded: Vec<(String, String)>,
}

impl<'a> Process<'a> {
    fn of(path: &str, elf: &'a Elf, program: Option<&Program<'a>>) -> Self {
        let mut process = Self {
            nodes: Vec::new(),
            names: BTreeMap::new(),
            first: 0,
            missing: Vec::new(),
            preloaded: Vec::new(),
        };
        if let Some(program) = program {
            let nodes = program.nodes.iter().map(|node| Node {
                library: node.library.clone(),
                ..*node
            });
            process.nodes.extend(nodes);
            process.names.clone_from(&program.names);
            process.first = process.nodes.len();
        }
        let library = Library {
            opened: path.to_owned(),
            real: path.to_owned(),
        };
        let by = (process.first > 0).then_some(0);
        process.add(library, elf, by);
        process
    }

    fn add(&mut self, library: Library, elf: &'a Elf, by: Option<usize>) {
        let names = [name(&library.opened).to_owned()]
            .into_iter()
            .chain(elf.soname.clone())
            .chain(elf.interpreter.as_deref().map(|path| name(path).to_owned()));
        for name in names {
            self.names
                .entry(name)
                .or_insert_with(|| library.real.clone());
        }
        self.nodes.push(Node { library, elf, by });
    }

    /// Loads all that is needed. `otherwise` knows of what is loaded without the loader's search.
    fn run(
        &mut self,
        image: &'a Image<'a>,
        loader: &Loader<'_>,
        otherwise: impl Fn(&str, &str) -> Option<String>,
    ) {
        let mut at = self.first;
        while let Some(node) = self.nodes.get(at).filter(|_| at < MAX_LOADED) {
            for needed in &node.elf.needed {
                if self.names.contains_key(needed) || loader.is_own(needed) {
                    continue;
                }
                let file = self.nodes[at].library.real.clone();
                let found = loader.find(needed, &self.askers(at)).or_else(|| {
                    let real = otherwise(&file, needed)?;
                    self.preloaded.push((file.clone(), real.clone()));
                    let opened = real.clone();
                    Some(Library { opened, real })
                });
                let Some(library) = found else {
                    let library = needed.clone();
                    self.missing.push(Missing { file, library });
                    continue;
                };
                if let Some(elf) = elf_at(image, &library.real) {
                    self.names.insert(needed.clone(), library.real.clone());
                    self.add(library, elf, Some(at));
                }
            }
            at += 1;
        }
    }

    /// The file at a number and those that loaded each other for it.
    fn askers(&self, at: usize) -> Vec<Asker<'_>> {
        let mut askers = Vec::new();
        let mut next = Some(at);
        while let Some(node) = next.and_then(|n| self.nodes.get(n)) {
            askers.push(Asker {
                opened: &node.library.opened,
                elf: node.elf,
            });
            next = node.by;
        }
        askers
    }
}

struct Prover<'a> {
    image: &'a Image<'a>,
    loader: Loader<'a>,
    by_name: BTreeMap<&'a str, Vec<&'a str>>,
    dependencies: Dependencies,
    python: Option<Program<'a>>,
}

impl<'a> Prover<'a> {
    fn load(&self, root: &'a str, elf: &'a Elf, program: Option<&Program<'a>>) -> Load<'a> {
        let mut process = Process::of(root, elf, program);
        process.run(self.image, &self.loader, |file, library| {
            self.preloaded(file, library)
        });
        let versions = match self.loader.libc {
            Libc::Glibc => self.versions(&process),
            // It has no symbol versions.
            Libc::Musl => Vec::new(),
        };
        let loaded = process.nodes.iter().skip(process.first + 1);
        Load {
            root,
            loaded: loaded.map(|node| node.library.real.clone()).collect(),
            missing: process.missing,
            versions,
            preloaded: process.preloaded,
        }
    }

    /// What is needed of libraries that were found, and not defined by them. A library that defines no
    /// versions at all is taken, as glibc takes it.
    fn versions(&self, process: &Process<'a>) -> Vec<(String, String, Vec<String>)> {
        let mut found = Vec::new();
        for node in process.nodes.iter().skip(process.first) {
            for need in &node.elf.needs {
                let Some(library) = process.names.get(&need.file) else {
                    continue;
                };
                let Some(elf) = elf_at(self.image, library).filter(|elf| !elf.defines.is_empty())
                else {
                    continue;
                };
                let lacks = need.versions.iter().filter(|it| !elf.defines.contains(it));
                let lacks: Vec<String> = lacks.cloned().collect();
                if !lacks.is_empty() {
                    found.push((node.library.real.clone(), library.clone(), lacks));
                }
            }
        }
        found
    }

    /// The library that a package's own code loads before `file` needs it.
    fn preloaded(&self, file: &str, library: &str) -> Option<String> {
        let wheel = self.image.owners.wheel_of(file)?;
        let found = self.by_name.get(library)?.iter().find(|path| {
            let fits = elf_at(self.image, path).is_some_and(|elf| fits(elf, self.image.platform));
            fits && known::loaders_of(path).is_some_and(|loaders| {
                loaders.iter().any(|loader| {
                    self.dependencies.leads(&wheel.name, loader)
                        || self.dependencies.leads(loader, &wheel.name)
                })
            })
        });
        found.map(|path| (*path).to_owned())
    }

    /// A file that was built against another C library than the image's.
    fn other_libc(&self, path: &str, elf: &Elf) -> Option<Finding> {
        let needs = |start: &str| elf.needed.iter().any(|name| name.starts_with(start));
        let interpreter = elf.interpreter.as_deref().unwrap_or_default();
        let other = match self.loader.libc {
            Libc::Glibc if needs("libc.musl-") || interpreter.contains("/ld-musl-") => Libc::Musl,
            Libc::Musl
                if needs("libc.so.6")
                    || needs("ld-linux")
                    || interpreter.contains("/ld-linux")
                    || interpreter.contains("/ld64") =>
            {
                Libc::Glibc
            }
            _ => return None,
        };
        let there = |path: &str| self.image.contents.file(path).is_some();
        let has_loader = there(interpreter.trim_start_matches('/'));
        let is_served = match other {
            Libc::Musl => has_loader || elf.needed.iter().all(|name| there(&format!("lib/{name}"))),
            Libc::Glibc => has_loader || there("lib/libgcompat.so.0"),
        };
        let message = format!(
            "is built for {}, and the image has {}",
            other.name(),
            self.loader.libc.name()
        );
        let severity = if is_served {
            Severity::Note
        } else {
            Severity::Fault
        };
        let finding = self.image.finding(severity, Code::WrongLibc, path, message);
        Some(match (is_served, self.loader.libc) {
            (true, _) => finding.hint(format!(
                "rule: {}'s loader is there as well; what it loads is not checked",
                other.name()
            )),
            (false, Libc::Glibc) => {
                finding.hint("take the wheel for manylinux instead of musllinux")
            }
            (false, Libc::Musl) => finding
                .hint("take the wheel for musllinux instead of manylinux, or a base with glibc"),
        })
    }

    /// The loader that a program asks for must be there.
    fn interpreter(&self, path: &str, elf: &Elf) -> Option<Finding> {
        let interpreter = elf.interpreter.as_deref()?;
        if self.image.contents.file(interpreter).is_some() {
            return None;
        }
        let message = format!("asks for the loader {interpreter}, which is not there");
        let finding = self
            .image
            .finding(Severity::Fault, Code::MissingInterpreter, path, message);
        Some(finding.hint("use a base with that C library"))
    }

    fn judge(&self, loads: &[Load<'a>], findings: &mut Vec<Finding>) {
        let by_root: BTreeMap<&str, &Load<'a>> =
            loads.iter().map(|load| (load.root, load)).collect();
        let mut inner = BTreeSet::new();
        for load in loads {
            inner.extend(load.loaded.iter().filter(|path| {
                let back = by_root.get(path.as_str());
                back.is_some_and(|back| !back.loaded.contains(load.root))
            }));
        }
        let mut missing: BTreeMap<&Missing, Vec<&str>> = BTreeMap::new();
        let mut versions = BTreeSet::new();
        let mut preloaded: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for load in loads
            .iter()
            .filter(|load| !inner.contains(&load.root.to_owned()))
        {
            for it in &load.missing {
                missing.entry(it).or_default().push(load.root);
            }
            versions.extend(&load.versions);
            for (file, library) in &load.preloaded {
                preloaded.entry(file).or_default().insert(library);
            }
        }
        for (it, roots) in missing {
            findings.push(self.missing(it, &roots));
        }
        for (file, library, lacks) in versions {
            findings.push(self.lacking(file, library, lacks));
        }
        for (file, libraries) in preloaded {
            let names: Vec<&str> = libraries.iter().map(|path| name(path)).collect();
            let first = libraries.first().copied().unwrap_or_default();
            let message = format!(
                "does not find {}, but its package loads it before",
                names.join(", ")
            );
            let loaders = known::loaders_of(first).unwrap_or_default();
            let hint = format!(
                "rule: importing {} loads what is in its directory of libraries first",
                loaders.join(" or ")
            );
            let finding = self
                .image
                .finding(Severity::Note, Code::Preloaded, file, message);
            findings.push(finding.hint(hint));
        }
    }

    fn missing(&self, it: &Missing, roots: &[&str]) -> Finding {
        let Missing { file, library } = it;
        let message = format!("needs {library}, which the loader does not find");
        let is_wheel = |path: &str| self.image.owners.wheel_of(path).is_some();
        let benign = |root: &str| known::benign_file(root, is_wheel(root));
        let unused = || {
            let is_unused = roots.iter().all(|root| root == file);
            is_unused.then(|| known::benign_unused(file, is_wheel(file)))?
        };
        let reason = known::benign_library(library)
            .or_else(|| benign(file))
            .or_else(unused)
            .or_else(|| roots.iter().map(|root| benign(root)).min().flatten());
        let severity = match reason {
            Some(_) => Severity::Note,
            None => Severity::Fault,
        };
        let finding = self
            .image
            .finding(severity, Code::MissingLibrary, file, message)
            .about(library);
        match reason {
            Some(reason) => finding.hint(format!("rule: {reason}")),
            None => finding.hint(self.remedy(file, library)),
        }
    }

    /// Libraries that Python code opens by name, of packages that are known to. One that has a copy in it does
    /// not need the system's.
    fn opened(&self, counts: &mut Counts, findings: &mut Vec<Finding>) {
        let Some(python) = &self.python else {
            return;
        };
        let packages = self.image.owners.packages.iter();
        for package in packages.filter(|it| it.ecosystem == Ecosystem::Python) {
            let normal = package.name.to_lowercase().replace(['_', '.'], "-");
            for library in known::opened_by(&normal) {
                counts.libraries += 1;
                let stem = library.split(".so").next().unwrap_or_default();
                let carries = |path: &String| name(path).starts_with(stem);
                let program = python.nodes.first().map(|node| Asker {
                    opened: &node.library.opened,
                    elf: node.elf,
                });
                let found = program.and_then(|program| self.loader.find(library, &[program]));
                if found.is_some() || package.files.iter().any(carries) {
                    continue;
                }
                let metadata = &package.metadata;
                let message = format!(
                    "is of a package that opens {library} by name, which the loader does not find"
                );
                let finding = self
                    .image
                    .finding(Severity::Fault, Code::MissingLibrary, metadata, message)
                    .about(library);
                findings.push(finding.hint(self.remedy(metadata, library)));
            }
        }
    }

    /// Where a missing library would come from.
    fn remedy(&self, file: &str, library: &str) -> String {
        let paths = self.by_name.get(library).map_or(&[][..], Vec::as_slice);
        let elsewhere = paths.iter().find_map(|path| {
            let elf = elf_at(self.image, path)?;
            Some((path, elf))
        });
        if let Some((path, elf)) = elsewhere {
            if !fits(elf, self.image.platform) {
                return format!("/{path} is for {}", machine(elf));
            }
            let stated = elf_at(self.image, file).and_then(|elf| {
                let runpath = elf
                    .runpath
                    .as_ref()
                    .map(|path| format!("DT_RUNPATH `{path}`"));
                runpath.or_else(|| elf.rpath.as_ref().map(|path| format!("DT_RPATH `{path}`")))
            });
            return match stated {
                Some(stated) => format!(
                    "it lies at /{path}, and {stated} does not lead there: repair the wheel (auditwheel, patchelf), or set LD_LIBRARY_PATH in [config] env"
                ),
                None => format!(
                    "it lies at /{path}, where the loader does not look: set LD_LIBRARY_PATH in [config] env, or repair the wheel (auditwheel, patchelf)"
                ),
            };
        }
        if let Some(python) = library.strip_prefix("libpython") {
            let version = python.split(".so").next().unwrap_or_default();
            return format!(
                "a wheel should not link libpython: take one that does not, or a base with libpython{version}"
            );
        }
        match known::package_of(library) {
            Some(package) => format!("Debian has it in {package}: add it to [system] packages"),
            None => "find the package of the base's distribution that has it, and add it to [system] packages".to_owned(),
        }
    }

    fn lacking(&self, file: &str, library: &str, lacks: &[String]) -> Finding {
        let defines = elf_at(self.image, library).map_or(&[][..], |elf| &elf.defines);
        let newest = lacks
            .first()
            .and_then(|wanted| known::newest(defines, wanted));
        let has = newest.map(|newest| format!(" (it has up to {newest})"));
        let message = format!(
            "needs {} of /{library}, which does not have that{}",
            lacks.join(", "),
            has.unwrap_or_default()
        );
        let release = lacks
            .iter()
            .rev()
            .find_map(|wanted| known::release_with(wanted));
        let wheel = self
            .image
            .owners
            .wheel_of(file)
            .map(|wheel| wheel.name.as_str());
        let older = wheel.map_or_else(String::new, |name| {
            format!(", or take a wheel of {name} that was built for an older system")
        });
        let finding = self
            .image
            .finding(Severity::Fault, Code::MissingVersion, file, message);
        finding.hint(match release {
            Some(release) => format!("use a base as new as {release}{older}"),
            None => format!("no base is known to have it: use a newer one{older}"),
        })
    }
}
