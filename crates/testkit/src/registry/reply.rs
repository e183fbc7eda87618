//! Answers of a registry, errors in the distribution-spec's JSON among them.

use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::fault::RetryAfter;
use crate::body::Body;

pub(super) type Reply = Response<Body>;

pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An answer without a body.
pub(super) fn empty(status: u16) -> Reply {
    with_body(status, "", Bytes::new())
}

pub(super) fn json(media_type: &str, document: &Value) -> Reply {
    with_body(200, media_type, document.to_string().into())
}

/// `content_type` may be empty for none.
pub(super) fn with_body(status: u16, content_type: &str, body: Bytes) -> Reply {
    let mut reply = Response::new(Body::new(body));
    *reply.status_mut() = StatusCode::from_u16(status).expect("a status");
    if !content_type.is_empty() {
        reply.set(header::CONTENT_TYPE, content_type);
    }
    reply
}

/// An error of the distribution-spec, section Error Codes.
pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    let document = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
    with_body(status, "application/json", document.to_string().into())
}

/// An answer that no part of a registry knows of, as from a proxy before it.
pub(super) fn unavailable(status: u16, retry: RetryAfter) -> Reply {
    let mut reply = match (status, retry) {
        (_, RetryAfter::Body) => with_body(
            status,
            "text/plain",
            "toomanyrequests: retry-after: 12.5ms, allowed: 2000/minute\n".into(),
        ),
        (429, _) => error(status, "TOOMANYREQUESTS", "too many requests"),
        _ => error(status, "UNKNOWN", "the registry is out of order"),
    };
    match retry {
        RetryAfter::Unsaid | RetryAfter::Body => {}
        RetryAfter::Seconds(seconds) => reply.set(header::RETRY_AFTER, &seconds.to_string()),
        RetryAfter::Date(ahead) => reply.set(header::RETRY_AFTER, &http_date(ahead)),
    }
    reply
}

/// The page that a proxy shows for a status.
pub(super) fn page(status: StatusCode) -> Bytes {
    format!("<!DOCTYPE html>\n<html><title>{status}</title><h1>{status}</h1></html>\n").into()
}

pub(super) trait Headers {
    /// Sets a header to a text that was made here.
    fn set(&mut self, name: HeaderName, value: &str);
    /// The same, and gives the answer back.
    fn with(self, name: HeaderName, value: &str) -> Self;
}

impl Headers for Reply {
    fn set(&mut self, name: HeaderName, value: &str) {
        let value = HeaderValue::from_str(value).expect("a visible text");
        self.headers_mut().insert(name, value);
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.set(name, value);
        self
    }
}

/// The time in so many seconds (RFC 9110, section 5.6.7).
fn http_date(ahead: u64) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a header of a test server, and nothing that is built"
    )]
    let now = std::time::SystemTime::now();
    let seconds = now
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_secs();
    imf_fixdate(seconds + ahead)
}

fn imf_fixdate(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = oci::rfc3339(seconds).expect("a year of four digits");
    let day = DAYS[(seconds / 86_400 % 7) as usize];
    let month: usize = text[5..7].parse().expect("two digits");
    format!(
        "{day}, {} {} {} {} GMT",
        &text[8..10],
        MONTHS[month - 1],
        &text[..4],
        &text[11..19]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(imf_fixdate(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
