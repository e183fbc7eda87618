//! The projects of `images/`, built with the real index and a real Debian mirror, once a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci::Platform;
use serde_json::Value;

use crate::once::Once;
use crate::readme;

/// A sample as the tests build it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// `images/hello`, by the README's first command.
    Hello,
    /// `images/genascope-backend`.
    Backend,
    /// `images/genascope-backend`, profile `ml`.
    Ml,
    /// `images/genascope-backend`, profile `system`.
    System,
}

/// A sample's image and what the build said of it.
#[derive(Debug)]
pub(crate) struct Built {
    sample: Sample,
    directory: Once,
}

impl Sample {
    /// The sample's image for both platforms.
    pub(crate) fn built(self) -> Built {
        Built {
            sample: self,
            directory: Once::get(self.name(), |path| self.build(path)),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Backend => "backend",
            Self::Ml => "backend-ml",
            Self::System => "backend-system",
        }
    }

    /// The lock's file name.
    const fn lock(self) -> &'static str {
        match self {
            Self::Hello | Self::Backend => "oxcart.lock",
            Self::Ml => "oxcart.ml.lock",
            Self::System => "oxcart.system.lock",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Hello => "images/hello",
            Self::Backend | Self::Ml | Self::System => "images/genascope-backend",
        }
    }

    /// The options of `oxcart` that build this sample from the workspace's directory.
    fn arguments(self) -> Vec<String> {
        let words = match self {
            Self::Hello => return readme::first_command(),
            Self::Backend => "build --project images/genascope-backend --output oci:backend-image",
            Self::Ml => {
                "build --project images/genascope-backend --profile ml --output oci:backend-ml-image"
            }
            Self::System => {
                "build --project images/genascope-backend --profile system --output oci:backend-system-image"
            }
        };
        words.split(' ').map(str::to_owned).collect()
    }

    /// Builds in a copy, because a build writes the project's lock.
    fn build(self, directory: &Path) {
        let project = directory.join(self.directory());
        fs::create_dir_all(project.parent().expect("a parent")).expect("directory");
        copy(&workspace().join(self.directory()), &project);
        let mut command = oxcart();
        command
            .args(self.arguments())
            .arg("--metadata-file")
            .arg(directory.join("metadata.json"));
        let output = command.current_dir(directory).output().expect("oxcart");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {stderr}", self.name());
        fs::write(directory.join("stdout"), output.stdout).expect("stdout");
        fs::write(directory.join("stderr"), output.stderr).expect("stderr");
    }
}

impl Built {
    /// The OCI layout.
    pub(crate) fn layout(&self) -> PathBuf {
        self.directory.path().join(match self.sample {
            Sample::Hello => "hello-image",
            Sample::Backend => "backend-image",
            Sample::Ml => "backend-ml-image",
            Sample::System => "backend-system-image",
        })
    }

    /// What containers/image calls it.
    pub(crate) fn reference(&self) -> String {
        format!("oci:{}:latest", self.layout().display())
    }

    /// The document of `--metadata-file`.
    pub(crate) fn metadata(&self) -> Value {
        let bytes = fs::read(self.directory.path().join("metadata.json")).expect("metadata");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// What the build printed as its result.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.directory.path().join("stdout")).expect("stdout")
    }

    /// What the build printed beside its result.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).expect("stderr")
    }

    /// The project that was built, with its lock.
    pub(crate) fn project(&self) -> PathBuf {
        self.directory.path().join(self.sample.directory())
    }

    /// The options that choose the sample's profile.
    pub(crate) fn profile(&self) -> &'static [&'static str] {
        match self.sample {
            Sample::Hello | Sample::Backend => &[],
            Sample::Ml => &["--profile", "ml"],
            Sample::System => &["--profile", "system"],
        }
    }

    /// The wheels that the lock has for `platform`.
    pub(crate) fn wheels(&self, platform: Platform) -> Vec<LockedWheel> {
        let lock = self.project().join(self.sample.lock());
        let lock: toml::Value =
            toml::from_str(&fs::read_to_string(lock).expect("lock")).expect("TOML");
        let name = platform.to_string();
        let platforms = lock["platform"].as_array().expect("platforms");
        let platform = platforms
            .iter()
            .find(|it| it["name"].as_str() == Some(&name));
        let wheels = platform.expect("the platform")["wheel"]
            .as_array()
            .expect("wheels")
            .clone();
        wheels
            .into_iter()
            .map(|wheel| wheel.try_into().expect("a wheel"))
            .collect()
    }

    /// The image's root directory for `platform` and the runtime's `config.json` for it, unpacked
    /// by umoci.
    pub(crate) fn bundle(&self, platform: Platform) -> Bundle {
        Bundle::of(self.sample.name(), &self.reference(), platform)
    }
}

