//! The image that is checked, and the order of the proofs.

use std::collections::BTreeMap;

use contents::Contents;
use oci::Platform;
use serde::{Deserialize, Serialize};

use crate::owners::Owners;
use crate::python::Python;
use crate::report::{Code, Counts, Finding, Report, Severity};
use crate::{closure, command, machine, metadata, modes, owners, scripts};

/// `PATH` of a container whose image sets none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How containers of the image run: the `config` object of its configuration (image-spec `config.md`).
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `NAME=value` each.
    #[serde(deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// Its other arguments, or the program.
    #[serde(deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// `user`, `uid`, each with an optional `:group`.
    pub user: String,
    /// Where it starts; empty is the root.
    pub working_dir: String,
}

/// Go writes `null` for an empty list.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What all proofs look at.
pub(crate) struct Image<'a> {
    pub(crate) contents: &'a Contents,
    pub(crate) platform: Platform,
    pub(crate) config: &'a Config,
    pub(crate) variables: BTreeMap<&'a str, &'a str>,
    pub(crate) python: Option<Python>,
    pub(crate) owners: Owners,
}

impl Image<'_> {
    /// The directories of `PATH`.
    pub(crate) fn path(&self) -> impl Iterator<Item = &str> {
        let path = self.variables.get("PATH").copied().unwrap_or(PATH);
        path.split(':')
            .filter(|directory| directory.starts_with('/'))
    }

    /// A finding on the file at `path`.
    pub(crate) fn finding(
        &self,
        severity: Severity,
        code: Code,
        path: &str,
        message: impl Into<String>,
    ) -> Finding {
        Finding {
            severity,
            code,
            path: format!("/{path}"),
            owner: self.owners.of(path).map(|owner| owner.to_string()),
            subject: None,
            message: message.into(),
            hint: None,
        }
    }
}

impl Finding {
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Proves what can be proven of an image for `platform`, of which a container sees `contents`.
pub fn check(contents: &Contents, config: &Config, platform: Platform) -> Report {
    let pairs = config.env.iter().filter_map(|pair| pair.split_once('='));
    let mut image = Image {
        contents,
        platform,
        config,
        variables: pairs.collect(),
        python: None,
        owners: Owners::new(contents.packages()),
    };
    image.python = Python::find(&image);
    let mut counts = Counts::default();
    let mut findings = Vec::new();
    machine::check(&image, &mut counts, &mut findings);
    closure::check(&image, &mut counts, &mut findings);
    scripts::check(&image, &mut counts, &mut findings);
    command::check(&image, &mut counts, &mut findings);
    metadata::check(&image, &mut counts, &mut findings);
    owners::check(&image, &mut counts, &mut findings);
    modes::check(&image, &mut findings);
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.severity, finding.code);
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.path, &a.message).cmp(&(&b.path, &b.message)))
    });
    findings.dedup();
    Report {
        proven: counts,
        findings,
    }
}
