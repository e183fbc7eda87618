//! From uv's errors to ours: which package lacks a wheel, which index doesn't answer.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;

use tokio::sync::Semaphore;
use uv_client::{ErrorKind, FlatIndexError, MetadataFormat, OwnedArchive, RegistryClient};
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{File, IndexMetadataRef};
use uv_errors::Hint as _;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_platform_tags::Tags;
use uv_redacted::DisplaySafeUrl;
use uv_resolver::{NoSolutionError, ResolveError};
use uv_types::BuildContext as _;

use crate::error::Error;
use crate::misfit::{NoCompatibleWheel, WheelSeen};
use crate::solution::Solution;
use crate::uv::{CONCURRENT_REQUESTS, Engine};

/// The files that indexes have of a package, by version.
pub(crate) type Listing = BTreeMap<Version, Vec<(DistFilename, File)>>;

/// Says why there is no solution.
pub(crate) async fn explain(engine: &Engine<'_>, tags: &Tags, error: ResolveError) -> Error {
    match error {
        ResolveError::NoSolution(error) => no_solution(engine, tags, &error).await,
        ResolveError::Client(error) => client_error(&error),
        ResolveError::Distribution(error) => distribution_error(&error, None),
        ResolveError::Dist(_, dist, _, error) => distribution_error(&error, Some(dist.to_string())),
        ResolveError::UnhashedPackage(name) => Error::Hashes {
            message: format!("{name} is needed, but no input pins it with a hash"),
        },
        error => Error::Resolver {
            message: chain(&error),
        },
    }
}

async fn no_solution(engine: &Engine<'_>, tags: &Tags, error: &NoSolutionError) -> Error {
    let conflict = || Error::Conflict {
        target: engine.request.target.clone(),
        explanation: plain(error.report()) + &installed(engine, error) + &unreadable(error),
    };
    let mut listings: BTreeMap<PackageName, Listing> = BTreeMap::new();
    let requested = engine.requested();
    let involved: BTreeSet<&PackageName> = error.packages().collect();
    for &name in &involved {
        // No index need have what is installed, and what is installed need not fit.
        let installed = engine.installed.version(name);
        if installed.is_some_and(|version| allows(engine, name, version)) {
            continue;
        }
        match listing(engine, name).await {
            Ok(Some(listing)) => {
                listings.insert(name.clone(), listing);
            }
            Ok(None) if requested.contains(name) && installed.is_none() => {
                return not_found(engine, name);
            }
            Ok(None) => {}
            Err(error) => return error,
        }
    }
    // The listing above may come from a cache that was filled with other credentials.
    let asked = involved.iter().find(|name| requested.contains(**name));
    if let Some(error) = asked.and_then(|name| refused(engine, name)) {
        return error;
    }
    // What would be chosen if every wheel fitted: a package that has no fitting wheel in the
    // version chosen then is what the failure is about.
    if let Ok(solution) = engine.solve(None).await {
        return match unfit(engine, tags, &solution).await {
            Ok(Some(error)) => Error::NoCompatibleWheel(Box::new(error)),
            Ok(None) => conflict(),
            Err(error) => error,
        };
    }
    // It can fail all the same: uv never takes a wheel of another Python's ABI.
    match never_fitting(engine, tags, &listings, &plain(error.report())) {
        Some(error) => Error::NoCompatibleWheel(Box::new(error)),
        None => conflict(),
    }
}

/// What is wrong with metadata that can't be read. What else uv would hint at are options of its own.
fn unreadable(error: &NoSolutionError) -> String {
    let hints = error.hints().into_iter().map(|hint| plain(&hint));
    let hints = hints.filter(|hint| !hint.contains("--"));
    hints.fold(String::new(), |text, hint| text + "\n" + &hint)
}

/// The installed packages that a failure is about, which the resolver's account doesn't name.
fn installed(engine: &Engine<'_>, error: &NoSolutionError) -> String {
    let involved: BTreeSet<&PackageName> = error.packages().collect();
    let installed = involved.into_iter().filter_map(|name| {
        let version = engine.installed.version(name)?;
        Some(format!("\nThe base image has {name} {version}."))
    });
    installed.collect()
}

/// The package, of those in a solution made without regard to tags, that has no fitting wheel: one
/// that was asked for, if there is one.
async fn unfit(
    engine: &Engine<'_>,
    tags: &Tags,
    solution: &Solution,
) -> Result<Option<NoCompatibleWheel>, Error> {
    let mut found = Vec::new();
    for (name, version) in solution.distributions() {
        if !solution.has_wheel_for(name, tags) {
            found.push(describe_in(solution, engine, tags, name, version).await?);
        }
    }
    found.sort_by_key(|error| (error.asked.is_empty(), error.package.clone()));
    Ok(found.into_iter().next())
}

