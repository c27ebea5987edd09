//! Values of flags, checked when they are read, with Docker's complaints.

use glassdock_daemon::containers::sysctls::OF_IPC;

use super::Kind;
use crate::commands::run::{mounts, resources};

/// Checks a value; the error is the reason, without the flag's name.
pub(crate) fn check(kind: Kind, value: &str) -> Result<(), String> {
    match kind {
        Kind::Text | Kind::List | Kind::Commas | Kind::Map | Kind::Maybe => Ok(()),
        Kind::Bool => boolean(value).map(|_| ()).ok_or_else(|| syntax("ParseBool", value)),
        Kind::Int => int(value).map(|_| ()).ok_or_else(|| syntax("ParseInt", value)),
        Kind::Uint => uint(value, u64::MAX),
        Kind::Uint16 => uint(value, u64::from(u16::MAX)),
        Kind::BytesOrNone if value == "-1" => Ok(()),
        Kind::Bytes | Kind::BytesOrNone => {
            bytes(value).map(|_| ()).ok_or_else(|| format!("invalid size: '{value}'"))
        }
        Kind::Decimal => {
            decimal(value).map(|_| ()).ok_or_else(|| format!("failed to parse {value} as a rational number"))
        }
        Kind::Duration => duration_ns(value).map(|_| ()),
        Kind::Filter if value.is_empty() || value.contains('=') => Ok(()),
        Kind::Filter => Err("bad format of filter (expected name=value)".to_owned()),
        Kind::Ulimit => ulimit(value).map(|_| ()),
        Kind::Network => Ok(()),
        Kind::Mount => mounts::parse(value).map(|_| ()),
        Kind::Gpus => gpus(value),
        Kind::Env if value.is_empty() || value.starts_with('=') => {
            Err(format!("invalid environment variable: {value}"))
        }
        Kind::Env => Ok(()),
        Kind::Label if value.is_empty() || value.starts_with('=') => {
            Err(format!("invalid label '{value}': empty name"))
        }
        Kind::Label => Ok(()),
        Kind::Attach => match value.to_lowercase().as_str() {
            "stdin" | "stdout" | "stderr" => Ok(()),
            _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
        },
        Kind::AddHost => add_host(value).map(|_| ()),
        Kind::Ip => value
            .trim()
            .parse::<std::net::IpAddr>()
            .map(|_| ())
            .map_err(|_| format!("IP address is not correctly formatted: {value}")),
        Kind::Link => link(value),
        Kind::Sysctl => sysctl(value),
        Kind::RateBytes => {
            resources::rate(value, bytes).map(|_| ()).map_err(|reason| resources::with_units(&reason))
        }
        Kind::RateNumber => resources::rate(value, int).map(|_| ()),
    }
}

/// A text in Go's quotes, as `%q` prints it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            control if u32::from(control) < 0x20 || control == '\x7f' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn syntax(call: &str, value: &str) -> String {
    format!("strconv.{call}: parsing {}: invalid syntax", quote(value))
}

/// A truth value in Go's spellings.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A whole number, decimal or with Go's prefixes.
pub(crate) fn int(value: &str) -> Option<i64> {
    let (negative, digits) = value
        .strip_prefix('-')
        .map_or((false, value.strip_prefix('+').unwrap_or(value)), |rest| (true, rest));
    let lower = digits.to_lowercase();
    let number = if let Some(hex) = lower.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()?
    } else if let Some(octal) = lower.strip_prefix("0o") {
        i64::from_str_radix(octal, 8).ok()?
    } else if let Some(binary) = lower.strip_prefix("0b") {
        i64::from_str_radix(binary, 2).ok()?
    } else if digits.starts_with(|letter: char| letter.is_ascii_digit()) {
        digits.parse().ok()?
    } else {
        return None;
    };
    Some(if negative { -number } else { number })
}

fn uint(value: &str, limit: u64) -> Result<(), String> {
    match value.parse::<u64>() {
        Ok(number) if number <= limit => Ok(()),
        Ok(_) => Err(format!("strconv.ParseUint: parsing {}: value out of range", quote(value))),
        Err(_) => Err(syntax("ParseUint", value)),
    }
}

