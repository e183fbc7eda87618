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
            let parsed = match block.starts_with(ARMOR) {
                true => SignedPublicKey::from_armor_many_buf(block).map(|(parsed, _)| parsed),
                false => SignedPublicKey::from_bytes_many(block),
            };
            for certificate in parsed.map_err(|source| Error::Keyring { source })? {
                certificates.push(certificate.map_err(|source| Error::Keyring { source })?);
            }
        }
        match certificates.is_empty() {
            true => Err(Error::EmptyKeyring),
            false => Ok(Self { certificates }),
        }
    }

    /// The certificates' fingerprints, in upper-case hexadecimal.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        self.certificates.iter().map(|certificate| hex(&certificate.fingerprint()))
    }

    /// The fingerprint of the certificate whose good signature over `text` this is. Without `now`,
    /// keys and signatures need only have been valid when the signature was made.
    pub(crate) fn verify(
        &self,
        signature: &Signature,
        text: &str,
        now: Option<u64>,
    ) -> Result<String, SignatureFault> {
        let mut fault = SignatureFault::UnknownKey { key: issuer(signature) };
        for certificate in &self.certificates {
            let subkeys = certificate.public_subkeys.iter().map(Some);
            for subkey in std::iter::once(None).chain(subkeys) {
                let signer = Signer { certificate, subkey };
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
    starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]).collect()
}

