//! Wheels made in memory: the binary distribution format, with the faults that real ones have.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::zip::{self, Member};

/// Describes a wheel; [`WheelBuilder::build`] gives its bytes, which depend on nothing else.
#[derive(Debug, Clone)]
pub struct WheelBuilder {
    name: String,
    version: String,
    tags: String,
    files: Vec<File>,
    metadata: Vec<String>,
    description: String,
    entry_points: BTreeMap<&'static str, Vec<(String, String)>>,
    purelib: bool,
    stored: bool,
    zip64: bool,
    wheel_version: String,
    faults: Faults,
}

#[derive(Debug, Clone)]
struct File {
    path: String,
    bytes: Vec<u8>,
    mode: u32,
}

#[derive(Debug, Clone, Default)]
struct Faults {
    wrong_record_hashes: Vec<String>,
    wrong_crcs: Vec<String>,
    unlisted: Vec<String>,
    no_record: bool,
    members: Vec<Member>,
    truncated: Option<usize>,
}

impl WheelBuilder {
    /// A `py3-none-any` wheel with no file of its own.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            tags: "py3-none-any".to_owned(),
            files: Vec::new(),
            metadata: Vec::new(),
            description: String::new(),
            entry_points: BTreeMap::new(),
            purelib: true,
            stored: false,
            zip64: false,
            wheel_version: "1.0".to_owned(),
            faults: Faults::default(),
        }
    }

    /// A wheel with one module, whose only content says which wheel it is: enough to resolve and
    /// to install.
    pub fn simple(name: &str, version: &str) -> Self {
        let module = normalised(name);
        let text = format!("__version__ = {version:?}\n");
        Self::new(name, version).file(&format!("{module}/__init__.py"), text.as_bytes())
    }

    /// The tags as in the filename: `cp313-cp313-manylinux_2_17_aarch64`, parts may be joined with
    /// `.`. A wheel that is not for `any` platform is a platlib one.
    #[must_use]
    pub fn tags(mut self, tags: &str) -> Self {
        self.purelib = tags.ends_with("-any");
        tags.clone_into(&mut self.tags);
        self
    }

    /// A file, 0644, at a path from the archive's root.
    #[must_use]
    pub fn file(self, path: &str, bytes: &[u8]) -> Self {
        self.file_with_mode(path, bytes, 0o644)
    }

    /// A file with the executable bit.
    #[must_use]
    pub fn executable(self, path: &str, bytes: &[u8]) -> Self {
        self.file_with_mode(path, bytes, 0o755)
    }

    /// A file with these permission bits in the archive.
    #[must_use]
    pub fn file_with_mode(mut self, path: &str, bytes: &[u8], mode: u32) -> Self {
        self.files.push(File {
            path: path.to_owned(),
            bytes: bytes.to_vec(),
            mode,
        });
        self
    }

    /// A file of the `.data` directory; `path` begins with the scheme: `scripts/run`.
    #[must_use]
    pub fn data_file(self, path: &str, bytes: &[u8]) -> Self {
        let path = format!("{}.data/{path}", self.stem());
        self.file(&path, bytes)
    }

    /// A file of the `.dist-info` directory.
    #[must_use]
    pub fn dist_info_file(self, path: &str, bytes: &[u8]) -> Self {
        let path = format!("{}/{path}", self.dist_info());
        self.file(&path, bytes)
    }

    /// A `Requires-Dist`, with extras and markers as in METADATA.
    #[must_use]
    pub fn requires(self, requirement: &str) -> Self {
        self.metadata_field("Requires-Dist", requirement)
    }

    /// `Requires-Python`.
    #[must_use]
    pub fn requires_python(self, specifiers: &str) -> Self {
        self.metadata_field("Requires-Python", specifiers)
    }

    /// A `Provides-Extra`.
    #[must_use]
    pub fn extra(self, extra: &str) -> Self {
        self.metadata_field("Provides-Extra", extra)
    }

    /// Any field of METADATA.
    #[must_use]
    pub fn metadata_field(mut self, name: &str, value: &str) -> Self {
        self.metadata.push(format!("{name}: {value}"));
        self
    }

    /// The body of METADATA.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.description);
        self
    }

    /// A console script: `("serve", "demo.cli:main")`.
    #[must_use]
    pub fn console_script(self, name: &str, object: &str) -> Self {
        self.entry_point("console_scripts", name, object)
    }

    /// A GUI script.
    #[must_use]
    pub fn gui_script(self, name: &str, object: &str) -> Self {
        self.entry_point("gui_scripts", name, object)
    }

    /// An entry point of any group.
    #[must_use]
    pub fn entry_point(mut self, group: &'static str, name: &str, object: &str) -> Self {
        self.entry_points
            .entry(group)
            .or_default()
            .push((name.to_owned(), object.to_owned()));
        self
    }

    /// Members lie uncompressed.
    #[must_use]
    pub fn stored(mut self) -> Self {
        self.stored = true;
        self
    }

    /// Sizes and the directory's place are in ZIP64 fields.
    #[must_use]
    pub fn zip64(mut self) -> Self {
        self.zip64 = true;
        self
    }

    /// `Wheel-Version` of WHEEL; 1.0 unless set.
    #[must_use]
    pub fn wheel_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.wheel_version);
        self
    }

    /// Fault: RECORD has a well-formed sha256 for `path` that is not its.
    #[must_use]
    pub fn wrong_record_hash(mut self, path: &str) -> Self {
        self.faults.wrong_record_hashes.push(path.to_owned());
        self
    }

    /// Fault: both zip headers have a CRC-32 for `path` that is not its.
    #[must_use]
    pub fn wrong_crc(mut self, path: &str) -> Self {
        self.faults.wrong_crcs.push(path.to_owned());
        self
    }

    /// Fault: RECORD does not list `path`.
    #[must_use]
    pub fn unlisted(mut self, path: &str) -> Self {
        self.faults.unlisted.push(path.to_owned());
        self
    }

    /// Fault: there is no RECORD.
    #[must_use]
    pub fn no_record(mut self) -> Self {
        self.faults.no_record = true;
        self
    }

    /// Fault: one more member with this name (`../x`, say), which RECORD lists as if it were due.
    #[must_use]
    pub fn extra_member(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.push(File {
            path: name.to_owned(),
            bytes: bytes.to_vec(),
            mode: 0o644,
        });
        self
    }

    /// Fault: one more member just as it is given, before the others, unknown to RECORD.
    #[must_use]
    pub fn raw_member(mut self, member: Member) -> Self {
        self.faults.members.push(member);
        self
    }

    /// Fault: only the first `length` bytes of the archive.
    #[must_use]
    pub fn truncated(mut self, length: usize) -> Self {
        self.faults.truncated = Some(length);
        self
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version it was made with.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `demo-1.0-py3-none-any.whl`
    pub fn filename(&self) -> String {
        format!("{}-{}.whl", self.stem(), self.tags)
    }

    /// The sha256 of the archive in hexadecimal.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.build()))
    }

    /// The bytes of METADATA.
    pub fn metadata(&self) -> Vec<u8> {
        let mut text = format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\n",
            self.name, self.version
        );
        for line in &self.metadata {
            text.push_str(line);
            text.push('\n');
        }
        if !self.description.is_empty() {
            text.push('\n');
            text.push_str(&self.description);
        }
        text.into_bytes()
    }

    /// The bytes of the archive.
    pub fn build(&self) -> Vec<u8> {
        let mut files = self.files.clone();
        let mut dist_info = |name: &str, bytes: Vec<u8>| {
            let path = format!("{}/{name}", self.dist_info());
            if !files.iter().any(|file| file.path == path) {
                files.push(File {
                    path,
                    bytes,
                    mode: 0o644,
                });
            }
        };
        dist_info("METADATA", self.metadata());
        dist_info("WHEEL", self.wheel_file());
        if !self.entry_points.is_empty() {
            dist_info("entry_points.txt", self.entry_points_file());
        }
        if !self.faults.no_record {
            let path = format!("{}/RECORD", self.dist_info());
            let record = self.record(&files, &path);
            if !files.iter().any(|file| file.path == path) {
                files.push(File {
                    path,
                    bytes: record,
                    mode: 0o644,
                });
            }
        }
        let members: Vec<_> = self
            .faults
            .members
            .iter()
            .cloned()
            .chain(files.iter().map(|file| self.member(file)))
            .collect();
        let mut bytes = zip::archive(&members);
        if let Some(length) = self.faults.truncated {
            bytes.truncate(length);
        }
        bytes
    }

    fn member(&self, file: &File) -> Member {
        let make = if self.stored {
            Member::stored
        } else {
            Member::deflated
        };
        let mut member = make(&file.path, &file.bytes).mode(0o100_000 | file.mode);
        member.zip64 = self.zip64;
        if self.faults.wrong_crcs.contains(&file.path) {
            member.crc32 = !member.crc32;
        }
        member
    }

    fn record(&self, files: &[File], own_path: &str) -> Vec<u8> {
        let mut text = String::new();
        for file in files
            .iter()
            .filter(|file| !self.faults.unlisted.contains(&file.path))
        {
            let wrong = self.faults.wrong_record_hashes.contains(&file.path);
            let digest = if wrong {
                Sha256::digest(b"")
            } else {
                Sha256::digest(&file.bytes)
            };
            let digest = URL_SAFE_NO_PAD.encode(digest);
            let path = quoted(&file.path);
            writeln!(text, "{path},sha256={digest},{}", file.bytes.len())
                .expect("a String takes every write");
        }
        writeln!(text, "{own_path},,").expect("a String takes every write");
        text.into_bytes()
    }

    fn wheel_file(&self) -> Vec<u8> {
        let mut text = format!(
            "Wheel-Version: {}\nGenerator: testkit\nRoot-Is-Purelib: {}\n",
            self.wheel_version, self.purelib
        );
        for tag in expanded(&self.tags) {
            writeln!(text, "Tag: {tag}").expect("a String takes every write");
        }
        text.into_bytes()
    }

    fn entry_points_file(&self) -> Vec<u8> {
        let mut text = String::new();
        for (group, entries) in &self.entry_points {
            writeln!(text, "[{group}]").expect("a String takes every write");
            for (name, object) in entries {
                writeln!(text, "{name} = {object}").expect("a String takes every write");
            }
            text.push('\n');
        }
        text.into_bytes()
    }

    fn stem(&self) -> String {
        format!(
            "{}-{}",
            normalised(&self.name),
            self.version.replace('-', "_")
        )
    }

    fn dist_info(&self) -> String {
        format!("{}.dist-info", self.stem())
    }
}

