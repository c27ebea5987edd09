//! `SystemAuth`: `POST /auth`, does a registry take these credentials? `docker login`.

use glassdock_registry::client::{Credentials, Error as RegistryError};
use serde::Deserialize;
use serde_json::json;

use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

/// `AuthConfig`
#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    identitytoken: String,
    serveraddress: String,
}

pub(crate) async fn check(mut call: Call) -> Reply {
    let auth: Auth = call.json().await?;
    let credentials = if auth.identitytoken.is_empty() {
        Credentials::Basic { username: auth.username, password: auth.password }
    } else {
        Credentials::IdentityToken(auth.identitytoken)
    };
    let login = call.engine.registry.login(&call.trace, &auth.serveraddress, &credentials).await;
    let identity = login.map_err(|error| match error {
        // What is no address at all, or no header.
        RegistryError::Setup { .. } => Error::invalid(error.to_string()),
        error => error.into(),
    })?;
    reply::json(&json!({ "IdentityToken": identity.unwrap_or_default(), "Status": "Login Succeeded" }))
}
