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
    subkey
        .key_type(KeyType::Ed25519Legacy)
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None);
    subkey.created_at(Timestamp::from_secs(BORN));
    let mut params = SecretKeyParamsBuilder::default();
    params
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true);
    params
        .can_encrypt(EncryptionCaps::None)
        .created_at(Timestamp::from_secs(BORN));
    params.primary_user_id("Test <test@example.invalid>".into());
    params.subkeys(vec![subkey.build().unwrap()]);
    params
        .build()
        .unwrap()
        .generate(StdRng::seed_from_u64(seed))
        .unwrap()
}

pub(crate) fn keyring(keys: &[&SignedSecretKey]) -> Keyring {
    let public = |key: &&SignedSecretKey| SignedPublicKey::from((*key).clone());
    Keyring {
        certificates: keys.iter().map(public).collect(),
    }
}

fn subpackets(issuer: &impl SigningKey, at: u32, more: Vec<SubpacketData>) -> Vec<Subpacket> {
    let mut data = vec![
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(at)),
        SubpacketData::IssuerFingerprint(issuer.fingerprint()),
    ];
    data.extend(more);
    data.into_iter()
        .map(|data| Subpacket::regular(data).unwrap())
        .collect()
}

fn config(kind: SignatureType, issuer: &impl SigningKey, at: u32) -> SignatureConfig {
    let mut config = SignatureConfig::v4(kind, issuer.algorithm(), HashAlgorithm::Sha256);
    config.hashed_subpackets = subpackets(issuer, at, Vec::new());
    config
}

/// A signature over `text` made at `at`.
pub(crate) fn sign(issuer: &impl SigningKey, text: &str, at: u32) -> Signature {
    let config = config(SignatureType::Text, issuer, at);
    config
        .sign(issuer, &Password::empty(), text.as_bytes())
        .unwrap()
}

/// A clear-signed text, whether its signatures are of it or not.
pub(crate) fn clear_signed(text: &str, signatures: Vec<Signature>) -> Vec<u8> {
    let message = CleartextSignedMessage::new_many(text, |_| Ok(signatures)).unwrap();
    message.to_armored_bytes(ArmorOptions::default()).unwrap()
}

/// What a keyring says of a signature over `TEXT`.
fn check(
    keys: &[&SignedSecretKey],
    signature: &Signature,
    now: Option<u32>,
) -> Result<String, SignatureFault> {
    keyring(keys).verify(signature, TEXT, now.map(u64::from))
}

