//! Pushes under random mixes of faults, from a seed each.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use testkit::RegistryFault as Fault;
use testkit::{Registry, RetryAfter, Site, When};

use crate::image::{Image, SMALL};
use crate::{chain, open, start};

const RUNS: u64 = 200;

/// Faults of which some are met; those that hang take the time of a timeout each.
const FAULTS: &[Fault] = &[
    Fault::RelativeLocation,
    Fault::ForeignLocation,
    Fault::LostCommit,
    Fault::CommitUnknown,
    Fault::SessionLost,
    Fault::CommitDigestInvalid,
    Fault::SlowCommit { millis: 15 },
    Fault::ExpiryMidUpload,
    Fault::UploadLimit { parallel: 2 },
    Fault::MountAccepted,
    Fault::MountRefused { status: 401 },
    Fault::MountRefused { status: 403 },
    Fault::MountRefused { status: 404 },
    Fault::ResetUpload { after: 0 },
    Fault::ResetUpload { after: 5000 },
    Fault::ResetUpload { after: 1_000_000 },
    Fault::ResetBeforeAnswer(Site::Any),
    Fault::ResetBeforeAnswer(Site::Commits),
    Fault::ResetBeforeAnswer(Site::Manifests),
    Fault::ResetBeforeAnswer(Site::Tokens),
    Fault::Hang(Site::Starts),
    Fault::SecondaryRateLimit,
    Fault::HtmlErrors,
    Fault::Warning,
    Fault::ManifestStored500,
    Fault::SlowManifest { millis: 10 },
    Fault::NoDigestHeader,
    Fault::HeadWithoutLength,
    Fault::SeveralChallenges,
    Fault::TokenWithoutExpiry,
    Fault::TokenRequests { requests: 2 },
    Fault::PushDenied { status: 403 },
    status(500, RetryAfter::Unsaid, Site::Any),
    status(503, RetryAfter::Seconds(0), Site::Uploads),
    status(502, RetryAfter::Unsaid, Site::Commits),
    status(504, RetryAfter::Unsaid, Site::Manifests),
    status(408, RetryAfter::Unsaid, Site::Uploads),
    status(429, RetryAfter::Body, Site::Any),
    status(503, RetryAfter::Unsaid, Site::Heads),
    status(500, RetryAfter::Unsaid, Site::Tokens),
];

/// What some registries ask for all the time.
const CHUNKS: Fault = Fault::ChunksOnly {
    bytes: 100_000,
    status: 413,
};

const fn status(status: u16, retry: RetryAfter, site: Site) -> Fault {
    Fault::Status {
        status,
        retry,
        site,
    }
}

/// A sequence of numbers from a seed.
struct Numbers(u64);

