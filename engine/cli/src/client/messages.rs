//! The daemon's lines about a long work (pull, push, load): progress bars on a
//! terminal, plain lines elsewhere, exactly as the docker client shows them.
//!
//! On a terminal each id has a line of its own; the cursor goes up to it and back.

use std::collections::HashMap;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::failure::Failure;
use crate::show::output::Output;
use crate::show::units;
use crate::term;

/// Splits an answer into its JSON values, one a line, as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    over: bool,
}

/// The longest line, in bytes.
const LINE_LIMIT: usize = 16 << 20;

impl Lines {
    /// The lines of an answer.
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), rest: Vec::new(), over: false }
    }

    /// The next line, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let tail = self.rest.split_off(at + 1);
                let mut line = std::mem::replace(&mut self.rest, tail);
                while line.last().is_some_and(u8::is_ascii_whitespace) {
                    line.pop();
                }
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.over {
                let line = std::mem::take(&mut self.rest);
                return Ok((!line.iter().all(u8::is_ascii_whitespace)).then_some(line));
            }
            match next_data(&mut self.body).await? {
                Some(data) if self.rest.len() < LINE_LIMIT => self.rest.extend_from_slice(&data),
                Some(_) => return Err(Failure::say("the daemon sent a line that is too long")),
                None => self.over = true,
            }
        }
    }

    /// The next line as JSON.
    pub(crate) async fn next_json(&mut self) -> Result<Option<Value>, Failure> {
        let Some(line) = self.next().await? else { return Ok(None) };
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| Failure::say(format!("the daemon's line is no JSON: {error}")))
    }
}

/// The next bytes of an answer.
pub(crate) async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Err(_) => return Err(Failure::say("unexpected EOF")),
        }
    }
    Ok(None)
}

/// Shows the lines of an answer until its end. `aux` takes what is meant for the
/// program and not for the eye.
///
/// # Errors
///
/// The error that a line tells of.
pub(crate) async fn show(
    lines: &mut Lines,
    out: &mut Screen<'_>,
    mut aux: impl FnMut(&Value),
) -> Result<(), Failure> {
    while let Some(message) = lines.next_json().await? {
        if let Some(value) = message.get("aux").filter(|value| !value.is_null()) {
            aux(value);
            continue;
        }
        out.message(&message)?;
    }
    Ok(())
}

/// Where messages are shown.
#[derive(Debug)]
pub(crate) struct Screen<'a> {
    out: Place<'a>,
    terminal: bool,
    /// The line of each id, counted from the first.
    lines: HashMap<String, usize>,
}

#[derive(Debug)]
enum Place<'a> {
    Out(&'a mut Output),
    Err,
    Nowhere,
}

impl<'a> Screen<'a> {
    /// Messages on standard output.
    pub(crate) fn out(out: &'a mut Output) -> Self {
        Self { out: Place::Out(out), terminal: term::stdout_is_terminal(), lines: HashMap::new() }
    }

    /// Messages on standard error, as `run` shows its pull.
    pub(crate) fn err() -> Self {
        Self { out: Place::Err, terminal: term::stderr_is_terminal(), lines: HashMap::new() }
    }

    /// Messages nowhere; errors still count.
    pub(crate) fn nowhere() -> Self {
        Self { out: Place::Nowhere, terminal: false, lines: HashMap::new() }
    }

    /// Shows one message.
    ///
    /// # Errors
    ///
    /// The error that it tells of.
    pub(crate) fn message(&mut self, message: &Value) -> Result<(), Failure> {
        let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
        let detail = message.get("progressDetail").filter(|detail| detail.is_object());
        let id = text("id");
        let mut shown = String::new();
        let mut below = 0;
        if !id.is_empty() && detail.is_some() {
            let count = self.lines.len();
            let line = *self.lines.entry(id.to_owned()).or_insert(count);
            if line == count && self.terminal {
                shown.push('\n');
            }
            below = self.lines.len() - line;
            if self.terminal {
                shown.push_str(&format!("\x1b[{below}A"));
            }
        } else {
            self.lines.clear();
        }
        let failed = error_of(message);
        if failed.is_none() {
            self.line(message, detail, &mut shown);
        }
        if !id.is_empty() && self.terminal && below > 0 {
            shown.push_str(&format!("\x1b[{below}B"));
        }
        self.write(&shown)?;
        failed.map_or(Ok(()), Err)
    }

