//! Named faults and combinations of them, for tests that go through all.

use super::fault::RegistryFault as Fault;
use super::fault::RetryAfter::{Body, Date, Seconds, Unsaid};
use super::fault::When::{self, Always, First};
use super::fault::{RegistryFault, Site};

/// A named combination of faults.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Words with hyphens.
    pub name: &'static str,
    /// The faults and when they are met.
    pub faults: Vec<(RegistryFault, When)>,
}

const MIB: u64 = 1 << 20;

/// All profiles. Those that end by themselves can be overcome; those that do not end may have to be
/// told as an error.
pub fn profiles() -> Vec<Profile> {
    let mut all = vec![Profile {
        name: "ghcr",
        faults: ghcr(),
    }];
    for (name, faults) in [uploads(), answers(), manifests(), blobs(), tokens()]
        .into_iter()
        .flatten()
    {
        all.push(Profile { name, faults });
    }
    all
}

/// What GHCR shows, all together.
fn ghcr() -> Vec<(Fault, When)> {
    let limited = Fault::Status {
        status: 429,
        retry: Body,
        site: Site::Any,
    };
    vec![
        (Fault::RelativeLocation, Always),
        (
            Fault::PatchLimit {
                bytes: 4 * MIB,
                status: 416,
            },
            Always,
        ),
        (Fault::NoReferrers { status: 404 }, Always),
        (limited, First(4)),
        (Fault::SecondaryRateLimit, First(1)),
        (Fault::SlowCommit { millis: 30 }, Always),
        (Fault::BlobRedirect, Always),
        (Fault::MountAccepted, Always),
    ]
}

