//! Environment variables and labels, from flags and from files.

use std::fs;

use serde_json::{Map, Value};

use crate::failure::os_text;
use crate::words::Args;

/// The environment: files first, then flags, so that a flag wins.
pub(crate) fn environment(args: &Args) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for path in args.all("env-file") {
        variables.extend(read_file(path, true)?);
    }
    variables.extend(args.all("env").filter_map(variable));
    Ok(variables)
}

/// `NAME` alone takes the value that the client's own environment has, if any.
fn variable(given: &str) -> Option<String> {
    if given.contains('=') {
        return Some(given.to_owned());
    }
    std::env::var(given).ok().map(|value| format!("{given}={value}"))
}

/// Labels of `--label-file` and `--label`.
pub(crate) fn labels(args: &Args) -> Result<Value, String> {
    let mut lines = Vec::new();
    for path in args.all("label-file") {
        lines.extend(read_file(path, false)?);
    }
    Ok(pairs(lines.iter().map(String::as_str).chain(args.all("label"))))
}

/// `a=1`, `b` as `{"a": "1", "b": ""}`.
pub(crate) fn pairs<'a>(given: impl Iterator<Item = &'a str>) -> Value {
    let mut map = Map::new();
    for pair in given {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        map.insert(name.to_owned(), value.into());
    }
    Value::Object(map)
}

/// Lines `NAME=value`; empty ones and those that begin with `#` are left out.
fn read_file(path: &str, take_from_environment: bool) -> Result<Vec<String>, String> {
    let bytes = fs::read(path).map_err(|error| format!("open {path}: {}", os_text(&error)))?;
    let mut lines = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = if number == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(format!(
                "invalid env file ({path}): invalid utf8 bytes at line {}: {:?}",
                number + 1,
                line
            ));
        };
        let line = line.trim_start().trim_end_matches('\r');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, has_value) = line.split_once('=').map_or((line, false), |(name, _)| (name, true));
        if name.contains([' ', '\t'])
            && (has_value || name.trim_end() != name || name.trim().contains([' ', '\t']))
        {
            return Err(format!("invalid env file ({path}): variable '{name}' contains whitespaces"));
        }
        if name.is_empty() {
            return Err(format!("invalid env file ({path}): no variable name on line '{line}'"));
        }
        if has_value {
            lines.push(line.to_owned());
        } else if take_from_environment {
            lines.extend(variable(line.trim()));
        } else {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

/// The environment of `exec`.
pub(crate) fn of_exec(args: &Args) -> Result<Vec<String>, String> {
    environment(args)
}
