//! Who asks: from a challenge to a header (distribution's `docs/spec/auth/token.md` and
//! `oauth.md`).
//!
//! ```text
//!   401, Basic                ──► the user's name and password
//!   401, Bearer realm=…       ──► GET realm?service=…&scope=…      with name and password, if any
//!                                 POST realm  refresh_token=…      with an identity token
//!                                 └─► a token for this repository, for some minutes;
//!                                     at a login also an identity token, for later
//! ```
//!
//! What is secret is in a header value marked as sensitive, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use glassdock_trace::{Body, Trace};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::Deserialize;

use super::challenge::Challenge;
use super::endpoint::{self, Endpoint, Trust};
use super::transport::{Payload, Reply, Request};
use super::{Client, Credentials, Error, error, retry};

/// An answer of a token service is at most so long.
const TOKEN_LIMIT: u64 = 256 * 1024;

/// What we call ourselves there.
const CLIENT: &str = "glassdock";

/// Who asks whom for what.
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    pub(super) endpoint: &'a Endpoint,
    pub(super) credentials: Option<&'a Credentials>,
    /// What is wanted of the registry, such as `repository:library/busybox:pull`.
    pub(super) scopes: &'a [String],
    /// Whether a token in place of the password is wanted too, for later.
    pub(super) offline: bool,
}

/// What answers a challenge.
pub(super) struct Answered {
    /// The header `Authorization`.
    pub(super) header: HeaderValue,
    /// What stands for the password from now on, where the token service gave that.
    pub(super) identity: Option<String>,
}

impl From<HeaderValue> for Answered {
    fn from(header: HeaderValue) -> Self {
        Self { header, identity: None }
    }
}

