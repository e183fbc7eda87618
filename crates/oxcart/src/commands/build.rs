//! `oxcart build`

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Instant;

use oci::{Digest, Platform};
use registry::{Reference, Repository};

use crate::base::Bases;
use crate::build::{self, Blobs, Built, Cache, Options, Supplies};
use crate::cli::{BuildArgs, Global};
use crate::clock;
use crate::commands::{bytes, lock::stale};
use crate::debian::Mirrors;
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::github::{self, Workflow};
use crate::join::{self, Joining, Others, join};
use crate::layers::Workshop;
use crate::lock::Lock;
use crate::metadata::{LayerState, Metadata, Seconds};
use crate::output::{Destination, Named};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::push::{self, Delivered, Shipment};
use crate::registries::Registries;
use crate::resolving::{self, Means, Upgrade};
use crate::store::Store;

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
    let reference = reference(&names, args)?;
    let about = reference.as_ref().or(project.base.reference());
    let registries = Registries::new(global, about, &progress);
    let means = Means {
        store: &store,
        fetcher: &fetcher,
        registries: &registries,
        progress: &progress,
    };
    let target = reference
        .map(|reference| {
            Ok::<_, anyhow::Error>(Target {
                repository: registries.repository(&reference)?,
                reference,
                tags: names.tags.clone(),
                join: args.join,
            })
        })
        .transpose()?;
    if let Some(target) = &target {
        // Before anything that takes long.
        fetcher.wait(target.repository.check_push())?;
    }

    let lock = lock(&project, &platforms, args.locked, means)?;
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

    let delivered = pushed.as_ref().map(|pushed| &pushed.delivered);
    let mut metadata = Metadata::new(names.stated.clone(), &built, delivered);
    if let Some(pushed) = &pushed {
        metadata.digest = pushed.digest;
    }
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
    let result = match &pushed {
        Some(_) => format!("{}@{}", names.name, metadata.digest),
        None => metadata.digest.to_string(),
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

/// Where `--push` goes.
struct Target {
    reference: Reference,
    repository: Repository,
    tags: Vec<String>,
    join: bool,
}

/// What was pushed.
struct PushedImage {
    delivered: Delivered,
    /// What the first tag names.
    digest: Digest,
    references: Vec<String>,
}

/// The name that the image is pushed under.
fn reference(names: &Names, args: &BuildArgs) -> anyhow::Result<Option<Reference>> {
    if !args.push {
        return Ok(None);
    }
    let Some(name) = &names.stated else {
        return Err(Failure::new("the image has no name to be pushed under")
            .hint("set [image] name, as in \"ghcr.io/acme/backend\", or use --name; in GitHub Actions, GITHUB_REPOSITORY gives it")
            .into());
    };
    let reference: Reference = name.parse()?;
    if reference.digest().is_some() || name.rsplit('/').next().is_some_and(|it| it.contains(':')) {
        return Err(
            Failure::new(format!("the image's name `{name}` has a tag or a digest"))
                .hint("leave it out of the name, and give tags with --tag")
                .into(),
        );
    }
    Ok(Some(reference))
}

impl Target {
    async fn push(
        &self,
        project: &Project,
        built: &Built,
        bases: Bases<'_>,
    ) -> anyhow::Result<PushedImage> {
        let progress = bases.progress;
        github::too_long(&project.annotations)
            .iter()
            .for_each(|text| progress.warn(text));
        let base = match &project.base {
            Base::Image { location, .. } => Some(location),
            _ => None,
        };
        let shipment = Shipment::of_built(built, base, bases)?;
        let delivered = shipment.deliver(&self.repository, bases).await?;
        let mut digests = Vec::new();
        let mut references = Vec::new();
        for tag in &self.tags {
            let reference = self.reference.with_tag(tag);
            let index = if self.join {
                let joining = Joining {
                    manifests: shipment
                        .manifests
                        .iter()
                        .map(|parcel| parcel.document.descriptor.clone())
                        .collect(),
                    annotations: project.annotations.clone(),
                    others: Others::Stay,
                };
                join(&self.repository, tag, &joining, progress).await?
            } else {
                if built.images.len() < project.platforms.len() {
                    self.warn_of_losses(tag, built, progress).await?;
                }
                push::tag(&self.repository, tag, &shipment.top).await?;
                shipment.top.clone()
            };
            progress.line(&format!("pushed {reference}: {}", delivered.account()));
            digests.push(index.digest());
            references.push(format!("{reference}@{}", index.digest()));
        }
        Ok(PushedImage {
            delivered,
            digest: digests.first().copied().unwrap_or(shipment.top.digest()),
            references,
        })
    }

    /// Tells of the platforms that the tag has now and will not have any more.
    async fn warn_of_losses(
        &self,
        tag: &str,
        built: &Built,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let there = join::platforms(&self.repository, tag).await?;
        let ours: Vec<_> = built
            .images
            .iter()
            .map(|it| it.platform.to_string())
            .collect();
        let lost: Vec<_> = there.into_iter().filter(|it| !ours.contains(it)).collect();
        if !lost.is_empty() {
            progress.warn(&format!(
                "{} loses {}: with --join they would stay",
                self.reference.with_tag(tag),
                lost.join(", ")
            ));
        }
        Ok(())
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

/// The lock, brought up to date first unless that is forbidden.
fn lock(
    project: &Project,
    platforms: &[Platform],
    locked: bool,
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
        Some(lock) => fetcher.wait(resolving::staleness(project, lock, platforms, registries))?,
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
