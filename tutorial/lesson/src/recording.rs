//! A lesson recorded, so that it can be replayed anywhere: without an engine, without
//! privileges, without the scenario files.
//!
//! A recording is a file of JSON lines. The first says of which lesson it is; then a line a
//! step: its prose in both languages, the command, what it said and when, every event of the
//! trace, and how the checks came out. It holds literal paths, process ids and times: it is what
//! happened once, where snapshots are what happens always.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use glassdock_trace::Event;
use serde::{Deserialize, Serialize};

use crate::checks::Verdict;
use crate::files::Files;
use crate::keys::{Key, Keys};
use crate::observe;
use crate::play::{Audience, End};
use crate::read::Lesson;
use crate::run::StepOutcome;
use crate::scenario::{Step, Text};
use crate::shell::Stream;
use crate::stage::{Scene, Shown, Stage};
use crate::tools::Interrupt;
use crate::utf8::Pieces;

/// The version of the format.
pub const FORMAT: u32 = 1;

/// A file is at most so long, in bytes.
const SIZE_LIMIT: u64 = 64 * 1024 * 1024;

/// Between two words of a command a replay pauses at most so long.
const PAUSE_LIMIT: Duration = Duration::from_secs(3);

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The format's version, [`FORMAT`].
    pub recording: u32,
    /// The lesson's id.
    pub lesson: String,
    /// Its chapter.
    pub chapter: u32,
    /// Its title.
    pub title: Text,
    /// What it is about.
    pub about: Text,
    /// The runner's version.
    pub runner: String,
    /// When it was recorded, RFC 3339.
    pub recorded: String,
}

/// Something that a command said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Milliseconds since the command began.
    pub ms: u64,
    /// On which output.
    pub on: Stream,
    /// The words.
    pub text: String,
}

/// A question, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The question.
    pub ask: Text,
    /// The answer.
    pub answer: usize,
}

/// A step's line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Played {
    /// The step's id.
    pub step: String,
    /// The prose before it.
    pub say: Text,
    /// The question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predict: Option<Question>,
    /// The files that it found.
    #[serde(default, skip_serializing_if = "Files::is_empty")]
    pub files: Files,
    /// The command.
    pub command: String,
    /// What it said.
    pub said: Vec<Said>,
    /// Its exit status.
    pub status: i32,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What the engine did: each operation's events.
    pub operations: Vec<Vec<Event>>,
    /// The checks.
    pub checks: Vec<Verdict>,
    /// The prose after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Text>,
    /// For the teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Text>,
}

/// A recording, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Of which lesson.
    pub head: Head,
    /// Its steps.
    pub steps: Vec<Played>,
}

