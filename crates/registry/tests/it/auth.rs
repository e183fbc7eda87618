//! Tokens and passwords.

use std::time::Duration;

use registry::Credentials;
use testkit::{Access, Kind, Registry, RegistryFault, When};

use crate::common::{
    MANIFEST, PASSWORD, USER, bytes, client, finish, known, manifest, open, push, push_image, shown,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_token_for_all_who_wait() {
    let registry = Registry::with_token_auth(USER, PASSWORD);
    let (client, told) = known(&registry);
    let repository = open(&client, &registry, "acme/app");
    let blobs: Vec<_> = (0..8).map(|n| bytes(n, 1000)).collect();
    push_image(&repository, &blobs, "1").await.unwrap();
    assert_eq!(registry.count(Kind::Token), 1);
    assert!(told.all().contains("user `user` from the options"));
    finish(&registry, &told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_to_tokens() {
    let blobs: Vec<_> = (0..3).map(|n| bytes(n, 1000)).collect();
    for (fault, identity) in [
        (RegistryFault::TokenPostOnly, false),
        (RegistryFault::TokenPostOnly, true),
        (RegistryFault::TokenWithoutExpiry, true),
        (RegistryFault::TokenWithoutExpiry, false),
        (RegistryFault::SeveralChallenges, false),
        (RegistryFault::TokenRequests { requests: 9 }, false),
        (RegistryFault::TokenGetOnly { status: 405 }, false),
    ] {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        let token = registry.identity_token(USER);
        registry.fault(fault);
        let (client, told) = if identity {
            client(Credentials::fixed(&registry.host(), "<token>", &token))
        } else {
            known(&registry)
        };
        let repository = open(&client, &registry, "acme/app");
        push_image(&repository, &blobs, "1")
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {}", shown(&error, &registry)));
        assert_eq!(registry.complete("acme/app"), Ok(()));
        finish(&registry, &told, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end() {
    let registry = Registry::with_token_auth(USER, PASSWORD);
    registry.token_lifetime(Duration::from_secs(2));
    let (client, told) = known(&registry);
    let repository = open(&client, &registry, "acme/app");
    for n in 0..4 {
        push(&repository, &bytes(n, 1000)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(800)).await;
    }
    // Renewed before their end: no request was refused but the first.
    let refused = registry.requests();
    let refused = refused.iter().filter(|it| it.status == 401).count();
    assert_eq!(refused, 1);
    registry.revoke_tokens();
    push(&repository, &bytes(9, 1000)).await.unwrap();
    finish(&registry, &told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_within_an_upload() {
    let registry = Registry::with_token_auth(USER, PASSWORD);
    registry.fault_when(RegistryFault::ExpiryMidUpload, When::First(2));
    let (client, told) = known(&registry);
    let repository = open(&client, &registry, "acme/app");
    push(&repository, &bytes(1, 1_000_000)).await.unwrap();
    finish(&registry, &told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous() {
    let registry = Registry::with_token_auth(USER, PASSWORD);
    registry.anonymous_pull();
    let blob = bytes(1, 100);
    registry.put_blob("acme/app", blob.clone());
    registry.put_manifest("acme/app", "1", MANIFEST, manifest(&[blob], ""));
    let (client, told) = client(Credentials::none());
    let repository = open(&client, &registry, "acme/app");
    repository.manifest("1").await.unwrap();
    let error = repository.check_push().await.unwrap_err();
    assert!(error.is_denied());
    insta::assert_snapshot!(shown(&error, &registry));
    finish(&registry, &told, Some(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals() {
    let check = async |registry: Registry, password: &str| {
        let (client, told) = client(Credentials::fixed(&registry.host(), USER, password));
        let repository = open(&client, &registry, "acme/app");
        let error = repository.check_push().await.unwrap_err();
        let blob_error = push(&repository, &bytes(1, 10)).await.unwrap_err();
        assert!(blob_error.is_denied() && error.is_denied());
        finish(&registry, &told, Some(&error));
        shown(&error, &registry)
    };
    let wrong = "another-s3cret";
    insta::assert_snapshot!(check(Registry::with_token_auth(USER, PASSWORD), wrong).await);
    insta::assert_snapshot!(check(Registry::with_basic_auth(USER, PASSWORD), wrong).await);
    for status in [401, 403] {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        registry.fault(RegistryFault::PushDenied { status });
        insta::assert_snapshot!(check(registry, PASSWORD).await);
    }
    let registry = Registry::with_token_auth(USER, PASSWORD);
    registry.account(USER, PASSWORD, Access::Pull);
    insta::assert_snapshot!(check(registry, PASSWORD).await);
}
