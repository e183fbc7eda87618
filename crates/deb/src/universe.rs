//! All packages that can be chosen for one architecture, from any number of indexes.

use std::collections::BTreeMap;

use crate::{Architecture, Package, Version};

/// One candidate per package name: the highest version, and of equal ones that of the first index,
/// as apt has it for archives of equal priority.
#[derive(Debug, Clone)]
pub struct Universe {
    architecture: Architecture,
    /// Ordered by name, which occurs once.
    packages: Vec<Package>,
    /// By what is provided: the providers, the best first.
    providers: BTreeMap<String, Vec<(usize, Option<Version>)>>,
}

impl Universe {
    /// The packages of `architecture` and `all` in `indexes`.
    pub fn new(
        architecture: Architecture,
        indexes: impl IntoIterator<Item = Vec<Package>>,
    ) -> Self {
        let usable = |package: &Package| {
            package.architecture == architecture || package.architecture.is_all()
        };
        let mut packages: Vec<Package> = indexes.into_iter().flatten().filter(usable).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| b.version.cmp(&a.version)));
        packages.dedup_by(|lower, higher| lower.name == higher.name);
        packages.shrink_to_fit();

        let mut providers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (n, package) in packages.iter().enumerate() {
            for (name, version) in &package.provides {
                providers
                    .entry(name.clone())
                    .or_default()
                    .push((n, version.clone()));
            }
        }
        for list in providers.values_mut() {
            list.sort_by_key(|(n, _)| (!packages[*n].essential, packages[*n].priority, *n));
        }
        Self {
            architecture,
            packages,
            providers,
        }
    }

    /// The architecture it is for.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The package of that name.
    pub fn get(&self, name: &str) -> Option<&Package> {
        self.position(name).map(|n| self.package(n))
    }

    /// The packages that provide `name`, with the version they provide it in: essential ones first,
    /// then by priority, then by name.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = (&Package, Option<&Version>)> {
        self.provider_positions(name)
            .map(|(n, version)| (self.package(n), version))
    }

    /// All of them, by name.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter()
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.packages
            .binary_search_by(|package| package.name.as_str().cmp(name))
            .ok()
    }

    pub(crate) fn package(&self, position: usize) -> &Package {
        &self.packages[position]
    }

    pub(crate) fn provider_positions(
        &self,
        name: &str,
    ) -> impl Iterator<Item = (usize, Option<&Version>)> {
        let list = self
            .providers
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter().map(|(n, version)| (*n, version.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::tests::index;

    fn universe(indexes: &[&str]) -> Universe {
        let architecture = Architecture::new("arm64").unwrap();
        Universe::new(architecture, indexes.iter().map(|text| index(text)))
    }

    fn shown(universe: &Universe) -> String {
        let show = |package: &Package| {
            format!(
                "{} {} {}",
                package.name, package.version, package.architecture
            )
        };
        universe.packages().map(show).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_highest_version_wins_wherever_it_is() {
        let main = "b 1:1\n a 2\n c 1.0";
        let security = "a 10\n b 2\n d 1";
        let expect = "a 10 arm64, b 1:1 arm64, c 1.0 arm64, d 1 arm64";
        assert_eq!(shown(&universe(&[main, security])), expect);
        assert_eq!(shown(&universe(&[security, main])), expect);
    }

    #[test]
    fn of_equal_versions_the_first_indexs_wins() {
        let (first, second) = ("a 1.0", "a 1.00");
        assert_eq!(shown(&universe(&[first, second])), "a 1.0 arm64");
        assert_eq!(shown(&universe(&[second, first])), "a 1.00 arm64");
    }

    #[test]
    fn other_architectures_are_left_out() {
        let text = "a 1\n Architecture: amd64\nb 1\n Architecture: all";
        assert_eq!(shown(&universe(&[text])), "b 1 all");
    }

    #[test]
    fn providers_have_an_order() {
        let text = "z 1\n Provides: v\n Priority: required\na 1\n Provides: w, v (= 3)\n\
                    m 1\n Provides: v\n Essential: yes\nb 1\n Provides: v";
        let universe = universe(&[text]);
        let names: Vec<_> = universe
            .providers("v")
            .map(|(package, _)| &package.name)
            .collect();
        assert_eq!(names, ["m", "z", "a", "b"]);
        let version = universe.providers("v").nth(2).unwrap().1;
        assert_eq!(version.map(ToString::to_string).as_deref(), Some("3"));
        assert_eq!(universe.providers("x").count(), 0);
    }
}
