//! A Debian archive over HTTP: signed suites, package indexes, a pool
//! (wiki.debian.org/DebianRepository/Format).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::server::{Server, lock};
use crate::signing::ArchiveKey;
use crate::{Compression, DebBuilder, Fault, debian_base};

/// Debian's names of the architectures that every suite has.
pub(crate) const ARCHITECTURES: [&str; 3] = ["amd64", "arm64", "armhf"];

const BYTES: &str = "application/octet-stream";

/// An archive that can be added to while it serves. The [`Server`] it derefs to has its faults and
/// its account of requests.
#[derive(Debug)]
pub struct DebianArchive {
    server: Server,
    key: ArchiveKey,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    key: ArchiveKey,
    /// By codename.
    suites: BTreeMap<String, Suite>,
    /// By path: `pool/main/d/demo/demo_1.0_all.deb`.
    pool: BTreeMap<String, Vec<u8>>,
    valid_until: String,
    tampered: bool,
}

#[derive(Debug, Default)]
struct Suite {
    /// Architecture (`all` too) and stanza.
    stanzas: Vec<(String, String)>,
    /// What is served below `dists/<codename>/`; made on the first request after a change.
    files: BTreeMap<String, Vec<u8>>,
    /// The same as a flat repository.
    flat: BTreeMap<String, Vec<u8>>,
}

impl DebianArchive {
    /// An archive whose suites `trixie`, `trixie-updates` and `trixie-security` are empty.
    pub fn start() -> Self {
        Self::signed_by(ArchiveKey::new(1))
    }

    /// Somebody else's, with a key of its own.
    pub fn foreign() -> Self {
        Self::signed_by(ArchiveKey::new(3))
    }

    fn signed_by(key: ArchiveKey) -> Self {
        let suites = ["trixie", "trixie-updates", "trixie-security"];
        let state = Arc::new(Mutex::new(State {
            key: key.clone(),
            suites: suites
                .map(|name| (name.to_owned(), Suite::default()))
                .into(),
            pool: BTreeMap::new(),
            valid_until: "Thu, 01 Jan 2099 00:00:00 UTC".to_owned(),
            tampered: false,
        }));
        let shown = Arc::clone(&state);
        let server = Server::start(move |path, _| lock(&shown).answer(path));
        Self { server, key, state }
    }

    /// An archive with what `base = "debian:trixie"` takes, for every architecture: packages with the
    /// names, dependencies and principal files of Debian's, a few bytes each.
    pub fn minimal() -> Self {
        let archive = Self::start();
        for deb in debian_base::packages() {
            archive.add(&deb);
        }
        archive
    }

    /// The address that `[debian] mirror` takes.
    pub fn mirror(&self) -> String {
        self.at("/debian")
    }

    /// The URL of the suite `trixie` as a flat repository: its suite is `./`.
    pub fn flat(&self) -> String {
        self.at("/flat")
    }

    /// The public key, armored.
    pub fn keyring(&self) -> String {
        self.key.public()
    }

    /// Writes the public key into `directory`; returns the file's path.
    pub fn write_keyring(&self, directory: &Path) -> PathBuf {
        let path = directory.join("test-archive-keyring.asc");
        std::fs::write(&path, self.keyring()).expect("a directory to write in");
        path
    }

    /// Adds a package to the suite `trixie`.
    pub fn add(&self, deb: &DebBuilder) -> &Self {
        self.add_to("trixie", deb)
    }

    /// Adds a package to the suite with this codename; a suite that is not there yet is made.
    pub fn add_to(&self, suite: &str, deb: &DebBuilder) -> &Self {
        let bytes = deb.build();
        let path = pool_path(deb);
        let sha256 = sha256(&bytes);
        let mut stanza = deb.control();
        write!(
            stanza,
            "Filename: {path}\nSize: {}\nSHA256: {sha256}\n",
            bytes.len()
        )
        .expect("a String takes every write");
        let mut state = lock(&self.state);
        state.pool.insert(path, bytes);
        let suite = state.suites.entry(suite.to_owned()).or_default();
        suite.stanzas.push((deb.architecture().to_owned(), stanza));
        suite.files.clear();
        self
    }

