//! The engine as a whole: is it there, which version is it, what is it made of.

pub mod disk;

pub mod info;

pub mod version;

pub(crate) mod usage;

pub(crate) mod auth;

use axum::body::Body;
use http::Method;
use http::header::{CACHE_CONTROL, HeaderValue, PRAGMA};

use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

pub(crate) use info::info;
pub(crate) use version::version;

/// `SystemPing`, `SystemPingHead`: the daemon is there; the headers tell which
/// version of the API it speaks.
pub(crate) async fn ping(call: Call) -> Reply {
    let mut response = reply::text("OK");
    if call.parts.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    // The classic builder: BuildKit's protocol is not spoken here.
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    Ok(response)
}

/// The machine's name.
#[must_use]
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The machine's memory, in bytes, from `/proc/meminfo`.
#[must_use]
pub fn memory_total() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The `until` of a prune's filters.
///
/// # Errors
///
/// Invalid, if there are several, or it is no time; in Docker's words.
pub fn until_of(filters: &crate::route::Filters) -> Result<Option<jiff::Timestamp>, Error> {
    match filters.get("until") {
        [] => Ok(None),
        [one] => until(one).map(Some),
        _ => Err(Error::invalid("more than one until filter specified")),
    }
}

/// Reads the `until` of a prune: a moment, or a span before now such as `24h` or `1h30m`.
///
/// # Errors
///
/// Invalid, if it is neither.
pub fn until(text: &str) -> Result<jiff::Timestamp, Error> {
    let invalid = || Error::invalid(format!("failed to parse value as time or duration: {text:?}"));
    if let Some(span) = span(text) {
        return jiff::Timestamp::now().checked_sub(span).map_err(|_| invalid());
    }
    let nanos = crate::events::moment(Some(text)).map_err(|_| invalid())?.ok_or_else(invalid)?;
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).map_err(|_| invalid())
}

/// A span in Go's words: `1h30m`, `90s`.
pub(crate) fn span(text: &str) -> Option<std::time::Duration> {
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|byte: char| !byte.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (!text.is_empty()).then(|| std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_gos() {
        let seconds = |text| span(text).map(|span| span.as_secs());
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("90"), None);
        assert_eq!(seconds(""), None);
        assert!(until("x").is_err());
    }
}