#[test]
fn debians_keys_are_there() {
    let fingerprints: Vec<_> = Keyring::debian().fingerprints().collect();
    insta::assert_debug_snapshot!(fingerprints, @r#"
    [
        "1F89983E0081FDE018F3CC9673A4F27B8DD47936",
        "AC530D520F2F3269F5E98313A48449044AAD5C5D",
        "A4285295FC7B1A81600062A9605C66F00D6C9793",
        "4D64FEC119C2029067D6E791F8D2585B8783D481",
        "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",
        "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0",
        "04B54C3CDCA79751B16BC6B5225629DF75B188BD",
        "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
        "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
    ]
    "#);
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
    insta::assert_snapshot!(message(b""), @"the keyring holds no OpenPGP certificate");
    insta::assert_snapshot!(message(b"no keys here"), @"the keyring is not a list of OpenPGP certificates");
    insta::assert_snapshot!(message(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!"), @"the keyring is not a list of OpenPGP certificates");
}

#[test]
fn the_primary_key_and_a_subkey_may_sign() {
    let key = key(1);
    let certificate = hex(&key.fingerprint());
    let by_primary = sign(&key.primary_key, TEXT, BORN + DAY);
    let by_subkey = sign(&key.secret_subkeys[0].key, TEXT, BORN + DAY);
    for signature in [by_primary, by_subkey] {
        assert_eq!(
            check(&[&key], &signature, Some(BORN + 2 * DAY)),
            Ok(certificate.clone())
        );
        assert_eq!(check(&[&key], &signature, None), Ok(certificate.clone()));
    }
}

#[test]
fn an_unknown_key_or_another_text_is_refused() {
    let (known, other) = (key(1), key(2));
    let fault = check(&[&known], &sign(&other.primary_key, TEXT, BORN), None).unwrap_err();
    insta::assert_snapshot!(fault, @"AAEB3D54AAAA39D6AF2D5B8E866BAEA855D82B05 is not in the keyring");
    let fault = check(&[&known], &sign(&known.primary_key, "else", BORN), None).unwrap_err();
    insta::assert_snapshot!(fault, @"C35C86738FC6B93482C715E3C1D6548FD992ADA9 has not signed this text");
}

#[test]
fn a_signature_has_its_time() {
    let key = key(1);
    let issuer = &key.primary_key;
    let mut config = config(SignatureType::Text, issuer, BORN + DAY);
    let end = SubpacketData::SignatureExpirationTime(Duration::from_secs(DAY));
    config.hashed_subpackets = subpackets(issuer, BORN + DAY, vec![end]);
    let signature = config
        .sign(issuer, &Password::empty(), TEXT.as_bytes())
        .unwrap();
    let check = |now| check(&[&key], &signature, now).map_err(|fault| fault.to_string());
    assert!(check(Some(BORN + DAY)).is_ok());
    assert!(check(Some(BORN + DAY - 300)).is_ok());
    assert!(check(None).is_ok());
    insta::assert_snapshot!(check(Some(BORN)).unwrap_err(), @"the signature by C35C86738FC6B93482C715E3C1D6548FD992ADA9 is dated 2026-01-02 00:00:00 UTC, which has not come yet");
    insta::assert_snapshot!(check(Some(BORN + 2 * DAY)).unwrap_err(), @"the signature by C35C86738FC6B93482C715E3C1D6548FD992ADA9 expired on 2026-01-03 00:00:00 UTC");
}

#[test]
fn other_kinds_of_signature_and_weak_hashes_are_refused() {
    let key = key(1);
    let issuer = &key.primary_key;
    // The key itself would not sign such a hash: the bytes are those of another signature.
    let mut weak = config(SignatureType::Text, issuer, BORN);
    weak.hash_alg = HashAlgorithm::Sha1;
    let bytes = sign(issuer, TEXT, BORN).signature().unwrap().clone();
    let signature = Signature::from_config(weak, [0, 0], bytes.clone()).unwrap();
    insta::assert_snapshot!(check(&[&key], &signature, None).unwrap_err(), @"the signature by C35C86738FC6B93482C715E3C1D6548FD992ADA9 uses the weak hash SHA1");
    let standalone = config(SignatureType::Standalone, issuer, BORN);
    let signature = Signature::from_config(standalone, [0, 0], bytes).unwrap();
    insta::assert_snapshot!(check(&[&key], &signature, None).unwrap_err(), @"the signature by C35C86738FC6B93482C715E3C1D6548FD992ADA9 is not one over a document");
}

#[test]
fn a_key_has_its_time() {
    let mut key = key(1);
    let issuer = key.primary_key.clone();
    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    let mut direct = config(SignatureType::Key, &issuer, u32::MAX);
    let end = SubpacketData::KeyExpirationTime(Duration::from_secs(10 * DAY));
    direct.hashed_subpackets =
        subpackets(&issuer, u32::MAX, vec![end, SubpacketData::KeyFlags(flags)]);
    let direct = direct
        .sign_key(&issuer, &Password::empty(), key.primary_key.public_key())
        .unwrap();
    key.details.direct_signatures.push(direct);
    let at = |at: u32, now| {
        check(&[&key], &sign(&issuer, TEXT, at), now).map_err(|fault| fault.to_string())
    };
    assert!(at(BORN + 9 * DAY, Some(BORN + 9 * DAY)).is_ok());
    assert!(at(BORN + 9 * DAY, None).is_ok());
    insta::assert_snapshot!(at(BORN + 9 * DAY, Some(BORN + 10 * DAY)).unwrap_err(), @"C35C86738FC6B93482C715E3C1D6548FD992ADA9 is valid from 2026-01-01 00:00:00 UTC until 2026-01-11 00:00:00 UTC only");
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
            let revocation = config
                .sign_key(&issuer, &Password::empty(), &public)
                .unwrap();
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
        (
            by_primary.map_err(|f| f.to_string()),
            by_subkey.map_err(|f| f.to_string()),
        )
    };
    insta::assert_debug_snapshot!(revoked(true), @r#"
    (
        Err(
            "C35C86738FC6B93482C715E3C1D6548FD992ADA9 is revoked",
        ),
        Err(
            "C35C86738FC6B93482C715E3C1D6548FD992ADA9 is revoked",
        ),
    )
    "#);
    insta::assert_debug_snapshot!(revoked(false), @r#"
    (
        Ok(
            "C35C86738FC6B93482C715E3C1D6548FD992ADA9",
        ),
        Err(
            "2BE1667CB248846227F738CAA4DAB58183C2D1C8 is revoked",
        ),
    )
    "#);
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
        assert!(
            matches!(fault, SignatureFault::NotForSigning { .. }),
            "{fault}"
        );
    };
    // Bound by the victim's primary key, not by this one.
    check_with(victim.secret_subkeys[0].signatures.clone());
    // Claimed by this one, without the subkey's own signature.
    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    let mut claim = config(SignatureType::SubkeyBinding, &issuer, BORN);
    claim.hashed_subpackets = subpackets(&issuer, BORN, vec![SubpacketData::KeyFlags(flags)]);
    let (public, signee) = (
        issuer.public_key().clone(),
        victim.secret_subkeys[0].key.public_key().clone(),
    );
    let claim = claim.sign_subkey_binding(&issuer, &public, &Password::empty(), &signee);
    check_with(vec![claim.unwrap()]);
}
