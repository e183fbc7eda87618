//! The wheels that oxcart locks are the ones that uv's command line chooses.

use std::collections::BTreeMap;
use std::process::Command;

use oci::Platform;
use testkit::{PackageIndex, WheelBuilder};

use crate::project::Project;
use crate::samples::{Sample, oracle, succeed};
use crate::skip::{Need, left_out};

#[test]
fn pins_equal_those_of_uv() {
    if left_out(Need::Network) {
        return;
    }
    for (sample, platform, requirements, least) in [
        (Sample::Ml, Platform::Amd64, "requirements.txt", 100),
        (Sample::Ml, Platform::Arm64, "requirements.txt", 100),
        (Sample::Backend, Platform::Amd64, "requirements.txt", 100),
        (Sample::Backend, Platform::Arm64, "requirements.dev.txt", 50),
    ] {
        let built = sample.built();
        let machine = match platform {
            Platform::Amd64 => "x86_64",
            Platform::Arm64 => "aarch64",
            Platform::ArmV7 => unreachable!("uv's command line has no such platform"),
        };
        let mut uv = Command::new(oracle("uv"));
        uv.args([
            "pip",
            "compile",
            "--quiet",
            "--no-config",
            "--no-header",
            "--no-annotate",
        ]);
        uv.args(["--only-binary", ":all:", "--python-version", "3.13.5"]);
        uv.args(["--python-platform", &format!("{machine}-manylinux_2_40")]);
        let pins = succeed(uv.arg(built.project().join(requirements)));
        let theirs: BTreeMap<_, _> = pins
            .lines()
            .filter_map(|line| line.split_once("=="))
            .collect();
        let wheels = built.wheels(platform);
        let ours: BTreeMap<_, _> = wheels
            .iter()
            .map(|wheel| (wheel.name.as_str(), wheel.version.as_str()))
            .collect();
        assert!(theirs.len() >= least, "uv chose {} packages", theirs.len());
        assert_eq!(ours, theirs, "{platform} {requirements}");
    }
}

/// A source archive whose metadata can be had without a network: its backend is in it.
fn source_archive(name: &str, version: &str) -> Vec<u8> {
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    let backend = format!(
        "def prepare_metadata_for_build_wheel(directory, settings=None):\n    \
         import pathlib\n    \
         path = pathlib.Path(directory) / '{name}-{version}.dist-info'\n    \
         path.mkdir()\n    \
         (path / 'METADATA').write_text({metadata:?})\n    \
         return path.name\n"
    );
    let project =
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n";
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (file, text) in [
        ("PKG-INFO", metadata.as_str()),
        ("pyproject.toml", project),
        ("backend.py", &backend),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let path = format!("{name}-{version}/{file}");
        archive
            .append_data(&mut header, path, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// The file that pip would take for a requirement, without its dependencies.
fn chosen_by_pip(index: &PackageIndex, requirement: &str, options: &[&str]) -> Option<String> {
    let mut pip = Command::new(oracle("python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--isolated",
    ]);
    pip.args([
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "--no-cache-dir",
        "--report",
        "-",
    ]);
    pip.args(["--index-url", &index.url()])
        .args(options)
        .arg(requirement);
    let output = pip.env_remove("PIP_FIND_LINKS").output().unwrap();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains("No matching distribution"),
            "{requirement}: {stderr}"
        );
        return None;
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let url = report["install"][0]["download_info"]["url"]
        .as_str()
        .unwrap();
    Some(url.rsplit('/').next().unwrap().to_owned())
}

/// A project whose index has wheels, and source archives that are newer.
fn with_sources() -> Project {
    let project = Project::standard();
    for (name, wheels, sources) in [
        ("older", &["1.0", "1.1"][..], &["1.0", "1.2"][..]),
        ("foreign", &["1.0"], &["1.1"]),
        ("only", &[], &["1.0", "1.1"]),
        ("both", &["1.0", "2.0"], &["1.0", "2.0"]),
        ("pre", &["1.0", "2.0a1"], &["1.1"]),
    ] {
        for version in wheels {
            project.index.add(&WheelBuilder::simple(name, version));
        }
        for version in sources {
            let file = format!("{name}-{version}.tar.gz");
            project
                .index
                .add_file(name, &file, &source_archive(name, version));
        }
    }
    project
        .index
        .add(&WheelBuilder::simple("foreign", "1.1").tags("cp313-cp313-win_amd64"));
    project
}

/// What `prefer-binary` and its absence mean, where wheels are older than source archives. pip is asked
/// as it is, for this machine; nothing here depends on one.
#[test]
fn prefer_binary_chooses_what_pip_chooses() {
    if left_out(Need::Network) {
        return;
    }
    let project = with_sources();
    let mut sdists = 0;
    for requirement in [
        "older",
        "older<1.2",
        "older>=1.1",
        "older==1.0",
        "older==1.2",
        "older>1.1",
        "foreign",
        "foreign>1.0",
        "only",
        "only==1.0",
        "both",
        "both<2",
        "pre",
        "pre==2.0a1",
    ] {
        let theirs = chosen_by_pip(&project.index, requirement, &["--prefer-binary"]).unwrap();
        let configure = |more: &str| {
            project.configure(&format!(
                "[image]\nplatforms = [\"linux/arm64\"]\n[dependencies]\n\
                 packages = [\"{requirement}\"]\n{more}index = \"$INDEX\"\n"
            ));
        };
        configure("prefer-binary = true\n");
        let _ = std::fs::remove_file(project.context.path("oxcart.lock"));
        if let Some(source) = theirs.strip_suffix(".tar.gz") {
            // What pip would build is named where it is refused.
            let run = project.context.fails(["lock"]);
            run.says(&[&source.replace('-', " "), "source"]);
            sdists += 1;
        } else {
            project.context.succeeds(["lock"]);
            let lock = project.context.read("oxcart.lock");
            assert!(
                lock.contains(&format!("\"{theirs}\"")),
                "{requirement}: {theirs}\n{lock}"
            );
        }
        // Without it pip takes the newest of either. We take wheels alone, as pip does when told so.
        configure("");
        let wheels = chosen_by_pip(&project.index, requirement, &["--only-binary", ":all:"]);
        match wheels {
            None => drop(project.context.fails(["lock"])),
            Some(wheel) => {
                project.context.succeeds(["lock"]);
                let lock = project.context.read("oxcart.lock");
                assert!(
                    lock.contains(&format!("\"{wheel}\"")),
                    "{requirement}: {wheel}\n{lock}"
                );
            }
        }
    }
    assert!(sdists > 3);
    // A version before a release is taken where there is no other wheel, by pip too. That pip would rather
    // build a source archive of a release, where it may, is the difference.
    let of_pip = |options: &[&str]| chosen_by_pip(&project.index, "pre>=1.1", options);
    assert_eq!(
        of_pip(&["--prefer-binary"]).as_deref(),
        Some("pre-1.1.tar.gz")
    );
    assert_eq!(
        of_pip(&["--only-binary", ":all:"]).as_deref(),
        Some("pre-2.0a1-py3-none-any.whl")
    );
    project.configure(
        "[image]\nplatforms = [\"linux/arm64\"]\n[dependencies]\npackages = [\"pre>=1.1\"]\n\
         index = \"$INDEX\"\n",
    );
    project.context.succeeds(["lock"]);
    assert!(
        project
            .context
            .read("oxcart.lock")
            .contains("pre-2.0a1-py3")
    );
    let newest = chosen_by_pip(&project.index, "older", &[]);
    assert_eq!(
        newest.as_deref(),
        Some("older-1.2.tar.gz"),
        "what differs without it"
    );
}
