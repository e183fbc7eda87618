//! Answers, and what those that mean failure say (distribution-spec, "Error Codes").

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::delay::asked_delay;
use crate::header::readable;

/// Bytes of a failure's body that are read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// What came back for a request.
pub(crate) enum Answer {
    /// 2xx; the body is still to come.
    Success(Success),
    /// Everything else.
    Refusal(Refusal),
}

/// An answer with what was asked for.
pub(crate) struct Success {
    pub(crate) response: Response,
    /// The host that answered.
    pub(crate) server: String,
}

/// An answer without it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The host that answered.
    pub(crate) server: String,
    /// Not the registry itself, but where it sent us.
    pub(crate) foreign: bool,
    /// The registry's own words, for people.
    pub(crate) said: String,
    /// The codes of the distribution-spec.
    codes: Vec<String>,
    body: String,
}

impl Refusal {
    /// Reads what `response` has to say.
    pub(crate) async fn read(mut response: Response, server: String, foreign: bool) -> Self {
        let mut body = Vec::new();
        while body.len() < LONGEST_REFUSAL {
            // What is lost with a broken connection is only the explanation.
            let Ok(Some(chunk)) = response.chunk().await else {
                break;
            };
            body.extend_from_slice(&chunk);
        }
        let headers = response.headers().clone();
        let body = String::from_utf8_lossy(&body).into_owned();
        let is_text = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_none_or(|value| !value.contains("html"));
        let (codes, said) = parse(&body);
        Self {
            status: response.status(),
            said: match said {
                Some(said) => said,
                None if is_text => readable(&body, 200),
                None => String::new(),
            },
            codes,
            headers,
            server,
            foreign,
            body,
        }
    }

    /// Whether it has this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|it| it == code)
    }

    /// Whether another try is of use.
    pub(crate) fn is_passing(&self) -> bool {
        match self.status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
            // GHCR's way to say 429 to those who wrote too much in a while.
            StatusCode::FORBIDDEN => self
                .body
                .to_ascii_lowercase()
                .contains("secondary rate limit"),
            status => status.is_server_error(),
        }
    }

    /// How long it wants us to wait.
    pub(crate) fn delay(&self) -> Option<Duration> {
        asked_delay(&self.headers, &self.body)
    }

    /// Whether it speaks of who we are or what we may do.
    pub(crate) fn is_about_permission(&self) -> bool {
        matches!(
            self.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        )
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    errors: Vec<Entry>,
    // Token servers: OAuth2's fields, and Docker Hub's.
    error: Option<serde_json::Value>,
    error_description: Option<String>,
    details: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    code: serde_json::Value,
    message: Option<String>,
}

/// The codes of a failure's body, and its texts if it is JSON.
fn parse(body: &str) -> (Vec<String>, Option<String>) {
    let Ok(body) = serde_json::from_str::<Body>(body) else {
        return (Vec::new(), None);
    };
    let mut codes = Vec::new();
    let mut texts = Vec::new();
    for entry in body.errors {
        let code = entry.code.as_str().unwrap_or_default().to_owned();
        let message = entry.message.unwrap_or_default();
        texts.push(match (&*code, &*message) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}, {message}"),
        });
        codes.push(code);
    }
    let error = body
        .error
        .and_then(|error| error.as_str().map(str::to_owned));
    texts.extend(
        [error, body.error_description, body.details, body.message]
            .into_iter()
            .flatten(),
    );
    texts.retain(|text| !text.is_empty());
    (codes, Some(readable(&texts.join("; "), 300)))
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(body: &str, codes: &[&str], said: Option<&str>) {
        let (found, text) = parse(body);
        assert_eq!(
            (found.as_slice(), text.as_deref()),
            (
                &*codes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>(),
                said
            ),
            "{body}"
        );
    }

    #[test]
    fn words() {
        check(
            r#"{"errors":[{"code":"DENIED","message":"requested access\nis denied","detail":[{"Type":"repository"}]},{"code":"X"}]}"#,
            &["DENIED", "X"],
            Some("DENIED, requested access is denied; X"),
        );
        check(
            r#"{"error":"invalid_grant","error_description":"expired"}"#,
            &[],
            Some("invalid_grant; expired"),
        );
        check(
            r#"{"details":"incorrect username or password"}"#,
            &[],
            Some("incorrect username or password"),
        );
        check("bad gateway", &[], None);
        check("[1]", &[], None);
    }
}
