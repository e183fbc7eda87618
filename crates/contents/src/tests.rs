//! Layers made with the `tar` crate, listed and put on top of each other.

use std::io::Write as _;
use std::sync::Arc;

use testkit::ElfBuilder;

use crate::{
    Body, Class, Contents, Ecosystem, Elf, ElfKind, Endianness, Kind, Listing, Options, Package,
    list,
};

/// A layer under construction.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(
        mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: &str,
        body: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(9);
        header.set_size(body.len() as u64);
        if link.is_empty() {
            self.0.append_data(&mut header, path, body).unwrap();
        } else {
            self.0.append_link(&mut header, path, link).unwrap();
        }
        self
    }

    pub(crate) fn file(self, path: &str, body: impl AsRef<[u8]>) -> Self {
        self.entry(path, tar::EntryType::Regular, 0o644, "", body.as_ref())
    }

    fn program(self, path: &str, mode: u32, body: &str) -> Self {
        self.entry(path, tar::EntryType::Regular, mode, "", body.as_bytes())
    }

    fn directory(self, path: &str) -> Self {
        self.entry(path, tar::EntryType::Directory, 0o755, "", b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, 0o777, target, b"")
    }

    fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Link, 0o644, target, b"")
    }

    pub(crate) fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn list(self) -> Arc<Listing> {
        let tar = self.tar();
        let listing = list(
            "application/vnd.oci.image.layer.v1.tar",
            &tar[..],
            Options::default(),
        );
        Arc::new(listing.unwrap())
    }
}

fn paths(contents: &Contents) -> Vec<(String, usize)> {
    contents
        .iter()
        .map(|found| (found.path.to_owned(), found.layer))
        .collect()
}

fn text(contents: &Contents, path: &str) -> Option<String> {
    contents.text(path).map(str::to_owned)
}

#[test]
fn what_a_layer_says() {
    let layer = Layer::new()
        .directory("usr/bin/")
        .program(
            "./usr/bin/tool",
            0o4755,
            "#! /usr/bin/env  python3 \nprint()\n",
        )
        .file("usr/bin/half", "#!/bin/sh")
        .file("usr/bin/data", "#")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
        .file(
            "a/x-1.dist-info/METADATA",
            "Name: x\nSummary: y\nversion: 1\nRequires-Dist: z\n\nName: of a text",
        )
        .file(
            "var/lib/dpkg/status.d/x.md5sums",
            "d41d8cd98f00b204e9800998ecf8427e  usr/a\nd41d8cd98f00b204e9800998ecf8427e  usr/b  c\nodd\n",
        )
        .file("a/.wh.gone", "")
        .file("b/.wh..wh..opq", "")
        .file(".wh..wh.aufs", "")
        .symlink("lib", "usr/lib")
        .file("lib/inside", "1");
    let listing = layer.list();
    let body = |path: &str| &listing.entries[path].file().unwrap().body;
    assert_eq!(
        body("usr/bin/tool"),
        &Body::Script("/usr/bin/env  python3".to_owned())
    );
    assert_eq!(body("usr/bin/half"), &Body::Script("/bin/sh".to_owned()));
    assert_eq!(body("usr/bin/data"), &Body::Unread);
    assert_eq!(
        body("etc/passwd"),
        &Body::Text("root:x:0:0::/root:/bin/sh\n".to_owned())
    );
    assert_eq!(
        body("a/x-1.dist-info/METADATA"),
        &Body::Text("Name: x\nversion: 1\nRequires-Dist: z".to_owned())
    );
    assert_eq!(
        body("var/lib/dpkg/status.d/x.md5sums"),
        &Body::Text("  usr/a\n  usr/b  c\nodd\n".to_owned())
    );
    let tool = &listing.entries["usr/bin/tool"];
    assert_eq!(
        (tool.mode, tool.uid, tool.gid, tool.mtime),
        (0o4755, 7, 8, 9)
    );
    assert!(
        listing.entries.contains_key("usr/lib/inside"),
        "through its own link"
    );
    assert_eq!(listing.whiteouts.iter().collect::<Vec<_>>(), ["a/gone"]);
    assert_eq!(listing.opaque.iter().collect::<Vec<_>>(), ["b"]);
    let json = serde_json::to_string(&*listing).unwrap();
    assert_eq!(serde_json::from_str::<Listing>(&json).unwrap(), *listing);
}

