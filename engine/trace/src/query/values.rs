//! Whether a field is as a query wants it.

use serde_json::Value;

pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn value_fits(wanted: &Value, found: &Value) -> bool {
    match found {
        Value::Array(items) => items.iter().any(|item| value_fits(wanted, item)),
        _ => glob(&text_of(wanted), &text_of(found)),
    }
}

/// Whether `text` is `pattern`, where `*` stands for any text. Takes at most
/// `pattern.len() * text.len()` steps.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, here));
            at += 1;
        } else if pattern.get(at) == text.get(here) {
            at += 1;
            here += 1;
        } else if let Some((after_star, taken)) = star {
            star = Some((after_star, taken + 1));
            at = after_star + 1;
            here = taken + 1;
        } else {
            return false;
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}
