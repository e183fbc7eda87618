//! What all registries of a client share: HTTP connections, options, and what was already said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, Response};
use url::Url;

use crate::address::{is_loopback, server, shown};
use crate::header::warnings;
use crate::network::NetworkError;
use crate::registry::Registry;
use crate::{Error, Options};

/// How often the read timeout may pass between the end of an upload and its answer.
const COMMIT_PATIENCE: u32 = 10;

pub(crate) struct Shared {
    pub(crate) options: Options,
    certificates: Vec<Certificate>,
    /// For loopback without TLS.
    plain: Mutex<Option<reqwest::Client>>,
    /// For loopback, past any proxy.
    direct: Mutex<Option<reqwest::Client>>,
    remote: Mutex<Option<reqwest::Client>>,
    pub(crate) registries: Mutex<BTreeMap<String, Arc<Registry>>>,
    warned: Mutex<BTreeSet<String>>,
}

/// What goes out with a request.
pub(crate) enum Body {
    None,
    Bytes(Bytes),
    Stream(reqwest::Body, Arc<Progress>),
}

/// How far a streamed body is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes handed to the connection.
    pub(crate) moved: AtomicU64,
    /// The connection waits for bytes, and not the other way round.
    pub(crate) starving: AtomicBool,
    /// All bytes are handed over.
    pub(crate) ended: AtomicBool,
}

/// The guarded value; what a thread that panicked left of it is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        let mut certificates = Vec::new();
        for path in &options.ca {
            let text = fs::read(path).map_err(|source| Error::CaFile {
                path: path.clone(),
                source,
            })?;
            let found = Certificate::from_pem_bundle(&text).unwrap_or_default();
            if found.is_empty() {
                return Err(Error::CaForm { path: path.clone() });
            }
            certificates.extend(found);
        }
        Ok(Self {
            options,
            certificates,
            plain: Mutex::default(),
            direct: Mutex::default(),
            remote: Mutex::default(),
            registries: Mutex::default(),
            warned: Mutex::default(),
        })
    }

    pub(crate) fn detail(&self, text: &str) {
        self.options.observer.detail(text);
    }

    /// Warns, once.
    pub(crate) fn warn(&self, text: &str) {
        let is_new = lock(&self.warned).insert(text.to_owned());
        if is_new {
            self.options.observer.warning(text);
        }
    }

    fn http(&self, url: &Url) -> Result<reqwest::Client, Error> {
        let direct = is_loopback(url);
        let is_plain = direct && url.scheme() == "http";
        let mut slot = lock(match (direct, is_plain) {
            (_, true) => &self.plain,
            (true, _) => &self.direct,
            (false, _) => &self.remote,
        });
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        if is_plain {
            // Reading the system's certificates, of which it needs none, takes 20 ms.
            let builder = self
                .builder(direct)
                .tls_certs_only(self.certificates.clone());
            let client = builder.build().map_err(|source| Error::Http { source })?;
            *slot = Some(client.clone());
            return Ok(client);
        }
        let with_system = self
            .builder(direct)
            .tls_certs_merge(self.certificates.clone());
        let client = with_system.build().or_else(|error| {
            // A machine without any authority's certificate: what needs one will say so.
            let text = "this system has no certificates of authorities (SSL_CERT_FILE may name a \
                        file of them): only those of --ca are trusted";
            if direct {
                self.detail(text);
            } else {
                self.warn(text);
            }
            let without = self
                .builder(direct)
                .tls_certs_only(self.certificates.clone());
            without.build().map_err(|_| error)
        });
        let client = client.map_err(|source| Error::Http { source })?;
        *slot = Some(client.clone());
        Ok(client)
    }

    fn builder(&self, direct: bool) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(&self.options.user_agent)
            .connect_timeout(self.options.timeouts.connect)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // Uploads side by side in one HTTP/2 connection share its window, and are slower.
            .http1_only()
            // What is pulled has the digest that it has as it is stored.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if direct { builder.no_proxy() } else { builder }
    }

    /// Sends one request, once.
    pub(crate) async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: HeaderMap,
        authorization: Option<HeaderValue>,
        body: Body,
    ) -> Result<Result<Response, NetworkError>, Error> {
        let start = Instant::now();
        let mut request = self
            .http(url)?
            .request(method.clone(), url.clone())
            .headers(headers);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let progress = match body {
            Body::None => None,
            Body::Bytes(bytes) => {
                request = request.body(bytes);
                None
            }
            Body::Stream(stream, progress) => {
                request = request.body(stream);
                Some(progress)
            }
        };
        let answer = self.within_time(url, request, progress).await;
        let end = match &answer {
            Ok(response) => response.status().as_u16().to_string(),
            Err(error) => error.to_string(),
        };
        let took = start.elapsed().as_millis();
        self.detail(&format!("{method} {} {end} {took} ms", shown(url)));
        if let Ok(response) = &answer {
            for text in warnings(response.headers()) {
                self.warn(&format!("{} says: {text}", server(url)));
            }
        }
        Ok(answer)
    }

    async fn within_time(
        &self,
        url: &Url,
        request: reqwest::RequestBuilder,
        progress: Option<Arc<Progress>>,
    ) -> Result<Response, NetworkError> {
        let host = server(url);
        let patience = self.options.timeouts.read;
        let mut sending = std::pin::pin!(request.send());
        let (mut moved, mut waits) = (0, 0);
        loop {
            match tokio::time::timeout(patience, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    let connect = self.options.timeouts.connect;
                    return Err(NetworkError::new(&host, connect, error));
                }
                Err(_) => {}
            }
            // An upload may take as long as it takes, while it moves.
            let now = progress
                .as_ref()
                .map_or(0, |it| it.moved.load(Ordering::Relaxed));
            let is = |flag: fn(&Progress) -> &AtomicBool| {
                progress
                    .as_ref()
                    .is_some_and(|it| flag(it).load(Ordering::Relaxed))
            };
            let patient = is(|it| &it.ended) && waits < COMMIT_PATIENCE;
            if now == moved && !is(|it| &it.starving) && !patient {
                return Err(NetworkError::timeout(&host, patience * (waits + 1)));
            }
            moved = now;
            waits = if patient { waits + 1 } else { 0 };
        }
    }

    /// The next part of an answer's body.
    pub(crate) async fn chunk(
        &self,
        host: &str,
        response: &mut Response,
    ) -> Result<Option<Bytes>, NetworkError> {
        let patience: Duration = self.options.timeouts.read;
        match tokio::time::timeout(patience, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(NetworkError::new(host, patience, error)),
            Err(_) => Err(NetworkError::timeout(host, patience)),
        }
    }
}
