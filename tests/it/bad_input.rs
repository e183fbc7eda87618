//! What goes wrong for users: each time a message that says what and where, nothing half-written, and
//! a next run that succeeds once the fault is gone.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use testkit::{DebianArchive, Fault, Run, WheelBuilder};

use crate::project::{BUILD, Project, STANDARD, demo, native, noise};

/// Builds a project that cannot be built, reads the message, mends it, and builds it.
#[track_caller]
fn check(project: &mut Project, says: &[&str], mend: impl FnOnce(&mut Project)) -> Run {
    let run = project.context.fails(BUILD);
    run.says(says);
    assert!(!run.stderr.contains("panicked"), "{}", run.account());
    assert_eq!(run.stdout, "", "stdout is for results");
    project.assert_nothing_half_written();
    mend(project);
    project.build(&[]);
    project.image("linux/amd64");
    project.assert_store_is_whole();
    run
}

/// What must be locked again because its file was replaced.
fn relock(project: &Project, name: &str) {
    project
        .context
        .succeeds(["lock", &format!("--upgrade={name}")]);
}

#[test]
fn an_unknown_key_suggests_the_nearest() {
    let mut project = Project::standard();
    project.configure(&STANDARD.replace("platforms =", "platfroms ="));
    let run = check(&mut project, &[], |project| project.configure(STANDARD));
    insta::assert_snapshot!(run.message(), @r#"
    error: [PROJECT]/oxcart.toml is not valid
      caused by: TOML parse error at line 4, column 1
      |
    4 | platfroms = ["linux/amd64", "linux/arm64"]
      | ^^^^^^^^^
    unknown field `platfroms`, expected one of `name`, `platforms`, `base`, `annotations`, `compression`, `cache-from`, `max-layers`
    hint: did you mean `platforms`?
    "#);
}

#[test]
fn an_unknown_platform_suggests_the_nearest() {
    let mut project = Project::standard();
    project.configure(&STANDARD.replace("linux/arm64", "linux/arm46"));
    let says = [
        "error: [PROJECT]/oxcart.toml",
        "`linux/arm46`",
        "did you mean `linux/arm64`?",
    ];
    check(&mut project, &says, |project| project.configure(STANDARD));
}

#[test]
fn broken_toml_names_the_line() {
    let mut project = Project::standard();
    project.configure(&STANDARD.replace("user = \"nonroot\"", "user = nonroot"));
    check(
        &mut project,
        &["[PROJECT]/oxcart.toml", "line 17"],
        |project| project.configure(STANDARD),
    );
}

#[test]
fn a_missing_requirements_file_suggests_the_nearest() {
    let mut project = Project::standard();
    project.configure(&STANDARD.replace("\"requirements.txt\"", "\"requirement.txt\""));
    let says = [
        "[PROJECT]/requirement.txt does not exist",
        "did you mean `requirements.txt`?",
    ];
    check(&mut project, &says, |project| project.configure(STANDARD));
}

#[test]
fn a_broken_requirement_names_file_and_line() {
    let mut project = Project::standard();
    project
        .context
        .write("requirements.txt", "demo==1.0\nnative ===== 3\n");
    check(&mut project, &["[PROJECT]/requirements.txt:2"], |project| {
        project.write_standard();
    });
}

#[test]
fn a_package_that_no_index_has() {
    let mut project = Project::standard();
    project.context.write("requirements.txt", "demo\nnaitve\n");
    check(
        &mut project,
        &["no package is called `naitve`", "check the spelling"],
        |project| {
            project.write_standard();
        },
    );
}

#[test]
fn no_wheel_for_one_platform() {
    let mut project = Project::standard();
    let arm64 = native("arm64", "aarch64");
    project.index.remove(&arm64.filename());
    let run = check(&mut project, &[], |project| {
        project.index.add(&arm64);
    });
    insta::assert_snapshot!(run.message(), @"
    error: the dependencies for linux/arm64 cannot be resolved
      caused by: no wheel of native 3.1 fits the image (Linux aarch64, glibc 2.41, CPython 3.13.5)
      asked for: native
      the closest of its 2 wheels:
        native-3.1-cp313-cp313-manylinux_2_17_armv7l.manylinux2014_armv7l.whl
          platform: manylinux2014_armv7l is for armv7l, the image is aarch64
        native-3.1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
          platform: manylinux2014_x86_64 is for x86_64, the image is aarch64
      no version of it has a wheel that fits
    hint: build a wheel of native for aarch64 elsewhere and name its directory with `find-links`
    ");
}

#[test]
fn requirements_that_contradict_each_other() {
    let mut project = Project::standard();
    project
        .context
        .write("requirements.txt", "demo==1.0\nhelper<2\nnative\n");
    check(
        &mut project,
        &["have no solution", "helper>=2,<3"],
        |project| project.write_standard(),
    );
}

#[test]
fn a_wheel_that_is_not_what_was_locked() {
    let mut project = Project::standard();
    project.index.fault("*/demo-*.whl", Fault::WrongBytes);
    let expected = format!("expected sha256:{}", demo().sha256());
    let says = [
        "demo-1.0-py3-none-any.whl",
        "gives sha256:",
        &expected,
        "hint:",
    ];
    check(&mut project, &says, |project| project.index.clear_faults());
}

#[test]
fn a_wheel_that_comes_cut_off() {
    let mut project = Project::standard();
    project
        .index
        .fault("*/demo-*.whl", Fault::Truncate { length: 100 });
    let expected = format!("expected sha256:{}", demo().sha256());
    check(
        &mut project,
        &["demo-1.0-py3-none-any.whl", &expected],
        |project| {
            project.index.clear_faults();
        },
    );
}

/// Wheels whose digests are right and whose contents are not.
fn check_broken_wheel(broken: &WheelBuilder, says: &[&str]) {
    let mut project = Project::standard();
    project.index.add(broken);
    check(&mut project, says, |project| {
        project.index.add(&demo());
        relock(project, "demo");
    });
}

#[test]
fn a_wheel_that_was_published_cut_off() {
    let length = demo().build().len() / 2;
    check_broken_wheel(
        &demo().truncated(length),
        &["demo-1.0-py3-none-any.whl is not a zip archive"],
    );
}

#[test]
fn a_wheel_that_reaches_out_of_its_place() {
    let wheel = demo().extra_member("../../../etc/cron.d/x", b"* * * * * root true\n");
    let says = [
        "demo-1.0-py3-none-any.whl: member \"../../../etc/cron.d/x\"",
        "`..`",
    ];
    check_broken_wheel(&wheel, &says);
}

#[test]
fn a_wheel_with_an_absolute_member() {
    let wheel = demo().extra_member("/etc/passwd", b"root::0:0::/:/bin/sh\n");
    check_broken_wheel(&wheel, &["member \"/etc/passwd\" has an absolute name"]);
}

#[test]
fn a_wheel_whose_record_is_wrong() {
    let wheel = demo().wrong_record_hash("demo/cli.py");
    let says = ["demo-1.0-py3-none-any.whl", "demo/cli.py", "sha256:"];
    check_broken_wheel(&wheel, &says);
}

#[test]
fn a_wheel_whose_checksum_is_wrong() {
    check_broken_wheel(
        &demo().wrong_crc("demo/data.txt"),
        &["demo-1.0-py3-none-any.whl", "demo/data.txt"],
    );
}

#[test]
fn a_wrong_record_can_be_let_pass_by_name() {
    let project = Project::standard();
    project.index.add(&demo().wrong_record_hash("demo/cli.py"));
    project.configure(&STANDARD.replace(
        "[[app]]",
        "[dependencies.record]\ndemo = \"warn\"\n\n[[app]]",
    ));
    let run = project.context.succeeds(BUILD);
    run.says(&["warning:", "demo-1.0-py3-none-any.whl", "demo/cli.py"]);
    assert!(
        project
            .image("linux/arm64")
            .has("opt/venv/lib/python3.13/site-packages/demo/cli.py")
    );
}

#[test]
fn a_base_without_python() {
    let mut project = Project::standard();
    project.configure(&STANDARD.replace("debian:trixie", "scratch"));
    let says = ["the base scratch has no Python", "hint:"];
    check(&mut project, &says, |project| project.configure(STANDARD));
}

#[test]
fn a_base_with_another_python_than_configured() {
    let mut project = Project::standard();
    project.configure(&STANDARD.replace(
        "[dependencies]",
        "[python]\nversion = \"3.12\"\n\n[dependencies]",
    ));
    let says = ["3.12", "debian:trixie has Python 3.13.5", "hint:"];
    check(&mut project, &says, |project| project.configure(STANDARD));
}

#[test]
fn a_debian_release_by_a_stranger() {
    check_archive(
        DebianArchive::signed_by_another_key,
        &["InRelease is not to be trusted", "no good signature"],
    );
}

#[test]
fn a_debian_release_that_was_changed() {
    check_archive(
        DebianArchive::tampered_releases,
        &["InRelease is not to be trusted", "no good signature"],
    );
}

#[test]
fn a_debian_release_that_expired() {
    let old = "Sat, 08 Nov 2025 00:00:00 UTC";
    let mut project = Project::standard();
    project.archive.valid_until(old);
    check(&mut project, &["was valid until", old], |project| {
        let accept = "[debian]\naccept-expired = true\n";
        let text = project
            .context
            .read("oxcart.toml")
            .replace("[debian]\n", accept);
        project.context.write("oxcart.toml", text);
    });
}

#[test]
fn debian_packages_that_the_release_does_not_list() {
    check_archive(
        DebianArchive::tampered_packages,
        &["Packages", "expected sha256:"],
    );
}

#[test]
fn a_deb_that_is_not_what_packages_says() {
    let mut project = Project::standard();
    project.archive.wrong_deb_bytes("tzdata");
    check(
        &mut project,
        &["tzdata_2025b-4+deb13u1_all.deb", "expected sha256:"],
        |project| {
            project.archive.mend();
        },
    );
}

#[test]
fn a_system_package_that_does_not_exist() {
    let mut project = Project::standard();
    project.configure(&format!(
        "{STANDARD}\n[system]\npackages = [\"libgomp11\"]\n"
    ));
    check(&mut project, &["[system]", "libgomp11"], |project| {
        project.configure(STANDARD);
    });
}

fn check_archive(fault: fn(&DebianArchive) -> &DebianArchive, says: &[&str]) {
    let mut project = Project::standard();
    fault(&project.archive);
    check(&mut project, says, |project| {
        project.archive.mend();
    });
}

#[test]
fn no_network() {
    let mut project = Project::standard();
    // Port 1 is nobody's.
    let closed = "http://127.0.0.1:1/simple/";
    project.configure(&STANDARD.replace("$INDEX", closed));
    let says = ["127.0.0.1:[PORT]/simple/", "hint: check the network"];
    check(&mut project, &says, |project| project.configure(STANDARD));
}

#[test]
fn an_index_with_a_passing_trouble_is_asked_again() {
    let project = Project::standard();
    project
        .index
        .fault("/simple/demo/", Fault::Unavailable { times: 2 });
    project
        .index
        .fault("*/helper-*.whl", Fault::Unavailable { times: 2 });
    project
        .archive
        .fault("*/trixie/InRelease", Fault::Unavailable { times: 2 });
    project.build(&[]);
    project.image("linux/arm64");
    let statuses = |served: Vec<testkit::Served>, end: &str| -> Vec<u16> {
        served
            .iter()
            .filter(|it| it.path.ends_with(end))
            .map(|it| it.status)
            .take(3)
            .collect()
    };
    assert_eq!(
        statuses(project.index.served(), "/simple/demo/"),
        [503, 503, 200]
    );
    assert_eq!(
        statuses(project.index.served(), "helper-2.0-py3-none-any.whl"),
        [503, 503, 200]
    );
    assert_eq!(
        statuses(project.archive.served(), "/trixie/InRelease"),
        [503, 503, 200]
    );
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let project = Project::standard();
    let large = WheelBuilder::simple("large", "1.0")
        .stored()
        .file("large/noise", &noise(300_000, 1));
    project.index.add(&large);
    project.context.write("requirements.txt", "large\n");
    // Each answer brings 200 kB and no more.
    project
        .index
        .fault("*/large-*.whl", Fault::Reset { after: 200_000 });
    // The command is that of another wheel.
    project.build(&["--no-check"]);
    let ranges: Vec<_> = project
        .index
        .served()
        .into_iter()
        .filter(|it| it.path.ends_with("large-1.0-py3-none-any.whl"))
        .map(|it| it.range)
        .collect();
    assert_eq!(ranges, [None, Some("bytes=200000-".to_owned())]);
}

#[test]
fn a_page_for_missing_files_is_no_wheel() {
    let mut project = Project::standard();
    project.context.succeeds(["lock"]);
    let demo = demo();
    project.index.remove(&demo.filename());
    project.index.fault("*", Fault::HtmlForMissing);
    let expected = format!("expected sha256:{}", demo.sha256());
    check(
        &mut project,
        &["demo-1.0-py3-none-any.whl", &expected],
        |project| {
            project.index.clear_faults();
            project.index.add(&demo);
        },
    );
}

#[test]
fn killed_while_it_fetches() {
    let project = Project::standard();
    let large = WheelBuilder::simple("large", "1.0")
        .stored()
        .file("large/noise", &noise(300_000, 2));
    project.index.add(&large);
    project.context.write("requirements.txt", "demo\nlarge\n");
    project
        .index
        .fault("*/large-*.whl", Fault::Stall { after: 100_000 });
    let running = project.context.start(BUILD);
    while project.index.requests("*/large-*.whl") == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let run = running.kill();
    assert_eq!(run.status, None, "{}", run.account());
    assert!(!project.context.path("image").exists());
    project.assert_store_is_whole();
    project.index.clear_faults();
    project.build(&[]);
    project.image("linux/arm64");
    project.assert_store_is_whole();
}

/// A store on a file system of its own, of 2 MiB at first.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this user may not mount, which is said.
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let disk = Self(path);
        if disk.run("size=2m") {
            return Some(disk);
        }
        // Past the capture of libtest, which shows nothing of a test that passes.
        let line = b"LEFT OUT: a_full_disk needs the right to mount a file system\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
        None
    }

    fn run(&self, options: &str) -> bool {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&self.0)
            .output();
        mount.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk() {
    let mut project = Project::standard();
    let Some(disk) = SmallDisk::mount(project.context.root().join("disk")) else {
        return;
    };
    project.context.use_store(disk.0.clone());
    let large = WheelBuilder::simple("large", "1.0").file("large/noise", &noise(4 << 20, 3));
    project.index.add(&large);
    project.context.write("requirements.txt", "demo\nlarge\n");
    let says = [
        "cannot write [STORE]/",
        "No space left on device",
        "hint: free some space",
    ];
    check(&mut project, &says, |_| {
        assert!(disk.run("remount,size=64m"), "the disk grows");
    });
}
