//! Downloads: several at a time, checked against their sha256 before they get a name, resumed where
//! they broke off, tried again where trying again can help.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use oci::{Digest, HashingWriter};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use resolve::Inputs;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;
use url::Url;

use crate::clock;
use crate::credentials::Credentials;
use crate::diagnostics::{Failure, IoContext};
use crate::mutex::lock;
use crate::netrc::Netrc;
use crate::progress::Progress;
use crate::project::Project;
use crate::store::{Held, Store, Use};
use crate::vendor::{self, Vendored};

/// How long a server may say nothing, in seconds, where `OXCART_HTTP_TIMEOUT` does not say otherwise.
const PATIENCE: u64 = 30;
/// Downloads at a time.
const PARALLEL: usize = 8;
/// Tries of one request.
const TRIES: u32 = 5;
/// Largest document that is read into memory: a signed release file is well below it.
const DOCUMENT_LIMIT: usize = 16 << 20;

/// A file to have in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Download {
    /// `http`, `https` or `file`.
    pub(crate) url: String,
    /// None only while locking, for an index that gives no hashes.
    pub(crate) digest: Option<Digest>,
    /// Bytes, where known: for the bar.
    pub(crate) size: Option<u64>,
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) if_gone: IfGone,
}

/// What tells it from others: its digest and its address.
type Wanted = (Option<Digest>, String);

/// What becomes of a download that its server does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IfGone {
    /// The failure says so.
    #[default]
    Fail,
    /// It is looked for at this URL.
    Try(String),
    /// The failure says this.
    Say { what: String, hint: String },
}

impl Download {
    /// A file of which everything is known.
    pub(crate) fn known(url: &str, digest: Digest, size: u64, name: &str) -> Self {
        Self {
            url: url.to_owned(),
            digest: Some(digest),
            size: Some(size),
            name: name.to_owned(),
            if_gone: IfGone::Fail,
        }
    }

    /// The file on this machine that it is, where it is one.
    pub(crate) fn local(&self) -> Option<PathBuf> {
        let url = Url::parse(&self.url).ok()?;
        (url.scheme() == "file")
            .then(|| url.to_file_path().ok())
            .flatten()
    }
}

/// Fetches into one store.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    runtime: Arc<Runtime>,
    /// Made for the first request: it reads the system's certificates, of which there are hundreds.
    client: Arc<OnceLock<Client>>,
    patience: Duration,
    store: Store,
    progress: Progress,
    credentials: Credentials,
    downloaded: Arc<AtomicU64>,
    /// Whose turn it is to download: [`PARALLEL`], whoever wants something.
    turns: Arc<Semaphore>,
    origin: Origin,
}

/// Where files come from that the store lacks.
#[derive(Debug, Clone)]
enum Origin {
    Network,
    /// From a vendored layout, where there is one, and never from the network.
    Offline(Option<Vendored>),
}

impl Fetcher {
    /// Fetches for `project`: with the credentials of its indexes.
    pub(crate) fn new(
        project: &Project,
        store: &Store,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let patience = patience()?;
        let runtime = Runtime::new()
            .map_err(|error| Failure::new("no threads for the network").caused_by(error))?;
        let credentials = runtime
            .block_on(credentials(project))
            .with_netrc(Netrc::of_environment(progress));
        Ok(Self {
            runtime: Arc::new(runtime),
            client: Arc::default(),
            patience,
            store: store.clone(),
            progress: progress.clone(),
            credentials,
            downloaded: Arc::default(),
            turns: Arc::new(Semaphore::new(PARALLEL)),
            origin: Origin::Network,
        })
    }

    /// The same without the network: what the store lacks comes from `vendored`.
    pub(crate) fn offline(self, vendored: Option<Vendored>) -> Self {
        Self {
            origin: Origin::Offline(vendored),
            ..self
        }
    }

    /// Whether it uses no network.
    pub(crate) fn is_offline(&self) -> bool {
        matches!(self.origin, Origin::Offline(_))
    }

