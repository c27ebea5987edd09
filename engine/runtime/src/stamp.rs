//! Moments as Docker writes them: RFC 3339 in UTC, with as many of nine digits of
//! the second's fraction as are not trailing zeros (Go's `time.RFC3339Nano`).
//!
//! A dozen lines instead of a library of calendars: the shim only writes UTC, and
//! its memory is counted in pages.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present moment.
#[must_use]
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format(since.as_secs(), since.subsec_nanos())
}

/// The moment so many seconds and nanoseconds after 1970.
#[must_use]
pub fn format(seconds: u64, nanos: u32) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        let fraction = format!(".{nanos:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Reads a moment in UTC as nanoseconds since 1970; `None` if it is none.
#[must_use]
pub fn parse(text: &str) -> Option<i128> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let nanos: u32 = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// The date so many days after 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day comes last, and days in
/// eras of 400 years (146,097 days), within which the calendar repeats.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The days from 1970-01-01 to a date; the other way round.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let year_of_era = year % 400;
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year / 400 * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(format(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(format(951_782_400, 120_000_000), "2000-02-29T00:00:00.12Z");
        assert_eq!(format(4_107_542_400, 1), "2100-03-01T00:00:00.000000001Z");
    }

    #[test]
    fn reading_is_the_other_way_round() {
        for seconds in (0_u64..5_000_000_000).step_by(86_399 * 7) {
            let text = format(seconds, 5_000_000);
            assert_eq!(parse(&text), Some(i128::from(seconds) * 1_000_000_000 + 5_000_000), "{text}");
        }
        for bad in [
            "",
            "Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "x-01-01T00:00:00Z",
            "2026-01-01T00:00:00.0000000001Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