    /// Removes all versions of a package from all suites; the pool keeps its files.
    pub fn remove(&self, name: &str) -> &Self {
        let first_line = format!("Package: {name}\n");
        for suite in lock(&self.state).suites.values_mut() {
            suite
                .stanzas
                .retain(|(_, stanza)| !stanza.starts_with(&first_line));
            suite.files.clear();
        }
        self
    }

    /// `Valid-Until` of all suites from now on: `Sat, 01 Feb 2025 00:00:00 UTC`.
    pub fn valid_until(&self, date: &str) -> &Self {
        self.change(|state| date.clone_into(&mut state.valid_until))
    }

    /// Fault: releases are signed by a key that is not in the keyring.
    pub fn signed_by_another_key(&self) -> &Self {
        self.change(|state| state.key = ArchiveKey::new(2))
    }

    /// Fault: releases are changed after they were signed.
    pub fn tampered_releases(&self) -> &Self {
        self.change(|state| state.tampered = true)
    }

    /// Fault: `Packages` files are not those of the release.
    pub fn tampered_packages(&self) -> &Self {
        self.fault("*/main/binary-*", Fault::WrongBytes);
        self
    }

    /// Fault: the pool's files of the package `name` are not those of `Packages`.
    pub fn wrong_deb_bytes(&self, name: &str) -> &Self {
        self.fault(&format!("*/pool/*/{name}_*.deb"), Fault::WrongBytes);
        self
    }

    /// Ends all faults, those of the server too.
    pub fn mend(&self) -> &Self {
        self.clear_faults();
        let key = self.key.clone();
        self.change(|state| {
            state.key = key;
            state.tampered = false;
        })
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> &Self {
        let mut state = lock(&self.state);
        change(&mut state);
        state
            .suites
            .values_mut()
            .for_each(|suite| suite.files.clear());
        self
    }
}

impl Deref for DebianArchive {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl State {
    /// Whatever comes before `dists/` or `pool/` is taken for the mirror's own path: `debian` and
    /// `debian-security` are one archive here.
    fn answer(&mut self, path: &str) -> Answer {
        if let Some(at) = path.find("/pool/") {
            let file = self.pool.get(&path[at + 1..].replace("%2B", "+"));
            return file.map_or_else(Answer::not_found, |file| Answer::ok(BYTES, file.clone()));
        }
        if let Some(path) = path.strip_prefix("/flat/") {
            self.publish("trixie");
            let suite = self.suites.get("trixie");
            let file = suite.and_then(|suite| suite.flat.get(path));
            return file.map_or_else(Answer::not_found, |file| Answer::ok(BYTES, file.clone()));
        }
        let Some((_, path)) = path.split_once("/dists/") else {
            return Answer::not_found();
        };
        let Some((codename, path)) = path.split_once('/') else {
            return Answer::not_found();
        };
        self.publish(codename);
        let file = self
            .suites
            .get(codename)
            .and_then(|suite| suite.files.get(path));
        file.map_or_else(Answer::not_found, |file| Answer::ok(BYTES, file.clone()))
    }

