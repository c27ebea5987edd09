//! Patterns: a shell's in `${NAME#pattern}`, and file names' in COPY and `.dockerignore`.
//!
//! A pattern is a list of steps, and matching walks all of its places side by side:
//! the time is the pattern's length times the text's, whatever they contain.

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// This character.
    One(char),
    /// Any character but the separator.
    Any,
    /// Any number of characters but the separator.
    Many,
    /// Any number of characters, also separators.
    Deep,
    /// The start of `**/`: nothing at all, or what [`Step::Inside`] reads.
    Segments,
    /// The rest of `**/`: all up to some separator.
    Inside,
    /// A character of these ranges, or of none of them.
    Set { ranges: Vec<(char, char)>, not: bool },
}

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    steps: Vec<Step>,
    /// What `*` and `?` don't match: `/` in file names, a line's end in a shell's pattern.
    separator: char,
}

impl Pattern {
    /// A pattern of the shell: `*`, `?`, and `\` before one of them. `\/` and `\}` are those characters.
    ///
    /// # Errors
    ///
    /// The character that is escaped and must not be; NUL if nothing is after the `\`.
    pub fn shell(text: &str) -> Result<Self, char> {
        let mut steps = Vec::new();
        let mut characters = text.chars();
        while let Some(next) = characters.next() {
            steps.push(match next {
                '*' => Step::Many,
                '?' => Step::Any,
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Step::One(escaped),
                    other => return Err(other.unwrap_or('\0')),
                },
                other => Step::One(other),
            });
        }
        Ok(Self { steps, separator: '\n' })
    }

    /// A pattern of file names, as Go's `filepath.Match` reads it: `*`, `?`, `[a-z]`, `[^a-z]`, `\`.
    #[must_use]
    pub fn file(text: &str) -> Option<Self> {
        Self::files(text, false)
    }

    /// As [`Pattern::file`], and `**` is any number of folders: the patterns of `.dockerignore`.
    #[must_use]
    pub fn ignore(text: &str) -> Option<Self> {
        Self::files(text, true)
    }

    fn files(text: &str, deep: bool) -> Option<Self> {
        let mut steps = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(next) = characters.next() {
            let step = match next {
                '*' if deep && characters.peek() == Some(&'*') => {
                    while characters.next_if_eq(&'*').is_some() {}
                    if characters.next_if_eq(&'/').is_some() {
                        steps.push(Step::Segments);
                        Step::Inside
                    } else {
                        Step::Deep
                    }
                }
                '*' => Step::Many,
                '?' => Step::Any,
                '\\' => Step::One(characters.next()?),
                '[' => set(&mut characters)?,
                other => Step::One(other),
            };
            steps.push(step);
        }
        Some(Self { steps, separator: '/' })
    }

    /// Whether the whole text fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut last = false;
        self.walk(text.chars(), |_, fits| last = fits);
        last
    }

    /// The text without its shortest or longest start that fits.
    #[must_use]
    pub fn without_prefix<'a>(&self, text: &'a str, longest: bool) -> &'a str {
        let length = self.fit(text.chars(), longest);
        text.char_indices().nth(length.unwrap_or(0)).map_or_else(
            || if length.unwrap_or(0) == 0 { text } else { "" },
            |(byte, _)| text.get(byte..).unwrap_or_default(),
        )
    }

    /// The text without its shortest or longest end that fits.
    #[must_use]
    pub fn without_suffix<'a>(&self, text: &'a str, longest: bool) -> &'a str {
        let mut reversed = self.clone();
        reversed.steps.reverse();
        let length = reversed.fit(text.chars().rev(), longest).unwrap_or(0);
        let keep = text.chars().count() - length;
        text.char_indices().nth(keep).map_or(text, |(byte, _)| text.get(..byte).unwrap_or(text))
    }

    /// The text with the first piece, or each one, that fits replaced. `None` if it grows too long, or takes
    /// too long: a pattern is tried at each place of the text.
    #[must_use]
    pub fn replace(&self, text: &str, with: &str, all: bool) -> Option<String> {
        let (mut out, mut rest, mut after, mut work) = (String::new(), text, false, 0);
        loop {
            work += rest.len();
            if out.len() > super::expand::LARGEST || work > 64 * super::expand::LARGEST {
                return None;
            }
            let fit = self.fit(rest.chars(), true).filter(|length| *length > 0 || !after);
            after = fit.is_some_and(|length| length > 0);
            let length = fit.unwrap_or(0);
            if fit.is_some() {
                out.push_str(with);
                rest = rest.char_indices().nth(length).map_or("", |(byte, _)| &rest[byte..]);
                if !all {
                    return Some(out + rest);
                }
            }
            if length == 0 {
                let mut characters = rest.chars();
                let Some(next) = characters.next() else { return Some(out) };
                out.push(next);
                rest = characters.as_str();
                after = false;
            } else if rest.is_empty() {
                return Some(out);
            }
        }
    }

    /// How many characters of the text fit, from its start.
    fn fit(&self, text: impl Iterator<Item = char>, longest: bool) -> Option<usize> {
        let mut found = None;
        self.walk(text, |length, fits| {
            if fits && (longest || found.is_none()) {
                found = Some(length);
            }
        });
        found
    }

    /// Walks the text; tells after how many characters the whole pattern fits.
    fn walk(&self, text: impl Iterator<Item = char>, mut tell: impl FnMut(usize, bool)) {
        let end = self.steps.len();
        let mut places = vec![false; end + 1];
        places[0] = true;
        self.skip(&mut places);
        tell(0, places[end]);
        for (index, next) in text.enumerate() {
            let mut after = vec![false; end + 1];
            let mut alive = false;
            for (place, step) in self.steps.iter().enumerate().filter(|(place, _)| places[*place]) {
                let stays = match step {
                    Step::Many => next != self.separator,
                    Step::Deep | Step::Inside => true,
                    _ => false,
                };
                let goes = match step {
                    Step::One(one) => *one == next,
                    Step::Any => next != self.separator,
                    Step::Set { ranges, not } => {
                        next != self.separator
                            && ranges.iter().any(|(low, high)| (*low..=*high).contains(&next)) != *not
                    }
                    // The end of a folder: the segments may be over here.
                    Step::Inside => next == self.separator,
                    Step::Many | Step::Deep | Step::Segments => false,
                };
                after[place] |= stays;
                after[place + 1] |= goes;
                alive |= stays || goes;
            }
            places = after;
            self.skip(&mut places);
            tell(index + 1, places[end]);
            if !alive {
                return;
            }
        }
    }

    /// Goes on over the steps that may be nothing.
    fn skip(&self, places: &mut [bool]) {
        for (place, step) in self.steps.iter().enumerate() {
            if !places[place] {
                continue;
            }
            match step {
                Step::Many | Step::Deep => places[place + 1] = true,
                Step::Segments => {
                    places[place + 1] = true;
                    places[place + 2] = true;
                }
                _ => {}
            }
        }
    }
}

