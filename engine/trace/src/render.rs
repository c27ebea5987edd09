//! A trace as text for terminals and transcripts.
//!
//! ```text
//!   image.resolve  docker.io/library/busybox:latest → 0123456789ab            1.2 ms
//!     blob.fetch  89abcdef0123, 2.05 MB                                       8.4 ms
//!       registry.request  GET http://… → 200, 2.05 MB received                6.0 ms
//!   process.exec  nosuch                                    failed: ENOENT, no nosuch in PATH
//! ```
//!
//! [`tree`] prints a whole trace, [`Live`] each step as soon as it is over: a step
//! with something inside is printed before it, one without when it ends. What
//! comes from outside (names, paths, a container's words) is escaped, so that a
//! trace can't move the cursor or colour the screen.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::event::{Event, Outcome, Phase};
use crate::narration;
use crate::template;
use crate::tree::{Node, Tree};
use crate::vocabulary::{Body, Level};

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The steps.
    Steps,
    /// The steps and the evidence under them.
    All,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Which events.
    pub detail: Detail,
    /// With colours; for terminals only.
    pub colour: bool,
    /// With how long each step took.
    pub times: bool,
    /// With a line of narration under each step, in this language.
    pub narrate: Option<Language>,
    /// With the literal lines that prove an event.
    pub proof: bool,
}

impl Style {
    /// Plain text, with times, without narration.
    #[must_use]
    pub fn plain(detail: Detail) -> Self {
        Self { detail, colour: false, times: true, narrate: None, proof: false }
    }
}

/// A language of the narration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// 中文.
    Zh,
}

/// A whole trace as lines, each with its line end.
#[must_use]
pub fn tree(tree: &Tree, style: Style) -> String {
    let mut text = String::new();
    // The depth on the page counts only what is shown.
    let mut shown: Vec<(usize, usize)> = Vec::new();
    tree.walk(|depth, node| {
        while shown.last().is_some_and(|(above, _)| *above >= depth) {
            shown.pop();
        }
        if style.shows(node.level()) {
            let indent = shown.last().map_or(0, |(_, indent)| indent + 1);
            shown.push((depth, indent));
            style.print(&mut text, indent, node);
        }
    });
    text
}

/// One event's fields as one line, escaped: what `narration.yaml` says for its kind.
#[must_use]
pub fn summary(body: &Body) -> String {
    escape(&template::fill(&narration::of(body.kind()).show, &fields(body)))
}

/// The fields of an event as plain JSON.
#[must_use]
pub fn fields(body: &Body) -> Map<String, Value> {
    let mut fields = Map::new();
    body.each_field(&mut |name, field| {
        fields.insert(name.to_owned(), field.value());
    });
    fields
}

/// Text from outside, with control characters shown as `\n`, `\x1b` and the like.
/// Characters that turn the direction of writing count as control characters.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            '\u{0}'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(safe, "\\x{:02x}", u32::from(letter));
            }
            '\u{80}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(letter));
            }
            _ => safe.push(letter),
        }
    }
    safe
}

