//! `--no-store --push`: the files of a few layers are on disk at a time, and an image is in the registry whole or
//! not at all.

use std::fs;

use serde_json::Value;
use testkit::{
    Context, DebBuilder, ElfBuilder, Kind, Registry, RegistryFault, RetryAfter, Run, Site,
    WheelBuilder, When,
};

use crate::damage::Disk;
use crate::disk::{sampled, used};
use crate::project::{Project, STANDARD, digest_of, listing, noise};
use crate::reproducible::copy;
use crate::sources::Sources;

const MIB: u64 = 1 << 20;
const NAME: &str = "team/demo";
/// Wheels of a MiB, each of which is a layer.
const LARGE: usize = 30;
/// Layers at a time.
const AT_A_TIME: u64 = 8;

/// A project with [`LARGE`] wheels that do not compress, small ones that share layers with others on each platform,
/// and a Debian package that is the same on both.
fn project() -> Project {
    let project = Project::standard();
    let mut requirements = "demo==1.0\nnative\n".to_owned();
    let mut add = |name: &str, bytes: &[u8]| {
        let data = format!("{name}/data");
        project
            .index
            .add(&WheelBuilder::simple(name, "1.0").file(&data, bytes));
        requirements += name;
        requirements += "\n";
    };
    for n in 0..LARGE {
        add(&format!("large{n}"), &noise(MIB as usize, n as u64));
    }
    for n in 0..12 {
        add(&format!("small{n}"), &noise(1000, n));
    }
    project.context.write("requirements.txt", requirements);
    let extra = DebBuilder::new("libextra1", "1.2-3", "all").file("usr/lib/extra/data", b"extra");
    project.archive.add(&extra);
    project.configure(&format!(
        "{STANDARD}\n[system]\npackages = [\"libextra1\"]\n"
    ));
    project
}

fn arguments<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let own = ["build", "--no-store", "--push", "--name", name];
    own.iter().chain(more).copied().collect()
}

/// That the image is there, whole, each blob of it was sent once, and nothing is left here.
fn check(registry: &Registry, context: &Context) {
    assert_eq!(registry.complete(NAME), Ok(()));
    for (digest, _) in registry.blobs(NAME) {
        assert!(registry.committed(NAME, &digest) <= 1, "{digest}");
    }
    registry.assert_conformant();
    assert!(!context.store().exists());
    assert_eq!(listing(&context.root().join("tmp")), [""; 0]);
}

#[test]
fn wheels_go_as_their_layers_are_pushed() {
    let project = project();
    let digest = project.build(&[]);
    // Twice what may be there, and less than half of all.
    let Some(disk) = Disk::new(project.context.root().join("disk"), "16m") else {
        return;
    };
    for jobs in ["--jobs=1", "--jobs=4"] {
        let registry = Registry::start();
        let name = registry.reference(NAME);
        let mut other = copy(&project);
        other.set("TMPDIR", disk.path().to_str().unwrap());
        project.forget_requests();
        let (run, most) = sampled(
            || used(disk.path()),
            || other.succeeds(arguments(&name, &[jobs, "--metadata-file=metadata.json"])),
        );
        assert_eq!(digest_of(&run), digest);
        assert!(
            most > MIB && most < (AT_A_TIME + 2) * MIB,
            "{jobs}: {most} of {LARGE} MiB"
        );
        assert_eq!(listing(disk.path()), [""; 0]);
        check(&registry, &other);
        let mut requests = project.requests();
        let number = requests.len();
        requests.sort();
        requests.dedup();
        assert_eq!(requests.len(), number, "what layers share is fetched once");
        assert!(requests.len() > LARGE + 12);
        run.says(&[
            &format!("fetched {} files, ", requests.len()),
            "linux/arm64: checked ",
            " blobs uploaded (",
            ", 0 mounted, 0 there already",
        ]);
        let metadata: Value = serde_json::from_str(&other.read("metadata.json")).unwrap();
        let layers = metadata["platforms"]["linux/arm64"]["layers"].as_array();
        assert!(layers.unwrap().iter().all(|it| it["state"] == "built"));
        assert_eq!(metadata["bytes_uploaded"], registry.uploaded_bytes());
    }
}

