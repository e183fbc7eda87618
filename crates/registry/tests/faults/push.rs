//! Pushes: what comes of them under each profile, and what is sent.

use testkit::{RegistryFault as Fault, When};

use crate::Expected::{self, Completes, Fails};
use crate::image::{Image, LARGE};
use crate::{open, start};

/// What comes of a push.
pub(crate) fn expected(profile: &str) -> Expected {
    match profile {
        "digest-invalid-always" => Fails("DIGEST_INVALID"),
        "reset-upload-forever" | "push-denied-401" => Fails("acme/app"),
        "push-denied-403" => Fails("permission_denied: write_package"),
        "uploads-503-always" => Fails("503"),
        "manifest-limit" => Fails("413"),
        "token-500-always" => Fails("500"),
        _ => Completes,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_twice() {
    let image = Image::new(LARGE, 1);
    let registry = start();
    image.seed_base(&registry);
    let repository = open(&registry);
    image.push(&repository, "1").await.unwrap();
    let sizes: u64 = image.layers[1..]
        .iter()
        .chain(&image.configs)
        .map(|it| it.bytes.len() as u64)
        .sum();
    assert_eq!(registry.uploaded_bytes(), sizes);
    image.push(&repository, "2").await.unwrap();
    assert_eq!(registry.uploaded_bytes(), sizes);
    image.check(&registry, "2", true).unwrap();
}

/// A push that is broken off at any time, and begun again by another process.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_push_is_completed_by_the_next() {
    let image = Image::new(LARGE, 2);
    for millis in [1, 5, 10, 20, 40, 80] {
        let registry = start();
        image.seed_base(&registry);
        registry.fault(Fault::SlowCommit { millis: 10 });
        registry.fault_when(Fault::ManifestStored500, When::First(1));
        let repository = open(&registry);
        let limit = std::time::Duration::from_millis(millis);
        let _ = tokio::time::timeout(limit, image.push(&repository, "1")).await;
        registry.complete(crate::image::REPOSITORY).unwrap();
        image.push(&open(&registry), "1").await.unwrap();
        image.check(&registry, "1", true).unwrap();
    }
}
