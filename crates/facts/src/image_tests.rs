//! Layers on top of each other, links, and layers that are damaged or hostile.

use proptest::prelude::*;

use crate::testing::{GLIBC, Layer, TAR, elf, image, message, python};
use crate::{facts, scan};

/// The interpreters that an image has, with their versions.
fn pythons(layers: &[Layer]) -> Vec<String> {
    let facts = image(&[], layers);
    let text = |python: &crate::Python| format!("{} {}", python.version, python.interpreter);
    facts.pythons.iter().map(text).collect()
}

fn base() -> Layer {
    Layer::new()
        .directory("usr/")
        .directory("usr/bin/")
        .executable("usr/bin/python3.11", python("3.11.2"))
        .link("usr/bin/python3", "python3.11")
}

#[test]
fn layers_can_be_read_on_other_threads() {
    let thread = std::thread::spawn(|| base().scan());
    let scan = thread.join().unwrap();
    assert_eq!(facts(&[], &[scan]).unwrap().pythons.len(), 1);
}

#[test]
fn whiteouts_and_replacements() {
    let check = |layer: Layer| pythons(&[base(), layer]).join(", ");
    assert_eq!(check(Layer::new()), "3.11.2 /usr/bin/python3.11");
    assert_eq!(check(Layer::new().file("usr/bin/.wh.python3.11", "")), "");
    assert_eq!(check(Layer::new().file(".wh.usr", "")), "");
    assert_eq!(check(Layer::new().file("usr/bin/.wh..wh..opq", "")), "");
    assert_eq!(check(Layer::new().file(".wh..wh..opq", "")), "");
    assert_eq!(check(Layer::new().file("usr", "")), "");
    assert_eq!(check(Layer::new().link("usr/bin", "sbin")), "");
    assert_eq!(check(Layer::new().directory("usr/bin/python3.11/")), "");
    assert_eq!(
        check(Layer::new().entry(b'6', "usr/bin/python3.11", "", b"", |_| ())),
        ""
    );
    for kept in [
        Layer::new().directory("usr/bin/"),
        Layer::new().file("usr/bin/.wh.python", ""),
        Layer::new().file("usr/.wh.python3.11", ""),
        Layer::new().file("usr/bin/.wh..wh.plnk", ""),
        Layer::new().file("usr/bin/.wh..wh.aufs/python3.11", ""),
        Layer::new().file("usr/bin/python3/x", ""),
    ] {
        assert_eq!(check(kept), "3.11.2 /usr/bin/python3.11");
    }
    let newer = || Layer::new().executable("usr/bin/python3.11", python("3.11.9"));
    assert_eq!(check(newer()), "3.11.9 /usr/bin/python3.11");
    // A layer hides what is below it, wherever in it that is said.
    assert_eq!(
        check(newer().file("usr/.wh.bin", "")),
        "3.11.9 /usr/bin/python3.11"
    );
    assert_eq!(
        check(newer().file("usr/bin/.wh..wh..opq", "")),
        "3.11.9 /usr/bin/python3.11"
    );
    let gone_and_back = [base(), Layer::new().file(".wh.usr", ""), newer()];
    assert_eq!(pythons(&gone_and_back), ["3.11.9 /usr/bin/python3.11"]);
}

#[test]
fn links_are_followed_inside_the_image() {
    let linked = |target: &str| {
        let layer = Layer::new()
            .executable("opt/py/bin/python3.12", python("3.12.4"))
            .link("opt/current", "py")
            .link("opt/up/here", "../..")
            .link("usr/bin/python3", target);
        pythons(&[layer])[0].clone()
    };
    for target in [
        "/opt/py/bin/python3.12",
        "../../opt/py/bin/python3.12",
        "../../../../../../opt/current/bin/python3.12",
        "/opt/current/../current//./bin/python3.12",
        "/opt/up/here/opt/py/bin/python3.12",
        "/../opt/py/bin/python3.12",
    ] {
        assert_eq!(linked(target), "3.12.4 /opt/py/bin/python3.12", "{target}");
    }
    // A link of a lower layer is replaced by a directory that is only implied.
    let upper = Layer::new().file("opt/current/README", "");
    let layer = Layer::new()
        .executable("opt/py/python3.12", python("3.12.4"))
        .link("opt/current", "py")
        .link("usr/bin/python3", "/opt/current/python3.12");
    assert_eq!(pythons(std::slice::from_ref(&layer)).len(), 1);
    assert_eq!(pythons(&[layer, upper]).len(), 0);
}

