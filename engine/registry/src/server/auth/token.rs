//! Tokens: what somebody may do for some minutes, signed by this registry.
//!
//! A token is a JSON Web Token (RFC 7519) with the claims of the "Token Authentication
//! Implementation" of Docker's registry, signed with HMAC-SHA-256 by a key that lies where
//! the registry is kept: all servers of one place take each other's tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rules::Action;

/// Makes tokens and checks them.
#[derive(Debug)]
pub(super) struct Tokens {
    key: hmac::Key,
    service: String,
    lifetime: Duration,
}

/// What a token is good for: actions on a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::server) struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    access: Vec<Access>,
    /// Of a refresh token: of the password that it was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
}

/// No token of ours is longer.
const LENGTH_LIMIT: usize = 16 * 1024;
/// The header of all our tokens, `{"alg":"HS256","typ":"JWT"}`. No other is looked at, so
/// that nobody can choose a weaker way.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// A refresh token is good for half a year, or until the password is changed.
const REFRESH: Duration = Duration::from_secs(180 * 24 * 60 * 60);
/// How far the clocks of servers that share a folder may be apart.
const LEEWAY: u64 = 30;

impl Tokens {
    pub(super) fn new(key: &[u8], service: &str, lifetime: Duration) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self { key, service: service.to_owned(), lifetime }
    }

    /// The answer of the token service.
    pub(super) fn give(&self, user: &str, access: &[Access]) -> Value {
        let now = now();
        let token =
            self.sign(&self.claims(now, user, self.service.clone(), self.lifetime, access.to_vec(), None));
        let issued = jiff::Timestamp::from_second(i64::try_from(now).unwrap_or(0)).unwrap_or_default();
        json!({
            "token": token,
            "access_token": token,
            "expires_in": self.lifetime.as_secs(),
            "issued_at": issued.to_string(),
        })
    }

    /// A token that stands for a user's password at the token service, and for nothing else.
    pub(super) fn give_refresh(&self, user: &str, mark: String) -> String {
        self.sign(&self.claims(now(), user, self.refresh_audience(), REFRESH, Vec::new(), Some(mark)))
    }

    /// Whom a refresh token was given, and the mark of the password then.
    pub(super) fn verify_refresh(&self, token: &str) -> Option<(String, String)> {
        let claims = self.claims_of(token, &self.refresh_audience())?;
        Some((claims.sub, claims.mark?))
    }

    /// Another audience than that of the tokens for the registry, so that neither passes for the other.
    fn refresh_audience(&self) -> String {
        format!("{} token service", self.service)
    }

    fn claims(
        &self,
        now: u64,
        user: &str,
        audience: String,
        lifetime: Duration,
        access: Vec<Access>,
        mark: Option<String>,
    ) -> Claims {
        Claims {
            iss: self.service.clone(),
            sub: user.to_owned(),
            aud: audience,
            exp: now + lifetime.as_secs(),
            nbf: now.saturating_sub(LEEWAY),
            iat: now,
            jti: crate::server::storage::random_name(),
            access,
            mark,
        }
    }

    fn sign(&self, claims: &Claims) -> String {
        let body = URL_SAFE_NO_PAD.encode(json!(claims).to_string());
        let signed = format!("{HEADER}.{body}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Whose a token is and what it is good for, if it is ours and still good.
    pub(super) fn verify(&self, token: &str) -> Option<(String, Vec<Access>)> {
        let claims = self.claims_of(token, &self.service)?;
        Some((claims.sub, claims.access))
    }

    fn claims_of(&self, token: &str, audience: &str) -> Option<Claims> {
        if token.len() > LENGTH_LIMIT {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let body = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let good = claims.aud == audience && (claims.nbf..claims.exp).contains(&now());
        good.then_some(claims)
    }
}

impl Access {
    /// Reads a scope: `repository:NAME:ACTION,ACTION` or `registry:catalog:*`.
    pub(super) fn parse(scope: &str) -> Option<Self> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let kind = kind.split('(').next().unwrap_or(kind);
        let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned).collect();
        Some(Self { kind: kind.to_owned(), name: name.to_owned(), actions })
    }

    /// Takes away what may not be done.
    pub(super) fn keep(&mut self, may: impl Fn(&str, Action) -> bool, user: bool) {
        match self.kind.as_str() {
            "repository" => {
                let all = [Action::Pull, Action::Push, Action::Delete];
                let wanted =
                    |action: &Action| self.actions.iter().any(|name| name == "*" || name == action.name());
                let kept = all.iter().filter(|action| wanted(action) && may(&self.name, **action));
                self.actions = kept.map(|action| action.name().to_owned()).collect();
            }
            "registry" if self.name == "catalog" && user => {}
            _ => self.actions.clear(),
        }
    }

    pub(super) fn allows(&self, name: &str, action: Action) -> bool {
        self.kind == "repository" && self.name == name && self.actions.iter().any(|had| had == action.name())
    }

    pub(super) fn is_catalog(&self) -> bool {
        self.kind == "registry" && self.name == "catalog" && self.actions.iter().any(|action| action == "*")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_as_it_is_and_for_a_time() {
        let tokens = |lifetime| Tokens::new(&[7; 32], "here", Duration::from_secs(lifetime));
        let mut access = Access::parse("repository:a/b:pull,push,x").expect("a scope");
        access.keep(|name, action| name == "a/b" && action != Action::Push, true);
        let text = |value: &Value| value["token"].as_str().expect("a text").to_owned();
        let token = text(&tokens(60).give("ali", std::slice::from_ref(&access)));
        let (user, found) = tokens(60).verify(&token).expect("good, also at another server with the key");
        assert_eq!(user, "ali");
        assert!(found[0].allows("a/b", Action::Pull) && !found[0].allows("a/b", Action::Push));
        assert!(!found[0].allows("a", Action::Pull));
        assert!(tokens(60).verify(&text(&tokens(0).give("ali", &[access]))).is_none(), "too late");
        for cut in ["", ".", "..", &token[..token.len() - 1], &token[1..], &token.replace(HEADER, "e30")] {
            assert!(tokens(60).verify(cut).is_none(), "{cut}");
        }
        let mut parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(r#"{"iss":"here"}"#);
        parts[1] = &forged;
        assert!(tokens(60).verify(&parts.join(".")).is_none());
    }
}
