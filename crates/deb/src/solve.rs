//! Choosing packages: everything wanted, what that needs, and nothing else. Policy 7.2 to 7.5, with
//! Recommends left out and Essential not implied.
//!
//! What has one answer is settled first; a choice is made only when nothing else is left, and takes
//! the first alternative that leads to a whole answer. So the answer depends on the packages and
//! the order of their dependencies, and on nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::conflicts::Party;
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
        let clause = Clause {
            dependency: Rc::new(dependency.clone()),
            from: None,
        };
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

#[derive(Debug, Clone, Default)]
struct State<'a> {
    /// The packages so far, by position, with what they were chosen for.
    chosen: BTreeMap<usize, (Clause, Party<'a>)>,
    /// What is not known to be satisfied.
    open: VecDeque<Clause>,
}

struct Solver<'a> {
    universe: &'a Universe,
    policy: &'a Policy,
    installed: Vec<(&'a Installed, Party<'a>)>,
    steps: u32,
}

impl<'a> Solver<'a> {
    fn new(universe: &'a Universe, policy: &'a Policy) -> Result<Self, SolveError> {
        let mut installed = Vec::new();
        for package in &policy.installed {
            installed.push((
                package,
                Party::of_installed(package, universe.architecture())?,
            ));
        }
        Ok(Self {
            universe,
            policy,
            installed,
            steps: 0,
        })
    }

    fn run(&mut self, mut state: State<'a>) -> Result<State<'a>, SolveError> {
        let Some((choice, candidates)) = self.settle(&mut state)? else {
            return Ok(state);
        };
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
    fn settle(&self, state: &mut State<'a>) -> Result<Option<(Clause, Vec<usize>)>, SolveError> {
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
        let Some(clause) = state.open.pop_front() else {
            return Ok(None);
        };
        let candidates = self.candidates(&clause, state)?;
        match (&clause.from, &clause.dependency.alternatives[..]) {
            // Which of them is meant is not for us to guess, nor is it for apt.
            (None, [wanted]) if self.universe.get(&wanted.name).is_none() => {
                let name = |n: &usize| self.universe.package(*n).name.clone();
                Err(SolveError::Virtual {
                    wanted: wanted.to_string(),
                    providers: candidates.iter().map(name).collect(),
                })
            }
            _ => Ok(Some((clause, candidates))),
        }
    }

    fn choose(&self, n: usize, clause: &Clause, state: &mut State<'a>) -> Result<(), SolveError> {
        let package = self.universe.package(n);
        for (field, relations) in [
            ("Pre-Depends", &package.pre_depends),
            ("Depends", &package.depends),
        ] {
            for dependency in read(&package.name, &package.version, field, relations)? {
                let clause = Clause {
                    dependency: Rc::new(dependency),
                    from: Some((n, field)),
                };
                state.open.push_back(clause);
            }
        }
        let party = Party::of(package, self.universe.architecture())?;
        state.chosen.insert(n, (clause.clone(), party));
        Ok(())
    }

    /// The alternatives that are meant for this architecture.
    fn alternatives<'c>(&self, clause: &'c Clause) -> impl Iterator<Item = &'c Relation> {
        let architecture = self.universe.architecture().as_str();
        clause
            .dependency
            .alternatives
            .iter()
            .filter(|relation| relation.applies_to(architecture))
    }

    fn is_satisfied(&self, clause: &Clause, state: &State) -> bool {
        let mut alternatives = self.alternatives(clause).peekable();
        if alternatives.peek().is_none() {
            return true;
        }
        let is_omitted = |name| clause.from.is_some() && self.policy.omitted.contains(name);
        alternatives.any(|relation| {
            is_omitted(&relation.name)
                || self.installed_meet(relation)
                || self.matches(relation).any(|n| {
                    state.chosen.contains_key(&n) || is_omitted(&self.universe.package(n).name)
                })
        })
    }

    fn installed_meet(&self, relation: &Relation) -> bool {
        self.installed.iter().any(|(package, party)| {
            let architecture = &package.architecture;
            let native = architecture.is_all() || architecture == self.universe.architecture();
            let right_architecture = match &relation.qualifier {
                None => native || package.multi_arch == MultiArch::Foreign,
                Some(Qualifier::Any) => package.multi_arch == MultiArch::Allowed,
                Some(Qualifier::Native) => native,
                Some(Qualifier::Architecture(name)) => architecture.as_str() == name,
            };
            right_architecture && party.meets(relation)
        })
    }

    /// The packages that meet `relation`, the best first: those that have the name, then those that
    /// provide it.
    fn matches(&self, relation: &Relation) -> impl Iterator<Item = usize> {
        let real = self.universe.position(&relation.name);
        let real = real.filter(|n| relation.accepts(&self.universe.package(*n).version));
        let provided = self.universe.provider_positions(&relation.name);
        let provided = provided.filter(|(_, version)| relation.accepts_provided(*version));
        real.into_iter()
            .chain(provided.map(|(n, _)| n))
            .filter(|n| self.is_for_us(*n, relation))
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
        if let Some((base, _)) = self
            .installed
            .iter()
            .find(|(base, _)| base.name == package.name)
        {
            return Ok(Some(installed(base)));
        }
        let party = Party::of(package, self.universe.architecture())?;
        let base = self.installed.iter().map(|(_, other)| other);
        let chosen = state.chosen.iter().filter(|(other, _)| **other != n);
        let mut others = base.chain(chosen.map(|(_, (_, other))| other));
        Ok(others.find_map(|other| party.conflict(other)))
    }

    fn explain(&self, clause: &Clause, state: &State) -> Result<SolveError, SolveError> {
        let mut unmet = Vec::new();
        for relation in self.alternatives(clause) {
            let reason = self.reason(relation, state)?;
            unmet.push(Unmet {
                relation: relation.to_string(),
                reason,
            });
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
        Ok(SolveError::Unsatisfiable {
            wanted: at.dependency.to_string(),
            chain,
            unmet,
        })
    }

    fn reason(&self, relation: &Relation, state: &State) -> Result<Reason, SolveError> {
        for n in self.matches(relation) {
            if let Some(reason) = self.obstacle(n, state)? {
                return Ok(reason);
            }
        }
        let in_base = self
            .installed
            .iter()
            .find(|(base, _)| base.name == relation.name);
        if let Some((base, _)) = in_base {
            return Ok(installed(base));
        }
        let (real, mut providers) = (
            self.universe.get(&relation.name),
            self.universe.providers(&relation.name),
        );
        Ok(match (real, providers.next()) {
            (None, None) => Reason::Unknown,
            (Some(real), _) if !relation.accepts(&real.version) => Reason::Version {
                package: real.name.clone(),
                version: real.version.clone(),
            },
            (None, Some((provider, version))) if !relation.accepts_provided(version) => {
                Reason::Provided {
                    package: provider.name.clone(),
                    version: version.cloned(),
                }
            }
            _ => Reason::Qualifier,
        })
    }
}

fn installed(base: &Installed) -> Reason {
    Reason::Installed {
        package: base.name.clone(),
        version: base.version.clone(),
    }
}

/// The items of a package's field.
pub(crate) fn read(
    package: &str,
    version: &Version,
    field: &'static str,
    relations: &Relations,
) -> Result<Vec<Dependency>, SolveError> {
    relations.parse().map_err(|source| SolveError::Malformed {
        package: package.to_owned(),
        version: version.clone(),
        field,
        source,
    })
}

#[cfg(test)]
#[path = "solve_tests.rs"]
mod tests;
