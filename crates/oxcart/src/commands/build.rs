//! `oxcart build`

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Instant;

use oci::Platform;
use registry::Repository;

use crate::archives::Mirrors;
use crate::asked;
use crate::base::Bases;
use crate::build::{self, Blobs, Built, Cache, Options, Supplies};
use crate::cli::{BuildArgs, Global};
use crate::clock;
use crate::commands::{bytes, lock::stale};
use crate::diagnostics::{self, Failure};
use crate::fetch::Fetcher;
use crate::full_lock::{self, Strays};
use crate::github::{self, Workflow};
use crate::layers::{self, Workshop};
use crate::lock::Lock;
use crate::mend;
use crate::metadata::{LayerState, Metadata, Seconds};
use crate::output::{Destination, Named};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::project::Project;
use crate::project_wheel;
use crate::proof;
use crate::registries::Registries;
use crate::remote::{self, Remote};
use crate::resolving::{self, Means, Upgrade};
use crate::store::Store;
use crate::target::{self, PushedImage, Target};
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
    let store = if args.no_store {
        Store::passing()?
    } else {
        Store::open(global.store.as_deref())?
    };
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
    let caches = remote::caches(&project, &args.cache_from, &registries)?;
    let mut target = None;
    if let Some(reference) = reference {
        let (tags, join) = (&names.tags, args.join);
        let caches = caches.clone();
        let opened = Target::open(reference, tags, join, caches, &registries, &fetcher)?;
        target = Some(opened);
    }

    let mut lock = lock(
        &project,
        &platforms,
        IfStale::of(args),
        target.as_ref(),
        means,
    )?;
    seconds.lock = start.elapsed().as_secs_f64();
    let mut plans = platforms
        .iter()
        .filter_map(|platform| lock.platform(*platform))
        .map(|locked| Plan::new(&project, locked))
        .collect::<Result<Vec<_>, _>>()?;
    project_wheel::complete(&mut plans, &project, &fetcher, &progress)?;
    let workshop = Workshop {
        project: &project,
        store: &store,
        date: clock::source_date()?,
    };
    let making = Making {
        workshop: &workshop,
        plans: &plans,
        names: &names,
        args,
        means,
        target: target.as_ref(),
        caches: &caches,
    };
    let made = match making.make(&mut lock, &mut seconds) {
        Err(error) => {
            making.mend(error)?;
            making.make(&mut lock, &mut seconds)?
        }
        made => made?,
    };
    let (built, pushed) = made;
    seconds.total = start.elapsed().as_secs_f64();

    let mut metadata = Metadata::new(names.stated.clone(), &built, pushed.as_ref());
    metadata.bytes_downloaded = fetcher.downloaded() + registries.received();
    metadata.bytes_uploaded = registries.sent();
    metadata.seconds = seconds;
    metadata.store_bytes_added = store.added();
    metadata.peak_disk = store.disk().peak();
    metadata.peak_disk_bytes = metadata.peak_disk.beside_wheels();
    progress.detail(&format!(
        "on disk besides wheels, at the most: {}",
        metadata.peak_disk
    ));
    metadata.warnings = progress.warnings();
    if let Some(path) = &args.metadata_file {
        metadata.write(path)?;
    }
    let references = pushed.as_ref().map_or(&[][..], |pushed| &pushed.references);
    github::summarise(&metadata, references)?;
    tell(&metadata, &names, args, &progress)
}

/// From plans to what was wanted of them.
struct Making<'a> {
    workshop: &'a Workshop<'a>,
    plans: &'a [Plan],
    names: &'a Names,
    args: &'a BuildArgs,
    means: Means<'a>,
    target: Option<&'a Target>,
    caches: &'a [Repository],
}

