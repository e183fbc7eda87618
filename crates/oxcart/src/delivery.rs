//! Layers that go to the registry as they are made, for a build that keeps nothing: what a layer is made of is
//! fetched when its turn comes, and goes when its blob is there. So the files of a few layers are on disk at a
//! time, however many there are. In the registry the blobs wait for the manifests that name them, which come when
//! the whole image is seen to be right; without one they are nothing to anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use indicatif::ProgressBar;
use oci::Digest;
use registry::Pushed;
use tokio::sync::{OnceCell, Semaphore, watch};

use crate::build::{BuiltLayer, Options, Supplies};
use crate::fetch::{Download, Fetching};
use crate::layers::Job;
use crate::listings;
use crate::metadata::LayerState;
use crate::mutex::lock;
use crate::push;
use crate::remote::Home;
use crate::store::{Kept, LayerRecord, Store};
use crate::target::Target;

/// Layers at a time, some of which are fetched while others are made or pushed.
pub(crate) const LAYERS: NonZeroUsize = NonZeroUsize::new(8).expect("it is not 0");
/// Bytes of files that may be there at a time in any case: 256 MiB.
const LEAST: u64 = 256 << 20;

/// A layer to be made, and the files that it is made of.
pub(crate) type Task<J> = (J, Vec<Download>);

/// `tasks` in their order, but that those which share files come one after the other: such a file stays until
/// all of them are done.
pub(crate) fn neighbours<J>(mut tasks: Vec<Task<J>>) -> Vec<Task<J>> {
    let mut ordered = Vec::new();
    while !tasks.is_empty() {
        let mut files: BTreeSet<_> = digests(&tasks[0].1).collect();
        let mut is_first = true;
        let is_near = |(_, own): &Task<J>| {
            let shares = digests(own).any(|it| files.contains(&it));
            if shares {
                files.extend(digests(own));
            }
            std::mem::take(&mut is_first) || shares
        };
        let (near, far) = tasks.into_iter().partition::<Vec<_>, _>(is_near);
        ordered.extend(near);
        tasks = far;
    }
    ordered
}

fn digests(files: &[Download]) -> impl Iterator<Item = Digest> {
    files.iter().filter_map(|it| it.digest)
}

/// The way of layers from the files that they are made of to one repository.
pub(crate) struct Delivery<'a> {
    supplies: Supplies<'a>,
    target: &'a Target,
    options: Options,
    files: Files<'a>,
    fetching: Fetching<'a>,
    pushing: ProgressBar,
    /// Whose turn it is to be made.
    making: Semaphore,
    /// Whose turn it is to be sent.
    sending: Semaphore,
    /// What becomes of each blob: two layers may have the same.
    pushed: Mutex<BTreeMap<Digest, Arc<OnceCell<Pushed>>>>,
}

impl<'a> Delivery<'a> {
    /// Of the layers of `tasks` to `target`.
    pub(crate) fn new<J>(
        tasks: &[Task<J>],
        target: &'a Target,
        supplies: Supplies<'a>,
        options: Options,
    ) -> Self {
        let each = tasks.iter().map(|(_, files)| &files[..]);
        let all: Vec<_> = each.clone().flatten().cloned().collect();
        let pushing = supplies.bases.progress.bytes("Pushing", 0);
        supplies.bases.registries.show(Some(pushing.clone()));
        Self {
            supplies,
            target,
            options,
            files: Files::new(each, LEAST, supplies.bases.store),
            fetching: supplies.fetcher.fetching(&all),
            pushing,
            making: Semaphore::new(options.threads.get()),
            sending: Semaphore::new(push::PARALLEL),
            pushed: Mutex::default(),
        }
    }

    /// Bytes of files that are there at a time.
    pub(crate) fn limit(&self) -> u64 {
        self.files.limit
    }

