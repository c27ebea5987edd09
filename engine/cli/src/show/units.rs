//! Sizes and times for people, as the docker client rounds them.

use jiff::Timestamp;

/// A size in powers of 1000 with four digits: `1.982MB`.
pub(crate) fn size(bytes: f64) -> String {
    size_with(bytes, 4)
}

/// A size in powers of 1000 with three digits: `1.98MB`.
pub(crate) fn short_size(bytes: f64) -> String {
    size_with(bytes, 3)
}

fn size_with(bytes: f64, digits: usize) -> String {
    scaled(bytes, 1000.0, digits, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
}

/// A size in powers of 1024 with four digits: `23.54GiB`.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
}

fn scaled(bytes: f64, base: f64, digits: usize, units: &[&str]) -> String {
    let mut value = bytes;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units.get(unit).copied().unwrap_or_default())
}

/// A number as C's `%.Ng` prints it: N significant digits, no zeros at the end.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let places = i32::try_from(digits).unwrap_or(4);
    if power < -4 || power >= places {
        return format!("{}e{}{:02}", trim(mantissa), if power < 0 { '-' } else { '+' }, power.abs());
    }
    let after = usize::try_from(places - 1 - power).unwrap_or(0);
    trim(&format!("{value:.after$}"))
}

/// How long ago, in words: `About a minute`, `5 hours`.
pub(crate) fn duration(seconds: i64) -> String {
    let hours = (seconds as f64 / 3600.0 + 0.5).floor() as i64;
    let minutes = seconds / 60;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago a moment in Unix seconds was: `5 hours ago`.
pub(crate) fn ago(seconds: i64) -> String {
    format!("{} ago", duration(Timestamp::now().as_second() - seconds))
}

/// A moment as Go prints it: `2026-11-23 20:30:57 +0000 UTC`.
pub(crate) fn go_time(seconds: i64) -> String {
    let Ok(moment) = Timestamp::from_second(seconds) else { return seconds.to_string() };
    moment.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A moment as RFC 3339 with the machine's zone: `2026-11-23T20:30:57Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let Ok(moment) = Timestamp::from_second(seconds) else { return seconds.to_string() };
    let zoned = moment.to_zoned_datetime(jiff::tz::TimeZone::system());
    let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    text.strip_suffix("+00:00").map(|utc| format!("{utc}Z")).unwrap_or(text)
}

/// A moment for the API, from what a user types: Unix seconds, RFC 3339 in parts,
/// or a duration back from now.
///
/// # Errors
///
/// A word that is none of these, in Docker's words. What looks like a date is left to the daemon.
pub(crate) fn api_time(text: &str) -> Result<String, String> {
    // A bare 0 is the beginning of Unix time rather than no time ago.
    if let Some(Ok(ago)) = (text != "0").then(|| crate::words::check::duration_ns(text)) {
        let moment = Timestamp::now().as_nanosecond() - i128::from(ago);
        return Ok(format!("{}.{:09}", moment / 1_000_000_000, moment % 1_000_000_000));
    }
    if text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    let full = match text.len() {
        4 => format!("{text}-01-01T00:00:00"),
        7 => format!("{text}-01T00:00:00"),
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let moment = full.parse::<Timestamp>().ok().or_else(|| {
        let local: jiff::civil::DateTime = full.parse().ok()?;
        local.to_zoned_datetime(jiff::tz::TimeZone::system()).ok().map(|zoned| zoned.timestamp())
    });
    match moment {
        Some(moment) => Ok(format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond())),
        None if text.contains('-') => Ok(text.to_owned()),
        None => {
            Err(format!("failed to parse value as time or duration: {}", crate::words::check::quote(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_docker_s_digits() {
        assert_eq!(size(1_982_000.0), "1.982MB");
        assert_eq!(size(0.0), "0B");
        assert_eq!(size(1000.0), "1kB");
        assert_eq!(size(999_999.0), "1000kB");
        assert_eq!(binary_size(25_276_502_016.0), "23.54GiB");
        assert_eq!(short_size(13_256.0), "13.3kB");
    }

    #[test]
    fn a_bare_zero_is_the_beginning_of_time() {
        assert_eq!(api_time("0").as_deref(), Ok("0"));
        assert_ne!(api_time("0s").as_deref(), Ok("0"));
    }

    #[test]
    fn durations_have_docker_s_words() {
        let words = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (5000, "About an hour"),
            (5401, "2 hours"),
            (48 * 3600, "2 days"),
        ];
        for (seconds, expected) in words {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }
}