/// What follows `[`.
fn set(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Step> {
    let not = characters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && characters.next_if_eq(&']').is_some() {
            return Some(Step::Set { ranges, not });
        }
        let low = member(characters)?;
        let high = if characters.next_if_eq(&'-').is_some() { member(characters)? } else { low };
        ranges.push((low, high));
    }
}

fn member(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match characters.next()? {
        '-' | ']' => None,
        '\\' => characters.next(),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        for (pattern, text, wanted) in [
            ("*.go", "a.go", true),
            ("*.go", "a/b.go", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("**", "a/b", false),
        ] {
            assert_eq!(Pattern::file(pattern).expect(pattern).matches(text), wanted, "{pattern} {text}");
        }
        assert!(
            Pattern::file("[").is_none() && Pattern::file("a[]").is_none() && Pattern::file("\\").is_none()
        );
    }

    #[test]
    fn ignored_names() {
        for (pattern, text, wanted) in [
            ("**/foo", "foo", true),
            ("**/foo", "a/foo", true),
            ("**/foo", "a/b/foo", true),
            ("**/foo", "afoo", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("a/**", "a/b/c", true),
            ("**", "a/b/c", true),
            ("**/*.go", "x.go", true),
            ("**/*.go", "a/x.go", true),
            ("dir/*/x", "dir/a/x", true),
            ("dir/*/x", "dir/a/b/x", false),
        ] {
            assert_eq!(Pattern::ignore(pattern).expect(pattern).matches(text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hard_pattern_takes_no_time() {
        let pattern = Pattern::file(&"a*".repeat(500)).expect("read");
        assert!(!pattern.matches(&("a".repeat(5000) + "b/")));
    }
}
