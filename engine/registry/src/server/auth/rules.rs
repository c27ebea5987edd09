//! What users may do.

use serde::{Deserialize, Serialize};

use super::Anonymous;

/// What is done with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Delete tags, manifests and blobs.
    Delete,
}

impl Action {
    /// As scopes write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// The actions that a client asks a token for who wants to do this: a push looks first.
    pub(super) fn with_what_it_needs(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

/// Lets users do something with repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Who; `*` is every user.
    pub users: Vec<String>,
    /// Where: names, or beginnings of names with a `*` at the end.
    pub repositories: Vec<String>,
    /// What.
    pub actions: Vec<Action>,
}

/// Whether somebody may do something.
pub(super) fn may(
    user: Option<&str>,
    rules: &[Rule],
    anonymous: Anonymous,
    name: &str,
    action: Action,
) -> bool {
    // Who is logged in may no less than who isn't.
    if action == Action::Pull && anonymous == Anonymous::Pull {
        return true;
    }
    let Some(user) = user else { return false };
    rules.is_empty()
        || rules.iter().any(|rule| {
            rule.actions.contains(&action)
                && rule.users.iter().any(|who| who == "*" || who == user)
                && rule.repositories.iter().any(|pattern| fits(pattern, name))
        })
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_let_in_whom_they_name() {
        let rules = [Rule {
            users: vec!["ali".to_owned()],
            repositories: vec!["ali/*".to_owned(), "shared".to_owned()],
            actions: vec![Action::Pull, Action::Push],
        }];
        let may = |user, name, action| may(user, &rules, Anonymous::None, name, action);
        assert!(may(Some("ali"), "ali/a", Action::Push));
        assert!(may(Some("ali"), "shared", Action::Pull));
        assert!(!may(Some("ali"), "shared/a", Action::Pull));
        assert!(!may(Some("ali"), "ali/a", Action::Delete));
        assert!(!may(Some("bo"), "ali/a", Action::Pull));
        assert!(!may(None, "ali/a", Action::Pull));
    }
}
