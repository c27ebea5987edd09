//! The subcommands, and what all of them need: words on the screen, statuses, lessons by name.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use glassdock_lesson::read::{self, Lesson};
use glassdock_lesson::tools::{Interrupt, Tools};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) mod check;

pub(crate) mod list;

pub(crate) mod modes;

/// What the exit statuses mean; the help of `check` says the same.
pub(crate) mod status {
    /// A lesson failed, or was left before its end.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong usage.
    pub(crate) const USAGE: u8 = 2;
    /// A scenario file or a recording is wrong.
    pub(crate) const AUTHOR: u8 = 3;
    /// This machine lacks what is needed.
    pub(crate) const SKIPPED: u8 = 4;
    /// A signal.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Prints text as it is. Who closes the pipe has seen enough; that is no error of ours.
pub(crate) fn say_whole(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints a line.
macro_rules! say {
    ($($words:tt)*) => { $crate::command::say_whole(&(format!($($words)*) + "\n")) };
}
pub(crate) use say;

/// Says what went wrong.
pub(crate) fn fail(message: impl std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("glassdock lesson: {message}");
    ExitCode::from(status)
}

/// All lessons of the scenarios' folder.
pub(crate) fn lessons(named: Option<PathBuf>) -> Result<Vec<Lesson>, ExitCode> {
    let folder = Tools::scenarios(named).map_err(|error| fail(error, status::AUTHOR))?;
    read::folder(&folder).map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(status::AUTHOR)
    })
}

/// Whether the surroundings ask for Chinese.
pub(crate) fn chinese() -> bool {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .is_some_and(|value| value.starts_with("zh"))
}

/// The lessons that were asked for; the first word that means none of them is the error.
pub(crate) fn chosen(all: Vec<Lesson>, which: &[String]) -> Result<Vec<Lesson>, String> {
    let means = |word: &str, lesson: &Lesson| {
        let scenario = &lesson.scenario;
        scenario.id == word
            || scenario.section.as_deref() == Some(word)
            || word.parse::<u32>().is_ok_and(|chapter| scenario.chapter == chapter)
    };
    if let Some(word) = which.iter().find(|word| !all.iter().any(|lesson| means(word, lesson))) {
        return Err(format!("no lesson or chapter is called \"{word}\"; `glassdock lesson list` shows all"));
    }
    Ok(all
        .into_iter()
        .filter(|lesson| which.is_empty() || which.iter().any(|word| means(word, lesson)))
        .collect())
}

/// From now on a signal to end is told to `interrupt`, so that labs are taken down.
///
/// # Errors
///
/// In words, if signals can't be watched.
pub(crate) fn watch(interrupt: &Interrupt) -> Result<(), &'static str> {
    let (Ok(mut keyboard), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return Err("cannot watch for signals");
    };
    let stop = interrupt.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = keyboard.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        eprintln!("interrupted; taking the lab down");
        stop.now();
    });
    Ok(())
}
