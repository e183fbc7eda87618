//! `oxcart push`

use registry::Reference;
use std::collections::BTreeSet;
use tokio::runtime::Runtime;

use crate::base::Bases;
use crate::cli::{Global, PushArgs};
use crate::diagnostics::Failure;
use crate::place::{Images, Location, Place};
use crate::progress::Progress;
use crate::push::{self, Shipment};
use crate::registries::Registries;
use crate::store::Store;

/// Pushes an image to each of the references, and prints each with its digest.
pub(crate) fn run(global: &Global, args: &PushArgs) -> anyhow::Result<()> {
    let targets = args
        .targets
        .iter()
        .map(|target| super::target(target))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let source = Location::typed(&args.image)?;
    let store = Store::open(global.store.as_deref())?;
    let progress = Progress::new(global);
    let registries = Registries::new(global, targets.first(), &progress);
    let bases = Bases {
        store: &store,
        registries: &registries,
        progress: &progress,
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        let place = Place::open(&source, &registries)?;
        let images = Images::read(&place).await?;
        let shipment = Shipment::of_images(&place, &images)?;
        for target in &targets {
            one(&shipment, target, bases).await?;
            let name = target.name();
            super::print(&format!("{name}@{}", shipment.top.digest()))?;
        }
        Ok(())
    })
}

async fn one(shipment: &Shipment, target: &Reference, bases: Bases<'_>) -> anyhow::Result<()> {
    let repository = bases.registries.repository(target)?;
    repository.check_push().await?;
    let delivered = shipment
        .deliver(&repository, &BTreeSet::new(), bases)
        .await?;
    push::tag(&repository, &target.target(), &shipment.top).await?;
    bases
        .progress
        .line(&format!("pushed {target}: {}", delivered.account()));
    Ok(())
}

/// Threads for the network.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|error| Failure::new("no threads for the network").caused_by(error))
}
