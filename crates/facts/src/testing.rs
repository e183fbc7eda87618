//! Layers and executables made in memory, and facts as a text to compare.

use std::fmt::Write as _;

use crate::{EnvironmentKind, Error, Facts, Scan, facts, scan};

pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A tar stream, entry by entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    bytes: Vec<u8>,
}

impl Layer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Any entry. `edit` sees the header when all else is in it.
    pub(crate) fn entry(
        mut self,
        flag: u8,
        path: &str,
        link: &str,
        body: &[u8],
        edit: fn(&mut tar::Header),
    ) -> Self {
        for (flag, text) in [(b'L', path), (b'K', link)] {
            if text.len() > 100 {
                let text = format!("{text}\0");
                self = self.entry(flag, "././@LongLink", "", text.as_bytes(), |_| ());
            }
        }
        let mut header = tar::Header::new_gnu();
        let fields = header.as_mut_bytes();
        for (start, text) in [(0, path), (157, link)] {
            let length = text.len().min(100);
            fields[start..start + length].copy_from_slice(&text.as_bytes()[..length]);
        }
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        edit(&mut header);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(body);
        let length = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(length, 0);
        self
    }

    pub(crate) fn file(self, path: &str, body: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', path, "", body.as_ref(), |_| ())
    }

    pub(crate) fn executable(self, path: &str, body: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', path, "", body.as_ref(), |header| {
            header.set_mode(0o755);
        })
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"", |_| ())
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, b"", |_| ())
    }

    pub(crate) fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, b"", |_| ())
    }

    /// METADATA of a package.
    pub(crate) fn package(self, site_packages: &str, name: &str, version: &str) -> Self {
        self.file(
            &format!("{site_packages}/{name}-{version}.dist-info/METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n"),
        )
    }

    /// Without the blocks at its end.
    pub(crate) fn open(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; 1024]].concat()
    }

    pub(crate) fn scan(&self) -> Scan {
        scan(TAR, &self.bytes()[..]).unwrap()
    }

    /// The message and those of its causes.
    pub(crate) fn error(&self) -> String {
        message(&scan(TAR, &self.bytes()[..]).unwrap_err())
    }
}

pub(crate) fn message(error: &Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or(error.to_string(), |source| format!("{error}: {source}"))
}

/// An ELF file with a loader, and texts between NULs.
pub(crate) fn elf(loader: &str, texts: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[32] = 64;
    bytes[54] = 56;
    if !loader.is_empty() {
        bytes[56] = 1;
        bytes[64] = 3;
        bytes[72] = 120;
        bytes[96] = u8::try_from(loader.len() + 1).unwrap();
    }
    for text in [loader].iter().chain(texts) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// glibc's loader on amd64.
pub(crate) const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";

/// musl's loader on amd64.
pub(crate) const MUSL: &str = "/lib/ld-musl-x86_64.so.1";

/// A Python that is one file.
pub(crate) fn python(version: &str) -> Vec<u8> {
    elf(GLIBC, &["malloc_debug", version, "3.45.1"])
}

/// `libc.so.6` of Debian.
pub(crate) fn glibc(version: &str) -> Vec<u8> {
    let banner = format!(
        "GNU C Library (Debian GLIBC {version}-9) stable release version {version}.\nCopyright\n"
    );
    elf("", &["GLIBC_2.2.5", &banner])
}

/// musl's loader and library.
pub(crate) fn musl(version: &str) -> Vec<u8> {
    elf("", &["musl libc (x86_64)\nVersion %s\n", version])
}

pub(crate) fn image(env: &[&str], layers: &[Layer]) -> Facts {
    let env: Vec<String> = env.iter().map(ToString::to_string).collect();
    let scans: Vec<Scan> = layers.iter().map(Layer::scan).collect();
    facts(&env, &scans).unwrap()
}

/// The facts on a few lines.
pub(crate) fn show(env: &[&str], layers: &[Layer]) -> String {
    let facts = image(env, layers);
    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    let mut out = String::new();
    if let Some(os) = &facts.os {
        let fields = [&os.version_id, &os.codename].map(|field| field.as_deref().unwrap_or("-"));
        writeln!(out, "{} {}", os.id, fields.join(" ")).unwrap();
    }
    if let Some(libc) = &facts.libc {
        writeln!(out, "{libc}").unwrap();
    }
    if let Some(dpkg) = &facts.dpkg {
        writeln!(out, "{:?}", dpkg.database).unwrap();
    }
    for python in &facts.pythons {
        let flag = if python.free_threaded {
            " free-threaded"
        } else {
            ""
        };
        writeln!(out, "{}{flag} {}", python.version, python.interpreter).unwrap();
        let environment = &python.environment;
        let kind = match environment.kind {
            EnvironmentKind::System => "",
            EnvironmentKind::Venv {
                system_site_packages: true,
            } => " venv and system",
            EnvironmentKind::Venv {
                system_site_packages: false,
            } => " venv",
        };
        writeln!(out, "  {}{kind}", environment.prefix).unwrap();
        for path in &environment.site_packages {
            writeln!(out, "  {path}").unwrap();
        }
        for package in &environment.packages {
            writeln!(
                out,
                "    {} {} {}",
                package.name, package.version, package.location
            )
            .unwrap();
        }
    }
    out
}
