//! A lesson on a screen: prose, a question, the command, what it said, what the engine did.
//!
//! `play`, `demo`, `replay` and `learn` show the same things in the same words, and differ in who
//! types. A [`Scene`] is a step as it is shown, from a scenario or from a recording.

use std::io::Write;

use glassdock_trace::Tree;
use glassdock_trace::render::{self, Detail, Language, Style, escape};

use crate::checks::Verdict;
use crate::files::Files;
use crate::keys::Key;
use crate::report::Manner;
use crate::scenario::{Step, Text};
use crate::shell::Stream;

/// Below so many columns there is no room for two things side by side.
const TWO_COLUMNS: usize = 100;

/// Prose is not wider than this, or the eye loses the line.
const PROSE: usize = 90;

/// A step, as far as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Its place in the lesson, from 1, and how many there are.
    pub place: (usize, usize),
    /// What is said before it.
    pub say: &'a Text,
    /// The question, and its answer.
    pub ask: Option<(&'a Text, usize)>,
    /// The files that it finds.
    pub files: &'a Files,
    /// The command.
    pub command: &'a str,
    /// What is said after it.
    pub learned: Option<&'a Text>,
    /// For the teacher.
    pub notes: Option<&'a Text>,
}

impl<'a> Scene<'a> {
    /// A scenario's step.
    #[must_use]
    pub fn of(step: &'a Step, place: (usize, usize)) -> Self {
        Self {
            place,
            say: &step.say,
            ask: step.predict.as_ref().map(|predict| (&predict.ask, predict.answer)),
            files: &step.files,
            command: step.command.trim(),
            learned: step.learned.as_ref(),
            notes: step.notes.as_ref(),
        }
    }
}

/// What came of a step, as far as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The command's exit status.
    pub status: i32,
    /// What it said, for those who did not hear it.
    pub said: &'a str,
    /// What the engine did.
    pub tree: &'a Tree,
    /// The checks.
    pub checks: &'a [Verdict],
}

/// How a lesson is shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Language and colours.
    pub manner: Manner,
    /// How wide the screen is, in columns.
    pub width: usize,
    /// Whether the trace stands beside the command's words, as far as there is room.
    pub beside: bool,
    /// Whether the teacher's notes are shown.
    pub notes: bool,
    /// Whether each step of the trace is explained.
    pub narrate: bool,
    /// Whether the screen's terminal is in raw mode.
    pub raw: bool,
}

/// The screen.
pub struct Stage<'a> {
    /// How it looks.
    pub look: Look,
    out: &'a mut dyn Write,
    /// Whether the next of a command's bytes begins a line.
    fresh: bool,
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const CYAN: &str = "\x1b[36m";

impl<'a> Stage<'a> {
    /// A screen that is written to `out`.
    pub fn new(look: Look, out: &'a mut dyn Write) -> Self {
        Self { look, out, fresh: true }
    }

