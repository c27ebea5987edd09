//! The token service: `GET` and `POST /token`.

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use super::{Answer, form, json, query};
use crate::server::Shared;
use crate::server::body::Received;
use crate::server::error::{Code, Refusal};

/// The largest form.
const FORM_LIMIT: usize = 64 * 1024;

/// Gives a token. `GET` has the scopes in its query and the password in its header; `POST` has a
/// form with all of it, as OAuth 2 does (RFC 6749, 4.3).
pub(super) async fn give(shared: &Shared, parts: &Parts, body: Received) -> Answer {
    let auth = shared.auth.as_ref().filter(|auth| auth.has_tokens());
    let auth = auth.ok_or_else(|| Refusal::new(Code::UnknownRoute, "this registry gives no tokens"))?;
    let (fields, secrets) = match parts.method.as_str() {
        "GET" => (query(parts), Vec::new()),
        "POST" => {
            let body = body.all(FORM_LIMIT).await?;
            let fields = form(&String::from_utf8_lossy(&body));
            if !fields.contains(&("grant_type".to_owned(), "password".to_owned())) {
                return Err(Refusal::new(Code::Unsupported, "the grant type is password"));
            }
            (fields.clone(), fields)
        }
        _ => return Err(Refusal::new(Code::Unsupported, "a token is asked for with GET or POST")),
    };
    let scopes: Vec<String> =
        fields.into_iter().filter(|(name, _)| name == "scope").map(|(_, value)| value).collect();
    let token = auth.give_token(parts, &secrets, &scopes).await?;
    Ok(json(StatusCode::OK, "application/json", Bytes::from(token.to_string())))
}
