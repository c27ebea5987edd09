//! The numbers of HEALTHCHECK, in Go's spelling of durations: `1m30s`, `500ms`.

use super::error::{Error, Problem};
use super::flags::value;
use super::instruction::{Command, Healthcheck};
use super::text::Word;

const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// A test with what its flags say.
pub(crate) fn test(command: Command, flags: &[Word]) -> Result<Healthcheck, Error> {
    let time = |name: &'static str| match value(flags, name) {
        None => Ok(0),
        Some(word) if word.text.is_empty() => Ok(0),
        Some(word) => match duration(&word.text) {
            None => Err(Error::new(word.at, Problem::Duration(word.text))),
            // Zero is Docker's "as inherited".
            Some(0) => Ok(0),
            Some(short) if short < 1_000_000 => {
                Err(Error::new(word.at, Problem::ShortDuration { name, value: word.text }))
            }
            Some(long) => Ok(long),
        },
    };
    let retries = match value(flags, "retries") {
        None => 0,
        Some(word) if word.text.is_empty() => 0,
        Some(word) => {
            let number =
                word.text.parse().ok().filter(|number: &i64| (0..=i64::from(i32::MAX)).contains(number));
            number.ok_or_else(|| Error::new(word.at, Problem::Retries(word.text)))?
        }
    };
    Ok(Healthcheck::Test {
        command,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries,
    })
}

/// Reads a duration as nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    if rest == "0" {
        return Some(0);
    }
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|next: char| next.is_ascii_digit() || next == '.').unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end])?;
        sum += number * unit;
        rest = &rest[end..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "held against the range just before")]
    (sum.abs() < 9.2e18).then_some((sign * sum).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, wanted) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("0", Some(0)),
            ("-1s", Some(-1_000_000_000)),
            ("5", None),
            ("s", None),
            ("1x", None),
            ("", None),
            ("99999999999h", None),
        ] {
            assert_eq!(duration(text), wanted, "{text}");
        }
    }
}
