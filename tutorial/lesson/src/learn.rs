//! A lesson learnt: the student types in a shell, the runner observes and checks.
//!
//! After each line the step's checks are judged, once against what that line did and once
//! against all that was done since the step began, so a step may be solved in one line or in
//! several, and a wrong line does not spoil it for ever. Four words are for the runner:
//!
//! | typed | does |
//! |---|---|
//! | `task` | says again what is to be done |
//! | `guess 2` | answers the step's question, to be compared when it is solved |
//! | `hint` | gives the next hint |
//! | `solution` | shows the command |

use std::io::IsTerminal;

use glassdock_trace::{Event, Tree};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::checks::{self, Done, Verdict};
use crate::keys::{Mode, bytes_of_stdin};
use crate::lab::Lab;
use crate::observe::{self, Moment};
use crate::play::End;
use crate::read::Lesson;
use crate::run::{self, chain};
use crate::scenario::{Hint, Step};
use crate::shell::Ran;
use crate::stage::{Scene, Stage};
use crate::terminal::{Heard, Terminal, Typed};
use crate::tools::Tools;

/// Of what a line printed, so many bytes are kept for checks.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Teaches a lesson in a lab of its own.
pub async fn learn(lesson: &Lesson, tools: &Tools, stage: &mut Stage<'_>) -> End {
    let scenario = &lesson.scenario;
    stage.opening(&scenario.id, &scenario.title, &scenario.about);
    let lab = match Lab::open(tools).await {
        Ok(lab) => lab,
        Err(_) if tools.interrupt.is_set() => return End::Interrupted,
        Err(error) => return End::Failed(vec![chain(&error)]),
    };
    let end = match run::prepare(lesson, &lab).await {
        Ok(()) => tools.interrupt.or(session(lesson, &lab, stage)).await.unwrap_or(End::Interrupted),
        Err(failure) => End::Failed(vec![failure]),
    };
    let left = lab.close().await;
    if left.is_empty() { end } else { End::Failed(left) }
}

async fn session(lesson: &Lesson, lab: &Lab, stage: &mut Stage<'_>) -> End {
    let mut terminal = match Terminal::open(&lab.surroundings(), &lab.folder().join("run")) {
        Ok(terminal) => terminal,
        Err(error) => return End::Failed(vec![format!("cannot start bash at a terminal: {error}")]),
    };
    let _mode = Mode::enter(Mode::raw);
    let mut typist = Typist::new();
    let Ok(mut resized) = signal(SignalKind::window_change()) else {
        return End::Failed(vec!["cannot watch for the screen's size".to_owned()]);
    };
    let mut course = Course::new(lesson, lab);
    let mut output = Vec::new();
    let end = loop {
        tokio::select! {
            bytes = typist.next() => {
                // A shell that is gone is heard of below.
                let _ = terminal.type_in(&bytes).await;
            }
            _ = resized.recv() => terminal.fit(),
            heard = terminal.hear() => match heard {
                Heard::Printed(bytes) => {
                    stage.write_bytes(&bytes);
                    let room = OUTPUT_LIMIT.saturating_sub(output.len());
                    output.extend(bytes.into_iter().take(room));
                }
                Heard::Typed(typed) => {
                    let text = String::from_utf8_lossy(&output).into_owned();
                    output.clear();
                    let go_on = course.typed(&typed, text, stage).await;
                    if terminal.answer(go_on).is_err() {
                        break End::Left;
                    }
                    typist.at_prompt();
                }
                Heard::Gone => break if course.is_over() { End::Over } else { End::Left },
            },
        }
    };
    terminal.close().await;
    end
}

/// Where typed bytes come from. A person types when they like; a script's lines are typed one by
/// one, each when the shell asks for it.
struct Typist {
    bytes: UnboundedReceiver<u8>,
    by_line: bool,
    asked: bool,
}

impl Typist {
    fn new() -> Self {
        Self { bytes: bytes_of_stdin(), by_line: !std::io::stdin().is_terminal(), asked: false }
    }

    fn at_prompt(&mut self) {
        self.asked = true;
    }

    /// The next bytes to type; it may be called off, and loses nothing then.
    async fn next(&mut self) -> Vec<u8> {
        if self.by_line && !self.asked {
            return std::future::pending().await;
        }
        let mut typed = Vec::new();
        match self.bytes.recv().await {
            Some(byte) => typed.push(byte),
            // The end of the input is the end of the session.
            None if self.asked => {
                self.asked = false;
                return b"exit\n".to_vec();
            }
            None => return std::future::pending().await,
        }
        while !(self.by_line && typed.last() == Some(&b'\n')) {
            match self.bytes.try_recv() {
                Ok(byte) => typed.push(byte),
                Err(_) => break,
            }
        }
        if typed.last() == Some(&b'\n') {
            self.asked = false;
        }
        typed
    }
}

/// How far the student is.
struct Course<'a> {
    steps: &'a [Step],
    lab: &'a Lab,
    at: usize,
    /// The last line's number in the shell's history.
    number: u64,
    attempts: u32,
    /// How many hints were given.
    hints: usize,
    guess: Option<usize>,
    /// When the last line began.
    moment: Moment,
    /// What was done since the step began.
    done: Vec<Vec<Event>>,
    shown: bool,
}

