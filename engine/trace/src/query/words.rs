//! A query as words, as a command line writes it.

use std::str::FromStr;

use serde_json::Value;

use super::{Count, Query, UnknownKind};

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
