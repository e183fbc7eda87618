//! Same lock and sources, same bytes: whatever the host, the user, the clock and the number of threads.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use testkit::Context;

use crate::project::{BUILD, Image, Project, digest_of, listing};

/// Another place for the same project, with a store of its own, that nothing has been built in.
pub(crate) fn copy(project: &Project) -> Context {
    let other = Context::new(env!("CARGO_BIN_EXE_oxcart"));
    for name in listing(project.context.project()) {
        other.write(&name, fs::read(project.context.path(&name)).unwrap());
    }
    other
}

/// Asserts that two layouts have the same files with the same bytes.
fn assert_same_layout(one: &Context, other: &Context) {
    let (one, other) = (one.path("image"), other.path("image"));
    assert_eq!(listing(&one), listing(&other));
    for name in listing(&one) {
        assert!(
            fs::read(one.join(&name)).unwrap() == fs::read(other.join(&name)).unwrap(),
            "{name}"
        );
    }
}

/// Locks a project, then builds it as it is, and as `change` makes it in another place.
fn check(change: impl FnOnce(&mut Context) -> &[&'static str]) {
    let project = Project::standard();
    project.context.succeeds(["lock"]);
    let mut other = copy(&project);
    let digest = project.build(&[]);
    let arguments = change(&mut other).to_vec();
    let run = other.succeeds(BUILD.iter().chain(&arguments));
    assert_eq!(digest_of(&run), digest, "{}", run.account());
    assert_same_layout(&project.context, &other);
}

#[test]
fn in_another_directory_and_store() {
    check(|_| &[]);
}

#[test]
fn under_another_umask_with_other_modes_and_times() {
    check(|context| {
        let file = context.path("app/main.py");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(context.path("app"), Permissions::from_mode(0o700)).unwrap();
        let file = fs::File::options().append(true).open(file).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
        context.umask(0o077);
        &[]
    });
}

#[test]
fn in_another_time_zone_and_language() {
    check(|context| {
        context
            .set("TZ", "Pacific/Chatham")
            .set("LANG", "tr_TR.UTF-8")
            .set("LC_ALL", "tr_TR.UTF-8");
        &[]
    });
}

#[test]
fn without_a_home() {
    check(|context| {
        context.unset("HOME").unset("PATH").unset("TMPDIR");
        &[]
    });
}

#[test]
fn with_one_thread() {
    check(|_| &["--jobs", "1"]);
}

#[test]
fn with_many_threads() {
    check(|_| &["--jobs", "13"]);
}

#[test]
fn with_little_memory() {
    check(|_| &["--jobs", "3", "--max-memory", "6M"]);
}

#[test]
fn with_much_memory() {
    check(|_| &["--jobs", "3", "--max-memory", "1G"]);
}

#[test]
fn with_the_hosts_programs_in_reach() {
    check(|context| {
        context.set("PATH", std::env::var("PATH").unwrap_or_default());
        &[]
    });
}

#[test]
fn with_requirements_in_another_order() {
    let project = Project::standard();
    let other = copy(&project);
    other.write("requirements.txt", "native\n# a comment\ndemo == 1.0\n");
    assert_eq!(digest_of(&other.succeeds(BUILD)), project.build(&[]));
}

#[test]
fn with_another_store_of_what_was_built() {
    // The first build of a layer writes it as it is made, later ones from what the store keeps of it.
    let project = Project::standard();
    let first = project.build(&[]);
    let layout = project.context.path("image");
    let kept = project.context.path("first");
    fs::rename(&layout, &kept).unwrap();
    assert_eq!(project.build(&[]), first);
    assert_eq!(listing(&layout), listing(&kept));
    fs::remove_dir_all(&layout).unwrap();
    assert_eq!(project.build(&["--no-cache"]), first);
    for name in listing(&layout) {
        assert!(
            fs::read(layout.join(&name)).unwrap() == fs::read(kept.join(&name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn the_source_date_is_the_projects_alone() {
    let mut project = Project::standard();
    let usual = project.build_with_metadata(&[]);
    project.context.set("SOURCE_DATE_EPOCH", "1700000000");
    let dated = project.build_with_metadata(&[]);
    assert_ne!(usual["digest"], dated["digest"]);
    let layers =
        |document: &serde_json::Value| document["platforms"]["linux/arm64"]["layers"].clone();
    let (usual, dated) = (layers(&usual), layers(&dated));
    for (one, other) in usual
        .as_array()
        .unwrap()
        .iter()
        .zip(dated.as_array().unwrap())
    {
        let same = one["digest"] == other["digest"];
        assert_eq!(same, one["kind"] != "app", "{one} {other}");
    }
    let image = project.image("linux/arm64");
    assert_eq!(image.file("app/app/main.py").mtime, 1_700_000_000);
    assert_eq!(image.file("opt/venv/pyvenv.cfg").mtime, oci::SHARED_MTIME);
    assert_eq!(image.config["created"], "2023-11-14T22:13:20Z");
}

#[test]
fn two_projects_share_the_layers_of_what_they_share() {
    let one = Project::standard();
    let other = copy(&one);
    other.write("app/main.py", "print('another project')\n");
    one.build(&[]);
    other.succeeds(BUILD);
    let diff_ids = |context: &Context| {
        let image = Image::open(&context.path("image"), "linux/amd64");
        image.config["rootfs"]["diff_ids"]
            .as_array()
            .unwrap()
            .clone()
    };
    let (one, other) = (diff_ids(&one.context), diff_ids(&other));
    let different = one
        .iter()
        .zip(&other)
        .filter(|(one, other)| one != other)
        .count();
    assert_eq!((one.len(), different), (other.len(), 1));
}
