//! Pulls: what comes of them under each profile, and what is asked for.

use testkit::{Host, Kind, Registry, RegistryFault as Fault, When};

use crate::Expected::{self, Completes, Fails};
use crate::image::{Image, LARGE, MANIFEST, REPOSITORY};
use crate::{open, start};

/// What comes of a pull.
pub(crate) fn expected(profile: &str) -> Expected {
    match profile {
        "wrong-manifest" | "wrong-blob" | "wrong-digest-header" => Fails("sha256:"),
        "long-blob" | "short-blob" => Fails("bytes"),
        "redirect-cycle" => Fails("redirect"),
        "token-500-always" => Fails("500"),
        _ => Completes,
    }
}

fn bytes_out(registry: &Registry) -> u64 {
    let requests = registry.requests();
    let blobs = requests.iter().filter(|it| it.kind == Kind::GetBlob);
    blobs.map(|it| it.bytes_out).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pull_goes_on_where_it_was() {
    let image = Image::new(LARGE, 1);
    let registry = start();
    image.seed(&registry, "1");
    registry.fault_when(Fault::CutBlob { after: 500_000 }, When::First(5));
    image.pull(&open(&registry), "1").await.unwrap();
    let blobs = image.layers.iter().chain(&image.configs);
    let sizes: u64 = blobs.map(|it| it.bytes.len() as u64).sum();
    assert_eq!(bytes_out(&registry), sizes);
    let requests = registry.requests();
    assert!(requests.iter().any(|it| it.status == 206));
    registry.assert_conformant();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_gets_no_credentials() {
    let image = Image::new(LARGE, 1);
    let registry = start();
    image.seed(&registry, "1");
    registry.fault(Fault::BlobRedirect);
    registry.fault_when(Fault::CutBlob { after: 500_000 }, When::First(2));
    image.pull(&open(&registry), "1").await.unwrap();
    registry.assert_conformant();
    let requests = registry.requests();
    let foreign = || requests.iter().filter(|it| it.host == Host::Foreign);
    assert!(foreign().count() >= image.layers.len());
    assert!(foreign().all(|it| it.scheme.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_types_are_accepted() {
    let registry = start();
    let repository = open(&registry);
    for media_type in [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ] {
        let digest = registry.put_manifest(REPOSITORY, "1", media_type, "{}");
        let found = repository.resolve("1").await.unwrap().unwrap();
        assert_eq!(found.media_type().to_string(), media_type);
        let found = repository.manifest("1").await.unwrap();
        assert_eq!(
            (found.digest, found.media_type),
            (digest, media_type.to_owned())
        );
    }
    assert!(repository.resolve("2").await.unwrap().is_none());
    registry.assert_conformant();
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_in_pages() {
    let registry = start();
    for tag in ["1", "2", "3", "4", "5"] {
        registry.put_manifest(REPOSITORY, tag, MANIFEST, "{}");
    }
    registry.page_size(2);
    let tags = open(&registry).tags().await.unwrap();
    assert_eq!(tags, ["1", "2", "3", "4", "5"]);
    registry.assert_conformant();
}
