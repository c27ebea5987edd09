//! A container's health, as far as it is known.

use super::record::Record;

/// The API's word for it.
#[must_use]
pub fn word(record: &Record) -> &'static str {
    let checked = record
        .config
        .healthcheck
        .as_ref()
        .is_some_and(|health| health.test.first().is_some_and(|first| first != "NONE"));
    if checked { "starting" } else { "none" }
}

/// What stands after `Up …` in a list.
#[must_use]
pub fn suffix(record: &Record) -> String {
    match word(record) {
        "none" => String::new(),
        "starting" => " (health: starting)".to_owned(),
        word => format!(" ({word})"),
    }
}
