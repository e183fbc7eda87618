//! Pushing without faults, and with the ways in which registries differ.

use registry::{Content, Pushed, Upload};
use std::sync::Arc;
use testkit::{Kind, Registry, RegistryFault, When};

use crate::common::{
    MANIFEST, PASSWORD, USER, bytes, client, finish, known, manifest, open, push, push_image,
    shown, upload,
};
use oci::Digest;
use registry::Credentials;

#[tokio::test(flavor = "multi_thread")]
async fn an_image_twice() {
    let registry = Registry::with_token_auth(USER, PASSWORD);
    let blobs: Vec<_> = (0..10).map(|n| bytes(n, 1000 * usize::from(n))).collect();
    let (first, told) = known(&registry);
    let repository = open(&first, &registry, "acme/app");
    repository.check_push().await.unwrap();
    push_image(&repository, &blobs, "1").await.unwrap();
    assert_eq!(registry.complete("acme/app"), Ok(()));
    // One probe, one token, and for each blob HEAD, POST and PUT.
    assert_eq!(registry.count(Kind::Ping), 1);
    assert_eq!(registry.count(Kind::Token), 1);
    assert_eq!(registry.requests().len(), 2 + 2 + 3 * blobs.len() + 1);
    for blob in &blobs {
        assert_eq!(registry.committed("acme/app", &Digest::of(blob)), 1);
    }
    registry.forget();
    let (second, _) = known(&registry);
    let repository = open(&second, &registry, "acme/app");
    let pushed = push_image(&repository, &blobs, "2").await.unwrap();
    assert!(pushed.iter().all(|it| *it == Pushed::Present));
    assert_eq!(registry.uploaded_bytes(), 0);
    assert_eq!(registry.requests().len(), 2 + blobs.len() + 1);
    finish(&registry, &told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts() {
    for accepted in [false, true] {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        let blobs: Vec<_> = (0..4).map(|n| bytes(n, 5000)).collect();
        for blob in &blobs {
            registry.put_blob("acme/base", blob.clone());
        }
        if accepted {
            registry.fault(RegistryFault::MountAccepted);
        }
        let (client, told) = known(&registry);
        let repository = open(&client, &registry, "acme/app");
        let from = ["acme/app".to_owned(), "acme/base".to_owned()];
        for blob in &blobs {
            let pushed = repository.push_blob(&upload(blob, &from)).await.unwrap();
            assert_eq!(
                pushed,
                if accepted {
                    Pushed::Uploaded { bytes: 5000 }
                } else {
                    Pushed::Mounted {
                        from: "acme/base".to_owned(),
                    }
                }
            );
        }
        assert_eq!(registry.count(Kind::PostUpload), 0);
        assert_eq!(registry.count(Kind::Mount), 4);
        finish(&registry, &told, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_mount_is_not_asked_for_again() {
    for status in [401, 403, 404] {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        registry.fault(RegistryFault::MountRefused { status });
        let (client, told) = known(&registry);
        let repository = open(&client, &registry, "acme/app");
        let from = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        for n in 0..3 {
            let blob = bytes(n, 100);
            let pushed = repository.push_blob(&upload(&blob, &from)).await.unwrap();
            assert_eq!(pushed, Pushed::Uploaded { bytes: 100 });
        }
        assert!(registry.count(Kind::Mount) <= 9, "{status}");
        finish(&registry, &told, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_registry_to_registry() {
    let source = Registry::with_token_auth(USER, PASSWORD);
    let target = Registry::with_basic_auth(USER, PASSWORD);
    let blob = bytes(1, 3_000_000);
    source.put_blob("acme/base", blob.clone());
    source.fault_when(RegistryFault::CutBlob { after: 1_000_000 }, When::First(2));
    source.fault(RegistryFault::BlobRedirect);
    let credentials =
        Credentials::fixed(&source.host(), USER, PASSWORD).and(&target.host(), USER, PASSWORD);
    let (client, told) = client(credentials);
    let upload = Upload {
        digest: Digest::of(&blob),
        size: blob.len() as u64,
        mount_from: &[],
        is_new: false,
        content: Content::Blob(open(&client, &source, "acme/base")),
    };
    let repository = open(&client, &target, "acme/app");
    repository.push_blob(&upload).await.unwrap();
    assert!(target.blob("acme/app", &upload.digest).unwrap() == blob);
    finish(&source, &told, None);
    finish(&target, &told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_not_the_networks_fault() {
    type Case = (
        fn(&mut dyn std::io::Write) -> Result<(), oci::BoxError>,
        &'static str,
    );
    let cases: [Case; 3] = [
        (
            |out| {
                out.write_all(&vec![7; 400_000])?;
                Err("the disk is on fire".into())
            },
            "cannot read blob",
        ),
        (
            |out| Ok(out.write_all(&vec![7; 400_000])?),
            "it has 400000 bytes, expected 500000",
        ),
        (
            |out| Ok(out.write_all(&vec![8; 500_000])?),
            "its bytes have the digest",
        ),
    ];
    for (write, expected) in cases {
        let registry = Registry::start();
        let (client, told) = client(Credentials::none());
        let repository = open(&client, &registry, "acme/app");
        let upload = Upload {
            digest: Digest::of(&vec![7; 500_000]),
            size: 500_000,
            mount_from: &[],
            is_new: false,
            content: Content::Written(Arc::new(write)),
        };
        let error = repository.push_blob(&upload).await.unwrap_err();
        assert!(shown(&error, &registry).contains(expected), "{error}");
        assert_eq!(registry.count(Kind::PostUpload), 1);
        assert_eq!(registry.count(Kind::DeleteUpload), 1);
        assert_eq!(registry.blobs("acme/app"), []);
        finish(&registry, &told, Some(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_pieces_only_where_asked_for() {
    for status in [405, 413] {
        let registry = Registry::start();
        registry.fault(RegistryFault::ChunksOnly {
            bytes: 1 << 20,
            status,
        });
        let (client, told) = client(Credentials::none());
        let repository = open(&client, &registry, "acme/app");
        for (n, length) in [(1, 10 << 20), (2, 4 << 20), (3, 1)] {
            let blob = bytes(n, length);
            if let Err(error) = push(&repository, &blob).await {
                panic!("{error}\n{}", told.all());
            }
            assert!(registry.blob("acme/app", &Digest::of(&blob)).unwrap() == blob);
        }
        assert_eq!(registry.count(Kind::PatchUpload), 3 + 1 + 1);
        finish(&registry, &told, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers() {
    for fault in [
        None,
        Some(RegistryFault::NoReferrers { status: 404 }),
        Some(RegistryFault::NoReferrers { status: 200 }),
    ] {
        let registry = Registry::with_token_auth(USER, PASSWORD);
        registry.page_size(1);
        if let Some(fault) = fault {
            registry.fault(fault);
        }
        let (client, told) = known(&registry);
        let repository = open(&client, &registry, "acme/app");
        let blobs = [b"{}".to_vec()];
        push_image(&repository, &blobs, "1").await.unwrap();
        let subject = Digest::of(&manifest(&blobs, ""));
        let size = manifest(&blobs, "").len();
        let mut expected = Vec::new();
        for kind in ["sbom", "provenance"] {
            let referrer = manifest(
                &blobs,
                &format!(
                    r#","artifactType":"application/{kind}","subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":{size}}}"#
                ),
            );
            let digest = Digest::of(&referrer);
            for _ in 0..2 {
                repository
                    .push_manifest(&digest.to_string(), MANIFEST, &referrer)
                    .await
                    .unwrap();
            }
            expected.push(digest.to_string());
        }
        let list = |kind: Option<&'static str>| {
            let repository = repository.clone();
            async move {
                let found = repository.referrers(&subject, kind).await.unwrap();
                let found = found.iter().map(|it| it.digest().to_string());
                let mut found: Vec<_> = found.collect();
                found.sort();
                found
            }
        };
        assert_eq!(list(Some("application/sbom")).await, [expected[0].clone()]);
        expected.sort();
        assert_eq!(list(None).await, expected);
        finish(&registry, &told, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_asked_about_while_its_upload_begins() {
    let registry = Registry::start();
    let (client, told) = known(&registry);
    let repository = open(&client, &registry, "acme/app");
    let blob = bytes(1, 3000);
    for expect in [Pushed::Uploaded { bytes: 3000 }, Pushed::Present] {
        registry.forget();
        let upload = Upload {
            is_new: true,
            ..upload(&blob, &[])
        };
        assert_eq!(repository.push_blob(&upload).await.unwrap(), expect);
        assert_eq!(registry.count(Kind::HeadBlob), 1);
        assert_eq!(registry.count(Kind::PostUpload), 1);
        let is_there = expect == Pushed::Present;
        assert_eq!(registry.count(Kind::DeleteUpload), usize::from(is_there));
        assert_eq!(registry.committed("acme/app", &Digest::of(&blob)), 1);
    }
    finish(&registry, &told, None);
}
