//! Sdists: what a resolver has to know of one, and its wheel as a lock has it.

use std::path::PathBuf;
use std::str::FromStr;

use oci::Digest;
use resolve::{Describe, DescribeError, Pinned, Sdist};
use serde_json::json;
use tempfile::TempDir;
use uv_normalize::PackageName;
use uv_pep440::Version;
use wheel::{Limits, Member, Wheel};

use super::prepared::{blocking, unfit, wheel_filename};
use super::{Builder, Origin, Place};
use crate::built::Record;
use crate::diagnostics::Failure;
use crate::fetch::{Download, IfGone};
use crate::lock::{Hex, LockedSdist, LockedWheel};

impl Builder {
    /// Tells a resolver what sdists require.
    pub(crate) fn describe(&self) -> Describe {
        let builder = self.clone();
        Describe::new(move |sdist| {
            let builder = builder.clone();
            Box::pin(async move { builder.metadata(&sdist).await.map_err(boxed) })
        })
    }

    /// The METADATA of the wheel that `sdist` gives: its PKG-INFO where that must be the same, else what
    /// its backend says.
    async fn metadata(&self, sdist: &Sdist) -> anyhow::Result<String> {
        let (origin, _) = self.origin(sdist).await?;
        let _turn = self.shared.turn.lock().await;
        let key = Digest::of(&oci::json::canonical(&json!({ "metadata": origin.digest })));
        if let Some(text) = self.store().built(&key) {
            return Ok(String::from_utf8(text)?);
        }
        let (sources, directory) = self.unpack(&origin).await?;
        let text = match backend::static_metadata(&directory) {
            Some(text) => text,
            None => {
                self.metadata_of_backend(&origin, sources, directory)
                    .await?
            }
        };
        backend::check_identity(&text, &origin.what, &origin.name, origin.version.as_ref())?;
        self.store().put_built(&key, text.as_bytes())?;
        Ok(text)
    }

    /// The same, where PKG-INFO does not say. It is this task's turn.
    async fn metadata_of_backend(
        &self,
        origin: &Origin,
        sources: TempDir,
        directory: PathBuf,
    ) -> anyhow::Result<String> {
        let python = self.python(&origin.what).await?;
        let pins = self.pins().get(&origin.digest).cloned();
        let pins = pins.filter(|pins| unfit(pins, &python).is_none());
        let prepared = self
            .prepare(origin, sources, directory, &python, pins)
            .await?;
        let (prepared, text) = blocking(move || {
            let text = prepared.sources().metadata()?;
            Ok((prepared, text))
        })
        .await?;
        if let Some(text) = text {
            return Ok(text);
        }
        let record = self.build(origin, prepared, &python).await?;
        let source = self.store().source(&record.sha256.0, &record.filename)?;
        let filename = wheel_filename(&record.filename, &origin.what)?;
        let wheel = Wheel::open(source, &filename, &Limits::default())?;
        let archive = wheel.archive();
        let is_it = |it: &&Member| {
            let directory = it.name.strip_suffix("/METADATA").unwrap_or_default();
            directory.ends_with(".dist-info") && !directory.contains('/')
        };
        let member = archive.members().iter().find(is_it);
        let bytes = member.map(|member| archive.read(member)).transpose()?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    }

    /// The wheel of an sdist that was chosen, for the lock.
    pub(crate) async fn locked(&self, pinned: Pinned) -> anyhow::Result<(LockedWheel, Record)> {
        let sdist = Sdist {
            name: pinned.name.clone(),
            version: Some(pinned.version.clone()),
            filename: pinned.filename.clone(),
            url: pinned.url.clone(),
            sha256: pinned.sha256.clone(),
            size: pinned.size,
        };
        let (origin, size) = self.origin(&sdist).await?;
        let (record, requires) = self.wheel(&origin, None).await?;
        let wheel = LockedWheel {
            name: pinned.name,
            version: wheel_filename(&record.filename, &origin.what)?
                .version
                .to_string(),
            filename: record.filename.clone(),
            url: String::new(),
            sha256: record.sha256,
            size: record.size,
            requested: pinned.requested,
            sdist: Some(LockedSdist {
                filename: pinned.filename,
                url: pinned.url,
                sha256: Hex(origin.digest),
                size,
                requires,
            }),
        };
        Ok((wheel, record))
    }

    /// Has each of `wheels` that is built in the store, if it cannot be taken from anywhere.
    pub(crate) async fn have(&self, wheels: &[&LockedWheel]) -> anyhow::Result<()> {
        for wheel in wheels {
            if let Some(sdist) = &wheel.sdist
                && !self.shared.fetcher.has(&wheel.sha256.0)
            {
                self.rebuild(wheel, sdist).await?;
            }
        }
        Ok(())
    }

    /// Builds a wheel as the lock says.
    async fn rebuild(&self, wheel: &LockedWheel, locked: &LockedSdist) -> anyhow::Result<()> {
        let sdist = Sdist {
            name: wheel.name.clone(),
            version: Some(wheel.version.clone()),
            filename: locked.filename.clone(),
            url: locked.url.clone(),
            sha256: Some(locked.sha256.0.hex()),
            size: Some(locked.size),
        };
        let (origin, _) = self.origin(&sdist).await?;
        let (record, _) = self.wheel(&origin, Some(&locked.requires)).await?;
        if record.sha256 == wheel.sha256 {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} gives another {} than the one that the lock has",
            origin.what, wheel.filename
        ))
        .hint("what it is built with differs from where the lock was written (a compiler, the Python): carry that wheel here with `oxcart vendor`, or run `oxcart lock`")
        .caused_by(anyhow::anyhow!(
            "{} has sha256 {}, expected {}",
            record.filename,
            record.sha256.0.hex(),
            wheel.sha256.0.hex()
        ))
        .into())
    }

    /// The sdist, fetched, as what is to be built; and its size.
    async fn origin(&self, sdist: &Sdist) -> anyhow::Result<(Origin, u64)> {
        if !backend::is_archive(&sdist.filename) {
            return Err(backend::Error::Unpack {
                archive: sdist.filename.clone(),
                fault: backend::UnpackFault::Format,
            }
            .into());
        }
        let digest = sdist.sha256.as_deref().map(Digest::from_hex).transpose()?;
        let download = Download {
            url: sdist.url.clone(),
            digest,
            size: sdist.size,
            name: sdist.filename.clone(),
            if_gone: IfGone::Fail,
        };
        let fetched = self.shared.fetcher.all_async(&[download]).await?;
        let [digest] = fetched[..] else {
            anyhow::bail!("{} was fetched, and has no digest", sdist.filename);
        };
        let size = self.store().source(&digest, &sdist.filename)?.size();
        let version = sdist.version.as_deref().filter(|it| !it.is_empty());
        let version = version.map(Version::from_str).transpose()?;
        let origin = Origin {
            what: sdist.filename.clone(),
            name: PackageName::from_str(&sdist.name)?,
            version,
            digest,
            place: Place::Archive,
        };
        Ok((origin, size))
    }
}

/// An error for a resolver, which keeps what can be done about it.
fn boxed(error: anyhow::Error) -> DescribeError {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return Box::new(failure),
        Err(error) => error,
    };
    match error.downcast::<backend::Error>() {
        Ok(error) => Box::new(error),
        Err(error) => error.into(),
    }
}
