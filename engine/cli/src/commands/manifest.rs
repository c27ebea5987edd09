//! `manifest inspect`: a manifest or an index as its registry has it. Docker's client asks the
//! registry itself here, and so does ours; the daemon is only asked for its mirrors of Docker Hub.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use glassdock_registry::client::{Client, ClientConfig, Credentials, Error, Inspected, Part};
use glassdock_trace::Trace;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value, json};

use crate::config::credentials;
use crate::context::Context;
use crate::failure::Failure;
use crate::words::Args;

pub(crate) async fn inspect(cx: &mut Context, args: &Args) -> Result<(), Failure> {
    // With two names the first is a list that `manifest create` keeps on this machine, which
    // Docker's client makes and ours doesn't: the manifest itself is what is asked for.
    let name = args.operand(if args.operands.len() > 1 { 1 } else { 0 }).to_owned();
    let domain = name.split('/').next().filter(|first| name.contains('/') && first.contains(['.', ':']));
    let domain = domain.unwrap_or("docker.io").to_owned();
    let mut config = ClientConfig { mirrors: mirrors(cx).await, ..ClientConfig::default() };
    if args.is("insecure") {
        config.insecure.push(domain.clone());
    }
    let key = credentials::key(&domain);
    let known = credentials::load(&mut cx.config, &key).map(|kept| {
        if kept.token.is_empty() {
            Credentials::Basic { username: kept.user, password: kept.password }
        } else {
            Credentials::IdentityToken(kept.token)
        }
    });
    let inspected = Client::new(config).look_into(&Trace::off(), &name, known.as_ref()).await;
    let inspected = inspected.map_err(|error| failure(&name, &error))?;
    let text = if args.is("verbose") { verbose(&inspected) } else { plain(&inspected) };
    cx.out.text(text?);
    cx.out.flush()
}

/// The mirrors that the daemon asks before Docker Hub. Without a daemon there are none.
async fn mirrors(cx: &mut Context) -> Vec<String> {
    let info = cx.client.get_json("/info").await.unwrap_or_default();
    let mirrors = info["RegistryConfig"]["Mirrors"].as_array().cloned().unwrap_or_default();
    mirrors.iter().filter_map(|mirror| mirror.as_str().map(str::to_owned)).collect()
}

fn failure(name: &str, error: &Error) -> Failure {
    match error {
        Error::ManifestUnknown { .. } | Error::NameUnknown { .. } | Error::PullDenied { .. } => {
            let tagged = name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'));
            let tag = if tagged { "" } else { ":latest" };
            Failure::say(format!("no such manifest: {name}{tag}"))
        }
        _ => Failure::say(error.to_string()),
    }
}

/// The manifest as it is, or the list of manifests.
fn plain(inspected: &Inspected) -> Result<String, Failure> {
    let Some(index) = &inspected.index else {
        let manifest = inspected.parts.first().map(document).unwrap_or_default();
        return Ok(pretty(&manifest, b"\t")? + "\n");
    };
    let manifests: Vec<Value> = inspected
        .parts
        .iter()
        .map(|part| {
            let mut entry = Map::new();
            entry.insert("mediaType".to_owned(), part.media_type.clone().into());
            entry.insert("size".to_owned(), part.bytes.len().into());
            entry.insert("digest".to_owned(), part.digest.to_string().into());
            entry.insert("platform".to_owned(), part.platform.clone().unwrap_or_else(nowhere));
            Value::Object(entry)
        })
        .collect();
    let list = json!({"schemaVersion": 2, "mediaType": index, "manifests": manifests});
    Ok(pretty(&list, b"   ")? + "\n")
}

/// Each manifest with its name, descriptor, bytes and content.
fn verbose(inspected: &Inspected) -> Result<String, Failure> {
    let entry = |part: &Part| {
        let mut descriptor = Map::new();
        descriptor.insert("mediaType".to_owned(), part.media_type.clone().into());
        descriptor.insert("digest".to_owned(), part.digest.to_string().into());
        descriptor.insert("size".to_owned(), part.bytes.len().into());
        descriptor.insert("platform".to_owned(), part.platform.clone().unwrap_or_else(nowhere));
        let name = inspected.reference.trim_end_matches(&format!("@{}", part.digest)).to_owned();
        let mut entry = Map::new();
        entry.insert("Ref".to_owned(), format!("{name}@{}", part.digest).into());
        entry.insert("Descriptor".to_owned(), descriptor.into());
        entry.insert("Raw".to_owned(), STANDARD.encode(&part.bytes).into());
        let docker = part.media_type.starts_with("application/vnd.docker.");
        let kind = if docker { "SchemaV2Manifest" } else { "OCIManifest" };
        entry.insert(kind.to_owned(), document(part));
        Value::Object(entry)
    };
    let shown = match inspected.index {
        Some(_) => inspected.parts.iter().map(entry).collect::<Vec<_>>().into(),
        None => inspected.parts.first().map(entry).unwrap_or_default(),
    };
    Ok(pretty(&shown, b"\t")? + "\n")
}

fn document(part: &Part) -> Value {
    // It was held against its digest, and came as JSON; what isn't is shown as a text.
    serde_json::from_slice(&part.bytes).unwrap_or_else(|_| String::from_utf8_lossy(&part.bytes).into())
}

/// What Docker shows where an index tells no platform.
fn nowhere() -> Value {
    json!({"architecture": "", "os": ""})
}

fn pretty(value: &Value, indent: &[u8]) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent));
    value.serialize(&mut serializer).map_err(|error| Failure::say(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Failure::say(error.to_string()))
}
