//! What a run of lessons says: on the terminal, as JUnit XML, as JSON.

use std::fmt::Write as _;

use glassdock_trace::render::{self, Detail, Style, escape};
use serde_json::{Value, json};

use crate::run::{Outcome, StepOutcome};
use crate::scenario::{Scenario, Step};

/// How much is printed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// With colours.
    pub colour: bool,
    /// In Chinese.
    pub chinese: bool,
    /// With the evidence under the trace's steps.
    pub evidence: bool,
    /// Only the lessons and what is wrong.
    pub quiet: bool,
}

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";

impl Manner {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The line before a lesson.
    #[must_use]
    pub fn lesson(self, scenario: &Scenario) -> String {
        let title = if self.chinese { &scenario.title.zh } else { &scenario.title.en };
        let section = scenario.section.as_ref().map_or_else(String::new, |section| format!(" ({section})"));
        format!("\n{}\n", self.paint(BOLD, &format!("{}: {title}{section}", scenario.id)))
    }

    /// A step: the command, its output, its exit status, its trace and its checks.
    #[must_use]
    pub fn step(self, step: &Step, done: &StepOutcome) -> String {
        let mut text = String::new();
        if self.quiet {
            return text;
        }
        let _ = writeln!(text, "\n  {}", self.paint(BOLD, &format!("$ {}", step.command.trim())));
        for line in done.ran.stdout.lines().chain(done.ran.stderr.lines()) {
            let _ = writeln!(text, "  {}", escape(line));
        }
        let _ = writeln!(text, "  {}", self.paint(DIM, &format!("exit status {}", done.ran.status)));
        let detail = if self.evidence { Detail::All } else { Detail::Steps };
        let style = Style { colour: self.colour, ..Style::plain(detail) };
        for line in render::tree(&done.tree, style).lines() {
            let _ = writeln!(text, "    {line}");
        }
        for check in &done.checks {
            let (mark, colour) = if check.ok() { ("ok  ", GREEN) } else { ("FAIL", RED) };
            let _ = writeln!(text, "  {} {}", self.paint(colour, mark), escape(&check.what));
        }
        text
    }

    /// The lines after a lesson.
    #[must_use]
    pub fn outcome(self, outcome: &Outcome) -> String {
        let mut text = String::new();
        let seconds = outcome.took.as_secs_f64();
        match &outcome.skipped {
            Some(why) => {
                let _ = writeln!(text, "  skipped: {}: {why}", outcome.id);
            }
            None if outcome.passed() => {
                let mark = self.paint(GREEN, "passed");
                let _ = writeln!(text, "  {mark}: {} ({seconds:.1} s)", outcome.id);
            }
            None => {
                for complaint in outcome.complaints() {
                    let _ = writeln!(
                        text,
                        "  {} {}",
                        self.paint(RED, "wrong:"),
                        complaint.replace('\n', "\n    ")
                    );
                }
                let _ = writeln!(text, "  {}: {} ({seconds:.1} s)", self.paint(RED, "failed"), outcome.id);
            }
        }
        text
    }
}

/// How many lessons passed, failed and were skipped.
#[must_use]
pub fn counts(outcomes: &[Outcome]) -> (usize, usize, usize) {
    let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    let skipped = outcomes.iter().filter(|outcome| outcome.skipped.is_some()).count();
    (passed, outcomes.len() - passed - skipped, skipped)
}

/// JUnit's XML: a test suite, each lesson a case.
#[must_use]
pub fn junit(outcomes: &[Outcome]) -> String {
    let (_, failed, skipped) = counts(outcomes);
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.took.as_secs_f64()).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"lessons\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let _ = writeln!(
            xml,
            "<testcase classname=\"chapter-{}\" name=\"{}\" time=\"{:.3}\">",
            outcome.chapter,
            attribute(&outcome.id),
            outcome.took.as_secs_f64()
        );
        if let Some(why) = &outcome.skipped {
            let _ = writeln!(xml, "<skipped message=\"{}\"/>", attribute(why));
        } else if !outcome.passed() {
            let complaints = outcome.complaints().join("\n");
            let _ = writeln!(xml, "<failure message=\"{}\"/>", attribute(&complaints));
        }
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

/// Text for an XML attribute. XML 1.0 has no way to write most control characters.
fn attribute(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\t' => safe.push_str("&#9;"),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// Everything as JSON, for programs.
#[must_use]
pub fn as_json(outcomes: &[Outcome]) -> Value {
    let (passed, failed, skipped) = counts(outcomes);
    let lessons: Vec<_> = outcomes.iter().map(lesson_json).collect();
    json!({ "passed": passed, "failed": failed, "skipped": skipped, "lessons": lessons })
}

fn lesson_json(outcome: &Outcome) -> Value {
    let steps: Vec<_> = outcome.steps.iter().map(step_json).collect();
    let status = match (&outcome.skipped, outcome.passed()) {
        (Some(_), _) => "skipped",
        (None, true) => "passed",
        (None, false) => "failed",
    };
    json!({
        "id": outcome.id,
        "chapter": outcome.chapter,
        "status": status,
        "skipped": outcome.skipped,
        "seconds": outcome.took.as_secs_f64(),
        "complaints": outcome.complaints(),
        "steps": steps,
    })
}

fn step_json(step: &StepOutcome) -> Value {
    let checks: Vec<_> = step
        .checks
        .iter()
        .map(|check| json!({ "what": check.what, "ok": check.ok(), "why": check.why }))
        .collect();
    json!({
        "id": step.id,
        "command": step.ran.command,
        "status": step.ran.status,
        "stdout": step.ran.stdout,
        "stderr": step.ran.stderr,
        "events": step.tree.nodes.len(),
        "checks": checks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_junit() {
        let outcomes = [
            Outcome { id: "a".into(), ..Outcome::default() },
            Outcome { id: "b".into(), failures: vec!["\"<&\u{1b}".into()], ..Outcome::default() },
            Outcome { id: "c".into(), skipped: Some("no root".into()), ..Outcome::default() },
        ];
        assert_eq!(counts(&outcomes), (1, 1, 1));
        let xml = junit(&outcomes);
        assert!(xml.contains("tests=\"3\" failures=\"1\" skipped=\"1\""), "{xml}");
        assert!(xml.contains("&quot;&lt;&amp;\u{fffd}"), "{xml}");
    }
}
