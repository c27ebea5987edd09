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
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// A kind, or all of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KindPattern {
    /// This kind.
    One(Kind),
    /// Each kind that begins with this, up to the dot: `blob` for `blob.*`.
    Family(String),
}

impl JsonSchema for KindPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KindPattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut names: Vec<String> = Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
        let mut families: Vec<String> = names
            .iter()
            .filter_map(|name| name.split_once('.'))
            .map(|(family, _)| format!("{family}.*"))
            .collect();
        families.dedup();
        names.append(&mut families);
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

/// A name that no kind has.
#[derive(Debug, thiserror::Error)]
#[error("no kind of event is called \"{0}\"{hint}", hint = nearest(.0))]
pub struct UnknownKind(String);

fn nearest(name: &str) -> String {
    let family = name.split('.').next().unwrap_or(name);
    let like: Vec<_> =
        Kind::ALL.iter().map(|kind| kind.name()).filter(|kind| kind.starts_with(family)).collect();
    if like.is_empty() || family.is_empty() {
        String::new()
    } else {
        format!("; there is {}", like.join(", "))
    }
}

impl TryFrom<String> for KindPattern {
    type Error = UnknownKind;

    fn try_from(name: String) -> Result<Self, UnknownKind> {
        if let Some(kind) = Kind::parse(&name) {
            return Ok(Self::One(kind));
        }
        match name.strip_suffix(".*") {
            Some(family) if Kind::ALL.iter().any(|kind| in_family(*kind, family)) => {
                Ok(Self::Family(family.to_owned()))
            }
            _ => Err(UnknownKind(name)),
        }
    }
}

impl From<KindPattern> for String {
    fn from(pattern: KindPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for KindPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(kind) => f.write_str(kind.name()),
            Self::Family(family) => write!(f, "{family}.*"),
        }
    }
}

fn in_family(kind: Kind, family: &str) -> bool {
    kind.name().split_once('.').is_some_and(|(name, _)| name == family)
}

/// How many steps a query must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Count {
    /// Just so many.
    Exactly(usize),
    /// A range; an end that is left out is open.
    Range(Range),
}

/// A range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// At least so many.
    #[serde(default)]
    pub min: usize,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

