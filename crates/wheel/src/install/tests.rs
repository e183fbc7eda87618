use std::io::Write as _;

use oci::{Archived, Checksum, Source};
use testkit::WheelBuilder;

use super::*;
use crate::{Limits, Origin, WheelFilename};

fn open_as(builder: &WheelBuilder, filename: &str) -> Result<Wheel, Error> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&builder.build()).unwrap();
    let source = Source::from_file(file, filename, None).unwrap();
    let filename: WheelFilename = filename.parse().unwrap();
    Wheel::open(source, &filename, &Limits::default())
}

fn venv() -> Venv {
    Venv {
        prefix: TreePath::new("opt/venv").unwrap(),
        python: "3.13.5".parse().unwrap(),
        interpreter: "/usr/bin/python3.13".to_owned(),
        implementation: crate::Implementation::CPython,
        sees: crate::Sees::Own,
    }
}

fn install_with(builder: &WheelBuilder, options: &InstallOptions) -> Result<Installed, Error> {
    open_as(builder, &builder.filename())?.install(&venv(), options)
}

fn install(builder: &WheelBuilder) -> Tree {
    let installed = install_with(builder, &InstallOptions::default()).unwrap();
    assert_eq!(installed.warnings, []);
    installed.tree
}

fn install_warn(builder: &WheelBuilder) -> (Tree, String) {
    let options = InstallOptions {
        record: RecordPolicy::Warn,
        ..Default::default()
    };
    let installed = install_with(builder, &options).unwrap();
    let warnings: Vec<_> = installed.warnings.iter().map(ToString::to_string).collect();
    (installed.tree, warnings.join("\n"))
}

fn fault(builder: &WheelBuilder) -> String {
    install_with(builder, &InstallOptions::default())
        .unwrap_err()
        .to_string()
}

/// Every file's mode and path, without the directory that nearly all are in.
fn listing(tree: &Tree) -> String {
    let files = tree
        .iter()
        .filter(|(_, entry)| entry.kind != Kind::Directory);
    let line = |(path, entry): (&TreePath, &Entry)| {
        let path = path
            .as_str()
            .replace("opt/venv/lib/python3.13/site-packages", "…");
        format!("{:o} {path}", entry.mode)
    };
    files.map(line).collect::<Vec<_>>().join("\n")
}

fn read(tree: &Tree, path: &str) -> String {
    let path = path.replace('…', "opt/venv/lib/python3.13/site-packages");
    let entry = tree.get(&TreePath::new(&path).unwrap()).unwrap();
    let Kind::File(content) = &entry.kind else {
        panic!("{path} is no file")
    };
    String::from_utf8(testkit::read_content(content).unwrap()).unwrap()
}

