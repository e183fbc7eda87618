//! Making one layer with several threads: members are encoded ahead in runs, and put together in
//! order.
//!
//! Runs are independent of each other, so the bytes do not depend on the number of threads. Memory is
//! bounded because each run's channel is, and only so many runs are under way; the run that is next in
//! order always has a thread, and its channel is always drained, so nothing waits forever.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::DiffId;
use crate::assemble::Assembly;
use crate::buffer::{BUFFER, Buffer, Nowhere, Pool, Sink};
use crate::layer::{EncodeError, Mismatch, Options};
use crate::line::{Line, Next, RUN};
use crate::members::Member;
use crate::seam::{self, Scanned};
use crate::splice::Splicer;
use crate::tar_digest::TarDigest;

/// Buffers that go from one thread to the next at a time: to be woken takes as long as to digest one.
const BATCH: usize = 4;
/// Batches of the tar stream that wait to be digested, at most.
const DIGEST_AHEAD: usize = 6;
/// Buffers that a thread works in and gathers; the inflater has one.
const WORKING: usize = 3 + BATCH;
/// Batches of one run that wait to be put together: with fewer a thread waits more than it works, and
/// more than this serve nobody.
const LEAST_AHEAD: usize = 1;
const MOST_AHEAD: usize = 5;
/// Buffers that the scan of a long file takes, and its seams until they are used.
const SCANNING: usize = 2 + seam::MEMORY / BUFFER;

/// How many threads encode ahead, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crew {
    threads: usize,
    /// Batches that wait to be digested.
    digest: usize,
    /// Batches of each run that wait to be put together.
    ahead: usize,
    /// Long files that are scanned at a time, or wait for their turn.
    scans: usize,
}

impl Crew {
    /// As many of `jobs` threads as there is memory for; None where that is one or none.
    fn new(jobs: usize, memory: u64) -> Option<Self> {
        let buffers = usize::try_from(memory / BUFFER as u64).unwrap_or(usize::MAX);
        let of_each = WORKING + RUNS * LEAST_AHEAD * BATCH;
        let digest = (buffers / of_each / 2).clamp(1, DIGEST_AHEAD);
        let threads = jobs.min(buffers.saturating_sub(digest * BATCH) / of_each);
        (threads > 1).then(|| {
            let of_ahead = threads * RUNS * BATCH;
            let left = buffers - digest * BATCH - threads * WORKING - LEAST_AHEAD * of_ahead;
            // Scans first: where few files are scanned ahead, the threads wait for one of them.
            let scans = (left / SCANNING).min(threads - 1);
            let left = left - scans * SCANNING;
            Self {
                threads,
                digest,
                ahead: (LEAST_AHEAD + left / of_ahead).min(MOST_AHEAD),
                scans,
            }
        })
    }
}

/// Runs under way for each thread.
const RUNS: usize = 2;

/// What is known after all members besides their bytes.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Of the whole tar stream.
    pub(crate) crc: u32,
    pub(crate) diff_id: DiffId,
    pub(crate) mismatches: Vec<Mismatch>,
}

impl Totals {
    fn new(crc: crc32fast::Hasher, digest: TarDigest<'_>) -> Self {
        let (diff_id, mismatches) = digest.finish();
        Self {
            crc: crc.finalize(),
            diff_id,
            mismatches,
        }
    }
}

/// Who takes both streams where there is one thread.
struct InTurn<'a, 'o, 'm> {
    assembly: &'a mut Assembly<'o>,
    digest: TarDigest<'m>,
}

impl Sink for InTurn<'_, '_, '_> {
    fn tar(&mut self, mut buffer: Buffer) -> Result<Buffer, EncodeError> {
        self.digest.take(&buffer)?;
        self.assembly.take_tar(&buffer)?;
        buffer.clear();
        Ok(buffer)
    }

    fn blob(&mut self, mut buffer: Buffer) -> Result<Buffer, EncodeError> {
        self.assembly.splice(&buffer)?;
        buffer.clear();
        Ok(buffer)
    }
}

