//! The word that was probably meant: the one with the fewest letters to change.

/// The nearest of some words, if one is at most two letters away.
pub(crate) fn nearest(written: &str, known: &[&'static str]) -> Option<&'static str> {
    let written = written.to_ascii_lowercase();
    if written.len() > 64 {
        return None;
    }
    let far = |name: &&str| distance(&written, &name.to_ascii_lowercase());
    known.iter().copied().min_by_key(far).filter(|name| far(name) <= 2 && far(name) < written.chars().count())
}

/// How many letters have to be changed, added, taken away or swapped with their neighbour
/// (the optimal string alignment distance).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best.min(rows[i - 2][j - 2] + 1)
                } else {
                    best
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word() {
        let known = ["FROM", "RUN", "COPY", "ENTRYPOINT"];
        assert_eq!(nearest("FORM", &known), Some("FROM"));
        assert_eq!(nearest("ruun", &known), Some("RUN"));
        assert_eq!(nearest("ENTRYPIONT", &known), Some("ENTRYPOINT"));
        assert_eq!(nearest("BANANA", &known), None);
        assert_eq!(nearest("xx", &known), None);
    }
}
