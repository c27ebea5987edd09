//! Questions to a trace: which steps of this kind, with these fields, in this order?
//!
//! A query is data, as a lesson's check writes it in YAML:
//!
//! ```yaml
//! {kind: layer.mount, after: {kind: image.resolve}, before: {kind: rootfs.pivot}}
//! {kind: blob.fetch, fields: {digest: "sha256:*"}, count: 0}
//! ```
//!
//! or words, as a command line does: `kind=blob.* ok=false digest=sha256:*`.
//!
//! It asks for *steps*: a begin and its end are one thing, which carries what the
//! end knows. What is left out of a query is not asked. `after` and `before` mean
//! that some step of that kind is over before this one begins, or begins after
//! this one is over; steps that overlap in time are in no order.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod count;
mod kinds;
#[cfg(test)]
mod tests;
mod values;
mod words;

pub use count::{Count, Range};
pub use kinds::{KindPattern, UnknownKind};
pub use values::glob;
pub use words::WordError;

use kinds::in_family;
use values::{text_of, value_fits};

use crate::event::Actor;
use crate::render;
use crate::tree::{Node, Tree};
use crate::vocabulary::Kind;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The kind, or a family of kinds such as `blob.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KindPattern>,
    /// Which part of the engine acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Whether it succeeded. A step that was skipped, or is not over, did neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// The kernel's error, such as `ENOENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// Whether it was skipped as not needed. Unless asked for, skipped steps are not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<bool>,
    /// Fields of the event, each as text in which `*` stands for anything. Of a
    /// list, one item must be so; a list here asks for each of its items.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// It is inside of such a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Box<Query>>,
    /// Such a step is over when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<Query>>,
    /// Such a step begins when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Query>>,
    /// How many there must be; without it, at least one. Only for the whole query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
}

/// A trace that is not as a query wants it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted {wanted} of: {query}; found {}{near}", .found.len())]
pub struct Mismatch {
    /// How many were wanted.
    pub wanted: String,
    /// What was asked.
    pub query: String,
    /// What was found instead, a line each.
    pub found: Vec<String>,
    /// What comes near, in words.
    pub near: String,
}

impl Query {
    /// The steps that are so, as places in [`Tree::nodes`].
    #[must_use]
    pub fn find(&self, tree: &Tree) -> Vec<usize> {
        let inside = self.inside.as_ref().map(|query| query.find(tree));
        let after = self.after.as_ref().map(|query| first_end(tree, &query.find(tree)));
        let before = self.before.as_ref().map(|query| last_begin(tree, &query.find(tree)));
        tree.nodes
            .iter()
            .enumerate()
            .filter(|(place, node)| {
                self.matches(node)
                    && inside
                        .as_ref()
                        .is_none_or(|all| all.iter().any(|around| tree.is_inside(*place, *around)))
                    && after.is_none_or(|end| end.is_some_and(|end| end <= begin(node)))
                    && before
                        .is_none_or(|start| end(node).zip(start).is_some_and(|(end, start)| end <= start))
            })
            .map(|(place, _)| place)
            .collect()
    }

    /// Whether a step is so, looked at alone.
    #[must_use]
    pub fn matches(&self, node: &Node) -> bool {
        let kind = match &self.kind {
            None => true,
            Some(KindPattern::One(kind)) => node.kind() == *kind,
            Some(KindPattern::Family(family)) => in_family(node.kind(), family),
        };
        let result = node.result.as_ref();
        kind && node.skipped.is_some() == self.skipped.unwrap_or(false)
            && self.actor.is_none_or(|actor| node.actor == actor)
            && self.ok.is_none_or(|ok| result.is_some_and(|result| result.ok == ok))
            && self
                .errno
                .as_ref()
                .is_none_or(|errno| result.is_some_and(|result| result.errno.as_ref() == Some(errno)))
            && self.fields_match(node)
    }

