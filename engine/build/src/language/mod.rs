//! # The language: a Dockerfile becomes instructions
//!
//! ```text
//!   bytes ─► directives ─► logical lines ─► words ─► instructions
//!            escape, check    comments, \     flags, JSON, quotes
//!                             heredocs
//! ```
//!
//! Reading order: places ([`text`]), what the top of a file says ([`directive`]),
//! lines ([`lines`], [`heredoc`]), the ways to split (`words`, `flags`, `health`, [`mount`]), what
//! it all means ([`instruction`], `parse`), and what a build does
//! with the words later ([`expand`], [`pattern`]). Mistakes are in [`error`], with
//! their places and (`nearest`) what was probably meant.
//!
//! Nothing here knows files, images or the network: text goes in, instructions or
//! errors come out, always, whatever the bytes are.
//!
//! See Docker's Dockerfile reference; where that is silent, this reads what BuildKit reads.

pub mod text;

pub mod directive;

pub mod lines;

pub mod heredoc;

mod words;

pub(crate) mod flags;

mod health;

pub mod mount;

pub mod instruction;

mod parse;

pub mod expand;

pub mod pattern;

pub mod error;

pub(crate) mod nearest;

use serde::Serialize;

pub use directive::Directives;
pub use error::{Error, Problem};
pub use instruction::{Instruction, Kind};
pub use text::{Position, Word};

/// The largest Dockerfile, in bytes.
pub const LARGEST_FILE: usize = 8 * 1024 * 1024;

/// A Dockerfile that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct File {
    /// What its parser directives say.
    pub directives: Directives,
    /// Its instructions, in order.
    pub instructions: Vec<Instruction>,
}

/// Reads a Dockerfile. All mistakes are told, in the order of their places, and what
/// could be read is there beside them.
#[must_use]
pub fn read(bytes: &[u8]) -> (File, Vec<Error>) {
    let mut errors = Vec::new();
    let start = Position { line: 1, column: 1 };
    if bytes.len() > LARGEST_FILE {
        return (File::default(), vec![Error::new(start, Problem::TooLarge(LARGEST_FILE))]);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = text_of(bytes, &mut errors);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let directives = directive::read(&lines, &mut errors);
    let mut file = File { instructions: Vec::new(), directives };
    let mut staged = false;
    let logical = lines::split(&lines, &file.directives, &mut errors);
    if logical.is_empty() && errors.is_empty() {
        errors.push(Error::new(start, Problem::Empty));
    }
    for line in logical {
        match parse::instruction(line, file.directives.escape) {
            Ok(instruction) => {
                staged |= matches!(instruction.kind, Kind::From(_));
                if !staged && !matches!(instruction.kind, Kind::Arg(_)) {
                    errors.push(Error::new(instruction.at(), Problem::NoStage));
                    // One such mistake is enough: the others follow from it.
                    staged = true;
                }
                file.instructions.push(instruction);
            }
            Err(error) => {
                // The stage may be there, in a line that has a mistake.
                staged = true;
                errors.push(error);
            }
        }
    }
    if errors.is_empty() && !file.instructions.iter().any(|one| matches!(one.kind, Kind::From(_))) {
        let last = file.instructions.last().map_or(start, Instruction::at);
        errors.push(Error::new(last, Problem::NoStage));
    }
    errors.sort_by_key(|error| error.at);
    (file, errors)
}

/// Reads instructions alone, without a stage: those of `commit --change`, or of ONBUILD.
///
/// # Errors
///
/// All mistakes.
pub fn read_instructions(text: &str) -> Result<Vec<Instruction>, Vec<Error>> {
    let mut errors = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let logical = lines::split(&lines, &Directives::default(), &mut errors);
    let mut instructions = Vec::new();
    for line in logical {
        match parse::instruction(line, '\\') {
            Ok(instruction) => instructions.push(instruction),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(instructions) } else { Err(errors) }
}

/// The bytes as text. Comments may be in any encoding; elsewhere a byte that is no text is a mistake.
fn text_of(bytes: &[u8], errors: &mut Vec<Error>) -> String {
    let mut text = String::with_capacity(bytes.len());
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(error) => {
                let good = str::from_utf8(&line[..error.valid_up_to()]).unwrap_or_default();
                if !good.trim_start().starts_with('#') {
                    let column = u32::try_from(good.chars().count() + 1).unwrap_or(u32::MAX);
                    let at = Position { line: u32::try_from(index + 1).unwrap_or(u32::MAX), column };
                    errors.push(Error::new(at, Problem::NotText));
                }
                text.push_str(&String::from_utf8_lossy(line));
            }
        }
    }
    text
}
