//! From a file's lines to its logical lines: comments out, continued lines joined,
//! heredocs collected.
//!
//! A line that ends with the escape character goes on in the next one, over comments
//! and (for old files' sake) empty lines. `\\` at the end of a line does not continue it.

use super::directive::Directives;
use super::error::{Error, Problem};
use super::heredoc::{self, Heredoc};
use super::text::{Position, Text};
use super::words;

/// The longest line, in bytes; Docker's.
pub const LONGEST_LINE: usize = 65535;

/// One logical line: an instruction, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: Text,
    pub(crate) last: u32,
    /// The comments right before it.
    pub(crate) comments: Vec<String>,
    /// The first empty line within it.
    pub(crate) empty: Option<u32>,
    pub(crate) heredocs: Vec<Heredoc>,
}

/// Splits a file that was read into lines with their ends.
pub(crate) fn split(file: &[&str], directives: &Directives, errors: &mut Vec<Error>) -> Vec<Line> {
    let mut reader = Lines { file, next: directives.lines, escape: directives.escape };
    let (mut found, mut comments) = (Vec::new(), Vec::new());
    while let Some((number, line)) = reader.take(errors) {
        let trimmed = line.trim_start();
        if let Some(comment) = trimmed.strip_prefix('#') {
            comments.push(comment.trim().to_owned());
            continue;
        }
        let comments = std::mem::take(&mut comments);
        if trimmed.trim_end().is_empty() {
            continue;
        }
        let mut one = Line { last: number, comments, ..Line::default() };
        let indent = line.len() - trimmed.len();
        let mut continued = reader.add(&mut one.text, trimmed, number, line[..indent].chars().count());
        while continued {
            let Some((number, line)) = reader.take(errors) else { break };
            one.last = number;
            let trimmed = line.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                one.empty.get_or_insert(number);
                continue;
            }
            continued = reader.add(&mut one.text, line, number, 0);
        }
        reader.heredocs(&mut one, errors);
        found.push(one);
    }
    found
}

struct Lines<'a, 'b> {
    file: &'b [&'a str],
    next: usize,
    escape: char,
}

impl<'a> Lines<'a, '_> {
    /// The next line's number and text, without its end.
    fn take(&mut self, errors: &mut Vec<Error>) -> Option<(u32, &'a str)> {
        let line = self.file.get(self.next)?;
        self.next += 1;
        let number = u32::try_from(self.next).unwrap_or(u32::MAX);
        if line.len() > LONGEST_LINE {
            errors.push(Error::new(Position { line: number, column: 1 }, Problem::LongLine));
        }
        Some((number, line.trim_end_matches(['\r', '\n'])))
    }

    /// Adds a line to a logical one; whether the next one belongs to it too.
    fn add(&self, text: &mut Text, line: &str, number: u32, indent: usize) -> bool {
        let at = Position { line: number, column: u32::try_from(indent + 1).unwrap_or(u32::MAX) };
        let body = line.trim_end_matches([' ', '\t']);
        let rest = body.strip_suffix(self.escape).filter(|rest| !rest.ends_with(self.escape));
        text.push(rest.unwrap_or(line), at);
        rest.is_some()
    }

    fn heredocs(&mut self, line: &mut Line, errors: &mut Vec<Error>) {
        if !line.text.as_str().contains("<<") || !takes_heredocs(&line.text) {
            return;
        }
        let found = heredoc::of_line(line.text.as_str()).unwrap_or_else(|problem| {
            errors.push(Error::new(line.text.at(0), Problem::Expand(problem)));
            Vec::new()
        });
        for mut doc in found {
            doc.at = Position { line: u32::try_from(self.next + 1).unwrap_or(u32::MAX), column: 1 };
            let mut ended = false;
            while let Some(text) = self.file.get(self.next) {
                self.next += 1;
                if doc.ends_with(text.trim_end_matches(['\r', '\n'])) {
                    ended = true;
                    break;
                }
                doc.content.push_str(text);
            }
            line.last = u32::try_from(self.next).unwrap_or(u32::MAX);
            if !ended {
                errors.push(Error::new(line.text.at(0), Problem::Unterminated(doc.name.clone())));
            }
            doc.settle();
            line.heredocs.push(doc);
        }
    }
}

/// Whether an instruction may have heredocs: RUN, COPY and ADD, unless they are in JSON.
fn takes_heredocs(line: &Text) -> bool {
    let (mut keyword, mut rest) = first(line);
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        (keyword, rest) = first(&rest);
    }
    let takes = ["RUN", "COPY", "ADD"].iter().any(|known| keyword.eq_ignore_ascii_case(known));
    takes && !matches!(words::json(&words::flags(&rest).1), Ok(Some(_)))
}

/// The first word, and what follows it.
fn first(line: &Text) -> (String, Text) {
    let line = line.trimmed();
    let split = line.as_str().find(words::blank).unwrap_or(line.as_str().len());
    (line.as_str()[..split].to_owned(), line.from(split))
}
