//! One registry: where it is, and requests to it with permission, redirects and further tries.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use crate::Error;
use crate::address::{follow, is_allowed, server};
use crate::answer::{Answer, Refusal, Success};
use crate::auth::{Auth, Pass, Purpose};
use crate::delay::Tries;
use crate::error::RedirectFault;
use crate::network::NetworkError;
use crate::shared::{Body, Shared};

/// Redirects in a row that are followed.
const MOST_REDIRECTS: usize = 10;

/// Requests for one purpose that may be answered 401: to learn the challenge, with a token that was
/// withdrawn, and with new ones that others may wear out.
const MOST_CHALLENGES: u32 = 6;

/// The same where the registry says that the token is good, but not for this.
const MOST_SCOPE_CHALLENGES: u32 = 3;

/// How often HEAD is sent again where it is answered 403 without a word.
const MOST_VAGUE: u32 = 2;

pub(crate) struct Registry {
    pub(crate) host: String,
    pub(crate) auth: Auth,
    base: tokio::sync::OnceCell<Url>,
    /// Held by the first request, until it is known what the registry asks for.
    gate: tokio::sync::Mutex<()>,
    /// Has answered before.
    pub(crate) reached: AtomicBool,
    /// Wants uploads in pieces.
    pub(crate) wants_pieces: AtomicBool,
}

/// A request without a body, or with one that is in memory.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) purpose: Purpose<'a>,
    pub(crate) redirects: Redirects,
}

/// Which redirects to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// To all hosts, but with credentials to the registry only.
    All,
    /// Inside the registry.
    Own,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, url: Url, purpose: Purpose<'a>) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            purpose,
            redirects: Redirects::Own,
        }
    }
}

impl Registry {
    pub(crate) fn new(host: &str) -> Self {
        Self {
            auth: Auth::new(host),
            host: host.to_owned(),
            base: tokio::sync::OnceCell::new(),
            gate: tokio::sync::Mutex::default(),
            reached: AtomicBool::new(false),
            wants_pieces: AtomicBool::new(false),
        }
    }

    /// `https://ghcr.io/v2/`. For hosts that may do without TLS one request finds out whether they
    /// do.
    pub(crate) async fn base(&self, shared: &Shared, action: &str) -> Result<&Url, Error> {
        let base = self.base.get_or_try_init(|| self.find_base(shared, action));
        base.await
    }

