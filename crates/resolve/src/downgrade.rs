//! The guard against quiet downgrades.
//!
//! A resolver that takes wheels alone walks back, without a word, to the last version that still
//! had one for the target: to something years old, at times. Going back that far is an error here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;

use futures::future::try_join_all;
use uv_distribution_types::Requirement;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_platform_tags::Tags;

use crate::diagnose::{self, Listing};
use crate::error::Error;
use crate::misfit::NoCompatibleWheel;
use crate::resolution::Resolution;
use crate::solution::Solution;
use crate::uv::Engine;

/// Eighteen months, in milliseconds: what is older than that is out of support, mostly.
const TOO_OLD: i64 = 548 * 24 * 60 * 60 * 1000;

/// A version that was chosen only because newer ones, or something they need, have no wheel for the
/// target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downgrade {
    /// The package.
    pub package: String,
    /// The version that was chosen.
    pub chosen: String,
    /// The version that would be chosen if every wheel fitted.
    pub newer: String,
    /// What that version lacks: a wheel of its own, or of something that it needs.
    pub lacking: NoCompatibleWheel,
}

impl std::error::Error for Downgrade {}

impl fmt::Display for Downgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            package,
            chosen,
            newer,
            lacking,
        } = self;
        write!(
            f,
            "{package} would go back from {newer} to {chosen}: {lacking}"
        )
    }
}

impl Downgrade {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let Self {
            package,
            chosen,
            lacking,
            ..
        } = self;
        let way = lacking.way_to_a_wheel();
        format!("say `allow-downgrade = [\"{package}\"]` if {chosen} will do, or {way}")
    }
}

/// Fails where a package went far back for want of a wheel. `wanted` are the requirements of the
/// chosen wheels.
pub(crate) async fn check(
    engine: &Engine<'_>,
    tags: &Tags,
    resolution: &Resolution,
    wanted: &[Requirement],
) -> Result<(), Error> {
    let guarded = resolution
        .wheels
        .iter()
        .filter(|pinned| engine.is_guarded(pinned));
    let looked_at = guarded.map(async |pinned| {
        // Both were printed from what they are parsed to.
        let Ok(name) = PackageName::from_str(&pinned.name) else {
            return Ok(None);
        };
        let Ok(chosen) = Version::from_str(&pinned.version) else {
            return Ok(None);
        };
        let listing = diagnose::listing(engine, &name).await?.unwrap_or_default();
        Ok::<_, Error>(Some(Looked {
            name,
            chosen,
            uploaded: pinned.uploaded,
            listing,
        }))
    });
    let looked: Vec<Looked> = try_join_all(looked_at)
        .await?
        .into_iter()
        .flatten()
        .collect();
    let left_behind = |looked: &&Looked| {
        looked
            .newest(engine, wanted)
            .is_some_and(|newest| looked.is_far_from(newest))
    };
    let suspects: Vec<&Looked> = looked.iter().filter(left_behind).collect();
    if suspects.is_empty() {
        return Ok(());
    }
    // Most are held back by another package's requirements. Those that aren't come out newer if
    // every wheel is taken to fit.
    let relaxed = engine.solve(None).await.ok();
    for suspect in suspects {
        let mut downgrade = suspect.without_any_wheel(engine, tags, wanted);
        if downgrade.is_none()
            && let Some(relaxed) = &relaxed
        {
            downgrade = suspect.unfit_in(relaxed, engine, tags).await?;
        }
        if let Some(downgrade) = downgrade {
            return Err(Error::Downgrade(Box::new(downgrade)));
        }
    }
    Ok(())
}

/// A chosen version, and all that the index has of its package.
struct Looked {
    name: PackageName,
    chosen: Version,
    uploaded: Option<i64>,
    listing: Listing,
}

impl Looked {
    /// The newest version that all requirements allow.
    fn newest(&self, engine: &Engine<'_>, wanted: &[Requirement]) -> Option<&Version> {
        let newer = self
            .listing
            .keys()
            .rev()
            .take_while(|&version| *version > self.chosen);
        newer
            .filter(|version| !version.any_prerelease())
            .find(|version| {
                let mut wanted = wanted
                    .iter()
                    .filter(|requirement| requirement.name == self.name);
                let allows = |requirement: &Requirement| {
                    let specifiers = requirement.source.version_specifiers();
                    specifiers.is_none_or(|specifiers| specifiers.contains(version))
                };
                diagnose::allows(engine, &self.name, version)
                    && wanted.all(allows)
                    && diagnose::is_offered(engine, &self.listing, version)
            })
    }

    fn is_far_from(&self, newer: &Version) -> bool {
        let files = self
            .listing
            .get(newer)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let uploaded = files
            .iter()
            .filter_map(|(_, file)| file.upload_time_utc_ms)
            .min();
        let age = uploaded
            .zip(self.uploaded)
            .map(|(newer, chosen)| newer - chosen);
        newer.release().first() != self.chosen.release().first()
            || age.is_some_and(|age| age > TOO_OLD)
    }

    /// The newest version has source archives alone: no run of the resolver would choose it.
    fn without_any_wheel(
        &self,
        engine: &Engine<'_>,
        tags: &Tags,
        wanted: &[Requirement],
    ) -> Option<Downgrade> {
        let newest = self.newest(engine, wanted)?;
        let lacking = diagnose::describe(engine, tags, &self.name, newest, &self.listing);
        let fits = diagnose::fits(&self.listing, newest, tags, engine);
        (!fits && lacking.wheels_seen.is_empty()).then(|| self.downgrade(newest, lacking))
    }

    /// The version in a solution made without regard to tags is far newer, and something of it, or
    /// of what it needs, doesn't fit.
    async fn unfit_in(
        &self,
        relaxed: &Solution,
        engine: &Engine<'_>,
        tags: &Tags,
    ) -> Result<Option<Downgrade>, Error> {
        let versions: BTreeMap<&PackageName, &Version> = relaxed.distributions().collect();
        let newer = versions.get(&self.name);
        let Some(newer) = newer.filter(|&&newer| *newer > self.chosen && self.is_far_from(newer))
        else {
            return Ok(None);
        };
        let mut seen = BTreeSet::from([&self.name]);
        let mut next = VecDeque::from([&self.name]);
        while let Some(name) = next.pop_front() {
            if let Some(version) = versions.get(name)
                && !relaxed.has_wheel_for(name, tags)
            {
                let lacking = diagnose::describe_in(relaxed, engine, tags, name, version).await?;
                return Ok(Some(self.downgrade(newer, lacking)));
            }
            let dependencies = relaxed.dependencies(name).into_iter();
            next.extend(dependencies.filter(|&dependency| seen.insert(dependency)));
        }
        Ok(None)
    }

    fn downgrade(&self, newer: &Version, lacking: NoCompatibleWheel) -> Downgrade {
        Downgrade {
            package: self.name.to_string(),
            chosen: self.chosen.to_string(),
            newer: newer.to_string(),
            lacking,
        }
    }
}
