//! `direct_url.json`: where a distribution came from that was not found by name ("Direct URL data
//! structure", first PEP 610).

use oci::Digest;
use serde_json::{Value, json};

/// Where a wheel, or what it was built from, was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectUrl {
    url: String,
    origin: Origin,
    subdirectory: Option<String>,
}

/// What lies at a direct URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A wheel or a source archive.
    Archive {
        /// Its sha256, where known.
        sha256: Option<Digest>,
    },
    /// A directory (`file:` URL). Never editable: an image has no working copy.
    Directory,
    /// A repository.
    Vcs {
        /// `git`, `hg`, `bzr` or `svn`.
        vcs: String,
        /// What was asked for.
        requested_revision: Option<String>,
        /// What that was at the time.
        commit_id: String,
    },
}

impl DirectUrl {
    /// User and password are taken out of `url`: the file ends up in an image that others pull.
    pub fn new(url: &str, origin: Origin) -> Self {
        Self {
            url: without_credentials(url),
            origin,
            subdirectory: None,
        }
    }

    /// The directory in the archive or repository that has the project.
    #[must_use]
    pub fn with_subdirectory(self, subdirectory: &str) -> Self {
        Self {
            subdirectory: Some(subdirectory.to_owned()),
            ..self
        }
    }

    /// The contents of the file.
    pub fn to_json(&self) -> Vec<u8> {
        let (key, info) = match &self.origin {
            Origin::Archive { sha256: None } => ("archive_info", json!({})),
            Origin::Archive {
                sha256: Some(digest),
            } => (
                "archive_info",
                json!({ "hashes": { "sha256": digest.hex() } }),
            ),
            Origin::Directory => ("dir_info", json!({})),
            Origin::Vcs {
                vcs,
                requested_revision,
                commit_id,
            } => {
                let mut info = json!({ "vcs": vcs, "commit_id": commit_id });
                if let Some(revision) = requested_revision {
                    info["requested_revision"] = Value::from(revision.as_str());
                }
                ("vcs_info", info)
            }
        };
        let mut document = json!({ "url": self.url });
        document[key] = info;
        if let Some(subdirectory) = &self.subdirectory {
            document["subdirectory"] = Value::from(subdirectory.as_str());
        }
        oci::json::canonical(&document)
    }
}

/// `git@` of an SSH URL names no secret and is needed; everything else before the `@` goes.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, _)) if user != "git" => format!("{scheme}://{}", &rest[user.len() + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &DirectUrl) -> String {
        String::from_utf8(url.to_json()).unwrap()
    }

    #[test]
    fn documents() {
        let digest = Digest::of(b"");
        insta::assert_snapshot!(
            check(&DirectUrl::new("https://u:p@host.test/a@b.whl", Origin::Archive { sha256: Some(digest) })),
            @r#"{"archive_info":{"hashes":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},"url":"https://host.test/a@b.whl"}"#
        );
        insta::assert_snapshot!(
            check(&DirectUrl::new("file:///src/app", Origin::Directory)),
            @r#"{"dir_info":{},"url":"file:///src/app"}"#
        );
        let origin = Origin::Vcs {
            vcs: "git".to_owned(),
            requested_revision: Some("main".to_owned()),
            commit_id: "0".repeat(40),
        };
        insta::assert_snapshot!(
            check(&DirectUrl::new("ssh://git@host.test/a.git", origin).with_subdirectory("pkg")),
            @r#"{"subdirectory":"pkg","url":"ssh://git@host.test/a.git","vcs_info":{"commit_id":"0000000000000000000000000000000000000000","requested_revision":"main","vcs":"git"}}"#
        );
    }

    #[test]
    fn credentials_are_taken_out() {
        for (url, expect) in [
            ("https://token@host.test", "https://host.test"),
            ("https://a:b@c@host.test?x@y", "https://host.test?x@y"),
            ("https://host.test/a@b", "https://host.test/a@b"),
            ("file:///a@b", "file:///a@b"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_credentials(url), expect);
        }
    }
}
