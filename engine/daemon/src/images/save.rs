//! `ImageGet`, `ImageGetAll`: images as one archive; `docker save`.

use std::sync::Arc;

use glassdock_image::images::Image;
use glassdock_image::{Digest, Images, Reference};
use glassdock_registry::task;

use super::{platform, tell};
use crate::call::Call;
use crate::error::{Error, Kind};
use crate::pipe;
use crate::reply::{self, Reply};

/// `GET /images/{name}/get`, `GET /images/get?names=…`
pub(crate) async fn save(call: Call) -> Reply {
    let mut names: Vec<String> =
        call.query_all("names").flat_map(|names| names.split(',')).map(str::to_owned).collect();
    if !call.param("name").is_empty() {
        names = vec![call.param("name").to_owned()];
    }
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Error::invalid("no image name given: say which images to save with the parameter names"));
    }
    let platform = platform::of(&call)?;
    let wanted = wanted(&call.engine.images, &names)?;
    if let Some(platform) = &platform {
        let other =
            |(image, _): &&(Arc<Image>, Vec<Reference>)| !platform::fits(&image.config.platform(), platform);
        if let Some((image, tags)) = wanted.iter().find(other) {
            let name = tags.first().map_or_else(|| image.id.to_string(), Reference::familiar);
            return Err(Error::not_found(format!(
                "image with reference {name} was found but does not provide the specified platform ({platform})"
            )));
        }
    }
    for (image, _) in &wanted {
        tell(&call.engine, "save", &image.id, &image.id.to_string(), &image.config.config.labels);
    }
    let (mut writer, body) = pipe::reply();
    let engine = Arc::clone(&call.engine);
    task::spawn_blocking(move || {
        // What is saved isn't collected meanwhile.
        let lease = engine.images.lease();
        for (image, _) in &wanted {
            lease.hold(&image.id);
            lease.hold(&image.manifest.digest);
            image.layers.iter().for_each(|layer| lease.hold(&layer.blob.digest));
        }
        let saved = engine.images.save_archive(&wanted, &mut writer);
        writer.end(saved.map_err(|error| Error::of(Kind::Internal, &error)));
    });
    Ok(reply::stream("application/x-tar", body))
}

type Wanted = Vec<(Arc<Image>, Vec<Reference>)>;

/// The images that the names mean, each once, with the tags among the names. A repository's name
/// without a tag means all of its tags.
fn wanted(images: &Images, names: &[String]) -> Result<Wanted, Error> {
    let mut wanted: Wanted = Vec::new();
    let mut want = |image: Arc<Image>, name: Option<Reference>| {
        let at = wanted.iter().position(|(known, _)| known.id == image.id);
        let at = at.unwrap_or_else(|| {
            wanted.push((image, Vec::new()));
            wanted.len() - 1
        });
        if let Some((_, tags)) = wanted.get_mut(at) {
            tags.extend(name.filter(|name| !tags.contains(name)));
        }
    };
    for name in names {
        let reference = Reference::parse(name).ok().filter(|_| Digest::parse(name).is_err());
        let bare = reference.as_ref().filter(|name| name.tag().is_none() && name.digest().is_none());
        if let Some(bare) = bare {
            let of_repository = |image: &Arc<Image>| {
                let tags = image.references.iter().filter(|tag| tag.digest().is_none());
                tags.filter(|tag| tag.name() == bare.name()).cloned().collect::<Vec<_>>()
            };
            let mut found = false;
            for image in images.list() {
                for tag in of_repository(&image) {
                    found = true;
                    want(Arc::clone(&image), Some(tag));
                }
            }
            if found {
                continue;
            }
        }
        let missing = |_| match &reference {
            Some(reference) if reference.tag().is_none() && reference.digest().is_none() => {
                Error::not_found(format!("No such image: {name}"))
            }
            _ => Error::not_found("reference does not exist"),
        };
        let image = images.resolve(name).map_err(missing)?;
        let tag = reference.filter(|name| name.tag().is_some() && name.digest().is_none());
        let tag = tag.filter(|tag| image.references.contains(tag));
        want(image, tag);
    }
    Ok(wanted)
}
