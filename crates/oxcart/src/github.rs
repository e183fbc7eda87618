//! GitHub Actions: what a workflow tells of itself, and the summary that its page shows.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use crate::commands::bytes;
use crate::diagnostics::{Failure, IoContext};
use crate::metadata::Metadata;

/// The annotation that links a package on GHCR to its repository (image-spec `annotations.md`).
const SOURCE: &str = "org.opencontainers.image.source";
/// What GHCR shows of these annotations, in characters.
const LIMITS: [(&str, usize); 2] = [
    ("org.opencontainers.image.description", 512),
    ("org.opencontainers.image.licenses", 256),
];

/// What a job of GitHub Actions knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workflow {
    /// `https://github.com`
    server: String,
    /// `Acme/Backend`
    repository: String,
}

impl Workflow {
    /// Of this process; None where it does not run in one.
    pub(crate) fn of_environment() -> Option<Self> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        if variable("GITHUB_ACTIONS")? != "true" {
            return None;
        }
        Some(Self {
            server: variable("GITHUB_SERVER_URL").unwrap_or("https://github.com".to_owned()),
            repository: variable("GITHUB_REPOSITORY")?,
        })
    }

    /// The image's name on GHCR where the project gives none. Names of images are in lower case.
    pub(crate) fn image_name(&self) -> String {
        format!("ghcr.io/{}", self.repository.to_lowercase())
    }

    /// Adds the link to the repository, unless the project states one; returns it where it was added.
    pub(crate) fn annotate(&self, annotations: &mut BTreeMap<String, String>) -> Option<String> {
        if annotations.contains_key(SOURCE) {
            return None;
        }
        let source = format!("{}/{}", self.server, self.repository);
        annotations.insert(SOURCE.to_owned(), source.clone());
        Some(source)
    }
}

/// What GHCR will not show in full.
pub(crate) fn too_long(annotations: &BTreeMap<String, String>) -> Vec<String> {
    LIMITS
        .iter()
        .filter_map(|(name, limit)| {
            let length = annotations.get(*name)?.chars().count();
            (length > *limit).then(|| {
                format!("annotation {name} has {length} characters, and GHCR shows at most {limit}")
            })
        })
        .collect()
}

/// Adds an account of the build to the job's page, where there is one.
pub(crate) fn summarise(metadata: &Metadata, pushed: &[String]) -> Result<(), Failure> {
    let path = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
    let Some(path) = path.map(PathBuf::from) else {
        return Ok(());
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .at("write", &path)?;
    file.write_all(summary(metadata, pushed).as_bytes())
        .at("write", &path)
}

fn summary(metadata: &Metadata, pushed: &[String]) -> String {
    let mut out = String::new();
    let name = metadata.name.as_deref().unwrap_or("image");
    let _ = writeln!(out, "### {name}\n\n`{}`\n", metadata.digest);
    for reference in pushed {
        let _ = writeln!(out, "- pushed `{reference}`");
    }
    let _ = writeln!(
        out,
        "\n| platform | digest | layers | size |\n|---|---|--:|--:|"
    );
    for (platform, image) in &metadata.platforms {
        let size: u64 = image.layers.iter().map(|layer| layer.size).sum();
        let _ = writeln!(
            out,
            "| {platform} | `{}` | {} | {} |",
            image.digest,
            image.layers.len(),
            bytes(size)
        );
    }
    for (platform, image) in &metadata.platforms {
        let _ = writeln!(
            out,
            "\n<details><summary>Layers of {platform}</summary>\n\n| kind | what | size | state |\n|---|---|--:|---|"
        );
        for layer in &image.layers {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                layer.kind,
                members(&layer.members),
                bytes(layer.size),
                layer.state
            );
        }
        let _ = writeln!(out, "\n</details>");
    }
    for warning in &metadata.warnings {
        let _ = writeln!(out, "\n> ⚠️ {}", warning.replace('\n', " "));
    }
    let _ = writeln!(
        out,
        "\n{} downloaded, {} uploaded, {:.1} s\n",
        bytes(metadata.bytes_downloaded),
        bytes(metadata.bytes_uploaded),
        metadata.seconds.total
    );
    out
}

/// The first few members of a layer.
fn members(members: &[String]) -> String {
    let shown: Vec<_> = members
        .iter()
        .take(4)
        .map(|member| member.replace('|', "\\|"))
        .collect();
    match members.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_goes_before_the_workflow() {
        let workflow = Workflow {
            server: "https://github.test".into(),
            repository: "Acme/Backend".into(),
        };
        assert_eq!(workflow.image_name(), "ghcr.io/acme/backend");
        let mut annotations = BTreeMap::new();
        assert_eq!(
            workflow.annotate(&mut annotations).as_deref(),
            Some("https://github.test/Acme/Backend")
        );
        assert_eq!(workflow.annotate(&mut annotations), None);
    }

    #[test]
    fn long_annotations_are_told() {
        let annotation = |length| [(LIMITS[0].0.to_owned(), "ä".repeat(length))].into();
        assert_eq!(too_long(&annotation(512)).len(), 0);
        assert_eq!(too_long(&annotation(513)).len(), 1);
    }
}
