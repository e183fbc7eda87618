//! The one flow: plans → fetched files → layers → images → index.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use oci::layer::Layer;
use oci::{Digest, Image, ImageError, ImageSpec, Index, LayerSpec, Platform};

use crate::archives::Mirrors;
use crate::base::Bases;
use crate::buffers::{Buffers, MaxMemory};
use crate::debian;
use crate::delivery::{self, Delivery};
use crate::diagnostics::Failure;
use crate::fetch::{Download, Fetcher};
use crate::full_lock::Stated;
use crate::layers::{self, Job, Workshop};
use crate::lock::{LockedImage, LockedWheel};
use crate::metadata::{LayerState, Seconds};
use crate::plan::{Plan, Step};
use crate::project::Base;
use crate::remote::{Home, Remote};
use crate::sources::Builder;
use crate::store::{Kept, LayerRecord};
use crate::target::Target;
use crate::vendor::{self, Kind};

/// How to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Threads that build layers.
    pub(crate) threads: NonZeroUsize,
    /// For the buffers of all of them.
    pub(crate) memory: Option<MaxMemory>,
    /// What becomes of layers that were built before.
    pub(crate) cache: Cache,
    /// What the blobs are for.
    pub(crate) blobs: Blobs,
    /// Whether the image will be proven to load: layers are then looked into while they are built.
    pub(crate) proven: bool,
}

impl Options {
    /// For digests alone, on all cores.
    pub(crate) fn of_names(cache: Cache) -> Self {
        Self {
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            memory: None,
            cache,
            blobs: Blobs::Named,
            proven: false,
        }
    }
}

/// What becomes of layers that were built before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Use,
    /// Every layer is built again from the stored files.
    Rebuild,
}

/// What the blobs are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blobs {
    /// Only digests are wanted: nothing is fetched for a layer that is known.
    Named,
    /// They will be pushed: what ours are made of is fetched; those of a base image go from registry
    /// to registry.
    Pushed,
    /// The same, each as soon as it is made, and then what it is made of goes.
    Delivered,
    /// They will be written here: a base image's are fetched as well.
    Written,
}

/// An index of images, with all that is needed to write it somewhere.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) index: Index,
    pub(crate) images: Vec<BuiltImage>,
}

/// One platform's image and its layers, bottom to top.
#[derive(Debug)]
pub(crate) struct BuiltImage {
    pub(crate) platform: Platform,
    pub(crate) image: Image,
    /// The base image it stands on.
    pub(crate) base: Option<LockedImage>,
    /// Those on top of the base image.
    pub(crate) layers: Vec<BuiltLayer>,
}

impl BuiltImage {
    /// The layers of the base image.
    pub(crate) fn base_layers(&self) -> &[Layer] {
        self.base.as_ref().map_or(&[], |base| &base.layers)
    }

    /// Bytes of all layers.
    pub(crate) fn size(&self) -> u64 {
        self.image.layers.iter().map(|layer| layer.size).sum()
    }
}

/// A layer of an image: what it was to be, and what it is.
#[derive(Debug, Clone)]
pub(crate) struct BuiltLayer {
    pub(crate) job: Job,
    pub(crate) record: LayerRecord,
    pub(crate) state: LayerState,
    /// Where its blob is.
    pub(crate) home: Home,
}

impl BuiltLayer {
    /// Whether nothing here can give its blob.
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self.home, Home::Store)
    }
}

/// What a build draws on.
#[derive(Clone, Copy)]
pub(crate) struct Supplies<'a> {
    pub(crate) mirrors: &'a Mirrors,
    pub(crate) bases: Bases<'a>,
    pub(crate) fetcher: &'a Fetcher,
    /// What the lock states of layers.
    pub(crate) stated: &'a Stated,
    /// Where layers may be that are not here.
    pub(crate) remote: Option<&'a Remote<'a>>,
    /// Where the image is to be pushed.
    pub(crate) target: Option<&'a Target>,
}

