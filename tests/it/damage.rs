//! The store under abuse: damaged, half empty, on a full disk, used by several builds at once and by
//! builds that are killed. Every later build gives the right digest, or says what is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use oci::Digest;
use serde_json::Value;
use testkit::{Context, Run};

use crate::project::{BUILD, Project, demo, digest_of, listing, noise};

/// The files of the store that `kept` by an earlier build, in order.
fn files(project: &Project, directory: &str) -> Vec<PathBuf> {
    let directory = project.context.store().join(directory);
    listing(&directory)
        .iter()
        .map(|it| directory.join(it))
        .collect()
}

fn blob(project: &Project, digest: &str) -> PathBuf {
    let digest = digest.trim_start_matches("sha256:");
    project.context.store().join("blobs/sha256").join(digest)
}

/// Builds with a store that `damage` was done to. The image must be the right one, in every form of
/// output, and nothing damaged may be left.
fn check(damage: impl Fn(&Project, &Value)) -> Run {
    let project = Project::standard();
    let built = project.build_with_metadata(&[]);
    let digest = built["digest"].as_str().unwrap();
    fs::remove_dir_all(project.context.path("image")).unwrap();
    damage(&project, &built);
    let run = project.context.succeeds(BUILD);
    assert_eq!(digest_of(&run), digest, "{}", run.account());
    project.image("linux/amd64");
    project.image("linux/arm64");
    project.assert_store_is_whole();
    let again = project.context.succeeds(BUILD);
    assert!(!again.stderr.contains("damaged"), "{}", again.account());
    for (arguments, name) in [
        (["build", "--output", "oci-archive:image.tar"], "image.tar"),
        (["build", "--no-cache", "--jobs=1"], ""),
    ] {
        damage(&project, &built);
        assert_eq!(digest_of(&project.context.succeeds(arguments)), digest);
        if !name.is_empty() {
            let reader = oci::LayoutReader::open(&project.context.path(name)).unwrap();
            oci::validate(&reader).unwrap();
        }
    }
    run
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn shorten(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(length / 2).unwrap();
}

fn wheel(project: &Project) -> PathBuf {
    blob(project, &demo().sha256())
}

#[test]
fn a_truncated_wheel() {
    check(|project, _| shorten(&wheel(project)))
        .says(&["warning: demo-1.0-py3-none-any.whl is damaged in the store"]);
}

#[test]
fn a_wheel_with_one_bit_changed() {
    // In a file's bytes, and in the mode that the archive's directory has for one.
    check(|project, _| flip(&wheel(project), |length| length / 3))
        .says(&["demo-1.0-py3-none-any.whl is damaged in the store"]);
    check(|project, _| {
        let path = wheel(project);
        let bytes = fs::read(&path).unwrap();
        let directory = bytes
            .windows(4)
            .rposition(|it| it == b"PK\x01\x02")
            .unwrap();
        // External attributes: the permission bits are in the upper half.
        flip(&path, |_| directory + 40);
        fs::remove_dir_all(project.context.store().join("layers")).unwrap();
    });
}

#[test]
fn a_missing_wheel() {
    check(|project, _| fs::remove_file(wheel(project)).unwrap());
}

#[test]
fn no_records() {
    check(|project, _| {
        for path in files(project, "layers") {
            fs::remove_file(path).unwrap();
        }
    });
}

#[test]
fn damaged_records_and_maps() {
    // The length, the record, its checksum; and the map, up to its last byte.
    for at in [0, 20, 300] {
        check(|project, _| {
            for path in files(project, "layers") {
                flip(&path, |length| at.min(length - 1));
            }
        });
    }
    check(|project, _| {
        for path in files(project, "layers") {
            flip(&path, |length| length - 20);
        }
    });
    check(|project, _| {
        for path in files(project, "layers") {
            let length = fs::metadata(&path).unwrap().len();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_len(length - 1).unwrap();
        }
    });
}

#[test]
fn damaged_blobs_of_layers() {
    let of_kind = |built: &Value, kind: &str| {
        let layers = built["platforms"]["linux/arm64"]["layers"]
            .as_array()
            .unwrap();
        let layer = layers.iter().find(|it| it["kind"] == kind).unwrap();
        layer["digest"].as_str().unwrap().to_owned()
    };
    for kind in ["base", "app"] {
        check(|project, built| shorten(&blob(project, &of_kind(built, kind))))
            .says(&["is damaged in the store"]);
        check(|project, built| flip(&blob(project, &of_kind(built, kind)), |length| length / 2));
        check(|project, built| fs::remove_file(blob(project, &of_kind(built, kind))).unwrap());
    }
    // A wheel's layer is no blob of the store; what would have to be compressed again is.
    let project = Project::standard();
    let built = project.build_with_metadata(&[]);
    let kept = |kind| blob(&project, &of_kind(&built, kind)).exists();
    assert_eq!(
        ["base", "app", "venv", "wheel"].map(kept),
        [true, true, false, false]
    );
}

#[test]
fn every_second_file_missing() {
    for first in 0..2 {
        check(|project, _| {
            let all = [files(project, "blobs"), files(project, "layers")].concat();
            for path in all.iter().skip(first).step_by(2) {
                fs::remove_file(path).unwrap();
            }
        });
    }
}

#[test]
fn a_damaged_package() {
    check(|project, _| {
        let lock: toml::Table = project.context.read("oxcart.lock").parse().unwrap();
        let debs = lock["platform"][0]["deb"].as_array().unwrap();
        flip(
            &blob(project, debs[3]["sha256"].as_str().unwrap()),
            |length| length / 2,
        );
        fs::remove_dir_all(project.context.store().join("layers")).unwrap();
    });
}

#[test]
fn what_a_push_finds_damaged_is_had_anew() {
    let project = Project::standard();
    let registry = testkit::Registry::start();
    registry.several_clients();
    let digest = project.build(&[]);
    flip(&wheel(&project), |length| length / 3);
    let name = registry.reference("team/demo");
    let run = project
        .context
        .succeeds(["build", "--push", "--name", &name]);
    assert_eq!(digest_of(&run), digest);
    run.says(&["demo-1.0-py3-none-any.whl is damaged in the store"]);
    assert_eq!(registry.complete("team/demo"), Ok(()));
}

#[test]
fn every_command_that_reads_sources_has_them_anew() {
    let project = Project::standard();
    let built = project.build_with_metadata(&[]);
    let lock = project.context.read("oxcart.lock");
    let package = || -> PathBuf {
        let lock: toml::Table = lock.parse().unwrap();
        let debs = lock["platform"][0]["deb"].as_array().unwrap();
        blob(&project, debs[3]["sha256"].as_str().unwrap())
    };
    let damage = || {
        flip(&wheel(&project), |length| length / 3);
        shorten(&package());
    };
    let says = |run: &Run| {
        run.says(&[
            "warning: demo-1.0-py3-none-any.whl is damaged in the store",
            ".deb is damaged in the store: it is removed, and had anew",
        ]);
        project.assert_store_is_whole();
    };
    damage();
    let run = project.context.succeeds(["verify", "oci:image"]);
    says(&run);
    damage();
    says(&project.context.succeeds(["vendor", "--output", "vendored"]));
    let offline = ["build", "--offline", "--vendor=vendored", "--locked"];
    assert_eq!(
        digest_of(&project.context.succeeds(offline)),
        built["digest"].as_str().unwrap()
    );
    damage();
    fs::remove_dir_all(project.context.store().join("layers")).unwrap();
    fs::remove_file(project.context.path("oxcart.lock")).unwrap();
    says(&project.context.succeeds(["lock", "--layers"]));
    assert_eq!(project.context.read("oxcart.lock"), lock);
    // What is looked into is in its own place too.
    let layers = built["platforms"]["linux/amd64"]["layers"]
        .as_array()
        .unwrap();
    let base = blob(&project, layers[0]["digest"].as_str().unwrap());
    for command in [&["inspect", "--packages"][..], &["check"]] {
        fs::copy(
            project
                .context
                .path("image/blobs/sha256")
                .join(base.file_name().unwrap()),
            &base,
        )
        .unwrap();
        flip(&base, |length| length / 2);
        for directory in ["listings", "proofs"] {
            fs::remove_dir_all(project.context.store().join(directory)).unwrap();
        }
        project
            .context
            .succeeds(command.iter().chain(&["oci:image"]));
        assert!(!base.exists(), "{command:?}");
    }
}

#[test]
fn without_a_network_damage_is_told() {
    let project = Project::standard();
    project.build(&[]);
    shorten(&wheel(&project));
    let run = project
        .context
        .fails(["build", "--offline", "--output", "oci:offline"]);
    run.says(&[
        "demo-1.0-py3-none-any.whl is damaged in the store",
        "1 file is not in the store, and --offline forbids the network",
    ]);
    // What stdout has got cannot be taken back.
    project.build(&[]);
    shorten(&wheel(&project));
    let run = project.context.fails(["build", "--output", "-"]);
    run.says(&[
        "what stdout has got so far is not the image",
        "hint: run it again",
    ]);
    project.context.succeeds(["build", "--output", "-"]);
}

#[test]
fn several_builds_at_once() {
    let project = Project::standard();
    let other = crate::reproducible::copy(&project);
    let builds: Vec<_> = (0..4)
        .map(|n| {
            let output = format!("oci:image-{n}");
            project
                .context
                .start(["build", "--output", output.as_str()])
        })
        .collect();
    let digests: Vec<_> = builds
        .into_iter()
        .map(|build| {
            let run = build.wait();
            assert_eq!(run.status, Some(0), "{}", run.account());
            digest_of(&run)
        })
        .collect();
    assert!(digests.iter().all(|it| *it == digests[0]), "{digests:?}");
    assert_eq!(digest_of(&other.succeeds(BUILD)), digests[0]);
    project.assert_store_is_whole();
}

/// How many builds are killed: `OXCART_TEST_KILLS`, 20 by default.
fn kills() -> u64 {
    std::env::var("OXCART_TEST_KILLS").map_or(20, |text| {
        text.parse().expect("OXCART_TEST_KILLS is a number")
    })
}

/// The standard project with a wheel that takes a while, and its digest.
fn slow_project() -> (Project, String) {
    let project = Project::standard();
    let large =
        testkit::WheelBuilder::simple("large", "1.0").file("large/data", &noise(3 << 20, 5));
    project.index.add(&large);
    project
        .context
        .write("requirements.txt", "demo==1.0\nnative\nlarge\n");
    let digest = project.build(&[]);
    (project, digest)
}

/// Takes something out of the store, so that there is something to do: all, a part, or one kind of file, as
/// `what` chooses.
fn thin_out(project: &Project, what: u8) {
    let directories = ["blobs", "layers"];
    for directory in &directories[usize::from(what & 1)..] {
        for (n, path) in files(project, directory).iter().enumerate() {
            if what & 2 == 0 || n % 3 == usize::from(what >> 2) % 3 {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

/// How long a build takes, about, from how the last one went: what other tests do to this machine changes it.
fn learnt(whole: Duration, run: &Run) -> Duration {
    match run.status {
        None => whole.mul_f64(1.2),
        Some(_) => run.elapsed.mul_f64(0.8),
    }
}

/// Kills builds at instants that a seed chooses.
#[test]
fn killed_at_any_instant() {
    let kills = kills();
    let (project, digest) = slow_project();
    let mut whole = Duration::from_millis(300);
    let mut random = noise(kills as usize * 2, 11).into_iter();
    let mut killed = 0;
    for _ in 0..kills {
        let (part, what) = (random.next().unwrap(), random.next().unwrap());
        thin_out(&project, what);
        let _ = fs::remove_dir_all(project.context.path("image"));
        let build = project.context.start(BUILD);
        std::thread::sleep(whole.mul_f64(f64::from(part) / 255.0));
        let run = build.kill();
        killed += u64::from(run.status.is_none());
        whole = learnt(whole, &run);
        assert_ne!(run.status, Some(1), "{}", run.account());
        assert_ne!(run.status, Some(2), "{}", run.account());
        assert_eq!(project.build(&[]), digest);
        project.assert_store_is_whole();
    }
    assert!(
        killed * 3 > kills,
        "only {killed} of {kills} were killed before their end"
    );
    project.image("linux/arm64");
}

/// Of four builds that share a store and, two and two, a layout, all but one are killed.
#[test]
fn killed_beside_others() {
    let kills = kills();
    let (project, digest) = slow_project();
    let mut whole = Duration::from_millis(400);
    let mut random = noise(kills as usize * 4, 13).into_iter();
    let mut killed = 0;
    while killed < kills {
        let Some(what) = random.next() else {
            panic!("only {killed} of {kills} were killed before their end");
        };
        thin_out(&project, what);
        for name in ["image", "other"] {
            let _ = fs::remove_dir_all(project.context.path(name));
        }
        let start = |name: &str| {
            let output = format!("oci:{name}");
            project.context.start(["build", "--output", &output])
        };
        let victims = [start("image"), start("other"), start("image")];
        let survivor = start("other");
        let mut instants = [0; 3].map(|_| random.next().unwrap_or_default());
        instants.sort_unstable();
        let mut before = 0;
        for (build, instant) in victims.into_iter().zip(instants) {
            std::thread::sleep(whole.mul_f64(f64::from(instant - before) / 255.0));
            before = instant;
            let run = build.kill();
            killed += u64::from(run.status.is_none());
            whole = learnt(whole, &run);
            assert!(matches!(run.status, None | Some(0)), "{}", run.account());
        }
        let run = survivor.wait();
        assert_eq!(run.status, Some(0), "{}", run.account());
        assert_eq!(digest_of(&run), digest, "{}", run.account());
        oci::validate(&oci::LayoutReader::open(&project.context.path("other")).unwrap()).unwrap();
        assert_eq!(project.build(&[]), digest);
        project.image("linux/arm64");
        project.assert_store_is_whole();
    }
}

/// A file system of its own, gone with this value.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn new(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "oxcart-test"]);
        let output = mount.arg(&at).output();
        if output.is_ok_and(|it| it.status.success()) {
            return Some(Self(at));
        }
        let line = "LEFT OUT: a test on a disk of its own: a tmpfs cannot be mounted here\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        None
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn resize(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.0);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk() {
    let project = Project::standard();
    let large =
        testkit::WheelBuilder::simple("large", "1.0").file("large/data", &noise(1 << 20, 5));
    project.index.add(&large);
    project
        .context
        .write("requirements.txt", "demo==1.0\nnative\nlarge\n");
    let digest = project.build(&[]);
    fs::remove_dir_all(project.context.path("image")).unwrap();
    let mut context: Context = crate::reproducible::copy(&project);
    let Some(disk) = Disk::new(context.root().join("disk"), "300k") else {
        return;
    };
    context.use_store(disk.0.join("store"));
    for size in ["300k", "600k", "900k", "1200k"] {
        disk.resize(size);
        let run = context.fails(BUILD);
        run.says(&["hint: free some space (`oxcart store prune`)"]);
        assert!(!context.path("image").exists(), "{size}: {}", run.account());
    }
    disk.resize("64m");
    let run = context.succeeds(BUILD);
    assert_eq!(digest_of(&run), digest);
    for name in listing(&context.store().join("blobs/sha256")) {
        let bytes = fs::read(context.store().join("blobs/sha256").join(&name)).unwrap();
        assert_eq!(Digest::of(&bytes).hex(), name);
    }
}