/// Why a signature does not count. Keys are named by their fingerprint, or by their id where the
/// signature has no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "`key` and the moments are what the messages say they are")]
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
    KeyNotValid { key: String, start: Moment, end: Moment },
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
        match fingerprints.is_empty() {
            false => fingerprints.contains(&&self.key().fingerprint()),
            true => ids.contains(&&self.key().legacy_key_id()),
        }
    }

    fn verify(&self, signature: &Signature, text: &str, now: Option<u64>) -> Result<(), SignatureFault> {
        let key = hex(&self.key().fingerprint());
        if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
            return Err(SignatureFault::WrongKind { key });
        }
        if let Some(hash) = signature.hash_alg().filter(|hash| !is_strong(*hash)) {
            return Err(SignatureFault::WeakHash { key, hash: hash.to_string() });
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
                return Err(SignatureFault::NotYetValid { key, created: Moment(created) });
            }
            if now >= end {
                return Err(SignatureFault::Expired { key, end: Moment(end) });
            }
        }
        self.check_key(created, now.unwrap_or(created))
    }

    /// Whether this key may sign, and could at `created` and can at `now`.
    fn check_key(&self, created: u64, now: u64) -> Result<(), SignatureFault> {
        let primary = Signer { subkey: None, ..*self };
        for signer in [Some(primary), self.subkey.map(|_| *self)].into_iter().flatten() {
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
                revocations.iter().any(|revocation| revocation.verify_key(primary).is_ok())
            }
            Some(subkey) => subkey.signatures.iter().any(|signature| {
                signature.typ() == Some(SignatureType::SubkeyRevocation)
                    && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
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
                    signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
                });
                let users = details.users.iter().flat_map(|user| {
                    let own = |signature: &&Signature| {
                        signature.typ() != Some(SignatureType::CertRevocation)
                            && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
                    };
                    user.signatures.iter().filter(own)
                });
                direct.chain(users).collect()
            }
            Some(subkey) => {
                let own = |signature: &&Signature| {
                    signature.typ() == Some(SignatureType::SubkeyBinding)
                        && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
                };
                subkey.signatures.iter().filter(own).collect()
            }
        };
        let strong = |signature: &&Signature| signature.hash_alg().is_some_and(is_strong);
        valid.into_iter().filter(strong).max_by_key(|signature| signature.created().map(seconds))
    }

    /// Whether a subkey has itself signed that it belongs to the certificate: without that, anyone
    /// could claim another's signing key as a subkey of theirs.
    fn agrees(&self, binding: &Signature) -> bool {
        self.subkey.is_none_or(|subkey| {
            binding.embedded_signature().is_some_and(|back| {
                back.verify_primary_key_binding(&subkey.key, &self.certificate.primary_key).is_ok()
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
    let duration = duration.map(|duration| u64::from(duration.as_secs())).filter(|s| *s > 0);
    duration.map_or(u64::MAX, |duration| start + duration)
}

fn seconds(time: Timestamp) -> u64 {
    time.as_secs().into()
}

fn hex(fingerprint: &Fingerprint) -> String {
    hex::encode_upper(fingerprint.as_bytes())
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| hex(fingerprint));
    let id = || signature.issuer_key_id().first().map(|id| hex::encode_upper(id.as_ref()));
    fingerprint.or_else(id).unwrap_or_else(|| "an unnamed key".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use pgp::composed::{
        ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder,
        SignedSecretKey, SubkeyParamsBuilder,
    };
    use pgp::packet::{KeyFlags, SignatureConfig, Subpacket, SubpacketData};
    use pgp::ser::Serialize as _;
    use pgp::types::{Password, SigningKey};
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    /// 2026-01-01, when the keys of these tests were made.
    pub(crate) const BORN: u32 = 1_767_225_600;
    pub(crate) const DAY: u32 = 86_400;
    const TEXT: &str = "Origin: test\n- dash\ntrailing  \n";

    /// A certificate whose primary key and whose one subkey may sign.
    pub(crate) fn key(seed: u64) -> SignedSecretKey {
        let mut subkey = SubkeyParamsBuilder::default();
        subkey.key_type(KeyType::Ed25519Legacy).can_sign(true).can_encrypt(EncryptionCaps::None);
        subkey.created_at(Timestamp::from_secs(BORN));
        let mut params = SecretKeyParamsBuilder::default();
        params.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(true);
        params.can_encrypt(EncryptionCaps::None).created_at(Timestamp::from_secs(BORN));
        params.primary_user_id("Test <test@example.invalid>".into());
        params.subkeys(vec![subkey.build().unwrap()]);
        params.build().unwrap().generate(StdRng::seed_from_u64(seed)).unwrap()
    }

    pub(crate) fn keyring(keys: &[&SignedSecretKey]) -> Keyring {
        let public = |key: &&SignedSecretKey| SignedPublicKey::from((*key).clone());
        Keyring { certificates: keys.iter().map(public).collect() }
    }

    fn subpackets(issuer: &impl SigningKey, at: u32, more: Vec<SubpacketData>) -> Vec<Subpacket> {
        let mut data = vec![
            SubpacketData::SignatureCreationTime(Timestamp::from_secs(at)),
            SubpacketData::IssuerFingerprint(issuer.fingerprint()),
        ];
        data.extend(more);
        data.into_iter().map(|data| Subpacket::regular(data).unwrap()).collect()
    }

    fn config(kind: SignatureType, issuer: &impl SigningKey, at: u32) -> SignatureConfig {
        let mut config = SignatureConfig::v4(kind, issuer.algorithm(), HashAlgorithm::Sha256);
        config.hashed_subpackets = subpackets(issuer, at, Vec::new());
        config
    }

    /// A signature over `text` made at `at`.
    pub(crate) fn sign(issuer: &impl SigningKey, text: &str, at: u32) -> Signature {
        let config = config(SignatureType::Text, issuer, at);
        config.sign(issuer, &Password::empty(), text.as_bytes()).unwrap()
    }

    /// A clear-signed text, whether its signatures are of it or not.
    pub(crate) fn clear_signed(text: &str, signatures: Vec<Signature>) -> Vec<u8> {
        let message = CleartextSignedMessage::new_many(text, |_| Ok(signatures)).unwrap();
        message.to_armored_bytes(ArmorOptions::default()).unwrap()
    }

    /// What a keyring says of a signature over `TEXT`.
    fn check(keys: &[&SignedSecretKey], signature: &Signature, now: Option<u32>) -> Result<String, SignatureFault> {
        keyring(keys).verify(signature, TEXT, now.map(u64::from))
    }

    #[test]
    fn debians_keys_are_there() {
        let fingerprints: Vec<_> = Keyring::debian().fingerprints().collect();
        insta::assert_debug_snapshot!(fingerprints, @"");
    }

    #[test]
    fn reads_binary_and_armoured_keyrings() {
        let (one, two) = (SignedPublicKey::from(key(1)), SignedPublicKey::from(key(2)));
        let expect = vec![hex(&one.fingerprint()), hex(&two.fingerprint())];
        let binary = [one.to_bytes().unwrap(), two.to_bytes().unwrap()].concat();
        let armoured = |key: &SignedPublicKey| key.to_armored_string(ArmorOptions::default()).unwrap();
        let text = format!("My keys\n\n{}\n{}", armoured(&one), armoured(&two));
        for bytes in [&binary[..], text.as_bytes()] {
            let keyring = Keyring::from_bytes(bytes).unwrap();
            assert_eq!(keyring.fingerprints().collect::<Vec<_>>(), expect);
        }
    }

    #[test]
    fn other_bytes_are_no_keyring() {
        let message = |bytes: &[u8]| Keyring::from_bytes(bytes).unwrap_err().to_string();
        insta::assert_snapshot!(message(b""), @"");
        insta::assert_snapshot!(message(b"no keys here"), @"");
        insta::assert_snapshot!(message(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!"), @"");
    }

    #[test]
    fn the_primary_key_and_a_subkey_may_sign() {
        let key = key(1);
        let certificate = hex(&key.fingerprint());
        let by_primary = sign(&key.primary_key, TEXT, BORN + DAY);
        let by_subkey = sign(&key.secret_subkeys[0].key, TEXT, BORN + DAY);
        for signature in [by_primary, by_subkey] {
            assert_eq!(check(&[&key], &signature, Some(BORN + 2 * DAY)), Ok(certificate.clone()));
            assert_eq!(check(&[&key], &signature, None), Ok(certificate.clone()));
        }
    }

    #[test]
    fn an_unknown_key_or_another_text_is_refused() {
        let (known, other) = (key(1), key(2));
        let fault = check(&[&known], &sign(&other.primary_key, TEXT, BORN), None).unwrap_err();
        insta::assert_snapshot!(fault, @"");
        let fault = check(&[&known], &sign(&known.primary_key, "else", BORN), None).unwrap_err();
        insta::assert_snapshot!(fault, @"");
    }

    #[test]
    fn a_signature_has_its_time() {
        let key = key(1);
        let issuer = &key.primary_key;
        let mut config = config(SignatureType::Text, issuer, BORN + DAY);
        let end = SubpacketData::SignatureExpirationTime(Duration::from_secs(DAY));
        config.hashed_subpackets = subpackets(issuer, BORN + DAY, vec![end]);
        let signature = config.sign(issuer, &Password::empty(), TEXT.as_bytes()).unwrap();
        let check = |now| check(&[&key], &signature, now).map_err(|fault| fault.to_string());
        assert!(check(Some(BORN + DAY)).is_ok());
        assert!(check(Some(BORN + DAY - 300)).is_ok());
        assert!(check(None).is_ok());
        insta::assert_snapshot!(check(Some(BORN)).unwrap_err(), @"");
        insta::assert_snapshot!(check(Some(BORN + 2 * DAY)).unwrap_err(), @"");
    }

    #[test]
    fn other_kinds_of_signature_and_weak_hashes_are_refused() {
        let key = key(1);
        let issuer = &key.primary_key;
        let mut weak = config(SignatureType::Text, issuer, BORN);
        weak.hash_alg = HashAlgorithm::Sha224;
        let signature = weak.sign(issuer, &Password::empty(), TEXT.as_bytes());
        // Ed25519 keys refuse to sign a short hash; then the test takes another way there.
        let fault = match signature {
            Ok(signature) => check(&[&key], &signature, None).unwrap_err(),
            Err(_) => panic!("cannot sign with a weak hash"),
        };
        insta::assert_snapshot!(fault, @"");
        let standalone = config(SignatureType::Standalone, issuer, BORN);
        let signature = standalone.sign(issuer, &Password::empty(), TEXT.as_bytes()).unwrap();
        insta::assert_snapshot!(check(&[&key], &signature, None).unwrap_err(), @"");
    }

    #[test]
    fn a_key_has_its_time() {
        let mut key = key(1);
        let issuer = key.primary_key.clone();
        let mut flags = KeyFlags::default();
        flags.set_sign(true);
        let mut direct = config(SignatureType::Key, &issuer, u32::MAX);
        let end = SubpacketData::KeyExpirationTime(Duration::from_secs(10 * DAY));
        direct.hashed_subpackets = subpackets(&issuer, u32::MAX, vec![end, SubpacketData::KeyFlags(flags)]);
        let direct = direct.sign_key(&issuer, &Password::empty(), key.primary_key.public_key()).unwrap();
        key.details.direct_signatures.push(direct);
        let at = |at: u32, now| check(&[&key], &sign(&issuer, TEXT, at), now).map_err(|fault| fault.to_string());
        assert!(at(BORN + 9 * DAY, Some(BORN + 9 * DAY)).is_ok());
        assert!(at(BORN + 9 * DAY, None).is_ok());
        insta::assert_snapshot!(at(BORN + 9 * DAY, Some(BORN + 10 * DAY)).unwrap_err(), @"");
        assert!(at(BORN + 11 * DAY, None).is_err());
        assert!(at(BORN - DAY, None).is_err());
        // A subkey lives no longer than the primary key.
        let by_subkey = sign(&key.secret_subkeys[0].key, TEXT, BORN + 9 * DAY);
        assert!(check(&[&key], &by_subkey, None).is_ok());
        assert!(check(&[&key], &by_subkey, Some(BORN + 10 * DAY)).is_err());
    }

    #[test]
    fn revoked_keys_are_refused() {
        let revoked = |primary: bool| {
            let mut key = key(1);
            let issuer = key.primary_key.clone();
            let public = key.primary_key.public_key().clone();
            if primary {
                let config = config(SignatureType::KeyRevocation, &issuer, BORN + DAY);
                let revocation = config.sign_key(&issuer, &Password::empty(), &public).unwrap();
                key.details.revocation_signatures.push(revocation);
            } else {
                let subkey = &mut key.secret_subkeys[0];
                let config = config(SignatureType::SubkeyRevocation, &issuer, BORN + DAY);
                let signee = subkey.key.public_key().clone();
                let revocation =
                    config.sign_subkey_binding(&issuer, &public, &Password::empty(), &signee);
                subkey.signatures.push(revocation.unwrap());
            }
            let by_primary = check(&[&key], &sign(&issuer, TEXT, BORN), None);
            let by_subkey = check(&[&key], &sign(&key.secret_subkeys[0].key, TEXT, BORN), None);
            (by_primary.map_err(|f| f.to_string()), by_subkey.map_err(|f| f.to_string()))
        };
        insta::assert_debug_snapshot!(revoked(true), @"");
        insta::assert_debug_snapshot!(revoked(false), @"");
    }

    #[test]
    fn a_subkey_needs_its_binding_and_its_own_word() {
        let (mut thief, victim) = (key(1), key(2));
        let issuer = thief.primary_key.clone();
        let mut stolen = victim.secret_subkeys[0].clone();
        let mut check_with = |signatures: Vec<Signature>| {
            stolen.signatures = signatures;
            thief.secret_subkeys = vec![stolen.clone()];
            let fault = check(&[&thief], &sign(&stolen.key, TEXT, BORN), None).unwrap_err();
            assert!(matches!(fault, SignatureFault::NotForSigning { .. }), "{fault}");
        };
        // Bound by the victim's primary key, not by this one.
        check_with(victim.secret_subkeys[0].signatures.clone());
        // Claimed by this one, without the subkey's own signature.
        let mut flags = KeyFlags::default();
        flags.set_sign(true);
        let mut claim = config(SignatureType::SubkeyBinding, &issuer, BORN);
        claim.hashed_subpackets = subpackets(&issuer, BORN, vec![SubpacketData::KeyFlags(flags)]);
        let (public, signee) =
            (issuer.public_key().clone(), victim.secret_subkeys[0].key.public_key().clone());
        let claim = claim.sign_subkey_binding(&issuer, &public, &Password::empty(), &signee);
        check_with(vec![claim.unwrap()]);
    }
}
