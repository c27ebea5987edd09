//! What a build says: the words of Docker's classic builder, a JSON object a line.
//!
//! Stages are built side by side, and told one after the other, as if they were built so: the words
//! of a stage that is not at its turn are held back. Not without bound, and neither is what a slow client
//! has not taken yet: who runs a command waits with reading its output ([`Words::room`]), and so, in the end,
//! does the command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::announce::{Manner, Now};

/// So much is held back of one stage, in bytes, before its command waits.
const MOST_HELD: usize = 4 << 20;

/// So much is sent that the client has not taken, in bytes, before all that build wait.
const MOST_UNHEARD: usize = 4 << 20;

/// The way to whoever listens.
#[derive(Clone, Debug)]
pub struct Words {
    told: UnboundedSender<Bytes>,
    pub(super) manner: Manner,
    turns: Arc<Turns>,
    /// The place of who speaks.
    turn: usize,
    /// The step that who speaks is at.
    pub(super) now: Arc<Mutex<Now>>,
}

/// Who speaks when.
#[derive(Debug, Default)]
struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whose turn it is.
    now: usize,
    over: BTreeSet<usize>,
    held: BTreeMap<usize, Vec<Bytes>>,
    /// How much was sent that the client has not taken, in bytes.
    unheard: usize,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A client that left hears nothing; the build ends by itself then.
    fn tell(&mut self, told: &UnboundedSender<Bytes>, line: Bytes) {
        let length = line.len();
        if told.send(line).is_ok() {
            self.unheard += length;
        }
    }
}

impl Words {
    /// Words for a client, in the manner that it wants. The turn is the first.
    #[must_use]
    pub fn new(told: UnboundedSender<Bytes>, manner: Manner) -> Self {
        Self { told, manner, turns: Arc::default(), turn: 0, now: Arc::default() }
    }

    /// Words for the same client, at another turn.
    #[must_use]
    pub fn at(&self, turn: usize) -> Self {
        Self { turn, now: Arc::default(), ..self.clone() }
    }

    /// Ends this turn: the next one that isn't over is told what was held back.
    pub fn over(&self) {
        let mut state = self.turns.state();
        state.over.insert(self.turn);
        while state.over.contains(&state.now) {
            state.now += 1;
            let now = state.now;
            for line in state.held.remove(&now).unwrap_or_default() {
                state.tell(&self.told, line);
            }
        }
        self.turns.changed.notify_waiters();
    }

    /// Takes the turn, whoever's it is: a step failed, and nobody else speaks any more.
    pub fn interrupt(&self) {
        let mut state = self.turns.state();
        state.now = self.turn;
        for line in state.held.remove(&self.turn).unwrap_or_default() {
            state.tell(&self.told, line);
        }
    }

