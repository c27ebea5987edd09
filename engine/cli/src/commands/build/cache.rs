//! `--cache-from` and `--cache-to`: where steps are looked for that were done elsewhere, and where
//! this build's are kept.
//!
//! An image is its own cache: its history says which step made which layer. So a cache is an image,
//! here, in a registry, or in a folder (an OCI layout).

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::super::archive::receive;
use super::super::{pull, reference};
use super::context::folder_stream;
use crate::client::messages::{Lines, Screen, show};
use crate::client::{encode, with_query};
use crate::config::credentials;
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::show::output::complain;
use crate::words::Args;

/// One place of a cache.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Images here, by their names.
    Images(Vec<String>),
    /// An image of a registry.
    Registry(String),
    /// A folder.
    Folder(String),
    /// The image itself.
    Inline,
}

/// Makes all caches that the flags name be images here; their names.
pub(crate) async fn from(cx: &mut Context, args: &Args) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for flag in args.all("cache-from").map(str::to_owned).collect::<Vec<_>>() {
        match place("cache-from", &flag, "src")? {
            Place::Images(images) => names.extend(images),
            Place::Registry(name) => {
                let wanted = reference::parse(&name)?.or_latest();
                // A first build has no cache yet: that is no reason not to build.
                if let Err(failure) = pull::pull_for_run(cx, &wanted, args.text("platform"), true).await {
                    complain(format!("WARNING: no cache from {name}: {failure}"));
                }
                names.push(name);
            }
            Place::Folder(folder) => match load(cx, &folder).await {
                Ok(loaded) => names.extend(loaded),
                Err(failure) => {
                    complain(format!("WARNING: no cache from {folder}: {failure}"));
                    names.push(format!("{folder}: no cache"));
                }
            },
            Place::Inline => return Err(Failure::say(format!("invalid cache-from {flag:?}: name an image"))),
        }
    }
    Ok(names)
}

/// Keeps a built image where the flags say.
pub(crate) async fn to(cx: &mut Context, args: &Args, id: &str) -> Result<(), Failure> {
    for flag in args.all("cache-to").map(str::to_owned).collect::<Vec<_>>() {
        match place("cache-to", &flag, "dest")? {
            Place::Inline => {}
            Place::Images(_) => {
                return Err(Failure::say(format!("invalid cache-to {flag:?}: a type is needed")));
            }
            Place::Registry(name) => push(cx, &name, id).await?,
            Place::Folder(folder) => save(cx, &folder, id).await?,
        }
    }
    Ok(())
}

/// Says what is wrong with the flags before anything is built.
pub(crate) fn check(args: &Args) -> Result<(), Failure> {
    for (name, key) in [("cache-from", "src"), ("cache-to", "dest")] {
        for flag in args.all(name) {
            place(name, flag, key)?;
        }
    }
    Ok(())
}

fn place(name: &str, flag: &str, folder_key: &str) -> Result<Place, Failure> {
    let invalid = |reason: String| Failure::say(format!("invalid {name} {flag:?}: {reason}"));
    if !flag.contains('=') {
        return Ok(Place::Images(flag.split(',').map(str::to_owned).collect()));
    }
    let (mut kind, mut reference, mut folder) = ("", "", "");
    for field in flag.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| invalid(format!("field {field:?} must be a key=value pair")))?;
        match key {
            "type" => kind = value,
            "ref" => reference = value,
            key if key == folder_key => folder = value,
            // What is kept are the steps of the image itself.
            "mode" if value == "min" => {}
            "mode" => {
                return Err(invalid(format!(
                    "mode {value:?} is not supported: only the steps of the image itself are kept, mode=min"
                )));
            }
            other => return Err(invalid(format!("unexpected key {other:?}"))),
        }
    }
    match (kind, reference, folder) {
        ("inline", "", "") => Ok(Place::Inline),
        ("registry", reference, "") if !reference.is_empty() => Ok(Place::Registry(reference.to_owned())),
        ("registry", ..) => Err(invalid("it needs a ref=IMAGE".to_owned())),
        ("local", "", folder) if !folder.is_empty() => Ok(Place::Folder(folder.to_owned())),
        ("local", ..) => Err(invalid(format!("it needs a {folder_key}=FOLDER"))),
        (other, ..) => Err(invalid(format!("unknown type {other:?}: expected registry, local or inline"))),
    }
}

/// Loads a folder's image; its id.
async fn load(cx: &mut Context, folder: &str) -> Result<Vec<String>, Failure> {
    let path = std::fs::canonicalize(folder).map_err(|error| file_failure("open", folder, &error))?;
    if !path.join("index.json").is_file() {
        return Err(Failure::say("it is no folder of a cache: it has no index.json"));
    }
    let headers = [("content-type", "application/x-tar".to_owned())];
    let sent = cx.client.send_stream(Method::POST, "/images/load?quiet=1", folder_stream(path), &headers);
    let mut lines = Lines::of(sent.await?);
    let mut names = Vec::new();
    while let Some(message) = lines.next_json().await? {
        if let Some(error) = message.get("error").and_then(Value::as_str) {
            return Err(Failure::say(error));
        }
        let said = message.get("stream").and_then(Value::as_str).unwrap_or_default().trim();
        let loaded = said.strip_prefix("Loaded image ID: ").or_else(|| said.strip_prefix("Loaded image: "));
        names.extend(loaded.map(str::to_owned));
    }
    Ok(names)
}

/// Puts an image into a folder, as an OCI layout.
async fn save(cx: &mut Context, folder: &str, id: &str) -> Result<(), Failure> {
    let at = |error: std::io::Error| file_failure("write", folder, &error);
    std::fs::create_dir_all(folder).map_err(at)?;
    let archive = Path::new(folder).join(format!(".incoming-{}", std::process::id()));
    let response = cx.client.send(Method::GET, &format!("/images/{}/get", encode(id)), None, &[]).await?;
    receive(response, Some(&archive)).await?;
    let unpacked = std::fs::File::open(&archive).and_then(|file| tar::Archive::new(file).unpack(folder));
    let removed = std::fs::remove_file(&archive);
    unpacked.and(removed).map_err(at)
}

/// Puts an image into a registry, under a name that it keeps here.
async fn push(cx: &mut Context, name: &str, id: &str) -> Result<(), Failure> {
    let wanted = reference::parse(name)?.or_latest();
    let tag = wanted.tag.clone().unwrap_or_default();
    let repository = wanted.familiar_name();
    let path = with_query(&format!("/images/{}/tag", encode(id)), &[("repo", &repository), ("tag", &tag)]);
    cx.client.post(&path, None).await?;
    let path = with_query(&format!("/images/{}/push", encode(&repository)), &[("tag", &tag)]);
    let headers = [("x-registry-auth", credentials::header(&mut cx.config, &wanted.domain))];
    let response = cx.client.send(Method::POST, &path, None, &headers).await?;
    show(&mut Lines::of(response), &mut Screen::nowhere(), |_| {}).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_have_places() {
        let place = |flag: &str| place("cache-from", flag, "src").ok();
        assert_eq!(place("a,b:1"), Some(Place::Images(vec!["a".into(), "b:1".into()])));
        assert_eq!(place("type=registry,ref=h/a:1"), Some(Place::Registry("h/a:1".into())));
        assert_eq!(place("type=local,src=/c,mode=min"), Some(Place::Folder("/c".into())));
        assert_eq!(place("type=inline"), Some(Place::Inline));
        for wrong in [
            "type=registry",
            "type=local",
            "type=gha",
            "type=local,src=x,mode=max",
            "type=registry,x",
            "ref=a",
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
