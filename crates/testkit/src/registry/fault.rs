//! What can go wrong between a client and a registry, and when it does.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::log::Kind;

/// A fault that requests to a registry meet. Each applies only to the requests it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryFault {
    /// This status in place of the answer; the request has no effect.
    Status {
        /// The status.
        status: u16,
        /// How it says when to try again.
        retry: RetryAfter,
        /// The requests that meet it.
        site: Site,
    },
    /// The connection ends in place of an answer; the request has no effect.
    ResetBeforeAnswer(Site),
    /// No answer, and the connection stays; the request has no effect.
    Hang(Site),
    /// 403 in the words of GitHub's secondary rate limit.
    SecondaryRateLimit,
    /// Errors come as HTML pages.
    HtmlErrors,
    /// Every answer has a `Warning` header (distribution-spec, section Warnings).
    Warning,

    /// `Location` of uploads is a path with a query.
    RelativeLocation,
    /// `Location` of uploads is an address on the foreign host.
    ForeignLocation,
    /// `PATCH` with `Content-Range` of more than so many bytes is refused.
    PatchLimit {
        /// Largest chunk in bytes.
        bytes: u64,
        /// 413 or 416.
        status: u16,
    },
    /// Uploads must come in chunks of so many bytes or more: stated by `OCI-Chunk-Min-Length`, and a
    /// `PUT` of the whole is refused.
    ChunksOnly {
        /// Smallest chunk in bytes, the last one excepted.
        bytes: u64,
        /// The answer to a `PUT` of the whole: 405, 413 or 416.
        status: u16,
    },
    /// Half of a chunk is kept: the answer is this status, and `Range` says how much there is.
    StuckRange {
        /// 202 or 416.
        status: u16,
    },
    /// The connection ends after so many bytes of an upload's body.
    ResetUpload {
        /// Bytes of the body that are read.
        after: u64,
    },
    /// The blob is committed, and then the connection ends in place of 201.
    LostCommit,
    /// The blob is committed, and then the answer is 404 `BLOB_UPLOAD_UNKNOWN`.
    CommitUnknown,
    /// The upload is gone at its commit: 404 `BLOB_UPLOAD_UNKNOWN`.
    SessionLost,
    /// A commit is refused with `DIGEST_INVALID` though the bytes are right.
    CommitDigestInvalid,
    /// A commit takes so long.
    SlowCommit {
        /// Milliseconds.
        millis: u64,
    },
    /// The token ends while a blob is uploaded: 401 after its body.
    ExpiryMidUpload,
    /// Only so many uploads at a time, 429 for more.
    UploadLimit {
        /// Uploads at a time.
        parallel: usize,
    },
    /// Mounts start an upload: 202.
    MountAccepted,
    /// Mounts are refused with this status.
    MountRefused {
        /// 401, 403 or 404.
        status: u16,
    },
    /// Pushing is refused: 401 `insufficient_scope`, or 403 `DENIED`.
    PushDenied {
        /// 401 or 403.
        status: u16,
    },

    /// Manifests of more than so many bytes are refused with 413.
    ManifestLimit {
        /// Largest manifest in bytes.
        bytes: u64,
    },
    /// A manifest is stored, and then the answer is 500.
    ManifestStored500,
    /// Storing a manifest takes a random time.
    SlowManifest {
        /// The longest time in milliseconds.
        millis: u64,
    },
    /// No referrers API: this status (200 with an empty list), and no `OCI-Subject`.
    NoReferrers {
        /// 404 or 200.
        status: u16,
    },

    /// Manifests are served with another byte in them.
    WrongManifest,
    /// Blobs are served with another byte in them.
    WrongBlob,
    /// Blobs are served with a byte too many.
    LongBlob,
    /// The connection ends after so many bytes of a blob.
    CutBlob {
        /// Bytes that come through.
        after: usize,
    },
    /// Blobs are served with fewer bytes, and `Content-Length` agrees.
    ShortBlob {
        /// Bytes at most.
        length: usize,
    },
    /// `HEAD` of a blob states a byte too many.
    BlobSizeLie,
    /// `Range` is ignored for blobs.
    NoRanges,
    /// `GET` of a blob is redirected to the foreign host, with a signed query.
    BlobRedirect,
    /// Signatures of redirected addresses have expired: 403 at the foreign host.
    SignatureExpired,
    /// `GET` of a blob is redirected to itself over the foreign host.
    RedirectCycle,
    /// Answers have no `Docker-Content-Digest`.
    NoDigestHeader,
    /// Answers for manifests have a wrong `Docker-Content-Digest`.
    WrongDigestHeader,
    /// `HEAD` of manifests is not supported: 405.
    NoManifestHead,
    /// Answers to `HEAD` have no `Content-Length`.
    HeadWithoutLength,

    /// Tokens are only given to `POST` (`OAuth2`).
    TokenPostOnly,
    /// Tokens are only given to `GET`.
    TokenGetOnly {
        /// The answer to `POST`: 400, 401, 404 or 405.
        status: u16,
    },
    /// Challenges with other schemes come along with the one that works.
    SeveralChallenges,
    /// Tokens come without `expires_in`.
    TokenWithoutExpiry,
    /// Tokens are good for so many requests.
    TokenRequests {
        /// Requests per token.
        requests: u32,
    },
}

