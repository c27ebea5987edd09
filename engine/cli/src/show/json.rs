//! JSON as the daemon wrote it, indented: numbers, escapes and the order of keys
//! stay as they came.

/// Indents a JSON text by four spaces a level, as `docker inspect` shows it.
/// `prefix` stands before each line but the first.
pub(crate) fn indent(text: &str, prefix: &str, step: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if in_text {
            out.push(letter);
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match letter {
            '"' => {
                in_text = true;
                out.push(letter);
            }
            '{' | '[' => {
                out.push(letter);
                while letters.peek().is_some_and(|next| next.is_whitespace()) {
                    letters.next();
                }
                if let Some(close) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, prefix, step, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, prefix, step, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, prefix, step, depth);
            }
            ':' => out.push_str(": "),
            letter if letter.is_whitespace() => {}
            letter => out.push(letter),
        }
    }
    out
}

fn line(out: &mut String, prefix: &str, step: &str, depth: usize) {
    out.push('\n');
    out.push_str(prefix);
    for _ in 0..depth {
        out.push_str(step);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn indents_and_leaves_texts_alone() {
        let text = r#"{"a":[],"b":{"c":"{,:\"}","d":1.50}}"#;
        let expected =
            "{\n    \"a\": [],\n    \"b\": {\n        \"c\": \"{,:\\\"}\",\n        \"d\": 1.50\n    }\n}";
        assert_eq!(super::indent(text, "", "    "), expected);
    }
}
