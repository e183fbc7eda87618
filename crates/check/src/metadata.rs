//! Every requirement that holds on the platform is satisfied by an installed version (the dependency
//! specifiers and version specifiers specifications).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use contents::{Ecosystem, Package};
use facts::path::parent;
use oci::Platform;
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::Version;
use uv_pep508::{
    MarkerEnvironment, MarkerEnvironmentBuilder, Requirement, VerbatimUrl, VersionOrUrl,
};

use crate::image::Image;
use crate::python::Python;
use crate::report::{Code, Counts, Finding, Severity};

/// An installed package and what it requires.
struct Installed<'a> {
    package: &'a Package,
    requirements: Vec<Requirement<VerbatimUrl>>,
}

/// Which packages require which, whatever the markers.
pub(crate) struct Dependencies(BTreeMap<PackageName, BTreeSet<PackageName>>);

impl Dependencies {
    pub(crate) fn of(image: &Image<'_>) -> Self {
        let packages = image.owners.packages.iter();
        let of_python = packages.filter(|package| package.ecosystem == Ecosystem::Python);
        let pairs = of_python.filter_map(|package| {
            let requirements = requirements(image, package).into_iter();
            let names = requirements.map(|requirement| requirement.name);
            Some((PackageName::from_str(&package.name).ok()?, names.collect()))
        });
        Self(pairs.collect())
    }

    /// Whether one package is the other, or requires it, directly or not.
    pub(crate) fn leads(&self, from: &str, to: &str) -> bool {
        let (Ok(from), Ok(to)) = (PackageName::from_str(from), PackageName::from_str(to)) else {
            return false;
        };
        let mut seen = BTreeSet::new();
        let mut todo = vec![&from];
        while let Some(name) = todo.pop() {
            if *name == to {
                return true;
            }
            if seen.insert(name.clone()) {
                todo.extend(self.0.get(name).into_iter().flatten());
            }
        }
        false
    }
}

pub(crate) fn check(image: &Image<'_>, counts: &mut Counts, findings: &mut Vec<Finding>) {
    let Some(python) = &image.python else {
        return;
    };
    let Some(markers) = markers(python, image.platform) else {
        return;
    };
    let mut installed: BTreeMap<PackageName, Installed<'_>> = BTreeMap::new();
    for site in &python.sites {
        for package in &image.owners.packages {
            let is_here = parent(parent(&package.metadata)) == site;
            if package.ecosystem == Ecosystem::Python
                && is_here
                && let Ok(name) = PackageName::from_str(&package.name)
            {
                installed.entry(name).or_insert_with(|| Installed {
                    package,
                    requirements: requirements(image, package),
                });
            }
        }
    }
    counts.packages += installed.len() as u64;
    let extras = extras(&installed, &markers);
    for (name, it) in &installed {
        let asked = extras.get(name).cloned().unwrap_or_default();
        for requirement in &it.requirements {
            if !requirement.evaluate_markers(&markers, &asked) {
                continue;
            }
            counts.requirements += 1;
            if let Some(wrong) = unsatisfied(requirement, &installed) {
                let metadata = &it.package.metadata;
                let message = format!("requires {}, and {wrong}", shown(requirement));
                let is_of_system = image.owners.is_of_system(metadata);
                let (severity, hint) = if is_of_system {
                    let rule =
                        "rule: a package of the distribution states what it needs to dpkg or apk";
                    (Severity::Note, rule.to_owned())
                } else {
                    let (wanted, name) = (shown(requirement), &it.package.name);
                    let hint = format!(
                        "add `{wanted}` to the requirements, or take a version of {name} that does without"
                    );
                    (Severity::Fault, hint)
                };
                let finding = image.finding(severity, Code::MissingRequirement, metadata, message);
                findings.push(finding.about(requirement.name.as_ref()).hint(hint));
            }
        }
    }
}

/// Without its marker, which holds.
fn shown(requirement: &Requirement<VerbatimUrl>) -> String {
    let text = requirement.to_string();
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

fn unsatisfied(
    requirement: &Requirement<VerbatimUrl>,
    installed: &BTreeMap<PackageName, Installed<'_>>,
) -> Option<String> {
    let Some(found) = installed.get(&requirement.name) else {
        return Some("it is not installed".to_owned());
    };
    let Some(VersionOrUrl::VersionSpecifier(wanted)) = &requirement.version_or_url else {
        return None;
    };
    let version = Version::from_str(&found.package.version).ok()?;
    (!wanted.contains(&version)).then(|| format!("{version} is installed"))
}

/// The extras that installed packages ask of each other.
fn extras(
    installed: &BTreeMap<PackageName, Installed<'_>>,
    markers: &MarkerEnvironment,
) -> BTreeMap<PackageName, Vec<ExtraName>> {
    let mut asked: BTreeMap<PackageName, Vec<ExtraName>> = BTreeMap::new();
    loop {
        let mut more = Vec::new();
        for (name, it) in installed {
            let own = asked.get(name).cloned().unwrap_or_default();
            for requirement in &it.requirements {
                if !requirement.extras.is_empty() && requirement.evaluate_markers(markers, &own) {
                    let extras = requirement.extras.iter().cloned();
                    more.extend(extras.map(|extra| (requirement.name.clone(), extra)));
                }
            }
        }
        let mut changed = false;
        for (name, extra) in more {
            let extras = asked.entry(name).or_default();
            if !extras.contains(&extra) {
                extras.push(extra);
                changed = true;
            }
        }
        if !changed {
            return asked;
        }
    }
}

/// `Requires-Dist` of the package. What cannot be parsed is left out: an installer ignores it too.
fn requirements(image: &Image<'_>, package: &Package) -> Vec<Requirement<VerbatimUrl>> {
    let text = image.contents.text(&package.metadata).unwrap_or_default();
    let fields = text
        .lines()
        .filter_map(|line| line.strip_prefix("Requires-Dist:"));
    fields
        .filter_map(|text| Requirement::from_str(text.trim()).ok())
        .collect()
}

/// The values of the environment markers; the kernel's are empty, as an image has none.
fn markers(python: &Python, platform: Platform) -> Option<MarkerEnvironment> {
    let machine = match platform {
        Platform::Amd64 => "x86_64",
        Platform::Arm64 => "aarch64",
        Platform::ArmV7 => "armv7l",
    };
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: &python.version,
        os_name: "posix",
        platform_machine: machine,
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: &python.version,
        python_version: &format!("3.{}", python.minor),
        sys_platform: "linux",
    })
    .ok()
}
