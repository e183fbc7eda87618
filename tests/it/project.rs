//! A project with its own package index and Debian archive, all on this machine: what the tests
//! build that need no network.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use oci::{Digest, LayoutReader};
use serde_json::Value;
use testkit::{Context, DebianArchive, PackageIndex, Run, WheelBuilder, elf};

/// Builds into the layout `image` of the project.
pub(crate) const BUILD: [&str; 3] = ["build", "--output", "oci:image"];

/// A project, and where its packages come from.
pub(crate) struct Project {
    pub(crate) context: Context,
    pub(crate) index: PackageIndex,
    pub(crate) archive: DebianArchive,
}

impl Project {
    /// A project with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            context: Context::new(env!("CARGO_BIN_EXE_oxcart")),
            index: PackageIndex::start(),
            archive: DebianArchive::minimal(),
        }
    }

    /// A project for two platforms with an application and three wheels: `demo` with a command, which
    /// requires `helper`, and `native`, which differs between the platforms.
    pub(crate) fn standard() -> Self {
        let project = Self::empty();
        project.index.add(&demo()).add(&helper());
        for (architecture, machine) in [
            ("amd64", "x86_64"),
            ("arm64", "aarch64"),
            ("armhf", "armv7l"),
        ] {
            project.index.add(&native(architecture, machine));
        }
        project.write_standard();
        project
    }

    /// Writes the files of the standard project.
    pub(crate) fn write_standard(&self) {
        self.context
            .write("requirements.txt", "demo==1.0\nnative\n");
        self.context.write("app/main.py", "print('hello')\n");
        self.configure(STANDARD);
    }

    /// Writes `oxcart.toml`. `$INDEX` stands for the index; the Debian archive is added.
    pub(crate) fn configure(&self, text: &str) {
        let keyring = self.archive.write_keyring(self.context.project());
        let text = text.replace("$INDEX", &self.index.url());
        let debian = format!(
            "\n[debian]\nmirror = \"{}\"\nkeyring = \"{}\"\n",
            self.archive.mirror(),
            keyring.file_name().and_then(|it| it.to_str()).unwrap()
        );
        self.context.write("oxcart.toml", text + &debian);
    }

    /// Forgets what the servers were asked so far.
    pub(crate) fn forget_requests(&self) {
        self.index.forget();
        self.archive.forget();
    }

    /// What the servers were asked, index and archive together.
    pub(crate) fn requests(&self) -> Vec<String> {
        let served = self.index.served().into_iter().chain(self.archive.served());
        served
            .map(|it| format!("{} {} {}", it.method, it.path, it.status))
            .collect()
    }

    /// Builds, with `arguments` besides; returns the index digest.
    pub(crate) fn build(&self, arguments: &[&str]) -> String {
        digest_of(&self.context.succeeds(BUILD.iter().chain(arguments)))
    }

    /// The document of a build with `--metadata-file`.
    pub(crate) fn build_with_metadata(&self, arguments: &[&str]) -> Value {
        self.build(&[&["--metadata-file", "metadata.json"], arguments].concat());
        serde_json::from_str(&self.context.read("metadata.json")).unwrap()
    }

    /// The image that was built, every digest of which holds.
    pub(crate) fn image(&self, platform: &str) -> Image {
        Image::open(&self.context.path("image"), platform)
    }

    /// That a run that failed left nothing that is not whole.
    pub(crate) fn assert_nothing_half_written(&self) {
        let image = self.context.path("image");
        assert!(
            !image.exists(),
            "a build that failed left {}",
            listing(&image).join(", ")
        );
        let lock = self.context.path("oxcart.lock");
        if lock.exists() {
            fs::read_to_string(&lock)
                .unwrap()
                .parse::<toml::Table>()
                .unwrap();
        }
        for name in listing(self.context.project()) {
            assert!(!name.contains(".tmp"), "{name} was left in the project");
        }
        self.assert_store_is_whole();
        let spool = self.context.store().join("spool");
        assert_eq!(listing(&spool), [""; 0], "temporary files were left");
    }

    /// That every blob of the store is what its name says.
    pub(crate) fn assert_store_is_whole(&self) {
        let blobs = self.context.store().join("blobs/sha256");
        for name in listing(&blobs) {
            let bytes = fs::read(blobs.join(&name)).unwrap();
            assert_eq!(
                Digest::of(&bytes).hex(),
                name,
                "a blob of the store is not what its name says"
            );
        }
    }
}

/// The configuration of the standard project.
pub(crate) const STANDARD: &str = r#"
[image]
name = "registry.example/team/demo"
platforms = ["linux/amd64", "linux/arm64"]
base = "debian:trixie"
annotations = { "org.opencontainers.image.source" = "https://example.com/demo" }