/// A file that is no recording.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It is too long.
    #[error("it has {0} bytes; a recording has at most {SIZE_LIMIT}")]
    Size(u64),
    /// It is empty.
    #[error("it is empty; `glassdock lesson record ID` writes a recording")]
    Empty,
    /// A newer runner wrote it.
    #[error("it has format {0}, and this program reads {FORMAT}: use a newer glassdock")]
    Format(u32),
    /// A line is none of a recording.
    #[error("line {line} is none of a recording")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Recording {
    /// The text of a file.
    ///
    /// # Errors
    ///
    /// None that a recording which was read or made here could have; serde's.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(&self.head)? + "\n";
        for step in &self.steps {
            text.push_str(&serde_json::to_string(step)?);
            text.push('\n');
        }
        Ok(text)
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error`]; a line that is wrong is told by its number.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let size = std::fs::metadata(path).map_err(Error::Read)?.len();
        if size > SIZE_LIMIT {
            return Err(Error::Size(size));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(Error::Read)?)
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// As [`Recording::read`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().ok_or(Error::Empty)?;
        let format: Format = serde_json::from_str(first).map_err(|source| Error::Line { line: 1, source })?;
        if format.recording != FORMAT {
            return Err(Error::Format(format.recording));
        }
        let head = serde_json::from_str(first).map_err(|source| Error::Line { line: 1, source })?;
        let steps = lines
            .map(|(at, line)| {
                serde_json::from_str(line).map_err(|source| Error::Line { line: at + 1, source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { head, steps })
    }
}

/// As much of the first line as tells whether the rest can be read.
#[derive(Deserialize)]
struct Format {
    recording: u32,
}

/// An audience that writes everything down.
#[derive(Debug)]
pub struct Recorder {
    recording: Recording,
    began: Instant,
    said: Vec<Said>,
    pieces: Pieces,
}

impl Recorder {
    /// A recorder for a lesson.
    #[must_use]
    pub fn of(lesson: &Lesson) -> Self {
        let scenario = &lesson.scenario;
        let head = Head {
            recording: FORMAT,
            lesson: scenario.id.clone(),
            chapter: scenario.chapter,
            title: scenario.title.clone(),
            about: scenario.about.clone(),
            runner: env!("CARGO_PKG_VERSION").to_owned(),
            recorded: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        let recording = Recording { head, steps: Vec::new() };
        Self { recording, began: Instant::now(), said: Vec::new(), pieces: Pieces::default() }
    }

    /// What was recorded.
    #[must_use]
    pub fn into_recording(self) -> Recording {
        self.recording
    }
}

impl Audience for Recorder {
    async fn before(&mut self, _: (usize, usize), _: &Step) -> bool {
        self.began = Instant::now();
        true
    }

    fn hear(&mut self, on: Stream, bytes: &[u8]) {
        let text = self.pieces.add(on, bytes);
        if !text.is_empty() {
            self.said.push(Said { ms: milliseconds(self.began.elapsed()), on, text });
        }
    }

    fn after(&mut self, _: (usize, usize), step: &Step, done: &StepOutcome) {
        let question = |predict: &crate::scenario::Predict| Question {
            ask: predict.ask.clone(),
            answer: predict.answer,
        };
        self.recording.steps.push(Played {
            step: step.id.clone(),
            say: step.say.clone(),
            predict: step.predict.as_ref().map(question),
            files: step.files.clone(),
            command: step.command.trim().to_owned(),
            said: std::mem::take(&mut self.said),
            status: done.ran.status,
            ms: milliseconds(done.ran.took),
            operations: done.operations.clone(),
            checks: done.checks.clone(),
            learned: step.learned.clone(),
            notes: step.notes.clone(),
        });
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How a recording is replayed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many times as fast as it was; at 0 nothing is waited for.
    pub speed: f64,
    /// Whether the steps follow each other without keys.
    pub auto: bool,
}

impl Pace {
    /// What a wait becomes.
    fn wait(self, time: Duration) -> Duration {
        let fast = |seconds: f64| Duration::try_from_secs_f64(seconds / self.speed).unwrap_or(PAUSE_LIMIT);
        if self.speed > 0.0 { fast(time.as_secs_f64()).min(PAUSE_LIMIT) } else { Duration::ZERO }
    }
}

/// Replays a recording on a screen.
pub async fn replay(
    recording: &Recording,
    stage: &mut Stage<'_>,
    keys: &mut Keys,
    pace: Pace,
    interrupt: &Interrupt,
) -> End {
    let head = &recording.head;
    stage.opening(&head.lesson, &head.title, &head.about);
    let steps = async {
        let all = recording.steps.len();
        for (number, step) in recording.steps.iter().enumerate() {
            if !one(step, (number + 1, all), stage, keys, pace).await {
                return End::Left;
            }
        }
        End::Over
    };
    interrupt.or(steps).await.unwrap_or(End::Interrupted)
}

/// A step; false if somebody left before it.
async fn one(
    step: &Played,
    place: (usize, usize),
    stage: &mut Stage<'_>,
    keys: &mut Keys,
    pace: Pace,
) -> bool {
    let scene = Scene {
        place,
        say: &step.say,
        ask: step.predict.as_ref().map(|question| (&question.ask, question.answer)),
        files: &step.files,
        command: &step.command,
        learned: step.learned.as_ref(),
        notes: step.notes.as_ref(),
    };
    stage.before(scene);
    let mut guess = None;
    if !pace.auto {
        stage.invite(scene.ask.is_some());
        let key = keys.next().await;
        stage.pressed(key);
        match key {
            Key::Leave => return false,
            Key::Guess(number) => guess = Some(number),
            Key::Go => {}
        }
    }
    let (mut now, mut whole) = (0, String::new());
    for said in &step.said {
        tokio::time::sleep(pace.wait(Duration::from_millis(said.ms.saturating_sub(now)))).await;
        now = said.ms;
        whole.push_str(&said.text);
        if !stage.is_beside() {
            stage.hear(said.on, &said.text);
        }
    }
    tokio::time::sleep(pace.wait(Duration::from_millis(step.ms.saturating_sub(now)))).await;
    let tree = observe::tree(&step.operations);
    let shown = Shown { status: step.status, said: &whole, tree: &tree, checks: &step.checks };
    stage.after(scene, shown, guess);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Manner;
    use crate::stage::Look;

    fn text(word: &str) -> Text {
        Text { en: word.to_owned(), zh: format!("{word}（中）") }
    }

    fn sample() -> Recording {
        let head = Head {
            recording: FORMAT,
            lesson: "03-pull".into(),
            chapter: 3,
            title: text("Pull"),
            about: text("About"),
            runner: "0.1.0".into(),
            recorded: "2026-01-01T00:00:00Z".into(),
        };
        let step = Played {
            step: "first".into(),
            say: text("Pull it."),
            predict: Some(Question { ask: text("How many?"), answer: 1 }),
            files: Files::from([("Dockerfile".to_owned(), "FROM busybox\n".to_owned())]),
            command: "docker pull hello-world".into(),
            said: vec![Said { ms: 5, on: Stream::Stdout, text: "Using default tag\n".into() }],
            status: 0,
            ms: 10,
            operations: vec![Vec::new()],
            checks: vec![Verdict { what: "trace: layer.unpack".into(), why: None }],
            learned: Some(text("Learned.")),
            notes: None,
        };
        Recording { head, steps: vec![step] }
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let text = sample().to_text().expect("plain data");
        assert_eq!(Recording::parse(&text).expect("its own text"), sample());
    }

    #[test]
    fn what_is_no_recording_is_told() {
        assert!(matches!(Recording::parse(""), Err(Error::Empty)));
        assert!(matches!(Recording::parse("{}\n"), Err(Error::Line { line: 1, .. })));
        let newer = sample().to_text().expect("plain data").replacen("\"recording\":1", "\"recording\":9", 1);
        assert!(matches!(Recording::parse(&newer), Err(Error::Format(9))));
        let torn = sample().to_text().expect("plain data");
        let torn = torn.get(..torn.len() - 20).unwrap_or_default();
        assert!(matches!(Recording::parse(torn), Err(Error::Line { line: 2, .. })));
    }

    #[tokio::test]
    async fn it_is_replayed_by_keys() {
        let look = Look {
            manner: Manner { colour: false, chinese: false, evidence: false, quiet: false },
            width: 80,
            beside: false,
            notes: false,
            narrate: false,
            raw: false,
        };
        let pace = Pace { speed: 0.0, auto: false };
        let play = async |keys: &[u8]| {
            let mut out = Vec::new();
            let mut stage = Stage::new(look, &mut out);
            let (mut keys, stop) = (Keys::these(keys), Interrupt::default());
            let end = replay(&sample(), &mut stage, &mut keys, pace, &stop).await;
            (end, String::from_utf8(out).expect("text"))
        };
        let (end, screen) = play(b"1").await;
        assert_eq!(end, End::Over);
        for words in [
            "  Dockerfile\n  │ FROM busybox\n",
            "$ docker pull hello-world",
            "  Using default tag\n",
            "The trace has 1. You knew.",
            "Learned.",
        ] {
            assert!(screen.contains(words), "{words}: {screen}");
        }
        let (end, screen) = play(b"q").await;
        assert_eq!(end, End::Left);
        assert!(!screen.contains("Using default tag"), "{screen}");
    }
}