impl Asker<'_> {
    /// The header that answers the challenges of a 401.
    pub(super) async fn answer(&self, trace: &Trace, reply: &Reply) -> Result<Answered, Error> {
        let challenges: Vec<Challenge> = reply
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(Challenge::parse_all)
            .collect();
        for challenge in &challenges {
            trace.point(Body::RegistryChallenge {
                scheme: challenge.scheme.clone(),
                realm: challenge.parameter("realm").map(str::to_owned),
                service: challenge.parameter("service").map(str::to_owned),
                scope: challenge.parameter("scope").map(str::to_owned),
            });
        }
        if let Some(Credentials::RegistryToken(token)) = self.credentials {
            return Ok(secret(format!("Bearer {token}"))?.into());
        }
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
            return self.token(trace, reply, bearer).await;
        }
        let offered = challenges.iter().any(|challenge| challenge.scheme == "basic");
        match self.credentials {
            Some(Credentials::Basic { username, password }) if offered => {
                Ok(basic(username, password)?.into())
            }
            _ if offered => {
                let (method, url) = reply.asked();
                let method = error::go_method(&Method::from_bytes(method.as_bytes()).unwrap_or_default());
                Err(Error::Unauthorized { answer: format!("{method} \"{url}\": no basic auth credentials") })
            }
            _ => Err(reply.nonsense("it asks who we are, but in no way that we know (Basic, Bearer)")),
        }
    }

    async fn token(&self, trace: &Trace, reply: &Reply, challenge: &Challenge) -> Result<Answered, Error> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let address = Url::parse(realm)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| reply.nonsense(format!("its token service {realm:.200?} is no address")))?;
        let trust = self.trust(&address).ok_or_else(|| {
            reply.nonsense(format!(
                "its token service {realm:.200} speaks plain http; nothing secret is sent there"
            ))
        })?;
        let service = challenge.parameter("service").map(str::to_owned);
        let mut scopes: Vec<String> = challenge.parameter("scope").map(str::to_owned).into_iter().collect();
        scopes
            .extend(self.scopes.iter().filter(|scope| !scopes.contains(scope)).cloned().collect::<Vec<_>>());
        let request = self.token_request(&address, service.as_deref(), &scopes)?;
        let told = |expires_in| Body::RegistryToken {
            realm: realm.to_owned(),
            service: service.clone(),
            scope: Some(scopes.join(" ")),
            expires_in,
        };
        let mut span = trace.begin_async(told(None)).await?;
        let result = self.fetch(span.trace().clone(), &trust, request).await;
        if let Ok((_, expires_in)) = &result {
            *span.body_mut() = told(Some(*expires_in));
        }
        span.finish(result).map(|(value, _)| value)
    }

    /// The request to a token service: POST for who has an identity token, else GET.
    fn token_request(
        &self,
        address: &Url,
        service: Option<&str>,
        scopes: &[String],
    ) -> Result<Request, Error> {
        let mut url = address.clone();
        let mut headers = HeaderMap::new();
        if let Some(Credentials::IdentityToken(token)) = self.credentials {
            let mut form =
                format!("grant_type=refresh_token&client_id={CLIENT}&refresh_token={}", encode(token));
            if let Some(service) = service {
                form.push_str(&format!("&service={}", encode(service)));
            }
            form.push_str(&format!("&scope={}", encode(&scopes.join(" "))));
            headers
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            return Ok(Request {
                method: Method::POST,
                url,
                headers,
                payload: Payload::Bytes(form.into()),
                redirected: false,
            });
        }
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scopes {
                query.append_pair("scope", scope);
            }
        }
        if let Some(Credentials::Basic { username, password }) = self.credentials {
            url.query_pairs_mut().append_pair("account", username);
            if self.offline {
                url.query_pairs_mut().append_pair("offline_token", "true").append_pair("client_id", CLIENT);
            }
            headers.insert(header::AUTHORIZATION, basic(username, password)?);
        }
        Ok(Request { method: Method::GET, url, headers, payload: Payload::Nothing, redirected: false })
    }

    async fn fetch(&self, trace: Trace, trust: &Trust, request: Request) -> Result<(Answered, u64), Error> {
        #[derive(Deserialize)]
        struct Answer {
            refresh_token: Option<String>,
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let config = &self.client.config;
        let mut attempt = 1;
        loop {
            let reply = self.client.transport.send(&trace, trust, request.clone(), attempt).await;
            let pause = match &reply {
                Ok(reply) if retry::is_passing(reply.status()) => {
                    retry::pause(config, attempt, Some(reply.headers()))
                }
                Err(error) if error.is_passing() => retry::pause(config, attempt, None),
                _ => Default::default(),
            };
            if !pause.is_zero() && attempt < config.attempts {
                if let Ok(mut reply) = reply {
                    reply.finish();
                }
                tokio::time::sleep(pause).await;
                attempt += 1;
                continue;
            }
            let mut reply = reply?;
            let body = reply.all(TOKEN_LIMIT).await?;
            let status = reply.status();
            if !status.is_success() {
                let (_, mut answer) = error::answer(&body);
                if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                    if answer.is_empty() {
                        "unauthorized: incorrect username or password".clone_into(&mut answer);
                    }
                    return Err(Error::Unauthorized { answer });
                }
                let (method, url) = reply.asked();
                return Err(Error::Status { method, url, status, answer });
            }
            let answer: Answer = serde_json::from_slice(&body)
                .map_err(|_| reply.nonsense("the token service sent something that is no token"))?;
            let token = answer
                .token
                .or(answer.access_token)
                .filter(|token| !token.is_empty())
                .ok_or_else(|| reply.nonsense("the token service sent no token"))?;
            // Sixty seconds are what the specification says where nothing is said.
            let header = secret(format!("Bearer {token}"))?;
            let identity = answer.refresh_token.filter(|token| !token.is_empty());
            return Ok((Answered { header, identity }, answer.expires_in.unwrap_or(60)));
        }
    }

    /// What to believe of a token service; `None` where a password must not go: in plain
    /// sight, on behalf of a registry that is asked by https with a checked certificate.
    fn trust(&self, address: &Url) -> Option<Trust> {
        let trust = endpoint::trust(&self.client.config, address);
        let checked = matches!(self.endpoint.trust, Trust::Authorities(_));
        (trust != Trust::Plain || !checked).then_some(trust)
    }
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Error> {
    secret(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn secret(text: String) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Error::Setup {
        subject: "the credentials".to_owned(),
        reason: "they have characters that no header can have".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
