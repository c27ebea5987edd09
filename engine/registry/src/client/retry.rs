//! When to try again, and how long to wait before.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::ClientConfig;

/// Whether an answer may be another one in a while: too many requests, or a server in trouble.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The pause before try number `attempt` + 1: what the registry asks for, else twice the
/// one before, with some chance so that a classroom doesn't come back all at once.
pub(super) fn pause(config: &ClientConfig, attempt: u32, headers: Option<&HeaderMap>) -> Duration {
    let asked = headers.and_then(asked);
    let pause = asked.unwrap_or_else(|| {
        let doubled = config.pause.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16)));
        let mut random = [0_u8; 1];
        // Without randomness all wait alike, which is no error.
        let _ = getrandom::fill(&mut random);
        doubled.mul_f64(0.75 + f64::from(random[0]) / 512.0)
    });
    pause.min(config.longest_pause)
}

/// The pause that an answer asks for, within bounds.
pub(super) fn asked_pause(config: &ClientConfig, headers: &HeaderMap) -> Option<Duration> {
    asked(headers).map(|pause| pause.min(config.longest_pause))
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get(header::RETRY_AFTER)?.to_str().ok()?)
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_asks_for_is_kept_within_bounds() {
        let config = ClientConfig::default();
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().expect("a header"));
            pause(&config, 1, Some(&headers))
        };
        assert_eq!(asked("7"), Duration::from_secs(7));
        assert_eq!(asked("99999999"), config.longest_pause);
        assert_eq!(asked("Thu, 01 Jan 1970 00:00:00 GMT"), Duration::ZERO);
        assert!(asked("garbage") <= Duration::from_millis(350));
    }

    #[test]
    fn pauses_double() {
        let config = ClientConfig::default();
        assert!(pause(&config, 3, None) > pause(&config, 1, None));
        assert!(pause(&config, u32::MAX, None) <= config.longest_pause);
    }
}