#[test]
fn digests_where_they_are_wanted() {
    let tar = Layer::new()
        .file("a", "abc")
        .file("b", vec![7; 1 << 20])
        .tar();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let digests = |options| {
        let listing = list(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &gzip[..],
            options,
        );
        let file = |path: &str| {
            listing.as_ref().unwrap().entries[path]
                .file()
                .unwrap()
                .sha256
        };
        (file("a"), file("b"))
    };
    let all = digests(Options { digests: true });
    assert_eq!(all.0, Some(oci::Digest::of(b"abc")));
    assert_eq!(all.1, Some(oci::Digest::of(&vec![7; 1 << 20])));
    assert_eq!(digests(Options::default()), (None, None));
}

#[test]
fn layers_hide_what_is_below() {
    let contents = Contents::new(&[
        Layer::new()
            .file("a/one", "1")
            .file("a/two", "2")
            .file("b/three", "3")
            .file("c/four", "4")
            .file("d", "5")
            .file("e/six", "6")
            .list(),
        Layer::new()
            .file("a/.wh.one", "")
            .file("b/.wh..wh..opq", "")
            .file("b/new", "")
            .file("c", "now a file")
            .file("d/now", "a directory")
            .directory("e")
            .list(),
    ]);
    let expect = [
        ("a", 0),
        ("a/two", 0),
        ("b", 0),
        ("b/new", 1),
        ("c", 1),
        ("d", 1),
        ("d/now", 1),
        ("e", 1),
        ("e/six", 0),
    ];
    assert_eq!(
        paths(&contents),
        expect.map(|(path, n)| (path.to_owned(), n))
    );
    assert_eq!(contents.names_in("a"), ["two"]);
    assert_eq!(contents.names_in(""), ["a", "b", "c", "d", "e"]);
}

#[test]
fn links_are_followed() {
    let contents = Contents::new(&[
        Layer::new()
            .file("usr/lib/os-release", "NAME=x")
            .symlink("lib", "usr/lib")
            .symlink("etc/os-release", "../usr/lib/os-release")
            .symlink("loop", "loop")
            .symlink("dangling", "/nowhere")
            .list(),
        Layer::new()
            .hardlink("etc/group", "usr/lib/os-release")
            .list(),
        Layer::new().file("usr/lib/os-release", "NAME=y").list(),
    ]);
    assert_eq!(text(&contents, "etc/os-release").as_deref(), Some("NAME=y"));
    let kept = contents.text("etc/group");
    assert_eq!(kept, Some("NAME=x"), "the file as it was below");
    assert_eq!(
        contents.get("/lib/os-release").unwrap().path,
        "usr/lib/os-release"
    );
    assert!(matches!(
        contents.get("lib").unwrap().entry.kind,
        Kind::Symlink { .. }
    ));
    assert_eq!(contents.resolve("lib/../lib").unwrap().path, "usr/lib");
    for path in ["loop", "dangling", "nothing", "lib/nothing"] {
        assert!(contents.resolve(path).is_none(), "{path}");
    }
    assert_eq!(contents.names_in("lib"), ["os-release"]);
}

