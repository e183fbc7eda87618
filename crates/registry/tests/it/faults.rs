//! All fault profiles: a push ends with every blob right, or with an error; no tag is incomplete and
//! no blob committed twice by one client that could know better.

use oci::Digest;
use testkit::{Registry, RegistryFault, RetryAfter, Site, When, profiles};

use crate::common::{PASSWORD, USER, bytes, finish, known, open, push_image, shown};

/// Profiles that no client overcomes.
const FINAL: &[&str] = &[
    "reset-upload-forever",
    "digest-invalid-always",
    "push-denied-401",
    "push-denied-403",
    "uploads-503-always",
    "manifest-limit",
    "token-500-always",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_profile() {
    let blobs: Vec<_> = [10, 1_500_000, 300_000, 0, 5_000_000, 70_000]
        .iter()
        .zip(0..)
        .map(|(&length, seed)| bytes(seed, length))
        .collect();
    let mut failures = Vec::new();
    for profile in profiles() {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        registry.faults(&profile.faults);
        let (client, told) = known(&registry);
        let repository = open(&client, &registry, "acme/app");
        let pushed = push_image(&repository, &blobs, "1").await;
        if let Err(error) = &pushed {
            let is_final = FINAL.contains(&profile.name);
            if !is_final {
                failures.push(format!("{}: {}", profile.name, shown(error, &registry)));
            }
        }
        assert_eq!(registry.complete("acme/app"), Ok(()), "{}", profile.name);
        if pushed.is_ok() {
            assert_eq!(registry.tags("acme/app").len(), 1, "{}", profile.name);
            for blob in &blobs {
                let digest = Digest::of(blob);
                assert_eq!(
                    registry.committed("acme/app", &digest),
                    1,
                    "{}",
                    profile.name
                );
            }
        }
        finish(&registry, &told, pushed.as_ref().err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_at_once_by_chance() {
    let status = |status, site| RegistryFault::Status {
        status,
        retry: RetryAfter::Body,
        site,
    };
    let faults = [
        RegistryFault::RelativeLocation,
        RegistryFault::MountAccepted,
        RegistryFault::LostCommit,
        RegistryFault::CommitUnknown,
        RegistryFault::SessionLost,
        RegistryFault::CommitDigestInvalid,
        RegistryFault::ExpiryMidUpload,
        RegistryFault::ResetUpload { after: 9_000 },
        RegistryFault::ManifestStored500,
        RegistryFault::ResetBeforeAnswer(Site::Any),
        RegistryFault::SecondaryRateLimit,
        status(429, Site::Any),
        status(503, Site::Any),
        status(500, Site::Tokens),
    ];
    let blobs: Vec<_> = (0..6).map(|n| bytes(n, 20_000)).collect();
    let mut pushed = 0;
    for seed in 0..100 {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        registry.seed(seed);
        for fault in faults {
            registry.fault_when(fault, When::Chance(0.04));
        }
        let (client, told) = known(&registry);
        let repository = open(&client, &registry, "acme/app");
        let outcome = push_image(&repository, &blobs, "1").await;
        assert_eq!(registry.complete("acme/app"), Ok(()), "{seed}");
        if outcome.is_ok() {
            pushed += 1;
            assert_eq!(registry.tags("acme/app").len(), 1, "{seed}");
        }
        finish(&registry, &told, outcome.as_ref().err());
    }
    assert!(pushed > 80, "{pushed} of 100");
}
