//! The functions of templates: Go's own, and those that the docker client adds.

use std::cmp::Ordering;

use serde_json::Value;

use super::print;

const NAMES: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf",
    "println", "html", "js", "urlquery", "json", "join", "split", "title", "lower", "upper", "pad",
    "truncate",
];

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether a value counts as true: not zero, not empty.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty() || print::is_struct(map),
    }
}

/// Calls a function.
///
/// # Errors
///
/// In Go's words.
pub(super) fn call(name: &str, args: Vec<Value>, header: bool) -> Result<Value, String> {
    if header && matches!(name, "json" | "join" | "split" | "title" | "lower" | "upper" | "pad" | "truncate")
    {
        // In a table's head the functions hand the head on as it is.
        return Ok(args.into_iter().find(|arg| arg.is_string()).unwrap_or_default());
    }
    let args = Args { name, args };
    match name {
        "and" => {
            Ok(args.args.iter().find(|arg| !truth(arg)).or(args.args.last()).cloned().unwrap_or_default())
        }
        "or" => Ok(args.args.iter().find(|arg| truth(arg)).or(args.args.last()).cloned().unwrap_or_default()),
        "not" => Ok((!truth(args.exactly::<1>()?[0])).into()),
        "eq" => {
            let (first, rest) = args.some(2)?;
            Ok(rest.iter().any(|other| equal(first, other)).into())
        }
        "ne" => {
            let [left, right] = args.exactly()?;
            Ok((!equal(left, right)).into())
        }
        "lt" | "le" | "gt" | "ge" => {
            let [left, right] = args.exactly()?;
            let order = compare(left, right)
                .ok_or_else(|| format!("error calling {name}: incompatible types for comparison"))?;
            Ok(match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }
            .into())
        }
        "len" => {
            let [value] = args.exactly()?;
            match value {
                Value::String(text) => Ok(text.len().into()),
                Value::Array(items) => Ok(items.len().into()),
                Value::Object(map) => Ok(map.len().into()),
                Value::Null => Ok(0.into()),
                other => Err(format!("error calling len: len of type {}", print::type_name(other))),
            }
        }
        "index" => {
            let (first, rest) = args.some(1)?;
            rest.iter().try_fold(first.clone(), |value, key| index(&value, key))
        }
        "slice" => slice(&args),
        "print" => Ok(print::sprint(&args.args).into()),
        "println" => {
            let words: Vec<String> = args.args.iter().map(print::text).collect();
            Ok(format!("{}\n", words.join(" ")).into())
        }
        "printf" => {
            let (format, rest) = args.some(1)?;
            let format = format.as_str().ok_or("error calling printf: wrong type for the format")?;
            Ok(print::sprintf(format, rest).into())
        }
        "html" => Ok(html(&print::sprint(&args.args)).into()),
        "js" => Ok(print::sprint(&args.args)
            .replace('\\', "\\\\")
            .replace('\'', "\\'")
            .replace('"', "\\\"")
            .into()),
        "urlquery" => Ok(crate::client::encode(&print::sprint(&args.args)).into()),
        "json" => Ok(print::json(args.exactly::<1>()?[0]).into()),
        "join" => {
            let [list, separator] = args.exactly()?;
            let words: Vec<String> = list.as_array().into_iter().flatten().map(print::text).collect();
            Ok(words.join(separator.as_str().unwrap_or_default()).into())
        }
        "split" => {
            let [text, separator] = args.exactly()?;
            let (text, separator) = (args.string(text)?, args.string(separator)?);
            if separator.is_empty() {
                return Ok(text.chars().map(|letter| letter.to_string()).collect());
            }
            Ok(text.split(separator).collect())
        }
        "title" => {
            let [text] = args.exactly()?;
            Ok(title(args.string(text)?).into())
        }
        "lower" => Ok(args.string(args.exactly::<1>()?[0])?.to_lowercase().into()),
        "upper" => Ok(args.string(args.exactly::<1>()?[0])?.to_uppercase().into()),
        "pad" => {
            let [text, before, after] = args.exactly()?;
            let text = args.string(text)?;
            if text.is_empty() {
                return Ok("".into());
            }
            let width = |value: &Value| usize::try_from(value.as_i64().unwrap_or(0)).unwrap_or(0).min(4096);
            Ok(format!("{}{text}{}", " ".repeat(width(before)), " ".repeat(width(after))).into())
        }
        "truncate" => {
            let [text, length] = args.exactly()?;
            let length = usize::try_from(length.as_i64().unwrap_or(0)).unwrap_or(0);
            Ok(args.string(text)?.chars().take(length).collect::<String>().into())
        }
        other => Err(format!("{} is not a defined function", crate::words::check::quote(other))),
    }
}

struct Args<'a> {
    name: &'a str,
    args: Vec<Value>,
}

impl Args<'_> {
    fn exactly<const N: usize>(&self) -> Result<[&Value; N], String> {
        let refs: Vec<&Value> = self.args.iter().collect();
        refs.try_into()
            .map_err(|_| format!("wrong number of args for {}: want {N} got {}", self.name, self.args.len()))
    }

    fn some(&self, least: usize) -> Result<(&Value, &[Value]), String> {
        if self.args.len() < least {
            return Err(format!(
                "wrong number of args for {}: want at least {least} got {}",
                self.name,
                self.args.len()
            ));
        }
        self.args.split_first().ok_or_else(|| format!("wrong number of args for {}", self.name))
    }

    fn string<'v>(&self, value: &'v Value) -> Result<&'v str, String> {
        value
            .as_str()
            .ok_or_else(|| format!("wrong type for value; expected string; got {}", print::type_name(value)))
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Object(map), Value::String(key)) => {
            // A missing key of a Go map is its element's zero, which text is most often.
            Ok(map.get(key).cloned().unwrap_or_else(|| {
                if map.values().all(Value::is_string) && !map.is_empty() { "".into() } else { Value::Null }
            }))
        }
        (Value::Array(items), Value::Number(at)) => usize::try_from(at.as_i64().unwrap_or(-1))
            .ok()
            .and_then(|at| items.get(at))
            .cloned()
            .ok_or_else(|| format!("error calling index: index out of range: {at}")),
        (Value::String(text), Value::Number(at)) => usize::try_from(at.as_i64().unwrap_or(-1))
            .ok()
            .and_then(|at| text.as_bytes().get(at).copied())
            .map(Value::from)
            .ok_or_else(|| format!("error calling index: index out of range: {at}")),
        (Value::Null, _) => Err("error calling index: index of untyped nil".to_owned()),
        (other, _) => {
            Err(format!("error calling index: can't index item of type {}", print::type_name(other)))
        }
    }
}

fn slice(args: &Args<'_>) -> Result<Value, String> {
    let (value, bounds) = args.some(1)?;
    let bound = |at: usize, default: usize| {
        bounds
            .get(at)
            .and_then(Value::as_i64)
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(default)
    };
    let out_of_range = || "error calling slice: index out of range".to_owned();
    match value {
        Value::String(text) => {
            text.get(bound(0, 0)..bound(1, text.len())).map(Value::from).ok_or_else(out_of_range)
        }
        Value::Array(items) => items
            .get(bound(0, 0)..bound(1, items.len()))
            .map(|part| Value::Array(part.to_vec()))
            .ok_or_else(out_of_range),
        other => Err(format!("error calling slice: can't slice item of type {}", print::type_name(other))),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|letter| {
            let shown = if start { letter.to_uppercase().next().unwrap_or(letter) } else { letter };
            start = letter.is_whitespace();
            shown
        })
        .collect()
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}
