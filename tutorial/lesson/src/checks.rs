//! Checks: does this hold now, was this done?

use std::fs;
use std::path::Path;
use std::time::Duration;

use glassdock_trace::Tree;
use glassdock_trace::query::glob;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api;
use crate::lab::Lab;
use crate::scenario::{Check, CommandCheck, EngineCheck, EvidenceCheck, ObjectState};
use crate::shell::{self, Ran};

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was checked, in one line.
    pub what: String,
    /// Why it fails; `None` if it holds.
    pub why: Option<String>,
}

impl Verdict {
    /// Whether the check holds.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.why.is_none()
    }
}

/// What was done since a step began, for checks that ask for that.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// The command; none was typed yet without one.
    pub ran: Option<&'a Ran>,
    /// What the engine did.
    pub tree: &'a Tree,
}

/// Judges all checks of a step.
pub async fn all(checks: &[Check], lab: &Lab, done: Done<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(checks.len());
    for check in checks {
        verdicts.push(one(check, lab, done).await);
    }
    verdicts
}

async fn one(check: &Check, lab: &Lab, done: Done<'_>) -> Verdict {
    let tree = done.tree;
    if let Some(query) = &check.trace {
        let count = query.count.map_or_else(String::new, |count| format!(", {count}"));
        let why = query.check(tree).err().map(|mismatch| {
            let found: Vec<_> = mismatch.found.iter().map(|line| format!("\n  found: {line}")).collect();
            format!("{mismatch}{}", found.concat())
        });
        return Verdict { what: format!("trace: {query}{count}"), why };
    }
    if let Some(engine) = &check.engine {
        let what = serde_json::to_string(engine).unwrap_or_default();
        return Verdict {
            what: format!("engine: {}", bare(&what)),
            why: engine_says(engine, lab).await.err(),
        };
    }
    if let Some(evidence) = &check.evidence {
        let what = serde_json::to_string(evidence).unwrap_or_default();
        let why = evidence_says(evidence, lab, tree).await.err();
        return Verdict { what: format!("evidence: {}", bare(&what)), why };
    }
    if let Some(command) = &check.command {
        let what = serde_json::to_string(command).unwrap_or_default();
        return Verdict {
            what: format!("command: {}", bare(&what)),
            why: command_did(command, done.ran).err(),
        };
    }
    let script = check.script.clone().unwrap_or_default();
    let why = match shell::run(&script, &lab.surroundings(), Duration::from_secs(20), &mut |_, _| {}).await {
        Ok(ran) if ran.status == 0 => None,
        Ok(ran) => Some(format!("it exited with {}: {}{}", ran.status, ran.stdout, ran.stderr)),
        Err(error) => Some(format!("it could not be run: {error}")),
    };
    Verdict { what: format!("script: {script}"), why }
}

fn command_did(check: &CommandCheck, ran: Option<&Ran>) -> Result<(), String> {
    let Some(ran) = ran else { return Err("no command was typed".to_owned()) };
    if let Some(exit) = check.exit
        && ran.status != exit
    {
        return Err(format!("its exit status is {}, not {exit}", ran.status));
    }
    let says = |words: &&String| ran.stdout.contains(words.as_str()) || ran.stderr.contains(words.as_str());
    match check.says.iter().find(|words| !says(words)) {
        Some(words) => Err(format!("it does not say \"{words}\"")),
        None => Ok(()),
    }
}

/// JSON without quotes and braces, which a reader does not need.
fn bare(json: &str) -> String {
    json.trim_start_matches('{').trim_end_matches('}').replace('"', "").replace(':', ": ").replace(',', ", ")
}

async fn engine_says(check: &EngineCheck, lab: &Lab) -> Result<(), String> {
    if let Some(image) = &check.image {
        let found = object(lab, &format!("/images/{image}/json")).await?;
        if let Some(state) = check.state {
            state_is(if found.is_some() { "present" } else { "absent" }, state)?;
        }
    }
    if let Some(name) = &check.container {
        let found = object(lab, &format!("/containers/{name}/json")).await?;
        let text = |pointer| found.as_ref().and_then(|found| found.pointer(pointer));
        if let Some(state) = check.state {
            let now = match (&found, state) {
                (None, _) => "absent",
                (Some(_), ObjectState::Present) => "present",
                (Some(_), _) => text("/State/Status").and_then(Value::as_str).unwrap_or("unknown"),
            };
            state_is(now, state)?;
        }
        if let Some(exit) = check.exit {
            let now = text("/State/ExitCode").and_then(Value::as_i64);
            if now != Some(exit) {
                return Err(format!("its exit status is {now:?}, not {exit}"));
            }
        }
    }
    if let Some(wanted) = check.images {
        count("images", list(lab, "/images/json").await?.len(), wanted)?;
    }
    if let Some(wanted) = check.containers {
        let all = list(lab, "/containers/json?all=1").await?;
        let of_image = |container: &&Value| {
            let image = container.get("Image").and_then(Value::as_str);
            check.image.as_ref().is_none_or(|wanted| image == Some(wanted))
        };
        count("containers", all.iter().filter(of_image).count(), wanted)?;
    }
    if let Some(wanted) = check.running {
        count("running containers", list(lab, "/containers/json").await?.len(), wanted)?;
    }
    Ok(())
}

