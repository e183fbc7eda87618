//! Pulling, and what is told of registries that lie.

use oci::Digest;
use registry::{Credentials, Error, Repository};
use testkit::{Kind, Registry, RegistryFault, When};

use crate::common::{
    MANIFEST, PASSWORD, USER, bytes, client, finish, known, manifest, open, shown,
};

async fn read(repository: &Repository, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
    let mut reader = repository.blob(digest, size).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn filled(registry: &Registry) -> (Vec<u8>, Vec<u8>) {
    let blob = bytes(1, 1_000_000);
    registry.put_blob("acme/app", blob.clone());
    let document = manifest(std::slice::from_ref(&blob), "");
    registry.put_manifest("acme/app", "1", MANIFEST, document.clone());
    (blob, document)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image() {
    for fault in [
        None,
        Some(RegistryFault::NoManifestHead),
        Some(RegistryFault::NoDigestHeader),
        Some(RegistryFault::HeadWithoutLength),
        Some(RegistryFault::BlobRedirect),
        Some(RegistryFault::NoRanges),
    ] {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        let (blob, document) = filled(&registry);
        if let Some(fault) = fault {
            registry.fault(fault);
        }
        registry.fault_when(RegistryFault::CutBlob { after: 300_000 }, When::First(2));
        let (client, told) = known(&registry);
        let repository = open(&client, &registry, "acme/app");
        let digest = Digest::of(&document);
        for target in ["1", &digest.to_string()] {
            let descriptor = repository.resolve(target).await.unwrap().unwrap();
            assert_eq!(descriptor.digest().to_string(), digest.to_string());
            assert_eq!(descriptor.size(), document.len() as u64);
            assert_eq!(descriptor.media_type().to_string(), MANIFEST);
            let manifest = repository.manifest(target).await.unwrap();
            assert_eq!(manifest.bytes, document);
            assert_eq!(manifest.media_type, MANIFEST);
            repository.manifest_of(&descriptor).await.unwrap();
        }
        assert_eq!(repository.resolve("2").await.unwrap(), None);
        assert!(repository.find_manifest("2").await.unwrap().is_none());
        let (digest, size) = (Digest::of(&blob), blob.len() as u64);
        assert_eq!(repository.has_blob(&digest).await.unwrap(), Some(size));
        assert_eq!(repository.has_blob(&Digest::of(b"")).await.unwrap(), None);
        assert!(read(&repository, &digest, size).await.unwrap() == blob);
        let error = repository.manifest("2").await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(
            shown(&error, &registry),
            "error: cannot read REGISTRY/acme/app:2: not found: MANIFEST_UNKNOWN, manifest unknown"
        );
        finish(&registry, &told, Some(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_in_pages() {
    let registry = Registry::start();
    registry.page_size(2);
    let (_, document) = filled(&registry);
    for tag in ["2", "3", "4", "5"] {
        registry.put_manifest("acme/app", tag, MANIFEST, document.clone());
    }
    let (client, told) = client(Credentials::none());
    let repository = open(&client, &registry, "acme/app");
    let tags = repository.tags().await.unwrap();
    assert_eq!(tags, ["1", "2", "3", "4", "5"]);
    assert_eq!(registry.count(Kind::Tags), 3);
    finish(&registry, &told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies() {
    let check = async |fault: RegistryFault| {
        let registry = Registry::start();
        let (blob, document) = filled(&registry);
        registry.fault(fault);
        let (client, told) = client(Credentials::none());
        let repository = open(&client, &registry, "acme/app");
        let target = Digest::of(&document).to_string();
        let error = match repository.manifest(&target).await {
            Err(error) => error,
            Ok(_) => read(&repository, &Digest::of(&blob), blob.len() as u64)
                .await
                .unwrap_err(),
        };
        finish(&registry, &told, Some(&error));
        shown(&error, &registry)
    };
    insta::assert_snapshot!(check(RegistryFault::WrongManifest).await);
    insta::assert_snapshot!(check(RegistryFault::WrongDigestHeader).await);
    insta::assert_snapshot!(check(RegistryFault::WrongBlob).await);
    insta::assert_snapshot!(check(RegistryFault::ShortBlob { length: 10 }).await);
    insta::assert_snapshot!(check(RegistryFault::LongBlob).await);
    insta::assert_snapshot!(check(RegistryFault::RedirectCycle).await);
    insta::assert_snapshot!(check(RegistryFault::CutBlob { after: 0 }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_signature_is_asked_for_anew() {
    let registry = Registry::with_token_auth(USER, PASSWORD);
    let (blob, _) = filled(&registry);
    registry.fault(RegistryFault::BlobRedirect);
    registry.fault_when(RegistryFault::SignatureExpired, When::First(2));
    let (client, told) = known(&registry);
    let repository = open(&client, &registry, "acme/app");
    let digest = Digest::of(&blob);
    assert!(read(&repository, &digest, blob.len() as u64).await.unwrap() == blob);
    finish(&registry, &told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_told_once() {
    let registry = Registry::start();
    filled(&registry);
    registry.fault(RegistryFault::Warning);
    let (client, told) = client(Credentials::none());
    let repository = open(&client, &registry, "acme/app");
    for _ in 0..3 {
        repository.manifest("1").await.unwrap();
    }
    assert_eq!(told.warnings.lock().unwrap().len(), 1);
    finish(&registry, &told, None);
}
