//! Numbers as people read them: sizes, counts, ages.

use super::words::Language;

/// A size as the docker client writes it: decimal units, three digits.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let digits = if unit == "B" || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// A number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How long ago a time (RFC 3339) is; `None` for what is no time.
pub(super) fn age(created: &str, language: Language) -> Option<String> {
    let then: jiff::Timestamp = created.parse().ok()?;
    let seconds = jiff::Timestamp::now().as_second().saturating_sub(then.as_second()).max(0);
    let units = [
        (365 * 86_400, "year", "年"),
        (30 * 86_400, "month", "个月"),
        (86_400, "day", "天"),
        (3600, "hour", "小时"),
        (60, "minute", "分钟"),
    ];
    let Some((length, en, zh)) = units.into_iter().find(|(length, ..)| seconds >= *length) else {
        return Some(language.choose("just now", "刚刚").to_owned());
    };
    let number = seconds / length;
    Some(match language {
        Language::En => format!("{number} {en}{} ago", if number == 1 { "" } else { "s" }),
        Language::Zh => format!("{number} {zh}前"),
    })
}

/// The day of a time (RFC 3339).
pub(super) fn day(created: &str) -> Option<String> {
    let then: jiff::Timestamp = created.parse().ok()?;
    Some(then.to_string().chars().take(10).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_short() {
        let sizes = [0, 999, 1000, 1_234_567, 25_000_000, 999_000_000_000];
        assert_eq!(sizes.map(size), ["0 B", "999 B", "1.00 kB", "1.23 MB", "25.0 MB", "999 GB"]);
        assert_eq!(size(u64::MAX), "18447 PB");
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn ages_are_told_in_both_languages() {
        let ago = |seconds| jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - seconds);
        let text = ago(2 * 86_400 + 10).expect("a time").to_string();
        assert_eq!(age(&text, Language::En).as_deref(), Some("2 days ago"));
        assert_eq!(age(&text, Language::Zh).as_deref(), Some("2 天前"));
        assert_eq!(age("9999-01-01T00:00:00Z", Language::En).as_deref(), Some("just now"));
        assert_eq!(age("yesterday", Language::En), None);
        assert_eq!(day("2026-01-01T00:00:00Z").as_deref(), Some("2026-01-01"));
    }
}