#[test]
fn packages_of_three_ecosystems() {
    let site = "opt/venv/lib/python3.13/site-packages";
    let contents = Contents::new(&[
        Layer::new()
            .file(
                "var/lib/dpkg/status",
                "Package: b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\nDescription: x\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
            )
            .file("var/lib/dpkg/info/b:amd64.list", "/.\n/usr\n/usr/b\n/usr/not-there\n")
            .file(
                "var/lib/dpkg/status.d/a",
                "Package: a\nConffiles:\n /etc/a 827ccb0eea8a706c4c34a16891f84e7b\n /etc/gone d41d8cd98f00b204e9800998ecf8427e obsolete\nVersion: 2\n",
            )
            .file("etc/a", "12")
            .file("var/lib/dpkg/status.d/a.md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/a\n")
            .file("usr/a", "12345")
            .file("usr/b", "123")
            .file(
                "lib/apk/db/installed",
                "P:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\n\n",
            )
            .file("lib/ld-musl-x86_64.so.1", "1234567")
            .list(),
        Layer::new()
            .file(
                &format!("{site}/x-1.dist-info/METADATA"),
                "Name: X\nVersion: 1\n",
            )
            .file(
                &format!("{site}/x-1.dist-info/RECORD"),
                "x/__init__.py,sha256=,3\n../../../bin/x,,\nx/gone.py,,\nx/_vendor/y-2.dist-info/METADATA,,\nx-1.dist-info/RECORD,,\n",
            )
            .file(&format!("{site}/x/__init__.py"), "123")
            .file(
                &format!("{site}/x/_vendor/y-2.dist-info/METADATA"),
                "Name: y\nVersion: 2\n",
            )
            .file("opt/venv/bin/x", "1234")
            .list(),
    ]);
    let packages = contents.packages();
    let shown: Vec<_> = packages
        .iter()
        .map(|package| {
            let Package {
                ecosystem,
                name,
                version,
                layer,
                size,
                ..
            } = package;
            (
                *ecosystem,
                name.as_str(),
                version.as_str(),
                *layer,
                package.files.len(),
                *size,
            )
        })
        .collect();
    let python = packages[0].files.clone();
    assert_eq!(shown[0].1, "X");
    assert_eq!(
        shown.len(),
        4,
        "vendored and removed ones are none: {shown:?}"
    );
    assert_eq!(shown[0].0, Ecosystem::Python);
    assert_eq!((shown[0].3, shown[0].4), (1, 5));
    assert!(python.contains(&"opt/venv/bin/x".to_owned()), "{python:?}");
    assert_eq!(shown[1], (Ecosystem::Debian, "a", "2", 0, 2, 7));
    assert_eq!(shown[2], (Ecosystem::Debian, "b", "1:2-3", 0, 1, 3));
    assert_eq!(shown[3], (Ecosystem::Alpine, "musl", "1.2.5-r0", 0, 1, 7));
}

/// The tables of one file, in parts of odd sizes.
fn elf(bytes: &[u8]) -> Elf {
    let tar = Layer::new().file("lib", bytes).tar();
    let listing = list(
        "application/vnd.oci.image.layer.v1.tar",
        &tar[..],
        Options::default(),
    )
    .unwrap();
    match &listing.entries["lib"].file().unwrap().body {
        Body::Elf(elf) => (**elf).clone(),
        other => panic!("{other:?}"),
    }
}

fn made_up(architecture: &str) -> ElfBuilder {
    ElfBuilder::new(architecture)
        .interpreter("/lib/ld.so.1")
        .soname("libown.so.1")
        .rpath("/r")
        .runpath("$ORIGIN/../x")
        .needed("libother.so.2")
        .needs("libc.so.6", &["GLIBC_2.17", "GLIBC_2.34"])
        .needs("libm.so.6", &["GLIBC_2.29"])
        .defines(&["OWN_1", "OWN_2"])
}

