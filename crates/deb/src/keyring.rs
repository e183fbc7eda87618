//! Which keys may sign a repository, and what makes a signature by one of them a good one: RFC 9580,
//! 5.2 (signatures), 10.1 (certificates). As apt has it, one good signature is enough.

use pgp::composed::{Deserializable as _, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{Duration, Fingerprint, KeyDetails, Tag, Timestamp};

use crate::{Error, Moment};

const DEBIAN: &[u8] = include_bytes!("../keys/debian-archive-keyring.pgp");
const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// How far ahead of the given time a signature or a release file may be, in seconds: clocks differ.
pub(crate) const CLOCK_TOLERANCE: u64 = 300;

/// `OpenPGP` certificates that are trusted to sign release files.
#[derive(Debug, Clone)]
pub struct Keyring {
    certificates: Vec<SignedPublicKey>,
}

impl Keyring {
    /// The Debian archive's keys; `keys/README.md` says from where.
    pub fn debian() -> Self {
        Self::from_bytes(DEBIAN).expect("the embedded keyring is a keyring")
    }

    /// Certificates in a row, binary or in one or more armoured blocks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut certificates = Vec::new();
        for block in blocks(bytes) {
            let parsed = if block.starts_with(ARMOR) {
                SignedPublicKey::from_armor_many_buf(block).map(|(parsed, _)| parsed)
            } else {
                SignedPublicKey::from_bytes_many(block)
            };
            for certificate in parsed.map_err(|source| Error::Keyring { source })? {
                certificates.push(certificate.map_err(|source| Error::Keyring { source })?);
            }
        }
        if certificates.is_empty() {
            return Err(Error::EmptyKeyring);
        }
        Ok(Self { certificates })
    }

    /// The certificates' fingerprints, in upper-case hexadecimal.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        self.certificates
            .iter()
            .map(|certificate| hex(&certificate.fingerprint()))
    }

    /// The fingerprint of the certificate whose good signature over `text` this is. Without `now`,
    /// keys and signatures need only have been valid when the signature was made.
    pub(crate) fn verify(
        &self,
        signature: &Signature,
        text: &str,
        now: Option<u64>,
    ) -> Result<String, SignatureFault> {
        let mut fault = SignatureFault::UnknownKey {
            key: issuer(signature),
        };
        for certificate in &self.certificates {
            let subkeys = certificate.public_subkeys.iter().map(Some);
            for subkey in std::iter::once(None).chain(subkeys) {
                let signer = Signer {
                    certificate,
                    subkey,
                };
                if signer.issued(signature) {
                    match signer.verify(signature, text, now) {
                        Ok(()) => return Ok(hex(&certificate.fingerprint())),
                        Err(found) => fault = found,
                    }
                }
            }
        }
        Err(fault)
    }
}

/// Armoured blocks, or the whole where there is none.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = bytes
        .windows(ARMOR.len())
        .enumerate()
        .filter_map(|(n, window)| (window == ARMOR).then_some(n))
        .collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &bytes[*start..end])
        .collect()
}

/// Why a signature does not count. Keys are named by their fingerprint, or by their id where the
/// signature has no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "`key` and the moments are what the messages say they are"
)]
pub enum SignatureFault {
    /// By a key that is not in the keyring.
    #[error("{key} is not in the keyring")]
    UnknownKey { key: String },
    /// Not made over these bytes.
    #[error("{key} has not signed this text")]
    Bad { key: String },
    /// Of a kind that is not for texts and files.
    #[error("the signature by {key} is not one over a document")]
    WrongKind { key: String },
    /// With a hash that collisions are, or may soon be, known for.
    #[error("the signature by {key} uses the weak hash {hash}")]
    WeakHash { key: String, hash: String },
    /// With an end that is past.
    #[error("the signature by {key} expired on {end}")]
    Expired { key: String, end: Moment },
    /// With a date ahead of now.
    #[error("the signature by {key} is dated {created}, which has not come yet")]
    NotYetValid { key: String, created: Moment },
    /// The key was withdrawn.
    #[error("{key} is revoked")]
    Revoked { key: String },
    /// The key was not valid at the signature's time, or is not any more.
    #[error("{key} is valid from {start} until {end} only")]
    KeyNotValid {
        key: String,
        start: Moment,
        end: Moment,
    },
    /// The certificate does not say that this key may sign.
    #[error("{key} is not bound to its certificate as a signing key")]
    NotForSigning { key: String },
}

/// A certificate's primary key, or one of its subkeys.
#[derive(Clone, Copy)]
struct Signer<'a> {
    certificate: &'a SignedPublicKey,
    subkey: Option<&'a SignedPublicSubKey>,
}

