//! How a client hears of steps: in the classic builder's words, or as messages that it makes its own view of.
//!
//! A client that asks for `steps=1` gets, instead of the classic words, lines of the form
//! `{"aux": {"Step": …}}`. They are told at once, whoever's turn it is: stages that are built side by side
//! are seen so. Each names its step by `id`, and one of:
//!
//! ```text
//!   begin    what it is: {number, of, stage, place: [2, 4], line, text}
//!   output   what its command says
//!   pull     a line of a pull, as POST /images/create has it
//!   end      {ms, cached}
//!   failed   the lines of the Dockerfile around it: {file, lines: [first, last], text: [[5, "RUN false"], …]}
//! ```

use std::time::Instant;

use bytes::Bytes;
use glassdock_build::language::Instruction;
use serde_json::{Value, json};

use super::words::{Words, short};

/// How a client hears of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The words of Docker's classic builder.
    Classic,
    /// Only the end.
    Quiet,
    /// A message each for what happens to a step.
    Steps,
}

/// A step, as it is announced.
#[derive(Debug)]
pub struct Announced<'a> {
    /// Which step of the build it is, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// For a trigger of the base image's: which one, from 1. It belongs to the step of FROM.
    pub trigger: Option<usize>,
    /// Its stage: the name, or `stage-N` if there are others, and which step of the stage it is, of how many.
    pub stage: Option<(Option<String>, usize, usize)>,
    /// Its line in the Dockerfile.
    pub line: u32,
    /// The instruction as it is written.
    pub source: &'a str,
}

impl Announced<'_> {
    fn id(&self) -> String {
        match self.trigger {
            Some(trigger) => format!("{}.{trigger}", self.number),
            None => self.number.to_string(),
        }
    }

    /// `step 3/5, dockerfile line 7`
    fn place(&self) -> String {
        let line = if self.line == 0 { String::new() } else { format!(", dockerfile line {}", self.line) };
        format!("step {}/{}{line}", self.number, self.of)
    }
}

/// The step that a stage is at.
#[derive(Debug)]
pub struct Now {
    id: String,
    place: String,
    begun: Instant,
    cached: bool,
}

impl Default for Now {
    fn default() -> Self {
        Self { id: String::new(), place: String::new(), begun: Instant::now(), cached: false }
    }
}

impl Words {
    /// A step begins.
    pub fn begin(&self, step: &Announced<'_>) {
        let Announced { number, of, line, source, .. } = step;
        *self.now() = Now { id: step.id(), place: step.place(), ..Now::default() };
        if step.trigger.is_none() {
            self.text(&format!("Step {number}/{of} : {source}\n"));
        }
        if self.manner != Manner::Steps {
            return;
        }
        let (stage, place) = match &step.stage {
            Some((name, place, of)) => (name.as_ref(), Some([place, of])),
            None => (None, None),
        };
        let begin = json!({
            "number": number, "of": of, "stage": stage, "place": place, "line": line, "text": source,
        });
        self.tell("begin", &begin);
    }

    /// What a command says; what goes to standard error is red in the classic words.
    pub fn output(&self, text: &str, is_error: bool) {
        match self.manner {
            Manner::Steps => self.tell("output", &Value::from(text)),
            _ if is_error => self.text(&format!("\u{1b}[91m{text}\u{1b}[0m")),
            _ => self.text(text),
        }
    }

    /// The step's result was known.
    pub fn cached(&self) {
        self.now().cached = true;
        self.text(" ---> Using cache\n");
    }

    /// A step is done; `id` is that of the image so far, if it is to be told.
    pub fn done(&self, id: Option<&str>) {
        if let Some(id) = id {
            self.text(&format!(" ---> {}\n", short(id)));
        }
        if self.manner == Manner::Steps {
            let (begun, cached) = {
                let now = self.now();
                (now.begun, now.cached)
            };
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.tell("end", &json!({ "ms": ms, "cached": cached }));
        }
    }

