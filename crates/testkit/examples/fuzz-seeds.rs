//! `cargo run -p testkit --example fuzz-seeds DIRECTORY`: what the fuzz targets begin with, for each
//! a directory of small inputs.
#![expect(clippy::unwrap_used, reason = "a tool for tests")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use testkit::WheelBuilder;

fn main() {
    let root = PathBuf::from(std::env::args_os().nth(1).expect("DIRECTORY"));
    splice(&root.join("splice"));
    zip(&root.join("zip"));
    tar(&root.join("tar"));
}

fn write(directory: &Path, seeds: impl IntoIterator<Item = Vec<u8>>) {
    fs::create_dir_all(directory).unwrap();
    for (n, seed) in seeds.into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{n}")), seed).unwrap();
    }
}

/// A claim about the size, and a stream.
fn splice(directory: &Path) {
    let text = "from oxcart import splice\n".repeat(40);
    let noise: Vec<u8> = (0..3000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut seeds = Vec::new();
    for plain in [&b""[..], b"a", text.as_bytes(), &noise, &vec![0; 70_000]] {
        for level in [0, 1, 6, 9] {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
            let (begin, end) = plain.split_at(plain.len() / 2);
            encoder.write_all(begin).unwrap();
            encoder.flush().unwrap();
            encoder.write_all(end).unwrap();
            let stream = encoder.finish().unwrap();
            seeds.push([&[0][..], &stream].concat());
            seeds.push([&[229][..], &stream].concat());
        }
    }
    write(directory, seeds);
}

/// A choice of policy, and a wheel.
fn zip(directory: &Path) {
    let plain = || {
        WheelBuilder::new("fuzzed", "1.0")
            .file("fuzzed/__init__.py", b"import os\n")
            .executable("fuzzed/data.bin", &[7; 300])
            .console_script("fuzzed", "fuzzed:main")
            .data_file("scripts/run", b"#!python\nprint(1)\n")
    };
    let wheels = [
        plain(),
        plain().stored(),
        plain().zip64(),
        plain().no_record(),
        plain().wrong_record_hash("fuzzed/__init__.py"),
        plain().wrong_crc("fuzzed/__init__.py"),
    ];
    let seeds = wheels.iter().flat_map(|wheel| {
        let wheel = wheel.build();
        [0, 1].map(|first| [&[first][..], &wheel].concat())
    });
    write(directory, seeds);
}

/// A tar stream, or one in gzip: a layer, and an archive with a layout.
fn tar(directory: &Path) {
    let mut seeds = Vec::new();
    for files in [
        &[
            ("usr/lib/os-release", "ID=debian\nVERSION_CODENAME=trixie\n"),
            (
                "var/lib/dpkg/status",
                "Package: a\nStatus: install ok installed\nVersion: 1\n\n",
            ),
            ("usr/lib/python3.13/os.py", ""),
            ("opt/.wh.gone", ""),
            ("opt/.wh..wh..opq", ""),
            (
                "a-very-long-name/that/does/not/fit/into/the/hundred/bytes/that/a/header/has/for/it/and/so/needs/more.txt",
                "x",
            ),
        ][..],
        &[
            ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json", r#"{"schemaVersion":2,"manifests":[]}"#),
        ],
    ] {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        archive.append_link(&mut link, "lib", "usr/lib").unwrap();
        let tar = archive.into_inner().unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&tar).unwrap();
        seeds.extend([gzip.finish().unwrap(), tar]);
    }
    write(directory, seeds);
}