#[test]
fn what_the_repository_has_is_not_sent_again() {
    let project = project();
    let registry = Registry::start();
    let name = registry.reference(NAME);
    let digest = project.build(&[]);
    project
        .context
        .succeeds(["build", "--push", "--name", &name]);
    registry.forget();
    let other = copy(&project);
    // The lock states nothing: layers are built, and seen to be those of the tag's image.
    let lock = other.read("oxcart.lock").parse::<toml::Table>().unwrap();
    let mut bare = lock.clone();
    for platform in bare["platform"].as_array_mut().unwrap() {
        platform.as_table_mut().unwrap().remove("layer");
    }
    other.write("oxcart.lock", bare.to_string());
    assert_eq!(digest_of(&other.succeeds(arguments(&name, &[]))), digest);
    assert_eq!(
        (registry.uploaded_bytes(), registry.count(Kind::HeadBlob)),
        (0, 0)
    );
    // In another repository they are mounted.
    let far = registry.reference("team/other");
    other.write("oxcart.lock", bare.to_string());
    let run = other.succeeds(arguments(&far, &["--cache-from", &name]));
    assert_eq!(digest_of(&run), digest);
    // All but the configurations, which no cache is asked for.
    assert_eq!(registry.uploaded_bytes(), 0);
    assert_eq!(registry.complete("team/other"), Ok(()));
    check(&registry, &other);
}

#[test]
fn what_the_registry_lost_is_made_again() {
    let project = project();
    let registry = Registry::start();
    registry.several_clients();
    let name = registry.reference(NAME);
    let other = copy(&project);
    other.succeeds(arguments(&name, &[]));
    for (digest, size) in registry.blobs(NAME) {
        if size > MIB {
            registry.remove_blob(NAME, &digest);
        }
    }
    other.write("app/main.py", "print('changed')\n");
    registry.forget();
    let run = other.succeeds(arguments(&name, &[]));
    assert_eq!(digest_of(&run), digest_of(&other.succeeds(["digest"])));
    assert!(registry.uploaded_bytes() > LARGE as u64 * MIB);
    assert_eq!(registry.complete(NAME), Ok(()));
    // Its manifest is refused once: all that was delivered is there when it is done again.
    other.write("app/main.py", "print('again')\n");
    registry.forget();
    let refused = RegistryFault::Status {
        status: 400,
        retry: RetryAfter::Unsaid,
        site: Site::Manifests,
    };
    registry.fault_when(refused, When::First(1));
    other.succeeds(arguments(&name, &["--no-cache"]));
    // The project's layer, and two configurations.
    assert_eq!(registry.count(Kind::PutUpload), 3);
    assert_eq!(registry.complete(NAME), Ok(()));
}

/// That the run has failed, and no manifest is there.
#[track_caller]
fn refused(run: &Run, registry: &Registry, context: &Context) {
    assert_eq!(run.status, Some(1), "{}", run.account());
    run.says(&["hint:"]);
    assert_eq!(registry.tags(NAME), []);
    assert_eq!(registry.manifests(NAME), []);
    assert_eq!(registry.count(Kind::PutManifest), 0);
    registry.assert_conformant();
    assert_eq!(listing(&context.root().join("tmp")), [""; 0]);
}

#[test]
fn an_image_that_would_not_load_has_no_manifest() {
    let project = Project::standard();
    let library = ElfBuilder::new("amd64").build();
    for machine in ["x86_64", "aarch64"] {
        let tags = format!("cp313-cp313-manylinux_2_17_{machine}");
        let crossed = WheelBuilder::simple("crossed", "1.0").tags(&tags);
        let crossed = crossed.executable("crossed/_native.cpython-313.so", &library);
        project.index.add(&crossed);
    }
    project
        .context
        .write("requirements.txt", "demo==1.0\ncrossed\n");
    let registry = Registry::start();
    let name = registry.reference(NAME);
    let arm = "--platform=linux/arm64";
    let run = project.context.run(arguments(&name, &[arm]));
    refused(&run, &registry, &project.context);
    run.says(&["wrong-architecture", "it is neither written nor pushed"]);
    // Its blobs are nobody's, and spare their upload when it is wanted nevertheless.
    let there = registry.blobs(NAME).len();
    assert!(there > 3);
    registry.forget();
    project
        .context
        .succeeds(arguments(&name, &[arm, "--no-check"]));
    assert_eq!(registry.complete(NAME), Ok(()));
    assert_eq!(registry.count(Kind::PutUpload), 1, "the configuration");
}

