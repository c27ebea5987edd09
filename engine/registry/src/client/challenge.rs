//! `WWW-Authenticate`: how a registry wants to be told who asks (RFC 9110, 11.6.1;
//! distribution's `docs/spec/auth/token.md`).

/// One way to say who we are, as the registry offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(super) scheme: String,
    parameters: Vec<(String, String)>,
}

/// A header longer than this is no challenge that we look into.
const LIMIT: usize = 8 * 1024;

impl Challenge {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every challenge of a header. What can't be read ends the list.
    pub(super) fn parse_all(header: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut rest = header.get(..LIMIT.min(header.len())).unwrap_or("").trim_start();
        while !rest.is_empty() {
            let Some((word, after)) = token(rest) else { break };
            let after = after.trim_start();
            if let Some(value) = after.strip_prefix('=') {
                let Some(challenge) = challenges.last_mut() else { break };
                let Some((value, after)) = value_of(value.trim_start()) else { break };
                challenge.parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            } else {
                challenges.push(Self { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                rest = after;
            }
            rest = rest.trim_start_matches([' ', '\t', ',']);
        }
        challenges
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string, in which a backslash takes the next character as it is.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[place + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_their_parameters() {
        let header = r#"Bearer realm="https://a.test/token?x=\"1\"",service=reg, scope="repository:a:pull,push", Basic realm="b""#;
        let [bearer, basic] = &Challenge::parse_all(header)[..] else { panic!("two challenges") };
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.parameter("realm"), Some("https://a.test/token?x=\"1\""));
        assert_eq!(bearer.parameter("service"), Some("reg"));
        assert_eq!(bearer.parameter("scope"), Some("repository:a:pull,push"));
        assert_eq!((basic.scheme.as_str(), basic.parameter("realm")), ("basic", Some("b")));
    }

    #[test]
    fn garbage_ends_the_list() {
        for garbage in [
            "",
            "=",
            "\"",
            "realm=x",
            "Bearer realm=\"open",
            &"é".repeat(9000),
            &"a ".repeat(9000),
            "Bearer =",
        ] {
            let challenges = Challenge::parse_all(garbage);
            assert!(
                challenges.iter().all(|challenge| challenge.parameter("realm").is_none()),
                "{garbage:.20}"
            );
        }
    }
}