impl<'a> Course<'a> {
    fn new(lesson: &'a Lesson, lab: &'a Lab) -> Self {
        Self {
            steps: &lesson.scenario.steps,
            lab,
            at: 0,
            number: 0,
            attempts: 0,
            hints: 0,
            guess: None,
            moment: observe::now(&lab.root()),
            done: Vec::new(),
            shown: false,
        }
    }

    fn is_over(&self) -> bool {
        self.at >= self.steps.len()
    }

    fn scene(&self) -> Option<Scene<'a>> {
        self.steps.get(self.at).map(|step| Scene::of(step, (self.at + 1, self.steps.len())))
    }

    /// A line is over. False if the lesson is.
    async fn typed(&mut self, typed: &Typed, output: String, stage: &mut Stage<'_>) -> bool {
        if !self.shown {
            self.shown = true;
            stage.note(
                "Type in this shell. For help: task, hint, solution; guess N answers a question; exit leaves.",
                "在这个 shell 里输入命令。帮助：task、hint、solution；guess N 回答问题；exit 离开。",
            );
            self.begin(stage);
            return true;
        }
        if std::mem::replace(&mut self.number, typed.number) == typed.number {
            return true;
        }
        let Some(step) = self.steps.get(self.at) else { return false };
        let mut words = typed.line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("task"), None) => self.task(stage),
            (Some("hint"), None) => self.hint(step, None, stage),
            (Some("solution"), None) => stage.write(&format!("  $ {}\n", step.command.trim())),
            (Some("guess"), Some(number)) if number.parse::<usize>().is_ok() => {
                self.guess = number.parse().ok();
                stage.note(
                    "Noted. You will see when the step is solved.",
                    "记下了。完成这一步时就能看到答案。",
                );
            }
            _ => self.judge(step, typed, output, stage).await,
        }
        self.moment = observe::now(&self.lab.root());
        !self.is_over()
    }

    async fn judge(&mut self, step: &Step, typed: &Typed, output: String, stage: &mut Stage<'_>) {
        let operations = observe::since(&self.lab.root(), &self.moment).await;
        let last = observe::tree(&operations);
        self.done.extend(operations);
        self.attempts += 1;
        let ran = Ran {
            command: typed.line.clone(),
            status: typed.status,
            stdout: output,
            stderr: String::new(),
            timed_out: false,
            took: std::time::Duration::ZERO,
        };
        let verdicts = self.verdicts(step, &ran, &last).await;
        stage.verdicts(&verdicts);
        if !verdicts.iter().all(Verdict::ok) {
            return self.hint(step, Some(&last), stage);
        }
        if let Some(scene) = self.scene() {
            stage.answer(scene, self.guess);
            stage.learned(scene);
        }
        self.at += 1;
        (self.attempts, self.hints, self.guess) = (0, 0, None);
        self.done.clear();
        if self.is_over() {
            stage.note("That was the last step: the lesson is solved.", "这是最后一步：本课完成。");
        } else {
            self.begin(stage);
        }
    }

    /// Of the line alone, or of all since the step began, whichever is better for the student.
    async fn verdicts(&self, step: &Step, ran: &Ran, last: &Tree) -> Vec<Verdict> {
        let alone = checks::all(&step.check, self.lab, Done { ran: Some(ran), tree: last }).await;
        if alone.iter().all(Verdict::ok) {
            return alone;
        }
        let tree = observe::tree(&self.done);
        let since = checks::all(&step.check, self.lab, Done { ran: Some(ran), tree: &tree }).await;
        if since.iter().all(Verdict::ok) { since } else { alone }
    }

    /// A step begins: its files are put in place, and its task is told.
    fn begin(&self, stage: &mut Stage<'_>) {
        if let Some(step) = self.steps.get(self.at)
            && let Err(error) = self.lab.write(&step.files)
        {
            stage.wrong(&error.to_string());
        }
        self.task(stage);
    }

    fn task(&self, stage: &mut Stage<'_>) {
        if let Some(scene) = self.scene() {
            stage.task(scene);
        }
    }

    /// Gives a hint: one that the last line calls for, or one whose time has come. Asked for
    /// without a line, the next one.
    fn hint(&mut self, step: &Step, last: Option<&Tree>, stage: &mut Stage<'_>) {
        let due = |(place, hint): (usize, &Hint)| match (last, &hint.when, hint.after) {
            (Some(tree), Some(when), _) => when.trace.check(tree).is_ok(),
            (Some(_), None, Some(after)) => place >= self.hints && self.attempts >= after,
            (Some(_), None, None) => false,
            (None, _, _) => place >= self.hints,
        };
        let found = step.hints.iter().enumerate().find(|hint| due((hint.0, hint.1)));
        let Some((place, hint)) = found else {
            if last.is_none() {
                stage.note(
                    "There is no other hint; solution shows the command.",
                    "没有别的提示了；输入 solution 可以看到命令。",
                );
            }
            return;
        };
        self.hints = place + 1;
        if let Some(say) = &hint.say {
            stage.hint(say);
        }
        if hint.reveal {
            stage.write(&format!("  $ {}\n", step.command.trim()));
        }
    }
}
