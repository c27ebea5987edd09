//! Who asks, and what they may do.
//!
//! ```text
//!   no Authorization ──► anonymous ──┐
//!   Basic ──► htpasswd ──► user ─────┼──► may they do this here? ──► go on
//!   Bearer ──► signature, scopes ────┘              └ 401 with a challenge, or 403
//! ```
//!
//! With the method `basic` each request carries the password. With `token` the challenge leads
//! to this server's own token service (`/token`), as the "Docker Registry v2 authentication"
//! has it: it takes the password once and gives a signed token for some minutes, good for the
//! scopes that were asked for and are allowed.
//!
//! `/v2/` itself always wants somebody to log in, also where anonymous clients may pull: from
//! its challenge clients learn how to, and `docker login` whether the password is right.

mod htpasswd;
mod rules;
pub(super) mod token;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Code, Refusal};
use super::name::Name;
use htpasswd::Htpasswd;
pub use rules::{Action, Rule};
use token::{Access, Tokens};

/// How clients are told apart.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The users: a file of lines `NAME:HASH` with bcrypt hashes, as `htpasswd -B` writes it.
    pub htpasswd: PathBuf,
    /// How they log in.
    pub method: Method,
    /// What who does not log in may do.
    pub anonymous: Anonymous,
    /// What users may do; without a rule, everything.
    pub access: Vec<Rule>,
    /// The name of this registry in challenges and tokens.
    pub service: String,
    /// Where clients find the token service, if that isn't where they find the registry.
    pub realm: Option<String>,
    /// How long a token is good.
    pub lifetime: Duration,
}

/// How users log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// With the password in each request.
    #[default]
    Basic,
    /// With tokens.
    Token,
}

/// What who does not log in may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// Nothing.
    #[default]
    None,
    /// Pull.
    Pull,
}

/// What a request needs.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// To be somebody.
    Login,
    /// To see the names of all repositories.
    Catalog,
    /// To do something with a repository; perhaps with a blob of another one.
    Repository { name: Name, action: Action, from: Option<Name> },
}

/// The doorkeeper.
#[derive(Debug)]
pub(super) struct Auth {
    config: AuthConfig,
    users: Htpasswd,
    tokens: Tokens,
}

/// What the asker of a request may do, as far as it matters after the door.
#[derive(Debug)]
pub(super) enum Reach {
    /// Everything.
    Anything,
    /// What the rules say for somebody (`None`: anonymous).
    Rules { user: Option<String>, rules: Vec<Rule>, anonymous: Anonymous },
    /// What a token says.
    Token { user: String, access: Vec<Access> },
}

impl Reach {
    /// Who it is, as far as that is known here.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Rules { user, .. } => user.as_deref(),
            Self::Token { user, .. } => Some(user.as_str()).filter(|user| !user.is_empty()),
            Self::Anything => None,
        }
    }

    /// Whether blobs may be taken over from a repository; without one, from any.
    pub(super) fn may_mount(&self, from: Option<&str>) -> bool {
        match (self, from) {
            (Self::Anything, _) => true,
            (_, Some(from)) => self.may(from, Action::Pull),
            // Who knows a digest must not get at content that they may not pull.
            (Self::Rules { rules, user, .. }, None) => user.is_some() && rules.is_empty(),
            (Self::Token { .. }, None) => false,
        }
    }

    fn may(&self, name: &str, action: Action) -> bool {
        match self {
            Self::Anything => true,
            Self::Rules { user, rules, anonymous } => {
                rules::may(user.as_deref(), rules, *anonymous, name, action)
            }
            Self::Token { access, .. } => access.iter().any(|access| access.allows(name, action)),
        }
    }
}

impl Auth {
    /// Reads the users. Tokens are signed with `key`.
    pub(super) fn new(config: AuthConfig, key: &[u8]) -> io::Result<Self> {
        let users = Htpasswd::open(&config.htpasswd)?;
        let tokens = Tokens::new(key, &config.service, config.lifetime);
        Ok(Self { config, users, tokens })
    }

    /// Lets a request in that may do what it needs.
    ///
    /// `origin` is how clients address this server, such as `https://registry.test:5000`.
    pub(super) async fn admit(&self, parts: &Parts, need: &Need, origin: &str) -> Result<Reach, Refusal> {
        let refuse = |words: &str, error| self.challenge(need, origin, words, error);
        let reach = match credentials(parts) {
            Given::Nothing if matches!(need, Need::Login) => return Err(refuse("log in first", None)),
            Given::Nothing => self.reach_of(None),
            Given::Password { user, password } => {
                if !self.users.knows(&user, &password).await {
                    return Err(refuse("the user name or the password is wrong", None));
                }
                self.reach_of(Some(user))
            }
            Given::Token(token) => match self.tokens.verify(&token) {
                Some((user, access)) => Reach::Token { user, access },
                None => return Err(refuse("the token is not good, or not any more", Some("invalid_token"))),
            },
            Given::Nonsense => return Err(refuse("the credentials cannot be read", None)),
        };
        let allowed = match need {
            Need::Login => true,
            Need::Catalog => match &reach {
                Reach::Token { access, .. } => access.iter().any(Access::is_catalog),
                Reach::Rules { user, anonymous, .. } => user.is_some() || *anonymous == Anonymous::Pull,
                Reach::Anything => true,
            },
            Need::Repository { name, action, .. } => reach.may(name.as_str(), *action),
        };
        match &reach {
            _ if allowed => Ok(reach),
            Reach::Rules { user: Some(user), .. } => {
                Err(Refusal::new(Code::Denied, format!("{user} may not do this here")))
            }
            Reach::Token { .. } => Err(refuse("the token is for something else", Some("insufficient_scope"))),
            _ => Err(refuse("log in first", None)),
        }
    }