/// Builds the images of `plans` and their index. Afterwards the store can give every blob that is to
/// be written, and of those to be pushed what no registry has; those to be delivered are in the repository.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    plans: &[Plan],
    supplies: Supplies<'_>,
    options: Options,
    seconds: &mut Seconds,
) -> anyhow::Result<Built> {
    let start = Instant::now();
    let jobs = layers::jobs(workshop.project, plans, workshop.date)?;
    let mut layers = known(
        workshop,
        jobs.iter().flatten(),
        supplies.stated,
        options.cache,
    );
    if let Some(remote) = supplies.remote {
        let jobs = jobs.iter().flatten();
        let found = found(workshop, remote, jobs, &layers, supplies, options.blobs);
        layers.extend(found?);
    }
    if options.blobs == Blobs::Delivered {
        // A map whose layer is not there is of one that got lost there: what it refers to went when it came.
        layers.retain(|_, had| had.record.kept != Kept::Map);
    }
    let of_bases = base_downloads(workshop, plans, options.blobs);
    fetch(workshop, &jobs, &layers, of_bases, supplies, options)?;
    let bases = base_images(workshop, plans, supplies.bases, options.blobs);
    let bases = supplies.fetcher.wait(bases)?;
    seconds.fetch = start.elapsed().as_secs_f64();

    let start = Instant::now();
    build_missing(workshop, &jobs, &mut layers, supplies, options)?;
    let images = plans
        .iter()
        .zip(jobs.into_iter().zip(bases))
        .map(|(plan, (jobs, base))| image(workshop, plan, jobs, base, &layers))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let index = Index::of(
        images.iter().map(|built| &built.image),
        &workshop.project.annotations,
    );
    seconds.layers = start.elapsed().as_secs_f64();
    Ok(Built { index, images })
}

/// Those of the wheels that are wanted that are built from sources.
fn built_from_sources<'a>(
    jobs: impl Iterator<Item = &'a Job>,
    wanted: &[Download],
) -> Vec<&'a LockedWheel> {
    let wheels = jobs.flat_map(|job| job.step.wheels());
    let is_wanted = |wheel: &&LockedWheel| {
        let digest = Some(wheel.sha256.0);
        wheel.sdist.is_some() && wanted.iter().any(|it| it.digest == digest)
    };
    wheels.filter(is_wanted).collect()
}

/// Has the records of all of `jobs` in the store, but for those that the lock states.
pub(crate) fn build_unstated(
    workshop: &Workshop<'_>,
    jobs: &[Vec<Job>],
    supplies: Supplies<'_>,
    options: Options,
) -> anyhow::Result<()> {
    let is_stated = |job: &Job| supplies.stated.contains_key(&job.key);
    let jobs: Vec<Vec<_>> = jobs
        .iter()
        .map(|jobs| jobs.iter().filter(|job| !is_stated(job)).cloned().collect())
        .collect();
    let mut layers = known(
        workshop,
        jobs.iter().flatten(),
        supplies.stated,
        options.cache,
    );
    fetch(workshop, &jobs, &layers, Vec::new(), supplies, options)?;
    build_missing(workshop, &jobs, &mut layers, supplies, options)
}

/// Fetches what has to be in the store to build the layers that are not known and to write the blobs
/// that are wanted; for those to be delivered, what has no turn of its own.
fn fetch(
    workshop: &Workshop<'_>,
    jobs: &[Vec<Job>],
    known: &Layers,
    of_bases: Vec<Download>,
    supplies: Supplies<'_>,
    options: Options,
) -> anyhow::Result<()> {
    let jobs = || jobs.iter().flatten();
    let mut wanted = downloads(jobs(), known, supplies.mirrors, options.blobs)?;
    let base = &workshop.project.base;
    // The images whose records Debian packages are added to.
    let missing = jobs().filter(|job| !known.contains_key(&job.key));
    let under: Vec<_> = missing
        .filter_map(|job| match (&job.step, &job.under, base) {
            (Step::Debian(..), debian::Below::Image(image), Base::Image { location, .. }) => {
                Some((job.platform, image, location))
            }
            _ => None,
        })
        .collect();
    if supplies.fetcher.is_offline() {
        // All that is missing is to be told at once.
        wanted.extend(of_bases);
        for (platform, image, _) in &under {
            let of_base = vendor::of_base(base, *platform, image);
            let records = of_base.iter().filter(|it| it.kind == Kind::BaseDpkg);
            wanted.extend(records.map(vendor::Supply::download));
        }
    }
    if let Some(target) = supplies.target.filter(|_| !wanted.is_empty()) {
        supplies.fetcher.wait(target.ready())?;
    }
    let builder = Builder::new(supplies.fetcher, supplies.bases.progress);
    let built = built_from_sources(jobs(), &wanted);
    supplies.fetcher.wait(builder.have(&built))?;
    if options.blobs != Blobs::Delivered {
        supplies.fetcher.all(&wanted)?;
    }
    for (_, image, location) in under {
        supplies
            .fetcher
            .wait(supplies.bases.dpkg(location, image))?;
    }
    Ok(())
}