impl Making<'_> {
    /// Builds the image, completes the lock, writes the image and pushes it.
    fn make(
        &self,
        lock: &mut Lock,
        seconds: &mut Seconds,
    ) -> anyhow::Result<(Built, Option<PushedImage>)> {
        let Means {
            store,
            fetcher,
            progress,
            ..
        } = self.means;
        let (project, args) = (self.workshop.project, self.args);
        let options = options(args);
        let mut built = self.build(lock, options, seconds)?;
        compare(project, lock, &built, args, self.means)?;
        summarise(&built, progress);

        let checking = Instant::now();
        if options.proven {
            proof::of_built(&built, project, self.bases(), fetcher, options.threads)?;
        }
        seconds.check = checking.elapsed().as_secs_f64();

        let writing = Instant::now();
        let image = Named {
            built: &built,
            name: &self.names.name,
            tags: &self.names.tags,
            mtime: self.workshop.date,
        };
        for (n, output) in args.outputs.iter().enumerate() {
            if n + 1 == args.outputs.len() && self.target.is_none() {
                store.drop_what_is_written(&built);
            }
            output.write(image, store, options.threads)?;
            progress.line(&format!("wrote {output}"));
        }
        if args.outputs.is_empty() && !args.push {
            progress
                .line("wrote nothing: name a place with --output, such as oci:image, or --push");
        }
        seconds.output = writing.elapsed().as_secs_f64();

        let Some(target) = self.target else {
            return Ok((built, None));
        };
        let pushing = Instant::now();
        let push = |built: &Built| {
            store.drop_what_is_written(built);
            fetcher.wait(target.push(project, built, self.bases()))
        };
        let pushed = match push(&built) {
            Err(error) if target.doubts(&error) => {
                built = self.build(lock, options, &mut Seconds::default())?;
                push(&built)?
            }
            pushed => pushed?,
        };
        seconds.push = pushing.elapsed().as_secs_f64();
        Ok((built, Some(pushed)))
    }

    fn bases(&self) -> Bases<'_> {
        Bases {
            store: self.means.store,
            registries: self.means.registries,
            progress: self.means.progress,
        }
    }

    /// Builds the image, of what `lock` states and registries have where that is enough.
    fn build(&self, lock: &Lock, options: Options, seconds: &mut Seconds) -> anyhow::Result<Built> {
        let (project, args) = (self.workshop.project, self.args);
        let remote = match options {
            _ if args.offline || options.cache == Cache::Rebuild => None,
            Options { blobs, .. } => match blobs {
                Blobs::Pushed | Blobs::Delivered => Some(self.target),
                Blobs::Written if !self.caches.is_empty() => Some(None),
                Blobs::Written | Blobs::Named => None,
            },
        };
        let remote = remote.map(|target| Remote::new(target, self.caches, self.means.progress));
        let supplies = Supplies {
            mirrors: &Mirrors::find(project, Some(lock)),
            bases: self.bases(),
            fetcher: self.means.fetcher,
            stated: &full_lock::stated(lock, project.encoder),
            remote: remote.as_ref(),
            target: self.target,
        };
        build::build(self.workshop, self.plans, supplies, options, seconds)
    }

    /// Removes what is damaged in the store. Gives `error` back where nothing is, or where what stdout
    /// has got cannot be taken back.
    fn mend(&self, error: anyhow::Error) -> anyhow::Result<()> {
        let Workshop {
            project,
            store,
            date,
        } = *self.workshop;
        let jobs = layers::jobs(project, self.plans, date).unwrap_or_default();
        let jobs = jobs.iter().flatten();
        if !mend::is_mended(&error, store, self.plans, jobs, self.means.progress) {
            return Err(error);
        }
        if self.args.outputs.contains(&Destination::Stdout) {
            return Err(Failure::new("what stdout has got so far is not the image")
                .hint("run it again: what was damaged in the store is removed")
                .caused_by(error)
                .into());
        }
        // The project's wheel is no download that is had anew when it is missed.
        let Means {
            fetcher, progress, ..
        } = self.means;
        project_wheel::complete(&mut self.plans.to_vec(), project, fetcher, progress)
    }
}

/// Compares what was built with the lock; and where that may be written, states in it what it lacks.
fn compare(
    project: &Project,
    lock: &mut Lock,
    built: &Built,
    args: &BuildArgs,
    means: Means<'_>,
) -> anyhow::Result<()> {
    let path = project.lock_file();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let strays = if args.locked {
        Strays::Refused
    } else {
        Strays::Dropped
    };
    full_lock::compare(lock, &built.images, strays, &name)?;
    if args.locked {
        return Ok(());
    }
    full_lock::complete(lock, &built.images, means.store);
    // The image is there, and does not need it.
    if let Err(error) = lock.write(&path) {
        let why = diagnostics::chain(&*error);
        means
            .progress
            .warn(&format!("{name} does not state the layers: {why}"));
    }
    Ok(())
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
        memory: args.max_memory,
        cache: if args.no_cache {
            Cache::Rebuild
        } else {
            Cache::Use
        },
        // What goes nowhere need not load.
        proven: (args.push || !args.outputs.is_empty()) && !args.no_check,
        blobs: match (args.outputs.is_empty(), args.push) {
            (true, false) => Blobs::Named,
            (true, true) if args.no_store => Blobs::Delivered,
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

/// The lock, brought up to date first unless that is forbidden: once `target`, where there is one, is ready.
pub(super) fn lock(
    project: &Project,
    platforms: &[Platform],
    if_stale: IfStale,
    target: Option<&Target>,
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
            if let Some(target) = target {
                fetcher.wait(target.ready())?;
            }
            let name = path.file_name().map_or(path.as_path(), Path::new);
            progress.line(&format!(
                "writing {}: {}",
                name.display(),
                why.unwrap_or_default()
            ));
            let mut lock = fetcher.wait(resolving::lock(
                project,
                old.as_ref(),
                &Upgrade::Nothing,
                means,
            ))?;
            full_lock::carry_over(&mut lock, old.as_ref(), project, means.store)?;
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
