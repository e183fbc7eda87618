//! Fields that name other packages: Depends, Conflicts, Provides… (Policy 7.1; architecture
//! qualifiers as in the multiarch specification). Build profiles are read over.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::Version;

/// One item of a Depends field: any of its alternatives will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// At least one.
    pub alternatives: Vec<Relation>,
}

/// A package name with what is asked of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's, or what it provides.
    pub name: String,
    /// What follows the name's colon.
    pub qualifier: Option<Qualifier>,
    /// What is in parentheses.
    pub version: Option<(Operator, Version)>,
    /// What is in brackets.
    pub restriction: Option<Restriction>,
}

/// Which architectures a relation is meant for: `[amd64 arm64]`, or with a `!` before each, which it
/// is not meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restriction {
    /// Whether they have a `!`.
    pub negated: bool,
    /// At least one.
    pub architectures: Vec<String>,
}

/// Which architecture's package a relation accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qualifier {
    /// `:any`: of any architecture, if it is `Multi-Arch: allowed`.
    Any,
    /// `:native`: of the architecture that is being installed for.
    Native,
    /// Of this one.
    Architecture(String),
}

/// How a package's version has to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Less,
    /// `<=`, and the obsolete `<`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the obsolete `>`
    GreaterOrEqual,
    /// `>>`
    Greater,
}

impl Operator {
    /// Whether `left operator right` is true.
    pub fn holds(self, left: &Version, right: &Version) -> bool {
        let order = left.cmp(right);
        match self {
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::GreaterOrEqual => order != Ordering::Less,
            Self::Greater => order == Ordering::Greater,
        }
    }
}

impl Relation {
    /// A relation to any version of `name`.
    pub fn to(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            qualifier: None,
            version: None,
            restriction: None,
        }
    }

    /// Whether it is meant for packages of `architecture` at all.
    pub fn applies_to(&self, architecture: &str) -> bool {
        let Some(Restriction {
            negated,
            architectures,
        }) = &self.restriction
        else {
            return true;
        };
        let named = |name: &String| {
            let name = name.strip_prefix("linux-").unwrap_or(name);
            let name = name.strip_prefix("any-").unwrap_or(name);
            name == "any" || name == architecture
        };
        architectures.iter().any(named) != *negated
    }

    /// Whether a package of the right name with this version will do.
    pub fn accepts(&self, version: &Version) -> bool {
        self.version
            .as_ref()
            .is_none_or(|(operator, bound)| operator.holds(version, bound))
    }

    /// Whether something that is provided in this version will do. What is provided without a
    /// version satisfies no versioned relation (Policy 7.5).
    pub fn accepts_provided(&self, version: Option<&Version>) -> bool {
        version.map_or(self.version.is_none(), |version| self.accepts(version))
    }
}

/// What is wrong with a text that should be package relations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// Something else where a name should be.
    #[error("`{0}` does not begin with a package name")]
    Name(String),
    /// Something else behind the name's colon than an architecture.
    #[error("`{0}` has no architecture behind the colon")]
    Qualifier(String),
    /// Not `(operator version)`.
    #[error("`{0}` has something else than `(operator version)` in parentheses")]
    Constraint(String),
    /// Not a version.
    #[error(transparent)]
    Version(#[from] crate::VersionError),
    /// Restrictions of which some have a `!`.
    #[error("`{0}` has negated and plain architectures in one pair of brackets")]
    Mixed(String),
    /// Something behind the end.
    #[error("`{0}` has something else behind it")]
    Rest(String),
    /// A relation that a Provides field cannot have: alternatives, or another operator than `=`.
    #[error("`{0}` cannot be provided")]
    Provided(String),
}

/// The items of a Depends, Conflicts or like field.
pub(crate) fn parse_field(text: &str) -> Result<Vec<Dependency>, RelationError> {
    // A comma too many is common in hand-made packages; dpkg reads over it as well.
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::parse)
        .collect()
}

/// The names and versions of a Provides field.
pub(crate) fn parse_provides(text: &str) -> Result<Vec<(String, Option<Version>)>, RelationError> {
    let provided = |dependency: Dependency| {
        let error = RelationError::Provided(dependency.to_string());
        let [relation] =
            <[Relation; 1]>::try_from(dependency.alternatives).map_err(|_| error.clone())?;
        match relation.version {
            None => Ok((relation.name, None)),
            Some((Operator::Equal, version)) => Ok((relation.name, Some(version))),
            Some(_) => Err(error),
        }
    };
    parse_field(text)?.into_iter().map(provided).collect()
}

