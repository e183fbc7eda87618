//! Choosing packages: everything wanted, what that needs, and nothing else. Policy 7.2 to 7.5, with
//! Recommends left out and Essential not implied.
//!
//! What has one answer is settled first; a choice is made only when nothing else is left, and takes
//! the first alternative that leads to a whole answer. So the answer depends on the packages and
//! the order of their dependencies, and on nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::packages::{Installed, MultiArch, Package, Relations};
use crate::relation::{Dependency, Qualifier, Relation};
use crate::unmet::{Link, Reason, SolveError, Unmet};
use crate::{Universe, Version};

/// How many alternatives are tried before giving up.
const MAX_STEPS: u32 = 10_000;

/// What there is already.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The base's packages. They satisfy dependencies, and are neither replaced nor removed.
    pub installed: Vec<Installed>,
    /// Names that count as satisfied in any version, and are not pulled in by a dependency. What is
    /// wanted by name comes in all the same.
    pub omitted: BTreeSet<String>,
}

/// The packages of `universe` that `wanted` needs, itself included, by name; those that the base has
/// are not among them.
pub fn solve<'u>(
    universe: &'u Universe,
    wanted: &[Dependency],
    policy: &Policy,
) -> Result<Vec<&'u Package>, SolveError> {
    let mut solver = Solver::new(universe, policy)?;
    let mut state = State::default();
    for dependency in wanted {
        let clause = Clause { dependency: Rc::new(dependency.clone()), from: None };
        state.open.push_back(clause);
    }
    let chosen = solver.run(state)?.chosen;
    Ok(chosen.keys().map(|n| universe.package(*n)).collect())
}

/// A dependency, and the chosen package and the field it comes from; None: it is wanted.
#[derive(Debug, Clone)]
struct Clause {
    dependency: Rc<Dependency>,
    from: Option<(usize, &'static str)>,
}

/// What a package must not be with.
type Conflicts = Rc<Vec<(&'static str, Relation)>>;

#[derive(Debug, Clone, Default)]
struct State {
    /// The packages so far, by position, with what they were chosen for.
    chosen: BTreeMap<usize, (Clause, Conflicts)>,
    /// What is not known to be satisfied.
    open: VecDeque<Clause>,
}

struct Solver<'a> {
    universe: &'a Universe,
    policy: &'a Policy,
    installed: Vec<(&'a Installed, Conflicts)>,
    steps: u32,
}

impl<'a> Solver<'a> {
    fn new(universe: &'a Universe, policy: &'a Policy) -> Result<Self, SolveError> {
        let with_conflicts = |package: &'a Installed| {
            let (name, version) = (&package.name, &package.version);
            let mut all = read(name, version, "Conflicts", &package.conflicts)?;
            all.append(&mut read(name, version, "Breaks", &package.breaks)?);
            Ok((package, Rc::new(singles(all))))
        };
        let installed = policy.installed.iter().map(with_conflicts).collect::<Result<_, _>>()?;
        Ok(Self { universe, policy, installed, steps: 0 })
    }

    fn run(&mut self, mut state: State) -> Result<State, SolveError> {
        let Some((choice, candidates)) = self.settle(&mut state)? else { return Ok(state) };
        let mut first_error = None;
        for candidate in candidates {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(SolveError::TooManyChoices { steps: MAX_STEPS });
            }
            let mut branch = state.clone();
            self.choose(candidate, &choice, &mut branch)?;
            match self.run(branch) {
                Err(error @ SolveError::Unsatisfiable { .. }) => first_error.get_or_insert(error),
                result => return result,
            };
        }
        Err(first_error.expect("a choice has candidates"))
    }

    /// Chooses what is without alternative until nothing is; then the first choice to be made, if
    /// there is one.
    fn settle(&self, state: &mut State) -> Result<Option<(Clause, Vec<usize>)>, SolveError> {
        let mut progress = true;
        while progress {
            progress = false;
            let mut choices = VecDeque::new();
            while let Some(clause) = state.open.pop_front() {
                if self.is_satisfied(&clause, state) {
                    continue;
                }
                match self.candidates(&clause, state)?[..] {
                    [] => return Err(self.explain(&clause, state)?),
                    [only] => {
                        self.choose(only, &clause, state)?;
                        progress = true;
                    }
                    _ => choices.push_back(clause),
                }
            }
            state.open = choices;
        }
        let Some(clause) = state.open.pop_front() else { return Ok(None) };
        let candidates = self.candidates(&clause, state)?;
        Ok(Some((clause, candidates)))
    }

