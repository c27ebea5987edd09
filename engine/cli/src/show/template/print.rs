//! Values as Go prints them: `%v` and its kin, and JSON as Go's encoder writes it.

use serde_json::{Map, Number, Value};

use crate::show::typed;

/// Whether an object stands for a struct of Go's, which prints without its
/// names: structs of the API have capital names, maps hardly ever.
pub(super) fn is_struct(map: &Map<String, Value>) -> bool {
    !map.is_empty()
        && map.keys().filter(|key| *key != typed::LEFT_OUT).all(|key| {
            key.starts_with(|letter: char| letter.is_ascii_uppercase()) && !key.contains(['=', '/'])
        })
}

/// A value as `%v` prints it.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    self::value(value, &mut out);
    out
}

/// As [`text`], into a string.
pub(super) fn value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&self::number(number)),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                self::value(item, out);
            }
            out.push(']');
        }
        Value::Object(map) if is_struct(map) => {
            out.push('{');
            let fields = map.iter().filter(|(name, _)| *name != typed::LEFT_OUT);
            for (at, (name, item)) in fields.enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                field(name, item, out);
            }
            out.push('}');
        }
        Value::Object(map) => self::map(map, out),
    }
}

/// The value of a field of that name, as `%v` prints it.
pub(super) fn field(name: &str, value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str(typed::nothing(name)),
        Value::Object(map) if typed::is_map(name) => self::map(map, out),
        Value::Number(number) if typed::is_duration(name) && number.is_i64() => {
            out.push_str(&typed::span(number.as_i64().unwrap_or(0)));
        }
        value => self::value(value, out),
    }
}

fn map(map: &Map<String, Value>, out: &mut String) {
    out.push_str("map[");
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_unstable();
    for (at, key) in keys.into_iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(key);
        out.push(':');
        if let Some(item) = map.get(key) {
            field(key, item, out);
        }
    }
    out.push(']');
}

fn number(number: &Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    float(number.as_f64().unwrap_or(0.0))
}

/// A float as `%v` (`%g` with the shortest digits) prints it.
fn float(number: f64) -> String {
    if number != 0.0 && (number.abs() < 1e-4 || number.abs() >= 1e21) {
        let text = format!("{number:e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        let power: i32 = power.parse().unwrap_or(0);
        return format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs());
    }
    format!("{number}")
}

/// What Go calls the type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// As Go's `fmt.Sprint`: a space between operands when neither is text.
pub(super) fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for arg in args {
        if !after_text && !arg.is_string() {
            out.push(' ');
        }
        after_text = arg.is_string();
        value(arg, &mut out);
    }
    out
}

/// As Go's `fmt.Sprintf`, with the verbs that templates use.
pub(super) fn sprintf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut letters = format.chars().peekable();
    let mut args = args.iter();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let (mut minus, mut zero, mut plus, mut sharp) = (false, false, false, false);
        while let Some(flag) = letters.peek().copied() {
            match flag {
                '-' => minus = true,
                '0' => zero = true,
                '+' => plus = true,
                '#' => sharp = true,
                ' ' => {}
                _ => break,
            }
            letters.next();
        }
        let mut digits = || {
            let mut number: Option<usize> = None;
            while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
                let digit = usize::try_from(digit).unwrap_or(0);
                number = Some((number.unwrap_or(0) * 10 + digit).min(4096));
                letters.next();
            }
            number
        };
        let width = digits().unwrap_or(0);
        let precision = if letters.peek() == Some(&'.') {
            letters.next();
            let mut number = 0_usize;
            while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
                number = (number * 10 + usize::try_from(digit).unwrap_or(0)).min(4096);
                letters.next();
            }
            Some(number)
        } else {
            None
        };
        let Some(verb) = letters.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let mut shown = verb_text(verb, arg, precision, sharp);
        if plus && arg.is_number() && !shown.starts_with('-') {
            shown.insert(0, '+');
        }
        let length = shown.chars().count();
        let fill = width.saturating_sub(length);
        if minus {
            out.push_str(&shown);
            out.push_str(&" ".repeat(fill));
        } else if zero && arg.is_number() {
            let (sign, digits) = shown.strip_prefix('-').map_or(("", shown.as_str()), |digits| ("-", digits));
            out.push_str(sign);
            out.push_str(&"0".repeat(fill));
            out.push_str(digits);
        } else {
            out.push_str(&" ".repeat(fill));
            out.push_str(&shown);
        }
    }
    let extra: Vec<String> = args.map(|arg| format!("{}={}", type_name(arg), text(arg))).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn verb_text(verb: char, arg: &Value, precision: Option<usize>, sharp: bool) -> String {
    let bad = || format!("%!{verb}({}={})", type_name(arg), text(arg));
    match verb {
        'v' => text(arg),
        's' => match (arg, precision) {
            (Value::String(text), Some(length)) => text.chars().take(length).collect(),
            (Value::Number(_) | Value::Bool(_), _) => bad(),
            _ => text(arg),
        },
        'q' => match arg {
            Value::String(text) => crate::words::check::quote(text),
            _ => text(arg),
        },
        'd' => match arg.as_i64() {
            Some(number) => number.to_string(),
            None => bad(),
        },
        'x' | 'X' => {
            let shown = match arg {
                Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(),
                _ => match arg.as_i64() {
                    Some(number) => format!("{}{number:x}", if sharp { "0x" } else { "" }),
                    None => return bad(),
                },
            };
            if verb == 'X' { shown.to_uppercase() } else { shown }
        }
        'f' | 'g' | 'e' => match (arg, arg.as_f64()) {
            (Value::Number(inner), _) if !inner.is_f64() => bad(),
            (_, Some(number)) if verb == 'f' => format!("{number:.*}", precision.unwrap_or(6)),
            (_, Some(number)) => float(number),
            _ => bad(),
        },
        't' => match arg {
            Value::Bool(flag) => flag.to_string(),
            _ => bad(),
        },
        'T' => type_name(arg).to_owned(),
        'c' => match arg.as_u64().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32) {
            Some(letter) => letter.to_string(),
            None => bad(),
        },
        _ => bad(),
    }
}

/// JSON on one line. What only a table's row needs stays out of it.
pub(crate) fn json(value: &Value) -> String {
    if let Value::Object(map) = value
        && map.contains_key(super::super::table::LABELS)
    {
        let mut sorted: Vec<_> = map.iter().filter(|(key, _)| *key != super::super::table::LABELS).collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let map: Map<String, Value> =
            sorted.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        // Go's encoder escapes these in a row, and only there.
        let text = Value::Object(map).to_string();
        return text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    }
    typed::given(value).to_string()
}
