//! Scenario files read and judged: errors say `FILE:LINE:COLUMN: message`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use glassdock_trace::query::Query;

use crate::files;
use crate::scenario::{Check, EngineCheck, EvidenceCheck, FORMAT, Hint, Scenario, Step};

/// A scenario file is at most so long, in bytes.
const SIZE_LIMIT: u64 = 256 * 1024;

/// A lesson with its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesson {
    /// Where it was read.
    pub path: PathBuf,
    /// What stands there.
    pub scenario: Scenario,
}

/// A place in a scenario file where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.message)
    }
}

/// Files that are no lessons.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Error(pub Vec<Fault>);

/// All lessons of a folder, in the order of the book's sections.
///
/// # Errors
///
/// Every fault of every file.
pub fn folder(folder: &Path) -> Result<Vec<Lesson>, Error> {
    let fail = |message| Error(vec![Fault { path: folder.to_owned(), line: 1, column: 1, message }]);
    let entries =
        fs::read_dir(folder).map_err(|error| fail(format!("cannot read the scenarios: {error}")))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    let (mut lessons, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match file(&path) {
            Ok(lesson) => lessons.push(lesson),
            Err(Error(mut more)) => faults.append(&mut more),
        }
    }
    let place = |lesson: &Lesson| {
        let scenario = &lesson.scenario;
        (scenario.chapter, section(scenario.section.as_deref()), scenario.id.clone())
    };
    lessons.sort_by_key(place);
    if faults.is_empty() { Ok(lessons) } else { Err(Error(faults)) }
}

/// A section's place in the book: its numbers, of which 10 comes after 9.
fn section(section: Option<&str>) -> Vec<u32> {
    let parts = section.into_iter().flat_map(|section| section.split('.'));
    parts.map(|part| part.parse().unwrap_or(0)).collect()
}

/// One file.
///
/// # Errors
///
/// Every fault that was found; where the YAML itself is wrong, the first.
pub fn file(path: &Path) -> Result<Lesson, Error> {
    let fail = |message| Error(vec![Fault { path: path.to_owned(), line: 1, column: 1, message }]);
    let size = fs::metadata(path).map_err(|error| fail(format!("cannot read it: {error}")))?.len();
    if size > SIZE_LIMIT {
        return Err(fail(format!("the file has {size} bytes; a scenario has at most {SIZE_LIMIT}")));
    }
    let text = fs::read_to_string(path).map_err(|error| fail(format!("cannot read it: {error}")))?;
    parse(path, &text)
}

/// The text of a file.
///
/// # Errors
///
/// As [`file()`].
pub fn parse(path: &Path, text: &str) -> Result<Lesson, Error> {
    let scenario: Scenario = serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
        let mut message = error.to_string();
        if let Some(end) = message.rfind(" at line ") {
            message.truncate(end);
        }
        Error(vec![Fault { path: path.to_owned(), line, column, message }])
    })?;
    let mut judge = Judge { path, text, faults: Vec::new(), from: 0 };
    judge.scenario(&scenario);
    if judge.faults.is_empty() {
        Ok(Lesson { path: path.to_owned(), scenario })
    } else {
        Err(Error(judge.faults))
    }
}

/// Looks for what the types can't say.
struct Judge<'a> {
    path: &'a Path,
    text: &'a str,
    faults: Vec<Fault>,
    /// Where in the text the step at hand begins, in bytes.
    from: usize,
}

