//! What refers to a manifest (distribution-spec, "Listing Referrers" and "Referrers Tag Schema"):
//! listed by the registry, or in an index that clients keep under the tag `sha256-<hex>`.

use std::collections::BTreeSet;

use oci::{Descriptor, Digest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::delay::Tries;
use crate::{Error, Repository};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Descriptor>>,
}

impl Repository {
    /// What refers to the manifest `digest`, of `artifact_type` if that is given. Where the registry
    /// lists nothing, what the fallback tag lists.
    pub async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let action = format!(
            "list the referrers of {}",
            self.name_of(&digest.to_string())
        );
        let mut url = self
            .url(&["referrers", &digest.to_string()], &action)
            .await?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut()
                .append_pair("artifactType", artifact_type);
        }
        let mut found = Vec::new();
        let pages = self
            .pages(url, &action, |page: Index, _| {
                found.extend(page.manifests.unwrap_or_default());
            })
            .await;
        match pages {
            Ok(Err(refusal)) if matches!(refusal.status.as_u16(), 400 | 404 | 405 | 501) => {}
            Ok(Err(refusal)) => {
                return Err(self.host().refused(refusal, self.to_pull(&action)).await);
            }
            // A registry that has some page of its own for what it does not know.
            Ok(Ok(())) | Err(Error::Document { .. }) => {}
            Err(error) => return Err(error),
        }
        // GHCR has no such list, but answers with an empty one.
        if found.is_empty()
            && let Some(index) = self.fallback(digest).await?
        {
            found = index.descriptors()?;
        }
        // Whether or not the registry has filtered: one look more does no harm.
        found.retain(|descriptor| {
            let its = descriptor.artifact_type().as_ref().map(AsRef::as_ref);
            artifact_type.is_none_or(|wanted| its == Some(wanted))
        });
        let mut seen = BTreeSet::new();
        found.retain(|descriptor| seen.insert(descriptor.digest().to_string()));
        Ok(found)
    }

    /// Lists a manifest among the referrers of `subject`, in the fallback tag. What others have
    /// added stays; where another writer was faster, it is done again.
    pub(crate) async fn add_referrer(
        &self,
        subject: &Digest,
        media_type: &str,
        manifest: &[u8],
    ) -> Result<(), Error> {
        let tag = tag_of(subject);
        let digest = Digest::of(manifest);
        let entry = entry_of(media_type, manifest, &self.name_of(&digest.to_string()))?;
        let mut tries = Tries::new(self.shared().options.retry);
        loop {
            let mut index = self.fallback(subject).await?.unwrap_or_default();
            if index.lists(&digest) {
                return Ok(());
            }
            index.add(entry.clone());
            let bytes = oci::json::canonical(&index.0);
            self.put_manifest(&tag, INDEX, &bytes).await?;
            let now = self.fallback(subject).await?;
            if now.is_some_and(|index| index.lists(&digest)) {
                return Ok(());
            }
            if !tries.again(None).await {
                return Err(Error::Contended {
                    digest,
                    tag: self.name_of(&tag),
                });
            }
        }
    }

    async fn fallback(&self, subject: &Digest) -> Result<Option<Fallback>, Error> {
        let tag = tag_of(subject);
        let Some(manifest) = self.find_manifest(&tag).await? else {
            return Ok(None);
        };
        let what = format!("the list of referrers {}", self.name_of(&tag));
        let document =
            serde_json::from_slice(&manifest.bytes).map_err(|source| Error::Document {
                what: what.clone(),
                source,
            })?;
        Ok(Some(Fallback(document, what)))
    }
}

/// The index under a fallback tag, with all that others wrote into it, and its name.
struct Fallback(Map<String, Value>, String);

impl Default for Fallback {
    fn default() -> Self {
        let mut index = Map::new();
        index.insert("schemaVersion".to_owned(), json!(2));
        index.insert("mediaType".to_owned(), json!(INDEX));
        index.insert("manifests".to_owned(), json!([]));
        Self(index, String::new())
    }
}

impl Fallback {
    fn descriptors(self) -> Result<Vec<Descriptor>, Error> {
        let index: Index =
            serde_json::from_value(Value::Object(self.0)).map_err(|source| Error::Document {
                what: self.1,
                source,
            })?;
        Ok(index.manifests.unwrap_or_default())
    }

    fn entries(&self) -> &[Value] {
        let entries = self.0.get("manifests").and_then(Value::as_array);
        entries.map_or(&[], Vec::as_slice)
    }

    fn lists(&self, digest: &Digest) -> bool {
        let digest = digest.to_string();
        let mut entries = self.entries().iter();
        entries.any(|entry| entry.get("digest").and_then(Value::as_str) == Some(&digest))
    }

    fn add(&mut self, entry: Value) {
        let mut entries = self.entries().to_vec();
        entries.push(entry);
        self.0.insert("manifests".to_owned(), Value::Array(entries));
    }
}

/// `sha256-<hex>`.
fn tag_of(digest: &Digest) -> String {
    digest.to_string().replace(':', "-")
}

/// How a list of referrers describes a manifest: with its annotations and its artifact's type, which
/// for an image is that of its configuration.
fn entry_of(media_type: &str, manifest: &[u8], name: &str) -> Result<Value, Error> {
    let document: Map<String, Value> =
        serde_json::from_slice(manifest).map_err(|source| Error::Document {
            what: format!("manifest {name}"),
            source,
        })?;
    let text = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).filter(|it| !it.is_empty());
        text.map(str::to_owned)
    };
    let config = document
        .get("config")
        .and_then(|config| config.get("mediaType"));
    let artifact_type = text(document.get("artifactType")).or_else(|| text(config));
    let mut entry = json!({
        "mediaType": media_type,
        "digest": Digest::of(manifest).to_string(),
        "size": manifest.len(),
    });
    if let Some(artifact_type) = artifact_type {
        entry["artifactType"] = artifact_type.into();
    }
    if let Some(annotations) = document.get("annotations").filter(|it| it.is_object()) {
        entry["annotations"] = annotations.clone();
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_say_what_a_referrer_is() {
        let check = |manifest: &str| {
            let entry = entry_of("application/x", manifest.as_bytes(), "a").unwrap();
            let mut entry = entry.as_object().unwrap().clone();
            entry.remove("digest");
            String::from_utf8(oci::json::canonical(&entry)).unwrap()
        };
        insta::assert_snapshot!(
            check(r#"{"artifactType":"application/sbom","config":{"mediaType":"application/c"},"annotations":{"a":"b"}}"#),
            @r#"{"annotations":{"a":"b"},"artifactType":"application/sbom","mediaType":"application/x","size":98}"#
        );
        insta::assert_snapshot!(
            check(r#"{"config":{"mediaType":"application/c"}}"#),
            @r#"{"artifactType":"application/c","mediaType":"application/x","size":40}"#
        );
        insta::assert_snapshot!(
            check("{}"),
            @r#"{"mediaType":"application/x","size":2}"#
        );
    }

    #[test]
    fn others_entries_stay() {
        let theirs = json!({"digest": "sha256:1", "x-own": {"b": [1]}});
        let mut index = Fallback::default();
        index.add(theirs.clone());
        let digest = Digest::of(b"");
        assert!(!index.lists(&digest));
        index.add(json!({"digest": digest.to_string()}));
        assert!(index.lists(&digest));
        assert_eq!(index.entries()[0], theirs);
        assert_eq!(
            oci::digest_of(&crate::pull::descriptor(INDEX, &digest, 0)),
            Some(digest)
        );
    }
}
