//! Joining images of several platforms under one tag, also when two jobs do it at once.
//!
//! A registry has no compare-and-swap: who reads an index, adds a platform and writes it back may undo
//! what another job wrote in between. So whoever joins looks again once every job that had read before
//! has had the time to write, and joins again where its own platform has gone. The last one to write
//! has then seen all the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use oci::{Descriptor, Digest, Index, MediaType, digest_of, platform_text};
use oci_spec::image::{ImageIndex, Platform};
use registry::{Manifest, Repository};

use crate::diagnostics::Failure;
use crate::place::Document;
use crate::progress::Progress;
use crate::push;

/// How long to wait, at least, before looking again. A job reads and writes in less.
const SETTLE: Duration = Duration::from_secs(1);
/// How often to join before giving up.
const ROUNDS: u32 = 30;
/// What links an in-index attestation to the manifest it is about.
const ATTESTED: &str = "vnd.docker.reference.digest";

/// What is to be in the index.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    /// Each with its platform.
    pub(crate) manifests: Vec<Descriptor>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) others: Others,
}

/// What becomes of platforms that the index has besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    Stay,
    Go,
}

/// Puts `joining` into what `tag` names, and returns the index that it names then. All manifests are
/// in the repository.
pub(crate) async fn join(
    repository: &Repository,
    tag: &str,
    joining: &Joining,
    progress: &Progress,
) -> anyhow::Result<Document> {
    if joining.others == Others::Go {
        let index = document(&joining.index(None));
        push::tag(repository, tag, &index).await?;
        return Ok(index);
    }
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let before = read(repository, tag).await?;
        let index = joining.index(before.as_ref());
        let index = document(&index);
        if before
            .as_ref()
            .is_some_and(|it| it.digest == index.digest())
        {
            return Ok(index);
        }
        push::put(repository, tag, &index).await?;
        tokio::time::sleep(pause(begun.elapsed(), round)).await;
        let Some(after) = read(repository, tag).await? else {
            continue;
        };
        match joining.fate(before.as_ref(), &after) {
            Fate::Kept => return Ok(after.document),
            Fate::Replaced(platform) => {
                progress.warn(&format!(
                    "another job put its own {platform} into {}:{tag} at the same time",
                    repository.name()
                ));
                return Ok(after.document);
            }
            Fate::Lost => progress.detail(&format!(
                "{}:{tag} was written by another job at the same time: joining again",
                repository.name()
            )),
        }
    }
    Err(Failure::new(format!(
        "{}:{tag} was written by others {ROUNDS} times while this joined it",
        repository.name()
    ))
    .hint("see which jobs push to this tag, and run this again when they are done")
    .into())
}

/// An index as it was found.
struct Found {
    digest: Digest,
    entries: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
    document: Document,
}

/// What became of our platforms.
enum Fate {
    Kept,
    /// By what is neither ours nor what was there before.
    Replaced(String),
    Lost,
}

impl Joining {
    fn index(&self, before: Option<&Found>) -> Index {
        let ours = ours(&self.manifests);
        let there = before.map_or(&[][..], |found| &found.entries);
        let (replaced, mut entries): (Vec<_>, Vec<_>) = there
            .iter()
            .cloned()
            .partition(|entry| ours.contains_key(&name(entry)));
        let gone: Vec<_> = replaced
            .iter()
            .map(|entry| entry.digest().to_string())
            .filter(|digest| {
                !self
                    .manifests
                    .iter()
                    .any(|it| it.digest().as_ref() == digest)
            })
            .collect();
        entries.retain(|entry| {
            oci::annotation(entry, ATTESTED)
                .is_none_or(|about| !gone.iter().any(|digest| digest == about))
        });
        for entry in &self.manifests {
            if !entries.iter().any(|it| it.digest() == entry.digest()) {
                entries.push(entry.clone());
            }
        }
        // In an order that does not tell who came first: both ways lead to one digest.
        entries.sort_by_key(|entry| (is_unknown(entry), name(entry), entry.digest().to_string()));
        let mut annotations = before
            .map(|found| found.annotations.clone())
            .unwrap_or_default();
        annotations.extend(self.annotations.clone());
        Index::new(entries, &annotations)
    }

    fn fate(&self, before: Option<&Found>, after: &Found) -> Fate {
        let was = before.map(|found| ours(&found.entries)).unwrap_or_default();
        let is = ours(&after.entries);
        for (platform, digest) in ours(&self.manifests) {
            match is.get(&platform) {
                Some(found) if *found == digest => {}
                None => return Fate::Lost,
                Some(found) if was.get(&platform) == Some(found) => return Fate::Lost,
                Some(_) => return Fate::Replaced(platform),
            }
        }
        Fate::Kept
    }
}

/// The digest for each platform.
fn ours(entries: &[Descriptor]) -> BTreeMap<String, Digest> {
    entries
        .iter()
        .filter(|entry| !is_unknown(entry))
        .filter_map(|entry| Some((name(entry), digest_of(entry)?)))
        .collect()
}

fn name(entry: &Descriptor) -> String {
    let name = entry
        .platform()
        .as_ref()
        .map(platform_text)
        .unwrap_or_default();
    // Two ways to write one platform.
    match name.as_str() {
        "linux/arm64/v8" => "linux/arm64".to_owned(),
        _ => name,
    }
}

/// What is listed for tools alone, such as an attestation.
fn is_unknown(entry: &Descriptor) -> bool {
    ["", "unknown/unknown"].contains(&name(entry).as_str())
}

fn document(index: &Index) -> Document {
    Document {
        descriptor: index.descriptor.clone(),
        bytes: index.bytes.clone(),
    }
}

