//! `oxcart vendor`

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::thread;

use oci::{Artifact, Digest, EMPTY, LayoutWriter, Platform};

use crate::archives::Mirrors;
use crate::base::Bases;
use crate::build::in_parallel;
use crate::cli::{Global, VendorArgs};
use crate::commands::build::{IfStale, lock};
use crate::commands::bytes;
use crate::fetch::Fetcher;
use crate::lock::{LockedPlatform, LockedWheel};
use crate::mend;
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::registries::Registries;
use crate::resolving::Means;
use crate::sources::Builder;
use crate::store::Store;
use crate::vendor::{self, ARTIFACT_TYPE, Kind, Supply};

/// Adds what the lock asks for to a layout, as one artifact, and prints that artifact's digest.
pub(crate) fn run(global: &Global, args: &VendorArgs) -> anyhow::Result<()> {
    let project = Project::open(&global.project, args.profile.as_deref())?;
    let platforms = project.choose(&args.platforms)?;
    let store = Store::open(global.store.as_deref())?;
    let progress = Progress::new(global);
    let fetcher = Fetcher::new(&project, &store, &progress)?;
    let registries = Registries::new(global, project.base.reference(), &progress);
    let means = Means {
        store: &store,
        fetcher: &fetcher,
        registries: &registries,
        progress: &progress,
    };
    let directory = vendor::plain(&args.output);
    let layout = LayoutWriter::open(directory)?;
    let lock = lock(&project, &platforms, IfStale::Write, None, means)?;
    let locked: Vec<_> = platforms
        .iter()
        .filter_map(|platform| lock.platform(*platform))
        .collect();
    let mirrors = Mirrors::find(&project, Some(&lock));
    let supplies = vendor::supplies(&project, &locked, &mirrors)?;

    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let there = in_parallel(&supplies, threads, |supply| {
        Ok(layout.mend(&supply.digest, supply.size)?)
    })?;
    let absent: Vec<_> = supplies
        .iter()
        .zip(there)
        .filter_map(|(supply, there)| (!there).then_some(supply))
        .collect();
    fetch(&absent, &project, &locked, means)?;
    let copy = || {
        in_parallel(&absent, threads, |supply| {
            let path = store.blob_path(&supply.digest);
            layout.put_blob(&supply.digest, supply.size, |out| {
                io::copy(&mut File::open(&path)?, out).map(drop)
            })?;
            Ok(())
        })
    };
    if let Err(error) = copy() {
        let blobs = absent.iter().map(|it| (it.digest, it.name.as_str()));
        if !mend::mend_blobs(&store, blobs, &progress)? {
            return Err(error);
        }
        fetch(&absent, &project, &locked, means)?;
        copy()?;
    }

    let files: Vec<_> = supplies.iter().map(Supply::file).collect();
    let artifact = Artifact::new(ARTIFACT_TYPE, &files);
    layout.put_bytes(EMPTY)?;
    layout.put_bytes(&artifact.bytes)?;
    let name = name(&project, &platforms);
    layout.publish(&artifact.descriptor, &[&name])?;
    let size =
        |supplies: &mut dyn Iterator<Item = &Supply>| bytes(supplies.map(|it| it.size).sum());
    progress.line(&format!(
        "vendored {} files ({}) as oci:{}:{name}; {} of them are new ({})",
        supplies.len(),
        size(&mut supplies.iter()),
        directory.display(),
        absent.len(),
        size(&mut absent.iter().copied()),
    ));
    super::print(&Digest::of(&artifact.bytes).to_string())
}

/// Has `absent` in the store.
fn fetch(
    absent: &[&Supply],
    project: &Project,
    locked: &[&LockedPlatform],
    means: Means<'_>,
) -> anyhow::Result<()> {
    let downloads: Vec<_> = absent
        .iter()
        .filter(|supply| matches!(supply.kind, Kind::Wheel | Kind::Deb))
        .map(|supply| supply.download())
        .collect();
    let wheels = locked.iter().flat_map(|it| &it.wheels);
    let is_absent = |wheel: &&LockedWheel| absent.iter().any(|it| it.digest == wheel.sha256.0);
    let absent_wheels: Vec<_> = wheels.filter(is_absent).collect();
    let builder = Builder::new(means.fetcher, means.progress);
    means.fetcher.wait(builder.have(&absent_wheels))?;
    means.fetcher.all(&downloads)?;
    let Base::Image { location, .. } = &project.base else {
        return Ok(());
    };
    let bases = Bases {
        store: means.store,
        registries: means.registries,
        progress: means.progress,
    };
    let absent: BTreeSet<_> = absent.iter().map(|supply| supply.digest).collect();
    for image in locked.iter().filter_map(|it| it.base.image.as_ref()) {
        let documents = [image.manifest.digest, image.config.digest];
        let mut image = image.clone();
        image.layers.retain(|it| absent.contains(&it.digest));
        means.fetcher.wait(async {
            if documents.iter().any(|it| absent.contains(it)) {
                bases.documents(location, &image).await?;
            }
            if image
                .dpkg
                .as_ref()
                .is_some_and(|it| absent.contains(&it.digest))
            {
                bases.dpkg(location, &image).await?;
            }
            bases.fetch(location, &image).await
        })?;
    }
    Ok(())
}

/// What the layout calls the artifact: by profile and platforms, so that several are side by side.
fn name(project: &Project, platforms: &[Platform]) -> String {
    let slugs: Vec<_> = platforms.iter().map(|it| it.slug()).collect();
    let profile = project.profile.as_deref().unwrap_or("default");
    format!("{profile}-{}", slugs.join("-"))
}
