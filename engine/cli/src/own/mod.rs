//! What Docker's client does not have: the engine itself, and the ways to look
//! into it. These commands read their arguments with clap.

pub(crate) mod operation;

pub(crate) mod live;

pub(crate) mod step;

pub(crate) mod trace;

pub(crate) mod daemon;

pub(crate) mod registry;

mod beside;

mod completion;

mod examples;

mod logging;

use crate::failure::Failure;
use crate::rooms::Rooms;
use crate::words::Args;

pub(crate) use beside::engine;
pub(crate) use examples::examples;

/// What `--version` prints.
pub(crate) fn version_line(program: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if program == "docker" {
        format!("Docker version {version}, build glassdock")
    } else {
        format!("glassdock {version}")
    }
}

/// Does a command of our own: the first word is its name.
pub(crate) fn run(global: &Args, words: &[String], rooms: Rooms) -> Result<(), Failure> {
    match (words.first().map(String::as_str), rooms) {
        (Some("daemon"), Some(inside)) => (inside.daemon)(global, words),
        (Some("registry"), Some(inside)) => (inside.registry)(words),
        (Some("daemon" | "registry"), None) => engine(),
        (Some("trace"), _) => trace::run(global, words),
        (Some("completion"), _) => completion::run(words),
        (Some("lesson" | "book"), _) => beside::run(words),
        _ => Err(Failure::say("no such command")),
    }
}

/// Reads words with clap, whose help and complaints go out as they are.
fn read<T: clap::Parser>(name: &'static str, words: &[String]) -> Result<T, Failure> {
    let argv = std::iter::once(format!("glassdock {name}")).chain(words.iter().skip(1).cloned());
    T::try_parse_from(argv).map_err(|error| {
        // Help goes to standard output with status 0, a mistake to standard error with 2.
        let _ = error.print();
        Failure::quiet(error.exit_code())
    })
}

/// An error and its causes, as the last words of a program.
fn chain(what: &str, error: &dyn std::error::Error) -> Failure {
    let mut text = format!("{what}: {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    Failure::say(text)
}
