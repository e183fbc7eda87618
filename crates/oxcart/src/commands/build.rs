//! `oxcart build`

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Instant;

use oci::Platform;

use crate::asked;
use crate::base::Bases;
use crate::build::{self, Blobs, Built, Cache, Options, Supplies};
use crate::cli::{BuildArgs, Global};
use crate::clock;
use crate::commands::{bytes, lock::stale};
use crate::debian::Mirrors;
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::github::{self, Workflow};
use crate::layers::Workshop;
use crate::lock::Lock;
use crate::metadata::{LayerState, Metadata, Seconds};
use crate::output::{Destination, Named};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::project::Project;
use crate::proof;
use crate::registries::Registries;
use crate::resolving::{self, Means, Upgrade};
use crate::store::Store;
use crate::target::{self, Target};
use crate::vendor::Vendored;

/// Builds the project's image, writes it or pushes it where it is wanted, and prints the digest of its
/// index.
pub(crate) fn run(global: &Global, args: &BuildArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut seconds = Seconds::default();
    let mut project = Project::open(&global.project, args.profile.as_deref())?;
    let platforms = project.choose(&args.platforms)?;
    args.outputs
        .iter()
        .try_for_each(|output| output.check(platforms.len()))?;
    let store = Store::open(global.store.as_deref())?;
    let progress = Progress::new(global);
    if let Some(workflow) = Workflow::of_environment() {
        join_workflow(&mut project, &workflow, args.push, &progress);
    }
    let names = names(&project, args)?;
    let fetcher = Fetcher::new(&project, &store, &progress)?;
    let reference = if args.push {
        Some(target::reference(names.stated.as_deref())?)
    } else {
        None
    };
    let about = reference.as_ref().or(project.base.reference());
    let registries = Registries::new(global, about, &progress);
    let (fetcher, registries) = if args.offline {
        let vendored = args.vendor.as_deref().map(Vendored::open).transpose()?;
        (fetcher.offline(vendored), registries.offline())
    } else {
        (fetcher, registries)
    };
    let means = Means {
        store: &store,
        fetcher: &fetcher,
        registries: &registries,
        progress: &progress,
    };
    let mut target = None;
    if let Some(reference) = reference {
        let opened = Target::open(reference, &names.tags, args.join, &registries)?;
        // Before anything that takes long.
        fetcher.wait(opened.repository.check_push())?;
        target = Some(opened);
    }

    let lock = lock(&project, &platforms, IfStale::of(args), means)?;
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
    let bases = Bases {
        store: &store,
        registries: &registries,
        progress: &progress,
    };
    let supplies = Supplies {
        mirrors: &Mirrors::find(&project, Some(&lock)),
        bases,
        fetcher: &fetcher,
    };
    let options = options(args);
    let built = build::build(&workshop, &plans, supplies, options, &mut seconds)?;
    summarise(&built, &progress);

    let checking = Instant::now();
    let goes_anywhere = args.push || !args.outputs.is_empty();
    if goes_anywhere && !args.no_check {
        proof::of_built(&built, &project, bases, &fetcher, options.threads)?;
    }
    seconds.check = checking.elapsed().as_secs_f64();

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
    if args.outputs.is_empty() && !args.push {
        progress.line("wrote nothing: name a place with --output, such as oci:image, or --push");
    }
    seconds.output = writing.elapsed().as_secs_f64();

    let pushing = Instant::now();
    let pushed = target
        .map(|target| fetcher.wait(target.push(&project, &built, bases)))
        .transpose()?;
    seconds.push = pushing.elapsed().as_secs_f64();
    seconds.total = start.elapsed().as_secs_f64();

    let mut metadata = Metadata::new(names.stated.clone(), &built, pushed.as_ref());
    metadata.bytes_downloaded = fetcher.downloaded() + registries.received();
    metadata.bytes_uploaded = registries.sent();
    metadata.seconds = seconds;
    metadata.store_bytes_added = store.added();
    metadata.warnings = progress.warnings();
    if let Some(path) = &args.metadata_file {
        metadata.write(path)?;
    }
    let references = pushed.as_ref().map_or(&[][..], |pushed| &pushed.references);
    github::summarise(&metadata, references)?;
    tell(&metadata, &names, args, &progress)
}

