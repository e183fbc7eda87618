//! What a project asks for, as a digest that the lock keeps: another one means that the lock is stale.

use oci::{Digest, Platform};
use resolve::Inputs;
use serde_json::json;

use crate::base;
use crate::lock::Lock;
use crate::project::{Base, Dependencies, Project, Versions};
use crate::project_wheel;
use crate::registries::Registries;

/// Whether `lock` says what `project` asks for, on every one of `platforms`; where not, on which and
/// why.
pub(crate) async fn staleness(
    project: &Project,
    lock: &Lock,
    platforms: &[Platform],
    registries: &Registries,
) -> anyhow::Result<Option<String>> {
    if lock.layer_format != oci::layer::FORMAT {
        return Ok(Some(format!(
            "it was written for layer format {}, and this oxcart has {}",
            lock.layer_format,
            oci::layer::FORMAT
        )));
    }
    for platform in platforms {
        let Some(locked) = lock.platform(*platform) else {
            return Ok(Some(format!("it lacks {platform}")));
        };
        if locked.inputs != asked(project, *platform, registries).await?.digest {
            return Ok(Some(format!("what {platform} is made of was changed")));
        }
    }
    Ok(None)
}

/// What a platform asks for.
pub(crate) struct Asked {
    /// The digest of all of it.
    pub(crate) digest: Digest,
    /// Whether it is any wheel.
    pub(crate) any: bool,
    /// Whether another tool's lock says which versions there are.
    pub(crate) are_locked: bool,
}

pub(crate) async fn asked(
    project: &Project,
    platform: Platform,
    registries: &Registries,
) -> anyhow::Result<Asked> {
    let (mut text, mut any, mut are_locked) = (json!(null), false, false);
    let mut policies = json!({});
    if let Some(dependencies) = project.dependencies(platform) {
        let inputs = Inputs::read(&dependencies.inputs).await?;
        text = json!([inputs.fingerprint(), secretless(&dependencies.indexes)]);
        (any, are_locked) = (!inputs.is_empty(), inputs.are_locked());
        policies = self::policies(dependencies);
        if !dependencies.policies.build_from_source.is_empty() {
            policies["formats"] = json!(inputs.format_options());
        }
        if dependencies.project.is_some() {
            // What the backend needs is locked; the sources that it builds are not.
            let system = backend::BuildSystem::read(&project.directory, "the project")?;
            policies["project"] = json!([
                project_wheel::name(&project.directory)?.to_string(),
                system.requires,
                system.backend
            ]);
            any = true;
        }
    }
    let mut asked = json!({
        "base": project.base.to_string(),
        "python": project.python,
        "system": project.system,
        "dependencies": text,
    });
    if let Base::Image { location, .. } = &project.base {
        asked["image"] = json!(base::on_disk(location, registries).await?);
        asked["venv"] = json!(project.venv.as_ref().map(ToString::to_string));
        asked["reuse-base"] = json!(
            project
                .dependencies(platform)
                .is_some_and(|it| it.reuse_base)
        );
    }
    if let Some(debian) = project.debian.asked().filter(|_| takes_debs(project)) {
        asked["debian"] = debian;
    }
    if policies != json!({}) {
        asked["policies"] = policies;
    }
    Ok(Asked {
        digest: Digest::of(&oci::json::canonical(&asked)),
        any,
        are_locked,
    })
}

/// Whether Debian packages are chosen at all.
fn takes_debs(project: &Project) -> bool {
    matches!(project.base, Base::Debian(_)) || !project.system.is_empty()
}

/// What of a platform's dependencies is not as it is by default.
fn policies(dependencies: &Dependencies) -> serde_json::Value {
    let own = &dependencies.policies;
    let sorted = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort_unstable();
        texts
    };
    let mut policies = json!({});
    if dependencies.versions == Versions::Independent {
        policies["versions"] = json!("independent");
    }
    for (key, texts) in [
        ("constraints", &own.constraints),
        ("overrides", &own.overrides),
        ("exclude", &own.exclude),
        ("no-binary", &own.no_binary),
        ("build-from-source", &own.build_from_source),
    ] {
        if !texts.is_empty() {
            policies[key] = json!(sorted(texts));
        }
    }
    for (key, is_set) in [
        ("pre-releases", own.pre_releases),
        ("require-hashes", own.require_hashes),
    ] {
        if is_set {
            policies[key] = json!(true);
        }
    }
    if own.prefer_binary && !own.build_from_source.is_empty() {
        policies["prefer-binary"] = json!(true);
    }
    for (name, url) in &own.sources {
        policies["sources"][name] = json!(crate::fetch::without_secrets(url));
    }
    policies
}

fn secretless(indexes: &resolve::Indexes) -> serde_json::Value {
    let clean = |urls: &[String]| {
        urls.iter()
            .map(|url| crate::fetch::without_secrets(url))
            .collect::<Vec<_>>()
    };
    json!([
        indexes
            .default
            .as_deref()
            .map(crate::fetch::without_secrets),
        clean(&indexes.extra),
        clean(&indexes.find_links)
    ])
}
