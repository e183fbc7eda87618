//! Formats: which packages may come from wheels, and which from sources.
//!
//! Follows pip's `--only-binary` and `--no-binary`: each takes names, `:all:` or `:none:`, later ones
//! win over earlier ones, and a name wins over `:all:`.

use std::collections::BTreeSet;

use crate::input::normalize_name;

const ALL: &str = ":all:";
const NONE: &str = ":none:";

/// What the options said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats {
    only_binary: BTreeSet<String>,
    no_binary: BTreeSet<String>,
}

/// One option with its value, in which commas separate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FormatOption {
    OnlyBinary(String),
    NoBinary(String),
}

impl Formats {
    /// Obeys `--only-binary VALUE`.
    pub fn only_binary(&mut self, value: &str) {
        obey(value, &mut self.only_binary, &mut self.no_binary);
    }

    /// Obeys `--no-binary VALUE`.
    pub fn no_binary(&mut self, value: &str) {
        obey(value, &mut self.no_binary, &mut self.only_binary);
    }

    /// Whether a wheel of the package may be used.
    pub fn allow_wheel(&self, package: &str) -> bool {
        self.only_binary.contains(package)
            || !(self.no_binary.contains(package)
                || (self.no_binary.contains(ALL) && !self.only_binary.contains(ALL)))
    }

    /// Whether an sdist of the package may be used where one is allowed by the package's name.
    pub(crate) fn allow_named_sdist(&self, package: &str) -> bool {
        !self.only_binary.contains(package)
    }

    /// Whether an sdist of the package may be used where all are allowed.
    pub(crate) fn allow_sdist(&self, package: &str) -> bool {
        let all = self.only_binary.contains(ALL) && !self.no_binary.contains(package);
        self.allow_named_sdist(package) && !all
    }

    pub(crate) fn extended(&self, options: &[FormatOption]) -> Self {
        let mut formats = self.clone();
        for option in options {
            match option {
                FormatOption::OnlyBinary(value) => formats.only_binary(value),
                FormatOption::NoBinary(value) => formats.no_binary(value),
            }
        }
        formats
    }
}

/// As pip's `FormatControl.handle_mutual_excludes`.
fn obey(value: &str, target: &mut BTreeSet<String>, other: &mut BTreeSet<String>) {
    let mut names: Vec<&str> = value.split(',').map(str::trim).collect();
    while let Some(position) = names.iter().position(|name| *name == ALL) {
        other.clear();
        target.clear();
        target.insert(ALL.to_owned());
        names.drain(..=position);
        // What follows without a `:none:` is in `:all:` already.
        if !names.contains(&NONE) {
            return;
        }
    }
    for name in names {
        if name == NONE {
            target.clear();
            continue;
        }
        let name = normalize_name(name).unwrap_or_else(|_| name.to_owned());
        other.remove(&name);
        target.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::Formats;

    /// Obeys some options in turn; gives those of `a` and `b` that may come from a wheel.
    fn check(options: &[&str], expected: &str) {
        let mut formats = Formats::default();
        for option in options {
            match option.split_once(' ').unwrap() {
                ("no", value) => formats.no_binary(value),
                (_, value) => formats.only_binary(value),
            }
        }
        let mut allowed = ["a", "b"].to_vec();
        allowed.retain(|name| formats.allow_wheel(name));
        assert_eq!(allowed.join(" "), expected, "{options:?}");
    }

    #[test]
    fn only_binary_forbids_an_sdist_by_name_and_all_where_none_is_named() {
        let mut formats = Formats::default();
        formats.only_binary("a");
        assert!(!formats.allow_named_sdist("a") && !formats.allow_sdist("a"));
        assert!(formats.allow_named_sdist("b") && formats.allow_sdist("b"));
        formats.only_binary(":all:");
        formats.no_binary("c");
        assert!(formats.allow_named_sdist("b") && !formats.allow_sdist("b"));
        assert!(formats.allow_sdist("c"));
    }

    /// The expectations are what pip's `FormatControl` says of the same options.
    #[test]
    fn options_mean_what_they_mean_to_pip() {
        check(&[], "a b");
        check(&["only :all:"], "a b");
        check(&["no A"], "b");
        check(&["no :all:"], "");
        check(&["no :all:", "only a"], "a");
        check(&["only :all:", "no a"], "b");
        check(&["only a", "no :all:"], "");
        check(&["no a", "only :all:"], "a b");
        check(&["no :all:", "only :all:"], "a b");
        check(&["no a,b", "no :none:"], "a b");
        check(&["no :all:,:none:"], "a b");
        check(&["no :all:,a,:none:,b"], "a");
        check(&["no a", "only a"], "a b");
        check(&["only a", "no a"], "b");
        check(&["no :none:,a"], "b");
        check(&["no :all:,a"], "");
        check(&["only :none:", "no b"], "a");
    }
}
