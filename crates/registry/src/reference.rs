//! References: what images are called by.
//!
//! Docker's short forms are written out as in distribution's `reference` package:
//! `python:3.12-slim` is `docker.io/library/python:3.12-slim`.

use std::fmt;
use std::str::FromStr;

use oci::Digest;

/// The registry of names that name none.
const DOCKER_HUB: &str = "docker.io";
/// Characters of a repository, and of a tag.
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

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
    text.len() <= MAX_TAG
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
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let start = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[start..].find(':') {
            Some(colon) => (&name[..start + colon], Some(&name[start + colon + 1..])),
            None => (name, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (host, path),
            _ => (DOCKER_HUB, name),
        };
        let is_sound = is_authority(registry) && path.split('/').all(is_component);
        if !is_sound || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(if path.bytes().any(|b| b.is_ascii_uppercase()) {
                error("the name of a repository is in lower case")
            } else {
                error("expected [HOST[:PORT]/]NAME[:TAG][@DIGEST]")
            });
        }
        if path.len() > MAX_REPOSITORY {
            return Err(error(&format!(
                "the name of a repository has {MAX_REPOSITORY} characters at most"
            )));
        }
        let digest: Option<Digest> = digest
            .map(str::parse)
            .transpose()
            .map_err(|source: oci::DigestError| error(&source.to_string()))?;
        let registry = match registry {
            "index.docker.io" => DOCKER_HUB,
            registry => registry,
        };
        let repository = if registry == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let tag = tag.or(digest.is_none().then_some("latest"));
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether what stands before the first slash is a host, and not the first part of a repository.
fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':'])
}

/// `HOST[:PORT]`, where the host's parts are of letters, digits and hyphens inside.
fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_part = |part: &str| {
        part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && host.split('.').all(is_part)
}

/// A part of a repository: small letters and digits, with `.`, `_`, `__` or any number of `-` between.
fn is_component(text: &str) -> bool {
    let is_word = |b: char| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separators = text.split(is_word).filter(|it| !it.is_empty());
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && separators.all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|b| b == b'-'))
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
        insta::assert_snapshot!(check(""), @"`` is not an image reference: it is empty");
        insta::assert_snapshot!(check(&format!("a@sha512:{HEX}{HEX}")), @"`a@sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855` is not an image reference: `sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits");
    }

    /// What oci-spec, whose expression takes 80 ms to compile, says of the same text.
    fn oracle(text: &str) -> Option<String> {
        let parsed: oci_spec::distribution::Reference = text.parse().ok()?;
        // It takes `Z/app` for a repository of Docker Hub, which has none in capitals, and `a.b_c/app` for one of
        // a host with an underscore.
        let is_lower = !parsed.repository().bytes().any(|b| b.is_ascii_uppercase());
        (is_lower && !parsed.registry().contains('_')).then(|| parsed.whole())
    }

    #[test]
    fn it_agrees_with_another_reader() {
        let pieces = [
            "a",
            "b0",
            "Z",
            ".",
            "_",
            "__",
            "-",
            "/",
            ":",
            "localhost",
            "ghcr.io",
            "5000",
            "docker.io",
            "index.docker.io",
            "é",
            " ",
            "library",
            "@sha256:",
            HEX,
        ];
        let mut state = 1_u32;
        let mut next = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..30_000 {
            let text: String = (0..=next(8)).map(|_| pieces[next(pieces.len())]).collect();
            // A tag of any script: the specification has letters of ASCII alone.
            if !text.is_ascii() {
                assert!(text.parse::<Reference>().is_err(), "{text}");
                continue;
            }
            let ours = text.parse::<Reference>().ok().map(|it| it.to_string());
            if ours.is_some() {
                taken += 1;
            } else {
                refused += 1;
            }
            assert_eq!(ours, oracle(&text), "{text}");
        }
        assert!(taken > 1000 && refused > 1000, "{taken} {refused}");
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