impl Numbers {
    /// From 0 to below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

/// The faults of a run.
fn mix(seed: u64, all: &[Fault]) -> Vec<(Fault, When)> {
    let mut numbers = Numbers(seed);
    numbers.below(1);
    let mut faults = Vec::new();
    if numbers.below(4) == 0 && all == FAULTS {
        faults.push((CHUNKS, When::Always));
        faults.push((Fault::StuckRange { status: 416 }, When::Chance(0.2)));
    }
    for _ in 0..2 + numbers.below(4) {
        let fault = all[numbers.below(all.len())];
        let when = match numbers.below(4) {
            0 => When::First(1 + numbers.below(3) as u32),
            n => When::Chance(0.08 * n as f64),
        };
        faults.push((fault, when));
    }
    faults
}

/// Faults of pulls.
const PULL_FAULTS: &[Fault] = &[
    Fault::BlobRedirect,
    Fault::SignatureExpired,
    Fault::RedirectCycle,
    Fault::CutBlob { after: 0 },
    Fault::CutBlob { after: 5000 },
    Fault::CutBlob { after: 400_000 },
    Fault::NoRanges,
    Fault::WrongBlob,
    Fault::LongBlob,
    Fault::ShortBlob { length: 2000 },
    Fault::WrongManifest,
    Fault::NoDigestHeader,
    Fault::WrongDigestHeader,
    Fault::NoManifestHead,
    Fault::HeadWithoutLength,
    Fault::HtmlErrors,
    Fault::Warning,
    Fault::SecondaryRateLimit,
    Fault::TokenWithoutExpiry,
    Fault::TokenRequests { requests: 2 },
    Fault::SeveralChallenges,
    Fault::Hang(Site::Pulls),
    Fault::ResetBeforeAnswer(Site::Any),
    Fault::ResetBeforeAnswer(Site::Tokens),
    status(500, RetryAfter::Unsaid, Site::Any),
    status(503, RetryAfter::Seconds(0), Site::Pulls),
    status(429, RetryAfter::Body, Site::Any),
    status(408, RetryAfter::Unsaid, Site::Heads),
    status(502, RetryAfter::Unsaid, Site::Tokens),
];

async fn check(seed: u64, image: &Image) -> Result<bool, String> {
    let registry = start();
    image.seed_base(&registry);
    let faults = mix(seed, FAULTS);
    registry.seed(seed).faults(&faults);
    let repository = open(&registry);
    let push = tokio::time::timeout(Duration::from_secs(40), image.push(&repository, "1"));
    let tell = |what: String| tell(seed, &faults, &what, &registry);
    let outcome = push.await.map_err(|_| tell("it does not end".to_owned()))?;
    image.check(&registry, "1", outcome.is_ok()).map_err(tell)?;
    let Err(error) = outcome else {
        return Ok(true);
    };
    check_error(&error, &registry).map_err(tell)?;
    // Whatever was left behind, a push to the registry in good order completes it.
    registry.clear_faults();
    let again = image.push(&open(&registry), "1").await;
    again.map_err(|error| tell(format!("again, without faults: {}", chain(&error))))?;
    image.check(&registry, "1", true).map_err(tell)?;
    Ok(false)
}

/// Pulls what is right, or fails: wrong bytes make [`Image::pull`] panic.
async fn check_pull(seed: u64, image: &Image) -> Result<bool, String> {
    let registry = start();
    image.seed(&registry, "1");
    let mut faults = mix(seed, PULL_FAULTS);
    if faults.iter().any(|(it, _)| *it == Fault::WrongManifest) {
        // Nobody could tell that what a tag points at is another document.
        faults.retain(|(it, _)| *it != Fault::NoDigestHeader);
    }
    registry.seed(seed).faults(&faults);
    let repository = open(&registry);
    let pull = tokio::time::timeout(Duration::from_secs(40), image.pull(&repository, "1"));
    let tell = |what: String| tell(seed, &faults, &what, &registry);
    let outcome = pull.await.map_err(|_| tell("it does not end".to_owned()))?;
    let violations = registry.violations();
    if !violations.is_empty() {
        return Err(tell(format!("violations: {violations:#?}")));
    }
    if let Err(error) = &outcome {
        check_error(error, &registry).map_err(tell)?;
    }
    Ok(outcome.is_ok())
}

/// An error names a host of the registry, and no secret.
fn check_error(error: &registry::Error, registry: &Registry) -> Result<(), String> {
    let text = chain(error);
    for secret in registry.secrets() {
        if text.contains(&secret) {
            return Err(format!("a secret in: {text}"));
        }
    }
    let hosts = [registry.host(), registry.foreign_host()];
    if !hosts.iter().any(|host| text.contains(host)) {
        return Err(format!("no host is named in: {text}"));
    }
    Ok(())
}

fn tell(seed: u64, faults: &[(Fault, When)], what: &str, registry: &Registry) -> String {
    let requests: Vec<_> = registry
        .requests()
        .iter()
        .map(ToString::to_string)
        .collect();
    let requests = requests.join("\n    ");
    format!("seed {seed}: {what}\n  {faults:?}\n    {requests}")
}

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("OXCART_TEST_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("a number");
            seed..seed + 1
        }
        Err(_) => 0..RUNS,
    }
}

/// How many came to their end, where nothing went wrong.
fn sum_up(outcomes: Vec<Result<bool, String>>) -> usize {
    let completed = outcomes.iter().filter(|it| **it == Ok(true)).count();
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    let count = failures.len();
    let shown = failures[..count.min(3)].join("\n");
    assert!(failures.is_empty(), "{count} runs went wrong\n{shown}");
    completed
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_under_mixed_faults() {
    let image = Image::new(SMALL, 3);
    let runs = stream::iter(seeds()).map(|seed| check(seed, &image));
    let completed = sum_up(runs.buffer_unordered(16).collect().await);
    println!("{completed} pushes completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_under_mixed_faults() {
    let image = Image::new(SMALL, 3);
    let runs = stream::iter(seeds()).map(|seed| check_pull(seed, &image));
    let completed = sum_up(runs.buffer_unordered(16).collect().await);
    println!("{completed} pulls completed");
}