/// A package that has no fitting wheel, with the packages of a solution that need it.
pub(crate) async fn describe_in(
    solution: &Solution,
    engine: &Engine<'_>,
    tags: &Tags,
    name: &PackageName,
    version: &Version,
) -> Result<NoCompatibleWheel, Error> {
    let listing = listing(engine, name).await?.unwrap_or_default();
    let mut error = describe(engine, tags, name, version, &listing);
    if error.asked.is_empty() {
        let needs = |&(dependent, _): &(&PackageName, &Version)| {
            solution.dependencies(dependent).contains(&name)
        };
        let dependents = solution.distributions().filter(needs);
        error.needed_by = dependents
            .map(|(dependent, _)| dependent.to_string())
            .collect();
        error.needed_by.sort_unstable();
    }
    Ok(error)
}

/// The package, of those that a failure is about, that has no fitting wheel in any version that
/// could do, or in the one that `report` blames.
fn never_fitting(
    engine: &Engine<'_>,
    tags: &Tags,
    listings: &BTreeMap<PackageName, Listing>,
    report: &str,
) -> Option<NoCompatibleWheel> {
    listings.iter().find_map(|(name, listing)| {
        let allowed = || {
            listing
                .keys()
                .filter(|version| allows(engine, name, version))
        };
        let newest = allowed().next_back()?;
        let blamed =
            |version: &&Version| report.contains(&format!("{name}=={version} has no wheel"));
        let version = if allowed().any(|version| fits(listing, version, tags, engine)) {
            allowed().rev().find(blamed)?
        } else {
            newest
        };
        let mut error = describe(engine, tags, name, version, listing);
        if error.asked.is_empty() {
            error.needed_by = dependents(report, name);
        }
        Some(error)
    })
}

/// The packages that a report says depend on another: `all versions of app depend on demo>=2`.
fn dependents(report: &str, name: &PackageName) -> Vec<String> {
    let mut names = BTreeSet::new();
    for verb in [" depends on ", " depend on "] {
        for (position, _) in report.match_indices(&format!("{verb}{name}")) {
            let rest = &report[position + verb.len() + name.as_ref().len()..];
            let word = report[..position]
                .rsplit(char::is_whitespace)
                .next()
                .unwrap_or_default();
            let dependent = word
                .split(['=', '<', '>', '!', '~', '['])
                .next()
                .unwrap_or_default();
            if !rest.starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next)) {
                names.insert(dependent.to_owned());
            }
        }
    }
    names.into_iter().collect()
}

/// Whether the requirements and constraints that name a package allow a version of it.
pub(crate) fn allows(engine: &Engine<'_>, name: &PackageName, version: &Version) -> bool {
    let entries = engine
        .entries
        .requirements
        .iter()
        .chain(&engine.entries.constraints);
    entries
        .filter(|entry| entry.requirement.name == *name)
        .all(|entry| {
            entry
                .requirement
                .source
                .version_specifiers()
                .is_none_or(|specifiers| specifiers.contains(version))
        })
}

pub(crate) fn describe(
    engine: &Engine<'_>,
    tags: &Tags,
    name: &PackageName,
    version: &Version,
    listing: &Listing,
) -> NoCompatibleWheel {
    let target = &engine.request.target;
    let files = listing.get(version).map(Vec::as_slice).unwrap_or_default();
    let mut wheels_seen: Vec<WheelSeen> = files
        .iter()
        .filter(|(filename, _)| matches!(filename, DistFilename::WheelFilename(_)))
        .filter_map(|(_, file)| {
            WheelSeen::new(
                &file.filename,
                excluded_python(engine, file).as_deref(),
                target,
            )
        })
        .collect();
    wheels_seen.sort_by(|a, b| a.distance().cmp(&b.distance()));
    let asked = engine
        .inputs
        .requirements
        .iter()
        .filter(|entry| entry.requirement.name == *name);
    NoCompatibleWheel {
        package: name.to_string(),
        version: version.to_string(),
        asked: asked.map(crate::input::Entry::text).collect(),
        needed_by: Vec::new(),
        target: target.clone(),
        wheels_seen,
        has_sdist: files
            .iter()
            .any(|(filename, _)| matches!(filename, DistFilename::SourceDistFilename(_))),
        newest_compatible: listing
            .keys()
            .rev()
            .find(|version| !version.any_prerelease() && fits(listing, version, tags, engine))
            .map(ToString::to_string),
    }
}

/// Whether a version has a wheel for the target that isn't yanked.
pub(crate) fn fits(listing: &Listing, version: &Version, tags: &Tags, engine: &Engine<'_>) -> bool {
    listing
        .get(version)
        .into_iter()
        .flatten()
        .any(|(filename, file)| {
            let DistFilename::WheelFilename(filename) = filename else {
                return false;
            };
            filename.is_compatible(tags)
                && excluded_python(engine, file).is_none()
                && !file
                    .yanked
                    .as_deref()
                    .is_some_and(uv_pypi_types::Yanked::is_yanked)
        })
}

