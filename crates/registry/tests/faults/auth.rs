//! Accounts and tokens: who may do what, and what a refusal says.

use std::time::Duration;

use testkit::{Access, Kind, Registry, RegistryFault as Fault, When};

use crate::image::{BASE, Image, REPOSITORY, SMALL};
use crate::{PASSWORD, USER, chain, open, open_as, start};

#[tokio::test(flavor = "multi_thread")]
async fn basic_credentials_are_enough_where_they_are_asked_for() {
    let image = Image::new(SMALL, 1);
    let registry = Registry::with_basic_auth(USER, PASSWORD);
    image.seed_base(&registry);
    let repository = open(&registry);
    image.push(&repository, "1").await.unwrap();
    image.pull(&repository, "1").await.unwrap();
    image.check(&registry, "1", true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_ask_for_nothing() {
    let image = Image::new(SMALL, 1);
    let registry = Registry::start();
    image.seed_base(&registry);
    image.push(&open(&registry), "1").await.unwrap();
    image.check(&registry, "1", true).unwrap();
    assert!(registry.requests().iter().all(|it| it.scheme.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_pulls_where_that_is_allowed() {
    let image = Image::new(SMALL, 1);
    let registry = start();
    registry.anonymous_pull();
    image.seed(&registry, "1");
    let repository = open_as(&registry, "", "");
    image.pull(&repository, "1").await.unwrap();
    registry.assert_conformant();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_only_read_is_told_so_before_anything_is_sent() {
    let image = Image::new(SMALL, 1);
    let registry = start();
    registry.account("reader", "its-password", Access::Pull);
    image.seed(&registry, "1");
    let repository = open_as(&registry, "reader", "its-password");
    image.pull(&repository, "1").await.unwrap();
    let error = image.push(&repository, "2").await.unwrap_err();
    let text = chain(&error);
    let scope = format!("repository:{REPOSITORY}:pull,push");
    assert!(text.contains(&scope), "{text}");
    assert!(!text.contains("its-password"), "{text}");
    assert_eq!(registry.uploaded_bytes(), 0);
    registry.assert_conformant();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_an_error_at_once() {
    let image = Image::new(SMALL, 1);
    for registry in [start(), Registry::with_basic_auth(USER, PASSWORD)] {
        let repository = open_as(&registry, USER, "wrong-password");
        let error = image.push(&repository, "1").await.unwrap_err();
        let text = chain(&error);
        assert!(text.contains(&registry.host()), "{text}");
        assert!(text.contains("does not accept the credentials"), "{text}");
        assert!(!text.contains("wrong-password"), "{text}");
        assert!(registry.requests().len() <= 5, "{:#?}", registry.requests());
        registry.assert_conformant();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_for_us_is_no_hindrance() {
    let image = Image::new(SMALL, 1);
    let registry = start();
    image.seed_base(&registry);
    registry.private(BASE);
    image.push(&open(&registry), "1").await.unwrap();
    image.check(&registry, "1", true).unwrap();
    assert_eq!(registry.committed(REPOSITORY, &image.layers[0].digest), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed() {
    let image = Image::new(SMALL, 1);
    let registry = start();
    image.seed_base(&registry);
    registry.token_lifetime(Duration::from_millis(20));
    registry.fault(Fault::SlowCommit { millis: 15 });
    registry.fault(Fault::TokenWithoutExpiry);
    image.push(&open(&registry), "1").await.unwrap();
    image.check(&registry, "1", true).unwrap();
    assert!(registry.count(Kind::Token) > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_serves_a_whole_push() {
    let image = Image::new(SMALL, 1);
    let registry = start();
    image.push(&open(&registry), "1").await.unwrap();
    // One for the repository, and one that is good for the source of mounts too.
    assert!(registry.count(Kind::Token) <= 2);
    let refused = registry.requests();
    let refused = refused.iter().filter(|it| it.status == 401).count();
    assert!(refused <= 2, "{:#?}", registry.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_an_error() {
    let image = Image::new(SMALL, 1);
    for (fault, when) in [
        (Fault::PushDenied { status: 403 }, When::Always),
        (Fault::PushDenied { status: 401 }, When::Always),
        (Fault::ForeignLocation, When::Always),
    ] {
        let registry = start();
        registry.fault_when(fault, when);
        registry.fault(Fault::CommitDigestInvalid);
        let error = image.push(&open(&registry), "1").await.unwrap_err();
        let text = format!("{} {error:?} {:?}", chain(&error), error.hint());
        for secret in registry.secrets() {
            assert!(!text.contains(&secret), "{secret} in {text}");
        }
    }
}
