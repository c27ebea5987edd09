//! The token service: `GET` and `POST /token`.

use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};

use super::{Answer, form, json, parameter, query, set};
use crate::server::Shared;
use crate::server::auth::Asked;
use crate::server::error::{Code, Refusal};
use crate::server::received::Received;

/// The largest form.
const FORM_LIMIT: usize = 64 * 1024;

/// Gives a token. `GET` has the scopes in its query and the password in its header; `POST` has a
/// form with all of it, as OAuth 2 does (RFC 6749, 4.3), or with a refresh token (6). One of
/// those is given to who asks for `offline_token=true` (`GET`) or `access_type=offline` (`POST`).
pub(super) async fn give(shared: &Shared, parts: &Parts, body: Received) -> Answer {
    let auth = shared.auth.as_ref().filter(|auth| auth.has_tokens());
    let auth = auth.ok_or_else(|| Refusal::new(Code::UnknownRoute, "this registry gives no tokens"))?;
    let (fields, secrets) = match parts.method.as_str() {
        "GET" => (query(parts), Vec::new()),
        "POST" => {
            let body = body.all(FORM_LIMIT).await?;
            let fields = form(&String::from_utf8_lossy(&body));
            let grant = parameter(&fields, "grant_type");
            if !matches!(grant.as_deref(), Some("password" | "refresh_token")) {
                return Err(Refusal::new(Code::Unsupported, "the grant type is password or refresh_token"));
            }
            (fields.clone(), fields)
        }
        _ => return Err(Refusal::new(Code::Unsupported, "a token is asked for with GET or POST")),
    };
    let is = |name: &str, wanted: &str| parameter(&fields, name).is_some_and(|value| value == wanted);
    let offline = is("offline_token", "true") || is("access_type", "offline");
    let scopes: Vec<String> =
        fields.into_iter().filter(|(name, _)| name == "scope").map(|(_, value)| value).collect();
    let asked = Asked { form: &secrets, scopes: &scopes, offline };
    let token = auth.give_token(parts, asked).await?;
    let mut answer = json(StatusCode::OK, "application/json", Bytes::from(token.to_string()));
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    Ok(answer)
}