/// A duration with three digits: `12 µs`, `1.25 ms`, `2.1 s`.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = nanoseconds as f64;
    let (value, unit) = if value < 1e6 {
        (value / 1e3, "µs")
    } else if value < 1e9 {
        (value / 1e6, "ms")
    } else {
        (value / 1e9, "s")
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

const WIDTH: usize = 72;
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

impl Style {
    fn shows(self, level: Level) -> bool {
        self.detail == Detail::All || level == Level::Step
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("{code}{text}{RESET}") } else { text.to_owned() }
    }

    fn print(self, text: &mut String, indent: usize, node: &Node) {
        let note = match (&node.skipped, &node.result) {
            (Some(reason), _) => format!("not needed: {}", escape(reason)),
            (None, Some(result)) if !result.ok => failure(result),
            (None, None) if node.is_open() => "not over".to_owned(),
            _ => String::new(),
        };
        let time = node.dur_ns.filter(|_| self.times).map(duration).unwrap_or_default();
        self.line(text, indent, &node.body, &note, &time, node.failed());
        self.below(text, indent, node);
    }

    fn line(self, text: &mut String, indent: usize, body: &Body, note: &str, time: &str, failed: bool) {
        let kind = body.kind();
        let what = summary(body);
        let pad = "  ".repeat(indent);
        let name = self.paint(if kind.level() == Level::Step { BOLD } else { CYAN }, kind.name());
        let mut used = pad.chars().count() + kind.name().len();
        let _ = write!(text, "{pad}{name}");
        if !what.is_empty() {
            used += 2 + what.chars().count();
            let _ = write!(text, "  {what}");
        }
        if !note.is_empty() {
            used += 4 + note.chars().count();
            let _ = write!(text, "  ({})", self.paint(if failed { RED } else { DIM }, note));
        }
        if !time.is_empty() {
            let gap = WIDTH.saturating_sub(used).max(2);
            let _ = write!(text, "{}{}", " ".repeat(gap), self.paint(DIM, &format!("{time:>8}")));
        }
        text.push('\n');
    }

    fn below(self, text: &mut String, indent: usize, node: &Node) {
        let pad = "  ".repeat(indent + 1);
        if let Some(language) = self.narrate.filter(|_| node.level() == Level::Step) {
            let narration = narration::of(node.kind());
            let said = match language {
                Language::En => &narration.en,
                Language::Zh => &narration.zh,
            };
            let _ = writeln!(text, "{pad}{}", self.paint(DIM, said));
        }
        if self.proof {
            for evidence in &node.evidence {
                for line in &evidence.lines {
                    let line = format!("{}: {}", escape(&evidence.source), escape(line));
                    let _ = writeln!(text, "{pad}{}", self.paint(DIM, &line));
                }
            }
        }
    }
}

fn failure(result: &Outcome) -> String {
    let mut text = "failed".to_owned();
    for part in [&result.errno, &result.message].into_iter().flatten() {
        let _ = write!(text, "{}{}", if text == "failed" { ": " } else { ", " }, escape(part));
    }
    text
}

/// Prints a trace while it happens.
#[derive(Debug)]
pub struct Live {
    style: Style,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    parent: u64,
    /// How far what is inside of it is indented.
    inside: usize,
    /// What to print when something inside of it comes; nothing if that was
    /// done, or if it is not shown at all.
    waiting: Option<Box<Event>>,
    /// What it said of itself at its begin.
    body: Body,
}

