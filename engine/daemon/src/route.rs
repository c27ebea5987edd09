//! Matching a request with an endpoint, and reading what all endpoints share.
//!
//! A pattern is a path with names in braces. `{name}` is one segment, `{name..}`
//! is one or more: the name of an image has slashes of its own, which is why a
//! router that only knows whole segments does not do here.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use http::Method;
use serde_json::Value;

use crate::call::Call;
use crate::error::Error;
use crate::reply::Reply;

/// A handler, as the table holds it.
pub type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

/// One endpoint.
#[derive(Clone, Copy)]
pub struct Route {
    /// The request's method.
    pub method: Verb,
    /// The path's pattern, without the version.
    pub pattern: &'static str,
    /// The operation's name in the API's specification.
    pub operation: &'static str,
    /// Who answers.
    pub handler: Handler,
}

/// The methods that the API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Verb {
    GET,
    HEAD,
    POST,
    PUT,
    DELETE,
}

impl Verb {
    /// Whether a request has this method.
    #[must_use]
    pub fn is(self, method: &Method) -> bool {
        match self {
            Self::GET => method == Method::GET,
            Self::HEAD => method == Method::HEAD,
            Self::POST => method == Method::POST,
            Self::PUT => method == Method::PUT,
            Self::DELETE => method == Method::DELETE,
        }
    }
}

/// Matches a path with a pattern: the named parts, percent-decoded.
#[must_use]
pub fn matches(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let wanted: Vec<&'static str> = pattern.split('/').collect();
    let given: Vec<&str> = path.split('/').collect();
    let mut params = Vec::new();
    let mut place = 0;
    for (index, part) in wanted.iter().enumerate() {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let Some(name) = name else {
            if given.get(place) != Some(part) {
                return None;
            }
            place += 1;
            continue;
        };
        // What comes after the name needs its segments; a long name has all between.
        let after = wanted.len() - index - 1;
        let (name, until) = match name.strip_suffix("..") {
            Some(name) => (name, given.len().checked_sub(after)?),
            None => (name, place + 1),
        };
        let value = given.get(place..until)?.join("/");
        if value.is_empty() {
            return None;
        }
        params.push((name, decode(&value)));
        place = until;
    }
    (place == given.len()).then_some(params)
}

/// Percent-decodes a piece of a path. What is no valid escape stays as it is.
#[must_use]
pub fn decode(text: &str) -> String {
    decode_bytes(text.as_bytes(), false)
}

/// Reads a query string.
#[must_use]
pub fn query(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_bytes(name.as_bytes(), true), decode_bytes(value.as_bytes(), true))
        })
        .collect()
}

fn decode_bytes(text: &[u8], plus_is_space: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
                out.push(u8::try_from(digit(*high) * 16 + digit(*low)).unwrap_or(b'?'));
                rest = after;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            (byte, _) => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The filters of a list: for each name, the values of which one must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the `filters` parameter in either of its shapes.
    ///
    /// # Errors
    ///
    /// Invalid, if it is neither.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid(format!("invalid filter: {text:?} is no map of names to values"));
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Ok(Value::Object(map)) = serde_json::from_str(text) else { return Err(invalid()) };
        let mut filters = BTreeMap::new();
        for (name, values) in map {
            let values = match values {
                Value::Array(values) => values
                    .into_iter()
                    .map(|value| value.as_str().map(str::to_owned).ok_or_else(invalid))
                    .collect::<Result<Vec<_>, _>>()?,
                Value::Object(values) => values
                    .into_iter()
                    .filter(|(_, on)| on != &Value::Bool(false))
                    .map(|(value, _)| value)
                    .collect(),
                _ => return Err(invalid()),
            };
            filters.insert(name, values);
        }
        Ok(Self(filters))
    }

    /// Refuses names that the endpoint does not know, in Docker's words.
    ///
    /// # Errors
    ///
    /// Invalid, naming the first unknown filter.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Error::invalid(format!("invalid filter '{name}'"))),
            None => Ok(()),
        }
    }

    /// The values of one filter; empty if it isn't set.
    #[must_use]
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a filter is set.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a filter is absent or one of its values fits.
    pub fn any(&self, name: &str, fits: impl FnMut(&str) -> bool) -> bool {
        let mut fits = fits;
        self.0.get(name).is_none_or(|values| values.iter().any(|value| fits(value)))
    }

    /// Whether all `label` filters (`name` or `name=value`) fit, and no `label!` does.
    #[must_use]
    pub fn labels_fit(&self, labels: &BTreeMap<String, String>) -> bool {
        let fits = |wanted: &String| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|label| label == value),
            None => labels.contains_key(wanted),
        };
        self.get("label").iter().all(fits) && !self.get("label!").iter().any(fits)
    }

    /// A filter that is yes or no.
    ///
    /// # Errors
    ///
    /// Invalid, if it is neither.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(values) = self.0.get(name) else { return Ok(None) };
        match values.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["1" | "true" | "True" | "TRUE" | "t" | "T"] => Ok(Some(true)),
            ["0" | "false" | "False" | "FALSE" | "f" | "F"] => Ok(Some(false)),
            _ => Err(Error::invalid(format!("invalid filter '{name}={values:?}'"))),
        }
    }
}

