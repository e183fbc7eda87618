use std::error::Error as _;
use std::io::Write as _;

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An index, shorter: each line `name version` begins a package, each ` Field: value` after it
/// adds a field or replaces one.
pub(crate) fn index(text: &str) -> Vec<Package> {
    let mut stanzas: Vec<Vec<(String, String)>> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((field, value)) = line.split_once(": ") {
            let stanza = stanzas.last_mut().unwrap();
            stanza.retain(|(name, _)| name != field);
            stanza.push((field.to_owned(), value.to_owned()));
        } else {
            let (name, version) = line.split_once(' ').unwrap();
            let fields = [
                ("Package", name),
                ("Version", version),
                ("Architecture", "arm64"),
                ("Filename", "pool/x.deb"),
                ("Size", "1"),
                ("SHA256", HEX),
            ];
            stanzas.push(fields.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
        }
    }
    let line = |(name, value): &(String, String)| format!("{name}: {value}");
    let stanza = |fields: &Vec<_>| fields.iter().map(line).collect::<Vec<_>>().join("\n");
    let text: Vec<String> = stanzas.iter().map(stanza).collect();
    parse(text.join("\n\n").as_bytes(), "Packages").unwrap()
}

const PACKAGES: &str = "\
Package: libssl3t64
Source: openssl (3.5.1-1)
Version: 3.5.1-1+b1
Architecture: arm64
Multi-Arch: same
Essential: yes
Priority: required
Provides: libssl3 (= 3.5.1-1+b1), ssl
Pre-Depends: dpkg (>= 1)
Depends: libc6 (>= 2.38),
 zlib1g | zlib
Breaks: libssl3 (<< 3.5)
Conflicts: nossl
Description: kept out
 of memory
Filename: pool/main/o/openssl/libssl3t64_3.5.1-1+b1_arm64.deb
Size: 2345678
SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

Package: tzdata
Version: 2026a-0+deb13u1
Architecture: all
Filename: pool/main/t/tzdata/tzdata_2026a-0+deb13u1_all.deb
Size: 260000
SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
";

#[test]
fn reads_an_index() {
    let packages = parse(PACKAGES.as_bytes(), "Packages").unwrap();
    insta::assert_debug_snapshot!(packages[0], @r#"
    Package {
        name: "libssl3t64",
        version: "3.5.1-1+b1",
        architecture: arm64,
        filename: "pool/main/o/openssl/libssl3t64_3.5.1-1+b1_arm64.deb",
        sha256: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855,
        size: 2345678,
        source: Some(
            "openssl (3.5.1-1)",
        ),
        pre_depends: Relations(
            "dpkg (>= 1)",
        ),
        depends: Relations(
            "libc6 (>= 2.38),\nzlib1g | zlib",
        ),
        conflicts: Relations(
            "nossl",
        ),
        breaks: Relations(
            "libssl3 (<< 3.5)",
        ),
        provides: [
            (
                "libssl3",
                Some(
                    "3.5.1-1+b1",
                ),
            ),
            (
                "ssl",
                None,
            ),
        ],
        multi_arch: Same,
        essential: true,
        priority: Required,
    }
    "#);
    assert!(packages[1].architecture.is_all());
    assert_eq!(packages[1].priority, Priority::Extra);
}

#[test]
fn the_ending_tells_the_compression() {
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(PACKAGES.as_bytes()).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(PACKAGES.as_bytes()).unwrap();
    let plain = parse(PACKAGES.as_bytes(), "main/binary-arm64/Packages").unwrap();
    let (xz, gz) = (xz.finish().unwrap(), gz.finish().unwrap());
    assert_eq!(parse(&xz[..], "Packages.xz").unwrap(), plain);
    assert_eq!(parse(&gz[..], "Packages.gz").unwrap(), plain);
    for (bytes, file) in [
        (&xz[..xz.len() - 9], "Packages.xz"),
        (&gz[..gz.len() - 9], "Packages.gz"),
    ] {
        assert_eq!(
            parse(bytes, file).unwrap_err().to_string(),
            format!("cannot read {file}")
        );
    }
}

#[test]
fn says_what_is_wrong_with_a_stanza() {
    let message = |from: &str, to: &str| {
        let text = PACKAGES.replace(from, to);
        let error = parse(text.as_bytes(), "Packages").unwrap_err();
        let source = error
            .source()
            .map_or(String::new(), |source| format!(": {source}"));
        format!("{error}{source}")
    };
    insta::assert_snapshot!(message("Version: 2026a-0", "Version: 2026a_0"), @"Packages, line 20: field `Version`: `2026a_0+deb13u1` is not a version: it has the character '_'");
    insta::assert_snapshot!(message("Size: 260000", "Size: -1"), @"Packages, line 20: field `Size`: `-1` is not a size");
    insta::assert_snapshot!(message("Package: tzdata", "Package: ../tzdata"), @"Packages, line 20: field `Package`: `../tzdata` is not a name");
    insta::assert_snapshot!(message("Multi-Arch: same", "Multi-Arch: maybe"), @"Packages, line 1: field `Multi-Arch`: `maybe` is none of the field's values");
    insta::assert_snapshot!(message("Filename: pool/main/t", "File: pool/main/t"), @"Packages, line 20: the stanza has no field `Filename`");
    insta::assert_snapshot!(message("SHA256: e3", "SHA256: E3"), @"Packages, line 1: field `SHA256`: `E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits");
    insta::assert_snapshot!(message("libssl3 (= 3.5.1-1+b1), ssl", "libssl3 | ssl"), @"Packages, line 1: field `Provides`: `libssl3 | ssl` cannot be provided");
}

#[test]
fn reads_what_is_installed() {
    let status = "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: arm64\n\n\
                  Package: b\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: arm64\n\n\
                  Package: c\nStatus: install ok unpacked\nVersion: 1\nArchitecture: arm64\n\n\
                  Package: d\nVersion: 2\nArchitecture: all\nProvides: e (= 3)\n";
    let names: Vec<_> = installed(status.as_bytes(), "status")
        .unwrap()
        .into_iter()
        .map(|p| p.name)
        .collect();
    assert_eq!(names, ["a", "d"]);
}

#[test]
fn platforms_have_architectures() {
    let names = Platform::ALL.map(|platform| Architecture::of(platform).to_string());
    assert_eq!(names, ["amd64", "arm64", "armhf"]);
}
