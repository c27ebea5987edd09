//! What differs between two normalised texts, readably: the lines that went and
//! came, with three lines around them.

use similar::{ChangeTag, TextDiff};

/// The difference, or `None` if there is none. `-` is what `expected` has and
/// `found` has not, `+` the other way round.
#[must_use]
pub fn diff(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let diff = TextDiff::from_lines(expected, found);
    let mut text = String::new();
    for (number, group) in diff.grouped_ops(3).iter().enumerate() {
        if number > 0 {
            text.push_str("  …\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            text.push_str(match change.tag() {
                ChangeTag::Delete => "- ",
                ChangeTag::Insert => "+ ",
                ChangeTag::Equal => "  ",
            });
            text.push_str(change.value().trim_end_matches('\n'));
            text.push('\n');
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_and_its_neighbours() {
        assert_eq!(diff("a\n", "a\n"), None);
        let old: String = (0..20).map(|number| format!("step {number}\n")).collect();
        let new = old.replace("step 10\n", "step ten\n");
        assert_eq!(
            diff(&old, &new).expect("a difference"),
            "  step 7\n  step 8\n  step 9\n- step 10\n+ step ten\n  step 11\n  step 12\n  step 13\n"
        );
    }
}