/// Whether a version has files for the target's Python that aren't yanked.
pub(crate) fn is_offered(engine: &Engine<'_>, listing: &Listing, version: &Version) -> bool {
    listing.get(version).into_iter().flatten().any(|(_, file)| {
        excluded_python(engine, file).is_none()
            && !file
                .yanked
                .as_deref()
                .is_some_and(uv_pypi_types::Yanked::is_yanked)
    })
}

/// The file's `requires-python`, where it excludes the target's.
fn excluded_python(engine: &Engine<'_>, file: &File) -> Option<String> {
    let specifiers = file.requires_python.as_ref()?;
    let version = &engine.markers.python_full_version().version;
    (!specifiers.contains(version)).then(|| specifiers.to_string())
}

/// All files of a package: those of the first index that has it, and those of find-links.
pub(crate) async fn listing<'a>(
    engine: &'a Engine<'a>,
    name: &'a PackageName,
) -> Result<Option<Listing>, Error> {
    let mut listing = Listing::new();
    let (entries, _) = engine.find_links.clone().into_parts();
    for entry in entries {
        let (filename, file, _) = entry.into_parts();
        if filename.name() == name {
            listing
                .entry(filename.version().clone())
                .or_default()
                .push((filename, file));
        }
    }
    let requests = Semaphore::new(CONCURRENT_REQUESTS);
    let source = engine.sources.get(name).map(IndexMetadataRef::from);
    let ask = |client: &'a RegistryClient| {
        client.simple_detail(name, source, engine.context.capabilities(), &requests)
    };
    // The resolver has just asked. Only an answer that must not be cached is asked for again.
    let answer = match ask(&engine.cached).await {
        Err(error) if matches!(error.kind(), ErrorKind::Offline(_)) => ask(&engine.client).await,
        answer => answer,
    };
    match answer {
        Ok(answers) => {
            for (_, answer) in answers {
                add(answer, name, &mut listing);
            }
        }
        Err(error) => match error.kind() {
            ErrorKind::RemotePackageNotFound(_) | ErrorKind::NoIndex(_) => {}
            _ => return Err(client_error(&error)),
        },
    }
    Ok((!listing.is_empty()).then_some(listing))
}

fn add(answer: MetadataFormat, name: &PackageName, listing: &mut Listing) {
    match answer {
        MetadataFormat::Simple(archive) => {
            for version in OwnedArchive::deserialize(&archive) {
                listing
                    .entry(version.version)
                    .or_default()
                    .extend(version.files.all(name));
            }
        }
        MetadataFormat::Flat(entries) => {
            for entry in entries {
                let (filename, file, _) = entry.into_parts();
                listing
                    .entry(filename.version().clone())
                    .or_default()
                    .push((filename, file));
            }
        }
    }
}

/// An index that did not let us look for `name`.
fn refused(engine: &Engine<'_>, name: &PackageName) -> Option<Error> {
    let capabilities = engine.context.capabilities();
    let mut indexes = engine.context.locations().fetch_indexes();
    let refusing = |url| capabilities.unauthorized(url) || capabilities.forbidden(url);
    let index = indexes.find(|index| refusing(index.url()))?;
    Some(Error::Unauthorized {
        package: name.to_string(),
        index: index.url().without_credentials().to_string(),
    })
}

fn not_found(engine: &Engine<'_>, name: &PackageName) -> Error {
    if let Some(error) = refused(engine, name) {
        return error;
    }
    let locations = engine.context.locations();
    let indexes = locations.fetch_indexes().chain(locations.flat_indexes());
    Error::PackageNotFound {
        package: name.to_string(),
        indexes: indexes
            .map(|index| index.url().without_credentials().to_string())
            .collect(),
    }
}

fn distribution_error(error: &uv_distribution::Error, what: Option<String>) -> Error {
    match error {
        uv_distribution::Error::Client(error) => client_error(error),
        error => Error::Resolver {
            message: what.map_or_else(|| chain(error), |what| format!("{what}: {}", chain(error))),
        },
    }
}

fn client_error(error: &uv_client::Error) -> Error {
    match error.kind() {
        ErrorKind::WrappedReqwestError(url, cause) => Error::Index {
            url: safe(url),
            status: cause.status().map(|status| status.as_u16()),
            cause: cause.status().map_or_else(
                || innermost(cause),
                |status| format!("it answered {status}"),
            ),
            retries: error.retries(),
        },
        ErrorKind::Offline(url) => Error::Offline { what: url.clone() },
        kind => Error::Resolver {
            message: chain(kind),
        },
    }
}

/// The error of a find-links location.
pub(crate) fn find_links_error(error: &FlatIndexError) -> Error {
    match error {
        FlatIndexError::FindLinksUrl(_, error) => client_error(error),
        error => Error::Resolver {
            message: chain(error),
        },
    }
}

fn safe(url: &DisplaySafeUrl) -> String {
    url.without_credentials().to_string()
}

/// The cause that other causes come from, such as `Connection refused (os error 111)`.
fn innermost(error: &dyn StdError) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    plain(&innermost.to_string())
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    plain(&text)
}

/// A text without the colours that uv puts in.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests;