impl Judge<'_> {
    /// A fault at the next place, from the step at hand on, where `needle` stands.
    fn fault(&mut self, needle: &str, message: impl Into<String>) {
        let rest = self.text.get(self.from..).unwrap_or_default();
        let at = self.from + rest.find(needle).unwrap_or(0);
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        self.faults.push(Fault { path: self.path.to_owned(), line, column, message: message.into() });
    }

    fn scenario(&mut self, scenario: &Scenario) {
        if scenario.format != FORMAT {
            self.fault(
                "format:",
                format!("format {} is not known; this program reads {FORMAT}", scenario.format),
            );
        }
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if scenario.id != stem {
            self.fault("id:", format!("the id is \"{}\" and the file's name says \"{stem}\"", scenario.id));
        }
        if !is_name(&scenario.id) {
            self.fault("id:", "an id has small letters, digits and dashes");
        }
        if scenario.steps.is_empty() {
            self.fault("steps:", "a lesson has at least one step");
        }
        let mut seen = BTreeSet::new();
        for step in &scenario.steps {
            let marks = [format!("- id: {}\n", step.id), format!("id: {}", step.id)];
            let rest = self.text.get(self.from + 1..).unwrap_or_default();
            if let Some(at) = marks.iter().find_map(|mark| rest.find(mark.as_str())) {
                self.from += 1 + at;
            }
            if !seen.insert(&step.id) {
                self.fault("id:", format!("there are two steps called \"{}\"", step.id));
            }
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        if !is_name(&step.id) {
            self.fault("id:", "an id has small letters, digits and dashes");
        }
        if step.command.trim().is_empty() {
            self.fault("do:", "the command is empty");
        }
        if step.check.is_empty() {
            self.fault("check:", "a step without a check is solved by anything: add one");
        }
        if step.wrong.is_empty() {
            self.fault(
                "wrong:",
                "list at least one command that must not pass, so that the checks are known to work",
            );
        }
        if !(1..=600).contains(&step.timeout) {
            self.fault("timeout:", "a step may take 1 to 600 seconds");
        }
        for path in step.files.keys() {
            if let Some(message) = files::fault(path) {
                let needle = if path.is_empty() { "files:" } else { path };
                self.fault(needle, message);
            }
        }
        for check in &step.check {
            self.check(check);
        }
        if let Some(predict) = &step.predict {
            self.query("predict:", &predict.trace);
        }
        for hint in &step.hints {
            self.hint(hint);
        }
    }

    fn check(&mut self, check: &Check) {
        let given = [
            check.engine.is_some(),
            check.trace.is_some(),
            check.evidence.is_some(),
            check.command.is_some(),
            check.script.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            self.fault("check:", "a check is one of engine, trace, evidence, command and script");
        }
        if check.command.as_ref().is_some_and(|command| command.exit.is_none() && command.says.is_empty()) {
            self.fault("command:", "say what the command should do: exit or says");
        }
        if let Some(query) = &check.trace {
            self.query("trace:", query);
        }
        if let Some(engine) = &check.engine
            && let Some(message) = engine_fault(engine)
        {
            self.fault("engine:", message);
        }
        if let Some(evidence) = &check.evidence {
            if let Some(message) = evidence_fault(evidence) {
                self.fault("evidence:", message);
            }
            if let Some(query) = &evidence.recorded {
                self.query("recorded:", query);
            }
        }
    }

    fn hint(&mut self, hint: &Hint) {
        let given = [hint.when.is_some(), hint.after.is_some(), hint.reveal];
        if given.iter().filter(|given| **given).count() != 1 {
            self.fault("hints:", "a hint has one of when, after and reveal");
        }
        if hint.say.is_none() && !hint.reveal {
            self.fault("hints:", "a hint says something, unless it reveals the solution");
        }
        if let Some(when) = &hint.when {
            self.query("hints:", &when.trace);
        }
    }

    fn query(&mut self, needle: &str, query: &Query) {
        for field in query.unknown_fields() {
            let place = format!("{field}:");
            let needle = if self.text.get(self.from..).is_some_and(|rest| rest.contains(&place)) {
                &place
            } else {
                needle
            };
            self.fault(
                needle,
                format!("no event of that kind has a field \"{field}\": this can never be found"),
            );
        }
        let inner = [&query.inside, &query.after, &query.before];
        if inner.into_iter().flatten().any(|inner| inner.count.is_some()) {
            self.fault(needle, "count belongs to the whole query, not to inside, after or before");
        }
    }
}

