//! Who we are to a registry: what its challenges ask for, and the tokens it gave.
//!
//! A challenge is learned from the first 401 and remembered; a token is asked for once for each set
//! of scopes, whoever many wait for it, and again before it expires or once it is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::Error;
use crate::challenge::{Challenge, challenges};
use crate::scope::Scopes;
use crate::secret::Found;
use crate::shared::{Shared, lock};
use crate::token::{Realm, Token, TokenServer};

/// Who we are to one registry.
pub(crate) struct Auth {
    host: String,
    scheme: Mutex<Option<Scheme>>,
    grants: Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<Grant>>>>,
    credentials: tokio::sync::Mutex<BTreeMap<String, Arc<Found>>>,
    tokens: TokenServer,
}

/// On whose behalf, and what for.
type Key = (String, Scopes);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    /// It asked for nothing so far.
    Open,
    Basic,
    Bearer(Realm),
}

#[derive(Default)]
struct Grant {
    token: Option<Token>,
    /// Scopes that a challenge named besides ours.
    extra: Scopes,
}

/// What a request is for, as far as permission goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose<'a> {
    /// Its name decides which credentials count.
    pub(crate) repository: &'a str,
    pub(crate) scopes: &'a Scopes,
    /// For errors: `push blob sha256:… to ghcr.io/acme/app`.
    pub(crate) action: &'a str,
}

impl Purpose<'_> {
    fn key(&self) -> Key {
        (self.repository.to_owned(), self.scopes.clone())
    }
}

/// What goes into a request's `Authorization`.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) header: HeaderValue,
    token: Option<Token>,
}

