//! User names and passwords of package indexes, by the servers that they are for.
//!
//! They come from the URLs of the configuration and of requirements files, else from the user's netrc
//! file, and go nowhere but to those servers: locks, messages and metadata have URLs without them.

use std::fmt;

use url::{Origin, Url};

use crate::netrc::Netrc;

/// The credentials of a project's indexes.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    servers: Vec<(Origin, Secret)>,
    netrc: Netrc,
}

#[derive(Clone)]
struct Secret {
    user: String,
    password: Option<String>,
}

impl Credentials {
    /// Those that `urls` hold. What is no URL holds none.
    pub(crate) fn of<'a>(urls: impl IntoIterator<Item = &'a str>) -> Self {
        let servers = urls.into_iter().filter_map(|url| {
            let url = Url::parse(url).ok()?;
            let decoded = |text: &str| {
                percent_encoding::percent_decode_str(text)
                    .decode_utf8_lossy()
                    .into_owned()
            };
            let secret = Secret {
                user: decoded(url.username()),
                password: url.password().map(decoded),
            };
            (!secret.user.is_empty() || secret.password.is_some()).then(|| (url.origin(), secret))
        });
        Self {
            servers: servers.collect(),
            netrc: Netrc::default(),
        }
    }

    /// The same, and those of `other` where these have none.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.servers.extend(other.servers);
        self
    }

    /// The same, and those of `netrc` where no URL has any.
    pub(crate) fn with_netrc(self, netrc: Netrc) -> Self {
        Self { netrc, ..self }
    }

    /// `request` for `url`, with the credentials of its server where there are some.
    pub(crate) fn authorise(
        &self,
        url: &str,
        request: reqwest::RequestBuilder,
    ) -> reqwest::RequestBuilder {
        match self.find(url) {
            Some(secret) => request.basic_auth(secret.user, secret.password),
            None => request,
        }
    }

    fn find(&self, url: &str) -> Option<Secret> {
        let url = Url::parse(url).ok()?;
        let origin = url.origin();
        let stated = self.servers.iter().find(|(server, _)| *server == origin);
        let stated = stated.map(|(_, secret)| secret.clone());
        if stated.as_ref().is_some_and(|it| it.password.is_some()) {
            return stated;
        }
        // A name without a password asks for that name's.
        let user = stated.as_ref().map(|it| it.user.as_str());
        let machine = url.host_str().and_then(|it| self.netrc.find(it, user));
        machine.map_or(stated, |machine| {
            Some(Secret {
                user: machine.login.clone(),
                password: Some(machine.password.clone()),
            })
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.servers
                    .iter()
                    .map(|(server, _)| server.ascii_serialization()),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;
    use crate::netrc::Netrc;

    fn check(url: &str, expected: Option<&str>) {
        let netrc = "machine netrc.test login a password b
            machine index.test login wrong password wrong
            machine named.test login one password 1 machine named.test login two password 2";
        let credentials = Credentials::of([
            "https://us%40er:pass@index.test/simple",
            "https://other.test/",
        ])
        .and(Credentials::of(["https://two@named.test/"]))
        .with_netrc(Netrc::parse(netrc));
        let request = credentials
            .authorise(url, reqwest::Client::new().get(url))
            .build()
            .unwrap();
        let header = request
            .headers()
            .get("authorization")
            .map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(header.as_deref(), expected, "{url}");
    }

    #[test]
    fn they_go_to_their_own_server_only() {
        check(
            "https://index.test/files/a.whl",
            Some("Basic dXNAZXI6cGFzcw=="),
        );
        check("https://other.test/a.whl", None);
    }

    #[test]
    fn a_url_counts_before_netrc() {
        check("https://netrc.test/a.whl", Some("Basic YTpi"));
        check("https://named.test/a.whl", Some("Basic dHdvOjI="));
        // Another port is another server, which netrc does not tell apart.
        check(
            "https://index.test:8443/a.whl",
            Some("Basic d3Jvbmc6d3Jvbmc="),
        );
    }

    #[test]
    fn they_are_not_shown() {
        let shown = format!("{:?}", Credentials::of(["https://user:pass@index.test/"]));
        assert_eq!(shown, r#"["https://index.test"]"#);
    }
}
