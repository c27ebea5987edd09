//! A lesson played before an audience: the runner types, somebody watches.
//!
//! [`perform`] leads a lab through a lesson's own commands; an [`Audience`] says when to go on and
//! hears all of it. A person at a screen is one ([`Watcher`]: `play` and `demo`), a recorder is
//! another (see [`crate::recording`]).

use crate::keys::{Key, Keys};
use crate::lab::Lab;
use crate::read::Lesson;
use crate::run::{self, StepOutcome, chain};
use crate::scenario::Step;
use crate::shell::Stream;
use crate::stage::{Scene, Shown, Stage};
use crate::tools::Tools;
use crate::utf8::Pieces;

/// How a performance ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With the last step.
    Over,
    /// Somebody left before.
    Left,
    /// Something was not as it should be.
    Failed(Vec<String>),
    /// By a signal.
    Interrupted,
}

/// Who a lesson is played for.
pub trait Audience {
    /// Before a step; `false` is leaving.
    fn before(&mut self, place: (usize, usize), step: &Step) -> impl Future<Output = bool>;
    /// The step's command says something.
    fn hear(&mut self, stream: Stream, bytes: &[u8]);
    /// The step is over.
    fn after(&mut self, place: (usize, usize), step: &Step, done: &StepOutcome);
}

/// Plays a lesson in a lab of its own, which is taken down again in every case.
pub async fn perform(lesson: &Lesson, tools: &Tools, audience: &mut impl Audience) -> End {
    let lab = match Lab::open(tools).await {
        Ok(lab) => lab,
        Err(_) if tools.interrupt.is_set() => return End::Interrupted,
        Err(error) => return End::Failed(vec![chain(&error)]),
    };
    let end = tools.interrupt.or(steps(lesson, &lab, audience)).await.unwrap_or(End::Interrupted);
    let left = lab.close().await;
    match end {
        End::Over | End::Left if !left.is_empty() => {
            End::Failed(left.iter().map(|what| format!("left behind: {what}")).collect())
        }
        end => end,
    }
}

async fn steps(lesson: &Lesson, lab: &Lab, audience: &mut impl Audience) -> End {
    if let Err(failure) = run::prepare(lesson, lab).await {
        return End::Failed(vec![failure]);
    }
    let all = lesson.scenario.steps.len();
    for (number, step) in lesson.scenario.steps.iter().enumerate() {
        let place = (number + 1, all);
        if !audience.before(place, step).await {
            return End::Left;
        }
        let done = match run::one(step, lab, &mut |stream, bytes| audience.hear(stream, bytes)).await {
            Ok(done) => done,
            Err(error) => return End::Failed(vec![format!("{}: {error}", step.id)]),
        };
        audience.after(place, step, &done);
        if !done.passed() {
            let complaints = done.complaints();
            return End::Failed(complaints);
        }
    }
    End::Over
}

/// A person who watches a screen and presses keys.
pub struct Watcher<'a, 's> {
    stage: &'a mut Stage<'s>,
    keys: &'a mut Keys,
    guess: Option<usize>,
    pieces: Pieces,
}

impl<'a, 's> Watcher<'a, 's> {
    /// Somebody before this screen, with these keys.
    pub fn new(stage: &'a mut Stage<'s>, keys: &'a mut Keys) -> Self {
        Self { stage, keys, guess: None, pieces: Pieces::default() }
    }
}

impl Audience for Watcher<'_, '_> {
    async fn before(&mut self, place: (usize, usize), step: &Step) -> bool {
        let scene = Scene::of(step, place);
        self.stage.before(scene);
        self.stage.invite(scene.ask.is_some());
        let key = self.keys.next().await;
        self.stage.pressed(key);
        self.guess = match key {
            Key::Guess(number) => Some(number),
            Key::Go | Key::Leave => None,
        };
        key != Key::Leave
    }

    fn hear(&mut self, stream: Stream, bytes: &[u8]) {
        let text = self.pieces.add(stream, bytes);
        if !self.stage.is_beside() {
            self.stage.hear(stream, &text);
        }
    }

    fn after(&mut self, place: (usize, usize), step: &Step, done: &StepOutcome) {
        let said = format!("{}{}", done.ran.stdout, done.ran.stderr);
        let shown = Shown { status: done.ran.status, said: &said, tree: &done.tree, checks: &done.checks };
        self.stage.after(Scene::of(step, place), shown, self.guess);
    }
}
