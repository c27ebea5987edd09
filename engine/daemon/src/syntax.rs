//! What is wrong with a text that should be JSON, in the words of Docker's clients: those of Go.
//!
//! Asked only of texts that serde has refused: a walk through the grammar of RFC 8259 up to the first
//! character that has no place in it.

/// The first error of a text; `None` if it is JSON after all.
#[must_use]
pub fn wrong(text: &[u8]) -> Option<String> {
    let mut walk = Walk { text, at: 0 };
    match walk.value(0) {
        Err(Wrong::End) => return Some("unexpected EOF".to_owned()),
        Err(Wrong::Character(character, place)) => {
            return Some(format!("invalid character {} {place}", quoted(character)));
        }
        Err(Wrong::TooDeep) => return Some("exceeded max depth".to_owned()),
        Ok(()) => {}
    }
    walk.space();
    walk.peek().ok().map(|_| "unexpected content after JSON".to_owned())
}

/// So deep may lists and objects lie in each other, as for serde: each level takes some of the stack.
const DEEPEST: usize = 128;

enum Wrong {
    /// The text ends before its value does.
    End,
    /// A character, and where it stands.
    Character(u8, String),
    TooDeep,
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&self) -> Result<u8, Wrong> {
        self.text.get(self.at).copied().ok_or(Wrong::End)
    }

    fn next(&mut self) -> Result<u8, Wrong> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Wrong> {
        self.space();
        match self.next()? {
            b'{' | b'[' if depth >= DEEPEST => Err(Wrong::TooDeep),
            b'{' => self.object(depth + 1),
            b'[' => self.list(depth + 1),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' => match self.next()? {
                digit @ b'0'..=b'9' => self.number(digit),
                other => Err(stray(other, "in numeric literal")),
            },
            digit @ b'0'..=b'9' => self.number(digit),
            other => Err(stray(other, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Wrong> {
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            match self.next()? {
                b'"' => self.string()?,
                other => return Err(stray(other, "looking for beginning of object key string")),
            }
            self.space();
            match self.next()? {
                b':' => self.value(depth)?,
                other => return Err(stray(other, "after object key")),
            }
            self.space();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(()),
                other => return Err(stray(other, "after object key:value pair")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), Wrong> {
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            match self.next()? {
                b',' => {}
                b']' => return Ok(()),
                other => return Err(stray(other, "after array element")),
            }
        }
    }

    /// The rest of a string, after its quote.
    fn string(&mut self) -> Result<(), Wrong> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.next()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(stray(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    escaped if b"bfnrt\\/\"".contains(&escaped) => {}
                    other => return Err(stray(other, "in string escape code")),
                },
                control @ ..0x20 => return Err(stray(control, "in string literal")),
                _ => {}
            }
        }
    }

    /// The rest of a word, after its first letter.
    fn literal(&mut self, word: &str) -> Result<(), Wrong> {
        for expected in word.bytes().skip(1) {
            let found = self.next()?;
            if found != expected {
                let place = format!("in literal {word} (expecting {})", quoted(expected));
                return Err(stray(found, &place));
            }
        }
        Ok(())
    }

    /// The rest of a number, after its first digit.
    fn number(&mut self, first: u8) -> Result<(), Wrong> {
        if first != b'0' {
            self.digits();
        }
        if self.peek().is_ok_and(|byte| byte == b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
        }
        if self.peek().is_ok_and(|byte| matches!(byte, b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Result<(), Wrong> {
        let byte = self.next()?;
        if !byte.is_ascii_digit() {
            return Err(stray(byte, place));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

fn stray(byte: u8, place: &str) -> Wrong {
    Wrong::Character(byte, place.to_owned())
}

/// A byte between single quotes, as the character with its number.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        ..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..0xa0 => format!("'\\u{byte:04x}'"),
        byte => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_character_without_a_place_is_named() {
        for (text, words) in [
            ("{invalid json", "invalid character 'i' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("<a>", "invalid character '<' looking for beginning of value"),
            ("[tru]", "invalid character ']' in literal true (expecting 'e')"),
            ("-a", "invalid character 'a' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+x", "invalid character 'x' in exponent of numeric literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
            ("{\"a\":", "unexpected EOF"),
            ("\"a", "unexpected EOF"),
            ("{} trailing", "unexpected content after JSON"),
            ("01", "unexpected content after JSON"),
        ] {
            assert_eq!(wrong(text.as_bytes()).as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn what_is_json_has_nothing_wrong() {
        for text in ["{}", " [ ] ", "{\"a\":[1,-2.5e-3,\"\\u00e9\\n\",null,true,false]}", "0", "\"\u{fc}\"\n"]
        {
            assert_eq!(wrong(text.as_bytes()), None, "{text}");
        }
        let deep = "[".repeat(1_000_000);
        assert_eq!(wrong(deep.as_bytes()).as_deref(), Some("exceeded max depth"));
    }
}
