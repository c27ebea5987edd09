//! `build --progress=tty`: the steps as a list that is drawn again in place, those of stages side by side too.
//!
//! ```text
//!   [+] Building 3.2s (5/8)
//!    => context, 4.2kB                          0.0s
//!    => CACHED [tools 1/2] FROM busybox         0.0s
//!    => [tools 2/2] RUN make                    3.1s
//!    => => # cc -c main.c
//! ```
//!
//! The daemon is asked for a message each for what happens to a step (`steps=1`; its
//! `build/announce.rs` lists them). A daemon that doesn't know them says the classic words, and they are shown
//! instead. Reading order: what is known ([`list`]), how it looks ([`draw`]), where it is drawn ([`paint`]).

mod list;

mod draw;

mod paint;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::messages::{Lines, Screen, show};
use crate::failure::Failure;
use crate::show::output::Output;
use crate::term;
use list::List;
use paint::Painter;

/// The list is drawn again so often.
const TICK: Duration = Duration::from_millis(100);

/// What a build's client shows its steps with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The daemon's words, line by line.
    Plain,
    /// The list.
    Tty,
    /// The daemon's messages.
    Json,
}

/// Chooses by `--progress`, or `BUILDKIT_PROGRESS` where it isn't given; `watched` says that `--trace` or `--step`
/// write to the same terminal.
///
/// # Errors
///
/// An unknown word, and `tty` without a terminal of its own.
pub(super) fn choose(given: &str, watched: bool) -> Result<Progress, Failure> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let named = variable("BUILDKIT_PROGRESS");
    let word = match (given, named.as_str()) {
        ("", word @ ("plain" | "tty" | "auto")) => word,
        (given, _) => given,
    };
    match word {
        "plain" => Ok(Progress::Plain),
        "json" => Ok(Progress::Json),
        "" | "auto" => {
            let classic = matches!(variable("DOCKER_BUILDKIT").as_str(), "0" | "false");
            let able = term::stdout_is_terminal() && variable("TERM") != "dumb";
            Ok(if able && !watched && !classic { Progress::Tty } else { Progress::Plain })
        }
        "tty" if watched => Err(Failure::say(
            "--progress=tty draws on the terminal that --trace and --step write to: use --progress=plain with them",
        )),
        "tty" if !term::stdout_is_terminal() => Err(Failure::say(
            "--progress=tty needs a terminal, and standard output is none: use --progress=plain",
        )),
        "tty" => Ok(Progress::Tty),
        other => Err(Failure::say(format!("invalid progress mode {other}"))),
    }
}

/// The list on its terminal.
#[derive(Debug)]
pub(super) struct View {
    list: List,
    painter: Painter,
}

impl View {
    /// An empty list. `sends` says whether a context is sent.
    pub(super) fn new(sends: bool) -> Self {
        Self { list: List::new(sends), painter: Painter::default() }
    }

    /// Draws while the context is on its way.
    pub(super) async fn sending<T>(
        &mut self,
        out: &mut Output,
        sent: &Arc<AtomicU64>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                result = &mut work => {
                    self.list.context_is_there(sent.load(Ordering::Relaxed));
                    if result.is_err() {
                        self.painter.draw(out, &[])?;
                    }
                    return result;
                }
                _ = ticks.tick() => {
                    self.list.context_grows(sent.load(Ordering::Relaxed));
                    self.draw(out)?;
                }
            }
        }
    }

    /// Draws until the daemon's last message; `aux` takes what is meant for the program.
    ///
    /// # Errors
    ///
    /// The one that the daemon tells of.
    pub(super) async fn follow(
        &mut self,
        out: &mut Output,
        lines: &mut Lines,
        mut aux: impl FnMut(&Value),
    ) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                message = lines.next_json() => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => break,
                        Err(failure) => {
                            self.finish(out)?;
                            return Err(failure);
                        }
                    };
                    if let Some(step) = message.pointer("/aux/Step") {
                        self.list.hear(step);
                    } else if let Some(value) = message.get("aux").filter(|value| !value.is_null()) {
                        aux(value);
                    } else if self.list.is_empty() && message.get("stream").is_some() {
                        // A daemon that knows of no such messages.
                        self.painter.draw(out, &[])?;
                        let mut screen = Screen::out(out);
                        screen.message(&message)?;
                        return show(lines, &mut screen, aux).await;
                    } else {
                        self.list.say(&message);
                    }
                }
                _ = ticks.tick() => self.draw(out)?,
            }
        }
        self.finish(out)?;
        self.list.failure.take().map_or(Ok(()), Err)
    }

    fn draw(&mut self, out: &mut Output) -> Result<(), Failure> {
        let (columns, rows) = self.painter.size();
        let style = draw::Style { columns, rows: Some(rows), colour: term::stdout_has_colour() };
        self.painter.draw(out, &draw::frame(&self.list, &style))
    }

    /// The whole list, which stays; below it what failed, or what was made.
    fn finish(&mut self, out: &mut Output) -> Result<(), Failure> {
        self.list.end();
        let (columns, _) = self.painter.size();
        let style = draw::Style { columns, rows: None, colour: term::stdout_has_colour() };
        self.painter.draw(out, &draw::frame(&self.list, &style))?;
        out.text(draw::after(&self.list, &style));
        out.flush()
    }
}