/// A wheel of the lock.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct LockedWheel {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) filename: String,
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) requested: bool,
}

/// An image for one platform, unpacked.
#[derive(Debug)]
pub(crate) struct Bundle {
    directory: Once,
    platform: Platform,
}

impl Bundle {
    /// The image that containers/image calls `reference`, unpacked once a run under `name`.
    pub(crate) fn of(name: &str, reference: &str, platform: Platform) -> Self {
        let name = format!("{name}-{}", platform.slug());
        let directory = Once::get(&name, |path| {
            let one = path.join("one");
            let architecture = platform.architecture();
            let mut skopeo = Command::new("skopeo");
            skopeo.args([
                "--override-arch",
                architecture,
                "copy",
                "--quiet",
                reference,
            ]);
            succeed(skopeo.arg(format!("oci:{}:one", one.display())));
            let mut umoci = Command::new("umoci");
            umoci.args(["unpack", "--image", &format!("{}:one", one.display())]);
            succeed(umoci.arg(path.join("bundle")));
            fs::remove_dir_all(one).expect("remove the copy");
        });
        Self {
            directory,
            platform,
        }
    }

    pub(crate) fn platform(&self) -> Platform {
        self.platform
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.path().join("bundle/rootfs")
    }

    /// A command in the image, as the image's user, in its directory and with its environment:
    /// what a container would be, less its isolation.
    pub(crate) fn command(&self, program: &str) -> Command {
        let config = fs::read(self.directory.path().join("bundle/config.json")).expect("config");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        let process = &config["process"];
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let id = |name: &str| process["user"][name].as_u64().expect("an id");
        let mut command = enter(
            &self.rootfs(),
            &text(&process["cwd"]),
            (id("uid"), id("gid")),
            program,
        );
        command.env_clear();
        for pair in process["env"].as_array().expect("an environment") {
            let pair = text(pair);
            let (name, value) = pair.split_once('=').expect("NAME=value");
            command.env(name, value);
        }
        command
    }

    /// The user that the image runs as.
    pub(crate) fn uid(&self) -> u64 {
        let config = fs::read(self.directory.path().join("bundle/config.json")).expect("config");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        config["process"]["user"]["uid"].as_u64().expect("a uid")
    }
}

/// A command in another root directory, with its `/proc` and `/dev`. What is mounted goes with the
/// process.
pub(crate) fn enter(root: &Path, directory: &str, ids: (u64, u64), program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", ENTER, "sh"]).arg(root);
    command.args([directory, &ids.0.to_string(), &ids.1.to_string(), program]);
    command.stdin(Stdio::null());
    command
}

/// Arguments: root, directory, uid, gid, program and its arguments. The environment is the
/// program's, so the tools of the host are looked for in their usual places.
const ENTER: &str = r#"
set -eu
root=$1 directory=$2 uid=$3 gid=$4
shift 4
host=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PATH=$host mkdir -p "$root/proc" "$root/dev"
PATH=$host mount -t proc proc "$root/proc"
PATH=$host mount --rbind /dev "$root/dev"
unshare=$(PATH=$host command -v unshare)
exec "$unshare" --root="$root" --wd="$directory" --setgid="$gid" --setuid="$uid" -- "$@"
"#;

/// The binary under test, with the tests' store and no configuration of the caller's.
pub(crate) fn oxcart() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxcart"));
    command
        .env("OXCART_STORE", store())
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::null());
    command
}

/// The store of the tests with the real index: kept between runs, because downloads are slow.
pub(crate) fn store() -> PathBuf {
    let cache = std::env::var_os("OXCART_TEST_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/oxcart");
    cache.unwrap_or_else(home).join("test-store")
}

/// A program of the Python environment that `cargo xtask test` makes.
pub(crate) fn oracle(name: &str) -> PathBuf {
    let directory = std::env::var_os("OXCART_TEST_ORACLES").map_or_else(
        || store().with_file_name("oracles").join("bin"),
        PathBuf::from,
    );
    let program = directory.join(name);
    assert!(
        program.exists(),
        "{} is missing: `cargo xtask test` installs it",
        program.display()
    );
    program
}

/// The workspace's directory.
pub(crate) fn workspace() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .join("../..")
        .canonicalize()
        .expect("the workspace")
}

/// Copies a directory, without locks that a build left there.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("directory");
    for entry in fs::read_dir(from).expect("directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).expect("copy");
        }
    }
}

/// Runs to a good end, and returns the standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask test` installs it",
            command.get_program().display()
        )
    });
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}
