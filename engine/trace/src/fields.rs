//! The fields of events, whatever their kind: when one is left out, how it is written, and how it
//! is read.
//!
//! Sixty kinds have a hundred fields, of eleven types. serde's derived code would be made for
//! every kind, once more for each format that somebody reads or writes it in, and in every
//! crate that does; these few functions are made once.

use std::io;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::vocabulary::{Body, Kind};

/// A field of any type.
pub(crate) trait Field {
    /// Whether it has nothing to say and is left out of the line. Numbers and truth values
    /// always speak: 0 and false are facts.
    fn is_silent(&self) -> bool;

    /// It as plain JSON.
    fn value(&self) -> Value;

    /// Adds its text as JSON.
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()>;
}

macro_rules! fields {
    ($($type:ty, $silent:expr;)*) => { $(
        impl Field for $type {
            fn is_silent(&self) -> bool {
                let silent: fn(&Self) -> bool = $silent;
                silent(self)
            }

            fn value(&self) -> Value {
                serde_json::to_value(self).unwrap_or_default()
            }

            fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
                Ok(serde_json::to_writer(out, self)?)
            }
        }
    )* };
}

fields! {
    bool, |_| false;
    i32, |_| false;
    u8, |_| false;
    u32, |_| false;
    u64, |_| false;
    String, |_| false;
    Option<i32>, Self::is_none;
    Option<u16>, Self::is_none;
    Option<u32>, Self::is_none;
    Option<u64>, Self::is_none;
    Option<String>, Self::is_none;
    Vec<u32>, Self::is_empty;
    Vec<String>, Self::is_empty;
}

/// Takes a field out of those that were read; one that was left out is empty.
pub(crate) fn take<T: DeserializeOwned + Default>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> serde_json::Result<T> {
    fields.remove(name).map_or_else(|| Ok(T::default()), serde_json::from_value)
}

/// Adds a body's members, without the braces around them: `"kind":…,"fields":…`.
pub(crate) fn members(body: &Body, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(b"\"kind\":\"");
    out.extend_from_slice(body.kind().name().as_bytes());
    out.extend_from_slice(b"\",\"fields\":{");
    let (mut first, mut written) = (true, Ok(()));
    body.each_field(&mut |name, field| {
        if written.is_ok() {
            out.extend_from_slice(if first { b"\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            first = false;
            written = field.write(out);
        }
    });
    out.push(b'}');
    written
}

/// The fields of a body that say something, in the vocabulary's order.
struct Fields<'a>(&'a Body);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Vec::new();
        self.0.each_field(&mut |name, field| fields.push((name, field.value())));
        serializer.collect_map(fields)
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Body", 2)?;
        body.serialize_field("kind", self.kind().name())?;
        body.serialize_field("fields", &Fields(self))?;
        body.end()
    }
}

/// A body as it is written.
#[derive(Deserialize)]
struct Parts {
    kind: Kind,
    #[serde(default)]
    fields: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { kind, mut fields } = Parts::deserialize(deserializer)?;
        Body::read(kind, &mut fields).map_err(|error| D::Error::custom(format!("{}: {error}", kind.name())))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Kind::parse(&name).ok_or_else(|| D::Error::custom(format!("there is no kind of event {name:?}")))
    }
}