#[test]
fn links_of_a_layer_lead_its_own_entries() {
    let layer = Layer::new()
        .link("lib", "usr/lib")
        .link("bin", "/usr/bin")
        .executable("bin/python3.12", elf(GLIBC, &[]))
        .file("lib/libpython3.12.so.1.0", elf("", &["3.12.4"]));
    assert_eq!(pythons(&[layer]), ["3.12.4 /usr/bin/python3.12"]);
    let cycle = Layer::new().link("a", "b").link("b", "a").file("a/x", "");
    insta::assert_snapshot!(cycle.error(), @"`a/x` in the layer lies behind a cycle of links");
}

#[test]
fn cycles_of_links_lead_nowhere() {
    let layer = base()
        .link("usr/bin/python3", "python")
        .link("usr/bin/python", "python3")
        .link("usr/local/bin", "bin")
        .link("opt/self", "self/self");
    let scans = [layer.scan()];
    let env = ["PATH=/usr/local/bin:/opt/self:/usr/bin".to_owned()];
    let found = facts(&env, &scans).unwrap();
    assert_eq!(found.python().unwrap().interpreter, "/usr/bin/python3.11");
    let chain = (0..50).fold(base(), |layer, n| {
        layer.link(&format!("l{n}"), &format!("l{}", n + 1))
    });
    let chain = chain.link("l50", "usr/bin/python3.11");
    let facts = image(&["PATH=/l0"], &[chain]);
    assert_eq!(facts.pythons.len(), 1);
}

#[test]
fn hard_links() {
    let name = "usr/bin/python3.12";
    let within = Layer::new()
        .executable("opt/python3.12", python("3.12.4"))
        .hardlink(name, "./opt/python3.12")
        .hardlink("usr/bin/python3", name);
    assert_eq!(pythons(&[within]), ["3.12.4 /usr/bin/python3.12"]);
    let lower = Layer::new().executable("opt/python3.12", python("3.12.4"));
    let upper = Layer::new().hardlink(name, "/opt/python3.12");
    assert_eq!(
        pythons(&[lower, upper.clone()]),
        ["3.12.4 /usr/bin/python3.12"]
    );
    let unread = Layer::new()
        .executable("opt/other", python("3.12.4"))
        .hardlink(name, "opt/other");
    assert_eq!(pythons(&[unread]).len(), 0);
    let error = facts(&[], &[upper.scan()]).unwrap_err();
    insta::assert_snapshot!(error, @"`usr/bin/python3.12` in the layer is a hard link to `opt/python3.12`, which is not there");
    let outside = Layer::new().hardlink(name, "../python3.12");
    insta::assert_snapshot!(outside.error(), @"`usr/bin/python3.12` in the layer lies outside the image");
}

#[test]
fn one_path_twice() {
    let twice = base().executable("./usr/bin/python3.11", python("3.11.3"));
    assert_eq!(pythons(&[twice]), ["3.11.3 /usr/bin/python3.11"]);
    let link = base().link("usr/bin/python3.11", "../../opt/python3.11");
    assert_eq!(pythons(&[link]).len(), 0);
    let file = base().file("usr", "");
    insta::assert_snapshot!(file.error(), @"`usr/bin/python3` in the layer lies in something that is not a directory");
}

#[test]
fn executables_that_are_none() {
    let check = |layer: Layer| pythons(&[layer]).len();
    assert_eq!(
        check(Layer::new().file("usr/bin/python3.12", python("3.12.4"))),
        0
    );
    assert_eq!(
        check(Layer::new().executable("usr/bin/python3.12", "#!/bin/sh\n")),
        0
    );
    assert_eq!(
        check(Layer::new().executable("usr/bin/python3.12", elf(GLIBC, &[]))),
        0
    );
    assert_eq!(
        check(Layer::new().executable("usr/bin/python2.7", python("2.7.18"))),
        0
    );
    let pypy = Layer::new()
        .executable("opt/pypy/bin/pypy3.10", python("3.10.14"))
        .link("usr/bin/python3", "/opt/pypy/bin/pypy3.10");
    assert_eq!(check(pypy), 0);
}