fn engine_fault(check: &EngineCheck) -> Option<&'static str> {
    let counts = check.images.is_some() || check.containers.is_some() || check.running.is_some();
    if check.image.is_some() && check.container.is_some() {
        return Some("speak of an image or of a container, and write two checks for both");
    }
    if !counts && check.image.is_none() && check.container.is_none() {
        return Some("say of what: image, container, images, containers or running");
    }
    if check.state.is_none() && check.exit.is_none() && !counts {
        return Some("say what it should be: state or exit");
    }
    None
}

fn evidence_fault(check: &EvidenceCheck) -> Option<&'static str> {
    let given = [check.proc.is_some(), check.recorded.is_some(), check.files.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Some("evidence is one of proc, recorded and files");
    }
    if check.proc.is_some() && check.container.is_none() {
        return Some("say of which container");
    }
    if check.files.is_some() != check.count.is_some() {
        return Some("files and count go together");
    }
    if check.files.is_none() && check.contains.is_none() {
        return Some("say what a line must contain");
    }
    if check.proc.as_ref().is_some_and(|name| name.contains("..") || name.starts_with('/')) {
        return Some("proc is the name of a file of /proc/PID");
    }
    None
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "format: 1
id: 03-x
chapter: 3
minutes: 5
title: {en: A, zh: 甲}
about: {en: A, zh: 甲}
needs: [root]
images: [hello-world]
steps:
  - id: pull
    say: {en: A, zh: 甲}
    do: docker pull hello-world
    check:
      - trace: {kind: blob.fetch, fields: {digest: 'sha256:*'}}
    wrong: [docker images]
";

    fn faults(text: &str) -> Vec<String> {
        match parse(Path::new("03-x.yaml"), text) {
            Ok(_) => Vec::new(),
            Err(Error(faults)) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_good_one() {
        assert_eq!(faults(GOOD), Vec::<String>::new());
    }

    #[test]
    fn faults_have_a_place() {
        let cases = [
            ("minutes: 5", "minutes: five", "03-x.yaml:4:10: minutes: invalid type"),
            ("minutes: 5", "minute: 5", "03-x.yaml:4:1: unknown field `minute`"),
            ("format: 1", "format: 7", "03-x.yaml:1:1: format 7 is not known"),
            ("id: 03-x", "id: 04-y", "03-x.yaml:2:1: the id is \"04-y\""),
            ("    do: ", "    does: ", "03-x.yaml:12:5: steps[0]: unknown field `does`"),
            ("kind: blob.fetch", "kind: blob.fitch", "03-x.yaml:14:"),
            ("digest: 's", "colour: 's", "03-x.yaml:14:44: no event of that kind has a field \"colour\""),
            ("    do: ", "    files: {../x: y}\n    do: ", "03-x.yaml:12:13: \"../x\" is no file below"),
            ("wrong: [docker images]", "wrong: []", "03-x.yaml:15:5: list at least one command"),
            ("{en: A, zh: 甲}\nabout", "{en: A}\nabout", "03-x.yaml:5:8: title: missing field `zh`"),
            ("needs: [root]", "needs: [moon]", "03-x.yaml:7:9: needs[0]: unknown variant `moon`"),
        ];
        for (old, new, wanted) in cases {
            assert!(GOOD.contains(old), "{old}");
            let found = faults(&GOOD.replacen(old, new, 1));
            assert!(found.first().is_some_and(|fault| fault.starts_with(wanted)), "{new}: {found:?}");
        }
    }

    #[test]
    fn sections_are_in_the_order_of_their_numbers() {
        let mut sections = [Some("6.10"), Some("6.9"), None, Some("6")];
        sections.sort_by_key(|text| section(*text));
        assert_eq!(sections, [None, Some("6"), Some("6.9"), Some("6.10")]);
    }

    #[test]
    fn hostile_files_end_soon() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
        assert!(!faults(bomb).is_empty());
        assert!(!faults(&"[".repeat(20_000)).is_empty());
        assert!(!faults("").is_empty());
    }
}
