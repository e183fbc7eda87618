//! How long to wait before another try: what the registry says (`Retry-After`, RFC 9110 section
//! 10.2.3, or GHCR's words in the body of a 429), else ever longer.

use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::Retry;
use crate::header::text;

/// No registry makes us wait longer.
const LONGEST: Duration = Duration::from_mins(5);

impl Retry {
    /// The delay behind try number `attempt`, from 1: `first_delay`, doubled with every further try,
    /// give or take a half. Clients that failed together should not come back together.
    pub(crate) fn delay(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        use std::hash::{BuildHasher, RandomState};
        let doubled = self
            .first_delay
            .saturating_mul(1 << attempt.saturating_sub(1).min(16))
            .min(self.longest_delay);
        let random = RandomState::new().hash_one(attempt) as u32;
        let jittered = doubled / 2 + doubled.mul_f64(f64::from(random) / f64::from(u32::MAX));
        jittered.max(asked.unwrap_or_default().min(LONGEST))
    }
}

/// Counts tries, and waits between them.
pub(crate) struct Tries {
    retry: Retry,
    done: u32,
    /// Failures after which the registry said when to come back.
    told: u32,
}

impl Tries {
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            retry,
            done: 1,
            told: 0,
        }
    }

    /// Waits for the next try; false where there is none left. A registry that says how long to
    /// wait gets twice as many.
    pub(crate) async fn again(&mut self, asked: Option<Duration>) -> bool {
        let left = if asked.is_some() {
            self.told += 1;
            self.told < self.retry.tries.saturating_mul(2)
        } else {
            self.done += 1;
            self.done <= self.retry.tries
        };
        if left {
            tokio::time::sleep(self.retry.delay(self.done + self.told - 1, asked)).await;
        }
        left
    }

    /// Something moved: count anew.
    pub(crate) fn progress(&mut self) {
        (self.done, self.told) = (1, 0);
    }
}

/// The delay that an answer asks for, in its headers or its body.
pub(crate) fn asked_delay(headers: &HeaderMap, body: &str) -> Option<Duration> {
    in_header(headers).or_else(|| in_body(body))
}

fn in_header(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, "retry-after")?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // By the registry's own clock: ours may be wrong, and builds may not ask for the time.
    let now = http_date(text(headers, "date")?)?;
    Some(Duration::from_secs(http_date(value)?.saturating_sub(now)))
}

/// `retry-after: 12.5ms, allowed: 2000/minute`.
fn in_body(body: &str) -> Option<Duration> {
    let body = body.to_ascii_lowercase();
    let (_, rest) = body.split_once("retry-after:")?;
    go_duration(rest.trim_start())
}

/// A duration as Go prints it, at the start of `text`: `12.5ms`, `1m30s`. A bare number is seconds.
fn go_duration(mut text: &str) -> Option<Duration> {
    let mut total = None;
    loop {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let Ok(number) = number.parse::<f64>() else {
            return total;
        };
        let end = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return total,
        };
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = Some(total.unwrap_or(Duration::ZERO).saturating_add(part));
        text = rest;
    }
}

/// Seconds since 1970 of an HTTP date in the one form that may still be sent (RFC 9110, section
/// 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (_, date) = text.trim().split_once(", ")?;
    let mut parts = date.split_ascii_whitespace();
    let day: u64 = parts.next()?.parse().ok()?;
    let month = MONTHS.find(parts.next().filter(|name| name.len() == 3)?)? as u64;
    let (month, inside) = (month / 3, month % 3);
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.splitn(3, ':').map(str::parse::<u64>);
    let (hour, minute, second) = (
        clock.next()?.ok()?,
        clock.next()?.ok()?,
        clock.next()?.ok()?,
    );
    let sane = inside == 0
        && (1970..10_000).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !sane || parts.next() != Some("GMT") {
        return None;
    }
    // Days from 1 March of year 0 in the Gregorian calendar, so that leap days end years.
    let (y, m) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn check(headers: &[(&'static str, &'static str)], body: &str, expected: Option<f64>) {
        let map = headers
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let found = asked_delay(&map, body).map(|delay| delay.as_secs_f64());
        assert_eq!(found, expected, "{headers:?} {body}");
    }

    #[test]
    fn in_seconds_and_as_a_date() {
        check(&[("retry-after", "7")], "", Some(7.0));
        check(
            &[
                ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("date", "Sun, 06 Nov 1994 08:49:07 GMT"),
            ],
            "",
            Some(30.0),
        );
        check(
            &[
                ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("date", "Sun, 06 Nov 1994 08:50:07 GMT"),
            ],
            "",
            Some(0.0),
        );
        check(&[("retry-after", "soon")], "", None);
        check(&[], "", None);
    }

    #[test]
    fn in_the_body() {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 12.5ms, allowed: 2000/minute"}]}"#;
        check(&[], body, Some(0.0125));
        check(&[], "Retry-After: 1m30s", Some(90.0));
        check(&[], "retry-after: 3", Some(3.0));
        check(&[], "retry-after: 5 apples", Some(5.0));
        check(&[], "retry-after: 5parsecs", None);
        check(&[], "retry-after: 1e400s", None);
    }

    #[test]
    fn dates() {
        let date = |text| http_date(text);
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(date("Sunday, 06-Nov-94 08:49:37 GMT"), None);
        assert_eq!(date("Sun, 06 anF 1994 08:49:37 GMT"), None);
    }

    #[test]
    fn tries_come_later_and_later() {
        let retry = Retry::default();
        for (attempt, low, high) in [(1, 125, 375), (2, 250, 750), (40, 15_000, 45_000)] {
            let delay = retry.delay(attempt, None).as_millis();
            assert!((low..=high).contains(&delay), "{attempt}: {delay} ms");
        }
        assert_eq!(
            retry.delay(1, Some(Duration::from_secs(7))),
            Duration::from_secs(7)
        );
        assert_eq!(retry.delay(1, Some(Duration::MAX)), LONGEST);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = (http_date(&text), go_duration(&text), in_body(&format!("retry-after:{text}")));
        }
    }
}
