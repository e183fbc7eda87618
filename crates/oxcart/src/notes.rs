//! What a reader of a new lock should know: how large an image becomes and why, and in what platforms
//! differ.

use std::collections::{BTreeMap, BTreeSet};

use oci::Platform;
use resolve::Pinned;

use crate::lock::LockedWheel;
use crate::project::Allowed;

const MB: u64 = 1_000_000;
/// Wheels of one platform, all together, that are worth a warning.
const LARGE: u64 = 1000 * MB;
/// A family below this size is none, however small the rest.
const NOTABLE: u64 = 100 * MB;
/// Packages that a text names.
const SHOWN: usize = 6;

/// Warns of wheels that are large for an image, and names those that make it so. Those that are
/// `allowed` do not count, nor do those that they need.
pub(crate) fn size(
    platform: Platform,
    wheels: &[LockedWheel],
    needs: &BTreeMap<String, Vec<String>>,
    allowed: &Allowed,
) -> Option<String> {
    let allowed = closure(wheels, needs, allowed);
    let wheels: Vec<_> = wheels
        .iter()
        .filter(|it| !allowed.contains(it.name.as_str()))
        .collect();
    let sum = |wheels: &mut dyn Iterator<Item = &LockedWheel>| wheels.map(|it| it.size).sum();
    let total: u64 = sum(&mut wheels.iter().copied());
    let family = wheels.iter().copied();
    let family: u64 = sum(&mut family.filter(|it| is_accelerated(&it.name)));
    let dominates = family > total / 2 && family > NOTABLE;
    if total <= LARGE && !dominates {
        return None;
    }
    let mut largest: Vec<_> = wheels
        .into_iter()
        .filter(|it| !dominates || is_accelerated(&it.name))
        .collect();
    largest.sort_by(|a, b| (b.size, &a.name).cmp(&(a.size, &b.name)));
    let named = largest
        .iter()
        .map(|it| format!("{} {} ({})", it.name, it.version, megabytes(it.size)));
    let what = if dominates {
        format!(
            "{} of {} are torch, triton and nvidia packages",
            megabytes(family),
            megabytes(total)
        )
    } else {
        megabytes(total)
    };
    let first = largest.first().map_or("", |it| it.name.as_str());
    let torch = largest.iter().find(|it| dominates && it.name == "torch");
    let example = torch.map_or(first, |it| it.name.as_str());
    Some(format!(
        "the wheels of {platform} are large: {what}: {}; where a smaller build will do, name its index \
         in [dependencies] sources, or say `allow-large = [\"{example}\"]`: it and what it needs",
        listed(named)
    ))
}

/// The packages that are allowed, and all that they need.
fn closure<'a>(
    wheels: &'a [LockedWheel],
    needs: &'a BTreeMap<String, Vec<String>>,
    allowed: &Allowed,
) -> BTreeSet<&'a str> {
    let names = wheels.iter().map(|it| it.name.as_str());
    let mut found: BTreeSet<_> = names.filter(|name| allowed.has(name)).collect();
    let mut next: Vec<_> = found.iter().copied().collect();
    while let Some(name) = next.pop() {
        let needed = needs.get(name).into_iter().flatten();
        next.extend(needed.map(String::as_str).filter(|it| found.insert(it)));
    }
    found
}

/// What comes with torch for accelerators: it is what makes images large unawares.
fn is_accelerated(name: &str) -> bool {
    name == "torch" || name == "triton" || name.starts_with("nvidia-")
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(MB))
}

/// What one platform has.
pub(crate) struct Having<'a> {
    pub(crate) platform: Platform,
    pub(crate) wheels: &'a [Pinned],
    /// Packages whose presence and version may differ.
    pub(crate) may_diverge: &'a Allowed,
    /// Packages whose dependencies may differ.
    pub(crate) may_need_others: &'a Allowed,
}

