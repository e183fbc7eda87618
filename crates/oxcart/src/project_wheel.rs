//! The project itself as a wheel (`project = "wheel"`): the files that its backend gets to see.
//!
//! A backend works in a copy. It would leave things in the project, and take along what another run
//! left there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci::{Digest, HashingWriter};
use serde::Deserialize;
use serde_json::{Value, json};
use uv_normalize::PackageName;

use crate::diagnostics::{Failure, IoContext};
use crate::fetch::Fetcher;
use crate::lock::{LockedProject, LockedWheel};
use crate::plan::{Plan, Step};
use crate::progress::Progress;
use crate::project::Project;
use crate::resolving;
use crate::sources::{Builder, Origin, Place};

/// Directories that no source is in, wherever they are.
const NEVER: [&str; 7] = [
    "__pycache__",
    ".venv",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    "node_modules",
];
/// What setuptools leaves in `build`, and takes from there again.
const LEFT: [&str; 4] = ["lib", "lib.", "bdist.", "temp."];

/// The name of the project in `directory`: what `[project]` of its pyproject.toml says.
pub(crate) fn name(directory: &Path) -> Result<PackageName, Failure> {
    #[derive(Deserialize)]
    struct Document {
        project: Option<Table>,
    }
    #[derive(Deserialize)]
    struct Table {
        name: String,
    }
    let path = directory.join("pyproject.toml");
    let fault = |what: &str| {
        Failure::new(format!("{} {what}", path.display()))
            .hint("`project = \"wheel\"` builds the wheel of the [project] in it, which has a name")
    };
    let text =
        fs::read_to_string(&path).map_err(|error| fault("cannot be read").caused_by(error))?;
    let document: Document =
        toml::from_str(&text).map_err(|error| fault("is not valid").caused_by(error))?;
    let table = document.project.ok_or_else(|| fault("has no [project]"))?;
    PackageName::from_str(&table.name).map_err(|error| fault("names no package").caused_by(error))
}

/// The project as what is to be built.
pub(crate) fn origin(directory: &Path) -> Result<Origin, Failure> {
    let name = name(directory)?;
    let mut states = Vec::new();
    visit(directory, &mut |file| {
        if file.counts() {
            states.push(file.state()?);
        }
        Ok(())
    })?;
    states.extend(revision(directory));
    Ok(Origin {
        what: format!("the project {name}"),
        name,
        version: None,
        digest: Digest::of(&oci::json::canonical(&states)),
        place: Place::Directory(directory.to_owned()),
    })
}

/// Builds the project's wheel with what is locked, unless it is there as the sources are now.
async fn wheel(
    builder: &Builder,
    directory: &Path,
    locked: &LockedProject,
) -> anyhow::Result<(LockedWheel, crate::built::Record)> {
    let origin = origin(directory)?;
    let (record, _) = builder.wheel(&origin, Some(&locked.requires)).await?;
    let version = uv_distribution_filename::WheelFilename::from_str(&record.filename)?.version;
    let wheel = LockedWheel {
        name: locked.name.clone(),
        version: version.to_string(),
        filename: record.filename.clone(),
        url: String::new(),
        sha256: record.sha256,
        size: record.size,
        requested: true,
        sdist: None,
    };
    Ok((wheel, record))
}

/// Gives `plans` the project's own wheel where they have one, built for it unless it is there.
pub(crate) fn complete(
    plans: &mut [Plan],
    project: &Project,
    fetcher: &Fetcher,
    progress: &Progress,
) -> anyhow::Result<()> {
    let builder = Builder::new(fetcher, progress);
    for plan in plans {
        let platform = plan.platform;
        for step in &mut plan.steps {
            let (Step::Project(locked, built), Some(dependencies), Some(python)) =
                (step, project.dependencies(platform), &plan.python)
            else {
                continue;
            };
            let target = resolving::target(platform, python)?;
            let (wheel, record) = fetcher.wait(async {
                let builder = builder.of(dependencies).await?;
                wheel(&builder, &project.directory, locked).await
            })?;
            record.check("the project", platform, &target, fetcher.store())?;
            *built = Some(Box::new(wheel));
        }
    }
    Ok(())
}