#[test]
fn tables_of_elf_files() {
    for (architecture, class, machine) in [
        ("amd64", Class::Elf64, 62),
        ("arm64", Class::Elf64, 183),
        ("armhf", Class::Elf32, 40),
    ] {
        let elf = elf(&made_up(architecture).build());
        assert_eq!(
            (elf.class, elf.machine, elf.kind),
            (class, machine, ElfKind::Shared)
        );
        assert_eq!(elf.endianness, Endianness::Little);
        assert_eq!(elf.interpreter.as_deref(), Some("/lib/ld.so.1"));
        assert_eq!(elf.soname.as_deref(), Some("libown.so.1"));
        assert_eq!(elf.rpath.as_deref(), Some("/r"));
        assert_eq!(elf.runpath.as_deref(), Some("$ORIGIN/../x"));
        assert_eq!(elf.needed, ["libother.so.2", "libc.so.6", "libm.so.6"]);
        let needs: Vec<_> = elf
            .needs
            .iter()
            .map(|it| (it.file.as_str(), it.versions.len()))
            .collect();
        assert_eq!(needs, [("libc.so.6", 2), ("libm.so.6", 1)]);
        assert_eq!(elf.needs[0].versions, ["GLIBC_2.17", "GLIBC_2.34"]);
        assert_eq!(elf.defines, ["OWN_1", "OWN_2"]);
        assert_eq!(elf.fault, None);
    }
}

/// The program that runs this test, which a real linker made.
#[test]
fn a_linkers_file() {
    let elf = elf(&std::fs::read("/proc/self/exe").unwrap());
    assert_eq!(elf.fault, None);
    assert!(
        elf.needed.iter().any(|name| name.starts_with("libc.")),
        "{elf:?}"
    );
    assert!(elf.interpreter.is_some());
}

/// Where a linker put all in one segment, what is before the code is kept; of any other, what can be tables.
#[test]
fn parts_of_large_files() {
    const MIB: u64 = 1 << 20;
    let mut bytes = ElfBuilder::new("arm64").needed("libother.so.2").build();
    // Of the first program header, flags (4, after the type) and size in the file; of the header, the entry.
    let types: Vec<u32> = (0..2)
        .map(|n| u32::from_le_bytes(bytes[64 + 56 * n..][..4].try_into().unwrap()))
        .collect();
    assert_eq!(types, [1, 2], "PT_LOAD, PT_DYNAMIC");
    let mut first = |flags: u32, size: u64, entry: u64| {
        bytes[68..72].copy_from_slice(&flags.to_le_bytes());
        bytes[64 + 32..64 + 40].copy_from_slice(&size.to_le_bytes());
        bytes[24..32].copy_from_slice(&entry.to_le_bytes());
        crate::elf::parts(&bytes)[0].clone()
    };
    let (read, code) = (4, 5);
    assert_eq!(first(code, 300 * MIB, 9 * MIB), 0..9 * MIB);
    assert_eq!(first(code, 300 * MIB, 1000), 0..4 * MIB);
    assert_eq!(first(code, 300 * MIB, 200 * MIB), 0..64 * MIB);
    assert_eq!(first(code, 300 * MIB, 0), 0..64 * MIB, "no entry");
    assert_eq!(first(code, 3 * MIB, 0), 0..3 * MIB);
    assert_eq!(first(read, 300 * MIB, 9 * MIB), 0..64 * MIB);
    assert_eq!(first(read, MIB, 9 * MIB), 0..MIB);
    let unreadable = crate::elf::parts(&[0; 64]);
    assert_eq!((unreadable.len(), &unreadable[0]), (1, &(0..64 * MIB)));
}

#[test]
fn a_cut_off_file_says_so() {
    let bytes = made_up("arm64").build();
    let elf = elf(&bytes[..bytes.len() / 2]);
    assert!(elf.fault.is_some(), "{elf:?}");
    assert_eq!(elf.machine, 183, "what could be read is there");
}

proptest::proptest! {
    #[test]
    fn damaged_files_are_read_without_panic(at in 0usize..700, value: u8, length in 0usize..900, wide: bool) {
        let mut bytes = made_up(if wide { "arm64" } else { "armhf" }).build();
        let at = 4 + at % (bytes.len() - 4);
        bytes[at] = value;
        bytes.truncate(length.max(4));
        elf(&bytes);
    }
}