/// Longer than a job takes that began when this one did; not the same for two that collided.
fn pause(took: Duration, round: u32) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let jitter = RandomState::new().hash_one(round) % 500;
    SETTLE.max(took * 3) + Duration::from_millis(jitter)
}

async fn read(repository: &Repository, tag: &str) -> anyhow::Result<Option<Found>> {
    let Some(manifest) = repository.find_manifest(tag).await? else {
        return Ok(None);
    };
    let media_type = MediaType::from(manifest.media_type.as_str());
    let digest = manifest.digest;
    let (entries, annotations) = if oci::is_index(&media_type) {
        let index: ImageIndex = serde_json::from_slice(&manifest.bytes)?;
        let annotations = index.annotations().clone().unwrap_or_default();
        (index.manifests().clone(), annotations.into_iter().collect())
    } else {
        (vec![entry(repository, &manifest).await?], BTreeMap::new())
    };
    Ok(Some(Found {
        digest,
        entries,
        annotations,
        document: Document {
            descriptor: oci::describe(media_type, &manifest.bytes),
            bytes: manifest.bytes,
        },
    }))
}

/// The platforms that `tag` has; none where it is not there.
pub(crate) async fn platforms(repository: &Repository, tag: &str) -> anyhow::Result<Vec<String>> {
    let found = read(repository, tag).await?;
    let entries = found.map(|found| found.entries).unwrap_or_default();
    Ok(ours(&entries).into_keys().collect())
}

/// A lone manifest as an index lists it.
async fn entry(repository: &Repository, manifest: &Manifest) -> anyhow::Result<Descriptor> {
    let parsed: oci_spec::image::ImageManifest = serde_json::from_slice(&manifest.bytes)?;
    let config = parsed.config();
    let digest = crate::place::sha256(config)?;
    let config = repository.document(&digest, config.size()).await?;
    let media_type = MediaType::from(manifest.media_type.as_str());
    listed(oci::describe(media_type, &manifest.bytes), &config)
}

/// A manifest's descriptor as an index has it: with the platform that its configuration is for.
pub(crate) fn listed(mut manifest: Descriptor, config: &[u8]) -> anyhow::Result<Descriptor> {
    let platform: Platform = serde_json::from_slice(config)?;
    manifest.set_platform(Some(platform));
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::image::PlatformBuilder;

    fn image(platform: &str, content: &str) -> Descriptor {
        let mut parts = platform.split('/');
        let mut part = || parts.next().unwrap();
        let platform = PlatformBuilder::default()
            .os(part())
            .architecture(part())
            .build()
            .unwrap();
        let mut entry = oci::describe(MediaType::ImageManifest, content.as_bytes());
        entry.set_platform(Some(platform));
        entry
    }

    fn attestation(about: &Descriptor) -> Descriptor {
        let mut entry = image("unknown/unknown", "attestation");
        let about = (ATTESTED.to_owned(), about.digest().to_string());
        entry.set_annotations(Some([about].into()));
        entry
    }

    fn joining(manifests: Vec<Descriptor>) -> Joining {
        Joining {
            manifests,
            annotations: BTreeMap::new(),
            others: Others::Stay,
        }
    }

    fn found(entries: Vec<Descriptor>) -> Found {
        let index = Index::new(entries.clone(), &BTreeMap::new());
        Found {
            digest: Digest::of(&index.bytes),
            entries,
            annotations: BTreeMap::new(),
            document: document(&index),
        }
    }

    fn merged(joining: &Joining, before: Option<&Found>) -> Vec<String> {
        let index = joining.index(before);
        let index: ImageIndex = serde_json::from_slice(&index.bytes).unwrap();
        let text =
            |entry: &Descriptor| format!("{} {}", name(entry), &entry.digest().digest()[..4]);
        index.manifests().iter().map(text).collect()
    }

    #[test]
    fn one_result_whoever_comes_first() {
        let [amd64, arm64] = [image("linux/amd64", "a"), image("linux/arm64", "b")];
        let one = merged(
            &joining(vec![amd64.clone()]),
            Some(&found(vec![arm64.clone()])),
        );
        let other = merged(&joining(vec![arm64]), Some(&found(vec![amd64])));
        assert_eq!(one, other);
        assert_eq!(one, ["linux/amd64 ca97", "linux/arm64 3e23"]);
    }

    #[test]
    fn a_platform_is_replaced_with_what_is_about_it() {
        let old = image("linux/amd64", "old");
        let before = found(vec![
            old.clone(),
            image("linux/arm64", "b"),
            attestation(&old),
        ]);
        let new = joining(vec![image("linux/amd64", "a")]);
        assert_eq!(
            merged(&new, Some(&before)),
            ["linux/amd64 ca97", "linux/arm64 3e23"]
        );
        let same = joining(vec![old]);
        assert_eq!(merged(&same, Some(&before)).len(), 3);
    }

    #[test]
    fn what_was_lost_is_told_from_what_was_replaced() {
        let [old, new, third] = ["old", "new", "third"].map(|text| image("linux/amd64", text));
        let arm64 = image("linux/arm64", "b");
        let joining = joining(vec![new.clone()]);
        let before = found(vec![old.clone()]);
        let fate = |after: Vec<Descriptor>| match joining.fate(Some(&before), &found(after)) {
            Fate::Kept => "kept",
            Fate::Replaced(_) => "replaced",
            Fate::Lost => "lost",
        };
        assert_eq!(fate(vec![new, arm64.clone()]), "kept");
        assert_eq!(fate(vec![arm64.clone()]), "lost");
        assert_eq!(fate(vec![old.clone(), arm64]), "lost");
        assert_eq!(fate(vec![third]), "replaced");
    }
}