    fn choose(&self, n: usize, clause: &Clause, state: &mut State) -> Result<(), SolveError> {
        let package = self.universe.package(n);
        let field = |name, relations| read(&package.name, &package.version, name, relations);
        for (name, relations) in
            [("Pre-Depends", &package.pre_depends), ("Depends", &package.depends)]
        {
            for (field, dependency) in field(name, relations)? {
                let clause = Clause { dependency: Rc::new(dependency), from: Some((n, field)) };
                state.open.push_back(clause);
            }
        }
        let conflicts = Rc::new(self.conflicts_of(package)?);
        state.chosen.insert(n, (clause.clone(), conflicts));
        Ok(())
    }

    /// The alternatives that are meant for this architecture.
    fn alternatives<'c>(&self, clause: &'c Clause) -> impl Iterator<Item = &'c Relation> {
        let architecture = self.universe.architecture().as_str();
        clause.dependency.alternatives.iter().filter(|relation| relation.applies_to(architecture))
    }

    fn is_satisfied(&self, clause: &Clause, state: &State) -> bool {
        let mut alternatives = self.alternatives(clause).peekable();
        if alternatives.peek().is_none() {
            return true;
        }
        let is_omitted = |name| clause.from.is_some() && self.policy.omitted.contains(name);
        alternatives.any(|relation| {
            is_omitted(&relation.name)
                || self.installed.iter().any(|(package, _)| self.installed_meets(package, relation))
                || self.matches(relation).any(|n| {
                    state.chosen.contains_key(&n) || is_omitted(&self.universe.package(n).name)
                })
        })
    }

    fn installed_meets(&self, package: &Installed, relation: &Relation) -> bool {
        let native = package.architecture.is_all() || package.architecture == *self.universe.architecture();
        let right_architecture = match &relation.qualifier {
            None => native || package.multi_arch == MultiArch::Foreign,
            Some(Qualifier::Any) => package.multi_arch == MultiArch::Allowed,
            Some(Qualifier::Native) => native,
            Some(Qualifier::Architecture(name)) => package.architecture.as_str() == name,
        };
        right_architecture && named(&package.name, &package.version, &package.provides, relation)
    }

    /// The packages that meet `relation`, the best first: those that have the name, then those that
    /// provide it.
    fn matches(&self, relation: &Relation) -> impl Iterator<Item = usize> {
        let real = self.universe.position(&relation.name);
        let real = real.filter(|n| relation.accepts(&self.universe.package(*n).version));
        let provided = self.universe.provider_positions(&relation.name);
        let provided = provided.filter(|(_, version)| relation.accepts_provided(*version));
        real.into_iter().chain(provided.map(|(n, _)| n)).filter(|n| self.is_for_us(*n, relation))
    }

    fn is_for_us(&self, n: usize, relation: &Relation) -> bool {
        match &relation.qualifier {
            None | Some(Qualifier::Native) => true,
            Some(Qualifier::Any) => self.universe.package(n).multi_arch == MultiArch::Allowed,
            Some(Qualifier::Architecture(name)) => name == self.universe.architecture().as_str(),
        }
    }

    /// What could be chosen to satisfy `clause`, the best first.
    fn candidates(&self, clause: &Clause, state: &State) -> Result<Vec<usize>, SolveError> {
        let mut candidates = Vec::new();
        for relation in self.alternatives(clause) {
            for n in self.matches(relation) {
                if !candidates.contains(&n) && self.obstacle(n, state)?.is_none() {
                    candidates.push(n);
                }
            }
        }
        Ok(candidates)
    }

    /// Why package `n` cannot be added to what is chosen.
    fn obstacle(&self, n: usize, state: &State) -> Result<Option<Reason>, SolveError> {
        let package = self.universe.package(n);
        if let Some((base, _)) = self.installed.iter().find(|(base, _)| base.name == package.name) {
            let (package, version) = (base.name.clone(), base.version.clone());
            return Ok(Some(Reason::Installed { package, version }));
        }
        let new = Party::of(package);
        let conflicts = self.conflicts_of(package)?;
        let base = self.installed.iter().map(|(base, conflicts)| (Party::of_installed(base), conflicts));
        let chosen = state.chosen.iter().filter(|(other, _)| **other != n);
        let chosen = chosen
            .map(|(other, (_, conflicts))| (Party::of(self.universe.package(*other)), conflicts));
        Ok(base.chain(chosen).find_map(|(other, theirs)| {
            new.conflict(&conflicts, &other).or_else(|| other.conflict(theirs, &new))
        }))
    }

    fn conflicts_of(&self, package: &Package) -> Result<Vec<(&'static str, Relation)>, SolveError> {
        let (name, version) = (&package.name, &package.version);
        let mut all = read(name, version, "Conflicts", &package.conflicts)?;
        all.append(&mut read(name, version, "Breaks", &package.breaks)?);
        let mut singles = singles(all);
        let architecture = self.universe.architecture().as_str();
        singles.retain(|(_, relation)| relation.applies_to(architecture));
        Ok(singles)
    }

    fn explain(&self, clause: &Clause, state: &State) -> Result<SolveError, SolveError> {
        let mut unmet = Vec::new();
        for relation in self.alternatives(clause) {
            let reason = self.reason(relation, state)?;
            unmet.push(Unmet { relation: relation.to_string(), reason });
        }
        let (mut chain, mut at) = (Vec::new(), clause);
        while let Some((n, field)) = at.from {
            let package = self.universe.package(n);
            chain.push(Link {
                package: package.name.clone(),
                version: package.version.clone(),
                field,
                dependency: at.dependency.to_string(),
            });
            at = &state.chosen[&n].0;
        }
        chain.reverse();
        Ok(SolveError::Unsatisfiable { wanted: at.dependency.to_string(), chain, unmet })
    }

    fn reason(&self, relation: &Relation, state: &State) -> Result<Reason, SolveError> {
        for n in self.matches(relation) {
            if let Some(reason) = self.obstacle(n, state)? {
                return Ok(reason);
            }
        }
        let base = self.installed.iter().find(|(base, _)| base.name == relation.name);
        if let Some((base, _)) = base {
            let (package, version) = (base.name.clone(), base.version.clone());
            return Ok(Reason::Installed { package, version });
        }
        let (real, mut providers) =
            (self.universe.get(&relation.name), self.universe.providers(&relation.name));
        Ok(match (real, providers.next()) {
            (None, None) => Reason::Unknown,
            (Some(real), _) if !relation.accepts(&real.version) => {
                Reason::Version { package: real.name.clone(), version: real.version.clone() }
            }
            (None, Some((provider, version))) if !relation.accepts_provided(version) => {
                Reason::Provided { package: provider.name.clone(), version: version.cloned() }
            }
            _ => Reason::Qualifier,
        })
    }
}