#[test]
fn a_lock_that_states_other_layers_is_an_error_before_any_manifest() {
    let project = Project::standard();
    project.build(&[]);
    let lock = project.context.read("oxcart.lock");
    let table = lock.parse::<toml::Table>().unwrap();
    let layers = table["platform"][0]["layer"].as_array().unwrap();
    let wheel = layers
        .iter()
        .find(|it| it["kind"].as_str() == Some("wheel"));
    let digest = wheel.unwrap()["digest"].as_str().unwrap().to_owned();
    let wrong = format!("sha256:{}", "12".repeat(32));
    let other = copy(&project);
    other.write("oxcart.lock", lock.replace(&digest, &wrong));
    let registry = Registry::start();
    let name = registry.reference(NAME);
    let run = other.run(arguments(&name, &[]));
    refused(&run, &registry, &other);
    run.says(&["oxcart.lock states another layer", &digest, &wrong]);
}

/// What a run says from its error on.
fn error(run: &Run) -> &str {
    let at = run.stderr.find("error:");
    &run.stderr[at.unwrap_or_else(|| panic!("{}", run.account()))..]
}

#[test]
fn a_failure_is_told_as_without() {
    let project = project();
    project.build(&[]);
    let registry = Registry::start();
    let name = registry.reference(NAME);
    let both = |change: &dyn Fn(), says: &[&str]| {
        let [with, without] = [copy(&project), copy(&project)];
        change();
        let push = ["build", "--push", "--name", &name];
        let (with, run) = (with.run(push), without.run(arguments(&name, &[])));
        refused(&run, &registry, &without);
        run.says(says);
        assert_eq!(error(&run), error(&with));
    };
    let gone = "large7-1.0-py3-none-any.whl";
    both(
        &|| {
            project.index.remove(gone);
        },
        &[gone, "404"],
    );
    both(
        &|| {
            project.index.add_file("large7", gone, b"changed");
        },
        &[gone, "does not have its sha256"],
    );
    let wheel = WheelBuilder::simple("large7", "1.0").file("large7/data", &noise(MIB as usize, 7));
    project.index.add(&wheel);
    // One blob of them all is named, whichever comes first.
    let full = RegistryFault::Status {
        status: 507,
        retry: RetryAfter::Unsaid,
        site: Site::Commits,
    };
    registry.fault(full);
    let other = copy(&project);
    let run = other.run(arguments(&name, &["--jobs=2"]));
    assert_eq!(run.status, Some(1), "{}", run.account());
    run.says(&["error: blob sha256:", " cannot be pushed", "507"]);
    assert_eq!(registry.manifests(NAME), []);
    registry.clear_faults();
    other.succeeds(arguments(&name, &[]));
    assert_eq!(registry.complete(NAME), Ok(()));
    assert!(
        fs::read_dir(other.root().join("tmp"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn what_is_built_from_sources_is_delivered() {
    let sources = Sources::new(
        "pyproject = true\nproject = \"wheel\"\npackages = [\"demo\"]\nbuild-from-source = [\"demo\"]",
    );
    let sdist = sources.sdist("demo", "1.0");
    sources.project.index.add_sdist(&sdist);
    let own = sources.sdist("own", "0.1").tag("py3-none-any");
    for (path, bytes) in own.sources() {
        sources.project.context.write(&path, bytes);
    }
    let context = &sources.project.context;
    let registry = Registry::start();
    let name = registry.reference(NAME);
    let digest = digest_of(&context.succeeds(arguments(&name, &[])));
    check(&registry, context);
    assert_eq!(digest_of(&context.succeeds(["build"])), digest);
}
