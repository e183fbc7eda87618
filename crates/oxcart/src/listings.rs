//! What layers hold, kept in the store by their diff_id: a layer is looked into once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use contents::Listing;
use futures::{StreamExt, TryStreamExt, stream};
use oci::layer::Layer;
use oci::{DiffId, Digest};
use serde::{Deserialize, Serialize};

use crate::base;
use crate::build::{BuiltLayer, in_parallel};
use crate::output::made_blob;
use crate::place::Place;
use crate::store::Store;

/// Layers of a place that are looked into at a time.
const PARALLEL: usize = 4;

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Another version is read anew.
    version: u32,
    listing: Listing,
}

/// The listing of a layer that was looked into before.
fn known(store: &Store, diff_id: &DiffId) -> Option<Arc<Listing>> {
    let bytes = store.listing(diff_id)?;
    let kept: Kept = serde_json::from_slice(&bytes).ok()?;
    (kept.version == contents::VERSION).then(|| Arc::new(kept.listing))
}

fn keep(store: &Store, diff_id: &DiffId, listing: Listing) -> anyhow::Result<Arc<Listing>> {
    let kept = Kept {
        version: contents::VERSION,
        listing,
    };
    store.put_listing(diff_id, &serde_json::to_vec(&kept)?)?;
    Ok(Arc::new(kept.listing))
}

fn list(layer: &Layer, mut reader: impl Read) -> anyhow::Result<Listing> {
    let listing = contents::list(&layer.media_type, &mut reader, contents::Options::default());
    // The rest as well: only at its end is a blob seen to be what it should be. Where the stream broke, that
    // is the cause, and not what the reader made of it.
    io::copy(&mut reader, &mut io::sink())?;
    Ok(listing?)
}

/// The listings of layers of an image, in their order. Its place is opened where a layer is neither known nor
/// in the store.
pub(crate) async fn of_place(
    store: &Store,
    open: impl Fn() -> anyhow::Result<Place>,
    layers: &[Layer],
) -> anyhow::Result<Vec<Arc<Listing>>> {
    let open = &open;
    stream::iter(layers)
        .map(|layer| async move {
            if let Some(listing) = known(store, &layer.diff_id) {
                return Ok(listing);
            }
            let reader: Box<dyn Read + Send> = match store.reader(&layer.digest) {
                Some(file) => Box::new(file),
                None => base::reader(&open()?, &layer.digest, layer.size).await?,
            };
            let read = layer.clone();
            let listing = tokio::task::spawn_blocking(move || list(&read, reader)).await?;
            let listing =
                listing.with_context(|| format!("layer {} cannot be read", layer.digest))?;
            keep(store, &layer.diff_id, listing)
        })
        .buffered(PARALLEL)
        .try_collect()
        .await
}

/// The listings of layers that were built, by their diff_id. Of those that are not known, the blob is made from
/// its map and read at the same time.
pub(crate) fn of_built<'a>(
    store: &Store,
    layers: impl Iterator<Item = &'a BuiltLayer>,
    threads: NonZeroUsize,
) -> anyhow::Result<BTreeMap<Digest, Arc<Listing>>> {
    let layers: BTreeMap<Digest, &BuiltLayer> = layers
        .map(|built| (built.record.layer.diff_id.0, built))
        .collect();
    let mut layers: Vec<_> = layers.into_values().collect();
    // The longest one should not begin last.
    layers.sort_by_key(|built| Reverse(built.record.layer.size));
    let listings = in_parallel(&layers, threads, |built| {
        let layer = &built.record.layer;
        if let Some(listing) = known(store, &layer.diff_id) {
            return Ok((layer.diff_id.0, listing));
        }
        let (reader, mut writer) = io::pipe()?;
        let (listing, written) = thread::scope(|scope| {
            let written = scope.spawn(move || made_blob(built, store, &mut writer));
            let listing = list(layer, reader);
            (listing, written.join())
        });
        // Where the blob could not be made, that is why it could not be read.
        written.map_err(|_| anyhow::anyhow!("the thread that made a blob ended early"))??;
        Ok((layer.diff_id.0, keep(store, &layer.diff_id, listing?)?))
    })?;
    Ok(listings.into_iter().collect())
}