impl Live {
    /// A printer of one operation.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, open: HashMap::new() }
    }

    /// Takes the next event; returns the lines to print now, which may be none.
    pub fn event(&mut self, event: &Event) -> String {
        let mut text = String::new();
        let shown = self.style.shows(event.body.kind().level());
        // The operation itself is its own parent: nothing is around it.
        let around = self.open.get(&event.parent).filter(|_| event.parent != event.span);
        let indent = around.map_or(0, |open| open.inside);
        if shown {
            self.announce(event.parent, &mut text);
        }
        match event.phase {
            Phase::Begin => {
                let open = Open {
                    parent: event.parent,
                    inside: indent + usize::from(shown),
                    waiting: shown.then(|| Box::new(event.clone())),
                    body: event.body.clone(),
                };
                self.open.insert(event.span, open);
            }
            Phase::Point | Phase::Skip if shown => self.one(event, indent, &mut text),
            Phase::End if shown => {
                let open = self.open.remove(&event.span);
                let failed = event.result.as_ref().is_some_and(|result| !result.ok);
                let told = open.is_some_and(|open| open.waiting.is_none() && open.body == event.body);
                // A step that was announced is told again only if its end knows more.
                if failed || !told {
                    self.one(event, indent, &mut text);
                }
            }
            Phase::End => {
                self.open.remove(&event.span);
            }
            Phase::Point | Phase::Skip => {}
        }
        text
    }

    /// Prints the steps around, the outermost first, that were not printed yet.
    fn announce(&mut self, span: u64, text: &mut String) {
        let mut chain = Vec::new();
        let mut next = span;
        while let Some(open) = self.open.get(&next).filter(|_| !chain.contains(&next)) {
            chain.push(next);
            next = open.parent;
        }
        for span in chain.into_iter().rev() {
            let Some(open) = self.open.get_mut(&span) else { continue };
            if let Some(event) = open.waiting.take() {
                self.style.line(text, open.inside - 1, &event.body, "", "", false);
            }
        }
    }

    fn one(&self, event: &Event, indent: usize, text: &mut String) {
        let tree = Tree::of(std::slice::from_ref(event));
        if let Some(node) = tree.nodes.first() {
            self.style.print(text, indent, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const PLAIN: Style =
        Style { detail: Detail::All, colour: false, times: false, narrate: None, proof: false };

    #[test]
    fn steps_and_their_evidence() {
        insta::assert_snapshot!(tree(&Tree::of(&samples::run()), PLAIN), @r"
        operation  docker run busybox · exit status 127
          image.resolve  docker.io/library/busybox:latest → aaaaaaaaaaaa (local)
            blob.reuse  bbbbbbbbbbbb, 2.05 kB
          container.state  0123456789ab (brave_otter) → created
          namespace.create  mnt pid, first process 4712
          layer.mount  lower 1, upper /tmp/x/containers/0123456789ab/upper
          user.set  0:0  (not needed: the user is root already)
          rootfs.pivot  /tmp/x/rootfs
            mount.detach  / detach
          process.exec  nosuch  (failed: ENOENT, no nosuch in PATH)
        ");
    }

    #[test]
    fn steps_alone() {
        insta::assert_snapshot!(tree(&Tree::of(&samples::run()), Style { detail: Detail::Steps, ..PLAIN }), @r"
        operation  docker run busybox · exit status 127
          image.resolve  docker.io/library/busybox:latest → aaaaaaaaaaaa (local)
          container.state  0123456789ab (brave_otter) → created
          namespace.create  mnt pid, first process 4712
          layer.mount  lower 1, upper /tmp/x/containers/0123456789ab/upper
          user.set  0:0  (not needed: the user is root already)
          rootfs.pivot  /tmp/x/rootfs
          process.exec  nosuch  (failed: ENOENT, no nosuch in PATH)
        ");
    }

    #[test]
    fn live() {
        let mut live = Live::new(PLAIN);
        let text: String = samples::run().iter().map(|event| live.event(event)).collect();
        insta::assert_snapshot!(text, @r"
        operation  docker run busybox
          image.resolve  docker.io/library/busybox:latest
            blob.reuse  bbbbbbbbbbbb, 2.05 kB
          image.resolve  docker.io/library/busybox:latest → aaaaaaaaaaaa (local)
          container.state  0123456789ab (brave_otter) → created
          namespace.create  mnt pid, first process 4712
          layer.mount  lower 1, upper /tmp/x/containers/0123456789ab/upper
          user.set  0:0  (not needed: the user is root already)
          rootfs.pivot  /tmp/x/rootfs
            mount.detach  / detach
          process.exec  nosuch  (failed: ENOENT, no nosuch in PATH)
        operation  docker run busybox · exit status 127
        ");
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_raw() {
        let body = Body::ImageResolve {
            reference: "evil\x1b[2J\u{202e}\u{9b}31m\nimage".into(),
            source: None,
            digest: None,
            platform: None,
        };
        assert_eq!(summary(&body), "evil\\x1b[2J\\u{202e}\\u{9b}31m\\nimage");
    }

    #[test]
    fn durations_have_three_digits() {
        let texts = [1_250, 999_999, 12_345_678, 2_100_000_000].map(duration);
        assert_eq!(texts, ["1.25 µs", "1000 µs", "12.3 ms", "2.10 s"]);
    }
}
