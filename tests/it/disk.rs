//! What a build has on disk: what it says of it, and what is left where nothing is to be kept.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use testkit::{Context, DebBuilder, WheelBuilder};

use crate::damage::Disk;
use crate::project::{Project, STANDARD, digest_of, listing, noise};
use crate::reproducible::copy;

const MIB: u64 = 1 << 20;

/// A project with six wheels of 2 MiB that do not compress.
fn project() -> Project {
    let project = Project::standard();
    let mut requirements = "demo==1.0\nnative\n".to_owned();
    for n in 0..6 {
        let name = format!("large{n}");
        let data = format!("{name}/data");
        let bytes = noise(2 * MIB as usize, n);
        project
            .index
            .add(&WheelBuilder::simple(&name, "1.0").file(&data, &bytes));
        requirements += &name;
        requirements += "\n";
    }
    project.context.write("requirements.txt", requirements);
    project
}

/// Bytes of the files in and below `directory`; of those that go meanwhile, none.
fn size(directory: &Path) -> u64 {
    let files = listing(directory).into_iter();
    files
        .filter_map(|name| fs::metadata(directory.join(name)).ok())
        .map(|it| it.len())
        .sum()
}

/// What `run` gives, and the largest of the values that `sample` gave meanwhile.
pub(crate) fn sampled<R>(sample: impl Fn() -> u64 + Sync, run: impl FnOnce() -> R) -> (R, u64) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(sample());
            }
            most
        });
        // One that panics does not go on for ever.
        let result = catch_unwind(AssertUnwindSafe(run));
        done.store(true, Ordering::Relaxed);
        let most = sampler.join().unwrap();
        (result.unwrap_or_else(|panic| resume_unwind(panic)), most)
    })
}

/// Where builds that keep nothing have what they work on.
fn temporary(context: &Context) -> PathBuf {
    context.root().join("tmp")
}

#[test]
fn wheels_go_as_their_layers_are_written() {
    let project = project();
    let digest = project.build(&[]);
    let image = size(&project.context.path("image"));
    let mut other = copy(&project);
    // The image is as large as the wheels: both are not there at once where this is enough.
    assert!(image > 12 * MIB && size(project.context.store()) > 12 * MIB);
    let Some(disk) = Disk::new(other.root().join("disk"), "18m") else {
        return;
    };
    let place = |name: &str| disk.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(place("tmp")).unwrap();
    other
        .set("TMPDIR", place("tmp"))
        .use_store(place("store").into());
    let output = format!("--output=oci:{}", place("image"));
    let build = ["build", "--jobs=1", &output];
    other.fails(build).says(&["hint: free some space"]);
    fs::remove_dir_all(place("store")).unwrap();
    let run = other.succeeds(build.iter().chain(&["--no-store"]));
    assert_eq!(digest_of(&run), digest);
    assert_eq!(size(place("image").as_ref()), image);
    assert_eq!(listing(place("tmp").as_ref()), [""; 0]);
    assert!(!other.store().exists(), "no store is made");
}

#[test]
fn every_output_gets_what_it_needs() {
    let project = project();
    let digest = project.build(&[]);
    let registry = testkit::Registry::start();
    registry.several_clients();
    let name = registry.reference("team/demo");
    let other = copy(&project);
    let run = other.succeeds([
        "build",
        "--no-store",
        "--output=oci:image",
        "--output=oci-archive:image.tar",
        "--push",
        "--name",
        &name,
    ]);
    assert_eq!(digest_of(&run), digest);
    assert_eq!(registry.complete("team/demo"), Ok(()));
    for name in ["image", "image.tar"] {
        oci::validate(&oci::LayoutReader::open(&other.path(name)).unwrap()).unwrap();
    }
    assert_eq!(listing(&temporary(&other)), [""; 0]);
    assert!(!other.store().exists());
    // Onto a base of other layers that are there already, and to nowhere.
    other.write("app/main.py", "print('changed')\n");
    other.succeeds(["build", "--no-store", "--push", "--name", &name]);
    other.succeeds(["build", "--no-store"]);
    assert_eq!(registry.complete("team/demo"), Ok(()));
    assert_eq!(listing(&temporary(&other)), [""; 0]);
}

