//! Tokens (distribution's "Token Authentication" and "`OAuth2` Token Authentication"): asked for with
//! GET, or with POST where there is an identity token. What is in them is the registry's affair.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use crate::Error;
use crate::address::{is_allowed, server};
use crate::answer::{Answer, Refusal, Success};
use crate::auth::{Purpose, basic, margin, secret_header};
use crate::challenge::Challenge;
use crate::delay::Tries;
use crate::secret::{Found, Secret};
use crate::shared::{Body, Shared};

/// What a token lives for where its server does not say.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// Bytes that a token server's answer may have.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Where tokens come from, by a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Realm {
    url: String,
    service: Option<String>,
}

impl Realm {
    pub(crate) fn of(challenge: &Challenge) -> Option<Self> {
        Some(Self {
            url: challenge.parameter("realm")?.to_owned(),
            service: challenge.parameter("service").map(str::to_owned),
        })
    }
}

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    header: HeaderValue,
    /// When to stop using it.
    until: Instant,
}

impl Token {
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now < self.until
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[derive(Deserialize)]
struct Document {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Get = 1,
    Post = 2,
}

/// Asks for tokens, and remembers in which way that works.
#[derive(Default)]
pub(crate) struct TokenServer(AtomicU8);

/// What one token is asked for with.
struct Question<'a> {
    registry: &'a str,
    realm: &'a Realm,
    url: Url,
    purpose: Purpose<'a>,
    found: &'a Found,
}

impl TokenServer {
    /// A new token for `purpose`.
    pub(crate) async fn fetch(
        &self,
        shared: &Shared,
        registry: &str,
        realm: &Realm,
        purpose: Purpose<'_>,
        found: &Found,
    ) -> Result<Token, Error> {
        let fault = |fault| Error::Realm {
            action: purpose.action.to_owned(),
            realm: realm.url.clone(),
            fault,
        };
        let url = Url::parse(&realm.url).map_err(|_| fault("which is no URL"))?;
        if !is_allowed(&url, &shared.options.insecure) {
            return Err(fault("where secrets would travel without TLS"));
        }
        let question = Question {
            registry,
            realm,
            url,
            purpose,
            found,
        };
        let ways = self.ways(found);
        for (place, &way) in ways.iter().enumerate() {
            let start = Instant::now();
            match question.ask(shared, way).await? {
                Answer::Success(success) => {
                    self.0.store(way as u8, Ordering::Relaxed);
                    return question.read(shared, success, start).await;
                }
                Answer::Refusal(refusal) => {
                    if place + 1 == ways.len() || !is_no_for(way, refusal.status) {
                        return Err(question.refused(refusal));
                    }
                }
            }
        }
        unreachable!("the last way returns")
    }

    fn ways(&self, found: &Found) -> Vec<Way> {
        let mut ways = match found.secret() {
            None => vec![Way::Get],
            Some(Secret::Password { .. }) => vec![Way::Get, Way::Post],
            Some(Secret::Identity { .. }) => vec![Way::Post, Way::Get],
        };
        let known = self.0.load(Ordering::Relaxed);
        if ways.iter().any(|&way| way as u8 == known) {
            ways.retain(|&way| way as u8 == known);
        }
        ways
    }
}

/// Whether an answer means that tokens are not to be had in this way.
fn is_no_for(way: Way, status: StatusCode) -> bool {
    match way {
        Way::Post => matches!(status.as_u16(), 400 | 401 | 404 | 405),
        Way::Get => matches!(status.as_u16(), 404 | 405),
    }
}

impl Question<'_> {
    async fn ask(&self, shared: &Shared, way: Way) -> Result<Answer, Error> {
        let mut tries = Tries::new(shared.options.retry);
        let host = server(&self.url);
        loop {
            let sent = match way {
                Way::Get => {
                    let authorization = self.found.secret().map(Secret::basic);
                    let authorization = authorization.map(|(user, password)| basic(user, password));
                    let url = self.url_of_get();
                    let none = HeaderMap::new();
                    shared
                        .send(&Method::GET, &url, none, authorization, Body::None)
                        .await?
                }
                Way::Post => {
                    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                    let headers = [(CONTENT_TYPE, form)].into_iter().collect();
                    let body = Body::Bytes(self.form());
                    shared
                        .send(&Method::POST, &self.url, headers, None, body)
                        .await?
                }
            };
            match sent {
                Ok(response) if response.status().is_success() => {
                    let server = host;
                    return Ok(Answer::Success(Success { response, server }));
                }
                Ok(response) => {
                    let refusal = Refusal::read(response, host.clone(), true).await;
                    if !refusal.is_passing() || !tries.again(refusal.delay()).await {
                        return Ok(Answer::Refusal(refusal));
                    }
                }
                Err(source) => {
                    if !source.is_passing(true) || !tries.again(None).await {
                        return Err(Error::Network {
                            action: self.purpose.action.to_owned(),
                            source,
                        });
                    }
                }
            }
        }
    }

    fn url_of_get(&self) -> Url {
        let mut url = self.url.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.realm.service {
                query.append_pair("service", service);
            }
            for scope in self.purpose.scopes.texts() {
                query.append_pair("scope", &scope);
            }
        }
        url
    }

    /// `OAuth2` has one parameter for all scopes.
    fn form(&self) -> Bytes {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", "oxcart");
        if let Some(service) = &self.realm.service {
            form.append_pair("service", service);
        }
        form.append_pair("scope", &self.purpose.scopes.to_string());
        match self.found.secret() {
            Some(Secret::Identity { token, .. }) => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("refresh_token", token);
            }
            Some(Secret::Password { user, password }) => {
                form.append_pair("grant_type", "password");
                form.append_pair("username", user);
                form.append_pair("password", password);
            }
            None => {}
        }
        form.finish().into()
    }

    async fn read(
        &self,
        shared: &Shared,
        mut success: Success,
        start: Instant,
    ) -> Result<Token, Error> {
        let no_token = || Error::NoToken {
            action: self.purpose.action.to_owned(),
            server: success.server.clone(),
        };
        let mut body = Vec::new();
        while body.len() as u64 <= LONGEST_ANSWER {
            let chunk = shared.chunk(&success.server, &mut success.response).await;
            match chunk.map_err(|source| Error::Network {
                action: self.purpose.action.to_owned(),
                source,
            })? {
                Some(chunk) => body.extend_from_slice(&chunk),
                None => break,
            }
        }
        let document: Document = serde_json::from_slice(&body).map_err(|_| no_token())?;
        let token = [document.token, document.access_token]
            .into_iter()
            .flatten()
            .find(|token| !token.is_empty())
            .ok_or_else(no_token)?;
        let life = document
            .expires_in
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|life| !life.is_zero())
            .unwrap_or(DEFAULT_LIFE)
            // Longer than any run.
            .min(Duration::from_hours(7 * 24));
        Ok(Token {
            header: secret_header(&format!("Bearer {token}")).ok_or_else(no_token)?,
            until: start + life.saturating_sub(margin(life)),
        })
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let action = self.purpose.action.to_owned();
        let credentials = self.found.origin();
        let Refusal {
            status,
            server,
            said,
            ..
        } = refusal;
        let has_secret = self.found.secret.is_some();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST if has_secret => Error::Login {
                action,
                server: self.registry.to_owned(),
                credentials,
                said,
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
                action,
                registry: self.registry.to_owned(),
                scope: self.purpose.scopes.to_string(),
                credentials,
                status,
                said,
            },
            status => Error::Status {
                action,
                server,
                status,
                said,
            },
        }
    }
}
