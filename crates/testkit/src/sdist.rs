//! Source distributions with a build backend of their own, so that nothing has to be fetched for it.

use std::collections::BTreeMap;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const BACKEND: &str = include_str!("backend.py");

/// A source distribution to be.
#[derive(Debug, Clone)]
pub struct SdistBuilder {
    name: String,
    version: String,
    files: BTreeMap<String, Vec<u8>>,
    /// What the backend does.
    says: Value,
    /// `requires` of `[build-system]`.
    build_requires: Vec<String>,
}

impl SdistBuilder {
    /// One that gives a pure wheel with a module of its name, and tells its metadata when it is asked.
    pub fn new(name: &str, version: &str) -> Self {
        let says = json!({
            "name": name, "version": version, "requires": [], "further": [], "imports": [],
            "tag": "py3-none-any", "prepares": true, "fails": "", "hangs": "", "log": "",
        });
        let sdist = Self {
            name: name.to_owned(),
            version: version.to_owned(),
            files: BTreeMap::new(),
            says,
            build_requires: Vec::new(),
        };
        sdist.file(
            &format!("src/{name}/__init__.py"),
            format!("VERSION = '{version}'\n").as_bytes(),
        )
    }

    /// Adds a file to the sources. What is below `src/` is in the wheel.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.insert(path.to_owned(), bytes.to_vec());
        self
    }

    /// Adds a requirement of the wheel.
    #[must_use]
    pub fn requires(mut self, requirement: &str) -> Self {
        push(&mut self.says["requires"], requirement);
        self
    }

    /// Adds a requirement of the backend, which it imports the module `module` of.
    #[must_use]
    pub fn build_requires(mut self, requirement: &str, module: &str) -> Self {
        self.build_requires.push(requirement.to_owned());
        push(&mut self.says["imports"], module);
        self
    }

    /// Adds a requirement that the backend tells of when it is asked.
    #[must_use]
    pub fn further_requires(mut self, requirement: &str, module: &str) -> Self {
        push(&mut self.says["further"], requirement);
        push(&mut self.says["imports"], module);
        self
    }

    /// The tag of the wheel: `cp313-cp313-linux_x86_64`.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        self.says("tag", tag)
    }

    /// Makes the backend build another version than the sdist has.
    #[must_use]
    pub fn builds_version(self, version: &str) -> Self {
        self.says("version", version)
    }

    /// Makes the backend fail in a hook.
    #[must_use]
    pub fn fails_in(self, hook: &str) -> Self {
        self.says("fails", hook)
    }

    /// Makes the backend wait for ten minutes in a hook.
    #[must_use]
    pub fn hangs_in(self, hook: &str) -> Self {
        self.says("hangs", hook)
    }

    /// Makes the backend note every hook in a file, a line each.
    #[must_use]
    pub fn logs_to(self, file: &Path) -> Self {
        self.says("log", &file.display().to_string())
    }

    /// Leaves the metadata to the wheel.
    #[must_use]
    pub fn without_prepare(mut self) -> Self {
        self.says["prepares"] = json!(false);
        self
    }

    /// Adds a PKG-INFO that nothing of the build may change.
    #[must_use]
    pub fn static_metadata(self, requires: &[&str]) -> Self {
        use std::fmt::Write;
        let Self { name, version, .. } = &self;
        let mut text = format!("Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n");
        for requirement in requires {
            let _ = writeln!(text, "Requires-Dist: {requirement}");
        }
        self.file("PKG-INFO", text.as_bytes())
    }

    fn says(mut self, key: &str, value: &str) -> Self {
        self.says[key] = json!(value);
        self
    }

    /// The name of the project.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file name.
    pub fn filename(&self) -> String {
        format!("{}-{}.tar.gz", self.name, self.version)
    }

    /// The files, by their paths below the one directory.
    pub fn sources(&self) -> BTreeMap<String, Vec<u8>> {
        let pyproject = format!(
            "[project]\nname = \"{}\"\nversion = \"{}\"\n[build-system]\nrequires = {:?}\nbuild-backend = \"backend\"\nbackend-path = [\"build-tools\"]\n",
            self.name, self.version, self.build_requires
        );
        let mut files = self.files.clone();
        let own = [
            ("pyproject.toml", pyproject),
            ("build-tools/backend.py", BACKEND.to_owned()),
            ("wheel.json", self.says.to_string()),
        ];
        for (path, text) in own {
            files.entry(path.to_owned()).or_insert(text.into_bytes());
        }
        files
    }

    /// The archive.
    pub fn build(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let top = format!("{}-{}", self.name, self.version);
        for (path, bytes) in self.sources() {
            let path = format!("{top}/{path}");
            let mut header = tar::Header::new_ustar();
            // As it stands: some of these paths are ones that the library would refuse.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            archive
                .append(&header, &bytes[..])
                .expect("a Vec takes every write");
        }
        let encoder = archive.into_inner().expect("a Vec takes every write");
        encoder.finish().expect("a Vec takes every write")
    }
}

fn push(list: &mut Value, text: &str) {
    if let Some(list) = list.as_array_mut() {
        list.push(json!(text));
    }
}
