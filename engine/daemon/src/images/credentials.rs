//! `X-Registry-Auth`: who asks the registry, as the client's configuration has it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use glassdock_registry::client::Credentials;
use serde::Deserialize;

/// `AuthConfig`
#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Reads the header: base64 of JSON. Clients differ in alphabet and padding; an
/// empty object means nobody, and so does what can't be read: Docker asks as nobody then, and there are clients
/// that write any word there when they have no credentials.
pub(crate) fn read(header: Option<&str>) -> Option<Credentials> {
    let auth: Option<Auth> = serde_json::from_slice(&decoded(header?.trim())?).ok()?;
    credentials(auth?)
}

/// Reads `X-Registry-Config`, which has the credentials of several registries, by their names.
pub(crate) fn read_all(header: Option<&str>) -> BTreeMap<String, Credentials> {
    let bytes = header.and_then(|text| decoded(text.trim())).unwrap_or_default();
    let all: Option<BTreeMap<String, Auth>> = serde_json::from_slice(&bytes).unwrap_or_default();
    let named = all.unwrap_or_default().into_iter().filter_map(|(name, auth)| {
        let host = name.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default();
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        Some((host.to_owned(), credentials(auth)?))
    });
    named.collect()
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |alphabet| GeneralPurpose::new(alphabet, config).decode(text);
    decode(&URL_SAFE).or_else(|_| decode(&STANDARD)).ok()
}

fn credentials(auth: Auth) -> Option<Credentials> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = some(auth.registrytoken) {
        return Some(Credentials::RegistryToken(token));
    }
    if let Some(token) = some(auth.identitytoken) {
        return Some(Credentials::IdentityToken(token));
    }
    let password = auth.password.unwrap_or_default();
    some(auth.username).map(|username| Credentials::Basic { username, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clients_encoding_is_read() {
        let wanted = Some(Credentials::Basic { username: "u".into(), password: "p?>".into() });
        for text in
            ["eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA_PiJ9", "eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA/PiJ9"]
        {
            assert_eq!(read(Some(text)), wanted);
        }
        for nobody in ["e30=", "e30", "bnVsbA==", "", "%%%", "eA==", "placeholder"] {
            assert_eq!(read(Some(nobody)), None, "{nobody}");
            assert!(read_all(Some(nobody)).is_empty(), "{nobody}");
        }
    }
}
