//! The ways in which instructions' arguments are split: at white space, into
//! `name=value` words with quotes, into flags, or as a JSON array.

use super::error::{Error, Problem};
use super::text::{Text, Word};

/// What separates a keyword from its arguments, and plain words from each other: BuildKit's
/// `[\t\v\f\r ]`. A no-break space, say, is a part of a word.
pub(crate) fn blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// The text without the [`blank`]s before it.
pub(crate) fn skip(text: &Text) -> Text {
    let whole = text.as_str();
    text.from(whole.len() - whole.trim_start_matches(blank).len())
}

/// Splits at [`blank`]s, nothing else.
pub(crate) fn plain(text: &Text) -> Vec<Word> {
    let (mut words, mut start) = (Vec::new(), None);
    let whole = text.as_str();
    for (byte, character) in whole.char_indices().chain([(whole.len(), ' ')]) {
        match (blank(character), start) {
            (true, Some(begin)) => {
                words.push(Word::new(&whole[begin..byte], text.at(begin)));
                start = None;
            }
            (false, None) => start = Some(byte),
            _ => {}
        }
    }
    words
}

/// Splits at white space outside of quotes; quotes and escapes stay in the words.
pub(crate) fn quoted(text: &Text, escape: char) -> Vec<Word> {
    let (mut words, mut word, mut start, mut quote) = (Vec::new(), String::new(), None, None);
    let mut characters = text.as_str().char_indices();
    while let Some((byte, next)) = characters.next() {
        if quote.is_none() && next.is_whitespace() {
            words.extend(start.take().map(|begin| Word::new(std::mem::take(&mut word), text.at(begin))));
            continue;
        }
        start.get_or_insert(byte);
        if next == escape && quote != Some('\'') {
            // An escape character that escapes nothing is dropped.
            if let Some((_, escaped)) = characters.next() {
                word.extend([next, escaped]);
            }
            continue;
        }
        match quote {
            None if matches!(next, '\'' | '"') => quote = Some(next),
            Some(open) if open == next => quote = None,
            _ => {}
        }
        word.push(next);
    }
    words.extend(start.map(|begin| Word::new(word, text.at(begin))));
    // Nothing but an escape character that escapes nothing.
    words.retain(|word| !word.text.is_empty());
    words
}

/// Takes the flags off the front: words that begin with `--`, without their quotes. `--` alone ends them.
pub(crate) fn flags(text: &Text) -> (Vec<Word>, Text) {
    let whole = text.as_str();
    let mut flags = Vec::new();
    let mut place = 0;
    loop {
        place += whole[place..].len() - whole[place..].trim_start_matches(blank).len();
        if !whole[place..].starts_with("--") {
            return (flags, text.from(place));
        }
        let (mut word, mut quote, mut end) = (String::new(), None, whole.len());
        let mut characters = whole[place..].char_indices();
        while let Some((byte, next)) = characters.next() {
            match (next, quote) {
                (_, None) if blank(next) => {
                    end = place + byte;
                    break;
                }
                ('\'' | '"', None) => quote = Some(next),
                ('\\', _) => word.extend(characters.next().map(|(_, escaped)| escaped)),
                (_, Some(open)) if open == next => quote = None,
                _ => word.push(next),
            }
        }
        if word == "--" {
            return (flags, text.from(end));
        }
        flags.push(Word::new(word, text.at(place)));
        place = end;
    }
}

/// Reads a JSON array of strings. `None` if it is none: then it is the other form.
///
/// # Errors
///
/// If it is an array of something else.
pub(crate) fn json(text: &Text) -> Result<Option<Vec<String>>, Error> {
    let rest = text.as_str().trim_start();
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(serde_json::Value::Array(values)) = serde_json::from_str(rest) else { return Ok(None) };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    });
    match strings.collect() {
        Some(strings) => Ok(Some(strings)),
        None => Err(Error::new(text.trimmed().at(0), Problem::NotStrings)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::text::Position;

    fn text(text: &str) -> Text {
        let mut made = Text::default();
        made.push(text, Position { line: 1, column: 1 });
        made
    }

    #[test]
    fn flags_come_first() {
        let (flags, rest) = flags(&text(" --a=b  --c=\"d e\" --f=\\\"x -- --g h"));
        let flags: Vec<_> = flags.iter().map(|flag| (flag.text.as_str(), flag.at.column)).collect();
        assert_eq!(flags, [("--a=b", 2), ("--c=d e", 9), ("--f=\"x", 19)]);
        assert_eq!(rest.as_str(), " --g h");
    }

    #[test]
    fn quotes_hold_words_together() {
        let words = quoted(&text("a=\"b c\" d=e\\ f g='\\' h=\"\\\" i\" j\\"), '\\');
        let words: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(words, ["a=\"b c\"", "d=e\\ f", "g='\\'", "h=\"\\\" i\"", "j"]);
    }

    #[test]
    fn json_is_json_or_not() {
        assert_eq!(json(&text(" [\"a\", \"b\"] ")).expect("read"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(json(&text("['a']")).expect("read"), None);
        assert_eq!(json(&text("[\"a\"] x")).expect("read"), None);
        assert!(json(&text("[1]")).is_err());
    }
}
