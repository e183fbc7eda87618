//! Why wheels don't fit: which part of a wheel's tags a target lacks, and in which words to say it.
//!
//! The parts are those of the binary distribution format, section File name convention: Python,
//! ABI and platform, each a set joined by dots.

use std::fmt;

use crate::target::{Arch, Libc, Target};

/// How many wheels an error names.
const SHOWN: usize = 4;

/// A package without a wheel for the target, among the versions that the requirements allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCompatibleWheel {
    /// The package.
    pub package: String,
    /// The version that would have been chosen.
    pub version: String,
    /// What was asked of the package: the requirements that name it, as they were written.
    pub asked: Vec<String>,
    /// The packages that need it, where no requirement names it.
    pub needed_by: Vec<String>,
    /// What the wheels had to fit.
    pub target: Target,
    /// The wheels of that version and why each does not fit, the closest first.
    pub wheels_seen: Vec<WheelSeen>,
    /// Whether that version has a source distribution.
    pub has_sdist: bool,
    /// The newest version, allowed or not, that has a wheel for the target.
    pub newest_compatible: Option<String>,
}

/// A wheel and why it does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelSeen {
    /// Its file name.
    pub filename: String,
    /// The parts in which it fails. At least one.
    pub misfits: Vec<Misfit>,
}

/// One part in which a wheel fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The part.
    pub part: TagPart,
    /// In words: `manylinux_2_39 needs glibc 2.39, the image has 2.36`.
    pub reason: String,
    /// How far it is from fitting: the order in which wheels are named. 0 is closest.
    distance: u8,
}

/// A part of a wheel's tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagPart {
    /// The Python tag, or the versions in the file's `requires-python`.
    Python,
    /// The ABI tag.
    Abi,
    /// The platform tag.
    Platform,
}

impl fmt::Display for TagPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Python => "python",
            Self::Abi => "abi",
            Self::Platform => "platform",
        })
    }
}

impl WheelSeen {
    /// What keeps the wheel called `filename` from `target`. `requires_python` is the index's
    /// word on it, given where it excludes the target's Python. None where nothing does.
    pub(crate) fn new(
        filename: &str,
        requires_python: Option<&str>,
        target: &Target,
    ) -> Option<Self> {
        let stem = filename.strip_suffix(".whl")?;
        let mut parts = stem.rsplitn(4, '-');
        let (platforms, abis, pythons) = (parts.next()?, parts.next()?, parts.next()?);
        let tags = target.tags();
        let misfits: Vec<Misfit> = [
            python_misfit(pythons, abis, requires_python, target, &tags),
            platform_misfit(platforms, target, &tags),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!misfits.is_empty()).then(|| Self {
            filename: filename.to_owned(),
            misfits,
        })
    }

    /// Orders wheels: fewer failing parts first, then those that fail by less.
    pub(crate) fn distance(&self) -> (usize, u8, &str) {
        let worst = self
            .misfits
            .iter()
            .map(|misfit| misfit.distance)
            .max()
            .unwrap_or(0);
        (self.misfits.len(), worst, &self.filename)
    }
}

fn python_misfit(
    pythons: &str,
    abis: &str,
    requires_python: Option<&str>,
    target: &Target,
    tags: &[String],
) -> Option<Misfit> {
    let has = |prefix: &str| tags.iter().any(|tag| tag.starts_with(prefix));
    let image = &target.python;
    if let Some(versions) = requires_python {
        let reason = format!("needs Python {versions}, the image has {image}");
        return Some(Misfit {
            part: TagPart::Python,
            reason,
            distance: 1,
        });
    }
    if !pythons.split('.').any(|python| has(&format!("{python}-"))) {
        let reason = format!("{pythons} is not for CPython {image}, which the image has");
        return Some(Misfit {
            part: TagPart::Python,
            reason,
            distance: 1,
        });
    }
    let pairs = |python| abis.split('.').map(move |abi| format!("{python}-{abi}-"));
    if !pythons.split('.').flat_map(pairs).any(|pair| has(&pair)) {
        let reason = format!("{pythons}-{abis} is not for CPython {image}, which the image has");
        return Some(Misfit {
            part: TagPart::Abi,
            reason,
            distance: 1,
        });
    }
    None
}

