//! Evidence that is read later than the end that it proves, on its way between the two.
//!
//! ```text
//!   {"seq":0, …,"span":7, …,"phase":"end", …}          {"seq":0, …,"phase":"end", …,"evidence":[…]}
//!   {"seq":0, …                               ──────►  {"seq":0, …
//!   {"proof":7,"evidence":[…]}
//! ```
//!
//! Some files of `/proc` take the kernel as long as all that a step did. Init reads them while it waits
//! for its start, when the ends of its steps are on the tape already.

use std::io;
use std::ops::Range;

use memchr::memmem;

use crate::event::Evidence;

/// How a line begins that has evidence for an earlier one.
const PROOF: &str = "{\"proof\":";

/// What stands before a step's number in an event.
const SPAN: &str = ",\"span\":";

/// What stands between the number and the evidence.
const EVIDENCE: &str = ",\"evidence\":";

/// Adds the line with evidence for the step `span`.
///
/// # Errors
///
/// serde_json's; evidence has no way to fail.
pub(crate) fn write(span: u64, evidence: &Evidence, line: &mut Vec<u8>) -> io::Result<()> {
    line.extend_from_slice(format!("{PROOF}{span}{EVIDENCE}").as_bytes());
    serde_json::to_writer(&mut *line, &[evidence])?;
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// The lines with their evidence, in pieces that lie where they lay. What has no end here, because that was sent
/// before, is left out.
///
/// Forty kilobytes of a start are searched for two ends, so they are not looked at line by line.
pub(crate) fn joined(lines: &[u8]) -> Vec<&[u8]> {
    // What goes, and what comes in its place.
    let mut changes: Vec<(Range<usize>, &str)> = Vec::new();
    for at in memmem::find_iter(lines, PROOF) {
        let rest = lines.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map_or(lines.len(), |end| at + end + 1);
        let line = lines.get(at..end).and_then(|line| std::str::from_utf8(line).ok());
        let is_first = at == 0 || lines.get(at - 1) == Some(&b'\n');
        let Some((span, evidence)) = line.filter(|_| is_first).and_then(proof) else { continue };
        changes.push((at..end, ""));
        if let Some(place) = lines.get(..at).and_then(|before| end_of(before, span)) {
            changes.push((place..place, evidence));
        }
    }
    changes.sort_unstable_by_key(|(place, _)| place.start);
    let mut pieces = Vec::with_capacity(1 + 3 * changes.len());
    let mut rest = 0;
    for (place, evidence) in changes {
        pieces.push(lines.get(rest..place.start).unwrap_or_default());
        if !evidence.is_empty() {
            pieces.extend([EVIDENCE.as_bytes(), evidence.as_bytes()]);
        }
        rest = place.end;
    }
    pieces.push(lines.get(rest..).unwrap_or_default());
    pieces
}

/// The step's number, as it is written, and its evidence.
fn proof(line: &str) -> Option<(&str, &str)> {
    line.trim_ascii_end().strip_prefix(PROOF)?.strip_suffix('}')?.split_once(EVIDENCE)
}

/// Where the line that tells the end of a step takes evidence: before its last brace. What stands before the
/// body of an event has no text of others (see [`crate::line`]), so a line whose first number of a step
/// is this one has it as its own.
fn end_of(events: &[u8], span: &str) -> Option<usize> {
    let number = format!("{SPAN}{span},");
    memmem::rfind_iter(events, &number).find_map(|at| {
        let begin = memchr::memrchr(b'\n', events.get(..at)?).map_or(0, |end| end + 1);
        let end = at + memchr::memchr(b'\n', events.get(at..)?)?;
        let line = events.get(begin..end)?;
        let head = line.get(..memmem::find(line, b",\"kind\":")?)?;
        let is_it =
            head.ends_with(b"\"phase\":\"end\"") && memmem::find(head, SPAN.as_bytes()) == Some(at - begin);
        is_it.then_some(end - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Phase};

    fn lines(events: &[Event]) -> Vec<u8> {
        let mut lines = Vec::new();
        for event in events {
            event.write_line(0, &mut lines).expect("plain data");
        }
        lines
    }

    #[test]
    fn evidence_finds_its_end() {
        let mut events = crate::samples::run();
        for event in &mut events {
            event.op = "01ab".to_owned();
            event.seq = 0;
        }
        let place = events.iter().position(|event| event.phase == Phase::End).expect("an end");
        events[place].evidence.clear();
        let evidence = Evidence::new("/proc/1/mountinfo", ["a \"b\" ,\"span\":1,".to_owned()]);
        let (before, after) = events.split_at(events.len() - 2);
        let mut told = lines(before);
        write(events[place].span, &evidence, &mut told).expect("plain data");
        write(u64::MAX, &evidence, &mut told).expect("plain data");
        told.extend(lines(after));
        events[place].evidence.push(evidence);
        assert_eq!(String::from_utf8(joined(&told).concat()), String::from_utf8(lines(&events)));
        assert_eq!(joined(&lines(&events)), [lines(&events)], "without any, nothing changes");
    }
}
