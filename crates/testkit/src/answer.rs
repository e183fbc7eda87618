//! Answers: what a server has at an address, and what of it a request asks for (RFC 9110, sections 13
//! and 14).

use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::body::Body;

/// What a server answers where no fault is due.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: body.into(),
        }
    }

    pub(crate) fn not_found() -> Self {
        let body = Bytes::from_static(b"not found\n");
        Self {
            status: StatusCode::NOT_FOUND,
            content_type: "text/plain",
            body,
        }
    }

    /// Puts another byte in the middle of the body, which stays as long.
    pub(crate) fn spoil(&mut self) {
        let mut bytes = self.body.to_vec();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte = !*byte;
        }
        self.body = bytes.into();
    }

    /// The response to a request with `headers`.
    pub(crate) fn response(self, headers: &HeaderMap, ranges: Ranges) -> Response<Body> {
        let Self {
            mut status,
            content_type,
            mut body,
        } = self;
        let mut response = Response::new(Body::empty());
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        // Tests change what lies at an address; a client's cache has to ask.
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if status == StatusCode::OK {
            let tag = format!("\"{}\"", &hex::encode(Sha256::digest(&body))[..32]);
            let tag = HeaderValue::from_str(&tag).expect("digits are visible");
            if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
                status = StatusCode::NOT_MODIFIED;
                body = Bytes::new();
            }
            out.insert(header::ETAG, tag);
        }
        if status == StatusCode::OK && ranges == Ranges::Served {
            out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
            let size = body.len();
            match range.map(|range| Part::of(range, size)) {
                Some(Part::Bytes(first, end)) => {
                    status = StatusCode::PARTIAL_CONTENT;
                    body = body.slice(first..end);
                    put_content_range(out, &format!("{first}-{}", end - 1), size);
                }
                Some(Part::Outside) => {
                    status = StatusCode::RANGE_NOT_SATISFIABLE;
                    body = Bytes::new();
                    put_content_range(out, "*", size);
                }
                Some(Part::Ignored) | None => {}
            }
        }
        *response.status_mut() = status;
        *response.body_mut() = Body::new(body);
        response
    }
}

/// Whether parts of files can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ranges {
    Served,
    Ignored,
}

fn put_content_range(out: &mut HeaderMap, range: &str, size: usize) {
    let value =
        HeaderValue::from_str(&format!("bytes {range}/{size}")).expect("digits are visible");
    out.insert(header::CONTENT_RANGE, value);
}

/// What a `Range` means for a file.
enum Part {
    /// First byte and end.
    Bytes(usize, usize),
    /// Nothing of the file.
    Outside,
    /// Several ranges, or another unit: the whole file is the answer.
    Ignored,
}

impl Part {
    fn of(range: &str, size: usize) -> Self {
        match Self::bounds(range, size) {
            None => Self::Ignored,
            Some((first, end)) if first < end => Self::Bytes(first, end),
            Some(_) => Self::Outside,
        }
    }

    fn bounds(range: &str, size: usize) -> Option<(usize, usize)> {
        Some(match range.strip_prefix("bytes=")?.split_once('-')? {
            ("", last) => (size.saturating_sub(last.parse().ok()?), size),
            (first, "") => (first.parse().ok()?, size),
            (first, last) => (
                first.parse().ok()?,
                size.min(last.parse::<usize>().ok()? + 1),
            ),
        })
    }
}
