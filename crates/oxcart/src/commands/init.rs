//! `oxcart init`

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::cli::Global;
use crate::diagnostics::{Failure, IoContext};

/// Writes an oxcart.toml from what is in the project's directory.
pub(crate) fn run(global: &Global) -> anyhow::Result<()> {
    let directory = std::path::absolute(&global.project)?;
    let target = directory.join("oxcart.toml");
    let text = document(&directory)?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&target);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(format!("{} is there already", target.display()))
                .hint("edit it, or remove it to have it written anew")
        }
        _ => Failure::new(format!("cannot write {}", target.display())).caused_by(error),
    })?;
    file.write_all(text.as_bytes()).at("write", &target)?;
    super::print(&target.display().to_string())
}

fn document(directory: &Path) -> Result<String, Failure> {
    let found = Found::look(directory)?;
    let app = found
        .packages
        .first()
        .map_or("app", |package| module(package));
    let mut text = format!(
        "[image]\n\
         name = \"{}\"                # where the image will be pushed to\n\
         platforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         base = \"debian:trixie\"\n\n\
         [dependencies]\n{}\n",
        found.name,
        found.dependencies()
    );
    for package in &found.packages {
        let name = module(package);
        let _ = write!(
            text,
            "\n[[app]]\nsource = \"{package}\"\ndestination = \"/app/{name}\"\n"
        );
    }
    let _ = write!(
        text,
        "\n[config]\n\
         user = \"nonroot\"\n\
         workdir = \"/app\"\n\
         env = {{ PYTHONUNBUFFERED = \"1\" }}\n\
         entrypoint = [\"/opt/venv/bin/python\", \"-m\", \"{app}\"]\n"
    );
    Ok(text)
}

/// What a project's directory tells.
struct Found {
    name: String,
    pyproject: bool,
    requirements: Option<String>,
    /// Directories that are Python packages.
    packages: Vec<String>,
}

impl Found {
    fn look(directory: &Path) -> Result<Self, Failure> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).at("read", directory)? {
            names.extend(entry.at("read", directory)?.file_name().into_string().ok());
        }
        names.sort();
        let pyproject = directory.join("pyproject.toml");
        let project = match fs::read_to_string(&pyproject) {
            Ok(text) => text
                .parse::<toml::Table>()
                .map_err(|error| {
                    Failure::new(format!("{} is not valid", pyproject.display())).caused_by(error)
                })?
                .get("project")
                .cloned(),
            Err(_) => None,
        };
        let name = project
            .as_ref()
            .and_then(|it| it.get("name")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| {
                directory
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .to_lowercase()
            });
        let requirements = names
            .iter()
            .filter(|name| {
                name.strip_suffix(".txt")
                    .is_some_and(|stem| stem.starts_with("requirements"))
            })
            .min_by_key(|name| name.len())
            .cloned();
        Ok(Self {
            name,
            pyproject: project.is_some(),
            requirements,
            packages: packages(directory, &names),
        })
    }

    fn dependencies(&self) -> String {
        match (&self.requirements, self.pyproject) {
            (Some(file), _) => format!("requirements = [\"{file}\"]"),
            (None, true) => "pyproject = true".to_owned(),
            (None, false) => {
                "packages = []                     # such as \"fastapi\", \"uvicorn[standard]\""
                    .to_owned()
            }
        }
    }
}

/// The name that a package is imported by.
fn module(package: &str) -> &str {
    package.rsplit('/').next().unwrap_or(package)
}

/// The directories with Python files, at the top and below `src`.
fn packages(directory: &Path, names: &[String]) -> Vec<String> {
    let has_python = |path: &Path| {
        fs::read_dir(path).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.path().extension().is_some_and(|it| it == "py"))
        })
    };
    let sources = fs::read_dir(directory.join("src"))
        .into_iter()
        .flatten()
        .flatten();
    let sources = sources.filter_map(|entry| Some(format!("src/{}", entry.file_name().to_str()?)));
    let mut packages: Vec<_> = names
        .iter()
        .filter(|name| {
            !matches!(
                name.as_str(),
                "src" | "test" | "tests" | "docs" | "scripts" | "venv"
            )
        })
        .cloned()
        .chain(sources)
        .filter(|name| !module(name).starts_with('.') && has_python(&directory.join(name)))
        .collect();
    packages.sort();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_writes_is_what_is_there_and_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::write(root.join("requirements.txt"), "").unwrap();
        fs::write(root.join("requirements.dev.txt"), "").unwrap();
        for package in ["app", "tests", "src/other"] {
            fs::create_dir_all(root.join(package)).unwrap();
            fs::write(root.join(package).join("main.py"), "").unwrap();
        }
        let text = document(root).unwrap();
        for part in [
            "requirements = [\"requirements.txt\"]",
            "source = \"app\"",
            "source = \"src/other\"",
            "destination = \"/app/other\"",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("\"tests\""), "{text}");
        fs::write(root.join("oxcart.toml"), text).unwrap();
        crate::project::Project::open(root, None).unwrap();
    }
}
