//! apt's opinion of what `deb` chooses: for popular packages, from the same lists, on nothing and on a
//! base.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use deb::{Architecture, Dependency, Package, Policy, Universe};

use crate::samples::succeed;
use crate::skip::{Need, left_out};

/// What images of Python programs add to their bases.
const PACKAGES: [&str; 56] = [
    "build-essential",
    "ca-certificates",
    "cmake",
    "curl",
    "default-jre-headless",
    "default-mysql-client",
    "ffmpeg",
    "fonts-dejavu-core",
    "gdal-bin",
    "gettext-base",
    "ghostscript",
    "git",
    "gnupg",
    "graphviz",
    "imagemagick",
    "libasound2t64",
    "libcairo2",
    "libcurl4t64",
    "libfontconfig1",
    "libfreetype6",
    "libgdk-pixbuf-2.0-0",
    "libgeos-c1t64",
    "libgl1",
    "libglib2.0-0t64",
    "libgomp1",
    "libhdf5-310",
    "libjpeg62-turbo",
    "libldap2",
    "libmagic1t64",
    "libmariadb3",
    "libopenblas0",
    "libpango-1.0-0",
    "libpangocairo-1.0-0",
    "libpq5",
    "libproj25",
    "librdkafka1",
    "libsm6",
    "libsndfile1",
    "libsqlite3-0",
    "libssl3t64",
    "libtiff6",
    "libwebp7",
    "libxext6",
    "libxml2",
    "libxrender1",
    "libxslt1.1",
    "libzmq5",
    "nginx-light",
    "openssh-client",
    "poppler-utils",
    "redis-tools",
    "supervisor",
    "tesseract-ocr",
    "tini",
    "unixodbc",
    "wget",
];

/// What a base for Python programs has, besides what is essential.
const BASE: [&str; 5] = ["apt", "bash", "debconf", "python3-minimal", "tzdata"];

/// An apt of its own, for one architecture.
struct Apt {
    root: PathBuf,
    architecture: &'static str,
}

impl Apt {
    fn new(root: &Path, architecture: &'static str) -> Self {
        let root = root.join(architecture);
        for directory in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "etc/apt/trusted.gpg.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/log/apt",
            "var/lib/dpkg",
        ] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        let sources = deb::sources::of_host(Path::new("/etc/apt"));
        let found = deb::sources::mirrors(&sources, "trixie");
        let mirror = std::env::var("OXCART_DEBIAN_MIRROR").ok().or(found.main);
        let mirror = mirror.expect("a Debian mirror: OXCART_DEBIAN_MIRROR names one");
        let security = found
            .security
            .unwrap_or_else(|| format!("{mirror}-security"));
        // Whether the lists are signed is not what is looked at.
        let list = format!(
            "deb [trusted=yes] {mirror} trixie main\ndeb [trusted=yes] {mirror} trixie-updates main\n\
             deb [trusted=yes] {security} trixie-security main\n"
        );
        fs::write(root.join("etc/apt/sources.list"), list).unwrap();
        let apt = Self { root, architecture };
        succeed(apt.get().arg("update"));
        apt
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        for option in [
            &format!("Dir={}", self.root.display()),
            &format!(
                "Dir::State::status={}",
                self.root.join("var/lib/dpkg/status").display()
            ),
            &format!("APT::Architecture={}", self.architecture),
            &format!("APT::Architectures={}", self.architecture),
            "APT::Install-Recommends=false",
            "APT::Sandbox::User=",
            "APT::Get::Assume-Yes=true",
            "Acquire::Languages=none",
            "Acquire::GzipIndexes=false",
            "Acquire::Check-Valid-Until=false",
            // A host's configuration may turn them off, and then each run reads all lists anew.
            "Dir::Cache::pkgcache=pkgcache.bin",
            "Dir::Cache::srcpkgcache=srcpkgcache.bin",
        ] {
            command.args(["-o", option]);
        }
        command
    }

    /// The lists that it fetched, in the order of the sources.
    fn lists(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join("var/lib/apt/lists")).unwrap();
        let mut lists: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        lists.retain(|path| path.to_string_lossy().ends_with("_Packages"));
        lists.sort();
        assert_eq!(lists.len(), 3, "{lists:#?}");
        lists
    }

    /// What it would install: name and version.
    fn chooses(&self, package: &str) -> BTreeSet<String> {
        let printed = succeed(self.get().args(["install", "--print-uris", "-qq", package]));
        let names = printed.lines().filter_map(|line| line.split(' ').nth(1));
        names
            .map(|name| {
                let mut parts = name.split('_');
                let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
                format!("{name} {}", version.replace("%3a", ":"))
            })
            .collect()
    }
}

