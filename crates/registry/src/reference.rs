//! References: what images are called by.
//!
//! Docker's short forms are written out as in distribution's `reference` package:
//! `python:3.12-slim` is `docker.io/library/python:3.12-slim`.

use std::fmt;
use std::str::FromStr;

use oci::Digest;
use oci_spec::distribution;

/// The name of an image: a registry, a repository, and a tag, a digest or both.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What is wrong with a text that should be a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {fault}")]
pub struct ReferenceError {
    text: String,
    fault: String,
}

impl Reference {
    /// The registry's host and port: `docker.io`, `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry: `library/python`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository: `docker.io/library/python`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag; `latest` where the text had neither a tag nor a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What goes into `/manifests/<…>`: the digest if there is one, else the tag, else `latest`.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same repository by `tag`, without a digest.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        }
    }

    /// The same repository by `digest`; the tag stays.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }
}

/// Whether `text` can be a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = |fault: &str| ReferenceError {
            text: text.to_owned(),
            fault: fault.to_owned(),
        };
        let parsed: distribution::Reference = text.parse().map_err(|source| match source {
            // The expression that it is matched against says no more than this.
            distribution::ParseError::ReferenceInvalidFormat
                if text.bytes().any(|b| b.is_ascii_uppercase()) =>
            {
                error("the name of a repository is in lower case")
            }
            distribution::ParseError::ReferenceInvalidFormat => {
                error("expected [HOST[:PORT]/]NAME[:TAG][@DIGEST]")
            }
            other => error(&other.to_string()),
        })?;
        let digest = parsed.digest().map(str::parse).transpose();
        Ok(Self {
            registry: parsed.registry().to_owned(),
            repository: parsed.repository().to_owned(),
            tag: parsed.tag().map(str::to_owned),
            digest: digest.map_err(|source: oci::DigestError| error(&source.to_string()))?,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(text: &str, canonical: &str, target: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), canonical, "{text}");
        assert_eq!(reference.target(), target, "{text}");
        assert_eq!(canonical.parse(), Ok(reference), "{text}");
    }

    #[test]
    fn short_names_are_written_out() {
        check("python", "docker.io/library/python:latest", "latest");
        check(
            "python:3.12-slim",
            "docker.io/library/python:3.12-slim",
            "3.12-slim",
        );
        check("acme/app", "docker.io/acme/app:latest", "latest");
        check("index.docker.io/acme/app:1", "docker.io/acme/app:1", "1");
        check("localhost/app:1", "localhost/app:1", "1");
        check("127.0.0.1:5000/a/b/c:1", "127.0.0.1:5000/a/b/c:1", "1");
        let digest = format!("sha256:{HEX}");
        check(
            &format!("ghcr.io/acme/app:1@{digest}"),
            &format!("ghcr.io/acme/app:1@{digest}"),
            &digest,
        );
        check(
            &format!("ghcr.io/acme/app@{digest}"),
            &format!("ghcr.io/acme/app@{digest}"),
            &digest,
        );
    }

    #[test]
    fn other_texts_are_refused() {
        let check = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
        insta::assert_snapshot!(check("ghcr.io/Acme/app"), @"`ghcr.io/Acme/app` is not an image reference: the name of a repository is in lower case");
        insta::assert_snapshot!(check("a b"), @"`a b` is not an image reference: expected [HOST[:PORT]/]NAME[:TAG][@DIGEST]");
        insta::assert_snapshot!(check(""), @"`` is not an image reference: repository name must have at least one component");
        insta::assert_snapshot!(check(&format!("a@sha512:{HEX}{HEX}")), @"`a@sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855` is not an image reference: `sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits");
    }

    #[test]
    fn tags() {
        let long = "a".repeat(128);
        for tag in ["1", "_x", "3.12-slim", "V1", &long] {
            assert!(is_tag(tag), "{tag}");
        }
        for text in ["", ".x", "-x", "a/b", "a:b", "é", &format!("{long}a")] {
            assert!(!is_tag(text), "{text}");
        }
    }

    #[test]
    fn tags_and_digests_replace_each_other_in_the_right_way() {
        let reference: Reference = "ghcr.io/acme/app:1".parse().unwrap();
        let pinned = reference.with_digest(Digest::of(b""));
        assert_eq!(
            pinned.to_string(),
            format!("ghcr.io/acme/app:1@sha256:{HEX}")
        );
        assert_eq!(pinned.with_tag("2").to_string(), "ghcr.io/acme/app:2");
        assert_eq!(pinned.name(), "ghcr.io/acme/app");
    }
}