/// A package as conflicts see it.
struct Party<'a> {
    name: &'a str,
    version: &'a Version,
    provides: &'a [(String, Option<Version>)],
}

impl<'a> Party<'a> {
    fn of(package: &'a Package) -> Self {
        Self { name: &package.name, version: &package.version, provides: &package.provides }
    }

    fn of_installed(package: &'a Installed) -> Self {
        Self { name: &package.name, version: &package.version, provides: &package.provides }
    }

    /// Whether one of its `conflicts` is with `other`.
    fn conflict(&self, conflicts: &[(&'static str, Relation)], other: &Self) -> Option<Reason> {
        let meant = |(_, relation): &&(_, Relation)| {
            named(other.name, other.version, other.provides, relation)
        };
        conflicts.iter().find(meant).map(|(field, relation)| Reason::Conflict {
            by: format!("{} {}", self.name, self.version),
            field,
            relation: relation.to_string(),
            against: format!("{} {}", other.name, other.version),
        })
    }
}

/// Whether a package has or provides the relation's name in a version that it accepts.
fn named(
    name: &str,
    version: &Version,
    provides: &[(String, Option<Version>)],
    relation: &Relation,
) -> bool {
    let provided = |(name, version): &(String, Option<Version>)| {
        *name == relation.name && relation.accepts_provided(version.as_ref())
    };
    (name == relation.name && relation.accepts(version)) || provides.iter().any(provided)
}

fn read(
    package: &str,
    version: &Version,
    field: &'static str,
    relations: &Relations,
) -> Result<Vec<(&'static str, Dependency)>, SolveError> {
    let parsed = relations.parse().map_err(|source| SolveError::Malformed {
        package: package.to_owned(),
        version: version.clone(),
        field,
        source,
    });
    Ok(parsed?.into_iter().map(|dependency| (field, dependency)).collect())
}

/// Conflicts have no alternatives; where a field has some, each counts.
fn singles(all: Vec<(&'static str, Dependency)>) -> Vec<(&'static str, Relation)> {
    let relations = |(field, dependency): (&'static str, Dependency)| {
        dependency.alternatives.into_iter().map(move |relation| (field, relation))
    };
    all.into_iter().flat_map(relations).collect()
}

#[cfg(test)]
#[path = "solve_tests.rs"]
mod tests;