    /// Whether the trace is shown beside the command, which then is not heard live.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        self.look.beside && self.look.width >= TWO_COLUMNS
    }

    /// Writes as it is. Who closes the pipe has seen enough.
    pub fn write(&mut self, text: &str) {
        // A terminal in raw mode goes down at \n, and not back.
        let returned = self.look.raw.then(|| text.replace('\n', "\r\n"));
        self.write_bytes(returned.as_deref().unwrap_or(text).as_bytes());
    }

    /// Writes what a terminal printed for a terminal.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes).and_then(|()| self.out.flush());
    }

    /// One of two texts, by the language.
    #[must_use]
    pub fn word(&self, en: &'static str, zh: &'static str) -> &'static str {
        if self.look.manner.chinese { zh } else { en }
    }

    fn text<'t>(&self, text: &'t Text) -> &'t str {
        if self.look.manner.chinese { &text.zh } else { &text.en }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.look.manner.colour { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A paragraph, between the margins.
    pub fn prose(&mut self, text: &str) {
        let width = self.look.width.clamp(20, PROSE);
        self.write(&format!("{}\n", textwrap::fill(text.trim(), width)));
    }

    /// The title of a lesson, and what it is about.
    pub fn opening(&mut self, id: &str, title: &Text, about: &Text) {
        let title = self.paint(BOLD, &format!("{id}: {}", self.text(title)));
        self.write(&format!("\n{title}\n\n"));
        let about = self.text(about);
        self.prose(about);
    }

    /// What stands before a step: its prose, the question, the command.
    pub fn before(&mut self, scene: Scene<'_>) {
        self.task(scene);
        self.write(&format!("\n  {}\n", self.paint(BOLD, &format!("$ {}", scene.command))));
    }

    /// As [`Stage::before`], without the command: whoever learns finds it alone.
    pub fn task(&mut self, scene: Scene<'_>) {
        let (place, all) = scene.place;
        self.write(&format!("\n{}\n", self.paint(DIM, &format!("{place}/{all}"))));
        self.prose(self.text(scene.say));
        self.files(scene.files);
        if self.look.notes
            && let Some(notes) = scene.notes
        {
            let label = self.word("For the teacher: ", "给教师：");
            self.write("\n");
            self.prose(&format!("{label}{}", self.text(notes)));
        }
        if let Some((question, _)) = scene.ask {
            self.write("\n");
            self.write(&self.paint(CYAN, "? "));
            self.prose(self.text(question));
        }
    }

    /// The files that a step finds, as they are.
    fn files(&mut self, files: &Files) {
        for (path, text) in files {
            let mut shown = format!("\n  {}\n", self.paint(BOLD, &escape(path)));
            for line in text.lines() {
                shown.push_str(&format!("  {} {}\n", self.paint(DIM, "│"), escape(line)));
            }
            self.write(&shown);
        }
    }

    /// Says what a key does; the line is gone once one is pressed.
    pub fn invite(&mut self, asked: bool) {
        let words = if asked {
            self.word(
                "[a digit: your guess · any key: run it · q: leave] ",
                "[数字键：你的猜测 · 任意键：运行 · q：离开] ",
            )
        } else {
            self.word("[any key: run it · q: leave] ", "[任意键：运行 · q：离开] ")
        };
        self.write(&self.paint(DIM, words));
    }

    /// Ends the line of [`Stage::invite`], with what was guessed.
    pub fn pressed(&mut self, key: Key) {
        self.write(&match key {
            Key::Guess(number) => format!("{number}\n"),
            Key::Go | Key::Leave => "\n".to_owned(),
        });
        self.fresh = true;
    }

    /// Some of what a command says, at the moment when it says it.
    pub fn hear(&mut self, _stream: Stream, text: &str) {
        let mut shown = String::new();
        for line in text.split_inclusive('\n') {
            if self.fresh {
                shown.push_str("  ");
            }
            self.fresh = line.ends_with('\n');
            shown.push_str(&escape(line.trim_end_matches('\n')));
            if self.fresh {
                shown.push('\n');
            }
        }
        self.write(&shown);
    }

    /// What stands after a step.
    pub fn after(&mut self, scene: Scene<'_>, shown: Shown<'_>, guess: Option<usize>) {
        if !self.fresh {
            self.write("\n");
            self.fresh = true;
        }
        if self.is_beside() {
            let left = shown.said.lines().map(|line| escape(line) + "\n").collect::<String>();
            self.write(&columns(&left, &self.trace(shown.tree, false), self.look.width));
        }
        let status = format!("{} {}", self.word("exit status", "退出状态"), shown.status);
        self.write(&format!("  {}\n", self.paint(DIM, &status)));
        if !self.is_beside() {
            let trace = self.trace(shown.tree, self.look.manner.colour);
            for line in trace.lines() {
                self.write(&format!("    {line}\n"));
            }
        }
        self.answer(scene, guess);
        self.verdicts(shown.checks);
        self.learned(scene);
    }

    fn trace(&self, tree: &Tree, colour: bool) -> String {
        let detail = if self.look.manner.evidence { Detail::All } else { Detail::Steps };
        let language = if self.look.manner.chinese { Language::Zh } else { Language::En };
        let narrate = self.look.narrate.then_some(language);
        render::tree(tree, Style { colour, narrate, times: !self.is_beside(), ..Style::plain(detail) })
    }

    /// The right answer to the question, held against a guess.
    pub fn answer(&mut self, scene: Scene<'_>, guess: Option<usize>) {
        let Some((_, answer)) = scene.ask else { return };
        let has = self.word("The trace has", "轨迹里有");
        let line = match guess {
            None => format!("{has} {answer}."),
            Some(guess) if guess == answer => {
                self.paint(GREEN, &format!("{has} {answer}. {}", self.word("You knew.", "你猜对了。")))
            }
            Some(guess) => format!("{has} {answer}; {} {guess}.", self.word("you said", "你说的是")),
        };
        self.write(&format!("  {}{line}\n", self.paint(CYAN, "? ")));
    }

    /// The checks, a line each.
    pub fn verdicts(&mut self, checks: &[Verdict]) {
        for check in checks {
            let (mark, colour) = if check.ok() { ("ok  ", GREEN) } else { ("FAIL", RED) };
            let line = format!("  {} {}\n", self.paint(colour, mark), escape(&check.what));
            self.write(&line);
        }
    }

    /// What is to be kept in mind.
    pub fn learned(&mut self, scene: Scene<'_>) {
        if let Some(learned) = scene.learned {
            self.write("\n");
            self.prose(self.text(learned));
        }
    }

    /// Something that went wrong, or was not as it should be.
    pub fn wrong(&mut self, text: &str) {
        let label = self.paint(RED, self.word("wrong:", "有误："));
        self.write(&format!("  {label} {}\n", text.replace('\n', "\n    ")));
    }

    /// A hint.
    pub fn hint(&mut self, text: &Text) {
        let label = self.word("Hint: ", "提示：");
        self.prose(&format!("{label}{}", self.text(text)));
    }

    /// A line of the runner's own.
    pub fn note(&mut self, en: &'static str, zh: &'static str) {
        let line = self.paint(DIM, self.word(en, zh));
        self.write(&format!("{line}\n"));
    }
}

