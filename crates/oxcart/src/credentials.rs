//! User names and passwords of package indexes, by the servers that they are for.
//!
//! They come from the URLs of the configuration and of requirements files, else from the user's netrc
//! file, and go nowhere but to those servers: locks, messages and metadata have URLs without them.

use std::fmt;

use url::Url;

use crate::netrc::Netrc;

/// The credentials of a project's indexes.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// By the URLs that they are for, which don't hold them any more.
    servers: Vec<(Url, Secret)>,
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
            let mut url = Url::parse(url).ok()?;
            let decoded = |text: &str| {
                percent_encoding::percent_decode_str(text)
                    .decode_utf8_lossy()
                    .into_owned()
            };
            let secret = Secret {
                user: decoded(url.username()),
                password: url.password().map(decoded),
            };
            let _ = url.set_password(None).and(url.set_username(""));
            (!secret.user.is_empty() || secret.password.is_some()).then_some((url, secret))
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
        // One server may have several indexes, each with a user of its own: the nearest path counts,
        // and of equally near ones the first.
        let of_server = self.servers.iter().rev();
        let of_server = of_server.filter(|(server, _)| server.origin() == url.origin());
        let stated = of_server.max_by_key(|(server, _)| common(server, &url));
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

/// How many segments two paths begin with alike.
fn common(a: &Url, b: &Url) -> usize {
    let segments = a.path().split('/').zip(b.path().split('/'));
    segments.take_while(|(a, b)| a == b).count()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.servers
                    .iter()
                    .map(|(server, _)| server.origin().ascii_serialization()),
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
            "https://one:1@shared.test/projects/1/simple",
            "https://two:2@shared.test/projects/2/simple",
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
    fn of_several_on_one_server_the_nearest_counts() {
        let shared =
            |path: &str, expected| check(&format!("https://shared.test/{path}"), Some(expected));
        shared("projects/1/files/a.whl", "Basic b25lOjE=");
        shared("projects/2/files/a.whl", "Basic dHdvOjI=");
        shared("files/a.whl", "Basic b25lOjE=");
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
