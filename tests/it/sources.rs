//! Wheels that are built from sources: sdists of `build-from-source`, and the project itself. They are
//! built with the Python of this machine, by a backend that lies in the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::Digest;
use testkit::{SdistBuilder, WheelBuilder};

use crate::project::{Project, listing};
use crate::samples::{oracle, succeed};
use crate::skip::{Need, left_out};

pub(crate) const SITE: &str = "opt/venv/lib/python3.13/site-packages";
/// This machine, as its platform is written.
pub(crate) const HOST: &str = match std::env::consts::ARCH.as_bytes() {
    b"aarch64" => "linux/arm64",
    _ => "linux/amd64",
};
pub(crate) const FOREIGN: &str = match std::env::consts::ARCH.as_bytes() {
    b"aarch64" => "linux/amd64",
    _ => "linux/arm64",
};

/// The interpreter of this machine, and its version as tags write it: `311`.
pub(crate) fn python() -> (String, String) {
    let script = "import sys; print(getattr(sys, '_base_executable', None) or sys.executable); print('%d%d' % sys.version_info[:2])";
    let output = Command::new("python3").args(["-c", script]).output();
    let output = output.expect("the tests need a python3");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next().unwrap())
}

/// A project that may build `allowed`, and where its backends note what they do.
pub(crate) struct Sources {
    pub(crate) project: Project,
    log: PathBuf,
}

impl Sources {
    pub(crate) fn new(dependencies: &str) -> Self {
        let mut project = Project::empty();
        project.context.set("OXCART_PYTHON", python().0);
        let log = project.context.root().join("backend.log");
        let sources = Self { project, log };
        sources.depend(dependencies);
        sources
    }

    /// Sets `[dependencies]`, for both platforms.
    pub(crate) fn depend(&self, dependencies: &str) {
        self.configure(&[HOST, FOREIGN], dependencies);
    }

    fn configure(&self, platforms: &[&str], dependencies: &str) {
        let (index, platforms) = ("index = \"$INDEX\"", format!("{platforms:?}"));
        self.project.configure(&format!(
            "[image]\nplatforms = {platforms}\n[dependencies]\n{index}\n{dependencies}\n"
        ));
    }

    /// An sdist that notes what its backend does.
    pub(crate) fn sdist(&self, name: &str, version: &str) -> SdistBuilder {
        SdistBuilder::new(name, version).logs_to(&self.log)
    }

    /// What backends did since this was last asked.
    pub(crate) fn done(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let _ = fs::remove_file(&self.log);
        text.lines().map(str::to_owned).collect()
    }

    /// Takes away the interpreter.
    pub(crate) fn without_python(&mut self) {
        self.project
            .context
            .set("OXCART_PYTHON", "/nonexistent/python");
    }

    /// Gives the project a store that has nothing.
    pub(crate) fn forget_store(&mut self) {
        let store = self.project.context.root().join("another-store");
        let _ = fs::remove_dir_all(&store);
        self.project.context.use_store(store);
    }

    fn lock(&self) -> toml::Table {
        self.project.context.read("oxcart.lock").parse().unwrap()
    }

    /// `name version` of the wheels of the first platform.
    fn pins(&self) -> Vec<String> {
        self.project.context.succeeds(["lock"]);
        let lock = self.lock();
        let wheels = lock["platform"][0]["wheel"].as_array().unwrap();
        let text = |wheel: &toml::Value, key: &str| wheel[key].as_str().unwrap().to_owned();
        wheels
            .iter()
            .map(|it| format!("{} {}", text(it, "name"), text(it, "version")))
            .collect()
    }
}

const DEMO: &str = "packages = [\"demo\"]\nbuild-from-source = [\"demo\"]";

