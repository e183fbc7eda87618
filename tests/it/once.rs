//! Directories that are slow to make and that several tests read: made once a run.
//!
//! Every test may be a process of its own (nextest) or a thread (libtest); a file lock serves both.
//! A directory is made anew for each run, in the place of the last run's, so disks do not fill.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A directory that nobody changes while this is held.
#[derive(Debug)]
pub(crate) struct Once {
    path: PathBuf,
    /// Holds the shared lock.
    _lock: File,
}

impl Once {
    /// The directory called `name`, made by `make` where this run has not done so.
    pub(crate) fn get(name: &str, make: impl Fn(&Path)) -> Self {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = all.join(name);
        let stamp = all.join(format!("{name}.run"));
        let lock = File::create(all.join(format!("{name}.lock"))).expect("lock file");
        let done = || fs::read_to_string(&stamp).is_ok_and(|text| text == run());
        loop {
            flock(&lock, FlockOperation::LockShared).expect("lock");
            if done() {
                return Self { path, _lock: lock };
            }
            flock(&lock, FlockOperation::LockExclusive).expect("lock");
            if !done() {
                let _ = fs::remove_file(&stamp);
                if path.exists() {
                    fs::remove_dir_all(&path).expect("remove what the last run made");
                }
                fs::create_dir(&path).expect("directory");
                make(&path);
                fs::write(&stamp, run()).expect("stamp");
            }
        }
    }

    /// Where the directory is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// What tells this run of the tests from others.
fn run() -> String {
    std::env::var("OXCART_TEST_RUN")
        .or_else(|_| std::env::var("NEXTEST_RUN_ID"))
        .unwrap_or_else(|_| format!("process {}", std::process::id()))
}

#[test]
fn is_made_once() {
    let count = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let once = Once::get("once-test", |path| {
                    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    fs::write(path.join("file"), "made").unwrap();
                });
                assert_eq!(
                    fs::read_to_string(once.path().join("file")).unwrap(),
                    "made"
                );
            });
        }
    });
    assert_eq!(count.into_inner(), 1);
}
