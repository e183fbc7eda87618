//! The wheels that oxcart locks are the ones that uv's command line chooses.

use std::collections::BTreeMap;
use std::process::Command;

use oci::Platform;

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
