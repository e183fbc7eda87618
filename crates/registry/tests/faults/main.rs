//! Pushes and pulls under every fault that the test registry knows, alone and mixed: each either
//! comes out right, or fails with an error that names the cause. A tag is never incomplete, no blob
//! is uploaded twice, and the specification is kept.

mod auth;
mod image;
mod mix;
mod profiles;
mod pull;
mod push;

use std::time::Duration;

use registry::{Client, Credentials, Options, Repository, Retry, Timeouts};
use testkit::Registry;

use image::REPOSITORY;

const USER: &str = "user";
const PASSWORD: &str = "s3cret-password";

/// What is to come of a push or pull.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Completes,
    /// With an error that has this text in it.
    Fails(&'static str),
}

/// A registry with tokens.
fn start() -> Registry {
    Registry::with_token_auth(USER, PASSWORD)
}

/// A client that is as quick as tests want it, for a registry of [`start`].
fn open(registry: &Registry) -> Repository {
    open_as(registry, USER, PASSWORD)
}

/// The same as another user, or anonymously where `user` is empty.
fn open_as(registry: &Registry, user: &str, password: &str) -> Repository {
    let credentials = if user.is_empty() {
        Credentials::none()
    } else {
        Credentials::fixed(&registry.host(), user, password)
    };
    let options = Options {
        credentials,
        retry: Retry {
            tries: 6,
            first_delay: Duration::from_millis(2),
            longest_delay: Duration::from_millis(20),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            read: Duration::from_millis(400),
        },
        ..Options::default()
    };
    let client = Client::new(options).expect("good options");
    let reference = registry.reference(&format!("{REPOSITORY}:1"));
    client.repository(&reference.parse().expect("a reference"))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What is wrong with an outcome, as text.
fn compare(outcome: &Result<(), registry::Error>, expected: Expected) -> Result<(), String> {
    match (outcome, expected) {
        (Ok(()), Expected::Completes) => Ok(()),
        (Err(error), Expected::Fails(text)) if chain(error).contains(text) => Ok(()),
        (Ok(()), Expected::Fails(_)) => Err("it did not fail".to_owned()),
        (Err(error), _) => Err(chain(error)),
    }
}