    /// A message about the step with the place of the step: Docker's sentence first, as its clients know it.
    #[must_use]
    pub fn placed(&self, message: &str) -> String {
        let place = self.now().place.clone();
        if place.is_empty() { message.to_owned() } else { format!("{message} ({place})") }
    }

    /// The step failed: where it stands in the Dockerfile.
    pub fn stopped(&self, name: &str, dockerfile: &[u8], instruction: &Instruction) {
        if self.manner == Manner::Steps {
            self.tell("failed", &excerpt(name, dockerfile, instruction));
        }
    }

    /// A line of a pull that the step makes.
    pub fn pulled(&self, line: Bytes) {
        match self.manner {
            Manner::Classic => self.line(line),
            Manner::Quiet => {}
            Manner::Steps => {
                // What a pull says is ours, and JSON.
                if let Ok(pull) = serde_json::from_slice::<Value>(&line) {
                    self.tell("pull", &pull);
                }
            }
        }
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tell(&self, what: &str, value: &Value) {
        let id = self.now().id.clone();
        self.send(&json!({ "aux": { "Step": { "id": id, what: value } } }));
    }
}

/// So many lines are shown before an instruction and after it, and so many of its own at most.
const AROUND: (usize, usize) = (2, 20);

fn excerpt(name: &str, dockerfile: &[u8], instruction: &Instruction) -> Value {
    let number = |line: u32| usize::try_from(line).unwrap_or(usize::MAX);
    let (first, last) = (number(instruction.at().line), number(instruction.last_line));
    let (around, most) = AROUND;
    let last = last.clamp(first, first.saturating_add(most - 1));
    let text = String::from_utf8_lossy(dockerfile);
    let begin = first.saturating_sub(around + 1);
    let lines = text.lines().enumerate().skip(begin).take(last + around - begin);
    let lines: Vec<Value> =
        lines.map(|(at, line)| json!([at + 1, line.chars().take(400).collect::<String>()])).collect();
    json!({ "file": name, "lines": [first, last], "text": lines })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_client_that_asks_hears_of_steps_at_once() {
        let (sender, mut lines) = unbounded_channel();
        // The second stage, though it is the first one's turn.
        let words = Words::new(sender, Manner::Steps).at(1);
        let stage = Some((Some("tools".to_owned()), 2, 2));
        let step = Announced { number: 4, of: 5, trigger: None, stage, line: 7, source: "RUN make" };
        words.begin(&step);
        assert_eq!(words.placed("make: no"), "make: no (step 4/5, dockerfile line 7)");
        words.output("cc x.c\n", true);
        words.text("never told");
        words.cached();
        words.done(Some("sha256:0123456789abcdef"));
        let mut heard = Vec::new();
        while let Ok(line) = lines.try_recv() {
            heard.push(serde_json::from_slice::<Value>(&line).expect("JSON")["aux"]["Step"].clone());
        }
        let begin = json!({
            "number": 4, "of": 5, "stage": "tools", "place": [2, 2], "line": 7, "text": "RUN make",
        });
        assert_eq!(heard[0], json!({ "id": "4", "begin": begin }));
        assert_eq!(heard[1], json!({ "id": "4", "output": "cc x.c\n" }));
        assert_eq!((&heard[2]["id"], &heard[2]["end"]["cached"]), (&json!("4"), &json!(true)));
        assert_eq!(heard.len(), 3);
    }

    #[test]
    fn the_lines_of_an_instruction_are_shown_with_those_around_it() {
        let text = b"FROM a\nENV A=1\nENV B=2\nRUN x && \\\n  y\nENV C=3\n";
        let (file, _) = glassdock_build::read(text);
        let shown = excerpt("Dockerfile", text, &file.instructions[3]);
        assert_eq!(shown["lines"], json!([4, 5]));
        let numbers: Vec<_> = shown["text"].as_array().expect("lines").iter().map(|line| &line[0]).collect();
        assert_eq!(numbers, [2, 3, 4, 5, 6]);
        let first = excerpt("Dockerfile", text, &file.instructions[0]);
        assert_eq!(first["text"].as_array().expect("lines").len(), 3);
    }
}
