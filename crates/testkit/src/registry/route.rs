//! Addresses of the distribution-spec (section Endpoints), and the names in them.

use hyper::Method;

use super::log::Kind;

/// What a path leads to. The texts are unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Token,
    Blob { repository: String, digest: String },
    Uploads { repository: String },
    Session { repository: String, id: String },
    Manifest { repository: String, target: String },
    Tags { repository: String },
    Referrers { repository: String, digest: String },
    Unknown,
}

impl Route {
    pub(super) fn of(path: &str) -> Self {
        let path = path.replace("%3A", ":").replace("%3a", ":");
        if path == "/token" {
            return Self::Token;
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return Self::Unknown;
        };
        if rest.is_empty() {
            return Self::Ping;
        }
        let own = str::to_owned;
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            let repository = own(repository);
            return Self::Tags { repository };
        }
        if let Some(repository) = rest.strip_suffix("/blobs/uploads/") {
            let repository = own(repository);
            return Self::Uploads { repository };
        }
        for (infix, route) in [
            ("/blobs/uploads/", session as fn(String, String) -> Self),
            ("/blobs/", blob),
            ("/manifests/", manifest),
            ("/referrers/", referrers),
        ] {
            if let Some((repository, last)) = rest.rsplit_once(infix)
                && !last.contains('/')
            {
                return route(own(repository), own(last));
            }
        }
        Self::Unknown
    }

    pub(super) fn repository(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::Token | Self::Unknown => None,
            Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Session { repository, .. }
            | Self::Manifest { repository, .. }
            | Self::Tags { repository }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }

    pub(super) fn kind(&self, method: &Method, is_mount: bool) -> Kind {
        match (self, method.as_str()) {
            (Self::Ping, "GET" | "HEAD") => Kind::Ping,
            (Self::Token, "GET" | "POST") => Kind::Token,
            (Self::Blob { .. }, "HEAD") => Kind::HeadBlob,
            (Self::Blob { .. }, "GET") => Kind::GetBlob,
            (Self::Blob { .. }, "DELETE") => Kind::DeleteBlob,
            (Self::Uploads { .. }, "POST") if is_mount => Kind::Mount,
            (Self::Uploads { .. }, "POST") => Kind::PostUpload,
            (Self::Session { .. }, "PATCH") => Kind::PatchUpload,
            (Self::Session { .. }, "PUT") => Kind::PutUpload,
            (Self::Session { .. }, "GET") => Kind::GetUpload,
            (Self::Session { .. }, "DELETE") => Kind::DeleteUpload,
            (Self::Manifest { .. }, "HEAD") => Kind::HeadManifest,
            (Self::Manifest { .. }, "GET") => Kind::GetManifest,
            (Self::Manifest { .. }, "PUT") => Kind::PutManifest,
            (Self::Manifest { .. }, "DELETE") => Kind::DeleteManifest,
            (Self::Tags { .. }, "GET") => Kind::Tags,
            (Self::Referrers { .. }, "GET") => Kind::Referrers,
            _ => Kind::Other,
        }
    }
}

fn session(repository: String, id: String) -> Route {
    Route::Session { repository, id }
}

fn blob(repository: String, digest: String) -> Route {
    Route::Blob { repository, digest }
}

fn manifest(repository: String, target: String) -> Route {
    Route::Manifest { repository, target }
}

fn referrers(repository: String, digest: String) -> Route {
    Route::Referrers { repository, digest }
}

/// The values of `name` in a query, decoded.
pub(super) fn values(query: &str, name: &str) -> Vec<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes.
pub(super) fn is_name(text: &str) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_component = |part: &str| {
        part.bytes().next().is_some_and(is_alphanumeric)
            && part.bytes().next_back().is_some_and(is_alphanumeric)
            && part
                .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                .all(|separator| {
                    matches!(separator, "" | "." | "_" | "__")
                        || separator.bytes().all(|b| b == b'-')
                })
    };
    !text.is_empty() && text.len() <= 255 && text.split('/').all(is_component)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(super) fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let repository = || "acme/app".to_owned();
        for (path, expected) in [
            ("/v2/", Route::Ping),
            ("/v2", Route::Unknown),
            ("/token", Route::Token),
            (
                "/v2/acme/app/blobs/sha256%3Aab",
                blob(repository(), "sha256:ab".into()),
            ),
            (
                "/v2/acme/app/blobs/uploads/",
                Route::Uploads {
                    repository: repository(),
                },
            ),
            (
                "/v2/acme/app/blobs/uploads/7",
                session(repository(), "7".into()),
            ),
            (
                "/v2/acme/app/manifests/1.0",
                manifest(repository(), "1.0".into()),
            ),
            (
                "/v2/acme/app/tags/list",
                Route::Tags {
                    repository: repository(),
                },
            ),
            ("/v2/acme/app/blobs/a/b", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), expected, "{path}");
        }
    }

    #[test]
    fn names_and_tags() {
        for (text, name, tag) in [
            ("acme/app", true, false),
            ("a.b_c__d---e", true, true),
            ("Acme", false, true),
            ("a..b", false, true),
            ("a___b", false, true),
            ("-a", false, false),
            ("a/", false, false),
            ("", false, false),
            ("_1.0-x", false, true),
            ("1.0+x", false, false),
        ] {
            assert_eq!((is_name(text), is_tag(text)), (name, tag), "{text}");
        }
    }
}
