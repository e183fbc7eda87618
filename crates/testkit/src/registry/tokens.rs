//! The token endpoint: `GET` with Basic credentials or none, and `POST` as in `OAuth2` (RFC 6749,
//! sections 4.3 and 6, as the distribution project uses them).

use hyper::header;
use hyper::{Method, StatusCode};

use super::auth::{self, SERVICE};
use super::exchange::{Exchange, Outcome, Refusal};
use super::fault::RegistryFault as Fault;
use super::reply;
use super::route::values;

impl Exchange<'_> {
    pub(super) async fn token(&mut self) -> Outcome {
        let is_post = self.method == Method::POST;
        if !is_post && self.is(Fault::TokenPostOnly) {
            return Ok(reply::empty(405));
        }
        let refused = self.pick(|it| match it {
            Fault::TokenGetOnly { status } if is_post => Some(status),
            _ => None,
        });
        if let Some(status) = refused {
            return Ok(reply::error(status, "UNSUPPORTED", "no such grant"));
        }
        let (form, user) = if is_post {
            self.by_post().await?
        } else {
            (self.query.clone(), self.by_get()?)
        };
        if values(&form, "service") != [SERVICE] {
            self.violation("`service` is not what the challenge said");
        }
        let scopes = values(&form, "scope");
        if !is_post && scopes.iter().any(|it| it.contains(' ')) {
            self.violation("several scopes in one parameter");
        }
        let Some(asked) = auth::parse_scopes(scopes.iter().map(String::as_str)) else {
            self.violation("a scope that is none");
            return Ok(reply::error(400, "UNSUPPORTED", "invalid scope"));
        };
        let without_expiry = self.is(Fault::TokenWithoutExpiry);
        let requests = self.pick(|it| match it {
            Fault::TokenRequests { requests } => Some(requests),
            _ => None,
        });
        let mut inner = self.inner();
        let token = format!("token-{}", inner.state.opaque());
        let grants = inner.auth.grant(user.as_deref(), &asked);
        inner.auth.issue(&token, grants, requests);
        let seconds = inner.auth.lifetime.as_secs();
        let expires_in = (!without_expiry).then_some(seconds);
        let document = auth::document(&token, is_post, expires_in);
        Ok(reply::json("application/json", &document))
    }

    /// The user, None for anyone.
    fn by_get(&mut self) -> Result<Option<String>, Refusal> {
        let Some(given) = self.header(header::AUTHORIZATION) else {
            return Ok(None);
        };
        let user = self.inner().auth.basic(&given);
        user.map(Some).ok_or_else(wrong_credentials)
    }

    async fn by_post(&mut self) -> Result<(String, Option<String>), Refusal> {
        const MOST: u64 = 1 << 20;
        let mut form = Vec::new();
        self.receive(MOST, |_, chunk| form.extend_from_slice(chunk))
            .await?;
        let form = String::from_utf8_lossy(&form).into_owned();
        let value = |name| values(&form, name).into_iter().next().unwrap_or_default();
        if self.header(header::CONTENT_TYPE).as_deref() != Some("application/x-www-form-urlencoded")
        {
            self.violation("the body is not said to be a form");
        }
        if value("client_id").is_empty() {
            self.violation("no `client_id`");
        }
        let auth = &self.inner().auth;
        let user = match value("grant_type").as_str() {
            "refresh_token" => auth.identity(&value("refresh_token")),
            "password" => auth.password(&value("username"), &value("password")),
            _ => {
                let text = "unsupported_grant_type";
                return Err(reply::error(400, "UNSUPPORTED", text).into());
            }
        };
        let user = user.ok_or_else(wrong_credentials)?;
        Ok((form, Some(user)))
    }
}

fn wrong_credentials() -> Refusal {
    let status = StatusCode::UNAUTHORIZED.as_u16();
    reply::error(status, "UNAUTHORIZED", "incorrect username or password").into()
}
