//! The guard against quiet downgrades.
//!
//! A resolver that takes wheels alone walks back, without a word, to the last version that still
//! had one for the target: to something years old, at times. Going back that far is an error here.

use std::fmt;
use std::str::FromStr;

use futures::future::try_join_all;
use uv_distribution_types::{Name as _, Node, Requirement, ResolvedDist};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_platform_tags::Tags;

use crate::diagnose::{self, Listing};
use crate::error::Error;
use crate::misfit::NoCompatibleWheel;
use crate::resolution::Resolution;
use crate::uv::{Engine, Solution};

/// Eighteen months, in milliseconds: what is older than that is out of support, mostly.
const TOO_OLD: i64 = 548 * 24 * 60 * 60 * 1000;

/// A version that was chosen only because the ones after it have no wheel for the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downgrade {
    /// The version that was chosen.
    pub chosen: String,
    /// The newest version that the requirements allow, and why it could not be chosen.
    pub newest: NoCompatibleWheel,
}

impl std::error::Error for Downgrade {}

impl fmt::Display for Downgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chosen, newest } = self;
        let package = &newest.package;
        write!(f, "{package} would go back from {} to {chosen}: {newest}", newest.version)
    }
}

impl Downgrade {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let package = &self.newest.package;
        format!("say `allow-downgrade = [\"{package}\"]` if {} will do, or {}", self.chosen, {
            self.newest.way_to_a_wheel()
        })
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
    let guarded = resolution.wheels.iter().filter(|pinned| engine.is_guarded(pinned));
    let looked_at = guarded.map(async |pinned| {
        // Both were printed from what they are parsed to.
        let Ok(name) = PackageName::from_str(&pinned.name) else { return Ok(None) };
        let Ok(version) = Version::from_str(&pinned.version) else { return Ok(None) };
        let listing = diagnose::listing(engine, &name).await?.unwrap_or_default();
        let files = Files { engine, tags, wanted, listing: &listing };
        Ok::<_, Error>(files.lacking(&name, &version, pinned.uploaded))
    });
    let mut suspects = try_join_all(looked_at).await?.into_iter().flatten().peekable();
    if suspects.peek().is_none() {
        return Ok(());
    }
    // Whether a newer version would be chosen at all, if only it fitted, takes another run. One
    // without any wheel can't show up in that run either: the requirements must do for it.
    let relaxed = engine.solve(None).await.ok();
    let would_be_chosen = |suspect: &Downgrade| {
        suspect.newest.wheels_seen.is_empty()
            || relaxed.as_ref().is_none_or(|solution| goes_beyond(solution, suspect))
    };
    match suspects.find(would_be_chosen) {
        Some(downgrade) => Err(Error::Downgrade(Box::new(downgrade))),
        None => Ok(()),
    }
}

/// The files of a package, and what decides which of them are any good.
struct Files<'a> {
    engine: &'a Engine<'a>,
    tags: &'a Tags,
    wanted: &'a [Requirement],
    listing: &'a Listing,
}

impl Files<'_> {
    /// The newest version that is allowed, if it is far from the chosen one and has no fitting
    /// wheel.
    fn lacking(
        &self,
        name: &PackageName,
        chosen: &Version,
        uploaded: Option<i64>,
    ) -> Option<Downgrade> {
        let newer = self.listing.keys().rev().take_while(|&version| version > chosen);
        let newest = newer.filter(|version| !version.any_prerelease()).find(|version| {
            self.is_wanted(name, version)
                && diagnose::is_offered(self.engine, self.listing, version)
        })?;
        if diagnose::fits(self.listing, newest, self.tags, self.engine) {
            return None;
        }
        let age = self.uploaded(newest).zip(uploaded).map(|(newest, chosen)| newest - chosen);
        let far = newest.release().first() != chosen.release().first()
            || age.is_some_and(|age| age > TOO_OLD);
        far.then(|| Downgrade {
            chosen: chosen.to_string(),
            newest: diagnose::describe(self.engine, self.tags, name, newest, self.listing),
        })
    }

    fn is_wanted(&self, name: &PackageName, version: &Version) -> bool {
        let mut wanted = self.wanted.iter().filter(|requirement| requirement.name == *name);
        let allows = |requirement: &Requirement| {
            let specifiers = requirement.source.version_specifiers();
            specifiers.is_none_or(|specifiers| specifiers.contains(version))
        };
        diagnose::allows(self.engine, name, version) && wanted.all(allows)
    }

    fn uploaded(&self, version: &Version) -> Option<i64> {
        let files = self.listing.get(version)?;
        files.iter().filter_map(|(_, file)| file.upload_time_utc_ms).min()
    }
}

/// Whether a solution has the package in a newer version than the one that was chosen.
fn goes_beyond(solution: &Solution, downgrade: &Downgrade) -> bool {
    solution.graph.graph().node_weights().any(|node| match node {
        Node::Dist { dist: ResolvedDist::Installable { dist, version: Some(version) }, .. } => {
            dist.name().as_ref() == downgrade.newest.package
                && Version::from_str(&downgrade.chosen).is_ok_and(|chosen| *version > chosen)
        }
        _ => false,
    })
}
