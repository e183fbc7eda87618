//! The bytes of a blob on their way out: made on a thread or read from another repository, handed
//! over through a short queue. The last of them leave only once size and digest are found right, so
//! that no registry ever commits something else.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use oci::{Digest, HashingWriter};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::push::Writer;
use crate::shared::{Progress, lock};
use crate::{Content, Error, Observer, Repository, Upload};

/// Bytes in one element of the queue.
const CHUNK: usize = 256 << 10;

/// Elements in the queue.
const QUEUE: usize = 2;

/// A blob's bytes, one try's worth.
pub(crate) struct Source {
    queue: Receiver<Result<Bytes, Error>>,
    digest: Digest,
    size: u64,
    taken: u64,
    progress: Arc<Progress>,
    fault: Arc<Mutex<Option<Error>>>,
    observer: Arc<dyn Observer>,
}

impl Source {
    /// Starts to make the bytes of `blob`.
    pub(crate) fn start(blob: &Upload<'_>, observer: Arc<dyn Observer>) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let (digest, size) = (blob.digest, blob.size);
        match &blob.content {
            Content::Written(writer) => {
                let writer = writer.clone();
                tokio::task::spawn_blocking(move || write(&*writer, digest, size, sender));
            }
            Content::Blob(repository) => {
                tokio::spawn(copy(repository.clone(), digest, size, sender));
            }
        }
        Self {
            queue,
            digest,
            size,
            taken: 0,
            progress: Arc::default(),
            fault: Arc::default(),
            observer,
        }
    }

    /// How far the bytes are.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Where the reason is put if they end too early.
    pub(crate) fn fault(&self) -> Arc<Mutex<Option<Error>>> {
        self.fault.clone()
    }

    /// The next bytes; None at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let next = self.queue.recv().await;
        self.take(next)
    }

    fn take(&mut self, next: Option<Result<Bytes, Error>>) -> Result<Option<Bytes>, Error> {
        match next.transpose()? {
            Some(bytes) => {
                let length = bytes.len() as u64;
                self.taken += length;
                self.progress.moved.fetch_add(length, Ordering::Relaxed);
                if self.taken == self.size {
                    self.progress.ended.store(true, Ordering::Relaxed);
                }
                self.observer.sent(length);
                Ok(Some(bytes))
            }
            None if self.taken == self.size => Ok(None),
            // Whoever made them is gone without a word.
            None => Err(Error::SourceSize {
                digest: self.digest,
                expected: self.size,
                found: self.taken,
            }),
        }
    }
}

/// As the body of a request. Its error says nothing: the reason is in `fault`.
impl Stream for Source {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.queue.poll_recv(context);
        self.progress
            .starving
            .store(next.is_pending(), Ordering::Relaxed);
        let Poll::Ready(next) = next else {
            return Poll::Pending;
        };
        Poll::Ready(match self.take(next) {
            Ok(bytes) => bytes.map(Ok),
            Err(error) => {
                *lock(&self.fault) = Some(error);
                Some(Err(io::Error::other("the blob cannot be read")))
            }
        })
    }
}

fn write(writer: &Writer, digest: Digest, size: u64, sender: Sender<Result<Bytes, Error>>) {
    let mut queue = Queue {
        chunk: BytesMut::with_capacity(CHUNK),
        held: None,
        hasher: HashingWriter::new(io::sink()),
        written: 0,
        digest,
        size,
        sender,
    };
    let outcome = writer(&mut queue);
    if queue.sender.is_closed() {
        // The request ended first, and knows why.
        return;
    }
    let outcome = match outcome {
        // Larger than promised: that is the reason whatever the writer made of it.
        _ if queue.written > size => Err(Error::SourceSize {
            digest,
            expected: size,
            found: queue.written,
        }),
        Err(source) => Err(Error::Source { digest, source }),
        Ok(()) => Ok(()),
    };
    let sender = queue.sender.clone();
    let _ = match outcome.and_then(|()| queue.finish()) {
        Ok(last) => last
            .into_iter()
            .try_for_each(|chunk| sender.blocking_send(Ok(chunk)).ok()),
        Err(error) => sender.blocking_send(Err(error)).ok(),
    };
}