/// The name as filenames have it: lower case, with `_` for each run of `-`, `_` and `.`.
pub(crate) fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts
        .map(str::to_ascii_lowercase)
        .collect::<Vec<_>>()
        .join("_")
}

fn expanded(tags: &str) -> Vec<String> {
    let parts: Vec<Vec<&str>> = tags
        .split('-')
        .map(|part| part.split('.').collect())
        .collect();
    let mut all = vec![String::new()];
    for part in parts {
        all = all
            .iter()
            .flat_map(|begun| {
                part.iter().map(move |next| match begun.as_str() {
                    "" => (*next).to_owned(),
                    _ => format!("{begun}-{next}"),
                })
            })
            .collect();
    }
    all
}

/// A CSV field.
fn quoted(path: &str) -> String {
    if path.contains([',', '"']) {
        format!("\"{}\"", path.replace('"', "\"\""))
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(script: &str, wheel: &[u8]) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), wheel).unwrap();
        let output = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(file.path())
            .output();
        let output = output.ok()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(
            WheelBuilder::new("Foo.-Bar", "1.0+cpu")
                .tags("cp313-abi3-a.b")
                .filename(),
            "foo_bar-1.0+cpu-cp313-abi3-a.b.whl"
        );
        assert_eq!(
            expanded("py2.py3-none-any"),
            ["py2-none-any", "py3-none-any"]
        );
    }

    #[test]
    fn bytes_depend_on_the_description_alone() {
        let wheel = || WheelBuilder::simple("demo", "1.0").console_script("demo", "demo:main");
        assert_eq!(wheel().build(), wheel().build());
        assert_eq!(
            wheel().sha256(),
            hex::encode(Sha256::digest(wheel().build()))
        );
        assert_ne!(wheel().sha256(), wheel().stored().sha256());
    }

    #[test]
    fn another_zip_reader_agrees() {
        const SCRIPT: &str = "import sys, zipfile\n\
            z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None\n\
            for i in z.infolist(): print(oct(i.external_attr >> 16), i.filename, i.file_size)";
        let wheel = WheelBuilder::new("demo", "1.0")
            .file("demo.py", &b"x = 1\n".repeat(100))
            .executable("demo/tool", b"");
        for wheel in [wheel.clone(), wheel.clone().stored(), wheel.zip64()] {
            let Some(listing) = python(SCRIPT, &wheel.build()) else {
                eprintln!("SKIPPED: no python3 to compare with");
                return;
            };
            assert!(
                listing.starts_with("0o100644 demo.py 600\n0o100755 demo/tool 0\n"),
                "{listing}"
            );
            assert!(listing.contains(" demo-1.0.dist-info/RECORD "), "{listing}");
        }
    }

    #[test]
    fn record_lists_every_file_and_faults_touch_only_what_they_name() {
        let wheel = WheelBuilder::simple("demo", "1.0");
        let member = |wheel: &WheelBuilder, files: &[File]| {
            String::from_utf8(wheel.record(files, "RECORD")).unwrap()
        };
        let good = member(&wheel, &wheel.files);
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&wheel.files[0].bytes));
        assert_eq!(
            good,
            format!("demo/__init__.py,sha256={hash},20\nRECORD,,\n")
        );
        let wrong = wheel.clone().wrong_record_hash("demo/__init__.py");
        let wrong = member(&wrong, &wrong.files);
        assert!(
            !wrong.contains(&hash) && wrong.ends_with(",20\nRECORD,,\n"),
            "{wrong}"
        );
        assert_eq!(wheel.clone().truncated(10).build(), wheel.build()[..10]);
    }
}
