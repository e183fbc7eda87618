//! `oxcart build`

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Instant;

use oci::Platform;

use crate::build::{self, Blobs, Built, Cache, Options};
use crate::cli::{BuildArgs, Global};
use crate::clock;
use crate::commands::{bytes, lock::stale};
use crate::debian::Mirrors;
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::layers::Workshop;
use crate::lock::Lock;
use crate::metadata::{LayerState, Metadata, Seconds};
use crate::output::{Destination, Named};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::project::Project;
use crate::resolving::{self, Upgrade};
use crate::store::Store;

/// Builds the project's image, writes it where it is wanted, and prints the digest of its index.
pub(crate) fn run(global: &Global, args: &BuildArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut seconds = Seconds::default();
    let project = Project::open(&global.project, args.profile.as_deref())?;
    let platforms = project.choose(&args.platforms)?;
    let names = names(&project, args)?;
    args.outputs
        .iter()
        .try_for_each(|output| output.check(platforms.len()))?;
    let store = Store::open(global.store.as_deref())?;
    let progress = Progress::new(global);
    let fetcher = Fetcher::new(&project, &store, &progress)?;

    let lock = lock(
        &project,
        &platforms,
        args.locked,
        &store,
        &fetcher,
        &progress,
    )?;
    seconds.lock = start.elapsed().as_secs_f64();
    let plans = platforms
        .iter()
        .filter_map(|platform| lock.platform(*platform))
        .map(|locked| Plan::new(&project, locked))
        .collect::<Result<Vec<_>, _>>()?;
    let workshop = Workshop {
        project: &project,
        store: &store,
        date: clock::source_date()?,
    };
    let mirrors = Mirrors::find(&project, Some(&lock));
    let options = options(args);
    let built = build::build(
        &workshop,
        &plans,
        &mirrors,
        options,
        &fetcher,
        &progress,
        &mut seconds,
    )?;
    summarise(&built, &progress);

    let writing = Instant::now();
    let image = Named {
        built: &built,
        name: &names.name,
        tags: &names.tags,
        mtime: workshop.date,
    };
    for output in &args.outputs {
        output.write(image, &store, options.threads)?;
        progress.line(&format!("wrote {output}"));
    }
    if args.outputs.is_empty() {
        progress.line("wrote nothing: name a place with --output, such as oci:image");
    }
    seconds.output = writing.elapsed().as_secs_f64();
    seconds.total = start.elapsed().as_secs_f64();

    let mut metadata = Metadata::new(project.name.clone(), &built);
    metadata.bytes_downloaded = fetcher.downloaded();
    metadata.seconds = seconds;
    metadata.store_bytes_added = store.added();
    metadata.warnings = progress.warnings();
    if let Some(path) = &args.metadata_file {
        metadata.write(path)?;
    }
    if args.outputs.contains(&Destination::Stdout) {
        // The archive is the result there.
        progress.line(&metadata.digest.to_string());
        return Ok(());
    }
    super::print(&metadata.digest.to_string())
}

struct Names {
    name: String,
    tags: Vec<String>,
}

fn names(project: &Project, args: &BuildArgs) -> Result<Names, Failure> {
    let tags = if args.tags.is_empty() {
        vec!["latest".to_owned()]
    } else {
        args.tags.clone()
    };
    // distribution-spec, section Pulling manifests: the form of a tag.
    let valid = |tag: &str| {
        let first = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        first
            && tag.len() <= 128
            && tag
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if let Some(tag) = tags.iter().find(|tag| !valid(tag)) {
        return Err(Failure::new(format!("`{tag}` is no tag"))
            .hint("a tag has letters, digits, `_`, `.` and `-`, starts with none of the last two, and has 128 characters at most"));
    }
    Ok(Names {
        name: args.name.clone().unwrap_or_else(|| project.display_name()),
        tags,
    })
}

fn options(args: &BuildArgs) -> Options {
    Options {
        threads: args
            .jobs
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
        cache: if args.no_cache {
            Cache::Rebuild
        } else {
            Cache::Use
        },
        blobs: if args.outputs.is_empty() {
            Blobs::Named
        } else {
            Blobs::Written
        },
    }
}

/// The lock, brought up to date first unless that is forbidden.
fn lock(
    project: &Project,
    platforms: &[Platform],
    locked: bool,
    store: &Store,
    fetcher: &Fetcher,
    progress: &Progress,
) -> anyhow::Result<Lock> {
    let path = project.lock_file();
    let old = Lock::read(&path)?;
    let why = match &old {
        None => Some("it does not exist".to_owned()),
        Some(lock) => fetcher.wait(resolving::staleness(project, lock, platforms))?,
    };
    match (old, why) {
        (Some(lock), None) => Ok(lock),
        (_, Some(why)) if locked => Err(stale(&path, &why).into()),
        (old, why) => {
            let name = path.file_name().map_or(path.as_path(), Path::new);
            progress.line(&format!(
                "writing {}: {}",
                name.display(),
                why.unwrap_or_default()
            ));
            let lock = fetcher.wait(resolving::lock(
                project,
                old.as_ref(),
                &Upgrade::Nothing,
                store,
                fetcher,
                progress,
            ))?;
            lock.write(&path)?;
            Ok(lock)
        }
    }
}

fn summarise(built: &Built, progress: &Progress) {
    for image in &built.images {
        let made = image
            .layers
            .iter()
            .filter(|layer| layer.state == LayerState::Built)
            .count();
        let size: u64 = image
            .layers
            .iter()
            .map(|layer| layer.record.layer.size)
            .sum();
        progress.line(&format!(
            "{}: {} layers ({made} built now), {}",
            image.platform,
            image.layers.len(),
            bytes(size)
        ));
    }
}
