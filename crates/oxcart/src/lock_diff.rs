//! What another lock would change: package by package, for each platform.

use std::collections::BTreeMap;

use crate::lock::{Lock, LockedPlatform};

/// The changes from one lock to another, in lines; none where both hold the same.
pub(crate) fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let mut lines = Vec::new();
    for platform in &new.platforms {
        let before = old.platform(platform.name).map(packages);
        let changed = compare(&before.unwrap_or_default(), &packages(platform));
        if !changed.is_empty() {
            lines.push(platform.name.to_string());
            lines.extend(changed);
        }
    }
    for platform in &old.platforms {
        if new.platform(platform.name).is_none() {
            lines.push(format!("- {}", platform.name));
        }
    }
    lines
}

/// All that a platform is made of: name to version, and to what tells files of a version apart.
fn packages(platform: &LockedPlatform) -> BTreeMap<String, (String, String)> {
    let mut packages = BTreeMap::new();
    let base = &platform.base;
    let manifest = base.image.as_ref().map(|image| image.manifest.digest);
    let manifest = manifest.map_or_else(String::new, |digest| digest.to_string());
    packages.insert("base".to_owned(), (base.reference.clone(), manifest));
    if let Some(python) = &platform.python {
        let version = (python.version.clone(), python.libc.clone());
        packages.insert("python".to_owned(), version);
    }
    for deb in &platform.debs {
        let name = format!("{} (Debian)", deb.name);
        packages.insert(name, (deb.version.clone(), deb.sha256.0.hex()));
    }
    for reused in &platform.reused {
        let name = format!("{} (of the base)", reused.name);
        packages.insert(name, (reused.version.clone(), String::new()));
    }
    for wheel in &platform.wheels {
        let version = (
            wheel.version.clone(),
            wheel.filename.clone() + &wheel.sha256.0.hex(),
        );
        packages.insert(wheel.name.clone(), version);
    }
    packages
}

fn compare(
    old: &BTreeMap<String, (String, String)>,
    new: &BTreeMap<String, (String, String)>,
) -> Vec<String> {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let line = |name: &String| match (old.get(name), new.get(name)) {
        (Some(old), Some(new)) if old == new => None,
        (Some((old, _)), Some((new, _))) if old == new => {
            Some(format!("  {name} {old}: another file"))
        }
        (Some((old, _)), Some((new, _))) => Some(format!("  {name} {old} -> {new}")),
        (Some((old, _)), None) => Some(format!("  - {name} {old}")),
        (None, new) => new.map(|(new, _)| format!("  + {name} {new}")),
    };
    names.into_iter().filter_map(line).collect()
}
