//! `oxcart index create`

use oci::Descriptor;
use oci_spec::image::{ImageIndex, ImageManifest};
use std::collections::BTreeSet;

use crate::base::Bases;
use crate::cli::{Global, IndexCreateArgs};
use crate::commands::push::runtime;
use crate::join::{self, Joining, Others, join};
use crate::place::{Document, Images, Kind, Location, Place};
use crate::progress::Progress;
use crate::push::Shipment;
use crate::registries::Registries;
use crate::store::Store;

/// Puts the images of all sources under one tag, and prints the index's name and digest.
pub(crate) fn create(global: &Global, args: &IndexCreateArgs) -> anyhow::Result<()> {
    let target = super::target(&args.target)?;
    let sources = args
        .sources
        .iter()
        .map(|source| Location::typed(source))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let store = Store::open(global.store.as_deref())?;
    let progress = Progress::new(global);
    let registries = Registries::new(global, Some(&target), &progress);
    let bases = Bases {
        store: &store,
        registries: &registries,
        progress: &progress,
    };
    runtime()?.block_on(async {
        let repository = registries.repository(&target)?;
        repository.check_push().await?;
        let mut joining = Joining {
            manifests: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            others: if args.replace {
                Others::Go
            } else {
                Others::Stay
            },
        };
        for source in &sources {
            let place = Place::open(source, &registries)?;
            let images = Images::read(&place).await?;
            collect(&place, &images, &mut joining).await?;
            let delivered = Shipment::of_images(&place, &images)?
                .deliver(&repository, &BTreeSet::new(), bases)
                .await?;
            progress.detail(&format!("{place}: {}", delivered.account()));
        }
        let index = join(&repository, &target.target(), &joining, &progress).await?;
        let platforms: Vec<_> = index
            .parsed::<ImageIndex>()?
            .manifests()
            .iter()
            .filter_map(|entry| entry.platform().as_ref().map(oci::platform_text))
            .collect();
        progress.line(&format!("{target} has {}", platforms.join(", ")));
        super::print(&format!("{}@{}", target.name(), index.digest()))
    })
}

/// Adds what `place` has: an index's entries and annotations, or a manifest with the platform that
/// its configuration says.
async fn collect(place: &Place, images: &Images, joining: &mut Joining) -> anyhow::Result<()> {
    match Kind::of(place, &images.top)? {
        Kind::Index(index) => {
            for entry in index.manifests() {
                add(joining, entry.clone());
            }
            let annotations = index.annotations().clone().unwrap_or_default();
            joining.annotations.extend(annotations);
        }
        Kind::Manifest => add(joining, entry(place, &images.top).await?),
    }
    Ok(())
}

/// Of two sources with one platform, the later one's is taken.
fn add(joining: &mut Joining, entry: Descriptor) {
    if entry.platform().is_some() {
        joining
            .manifests
            .retain(|other| other.platform() != entry.platform());
    }
    joining.manifests.push(entry);
}

async fn entry(place: &Place, manifest: &Document) -> anyhow::Result<Descriptor> {
    let parsed: ImageManifest = manifest.parsed()?;
    let config = place.small_blob(parsed.config()).await?;
    join::listed(manifest.descriptor.clone(), &config)
}