fn platform_misfit(platforms: &str, target: &Target, tags: &[String]) -> Option<Misfit> {
    let fits = |platform: &str| {
        tags.iter()
            .any(|tag| tag.rsplit('-').next().is_some_and(|last| last == platform))
    };
    if platforms.split('.').any(fits) {
        return None;
    }
    let (distance, reason) = platforms
        .split('.')
        .map(|platform| explain_platform(platform, target))
        .min()?;
    Some(Misfit {
        part: TagPart::Platform,
        reason,
        distance,
    })
}

/// How far `platform` is from the target's, and the words for it.
fn explain_platform(platform: &str, target: &Target) -> (u8, String) {
    let other_system = (5, format!("{platform} is not for Linux"));
    let Some((family, rest)) = split_family(platform) else {
        return other_system;
    };
    let Some(arch) = Arch::ALL
        .into_iter()
        .find(|arch| rest.ends_with(arch.name()))
    else {
        return (
            4,
            format!("{platform} is not for {}, which the image is", target.arch),
        );
    };
    if arch != target.arch {
        return (
            4,
            format!("{platform} is for {arch}, the image is {}", target.arch),
        );
    }
    let wanted = match (family, version(&rest)) {
        ("manylinux", Some((major, minor))) => Libc::Glibc { major, minor },
        ("musllinux", Some((major, minor))) => Libc::Musl { major, minor },
        _ => {
            return (
                3,
                format!(
                    "{platform} does not fit {}, which the image has",
                    target.libc
                ),
            );
        }
    };
    let name = platform
        .strip_suffix(&format!("_{arch}"))
        .unwrap_or(platform);
    match (wanted, target.libc) {
        (Libc::Glibc { .. }, Libc::Glibc { major, minor })
        | (Libc::Musl { .. }, Libc::Musl { major, minor }) => (
            0,
            format!("{name} needs {wanted}, the image has {major}.{minor}"),
        ),
        (_, has) => (2, format!("{name} needs {wanted}, the image has {has}")),
    }
}

/// `manylinux_2_39_aarch64` → `manylinux`, `2_39_aarch64`; the old names become new ones.
fn split_family(platform: &str) -> Option<(&'static str, String)> {
    for (alias, version) in [("2014", "2_17"), ("2010", "2_12"), ("1", "2_5")] {
        if let Some(arch) = platform.strip_prefix(&format!("manylinux{alias}_")) {
            return Some(("manylinux", format!("{version}_{arch}")));
        }
    }
    ["manylinux", "musllinux", "linux"]
        .into_iter()
        .find_map(|family| {
            Some((
                family,
                platform.strip_prefix(family)?.strip_prefix('_')?.to_owned(),
            ))
        })
}

/// The version at the start of `2_39_aarch64`.
fn version(rest: &str) -> Option<(u16, u16)> {
    let mut parts = rest.splitn(3, '_');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl fmt::Display for NoCompatibleWheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            package,
            version,
            target,
            ..
        } = self;
        write!(
            f,
            "no wheel of {package} {version} fits the image ({target})"
        )?;
        if !self.asked.is_empty() {
            write!(f, "\n  asked for: {}", self.asked.join(", "))?;
        } else if !self.needed_by.is_empty() {
            write!(f, "\n  needed by: {}", self.needed_by.join(", "))?;
        }
        match &self.wheels_seen[..] {
            [] if self.has_sdist => write!(f, "\n  it has no wheel at all, only a source archive")?,
            [] => write!(f, "\n  it has no wheel at all")?,
            [_] => write!(f, "\n  its only wheel:")?,
            seen => write!(f, "\n  the closest of its {} wheels:", seen.len())?,
        }
        for wheel in self.wheels_seen.iter().take(SHOWN) {
            write!(f, "\n    {}", wheel.filename)?;
            for misfit in &wheel.misfits {
                write!(f, "\n      {}: {}", misfit.part, misfit.reason)?;
            }
        }
        if self.has_sdist && !self.wheels_seen.is_empty() {
            write!(f, "\n  it has a source archive, which pip would build")?;
        }
        match &self.newest_compatible {
            Some(newest) => write!(f, "\n  newest version with a wheel that fits: {newest}"),
            None => write!(f, "\n  no version of it has a wheel that fits"),
        }
    }
}

impl std::error::Error for NoCompatibleWheel {}

