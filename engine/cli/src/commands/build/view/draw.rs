//! How the list looks: a line a step, as wide as the terminal, and no higher while it is drawn in place.

use std::time::Duration;

use glassdock_trace::render::escape;
use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::list::{List, State, Step};
use super::paint::Line;
use crate::show::units;

/// The last lines of a running step's output.
const OUTPUT_LINES: usize = 6;

/// What the terminal can show.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) columns: usize,
    /// Its rows; none when the list may scroll.
    pub(super) rows: Option<usize>,
    pub(super) colour: bool,
}

#[derive(Clone, Copy)]
enum Ink {
    Plain,
    Done,
    Failed,
    Faint,
}

impl Style {
    fn line(&self, ink: Ink, text: &str) -> Line {
        // The last column stays free: terminals differ in what they do when it is written.
        let text = cut(text, self.columns.saturating_sub(1));
        let width = text.width();
        let code = match ink {
            Ink::Plain => "",
            Ink::Done => "34",
            Ink::Failed => "31",
            Ink::Faint => "2",
        };
        let text = if self.colour && !code.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text };
        Line { text, width }
    }

    /// A text, and a time at the right.
    fn timed(&self, ink: Ink, text: &str, took: Duration) -> Line {
        let time = format!(" {}", seconds(took));
        let room = self.columns.saturating_sub(1 + time.len());
        let text = cut(text, room);
        let gap = " ".repeat(room - text.width());
        self.line(ink, &format!("{text}{gap}{time}"))
    }
}

/// The list as it is now.
pub(super) fn frame(list: &List, style: &Style) -> Vec<Line> {
    let took = list.took.unwrap_or_else(|| list.begun.elapsed());
    let end = match (list.took, &list.failure) {
        (Some(_), None) => " FINISHED",
        (Some(_), Some(_)) => " FAILED",
        (None, _) => "",
    };
    let head = format!("[+] Building {} ({}/{}){end}", seconds(took), list.done(), list.of);
    let mut below: Vec<(Weight, Line)> = Vec::new();
    if let Some((size, there)) = list.context {
        let (ink, took) = there.map_or((Ink::Plain, took), |there| (Ink::Done, there));
        let text = format!(" => context, {}", units::size(number(size)));
        below.push((there.map_or(Weight::Running, |_| Weight::Over), style.timed(ink, &text, took)));
    }
    for step in &list.steps {
        lines(step, style, &mut below);
    }
    if let Some(rows) = style.rows {
        fit(&mut below, rows.saturating_sub(2).max(1));
    }
    let head = style.line(Ink::Plain, &head);
    std::iter::once(head).chain(below.into_iter().map(|(_, line)| line)).collect()
}

/// What goes first where there are too few rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Over,
    Output,
    Running,
}

fn lines(step: &Step, style: &Style, below: &mut Vec<(Weight, Line)>) {
    let label = if step.label.is_empty() { String::new() } else { format!("{} ", step.label) };
    let text = format!("{label}{}", one_line(&step.text));
    let (ink, text, took) = match &step.state {
        State::Running => (Ink::Plain, format!(" => {text}"), step.begun.elapsed()),
        State::Done { took, cached: true } => (Ink::Done, format!(" => CACHED {text}"), *took),
        State::Done { took, .. } => (Ink::Done, format!(" => {text}"), *took),
        State::Failed { took, .. } => (Ink::Failed, format!(" => ERROR {text}"), *took),
        State::Left => {
            below.push((Weight::Over, style.line(Ink::Faint, &format!(" => CANCELED {text}"))));
            return;
        }
    };
    let running = step.is_running();
    below.push((if running { Weight::Running } else { Weight::Over }, style.timed(ink, &text, took)));
    if !running {
        return;
    }
    for (id, status) in step.pulls.iter().rev().take(OUTPUT_LINES).rev() {
        let id = if id.is_empty() { String::new() } else { format!("{id}: ") };
        let text = format!(" => => {}", escape(&format!("{id}{status}")));
        below.push((Weight::Output, style.line(Ink::Faint, &text)));
    }
    for line in last_lines(&step.output.text) {
        below.push((Weight::Output, style.line(Ink::Faint, &format!(" => => # {line}"))));
    }
}

/// Takes lines out until there are few enough: the oldest steps that are over, then output, then the oldest.
fn fit(lines: &mut Vec<(Weight, Line)>, rows: usize) {
    for weight in [Weight::Over, Weight::Output, Weight::Running] {
        let mut surplus = lines.len().saturating_sub(rows);
        lines.retain(|(own, _)| {
            let goes = surplus > 0 && *own == weight;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// What is said below the list at the end: the output and the lines of what failed, else what was made.
pub(super) fn after(list: &List, style: &Style) -> String {
    let mut text = String::new();
    for step in &list.steps {
        let State::Failed { excerpt, .. } = &step.state else { continue };
        if !step.output.text.is_empty() {
            let title = format!("{} {}", step.label, one_line(&step.text));
            text.push_str(&format!("------\n > {}:\n", style.line(Ink::Plain, &title).text));
            if step.output.left_out > 0 {
                text.push_str(&format!("({} bytes before this are left out)\n", step.output.left_out));
            }
            for line in step.output.text.lines() {
                text.push_str(&format!("{}\n", clean(line)));
            }
            text.push_str("------\n");
        }
        text.push_str(&dockerfile(excerpt));
    }
    text.push_str(&list.notes);
    text
}

/// The lines of the Dockerfile around an instruction, with arrows at its own.
fn dockerfile(excerpt: &Value) -> String {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
    let (first, last) = (number(excerpt.pointer("/lines/0")), number(excerpt.pointer("/lines/1")));
    let name = excerpt.get("file").and_then(Value::as_str).unwrap_or_default();
    let rule = "-".repeat(20);
    let mut text = format!("{}:{first}\n{rule}\n", escape(name));
    for line in excerpt.get("text").and_then(Value::as_array).into_iter().flatten() {
        let at = number(line.get(0));
        let arrow = if (first..=last).contains(&at) { ">>>" } else { "   " };
        let words = clean(line.get(1).and_then(Value::as_str).unwrap_or_default());
        text.push_str(format!("{at:>4} | {arrow} {words}").trim_end());
        text.push('\n');
    }
    text.push_str(&format!("{rule}\n"));
    text
}

/// The last lines that have something, each as a terminal would leave it.
fn last_lines(output: &str) -> Vec<String> {
    let lines = output.lines().rev().map(clean).filter(|line| !line.trim().is_empty());
    let mut lines: Vec<String> = lines.take(OUTPUT_LINES).collect();
    lines.reverse();
    lines
}

/// A line without what would move the cursor or colour it: after its last return, tabs as spaces.
fn clean(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut text = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' if letters.next_if_eq(&'[').is_some() => {
                // A control sequence ends with a letter or one of `@[\]^_`{|}~`.
                while letters.next().is_some_and(|inner| !('@'..='~').contains(&inner)) {}
            }
            '\t' => text.push_str(&" ".repeat(8 - text.width() % 8)),
            letter if letter.is_control() => {}
            letter => text.push(letter),
        }
    }
    text
}

/// An instruction of several lines as one.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim_end().trim_end_matches('\\'));
    escape(&lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" "))
}

/// A text in so many columns at most, with `…` where something is left out.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = 0;
    for letter in text.chars() {
        let more = letter.width().unwrap_or(0);
        if width + more + 1 > columns {
            break;
        }
        width += more;
        kept.push(letter);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn number(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
