//! Why packages cannot be installed, told as a chain from what was wanted to what is lacking.

use std::fmt;

use crate::{RelationError, Version};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// Some dependency cannot be met.
    #[error("cannot install {wanted}{}{}", Lines(.chain), Lines(.unmet))]
    Unsatisfiable {
        /// What was wanted.
        wanted: String,
        /// How that leads to the dependency; empty where it is the wanted one itself.
        chain: Vec<Link>,
        /// Why each of its alternatives fails.
        unmet: Vec<Unmet>,
    },
    /// A virtual package was wanted by name, and several packages provide it.
    #[error("{wanted} is no package, but provided by several: {}", .providers.join(", "))]
    Virtual {
        /// What was wanted.
        wanted: String,
        /// Names of the packages that provide it, the one that a dependency would get first.
        providers: Vec<String>,
    },
    /// A package has a field that cannot be read.
    #[error("{package} {version}: field `{field}`")]
    Malformed {
        /// Its name.
        package: String,
        /// Its version.
        version: Version,
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        source: RelationError,
    },
    /// Alternatives and conflicts are entangled so that no answer was found in time.
    #[error("gave up on choosing between alternatives after {steps} attempts; name some of them")]
    TooManyChoices {
        /// The number of attempts.
        steps: u32,
    },
}

/// A package with the dependency that leads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: Version,
    /// `Depends` or `Pre-Depends`.
    pub field: &'static str,
    /// The item of that field.
    pub dependency: String,
}

/// An alternative that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The alternative.
    pub relation: String,
    /// Why it fails.
    pub reason: Reason,
}

/// Why an alternative fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing has or provides the name.
    Unknown,
    /// What has the name has another version.
    Version {
        /// Name.
        package: String,
        /// Version in the index.
        version: Version,
    },
    /// What provides the name provides no version, or another one.
    Provided {
        /// Name of the provider.
        package: String,
        /// The version it provides.
        version: Option<Version>,
    },
    /// What has the name is not of the architecture in the qualifier, or not `Multi-Arch: allowed`.
    Qualifier,
    /// The base has it in another version, and what a base has is not replaced.
    Installed {
        /// Name.
        package: String,
        /// Version in the base.
        version: Version,
    },
    /// It conflicts with another package.
    Conflict {
        /// The package that declares it, as `name version`.
        by: String,
        /// `Conflicts` or `Breaks`.
        field: &'static str,
        /// What it declares.
        relation: String,
        /// The package that it is declared against, as `name version`.
        against: String,
    },
}

/// Each on a line of its own, indented.
pub(crate) struct Lines<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|item| write!(f, "\n  {item}"))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.field == "Pre-Depends" {
            "pre-depends"
        } else {
            "depends"
        };
        write!(
            f,
            "{} {} {verb} on {}",
            self.package, self.version, self.dependency
        )
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.relation)?;
        match &self.reason {
            Reason::Unknown => f.write_str("no package has or provides this name"),
            Reason::Version { package, version } => write!(f, "the index has {package} {version}"),
            Reason::Provided {
                package,
                version: None,
            } => {
                write!(f, "{package} provides it without a version")
            }
            Reason::Provided {
                package,
                version: Some(version),
            } => {
                write!(f, "{package} provides it in version {version}")
            }
            Reason::Qualifier => f.write_str("no package has this name for this architecture"),
            Reason::Installed { package, version } => {
                write!(f, "the base has {package} {version}, which is not replaced")
            }
            Reason::Conflict {
                by,
                field,
                relation,
                against,
            } => {
                let verb = if *field == "Breaks" {
                    "breaks"
                } else {
                    "conflicts with"
                };
                write!(f, "{by} {verb} {relation}, which {against} is")
            }
        }
    }
}
