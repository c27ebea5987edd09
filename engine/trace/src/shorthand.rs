//! How a process writes its events where every byte costs it time, and how another makes lines of them.
//!
//! ```text
//!   1180,41,40,init,4711,b,"kind":"mount.attach","fields":{…}}
//!   .41,1192,12
//!    │  │    └ it succeeded, in so many nanoseconds; or the rest of the line, from "result" on
//!    │  t_ns
//!    └ the end of step 41, told by who told its begin
//!
//!   1200,41,40,shim,4700,e,=,"result":{"ok":true},"dur_ns":20}
//!   │    │  │  │    │    │ └ "=" is what the step's begin said; then the rest of the line, as it will be
//!   │    │  │  │    │    └ begin, end, point or skip
//!   t_ns span, parent, actor, pid
//!
//!   +41,[{"source":…}]
//!    └ evidence for the end of step 41, before it
//! ```
//!
//! What is the same in all lines of an operation, or in both of a step, is written by the reader: the daemon, whose
//! code for that is warm, while each shim and each init would do it for the first time.

use std::io::{self, BufRead as _};
use std::ops::Range;

use crate::event::{Event, Evidence, Outcome, Phase};
use crate::fields::members;
use crate::line::{DURATION, SUCCESS, actor, number};
use crate::tracer::OpId;

/// Evidence for a step whose end was told without it.
///
/// Some files of `/proc` take the kernel as long as all that a step did, so they are read by another process than the
/// one that acts.
#[derive(Debug)]
pub struct Proof {
    span: u64,
    evidence: Evidence,
}

impl Proof {
    /// Evidence for the step `span`.
    #[must_use]
    pub fn new(span: u64, evidence: Evidence) -> Self {
        Self { span, evidence }
    }

    /// Adds its line.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        number(out, "+", self.span);
        out.push(b',');
        // Lines of text have no way to fail.
        if serde_json::to_writer(&mut *out, &[&self.evidence]).is_err() {
            out.truncate(begin);
            return;
        }
        out.push(b'\n');
    }
}

/// What stands for the body that the step's begin told.
const AS_BEGUN: &[u8] = b"=";

/// Adds an event.
///
/// # Errors
///
/// serde_json's, for a value that has no JSON; the events' types have all.
pub(crate) fn write(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    if event.phase == Phase::End && event.written.is_begun() {
        return write_end(event, out);
    }
    number(out, "", event.t_ns);
    number(out, ",", event.span);
    number(out, ",", event.parent);
    out.push(b',');
    out.extend_from_slice(actor(event.actor).as_bytes());
    number(out, ",", event.pid.into());
    out.extend_from_slice(match event.phase {
        Phase::Begin => b",b,",
        Phase::End => b",e,",
        Phase::Point => b",p,",
        Phase::Skip => b",s,",
    });
    if event.phase == Phase::End && event.written.is_begun_by_another() {
        out.extend_from_slice(AS_BEGUN);
    } else {
        members(&event.body, out)?;
    }
    event.write_outcome(out)
}

/// Adds the end of a step whose begin was told by the same process.
fn write_end(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    number(out, ".", event.span);
    number(out, ",", event.t_ns);
    let Event { result, dur_ns, reason, evidence, .. } = event;
    if let (Some(result), Some(duration), None, []) = (result, dur_ns, reason, evidence.as_slice())
        && *result == Outcome::success()
    {
        number(out, ",", *duration);
        out.push(b'\n');
        return Ok(());
    }
    event.write_outcome(out)
}

/// What is known of a writer's steps from one message to the next.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// Steps that have begun, the innermost last.
    begun: Vec<Begun>,
    /// Evidence for ends that were not told yet: the numbers of their steps, and its text.
    proofs: Vec<(u64, Vec<u8>)>,
}

/// A step that has begun: its number, and what its lines have in common.
#[derive(Debug)]
struct Begun {
    span: u64,
    text: Common,
}

/// Text of a line: who acts where, and what. It is copied only if the message with the end is another one.
#[derive(Debug)]
enum Common {
    Here { who: Range<usize>, what: Range<usize> },
    Kept { who: Vec<u8>, what: Vec<u8> },
}

impl Common {
    fn who(&self, out: &mut Vec<u8>) {
        match self {
            Self::Here { who, .. } => out.extend_from_within(who.clone()),
            Self::Kept { who, .. } => out.extend_from_slice(who),
        }
    }

    fn what(&self, out: &mut Vec<u8>) {
        match self {
            Self::Here { what, .. } => out.extend_from_within(what.clone()),
            Self::Kept { what, .. } => out.extend_from_slice(what),
        }
    }

    fn keep(&mut self, out: &[u8]) {
        if let Self::Here { who, what } = self {
            let text = |range: &Range<usize>| out.get(range.clone()).unwrap_or_default().to_vec();
            *self = Self::Kept { who: text(who), what: text(what) };
        }
    }
}