#[test]
fn versions_by_what_is_trusted_most() {
    let layer = Layer::new()
        .executable("usr/bin/python3.12", elf(GLIBC, &[]))
        .file("usr/lib/python3.12/os.py", "");
    let header = |layer: Layer| {
        layer.file(
            "usr/include/python3.12/patchlevel.h",
            "#define PY_VERSION \"3.12.2\"\n",
        )
    };
    let status = |layer: Layer| {
        layer.file(
            "var/lib/dpkg/status",
            "Package: python3.12-minimal\nStatus: install ok installed\nVersion: 3.12.3-1\n",
        )
    };
    let library = |layer: Layer| {
        layer.file(
            "usr/lib/x86_64-linux-gnu/libpython3.12.so.1.0",
            elf("", &["3.12.1", "3.11.9"]),
        )
    };
    let check = |layer: Layer, env: &[&str]| {
        let facts = image(env, &[layer]);
        facts.python().map(|python| python.version.clone())
    };
    let env = ["PYTHON_VERSION=3.12.4"];
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(check(layer.clone(), &[]), None);
    assert_eq!(check(layer.clone(), &["PYTHON_VERSION=3.11.4"]), None);
    assert_eq!(check(layer.clone(), &env), is("3.12.4"));
    assert_eq!(check(status(layer.clone()), &env), is("3.12.3"));
    assert_eq!(check(header(status(layer.clone())), &env), is("3.12.2"));
    assert_eq!(check(library(header(status(layer))), &env), is("3.12.1"));
    // The name has no version: the standard library tells, and of two the executable.
    let plain = |texts: &[&str]| {
        Layer::new()
            .executable("opt/bin/python", elf(GLIBC, texts))
            .file("opt/lib/python3.12/os.py", "")
    };
    let env = ["PATH=/opt/bin"];
    assert_eq!(check(plain(&["3.45.0", "3.12.4+"]), &env), is("3.12.4+"));
    let other = |layer: Layer| layer.file("opt/lib/python3.45/x", "");
    assert_eq!(check(other(plain(&["3.12.0rc1"])), &env), is("3.12.0rc1"));
    assert_eq!(check(other(plain(&[])), &env), None);
}

#[test]
fn the_first_python_in_the_path() {
    let layer = Layer::new()
        .executable("usr/bin/python3.11", python("3.11.2"))
        .link("usr/bin/python3", "python3.11")
        .executable("usr/local/bin/python3.12", python("3.12.4"))
        .executable("usr/local/bin/python3.9", python("3.9.2"))
        .executable("opt/x/bin/python", python("3.10.1"))
        .file("opt/x/lib/python3.10/os.py", "");
    let check = |path: &str| {
        let facts = image(&[path], std::slice::from_ref(&layer));
        facts
            .pythons
            .into_iter()
            .map(|python| python.version)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        check("PATH=/usr/local/bin:/usr/bin"),
        ["3.11.2", "3.12.4", "3.9.2", "3.10.1"]
    );
    assert_eq!(check("PATH=/opt/x/bin:/usr/bin")[0], "3.10.1");
    assert_eq!(
        check("PATH=bin::/usr/bin/../local/bin")[..2],
        ["3.12.4", "3.9.2"]
    );
    assert_eq!(check("PATH")[0], "3.11.2");
}

#[test]
fn other_names_of_tar_entries() {
    let long = format!("opt/{}", "x/".repeat(120));
    let path = format!("{long}bin/python3.12");
    let gnu = Layer::new()
        .executable(&path, python("3.12.4"))
        .link("usr/bin/python3", &format!("/{path}"));
    assert_eq!(pythons(&[gnu]), [format!("3.12.4 /{path}")]);
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = rest.len() + 3;
        assert!((100..1000).contains(&length));
        format!("{length}{rest}")
    };
    let global = "19 path=never/read\n";
    let pax = Layer::new()
        .entry(b'g', "pax_global_header", "", global.as_bytes(), |_| ())
        .entry(b'x', "x", "", record("path", &path).as_bytes(), |_| ())
        .executable("short", python("3.12.4"))
        .entry(
            b'x',
            "x",
            "",
            record("linkpath", &format!("/{path}")).as_bytes(),
            |_| (),
        )
        .link("usr/bin/python3", "short");
    assert_eq!(pythons(&[pax]), [format!("3.12.4 /{path}")]);
}

