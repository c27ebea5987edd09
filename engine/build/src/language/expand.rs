//! Variables and quotes in the words of an instruction.
//!
//! A Dockerfile's expansion looks like a shell's and is a smaller thing: `$NAME`,
//! `${NAME}` and these modifiers, in which the word may have variables of its own:
//!
//! | written | is |
//! |---|---|
//! | `${N-word}`, `${N:-word}` | `word` if N is unset (with the colon: or empty) |
//! | `${N+word}`, `${N:+word}` | `word` if N is set (and not empty), else nothing |
//! | `${N?word}`, `${N:?word}` | an error that says `word` if N is unset (or empty) |
//! | `${N#pattern}`, `${N##pattern}` | N without the shortest, longest start that fits |
//! | `${N%pattern}`, `${N%%pattern}` | N without the shortest, longest end that fits |
//! | `${N/pattern/word}`, `${N//pattern/word}` | N with the first, each piece that fits replaced |
//!
//! See "Environment replacement" in Docker's Dockerfile reference. What a text of a
//! few bytes can grow to is bounded: [`LARGEST`].

use std::collections::BTreeSet;

use super::pattern::Pattern;

/// The longest text that an expansion may give, in bytes.
pub const LARGEST: usize = 1024 * 1024;

/// How deep one substitution may stand in another.
const DEEPEST: u32 = 64;

/// Why a word can't be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `${` without its end.
    #[error("syntax error: missing '{0}'")]
    Missing(&'static str),
    /// `${}` and its like.
    #[error("syntax error: bad substitution")]
    Bad,
    /// A modifier that there isn't.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    /// A quote without its end.
    #[error("unexpected end of statement while looking for matching {0}")]
    Quote(&'static str),
    /// `${NAME:?message}` of a variable that is unset or empty.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the author says.
        message: String,
    },
    /// A pattern that can't be read.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What must not be escaped.
        escaped: char,
    },
    /// Too much.
    #[error("the expansion grows past {LARGEST} bytes, the most that a word may have, or takes too long")]
    TooLong,
    /// Too deep.
    #[error("substitutions are nested more than {DEEPEST} deep")]
    TooDeep,
}

/// How a text is read.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The character that takes the next one's meaning away.
    pub escape: char,
    /// Quotes stay in the result.
    pub raw_quotes: bool,
    /// Escape characters stay in the result.
    pub raw_escapes: bool,
    /// Quotes mean nothing: for the bodies of heredocs.
    pub no_quotes: bool,
    /// Variables that are not set stay as they are written.
    pub keep_unset: bool,
}

impl Rules {
    /// The rules of an instruction's words.
    #[must_use]
    pub fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, no_quotes: false, keep_unset: false }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text as one word.
    pub text: String,
    /// The text split at its unquoted white space.
    pub words: Vec<String>,
    /// The variables that were asked for and set.
    pub used: BTreeSet<String>,
    /// The variables that were asked for and not set.
    pub unset: BTreeSet<String>,
}

