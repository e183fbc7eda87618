//! What the tests share: a client that tells all, blobs, and images.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci::Digest;
use registry::{
    Client, Content, Credentials, Error, Observer, Options, Pushed, Repository, Retry, Timeouts,
    Upload,
};
use testkit::Registry;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "pa55-w0rd-s3cret";

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) warnings: Mutex<Vec<String>>,
    pub(crate) details: Mutex<Vec<String>>,
}

impl Observer for Told {
    fn warning(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_owned());
    }

    fn detail(&self, text: &str) {
        self.details.lock().unwrap().push(text.to_owned());
    }
}

impl Told {
    pub(crate) fn all(&self) -> String {
        let mut all = self.details.lock().unwrap().clone();
        all.extend(self.warnings.lock().unwrap().clone());
        all.join("\n")
    }
}

pub(crate) fn options(credentials: Credentials, told: &Arc<Told>) -> Options {
    Options {
        credentials,
        retry: Retry {
            tries: 5,
            first_delay: Duration::from_millis(5),
            longest_delay: Duration::from_millis(50),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            read: Duration::from_millis(500),
        },
        observer: told.clone(),
        ..Options::default()
    }
}

pub(crate) fn client(credentials: Credentials) -> (Client, Arc<Told>) {
    let told = Arc::new(Told::default());
    (Client::new(options(credentials, &told)).unwrap(), told)
}

/// A client that knows the user of `registry`.
pub(crate) fn known(registry: &Registry) -> (Client, Arc<Told>) {
    client(Credentials::fixed(&registry.host(), USER, PASSWORD))
}

pub(crate) fn open(client: &Client, registry: &Registry, name: &str) -> Repository {
    client.repository(&registry.reference(name).parse().unwrap())
}

/// Bytes that no other seed has.
pub(crate) fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn upload<'a>(bytes: &[u8], mount_from: &'a [String]) -> Upload<'a> {
    let written = bytes.to_vec();
    Upload {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        mount_from,
        is_new: false,
        content: Content::Written(Arc::new(move |out| Ok(out.write_all(&written)?))),
    }
}

pub(crate) async fn push(repository: &Repository, bytes: &[u8]) -> Result<Pushed, Error> {
    repository.push_blob(&upload(bytes, &[])).await
}

/// A manifest of these blobs, the first of which is the configuration.
pub(crate) fn manifest(blobs: &[Vec<u8>], more: &str) -> Vec<u8> {
    let descriptor = |media_type: &str, bytes: &Vec<u8>| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{media_type}","digest":"{}","size":{}}}"#,
            Digest::of(bytes),
            bytes.len()
        )
    };
    let layers: Vec<_> = blobs[1..]
        .iter()
        .map(|bytes| descriptor("layer.v1.tar+gzip", bytes))
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]{more}}}"#,
        descriptor("config.v1+json", &blobs[0]),
        layers.join(",")
    )
    .into_bytes()
}

/// Pushes an image as a build does: blobs four at a time, then the manifest.
pub(crate) async fn push_image(
    repository: &Repository,
    blobs: &[Vec<u8>],
    tag: &str,
) -> Result<Vec<Pushed>, Error> {
    use futures::{StreamExt as _, TryStreamExt as _};
    let pushed: Vec<_> = futures::stream::iter(blobs)
        .map(|blob| push(repository, blob))
        .buffered(4)
        .try_collect()
        .await?;
    repository
        .push_manifest(tag, MANIFEST, &manifest(blobs, ""))
        .await?;
    Ok(pushed)
}

/// An error with its causes, and its hint, without the parts that change from run to run.
pub(crate) fn shown(error: &Error, registry: &Registry) -> String {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, "\ncaused by: {cause_text}");
        }
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        let _ = write!(text, "\nhint: {hint}");
    }
    text.replace(&registry.foreign_host(), "FOREIGN")
        .replace(&registry.host(), "REGISTRY")
}

/// The client kept to the specification, and told no secret.
pub(crate) fn finish(registry: &Registry, told: &Told, error: Option<&Error>) {
    registry.assert_conformant();
    let text = format!(
        "{}\n{error:?}\n{}",
        told.all(),
        error.map_or(String::new(), ToString::to_string)
    );
    for secret in registry
        .secrets()
        .iter()
        .map(String::as_str)
        .chain([PASSWORD])
    {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