    /// Has the layer made by `make`, the `n`th to begin, and its blob in the repository. None where another one
    /// has failed.
    pub(crate) fn deliver(
        &self,
        n: usize,
        (job, files): &Task<&Job>,
        make: impl FnOnce() -> anyhow::Result<LayerRecord>,
    ) -> anyhow::Result<Option<BuiltLayer>> {
        let Supplies { fetcher, bases, .. } = self.supplies;
        let Some(work) = self.files.begin(n, files) else {
            return Ok(None);
        };
        if self.unless_failed(self.fetching.have(files))?.is_none() {
            return Ok(None);
        }
        let turn = fetcher.wait(self.making.acquire());
        let record = make()?;
        drop(turn);
        let mut layer = BuiltLayer {
            job: (*job).clone(),
            record,
            state: LayerState::Built,
            home: Home::Store,
        };
        if self.options.proven {
            // The last chance: a proof does not read what is in the registry alone.
            listings::of_built(bases.store, iter::once(&layer), NonZeroUsize::MIN)?;
        }
        let Some(pushed) = self.unless_failed(self.push(&layer))? else {
            return Ok(None);
        };
        layer.home = Home::Target(pushed);
        if layer.record.kept == Kept::Blob {
            // As all of these: what cannot be removed goes with the directory.
            let _ = bases.store.remove_blob(&layer.record.layer.digest);
        }
        work.done();
        Ok(Some(layer))
    }

    async fn push(&self, layer: &BuiltLayer) -> anyhow::Result<Pushed> {
        let digest = layer.record.layer.digest;
        let cell = Arc::clone(lock(&self.pushed).entry(digest).or_default());
        let push = async || {
            let _turn = self.sending.acquire().await;
            self.pushing.inc_length(layer.record.layer.size);
            let store = self.supplies.bases.store;
            self.target.put_layer(layer, store).await
        };
        Ok(cell.get_or_try_init(push).await?.clone())
    }

    /// What `work` gives. None once another layer has failed: what is told then does not wait for large files.
    fn unless_failed<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        let mut failed = self.files.has_failed.subscribe();
        self.supplies.fetcher.wait(async {
            tokio::select! {
                result = work => result.map(Some),
                _ = failed.wait_for(|it| *it) => Ok(None),
            }
        })
    }

    /// Says what was fetched.
    pub(crate) fn done(self) {
        self.supplies.bases.registries.show(None);
        self.fetching.done();
    }
}

/// The files of layers that are in work, which are bounded: twice those of the layer that has most, so that
/// another one's come while that is made.
struct Files<'a> {
    limit: u64,
    store: &'a Store,
    state: Mutex<State>,
    changed: Condvar,
    has_failed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// How many layers still need a file.
    needs: BTreeMap<Digest, usize>,
    /// Bytes of each that is there, or will be at once.
    here: BTreeMap<Digest, u64>,
    /// Layers that have begun: in their order, so that what a layer keeps for another one does not stay long.
    begun: usize,
    /// Of them, those in work.
    working: usize,
}

impl<'a> Files<'a> {
    /// Those of each layer that will be made, `least` bytes of which may be there in any case.
    fn new<'f>(all: impl Iterator<Item = &'f [Download]>, least: u64, store: &'a Store) -> Self {
        let (mut needs, mut most) = (BTreeMap::new(), 0);
        for files in all {
            let files = sizes(files);
            most = files.values().sum::<u64>().max(most);
            for digest in files.into_keys() {
                *needs.entry(digest).or_default() += 1;
            }
        }
        let state = State {
            needs,
            ..State::default()
        };
        Self {
            limit: least.max(2 * most),
            store,
            state: Mutex::new(state),
            changed: Condvar::new(),
            has_failed: watch::Sender::new(false),
        }
    }

    /// Waits until there is room for the `files` of the `n`th layer. None once a layer has failed.
    fn begin(&self, n: usize, files: &[Download]) -> Option<Work<'_>> {
        let files = sizes(files);
        let mut state = lock(&self.state);
        let has_failed = || *self.has_failed.borrow();
        while !has_failed() && (state.begun < n || !state.has_room(&files, self.limit)) {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if has_failed() {
            return None;
        }
        state.begun += 1;
        state.working += 1;
        self.changed.notify_all();
        let digests = files.keys().copied().collect();
        state.here.extend(files);
        Some(Work {
            of: self,
            files: digests,
            is_done: false,
        })
    }
}

impl State {
    /// Whether `files` do not go beyond `limit`, or nothing else would end that.
    fn has_room(&self, files: &BTreeMap<Digest, u64>, limit: u64) -> bool {
        let new = files.iter().filter(|it| !self.here.contains_key(it.0));
        let new: u64 = new.map(|it| it.1).sum();
        new == 0 || self.working == 0 || self.here.values().sum::<u64>() + new <= limit
    }
}

