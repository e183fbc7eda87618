//! One registry: where it is, and requests to it with permission, redirects and further tries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use crate::address::{authority, follow, is_allowed, is_loopback, is_named, server};
use crate::answer::{Answer, Refusal, Success};
use crate::auth::{Auth, Pass, Purpose};
use crate::error::RedirectFault;
use crate::network::{NetworkError, NetworkFault};
use crate::shared::{Body, Shared};
use crate::{Error, Retry};

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
    reached: AtomicBool,
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

/// Counts tries, and waits between them.
pub(crate) struct Tries {
    retry: Retry,
    done: u32,
    /// Failures after which the registry said when to come back.
    told: u32,
}

impl Tries {
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            retry,
            done: 1,
            told: 0,
        }
    }

    /// Waits for the next try; false where there is none left. A registry that says how long to
    /// wait gets twice as many.
    pub(crate) async fn again(&mut self, asked: Option<Duration>) -> bool {
        let left = if asked.is_some() {
            self.told += 1;
            self.told < self.retry.tries.saturating_mul(2)
        } else {
            self.done += 1;
            self.done <= self.retry.tries
        };
        if left {
            tokio::time::sleep(self.retry.delay(self.done + self.told - 1, asked)).await;
        }
        left
    }

    /// Something moved: count anew.
    pub(crate) fn progress(&mut self) {
        (self.done, self.told) = (1, 0);
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

    async fn find_base(&self, shared: &Shared, action: &str) -> Result<Url, Error> {
        let at = |scheme: &str| {
            let text = format!("{scheme}://{}/v2/", authority(&self.host));
            Url::parse(&text).map_err(|_| Error::Location {
                action: action.to_owned(),
                location: text,
            })
        };
        let (plain, tls) = (at("http")?, at("https")?);
        if is_loopback(&plain) {
            return self.first_of(shared, plain, tls, action).await;
        }
        if is_named(&plain, &shared.options.insecure) || is_named(&tls, &shared.options.insecure) {
            return self.first_of(shared, tls, plain, action).await;
        }
        Ok(tls)
    }

    /// The one of the two that a registry answers at.
    async fn first_of(
        &self,
        shared: &Shared,
        first: Url,
        second: Url,
        action: &str,
    ) -> Result<Url, Error> {
        let mut tries = Tries::new(shared.options.retry);
        loop {
            let fault = match self.probe(shared, &first).await? {
                Ok(true) => return Ok(first),
                Ok(false) => None,
                Err(fault) => Some(fault),
            };
            let second_fault = match &fault {
                // It does speak TLS, and is not to be trusted.
                Some(fault) if matches!(fault.kind, NetworkFault::Certificate { .. }) => None,
                // The same port: nobody is there.
                Some(fault) if is_absent(fault) && first.port().is_some() => None,
                _ => match self.probe(shared, &second).await? {
                    Ok(_) => return Ok(second),
                    Err(fault) => Some(fault),
                },
            };
            let certificate = second_fault
                .as_ref()
                .is_some_and(|fault| matches!(fault.kind, NetworkFault::Certificate { .. }));
            let (Some(source), false) = (fault, certificate) else {
                // An answer that is none of a registry's: what is asked next will show it.
                return match second_fault {
                    Some(source) if certificate => Err(lost(action, source)),
                    _ => Ok(first),
                };
            };
            if !source.is_passing(false) || !tries.again(None).await {
                return Err(lost(action, source));
            }
        }
    }

    /// Whether what is at `url` answers as a server that is spoken to in the right protocol.
    async fn probe(&self, shared: &Shared, url: &Url) -> Result<Result<bool, NetworkError>, Error> {
        let sent = shared.send(&Method::GET, url, HeaderMap::new(), None, Body::None);
        let response = match sent.await? {
            Ok(response) => response,
            Err(fault) => return Ok(Err(fault)),
        };
        let is_right = response.status() != StatusCode::BAD_REQUEST;
        if is_right {
            self.reached.store(true, Ordering::Relaxed);
        }
        // The body is read so that the connection can be used again.
        let refusal = Refusal::read(response, server(url), false).await;
        if refusal.status == StatusCode::UNAUTHORIZED {
            self.auth.learn(&refusal.headers);
        }
        Ok(Ok(is_right))
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

fn lost(action: &str, source: NetworkError) -> Error {
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

fn is_absent(fault: &NetworkError) -> bool {
    matches!(
        fault.kind,
        NetworkFault::Refused | NetworkFault::UnknownHost
    )
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