/// Copies the project into the empty directory `into`.
pub(crate) fn copy(directory: &Path, into: &Path) -> Result<(), Failure> {
    visit(directory, &mut |file| {
        let target = into.join(&file.path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        match &file.kind {
            Kind::Link(link) => symlink(link, &target).at("create", &target),
            Kind::File { .. } => {
                fs::copy(&file.host, &target).at("copy", &file.host)?;
                let mode = fs::Permissions::from_mode(file.mode());
                fs::set_permissions(&target, mode).at("write", &target)
            }
        }
    })?;
    // Some versions are those of the repository.
    let repository = directory.join(".git");
    if repository.exists() {
        let link = into.join(".git");
        symlink(&repository, &link).at("create", &link)?;
    }
    Ok(())
}

/// What the version of a project in a git repository may depend on.
fn revision(directory: &Path) -> Vec<Value> {
    let repository = directory.join(".git");
    let mut states = Vec::new();
    for name in ["HEAD", "packed-refs", "refs"] {
        let _ = visit_all(&repository.join(name), name, &mut |file| {
            states.push(file.state()?);
            Ok(())
        });
    }
    states
}

/// A file of the project.
struct Found {
    /// Below the project's directory.
    path: PathBuf,
    host: PathBuf,
    kind: Kind,
}

enum Kind {
    File { executable: bool },
    Link(PathBuf),
}

impl Found {
    /// Whether another content of it makes another wheel. A lock is not the backend's affair.
    fn counts(&self) -> bool {
        let name = self.path.to_string_lossy();
        !(name.starts_with("oxcart.") && name.ends_with(".lock"))
    }

    fn mode(&self) -> u32 {
        match self.kind {
            Kind::File { executable: true } => 0o755,
            _ => 0o644,
        }
    }

    fn state(&self) -> Result<Value, Failure> {
        let path = self.path.to_string_lossy();
        Ok(match &self.kind {
            Kind::Link(target) => json!([path, "link", target.to_string_lossy()]),
            Kind::File { .. } => {
                let mut hasher = HashingWriter::new(io::sink());
                let mut content = File::open(&self.host).at("read", &self.host)?;
                io::copy(&mut content, &mut hasher).at("read", &self.host)?;
                json!([path, hasher.finish().1, self.mode()])
            }
        })
    }
}

type Visit<'a> = dyn FnMut(Found) -> Result<(), Failure> + 'a;

/// The files of a project, in an order that depends on their names alone.
fn visit(directory: &Path, each: &mut Visit<'_>) -> Result<(), Failure> {
    visit_all(directory, "", each)
}

fn visit_all(host: &Path, path: &str, each: &mut Visit<'_>) -> Result<(), Failure> {
    let metadata = host.symlink_metadata().at("read", host)?;
    if metadata.is_symlink() {
        let link = fs::read_link(host).at("read", host)?;
        let depth = path.matches('/').count();
        let kind = if stays_inside(&link, depth) {
            Kind::Link(link)
        } else if host.is_file() {
            // What it leads to is not in the copy's neighbourhood.
            Kind::File { executable: false }
        } else {
            return Err(Failure::new(format!(
                "{} is a link to {}, which is outside of the project",
                host.display(),
                link.display()
            ))
            .hint("a project that is built as a wheel has its files in its own directory"));
        };
        return each(Found {
            path: path.into(),
            host: host.to_owned(),
            kind,
        });
    }
    if metadata.is_file() {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        return each(Found {
            path: path.into(),
            host: host.to_owned(),
            kind: Kind::File { executable },
        });
    }
    if !metadata.is_dir() || is_foreign(host, path) {
        return Ok(());
    }
    let entries = fs::read_dir(host).at("read", host)?;
    let entries = entries.collect::<Result<Vec<_>, _>>().at("read", host)?;
    let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
    names.sort_unstable();
    for name in names {
        let text = name.to_str().ok_or_else(|| {
            Failure::new(format!(
                "the name of {} is not UTF-8",
                host.join(&name).display()
            ))
            .hint("rename it")
        })?;
        let below = if path.is_empty() {
            text.to_owned()
        } else {
            format!("{path}/{text}")
        };
        if below != ".git" {
            visit_all(&host.join(text), &below, each)?;
        }
    }
    Ok(())
}

/// Whether a directory is none of the sources: an environment, an image, what tools left.
fn is_foreign(host: &Path, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_left = path.strip_prefix("build/").is_some_and(|rest| {
        LEFT.iter()
            .any(|it| rest == *it || (it.ends_with('.') && rest.starts_with(it)))
    });
    !path.is_empty()
        && (NEVER.contains(&name)
            || is_left
            || name.ends_with(".egg-info")
            || host.join("pyvenv.cfg").is_file()
            || host.join("oci-layout").is_file())
}

/// Whether a link from `depth` directories below a root leads to what is below that root.
fn stays_inside(link: &Path, depth: usize) -> bool {
    let mut depth = Some(depth);
    for component in link.components() {
        depth = match component {
            std::path::Component::Normal(_) => depth.map(|it| it + 1),
            std::path::Component::CurDir => depth,
            std::path::Component::ParentDir => depth.and_then(|it| it.checked_sub(1)),
            _ => None,
        };
    }
    depth.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn what_tools_left_is_not_copied_and_does_not_count() {
        let own = [
            ("pyproject.toml", "[project]\nname = 'x'\n"),
            ("src/x.py", "1"),
            ("build/tool.py", ""),
        ];
        let left = [
            ("venv/pyvenv.cfg", ""),
            ("build/lib/x.py", "0"),
            ("build/bdist.linux-x86_64/x", "0"),
            ("src/x.egg-info/SOURCES.txt", "0"),
            ("src/__pycache__/x.pyc", "0"),
            ("image/oci-layout", "0"),
        ];
        let (bare, littered) = (project(&own), project(&[&own[..], &left].concat()));
        let digest = |it: &tempfile::TempDir| origin(it.path()).unwrap().digest;
        assert_eq!(digest(&bare), digest(&littered));
        let copied = tempfile::tempdir().unwrap();
        copy(littered.path(), copied.path()).unwrap();
        assert_eq!(digest(&bare), digest(&copied));
        assert!(copied.path().join("build/tool.py").exists());
        assert!(!copied.path().join("build/lib").exists());
        // A lock goes along, so that the repository has no file that is missing, but does not count.
        fs::write(bare.path().join("oxcart.lock"), "x").unwrap();
        assert_eq!(digest(&bare), digest(&littered));
        fs::write(bare.path().join("src/x.py"), "2").unwrap();
        assert_ne!(digest(&bare), digest(&littered));
    }

    #[test]
    fn links_that_leave_the_project_become_files() {
        let around = project(&[
            ("README", "text"),
            ("x/pyproject.toml", "[project]\nname = 'x'\n"),
        ]);
        let directory = around.path().join("x");
        symlink("../README", directory.join("README")).unwrap();
        symlink("README", directory.join("LIESMICH")).unwrap();
        let copied = tempfile::tempdir().unwrap();
        copy(&directory, copied.path()).unwrap();
        let at = |name: &str| copied.path().join(name);
        assert!(!at("README").is_symlink());
        assert_eq!(fs::read_to_string(at("LIESMICH")).unwrap(), "text");
        symlink("..", directory.join("all")).unwrap();
        assert!(copy(&directory, &copied.path().join("again")).is_err());
    }
}
