//! What is written of a container's output: the options of `--log-driver json-file` and `local`, read.
//!
//! Which options there are is checked when the container is created; what they say, when it starts, as in Docker.

use super::model::LogConfig;
use crate::error::Error;

/// How much of the output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// A file that would grow beyond so many bytes is put aside; no bound if absent.
    pub max_size: Option<u64>,
    /// How many files are kept, the one in use included; at least 1.
    pub max_file: u32,
}

/// Reads the options.
///
/// # Errors
///
/// Internal, in Docker's words, for numbers that are none, and for what doesn't go together.
pub fn kept(log: &LogConfig) -> Result<Kept, Error> {
    read(log).map_err(|words| {
        Error::internal(format!(
            "failed to create task for container: failed to initialize logging driver: {words}"
        ))
    })
}

fn read(log: &LogConfig) -> Result<Kept, String> {
    let local = log.kind == "local";
    let option = |name: &str| log.config.get(name).map(String::as_str);
    let of_local = |name: &str, text: &str, words: String| {
        if local { format!("invalid value for {name}: {text}: {words}") } else { words }
    };
    let max_size = option("max-size").map(|text| {
        let bytes = size(text).map_err(|words| of_local("max-size", text, words))?;
        if bytes > 0 { Ok(bytes) } else { Err("max-size must be a positive number".to_owned()) }
    });
    let max_size = max_size.transpose()?;
    let max_file = option("max-file").map(|text| {
        text.parse::<i64>().map_err(|_| {
            of_local("max-file", text, format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
        })
    });
    let max_file = max_file.transpose()?.unwrap_or(1);
    if max_file < 1 && !local {
        return Err("max-file cannot be less than 1".to_owned());
    }
    let compress = option("compress").map(|text| {
        truth(text).ok_or_else(|| {
            let words = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
            if local { format!("error reading compress log option: {words}") } else { words }
        })
    });
    let compress = compress.transpose()?;
    if local && option("max-file").is_some() && max_file <= 1 && compress != Some(false) {
        return Err("compression cannot be enabled when max file count is 1".to_owned());
    }
    if !local && compress == Some(true) && (max_file < 2 || max_size.is_none()) {
        return Err("compress cannot be true when max-file is less than 2 or max-size is not set".to_owned());
    }
    Ok(Kept { max_size, max_file: u32::try_from(max_file.max(1)).unwrap_or(u32::MAX) })
}

/// A size in powers of 1000, such as `10m` or `1.5 GB`, in bytes.
fn size(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text.rfind(|character: char| character.is_ascii_digit() || ". ".contains(character));
    let (digits, unit) = text.split_at(end.ok_or_else(invalid)? + 1);
    let number = digits.strip_suffix(' ').unwrap_or(digits).parse::<f64>().map_err(|_| invalid())?;
    if number < 0.0 || !number.is_finite() {
        return Err(invalid());
    }
    let lower = unit.to_ascii_lowercase();
    let letter = match lower.as_str() {
        "" | "b" => None,
        lower => match (lower.chars().next(), lower.get(1..)) {
            (Some(letter), Some("" | "b" | "ib")) => Some(letter),
            _ => return Err(format!("invalid suffix: '{unit}'")),
        },
    };
    let power = match letter {
        None => 0,
        Some(letter) => "kmgtp".find(letter).ok_or_else(|| format!("invalid suffix: '{unit}'"))? + 1,
    };
    let factor = (0..power).fold(1.0, |factor, _| factor * 1000.0);
    // A float becomes the nearest whole number that there is.
    Ok((number * factor) as u64)
}

/// Truth and falsehood in Go's words.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, options: &[(&str, &str)]) -> Result<Kept, String> {
        let config = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(&LogConfig { kind: kind.to_owned(), config })
    }

    #[test]
    fn options_are_read_or_refused() {
        let kept = |max_size, max_file| Ok(Kept { max_size, max_file });
        assert_eq!(of("json-file", &[]), kept(None, 1));
        assert_eq!(of("json-file", &[("max-size", "1.5m"), ("max-file", "3")]), kept(Some(1_500_000), 3));
        assert_eq!(of("local", &[("max-size", "2 GB"), ("compress", "false")]), kept(Some(2_000_000_000), 1));
        for (option, value, words) in [
            ("max-size", "x", "invalid size: 'x'"),
            ("max-size", "-1", "invalid size: '-1'"),
            ("max-size", "1x", "invalid suffix: 'x'"),
            ("max-size", "0", "max-size must be a positive number"),
            ("max-file", "x", "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("max-file", "0", "max-file cannot be less than 1"),
            ("compress", "x", "strconv.ParseBool: parsing \"x\": invalid syntax"),
            ("compress", "1", "compress cannot be true when max-file is less than 2 or max-size is not set"),
        ] {
            assert_eq!(of("json-file", &[(option, value)]), Err(words.to_owned()), "{option}={value}");
        }
        for (option, value, words) in [
            ("max-size", "x", "invalid value for max-size: x: invalid size: 'x'"),
            ("max-file", "0", "compression cannot be enabled when max file count is 1"),
            (
                "compress",
                "x",
                "error reading compress log option: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(of("local", &[(option, value)]), Err(words.to_owned()), "{option}={value}");
        }
    }
}