    /// Whether `url` is the registry's own: credentials go nowhere else.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        self.base
            .get()
            .is_some_and(|base| base.origin() == url.origin())
    }

    /// Whether a failure on the way is worth another try.
    pub(crate) fn is_passing(&self, fault: &NetworkError) -> bool {
        fault.is_passing(self.reached.load(Ordering::Relaxed))
    }

    /// Sends a request until it is answered for good.
    pub(crate) async fn ask(&self, shared: &Shared, ask: &Ask<'_>) -> Result<Answer, Error> {
        let mut tries = Tries::new(shared.options.retry);
        let mut vague = 0;
        loop {
            match self.ask_once(shared, ask).await? {
                // GHCR's limits are told in a body, and HEAD's answers have none.
                Ok(Answer::Refusal(refusal))
                    if ask.method == Method::HEAD
                        && refusal.status == StatusCode::FORBIDDEN
                        && vague < MOST_VAGUE =>
                {
                    vague += 1;
                    tokio::time::sleep(shared.options.retry.delay(vague, None)).await;
                }
                Ok(Answer::Refusal(refusal)) if refusal.is_passing() => {
                    if !tries.again(refusal.delay()).await {
                        return Ok(Answer::Refusal(refusal));
                    }
                }
                Ok(answer) => return Ok(answer),
                Err(source) => {
                    if !self.is_passing(&source) || !tries.again(None).await {
                        return Err(lost(ask.purpose.action, source));
                    }
                }
            }
        }
    }

    /// Sends a request once, but proves who we are and follows redirects.
    pub(crate) async fn ask_once(
        &self,
        shared: &Shared,
        ask: &Ask<'_>,
    ) -> Result<Result<Answer, NetworkError>, Error> {
        let mut url = ask.url.clone();
        let mut path = vec![url.clone()];
        let mut foreign = !self.is_own(&url);
        let mut challenges = 0;
        loop {
            let gate = if foreign || self.auth.is_learned() {
                None
            } else {
                let gate = self.gate.lock().await;
                Some(gate).filter(|_| !self.auth.is_learned())
            };
            let pass = self.pass(shared, foreign, ask.purpose).await?;
            let body = ask.body.clone().map_or(Body::None, Body::Bytes);
            let header = pass.as_ref().map(|pass| pass.header.clone());
            let sent = shared.send(&ask.method, &url, ask.headers.clone(), header, body);
            let response = match sent.await? {
                Ok(response) => response,
                Err(fault) => return Ok(Err(fault)),
            };
            if let Some(next) = Self::redirect(shared, ask, &response, &url)? {
                let is_own = self.is_own(&next);
                if is_own && !foreign || ask.redirects == Redirects::All {
                    check_path(ask.purpose.action, &mut path, &next)?;
                    (url, foreign) = (next, foreign || !is_own);
                    continue;
                }
            }
            let answer = self.answer(response, &url, foreign).await;
            if !foreign {
                if let Answer::Refusal(refusal) = &answer
                    && refusal.status == StatusCode::UNAUTHORIZED
                {
                    challenges += 1;
                    if challenges < most_challenges(refusal)
                        && self
                            .challenged(shared, refusal, pass.as_ref(), ask.purpose)
                            .await?
                    {
                        continue;
                    }
                } else {
                    self.auth.learn_open();
                }
            }
            drop(gate);
            return Ok(Ok(answer));
        }
    }

    /// Sends a request whose body cannot be sent again: no redirect is followed and no challenge
    /// answered.
    pub(crate) async fn send(
        &self,
        shared: &Shared,
        ask: &Ask<'_>,
        body: Body,
    ) -> Result<(Result<Answer, NetworkError>, Option<Pass>), Error> {
        let foreign = !self.is_own(&ask.url);
        let pass = self.pass(shared, foreign, ask.purpose).await?;
        let header = pass.as_ref().map(|pass| pass.header.clone());
        let sent = shared.send(&ask.method, &ask.url, ask.headers.clone(), header, body);
        let answer = match sent.await? {
            Ok(response) => Ok(self.answer(response, &ask.url, foreign).await),
            Err(fault) => Err(fault),
        };
        Ok((answer, pass))
    }

    async fn pass(
        &self,
        shared: &Shared,
        foreign: bool,
        purpose: Purpose<'_>,
    ) -> Result<Option<Pass>, Error> {
        if foreign {
            return Ok(None);
        }
        self.auth.pass(shared, purpose).await
    }

    /// Learns from a 401; whether to ask again.
    pub(crate) async fn challenged(
        &self,
        shared: &Shared,
        refusal: &Refusal,
        pass: Option<&Pass>,
        purpose: Purpose<'_>,
    ) -> Result<bool, Error> {
        self.auth
            .challenged(shared, &refusal.headers, pass, purpose)
            .await
    }

    async fn answer(&self, response: Response, url: &Url, foreign: bool) -> Answer {
        if !foreign {
            self.reached.store(true, Ordering::Relaxed);
        }
        let server = server(url);
        if response.status().is_success() {
            return Answer::Success(Success { response, server });
        }
        Answer::Refusal(Refusal::read(response, server, foreign).await)
    }

    /// Where a response sends this request, if anywhere.
    fn redirect(
        shared: &Shared,
        ask: &Ask<'_>,
        response: &Response,
        url: &Url,
    ) -> Result<Option<Url>, Error> {
        let reads = matches!(ask.method, Method::GET | Method::HEAD);
        let follows = match response.status().as_u16() {
            301..=303 => reads,
            307 | 308 => true,
            _ => false,
        };
        let location = response.headers().get(LOCATION);
        let (true, Some(location)) = (follows, location) else {
            return Ok(None);
        };
        let location = location.to_str().unwrap_or_default();
        let next = follow(url, location).ok_or_else(|| Error::Location {
            action: ask.purpose.action.to_owned(),
            location: location.to_owned(),
        })?;
        if !is_allowed(&next, &shared.options.insecure) {
            return Err(Error::Redirect {
                action: ask.purpose.action.to_owned(),
                fault: RedirectFault::Insecure {
                    host: server(&next),
                },
            });
        }
        Ok(Some(next))
    }

    /// The error that a refusal is.
    pub(crate) async fn refused(&self, refusal: Refusal, purpose: Purpose<'_>) -> Error {
        let action = purpose.action.to_owned();
        let Refusal {
            status,
            server,
            said,
            foreign,
            ..
        } = refusal;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !foreign => {
                let credentials = self.auth.origin(purpose.repository).await;
                let registry = self.host.clone();
                let is_login = status == StatusCode::UNAUTHORIZED
                    && self.auth.is_basic(purpose.repository).await;
                if is_login {
                    return Error::Login {
                        action,
                        server: registry,
                        credentials,
                        said,
                    };
                }
                Error::Denied {
                    action,
                    registry,
                    scope: purpose.scopes.to_string(),
                    credentials,
                    status,
                    said,
                }
            }
            StatusCode::NOT_FOUND => Error::NotFound { action, said },
            status => Error::Status {
                action,
                server,
                status,
                said,
            },
        }
    }
}

pub(crate) fn lost(action: &str, source: NetworkError) -> Error {
    Error::Network {
        action: action.to_owned(),
        source,
    }
}

fn most_challenges(refusal: &Refusal) -> u32 {
    let headers = refusal.headers.get_all(WWW_AUTHENTICATE).iter();
    let mut texts = headers.filter_map(|value| value.to_str().ok());
    if texts.any(|text| text.contains("insufficient_scope")) {
        MOST_SCOPE_CHALLENGES
    } else {
        MOST_CHALLENGES
    }
}

fn check_path(action: &str, path: &mut Vec<Url>, next: &Url) -> Result<(), Error> {
    let is_cycle = path.contains(next);
    path.push(next.clone());
    if !is_cycle && path.len() <= MOST_REDIRECTS + 1 {
        return Ok(());
    }
    let hosts = path.iter().map(server).collect();
    Err(Error::Redirect {
        action: action.to_owned(),
        fault: if is_cycle {
            RedirectFault::Cycle { hosts }
        } else {
            RedirectFault::TooMany { hosts }
        },
    })
}
