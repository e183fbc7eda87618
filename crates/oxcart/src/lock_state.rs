//! Whether an image has what the project's lock says: base, packages and versions, and the layers that the
//! lock states, as far as the image's documents tell; Debian's packages one by one where its layers were read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anatomy::{Inspection, LockReport, LockState};

use crate::lock::{DebLayer, Lock, LockedPlatform};
use crate::project::config;

/// Differences that are named.
const NAMED: usize = 6;

/// How `inspection` compares with the locks of the project in `directory`: with the one that it fits best,
/// since each profile has its own. None where there is no project.
pub(crate) fn lock_state(directory: &Path, inspection: &Inspection) -> Option<LockReport> {
    let is_project = directory.join("oxcart.toml").is_file() || config::read(directory).is_ok();
    if !is_project {
        return None;
    }
    let found = locks(directory).into_iter().map(|file| {
        let differences = match Lock::read(&directory.join(&file)) {
            Ok(Some(lock)) => differences(&lock, inspection),
            Ok(None) => vec!["it is gone".to_owned()],
            Err(error) => vec![error.to_string()],
        };
        (differences, file)
    });
    Some(
        match found.min_by_key(|(differences, _)| differences.len()) {
            None => LockReport {
                state: LockState::None,
                file: None,
                differences: Vec::new(),
            },
            Some((mut differences, file)) => {
                let more = differences.len().saturating_sub(NAMED);
                differences.truncate(NAMED);
                if more > 0 {
                    differences.push(format!("{more} more"));
                }
                LockReport {
                    state: if differences.is_empty() {
                        LockState::Same
                    } else {
                        LockState::Different
                    },
                    file: Some(file),
                    differences,
                }
            }
        },
    )
}

/// `oxcart.lock`, then those of profiles.
fn locks(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names
        .filter(|name| {
            let profile = name.strip_prefix("oxcart.");
            let profile = profile.and_then(|rest| rest.strip_suffix("lock"));
            profile.is_some_and(|profile| profile.is_empty() || profile.ends_with('.'))
        })
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names
}

fn differences(lock: &Lock, inspection: &Inspection) -> Vec<String> {
    let mut found = Vec::new();
    let platforms = &inspection.platforms;
    for locked in &lock.platforms {
        let name = locked.name.to_string();
        match platforms.iter().find(|it| it.platform == name) {
            None => found.push(format!("the image has no {name}")),
            Some(platform) => {
                let of_platform = of_platform(locked, platform);
                found.extend(of_platform.into_iter().map(|it| format!("{name}: {it}")));
            }
        }
    }
    let is_locked = |name: &str| lock.platforms.iter().any(|it| it.name.to_string() == name);
    let unknown = platforms.iter().filter(|it| !is_locked(&it.platform));
    found.extend(unknown.map(|it| format!("it has no {}", it.platform)));
    found
}

fn of_platform(locked: &LockedPlatform, platform: &anatomy::Platform) -> Vec<String> {
    let mut found = members(locked, platform);
    let of_base = locked.base.image.as_ref().map_or(0, |it| it.layers.len());
    let own = platform.layers.iter().skip(of_base);
    let other = own
        .zip(&locked.layers)
        .find(|(own, locked)| own.diff_id != locked.diff_id.0.to_string());
    // Where versions differ, so do bytes.
    if let (true, Some((own, _))) = (found.is_empty(), other) {
        let number = own.number;
        found.push(format!("layer {number} has other bytes: {}", own.title()));
    }
    found
}

/// The base, and what is in the layers on top of it.
fn members(locked: &LockedPlatform, platform: &anatomy::Platform) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(image) = &locked.base.image {
        let base = image.layers.iter().map(|layer| layer.diff_id.0.to_string());
        let own = platform.layers.iter().map(|layer| layer.diff_id.clone());
        if !base.eq(own.take(image.layers.len())) {
            found.push(format!("another base than {}", locked.base.reference));
        }
    }
    let wheels = locked.wheels.iter();
    let wheels = wheels.map(|it| (it.name.as_str(), it.version.as_str()));
    let members = platform.layers.iter().flat_map(|layer| &layer.members);
    let members = members.filter_map(|member| member.split_once(' '));
    found.extend(versions(wheels.collect(), members.collect()));
    match &platform.contents {
        Some(contents) => {
            let packages = contents.packages.iter();
            let packages = packages.filter(|it| it.ecosystem == contents::Ecosystem::Debian);
            let packages: BTreeMap<_, _> = packages
                .map(|it| (it.name.as_str(), it.version.as_str()))
                .collect();
            let debs = locked.debs.iter();
            let debs = debs.map(|it| (it.name.as_str(), it.version.as_str()));
            let mut own = packages;
            if locked.base.image.is_some() {
                // The base's own are the base's matter.
                own.retain(|name, _| locked.debs.iter().any(|it| it.name == *name));
            }
            found.extend(versions(debs.collect(), own));
        }
        None => {
            for (layer, kind) in [(DebLayer::Base, "base"), (DebLayer::System, "system")] {
                let count = locked.debs.iter().filter(|it| it.layer == layer).count();
                let title = format!("{kind}: {count} Debian packages");
                let layers = &platform.layers;
                if count > 0 && !layers.iter().any(|layer| layer.comment == title) {
                    found.push(format!("the layer of {count} Debian packages is another"));
                }
            }
        }
    }
    found
}

fn versions(locked: BTreeMap<&str, &str>, mut own: BTreeMap<&str, &str>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, version) in locked {
        match own.remove(name) {
            Some(other) if other == version => {}
            Some(other) => found.push(format!("{name} {version}, and {other} in the image")),
            None => found.push(format!("{name} {version} is not in the image")),
        }
    }
    let more = own.iter();
    found.extend(more.map(|(name, version)| format!("{name} {version} is only in the image")));
    found
}
