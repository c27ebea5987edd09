//! How an event becomes a line: the JSON that serde would write, with the part that a step's
//! begin and end have in common written once.
//!
//! A `run` tells two hundred events, most of them in pairs. The body is most of an event's text.

use std::io;
use std::sync::Arc;

use crate::event::{Actor, Event, Outcome, Phase};
use crate::fields::members;
use crate::vocabulary::Body;

/// A body's text, if it has been written: `"kind":…,"fields":…`.
///
/// It is no part of an event's meaning, so any two are equal.
#[derive(Clone, Debug, Default)]
pub struct Written(Text);

#[derive(Clone, Debug, Default)]
enum Text {
    /// It is still to be written.
    #[default]
    Not,
    /// It is this.
    Is(Arc<Vec<u8>>),
    /// It stands in the step's begin, where its reader looks for it.
    Begun,
    /// The same, but another process told the begin.
    BegunByAnother,
}

impl PartialEq for Written {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Written {
    pub(crate) fn of(body: &Body) -> Self {
        let mut text = Vec::with_capacity(ROOM);
        Self(if members(body, &mut text).is_ok() { Text::Is(Arc::new(text)) } else { Text::Not })
    }

    /// The step's begin has it.
    pub(crate) fn begun() -> Self {
        Self(Text::Begun)
    }

    /// The step's begin has it, which another process told.
    pub(crate) fn begun_by_another() -> Self {
        Self(Text::BegunByAnother)
    }

    pub(crate) fn is_begun(&self) -> bool {
        matches!(self.0, Text::Begun)
    }

    pub(crate) fn is_begun_by_another(&self) -> bool {
        matches!(self.0, Text::BegunByAnother)
    }
}

/// Most events' text is shorter than this, in bytes.
const ROOM: usize = 512;

/// How a line tells that a step succeeded, and what comes before the time that it took.
pub(crate) const SUCCESS: &[u8] = b",\"result\":{\"ok\":true}";
pub(crate) const DURATION: &str = ",\"dur_ns\":";

/// Adds what comes before a number, `,"name":`, and the number.
pub(crate) fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

impl Phase {
    /// How a line tells it, with the commas around it.
    pub(crate) fn member(self) -> &'static [u8] {
        match self {
            Self::Begin => b",\"phase\":\"begin\",",
            Self::End => b",\"phase\":\"end\",",
            Self::Point => b",\"phase\":\"point\",",
            Self::Skip => b",\"phase\":\"skip\",",
        }
    }
}

/// An actor's name.
pub(crate) fn actor(actor: Actor) -> &'static str {
    match actor {
        Actor::Client => "client",
        Actor::Daemon => "daemon",
        Actor::Builder => "builder",
        Actor::Registry => "registry",
        Actor::Shim => "shim",
        Actor::Init => "init",
    }
}

/// Adds a text as JSON.
fn text(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    // Ids have nothing to escape.
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return Ok(());
    }
    Ok(serde_json::to_writer(out, text)?)
}

impl Event {
    /// Adds the event's line to `out`, with its line end and its number in the operation: 0 where it
    /// has none yet.
    ///
    /// # Errors
    ///
    /// serde_json's, for a value that has no JSON; the events' types have all.
    pub(crate) fn write_line(&self, seq: u64, out: &mut Vec<u8>) -> io::Result<()> {
        out.reserve(ROOM);
        number(out, "{\"seq\":", seq);
        number(out, ",\"t_ns\":", self.t_ns);
        out.extend_from_slice(b",\"op\":");
        text(out, &self.op)?;
        number(out, ",\"span\":", self.span);
        number(out, ",\"parent\":", self.parent);
        out.extend_from_slice(b",\"actor\":\"");
        out.extend_from_slice(actor(self.actor).as_bytes());
        number(out, "\",\"pid\":", self.pid.into());
        out.extend_from_slice(self.phase.member());
        match &self.written.0 {
            Text::Is(text) => out.extend_from_slice(text),
            Text::Not | Text::Begun | Text::BegunByAnother => members(&self.body, out)?,
        }
        self.write_outcome(out)
    }

    /// Adds what comes after the body, to the line's end.
    ///
    /// # Errors
    ///
    /// As [`Event::write_line`].
    pub(crate) fn write_outcome(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match &self.result {
            None => {}
            Some(Outcome { ok: true, errno: None, message: None }) => out.extend_from_slice(SUCCESS),
            Some(result) => {
                out.extend_from_slice(b",\"result\":");
                serde_json::to_writer(&mut *out, result)?;
            }
        }
        if let Some(duration) = self.dur_ns {
            number(out, DURATION, duration);
        }
        if let Some(reason) = &self.reason {
            out.extend_from_slice(b",\"reason\":");
            text(out, reason)?;
        }
        if !self.evidence.is_empty() {
            out.extend_from_slice(b",\"evidence\":");
            serde_json::to_writer(&mut *out, &self.evidence)?;
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Evidence;

    #[test]
    fn a_line_is_what_serde_writes() {
        let mut events = crate::samples::run();
        for event in &mut events {
            event.op = "a \"b\"\n".to_owned();
            event.evidence.push(Evidence::new("/proc/1/mountinfo", ["a\tb".to_owned()]));
            if event.phase == Phase::Skip {
                event.reason = Some("it was \\ there".to_owned());
            }
        }
        let (phases, actors) = (
            [Phase::Begin, Phase::End, Phase::Point, Phase::Skip, Phase::End, Phase::End],
            [Actor::Client, Actor::Daemon, Actor::Builder, Actor::Registry, Actor::Shim, Actor::Init],
        );
        for (phase, actor) in phases.into_iter().zip(actors) {
            let mut event = events[0].clone();
            (event.phase, event.actor, event.t_ns, event.op) = (phase, actor, u64::MAX, "01ab".to_owned());
            event.result = Some(Outcome { ok: true, errno: Some("ENOENT".to_owned()), message: None });
            events.push(event);
        }
        for mut event in events {
            let expected = serde_json::to_string(&event).expect("plain data") + "\n";
            for written in [Written::default(), Written::of(&event.body), Written::begun()] {
                event.written = written;
                let mut line = Vec::new();
                event.write_line(event.seq, &mut line).expect("plain data");
                assert_eq!(String::from_utf8(line).expect("text"), expected);
            }
        }
    }
}
