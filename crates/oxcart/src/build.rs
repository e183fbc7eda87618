//! The one flow: plans → fetched files → layers → images → index.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use oci::layer::Layer;
use oci::{Digest, Image, ImageSpec, Index, LayerSpec, Platform};

use crate::base::Bases;
use crate::debian::Mirrors;
use crate::diagnostics::Failure;
use crate::fetch::{Download, Fetcher};
use crate::layers::{Job, Workshop};
use crate::lock::{LockedImage, LockedWheel};
use crate::metadata::{LayerState, Seconds};
use crate::plan::{Plan, Step};
use crate::project::Base;
use crate::project_wheel;
use crate::resolving;
use crate::sources::Builder;
use crate::store::{Kept, LayerRecord};
use crate::vendor::{self, Kind};

/// How to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Threads that build layers.
    pub(crate) threads: NonZeroUsize,
    /// What becomes of layers that were built before.
    pub(crate) cache: Cache,
    /// What the blobs are for.
    pub(crate) blobs: Blobs,
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
}

/// What a build draws on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Supplies<'a> {
    pub(crate) mirrors: &'a Mirrors,
    pub(crate) bases: Bases<'a>,
    pub(crate) fetcher: &'a Fetcher,
}

/// Builds the images of `plans` and their index. Afterwards the store can give every blob but, where
/// they are to be pushed, those of a base image.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    plans: &[Plan],
    supplies: Supplies<'_>,
    options: Options,
    seconds: &mut Seconds,
) -> anyhow::Result<Built> {
    let Supplies {
        mirrors,
        bases,
        fetcher,
    } = supplies;
    let progress = bases.progress;
    let start = Instant::now();
    let builder = Builder::new(fetcher, progress);
    let plans = fetcher.wait(with_project(workshop, plans, &builder))?;
    let plans = &plans[..];
    let jobs = plans
        .iter()
        .map(|plan| workshop.jobs(plan))
        .collect::<Result<Vec<_>, _>>()?;
    let mut layers = known(workshop, jobs.iter().flatten(), options.cache);
    let mut wanted = downloads(jobs.iter().flatten(), &layers, mirrors, options.blobs)?;
    if fetcher.is_offline() {
        // All that is missing is to be told at once.
        wanted.extend(base_downloads(workshop, plans, options.blobs));
    }
    fetcher.wait(builder.have(&built_from_sources(jobs.iter().flatten(), &wanted)))?;
    fetcher.all(&wanted)?;
    let bases = fetcher.wait(base_images(workshop, plans, bases, options.blobs))?;
    seconds.fetch = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let missing = missing(jobs.iter().flatten(), &layers);
    let bar = progress.count("Layers", missing.len() as u64);
    let built = in_parallel(&missing, options.threads, |job| {
        let begun = Instant::now();
        let record = workshop.build(job, options.threads)?;
        let seconds = begun.elapsed().as_secs_f64();
        progress.detail(&format!("built {} in {seconds:.2} s", job.step.title()));
        bar.inc(1);
        Ok((job.key, (record, LayerState::Built)))
    })?;
    let new_wheels =
        |job: &Job| matches!(job.step, Step::Wheels(_)) && !layers.contains_key(&job.key);
    for jobs in jobs.iter().filter(|jobs| jobs.iter().any(new_wheels)) {
        workshop
            .overlaps(jobs, options.threads)?
            .iter()
            .for_each(|text| progress.warn(text));
    }
    layers.extend(built);
    layers
        .values()
        .flat_map(|(record, _)| &record.warnings)
        .for_each(|text| progress.warn(text));
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

/// The plans with the project's own wheel, built where they have one.
async fn with_project(
    workshop: &Workshop<'_>,
    plans: &[Plan],
    builder: &Builder,
) -> anyhow::Result<Vec<Plan>> {
    let project = workshop.project;
    let mut plans = plans.to_vec();
    for plan in &mut plans {
        let platform = plan.platform;
        for step in &mut plan.steps {
            let (Step::Project(locked), Some(dependencies), Some(python)) =
                (&*step, project.dependencies(platform), &plan.python)
            else {
                continue;
            };
            let builder = builder.of(dependencies).await?;
            let (wheel, record) =
                project_wheel::wheel(&builder, &project.directory, locked).await?;
            let target = resolving::target(platform, python)?;
            record.check("the project", platform, &target, workshop.store)?;
            *step = Step::Wheels(vec![wheel]);
        }
    }
    Ok(plans)
}

/// Those of the wheels that are wanted that are built from sources.
fn built_from_sources<'a>(
    jobs: impl Iterator<Item = &'a Job>,
    wanted: &[Download],
) -> Vec<&'a LockedWheel> {
    let wheels = jobs.flat_map(|job| match &job.step {
        Step::Wheels(wheels) => &wheels[..],
        _ => &[],
    });
    let is_wanted = |wheel: &&LockedWheel| {
        let digest = Some(wheel.sha256.0);
        wheel.sdist.is_some() && wanted.iter().any(|it| it.digest == digest)
    };
    wheels.filter(is_wanted).collect()
}

/// The documents of each plan's base image and, where they are to be written, its layers in the store.
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
                Some(bases.documents(location, image).await?)
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
        .flat_map(|(platform, image)| vendor::of_base(&workshop.project.base, platform, image))
        .filter(|supply| blobs == Blobs::Written || !matches!(supply.kind, Kind::BaseLayer(_)))
        .map(|supply| supply.download())
        .collect()
}

type Layers = BTreeMap<Digest, (LayerRecord, LayerState)>;

/// The layers that need not be built.
fn known<'a>(workshop: &Workshop<'_>, jobs: impl Iterator<Item = &'a Job>, cache: Cache) -> Layers {
    match cache {
        Cache::Rebuild => Layers::new(),
        Cache::Use => jobs
            .filter_map(|job| {
                Some((
                    job.key,
                    (workshop.store.layer(&job.key)?, LayerState::Stored),
                ))
            })
            .collect(),
    }
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
            Some((record, _)) if record.kept == Kept::Blob || blobs == Blobs::Named => continue,
            _ => {}
        }
        match &job.step {
            Step::Debian(_, debs) => {
                for deb in debs {
                    downloads.push(mirrors.download(deb)?);
                }
            }
            Step::Wheels(wheels) => {
                downloads.extend(wheels.iter().map(LockedWheel::download));
            }
            Step::Skeleton | Step::Project(_) | Step::App(_) => {}
        }
    }
    Ok(downloads)
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
            let (record, state) = layers[&job.key].clone();
            BuiltLayer { job, record, state }
        })
        .collect();
    let spec = ImageSpec {
        platform: plan.platform,
        base,
        layers: layers
            .iter()
            .map(|built| LayerSpec {
                layer: built.record.layer.clone(),
                created_by: format!("oxcart {}", built.job.step.kind()),
                comment: Some(built.job.step.title()),
            })
            .collect(),
        runtime: plan.config.clone(),
        created: workshop.date,
        annotations: BTreeMap::new(),
    };
    Ok(BuiltImage {
        platform: plan.platform,
        image: Image::new(&spec)?,
        base: plan.image.clone(),
        layers,
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
