//! Go templates, as `--format` has them: enough of `text/template` that what
//! people write after `--format` works, with the functions that the docker
//! client adds (json, join, split, upper, lower, title, pad, truncate).
//!
//! ```text
//!   text ──lex──► tokens ──parse──► nodes ──eval(data)──► output
//! ```
//!
//! Data is JSON. Where Go has types, JSON has fewer: an object whose keys begin
//! with capitals prints as a struct, any other as a map. A key that isn't there
//! is an error, as it is in Docker's client.
//!
//! Absent on purpose: `define`, `template` and `block` (nobody composes templates
//! on a command line). See the Go package `text/template`.

mod lex;

mod parse;

mod eval;

mod functions;

mod print;

use serde_json::Value;

pub(crate) use eval::Mode;

/// A template that was read.
#[derive(Debug)]
pub(crate) struct Template {
    name: String,
    text: String,
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong, in Go's words: `template: :1: unclosed action`.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let nodes = parse::parse(text)
            .map_err(|error| format!("template: {name}:{}: {}", error.line, error.message))?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), nodes })
    }

    /// Fills the template in.
    ///
    /// # Errors
    ///
    /// Where and why it can't be filled in, in Go's words; what was printed
    /// before that is lost.
    pub(crate) fn execute(&self, data: &Value, mode: Mode<'_>) -> Result<String, String> {
        let mut out = String::new();
        eval::run(&self.nodes, data, mode, &mut out).map_err(|error| {
            let before = self.text.get(..error.at).unwrap_or(&self.text);
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
            format!(
                "template: {}:{line}:{column}: executing {} at <{}>: {}",
                self.name,
                crate::words::check::quote(&self.name),
                error.node,
                error.message
            )
        })?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
