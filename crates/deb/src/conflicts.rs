//! Which packages cannot be together: Policy 7.3 (Breaks), 7.4 (Conflicts), 7.5 (what is provided
//! counts as the package, in the version it is provided in).

use std::rc::Rc;

use crate::packages::{Installed, Package, Relations};
use crate::relation::Relation;
use crate::solve::read;
use crate::unmet::{Reason, SolveError};
use crate::{Architecture, Version};

/// A package as conflicts see it, with those it declares.
#[derive(Debug, Clone)]
pub(crate) struct Party<'a> {
    name: &'a str,
    version: &'a Version,
    provides: &'a [(String, Option<Version>)],
    /// With the fields they are from.
    conflicts: Rc<Vec<(&'static str, Relation)>>,
}

impl<'a> Party<'a> {
    pub(crate) fn of(package: &'a Package, on: &Architecture) -> Result<Self, SolveError> {
        let fields = [&package.conflicts, &package.breaks];
        Self::new(
            &package.name,
            &package.version,
            &package.provides,
            fields,
            on,
        )
    }

    pub(crate) fn of_installed(
        package: &'a Installed,
        on: &Architecture,
    ) -> Result<Self, SolveError> {
        let fields = [&package.conflicts, &package.breaks];
        Self::new(
            &package.name,
            &package.version,
            &package.provides,
            fields,
            on,
        )
    }

    fn new(
        name: &'a str,
        version: &'a Version,
        provides: &'a [(String, Option<Version>)],
        fields: [&Relations; 2],
        on: &Architecture,
    ) -> Result<Self, SolveError> {
        Ok(Self {
            name,
            version,
            provides,
            conflicts: declared(name, version, fields, on)?,
        })
    }

    /// Whether the package has or provides the relation's name, in a version that it accepts.
    pub(crate) fn meets(&self, relation: &Relation) -> bool {
        let provided = |(name, version): &(String, Option<Version>)| {
            *name == relation.name && relation.accepts_provided(version.as_ref())
        };
        let is_named = self.name == relation.name && relation.accepts(self.version);
        is_named || self.provides.iter().any(provided)
    }

    /// Why the two cannot be together, whichever of them says so.
    pub(crate) fn conflict(&self, other: &Self) -> Option<Reason> {
        self.declared_against(other)
            .or_else(|| other.declared_against(self))
    }

    fn declared_against(&self, other: &Self) -> Option<Reason> {
        let against = self
            .conflicts
            .iter()
            .find(|(_, relation)| other.meets(relation));
        against.map(|(field, relation)| Reason::Conflict {
            by: format!("{} {}", self.name, self.version),
            field,
            relation: relation.to_string(),
            against: format!("{} {}", other.name, other.version),
        })
    }
}

/// Both fields' relations, as far as they are meant for the architecture. Conflicts have no
/// alternatives; where a field has some, each counts.
fn declared(
    name: &str,
    version: &Version,
    [conflicts, breaks]: [&Relations; 2],
    on: &Architecture,
) -> Result<Rc<Vec<(&'static str, Relation)>>, SolveError> {
    let mut declared = Vec::new();
    for (field, relations) in [("Conflicts", conflicts), ("Breaks", breaks)] {
        for dependency in read(name, version, field, relations)? {
            let meant = |relation: &Relation| relation.applies_to(on.as_str());
            let relations = dependency.alternatives.into_iter().filter(meant);
            declared.extend(relations.map(|relation| (field, relation)));
        }
    }
    Ok(Rc::new(declared))
}