/// Maps whose keys count even where the value is `null`.
const SETS: [&str; 3] = ["EndpointsConfig", "Volumes", "ExposedPorts"];

/// Takes `null` fields out of a JSON text, so that they mean the same as absent ones.
pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            for (name, value) in map {
                if SETS.contains(&name.as_str())
                    && let Value::Object(set) = value
                {
                    set.values_mut()
                        .filter(|value| value.is_null())
                        .for_each(|value| *value = serde_json::json!({}));
                }
                without_nulls(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(pattern: &'static str, path: &str) -> Option<String> {
        matches(pattern, path).map(|params| params.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn names_of_images_have_slashes() {
        assert_eq!(value("/images/{name..}/json", "/images/a/b/c:1/json"), Some("a/b/c:1".to_owned()));
        assert_eq!(value("/images/{name..}", "/images/a%2Fb"), Some("a/b".to_owned()));
        assert_eq!(value("/images/{name..}/json", "/images/json"), None);
        assert_eq!(value("/images/{name..}/json", "/images//json"), None);
    }

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(value("/containers/{id}/json", "/containers/x/json"), Some("x".to_owned()));
        assert_eq!(value("/containers/{id}/json", "/containers/x/y/json"), None);
        assert_eq!(value("/containers/{id}/json", "/containers/json"), None);
        assert_eq!(value("/_ping", "/_ping"), Some(String::new()));
        assert_eq!(value("/_ping", "/_ping/"), None);
    }

    #[test]
    fn queries_are_decoded() {
        let pairs = query("a=1%202&b&c=x+y&a=%zz&=&&");
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1 2"), ("b", ""), ("c", "x y"), ("a", "%zz"), ("", "")]);
    }

    #[test]
    fn filters_come_in_two_shapes() {
        for text in [r#"{"label":["a","b=c"]}"#, r#"{"label":{"a":true,"b=c":true}}"#] {
            let filters = Filters::parse(text).expect(text);
            assert_eq!(filters.get("label"), ["a", "b=c"]);
            let labels = BTreeMap::from([("a".into(), "1".into()), ("b".into(), "c".into())]);
            assert!(filters.labels_fit(&labels));
            assert!(!filters.labels_fit(&BTreeMap::new()));
        }
        for text in ["[]", "{", r#"{"a":1}"#, r#"{"a":[1]}"#, "null"] {
            assert!(Filters::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn null_is_absent_but_a_set_keeps_its_keys() {
        let mut value = serde_json::json!({"Binds": null, "EndpointsConfig": {"net": null}});
        without_nulls(&mut value);
        assert_eq!(value, serde_json::json!({"EndpointsConfig": {"net": {}}}));
    }
}
