//! How a process writes its events where every byte costs it time, and how another makes lines of them.
//!
//! ```text
//!   1180,41,40,init,4711,b,"kind":"mount.attach","fields":{…}}
//!   1192,41,40,init,4711,e,=,"result":{"ok":true},"dur_ns":12}
//!   │    │  │  │    │    │ └ "=" is what the step's begin said; then the rest of the line, as it will be
//!   │    │  │  │    │    └ begin, end, point or skip
//!   t_ns span, parent, actor, pid
//! ```
//!
//! What is the same in all lines of an operation, or in both of a step, is written by the reader: the shim, which has
//! nothing to do while init becomes the program.

use std::io::{self, BufRead as _};

use crate::event::{Event, Evidence, Phase};
use crate::fields::members;
use crate::line::{actor, number};

/// Evidence for a step whose end was told without it.
///
/// Some files of `/proc` take the kernel as long as all that a step did, so they are read by the one who makes the lines.
#[derive(Debug)]
pub struct Proof {
    span: String,
    /// What goes into its end.
    text: Vec<u8>,
}

impl Proof {
    /// Evidence for the step `span`.
    #[must_use]
    pub fn new(span: u64, evidence: &Evidence) -> Self {
        let mut text = b",\"evidence\":".to_vec();
        // Lines of text have no way to fail.
        if serde_json::to_writer(&mut text, &[evidence]).is_err() {
            text.clear();
        }
        Self { span: span.to_string(), text }
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
    if event.phase == Phase::End && event.written.is_begun() {
        out.extend_from_slice(AS_BEGUN);
    } else {
        members(&event.body, out)?;
    }
    event.write_outcome(out)
}

/// What came of short lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    /// How many of the new ones could not be read, and were left out.
    pub(crate) lost: u64,
    /// How many steps have begun and not ended.
    pub(crate) open: usize,
}

/// Adds the lines of the operation `op` that `new` stands for, with the proofs where they belong. `earlier` is what the
/// same process wrote before.
pub(crate) fn expand(op: &str, earlier: &[u8], new: &[u8], proofs: &[Proof], out: &mut Vec<u8>) -> Expanded {
    // Steps that have begun, the innermost last.
    let mut begun: Vec<(&[u8], &[u8])> = Vec::new();
    let mut lost = 0;
    for (words, is_new) in each(earlier).map(|line| (line, false)).chain(each(new).map(|line| (line, true))) {
        let Some(line) = Line::read(words) else {
            lost += u64::from(is_new);
            continue;
        };
        match line.phase {
            Phase::Begin => begun.push((line.span, line.rest.strip_suffix(b"}").unwrap_or_default())),
            Phase::End => {
                let place = begun.iter().rposition(|(span, _)| *span == line.span);
                let body = place.map(|place| begun.remove(place).1);
                if is_new {
                    lost += u64::from(!line.write_end(op, body, proofs, out));
                }
                continue;
            }
            Phase::Point | Phase::Skip => {}
        }
        if is_new {
            line.write_head(op, out);
            out.extend_from_slice(line.rest);
            out.push(b'\n');
        }
    }
    Expanded { lost, open: begun.len() }
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

    fn write_head(&self, op: &str, out: &mut Vec<u8>) {
        let parts: [(&[u8], &[u8]); 6] = [
            (b"{\"seq\":0,\"t_ns\":", self.t_ns),
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
        out.extend_from_slice(self.phase.member());
    }

    /// Adds the line of an end, with the body that its begin had; false if that was never told.
    fn write_end(&self, op: &str, body: Option<&[u8]>, proofs: &[Proof], out: &mut Vec<u8>) -> bool {
        let (body, outcome): (&[u8], _) = match (self.rest.strip_prefix(AS_BEGUN), body) {
            (Some(outcome), Some(body)) => (body, outcome),
            (Some(_), None) => return false,
            (None, _) => (b"", self.rest),
        };
        let Some(outcome) = outcome.strip_suffix(b"}") else { return false };
        self.write_head(op, out);
        out.extend_from_slice(body);
        out.extend_from_slice(outcome);
        if let Some(proof) = proofs.iter().find(|proof| proof.span.as_bytes() == self.span) {
            out.extend_from_slice(&proof.text);
        }
        out.extend_from_slice(b"}\n");
        true
    }
}

/// Each line, without its end. (A crate that searches faster would ask for the processor's abilities first, once a
/// process: in a virtual machine that takes longer than the search, and a shim searches once.)
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

    #[test]
    fn short_lines_become_what_is_written_in_full() {
        let mut events = steps();
        let (lines, short) = both(&mut events);
        assert!(short.len() * 2 < lines.len(), "{} of {}", short.len(), lines.len());
        let mut out = Vec::new();
        assert_eq!(expand("01ab", b"", &short, &[], &mut out).lost, 0);
        assert_eq!(text(out), text(lines));
    }

    #[test]
    fn a_begin_may_have_been_sent_before() {
        let mut events = steps();
        let (lines, short) = both(&mut events);
        for cut in [1, events.len() / 2, events.len() - 1] {
            let place = |lines: &[u8]| each(lines).take(cut).map(|line| line.len() + 1).sum::<usize>();
            let (earlier, new) = short.split_at(place(&short));
            let mut out = Vec::new();
            assert_eq!(expand("01ab", earlier, new, &[], &mut out).lost, 0);
            assert_eq!(text(out), text(lines.get(place(&lines)..).unwrap_or_default().to_vec()));
        }
    }

    #[test]
    fn evidence_finds_its_end() {
        let mut events = steps();
        let place = events.iter().position(|event| event.phase == Phase::End).expect("an end");
        let (_, short) = both(&mut events);
        let evidence = Evidence::new("/proc/1/mountinfo", ["a \"b\" ,\"span\":1,\n".to_owned()]);
        let proofs = [Proof::new(u64::MAX, &evidence), Proof::new(events[place].span, &evidence)];
        events[place].evidence.push(evidence);
        let mut out = Vec::new();
        assert_eq!(expand("01ab", b"", &short, &proofs, &mut out).lost, 0);
        assert_eq!(text(out), text(both(&mut events).0));
    }

    #[test]
    fn what_is_no_event_is_counted() {
        let mut out = Vec::new();
        let lines = b"\n1,2,3\n1,2,3,init,4,x,}\n1,2,3,init,4,e,=}\n1,9,3,init,4,e,\"kind\":\"x\"";
        assert_eq!(expand("01ab", b"nothing", lines, &[], &mut out), Expanded { lost: 5, open: 0 });
        assert_eq!(text(out), "");
    }
}
