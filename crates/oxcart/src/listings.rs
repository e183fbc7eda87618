//! What layers hold, kept in the store by their `diff_id`: a layer is looked into once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use contents::{Listing, Options};
use futures::{StreamExt, TryStreamExt, stream};
use oci::layer::Layer;
use oci::{DiffId, Digest, HashingWriter};
use serde::{Deserialize, Serialize};

use crate::base;
use crate::build::{BuiltLayer, in_parallel};
use crate::diagnostics::Failure;
use crate::output::made_blob;
use crate::pipe::pipe;
use crate::place::Place;
use crate::store::Store;

/// Layers of a place that are looked into at a time.
const PARALLEL: usize = 4;
/// What a decompressed layer is.
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Another version is read anew.
    version: u32,
    /// Whether it has each file's sha256.
    digests: bool,
    listing: Listing,
}

/// The listing of a layer that was looked into before, with all that `options` want.
pub(crate) fn known(store: &Store, diff_id: &DiffId, options: Options) -> Option<Arc<Listing>> {
    let bytes = store.listing(diff_id)?;
    let kept: Kept = serde_json::from_slice(&bytes).ok()?;
    let is_enough = kept.version == contents::VERSION && (kept.digests || !options.digests);
    is_enough.then(|| Arc::new(kept.listing))
}

/// What `work` gives, and what the layer holds whose tar stream it writes. No listing where that stream
/// cannot be understood: who asks for it later reads the blob, and says what is wrong.
pub(crate) fn beside<T>(
    work: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Option<Listing>)> {
    let (mut writer, reader) = pipe();
    thread::scope(|scope| {
        let listing = scope.spawn(|| contents::list_tar(reader, Options::default()));
        let made = work(&mut writer);
        drop(writer);
        let listing = listing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((made?, listing.ok()))
    })
}

/// Keeps what [`beside`] has seen of a layer.
pub(crate) fn keep_seen(store: &Store, diff_id: &DiffId, listing: Listing) -> anyhow::Result<()> {
    keep(store, diff_id, listing, Options::default()).map(drop)
}

/// Whether a build's layer was looked into before.
pub(crate) fn is_known(store: &Store, built: &BuiltLayer) -> bool {
    known(store, &built.record.layer.diff_id, Options::default()).is_some()
}

fn keep(
    store: &Store,
    diff_id: &DiffId,
    listing: Listing,
    options: Options,
) -> anyhow::Result<Arc<Listing>> {
    let kept = Kept {
        version: contents::VERSION,
        digests: options.digests,
        listing,
    };
    store.put_listing(diff_id, &serde_json::to_vec(&kept)?)?;
    Ok(Arc::new(kept.listing))
}

fn list(layer: &Layer, mut reader: impl Read, options: Options) -> anyhow::Result<Listing> {
    let listing = contents::list(&layer.media_type, &mut reader, options);
    // The rest as well: only at its end is a blob seen to be what it should be. Where the stream broke, that
    // is the cause, and not what the reader made of it.
    io::copy(&mut reader, &mut io::sink())?;
    Ok(listing?)
}

/// The same of what comes from elsewhere. It must be what its `diff_id` says: what is kept by that stands for it
/// in all images.
fn list_checked(layer: &Layer, mut reader: impl Read, options: Options) -> anyhow::Result<Listing> {
    let (listing, found) = {
        let mut tar = Hashing {
            inner: facts::input::open(&layer.media_type, &mut reader)?,
            hash: HashingWriter::new(io::sink()),
        };
        let tar_layer = Layer {
            media_type: TAR.to_owned(),
            ..layer.clone()
        };
        let listing = list(&tar_layer, &mut tar, options);
        (listing, tar.hash.finish().1)
    };
    io::copy(&mut reader, &mut io::sink())?;
    let listing = listing?;
    if found != layer.diff_id.0 {
        return Err(Failure::new(format!(
            "it holds {found}, and the configuration says {}",
            layer.diff_id.0
        ))
        .hint("the image is damaged where it lies, or was put together wrongly: get it again")
        .into());
    }
    Ok(listing)
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hash: HashingWriter<io::Sink>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// The listings of layers of the image that messages call `name`, in their order. Its place is opened where a
/// layer is neither known nor in the store.
pub(crate) async fn of_place(
    store: &Store,
    name: &impl fmt::Display,
    open: impl Fn() -> anyhow::Result<Place>,
    layers: &[Layer],
    options: Options,
) -> anyhow::Result<Vec<Arc<Listing>>> {
    let open = &open;
    stream::iter(layers)
        .map(|layer| async move {
            if let Some(listing) = known(store, &layer.diff_id, options) {
                return Ok(listing);
            }
            let read = async |reader: Box<dyn Read + Send>| {
                let layer = layer.clone();
                tokio::task::spawn_blocking(move || list_checked(&layer, reader, options)).await?
            };
            let stored = match store.reader(&layer.digest) {
                Some(file) => Some(read(Box::new(file)).await),
                None => None,
            };
            let listing = match stored {
                Some(Err(_)) if !store.is_intact_now(&layer.digest).unwrap_or(false) => {
                    store.remove_blob(&layer.digest)?;
                    None
                }
                stored => stored,
            };
            let listing = match listing {
                Some(listing) => listing,
                None => read(base::reader(&open()?, &layer.digest, layer.size).await?).await,
            };
            let listing = listing
                .with_context(|| format!("layer {} of {name} cannot be read", layer.digest))?;
            keep(store, &layer.diff_id, listing, options)
        })
        .buffered(PARALLEL)
        .try_collect()
        .await
}

/// The listings of layers that were built, by their `diff_id`. Of those that are not known, the blob is made from
/// its map and read at the same time.
pub(crate) fn of_built<'a>(
    store: &Store,
    layers: impl Iterator<Item = &'a BuiltLayer>,
    threads: NonZeroUsize,
) -> anyhow::Result<BTreeMap<Digest, Arc<Listing>>> {
    let options = Options::default();
    let layers: BTreeMap<Digest, &BuiltLayer> = layers
        .map(|built| (built.record.layer.diff_id.0, built))
        .collect();
    let mut layers: Vec<_> = layers.into_values().collect();
    // The longest one should not begin last.
    layers.sort_by_key(|built| Reverse(built.record.layer.size));
    let listings = in_parallel(&layers, threads, |built| {
        let layer = &built.record.layer;
        if let Some(listing) = known(store, &layer.diff_id, options) {
            return Ok((layer.diff_id.0, listing));
        }
        let (reader, mut writer) = io::pipe()?;
        let (listing, written) = thread::scope(|scope| {
            let written = scope.spawn(move || made_blob(built, store, &mut writer));
            let listing = list(layer, reader, options);
            (listing, written.join())
        });
        // Where the blob could not be made, that is why it could not be read.
        written.map_err(|_| anyhow::anyhow!("the thread that made a blob ended early"))??;
        let listing = keep(store, &layer.diff_id, listing?, options)?;
        Ok((layer.diff_id.0, listing))
    })?;
    Ok(listings.into_iter().collect())
}
