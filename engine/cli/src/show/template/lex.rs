//! A template's text into tokens.

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub at: usize,
    pub line: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Text outside of actions.
    Text(String),
    Open,
    Close,
    /// `.Name`
    Field(String),
    /// `.`
    Dot,
    /// `$name`, or `$`.
    Variable(String),
    Word(String),
    Text2(String),
    Int(i64),
    Float(f64),
    Pipe,
    Left,
    Right,
    Declare,
    Assign,
    Comma,
    Space,
}

/// What is wrong with a template.
#[derive(Debug)]
pub(super) struct Wrong {
    pub line: usize,
    pub message: String,
}

pub(super) fn lex(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut lexer = Lexer { text, at: 0, line: 1, tokens: Vec::new() };
    lexer.all()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, at: usize, kind: Kind) {
        self.tokens.push(Token { at, line: self.line, kind });
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { line: self.line, message: message.into() })
    }

    fn all(&mut self) -> Result<(), Wrong> {
        let mut trim = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let mut text = open.map_or(rest, |at| &rest[..at]);
            let length = text.len();
            if trim {
                text = text.trim_start_matches([' ', '\t', '\r', '\n']);
            }
            let trims_left = open.is_some_and(|at| {
                let inside = &rest[at + 2..];
                inside.starts_with('-') && inside[1..].starts_with([' ', '\t', '\r', '\n'])
            });
            if trims_left {
                text = text.trim_end_matches([' ', '\t', '\r', '\n']);
            }
            if !text.is_empty() {
                self.push(self.at, Kind::Text(text.to_owned()));
            }
            self.line += rest[..length].matches('\n').count();
            self.at += length;
            if open.is_none() {
                return Ok(());
            }
            let begin = self.at;
            self.at += if trims_left { 3 } else { 2 };
            let inside = self.rest().trim_start_matches([' ', '\t', '\r', '\n']);
            if inside.starts_with("/*") && (trims_left || self.rest().starts_with("/*")) {
                trim = self.comment()?;
                continue;
            }
            self.push(begin, Kind::Open);
            trim = self.action()?;
        }
    }

    fn comment(&mut self) -> Result<bool, Wrong> {
        let Some(end) = self.rest().find("*/") else { return self.wrong("unclosed comment") };
        self.line += self.rest()[..end].matches('\n').count();
        self.at += end + 2;
        let rest = self.rest();
        if let Some(after) = rest.strip_prefix("}}") {
            self.at = self.text.len() - after.len();
            return Ok(false);
        }
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if let Some(after) = trimmed.strip_prefix("-}}").filter(|_| trimmed.len() < rest.len()) {
            self.at = self.text.len() - after.len();
            return Ok(true);
        }
        self.wrong("comment ends before closing delimiter")
    }

    /// The inside of an action up to its end; returns whether the end trims.
    fn action(&mut self) -> Result<bool, Wrong> {
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            let at = self.at;
            let Some(letter) = rest.chars().next() else { return self.wrong("unclosed action") };
            let spaces = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            if spaces > 0 && rest[spaces..].starts_with("-}}") {
                self.at += spaces;
                self.push(self.at, Kind::Close);
                self.at += 3;
                return self.closed(depth).map(|()| true);
            }
            if rest.starts_with("}}") {
                self.push(at, Kind::Close);
                self.at += 2;
                return self.closed(depth).map(|()| false);
            }
            if spaces > 0 {
                self.push(at, Kind::Space);
                self.line += rest[..spaces].matches('\n').count();
                self.at += spaces;
                continue;
            }
            let (kind, length) = match letter {
                '|' => (Kind::Pipe, 1),
                ',' => (Kind::Comma, 1),
                '(' => {
                    depth += 1;
                    (Kind::Left, 1)
                }
                ')' => {
                    if depth == 0 {
                        return self.wrong("unexpected right paren");
                    }
                    depth -= 1;
                    (Kind::Right, 1)
                }
                ':' if rest.starts_with(":=") => (Kind::Declare, 2),
                '=' => (Kind::Assign, 1),
                '"' => self.quoted(rest)?,
                '`' => match rest[1..].find('`') {
                    Some(end) => (Kind::Text2(rest[1..=end].to_owned()), end + 2),
                    None => return self.wrong("unterminated raw quoted string"),
                },
                '\'' => self.character(rest)?,
                '$' => {
                    let length = 1 + word_length(&rest[1..]);
                    (Kind::Variable(rest[..length].to_owned()), length)
                }
                '.' if !rest[1..].starts_with(|next: char| next.is_ascii_digit()) => {
                    let length = word_length(&rest[1..]);
                    if length == 0 {
                        (Kind::Dot, 1)
                    } else {
                        (Kind::Field(rest[1..=length].to_owned()), length + 1)
                    }
                }
                '0'..='9' | '+' | '-' | '.' => self.number(rest)?,
                letter if letter.is_alphabetic() || letter == '_' => {
                    let length = word_length(rest);
                    (Kind::Word(rest[..length].to_owned()), length)
                }
                other => {
                    return self.wrong(format!("unexpected {} in command", char_name(other)));
                }
            };
            self.push(at, kind);
            self.at += length;
        }
    }

    fn closed(&self, depth: usize) -> Result<(), Wrong> {
        if depth > 0 { self.wrong("unclosed left paren") } else { Ok(()) }
    }

    fn quoted(&self, rest: &str) -> Result<(Kind, usize), Wrong> {
        let mut text = String::new();
        let mut letters = rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => return Ok((Kind::Text2(text), at + 1)),
                '\n' => break,
                '\\' => match letters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 'a')) => text.push('\x07'),
                    Some((_, 'x')) => {
                        let code: String = letters.by_ref().take(2).map(|(_, digit)| digit).collect();
                        text.push(u8::from_str_radix(&code, 16).map_or('\u{fffd}', char::from));
                    }
                    Some((_, 'u')) => {
                        let code: String = letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        let letter = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        text.push(letter.unwrap_or('\u{fffd}'));
                    }
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                letter => text.push(letter),
            }
        }
        self.wrong("unterminated quoted string")
    }

    fn character(&self, rest: &str) -> Result<(Kind, usize), Wrong> {
        let mut letters = rest.chars().skip(1);
        match (letters.next(), letters.next()) {
            (Some(letter), Some('\'')) => {
                Ok((Kind::Int(i64::from(u32::from(letter))), letter.len_utf8() + 2))
            }
            _ => self.wrong("unterminated character constant"),
        }
    }

    fn number(&self, rest: &str) -> Result<(Kind, usize), Wrong> {
        let length = rest
            .char_indices()
            .skip(1)
            .find(|(_, letter)| !(letter.is_ascii_alphanumeric() || *letter == '.' || *letter == '_'))
            .map_or(rest.len(), |(at, _)| at);
        let text = &rest[..length];
        if let Some(number) = crate::words::check::int(text) {
            return Ok((Kind::Int(number), length));
        }
        match text.parse::<f64>() {
            Ok(number) => Ok((Kind::Float(number), length)),
            Err(_) => self.wrong(format!("bad number syntax: {}", crate::words::check::quote(text))),
        }
    }
}

fn word_length(text: &str) -> usize {
    text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len())
}

fn char_name(letter: char) -> String {
    format!("{} in command", crate::words::check::quote(&letter.to_string())).replace(" in command", "")
}