/// A layer in work. Dropped before it is done, it has failed.
struct Work<'a> {
    of: &'a Files<'a>,
    files: Vec<Digest>,
    is_done: bool,
}

impl Work<'_> {
    /// Removes the files that no other layer needs.
    fn done(mut self) {
        let mut state = lock(&self.of.state);
        for file in &self.files {
            let needs = state.needs.entry(*file).or_default();
            *needs = needs.saturating_sub(1);
            if *needs == 0 {
                let _ = self.of.store.remove_blob(file);
                state.here.remove(file);
            }
        }
        self.is_done = true;
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.of.state);
        state.working -= 1;
        if !self.is_done {
            self.of.has_failed.send_replace(true);
        }
        self.of.changed.notify_all();
    }
}

/// The files, each once, and their bytes.
fn sizes(files: &[Download]) -> BTreeMap<Digest, u64> {
    let sized = |it: &Download| Some((it.digest?, it.size.unwrap_or(0)));
    files.iter().filter_map(sized).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;
    use crate::build::in_parallel;
    use crate::store::Use;

    fn file(name: &str, size: u64) -> Download {
        Download::known("", Digest::of(name.as_bytes()), size, name)
    }

    #[test]
    fn those_that_share_files_are_neighbours() {
        let files = |names: &str| names.chars().map(|it| file(&it.to_string(), 1)).collect();
        let tasks = ["ab", "cd", "", "xb", "e", "", "dy"].map(|it| (it, files(it)));
        let ordered = neighbours(tasks.to_vec());
        let ordered: Vec<_> = ordered.into_iter().map(|it| it.0).collect();
        assert_eq!(ordered, ["ab", "xb", "cd", "dy", "", "e", ""]);
    }

    #[test]
    fn no_more_is_there_than_there_may_be() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        // Every second layer shares a file with the one before it.
        let layers: Vec<Vec<Download>> = (0..60)
            .map(|n| {
                let own = file(&format!("own{n}"), 1 + n % 10);
                vec![own, file(&format!("shared{}", n / 2), 5)]
            })
            .collect();
        let files = Files::new(layers.iter().map(|it| &it[..]), 0, &store);
        assert_eq!(files.limit, 30);
        let most = AtomicU64::new(0);
        let layers: Vec<_> = layers.iter().enumerate().collect();
        in_parallel(&layers, LAYERS, |(n, own)| {
            let work = files.begin(*n, own).unwrap();
            let here: u64 = lock(&files.state).here.values().sum();
            most.fetch_max(here, Ordering::Relaxed);
            thread::sleep(std::time::Duration::from_millis(1));
            work.done();
            Ok(())
        })
        .unwrap();
        let most = most.into_inner();
        assert!(most > 15 && most <= 30, "{most}");
        let state = lock(&files.state);
        assert_eq!((state.here.len(), state.working), (0, 0));
    }

    #[test]
    fn a_file_goes_with_the_last_layer_and_stays_where_one_fails() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        let mut blob = store.new_blob(Use::Wheels).unwrap();
        std::io::Write::write_all(&mut blob, b"shared").unwrap();
        let (shared, size) = blob.keep().unwrap();
        let own = [file("shared", size)];
        let files = Files::new([&own[..], &own[..], &own[..]].into_iter(), 0, &store);
        files.begin(0, &own).unwrap().done();
        files.begin(1, &own).unwrap().done();
        assert!(store.has_blob(&shared));
        // It is looked at for what made the layer fail.
        drop(files.begin(2, &own).unwrap());
        assert!(store.has_blob(&shared) && files.begin(3, &own).is_none());
        let files = Files::new([&own[..]].into_iter(), 0, &store);
        files.begin(0, &own).unwrap().done();
        assert!(!store.has_blob(&shared));
    }

    #[test]
    fn those_that_wait_learn_of_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        let [large, other] = &[[file("large", 9)], [file("other", 10)]];
        let files = &Files::new([&large[..], &other[..]].into_iter(), 0, &store);
        let room = files.begin(0, &[file("filler", 11)]).unwrap();
        let work = files.begin(1, large).unwrap();
        thread::scope(|scope| {
            let waiting = [2, 3].map(|n| scope.spawn(move || files.begin(n, other).is_none()));
            drop(work);
            assert!(waiting.into_iter().all(|it| it.join().unwrap()));
        });
        drop(room);
    }
}
