//! `--trace`: what the daemon does, on standard error, while the command runs.

use std::future::Future;
use std::time::Duration;

use glassdock_registry::task::{self, Task};
use glassdock_trace::Event;
use glassdock_trace::render::{Detail, Live, Style};
use http::Method;
use serde_json::{Value, json};

use super::operation::Operation;
use super::step;
use crate::client::Client;
use crate::client::messages::Lines;
use crate::failure::Failure;
use crate::show::output;
use crate::term;
use crate::words::Args;

/// Runs a command's future on a reactor of one thread.
pub(crate) fn with_runtime<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::say(format!("cannot start the reactor: {error}")))?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

/// What watches the operation beside the command.
#[derive(Debug)]
pub(crate) struct Watch {
    follower: Option<Task<()>>,
    stepper: Option<Task<()>>,
}

impl Watch {
    /// Begins to watch, if `--trace`, `--step` or `--break` was given.
    ///
    /// # Errors
    ///
    /// A word that they don't know, and a daemon that can't be watched.
    pub(crate) async fn begin(
        client: &Client,
        operation: &Operation,
        global: &Args,
        args: &Args,
    ) -> Result<Self, Failure> {
        let given = |name: &str| last(name, global, args);
        let (trace, step) = (given("trace"), given("step"));
        let mut kinds = global.list("break");
        kinds.extend(args.list("break"));
        let detail = detail(trace.as_deref())?;
        let stepping = step::stepping(step.as_deref(), &kinds)?;
        if operation.silent && !stepping.is_null() {
            return Err(Failure::new(
                125,
                "--trace=off leaves nothing to stop at: leave --step and --break out",
            ));
        }
        if detail.is_none() && stepping.is_null() {
            return Ok(Self { follower: None, stepper: None });
        }
        let mut opener = client.another();
        let path = format!("/glassdock/operations/{}", operation.id);
        opener
            .post(&path, Some(&json!({"command": operation.command, "stepping": stepping})))
            .await
            .map_err(|failure| {
                if failure.is_not_found() {
                    Failure::say(
                        "this daemon is not Glassdock's: it has no glass to look through (--trace, --step)",
                    )
                } else {
                    failure
                }
            })?;
        let follower = match detail {
            Some(detail) => Some(follow(client.another(), operation, detail).await?),
            None => None,
        };
        let stepper =
            (!stepping.is_null()).then(|| task::spawn(step::walk(client.another(), operation.clone())));
        Ok(Self { follower, stepper })
    }

    /// Whether the daemon knows of the operation already, and waits for its end.
    pub(crate) fn is_open(&self) -> bool {
        self.follower.is_some() || self.stepper.is_some()
    }

    /// Waits for the last lines.
    pub(crate) async fn end(self) {
        if let Some(stepper) = self.stepper {
            stepper.abort();
        }
        if let Some(follower) = self.follower {
            // The daemon closes the stream at the operation's end; one that hangs holds nobody up.
            let _ = tokio::time::timeout(Duration::from_secs(5), follower).await;
        }
    }
}

/// Whether `--trace=off` was given: the command is not to be recorded.
pub(crate) fn is_off(global: &Args, args: &Args) -> bool {
    last("trace", global, args).as_deref() == Some(OFF)
}

const OFF: &str = "off";

/// The word of a flag that may stand before the command and behind it.
fn last(name: &str, global: &Args, args: &Args) -> Option<String> {
    args.last(name).or_else(|| global.last(name)).map(str::to_owned)
}

fn detail(given: Option<&str>) -> Result<Option<Detail>, Failure> {
    match given {
        None | Some("false" | OFF) => Ok(None),
        Some("true" | "steps") => Ok(Some(Detail::Steps)),
        Some("all") => Ok(Some(Detail::All)),
        Some(other) => Err(Failure::new(125, format!("--trace takes steps, all or off, not {other:?}"))),
    }
}

/// The style for standard error.
pub(crate) fn style(detail: Detail) -> Style {
    Style { colour: term::stderr_has_colour(), ..Style::plain(detail) }
}

async fn follow(mut client: Client, operation: &Operation, detail: Detail) -> Result<Task<()>, Failure> {
    let path = format!("/glassdock/traces/{}?follow=1", operation.id);
    let response = client.send(Method::GET, &path, None, &[]).await?;
    Ok(task::spawn(async move {
        let mut lines = Lines::of(response);
        let mut live = Live::new(style(detail));
        while let Ok(Some(line)) = lines.next().await {
            show(&mut live, &line);
        }
        drop(client);
    }))
}

/// Shows one line of a trace; a line that is no event (the header) shows nothing.
pub(crate) fn show(live: &mut Live, line: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(line) else {
        complain_of_loss(line);
        return;
    };
    let text = live.event(&event);
    if !text.is_empty() {
        // A terminal in raw mode needs the carriage back at each line's end.
        output::error_bytes(if term::raw::is_raw() { text.replace('\n', "\r\n") } else { text }.as_bytes());
    }
}

fn complain_of_loss(line: &[u8]) {
    let lost = serde_json::from_slice::<Value>(line)
        .ok()
        .and_then(|value| value.get("lost").and_then(Value::as_u64));
    if let Some(lost) = lost.filter(|lost| *lost > 0) {
        output::complain(format!(
            "({lost} events were too many for this terminal; all are in the recording)"
        ));
    }
}
