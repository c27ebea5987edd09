//! `--cache-from` and `--cache-to`: where steps are looked for that were done elsewhere, and where
//! this build's are kept.
//!
//! An image is its own cache: its history says which step made which layer. So a cache is an image,
//! here, in a registry, or in a folder (an OCI layout). With `mode=max` it is several: the image, and one of each
//! stage that it copies from; in a registry these have the image's tag with `.stage-1`, `.stage-2`, … after it.

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::super::archive::receive;
use super::super::pull;
use super::super::reference::{self, Reference};
use super::context::folder_stream;
use crate::client::messages::{Lines, Screen, show};
use crate::client::{encode, with_query};
use crate::config::credentials;
use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::show::output::complain;
use crate::words::Args;

/// So many stages of a cache in a registry are asked for.
const MOST_STAGES: usize = 1000;

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
                names.push(name.clone());
                names.extend(pull(cx, args, &name).await?);
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

/// Keeps a built image where the flags say, and the images of its stages where all steps are to be kept; `None`
/// of an engine that told of no stages.
pub(crate) async fn to(
    cx: &mut Context,
    args: &Args,
    id: &str,
    stages: Option<Vec<String>>,
) -> Result<(), Failure> {
    for flag in args.all("cache-to").map(str::to_owned).collect::<Vec<_>>() {
        let (place, all) = read("cache-to", &flag, "dest")?;
        if all && stages.is_none() {
            complain(format!("WARNING: {flag}: this engine keeps the steps of the image itself only"));
        }
        let ids: Vec<&str> =
            [id].into_iter().chain(stages.iter().flatten().map(String::as_str).filter(|_| all)).collect();
        match place {
            Place::Inline => {}
            Place::Images(_) => {
                return Err(Failure::say(format!("invalid cache-to {flag:?}: a type is needed")));
            }
            Place::Registry(name) => {
                for (number, id) in ids.into_iter().enumerate() {
                    push(cx, stage_of(&name, number)?, id).await?;
                }
            }
            Place::Folder(folder) => save(cx, &folder, &ids).await?,
        }
    }
    Ok(())
}

/// Whether the images of stages are needed.
pub(crate) fn wants_stages(args: &Args) -> Result<bool, Failure> {
    let mut all = false;
    for flag in args.all("cache-to") {
        all |= read("cache-to", flag, "dest")?.1;
    }
    Ok(all)
}

/// The name of a cache in a registry, or, from 1 on, that of a stage in it.
fn stage_of(name: &str, number: usize) -> Result<Reference, Failure> {
    let mut reference = reference::parse(name)?.or_latest();
    if let (Some(tag), 1..) = (&mut reference.tag, number) {
        tag.push_str(&format!(".stage-{number}"));
    }
    Ok(reference)
}

/// Pulls the images of a cache; the names of those that are of stages.
async fn pull(cx: &mut Context, args: &Args, name: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for number in 0..=MOST_STAGES {
        let wanted = stage_of(name, number)?;
        if number > 0 && wanted.tag.is_none() {
            // A digest names one image.
            break;
        }
        match pull::pull_for_run(cx, &wanted, args.text("platform"), true).await {
            Ok(()) if number == 0 => {}
            Ok(()) => names.push(wanted.familiar()),
            // A first build has no cache yet: that is no reason not to build. Without stages it is of mode=min.
            Err(failure) => {
                if number == 0 || !failure.message.contains("manifest unknown") {
                    complain(format!("WARNING: no cache from {}: {failure}", wanted.familiar()));
                }
                break;
            }
        }
    }
    Ok(names)
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
    read(name, flag, folder_key).map(|(place, _)| place)
}

/// A place, and whether the steps of all stages are kept there.
fn read(name: &str, flag: &str, folder_key: &str) -> Result<(Place, bool), Failure> {
    let invalid = |reason: String| Failure::say(format!("invalid {name} {flag:?}: {reason}"));
    if !flag.contains('=') {
        return Ok((Place::Images(flag.split(',').map(str::to_owned).collect()), false));
    }
    let (mut kind, mut reference, mut folder, mut all) = ("", "", "", false);
    for field in flag.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| invalid(format!("field {field:?} must be a key=value pair")))?;
        match key {
            "type" => kind = value,
            "ref" => reference = value,
            key if key == folder_key => folder = value,
            "mode" if matches!(value, "min" | "max") => all = value == "max",
            "mode" => return Err(invalid(format!("unknown mode {value:?}: expected min or max"))),
            other => return Err(invalid(format!("unexpected key {other:?}"))),
        }
    }
    let place = match (kind, reference, folder) {
        ("inline", "", "") if all => {
            Err(invalid("an image has room for its own steps only, mode=min".to_owned()))
        }
        ("inline", "", "") => Ok(Place::Inline),
        ("registry", reference, "") if !reference.is_empty() => Ok(Place::Registry(reference.to_owned())),
        ("registry", ..) => Err(invalid("it needs a ref=IMAGE".to_owned())),
        ("local", "", folder) if !folder.is_empty() => Ok(Place::Folder(folder.to_owned())),
        ("local", ..) => Err(invalid(format!("it needs a {folder_key}=FOLDER"))),
        (other, ..) => Err(invalid(format!("unknown type {other:?}: expected registry, local or inline"))),
    };
    place.map(|place| (place, all))
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

/// Puts images into a folder, as an OCI layout.
async fn save(cx: &mut Context, folder: &str, ids: &[&str]) -> Result<(), Failure> {
    let at = |error: std::io::Error| file_failure("write", folder, &error);
    std::fs::create_dir_all(folder).map_err(at)?;
    let archive = Path::new(folder).join(format!(".incoming-{}", std::process::id()));
    let names: Vec<(&str, &str)> = ids.iter().map(|id| ("names", *id)).collect();
    let response = cx.client.send(Method::GET, &with_query("/images/get", &names), None, &[]).await?;
    receive(response, Some(&archive)).await?;
    let unpacked = std::fs::File::open(&archive).and_then(|file| tar::Archive::new(file).unpack(folder));
    let removed = std::fs::remove_file(&archive);
    unpacked.and(removed).map_err(at)
}

/// Puts an image into a registry, under a name that it keeps here.
async fn push(cx: &mut Context, wanted: Reference, id: &str) -> Result<(), Failure> {
    let tag = wanted.tag.as_deref().unwrap_or_default();
    let repository = wanted.familiar_name();
    let path = with_query(&format!("/images/{}/tag", encode(id)), &[("repo", &repository), ("tag", tag)]);
    cx.client.post(&path, None).await?;
    let path = with_query(&format!("/images/{}/push", encode(&repository)), &[("tag", tag)]);
    let headers = [("x-registry-auth", credentials::header(&mut cx.config, &wanted.domain))];
    let response = cx.client.send(Method::POST, &path, None, &headers).await?;
    show(&mut Lines::of(response), &mut Screen::nowhere(), |_| {}).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_says_whether_stages_are_kept() {
        let all = |flag: &str| read("cache-to", flag, "dest").map(|(_, all)| all).ok();
        assert_eq!(all("type=local,dest=/c,mode=max"), Some(true));
        assert_eq!(all("type=registry,ref=a,mode=min"), Some(false));
        assert_eq!(all("type=registry,ref=a"), Some(false));
        let name = |number| stage_of("h:1/a", number).ok().and_then(|stage| stage.tag);
        assert_eq!((name(0), name(2)), (Some("latest".to_owned()), Some("latest.stage-2".to_owned())));
    }

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
            "type=local,src=x,mode=most",
            "type=inline,mode=max",
            "type=registry,x",
            "ref=a",
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