#[test]
fn a_pure_sdist_is_built_once_for_all_platforms() {
    let mut sources = Sources::new(DEMO);
    let sdist = sources.sdist("demo", "1.0").requires("helper>=2");
    sources.project.index.add_sdist(&sdist);
    sources
        .project
        .index
        .add(&WheelBuilder::simple("helper", "2.0"));
    let digest = sources.project.build(&[]);
    assert_eq!(
        sources.done(),
        [
            "demo 1.0 get_requires_for_build_wheel",
            "demo 1.0 prepare_metadata_for_build_wheel",
            "demo 1.0 build_wheel"
        ]
    );
    for platform in [HOST, FOREIGN] {
        let image = sources.project.image(platform);
        let text = image.text(&format!("{SITE}/demo/__init__.py"));
        assert_eq!(text, "VERSION = '1.0'\n");
        assert!(
            image.has(&format!("{SITE}/helper/__init__.py")),
            "{platform}"
        );
    }
    let lock = sources.lock();
    let (first, second) = (&lock["platform"][0], &lock["platform"][1]);
    assert_eq!(first["wheel"], second["wheel"]);
    let sdist_of = &first["wheel"][0]["sdist"];
    assert_eq!(sdist_of["filename"].as_str(), Some("demo-1.0.tar.gz"));
    let sha256 = Digest::of(&sdist.build()).hex();
    assert_eq!(sdist_of["sha256"].as_str(), Some(sha256.as_str()));

    // Nothing is spawned again, neither for the lock nor for the image.
    sources.without_python();
    fs::remove_dir_all(sources.project.context.path("image")).unwrap();
    assert_eq!(sources.project.build(&["--locked"]), digest);
    sources
        .project
        .context
        .write("requirements.txt", "helper==2.0\n");
    sources.depend(&format!("{DEMO}\nconstraints = [\"helper<3\"]"));
    sources.project.context.succeeds(["lock"]);
    assert_eq!(sources.done(), [""; 0]);

    // On another machine it is built again, and is the same.
    sources.project.context.set("OXCART_PYTHON", python().0);
    sources.depend(DEMO);
    sources.project.context.succeeds(["lock"]);
    sources.forget_store();
    fs::remove_dir_all(sources.project.context.path("image")).unwrap();
    assert_eq!(sources.project.build(&["--locked"]), digest);
    assert_eq!(sources.done(), ["demo 1.0 build_wheel"]);
}

#[test]
fn static_metadata_needs_no_backend_and_metadata_may_come_from_the_wheel() {
    let sources = Sources::new("packages = [\"demo\"]\nbuild-from-source = [\":all:\"]");
    let sdist = sources.sdist("demo", "1.0").static_metadata(&["other"]);
    let other = sources.sdist("other", "2.0").without_prepare();
    sources.project.index.add_sdist(&sdist).add_sdist(&other);
    assert_eq!(sources.pins(), ["demo 1.0", "other 2.0"]);
    let done = sources.done();
    let count = |text: &str| done.iter().filter(|it| *it == text).count();
    assert_eq!(count("other 2.0 build_wheel"), 1, "{done:?}");
    assert_eq!(count("demo 1.0 prepare_metadata_for_build_wheel"), 0);
}

