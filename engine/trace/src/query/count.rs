//! How many steps are wanted.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
