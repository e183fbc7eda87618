//! Where a registry is. Hosts that may do without TLS are asked once, to find out whether they do.

use std::sync::atomic::Ordering;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::Error;
use crate::address::{authority, is_loopback, is_named, server};
use crate::answer::Refusal;
use crate::delay::Tries;
use crate::network::{NetworkError, NetworkFault};
use crate::registry::{Registry, lost};
use crate::shared::{Body, Shared};

impl Registry {
    pub(crate) async fn find_base(&self, shared: &Shared, action: &str) -> Result<Url, Error> {
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
}

fn is_absent(fault: &NetworkError) -> bool {
    matches!(
        fault.kind,
        NetworkFault::Refused | NetworkFault::UnknownHost
    )
}
