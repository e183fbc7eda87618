//! Scopes: what a token is asked for (distribution's token authentication, section "Resource
//! Provider Use of Token Scope"): `repository:acme/app:pull,push`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A set of scopes. Actions on one resource are kept together.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// To read from `repository`.
    pub(crate) fn pull(repository: &str) -> Self {
        Self::of(repository, &["pull"])
    }

    /// To read from and write to `repository`.
    pub(crate) fn push(repository: &str) -> Self {
        Self::of(repository, &["pull", "push"])
    }

    fn of(repository: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|&action| action.to_owned()).collect();
        Self(BTreeMap::from([(
            format!("repository:{repository}"),
            actions,
        )]))
    }

    /// The scopes of a challenge's `scope` parameter, which are separated by spaces.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split_ascii_whitespace() {
            let (resource, actions) = scope.rsplit_once(':').unwrap_or((scope, ""));
            let actions = actions.split(',').filter(|action| !action.is_empty());
            scopes
                .0
                .entry(resource.to_owned())
                .or_default()
                .extend(actions.map(str::to_owned));
        }
        scopes
    }

    /// These and the others.
    pub(crate) fn union(mut self, other: &Self) -> Self {
        for (resource, actions) in &other.0 {
            self.0
                .entry(resource.clone())
                .or_default()
                .extend(actions.iter().cloned());
        }
        self
    }

    /// Whether whoever has these may do what `other` needs.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|(resource, actions)| {
            self.0
                .get(resource)
                .is_some_and(|granted| actions.is_subset(granted))
        })
    }

    /// Each scope as a token server takes it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::Scopes;

    #[test]
    fn they_unite() {
        let union = Scopes::push("acme/app")
            .union(&Scopes::pull("acme/base"))
            .union(&Scopes::parse(
                "repository:acme/app:pull,delete registry:catalog:*",
            ));
        assert_eq!(
            union.to_string(),
            "registry:catalog:* repository:acme/app:delete,pull,push repository:acme/base:pull"
        );
    }

    #[test]
    fn more_covers_less() {
        assert!(Scopes::push("a").cover(&Scopes::pull("a")));
        assert!(!Scopes::pull("a").cover(&Scopes::push("a")));
        assert!(!Scopes::push("a").cover(&Scopes::pull("b")));
    }
}