    /// Makes the files of a suite where they are not made.
    fn publish(&mut self, codename: &str) {
        let (key, valid_until, tampered) = (&self.key, &self.valid_until, self.tampered);
        let Some(suite) = self
            .suites
            .get_mut(codename)
            .filter(|suite| suite.files.is_empty())
        else {
            return;
        };
        let mut text = release_head(codename, valid_until);
        for architecture in ARCHITECTURES {
            let packages = suite.packages(architecture);
            let directory = format!("main/binary-{architecture}");
            for compression in [Compression::None, Compression::Gzip, Compression::Xz] {
                let bytes = compression.compress(packages.as_bytes());
                let path = format!("{directory}/Packages{}", compression.suffix());
                let sha256 = sha256(&bytes);
                writeln!(text, " {sha256} {:>16} {path}", bytes.len())
                    .expect("a String takes every write");
                suite.files.insert(
                    format!("{directory}/by-hash/SHA256/{sha256}"),
                    bytes.clone(),
                );
                suite.files.insert(path, bytes);
            }
        }
        let all = suite
            .stanzas
            .iter()
            .fold(String::new(), |all, (_, it)| all + it + "\n");
        let flat = format!(
            "Date: Sat, 01 Nov 2025 00:00:00 UTC\nSHA256:\n {} {} Packages\n",
            sha256(all.as_bytes()),
            all.len()
        );
        suite.flat = BTreeMap::from([
            ("Packages".to_owned(), all.into_bytes()),
            ("InRelease".to_owned(), key.clear_sign(&flat).into_bytes()),
        ]);
        let mut signed = key.clear_sign(&text);
        if tampered {
            signed = signed.replace("Label: Debian", "Label: Ubuntu");
        }
        suite
            .files
            .insert("InRelease".to_owned(), signed.into_bytes());
    }
}

impl Suite {
    fn packages(&self, architecture: &str) -> String {
        let mut text = String::new();
        for (own, stanza) in &self.stanzas {
            if own == architecture || own == "all" {
                text.push_str(stanza);
                text.push('\n');
            }
        }
        text
    }
}

/// The release file of a suite up to where the list of its files begins.
fn release_head(codename: &str, valid_until: &str) -> String {
    let suite = codename
        .replacen("trixie", "stable", 1)
        .replacen("bookworm", "oldstable", 1);
    format!(
        "Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {codename}\n\
         Date: Sat, 01 Nov 2025 00:00:00 UTC\nValid-Until: {valid_until}\n\
         Acquire-By-Hash: yes\nArchitectures: all {}\nComponents: main\nSHA256:\n",
        ARCHITECTURES.join(" ")
    )
}

fn pool_path(deb: &DebBuilder) -> String {
    let name = deb.name();
    let letters = if name.starts_with("lib") {
        &name[..name.len().min(4)]
    } else {
        &name[..1]
    };
    format!("pool/main/{letters}/{name}/{}", deb.filename())
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(archive: &DebianArchive, path: &str) -> Vec<u8> {
        let answer = lock(&archive.state).answer(path);
        assert_eq!(answer.status, 200, "{path}");
        answer.body.to_vec()
    }

    #[test]
    fn the_chain_of_hashes_reaches_the_package() {
        let archive = DebianArchive::start();
        let deb = DebBuilder::new("libdemo++1", "1:1.0", "arm64").depends("libc6");
        archive.add(&deb);
        let release = String::from_utf8(get(&archive, "/debian/dists/trixie/InRelease")).unwrap();
        assert!(
            release.contains("Suite: stable\nCodename: trixie\n"),
            "{release}"
        );
        let xz = get(&archive, "/x/dists/trixie/main/binary-arm64/Packages.xz");
        assert!(release.contains(&sha256(&xz)), "{release}");
        let by_hash = format!(
            "/dists/trixie/main/binary-arm64/by-hash/SHA256/{}",
            sha256(&xz)
        );
        assert_eq!(get(&archive, &by_hash), xz);
        let plain = get(&archive, "/debian/dists/trixie/main/binary-arm64/Packages");
        let plain = String::from_utf8(plain).unwrap();
        assert!(plain.contains("Filename: pool/main/libd/libdemo++1/libdemo++1_1.0_arm64.deb\n"));
        assert!(plain.contains(&deb.sha256()), "{plain}");
        let path = "/debian/pool/main/libd/libdemo++1/libdemo%2B%2B1_1.0_arm64.deb";
        assert_eq!(get(&archive, path), deb.build());
        assert!(get(&archive, "/debian/dists/trixie/main/binary-amd64/Packages").is_empty());
    }

    #[test]
    fn faults_change_what_is_published() {
        let archive = DebianArchive::minimal();
        let release = || get(&archive, "/debian/dists/trixie/InRelease");
        let good = release();
        archive.signed_by_another_key();
        let other = release();
        archive.mend().tampered_releases();
        let tampered = release();
        assert!(good != other && good != tampered && other != tampered);
        archive.mend();
        assert_eq!(release(), good);
        archive.remove("python3.13");
        assert_ne!(release(), good);
    }
}
