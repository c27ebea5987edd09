//! Which instruction knows which flags.

use super::error::{Error, Problem};
use super::nearest::nearest;
use super::text::{Position, Word};

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// One value.
    Value,
    /// Nothing, or `=true` and `=false`.
    Truth,
    /// A value each time that it is given.
    Values,
}

/// The flags of an instruction.
fn known(instruction: &str) -> &'static [(&'static str, Takes)] {
    use Takes::{Truth, Value, Values};
    match instruction {
        "FROM" => &[("platform", Value)],
        "RUN" => &[("mount", Values), ("network", Value), ("security", Value)],
        "COPY" => &[
            ("from", Value),
            ("chown", Value),
            ("chmod", Value),
            ("link", Truth),
            ("parents", Truth),
            ("exclude", Values),
        ],
        "ADD" => &[
            ("chown", Value),
            ("chmod", Value),
            ("link", Truth),
            ("checksum", Value),
            ("keep-git-dir", Truth),
            ("exclude", Values),
            ("unpack", Truth),
        ],
        "HEALTHCHECK" => &[
            ("interval", Value),
            ("timeout", Value),
            ("start-period", Value),
            ("start-interval", Value),
            ("retries", Value),
        ],
        _ => &[],
    }
}

/// Holds the flags of an instruction against those that it knows.
pub(crate) fn check(instruction: &str, flags: &[Word]) -> Result<(), Error> {
    let known = known(instruction);
    let mut seen: Vec<&str> = Vec::new();
    for flag in flags {
        let (name, value) = split(flag);
        let Some((_, takes)) = known.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&'static str> = known.iter().map(|(name, _)| *name).collect();
            let problem = Problem::UnknownFlag { written: name.to_owned(), nearest: nearest(name, &names) };
            return Err(Error::new(flag.at, problem));
        };
        if *takes != Takes::Values && seen.contains(&name) {
            return Err(Error::new(flag.at, Problem::FlagTwice(name.to_owned())));
        }
        seen.push(name);
        match (takes, value) {
            (Takes::Truth, Some(value))
                if !matches!(value.to_ascii_lowercase().as_str(), "true" | "false") =>
            {
                return Err(Error::new(
                    flag.at,
                    Problem::NoTruth { flag: name.to_owned(), value: value.to_owned() },
                ));
            }
            (Takes::Value | Takes::Values, None) => {
                return Err(Error::new(flag.at, Problem::NoFlagValue(name.to_owned())));
            }
            _ => {}
        }
    }
    Ok(())
}

fn split(flag: &Word) -> (&str, Option<&str>) {
    let text = flag.text.strip_prefix("--").unwrap_or(&flag.text);
    text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)))
}

/// The value of a flag, with its place.
pub(crate) fn value(flags: &[Word], name: &str) -> Option<Word> {
    values(flags, name).into_iter().next()
}

/// All values of a flag.
pub(crate) fn values(flags: &[Word], name: &str) -> Vec<Word> {
    let values = flags.iter().filter_map(|flag| {
        let (known, value) = split(flag);
        let column = flag.at.column + u32::try_from(known.chars().count() + 3).unwrap_or_default();
        let at = Position { line: flag.at.line, column };
        (known == name).then(|| Word::new(value.unwrap_or_default(), at))
    });
    values.collect()
}

/// Whether a flag says yes.
pub(crate) fn truth(flags: &[Word], name: &str) -> bool {
    flags.iter().any(|flag| {
        let (known, value) = split(flag);
        known == name && value.is_none_or(|value| value.eq_ignore_ascii_case("true"))
    })
}
