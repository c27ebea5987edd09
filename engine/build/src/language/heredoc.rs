//! Heredocs: files that stand in the Dockerfile itself.
//!
//! `<<NAME` in RUN, COPY or ADD: the lines after the instruction, up to one that is
//! just `NAME`. `<<-NAME` takes the tabs off the starts of lines; a quoted name keeps
//! variables from being expanded in it.

use serde::Serialize;

use super::expand::{Error, Rules, expand};
use super::text::Position;

/// One heredoc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heredoc {
    /// What ends it, and what a file of it is called.
    pub name: String,
    /// Its text, tabs taken off where it was asked for.
    pub content: String,
    /// Whether variables are expanded in it.
    pub expand: bool,
    /// Whether tabs at the starts of lines are taken off.
    pub chomp: bool,
    /// The stream that it is for, in RUN.
    pub descriptor: u32,
    /// Where its first line is.
    pub at: Position,
}

impl Heredoc {
    /// Whether a line, without its end, is the last one.
    pub(crate) fn ends_with(&self, line: &str) -> bool {
        let line = if self.chomp { line.trim_start_matches('\t') } else { line };
        line == self.name
    }

    /// The text with tabs taken off, if they are to be.
    pub(crate) fn settle(&mut self) {
        if self.chomp {
            let lines = self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t'));
            self.content = lines.collect();
        }
    }
}

/// Reads a word that may begin a heredoc: `3<<-"NAME"`.
///
/// # Errors
///
/// If it begins one, and its name can't be read.
pub(crate) fn parse(word: &str) -> Result<Option<Heredoc>, Error> {
    let digits = word.chars().take_while(char::is_ascii_digit).count();
    let (descriptor, rest) = word.split_at(digits);
    let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let rules = Rules { keep_unset: true, ..Rules::new('\\') };
    let nothing = |_: &str| None;
    let plain = expand(rest, rules, &nothing)?.words;
    let raw = expand(rest, Rules { raw_quotes: true, raw_escapes: true, ..rules }, &nothing)?.words;
    let ([name], [raw]) = (plain.as_slice(), raw.as_slice()) else { return Ok(None) };
    Ok(Some(Heredoc {
        name: name.clone(),
        expand: name == raw,
        chomp,
        descriptor: descriptor.parse().unwrap_or(0),
        ..Heredoc::default()
    }))
}

/// The heredocs that a logical line begins.
///
/// # Errors
///
/// As [`parse`].
pub(crate) fn of_line(line: &str) -> Result<Vec<Heredoc>, Error> {
    let rules = Rules { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Rules::new('\\') };
    // A line whose quotes don't close is the shell's to complain about.
    let words = expand(line, rules, &|_| None).map(|expanded| expanded.words).unwrap_or_default();
    words.iter().filter_map(|word| parse(word).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_begin_a_heredoc() {
        let names =
            |line: &str| of_line(line).expect("read").into_iter().map(|doc| doc.name).collect::<Vec<_>>();
        assert_eq!(names("RUN cat <<EOF"), ["EOF"]);
        assert_eq!(names("COPY <<a <<-'b c' /x/"), ["a", "b c"]);
        assert_eq!(names("RUN 3<<EOF cat"), ["EOF"]);
        assert!(names("RUN cat <<<EOF; x<<EOF '<<EOF' \"<<EOF\" << EOF").is_empty());
        let quoted = parse("<<-\"EOF\"").expect("read").expect("a heredoc");
        assert!(quoted.chomp && !quoted.expand);
        assert!(parse("<<EOF").expect("read").expect("a heredoc").expand);
        assert!(parse("<<EOF${A").is_err());
    }
}
