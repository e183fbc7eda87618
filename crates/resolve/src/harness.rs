//! What the tests of the engine share: an index on this machine, and a directory for files and cache.

use std::path::PathBuf;

use testkit::{PackageIndex, WheelBuilder};

use crate::{Arch, Error, Input, Inputs, Libc, Request, Resolution, Target};

/// `CPython` 3.13.5 with glibc 2.36 on aarch64.
pub(crate) fn arm64() -> Target {
    Target {
        arch: Arch::Aarch64,
        libc: Libc::Glibc {
            major: 2,
            minor: 36,
        },
        python: "3.13.5".to_owned(),
    }
}

pub(crate) struct Harness {
    pub(crate) index: PackageIndex,
    pub(crate) directory: tempfile::TempDir,
}

impl Harness {
    /// An index with some wheels: `demo-1.0-py3-none-any.whl needs=other>=1`.
    pub(crate) fn with(wheels: &[&str]) -> Self {
        let index = PackageIndex::start();
        for line in wheels {
            index.add(&wheel(line));
        }
        Self {
            index,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn request(&self, target: Target, inputs: Vec<Input>) -> Request {
        let mut request = Request::new(target, inputs, self.path("cache"));
        request.index.default = Some(self.index.url());
        request
    }

    /// A file in the test's directory.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn resolve(&self, requirements: &[&str]) -> Result<Resolution, Error> {
        resolve(&self.request(arm64(), requirements_of(requirements)))
    }

    /// The text of an error and its hint, without what changes from run to run.
    pub(crate) fn told(&self, error: &Error) -> String {
        let hint = error
            .hint()
            .map(|hint| format!("\nhint: {hint}"))
            .unwrap_or_default();
        let port = self.index.port();
        format!("{error}{hint}")
            .replace(&format!("127.0.0.1:{port}"), "<index>")
            .replace(&self.directory.path().display().to_string(), "<directory>")
    }

    /// The same, of the error that these requirements lead to.
    pub(crate) fn fails(&self, requirements: &[&str]) -> String {
        self.told(&self.resolve(requirements).unwrap_err())
    }
}

pub(crate) fn requirements_of(texts: &[&str]) -> Vec<Input> {
    texts
        .iter()
        .map(|&text| Input::Requirement(text.to_owned()))
        .collect()
}

pub(crate) fn wheel(line: &str) -> WheelBuilder {
    let (filename, needs) = line.split_once(" needs=").unwrap_or((line, ""));
    let parts: Vec<&str> = filename
        .strip_suffix(".whl")
        .unwrap()
        .splitn(3, '-')
        .collect();
    let wheel = WheelBuilder::simple(parts[0], parts[1]).tags(parts[2]);
    needs
        .split(", ")
        .filter(|need| !need.is_empty())
        .fold(wheel, WheelBuilder::requires)
}

/// Runs a future to its end on this thread: uv's client can't be sent to another.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

pub(crate) fn resolve(request: &Request) -> Result<Resolution, Error> {
    wait(crate::resolve(request))
}

pub(crate) fn read(inputs: &[Input]) -> Result<Inputs, Error> {
    wait(Inputs::read(inputs))
}

/// `name==version` of every wheel.
pub(crate) fn pins(resolution: &Resolution) -> Vec<String> {
    let pin = |wheel: &crate::Pinned| format!("{}=={}", wheel.name, wheel.version);
    resolution.wheels.iter().map(pin).collect()
}