    /// The token service: gives who asks a token for what they want and may do, and, where they
    /// want to come back without their password, one to do that with.
    pub(super) async fn give_token(&self, parts: &Parts, asked: Asked<'_>) -> Result<Value, Refusal> {
        let user = match (asked.field("refresh_token"), asked.field("username"), asked.field("password")) {
            (Some(token), _, _) => Some(self.user_of_refresh(&token).ok_or_else(|| self.stranger())?),
            (_, Some(user), Some(password)) => self.known(Given::Password { user, password }).await?,
            _ => self.known(credentials(parts)).await?,
        };
        let reach = self.reach_of(user.clone());
        let mut granted = Vec::new();
        for scope in
            asked.scopes.iter().flat_map(|scopes| scopes.split(' ')).filter(|scope| !scope.is_empty())
        {
            if let Some(mut access) = Access::parse(scope) {
                access.keep(|name, action| reach.may(name, action), user.is_some());
                granted.push(access);
            }
        }
        let mut answer = self.tokens.give(user.as_deref().unwrap_or_default(), &granted);
        if let Some(user) = user.filter(|_| asked.offline)
            && let Some(mark) = self.users.mark(&user)
        {
            answer["refresh_token"] = self.tokens.give_refresh(&user, mark).into();
        }
        Ok(answer)
    }

    /// Who it is that brings this along; `None` for an anonymous client, where there may be some.
    async fn known(&self, given: Given) -> Result<Option<String>, Refusal> {
        match given {
            Given::Password { user, password } if self.users.knows(&user, &password).await => Ok(Some(user)),
            Given::Nothing if self.config.anonymous != Anonymous::None => Ok(None),
            _ => Err(self.stranger()),
        }
    }

    /// Whose refresh token it is, if they still have the password that it was given for.
    fn user_of_refresh(&self, token: &str) -> Option<String> {
        let (user, mark) = self.tokens.verify_refresh(token)?;
        (self.users.mark(&user)? == mark).then_some(user)
    }

    fn stranger(&self) -> Refusal {
        let realm = format!("Basic realm=\"{}\"", self.config.service);
        Refusal::new(Code::Unauthorized, "the user name or the password is wrong")
            .header(header::WWW_AUTHENTICATE, realm)
    }

    /// Whether there is a token service.
    pub(super) fn has_tokens(&self) -> bool {
        self.config.method == Method::Token
    }

    fn reach_of(&self, user: Option<String>) -> Reach {
        Reach::Rules { user, rules: self.config.access.clone(), anonymous: self.config.anonymous }
    }

    /// 401, with how to log in (RFC 9110, 11.6.1; RFC 6750, 3).
    fn challenge(&self, need: &Need, origin: &str, words: &str, error: Option<&str>) -> Refusal {
        let service = &self.config.service;
        let challenge = match self.config.method {
            Method::Basic => format!("Basic realm=\"{service}\""),
            Method::Token => {
                let realm = self.config.realm.clone().unwrap_or_else(|| format!("{origin}/token"));
                let scope = match need {
                    Need::Login => String::new(),
                    Need::Catalog => ",scope=\"registry:catalog:*\"".to_owned(),
                    Need::Repository { name, action, from } => {
                        let from = from.as_ref().map(|from| format!(" repository:{from}:pull"));
                        let actions = action.with_what_it_needs();
                        format!(",scope=\"repository:{name}:{actions}{}\"", from.unwrap_or_default())
                    }
                };
                let error = error.map(|error| format!(",error=\"{error}\"")).unwrap_or_default();
                format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}{error}")
            }
        };
        Refusal::new(Code::Unauthorized, words).header(header::WWW_AUTHENTICATE, challenge)
    }
}

/// What the token service is asked.
pub(super) struct Asked<'a> {
    /// The fields that may have secrets: of a form, never of an address.
    pub(super) form: &'a [(String, String)],
    /// What the token is to be good for.
    pub(super) scopes: &'a [String],
    /// Whether who asks wants a refresh token too.
    pub(super) offline: bool,
}

impl Asked<'_> {
    fn field(&self, name: &str) -> Option<String> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

/// What a request brings along.
enum Given {
    Nothing,
    Password { user: String, password: String },
    Token(String),
    Nonsense,
}

fn credentials(parts: &Parts) -> Given {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Given::Nothing };
    let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return Given::Nonsense;
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        return Given::Token(rest.trim().to_owned());
    }
    let decoded = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| STANDARD.decode(rest.trim()).ok())
        .flatten()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((user, password)) => Given::Password { user: user.to_owned(), password: password.to_owned() },
        None => Given::Nonsense,
    }
}
