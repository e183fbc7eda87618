//! Which archive a package comes from, and in which version, where more than the highest version
//! counts: what apt's preferences are for, in two rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Package, Version};

/// The packages of one archive for one architecture.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What messages call the archive.
    pub archive: String,
    /// All its packages.
    pub packages: Vec<Package>,
    /// Names of packages that come from here whatever others have. What else is here counts only
    /// where no archive without such names has it. None: its packages compete by their versions.
    pub only: Option<BTreeSet<String>>,
}

/// A preference that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreferenceError {
    /// An archive lacks a package that has to come from it.
    #[error("{archive} has no package {package}")]
    Lacks {
        /// What the archive is called.
        archive: String,
        /// The package's name.
        package: String,
    },
    /// No archive has the version that is wanted.
    #[error("no archive has {package} {version}{}", Others(.others))]
    Version {
        /// The package's name.
        package: String,
        /// The version that is wanted.
        version: Version,
        /// The versions that there are, with their archives.
        others: Vec<(Version, String)>,
    },
}

struct Others<'a>(&'a [(Version, String)]);

impl std::fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str(", nor any other version");
        }
        for (n, (version, archive)) in self.0.iter().enumerate() {
            let lead = if n == 0 { "; there is" } else { "," };
            write!(f, "{lead} {version} in {archive}")?;
        }
        Ok(())
    }
}

/// The packages of `offers` that may be chosen, in the order of the offers: of a package that is to
/// come from one archive only that archive's, of one in `pins` only that version.
pub fn prefer(
    mut offers: Vec<Offer>,
    pins: &BTreeMap<String, Version>,
) -> Result<Vec<Vec<Package>>, PreferenceError> {
    for offer in &offers {
        for package in offer.only.iter().flatten() {
            if !offer.packages.iter().any(|it| it.name == *package) {
                return Err(PreferenceError::Lacks {
                    archive: offer.archive.clone(),
                    package: package.clone(),
                });
            }
        }
    }
    let claimed: BTreeSet<String> = offers
        .iter()
        .flat_map(|offer| offer.only.iter().flatten().cloned())
        .collect();
    if !claimed.is_empty() {
        let open = offers.iter().filter(|offer| offer.only.is_none());
        let elsewhere: BTreeSet<String> = open
            .flat_map(|offer| offer.packages.iter().map(|it| it.name.clone()))
            .collect();
        for Offer { packages, only, .. } in &mut offers {
            packages.retain(|it| match only {
                Some(names) if names.contains(&it.name) => true,
                Some(_) => !claimed.contains(&it.name) && !elsewhere.contains(&it.name),
                None => !claimed.contains(&it.name),
            });
        }
    }
    for (name, version) in pins {
        let all = offers.iter().flat_map(|offer| {
            let named = offer.packages.iter().filter(|it| it.name == *name);
            named.map(|it| (it.version.clone(), offer.archive.clone()))
        });
        let mut others: Vec<_> = all.collect();
        if !others.iter().any(|(it, _)| it == version) {
            others.sort();
            others.dedup();
            return Err(PreferenceError::Version {
                package: name.clone(),
                version: version.clone(),
                others,
            });
        }
        for offer in &mut offers {
            let is_right = |it: &Package| it.name != *name || it.version == *version;
            offer.packages.retain(is_right);
        }
    }
    Ok(offers.into_iter().map(|offer| offer.packages).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::tests::index;

    fn offer(archive: &str, text: &str, only: &[&str]) -> Offer {
        let names = only.iter().map(|name| (*name).to_owned());
        Offer {
            archive: archive.to_owned(),
            packages: index(text),
            only: (!only.is_empty()).then(|| names.collect()),
        }
    }

    /// What is left of each offer, and the error's text where there is one.
    fn check(offers: &[Offer], pins: &[(&str, &str)]) -> String {
        let pins = pins
            .iter()
            .map(|(name, version)| ((*name).to_owned(), version.parse().unwrap()));
        match prefer(offers.to_vec(), &pins.collect()) {
            Err(error) => error.to_string(),
            Ok(left) => {
                let show = |it: &Package| format!("{} {}", it.name, it.version);
                let lists = left
                    .iter()
                    .map(|it| it.iter().map(show).collect::<Vec<_>>().join(", "));
                lists.collect::<Vec<_>>().join(" | ")
            }
        }
    }

    #[test]
    fn without_preferences_all_stays() {
        let offers = [offer("debian", "a 1\nb 1", &[]), offer("more", "a 2", &[])];
        assert_eq!(check(&offers, &[]), "a 1, b 1 | a 2");
    }

    #[test]
    fn a_named_package_comes_from_its_archive_alone() {
        let debian = offer("debian", "a 9\nb 1", &[]);
        // `c` is nowhere else, so it can be needed; `b` is, so it is not taken from here.
        let more = offer("more", "a 2\nb 7\nc 1", &["a"]);
        assert_eq!(
            check(&[debian.clone(), more.clone()], &[]),
            "b 1 | a 2, c 1"
        );
        assert_eq!(check(&[more, debian.clone()], &[]), "a 2, c 1 | b 1");
        let wrong = offer("more", "b 7", &["a"]);
        insta::assert_snapshot!(check(&[debian, wrong], &[]), @"more has no package a");
    }

    #[test]
    fn a_pin_leaves_one_version() {
        let offers = [
            offer("debian", "a 1\nb 1", &[]),
            offer("security", "a 1.1", &[]),
        ];
        assert_eq!(check(&offers, &[("a", "1")]), "a 1, b 1 | ");
        assert_eq!(
            check(&offers, &[("a", "1.10")]),
            "no archive has a 1.10; there is 1 in debian, 1.1 in security"
        );
        insta::assert_snapshot!(check(&offers, &[("x", "1")]), @"no archive has x 1, nor any other version");
    }
}