impl Signer<'_> {
    fn key(&self) -> &dyn KeyDetails {
        match self.subkey {
            None => &self.certificate.primary_key,
            Some(subkey) => &subkey.key,
        }
    }

    /// Whether the signature names this key as its maker.
    fn issued(&self, signature: &Signature) -> bool {
        let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
        if fingerprints.is_empty() {
            return ids.contains(&&self.key().legacy_key_id());
        }
        fingerprints.contains(&&self.key().fingerprint())
    }

    fn verify(
        &self,
        signature: &Signature,
        text: &str,
        now: Option<u64>,
    ) -> Result<(), SignatureFault> {
        let key = hex(&self.key().fingerprint());
        if !matches!(
            signature.typ(),
            Some(SignatureType::Text | SignatureType::Binary)
        ) {
            return Err(SignatureFault::WrongKind { key });
        }
        if let Some(hash) = signature.hash_alg().filter(|hash| !is_strong(*hash)) {
            return Err(SignatureFault::WeakHash {
                key,
                hash: hash.to_string(),
            });
        }
        let verified = match self.subkey {
            None => signature.verify(&self.certificate.primary_key, text.as_bytes()),
            Some(subkey) => signature.verify(&subkey.key, text.as_bytes()),
        };
        let created = match (verified, signature.created()) {
            (Ok(()), Some(created)) => seconds(created),
            _ => return Err(SignatureFault::Bad { key }),
        };
        let end = end(created, signature.signature_expiration_time());
        if let Some(now) = now {
            if created > now.saturating_add(CLOCK_TOLERANCE) {
                return Err(SignatureFault::NotYetValid {
                    key,
                    created: Moment(created),
                });
            }
            if now >= end {
                return Err(SignatureFault::Expired {
                    key,
                    end: Moment(end),
                });
            }
        }
        self.check_key(created, now.unwrap_or(created))
    }

    /// Whether this key may sign, and could at `created` and can at `now`.
    fn check_key(&self, created: u64, now: u64) -> Result<(), SignatureFault> {
        let primary = Signer {
            subkey: None,
            ..*self
        };
        for signer in [Some(primary), self.subkey.map(|_| *self)]
            .into_iter()
            .flatten()
        {
            let key = hex(&signer.key().fingerprint());
            if signer.is_revoked() {
                return Err(SignatureFault::Revoked { key });
            }
            let Some(binding) = signer.binding() else {
                return Err(SignatureFault::NotForSigning { key });
            };
            let start = seconds(signer.key().created_at());
            let end = end(start, binding.key_expiration_time());
            if !(start..end).contains(&created) || now >= end {
                let (start, end) = (Moment(start), Moment(end));
                return Err(SignatureFault::KeyNotValid { key, start, end });
            }
            let is_the_signer = signer.subkey.is_some() == self.subkey.is_some();
            if is_the_signer && !(binding.key_flags().sign() && signer.agrees(binding)) {
                return Err(SignatureFault::NotForSigning { key });
            }
        }
        Ok(())
    }

    fn is_revoked(&self) -> bool {
        let primary = &self.certificate.primary_key;
        match self.subkey {
            None => {
                let revocations = &self.certificate.details.revocation_signatures;
                revocations
                    .iter()
                    .any(|revocation| revocation.verify_key(primary).is_ok())
            }
            Some(subkey) => subkey.signatures.iter().any(|signature| {
                signature.typ() == Some(SignatureType::SubkeyRevocation)
                    && signature
                        .verify_subkey_binding(primary, &subkey.key)
                        .is_ok()
            }),
        }
    }

    /// The newest valid signature by the primary key that says what this key is for and how long.
    fn binding(&self) -> Option<&Signature> {
        let primary = &self.certificate.primary_key;
        let valid: Vec<&Signature> = match self.subkey {
            None => {
                let details = &self.certificate.details;
                let direct = details.direct_signatures.iter().filter(|signature| {
                    signature.typ() == Some(SignatureType::Key)
                        && signature.verify_key(primary).is_ok()
                });
                let users = details.users.iter().flat_map(|user| {
                    let own = |signature: &&Signature| {
                        signature.typ() != Some(SignatureType::CertRevocation)
                            && signature
                                .verify_certification(primary, Tag::UserId, &user.id)
                                .is_ok()
                    };
                    user.signatures.iter().filter(own)
                });
                direct.chain(users).collect()
            }
            Some(subkey) => {
                let own = |signature: &&Signature| {
                    signature.typ() == Some(SignatureType::SubkeyBinding)
                        && signature
                            .verify_subkey_binding(primary, &subkey.key)
                            .is_ok()
                };
                subkey.signatures.iter().filter(own).collect()
            }
        };
        let strong = |signature: &&Signature| signature.hash_alg().is_some_and(is_strong);
        valid
            .into_iter()
            .filter(strong)
            .max_by_key(|signature| signature.created().map(seconds))
    }

    /// Whether a subkey has itself signed that it belongs to the certificate: without that, anyone
    /// could claim another's signing key as a subkey of theirs.
    fn agrees(&self, binding: &Signature) -> bool {
        self.subkey.is_none_or(|subkey| {
            binding.embedded_signature().is_some_and(|back| {
                back.verify_primary_key_binding(&subkey.key, &self.certificate.primary_key)
                    .is_ok()
            })
        })
    }
}

fn is_strong(hash: HashAlgorithm) -> bool {
    matches!(
        hash,
        HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}

/// The end of what begins at `start`; without a duration, or with one of 0, there is none.
fn end(start: u64, duration: Option<Duration>) -> u64 {
    let duration = duration
        .map(|duration| u64::from(duration.as_secs()))
        .filter(|s| *s > 0);
    duration.map_or(u64::MAX, |duration| start + duration)
}

fn seconds(time: Timestamp) -> u64 {
    time.as_secs().into()
}

fn hex(fingerprint: &Fingerprint) -> String {
    hex::encode_upper(fingerprint.as_bytes())
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|fingerprint| hex(fingerprint));
    let id = || {
        signature
            .issuer_key_id()
            .first()
            .map(|id| hex::encode_upper(id.as_ref()))
    };
    fingerprint
        .or_else(id)
        .unwrap_or_else(|| "an unnamed key".to_owned())
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
pub(crate) mod tests;
