//! Lines that are drawn again in place.
//!
//! The cursor is below the last line; before the next drawing it goes up as many rows as the lines take. Nothing
//! of the terminal is changed that would have to be put back: a client that is killed leaves a list, and a prompt.

use crate::failure::Failure;
use crate::show::output::Output;
use crate::term;

/// What is on the terminal.
#[derive(Debug, Default)]
pub(super) struct Painter {
    /// The widths of the lines that were drawn last.
    drawn: Vec<usize>,
}

/// A line to be drawn: its text with colours, and its width in columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) width: usize,
}

impl Painter {
    /// The terminal's columns and rows now.
    #[expect(clippy::unused_self, reason = "the painter's terminal")]
    pub(super) fn size(&self) -> (usize, usize) {
        let (columns, rows) = term::size(std::io::stdout()).unwrap_or((80, 24));
        (usize::from(columns), usize::from(rows))
    }

    /// Draws lines over those that were drawn before.
    pub(super) fn draw(&mut self, out: &mut Output, lines: &[Line]) -> Result<(), Failure> {
        let (columns, _) = self.size();
        out.text(redrawn(&self.drawn, columns, lines));
        self.drawn = lines.iter().map(|line| line.width).collect();
        out.flush()
    }
}

fn redrawn(drawn: &[usize], columns: usize, lines: &[Line]) -> String {
    // A terminal that became narrower has broken what was drawn.
    let up: usize = drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
    let mut text = if up > 0 { format!("\x1b[{up}A\r") } else { String::new() };
    for line in lines {
        text.push_str(&line.text);
        text.push_str("\x1b[K\r\n");
    }
    // What is left of a longer list.
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_goes_up_over_what_a_narrower_terminal_broke() {
        let line = Line { text: "x".repeat(60), width: 60 };
        assert!(redrawn(&[60, 20], 80, std::slice::from_ref(&line)).starts_with("\x1b[2A\r"));
        assert!(redrawn(&[60, 20], 40, std::slice::from_ref(&line)).starts_with("\x1b[3A\r"));
        assert_eq!(redrawn(&[], 40, &[]), "\x1b[J");
    }
}
