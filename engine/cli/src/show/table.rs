//! Lists: a table, a template's lines, JSON lines, or ids alone.
//!
//! The docker client makes each list with a template, also its tables: the heads
//! are the same template filled in with the columns' names. So a list here is its
//! columns, its rows (JSON objects with a value for each column) and a format.

use serde_json::{Map, Value};

use super::output::Output;
use super::template::{Mode, Template};
use crate::failure::Failure;

/// The key under which a row carries its labels for `.Label "name"`; it can't be
/// typed as a field and is not printed.
pub(crate) const LABELS: &str = "\u{0}labels";

/// A list of one kind of thing.
#[derive(Debug)]
pub(crate) struct Listing {
    /// What Go calls a row, for its complaints.
    pub type_name: &'static str,
    /// Fields, and the head of the column that shows each.
    pub columns: &'static [(&'static str, &'static str)],
}

impl Listing {
    /// Whether the docker client looks at the template before it knows the rows: `ps` does.
    fn looks_first(&self) -> bool {
        self.type_name == "*formatter.ContainerContext"
    }

    /// What the docker client calls a template that can't be read, and one that can't be filled in.
    fn complaints(&self) -> (&'static str, &'static str) {
        if self.looks_first() {
            ("failed to parse template", "failed to execute template")
        } else {
            ("template parsing error", "template parsing error")
        }
    }
}

/// Prints the rows. `format` is a template, `table TEMPLATE`, `json`, or with
/// `raw` what the kind's own raw form is.
///
/// # Errors
///
/// A template that can't be read or filled in.
pub(crate) fn print(
    out: &mut Output,
    listing: &Listing,
    format: &str,
    rows: &[Map<String, Value>],
) -> Result<(), Failure> {
    let (is_table, text) = match format.strip_prefix("table") {
        Some(rest) => (true, rest),
        None => (false, format),
    };
    let text = if text == "json" { "{{json .}}" } else { text };
    let text = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
    let (bad_template, bad_field) = listing.complaints();
    let template =
        Template::parse("", &text).map_err(|error| Failure::say(format!("{bad_template}: {error}")))?;
    let mut heads: Map<String, Value> =
        listing.columns.iter().map(|(field, head)| ((*field).to_owned(), (*head).into())).collect();
    heads.insert(LABELS.to_owned(), Value::Object(Map::new()));
    let mode = Mode::Typed(listing.type_name);
    if rows.is_empty() && listing.looks_first() {
        template
            .execute(&Value::Object(heads.clone()), mode)
            .map_err(|error| Failure::say(format!("{bad_field}: {error}")))?;
    }
    let mut body = String::new();
    for row in rows {
        let line = template
            .execute(&Value::Object(row.clone()), mode)
            .map_err(|error| Failure::say(format!("{bad_field}: {error}")))?;
        body.push_str(&line);
        body.push('\n');
    }
    if !is_table {
        out.text(body);
        return Ok(());
    }
    let head = template.execute(&Value::Object(heads), Mode::Header).unwrap_or_default();
    out.text(align(&format!("{head}\n{body}")));
    Ok(())
}

/// Columns are at least this wide, and this far apart.
const MINIMUM: usize = 10;
const GAP: usize = 3;

/// Lines with tabs in them into columns, by the rules of Go's `text/tabwriter`: a
/// column is the cells of neighbouring lines that end with a tab, so the last
/// cell of a line widens nothing.
pub(crate) fn align(text: &str) -> String {
    align_with(text, MINIMUM, GAP)
}

/// As [`align`], with a column's least width and the space behind it.
pub(crate) fn align_with(text: &str, minimum: usize, gap: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> =
        lines.iter().map(|cells| vec![0; cells.len().saturating_sub(1)]).collect();
    let deepest = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..deepest {
        let mut first = 0;
        while first < lines.len() {
            let mut last = first;
            let mut width = minimum;
            while let Some(cells) = lines.get(last).filter(|cells| cells.len() > column + 1) {
                width = width.max(cells.get(column).map_or(0, |cell| cell.chars().count()) + gap);
                last += 1;
            }
            for widths in widths.iter_mut().take(last).skip(first) {
                if let Some(place) = widths.get_mut(column) {
                    *place = width;
                }
            }
            first = last.max(first + 1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (at, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (place, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(place) {
                out.push_str(&" ".repeat(width.saturating_sub(cell.chars().count())));
            }
        }
    }
    out
}

/// A row from its fields.
pub(crate) fn row<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let mut row: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    row.entry(LABELS).or_insert_with(|| Value::Object(Map::new()));
    row
}

/// Text from a container or a registry, so that it can't steer the terminal: its
/// control characters shown as `\x1b` and the like.
pub(crate) fn clean(text: &str) -> String {
    if text.chars().any(char::is_control) { glassdock_trace::render::escape(text) } else { text.to_owned() }
}

/// At most `length` characters, the last an ellipsis where something was cut off.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(length.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> String {
    let id = id.split_once(':').map_or(id, |(_, hex)| hex);
    id.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_go_s() {
        assert_eq!(
            align("NETWORK ID\tNAME\tDRIVER\n0123456789ab\thost\thost\n"),
            "NETWORK ID     NAME      DRIVER\n0123456789ab   host      host\n"
        );
    }

    #[test]
    fn heads_come_from_the_same_template() {
        let listing = Listing { type_name: "*formatter.T", columns: &[("ID", "ID"), ("Name", "NAME")] };
        let rows = [row([("ID", "1".into()), ("Name", "a".into())])];
        let mut out = Output::default();
        print(&mut out, &listing, r"table {{.Name}}\t{{upper .ID}}", &rows).expect("a good template");
        assert!(print(&mut out, &listing, "{{.Foo}}", &rows).is_err());
    }
}
