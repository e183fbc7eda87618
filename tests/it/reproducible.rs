//! Same lock and sources, same bytes: whatever the host, the user, the clock and the number of threads.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use testkit::Context;

use crate::project::{BUILD, Image, Project, digest_of, listing, noise};

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

/// What a store may have of a build.
#[derive(Debug, Clone, Copy)]
enum Store {
    Warm,
    Cold,
    /// Every second file, counted from the first or the second.
    Half(usize),
    WithoutSources,
    WithoutLayers,
}

impl Store {
    fn make(self, context: &Context) {
        let store = context.store();
        let files = |directory: &str| -> Vec<_> {
            let directory = store.join(directory);
            listing(&directory)
                .iter()
                .map(|it| directory.join(it))
                .collect()
        };
        let gone = match self {
            Self::Warm => Vec::new(),
            Self::Cold => files(""),
            Self::Half(first) => files("").into_iter().skip(first).step_by(2).collect(),
            Self::WithoutSources => files("blobs"),
            Self::WithoutLayers => [files("layers"), files("listings")].concat(),
        };
        for path in gone {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn whatever_the_threads_the_store_and_the_output() {
    let project = Project::standard();
    // A wheel in parts, one that is large enough for a layer of its own, and small ones.
    for (name, bytes, said) in [("parted", 300_000, 1025 << 20), ("own", 1 << 20, 0)] {
        let data = format!("{name}/data");
        let wheel = testkit::WheelBuilder::simple(name, "1.0").file(&data, &noise(bytes, 7));
        project.index.add(&wheel);
        if said > 0 {
            project.index.says_size(&wheel.filename(), said);
        }
    }
    let requirements = "demo==1.0\nnative\nparted\nown\n";
    project.context.write("requirements.txt", requirements);
    let registry = testkit::Registry::start();
    registry.several_clients();
    let digest = project.build(&[]);
    let layout = project.context.path("image");
    let one = ["build", "--platform=linux/arm64", "--output=oci:one"];
    let one = digest_of(&project.context.succeeds(one));
    let blobs = |directory: &std::path::Path| listing(&directory.join("blobs"));
    let (expected, expected_one) = (blobs(&layout), blobs(&project.context.path("one")));
    let stores = [
        Store::Warm,
        Store::Cold,
        Store::Half(0),
        Store::Half(1),
        Store::WithoutSources,
        Store::WithoutLayers,
    ];
    let mut repository = 0;
    for (store, jobs) in stores
        .iter()
        .flat_map(|it| [(it, "--jobs=1"), (it, "--jobs=7")])
    {
        let build = |arguments: &[&str], expected: &str| {
            store.make(&project.context);
            let run = project
                .context
                .succeeds(["build", jobs].iter().chain(arguments));
            assert_eq!(digest_of(&run), expected, "{store:?} {}", run.account());
        };
        for name in ["other", "other.tar", "docker.tar"] {
            let path = project.context.path(name);
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
        }
        build(&[], &digest);
        build(&["--no-store"], &digest);
        build(&["--output=oci:other"], &digest);
        assert_eq!(blobs(&project.context.path("other")), expected);
        build(&["--output=oci-archive:other.tar"], &digest);
        build(
            &[
                "--output=docker-archive:docker.tar",
                "--platform=linux/arm64",
            ],
            &one,
        );
        for (name, expected) in [("other.tar", &expected), ("docker.tar", &expected_one)] {
            let reader = oci::LayoutReader::open(&project.context.path(name)).unwrap();
            // The archives' blobs are those of the layout, each of which has its digest.
            for blob in expected {
                let hex = blob.rsplit('/').next().unwrap();
                let is_index = format!("sha256:{hex}") == one;
                let found = reader.blob(&format!("sha256:{hex}").parse().unwrap());
                assert!(is_index || found.is_ok(), "{name} {hex}");
            }
            oci::validate(&reader).unwrap();
        }
        repository += 1;
        let name = registry.reference(&format!("team/demo{repository}"));
        build(&["--push", "--name", &name], &digest);
        assert_eq!(registry.complete(&format!("team/demo{repository}")), Ok(()));
    }
}

#[test]
fn the_layers_of_the_standard_project_are_golden() {
    let built = Project::standard().build_with_metadata(&[]);
    let layers = built["platforms"]["linux/arm64"]["layers"].as_array();
    let text: Vec<_> = layers
        .unwrap()
        .iter()
        .map(|it| format!("{} {} {}", it["kind"], it["digest"], it["diff_id"]))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
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