#[test]
fn a_backend_has_what_it_requires_and_nothing_else() {
    let sources = Sources::new(DEMO);
    let index = &sources.project.index;
    for name in ["maker", "further"] {
        index.add(&WheelBuilder::simple(name, "1.0"));
        index.add(&WheelBuilder::simple(name, "2.0"));
    }
    let sdist = sources
        .sdist("demo", "1.0")
        .build_requires("maker<2", "maker")
        .further_requires("further", "further");
    index.add_sdist(&sdist);
    sources.project.build(&[]);
    let lock = sources.lock();
    let sdist = &lock["platform"][0]["wheel"][0]["sdist"];
    let required = sdist["requires"].as_array().unwrap().iter();
    let names: Vec<_> = required
        .map(|it| it["filename"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["further-2.0-py3-none-any.whl", "maker-1.0-py3-none-any.whl"]
    );
    // What is required to build is not in the image.
    assert!(
        !sources
            .project
            .image(HOST)
            .has(&format!("{SITE}/maker/__init__.py"))
    );

    let sources = Sources::new(DEMO);
    let sdist = sources
        .sdist("demo", "1.0")
        .build_requires("maker", "another");
    sources.project.index.add_sdist(&sdist);
    sources.project.context.fails(["lock"]).says(&[
        "what is needed to build demo-1.0.tar.gz cannot be resolved",
        "no package is called `maker`",
    ]);
    sources
        .project
        .index
        .add(&WheelBuilder::simple("maker", "1.0"));
    sources
        .project
        .context
        .fails(["lock"])
        .says(&["No module named 'another'"]);
}

#[test]
fn without_prefer_binary_the_newest_version_wins_whatever_it_is() {
    let sources = Sources::new(DEMO);
    let index = &sources.project.index;
    index.add(&WheelBuilder::simple("demo", "1.0"));
    assert_eq!(sources.pins(), ["demo 1.0"]);
    index.add_sdist(&sources.sdist("demo", "1.0"));
    index.add_sdist(&sources.sdist("demo", "2.0"));
    sources.project.context.succeeds(["lock", "--upgrade"]);
    assert_eq!(sources.pins(), ["demo 2.0"]);
    // Of one version the wheel is taken.
    index.add(&WheelBuilder::simple("demo", "2.0"));
    sources.project.context.succeeds(["lock", "--upgrade"]);
    assert!(
        sources.lock()["platform"][0]["wheel"][0]
            .get("sdist")
            .is_none()
    );
    // One that is not named stays with its wheels.
    index.add_sdist(&sources.sdist("demo", "3.0"));
    sources.depend(
        "packages = [\"demo\"]\nbuild-from-source = [\"other\"]\nallow-downgrade = [\"demo\"]",
    );
    assert_eq!(sources.pins(), ["demo 2.0"]);
}

#[test]
fn with_prefer_binary_any_wheel_that_fits_beats_any_newer_sdist() {
    let table = "packages = [\"demo\", \"other\"]\nbuild-from-source = [\"demo\", \"other\"]\nprefer-binary = true";
    let sources = Sources::new(table);
    let index = &sources.project.index;
    index.add(&WheelBuilder::simple("demo", "1.0"));
    for version in ["2.0", "3.0"] {
        index.add_sdist(&sources.sdist("demo", version));
        index.add_sdist(&sources.sdist("other", version));
    }
    index.add(&WheelBuilder::simple("other", "1.0").tags("cp313-cp313-win_amd64"));
    // Only the one without a wheel that fits is built.
    assert_eq!(sources.pins(), ["demo 1.0", "other 3.0"]);
    let done = sources.done();
    assert!(
        done.iter().all(|it| it.starts_with("other 3.0")),
        "{done:?}"
    );
    // No wheel is allowed: the newest sdist that is.
    sources.depend(&format!("{table}\nconstraints = [\"demo>1,<3\"]"));
    assert_eq!(sources.pins(), ["demo 2.0", "other 3.0"]);
    // The option of a requirements file says the same.
    let file = "demo\n--prefer-binary\n";
    sources.project.context.write("requirements.txt", file);
    sources.depend("requirements = [\"requirements.txt\"]\nbuild-from-source = [\"demo\"]");
    sources.project.context.succeeds(["lock", "--upgrade"]);
    assert_eq!(sources.pins(), ["demo 1.0"]);
}

#[test]
fn no_binary_asks_for_the_sdist_where_it_may_be_built() {
    let sources = Sources::new("requirements = [\"requirements.txt\"]");
    let index = &sources.project.index;
    index.add(&WheelBuilder::simple("demo", "1.0"));
    index.add_sdist(&sources.sdist("demo", "1.0"));
    let file = "demo\n--no-binary demo\n";
    sources.project.context.write("requirements.txt", file);
    let run = sources.project.context.fails(["lock"]);
    run.says(&["no-binary rules out wheels of demo", "build-from-source"]);
    sources.depend("requirements = [\"requirements.txt\"]\nbuild-from-source = [\"demo\"]");
    sources.project.context.succeeds(["lock"]);
    assert!(
        sources.lock()["platform"][0]["wheel"][0]
            .get("sdist")
            .is_some()
    );
    // And only-binary forbids what would be allowed.
    let file = "demo\n--only-binary demo\n";
    sources.project.context.write("requirements.txt", file);
    sources.project.context.succeeds(["lock"]);
    assert!(
        sources.lock()["platform"][0]["wheel"][0]
            .get("sdist")
            .is_none()
    );
    sources
        .depend("packages = [\"demo\"]\nbuild-from-source = [\"demo\"]\nonly-binary = [\"Demo\"]");
    let run = sources.project.context.fails(["lock"]);
    run.says(&["only-binary and build-from-source both have `demo`"]);
}

#[test]
fn a_native_wheel_is_for_this_machine_alone() {
    let sources = Sources::new(DEMO);
    let tag = format!("py3-none-linux_{}", std::env::consts::ARCH);
    let sdist = sources.sdist("demo", "1.0").tag(&tag);
    sources.project.index.add_sdist(&sdist);
    sources.project.context.fails(["build"]).says(&[
        &format!("demo-1.0.tar.gz gives demo-1.0-{tag}.whl, which does not fit {FOREIGN}"),
        "it is for this machine",
        "hint: what is built here fits other platforms only where it is py3-none-any",
        "find-links",
    ]);
    sources.configure(&[HOST], DEMO);
    sources.project.build(&[]);
    let image = sources.project.image(HOST);
    assert!(image.has(&format!("{SITE}/demo/__init__.py")));
}

#[test]
fn a_native_wheel_must_fit_the_python_and_the_libc_of_the_image() {
    // Another Python than the image's 3.13.
    let sources = Sources::new("");
    sources.configure(&[HOST], DEMO);
    let (own, image) = (python().1, "313");
    if own != image {
        let tag = format!("cp{own}-cp{own}-linux_{}", std::env::consts::ARCH);
        let sdist = sources.sdist("demo", "1.0").tag(&tag);
        sources.project.index.add_sdist(&sdist);
        let run = sources.project.context.fails(["build"]);
        run.says(&[
            "the Python that it was built with is 3.",
            "and the image has 3.13",
        ]);
    }
    // A library that needs a symbol of a glibc that is to come: the test's own, with another number.
    let mut library = fs::read(std::env::current_exe().unwrap()).unwrap();
    let needed = newest_symbol(&library);
    let from = needed.as_bytes();
    let to = format!("GLIBC_{:.<1$}", "2.99", from.len() - 6)
        .replace('.', "\0")
        .replacen('\0', ".", 1);
    let at: Vec<_> = library
        .windows(from.len() + 1)
        .enumerate()
        .filter(|(_, it)| it.starts_with(from) && it[from.len()] == 0)
        .map(|(at, _)| at)
        .collect();
    for at in at {
        library[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    let sources = Sources::new("");
    sources.configure(&[HOST], DEMO);
    let tag = format!("py3-none-linux_{}", std::env::consts::ARCH);
    let sdist = sources.sdist("demo", "1.0").tag(&tag);
    sources
        .project
        .index
        .add_sdist(&sdist.file("src/demo/lib.so", &library));
    let run = sources.project.context.fails(["build"]);
    run.says(&["its demo/lib.so needs glibc 2.99, and the image has 2."]);
}

/// The name of the newest glibc symbol version in a program.
fn newest_symbol(program: &[u8]) -> String {
    let names = program.split(|byte| *byte == 0);
    let versions = names.filter_map(|name| {
        let name = std::str::from_utf8(name).ok()?;
        let minor: u32 = name.strip_prefix("GLIBC_2.")?.parse().ok()?;
        Some((minor, name.to_owned()))
    });
    versions.filter(|(minor, _)| *minor > 9).max().unwrap().1
}

#[test]
fn what_a_failing_backend_says_is_shown() {
    for hook in [
        "get_requires_for_build_wheel",
        "prepare_metadata_for_build_wheel",
        "build_wheel",
    ] {
        let sources = Sources::new(DEMO);
        let sdist = sources.sdist("demo", "1.0").fails_in(hook);
        sources.project.index.add_sdist(&sdist);
        sources.project.context.fails(["build"]).says(&[
            &format!("demo-1.0.tar.gz cannot be built: its backend backend failed in {hook}"),
            "    error: the backend has had enough",
            "hint: ",
        ]);
        sources.project.assert_nothing_half_written();
    }
}

#[test]
fn a_backend_that_hangs_is_given_up() {
    let mut sources = Sources::new(DEMO);
    let sdist = sources.sdist("demo", "1.0").hangs_in("build_wheel");
    sources.project.index.add_sdist(&sdist);
    sources.project.context.set("OXCART_BUILD_TIMEOUT", "2");
    let run = sources.project.context.fails(["build"]);
    run.says(&[
        "demo-1.0.tar.gz cannot be built: build_wheel of its backend backend did not end within 2 seconds, and said",
        "    waiting for what does not come",
        "hint: if it needs more time, set OXCART_BUILD_TIMEOUT",
    ]);
    assert!(run.elapsed < std::time::Duration::from_mins(1));
    sources.project.assert_nothing_half_written();
    sources.project.context.set("OXCART_BUILD_TIMEOUT", "soon");
    sources.project.context.fails(["build"]).says(&[
        "OXCART_BUILD_TIMEOUT is `soon`",
        "hint: it is the number of seconds that a build backend may take",
    ]);
}

#[test]
fn an_sdist_that_is_not_what_it_should_be_is_refused() {
    let check = |sdist: SdistBuilder, says: &[&str]| {
        let sources = Sources::new(DEMO);
        sources.project.index.add_sdist(&sdist);
        sources.project.context.fails(["build"]).says(says);
        sources.project.assert_nothing_half_written();
    };
    let demo = || SdistBuilder::new("demo", "1.0");
    check(
        demo().file("../../outside", b""),
        &["demo-1.0.tar.gz cannot be unpacked: `demo-1.0/../../outside` leads outside of it"],
    );
    check(
        demo().builds_version("2.0"),
        &["demo-1.0.tar.gz says of itself that it is demo 2.0"],
    );
    check(
        demo().builds_version("2.0").static_metadata(&[]),
        &["demo-1.0.tar.gz says of itself that it is demo-2.0-py3-none-any.whl"],
    );
    check(
        demo().file("pyproject.toml", b"[build-system]\nbuild-backend = 'x'\n"),
        &[
            "the pyproject.toml of demo-1.0.tar.gz cannot be used",
            "missing field `requires`",
        ],
    );
}

#[test]
fn an_sdist_with_another_hash_than_the_lock_has_is_refused() {
    let mut sources = Sources::new(DEMO);
    sources
        .project
        .index
        .add_sdist(&sources.sdist("demo", "1.0"));
    sources.project.context.succeeds(["lock"]);
    let other = sources.sdist("demo", "1.0").file("src/demo/more.py", b"");
    sources.project.index.add_sdist(&other);
    sources.forget_store();
    let run = sources.project.context.fails(["build", "--locked"]);
    run.says(&["demo-1.0.tar.gz", "sha256"]);
    sources.project.assert_nothing_half_written();
}

#[test]
fn a_wheel_that_comes_out_differently_is_told() {
    let mut sources = Sources::new(DEMO);
    sources
        .project
        .index
        .add_sdist(&sources.sdist("demo", "1.0"));
    sources.project.context.succeeds(["lock"]);
    let lock = sources.project.context.read("oxcart.lock");
    let sha256 = sources.lock()["platform"][0]["wheel"][0]["sha256"].to_string();
    let other = format!("\"{}\"", Digest::of(b"other").hex());
    sources
        .project
        .context
        .write("oxcart.lock", lock.replace(&sha256, &other));
    sources.forget_store();
    let run = sources.project.context.fails(["build", "--locked"]);
    run.says(&[
        "demo-1.0.tar.gz gives another demo-1.0-py3-none-any.whl than the one that the lock has",
        "hint: ",
        "oxcart vendor",
    ]);
}

#[test]
fn without_a_python_nothing_is_built_and_the_way_out_is_told() {
    let mut sources = Sources::new(DEMO);
    sources
        .project
        .index
        .add_sdist(&sources.sdist("demo", "1.0"));
    sources.project.context.unset("OXCART_PYTHON");
    sources.project.context.fails(["build"]).says(&[
        "there is no Python to build demo-1.0.tar.gz with: no python3 is on PATH",
        "hint: install a Python 3.8 or newer, or name one with OXCART_PYTHON",
    ]);
    sources.without_python();
    let run = sources.project.context.fails(["build"]);
    run.says(&["OXCART_PYTHON names /nonexistent/python"]);
    sources.project.context.set("OXCART_PYTHON", "/bin/false");
    let run = sources.project.context.fails(["build"]);
    run.says(&["/bin/false cannot build wheels"]);
}

#[test]
fn what_is_vendored_has_the_built_wheel() {
    let mut sources = Sources::new(DEMO);
    let sdist = sources.sdist("demo", "1.0");
    sources.project.index.add_sdist(&sdist);
    let digest = sources.project.build(&[]);
    // Also where it has to be built for it.
    sources.forget_store();
    sources.done();
    sources
        .project
        .context
        .succeeds(["vendor", "--output", "vendor"]);
    assert_eq!(sources.done(), ["demo 1.0 build_wheel"]);
    sources.forget_store();
    sources.without_python();
    sources.project.forget_requests();
    fs::remove_dir_all(sources.project.context.path("image")).unwrap();
    let offline = sources.project.build(&["--offline", "--vendor", "vendor"]);
    assert_eq!(offline, digest);
    assert_eq!(sources.project.requests(), [""; 0]);
    assert_eq!(sources.done(), [""; 0]);
}

#[test]
fn an_archive_at_a_url_and_one_of_another_lock_are_built_where_they_may_be() {
    let sources = Sources::new("");
    let index = &sources.project.index;
    let sdist = sources.sdist("demo", "1.0").requires("other");
    index
        .add_sdist(&sdist)
        .add_sdist(&sources.sdist("other", "2.0"));
    let url = index.file_url("demo-1.0.tar.gz");
    let table = format!("packages = [\"demo @ {url}\"]");
    sources.depend(&table);
    let run = sources.project.context.fails(["lock"]);
    run.says(&["is a source archive", "allow it with `build-from-source`"]);
    sources.depend(&format!(
        "{table}\nbuild-from-source = [\"demo\", \"other\"]"
    ));
    assert_eq!(sources.pins(), ["demo 1.0", "other 2.0"]);

    let lock = format!(
        "version = 1\nrequires-python = \">=3.12\"\n[[package]]\nname = \"app\"\nversion = \"0\"\n\
         source = {{ virtual = \".\" }}\ndependencies = [{{ name = \"demo\" }}]\n[[package]]\n\
         name = \"demo\"\nversion = \"1.0\"\nsource = {{ registry = \"{}\" }}\n\
         sdist = {{ url = \"{url}\", hash = \"sha256:{}\" }}\n",
        index.url(),
        Digest::of(&sdist.build()).hex(),
    );
    sources.project.context.write("uv.lock", lock);
    sources.depend("lock = \"uv.lock\"");
    let run = sources.project.context.fails(["lock"]);
    run.says(&["demo 1.0 is a source archive"]);
    sources.depend("lock = \"uv.lock\"\nbuild-from-source = [\"demo\"]");
    assert_eq!(sources.pins(), ["demo 1.0"]);
}

/// One each of setuptools without a pyproject.toml, of flit, and of hatchling with a plugin.
#[test]
fn what_is_built_equals_what_uv_builds() {
    if left_out(Need::Network) {
        return;
    }
    let pins = ["six==1.16.0", "idna==3.10", "iniconfig==2.0.0"];
    let mut project = Project::empty();
    project.context.set("OXCART_PYTHON", python().0);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"] {
        if let Ok(value) = std::env::var(name) {
            project.context.set(name, value);
        }
    }
    let file = format!("{}\n--no-binary :all:\n", pins.join("\n"));
    project.context.write("requirements.txt", file);
    project.configure(
        "[dependencies]\nrequirements = [\"requirements.txt\"]\nbuild-from-source = [\":all:\"]\n",
    );
    project.build(&[]);

    let target = project.context.root().join("uv");
    let mut uv = Command::new(oracle("uv"));
    uv.args(["pip", "install", "--quiet", "--no-config", "--no-deps"]);
    uv.args([
        "--no-cache",
        "--no-binary",
        ":all:",
        "--python",
        &python().0,
    ]);
    uv.arg("--target").arg(&target).args(pins);
    succeed(&mut uv);
    let theirs: BTreeMap<_, _> = listing(&target)
        .into_iter()
        .filter(|name| is_of_the_wheel(name))
        .map(|name| (name.clone(), fs::read(target.join(name)).unwrap()))
        .collect();
    assert!(theirs.len() > 20, "nothing to compare: {theirs:?}");
    for platform in ["linux/amd64", "linux/arm64"] {
        let image = project.image(platform);
        let ours: BTreeMap<_, _> = image
            .files
            .into_iter()
            .filter_map(|(path, file)| {
                let name = path.strip_prefix(SITE)?.strip_prefix('/')?.to_owned();
                let is_file = file.link.is_none() && file.mode & 0o111 == 0;
                (is_file && is_of_the_wheel(&name)).then_some((name, file.bytes))
            })
            .collect();
        assert_eq!(
            ours.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>()
        );
        for (name, bytes) in &ours {
            assert_eq!(bytes, &theirs[name], "{name}");
        }
    }
}

/// Whether an installed file is one that a wheel brings, not one that an installer writes.
fn is_of_the_wheel(name: &str) -> bool {
    let file = Path::new(name).file_name().unwrap().to_string_lossy();
    let written = ["RECORD", "INSTALLER", "REQUESTED", "direct_url.json"];
    !written.contains(&&*file)
        && !file.starts_with("uv_")
        && name != ".lock"
        && !name.contains("__pycache__")
}