/// Tells in what platforms differ: packages that only some have, versions, and dependencies of one
/// version. Nothing is said of packages that one of the platforms allows to, nor of the versions of
/// packages that were `told` of already.
pub(crate) fn divergence(platforms: &[Having<'_>], told: &BTreeSet<String>) -> Vec<String> {
    let mut packages: BTreeMap<&str, Vec<(Platform, &Pinned)>> = BTreeMap::new();
    for having in platforms {
        for wheel in having.wheels {
            let own = packages.entry(&wheel.name).or_default();
            own.push((having.platform, wheel));
        }
    }
    let may_diverge = |name: &str| platforms.iter().any(|it| it.may_diverge.has(name));
    let may_need_others = |name: &str| platforms.iter().any(|it| it.may_need_others.has(name));
    let mut partial: BTreeMap<Vec<Platform>, Vec<&str>> = BTreeMap::new();
    let (mut versions, mut dependencies) = (Vec::new(), Vec::new());
    for (name, own) in &packages {
        if own.len() < platforms.len() && !may_diverge(name) {
            let having = own.iter().map(|(platform, _)| *platform).collect();
            partial.entry(having).or_default().push(name);
        }
        if own.windows(2).any(|it| it[0].1.version != it[1].1.version) {
            if told.contains(*name) || may_diverge(name) {
                continue;
            }
            let own = own.iter();
            let own = own.map(|(platform, wheel)| format!("{} on {platform}", wheel.version));
            versions.push(format!("{name} is {}", own.collect::<Vec<_>>().join(", ")));
        } else if !may_need_others(name) {
            dependencies.extend(different_dependencies(own));
        }
    }
    let partial = partial.iter().map(|(having, names)| {
        let having: Vec<_> = having.iter().map(ToString::to_string).collect();
        let names = names.iter().map(ToString::to_string);
        format!("only {} has {}", having.join(" and "), listed(names))
    });
    partial.chain(versions).chain(dependencies).collect()
}

/// A package of one version that needs others on each platform.
fn different_dependencies(own: &[(Platform, &Pinned)]) -> Option<String> {
    let needs = own.iter().map(|(platform, wheel)| {
        let needs: BTreeSet<&str> = wheel.dependencies.iter().map(String::as_str).collect();
        (*platform, needs)
    });
    let needs: Vec<_> = needs.collect();
    let common = needs.iter().map(|(_, needs)| needs.clone());
    let common = common.reduce(|a, b| &a & &b)?;
    let more: Vec<_> = needs
        .iter()
        .map(|(platform, needs)| (platform, needs - &common))
        .filter(|(_, needs)| !needs.is_empty())
        .map(|(platform, needs)| {
            let needs = needs.iter().map(ToString::to_string);
            format!("{} on {platform}", listed(needs))
        })
        .collect();
    let (_, first) = own.first()?;
    (!more.is_empty()).then(|| {
        format!(
            "{} {} also needs {}",
            first.name,
            first.version,
            more.join("; ")
        )
    })
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use oci::{Digest, Platform};
    use resolve::Pinned;

    use super::{Having, divergence, size};
    use crate::lock::{Hex, LockedWheel};
    use crate::project::Allowed;

    fn told(wheels: &[(&str, u64)]) -> String {
        told_but_for(&Allowed::default(), wheels)
    }

    fn told_but_for(allowed: &Allowed, wheels: &[(&str, u64)]) -> String {
        let wheel = |(name, megabytes): &(&str, u64)| LockedWheel {
            name: (*name).to_owned(),
            version: "1.0".to_owned(),
            filename: String::new(),
            url: String::new(),
            sha256: Hex(Digest::of(b"")),
            size: megabytes * 1_000_000,
            requested: false,
            sdist: None,
        };
        let wheels: Vec<_> = wheels.iter().map(wheel).collect();
        let needs = [
            ("torch", vec!["nvidia-cublas", "triton"]),
            ("triton", vec!["b"]),
        ];
        let needs = needs.map(|(name, needs)| {
            let needs = needs.into_iter().map(str::to_owned).collect();
            (name.to_owned(), needs)
        });
        size(Platform::Arm64, &wheels, &needs.into(), allowed).unwrap_or_default()
    }

    #[test]
    fn what_is_allowed_by_name_is_not_counted() {
        let named = |name: &str| Allowed::Named(vec![name.to_owned()]);
        let wheels = [
            ("a", 900),
            ("b", 300),
            ("nvidia-cublas", 700),
            ("torch", 200),
            ("triton", 200),
        ];
        assert_ne!(told(&wheels), "");
        assert_eq!(told_but_for(&Allowed::All(true), &wheels), "");
        // `a` alone is below the limit; `b` comes with torch.
        assert_eq!(told_but_for(&named("torch"), &wheels), "");
        let rest = told_but_for(&named("a"), &wheels);
        assert!(rest.contains("1100 MB of 1400 MB are torch"), "{rest}");
        assert!(rest.contains("allow-large = [\"torch\"]"), "{rest}");
        let rest = told_but_for(&named("torch"), &[("a", 1200), ("c", 10), ("torch", 900)]);
        assert!(rest.contains("1210 MB: a 1.0 (1200 MB), c 1.0"), "{rest}");
    }

    #[test]
    fn what_makes_an_image_large_is_named() {
        assert_eq!(told(&[("numpy", 20), ("torch", 5)]), "");
        assert_eq!(told(&[("numpy", 990), ("torch", 10)]), "");
        // Small, though more than half.
        assert_eq!(told(&[("numpy", 20), ("torch", 90)]), "");
        insta::assert_snapshot!(told(&[("a", 600), ("b", 600), ("torch", 100)]));
        insta::assert_snapshot!(told(&[
            ("numpy", 20),
            ("torch", 570),
            ("nvidia-cublas", 590),
            ("nvidia-cudnn", 590),
            ("nvidia-a", 1),
            ("nvidia-b", 2),
            ("nvidia-c", 3),
            ("triton", 200),
        ]));
    }

    fn pinned(line: &str) -> Pinned {
        let mut words = line.split(' ').map(str::to_owned);
        Pinned {
            name: words.next().unwrap(),
            version: words.next().unwrap(),
            filename: String::new(),
            url: String::new(),
            sha256: None,
            size: None,
            uploaded: None,
            index: None,
            requested: false,
            is_sdist: false,
            dependencies: words.collect(),
        }
    }

    #[test]
    fn what_platforms_differ_in_is_told() {
        let none = BTreeSet::new();
        let amd: Vec<_> = ["torch 2.1 numpy cuda rt", "numpy 2.0", "cuda 1", "rt 1"]
            .map(pinned)
            .to_vec();
        let arm: Vec<_> = ["torch 2.1 numpy", "numpy 1.9"].map(pinned).to_vec();
        let named = |name: &str| Allowed::Named(vec![name.to_owned()]);
        let (nothing, all) = (Allowed::default(), Allowed::All(true));
        let (cuda, torch) = (named("cuda"), named("torch"));
        let having = |platform, wheels, may_diverge, may_need_others| Having {
            platform,
            wheels,
            may_diverge,
            may_need_others,
        };
        let both = |diverge, need| {
            let arm = having(Platform::Arm64, &arm[..], diverge, need);
            divergence(
                &[having(Platform::Amd64, &amd[..], &nothing, &nothing), arm],
                &none,
            )
        };
        let told = both(&nothing, &nothing);
        insta::assert_snapshot!(told.join("\n"), @r"
        only linux/amd64 has cuda, rt
        numpy is 2.0 on linux/amd64, 1.9 on linux/arm64
        torch 2.1 also needs cuda, rt on linux/amd64
        ");
        insta::assert_snapshot!(both(&cuda, &torch).join("\n"), @r"
        only linux/amd64 has rt
        numpy is 2.0 on linux/amd64, 1.9 on linux/arm64
        ");
        assert_eq!(both(&all, &torch), [""; 0]);
        let same = [Platform::Amd64, Platform::Arm64];
        let same = same.map(|platform| having(platform, &amd[..], &nothing, &nothing));
        assert_eq!(divergence(&same, &none), [""; 0]);
        assert_eq!(divergence(&same[..1], &none), [""; 0]);
    }
}
