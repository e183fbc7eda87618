//! Clear-signed texts and the keys for them (RFC 9580), as Debian's archive has them.

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder,
    SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, Password, Timestamp};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// 2025-01-01T00:00:00Z in seconds since 1970.
const CREATED: u32 = 1_735_689_600;
/// 2025-11-01T00:00:00Z: when all signatures are made.
const SIGNED: u32 = 1_761_955_200;

/// A key that signs for an archive; the same seed gives the same key.
#[derive(Debug, Clone)]
pub struct ArchiveKey(SignedSecretKey);

impl ArchiveKey {
    /// An Ed25519 key (version 4), made in 2025, that does not expire.
    pub fn new(seed: u64) -> Self {
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .created_at(Timestamp::from_secs(CREATED))
            .primary_user_id("Test archive <test@example.invalid>".into());
        let params = params.build().expect("the parameters are complete");
        Self(
            params
                .generate(StdRng::seed_from_u64(seed))
                .expect("an Ed25519 key needs no luck"),
        )
    }

    /// The public key, armored: what `[debian] keyring` names.
    pub fn public(&self) -> String {
        let key = SignedPublicKey::from(self.0.clone());
        key.to_armored_string(ArmorOptions::default())
            .expect("a key can be written")
    }

    /// `text`, which ends with a newline, clear-signed.
    pub fn clear_sign(&self, text: &str) -> String {
        let signer = &self.0.primary_key;
        let mut config = SignatureConfig::v4(
            SignatureType::Text,
            signer.algorithm(),
            HashAlgorithm::Sha256,
        );
        let regular = |data| Subpacket::regular(data).expect("a short subpacket");
        config.hashed_subpackets = vec![
            regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(
                SIGNED,
            ))),
            regular(SubpacketData::IssuerFingerprint(signer.fingerprint())),
        ];
        config.unhashed_subpackets =
            vec![regular(SubpacketData::IssuerKeyId(signer.legacy_key_id()))];
        CleartextSignedMessage::new(text, config, signer, &Password::empty())
            .and_then(|message| message.to_armored_string(ArmorOptions::default()))
            .expect("an unlocked key signs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_holds_for_the_text_and_the_key() {
        let key = ArchiveKey::new(1);
        let signed = key.clear_sign("Suite: stable\n- dashed\n");
        let verify = |key: &ArchiveKey, text: &str| {
            let (message, _) = CleartextSignedMessage::from_string(text).unwrap();
            message.verify(&key.0.primary_key.public_key()).is_ok()
        };
        assert!(verify(&key, &signed));
        assert!(!verify(&ArchiveKey::new(2), &signed));
        assert!(!verify(&key, &signed.replace("stable", "static")));
        assert_eq!(key.public(), ArchiveKey::new(1).public());
    }
}
