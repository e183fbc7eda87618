//! Every profile alone: a push under it, and a pull.

use futures::{StreamExt as _, stream};
use testkit::{Profile, Registry, RegistryFault, profiles};

use crate::image::{Image, LARGE};
use crate::{Expected, USER, compare, open, open_as, pull, push, start};

#[tokio::test(flavor = "multi_thread")]
async fn every_profile() {
    let image = Image::new(LARGE, 1);
    let profiles = profiles();
    let failures: Vec<_> = stream::iter(&profiles)
        .map(|profile| check(profile, &image))
        .buffered(6)
        .filter_map(|it| std::future::ready(it.err()))
        .collect()
        .await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

async fn check(profile: &Profile, image: &Image) -> Result<(), String> {
    let pushed = check_push(profile, image).await?;
    let pulled = check_pull(profile, image).await?;
    let faults = profile.faults.iter().map(|(fault, _)| *fault);
    for fault in faults {
        let is_met = |registry: &Registry| registry.faults_met().contains(&fault);
        // No chunk is larger than any registry is known to take.
        let is_avoided = matches!(fault, RegistryFault::PatchLimit { .. });
        if !is_avoided && !is_met(&pushed) && !is_met(&pulled) {
            return Err(format!("{}: {fault:?} was never met", profile.name));
        }
    }
    Ok(())
}

async fn check_push(profile: &Profile, image: &Image) -> Result<Registry, String> {
    let registry = start();
    image.seed_base(&registry);
    registry.faults(&profile.faults);
    let outcome = image.push(&open(&registry), "1").await;
    compare(&outcome, push::expected(profile.name))
        .and_then(|()| image.check(&registry, "1", outcome.is_ok()))
        .map_err(|what| tell(profile, "push", &what, &registry))?;
    if outcome.is_err() {
        return Ok(registry);
    }
    let uploaded = registry.uploaded_bytes();
    let outcome = image.push(&open(&registry), "2").await;
    compare(&outcome, Expected::Completes)
        .and_then(|()| image.check(&registry, "2", true))
        .and_then(|()| match registry.uploaded_bytes() - uploaded {
            0 => Ok(()),
            bytes => Err(format!("{bytes} bytes were sent again")),
        })
        .map_err(|what| tell(profile, "second push", &what, &registry))?;
    Ok(registry)
}

async fn check_pull(profile: &Profile, image: &Image) -> Result<Registry, String> {
    let registry = start();
    image.seed(&registry, "1");
    registry.faults(&profile.faults);
    let repository = if profile.name.starts_with("token-") {
        open_as(&registry, "<token>", &registry.identity_token(USER))
    } else {
        open(&registry)
    };
    let mut outcome = image.pull(&repository, "1").await;
    if outcome.is_ok() {
        // Nothing that refers to it, whichever way that is said.
        let referrers = repository.referrers(&image.index.digest, None).await;
        outcome = referrers.map(|it| assert!(it.is_empty()));
    }
    compare(&outcome, pull::expected(profile.name))
        .and_then(|()| match &registry.violations()[..] {
            [] => Ok(()),
            violations => Err(format!("violations: {violations:#?}")),
        })
        .map_err(|what| tell(profile, "pull", &what, &registry))?;
    Ok(registry)
}

fn tell(profile: &Profile, action: &str, what: &str, registry: &Registry) -> String {
    let requests: Vec<_> = registry
        .requests()
        .iter()
        .map(ToString::to_string)
        .collect();
    let requests = requests.join("\n    ");
    format!("{} {action}: {what}\n    {requests}", profile.name)
}