    /// Whether the blob needs no network: the store has it, or what is vendored.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        let vendored = match &self.origin {
            Origin::Offline(vendored) => vendored.as_ref(),
            Origin::Network => None,
        };
        self.store.has_blob(digest) || vendored.is_some_and(|it| it.has(digest))
    }

    /// Every request begins here.
    fn request(&self, method: Method, url: &str) -> Result<RequestBuilder, Failure> {
        match self.origin {
            Origin::Network => Ok(self
                .credentials
                .authorise(url, self.client()?.request(method, url))),
            Origin::Offline(_) => Err(vendor::forbidden(&without_secrets(url))),
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .user_agent(concat!("oxcart/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(self.patience)
            .build()
            .map_err(|error| Failure::new("the HTTP client cannot start").caused_by(error))?;
        // Of two that made one, the first one's is kept.
        Ok(self.client.get_or_init(|| client))
    }

    fn get(&self, url: &str) -> Result<RequestBuilder, Trouble> {
        self.request(Method::GET, url).map_err(Trouble::Final)
    }

    /// How long a server may say nothing.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Bytes of bodies received so far.
    pub(crate) fn downloaded(&self) -> u64 {
        self.downloaded.load(Ordering::Relaxed)
    }

    /// The store that it fetches into.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Waits for `future`, on this fetcher's threads.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Begins `future` on this fetcher's threads.
    pub(crate) fn start<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// [`Fetcher::all_async`], waited for.
    pub(crate) fn all(&self, downloads: &[Download]) -> Result<Vec<Digest>, Failure> {
        self.wait(self.all_async(downloads))
    }

    /// Has every one of `downloads` in the store afterwards; returns the digest of each.
    pub(crate) async fn all_async(&self, downloads: &[Download]) -> Result<Vec<Digest>, Failure> {
        if let Origin::Offline(vendored) = &self.origin {
            let wanted = self.missing(downloads).into_values().collect();
            vendor::import(wanted, vendored.as_ref(), &self.store, &self.progress).await?;
            return Ok(downloads.iter().filter_map(|it| it.digest).collect());
        }
        let fetching = self.fetching(downloads);
        let fetched = fetching.have(downloads).await?;
        fetching.done();
        Ok(downloads
            .iter()
            .filter_map(|it| {
                it.digest
                    .or_else(|| fetched.get(&(it.digest, it.url.clone())).copied())
            })
            .collect())
    }

    /// Begins to fetch `downloads`, some at a time, from the network.
    pub(crate) fn fetching(&self, downloads: &[Download]) -> Fetching<'_> {
        let missing = self.missing(downloads);
        let total = missing.values().filter_map(|it| it.size).sum();
        Fetching {
            fetcher: self,
            bar: self.progress.bytes("Fetching", total),
            before: self.downloaded(),
            files: Mutex::default(),
        }
    }

    /// Those of `downloads` that the store lacks: one thing wanted by two platforms is fetched once.
    fn missing(&self, downloads: &[Download]) -> BTreeMap<Wanted, Download> {
        let mut missing = BTreeMap::new();
        for download in downloads {
            missing
                .entry((download.digest, download.url.clone()))
                .or_insert_with(|| download.clone());
        }
        missing.retain(|(digest, _), _| digest.is_none_or(|digest| !self.store.has_blob(&digest)));
        missing
    }

    /// A small document that changes under its address.
    pub(crate) async fn document(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let mut attempt = 1;
        loop {
            match self.document_once(url).await {
                Ok(bytes) => return Ok(bytes),
                Err(trouble) => trouble.wait_or_fail(url, &mut attempt).await?,
            }
        }
    }

    /// The size in bytes of what is at `url`, where the server tells without sending it.
    pub(crate) async fn size(&self, url: &str) -> Option<u64> {
        let response = self
            .request(Method::HEAD, url)
            .ok()?
            .send()
            .await
            .ok()?
            .error_for_status()
            .ok()?;
        response
            .headers()
            .get(CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    async fn document_once(&self, url: &str) -> Result<Vec<u8>, Trouble> {
        let mut response = accepted(self.get(url)?.send().await?)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            self.downloaded
                .fetch_add(chunk.len() as u64, Ordering::Relaxed);
            bytes.extend_from_slice(&chunk);
            if bytes.len() > DOCUMENT_LIMIT {
                return Err(Trouble::Final(Failure::new(format!(
                    "{url} is over {DOCUMENT_LIMIT} bytes"
                ))));
            }
        }
        Ok(bytes)
    }

    async fn one(&self, download: &Download, bar: &ProgressBar) -> Result<Digest, Failure> {
        if let Some(path) = download.local() {
            return self.copy(download, &path);
        }
        let name = download
            .digest
            .unwrap_or_else(|| Digest::of(download.url.as_bytes()));
        let path = self.store.partial(&name);
        let file = claim(&path).await?;
        // Another build may have fetched it while this one waited for the claim.
        if let Some(digest) = download.digest.filter(|digest| self.store.has_blob(digest)) {
            let _ = std::fs::remove_file(&path);
            return Ok(digest);
        }
        let held = self.store.disk().hold(Use::of_download(&download.name), 0);
        let mut partial = Partial::resume(file, &path, download.digest.is_some(), held)?;
        bar.inc(partial.length);
        let mut attempt = 1;
        let mut url = &download.url;
        loop {
            match self.append(url, &mut partial, bar).await {
                Ok(()) => {}
                Err(Trouble::Gone(failure)) => match &download.if_gone {
                    IfGone::Try(other) if other != url => {
                        url = other;
                        continue;
                    }
                    IfGone::Say { what, hint } => {
                        let failure = failure.without_hint();
                        return Err(Failure::new(what).hint(hint).caused_by(failure));
                    }
                    IfGone::Try(_) | IfGone::Fail => return Err(failure),
                },
                Err(trouble) => {
                    trouble.wait_or_fail(url, &mut attempt).await?;
                    continue;
                }
            }
            let found = partial.digest();
            match download.digest {
                Some(wanted) if wanted != found => {
                    bar.inc(0u64.wrapping_sub(partial.length));
                    let resumed = partial.resumed;
                    partial.restart()?;
                    // What was resumed may have been broken before this run: once more from the start.
                    if !resumed {
                        let _ = std::fs::remove_file(&path);
                        return Err(mismatch(download, wanted, found));
                    }
                }
                _ => {
                    partial.file.sync_all().at("write", &path)?;
                    self.store.adopt(&path, &found, partial.held)?;
                    self.progress.detail(&format!("fetched {}", download.name));
                    return Ok(found);
                }
            }
        }
    }

    /// Downloads what is missing at the end of `partial`.
    async fn append(
        &self,
        url: &str,
        partial: &mut Partial<'_>,
        bar: &ProgressBar,
    ) -> Result<(), Trouble> {
        let mut request = self.get(url)?;
        if partial.length > 0 {
            request = request.header(RANGE, format!("bytes={}-", partial.length));
        }
        let response = request.send().await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && partial.length > 0 {
            // It is all here, or it is something else: the digest will tell.
            return Ok(());
        }
        let mut response = accepted(response)?;
        if partial.length > 0 && !continues(&response, partial.length) {
            bar.inc(0u64.wrapping_sub(partial.length));
            partial.restart().map_err(Trouble::Final)?;
        }
        while let Some(chunk) = response.chunk().await? {
            self.downloaded
                .fetch_add(chunk.len() as u64, Ordering::Relaxed);
            partial.write(&chunk).map_err(Trouble::Final)?;
            bar.inc(chunk.len() as u64);
        }
        Ok(())
    }

    fn copy(&self, download: &Download, path: &Path) -> Result<Digest, Failure> {
        let mut file = File::open(path).at("read", path)?;
        let mut blob = self.store.new_blob(Use::of_download(&download.name))?;
        io::copy(&mut file, &mut blob).at("copy", path)?;
        let (found, _) = blob.keep()?;
        match download.digest {
            Some(wanted) if wanted != found => Err(mismatch(download, wanted, found)),
            _ => Ok(found),
        }
    }
}

/// Downloads that one bar and one line are about.
pub(crate) struct Fetching<'a> {
    fetcher: &'a Fetcher,
    bar: ProgressBar,
    /// Bytes that were downloaded when they began.
    before: u64,
    /// What was fetched, or is now: two may want the same at once.
    files: Mutex<BTreeMap<Wanted, Arc<OnceCell<Digest>>>>,
}

impl Fetching<'_> {
    /// Has `downloads` in the store afterwards; returns the digests of those that it lacked.
    pub(crate) async fn have(
        &self,
        downloads: &[Download],
    ) -> Result<BTreeMap<Wanted, Digest>, Failure> {
        stream::iter(self.fetcher.missing(downloads))
            .map(|(key, download)| async move {
                let file = Arc::clone(self.files().entry(key.clone()).or_default());
                let fetch = async || {
                    let _turn = self.fetcher.turns.acquire().await;
                    self.fetcher.one(&download, &self.bar).await
                };
                Ok((key, *file.get_or_try_init(fetch).await?))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// Says what was fetched.
    pub(crate) fn done(self) {
        let files = self.files().len();
        if files > 0 {
            let bytes = indicatif::BinaryBytes(self.fetcher.downloaded() - self.before);
            let progress = &self.fetcher.progress;
            progress.line(&format!("fetched {files} files, {bytes}"));
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<Wanted, Arc<OnceCell<Digest>>>> {
        lock(&self.files)
    }
}

fn patience() -> Result<Duration, Failure> {
    clock::stated(
        "OXCART_HTTP_TIMEOUT",
        PATIENCE,
        "it is the number of seconds after which a silent server is given up: 30 by default",
    )
}

/// The credentials in the URLs of the configuration, then those in the files that it names.
async fn credentials(project: &Project) -> Credentials {
    let mut credentials = project.credentials();
    for (_, dependencies) in &project.platforms {
        // What cannot be read is told when it is needed.
        if let Ok(inputs) = Inputs::read(&dependencies.inputs).await {
            let urls = inputs.locations();
            credentials = credentials.and(Credentials::of(urls.iter().map(String::as_str)));
        }
    }
    credentials
}

/// Takes the file at `path` for this process: another build that wants the same waits here.
async fn claim(path: &Path) -> Result<File, Failure> {
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .at("write", path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            // The file that was locked may have been renamed away by the one who held it.
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error.into()).at("lock", path),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), path.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// A download that may have begun in an earlier run.
struct Partial<'a> {
    file: File,
    path: &'a Path,
    hasher: HashingWriter<io::Sink>,
    length: u64,
    /// Whether some of it comes from an earlier run.
    resumed: bool,
    held: Held,
}

impl<'a> Partial<'a> {
    /// Takes up what is in `file`; only with a digest to check it by is that of use.
    fn resume(
        mut file: File,
        path: &'a Path,
        checked: bool,
        mut held: Held,
    ) -> Result<Self, Failure> {
        if !checked {
            file.set_len(0).at("write", path)?;
        }
        let mut hasher = HashingWriter::new(io::sink());
        let length = io::copy(&mut file, &mut hasher).at("read", path)?;
        held.grow(length);
        Ok(Self {
            file,
            path,
            hasher,
            length,
            resumed: length > 0,
            held,
        })
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.file.set_len(0).at("write", self.path)?;
        self.file.seek(SeekFrom::Start(0)).at("write", self.path)?;
        (self.hasher, self.length, self.resumed) = (HashingWriter::new(io::sink()), 0, false);
        self.held.clear();
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.file.write_all(chunk).at("write", self.path)?;
        self.hasher.write_all(chunk).at("hash", self.path)?;
        self.length += chunk.len() as u64;
        self.held.grow(chunk.len() as u64);
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish().1
    }
}

/// Whether a response carries on from `offset`.
fn continues(response: &Response, offset: u64) -> bool {
    response.status() == StatusCode::PARTIAL_CONTENT
        && response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// Why a request came to nothing.
enum Trouble {
    /// Trying again may help, after this long where the server said so.
    Passing(anyhow::Error, Option<Duration>),
    /// The server has nothing there.
    Gone(Failure),
    Final(Failure),
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        if error.is_builder() || error.is_redirect() {
            return Self::Final(
                Failure::new("the request cannot be sent").caused_by(error.without_url()),
            );
        }
        Self::Passing(error.without_url().into(), None)
    }
}

impl Trouble {
    /// Waits before the next try; an error once there is none left.
    async fn wait_or_fail(self, url: &str, attempt: &mut u32) -> Result<(), Failure> {
        match self {
            Self::Final(failure) | Self::Gone(failure) => Err(failure),
            Self::Passing(error, _) if *attempt == TRIES => {
                Err(Failure::new(format!("cannot fetch {}", without_secrets(url)))
                    .hint("check the network and the address; what is already fetched is kept, and the next run goes on from there")
                    .caused_by(error))
            }
            Self::Passing(_, wait) => {
                tokio::time::sleep(wait.unwrap_or_else(|| backoff(*attempt))).await;
                *attempt += 1;
                Ok(())
            }
        }
    }
}

/// A quarter of a second, doubled with every try, give or take a half: clients that failed together
/// should not come back together.
fn backoff(attempt: u32) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let base = 250u64 << attempt.min(6);
    let jitter = RandomState::new().hash_one(attempt) % base;
    Duration::from_millis(base / 2 + jitter)
}

/// A response that has the body asked for.
fn accepted(response: Response) -> Result<Response, Trouble> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let what = anyhow::anyhow!("the server answers {status}");
    let passing = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        );
    if passing {
        let wait = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        return Err(Trouble::Passing(
            what,
            wait.map(|seconds: u64| Duration::from_secs(seconds.min(60))),
        ));
    }
    let failure = Failure::new(format!(
        "cannot fetch {}",
        without_secrets(response.url().as_str())
    ));
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        let hint = "the server no longer has it: `oxcart lock` looks for what it has now";
        return Err(Trouble::Gone(failure.hint(hint).caused_by(what)));
    }
    Err(Trouble::Final(failure.caused_by(what)))
}

fn mismatch(download: &Download, wanted: Digest, found: Digest) -> Failure {
    Failure::new(format!("{} does not have its sha256", download.name))
        .hint(
            "the file was changed at its source or on the way: find out which before you accept it",
        )
        .caused_by(anyhow::anyhow!(
            "{} gives {found}, expected {wanted}",
            without_secrets(&download.url)
        ))
}

/// `url` as it may be shown: without user and password.
pub(crate) fn without_secrets(url: &str) -> String {
    Url::parse(url).map_or_else(
        |_| url.to_owned(),
        |mut url| {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.into()
        },
    )
}