/// Builds the layers of each platform's `jobs` that are not in `layers`, and adds them.
fn build_missing(
    workshop: &Workshop<'_>,
    jobs: &[Vec<Job>],
    layers: &mut Layers,
    supplies: Supplies<'_>,
    options: Options,
) -> anyhow::Result<()> {
    let missing = missing(jobs.iter().flatten(), layers);
    let progress = supplies.bases.progress;
    let bar = progress.count("Layers", missing.len() as u64);
    let buffers = Buffers::new(options.memory, options.threads)?;
    let make = |job: &Job, share: NonZeroUsize| {
        let begun = Instant::now();
        let record = workshop.build(job, share, &buffers, options.proven)?;
        let seconds = begun.elapsed().as_secs_f64();
        progress.detail(&format!("built {} in {seconds:.2} s", job.step.title()));
        bar.inc(1);
        Ok(record)
    };
    match supplies.target {
        Some(target) if options.blobs == Blobs::Delivered => {
            layers.extend(delivered(missing, target, supplies, options, make)?);
        }
        _ => {
            let shares = shares(missing.iter().copied(), options.threads, u64::MAX);
            let work: Vec<_> = missing.iter().zip(shares).collect();
            layers.extend(in_parallel(&work, options.threads, |(job, share)| {
                let record = make(job, *share)?;
                Ok((job.key, Had::here(record, LayerState::Built)))
            })?);
        }
    }
    layers
        .values()
        .flat_map(|had| &had.record.warnings)
        .for_each(|text| progress.warn(text));
    Ok(())
}

/// Has `jobs` made by `make`, and each one's blob in `target` before the files of all are here.
fn delivered(
    jobs: Vec<&Job>,
    target: &Target,
    supplies: Supplies<'_>,
    options: Options,
    make: impl Fn(&Job, NonZeroUsize) -> anyhow::Result<LayerRecord> + Sync,
) -> anyhow::Result<Vec<(Digest, Had)>> {
    let task = |job| Ok((job, sources(job, supplies.mirrors)?));
    let tasks: Vec<_> = jobs.into_iter().map(task).collect::<Result<_, Failure>>()?;
    let tasks = delivery::neighbours(tasks);
    let delivery = Delivery::new(&tasks, target, supplies, options);
    let jobs = tasks.iter().map(|(job, _)| *job);
    let shares = shares(jobs, options.threads, delivery.limit());
    let work: Vec<_> = tasks.iter().zip(shares).enumerate().collect();
    let delivered = in_parallel(&work, delivery::LAYERS, |(n, (task, share))| {
        let layer = delivery.deliver(*n, task, || make(task.0, *share))?;
        Ok(layer.map(|it| (it.job.key, Had::of(it))))
    })?;
    delivery.done();
    Ok(delivered.into_iter().flatten().collect())
}

/// Threads for each of `jobs`, which are begun in this order by `threads` threads: its share of the work
/// that is not begun before it, of which `most` is in work at a time. So no large layer is the last that all wait
/// for.
fn shares<'a>(
    jobs: impl Iterator<Item = &'a Job> + Clone,
    threads: NonZeroUsize,
    most: u64,
) -> Vec<NonZeroUsize> {
    let mut left: u64 = jobs.clone().map(Job::weight).sum();
    let all = threads.get() as u64;
    jobs.map(|job| {
        let weight = job.weight();
        let of = left.min(most);
        let share = (2 * all * weight + of) / (2 * of).max(1);
        left -= weight;
        NonZeroUsize::new(share.min(all) as usize).unwrap_or(NonZeroUsize::MIN)
    })
    .collect()
}