/// Two texts side by side, each in half of the width; lines that are too long go on below.
#[must_use]
pub fn columns(left: &str, right: &str, width: usize) -> String {
    let half = (width.saturating_sub(3) / 2).max(10);
    let cells = |text: &str| -> Vec<String> {
        text.lines()
            .flat_map(|line| {
                let indent = line.len() - line.trim_start().len();
                // A table that does not fit gives up its wide gaps before its lines are broken.
                let wide = textwrap::core::display_width(line) > half;
                let line = if wide { narrowed(line) } else { line.to_owned() };
                let deep = " ".repeat(indent.min(half / 2) + 2);
                let options = textwrap::Options::new(half).subsequent_indent(&deep);
                textwrap::wrap(&line, options).into_iter().map(|part| part.into_owned()).collect::<Vec<_>>()
            })
            .collect()
    };
    let (left, right) = (cells(left), cells(right));
    let mut text = String::new();
    for row in 0..left.len().max(right.len()) {
        let cell = |cells: &[String]| cells.get(row).cloned().unwrap_or_default();
        let (one, other) = (cell(&left), cell(&right));
        let gap = half.saturating_sub(textwrap::core::display_width(&one));
        text.push_str(format!("{one}{} │ {other}", " ".repeat(gap)).trim_end());
        text.push('\n');
    }
    text
}

/// A line without gaps of more than two spaces, but for those that it begins with.
fn narrowed(line: &str) -> String {
    let mut narrow = String::with_capacity(line.len());
    for letter in line.chars() {
        let begun = !narrow.trim_start().is_empty();
        if letter != ' ' || !begun || !narrow.ends_with("  ") {
            narrow.push(letter);
        }
    }
    narrow
}

/// How wide the screen is; 80 columns where nobody can tell.
#[must_use]
pub fn width() -> usize {
    let asked = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    let told = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    asked.filter(|columns| *columns > 0).or_else(told).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_stand_side_by_side() {
        let text = columns("out 输出\n", "operation\n  layer.mount lower upper\n", 30);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "out 输出      │ operation");
        assert_eq!(lines[1], "              │   layer.mount");
        assert!(lines.iter().all(|line| textwrap::core::display_width(line) <= 30), "{text}");
    }

    #[test]
    fn what_a_command_says_can_not_move_the_cursor() {
        let look = Look {
            manner: Manner { colour: false, chinese: false, evidence: false, quiet: false },
            width: 80,
            beside: false,
            notes: false,
            narrate: false,
            raw: false,
        };
        let mut out = Vec::new();
        let mut stage = Stage::new(look, &mut out);
        stage.hear(Stream::Stdout, "one\ntw");
        stage.hear(Stream::Stdout, "o\x1b[2J\n");
        assert_eq!(String::from_utf8_lossy(&out), "  one\n  two\\x1b[2J\n");
    }
}