impl Unfinished {
    /// The lines, without numbers, of the operation `op` that short ones stand for; and how many of those could not be
    /// read, and were left out.
    #[must_use]
    pub fn lines(&mut self, op: &OpId, short: &str) -> (String, u64) {
        let mut lines = Vec::new();
        let lost = self.expand(op.as_str(), short.as_bytes(), || 0, &mut lines);
        // What was read of a text, and parted at commas and line ends, is text.
        (String::from_utf8(lines).unwrap_or_default(), lost)
    }

    /// Adds the lines of the operation `op` that short ones stand for, numbered by `next`. Gives the number of those
    /// that could not be read, and were left out.
    pub(crate) fn expand(
        &mut self,
        op: &str,
        short: &[u8],
        mut next: impl FnMut() -> u64,
        out: &mut Vec<u8>,
    ) -> u64 {
        let mut lost = 0;
        for words in each(short) {
            if self.add(op, words, &mut next, out).is_none() {
                lost += 1;
            }
        }
        self.begun.iter_mut().for_each(|begun| begun.text.keep(out));
        lost
    }

    /// Adds the line that a short one stands for; `None` if it can't be read.
    fn add(
        &mut self,
        op: &str,
        words: &[u8],
        next: &mut impl FnMut() -> u64,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if let Some((span, evidence)) = words.strip_prefix(b"+").and_then(parted) {
            self.proofs.push((value(span)?, evidence.to_vec()));
            return Some(());
        }
        if let Some(end) = words.strip_prefix(b".") {
            return self.add_end(end, next, out);
        }
        let line = Line::read(words)?;
        let (rest, span) = (line.rest.strip_suffix(b"}")?, value(line.span)?);
        let begun = if line.phase == Phase::End { self.begun(span) } else { None };
        let outcome = rest.strip_prefix(AS_BEGUN).filter(|_| line.phase == Phase::End);
        if outcome.is_some() && begun.is_none() {
            return None;
        }
        write_times(next(), line.t_ns, out);
        let before = out.len();
        line.write_who(op, out);
        let who = before..out.len();
        out.extend_from_slice(line.phase.member());
        let before = out.len();
        match (begun, outcome) {
            (Some(begun), Some(outcome)) => {
                begun.what(out);
                out.extend_from_slice(outcome);
            }
            _ => out.extend_from_slice(rest),
        }
        match line.phase {
            Phase::Begin => {
                let text = Common::Here { who, what: before..out.len() };
                self.begun.push(Begun { span, text });
                out.extend_from_slice(b"}\n");
            }
            Phase::End => self.finish(span, out),
            Phase::Point | Phase::Skip => out.extend_from_slice(b"}\n"),
        }
        Some(())
    }

    /// Adds the end of a step from its number, its time, and how it went.
    fn add_end(&mut self, end: &[u8], next: &mut impl FnMut() -> u64, out: &mut Vec<u8>) -> Option<()> {
        let (span, rest) = parted(end)?;
        let ((t_ns, outcome), span) = (parted(rest)?, value(span)?);
        let members = outcome.strip_suffix(b"}");
        if members.is_none() && value(outcome).is_none() {
            return None;
        }
        let begun = self.begun(span)?;
        write_times(next(), t_ns, out);
        begun.who(out);
        out.extend_from_slice(Phase::End.member());
        begun.what(out);
        match members {
            Some(members) => {
                out.push(b',');
                out.extend_from_slice(members);
            }
            None => {
                out.extend_from_slice(SUCCESS);
                out.extend_from_slice(DURATION.as_bytes());
                out.extend_from_slice(outcome);
            }
        }
        self.finish(span, out);
        Some(())
    }

    /// Takes out what is known of a step whose end is told.
    fn begun(&mut self, span: u64) -> Option<Common> {
        let place = self.begun.iter().rposition(|begun| begun.span == span)?;
        Some(self.begun.remove(place).text)
    }