    /// Who is to be told of each line that the client takes.
    pub fn heard(&self) -> impl Fn(&Bytes) + Send + 'static {
        let turns = Arc::clone(&self.turns);
        move |line| {
            let mut state = turns.state();
            state.unheard = state.unheard.saturating_sub(line.len());
            drop(state);
            turns.changed.notify_waiters();
        }
    }

    /// Waits until there is room for more words.
    pub async fn room(&self) {
        loop {
            let mut changed = std::pin::pin!(self.turns.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            {
                let state = self.turns.state();
                let held: usize =
                    state.held.get(&self.turn).map_or(0, |held| held.iter().map(Bytes::len).sum());
                if held < MOST_HELD && state.unheard < MOST_UNHEARD {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Waits for the turn.
    pub async fn has_turn(&self) {
        loop {
            let mut changed = std::pin::pin!(self.turns.changed.notified());
            changed.as_mut().enable();
            if self.turns.state().now == self.turn {
                return;
            }
            changed.await;
        }
    }

    /// Text of the classic builder's, as it is.
    pub fn text(&self, text: &str) {
        if self.manner == Manner::Classic {
            self.send(&json!({ "stream": text }));
        }
    }

    /// Text that belongs to no step.
    pub fn note(&self, text: &str) {
        if self.manner != Manner::Quiet {
            self.send(&json!({ "stream": text }));
        }
    }

    /// The last word, which quiet clients hear too.
    pub fn last(&self, text: &str) {
        self.send(&json!({ "stream": text }));
    }

    /// The image's id, for programs.
    pub fn id(&self, id: &str) {
        self.send(&json!({ "aux": { "ID": id } }));
    }

    /// The ids of the images of inner stages, for a client that asked.
    pub fn stages(&self, ids: &[String]) {
        self.send(&json!({ "aux": { "Stages": ids } }));
    }

    /// A command that failed: its status and words for it.
    pub fn failed(&self, code: i32, message: &str) {
        self.interrupt();
        let message = self.placed(message);
        self.send(&json!({ "errorDetail": { "code": code, "message": message }, "error": message }));
    }

    /// A line of a pull, as it is.
    pub fn line(&self, line: Bytes) {
        let mut state = self.turns.state();
        if state.now == self.turn || self.manner == Manner::Steps {
            state.tell(&self.told, line);
        } else {
            state.held.entry(self.turn).or_default().push(line);
        }
    }

    /// Where somebody else may send lines to, and what passes them on.
    #[must_use]
    pub fn passing(&self) -> (UnboundedSender<Bytes>, Passing) {
        let (sender, lines) = unbounded_channel();
        (sender, Passing { words: self.clone(), lines })
    }

    pub(super) fn send(&self, value: &Value) {
        // A value that was just made is JSON.
        let mut line = serde_json::to_vec(value).unwrap_or_default();
        line.extend_from_slice(b"\r\n");
        self.line(Bytes::from(line));
    }
}

/// Lines of somebody else on their way.
#[derive(Debug)]
pub struct Passing {
    words: Words,
    lines: UnboundedReceiver<Bytes>,
}

impl Passing {
    /// Passes lines on until `work` is done, and what is left then; what `work` gives.
    pub async fn during<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let value = loop {
            tokio::select! {
                value = &mut work => break value,
                Some(line) = self.lines.recv() => self.words.pulled(line),
            }
        };
        while let Ok(line) = self.lines.try_recv() {
            self.words.pulled(line);
        }
        value
    }
}

/// The first twelve digits of an id.
#[must_use]
pub fn short(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// Words in Go's `%q` of a list: `["a" "b"]`.
#[must_use]
pub fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &mut UnboundedReceiver<Bytes>) -> String {
        let mut all = String::new();
        while let Ok(line) = lines.try_recv() {
            let line: Value = serde_json::from_slice(&line).expect("JSON");
            all.push_str(line["stream"].as_str().unwrap_or("!"));
        }
        all
    }

    #[tokio::test]
    async fn stages_are_told_one_after_the_other() {
        let (sender, mut lines) = unbounded_channel();
        let first = Words::new(sender, Manner::Classic);
        let (second, third) = (first.at(1), first.at(2));
        third.text("c");
        second.text("b");
        first.text("a");
        assert_eq!(heard(&mut lines), "a");
        second.over();
        first.text("A");
        assert_eq!(heard(&mut lines), "A");
        first.over();
        assert_eq!(heard(&mut lines), "bc");
        third.text("C");
        assert_eq!(heard(&mut lines), "C");
    }

    #[tokio::test]
    async fn who_takes_nothing_holds_all_up() {
        let (sender, mut lines) = unbounded_channel();
        let first = Words::new(sender, Manner::Classic);
        let (second, heard) = (first.at(1), first.heard());
        first.text(&"x".repeat(MOST_UNHEARD));
        for words in [&first, &second] {
            let waits = tokio::time::timeout(std::time::Duration::from_millis(20), words.room());
            assert!(waits.await.is_err());
        }
        heard(&lines.recv().await.expect("a line"));
        first.room().await;
        second.room().await;
    }

    #[tokio::test]
    async fn who_fails_is_heard_and_who_says_too_much_waits() {
        let (sender, mut lines) = unbounded_channel();
        let first = Words::new(sender, Manner::Classic);
        let second = first.at(1);
        second.text(&"x".repeat(MOST_HELD));
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), second.room());
        assert!(waits.await.is_err());
        first.room().await;
        second.failed(1, "no");
        let (mut all, heard) = (Vec::new(), first.heard());
        while let Ok(line) = lines.try_recv() {
            heard(&line);
            all.push(line);
        }
        assert!(all.len() == 2 && all[1].starts_with(b"{\"error"));
        second.room().await;
    }
}