impl FromStr for Dependency {
    type Err = RelationError;

    fn from_str(text: &str) -> Result<Self, RelationError> {
        let alternatives = text.split('|').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }
}

impl FromStr for Relation {
    type Err = RelationError;

    fn from_str(text: &str) -> Result<Self, RelationError> {
        let text = text.trim();
        let (name, rest) = text.split_at(end_of_name(text));
        if !is_name(name) {
            return Err(RelationError::Name(text.to_owned()));
        }
        let (qualifier, rest) = match rest.strip_prefix(':') {
            None => (None, rest),
            Some(rest) => {
                let (architecture, rest) = rest.split_at(end_of_name(rest));
                if architecture.is_empty() {
                    return Err(RelationError::Qualifier(text.to_owned()));
                }
                (Some(Qualifier::from(architecture)), rest)
            }
        };
        let (constraint, rest) = bracketed(rest.trim_start(), '(', ')', text)?;
        let (restriction, mut rest) = bracketed(rest, '[', ']', text)?;
        while let (Some(_), after) = bracketed(rest, '<', '>', text)? {
            rest = after;
        }
        if !rest.is_empty() {
            return Err(RelationError::Rest(
                text[..text.len() - rest.len()].trim_end().to_owned(),
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            qualifier,
            version: constraint
                .map(|constraint| parse_constraint(constraint, text))
                .transpose()?,
            restriction: parse_restriction(restriction.unwrap_or_default(), text)?,
        })
    }
}

fn end_of_name(text: &str) -> usize {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    text.find(|c| !in_name(c)).unwrap_or(text.len())
}

/// Whether `text` could be a package's name. Looser than Policy 5.6.7, as dpkg is: upper case and
/// one letter exist in other archives.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && end_of_name(text) == text.len()
}

/// What is between `open` and `close` at the beginning of `rest`, and what follows.
fn bracketed<'a>(
    rest: &'a str,
    open: char,
    close: char,
    whole: &str,
) -> Result<(Option<&'a str>, &'a str), RelationError> {
    match rest.strip_prefix(open) {
        None => Ok((None, rest)),
        Some(rest) => {
            let error = || RelationError::Rest(whole.to_owned());
            let (inside, rest) = rest.split_once(close).ok_or_else(error)?;
            Ok((Some(inside.trim()), rest.trim_start()))
        }
    }
}

fn parse_constraint(text: &str, whole: &str) -> Result<(Operator, Version), RelationError> {
    let (operator, version) =
        text.split_at(text.find(|c| !"<=>".contains(c)).unwrap_or(text.len()));
    let operator = match operator {
        "<<" => Operator::Less,
        "<=" | "<" => Operator::LessOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::GreaterOrEqual,
        ">>" => Operator::Greater,
        _ => return Err(RelationError::Constraint(whole.to_owned())),
    };
    Ok((operator, version.trim().parse()?))
}

fn parse_restriction(text: &str, whole: &str) -> Result<Option<Restriction>, RelationError> {
    let negated = text.starts_with('!');
    let name = |word: &str| match word.strip_prefix('!') {
        Some(name) => negated.then(|| name.to_owned()),
        None => (!negated).then(|| word.to_owned()),
    };
    let architectures: Option<Vec<String>> = text.split_ascii_whitespace().map(name).collect();
    let architectures = architectures.ok_or_else(|| RelationError::Mixed(whole.to_owned()))?;
    Ok((!architectures.is_empty()).then_some(Restriction {
        negated,
        architectures,
    }))
}

impl From<&str> for Qualifier {
    fn from(text: &str) -> Self {
        match text {
            "any" => Self::Any,
            "native" => Self::Native,
            name => Self::Architecture(name.to_owned()),
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, relation) in self.alternatives.iter().enumerate() {
            write!(f, "{}{relation}", if n > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.qualifier {
            None => {}
            Some(Qualifier::Any) => f.write_str(":any")?,
            Some(Qualifier::Native) => f.write_str(":native")?,
            Some(Qualifier::Architecture(name)) => write!(f, ":{name}")?,
        }
        if let Some((operator, version)) = &self.version {
            write!(f, " ({operator} {version})")?;
        }
        if let Some(Restriction {
            negated,
            architectures,
        }) = &self.restriction
        {
            let (separator, mark) = if *negated { (" !", "!") } else { (" ", "") };
            write!(f, " [{mark}{}]", architectures.join(separator))?;
        }
        Ok(())
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">>",
        })
    }
}

#[cfg(test)]
#[path = "relation_tests.rs"]
mod tests;