/// Prints the result.
fn tell(
    metadata: &Metadata,
    names: &Names,
    args: &BuildArgs,
    progress: &Progress,
) -> anyhow::Result<()> {
    let result = if args.push {
        format!("{}@{}", names.name, metadata.digest)
    } else {
        metadata.digest.to_string()
    };
    if args.outputs.contains(&Destination::Stdout) {
        // The archive is the result there.
        progress.line(&result);
        return Ok(());
    }
    super::print(&result)
}

/// Completes the project with what the workflow knows.
fn join_workflow(project: &mut Project, workflow: &Workflow, push: bool, progress: &Progress) {
    if project.name.is_none() && push {
        project.name = Some(workflow.image_name());
    }
    if let Some(source) = workflow.annotate(&mut project.annotations) {
        progress.line(&format!(
            "annotation org.opencontainers.image.source = {source}, from GITHUB_REPOSITORY; in [image] annotations, it would be the same everywhere, and the index's digest too"
        ));
    }
}

struct Names {
    /// What archives call the image.
    name: String,
    /// The same, where the project or the command line states it.
    stated: Option<String>,
    tags: Vec<String>,
}

fn names(project: &Project, args: &BuildArgs) -> Result<Names, Failure> {
    let tags = if args.tags.is_empty() {
        vec!["latest".to_owned()]
    } else {
        args.tags.clone()
    };
    if let Some(tag) = tags.iter().find(|tag| !registry::is_tag(tag)) {
        return Err(Failure::new(format!("`{tag}` is no tag"))
            .hint("a tag has letters, digits, `_`, `.` and `-`, starts with none of the last two, and has 128 characters at most"));
    }
    let stated = args.name.clone().or_else(|| project.name.clone());
    Ok(Names {
        name: stated.clone().unwrap_or_else(|| project.display_name()),
        stated,
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
        blobs: match (args.outputs.is_empty(), args.push) {
            (true, false) => Blobs::Named,
            (true, true) => Blobs::Pushed,
            (false, _) => Blobs::Written,
        },
    }
}

/// What becomes of a lock that is missing or stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfStale {
    Write,
    Fail,
    /// There is no network to mend it with.
    FailOffline,
}

impl IfStale {
    fn of(args: &BuildArgs) -> Self {
        match (args.offline, args.locked) {
            (true, _) => Self::FailOffline,
            (false, true) => Self::Fail,
            (false, false) => Self::Write,
        }
    }
}

/// The lock, brought up to date first unless that is forbidden.
pub(super) fn lock(
    project: &Project,
    platforms: &[Platform],
    if_stale: IfStale,
    means: Means<'_>,
) -> anyhow::Result<Lock> {
    let Means {
        fetcher,
        registries,
        progress,
        ..
    } = means;
    let path = project.lock_file();
    let old = Lock::read(&path)?;
    let why = match &old {
        None => Some("it does not exist".to_owned()),
        Some(lock) => fetcher.wait(asked::staleness(project, lock, platforms, registries))?,
    };
    match (old, why) {
        (Some(lock), None) => Ok(lock),
        (_, Some(why)) if if_stale == IfStale::Fail => Err(stale(&path, &why).into()),
        (_, Some(why)) if if_stale == IfStale::FailOffline => Err(stale(&path, &why)
            .hint("run `oxcart vendor` where there is a network: it writes the lock too, which goes along with what it gathers")
            .into()),
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
                means,
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
        progress.line(&format!(
            "{}: {} layers ({made} built now), {}",
            image.platform,
            image.image.layers.len(),
            bytes(image.size())
        ));
    }
}
