//! A scenario: one lesson, as its author writes it.
//!
//! The file is YAML, `scenarios/NN-name.yaml`, and begins with `format: 1`. Keys
//! that are not known are errors: a misspelt check must not pass for want of
//! being looked at. `scenarios/schema.json`, for editors, is generated from these types.
//!
//! Two kinds of statement about a step are kept apart. What is *expected* (the exit
//! status, the words on the screen) is what the author saw. What is *checked* decides
//! whether a student solved the step, however they did it; so each check must fail
//! for at least one of the step's wrong answers, and the runner proves that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use glassdock_trace::query::Query;

use crate::files::Files;
use crate::need::Need;

/// The version of the format that this program reads.
pub const FORMAT: u32 = 1;

/// A lesson.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The format's version: 1.
    pub format: u32,
    /// The lesson's name, the same as the file's.
    pub id: String,
    /// The chapter of the book.
    pub chapter: u32,
    /// The section, such as `3.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// How long a student needs, in minutes.
    pub minutes: u32,
    /// The title.
    pub title: Text,
    /// What it is about, before the first step.
    pub about: Text,
    /// What the machine must have.
    pub needs: Vec<Need>,
    /// The images that the lesson's registry must have.
    pub images: Vec<String>,
    /// Commands that prepare the lesson; they are run, and not shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// Prose in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// English.
    pub en: String,
    /// 中文.
    #[serde(deserialize_with = "unfolded")]
    pub zh: String,
}

/// Chinese text as it was meant: YAML's folding puts a space where a line was broken, and
/// between Chinese letters there is none.
fn unfolded<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut joined = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let between =
            joined.chars().last().is_some_and(is_chinese) && letters.peek().copied().is_some_and(is_chinese);
        if letter != ' ' || !between {
            joined.push(letter);
        }
    }
    Ok(joined)
}

/// Letters and punctuation that stand without spaces between them.
fn is_chinese(letter: char) -> bool {
    matches!(letter, '\u{3000}'..='\u{303f}' | '\u{3400}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}')
}

/// One command, what it should do, and how that is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The step's name, unique in the lesson.
    pub id: String,
    /// What the student reads before it.
    pub say: Text,
    /// A question to answer before the command is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predict: Option<Predict>,
    /// Files that are put where the command runs, before it: a path, and the text. Students see
    /// them; one that begins with `#!` may be executed.
    #[serde(default, skip_serializing_if = "Files::is_empty")]
    pub files: Files,
    /// The command as a person would type it; it is run by `sh -c`.
    #[serde(rename = "do")]
    pub command: String,
    /// How long it may take, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
    /// What the author saw.
    #[serde(default)]
    pub expect: Expect,
    /// What decides whether the step is solved.
    pub check: Vec<Check>,
    /// Commands that do not solve it: each fails at least one check.
    pub wrong: Vec<String>,
    /// Help, in the order in which it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
    /// What a student should know after it, read when it is solved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Text>,
    /// For the teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Text>,
}

fn default_timeout() -> u64 {
    30
}

/// A question whose answer the trace gives: how many steps will a query find?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// The question.
    pub ask: Text,
    /// What is counted, in the step's own trace.
    pub trace: Query,
    /// The right answer; the runner holds it against the trace.
    pub answer: usize,
}

/// What the author saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The exit status; 0 if left out.
    #[serde(default)]
    pub exit: i32,
    /// What standard output says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Words>,
    /// What standard error says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Words>,
    /// Whether output and trace are part of the lesson's snapshots; yes if left out.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub snapshot: bool,
}

impl Default for Expect {
    fn default() -> Self {
        Self { exit: 0, stdout: None, stderr: None, snapshot: true }
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Each of these stands in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// None of these does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

/// One check; just one of its keys is given.
///
/// `engine`, `evidence` and `script` speak of a level ("this holds now"), `trace` and `command` of
/// an edge ("this was done"): they see only what happened since the step began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What the engine says through its API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineCheck>,
    /// What the engine did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Query>,
    /// What the kernel and the disk say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceCheck>,
    /// What the command itself said: for lessons on errors that no engine hears of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandCheck>,
    /// A command for `sh -c` that must exit with 0; the last resort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// How a command ended, and what it said on either of its outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandCheck {
    /// The exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Each of these stands in what it said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
}

/// What the engine's API should say: of one image, of one container, or how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineCheck {
    /// An image's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A container's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// How many images there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// How many containers there are, running or not; with `image`, how many were made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<usize>,
    /// How many containers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<usize>,
    /// The state of the image (`present`, `absent`) or of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ObjectState>,
    /// The container's exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i64>,
}

/// The state of an image or a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectState {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// The container was made and not started.
    Created,
    /// The container runs.
    Running,
    /// The container's processes are frozen.
    Paused,
    /// The container ended.
    Exited,
}

/// What the kernel or the disk should say. One of `proc`, `recorded` and `files` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceCheck {
    /// A file of `/proc/PID` of a running container: `mountinfo`, `status`, `cgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proc: Option<String>,
    /// The container whose process is meant; with `proc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Steps of the trace whose recorded evidence is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Query>,
    /// What a line must contain; with `proc` and `recorded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A pattern of names below the engine's root, such as `layers/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// How many files there must be; with `files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// Help for a student. One of `when`, `after` and `reveal` says when it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// Given when the student's last command did this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<HintWhen>,
    /// Given after so many attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u32>,
    /// Shows the solution.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reveal: bool,
    /// What it says; the solution needs no words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<Text>,
}

/// What calls for a hint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HintWhen {
    /// A query that finds something in the command's trace.
    pub trace: Query,
}

/// The JSON Schema of a scenario file, as `scenarios/schema.json` has it.
#[must_use]
pub fn schema_text() -> String {
    let mut schema = schemars::schema_for!(Scenario);
    schema.insert("title".to_owned(), "A Glassdock lesson".into());
    format!("{:#}\n", schema.to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_lines_are_joined_without_a_space() {
        let text: Text =
            serde_yaml::from_str("en: a b\nzh: >-\n  不进入容器。\n  引擎用 ps\n  来看\n").expect("a text");
        assert_eq!((text.en.as_str(), text.zh.as_str()), ("a b", "不进入容器。引擎用 ps 来看"));
    }
}