/// What each plan takes over from its base image and, where they are to be written, its layers in the store.
async fn base_images(
    workshop: &Workshop<'_>,
    plans: &[Plan],
    bases: Bases<'_>,
    blobs: Blobs,
) -> anyhow::Result<Vec<Option<oci::Base>>> {
    let mut found = Vec::new();
    for plan in plans {
        found.push(match (&workshop.project.base, &plan.image) {
            (Base::Image { location, .. }, Some(image)) => {
                if blobs == Blobs::Written {
                    bases.fetch(location, image).await?;
                }
                Some(bases.base(location, image).await?)
            }
            _ => None,
        });
    }
    Ok(found)
}

/// What [`base_images`] will look for in the store.
fn base_downloads(workshop: &Workshop<'_>, plans: &[Plan], blobs: Blobs) -> Vec<Download> {
    plans
        .iter()
        .filter_map(|plan| Some((plan.platform, plan.image.as_ref()?)))
        .flat_map(|(platform, image)| {
            let is_locked = image.config.content.is_some();
            let supplies = vendor::of_base(&workshop.project.base, platform, image);
            supplies
                .into_iter()
                .filter(move |supply| match supply.kind {
                    Kind::BaseLayer(_) => blobs == Blobs::Written,
                    Kind::BaseDpkg => false,
                    _ => !is_locked,
                })
        })
        .map(|supply| supply.download())
        .collect()
}

/// A layer that is known by its digests.
#[derive(Clone)]
struct Had {
    record: LayerRecord,
    state: LayerState,
    home: Home,
}

impl Had {
    fn here(record: LayerRecord, state: LayerState) -> Self {
        Self {
            record,
            state,
            home: Home::Store,
        }
    }

    fn of(built: BuiltLayer) -> Self {
        Self {
            record: built.record,
            state: built.state,
            home: built.home,
        }
    }
}

/// By their keys.
type Layers = BTreeMap<Digest, Had>;

/// The layers that the store has a record of. One that says something else than the lock is passed
/// over: building the layer will show which of them is wrong.
fn known<'a>(
    workshop: &Workshop<'_>,
    jobs: impl Iterator<Item = &'a Job>,
    stated: &Stated,
    cache: Cache,
) -> Layers {
    let record = |job: &Job| {
        let record = workshop.store.layer(&job.key)?;
        let agrees = stated.get(&job.key).is_none_or(|it| *it == record.layer);
        agrees.then(|| (job.key, Had::here(record, LayerState::Stored)))
    };
    match cache {
        Cache::Rebuild => Layers::new(),
        Cache::Use => jobs.filter_map(record).collect(),
    }
}

/// Of the layers that would need something fetched, and whose digests are known or stated, those that a
/// registry has. To be written here, they are pulled.
fn found<'a>(
    workshop: &Workshop<'_>,
    remote: &Remote<'_>,
    jobs: impl Iterator<Item = &'a Job>,
    known: &Layers,
    supplies: Supplies<'_>,
    blobs: Blobs,
) -> anyhow::Result<Layers> {
    let record = |job: &Job| match known.get(&job.key) {
        Some(had) if had.record.kept == Kept::Blob || workshop.has_sources(job) => None,
        Some(had) => Some(had.record.clone()),
        None => Some(LayerRecord {
            layer: supplies.stated.get(&job.key)?.clone(),
            kept: Kept::Nothing,
            warnings: Vec::new(),
        }),
    };
    let wanted: BTreeMap<_, _> = jobs
        .filter_map(|job| Some((job.key, record(job)?)))
        .collect();
    let asked = wanted.values().map(|record| record.layer.clone()).collect();
    if blobs == Blobs::Written {
        let pulled = supplies.fetcher.wait(remote.pull(workshop.store, asked))?;
        let had = |(key, record): (Digest, LayerRecord)| {
            let kept = Kept::Blob;
            let is_here = pulled.contains(&record.layer.digest);
            let record = LayerRecord { kept, ..record };
            is_here.then(|| (key, Had::here(record, LayerState::Copied)))
        };
        return Ok(wanted.into_iter().filter_map(had).collect());
    }
    let homes = supplies.fetcher.wait(remote.find(asked))?;
    let had = |(key, record): (Digest, LayerRecord)| {
        let home = homes.get(&record.layer.digest)?.clone();
        let record = LayerRecord {
            kept: Kept::Nothing,
            ..record
        };
        let state = LayerState::Copied;
        Some((
            key,
            Had {
                record,
                state,
                home,
            },
        ))
    };
    Ok(wanted.into_iter().filter_map(had).collect())
}

