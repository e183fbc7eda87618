//! Addresses: which hosts may do without TLS, where a `Location` leads, and URLs as they may be
//! shown.

use std::net::IpAddr;

use url::{Host, Url};

/// The host and port that requests for the registry `name` go to.
pub(crate) fn authority(name: &str) -> &str {
    match name {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        name => name,
    }
}

/// Whether the host of `url` is this machine, by address or as `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether `url` may be used: with TLS any, else those on loopback and those named.
pub(crate) fn is_allowed(url: &Url, insecure: &[String]) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url) || is_named(url, insecure),
        _ => false,
    }
}

/// Whether `--insecure-registry` names the host of `url`: without a port it stands for all.
pub(crate) fn is_named(url: &Url, insecure: &[String]) -> bool {
    let (Some(host), port) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    insecure.iter().any(|name| match name.rsplit_once(':') {
        Some((of, with)) if with.bytes().all(|b| b.is_ascii_digit()) => {
            of.eq_ignore_ascii_case(host) && with.parse().ok() == port
        }
        _ => name.eq_ignore_ascii_case(host),
    })
}

/// Host and port, as errors name a server.
pub(crate) fn server(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Where `location`, which may be relative and have a query to keep, leads from `base`.
pub(crate) fn follow(base: &Url, location: &str) -> Option<Url> {
    let mut url = base.join(location).ok()?;
    url.set_fragment(None);
    // Nobody's credentials but those that we have ourselves.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    // A registry behind a proxy that does the TLS may not know that there is TLS.
    if base.scheme() == "https"
        && url.scheme() == "http"
        && url.host() == base.host()
        && (url.port().is_none() || url.port() == base.port())
    {
        url.set_scheme("https").ok()?;
    }
    matches!(url.scheme(), "http" | "https").then_some(url)
}

/// `url` as it may be shown: of a query only the names, for the values may be signatures.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    let names: Vec<_> = url
        .query_pairs()
        .map(|(name, value)| match &*name {
            // These are ours, and say what a request is about.
            "scope" | "mount" | "from" | "digest" | "service" | "n" | "artifactType" => {
                format!("{name}={value}")
            }
            // Without a value it may be a value itself.
            _ if value.is_empty() => "…".to_owned(),
            _ => format!("{name}=…"),
        })
        .collect();
    if names.is_empty() {
        return shown.into();
    }
    format!("{shown}?{}", names.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_is_for_loopback_and_named_hosts() {
        let check = |text: &str, allowed: bool| {
            let insecure = ["plain.test".to_owned(), "port.test:5000".to_owned()];
            assert_eq!(is_allowed(&url(text), &insecure), allowed, "{text}");
        };
        check("https://a.test/", true);
        check("http://a.test/", false);
        check("http://127.0.0.1:5000/", true);
        check("http://127.9.9.9/", true);
        check("http://[::1]:5000/", true);
        check("http://localhost:5000/", true);
        check("http://128.0.0.1/", false);
        check("http://localhost.test/", false);
        check("http://plain.test:1234/", true);
        check("http://Plain.test/", true);
        check("http://port.test:5000/", true);
        check("http://port.test/", false);
        check("ftp://127.0.0.1/", false);
    }

    #[test]
    fn locations() {
        let check = |location: &str, expected: Option<&str>| {
            let base = url("https://a.test/v2/x/blobs/uploads/?mount=1");
            let found = follow(&base, location).map(String::from);
            assert_eq!(found.as_deref(), expected, "{location}");
        };
        check(
            "/v2/x/u/1?_state=s",
            Some("https://a.test/v2/x/u/1?_state=s"),
        );
        check(
            "1?_state=s%2F",
            Some("https://a.test/v2/x/blobs/uploads/1?_state=s%2F"),
        );
        check("https://b.test/u?s=1", Some("https://b.test/u?s=1"));
        check("//b.test/u", Some("https://b.test/u"));
        check("http://a.test/u", Some("https://a.test/u"));
        check("http://b.test/u", Some("http://b.test/u"));
        check("https://u:p@b.test/u", Some("https://b.test/u"));
        check("ftp://b.test/u", None);
        check("https://", None);
    }

    #[test]
    fn queries_are_not_shown() {
        let check = |text: &str, expected: &str| assert_eq!(shown(&url(text)), expected);
        check("https://a.test/x", "https://a.test/x");
        check(
            "https://u:p@a.test/x?sig=s3cret&digest=sha256:1&s3cret",
            "https://a.test/x?sig=…&digest=sha256:1&…",
        );
    }

    proptest::proptest! {
        #[test]
        fn no_location_is_a_panic(location in ".*") {
            let followed = follow(&url("https://a.test/v2/"), &location);
            let _ = followed.map(|url| shown(&url));
        }
    }
}
