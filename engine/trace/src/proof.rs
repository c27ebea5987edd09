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

use crate::event::Evidence;

/// How a line begins that has evidence for an earlier one.
const PROOF: &str = "{\"proof\":";

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

/// The lines with their evidence. What has no end here, because that was sent before, is left out.
pub(crate) fn joined(lines: Vec<u8>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(&lines) else { return lines };
    let proofs: Vec<_> = text.lines().filter_map(proof).collect();
    if proofs.is_empty() {
        return lines;
    }
    let mut joined = Vec::with_capacity(lines.len());
    for line in text.split_inclusive('\n').filter(|line| !line.starts_with(PROOF)) {
        match proofs.iter().find(|(span, _)| is_end_of(line, span)) {
            Some((_, evidence)) => {
                let open = line.trim_end().strip_suffix('}').unwrap_or(line);
                for part in [open, EVIDENCE, evidence, "}\n"] {
                    joined.extend_from_slice(part.as_bytes());
                }
            }
            None => joined.extend_from_slice(line.as_bytes()),
        }
    }
    joined
}

/// The step's number, as it is written, and its evidence.
fn proof(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix(PROOF)?.strip_suffix('}')?.split_once(EVIDENCE)
}

/// Whether a line tells the end of a step. What stands before the body of an event has no text of others
/// (see [`crate::line`]).
fn is_end_of(line: &str, span: &str) -> bool {
    let head = line.split_once(",\"kind\":").map_or(line, |(head, _)| head);
    head.ends_with("\"phase\":\"end\"")
        && head
            .split_once(",\"span\":")
            .is_some_and(|(_, rest)| rest.strip_prefix(span).is_some_and(|rest| rest.starts_with(',')))
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
        let mut told = lines(&events);
        write(events[place].span, &evidence, &mut told).expect("plain data");
        write(u64::MAX, &evidence, &mut told).expect("plain data");
        events[place].evidence.push(evidence);
        assert_eq!(String::from_utf8(joined(told)), String::from_utf8(lines(&events)));
        assert_eq!(joined(lines(&events)), lines(&events), "without any, nothing changes");
    }
}
