//! Reads a blob: streamed, taken up where it broke off, checked against its digest and size.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use oci::{Digest, HashingWriter};
use reqwest::header::{HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use crate::answer::{Answer, Success};
use crate::delay::Tries;
use crate::header::content_range;
use crate::registry::{Ask, Redirects};
use crate::{Error, Repository};

/// The bytes of a blob. The last of them come only once size and digest are found right.
pub struct BlobReader {
    repository: Repository,
    digest: Digest,
    size: u64,
    /// Bytes given out.
    offset: u64,
    hasher: HashingWriter<io::Sink>,
    answer: Option<Success>,
    /// Bytes at the start of the answer that were given out already.
    skip: u64,
    tries: Tries,
    checked: bool,
    ended: bool,
}

impl BlobReader {
    pub(crate) async fn open(
        repository: Repository,
        digest: Digest,
        size: u64,
    ) -> Result<Self, Error> {
        let tries = Tries::new(repository.shared().options.retry);
        let mut reader = Self {
            repository,
            digest,
            size,
            offset: 0,
            hasher: HashingWriter::new(io::sink()),
            answer: None,
            skip: 0,
            tries,
            checked: false,
            ended: false,
        };
        reader.connect().await?;
        Ok(reader)
    }

    /// The next bytes; None at the end. After an error, and after None, there is nothing more.
    ///
    /// # Errors
    /// Also where size or digest are wrong: what was given out until then is not the blob.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        let next = self.next().await;
        self.ended = !matches!(next, Ok(Some(_)));
        next
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(answer) = &mut self.answer else {
                self.connect().await?;
                continue;
            };
            let shared = self.repository.shared();
            match shared.chunk(&answer.server, &mut answer.response).await {
                Ok(Some(chunk)) => {
                    if let Some(chunk) = self.take(chunk)? {
                        return Ok(Some(chunk));
                    }
                }
                Ok(None) if self.offset == self.size => {
                    // An empty blob has no last chunk to be checked with.
                    if !self.checked {
                        self.check()?;
                    }
                    return Ok(None);
                }
                // Too early.
                Ok(None) => {
                    self.answer = None;
                    if !self.tries.again(None).await {
                        return Err(self.size_is(self.offset));
                    }
                }
                Err(source) => {
                    self.answer = None;
                    if !self.tries.again(None).await {
                        return Err(Error::Network {
                            action: self.action(),
                            source,
                        });
                    }
                }
            }
        }
    }

    /// What is new in `chunk`.
    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, Error> {
        let skipped = self.skip.min(chunk.len() as u64);
        let chunk = chunk.split_off(skipped as usize);
        self.skip -= skipped;
        if chunk.is_empty() {
            return Ok(None);
        }
        let length = chunk.len() as u64;
        if length > self.size - self.offset {
            return Err(self.size_is(self.offset + length));
        }
        self.repository.shared().options.observer.received(length);
        self.hasher
            .write_all(&chunk)
            .expect("a hash takes all bytes");
        self.offset += length;
        self.tries.progress();
        if self.offset == self.size {
            self.check()?;
        }
        Ok(Some(chunk))
    }

    fn check(&mut self) -> Result<(), Error> {
        let hasher = std::mem::replace(&mut self.hasher, HashingWriter::new(io::sink()));
        let (_, found, _) = hasher.finish();
        self.checked = true;
        if found == self.digest {
            return Ok(());
        }
        Err(Error::Digest {
            what: self.what(),
            expected: self.digest,
            found,
        })
    }

    /// Asks for what is missing.
    async fn connect(&mut self) -> Result<(), Error> {
        let action = self.action();
        let digest = self.digest.to_string();
        let url = self.repository.url(&["blobs", &digest], &action).await?;
        let purpose = self.repository.to_pull(&action);
        let mut ask = Ask::new(Method::GET, url, purpose);
        ask.redirects = Redirects::All;
        if self.offset > 0 {
            let range = format!("bytes={}-", self.offset);
            if let Ok(range) = HeaderValue::from_str(&range) {
                ask.headers.insert(RANGE, range);
            }
        }
        let host = self.repository.host();
        loop {
            let refusal = match host.ask(self.repository.shared(), &ask).await? {
                Answer::Success(success) => return self.accept(success),
                Answer::Refusal(refusal) => refusal,
            };
            if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE && self.offset > 0 {
                return Err(self.size_is(self.offset));
            }
            // A signed address may have expired: the registry gives a new one.
            if !refusal.foreign || !self.tries.again(refusal.delay()).await {
                return Err(host.refused(refusal, purpose).await);
            }
        }
    }

    fn accept(&mut self, success: Success) -> Result<(), Error> {
        let response = &success.response;
        let (start, total) = if response.status() == StatusCode::PARTIAL_CONTENT {
            content_range(response.headers()).unwrap_or((self.offset, None))
        } else {
            (0, response.content_length())
        };
        if let Some(total) = total.filter(|&total| total != self.size) {
            return Err(self.size_is(total));
        }
        if start > self.offset {
            return Err(self.size_is(self.offset));
        }
        self.skip = self.offset - start;
        self.answer = Some(success);
        Ok(())
    }

    fn action(&self) -> String {
        format!("read {}", self.what())
    }

    fn what(&self) -> String {
        format!("blob {} of {}", self.digest, self.repository.name())
    }

    fn size_is(&self, found: u64) -> Error {
        Error::Size {
            what: self.what(),
            expected: self.size,
            found,
        }
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BlobReader({}, {} of {})",
            self.digest, self.offset, self.size
        )
    }
}