#[test]
fn sparse_files() {
    let text = |layer: Layer| layer.file("etc/os-release", "ID=debian\n");
    let body = python("3.12.4");
    // Old GNU format, with one more block of the map.
    let gnu = |path: &str, body: &[u8]| {
        let mut map = [0; 512];
        map[0] = b'7';
        let mut whole = map.to_vec();
        whole.extend_from_slice(body);
        Layer::new().entry(b'S', path, "", &whole, |header| {
            header.set_mode(0o755);
            let size = header.entry_size().unwrap();
            header.set_size(size - 512);
            header.as_gnu_mut().unwrap().set_is_extended(true);
        })
    };
    let found = image(&[], &[text(gnu("usr/bin/python3.12", &body))]);
    assert_eq!(found.pythons.len(), 1);
    assert_eq!(found.os.unwrap().id, "debian");
    let pax = Layer::new()
        .entry(
            b'x',
            "x",
            "",
            b"22 GNU.sparse.major=1\n38 GNU.sparse.name=usr/bin/python3.12\n",
            |_| (),
        )
        .executable("GNUSparseFile.0/python3.12", &body);
    assert_eq!(pythons(&[pax]).len(), 1);
    insta::assert_snapshot!(gnu("etc/os-release", b"ID=x").error(), @"`etc/os-release` in the layer is a text in a sparse file");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_in_any_way() {
    let tar = base().bytes();
    let (first, second) = tar.split_at(700);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let skippable = [
        &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..],
        &zstd(&tar),
    ]
    .concat();
    for blob in [
        tar.clone(),
        gzip(&tar),
        [gzip(first), gzip(second), gzip(b"")].concat(),
        zstd(&tar),
        [zstd(first), zstd(second)].concat(),
        skippable,
    ] {
        let scan = scan(
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            &blob[..],
        )
        .unwrap();
        assert_eq!(facts(&[], &[scan]).unwrap().pythons.len(), 1);
    }
    let check = |media_type: &str, blob: &[u8]| message(&scan(media_type, blob).unwrap_err());
    insta::assert_snapshot!(check(TAR, b"\xfd7zXZ\0\0\0"), @"the layer is compressed with xz, which layers cannot be");
    insta::assert_snapshot!(check(TAR, b"BZh91AY&SY"), @"the layer is compressed with bzip2, which layers cannot be");
    insta::assert_snapshot!(check("application/vnd.in-toto+json", &tar), @"the media type `application/vnd.in-toto+json` is not that of a layer that can be read");
    insta::assert_snapshot!(check("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", &tar), @"the media type `application/vnd.oci.image.layer.v1.tar+gzip+encrypted` is not that of a layer that can be read");
    for packed in [gzip(&tar), zstd(&tar)] {
        for length in [packed.len() / 2, packed.len() - 1] {
            let cut = check(TAR, &packed[..length]);
            assert!(cut.starts_with("the layer ends too early"), "{cut}");
        }
    }
    let mut wrong = gzip(&tar);
    let at = wrong.len() - 8;
    wrong[at] ^= 1;
    insta::assert_snapshot!(check(TAR, &wrong), @"the layer cannot be read after `usr/bin/python3`: corrupt gzip stream does not have a matching checksum");
}

#[test]
fn streams_that_end_otherwise() {
    let open = base();
    let count = |bytes: &[u8]| scan(TAR, bytes).map(|scan| scan.entries.len());
    assert_eq!(count(open.open()).unwrap(), 2);
    assert_eq!(count(&open.bytes()[..open.open().len() + 512]).unwrap(), 2);
    assert_eq!(
        count(&[&open.bytes()[..], b"anything"].concat()).unwrap(),
        2
    );
    assert_eq!(count(b"").unwrap(), 0);
    assert_eq!(count(&[0; 10240]).unwrap(), 0);
}

