//! What differs between two normalised texts, readably: the lines that went and
//! came, with three lines around them.

use std::fmt;

use imara_diff::{Algorithm, Diff, InternedInput, Interner, Token, UnifiedDiffConfig, UnifiedDiffPrinter};

/// Stands where lines were left out.
const GAP: &str = "  …\n";

/// The difference, or `None` if there is none. `-` is what `expected` has and
/// `found` has not, `+` the other way round.
#[must_use]
pub fn diff(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let input = InternedInput::new(expected, found);
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_lines(&input);
    let printer = Printer(&input.interner);
    let text = diff.unified_diff(&printer, UnifiedDiffConfig::default(), &input).to_string();
    Some(text.strip_prefix(GAP).map(str::to_owned).unwrap_or(text))
}

/// How lines are shown.
struct Printer<'a>(&'a Interner<&'a str>);

impl Printer<'_> {
    fn line(&self, out: &mut impl fmt::Write, mark: &str, line: Token) -> fmt::Result {
        writeln!(out, "{mark}{}", self.0[line].trim_end_matches('\n'))
    }
}

impl UnifiedDiffPrinter for Printer<'_> {
    fn display_header(&self, mut out: impl fmt::Write, _: u32, _: u32, _: u32, _: u32) -> fmt::Result {
        out.write_str(GAP)
    }

    fn display_context_token(&self, mut out: impl fmt::Write, line: Token) -> fmt::Result {
        self.line(&mut out, "  ", line)
    }

    fn display_hunk(&self, mut out: impl fmt::Write, went: &[Token], came: &[Token]) -> fmt::Result {
        went.iter().try_for_each(|line| self.line(&mut out, "- ", *line))?;
        came.iter().try_for_each(|line| self.line(&mut out, "+ ", *line))
    }
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
        let far = new.replace("step 0\n", "step null\n");
        let text = diff(&old, &far).expect("a difference");
        assert!(text.starts_with("- step 0\n+ step null\n  step 1\n"), "{text}");
        assert!(text.contains("  step 3\n  …\n  step 7\n"), "{text}");
        assert_eq!(diff("a\nb", "a\n").expect("a difference"), "  a\n- b\n");
    }
}