impl NoCompatibleWheel {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match &self.newest_compatible {
            Some(newest) => {
                format!(
                    "allow `{}=={newest}`, or {}",
                    self.package,
                    self.way_to_a_wheel()
                )
            }
            None => self.way_to_a_wheel(),
        }
    }

    /// How to come to a wheel of this version.
    pub(crate) fn way_to_a_wheel(&self) -> String {
        let build = format!(
            "build a wheel of {} for {} elsewhere and name its directory with `find-links`",
            self.package, self.target.arch
        );
        match self.other_base() {
            Some(base) => format!("{base}, or {build}"),
            None if self.wheels_seen.is_empty() => format!(
                "allow its sources to be built with `build-from-source = [\"{}\"]`, or {build}",
                self.package
            ),
            None => build,
        }
    }

    /// The base that the closest wheel would do with, where another base helps.
    fn other_base(&self) -> Option<String> {
        let [misfit] = &self.wheels_seen.first()?.misfits[..] else {
            return None;
        };
        match misfit.part {
            TagPart::Platform if misfit.distance <= 2 => Some(format!(
                "use a base image with another C library ({})",
                misfit.reason.split(',').next().unwrap_or_default()
            )),
            TagPart::Python | TagPart::Abi => {
                Some("use a base image with another Python version".to_owned())
            }
            TagPart::Platform => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NoCompatibleWheel, WheelSeen};
    use crate::target::{Arch, Libc, Target};

    fn target() -> Target {
        Target {
            arch: Arch::Aarch64,
            libc: Libc::Glibc {
                major: 2,
                minor: 36,
            },
            python: "3.13.5".to_owned(),
        }
    }

    fn misfits(filename: &str) -> String {
        WheelSeen::new(filename, None, &target()).map_or_else(
            || "fits".to_owned(),
            |seen| {
                let words: Vec<String> = seen
                    .misfits
                    .iter()
                    .map(|misfit| format!("{}: {}", misfit.part, misfit.reason))
                    .collect();
                words.join("; ")
            },
        )
    }

    #[test]
    fn each_failing_part_is_named() {
        let cases = [
            "a-1-py3-none-any.whl",
            "a-1-cp313-cp313-manylinux_2_36_aarch64.whl",
            "a-1-cp38-abi3-manylinux2014_aarch64.manylinux_2_39_aarch64.whl",
            "a-1-cp313-cp313-manylinux_2_39_aarch64.whl",
            "a-1-cp313-cp313-musllinux_1_2_aarch64.whl",
            "a-1-cp313-cp313-manylinux2014_x86_64.whl",
            "a-1-cp313-cp313-linux_ppc64le.whl",
            "a-1-cp313-cp313-macosx_11_0_arm64.whl",
            "a-1-cp313-cp313-win_amd64.whl",
            "a-1-cp312-cp312-manylinux2014_aarch64.whl",
            "a-1-cp314-cp314-manylinux2014_aarch64.whl",
            "a-1-cp313-cp313t-manylinux2014_aarch64.whl",
            "a-1-1build-pp310-pypy310_pp73-manylinux2014_x86_64.whl",
            "a-1-py2-none-any.whl",
        ];
        let lines: Vec<String> = cases
            .iter()
            .map(|case| format!("{case} → {}", misfits(case)))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_message_names_the_closest_wheels_first() {
        let mut wheels_seen: Vec<WheelSeen> = [
            "demo-2.0-cp313-cp313-win_amd64.whl",
            "demo-2.0-cp313-cp313-manylinux_2_39_aarch64.whl",
            "demo-2.0-cp312-cp312-manylinux_2_39_aarch64.whl",
            "demo-2.0-cp313-cp313-manylinux_2_39_x86_64.whl",
            "demo-2.0-cp312-cp312-win_amd64.whl",
        ]
        .iter()
        .filter_map(|name| WheelSeen::new(name, None, &target()))
        .collect();
        wheels_seen.sort_by(|a, b| a.distance().cmp(&b.distance()));
        let error = NoCompatibleWheel {
            package: "demo".to_owned(),
            version: "2.0".to_owned(),
            asked: vec!["demo>=2".to_owned()],
            needed_by: Vec::new(),
            target: target(),
            wheels_seen,
            has_sdist: true,
            newest_compatible: Some("1.9".to_owned()),
        };
        insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint()));
    }

    #[test]
    fn a_package_with_no_wheel_says_so() {
        let error = NoCompatibleWheel {
            package: "demo".to_owned(),
            version: "2.0".to_owned(),
            asked: Vec::new(),
            needed_by: vec!["app".to_owned()],
            target: target(),
            wheels_seen: Vec::new(),
            has_sdist: true,
            newest_compatible: None,
        };
        insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint()));
    }
}
