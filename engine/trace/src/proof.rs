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

use std::io::{self, BufRead as _};
use std::ops::Range;

use crate::event::Evidence;

/// How a line begins that has evidence for an earlier one.
const PROOF: &str = "{\"proof\":";

/// What stands before a step's number in an event.
const SPAN: &str = ",\"span\":";

/// What an event of an end has before its body, and how the body begins.
const PHASE_END: &[u8] = b"\"phase\":\"end\"";
const KIND: &[u8] = b",\"kind\":";

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
pub(crate) fn joined(lines: &[u8]) -> Vec<&[u8]> {
    // What goes, and what comes in its place.
    let mut changes: Vec<(Range<usize>, &str)> = Vec::new();
    for range in each(lines) {
        let line = lines.get(range.clone()).unwrap_or_default();
        if !line.starts_with(PROOF.as_bytes()) {
            continue;
        }
        let Some((span, evidence)) = std::str::from_utf8(line).ok().and_then(proof) else { continue };
        let place = lines.get(..range.start).and_then(|before| end_of(before, span));
        changes.push((range, ""));
        changes.extend(place.map(|place| (place..place, evidence)));
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

/// Where each line lies, its end included. (A crate that searches faster would ask for the processor's abilities
/// first, once a process: in a virtual machine that takes longer than the search, and a shim searches once.)
fn each(lines: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let mut rest = lines.get(begin..).filter(|rest| !rest.is_empty())?;
        // Bytes in memory have no way to fail.
        let length = rest.skip_until(b'\n').ok()?;
        let line = begin..begin + length;
        begin = line.end;
        Some(line)
    })
}

/// The step's number, as it is written, and its evidence.
fn proof(line: &str) -> Option<(&str, &str)> {
    line.trim_ascii_end().strip_prefix(PROOF)?.strip_suffix('}')?.split_once(EVIDENCE)
}

/// Where the line that tells the end of a step takes evidence: before its last brace.
fn end_of(events: &[u8], span: &str) -> Option<usize> {
    each(events).find_map(|range| {
        let head = head(events.get(range.clone())?, span.as_bytes())?;
        let is_end = head.windows(PHASE_END.len()).any(|words| words == PHASE_END);
        // Before the brace and the line's end.
        is_end.then_some(range.end - 2)
    })
}

/// What stands between an event's number of a step, if it is `span`, and its body: who acts, and the phase. What comes
/// before has no text of others, see [`crate::line`].
fn head<'l>(line: &'l [u8], span: &[u8]) -> Option<&'l [u8]> {
    let after_number = |text: &'l [u8]| {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        text.get(digits..).unwrap_or_default()
    };
    let rest = after_number(line.strip_prefix(b"{\"seq\":")?).strip_prefix(b",\"t_ns\":")?;
    let rest = after_number(rest).strip_prefix(b",\"op\":\"")?;
    let id = rest.iter().position(|byte| *byte == b'"')?;
    let rest = rest.get(id + 1..)?.strip_prefix(SPAN.as_bytes())?.strip_prefix(span)?.strip_prefix(b",")?;
    let body = rest.windows(KIND.len()).position(|words| words == KIND)?;
    rest.get(..body)
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
