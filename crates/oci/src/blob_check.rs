//! Checks many blobs against what refers to them, several at a time.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use oci_spec::image::MediaType;

use crate::descriptor::Compression;
use crate::fault::{Fault, FaultKind, Within};
use crate::layer_check::{self, Contents, MemberFault};
use crate::{Digest, HashingWriter, LayoutError, LayoutReader};

/// A blob that a manifest refers to.
#[derive(Debug, Clone)]
pub(crate) struct BlobRef {
    /// The descriptor.
    pub(crate) at: Within,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: MediaType,
    /// How it is compressed if it is a layer; None for a blob of which the digest is all there is to
    /// check.
    pub(crate) layer: Option<Compression>,
}

/// What the layers among the blobs are like, by digest.
pub(crate) type Layers = BTreeMap<Digest, Contents>;

/// Checks `blobs`; the fault is that of the first one that has one, however many threads there are.
pub(crate) fn check(reader: &LayoutReader, blobs: &[BlobRef]) -> Result<Layers, Fault> {
    let mut jobs: Vec<&BlobRef> = Vec::new();
    let mut seen: BTreeMap<Digest, Vec<(u64, Option<Compression>)>> = BTreeMap::new();
    for blob in blobs {
        let known = seen.entry(blob.digest).or_default();
        if !known.contains(&(blob.size, blob.layer)) {
            known.push((blob.size, blob.layer));
            jobs.push(blob);
        }
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            // Jobs are taken in order: whatever comes before one with a fault has been taken too.
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(n) else { return };
            let result = check_one(reader, job);
            if result.is_err() {
                next.store(jobs.len(), Ordering::Relaxed);
            }
            results.lock().expect("no thread panics").insert(n, result);
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(jobs.len());
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let results = results.into_inner().expect("no thread panics");
    let mut layers = Layers::new();
    for (n, result) in results {
        if let Some(contents) = result? {
            layers.insert(jobs[n].digest, contents);
        }
    }
    Ok(layers)
}

fn check_one(reader: &LayoutReader, job: &BlobRef) -> Result<Option<Contents>, Fault> {
    let BlobRef { at, digest, .. } = job;
    let blob = reader
        .blob(digest)
        .map_err(|error| at.descriptor_fault(error))?;
    let unreadable = |source| {
        at.fault(LayoutError::File {
            path: blob.name().into(),
            source,
        })
    };
    let Some(compression) = job.layer else {
        let mut hasher = HashingWriter::new(io::sink());
        io::copy(&mut blob.reader(), &mut hasher).map_err(unreadable)?;
        let (_, found, size) = hasher.finish();
        check_identity(job, found, size)?;
        return Ok(None);
    };
    let checked = layer_check::check(blob.reader(), compression).map_err(unreadable)?;
    check_identity(job, checked.digest, checked.size)?;
    if checked.starts_as != compression {
        return Err(at.field("mediaType").fault(FaultKind::MediaType {
            expected: format!("one for {}", checked.starts_as),
            found: job.media_type.to_string(),
        }));
    }
    let document = Within::document(format!("layer {digest}"));
    match checked.contents {
        Ok(contents) => Ok(Some(contents)),
        Err(MemberFault { path, fault }) if path.is_empty() => Err(document.fault(fault)),
        Err(MemberFault { path, fault }) => Err(document.field(path).fault(fault)),
    }
}

fn check_identity(job: &BlobRef, found: Digest, size: u64) -> Result<(), Fault> {
    let fault = if size != job.size {
        LayoutError::Size {
            digest: job.digest,
            expected: job.size,
            found: size,
        }
    } else if found != job.digest {
        LayoutError::Digest {
            expected: job.digest,
            found,
        }
    } else {
        return Ok(());
    };
    Err(job.at.descriptor_fault(fault))
}