fn universe(apt: &Apt) -> Universe {
    let read = |path: &PathBuf| {
        let file = fs::File::open(path).unwrap();
        deb::packages::parse(file, "Packages").unwrap()
    };
    let architecture = Architecture::new(apt.architecture).unwrap();
    Universe::new(
        architecture,
        apt.lists().iter().map(read).collect::<Vec<_>>(),
    )
}

fn chosen<'u>(universe: &'u Universe, names: &[&str], policy: &Policy) -> Vec<&'u Package> {
    let wanted: Vec<Dependency> = names.iter().map(|name| name.parse().unwrap()).collect();
    deb::solve(universe, &wanted, policy).unwrap_or_else(|error| panic!("{error}"))
}

/// dpkg's records with `packages` installed, of their entries in the lists.
fn status(apt: &Apt, packages: &[&Package]) -> String {
    let wanted: BTreeSet<_> = packages
        .iter()
        .map(|it| (it.name.clone(), it.version.to_string()))
        .collect();
    let mut stanzas = BTreeMap::new();
    for list in apt.lists() {
        for stanza in fs::read_to_string(list).unwrap().split("\n\n") {
            let field = |name: &str| {
                stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            let (Some(name), Some(version)) = (field("Package:"), field("Version:")) else {
                continue;
            };
            let key = (name.to_owned(), version.to_owned());
            if wanted.contains(&key) {
                let mut text = String::new();
                let lines = stanza.lines().filter(|line| !line.starts_with("Filename:"));
                for line in lines {
                    writeln!(text, "{line}").unwrap();
                    if line.starts_with("Package:") {
                        text.push_str("Status: install ok installed\n");
                    }
                }
                stanzas.insert(key, text);
            }
        }
    }
    assert_eq!(stanzas.len(), wanted.len());
    stanzas.into_values().collect::<Vec<_>>().join("\n")
}

fn compare(apt: &Apt, universe: &Universe, policy: &Policy) -> Vec<String> {
    // The first run makes apt's cache, for the others to read.
    let mut differences: Vec<_> = difference(apt, universe, policy, PACKAGES[0])
        .into_iter()
        .collect();
    std::thread::scope(|scope| {
        let parts = PACKAGES[1..].chunks(PACKAGES.len().div_ceil(4));
        let parts = parts.map(|part| {
            scope.spawn(move || {
                let found = part.iter().map(|it| difference(apt, universe, policy, it));
                found.flatten().collect::<Vec<_>>()
            })
        });
        let parts: Vec<_> = parts.collect();
        for part in parts {
            differences.extend(part.join().unwrap());
        }
    });
    differences
}

fn difference(apt: &Apt, universe: &Universe, policy: &Policy, package: &str) -> Option<String> {
    let ours: BTreeSet<_> = chosen(universe, &[package], policy)
        .iter()
        .map(|it| format!("{} {}", it.name, it.version))
        .collect();
    let theirs = apt.chooses(package);
    (ours != theirs).then(|| {
        format!(
            "{package} on {} ({} installed): only ours {:?}, only apt's {:?}",
            apt.architecture,
            policy.installed.len(),
            ours.difference(&theirs).collect::<Vec<_>>(),
            theirs.difference(&ours).collect::<Vec<_>>()
        )
    })
}

#[test]
fn chooses_the_same() {
    if left_out(Need::Network) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (mut differences, mut compared) = (Vec::new(), 0);
    for architecture in ["amd64", "arm64"] {
        let apt = Apt::new(directory.path(), architecture);
        let universe = universe(&apt);
        let essential = universe.packages().filter(|it| it.essential);
        let names: Vec<_> = essential.map(|it| it.name.as_str()).chain(BASE).collect();
        differences.extend(compare(&apt, &universe, &Policy::default()));
        let base = chosen(&universe, &names, &Policy::default());
        assert!(base.len() > 60, "{}", base.len());
        let text = status(&apt, &base);
        fs::write(apt.root.join("var/lib/dpkg/status"), &text).unwrap();
        let policy = Policy {
            installed: deb::packages::installed(text.as_bytes(), "status").unwrap(),
            ..Policy::default()
        };
        differences.extend(compare(&apt, &universe, &policy));
        compared += 2 * PACKAGES.len();
    }
    println!("{compared} selections, {} differ", differences.len());
    assert!(
        differences.is_empty(),
        "{compared} selections\n{}",
        differences.join("\n")
    );
}