#[test]
fn every_scheme_has_its_place() {
    let wheel = WheelBuilder::new("Foo.Bar", "1.0")
        .file("foo/__init__.py", b"")
        .file("foo/vendored-2.0.dist-info/METADATA", b"")
        .data_file("purelib/pure.py", b"")
        .data_file("platlib/foo/plat.so", b"")
        .data_file("headers/foo.h", b"")
        .data_file("scripts/run", b"#!/bin/sh\n")
        .data_file("data/share/foo/x.txt", b"")
        .data_file("data/lib64/foo.conf", b"");
    insta::assert_snapshot!(listing(&install(&wheel)), @"
    755 opt/venv/bin/run
    644 opt/venv/include/site/python3.13/foo-bar/foo.h
    644 opt/venv/lib/foo.conf
    644 …/foo/__init__.py
    644 …/foo/plat.so
    644 …/foo/vendored-2.0.dist-info/METADATA
    644 …/foo_bar-1.0.dist-info/INSTALLER
    644 …/foo_bar-1.0.dist-info/METADATA
    644 …/foo_bar-1.0.dist-info/RECORD
    644 …/foo_bar-1.0.dist-info/WHEEL
    644 …/pure.py
    644 opt/venv/share/foo/x.txt
    ");
}

#[test]
fn files_stay_in_the_archive_with_their_checksum() {
    let wheel = WheelBuilder::new("foo", "1.0").file("foo.py", b"x = 1\n");
    let tree = install(&wheel);
    let path = TreePath::new("opt/venv/lib/python3.13/site-packages/foo.py").unwrap();
    let entry = tree.get(&path).unwrap();
    assert_eq!(&*entry.origin, "foo-1.0-py3-none-any.whl");
    let Kind::File(Content::Archived(Archived {
        checksum,
        uncompressed_size,
        ..
    })) = &entry.kind
    else {
        panic!("not archived")
    };
    assert_eq!(*uncompressed_size, 6);
    let (Checksum::Sha256(found), OnMismatch::Fail) = checksum.unwrap() else {
        panic!("{checksum:?}")
    };
    assert_eq!(found, *oci::Digest::of(b"x = 1\n").as_bytes());
    assert_eq!(read(&tree, "…/foo.py"), "x = 1\n");
}

#[test]
fn modes_are_ours() {
    let wheel = WheelBuilder::new("foo", "1.0")
        .file_with_mode("a", b"", 0o600)
        .file_with_mode("b", b"", 0o666)
        .file_with_mode("c", b"", 0o4711)
        .file_with_mode("d", b"", 0o010);
    let listing = listing(&install(&wheel));
    insta::assert_snapshot!(listing.lines().take(4).collect::<Vec<_>>().join("\n"), @"
    644 …/a
    644 …/b
    755 …/c
    755 …/d
    ");
}

#[test]
fn commands_and_scripts() {
    let wheel = WheelBuilder::new("foo", "1.0")
        .console_script("foo", "foo.cli:main [extra]")
        .gui_script("foo-gui", "foo.gui:App.run")
        .data_file("scripts/foo", b"clashes")
        .data_file("scripts/foo.exe", b"clashes")
        .data_file("scripts/foo-script.py", b"clashes")
        .data_file("data/bin/foo", b"clashes")
        .data_file("data/bin/other", b"")
        .data_file("scripts/tool", b"#!pythonw -E\r\nimport foo\n")
        .data_file("scripts/binary", b"\x7fELF");
    let tree = install(&wheel);
    insta::assert_snapshot!(listing(&tree).lines().take(5).collect::<Vec<_>>().join("\n"), @"
    755 opt/venv/bin/binary
    755 opt/venv/bin/foo
    755 opt/venv/bin/foo-gui
    644 opt/venv/bin/other
    755 opt/venv/bin/tool
    ");
    assert!(read(&tree, "opt/venv/bin/foo").contains("\nfrom foo.cli import main\n"));
    assert!(read(&tree, "opt/venv/bin/foo-gui").contains("\nfrom foo.gui import App\n"));
    assert_eq!(
        read(&tree, "opt/venv/bin/tool"),
        "#!/opt/venv/bin/python\nimport foo\n"
    );
    let record = read(&tree, "…/foo-1.0.dist-info/RECORD");
    assert!(record.contains("\n../../../bin/tool,sha256="), "{record}");
    assert!(!record.contains(".data/"), "{record}");
}

#[test]
fn a_command_that_cannot_run_is_warned_about() {
    let wheel = WheelBuilder::new("foo", "1.0").console_script("foo", "foo-cli:main");
    let installed = install_with(&wheel, &InstallOptions::default()).unwrap();
    insta::assert_snapshot!(installed.warnings[0], @"foo-1.0-py3-none-any.whl: the command `foo` cannot run: Python cannot import `foo-cli:main`");
    let wheel = WheelBuilder::new("foo", "1.0").console_script("../foo", "foo:main");
    insta::assert_snapshot!(fault(&wheel), @r#"foo-1.0-py3-none-any.whl: entry_points.txt has a command called "../foo", which cannot be a file in bin/"#);
}

#[test]
fn pip_is_named_after_the_version_it_is_for() {
    let commands = |name: &str| {
        let wheel = WheelBuilder::new(name, "1.0")
            .console_script("pip", "pip:main")
            .console_script("pip3", "pip:main")
            .console_script("pip3.9", "pip:main");
        let listing = listing(&install(&wheel));
        listing
            .lines()
            .filter_map(|line| line.split("/bin/").nth(1))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(commands("pip"), "pip pip3 pip3.13");
    assert_eq!(commands("pipx"), "pip pip3 pip3.9");
}

#[test]
fn the_environment_itself_is_not_replaced() {
    let check = |path: &str| fault(&WheelBuilder::new("foo", "1.0").data_file(path, b""));
    insta::assert_snapshot!(check("scripts/python3"), @"foo-1.0-py3-none-any.whl would replace /opt/venv/bin/python3, which is the virtual environment's own");
    insta::assert_snapshot!(check("data/pyvenv.cfg"), @"foo-1.0-py3-none-any.whl would replace /opt/venv/pyvenv.cfg, which is the virtual environment's own");
    insta::assert_snapshot!(check("data/lib64"), @"foo-1.0-py3-none-any.whl would replace /opt/venv/lib64, which is the virtual environment's own");
    insta::assert_snapshot!(check("data/bin/python/x"), @"foo-1.0-py3-none-any.whl would replace /opt/venv/bin/python, which is the virtual environment's own");
    insta::assert_snapshot!(check("data/lib"), @"foo-1.0-py3-none-any.whl would replace /opt/venv/lib, which is the virtual environment's own");
    let wheel = WheelBuilder::new("foo", "1.0").console_script("python", "foo:main");
    assert!(fault(&wheel).contains("would replace /opt/venv/bin/python,"));
}

#[test]
fn data_of_no_scheme_and_two_files_of_one_place() {
    let wheel = |path: &str| WheelBuilder::new("foo", "1.0").data_file(path, b"");
    insta::assert_snapshot!(fault(&wheel("etc/x")), @"foo-1.0-py3-none-any.whl: member `foo-1.0.data/etc/x` is not in one of the .data directory's purelib, platlib, headers, scripts and data");
    insta::assert_snapshot!(fault(&wheel("x")), @"foo-1.0-py3-none-any.whl: member `foo-1.0.data/x` is not in one of the .data directory's purelib, platlib, headers, scripts and data");
    let twice = wheel("purelib/a.py").data_file("platlib/a.py", b"other");
    insta::assert_snapshot!(fault(&twice), @"foo-1.0-py3-none-any.whl has two different files for /opt/venv/lib/python3.13/site-packages/a.py");
    let same = wheel("purelib/a.py").data_file("platlib/a.py", b"");
    assert!(listing(&install(&same)).contains("…/a.py"));
    let other = WheelBuilder::new("foo", "1.0").file("bar-1.0.data/scripts/x", b"");
    assert!(listing(&install(&other)).contains("…/bar-1.0.data/scripts/x"));
}

#[test]
fn compiled_files_are_left_out_unless_they_are_the_program() {
    let wheel = WheelBuilder::new("foo", "1.0")
        .file("foo/a.py", b"")
        .file("foo/a.pyc", b"")
        .file("foo/__pycache__/a.cpython-313.pyc", b"")
        .file("foo/__pycache__/gone.cpython-313.pyc", b"")
        .file("foo/alone.pyc", b"");
    let tree = install(&wheel);
    let listing = listing(&tree);
    let ours: Vec<_> = listing
        .lines()
        .filter(|line| line.contains("/foo/"))
        .collect();
    insta::assert_snapshot!(ours.join("\n"), @"
    644 …/foo/a.py
    644 …/foo/alone.pyc
    ");
    assert!(!read(&tree, "…/foo-1.0.dist-info/RECORD").contains("__pycache__"));
}

#[test]
fn metadata_is_the_installers() {
    let wheel = WheelBuilder::new("foo", "1.0")
        .file("foo.py", b"")
        .console_script("foo", "foo:main")
        .dist_info_file("INSTALLER", b"pip\n")
        .dist_info_file("REQUESTED", b"")
        .dist_info_file("direct_url.json", b"{}");
    let tree = install(&wheel);
    assert_eq!(read(&tree, "…/foo-1.0.dist-info/INSTALLER"), "oxcart\n");
    assert!(!listing(&tree).contains("REQUESTED") && !listing(&tree).contains("direct_url"));
    insta::assert_snapshot!(read(&tree, "…/foo-1.0.dist-info/RECORD"), @"
    ../../../bin/foo,sha256=rx7UUXn2KhA8ZhoE5hxKjo19LpKT4npweaXSwBCwepc,283
    foo-1.0.dist-info/INSTALLER,sha256=YHFXBRHHkBQ7P735xYeBOMV7IeZYiIpIgMTlM7HUnk0,7
    foo-1.0.dist-info/METADATA,sha256=C3oe-VREfT1pzhgykVjrc6HzanP2BK3hPoD4n4Gy5DI,45
    foo-1.0.dist-info/RECORD,,
    foo-1.0.dist-info/WHEEL,sha256=whATbT_WKJeECOK7djVdCwXwJC4kQUbu3Ubi5sMLn8k,78
    foo-1.0.dist-info/entry_points.txt,sha256=dxGdQPZZu55YnMOYAiqg8QmE_Vs1tk3qDtPbYbgTC90,34
    foo.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
    ");
    let options = InstallOptions {
        requested: true,
        direct_url: Some(DirectUrl::new(
            "https://host.test/foo.whl",
            Origin::Archive { sha256: None },
        )),
        ..Default::default()
    };
    let tree = install_with(&wheel, &options).unwrap().tree;
    assert_eq!(read(&tree, "…/foo-1.0.dist-info/REQUESTED"), "");
    assert_eq!(
        read(&tree, "…/foo-1.0.dist-info/direct_url.json"),
        r#"{"archive_info":{},"url":"https://host.test/foo.whl"}"#
    );
    let record = read(&tree, "…/foo-1.0.dist-info/RECORD");
    assert!(record.contains("/REQUESTED,sha256=47DEQ") && record.contains("/direct_url.json,"));
}

#[test]
fn signatures_are_kept_and_listed_without_a_checksum() {
    let wheel = WheelBuilder::new("foo", "1.0")
        .dist_info_file("RECORD.jws", b"{}")
        .unlisted("foo-1.0.dist-info/RECORD.jws");
    let record = read(&install(&wheel), "…/foo-1.0.dist-info/RECORD");
    assert!(
        record.contains("\nfoo-1.0.dist-info/RECORD.jws,,2\n"),
        "{record}"
    );
}

#[test]
fn record_lists_every_file() {
    let wheel = WheelBuilder::simple("foo", "1.0")
        .file("b.py", b"")
        .unlisted("foo/__init__.py");
    insta::assert_snapshot!(fault(&wheel), @"foo-1.0-py3-none-any.whl: RECORD does not list `foo/__init__.py`");
    let error = install_with(&wheel, &InstallOptions::default()).unwrap_err();
    insta::assert_snapshot!(error.hint().unwrap(), @r#"if you trust this file, set `record = "warn"` for the package: it is then installed as it is, with a warning"#);
    insta::assert_snapshot!(fault(&wheel.clone().unlisted("b.py")), @"foo-1.0-py3-none-any.whl: RECORD does not list `b.py` (and 1 more fault)");

    let (tree, warnings) = install_warn(&wheel);
    insta::assert_snapshot!(warnings, @"foo-1.0-py3-none-any.whl: RECORD does not list `foo/__init__.py`");
    let record = read(&tree, "…/foo-1.0.dist-info/RECORD");
    assert!(record.ends_with("foo/__init__.py,,20\n"), "{record}");
    insta::assert_snapshot!(fault(&WheelBuilder::simple("foo", "1.0").no_record()), @"foo-1.0-py3-none-any.whl has no RECORD");
}

/// A wheel whose RECORD is `rows` and, for METADATA and WHEEL, as it should be.
fn with_record(rows: &str) -> WheelBuilder {
    let wheel = WheelBuilder::new("foo", "1.0").file("foo.py", b"");
    let good = read(&install(&wheel), "…/foo-1.0.dist-info/RECORD");
    let keep = |line: &&str| line.contains("METADATA") || line.contains("WHEEL");
    let good: Vec<_> = good.lines().filter(keep).collect();
    let rows = format!("{}\n{rows}", good.join("\n"));
    wheel.dist_info_file("RECORD", rows.as_bytes())
}

#[test]
fn record_is_right_about_every_file() {
    const EMPTY: &str = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let check = |rows: &str| {
        let wheel = with_record(rows);
        let (tree, warnings) = install_warn(&wheel);
        assert!(listing(&tree).contains("…/foo.py"));
        assert_eq!(warnings, fault(&wheel));
        warnings.replace("foo-1.0-py3-none-any.whl: ", "")
    };
    insta::assert_snapshot!(check("foo.py,,\n"), @"RECORD has no checksum for `foo.py`");
    insta::assert_snapshot!(check("foo.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,0\n"), @"RECORD has a checksum of md5, which is weaker than sha256, for `foo.py`");
    insta::assert_snapshot!(check("foo.py,sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk,0\n"), @"RECORD has a checksum of sha1, which is weaker than sha256, for `foo.py`");
    insta::assert_snapshot!(check("foo.py,sha256=e3b0,0\n"), @"RECORD has `sha256=e3b0`, which is not a checksum, for `foo.py`");
    insta::assert_snapshot!(check(&format!("/foo.py,{EMPTY},0\n")), @"RECORD has a path that is not relative to the wheel's root with `/` between its parts: `/foo.py`");
    insta::assert_snapshot!(check(&format!("foo.py,{EMPTY},0\nbar.py,{EMPTY},0\n")), @"RECORD lists what is not in the archive: `bar.py`");
    insta::assert_snapshot!(check(&format!("foo.py,{EMPTY},0\n../x,{EMPTY},0\n")), @"RECORD lists what is not in the archive: `../x`");
    insta::assert_snapshot!(check(&format!("foo.py,{EMPTY}\n")), @"RECORD has a row of 2 fields instead of 3 for `foo.py`");
    insta::assert_snapshot!(check(&format!("foo.py,{EMPTY},\nfoo.py,{EMPTY},0\n")), @"RECORD has two rows that differ for `foo.py`");
}

#[test]
fn a_wrong_size_with_a_checksum_is_a_slip() {
    let wheel = with_record("foo.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,7\n");
    let installed = install_with(&wheel, &InstallOptions::default()).unwrap();
    insta::assert_snapshot!(installed.warnings[0], @"foo-1.0-py3-none-any.whl: RECORD has a size of 7 for a file of 0 bytes: `foo.py`");
    let record = read(&installed.tree, "…/foo-1.0.dist-info/RECORD");
    assert!(record.ends_with("hSuFU,0\n"), "{record}");
}

#[test]
fn a_wrong_checksum_is_for_the_encoder_except_in_what_is_rewritten() {
    let wheel = WheelBuilder::simple("foo", "1.0").wrong_record_hash("foo/__init__.py");
    let (tree, warnings) = install_warn(&wheel);
    assert_eq!(warnings, "");
    let path = TreePath::new("opt/venv/lib/python3.13/site-packages/foo/__init__.py").unwrap();
    let Kind::File(Content::Archived(archived)) = &tree.get(&path).unwrap().kind else {
        panic!("not archived")
    };
    assert_eq!(archived.checksum.unwrap().1, OnMismatch::Report);

    let wheel = WheelBuilder::new("foo", "1.0")
        .data_file("scripts/x", b"#!python\n")
        .wrong_record_hash("foo-1.0.data/scripts/x");
    insta::assert_snapshot!(fault(&wheel), @"foo-1.0-py3-none-any.whl: RECORD has sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, but the file has sha256:34a272082d1f38d71a632b46f66cac71adfb4d97fcc010c84af44d016fbbf294: `foo-1.0.data/scripts/x`");
    let (tree, warnings) = install_warn(&wheel);
    assert!(warnings.contains("`foo-1.0.data/scripts/x`"), "{warnings}");
    assert_eq!(read(&tree, "opt/venv/bin/x"), "#!/opt/venv/bin/python\n");
}

#[test]
fn the_directory_and_metadata_are_of_the_filename() {
    let check = |builder: &WheelBuilder, filename: &str| {
        open_as(builder, filename)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let wheel = WheelBuilder::new("foo", "1.0");
    insta::assert_snapshot!(check(&wheel, "bar-1.0-py3-none-any.whl"), @"bar-1.0-py3-none-any.whl should have one .dist-info directory, of its name and version, and has foo-1.0.dist-info");
    insta::assert_snapshot!(check(&wheel, "foo-1.1-py3-none-any.whl"), @"foo-1.1-py3-none-any.whl should have one .dist-info directory, of its name and version, and has foo-1.0.dist-info");
    let two = wheel.clone().file("bar-1.0.dist-info/METADATA", b"");
    insta::assert_snapshot!(check(&two, "foo-1.0-py3-none-any.whl"), @"foo-1.0-py3-none-any.whl should have one .dist-info directory, of its name and version, and has bar-1.0.dist-info, foo-1.0.dist-info");
    let other = wheel
        .clone()
        .dist_info_file("METADATA", b"Name: foo\nVersion: 2\n");
    insta::assert_snapshot!(check(&other, "foo-1.0-py3-none-any.whl"), @"foo-1.0-py3-none-any.whl: METADATA is of foo 2, unlike the filename");
    let broken = wheel.clone().dist_info_file("METADATA", b"Name foo\n");
    insta::assert_snapshot!(check(&broken, "foo-1.0-py3-none-any.whl"), @"foo-1.0-py3-none-any.whl: METADATA has no `Name`");
    insta::assert_snapshot!(check(&wheel.clone().wheel_version("2.0"), "foo-1.0-py3-none-any.whl"), @"foo-1.0-py3-none-any.whl: WHEEL has Wheel-Version 2.0; only 1 is known");
    let local = open_as(&wheel, "foo-1.0+cpu-py3-none-any.whl").unwrap();
    assert_eq!(local.version().to_string(), "1.0+cpu");
    assert_eq!(local.metadata().version.to_string(), "1.0");
}

#[test]
fn a_newer_minor_wheel_version_is_a_warning() {
    let wheel = WheelBuilder::new("foo", "1.0").wheel_version("1.7");
    let installed = install_with(&wheel, &InstallOptions::default()).unwrap();
    insta::assert_snapshot!(installed.warnings[0], @"foo-1.0-py3-none-any.whl has Wheel-Version 1.7; it is installed as 1.0");
}

#[test]
fn no_files_but_metadata_are_read_into_memory() {
    let limits = Limits {
        text: 4096,
        ..Limits::default()
    };
    let builder = WheelBuilder::new("foo", "1.0")
        .file("big.bin", &[7; 10_000])
        .data_file("scripts/big", &[7; 10_000]);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&builder.build()).unwrap();
    let source = Source::from_file(file, "foo-1.0-py3-none-any.whl", None).unwrap();
    let filename = builder.filename().parse().unwrap();
    let wheel = Wheel::open(source, &filename, &limits).unwrap();
    assert!(wheel.install(&venv(), &InstallOptions::default()).is_ok());
}
