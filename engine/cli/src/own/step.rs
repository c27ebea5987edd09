//! `--step`: stops before each step, shows what is about to be done, and asks.
//!
//! ```text
//!   about to: layer.mount  2 layers on /var/lib/…          (daemon, pid 4711)
//!   [n]ext  step [o]ver what is inside  [c]ontinue to the end  [a]bort >
//! ```
//!
//! ctrl-c aborts. Answers come from the terminal, `/dev/tty`, so that the command's own standard input
//! stays its own; without a terminal they are lines of standard input.

use std::fs::File;
use std::io::{BufRead, BufReader};

use glassdock_registry::task;
use glassdock_trace::{Event, Kind, render};
use http::Method;
use serde_json::{Value, json};

use super::operation::Operation;
use crate::client::Client;
use crate::failure::Failure;
use crate::show::output;
use crate::term;

/// What `--step` and `--break` ask of the gate; `null` for nothing.
///
/// # Errors
///
/// A word that `--step` does not take, a kind that there is not.
pub(crate) fn stepping(step: Option<&str>, kinds: &[String]) -> Result<Value, Failure> {
    if !kinds.is_empty() {
        for kind in kinds {
            if Kind::parse(kind).is_none() {
                let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                return Err(Failure::new(
                    125,
                    format!("--break: no kind {kind:?} of events; there are {}", known.join(", ")),
                ));
            }
        }
        return Ok(json!({"break": kinds}));
    }
    match step {
        None | Some("false") => Ok(Value::Null),
        Some("true" | "steps") => Ok("steps".into()),
        Some("syscalls") => Ok("syscalls".into()),
        Some(other) => Err(Failure::new(125, format!("--step takes steps or syscalls, not {other:?}"))),
    }
}

/// Asks at each held step, until the operation is over.
pub(crate) async fn walk(mut client: Client, operation: Operation) {
    let mut answers = Some(reader());
    let mut after = String::new();
    loop {
        let path = format!("/glassdock/operations/{}/held{after}", operation.id);
        let Ok(response) = client.send(Method::GET, &path, None, &[]).await else { return };
        let mut lines = crate::client::messages::Lines::of(response);
        let Ok(Some(state)) = lines.next_json().await else { return };
        let held = state.get("held").and_then(|held| serde_json::from_value::<Event>(held.clone()).ok());
        let Some(event) = held else {
            if state.get("ended").and_then(Value::as_bool) == Some(true) {
                return;
            }
            continue;
        };
        after = format!("?after={}", event.span);
        announce(&event);
        // The terminal is read on a thread of its own: other requests go on meanwhile.
        let Some(reader) = answers.take() else { return };
        let asking = task::spawn_blocking(move || ask(reader));
        // ctrl-c at the question is an answer too: no step more.
        let answer = tokio::select! {
            asked = asking => {
                let Ok((reader, answer)) = asked else { return };
                answers = Some(reader);
                answer
            }
            _ = tokio::signal::ctrl_c() => {
                say("\n");
                "abort"
            }
        };
        let path = format!("/glassdock/operations/{}/answer", operation.id);
        let body = json!({"span": event.span, "answer": answer});
        if client.post(&path, Some(&body)).await.is_err() || answer == "continue" {
            return;
        }
    }
}

fn announce(event: &Event) {
    let colour = term::stderr_has_colour();
    let (bold, reset) = if colour { ("\x1b[1;33m", "\x1b[0m") } else { ("", "") };
    let summary = render::summary(&event.body);
    let actor = serde_json::to_value(event.actor)
        .ok()
        .and_then(|actor| actor.as_str().map(str::to_owned))
        .unwrap_or_default();
    say(&format!(
        "{bold}about to: {}{reset}  {summary}  ({actor}, pid {})\n",
        event.body.kind().name(),
        event.pid
    ));
}

fn say(text: &str) {
    output::error_bytes(
        if term::raw::is_raw() { text.replace('\n', "\r\n") } else { text.to_owned() }.as_bytes(),
    );
}

type Reader = Box<dyn BufRead + Send>;

fn reader() -> Reader {
    if term::stdin_is_terminal()
        && let Ok(terminal) = File::open("/dev/tty")
    {
        return Box::new(BufReader::new(terminal));
    }
    Box::new(BufReader::new(std::io::stdin()))
}

/// The next answer. When nobody answers any more, the operation goes on to its end.
fn ask(mut reader: Reader) -> (Reader, &'static str) {
    loop {
        say("[n]ext  step [o]ver what is inside  [c]ontinue to the end  [a]bort > ");
        let mut line = String::new();
        let answer = match reader.read_line(&mut line) {
            Ok(0) | Err(_) => "continue",
            Ok(_) => match line.trim() {
                "" | "n" | "next" => "next",
                "o" | "over" => "over",
                "c" | "continue" => "continue",
                "a" | "abort" => "abort",
                _ => continue,
            },
        };
        if !term::stdin_is_terminal() {
            say(&format!("{answer}\n"));
        }
        return (reader, answer);
    }
}
