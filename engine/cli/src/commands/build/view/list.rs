//! What is known of a build's steps, from the daemon's messages.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::messages::error_of;
use crate::failure::Failure;
use crate::show::units;

/// So much of a step's output is kept for the case that it fails, in bytes.
const MOST_KEPT: usize = 1 << 20;

/// A build's steps.
#[derive(Debug)]
pub(super) struct List {
    pub(super) begun: Instant,
    /// How long it took, at the end.
    pub(super) took: Option<Duration>,
    /// The size of the context and when it was there, if one is sent.
    pub(super) context: Option<(u64, Option<Duration>)>,
    /// How many steps there are.
    pub(super) of: u64,
    pub(super) steps: Vec<Step>,
    /// What belongs to no step.
    pub(super) notes: String,
    pub(super) failure: Option<Failure>,
}

/// A step.
#[derive(Debug)]
pub(super) struct Step {
    id: String,
    /// Its number, and that of a trigger in it.
    order: (u64, u64),
    /// `[build 2/4]`
    pub(super) label: String,
    pub(super) text: String,
    pub(super) begun: Instant,
    pub(super) state: State,
    pub(super) output: Kept,
    /// What a pull says of each layer.
    pub(super) pulls: Vec<(String, String)>,
}

/// How far a step is.
#[derive(Debug)]
pub(super) enum State {
    Running,
    Done {
        took: Duration,
        cached: bool,
    },
    Failed {
        took: Duration,
        excerpt: Value,
    },
    /// Another one failed.
    Left,
}

/// A step's output, its beginning left out where it is too long.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) text: String,
    pub(super) left_out: usize,
}

impl Kept {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() > MOST_KEPT * 2 {
            let mut cut = self.text.len() - MOST_KEPT;
            while !self.text.is_char_boundary(cut) {
                cut += 1;
            }
            self.left_out += cut;
            self.text.drain(..cut);
        }
    }
}

impl Step {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    pub(super) fn is_trigger(&self) -> bool {
        self.order.1 > 0
    }
}

impl List {
    pub(super) fn new(sends: bool) -> Self {
        Self {
            begun: Instant::now(),
            took: None,
            context: sends.then_some((0, None)),
            of: 0,
            steps: Vec::new(),
            notes: String::new(),
            failure: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn context_grows(&mut self, size: u64) {
        if let Some(context) = &mut self.context {
            context.0 = size;
        }
    }

    pub(super) fn context_is_there(&mut self, size: u64) {
        if let Some(context) = &mut self.context {
            *context = (size, Some(self.begun.elapsed()));
        }
    }

    /// How many steps are done; a trigger is a part of FROM's.
    pub(super) fn done(&self) -> usize {
        let steps = self.steps.iter().filter(|step| !step.is_trigger());
        steps.filter(|step| matches!(step.state, State::Done { .. })).count()
    }

    /// A message about a step.
    pub(super) fn hear(&mut self, message: &Value) {
        let id = message.get("id").and_then(Value::as_str).unwrap_or_default();
        if let Some(begin) = message.get("begin") {
            return self.begin(id, begin);
        }
        let Some(step) = self.steps.iter_mut().find(|step| step.id == id) else { return };
        if let Some(text) = message.get("output").and_then(Value::as_str) {
            step.output.push(text);
        } else if let Some(pull) = message.get("pull") {
            pulled(&mut step.pulls, pull);
        } else if let Some(end) = message.get("end") {
            let took = Duration::from_millis(end.get("ms").and_then(Value::as_u64).unwrap_or(0));
            let cached = end.get("cached").and_then(Value::as_bool).unwrap_or(false);
            step.state = State::Done { took, cached };
            (step.output, step.pulls) = (Kept::default(), Vec::new());
        } else if let Some(excerpt) = message.get("failed") {
            step.state = State::Failed { took: step.begun.elapsed(), excerpt: excerpt.clone() };
        }
    }

    fn begin(&mut self, id: &str, begin: &Value) {
        let text = |name: &str| begin.get(name).and_then(Value::as_str).unwrap_or_default();
        let (number, trigger) = id.split_once('.').unwrap_or((id, "0"));
        let order = (number.parse().unwrap_or(0), trigger.parse().unwrap_or(0));
        let place = begin.get("place").filter(|place| place.is_array());
        let label = place.map_or_else(String::new, |place| {
            let (at, of) = (&place[0], &place[1]);
            let stage = text("stage");
            format!("[{stage}{}{at}/{of}]", if stage.is_empty() { "" } else { " " })
        });
        let onbuild = if order.1 > 0 { "ONBUILD " } else { "" };
        let step = Step {
            id: id.to_owned(),
            order,
            label,
            text: format!("{onbuild}{}", text("text")),
            begun: Instant::now(),
            state: State::Running,
            output: Kept::default(),
            pulls: Vec::new(),
        };
        self.of = begin.get("of").and_then(Value::as_u64).unwrap_or(self.of);
        let at = self.steps.partition_point(|known| known.order < order);
        self.steps.insert(at, step);
    }

    /// A message that is about no step: words, or why the build failed.
    pub(super) fn say(&mut self, message: &Value) {
        if let Some(failure) = error_of(message) {
            self.failure = Some(failure);
        } else if let Some(text) = message.get("stream").and_then(Value::as_str) {
            self.notes.push_str(text);
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        self.took = Some(self.begun.elapsed());
        for step in self.steps.iter_mut().filter(|step| step.is_running()) {
            step.state = State::Left;
        }
    }
}

/// A layer's line of a pull, or one about the whole of it.
fn pulled(pulls: &mut Vec<(String, String)>, line: &Value) {
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let (id, mut status) = (text("id"), text("status").to_owned());
    let count = |name: &str| {
        let number = line.get("progressDetail").and_then(|detail| detail.get(name));
        number.and_then(Value::as_f64).filter(|number| *number > 0.0).map(units::size)
    };
    match (count("current"), count("total")) {
        (Some(current), Some(total)) => status.push_str(&format!(" {current}/{total}")),
        (Some(current), None) => status.push_str(&format!(" {current}")),
        _ => {}
    }
    match pulls.iter_mut().find(|(known, _)| known == id) {
        Some((_, known)) => *known = status,
        None => pulls.push((id.to_owned(), status)),
    }
}