#[test]
fn a_failed_build_leaves_nothing_and_a_killed_one_goes_with_the_next() {
    let project = project();
    project.context.succeeds(["lock"]);
    let build = ["build", "--no-store", "--output", "oci:image"];
    let temporary = temporary(&project.context);
    let is_there = || fs::read_dir(&temporary).unwrap().count() > 0;
    let mut left = 0;
    for n in 0..6 {
        let running = project.context.start(build);
        while !is_there() {
            thread::yield_now();
        }
        thread::sleep(std::time::Duration::from_millis(30 * n));
        running.kill();
        left += usize::from(is_there());
        assert_eq!(
            fs::read_dir(&temporary).unwrap().count(),
            usize::from(is_there())
        );
    }
    assert!(left > 0, "none was killed before its end");
    project.index.remove("large3-1.0-py3-none-any.whl");
    project.context.fails(build);
    assert!(!is_there());
}

/// Bytes that are used on the file system of `path`.
pub(crate) fn used(path: &Path) -> u64 {
    let found = rustix::fs::statvfs(path).unwrap();
    (found.f_blocks - found.f_bfree) * found.f_frsize
}

#[test]
fn the_peak_is_what_the_file_system_sees() {
    let project = project();
    let extra = DebBuilder::new("libextra1", "1.2-3", "all")
        .file("usr/lib/extra/data", &noise(3 * MIB as usize, 20))
        .file("usr/lib/extra/zeros", &vec![0; 8 * MIB as usize]);
    project.archive.add(&extra);
    project.configure(&format!(
        "{STANDARD}\n[system]\npackages = [\"libextra1\"]\n"
    ));
    project
        .context
        .write("app/data", noise(5 * MIB as usize, 30));
    project.context.succeeds(["lock"]);
    let wheels: BTreeSet<String> = project
        .context
        .read("oxcart.lock")
        .parse::<toml::Table>()
        .unwrap()["platform"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|it| it["wheel"].as_array().unwrap().clone())
        .map(|it| it["sha256"].as_str().unwrap().to_owned())
        .collect();
    let Some(disk) = Disk::new(project.context.root().join("disk"), "200m") else {
        return;
    };
    let mut context = copy(&project);
    let store = disk.path().join("store");
    context.use_store(store.clone());
    let of_wheels = || -> u64 {
        let places = ["blobs/sha256", "partial"].map(|it| store.join(it));
        let paths = wheels
            .iter()
            .flat_map(|name| places.iter().map(move |it| it.join(name)));
        paths
            .filter_map(|it| fs::metadata(it).ok())
            .map(|it| it.len())
            .sum()
    };
    let empty = used(disk.path());
    let build = [
        "build",
        "--jobs=1",
        "--metadata-file=metadata.json",
        "--verbose",
    ];
    let (run, most) = sampled(
        // What is fetched between the two looks is less than it was.
        || (used(disk.path()) - empty).saturating_sub(of_wheels()),
        || context.succeeds(build),
    );
    run.says(&["on disk besides wheels, at the most: "]);
    let metadata: Value = serde_json::from_str(&context.read("metadata.json")).unwrap();
    let said = metadata["peak_disk_bytes"].as_u64().unwrap();
    let parts = metadata["peak_disk"].as_object().unwrap();
    assert_eq!(
        parts.values().map(|it| it.as_u64().unwrap()).sum::<u64>(),
        said
    );
    // Files take whole pages there, and the package's files are not there for long.
    assert!(
        most.abs_diff(said) < MIB,
        "{said} said, {most} seen: {parts:?}"
    );
    // The noise of the package, and not the zeros: no plain file is there.
    let spooled = parts["spooled"].as_u64().unwrap();
    assert!(spooled > 3 * MIB && spooled < 4 * MIB, "{parts:?}");
    // In the end: what is kept besides wheels.
    let metadata = |arguments: &[&str]| -> Value {
        context.succeeds(
            ["build", "--metadata-file=metadata.json"]
                .iter()
                .chain(arguments),
        );
        serde_json::from_str(&context.read("metadata.json")).unwrap()
    };
    assert!(metadata(&[])["peak_disk_bytes"].as_u64().unwrap() < 10_000);
}