/// The writer's end of the queue. Holds one chunk back.
struct Queue {
    chunk: BytesMut,
    held: Option<Bytes>,
    hasher: HashingWriter<io::Sink>,
    written: u64,
    digest: Digest,
    size: u64,
    sender: Sender<Result<Bytes, Error>>,
}

impl Queue {
    fn pass_on(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, BytesMut::with_capacity(CHUNK)).freeze();
        self.hasher.write_all(&chunk)?;
        if let Some(held) = self.held.replace(chunk) {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.sender.blocking_send(Ok(held)).map_err(gone)?;
        }
        Ok(())
    }

    /// The last chunks, once it is clear that they are the right ones.
    fn finish(mut self) -> Result<Vec<Bytes>, Error> {
        let digest = self.digest;
        if self.written != self.size {
            return Err(Error::SourceSize {
                digest,
                expected: self.size,
                found: self.written,
            });
        }
        let last = self.chunk.freeze();
        self.hasher
            .write_all(&last)
            .expect("a hash takes all bytes");
        let (_, found, _) = self.hasher.finish();
        if found != digest {
            return Err(Error::SourceDigest { digest, found });
        }
        let mut chunks: Vec<_> = self.held.into_iter().chain([last]).collect();
        chunks.retain(|chunk| !chunk.is_empty());
        Ok(chunks)
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.chunk.len();
        let taken = bytes.len().min(room);
        self.written += taken as u64;
        if self.written > self.size {
            return Err(io::Error::other("more bytes than the blob has"));
        }
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.pass_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn copy(
    repository: Repository,
    digest: Digest,
    size: u64,
    sender: Sender<Result<Bytes, Error>>,
) {
    // The reader itself holds the last bytes back until they are checked.
    let mut reader = match repository.blob(&digest, size).await {
        Ok(reader) => reader,
        Err(error) => {
            let _ = sender.send(Err(error)).await;
            return;
        }
    };
    while let Some(chunk) = reader.chunk().await.transpose() {
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use oci::BoxError;

    async fn check(
        promised: &[u8],
        writer: impl Fn(&mut dyn Write) -> Result<(), BoxError> + Send + Sync + 'static,
        expected: Result<(), &str>,
    ) {
        let blob = Upload {
            digest: Digest::of(promised),
            size: promised.len() as u64,
            mount_from: &[],
            is_new: false,
            content: Content::Written(Arc::new(writer)),
        };
        let mut source = Source::start(&blob, Arc::new(Silent));
        let mut bytes = Vec::new();
        let outcome = loop {
            match source.next().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.to_string()),
            }
        };
        match expected {
            Ok(()) => {
                assert_eq!(outcome, Ok(()));
                assert!(bytes == promised);
            }
            Err(part) => {
                let error = outcome.unwrap_err();
                assert!(error.contains(part), "{error}");
                assert!(bytes.len() < promised.len());
            }
        }
    }

    #[tokio::test]
    async fn bytes_come_through() {
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let written = bytes.clone();
            check(&bytes, move |out| Ok(out.write_all(&written)?), Ok(())).await;
        }
    }

    #[tokio::test]
    async fn the_last_bytes_stay_where_something_is_wrong() {
        let bytes = vec![1; 3 * CHUNK];
        check(
            &bytes,
            |out| Ok(out.write_all(&vec![2; 3 * CHUNK])?),
            Err("its bytes have the digest"),
        )
        .await;
        check(
            &bytes,
            |out| Ok(out.write_all(&vec![1; 3 * CHUNK - 1])?),
            Err("it has 786431 bytes, expected 786432"),
        )
        .await;
        check(
            &bytes,
            |out| Ok(out.write_all(&vec![1; 3 * CHUNK + 1])?),
            Err("bytes, expected 786432"),
        )
        .await;
        check(
            &bytes,
            |out| {
                out.write_all(&vec![1; CHUNK])?;
                Err("the disk is on fire".into())
            },
            Err("cannot read blob"),
        )
        .await;
    }
}
