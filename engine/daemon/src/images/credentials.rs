//! `X-Registry-Auth`: who asks the registry, as the client's configuration has it.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use glassdock_registry::client::Credentials;
use serde::Deserialize;

use crate::error::Error;

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
/// empty object means nobody.
pub(super) fn read(header: Option<&str>) -> Result<Option<Credentials>, Error> {
    let Some(text) = header.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    // The message says nothing of what is in it: it may be a password.
    let invalid = || Error::invalid("invalid X-Registry-Auth header: not base64-encoded JSON");
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |alphabet| GeneralPurpose::new(alphabet, config).decode(text);
    let json = decode(&URL_SAFE).or_else(|_| decode(&STANDARD)).map_err(|_| invalid())?;
    let auth: Option<Auth> = serde_json::from_slice(&json).map_err(|_| invalid())?;
    let auth = auth.unwrap_or_default();
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = some(auth.registrytoken) {
        return Ok(Some(Credentials::RegistryToken(token)));
    }
    if let Some(token) = some(auth.identitytoken) {
        return Ok(Some(Credentials::IdentityToken(token)));
    }
    let password = auth.password.unwrap_or_default();
    Ok(some(auth.username).map(|username| Credentials::Basic { username, password }))
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
            assert_eq!(read(Some(text)).expect("read"), wanted);
        }
        for nobody in ["e30=", "e30", "bnVsbA==", ""] {
            assert_eq!(read(Some(nobody)).expect(nobody), None);
        }
        assert!(read(Some("%%%")).is_err() && read(Some("eA==")).is_err());
    }
}
