//! A kind that is asked for, or a family of them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::vocabulary::Kind;

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

pub(super) fn in_family(kind: Kind, family: &str) -> bool {
    kind.name().split_once('.').is_some_and(|(name, _)| name == family)
}