#[test]
fn damage_is_told_with_its_place() {
    let entry = |flag: u8, path: &str| Layer::new().entry(flag, path, "", b"", |_| ()).error();
    insta::assert_snapshot!(entry(b'V', "label"), @"`label` in the layer has the unknown type `V`");
    insta::assert_snapshot!(entry(b'0', "a/../../b"), @"`a/../../b` in the layer lies outside the image");
    insta::assert_snapshot!(entry(b'0', "a/.wh."), @"`a/.wh.` in the layer is a whiteout of nothing");
    insta::assert_snapshot!(entry(b'0', "a/.wh..."), @"`a/.wh...` in the layer is a whiteout of nothing");
    let long = entry(b'0', &"a/".repeat(3000));
    assert!(
        long.ends_with(" in the layer has a path of more than 4095 bytes"),
        "{long}"
    );
    insta::assert_snapshot!(Layer::new().file("etc/os-release", vec![b'x'; 300 << 10]).error(), @"`etc/os-release` in the layer has more than 262144 bytes where such a file has few");
    insta::assert_snapshot!(Layer::new().file("a.dist-info/METADATA", vec![b'x'; 2 << 20]).error(), @"`a.dist-info/METADATA` in the layer has more than 1048576 bytes where such a file has few");
    let name = "Requires-Dist: x\n".repeat(300_000);
    insta::assert_snapshot!(Layer::new().file("a.dist-info/METADATA", name).error(), @"`a.dist-info/METADATA` in the layer has more than 4194304 bytes where such a file has few");

    let file = |edit: fn(&mut tar::Header)| base().entry(b'0', "f", "", b"", edit).error();
    insta::assert_snapshot!(file(|header| header.as_mut_bytes()[124..136].fill(b'9')), @"the layer has a header whose size is not a number after `usr/bin/python3`");
    insta::assert_snapshot!(file(|header| header.set_size(1 << 40)), @"the layer ends too early after `f`");
    insta::assert_snapshot!(file(|header| header.set_size(u64::MAX)), @"the layer ends too early after `f`");
    let extension = |flag: u8, body: &[u8]| {
        base()
            .entry(flag, "x", "", body, |_| ())
            .file("f", "")
            .error()
    };
    insta::assert_snapshot!(extension(b'x', b"9 path=\n"), @"the layer has a malformed extended header after `usr/bin/python3`");
    insta::assert_snapshot!(extension(b'L', &vec![b'a'; 2 << 20]), @"the layer has an extended header of 2097152 bytes after `usr/bin/python3`");
    let mut bytes = base().bytes();
    bytes[0] ^= 1;
    insta::assert_snapshot!(message(&scan(TAR, &bytes[..]).unwrap_err()), @"the layer has a header whose checksum is wrong");
    let zeros = [&[0; 512], base().open()].concat();
    insta::assert_snapshot!(message(&scan(TAR, &zeros[..]).unwrap_err()), @"the layer goes on after a block of zeros");
}

#[test]
fn links_beyond_measure() {
    let name = "x".repeat(90);
    let target = "y/".repeat(2000);
    let many = (0..40_000).fold(Layer::new(), |layer, n| {
        layer.link(&format!("{n}{name}"), &target)
    });
    let error = many.error();
    assert!(
        error.ends_with(
            "is too much: a layer with over 134217728 bytes of links and metadata is not read"
        ),
        "{error}"
    );
    let long = Layer::new().link("a", &"y/".repeat(3000)).error();
    insta::assert_snapshot!(long, @"`a` in the layer has a path of more than 4095 bytes");
}

fn sample() -> Layer {
    base()
        .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
        .link("lib", "usr/lib")
        .hardlink("usr/bin/python", "usr/bin/python3.11")
        .file(
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            crate::testing::glibc("2.36"),
        )
        .package(
            &format!("{}lib/python3.11/site-packages", "opt/x/".repeat(20)),
            "a",
            "1",
        )
        .file("opt/venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.11.2\n")
        .file("var/lib/dpkg/status", "Package: libc6\nVersion: 2.36-9\n")
        .file("usr/.wh.share", "")
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, kind in 0_usize..4) {
        let magic: &[u8] = [&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"][kind];
        let _ = scan(TAR, &[magic, &bytes].concat()[..]);
    }

    #[test]
    fn damaged_layers_are_read_without_a_panic(
        changes in proptest::collection::vec((0_usize..12_000, any::<u8>()), 1..8),
        fixed: bool,
        packed: bool,
    ) {
        let mut bytes = sample().bytes();
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = byte;
        }
        if fixed {
            fix_checksums(&mut bytes);
        }
        let bytes = if packed { gzip(&bytes) } else { bytes };
        if let Ok(scan) = scan(TAR, &bytes[..]) {
            let _ = facts(&[], &[sample().scan(), scan.clone(), scan]);
        }
    }

    #[test]
    fn any_executable_is_read_without_a_panic(bytes: Vec<u8>, class in 1_u8..3, order in 1_u8..3) {
        let head = [b"\x7fELF", &[class, order][..], &bytes].concat();
        let _ = Layer::new().executable("usr/bin/python3.12", &head).scan();
        let mut changed = python("3.12.4");
        for (at, byte) in bytes.iter().enumerate().take(120) {
            changed[at % 120] ^= byte;
        }
        let _ = image(&[], &[Layer::new().executable("usr/bin/python3.12", &changed)]);
    }
}

/// So that what is changed in a header is believed.
fn fix_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 512 <= bytes.len() {
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&bytes[at..at + 512]);
        header.set_cksum();
        let is_header = header.as_bytes()[..100] != [0; 100];
        if is_header && header.as_bytes()[257..262] == *b"ustar" {
            bytes[at..at + 512].copy_from_slice(header.as_bytes());
        }
        at += 512;
    }
}
