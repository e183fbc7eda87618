//! User names and passwords of package indexes, by the servers that they are for.
//!
//! They come from the URLs of the configuration and go nowhere but to those servers: locks, messages
//! and metadata have URLs without them.

use std::fmt;

use url::{Origin, Url};

/// The credentials of a project's indexes.
#[derive(Clone, Default)]
pub(crate) struct Credentials(Vec<(Origin, Secret)>);

#[derive(Clone)]
struct Secret {
    user: String,
    password: Option<String>,
}

impl Credentials {
    /// Those that `urls` hold. What is no URL holds none.
    pub(crate) fn of<'a>(urls: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = urls.into_iter().filter_map(|url| {
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
        Self(secrets.collect())
    }

    /// `request` for `url`, with the credentials of its server where there are some.
    pub(crate) fn authorise(
        &self,
        url: &str,
        request: reqwest::RequestBuilder,
    ) -> reqwest::RequestBuilder {
        let origin = Url::parse(url).map(|url| url.origin());
        match self
            .0
            .iter()
            .find(|(server, _)| origin.as_ref() == Ok(server))
        {
            Some((_, secret)) => request.basic_auth(&secret.user, secret.password.as_ref()),
            None => request,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.0
                    .iter()
                    .map(|(server, _)| server.ascii_serialization()),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    fn check(url: &str, expected: Option<&str>) {
        let credentials = Credentials::of([
            "https://us%40er:pass@index.test/simple",
            "https://other.test/",
        ]);
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
        check("http://index.test/a.whl", None);
        check("https://index.test:8443/a.whl", None);
    }

    #[test]
    fn they_are_not_shown() {
        let shown = format!("{:?}", Credentials::of(["https://user:pass@index.test/"]));
        assert_eq!(shown, r#"["https://index.test"]"#);
    }
}