type Named = (&'static str, Vec<(Fault, When)>);

fn one(name: &'static str, fault: Fault, when: When) -> Named {
    (name, vec![(fault, when)])
}

fn status(name: &'static str, status: u16, site: Site, when: When) -> Named {
    let retry = Unsaid;
    one(
        name,
        Fault::Status {
            status,
            retry,
            site,
        },
        when,
    )
}

fn uploads() -> Vec<Named> {
    let chunks = |status| (Fault::ChunksOnly { bytes: MIB, status }, Always);
    vec![
        one("relative-location", Fault::RelativeLocation, Always),
        one("foreign-location", Fault::ForeignLocation, Always),
        ("chunks-only", vec![chunks(413)]),
        (
            "chunks-only-limited",
            vec![
                chunks(405),
                (
                    Fault::PatchLimit {
                        bytes: 4 * MIB,
                        status: 413,
                    },
                    Always,
                ),
            ],
        ),
        (
            "stuck-range",
            vec![chunks(413), (Fault::StuckRange { status: 416 }, First(3))],
        ),
        (
            "stuck-range-accepted",
            vec![chunks(413), (Fault::StuckRange { status: 202 }, First(3))],
        ),
        (
            "chunks-foreign-location",
            vec![chunks(413), (Fault::ForeignLocation, Always)],
        ),
        (
            "chunks-reset",
            vec![
                chunks(413),
                (Fault::ResetUpload { after: 300_000 }, First(2)),
            ],
        ),
        one(
            "reset-upload",
            Fault::ResetUpload { after: 100_000 },
            First(2),
        ),
        one(
            "reset-upload-at-once",
            Fault::ResetUpload { after: 0 },
            First(2),
        ),
        one(
            "reset-upload-forever",
            Fault::ResetUpload { after: 5 },
            Always,
        ),
        one("lost-commit", Fault::LostCommit, First(3)),
        one("lost-commit-always", Fault::LostCommit, Always),
        one("commit-unknown", Fault::CommitUnknown, First(3)),
        one("commit-unknown-always", Fault::CommitUnknown, Always),
        one("session-lost", Fault::SessionLost, First(2)),
        one("digest-invalid-once", Fault::CommitDigestInvalid, First(1)),
        one("digest-invalid-always", Fault::CommitDigestInvalid, Always),
        one("slow-commit", Fault::SlowCommit { millis: 80 }, Always),
        one("expiry-mid-upload", Fault::ExpiryMidUpload, First(2)),
        (
            "upload-limit",
            vec![
                (Fault::UploadLimit { parallel: 2 }, Always),
                (Fault::SlowCommit { millis: 10 }, Always),
            ],
        ),
        one("mount-accepted", Fault::MountAccepted, Always),
        one("mount-401", Fault::MountRefused { status: 401 }, Always),
        one("mount-403", Fault::MountRefused { status: 403 }, Always),
        one("mount-404", Fault::MountRefused { status: 404 }, Always),
        one("push-denied-401", Fault::PushDenied { status: 401 }, Always),
        one("push-denied-403", Fault::PushDenied { status: 403 }, Always),
        status("start-500", 500, Site::Starts, First(2)),
        status("commit-502", 502, Site::Commits, First(2)),
        status("uploads-503-always", 503, Site::Uploads, Always),
        one("hang-start", Fault::Hang(Site::Starts), First(1)),
        one("hang-commit", Fault::Hang(Site::Commits), First(1)),
        one(
            "reset-commit",
            Fault::ResetBeforeAnswer(Site::Commits),
            First(2),
        ),
    ]
}

fn answers() -> Vec<Named> {
    let after = |retry| Fault::Status {
        status: 503,
        retry,
        site: Site::Any,
    };
    vec![
        status("burst-500", 500, Site::Any, First(3)),
        status("burst-504", 504, Site::Any, First(3)),
        status("timeout-408", 408, Site::Any, First(2)),
        status("limit-429", 429, Site::Any, First(3)),
        one("retry-after-seconds", after(Seconds(1)), First(1)),
        one("retry-after-date", after(Date(1)), First(1)),
        one(
            "limit-in-body",
            Fault::Status {
                status: 429,
                retry: Body,
                site: Site::Any,
            },
            First(3),
        ),
        one("secondary-rate-limit", Fault::SecondaryRateLimit, First(2)),
        one(
            "reset-before-answer",
            Fault::ResetBeforeAnswer(Site::Any),
            First(3),
        ),
        (
            "html-errors",
            vec![
                (Fault::HtmlErrors, Always),
                (
                    Fault::Status {
                        status: 502,
                        retry: Unsaid,
                        site: Site::Any,
                    },
                    First(2),
                ),
            ],
        ),
        one("warning", Fault::Warning, Always),
    ]
}

fn manifests() -> Vec<Named> {
    vec![
        one(
            "manifest-limit",
            Fault::ManifestLimit { bytes: 100 },
            Always,
        ),
        one("manifest-stored-500", Fault::ManifestStored500, First(2)),
        one(
            "manifest-reset",
            Fault::ResetBeforeAnswer(Site::Manifests),
            First(2),
        ),
        status("manifest-504", 504, Site::Manifests, First(2)),
        one("slow-manifest", Fault::SlowManifest { millis: 50 }, Always),
        one(
            "no-referrers-404",
            Fault::NoReferrers { status: 404 },
            Always,
        ),
        one(
            "no-referrers-200",
            Fault::NoReferrers { status: 200 },
            Always,
        ),
        one("wrong-manifest", Fault::WrongManifest, Always),
    ]
}

fn blobs() -> Vec<Named> {
    vec![
        one("wrong-blob", Fault::WrongBlob, Always),
        one("long-blob", Fault::LongBlob, Always),
        one("cut-blob", Fault::CutBlob { after: 200_000 }, First(3)),
        one("short-blob", Fault::ShortBlob { length: 5 }, Always),
        one("blob-size-lie", Fault::BlobSizeLie, Always),
        (
            "cut-blob-no-ranges",
            vec![
                (Fault::CutBlob { after: 200_000 }, First(2)),
                (Fault::NoRanges, Always),
            ],
        ),
        one("blob-redirect", Fault::BlobRedirect, Always),
        (
            "redirect-expired",
            vec![
                (Fault::BlobRedirect, Always),
                (Fault::SignatureExpired, First(1)),
            ],
        ),
        (
            "redirect-cut",
            vec![
                (Fault::BlobRedirect, Always),
                (Fault::CutBlob { after: 200_000 }, First(2)),
            ],
        ),
        one("redirect-cycle", Fault::RedirectCycle, Always),
        one("no-digest-header", Fault::NoDigestHeader, Always),
        one("wrong-digest-header", Fault::WrongDigestHeader, Always),
        one("no-manifest-head", Fault::NoManifestHead, Always),
        one("head-without-length", Fault::HeadWithoutLength, Always),
        one("hang-pull", Fault::Hang(Site::Pulls), First(1)),
    ]
}

fn tokens() -> Vec<Named> {
    vec![
        one("token-post-only", Fault::TokenPostOnly, Always),
        one(
            "token-get-only-400",
            Fault::TokenGetOnly { status: 400 },
            Always,
        ),
        one(
            "token-get-only-401",
            Fault::TokenGetOnly { status: 401 },
            Always,
        ),
        one(
            "token-get-only-404",
            Fault::TokenGetOnly { status: 404 },
            Always,
        ),
        one(
            "token-get-only-405",
            Fault::TokenGetOnly { status: 405 },
            Always,
        ),
        status("token-503", 503, Site::Tokens, First(2)),
        status("token-500-always", 500, Site::Tokens, Always),
        one(
            "token-reset",
            Fault::ResetBeforeAnswer(Site::Tokens),
            First(2),
        ),
        one("token-without-expiry", Fault::TokenWithoutExpiry, Always),
        one(
            "token-eight-requests",
            Fault::TokenRequests { requests: 8 },
            Always,
        ),
        one("several-challenges", Fault::SeveralChallenges, Always),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::profiles;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = profiles().iter().map(|it| it.name).collect();
        assert_eq!(names.len(), profiles().len());
        assert!(names.len() > 25);
    }
}