[dependencies]
requirements = ["requirements.txt"]
index = "$INDEX"

[[app]]
source = "app"
destination = "/app/app"

[config]
user = "nonroot"
workdir = "/app"
env = { PYTHONUNBUFFERED = "1" }
entrypoint = ["/opt/venv/bin/demo"]
cmd = ["--port", "8000"]
expose = ["8000"]
labels = { team = "demo" }
"#;

/// A pure wheel with a command and a dependency.
pub(crate) fn demo() -> WheelBuilder {
    WheelBuilder::simple("demo", "1.0")
        .requires("helper >=2,<3")
        .console_script("demo", "demo.cli:main")
        .file("demo/cli.py", b"def main():\n    print('demo')\n")
        .file(
            "demo/data.txt",
            &b"a line that repeats itself\n".repeat(4000),
        )
}

/// A pure wheel.
pub(crate) fn helper() -> WheelBuilder {
    WheelBuilder::simple("helper", "2.0")
}

/// A wheel with a library of one architecture.
pub(crate) fn native(architecture: &str, machine: &str) -> WheelBuilder {
    WheelBuilder::simple("native", "3.1")
        .tags(&format!(
            "cp313-cp313-manylinux_2_17_{machine}.manylinux2014_{machine}"
        ))
        .executable("native/_native.cpython-313.so", &elf(architecture))
}

/// Bytes that do not compress: the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The digest that a build prints, alone or after the image's name and `@`.
pub(crate) fn digest_of(run: &Run) -> String {
    let line = run
        .stdout
        .strip_suffix('\n')
        .unwrap_or_else(|| panic!("{}", run.account()));
    let digest = line.rsplit('@').next().unwrap();
    let digest: Digest = digest
        .parse()
        .unwrap_or_else(|_| panic!("{}", run.account()));
    digest.to_string()
}

/// The names of the files in and below `directory`, sorted; none where there is no such directory.
pub(crate) fn listing(directory: &Path) -> Vec<String> {
    fn visit(directory: &Path, prefix: &str, names: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                visit(&entry.path(), &format!("{name}/"), names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    visit(directory, "", &mut names);
    names.sort();
    names
}

/// One platform's image out of a layout or an archive, all of it read.
pub(crate) struct Image {
    /// The manifest.
    pub(crate) manifest: Value,
    /// The image configuration.
    pub(crate) config: Value,
    /// The layers' files, the top one winning.
    pub(crate) files: BTreeMap<String, File>,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) mtime: u64,
    /// A link's target.
    pub(crate) link: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

impl Image {
    /// Reads the image for `platform` from the layout or archive at `path`, which must be valid.
    pub(crate) fn open(path: &Path, platform: &str) -> Self {
        let reader = LayoutReader::open(path).unwrap();
        let report = oci::validate(&reader).unwrap();
        assert_eq!(report.notes, []);
        let image = report
            .images
            .iter()
            .find(|image| image.platform == platform);
        let image = image.unwrap_or_else(|| panic!("no image for {platform}"));
        let mut files = BTreeMap::new();
        for layer in &image.layers {
            let mut blob = std::io::BufReader::new(reader.blob(&layer.digest).unwrap().reader());
            if blob.fill_buf().unwrap().starts_with(b"\x1f\x8b") {
                read_layer(GzDecoder::new(blob), &mut files);
            } else {
                read_layer(blob, &mut files);
            }
        }
        let document = |digest| {
            let blob = reader.blob(digest).unwrap();
            serde_json::from_reader(blob.reader()).unwrap()
        };
        Self {
            manifest: document(&image.manifest),
            config: document(&image.config),
            files,
        }
    }

    /// The file at `path`, which must be there.
    #[track_caller]
    pub(crate) fn file(&self, path: &str) -> &File {
        self.files
            .get(path)
            .unwrap_or_else(|| panic!("no {path} in {:#?}", self.files.keys()))
    }

    /// The text of the file at `path`.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> &str {
        str::from_utf8(&self.file(path).bytes).unwrap()
    }

    /// Whether something is at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }
}

fn read_layer(layer: impl Read, files: &mut BTreeMap<String, File>) {
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry
            .path()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches('/')
            .to_owned();
        let header = entry.header();
        let mut file = File {
            mode: header.mode().unwrap(),
            owner: (header.uid().unwrap(), header.gid().unwrap()),
            mtime: header.mtime().unwrap(),
            link: entry
                .link_name()
                .unwrap()
                .map(|it| it.to_str().unwrap().to_owned()),
            bytes: Vec::new(),
        };
        entry.read_to_end(&mut file.bytes).unwrap();
        files.insert(path, file);
    }
}
