//! The one place that may ask what time it is, and the times that go into images instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::diagnostics::Failure;

/// Seconds since 1970, by this machine's clock. For deciding whether something is old, never for
/// anything that is built.
#[expect(clippy::disallowed_methods, reason = "this is the module that may")]
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

/// The time that project files and `created` carry: `SOURCE_DATE_EPOCH` where it is set, else the
/// time that everything shared carries. Seconds since 1970.
pub(crate) fn source_date() -> Result<u64, Failure> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(oci::SHARED_MTIME);
    };
    let text = text.to_string_lossy();
    text.parse().map_err(|_| {
        Failure::new(format!("SOURCE_DATE_EPOCH is `{text}`"))
            .hint("set it to a whole number of seconds since 1970, or unset it")
    })
}

/// The span of time that the environment variable `name` has in seconds, else `default` seconds. `hint` says what
/// it is.
pub(crate) fn stated(name: &str, default: u64, hint: &str) -> Result<Duration, Failure> {
    let Some(text) = std::env::var_os(name) else {
        return Ok(Duration::from_secs(default));
    };
    let text = text.to_string_lossy();
    match text.parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err(Failure::new(format!("{name} is `{text}`")).hint(hint)),
    }
}