/// A size such as `64m` or `1.5GiB`, in bytes; the units are powers of 1024.
pub(crate) fn bytes(value: &str) -> Option<i64> {
    let split = value.rfind(|letter: char| letter.is_ascii_digit() || letter == '.')? + 1;
    let (number, unit) = value.split_at_checked(split)?;
    let number: f64 = number.parse().ok().filter(|number: &f64| *number >= 0.0 && number.is_finite())?;
    if number.is_sign_negative() {
        return None;
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a size beyond an i64 saturates")]
    Some((number * 1024_f64.powi(power)) as i64)
}

/// Billionths of CPUs: `1.5` is 1,500,000,000.
pub(crate) fn decimal(value: &str) -> Option<i64> {
    let number: f64 = match value.split_once('/') {
        Some((over, under)) => over.parse::<f64>().ok()? / under.parse::<f64>().ok()?,
        None => value.parse().ok()?,
    };
    #[expect(clippy::cast_possible_truncation, reason = "no machine has so many CPUs")]
    number.is_finite().then_some((number * 1e9).round() as i64)
}

/// A duration as Go writes it (`1m30s`), in nanoseconds.
pub(crate) fn duration_ns(value: &str) -> Result<i64, String> {
    let bad = || format!("time: invalid duration {}", quote(value));
    let (sign, mut rest) = match value.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, value.strip_prefix('+').unwrap_or(value)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| bad())?;
        let unit_end =
            after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(format!("time: missing unit in duration {}", quote(value))),
            other => return Err(format!("time: unknown unit {} in duration {}", quote(other), quote(value))),
        };
        total += number * scale;
        rest = after;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a duration beyond 292 years saturates")]
    Ok((sign * total) as i64)
}

const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `nofile=1024:2048` as name, soft and hard limit.
pub(crate) fn ulimit(value: &str) -> Result<(String, i64, i64), String> {
    let Some((name, limits)) = value.split_once('=') else {
        return Err(format!("invalid ulimit argument: {value}"));
    };
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = limits.split_once(':').map_or((limits, None), |(soft, hard)| (soft, Some(hard)));
    let read = |text: &str| text.parse::<i64>().map_err(|_| syntax("ParseInt", text));
    let soft = read(soft)?;
    let hard = hard.map_or(Ok(soft), read)?;
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok((name.to_owned(), soft, hard))
}

/// `name:ip` or `name=ip`, as `name:ip`.
pub(crate) fn add_host(value: &str) -> Result<String, String> {
    let separator = value.find(['=', ':']);
    let Some((name, address)) =
        separator.map(|at| (&value[..at], &value[at + 1..])).filter(|(name, _)| !name.is_empty())
    else {
        return Err(format!("bad format for add-host: {}", quote(value)));
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {}", quote(bare)));
    }
    Ok(format!("{name}:{bare}"))
}

fn link(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    if value.split(':').count() > 2 {
        return Err(format!("bad format for links: {value}"));
    }
    Ok(())
}

fn sysctl(value: &str) -> Result<(), String> {
    let name = value.split_once('=').map(|(name, _)| name);
    match name {
        Some(name)
            if OF_IPC.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.") =>
        {
            Ok(())
        }
        _ => Err(format!("sysctl '{value}' is not allowed")),
    }
}

fn gpus(value: &str) -> Result<(), String> {
    if value == "all" || value.contains('=') || value.parse::<i64>().is_ok() {
        return Ok(());
    }
    Err(format!("invalid count ({value}): value must be either \"all\" or an integer: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("1.5GiB"), Some(3 << 29));
        assert_eq!(bytes("12"), Some(12));
        for bad in ["", "x", "-1", "12q", "m"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_go_s() {
        assert_eq!(duration_ns("1m30s"), Ok(90_000_000_000));
        assert_eq!(duration_ns("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(duration_ns("x"), Err("time: invalid duration \"x\"".to_owned()));
        assert_eq!(duration_ns("3"), Err("time: missing unit in duration \"3\"".to_owned()));
    }
}
