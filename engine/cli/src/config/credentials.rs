//! Who to be at a registry: from `config.json`, or from a credential helper, a
//! program `docker-credential-NAME` that keeps secrets elsewhere.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};

use super::Config;
use crate::failure::Failure;

/// The name under which Docker's own registry stands in the configuration.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// A user at a registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub user: String,
    pub password: String,
    /// In place of a password, where the registry gave one.
    pub token: String,
}

/// The key of a registry in the configuration.
pub(crate) fn key(registry: &str) -> String {
    match registry {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        other => other
            .trim_start_matches("https://")
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or(other)
            .to_owned(),
    }
}

/// The header `X-Registry-Auth` for a registry; empty credentials where none are kept.
pub(crate) fn header(config: &mut Config, registry: &str) -> String {
    let key = key(registry);
    let credentials = load(config, &key).unwrap_or_default();
    encode(&credentials, &key)
}

/// The header `X-Registry-Config`, for a request that may ask several registries: all credentials that are
/// kept, by their registries; nothing, where none are.
pub(crate) fn all_header(config: &mut Config) -> Option<String> {
    let names = |config: &mut Config, list: &str| -> Vec<String> {
        let all = config.all().get(list).and_then(Value::as_object);
        all.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let mut keys = names(config, "auths");
    keys.extend(names(config, "credHelpers"));
    keys.sort_unstable();
    keys.dedup();
    let mut all = Map::new();
    for key in keys {
        if let Some(credentials) = load(config, &key) {
            all.insert(key.clone(), body(&credentials, &key).into());
        }
    }
    (!all.is_empty()).then(|| URL_SAFE.encode(Value::Object(all).to_string()))
}

fn encode(credentials: &Credentials, key: &str) -> String {
    URL_SAFE.encode(Value::Object(body(credentials, key)).to_string())
}

fn body(credentials: &Credentials, key: &str) -> Map<String, Value> {
    let mut body = Map::new();
    if !credentials.user.is_empty() {
        body.insert("username".to_owned(), credentials.user.clone().into());
        body.insert("password".to_owned(), credentials.password.clone().into());
    }
    if !credentials.token.is_empty() {
        body.insert("identitytoken".to_owned(), credentials.token.clone().into());
    }
    if !body.is_empty() {
        body.insert("serveraddress".to_owned(), key.into());
    }
    body
}

/// The credentials that are kept for a registry.
pub(crate) fn load(config: &mut Config, key: &str) -> Option<Credentials> {
    if let Some(helper) = helper(config, key) {
        let answer = ask(&helper, "get", key).ok()?;
        let value: Value = serde_json::from_str(&answer).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (user, secret) = (text("Username"), text("Secret"));
        return Some(if user == "<token>" {
            Credentials { token: secret, ..Credentials::default() }
        } else {
            Credentials { user, password: secret, token: String::new() }
        });
    }
    let auths = config.all().get("auths")?.as_object()?;
    let entry = auths
        .get(key)
        .or_else(|| auths.iter().find(|(name, _)| self::key(name) == key).map(|(_, entry)| entry))?;
    let token = entry.get("identitytoken").and_then(Value::as_str).unwrap_or_default().to_owned();
    let decoded = STANDARD.decode(entry.get("auth")?.as_str()?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned(), token })
}

/// Keeps credentials.
///
/// # Errors
///
/// If the helper or the file refuses.
pub(crate) fn store(config: &mut Config, key: &str, credentials: &Credentials) -> Result<(), Failure> {
    if let Some(helper) = helper(config, key) {
        let (user, secret) = if credentials.token.is_empty() {
            (credentials.user.as_str(), &credentials.password)
        } else {
            ("<token>", &credentials.token)
        };
        let body = json!({"ServerURL": key, "Username": user, "Secret": secret});
        ask(&helper, "store", &body.to_string()).map_err(Failure::say)?;
        auths(config).insert(key.to_owned(), json!({}));
    } else {
        let mut entry = Map::new();
        let pair = format!(
            "{}:{}",
            credentials.user,
            if credentials.token.is_empty() { &credentials.password } else { "" }
        );
        entry.insert("auth".to_owned(), STANDARD.encode(pair).into());
        if !credentials.token.is_empty() {
            entry.insert("identitytoken".to_owned(), credentials.token.clone().into());
        }
        auths(config).insert(key.to_owned(), Value::Object(entry));
    }
    config.save()
}

/// Forgets credentials, by whichever of a registry's addresses they were kept; returns whether there were any.
///
/// # Errors
///
/// If the file refuses; if the helper refuses all addresses of credentials that there were.
pub(crate) fn erase(config: &mut Config, key: &str) -> Result<bool, Failure> {
    let mut keys = vec![key.to_owned()];
    if !key.contains("://") {
        keys.extend(["http", "https"].map(|scheme| format!("{scheme}://{key}")));
    }
    let (mut known, mut failed) = (false, Vec::new());
    for key in &keys {
        known |= auths(config).shift_remove(key).is_some();
        if let Some(helper) = helper(config, key) {
            failed.extend(ask(&helper, "erase", key).err());
        }
    }
    if known {
        config.save()?;
    }
    // The helper has them by one of the addresses at most: that it doesn't know the others is no failure.
    let all = failed.len() == keys.len();
    match failed.pop() {
        Some(reason) if known && all => Err(Failure::say(reason)),
        _ => Ok(known),
    }
}

/// Whether secrets would be kept in the file itself.
pub(crate) fn in_file(config: &mut Config, key: &str) -> bool {
    helper(config, key).is_none()
}

fn auths(config: &mut Config) -> &mut Map<String, Value> {
    let entry = config.all().entry("auths").or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    match entry {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

fn helper(config: &mut Config, key: &str) -> Option<String> {
    let all = config.all();
    let named = all.get("credHelpers").and_then(|helpers| helpers.get(key)).or_else(|| all.get("credsStore"));
    named.and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Calls a credential helper: a word as argument, a text on its standard input.
fn ask(helper: &str, word: &str, input: &str) -> Result<String, String> {
    let program = format!("docker-credential-{helper}");
    let doing = match word {
        "store" => "storing",
        "erase" => "erasing",
        _ => "getting",
    };
    let mut child = Command::new(&program)
        .arg(word)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            _ => error.to_string(),
        })
        .map_err(|reason| {
            format!("error {doing} credentials - err: exec: \"{program}\": {reason}, out: ``")
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read says why on its output.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("{program} {word}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        Ok(text)
    } else {
        let status = output.status.to_string().replace(": ", " ");
        Err(format!("error {doing} credentials - err: {status}, out: `{text}`"))
    }
}