    fn line(&self, message: &Value, detail: Option<&Value>, shown: &mut String) {
        let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
        let stream = text("stream");
        let bar = detail.map(progress).unwrap_or_default();
        let mut end = "";
        if self.terminal && stream.is_empty() && detail.is_some() {
            shown.push_str("\x1b[2K\r");
            end = "\r";
        } else if !bar.is_empty() {
            return;
        }
        let (id, status) = (text("id"), text("status"));
        if !id.is_empty() {
            shown.push_str(&format!("{id}: "));
        }
        if detail.is_some() && self.terminal {
            shown.push_str(&format!("{status} {bar}{end}"));
        } else if !stream.is_empty() {
            shown.push_str(&format!("{stream}{end}"));
        } else {
            shown.push_str(&format!("{status}{end}\n"));
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.out {
            Place::Out(out) => {
                out.text(text);
                out.flush()
            }
            Place::Err => {
                crate::show::output::error_bytes(text.as_bytes());
                Ok(())
            }
            Place::Nowhere => Ok(()),
        }
    }
}

/// The error that a message tells of.
pub(crate) fn error_of(message: &Value) -> Option<Failure> {
    let words = message
        .get("errorDetail")
        .and_then(|detail| detail.get("message"))
        .or_else(|| message.get("error"))
        .and_then(Value::as_str)?;
    // A command of a build that failed: its status is the client's.
    let code = message.pointer("/errorDetail/code").and_then(Value::as_i64);
    let status = code.and_then(|code| i32::try_from(code).ok()).filter(|code| (1..=255).contains(code));
    Some(Failure::new(status.unwrap_or(1), words))
}

/// `[====>      ]  1.2MB/3.4MB`, or nothing.
fn progress(detail: &Value) -> String {
    let number = |name: &str| detail.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let (current, total) = (number("current"), number("total"));
    let units = detail.get("units").and_then(Value::as_str).unwrap_or_default();
    if current <= 0.0 && total <= 0.0 {
        return String::new();
    }
    if total <= 0.0 {
        return if units.is_empty() {
            format!("{:>8}", units::size(current))
        } else {
            format!("{current} {units}")
        };
    }
    let width = term::width_of_stdout().unwrap_or(200);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
    let half = ((current / total * 100.0) as usize / 2).min(50);
    let mut shown = String::new();
    if width > 110 {
        shown.push_str(&format!("[{}>{}] ", "=".repeat(half), " ".repeat(50 - half)));
    }
    if detail.get("hidecounts").and_then(Value::as_bool) != Some(true) {
        let count = |number: f64| if units.is_empty() { units::size(number) } else { number.to_string() };
        if current > total {
            shown.push_str(&format!("{:>8}", count(current)));
        } else if units.is_empty() {
            shown.push_str(&format!("{:>8}/{}", count(current), count(total)));
        } else {
            shown.push_str(&format!("{current}/{total} {units}"));
        }
    }
    let start = number("start");
    if width > 50 && current > 0.0 && start > 0.0 && half < 50 {
        let now = jiff::Timestamp::now().as_second() as f64;
        let left = ((total - current) * ((now - start) / current)).round().max(0.0);
        shown.push_str(&format!(" {left}s"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bars_are_docker_s() {
        let bar = progress(&json!({"current": 1_000_000, "total": 4_000_000}));
        assert!(bar.ends_with("     1MB/4MB"), "{bar}");
        assert_eq!(progress(&json!({})), "");
        assert_eq!(progress(&json!({"current": 2_000_000})), "     2MB");
    }

    #[test]
    fn plain_lines_leave_bars_out() {
        let screen = Screen { out: Place::Nowhere, terminal: false, lines: HashMap::new() };
        let mut shown = String::new();
        let message =
            json!({"status": "Downloading", "id": "abc", "progressDetail": {"current": 1, "total": 2}});
        screen.line(&message, message.get("progressDetail"), &mut shown);
        assert_eq!(shown, "");
        let message = json!({"status": "Pull complete", "id": "abc", "progressDetail": {}});
        screen.line(&message, message.get("progressDetail"), &mut shown);
        assert_eq!(shown, "abc: Pull complete\n");
    }
}
