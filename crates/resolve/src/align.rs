//! Alignment: one version of a package for all platforms, where there is one.
//!
//! Each platform is resolved by itself first. Where two disagree on a package, all are resolved again
//! with the lowest of its versions as the limit, until they agree or one of them has no solution.
//! Nothing is resolved again where all agree, as they do with the preferences of an older lock.
//! The guard against downgrades holds here too: no image goes far back for the sake of another.
//! A local part (`+cpu`) belongs to the build of a wheel: versions that differ in it alone agree.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use futures::future::join_all;
use uv_pep440::Version;

use crate::error::Error;
use crate::request::Request;
use crate::resolution::Resolution;
use crate::uv::resolve;

/// Attempts after which the rest is left as it is.
const ATTEMPTS: usize = 48;

/// A package whose versions could not be made one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misaligned {
    /// Its normalised name.
    pub package: String,
    /// Its version in each resolution that has it, by the resolution's position.
    pub versions: Vec<(usize, String)>,
    /// The request that stands against one version, by position. None where it is none of them.
    pub against: Option<usize>,
    /// Why, in one line.
    pub why: String,
}

/// Brings `resolutions`, each of the request at its position, to the same versions. They stay valid.
/// Returns the packages that still differ, sorted by name.
pub async fn align(requests: &[Request], resolutions: &mut [Resolution]) -> Vec<Misaligned> {
    let mut aligner = Aligner {
        requests,
        free: resolutions.to_vec(),
        limits: BTreeMap::new(),
        given_up: BTreeMap::new(),
        attempts: 0,
    };
    aligner.run(resolutions).await;
    let still = diverging(resolutions);
    let misaligned = still.into_keys().map(|package| {
        let given_up = aligner.given_up.remove(&package);
        let (against, why) = given_up.map_or_else(
            || {
                (
                    None,
                    format!("there was no end to it in {ATTEMPTS} attempts"),
                )
            },
            |(against, why)| (Some(against), why),
        );
        Misaligned {
            versions: versions(resolutions, &package),
            package,
            against,
            why,
        }
    });
    misaligned.collect()
}

/// The highest version that a package may have, without a local part.
type Limits = BTreeMap<String, Version>;

struct Aligner<'a> {
    requests: &'a [Request],
    /// What each platform came to by itself.
    free: Vec<Resolution>,
    limits: Limits,
    /// Who stands against one version of a package, and why.
    given_up: BTreeMap<String, (usize, String)>,
    attempts: usize,
}

impl Aligner<'_> {
    async fn run(&mut self, resolutions: &mut [Resolution]) {
        while self.attempts < ATTEMPTS {
            let mut next = diverging(resolutions);
            next.retain(|name, _| !self.given_up.contains_key(name));
            if next.is_empty() {
                if self.give_back(resolutions).await {
                    continue;
                }
                return;
            }
            leading(&mut next, resolutions);
            // Mostly one reason makes several packages differ, and one attempt mends them all.
            if next.len() > 1 && self.attempt(resolutions, &next).await.is_ok() {
                continue;
            }
            for (name, lowest) in next {
                let one = Limits::from([(name.clone(), lowest.clone())]);
                match self.attempt(resolutions, &one).await {
                    Ok(()) => break,
                    Err((against, error)) => {
                        let why = format!("{name}<={lowest} has no solution: {}", line(&error));
                        self.given_up.insert(name, (against, why));
                    }
                }
            }
        }
    }

    /// Lifts the limits of packages that were given up after some steps, which do no good now.
    async fn give_back(&mut self, resolutions: &mut [Resolution]) -> bool {
        let before = self.limits.len();
        let given_up = &self.given_up;
        self.limits.retain(|name, _| !given_up.contains_key(name));
        if self.limits.len() == before {
            return false;
        }
        if self.attempt(resolutions, &Limits::new()).await.is_err() {
            self.limits.clear();
            resolutions.clone_from_slice(&self.free);
            return false;
        }
        true
    }

    /// Resolves with further limits; keeps them, and what comes of them, where all have a solution.
    async fn attempt(
        &mut self,
        resolutions: &mut [Resolution],
        further: &Limits,
    ) -> Result<(), (usize, Error)> {
        self.attempts += 1;
        let mut limits = self.limits.clone();
        limits.extend(further.clone());
        let all = self.requests.iter().zip(&self.free);
        let solved = all.map(|(request, free)| under(request, free, &limits));
        let mut fresh = Vec::new();
        for (position, solved) in join_all(solved).await.into_iter().enumerate() {
            fresh.push(solved.map_err(|error| (position, error))?);
        }
        resolutions.clone_from_slice(&fresh);
        self.limits = limits;
        Ok(())
    }
}

/// What a request comes to under some limits.
async fn under(request: &Request, free: &Resolution, limits: &Limits) -> Result<Resolution, Error> {
    let keeps = |(name, limit): (&String, &Version)| {
        version_of(free, name).is_none_or(|version| version <= *limit)
    };
    if limits.iter().all(keeps) {
        return Ok(free.clone());
    }
    let mut request = request.clone();
    let limits = limits
        .iter()
        .map(|(name, limit)| format!("{name}<={limit}"));
    request.constraints.extend(limits);
    resolve(&request).await
}

/// The packages of which there are several versions, with the lowest of each.
fn diverging(resolutions: &[Resolution]) -> Limits {
    let mut seen: BTreeMap<&str, Vec<Version>> = BTreeMap::new();
    for resolution in resolutions {
        for wheel in &resolution.wheels {
            seen.entry(&wheel.name)
                .or_default()
                .extend(public(&wheel.version));
        }
    }
    seen.into_iter()
        .filter(|(_, versions)| versions.windows(2).any(|pair| pair[0] != pair[1]))
        .filter_map(|(name, versions)| Some((name.to_owned(), versions.into_iter().min()?)))
        .collect()
}

/// Leaves of `limits` the packages that no other of them needs: what these need may follow by itself.
fn leading(limits: &mut Limits, resolutions: &[Resolution]) {
    let mut following = BTreeSet::new();
    for name in limits.keys() {
        let mut seen = BTreeSet::from([name.as_str()]);
        let mut next = vec![name.as_str()];
        while let Some(name) = next.pop() {
            let wheels = resolutions.iter().flat_map(|it| &it.wheels);
            let own = wheels.filter(|wheel| wheel.name == name);
            let needs = own.flat_map(|wheel| &wheel.dependencies);
            next.extend(needs.map(String::as_str).filter(|&it| seen.insert(it)));
        }
        seen.remove(name.as_str());
        following.extend(seen.into_iter().map(str::to_owned));
    }
    // In a circle each follows another.
    if !limits.keys().all(|name| following.contains(name)) {
        limits.retain(|name, _| !following.contains(name));
    }
}

fn version_of(resolution: &Resolution, name: &str) -> Option<Version> {
    let wheel = resolution.wheels.iter().find(|wheel| wheel.name == name)?;
    public(&wheel.version)
}

/// A version without its local part.
fn public(version: &str) -> Option<Version> {
    Some(Version::from_str(version).ok()?.without_local())
}

fn versions(resolutions: &[Resolution], name: &str) -> Vec<(usize, String)> {
    let all = resolutions.iter().enumerate();
    all.filter_map(|(position, resolution)| {
        let wheel = resolution.wheels.iter().find(|wheel| wheel.name == name)?;
        Some((position, wheel.version.clone()))
    })
    .collect()
}

/// An error in one line: what is wrong, without what was looked at on the way.
fn line(error: &Error) -> String {
    let text = match error {
        Error::Conflict { explanation, .. } => explanation.clone(),
        error => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