fn state_is(now: &str, wanted: ObjectState) -> Result<(), String> {
    let wanted = format!("{wanted:?}").to_lowercase();
    if now == wanted { Ok(()) } else { Err(format!("it is {now}, not {wanted}")) }
}

fn count(what: &str, found: usize, wanted: usize) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("there are {found} {what}, not {wanted}")) }
}

async fn object(lab: &Lab, path: &str) -> Result<Option<Value>, String> {
    match api::get(&lab.socket(), path).await {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(format!("the engine could not be asked: {error}")),
    }
}

async fn list(lab: &Lab, path: &str) -> Result<Vec<Value>, String> {
    let value = api::get(&lab.socket(), path).await;
    match value.map_err(|error| format!("the engine could not be asked: {error}"))? {
        Value::Array(items) => Ok(items),
        other => Err(format!("the engine answered {other} to {path}")),
    }
}

async fn evidence_says(check: &EvidenceCheck, lab: &Lab, tree: &Tree) -> Result<(), String> {
    let contains = check.contains.as_deref().unwrap_or_default();
    if let (Some(pattern), Some(wanted)) = (&check.files, check.count) {
        let found = files(&lab.root(), pattern);
        return count(&format!("files {pattern}"), found, wanted);
    }
    if let Some(query) = &check.recorded {
        let steps = query.find(tree);
        let nodes = steps.iter().filter_map(|place| tree.nodes.get(*place));
        let mut lines = nodes.flat_map(|node| &node.evidence).flat_map(|evidence| &evidence.lines);
        let found = lines.any(|line| line.contains(contains));
        return if found { Ok(()) } else { Err(format!("no evidence of {query} contains \"{contains}\"")) };
    }
    let (Some(file), Some(container)) = (&check.proc, &check.container) else { return Ok(()) };
    let found = object(lab, &format!("/containers/{container}/json")).await?;
    let pid =
        found.as_ref().and_then(|found| found.pointer("/State/Pid")).and_then(Value::as_i64).unwrap_or(0);
    if pid == 0 {
        return Err(format!("the container {container} has no process"));
    }
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    if text.lines().any(|line| line.contains(contains)) {
        Ok(())
    } else {
        Err(format!("no line of {path} contains \"{contains}\""))
    }
}

/// How many names below `root` are as `pattern`, where `*` stands for a part of one name.
fn files(root: &Path, pattern: &str) -> usize {
    let mut folders = vec![root.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != "..") {
        let mut next = Vec::new();
        for folder in &folders {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                if entry.file_name().to_str().is_some_and(|name| glob(part, name)) {
                    next.push(entry.path());
                }
            }
        }
        folders = next;
    }
    folders.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_pattern() {
        let root = tempfile::tempdir().expect("a folder");
        for path in ["layers/a/fs", "layers/b/fs", "layers/b/other", "blobs"] {
            fs::create_dir_all(root.path().join(path)).expect("a folder");
        }
        assert_eq!(files(root.path(), "layers/*"), 2);
        assert_eq!(files(root.path(), "layers/*/fs"), 2);
        assert_eq!(files(root.path(), "layers/b*/*"), 2);
        assert_eq!(files(root.path(), "nothing/*"), 0);
        assert_eq!(files(root.path(), "../*"), 2, "there is no way out of the root");
    }

    #[test]
    fn a_command_is_judged_by_status_and_words() {
        let ran = Ran {
            command: "docker ps –a".into(),
            status: 1,
            stdout: String::new(),
            stderr: "'docker ps' accepts no arguments\n".into(),
            timed_out: false,
            took: Duration::ZERO,
        };
        let check = |exit, says: &[&str]| CommandCheck {
            exit: Some(exit),
            says: says.iter().map(|words| (*words).to_owned()).collect(),
        };
        assert_eq!(command_did(&check(1, &["no arguments"]), Some(&ran)), Ok(()));
        assert!(command_did(&check(1, &["unknown flag"]), Some(&ran)).is_err());
        assert!(command_did(&check(0, &[]), Some(&ran)).is_err());
        assert!(command_did(&check(1, &[]), None).is_err(), "nothing was typed yet");
    }

    #[test]
    fn states_and_counts_say_what_is() {
        assert_eq!(state_is("absent", ObjectState::Present), Err("it is absent, not present".to_owned()));
        assert!(state_is("exited", ObjectState::Exited).is_ok());
        assert_eq!(count("images", 2, 0), Err("there are 2 images, not 0".to_owned()));
    }
}