impl Auth {
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            scheme: Mutex::default(),
            grants: Mutex::default(),
            credentials: tokio::sync::Mutex::default(),
            tokens: TokenServer::default(),
        }
    }

    /// Whether the registry has said what it asks for.
    pub(crate) fn is_learned(&self) -> bool {
        lock(&self.scheme).is_some()
    }

    /// It answered without asking for anything.
    pub(crate) fn learn_open(&self) {
        lock(&self.scheme).get_or_insert(Scheme::Open);
    }

    /// What there is to say for a request; None where nothing is asked, or nothing known.
    pub(crate) async fn pass(
        &self,
        shared: &Shared,
        purpose: Purpose<'_>,
    ) -> Result<Option<Pass>, Error> {
        let scheme = lock(&self.scheme).clone();
        match scheme {
            None | Some(Scheme::Open) => Ok(None),
            Some(Scheme::Basic) => {
                let found = self.credentials(shared, purpose.repository).await?;
                Ok(found.secret().map(|secret| {
                    let (user, password) = secret.basic();
                    Pass {
                        header: basic(user, password),
                        token: None,
                    }
                }))
            }
            Some(Scheme::Bearer(realm)) => {
                let token = self.token(shared, &realm, purpose).await?;
                Ok(Some(Pass {
                    header: token.header(),
                    token: Some(token),
                }))
            }
        }
    }

    async fn token(
        &self,
        shared: &Shared,
        realm: &Realm,
        purpose: Purpose<'_>,
    ) -> Result<Token, Error> {
        if let Some(token) = self.wider(purpose) {
            return Ok(token);
        }
        let grant = lock(&self.grants).entry(purpose.key()).or_default().clone();
        // Whoever comes while the token is on its way waits for it here.
        let mut grant = grant.lock().await;
        let now = Instant::now();
        if let Some(token) = grant.token.as_ref().filter(|token| token.is_fresh(now)) {
            return Ok(token.clone());
        }
        let found = self.credentials(shared, purpose.repository).await?;
        let scopes = purpose.scopes.clone().union(&grant.extra);
        let asked = Purpose {
            scopes: &scopes,
            ..purpose
        };
        let token = self
            .tokens
            .fetch(shared, &self.host, realm, asked, &found)
            .await?;
        grant.token = Some(token.clone());
        Ok(token)
    }

    /// A token for more than is needed, as one who pushes has it.
    fn wider(&self, purpose: Purpose<'_>) -> Option<Token> {
        let now = Instant::now();
        let grants = lock(&self.grants);
        let mut grants = grants.iter().filter(|((repository, scopes), _)| {
            repository == purpose.repository
                && scopes != purpose.scopes
                && scopes.cover(purpose.scopes)
        });
        grants.find_map(|(_, grant)| {
            let grant = grant.try_lock().ok()?;
            grant.token.clone().filter(|token| token.is_fresh(now))
        })
    }

    /// Learns what a 401 asks for. The scopes are those of a Bearer challenge.
    pub(crate) fn learn(&self, headers: &HeaderMap) -> Scopes {
        let headers = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> = headers
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        let bearer = challenges
            .iter()
            .filter(|challenge| challenge.scheme == "bearer")
            .find_map(|challenge| Some((challenge, Realm::of(challenge)?)));
        let mut scheme = lock(&self.scheme);
        if let Some((challenge, realm)) = bearer {
            *scheme = Some(Scheme::Bearer(realm));
            return Scopes::parse(challenge.parameter("scope").unwrap_or_default());
        }
        if challenges.iter().any(|it| it.scheme == "basic") {
            *scheme = Some(Scheme::Basic);
        }
        scheme.get_or_insert(Scheme::Open);
        Scopes::default()
    }

    /// Learns from a 401 to a request that was sent with `pass`. Whether another one may fare
    /// better.
    pub(crate) async fn challenged(
        &self,
        shared: &Shared,
        headers: &HeaderMap,
        pass: Option<&Pass>,
        purpose: Purpose<'_>,
    ) -> Result<bool, Error> {
        let extra = self.learn(headers);
        let scheme = lock(&self.scheme).clone();
        match scheme {
            Some(Scheme::Bearer(_)) => {
                self.refused(pass, purpose, &extra).await;
                Ok(true)
            }
            Some(Scheme::Basic) => {
                let found = self.credentials(shared, purpose.repository).await?;
                Ok(pass.is_none() && found.secret.is_some())
            }
            Some(Scheme::Open) | None => Ok(false),
        }
    }

    /// Forgets the token that was refused, unless somebody has a new one already.
    async fn refused(&self, pass: Option<&Pass>, purpose: Purpose<'_>, extra: &Scopes) {
        let grants: Vec<_> = {
            let mut grants = lock(&self.grants);
            grants.entry(purpose.key()).or_default();
            let of_repository = grants
                .iter()
                .filter(|((repository, _), _)| repository == purpose.repository);
            of_repository
                .map(|((_, scopes), grant)| (scopes == purpose.scopes, grant.clone()))
                .collect()
        };
        for (is_own, grant) in grants {
            let mut grant = grant.lock().await;
            if is_own {
                grant.extra = std::mem::take(&mut grant.extra).union(extra);
            }
            if grant.token.is_some() && grant.token == pass.and_then(|pass| pass.token.clone()) {
                grant.token = None;
            }
        }
    }

    /// The credentials for a repository, read once.
    async fn credentials(&self, shared: &Shared, repository: &str) -> Result<Arc<Found>, Error> {
        let mut known = self.credentials.lock().await;
        if let Some(found) = known.get(repository) {
            return Ok(found.clone());
        }
        let credentials = shared.options.credentials.clone();
        let (host, name) = (self.host.clone(), repository.to_owned());
        // Files are read and helpers run: neither may hold up the network.
        let found = tokio::task::spawn_blocking(move || credentials.find(&host, &name))
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        for fault in &found.faults {
            shared.warn(fault);
        }
        shared.detail(&format!("{}/{repository}: {}", self.host, found.origin()));
        let found = Arc::new(found);
        known.insert(repository.to_owned(), found.clone());
        Ok(found)
    }

    /// Where the credentials for a repository are from, for errors.
    pub(crate) async fn origin(&self, repository: &str) -> String {
        let known = self.credentials.lock().await;
        known
            .get(repository)
            .map_or_else(|| "no credentials".to_owned(), |found| found.origin())
    }

    /// Whether requests for a repository carry a user's password.
    pub(crate) async fn is_basic(&self, repository: &str) -> bool {
        let is_basic = *lock(&self.scheme) == Some(Scheme::Basic);
        let known = self.credentials.lock().await;
        let found = known.get(repository);
        is_basic && found.is_some_and(|found| found.secret.is_some())
    }
}

/// A header of the Basic scheme.
pub(crate) fn basic(user: &str, password: &str) -> HeaderValue {
    secret_header(&format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    ))
    .unwrap_or_else(|| HeaderValue::from_static("Basic Og=="))
}

/// A header value that is kept out of logs.
pub(crate) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How long before its end a token of this lifetime is no longer used.
pub(crate) fn margin(lifetime: Duration) -> Duration {
    (lifetime / 4).min(Duration::from_secs(30))
}
