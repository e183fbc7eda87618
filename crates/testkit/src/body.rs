//! A response's body that may end before its announced length does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// Long enough for hyper to send what it has before the connection is cut.
const FLUSH: Duration = Duration::from_millis(30);

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// After its last byte.
    Whole,
    /// With the connection.
    Reset,
    /// Not at all.
    Stall,
}

/// Bytes to send, fewer than announced where it ends early.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Bytes,
    announced: u64,
    sent: u64,
    end: End,
    flush: Option<Pin<Box<Sleep>>>,
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::new(Bytes::new())
    }

    pub(crate) fn new(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self {
            bytes,
            announced: length,
            sent: length,
            end: End::Whole,
            flush: None,
        }
    }

    /// Sends only the first `length` bytes, and then ends as `end` says.
    pub(crate) fn end_early(&mut self, length: usize, end: End) {
        self.bytes.truncate(length);
        self.sent = self.bytes.len() as u64;
        self.end = end;
    }

    /// What `Content-Length` says.
    pub(crate) fn announced(&self) -> u64 {
        self.announced
    }

    /// Bytes that are sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.bytes.is_empty() {
            let chunk = self.bytes.len().min(64 * 1024);
            return Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(chunk)))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Stall => Poll::Pending,
            End::Reset => {
                let flush = self.flush.get_or_insert_with(|| Box::pin(sleep(FLUSH)));
                let cut = || io::Error::from(io::ErrorKind::ConnectionReset);
                flush.as_mut().poll(context).map(|()| Some(Err(cut())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == End::Whole && self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Whole => SizeHint::with_exact(self.bytes.len() as u64),
            End::Reset | End::Stall => SizeHint::default(),
        }
    }
}
