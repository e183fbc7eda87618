//! `oxcart check`

use std::fmt::Write as _;
use std::process::ExitCode;

use check::{Finding, Report, Severity};
use oci::Platform;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{CheckArgs, Global};
use crate::commands::push::runtime;
use crate::diagnostics::Failure;
use crate::place::{Document, Images, Location, Place};
use crate::progress::Progress;
use crate::project::Project;
use crate::proof;
use crate::registries::Registries;
use crate::store::Store;

/// What was proven of an image.
#[derive(Debug, Serialize)]
struct Proof {
    /// Of the index, or of the only manifest.
    digest: String,
    platforms: Vec<PlatformProof>,
}

#[derive(Debug, Serialize)]
struct PlatformProof {
    platform: Platform,
    /// Of the manifest.
    digest: String,
    #[serde(flatten)]
    report: Report,
}

/// Proves the image at `args.image`, and prints what was found. Exit status 1 where there is a fault.
pub(crate) fn run(global: &Global, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let location = Location::typed(&args.image)?;
    let progress = Progress::new(global);
    let store = Store::open(global.store.as_deref())?;
    let registries = Registries::new(global, location.reference(), &progress);
    let project = match &args.profile {
        Some(profile) => Some(Project::open(&global.project, Some(profile))?),
        None => Project::open(&global.project, None).ok(),
    };
    let proof = runtime()?.block_on(async {
        let place = Place::open(&location, &registries)?;
        let images = Images::read(&place).await?;
        let mut platforms = Vec::new();
        for manifest in &images.manifests {
            platforms.extend(platform(&store, &place, manifest, args, &progress).await?);
        }
        // A project may say otherwise than its packages.
        if let Some(project) = &project {
            for it in &mut platforms {
                proof::waive(&mut it.report, project, it.platform).await?;
            }
        }
        if platforms.is_empty() {
            return Err(Failure::new(format!("{place} has no image that could be checked"))
                .hint("it must be for one of linux/amd64, linux/arm64, linux/arm/v7, and for one that --platform names")
                .into());
        }
        Ok::<_, anyhow::Error>(Proof {
            digest: images.top.digest().to_string(),
            platforms,
        })
    })?;
    if args.json {
        super::print(&serde_json::to_string_pretty(&proof)?)?;
    } else {
        super::print(text(&proof).trim_end())?;
    }
    let faults = proof.platforms.iter().flat_map(|it| it.report.faults());
    Ok(ExitCode::from(u8::from(faults.count() > 0)))
}

/// None for what is no image of a platform that was asked for.
async fn platform(
    store: &Store,
    place: &Place,
    document: &Document,
    args: &CheckArgs,
    progress: &Progress,
) -> anyhow::Result<Option<PlatformProof>> {
    let manifest: oci_spec::image::ImageManifest = document.parsed()?;
    let config = place.small_blob(manifest.config()).await?;
    let image: Value = serde_json::from_slice(&config).unwrap_or_default();
    let field = |name: &str| image[name].as_str().filter(|text| !text.is_empty());
    let parts = [field("os"), field("architecture"), field("variant")];
    let name = parts
        .iter()
        .flatten()
        .copied()
        .collect::<Vec<_>>()
        .join("/");
    let Ok(platform) = name.parse::<Platform>() else {
        progress.line(&format!(
            "not checked: {}, which is for {}",
            document.digest(),
            if name.is_empty() {
                "no platform"
            } else {
                &name
            }
        ));
        return Ok(None);
    };
    if !args.platforms.is_empty() && !args.platforms.contains(&platform) {
        return Ok(None);
    }
    let base = oci::Base::parse(&document.bytes, &config)?;
    let config = proof::config(base.config())?;
    let report = proof::of_place(store, place, base.layers(), &config, platform).await?;
    Ok(Some(PlatformProof {
        platform,
        digest: document.digest().to_string(),
        report,
    }))
}

fn text(proof: &Proof) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", proof.digest);
    for it in &proof.platforms {
        let (faults, notes) = (it.report.faults().count(), it.report.notes().count());
        let _ = writeln!(
            out,
            "\n{}  {}  {}, {}",
            it.platform,
            it.digest,
            count(faults as u64, "fault"),
            count(notes as u64, "note")
        );
        let proven = &it.report.proven;
        let counts = [
            count(proven.elf_files, "ELF file"),
            format!("{} needed libraries", proven.libraries),
            count(proven.versions, "symbol version"),
            count(proven.scripts, "script"),
            count(proven.entry_points, "entry point"),
            count(proven.requirements, "requirement"),
            format!(
                "{} of {}",
                count(proven.owned_files, "file"),
                count(proven.packages, "package")
            ),
        ];
        let _ = writeln!(out, "  looked at {}", counts.join(", "));
        for finding in &it.report.findings {
            show(&mut out, finding);
        }
    }
    out
}

fn show(out: &mut String, finding: &Finding) {
    let kind = match finding.severity {
        Severity::Fault => "fault",
        Severity::Note => "note",
    };
    let owner = finding.owner.as_ref().map(|owner| format!(" ({owner})"));
    let _ = writeln!(
        out,
        "  {kind}: {}: {}{} {}",
        finding.code.name(),
        finding.path,
        owner.unwrap_or_default(),
        finding.message
    );
    if let Some(hint) = &finding.hint {
        let _ = writeln!(out, "    {hint}");
    }
}

/// `1 fault`, `2 faults`.
fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
