//! The tree of steps that a stream of events tells.
//!
//! ```text
//!   begin span 3 ┐                       Node { span 3 }
//!   point span 4 │ parent 3      ──►       └── Node { span 4 }
//!   end   span 3 ┘
//! ```
//!
//! A `begin` and its `end` become one [`Node`], with what the end knows. Nodes are
//! in the order in which they began on the machine's clock, which all of an
//! operation's processes share: events of a shim may have been written later than
//! they happened. A node is always after its parent, so a tree can't have a loop,
//! whatever the file says.

use std::collections::HashMap;

use crate::event::{Actor, Event, Evidence, Outcome, Phase};
use crate::vocabulary::{Body, Kind, Level};

/// A step, or an observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Which of the operations in the tree it belongs to, from 0.
    pub operation: usize,
    /// Its number in the operation.
    pub span: u64,
    /// Which part of the engine acted.
    pub actor: Actor,
    /// The acting process.
    pub pid: u32,
    /// What was done, as far as it is known.
    pub body: Body,
    /// Nanoseconds from the operation's start to its begin.
    pub began_ns: u64,
    /// The same to its end; `None` for a step that is still going on.
    pub ended_ns: Option<u64>,
    /// How it went.
    pub result: Option<Outcome>,
    /// Why it was not needed, for a step that was skipped.
    pub skipped: Option<String>,
    /// How long the act took, in nanoseconds.
    pub dur_ns: Option<u64>,
    /// What proves it.
    pub evidence: Vec<Evidence>,
    /// The place of the step around it in [`Tree::nodes`].
    pub parent: Option<usize>,
    /// The places of what is inside of it.
    pub children: Vec<usize>,
}

impl Node {
    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Whether it is a step, or evidence under one.
    #[must_use]
    pub fn level(&self) -> Level {
        self.kind().level()
    }

    /// Whether it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.result.as_ref().is_some_and(|result| !result.ok)
    }

    /// Whether it began and has no end yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ended_ns.is_none()
    }
}

/// The steps of one operation, or of several one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// All nodes, in the order in which they began.
    pub nodes: Vec<Node>,
    /// The places of those that are inside of no other.
    pub roots: Vec<usize>,
}

impl Tree {
    /// The tree of one operation's events, in whatever order they were written.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut tree = Self::default();
        tree.add(events);
        tree
    }

    /// Adds the next operation's events.
    pub fn add(&mut self, events: &[Event]) {
        let operation = self.nodes.last().map_or(0, |node| node.operation + 1);
        let mut places: HashMap<u64, usize> = HashMap::new();
        let mut ordered: Vec<&Event> = events.iter().collect();
        // An operation of the daemon's own begins when it is told of something that was a
        // moment before; that is inside of it all the same.
        ordered.sort_by_key(|event| {
            (event.body.kind() != Kind::Operation || event.phase == Phase::End, event.t_ns)
        });
        for event in ordered {
            match (event.phase, places.get(&event.span).copied()) {
                (Phase::End, Some(place)) => self.end(place, event),
                _ => {
                    let parent = places.get(&event.parent).copied();
                    let place = self.begin(operation, parent, event);
                    places.insert(event.span, place);
                }
            }
        }
    }

    fn begin(&mut self, operation: usize, parent: Option<usize>, event: &Event) -> usize {
        let place = self.nodes.len();
        let over = event.phase != Phase::Begin;
        self.nodes.push(Node {
            operation,
            span: event.span,
            actor: event.actor,
            pid: event.pid,
            body: event.body.clone(),
            began_ns: event.t_ns.saturating_sub(if over { event.dur_ns.unwrap_or(0) } else { 0 }),
            ended_ns: over.then_some(event.t_ns),
            result: event.result.clone(),
            skipped: (event.phase == Phase::Skip).then(|| event.reason.clone().unwrap_or_default()),
            dur_ns: event.dur_ns,
            evidence: event.evidence.clone(),
            parent,
            children: Vec::new(),
        });
        match parent.and_then(|parent| self.nodes.get_mut(parent)) {
            Some(parent) => parent.children.push(place),
            None => self.roots.push(place),
        }
        place
    }

    fn end(&mut self, place: usize, event: &Event) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        node.body = event.body.clone();
        node.ended_ns = Some(event.t_ns);
        node.result.clone_from(&event.result);
        node.dur_ns = event.dur_ns;
        node.evidence.extend(event.evidence.iter().cloned());
    }

    /// All nodes from the top, each with how deep it is inside of others, the
    /// children after their parent. `inside` says whether to go into a node.
    pub fn walk(&self, mut visit: impl FnMut(usize, &Node)) {
        let mut stack: Vec<(usize, usize)> = self.roots.iter().rev().map(|place| (0, *place)).collect();
        while let Some((depth, place)) = stack.pop() {
            let Some(node) = self.nodes.get(place) else { continue };
            visit(depth, node);
            stack.extend(node.children.iter().rev().map(|child| (depth + 1, *child)));
        }
    }

    /// Whether the node at `place` is inside of the one at `around`.
    #[must_use]
    pub fn is_inside(&self, place: usize, around: usize) -> bool {
        let mut next = self.nodes.get(place).and_then(|node| node.parent);
        while let Some(parent) = next {
            if parent == around {
                return true;
            }
            next = self.nodes.get(parent).and_then(|node| node.parent);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn begin_and_end_become_one_node() {
        let tree = Tree::of(&samples::run());
        let resolve = tree.nodes.iter().find(|node| node.kind() == Kind::ImageResolve).expect("a resolve");
        assert!(!resolve.is_open());
        assert!(matches!(&resolve.body, Body::ImageResolve { digest: Some(_), .. }), "the end's body");
        assert_eq!(tree.roots.len(), 1);
    }

    #[test]
    fn nodes_stand_in_the_order_of_the_clock() {
        let mut events = samples::run();
        events.reverse();
        assert_eq!(Tree::of(&events), Tree::of(&samples::run()));
    }

    #[test]
    fn a_file_that_lies_makes_no_loop() {
        let mut events = samples::run();
        for event in &mut events {
            event.parent = event.span;
        }
        let tree = Tree::of(&events);
        let mut seen = 0;
        tree.walk(|_, _| seen += 1);
        assert_eq!(seen, tree.nodes.len());
    }
}
