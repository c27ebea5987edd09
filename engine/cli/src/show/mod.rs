//! What is shown: tables, templates, units, JSON, and the one place that writes.

pub(crate) mod output;

pub(crate) mod table;

pub(crate) mod template;

pub(crate) mod typed;

pub(crate) mod methods;

pub(crate) mod units;

pub(crate) mod json;