/// The jobs of layers that are not known, each once, the heaviest first: the longest one should not
/// begin last.
fn missing<'a>(jobs: impl Iterator<Item = &'a Job>, known: &Layers) -> Vec<&'a Job> {
    let jobs: BTreeMap<_, _> = jobs
        .filter(|job| !known.contains_key(&job.key))
        .map(|job| (job.key, job))
        .collect();
    let mut jobs: Vec<_> = jobs.into_values().collect();
    jobs.sort_by_key(|job| (std::cmp::Reverse(job.weight()), job.key));
    jobs
}

/// What has to be in the store: what unknown layers are built from and, where blobs will be written,
/// what known maps refer to.
fn downloads<'a>(
    jobs: impl Iterator<Item = &'a Job>,
    known: &Layers,
    mirrors: &Mirrors,
    blobs: Blobs,
) -> Result<Vec<Download>, Failure> {
    let mut downloads = Vec::new();
    for job in jobs {
        match known.get(&job.key) {
            Some(had) if had.record.kept != Kept::Map || blobs == Blobs::Named => continue,
            _ => {}
        }
        downloads.extend(sources(job, mirrors)?);
    }
    Ok(downloads)
}

/// What a job's layer is built from.
fn sources(job: &Job, mirrors: &Mirrors) -> Result<Vec<Download>, Failure> {
    let Step::Debian(_, debs) = &job.step else {
        return Ok(job
            .step
            .wheels()
            .iter()
            .map(LockedWheel::download)
            .collect());
    };
    let below = match &job.under {
        debian::Below::Own(below) => &below[..],
        debian::Below::Image(_) => &[],
    };
    let debs = debs.iter().chain(below);
    debs.map(|deb| mirrors.download(deb, job.platform))
        .collect()
}

/// `work` for each of `items`, begun in their order by `threads` threads. The first error in that order
/// is returned, once the items begun before it are done.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads: NonZeroUsize,
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let failed = AtomicUsize::new(usize::MAX);
    thread::scope(|scope| {
        for _ in 0..threads.get().min(items.len()) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(n).filter(|_| n < failed.load(Ordering::Relaxed))
                    else {
                        break;
                    };
                    let result = work(item);
                    if result.is_err() {
                        failed.fetch_min(n, Ordering::Relaxed);
                    }
                    results
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .insert(n, result);
                }
            });
        }
    });
    results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .into_values()
        .collect()
}

fn image(
    workshop: &Workshop<'_>,
    plan: &Plan,
    jobs: Vec<Job>,
    base: Option<oci::Base>,
    layers: &Layers,
) -> anyhow::Result<BuiltImage> {
    let layers: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let Had {
                record,
                state,
                home,
            } = layers[&job.key].clone();
            BuiltLayer {
                job,
                record,
                state,
                home,
            }
        })
        .collect();
    let pairs = layers.iter().map(|it| (&it.job, &it.record.layer));
    Ok(BuiltImage {
        platform: plan.platform,
        image: describe(plan, base, pairs, workshop.date)?,
        base: plan.image.clone(),
        layers,
    })
}

/// The documents of a plan's image, whose layers are known. Nothing but these reaches its digest.
pub(crate) fn describe<'a>(
    plan: &Plan,
    base: Option<oci::Base>,
    layers: impl Iterator<Item = (&'a Job, &'a Layer)>,
    date: u64,
) -> Result<Image, ImageError> {
    let spec = |(job, layer): (&Job, &Layer)| LayerSpec {
        layer: layer.clone(),
        created_by: format!("oxcart {}", job.step.kind()),
        comment: Some(job.step.title()),
    };
    Image::new(&ImageSpec {
        platform: plan.platform,
        base,
        layers: layers.map(spec).collect(),
        runtime: plan.config.clone(),
        created: date,
        annotations: plan.annotations.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_and_the_first_error_wins() {
        let items: Vec<u32> = (0..100).collect();
        for threads in [1, 3, 8] {
            let threads = NonZeroUsize::new(threads).unwrap();
            assert_eq!(
                in_parallel(&items, threads, |n| Ok(n * 2)).unwrap()[99],
                198
            );
            let error = in_parallel(&items, threads, |n| {
                anyhow::ensure!(*n < 40, "{n}");
                Ok(())
            });
            assert_eq!(error.unwrap_err().to_string(), "40");
        }
    }
}