    /// Adds the evidence for a step, and the end of its line.
    fn finish(&mut self, span: u64, out: &mut Vec<u8>) {
        if let Some(place) = self.proofs.iter().rposition(|(of, _)| *of == span) {
            out.extend_from_slice(b",\"evidence\":");
            out.extend_from_slice(&self.proofs.remove(place).1);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Adds a line's begin.
fn write_times(seq: u64, t_ns: &[u8], out: &mut Vec<u8>) {
    number(out, "{\"seq\":", seq);
    out.extend_from_slice(b",\"t_ns\":");
    out.extend_from_slice(t_ns);
}

/// The value of a number in text.
fn value(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What stands before the first comma, and behind it.
fn parted(words: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = words.splitn(2, |byte| *byte == b',');
    Some((parts.next()?, parts.next()?))
}

/// A line's parts, as they are written.
struct Line<'l> {
    t_ns: &'l [u8],
    span: &'l [u8],
    parent: &'l [u8],
    actor: &'l [u8],
    pid: &'l [u8],
    phase: Phase,
    rest: &'l [u8],
}

impl<'l> Line<'l> {
    fn read(line: &'l [u8]) -> Option<Self> {
        let mut parts = line.splitn(7, |byte| *byte == b',');
        let mut next = || parts.next();
        let (t_ns, span, parent, actor, pid) = (next()?, next()?, next()?, next()?, next()?);
        let phase = match next()? {
            b"b" => Phase::Begin,
            b"e" => Phase::End,
            b"p" => Phase::Point,
            b"s" => Phase::Skip,
            _ => return None,
        };
        Some(Self { t_ns, span, parent, actor, pid, phase, rest: next()? })
    }

    fn write_who(&self, op: &str, out: &mut Vec<u8>) {
        let parts: [(&[u8], &[u8]); 5] = [
            (b",\"op\":\"", op.as_bytes()),
            (b"\",\"span\":", self.span),
            (b",\"parent\":", self.parent),
            (b",\"actor\":\"", self.actor),
            (b"\",\"pid\":", self.pid),
        ];
        for (name, value) in parts {
            out.extend_from_slice(name);
            out.extend_from_slice(value);
        }
    }
}

/// Each line, without its end.
fn each(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let all = lines;
        // Bytes in memory have no way to fail.
        let length = lines.skip_until(b'\n').ok().filter(|length| *length > 0)?;
        all.get(..length)?.strip_suffix(b"\n").or(all.get(..length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Written;

    /// The lines that events have in full, and what they are in short.
    fn both(events: &mut [Event]) -> (Vec<u8>, Vec<u8>) {
        let (mut lines, mut short) = (Vec::new(), Vec::new());
        for event in events {
            event.op = "01ab".to_owned();
            event.written = Written::default();
            event.write_line(0, &mut lines).expect("plain data");
            event.written = Written::begun();
            write(event, &mut short).expect("plain data");
        }
        (lines, short)
    }

    fn text(lines: Vec<u8>) -> String {
        String::from_utf8(lines).expect("text")
    }

    /// Pairs of one step each, one in another, whose ends say what their begins said.
    fn steps() -> Vec<Event> {
        let mut events = crate::samples::run();
        events.retain(|event| event.phase == Phase::Begin);
        let ends = events.clone().into_iter().rev().map(|mut event| {
            (event.phase, event.dur_ns) = (Phase::End, Some(7));
            event.result = Some(crate::event::Outcome::success());
            event
        });
        events
            .iter()
            .cloned()
            .chain(ends)
            .chain(
                crate::samples::run()
                    .into_iter()
                    .filter(|event| matches!(event.phase, Phase::Point | Phase::Skip)),
            )
            .collect()
    }

    fn expanded(known: &mut Unfinished, short: &[u8]) -> (String, u64) {
        let mut out = Vec::new();
        let lost = known.expand("01ab", short, || 0, &mut out);
        (text(out), lost)
    }

    #[test]
    fn short_lines_become_what_is_written_in_full() {
        let mut events = steps();
        let (lines, short) = both(&mut events);
        assert!(short.len() * 2 < lines.len(), "{} of {}", short.len(), lines.len());
        let mut known = Unfinished::default();
        assert_eq!(expanded(&mut known, &short), (text(lines), 0));
        assert!(known.begun.is_empty() && known.proofs.is_empty());
    }

    #[test]
    fn a_begin_may_have_come_before() {
        let mut events = steps();
        let (lines, short) = both(&mut events);
        for cut in [1, events.len() / 2, events.len() - 1] {
            let (earlier, new) =
                short.split_at(each(&short).take(cut).map(|line| line.len() + 1).sum::<usize>());
            let mut known = Unfinished::default();
            let (first, second) = (expanded(&mut known, earlier), expanded(&mut known, new));
            assert_eq!((first.0 + &second.0, first.1 + second.1), (text(lines.clone()), 0));
        }
    }

    #[test]
    fn evidence_finds_its_end() {
        let mut events = steps();
        let place = events.iter().position(|event| event.phase == Phase::End).expect("an end");
        let (_, lines) = both(&mut events);
        let evidence = Evidence::new("/proc/1/mountinfo", ["a \"b\" ,\"span\":1,\n".to_owned()]);
        let mut short = Vec::new();
        for span in [u64::MAX, events[place].span] {
            Proof::new(span, evidence.clone()).write(&mut short);
        }
        short.extend_from_slice(&lines);
        events[place].evidence.push(evidence);
        let mut known = Unfinished::default();
        assert_eq!(expanded(&mut known, &short), (text(both(&mut events).0), 0));
        assert_eq!(known.proofs.len(), 1, "it may still come");
    }

    #[test]
    fn what_is_no_event_is_counted() {
        let lines =
            b"\n1,2,3\n1,2,3,init,4,x,}\n1,2,3,init,4,e,=}\n1,9,3,init,4,e,\"kind\":\"x\"\n.9,1,2\n.9,1,\n.9\n+x,[]";
        assert_eq!(expanded(&mut Unfinished::default(), lines), (String::new(), 9));
    }
}