/// Encodes `members` into `assembly`.
pub(crate) fn run(
    members: &[Member<'_>],
    splice: bool,
    options: &Options,
    assembly: &mut Assembly<'_>,
    digest: TarDigest<'_>,
) -> Result<Totals, EncodeError> {
    let size: u64 = members
        .iter()
        .map(|member| member.header.size)
        .fold(0, u64::saturating_add);
    let crew = Crew::new(options.jobs, options.memory).filter(|_| size >= RUN);
    let Some(crew) = crew else {
        let mut splicer = Splicer::new(InTurn { assembly, digest }, splice);
        let crc = splicer.run(members, 0..members.len())?;
        return Ok(Totals::new(crc, splicer.sink.digest));
    };
    let pool = Pool::default();
    let (queue, queued) = mpsc::channel();
    let queued = Mutex::new(queued);
    thread::scope(|scope| {
        for _ in 0..crew.threads {
            spawn(scope, || work(members, splice, &pool, &queued))?;
        }
        let (tar, batches) = mpsc::sync_channel(crew.digest);
        let digester = spawn(scope, || take(digest, &pool, batches))?;
        let front = Front {
            assembly: &mut *assembly,
            tar,
            queue,
            pool: &pool,
        };
        let ahead = (RUNS * crew.threads) as u64 * RUN;
        let crc = front.put_together(Line::new(members, ahead), crew);
        let digest = digester
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What is wrong with a checksum comes before what stopped the others.
        let digest = digest?;
        Ok(Totals::new(crc?, digest))
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, EncodeError> {
    thread::Builder::new()
        .spawn_scoped(scope, work)
        .map_err(EncodeError::Thread)
}

/// What waits for a thread.
enum Job {
    Encode(Work, SyncSender<Message>),
    Scan(usize, SyncSender<Result<Scanned, EncodeError>>),
}

/// What gives a part of the streams.
enum Work {
    Run(Range<usize>),
    Stretch(Arc<Scanned>, usize),
}

/// The next buffers of a run, and how it ended if it has.
struct Message {
    parts: Vec<Part>,
    done: Option<Result<crc32fast::Hasher, EncodeError>>,
}

enum Part {
    Tar(Buffer),
    Blob(Buffer),
}

/// Where a thread's buffers go: to the one that puts its run together.
struct Ahead<'a> {
    pool: &'a Pool,
    out: SyncSender<Message>,
    parts: Vec<Part>,
}

impl Ahead<'_> {
    fn take(&mut self, part: Part) -> Result<Buffer, EncodeError> {
        self.parts.push(part);
        if self.parts.len() == BATCH {
            self.send(None)?;
        }
        Ok(self.pool.take())
    }

    /// Fails where nobody listens any more, after an error elsewhere, which is the one that is reported.
    fn send(&mut self, done: Option<Result<crc32fast::Hasher, EncodeError>>) -> io::Result<()> {
        let parts = std::mem::take(&mut self.parts);
        let sent = self.out.send(Message { parts, done });
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Sink for Ahead<'_> {
    fn tar(&mut self, buffer: Buffer) -> Result<Buffer, EncodeError> {
        self.take(Part::Tar(buffer))
    }

    fn blob(&mut self, buffer: Buffer) -> Result<Buffer, EncodeError> {
        self.take(Part::Blob(buffer))
    }
}

/// Does one queued job after the other.
fn work(members: &[Member<'_>], splice: bool, pool: &Pool, queued: &Mutex<Receiver<Job>>) {
    let mut splicer: Option<Splicer<Ahead<'_>>> = None;
    let mut scanner: Option<Splicer<Nowhere>> = None;
    loop {
        let next = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let (work, out) = match next {
            Err(_) => return,
            Ok(Job::Encode(work, out)) => (work, out),
            Ok(Job::Scan(member, found)) => {
                let scanner = scanner.get_or_insert_with(|| Splicer::new(Nowhere, false));
                // Nobody waits for it after an error elsewhere.
                let _ = found.send(scanner.scan(members, member));
                continue;
            }
        };
        let ahead = Ahead {
            pool,
            out,
            parts: Vec::with_capacity(BATCH),
        };
        let splicer = match &mut splicer {
            Some(splicer) => {
                splicer.sink = ahead;
                splicer
            }
            none => none.insert(Splicer::new(ahead, splice)),
        };
        let run = match work {
            Work::Run(range) => splicer.run(members, range),
            Work::Stretch(file, number) => splicer.stretch(members, &file, number),
        };
        let is_last = run.is_err();
        if splicer.sink.send(Some(run)).is_err() || is_last {
            return;
        }
    }
}

/// Takes the tar stream to `digest`.
fn take<'a>(
    mut digest: TarDigest<'a>,
    pool: &Pool,
    batches: Receiver<Vec<Buffer>>,
) -> Result<TarDigest<'a>, EncodeError> {
    for buffer in batches.into_iter().flatten() {
        digest.take(&buffer)?;
        pool.give(buffer);
    }
    Ok(digest)
}

/// The calling thread's part: everything that has to be in order.
struct Front<'a, 'o> {
    assembly: &'a mut Assembly<'o>,
    tar: SyncSender<Vec<Buffer>>,
    queue: mpsc::Sender<Job>,
    pool: &'a Pool,
}

impl Front<'_, '_> {
    /// Has a few runs under way for each thread of `crew`. Gives the CRC-32 of the tar stream. Its end, in every case, lets the threads end.
    fn put_together(
        mut self,
        mut line: Line<'_>,
        crew: Crew,
    ) -> Result<crc32fast::Hasher, EncodeError> {
        let mut crc = crc32fast::Hasher::new();
        let mut under_way = VecDeque::new();
        loop {
            while let Some(member) = line.next_to_scan(crew.scans) {
                let (out, found) = mpsc::sync_channel(1);
                self.queue(Job::Scan(member, out))?;
                line.scanning(member, found);
            }
            while under_way.len() < RUNS * crew.threads {
                let (out, messages) = mpsc::sync_channel(crew.ahead);
                match line.next(under_way.is_empty()).map_err(|_| stopped())? {
                    Next::Run(range) => self.queue(Job::Encode(Work::Run(range), out))?,
                    Next::Stretch(scanned, number) => {
                        self.queue(Job::Encode(Work::Stretch(scanned, number), out))?;
                    }
                    // It is told in its turn: a file before it may have a fault too.
                    Next::Failed(error) => {
                        let parts = Vec::new();
                        let done = Some(Err(error));
                        let told = out.send(Message { parts, done });
                        told.map_err(|_| stopped())?;
                    }
                    Next::Wait | Next::End => break,
                }
                under_way.push_back(messages);
            }
            let Some(messages) = under_way.pop_front() else {
                break;
            };
            crc.combine(&self.put_run(&messages)?);
        }
        Ok(crc)
    }

    fn queue(&self, job: Job) -> Result<(), EncodeError> {
        Ok(self.queue.send(job).map_err(|_| stopped())?)
    }

    fn put_run(&mut self, messages: &Receiver<Message>) -> Result<crc32fast::Hasher, EncodeError> {
        loop {
            let Message { parts, done } = messages.recv().map_err(|_| stopped())?;
            let mut tars = Vec::with_capacity(BATCH);
            for part in parts {
                match part {
                    Part::Tar(buffer) => {
                        self.assembly.take_tar(&buffer)?;
                        tars.push(buffer);
                    }
                    Part::Blob(buffer) => {
                        self.assembly.splice(&buffer)?;
                        self.pool.give(buffer);
                    }
                }
            }
            if !tars.is_empty() {
                self.tar.send(tars).map_err(|_| stopped())?;
            }
            if let Some(run) = done {
                return run;
            }
        }
    }
}

/// A thread has panicked; the scope passes that on.
fn stopped() -> io::Error {
    io::Error::other("a thread has stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(jobs: usize, mebibytes: u64, expect: Option<(usize, usize, usize)>) {
        let crew = Crew::new(jobs, mebibytes << 20);
        assert_eq!(
            crew.map(|it| (it.threads, it.ahead, it.scans)),
            expect,
            "{jobs} threads, {mebibytes} MiB"
        );
        let buffers = crew.map_or(0, |it| {
            let running = it.threads * (WORKING + RUNS * BATCH * it.ahead);
            it.digest * BATCH + running + it.scans * SCANNING
        });
        assert!(buffers * BUFFER <= (mebibytes << 20) as usize);
    }

    #[test]
    fn memory_bounds_the_threads_and_how_far_they_go_ahead() {
        check(1, 64, None);
        check(4, 0, None);
        check(4, 3, None);
        check(4, 4, None);
        check(4, 5, Some((2, 1, 0)));
        check(4, 7, Some((3, 1, 0)));
        check(4, 9, Some((4, 1, 0)));
        check(4, 16, Some((4, 1, 2)));
        check(4, 33, Some((4, 4, 3)));
        check(4, 64, Some((4, 5, 3)));
        check(64, 64, Some((32, 1, 0)));
    }
}
