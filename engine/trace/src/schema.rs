//! The JSON Schema of a trace's lines, generated from the types.
//!
//! `engine/trace/schema.json` is this schema; a test fails when it is not
//! current, and writes it anew when `UPDATE_SCHEMA` is set.

use schemars::JsonSchema;
use serde_json::Value;

use crate::event::{Event, Header};
use crate::vocabulary::{Body, Kind};

/// A line of a trace file: the first is a header, all others are events.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Line {
    /// The first line.
    Header(Header),
    /// Each other line.
    Event(Event),
}

/// The schema, JSON Schema 2020-12.
pub(crate) fn schema() -> Value {
    let mut schema = schemars::schema_for!(Line);
    schema.insert("title".to_owned(), "A line of a Glassdock trace".into());
    schema.into()
}

/// The schema as the checked-in file has it.
pub(crate) fn text() -> String {
    format!("{:#}\n", schema())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_checked_in_file_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, text()).expect("the schema can be written");
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == text(),
            "engine/trace/schema.json is out of date: UPDATE_SCHEMA=1 cargo test -p glassdock-trace schema"
        );
    }

    #[test]
    fn recorded_lines_are_valid_and_broken_ones_are_not() {
        let validator = jsonschema::validator_for(&schema()).expect("a schema");
        let text = samples::run_jsonl();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let wrong: Vec<_> = validator.iter_errors(&line).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{line}: {wrong:?}");
        }
        let event: Value = serde_json::from_str(text.lines().nth(1).expect("an event")).expect("JSON");
        for (field, value) in [("phase", "began"), ("kind", "blob.fitch"), ("actor", "moon"), ("seq", "one")]
        {
            let mut broken = event.clone();
            broken[field] = value.into();
            assert!(!validator.is_valid(&broken), "{field} = {value} should not be valid");
        }
    }

    #[test]
    fn a_kind_knows_its_fields_by_the_names_of_the_schema() {
        let body: Value = schemars::schema_for!(Body).into();
        let variants = body["oneOf"].as_array().expect("a choice of kinds");
        assert_eq!(variants.len(), Kind::ALL.len());
        for variant in variants {
            let kind = variant["properties"]["kind"]["const"].as_str().and_then(Kind::parse).expect("a kind");
            let fields = variant["properties"]["fields"]["properties"].as_object();
            let mut names: Vec<_> = fields.map(|fields| fields.keys().collect()).unwrap_or_default();
            let mut known = kind.fields().to_vec();
            names.sort_unstable();
            known.sort_unstable();
            assert_eq!(names, known, "{}", kind.name());
        }
    }
}