    fn fields_match(&self, node: &Node) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let fields = render::fields(&node.body);
        self.fields.iter().all(|(name, wanted)| match (fields.get(name), wanted) {
            (Some(found), Value::Array(all)) => all.iter().all(|wanted| value_fits(wanted, found)),
            (Some(found), wanted) => value_fits(wanted, found),
            (None, Value::Null) => true,
            (None, _) => false,
        })
    }

    /// Holds a trace against the query and its count.
    ///
    /// # Errors
    ///
    /// [`Mismatch`], which says what was found instead.
    pub fn check(&self, tree: &Tree) -> Result<(), Mismatch> {
        let found = self.find(tree);
        let wanted = self.count.unwrap_or(Count::Range(Range { min: 1, max: None }));
        if wanted.fits(found.len()) {
            return Ok(());
        }
        let lines = found
            .iter()
            .filter_map(|place| tree.nodes.get(*place))
            .map(|node| format!("{} {}", node.kind().name(), render::summary(&node.body)))
            .collect();
        Err(Mismatch {
            wanted: wanted.to_string(),
            query: self.to_string(),
            found: lines,
            near: self.near(tree),
        })
    }

    /// How many steps would be found if less was asked.
    fn near(&self, tree: &Tree) -> String {
        let loose = Self { inside: None, after: None, before: None, ..self.clone() };
        let of_kind = Self { kind: self.kind.clone(), ..Self::default() };
        let parts = [
            (self.has_place(), loose.find(tree).len(), "of it without the order or place"),
            (!self.fields.is_empty(), of_kind.find(tree).len(), "of that kind with other fields"),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(asked, count, _)| *asked && *count > 0)
            .map(|(_, count, words)| format!("{count} {words}"))
            .collect();
        if parts.is_empty() { String::new() } else { format!(" (there are {})", parts.join(", and ")) }
    }

    fn has_place(&self) -> bool {
        self.inside.is_some() || self.after.is_some() || self.before.is_some()
    }

    /// The names of fields that no kind which the query asks for has, here or in a
    /// query inside of it. Such a query can never find anything.
    #[must_use]
    pub fn unknown_fields(&self) -> Vec<String> {
        let kinds: Vec<Kind> = match &self.kind {
            Some(KindPattern::One(kind)) => vec![*kind],
            Some(KindPattern::Family(family)) => {
                Kind::ALL.iter().copied().filter(|kind| in_family(*kind, family)).collect()
            }
            None => Kind::ALL.to_vec(),
        };
        let known = |name: &String| kinds.iter().any(|kind| kind.fields().contains(&name.as_str()));
        let mut unknown: Vec<String> = self.fields.keys().filter(|name| !known(name)).cloned().collect();
        for inner in [&self.inside, &self.after, &self.before].into_iter().flatten() {
            unknown.extend(inner.unknown_fields());
        }
        unknown
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Some(kind) => write!(f, "{kind}")?,
            None => f.write_str("any step")?,
        }
        if let Some(actor) = self.actor {
            write!(f, " by {actor:?}")?;
        }
        match self.ok {
            Some(true) => f.write_str(" that succeeded")?,
            Some(false) => f.write_str(" that failed")?,
            None => {}
        }
        if let Some(errno) = &self.errno {
            write!(f, " with {errno}")?;
        }
        if self.skipped == Some(true) {
            f.write_str(" that was skipped")?;
        }
        for (name, value) in &self.fields {
            write!(f, " {name}={}", text_of(value))?;
        }
        for (word, inner) in [("inside", &self.inside), ("after", &self.after), ("before", &self.before)] {
            if let Some(inner) = inner {
                write!(f, " {word} ({inner})")?;
            }
        }
        Ok(())
    }
}

type Moment = (usize, u64);

fn begin(node: &Node) -> Moment {
    (node.operation, node.began_ns)
}

fn end(node: &Node) -> Option<Moment> {
    node.ended_ns.map(|ended| (node.operation, ended))
}

fn first_end(tree: &Tree, places: &[usize]) -> Option<Moment> {
    places.iter().filter_map(|place| tree.nodes.get(*place)).filter_map(end).min()
}

fn last_begin(tree: &Tree, places: &[usize]) -> Option<Moment> {
    places.iter().filter_map(|place| tree.nodes.get(*place)).map(begin).max()
}