/// Expands a text; `get` tells a variable's value.
///
/// # Errors
///
/// See [`Error`].
pub fn expand(text: &str, rules: Rules, get: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, Error> {
    let mut reader =
        Reader { rules, get, text: text.chars().collect(), place: 0, depth: 0, done: Expanded::default() };
    let (text, words) = reader.until(None, rules.raw_escapes)?;
    Ok(Expanded { text, words, ..reader.done })
}

struct Reader<'a> {
    rules: Rules,
    get: &'a dyn Fn(&str) -> Option<String>,
    text: Vec<char>,
    place: usize,
    depth: u32,
    done: Expanded,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.place).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.place += usize::from(next.is_some());
        next
    }

    /// Reads up to `stop`, or to the end of the text.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), Error> {
        let before = std::mem::replace(&mut self.rules.raw_escapes, raw_escapes);
        let result = self.read(stop);
        self.rules.raw_escapes = before;
        result
    }

    fn read(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), Error> {
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(next) = self.peek() {
            if text.len() > LARGEST {
                return Err(Error::TooLong);
            }
            if stop == Some(next) {
                self.place += 1;
                return Ok((text, words.end()));
            }
            match next {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|character| words.push(character));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.rules.no_quotes => {
                    let quoted = if next == '"' { self.double() } else { self.single() }?;
                    words.push_quoted(&quoted);
                    text.push_str(&quoted);
                }
                _ if next == self.rules.escape => {
                    self.place += 1;
                    if self.rules.raw_escapes {
                        words.push_quoted(next.encode_utf8(&mut [0; 4]));
                        text.push(next);
                    }
                    let Some(escaped) = self.next() else { break };
                    words.push_quoted(escaped.encode_utf8(&mut [0; 4]));
                    text.push(escaped);
                }
                _ => {
                    self.place += 1;
                    words.push(next);
                    text.push(next);
                }
            }
        }
        match stop {
            Some('/') => Err(Error::Missing("/")),
            Some(_) => Err(Error::Missing("}")),
            None if text.len() > LARGEST => Err(Error::TooLong),
            None => Ok((text, words.end())),
        }
    }

    fn single(&mut self) -> Result<String, Error> {
        let mut text = String::new();
        let quote = self.next().filter(|_| self.rules.raw_quotes);
        text.extend(quote);
        while let Some(next) = self.next() {
            if next == '\'' {
                text.extend(quote);
                return Ok(text);
            }
            text.push(next);
        }
        Err(Error::Quote("single-quote"))
    }

    fn double(&mut self) -> Result<String, Error> {
        let mut text = String::new();
        let quote = self.next().filter(|_| self.rules.raw_quotes);
        text.extend(quote);
        while let Some(next) = self.peek() {
            if text.len() > LARGEST {
                return Err(Error::TooLong);
            }
            if next == '$' {
                text.push_str(&self.dollar()?);
                continue;
            }
            self.place += 1;
            if next == '"' {
                text.extend(quote);
                return Ok(text);
            }
            if next != self.rules.escape {
                text.push(next);
                continue;
            }
            // Only these can be escaped between double quotes; any other escape character is itself.
            if self.rules.raw_escapes {
                text.push(next);
            }
            match self.peek() {
                None => {}
                Some(escaped) if matches!(escaped, '"' | '$') || escaped == self.rules.escape => {
                    self.place += 1;
                    text.push(escaped);
                }
                Some(_) => text.push(next),
            }
        }
        Err(Error::Quote("double-quote"))
    }

    /// `$…`
    fn dollar(&mut self) -> Result<String, Error> {
        self.place += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            let value = self.value(&name);
            return Ok(match value {
                None if self.rules.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.place += 1;
        if self.depth >= DEEPEST {
            return Err(Error::TooDeep);
        }
        self.depth += 1;
        let value = self.braces();
        self.depth -= 1;
        value
    }

    /// What is between `${` and `}`.
    fn braces(&mut self) -> Result<String, Error> {
        match self.peek() {
            None => return Err(Error::Missing("}")),
            Some('{' | '}' | ':') => return Err(Error::Bad),
            Some(_) => {}
        }
        let name = self.name();
        let (mut modifier, colon) = match self.next() {
            None => return Err(Error::Missing("}")),
            Some('}') => {
                let value = self.value(&name);
                return Ok(match value {
                    None if self.rules.keep_unset => format!("${{{name}}}"),
                    value => value.unwrap_or_default(),
                });
            }
            Some('/') => return self.replace(&name),
            Some(':') => (self.next().ok_or(Error::Missing("}"))?, true),
            Some(other) => (other, false),
        };
        let written = if colon { format!(":{modifier}") } else { modifier.to_string() };
        if !matches!(modifier, '-' | '+' | '?' | '#' | '%') {
            return Err(Error::Modifier(written));
        }
        let (mut word, _) = self.until(Some('}'), matches!(modifier, '#' | '%'))?;
        let value = self.value(&name);
        if value.is_none() && self.rules.keep_unset {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let full = value.as_ref().is_some_and(|value| !(colon && value.is_empty()));
        let text = value.clone().unwrap_or_default();
        match modifier {
            '-' => Ok(if full { text } else { word }),
            '+' => Ok(if full { word } else { String::new() }),
            '?' if full => Ok(text),
            '?' => {
                let wish = if value.is_none() { "unset" } else { "empty" };
                if word.is_empty() {
                    word = format!("is not allowed to be {wish}");
                }
                Err(Error::Required { name, message: word })
            }
            _ => {
                let longest = word.starts_with(modifier);
                if longest {
                    word.remove(0);
                }
                let pattern = pattern(&word)?;
                if std::mem::replace(&mut modifier, ' ') == '#' {
                    Ok(pattern.without_prefix(&text, longest).to_owned())
                } else {
                    Ok(pattern.without_suffix(&text, longest).to_owned())
                }
            }
        }
    }

    /// What follows `${NAME/`.
    fn replace(&mut self, name: &str) -> Result<String, Error> {
        let all = self.peek() == Some('/');
        self.place += usize::from(all);
        let (wanted, _) = self.until(Some('/'), true)?;
        let (with, _) = self.until(Some('}'), true)?;
        let Some(value) = self.value(name) else {
            let slash = if all { "//" } else { "/" };
            let written = format!("${{{name}{slash}{wanted}/{with}}}");
            return Ok(if self.rules.keep_unset { written } else { String::new() });
        };
        pattern(&wanted)?.replace(&value, &with, all).ok_or(Error::TooLong)
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.get)(name);
        let list = if value.is_some() { &mut self.done.used } else { &mut self.done.unset };
        list.insert(name.to_owned());
        value
    }

    /// A name: letters, digits and `_`; or one number, or one of the shell's special characters.
    fn name(&mut self) -> String {
        let rest = self.text.get(self.place..).unwrap_or_default();
        let length = match rest.first() {
            Some(first) if first.is_numeric() => rest.iter().take_while(|next| next.is_numeric()).count(),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest.iter().take_while(|next| next.is_alphanumeric() || **next == '_').count(),
        };
        self.place += length;
        rest[..length].iter().collect()
    }
}

fn pattern(text: &str) -> Result<Pattern, Error> {
    Pattern::shell(text).map_err(|escaped| Error::Pattern { pattern: text.to_owned(), escaped })
}

/// Words on their way. White space splits them only where it was not quoted.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn push(&mut self, character: char) {
        if !character.is_whitespace() {
            self.word.push(character);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn push_quoted(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn end(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let get = |name: &str| match name {
            "A" => Some("abcabc".to_owned()),
            "E" => Some(String::new()),
            "P" => Some("/usr/local/lib/x.tar.gz".to_owned()),
            "W" => Some("one two".to_owned()),
            _ => None,
        };
        expand(text, Rules::new('\\'), &get).map(|done| done.text).map_err(|error| error.to_string())
    }

    #[test]
    fn modifiers() {
        for (text, wanted) in [
            ("$A-$B-", "abcabc--"),
            ("${A}x", "abcabcx"),
            ("\\$A '$A' \"$A\"", "$A $A abcabc"),
            ("${B:-d} ${E:-d} ${E-d} ${A:-d}", "d d  abcabc"),
            ("${B:+d} ${E:+d} ${E+d} ${A:+d}", "  d d"),
            ("${B:-${C:-$A}}", "abcabc"),
            ("${A#a} ${A#a*c} ${A##a*c} ${A#b}", "bcabc abc  abcabc"),
            ("${A%c} ${A%b*} ${A%%b*} ${A%?}", "abcab abca a abcab"),
            (
                "${P##*/} ${P%/*} ${P%.*} ${P%%.*}",
                "x.tar.gz /usr/local/lib /usr/local/lib/x.tar /usr/local/lib/x",
            ),
            ("${A/b/X} ${A//b/X} ${A//[/X}", "aXcabc aXcaXc abcabc"),
            ("${P//\\//_}", "_usr_local_lib_x.tar.gz"),
            ("${A/a*c/X}", "X"),
            ("a$", "a$"),
            ("$1$@", ""),
            ("\"a\\\"b\\x\"", "a\"b\\x"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, wanted) in [
            ("${", "syntax error: missing '}'"),
            ("${A", "syntax error: missing '}'"),
            ("${A:-x", "syntax error: missing '}'"),
            ("${}", "syntax error: bad substitution"),
            ("${A^}", "unsupported modifier (^) in substitution"),
            ("${A:=x}", "unsupported modifier (:=) in substitution"),
            ("${B?}", "B: is not allowed to be unset"),
            ("${B:?say why}", "B: say why"),
            ("${E:?}", "E: is not allowed to be empty"),
            ("'a", "unexpected end of statement while looking for matching single-quote"),
            ("\"a", "unexpected end of statement while looking for matching double-quote"),
            ("${A#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"),
        ] {
            assert_eq!(expanded(text), Err(wanted.to_owned()), "{text}");
        }
        let deep = "${B:-".repeat(1000) + &"}".repeat(1000);
        assert!(expanded(&deep).expect_err("it is refused").contains("nested"));
        let bomb = |_: &str| Some("x".repeat(LARGEST / 2));
        assert_eq!(expand("$a$a$a$a", Rules::new('\\'), &bomb), Err(Error::TooLong));
    }

    #[test]
    fn words_are_split_where_they_are_not_quoted() {
        let get = |name: &str| (name == "W").then(|| "one two".to_owned());
        let words = |text| expand(text, Rules::new('\\'), &get).expect("expanded").words;
        assert_eq!(words("$W \"$W\" a\\ b 'c d'e"), ["one", "two", "one two", "a b", "c de"]);
    }
}
