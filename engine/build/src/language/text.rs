//! Places in a Dockerfile, and text that knows where it came from.
//!
//! An instruction may stretch over several lines. It is read as one logical line,
//! and each byte of that line still knows the line and column that it was written in.

use std::fmt;

use serde::Serialize;

/// A place in a file: line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A piece of an instruction, with the place of its first character.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Word {
    /// What is written, as far as its own syntax goes: a flag without its quotes, for instance.
    pub text: String,
    /// Where it begins.
    pub at: Position,
}

impl Word {
    /// A word at a place.
    pub fn new(text: impl Into<String>, at: Position) -> Self {
        Self { text: text.into(), at }
    }
}

/// Text that was put together from several lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    text: String,
    /// From which byte on the text came from where; sorted.
    marks: Vec<(usize, Position)>,
}

impl Text {
    /// Adds a piece that stands at a place of the file.
    pub(crate) fn push(&mut self, piece: &str, at: Position) {
        self.marks.push((self.text.len(), at));
        self.text.push_str(piece);
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the character at a byte of the text was written. Past the end: the place after the last character.
    #[must_use]
    pub fn at(&self, byte: usize) -> Position {
        let byte = byte.min(self.text.len());
        let index = self.marks.partition_point(|(start, _)| *start <= byte);
        let Some((start, at)) = index.checked_sub(1).and_then(|index| self.marks.get(index)) else {
            return Position { line: 1, column: 1 };
        };
        let characters = self.text.get(*start..byte).map_or(0, |text| text.chars().count());
        Position { line: at.line, column: at.column + u32::try_from(characters).unwrap_or(u32::MAX / 2) }
    }

    /// The part from a byte on.
    pub(crate) fn from(&self, byte: usize) -> Self {
        let mut rest = Self::default();
        rest.push(self.text.get(byte..).unwrap_or_default(), self.at(byte));
        let later = self.marks.iter().filter(|(start, _)| *start > byte);
        rest.marks.extend(later.map(|(start, at)| (start - byte, *at)));
        rest
    }

    /// The part up to a byte.
    pub(crate) fn until(&self, byte: usize) -> Self {
        let text = self.text.get(..byte).unwrap_or(&self.text).to_owned();
        let marks = self.marks.iter().filter(|(start, _)| *start <= text.len()).copied().collect();
        Self { text, marks }
    }

    /// Without white space around it.
    pub(crate) fn trimmed(&self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        let rest = self.from(start);
        let end = rest.text.trim_end().len();
        rest.until(end)
    }

    /// The whole as one word.
    pub(crate) fn word(&self) -> Word {
        Word::new(self.text.clone(), self.at(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_knows_its_place() {
        let mut text = Text::default();
        text.push("RUN é ", Position { line: 2, column: 3 });
        text.push("x", Position { line: 4, column: 1 });
        let place = |byte| (text.at(byte).line, text.at(byte).column);
        assert_eq!(place(0), (2, 3));
        assert_eq!(place(4), (2, 7));
        assert_eq!(place(6), (2, 8));
        assert_eq!(place(7), (4, 1));
        assert_eq!(place(99), (4, 2));
        let rest = text.from(4).trimmed();
        assert_eq!((rest.as_str(), rest.at(0).column, rest.at(3).line), ("é x", 7, 4));
    }
}