impl Count {
    /// Whether `found` is right.
    #[must_use]
    pub fn fits(self, found: usize) -> bool {
        match self {
            Self::Exactly(count) => found == count,
            Self::Range(Range { min, max }) => found >= min && max.is_none_or(|max| found <= max),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => write!(f, "exactly {count}"),
            Self::Range(Range { min, max: None }) => write!(f, "at least {min}"),
            Self::Range(Range { min, max: Some(max) }) => write!(f, "{min} to {max}"),
        }
    }
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
        let known = crate::schema::fields_of(&kinds);
        let mut unknown: Vec<String> =
            self.fields.keys().filter(|name| !known.contains(*name)).cloned().collect();
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

/// A query that can't be read from words.
#[derive(Debug, thiserror::Error)]
pub enum WordError {
    /// A word without `=`.
    #[error("\"{0}\" is no question: write name=value, such as kind=layer.mount or digest=sha256:*")]
    NoValue(String),
    /// A kind that isn't.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// A value of the wrong form.
    #[error("{name} can't be \"{value}\": {wanted}")]
    Value {
        /// The name before `=`.
        name: String,
        /// What stands behind it.
        value: String,
        /// What could stand there.
        wanted: &'static str,
    },
}

impl FromStr for Query {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let mut query = Self::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or_else(|| WordError::NoValue(word.to_owned()))?;
            let wrong = |wanted| WordError::Value { name: name.to_owned(), value: value.to_owned(), wanted };
            match name {
                "kind" => query.kind = Some(value.to_owned().try_into()?),
                "actor" => {
                    let actor = serde_json::from_value(Value::String(value.to_owned()));
                    query.actor =
                        Some(actor.map_err(|_| wrong("client, daemon, builder, registry, shim or init"))?);
                }
                "ok" => query.ok = Some(value.parse().map_err(|_| wrong("true or false"))?),
                "skipped" => query.skipped = Some(value.parse().map_err(|_| wrong("true or false"))?),
                "errno" => query.errno = Some(value.to_owned()),
                "count" => {
                    query.count = Some(Count::Exactly(value.parse().map_err(|_| wrong("a number"))?));
                }
                "inside" | "after" | "before" => {
                    let kind = value.to_owned().try_into()?;
                    let inner = Some(Box::new(Self { kind: Some(kind), ..Self::default() }));
                    match name {
                        "inside" => query.inside = inner,
                        "after" => query.after = inner,
                        _ => query.before = inner,
                    }
                }
                field => {
                    query.fields.insert(field.to_owned(), Value::String(value.to_owned()));
                }
            }
        }
        Ok(query)
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

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn value_fits(wanted: &Value, found: &Value) -> bool {
    match found {
        Value::Array(items) => items.iter().any(|item| value_fits(wanted, item)),
        _ => glob(&text_of(wanted), &text_of(found)),
    }
}

/// Whether `text` is `pattern`, where `*` stands for any text. Takes at most
/// `pattern.len() * text.len()` steps.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, here));
            at += 1;
        } else if pattern.get(at) == text.get(here) {
            at += 1;
            here += 1;
        } else if let Some((after_star, taken)) = star {
            star = Some((after_star, taken + 1));
            at = after_star + 1;
            here = taken + 1;
        } else {
            return false;
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn found(query: &str) -> usize {
        query.parse::<Query>().expect("a query").find(&Tree::of(&samples::run())).len()
    }

    fn yaml(query: &str) -> Query {
        serde_yaml::from_str(query).expect("a query")
    }

    #[test]
    fn kinds_families_and_fields() {
        assert_eq!(found("kind=image.resolve"), 1);
        assert_eq!(found("kind=blob.*"), 1);
        assert_eq!(found("reference=*busybox*"), 1);
        assert_eq!(found("namespaces=pid"), 1, "one item of a list");
        assert_eq!(found("size=2048"), 1, "numbers as text");
        assert_eq!(found("errno=ENOENT"), 1);
        assert_eq!(found("kind=process.exec ok=true"), 0);
        assert_eq!(found("kind=user.set"), 0, "skipped steps must be asked for");
        assert_eq!(found("kind=user.set skipped=true"), 1);
    }

    #[test]
    fn order_and_place() {
        assert_eq!(found("kind=layer.mount after=namespace.create before=rootfs.pivot"), 1);
        assert_eq!(found("kind=layer.mount after=rootfs.pivot"), 0);
        assert_eq!(found("kind=layer.mount before=namespace.create"), 0);
        assert_eq!(found("kind=mount.detach inside=rootfs.pivot"), 1);
        assert_eq!(found("kind=mount.detach inside=layer.mount"), 0);
        assert_eq!(found("kind=mount.detach after=rootfs.pivot"), 0, "what is inside is not after");
    }

    #[test]
    fn operations_follow_each_other() {
        let mut tree = Tree::of(&samples::run());
        tree.add(&samples::run());
        let query: Query = "kind=image.resolve after=process.exec".parse().expect("a query");
        assert_eq!(query.find(&tree).len(), 1, "the second operation's");
    }

    #[test]
    fn counts_and_what_comes_near() {
        let tree = Tree::of(&samples::run());
        assert!(yaml("{kind: blob.fetch, count: 0}").check(&tree).is_ok());
        assert!(yaml("{kind: image.resolve, count: {min: 1, max: 2}}").check(&tree).is_ok());
        let wrong =
            yaml("{kind: layer.mount, after: {kind: rootfs.pivot}}").check(&tree).expect_err("wrong order");
        assert_eq!(
            wrong.to_string(),
            "wanted at least 1 of: layer.mount after (rootfs.pivot); found 0 (there are 1 of it without the order or place)"
        );
    }

    #[test]
    fn what_can_never_be_found_is_known() {
        assert_eq!(yaml("{kind: blob.fetch, fields: {colour: red}}").unknown_fields(), ["colour"]);
        assert!(
            yaml("{kind: blob.*, fields: {digest: x}, after: {fields: {argv: x}}}")
                .unknown_fields()
                .is_empty()
        );
        assert!(serde_yaml::from_str::<Query>("{kind: blob.fitch}").is_err());
        assert!("blob".parse::<Query>().is_err());
    }

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*b*", "abc", true),
            ("abc", "abcd", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(200), &"a".repeat(100)));
    }
}
