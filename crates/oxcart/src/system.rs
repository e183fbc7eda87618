//! `[system]` on a base image: what is installed there, and what else of it the packages depend on.
//!
//! That is one document, kept in the store and locked by its digest, so that the layer is made from
//! what the lock names. It is read from the base's layers again where it is missing.

use std::collections::BTreeSet;

use anyhow::Context;
use deb::{Database, Ground, Installed};
use facts::{Dpkg, DpkgDatabase, Facts};
use oci::Digest;

use crate::archives::Distribution;
use crate::diagnostics::Failure;
use crate::lock::{LockedDocument, LockedImage};
use crate::project::Project;
use crate::store::Store;

/// What the document is called.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.oxcart.base.dpkg.v1+json";

/// What `facts` say that packages depend on; a refusal where the base is none of Debian's family.
pub(crate) fn dpkg<'a>(project: &Project, facts: &'a Facts) -> Result<&'a Dpkg, Failure> {
    let base = &project.base;
    let id = facts.os.as_ref().map(|os| os.id.as_str());
    let refused = |what: &str, hint: &str| {
        Failure::new(format!(
            "[system] packages cannot be added to the base {base}: {what}"
        ))
        .hint(hint)
    };
    match (&facts.dpkg, id) {
        (Some(dpkg), _) => Ok(dpkg),
        (None, Some("alpine")) => Err(refused(
            "it is Alpine, and only Debian packages are known",
            "use the variant of the base that is made of Debian (python:3.13-slim, say), or a base that has the packages",
        )),
        (None, Some(id)) => Err(refused(
            &format!("it is {id}, and has no records of Debian packages (/var/lib/dpkg)"),
            "use a base of Debian or of a distribution made from it, or a base that has the packages",
        )),
        (None, None) => Err(refused(
            "it has no records of Debian packages (/var/lib/dpkg)",
            "use base = \"debian:trixie\", or an image with Debian packages",
        )),
    }
}

/// The release that the base's packages are of.
pub(crate) fn distribution(project: &Project, facts: &Facts) -> Result<Distribution, Failure> {
    let os = facts.os.as_ref();
    let suite = project
        .debian
        .suite
        .clone()
        .or_else(|| os?.codename.clone());
    let id = os.map_or("debian", |os| os.id.as_str()).to_owned();
    match suite {
        Some(suite) => Ok(Distribution { id, suite }),
        None => Err(Failure::new(format!(
            "the release of the base {} cannot be told: its os-release has no VERSION_CODENAME",
            project.base
        ))
        .hint("name it with [debian] suite, such as \"trixie\" or \"sid\"")),
    }
}

/// The packages that count as installed.
pub(crate) fn installed(project: &Project, dpkg: &Dpkg) -> Result<Vec<Installed>, Failure> {
    let mut all = Vec::new();
    for (path, text) in &dpkg.records {
        let packages = deb::packages::installed(text.as_bytes(), path).map_err(|error| {
            Failure::new(format!(
                "the records of the base {} cannot be read",
                project.base
            ))
            .hint("the base is damaged: build or pull it again")
            .caused_by(error)
        })?;
        all.extend(packages);
    }
    Ok(all)
}

/// Keeps the document of what packages depend on.
pub(crate) fn keep(dpkg: &Dpkg, store: &Store) -> anyhow::Result<LockedDocument> {
    let bytes = oci::json::canonical(&serde_json::to_value(dpkg)?);
    store.put_document(&bytes)?;
    Ok(LockedDocument {
        media_type: MEDIA_TYPE.to_owned(),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        content: None,
    })
}

/// What the document of `image`, which is in the store, says.
pub(crate) fn ground(store: &Store, image: &LockedImage) -> anyhow::Result<Ground> {
    let document = image
        .dpkg
        .as_ref()
        .and_then(|it| store.document(&it.digest));
    let document = document.context("what packages depend on of the base is in the store")?;
    let dpkg: Dpkg = serde_json::from_slice(&document)?;
    let loader_cache = dpkg.loader_cache.map(hex::decode).transpose()?;
    Ok(Ground {
        database: match dpkg.database {
            DpkgDatabase::StatusD => Database::StatusD,
            DpkgDatabase::Status => {
                let status = dpkg.records.into_values().next().unwrap_or_default();
                Database::Status(status.into_bytes())
            }
        },
        links: dpkg.links,
        etc: dpkg.etc.into_iter().collect(),
        loader_cache,
    })
}

/// Names that count as satisfied on a base of this kind. One without dpkg has neither a shell nor
/// what scripts use, and packages that are added to it do without them as well: no script runs.
pub(crate) fn omitted(database: DpkgDatabase) -> BTreeSet<String> {
    match database {
        DpkgDatabase::Status => BTreeSet::new(),
        DpkgDatabase::StatusD => deb::base::omitted_by_additions(),
    }
}
