//! One line from an event's fields: the `show` templates of the narration.
//!
//! ```text
//!   {reference}[ → {digest:short}][ from {source}]
//!    a field    a part that is left out when its field says nothing
//! ```
//!
//! | form | of | prints |
//! |---|---|---|
//! | `{x}` | text, number, list | as it is, long ids cut to 12 digits; a list with spaces between |
//! | `{x:short}` | digest or id | `sha256:` goes, 12 digits stay |
//! | `{x:bytes}` | number of bytes | `1.2 MB` |
//! | `{x:words}` | command line | quoted as a shell needs it |
//! | `{x:count}` | list | how many |
//! | `{x:some}` | number | as it is; 0 says nothing |

use serde_json::{Map, Value};

/// Fills `template` with `fields`.
#[must_use]
pub fn fill(template: &str, fields: &Map<String, Value>) -> String {
    let mut line = String::new();
    let mut rest = template;
    while let Some(open) = rest.find(['[', '{']) {
        let (text, from) = rest.split_at(open);
        line.push_str(text);
        let bracket = from.starts_with('[');
        let Some((inside, after)) =
            from.get(1..).and_then(|from| from.split_once(if bracket { ']' } else { '}' }))
        else {
            line.push_str(from);
            return line;
        };
        if bracket {
            let zero = |name: &&str| {
                inside.contains(&format!("{{{name}:some}}")) && fields.get(*name) == Some(&0.into())
            };
            if names(inside).all(|name| speaks(fields.get(name)) && !zero(&name)) {
                line.push_str(&fill(inside, fields));
            }
        } else {
            let (name, form) = inside.split_once(':').unwrap_or((inside, ""));
            line.push_str(&fields.get(name).map(|value| print(value, form)).unwrap_or_default());
        }
        rest = after;
    }
    line.push_str(rest);
    line
}

/// The names of the fields that a template uses.
pub fn names(template: &str) -> impl Iterator<Item = &str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .map(|(inside, _)| inside.split_once(':').map_or(inside, |(name, _)| name))
}

fn speaks(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

fn print(value: &Value, form: &str) -> String {
    match (value, form) {
        (Value::Array(items), "count") => items.len().to_string(),
        (Value::Array(items), _) => items.iter().map(|item| print(item, form)).collect::<Vec<_>>().join(" "),
        (Value::Number(number), "bytes") => bytes(number.as_u64().unwrap_or(0)),
        (Value::String(text), "short") => short(text).to_owned(),
        (Value::String(text), "words") => quote(&shorten(text)),
        (Value::String(text), _) => shorten(text),
        (other, _) => other.to_string(),
    }
}

/// The first 12 digits of a digest or a long id; other text as it is.
#[must_use]
pub fn short(text: &str) -> &str {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        digits.get(..12).unwrap_or(digits)
    } else {
        text
    }
}

/// Text with each id or digest in it, such as one in a path, cut to its first 12 digits.
#[must_use]
pub fn shorten(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (run, after) = rest.split_at(digits);
        line.push_str(short(run));
        let mut letters = after.chars();
        line.extend(letters.next());
        rest = letters.as_str();
    }
    line
}

/// A number of bytes as docker prints it: three digits, units of a thousand.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {}", UNITS.get(unit).copied().unwrap_or("TB"))
}

/// One word of a command line, quoted if a shell would read it differently.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::narration;
    use crate::vocabulary::Kind;

    fn line(template: &str, fields: &Value) -> String {
        fill(template, fields.as_object().expect("an object"))
    }

    #[test]
    fn parts_without_a_field_are_left_out() {
        assert_eq!(line("{a}[ → {b}][ from {c}].", &json!({"a": "x", "c": "y"})), "x from y.");
        assert_eq!(line("{a}[ ({b})]", &json!({"a": 0, "b": []})), "0");
        assert_eq!(line("[{a}][ {a:some}][ {b:some}]", &json!({"a": 0, "b": 2})), "0 2");
    }

    #[test]
    fn forms() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(line("{d:short}", &json!({"d": digest})), "abababababab");
        assert_eq!(line("{d:short}", &json!({"d": "busybox"})), "busybox");
        assert_eq!(line("{n:bytes} {m:bytes}", &json!({"n": 999, "m": 1_234_567})), "999 B 1.23 MB");
        assert_eq!(line("{w:words}", &json!({"w": ["sh", "-c", "it's"]})), r"sh -c 'it'\''s'");
        assert_eq!(line("{w:count}", &json!({"w": [1, 2]})), "2");
    }

    #[test]
    fn broken_templates_print_as_they_are() {
        for broken in ["{a", "[a", "a]", "}{", "[{a]"] {
            let _ = line(broken, &json!({"a": 1}));
        }
    }

    #[test]
    fn templates_name_fields_that_exist() {
        for kind in Kind::ALL {
            for name in names(&narration::of(*kind).show) {
                assert!(kind.fields().contains(&name), "{}: no field {name}", kind.name());
            }
        }
    }
}