/// The requests that meet a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// All of the registry's host, tokens excepted.
    Any,
    /// `HEAD` of blobs and manifests.
    Heads,
    /// `GET` of blobs and manifests, on both hosts.
    Pulls,
    /// Starting an upload or mount.
    Starts,
    /// `PUT` that ends an upload.
    Commits,
    /// Everything about uploads.
    Uploads,
    /// `PUT` of manifests.
    Manifests,
    /// The token endpoint.
    Tokens,
}

impl Site {
    pub(super) fn covers(self, kind: Kind) -> bool {
        use Kind::{
            DeleteUpload, GetBlob, GetManifest, GetUpload, HeadBlob, HeadManifest, Mount,
            PatchUpload, PostUpload, PutManifest, PutUpload, Token,
        };
        match self {
            Self::Any => kind != Token,
            Self::Heads => matches!(kind, HeadBlob | HeadManifest),
            Self::Pulls => matches!(kind, GetBlob | GetManifest),
            Self::Starts => matches!(kind, PostUpload | Mount),
            Self::Commits => kind == PutUpload,
            Self::Uploads => matches!(
                kind,
                PostUpload | Mount | PatchUpload | PutUpload | GetUpload | DeleteUpload
            ),
            Self::Manifests => kind == PutManifest,
            Self::Tokens => kind == Token,
        }
    }
}

/// How an answer says when to try again (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Not at all.
    Unsaid,
    /// A number of seconds.
    Seconds(u64),
    /// A date so many seconds ahead.
    Date(u64),
    /// As GHCR does, in the text of the body alone.
    Body,
}

/// How often a fault is met, of the requests it is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// Each time.
    Always,
    /// So many times, and then no more.
    First(u32),
    /// With this probability, from the registry's seed.
    Chance(f64),
}

/// The faults of one registry.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Vec<(RegistryFault, When)>,
    random: StdRng,
    met: Vec<RegistryFault>,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            rules: Vec::new(),
            random: StdRng::seed_from_u64(0),
            met: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, fault: RegistryFault, when: When) {
        self.rules.push((fault, when));
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.random = StdRng::seed_from_u64(seed);
    }

    pub(super) fn met(&self) -> Vec<RegistryFault> {
        self.met.clone()
    }

    /// What `pick` makes of the first fault that it picks and that is due.
    pub(super) fn due<T>(&mut self, pick: impl Fn(RegistryFault) -> Option<T>) -> Option<T> {
        for (fault, when) in &mut self.rules {
            let Some(picked) = pick(*fault) else {
                continue;
            };
            let is_due = match when {
                When::Always => true,
                When::First(0) => false,
                When::First(left) => {
                    *left -= 1;
                    true
                }
                When::Chance(chance) => self.random.gen_bool(*chance),
            };
            if is_due {
                self.met.push(*fault);
                return Some(picked);
            }
        }
        None
    }

    /// Whether this very fault is due.
    pub(super) fn is(&mut self, fault: RegistryFault) -> bool {
        self.due(|it| (it == fault).then_some(())).is_some()
    }

    /// A number from 0 to `end`, `end` included.
    pub(super) fn random(&mut self, end: u64) -> u64 {
        self.random.gen_range(0..=end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_as_often_as_they_are_said_to() {
        let mut faults = Faults::new();
        faults.add(RegistryFault::LostCommit, When::First(2));
        faults.add(RegistryFault::Warning, When::Chance(0.5));
        let times = |faults: &mut Faults, fault| (0..1000).filter(|_| faults.is(fault)).count();
        assert_eq!(times(&mut faults, RegistryFault::LostCommit), 2);
        let warnings = times(&mut faults, RegistryFault::Warning);
        assert!((400..600).contains(&warnings), "{warnings}");
        assert_eq!(times(&mut faults, RegistryFault::HtmlErrors), 0);
        assert_eq!(faults.met().len(), 2 + warnings);
        faults.clear();
        faults.add(RegistryFault::Warning, When::Always);
        assert_eq!(times(&mut faults, RegistryFault::Warning), 1000);
    }

    #[test]
    fn sites_cover_kinds() {
        for (site, kind, expected) in [
            (Site::Any, Kind::Token, false),
            (Site::Any, Kind::PutUpload, true),
            (Site::Tokens, Kind::Token, true),
            (Site::Uploads, Kind::Mount, true),
            (Site::Commits, Kind::PatchUpload, false),
            (Site::Pulls, Kind::GetBlob, true),
        ] {
            assert_eq!(site.covers(kind), expected, "{site:?} {kind:?}");
        }
    }
}
