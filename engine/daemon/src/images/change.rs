//! `ImageTag`, `ImageDelete`, `ImagePrune`.

use glassdock_image::Reference;
use glassdock_image::images::Removed;
use serde::Serialize;

use super::{tell, users};
use crate::call::Call;
use crate::error::Error;
use crate::reply::{self, Reply};

/// `POST /images/{name}/tag?repo=…&tag=…`
pub(crate) async fn tag(call: Call) -> Reply {
    let mut reference = Reference::parse(call.query("repo").unwrap_or_default())?;
    if reference.digest().is_some() {
        return Err(Error::invalid("refusing to create a tag with a digest reference"));
    }
    if let Some(tag) = call.query("tag").filter(|tag| !tag.is_empty()) {
        reference = reference.with_tag(tag)?;
    }
    let reference = reference.with_default_tag();
    let (name, trace) = (call.param("name").to_owned(), call.trace.clone());
    call.engine
        .blocking(move |engine| {
            let image = engine.images.resolve(&name)?;
            engine.images.tag(&trace, &image.id, &reference)?;
            tell(engine, "tag", &image.id, &reference.familiar(), &image.config.config.labels);
            Ok::<_, Error>(())
        })
        .await?;
    Ok(reply::empty(http::StatusCode::CREATED))
}

/// One line of `ImageDeleteResponseItem`.
#[derive(Serialize)]
enum Line {
    Untagged(String),
    Deleted(String),
}

impl From<&Removed> for Line {
    fn from(removed: &Removed) -> Self {
        match removed {
            Removed::Untagged { reference, .. } => Self::Untagged(reference.clone()),
            Removed::Image(id) => Self::Deleted(id.to_string()),
            Removed::Layer(chain) => Self::Deleted(chain.to_string()),
        }
    }
}

/// `DELETE /images/{name}?force=…`
pub(crate) async fn delete(call: Call) -> Reply {
    let (name, force, trace) = (call.param("name").to_owned(), call.flag("force"), call.trace.clone());
    if name.trim().is_empty() {
        return Err(Error::invalid("image name cannot be blank"));
    }
    let removed = call
        .engine
        .blocking(move |engine| {
            let removed = engine.images.delete(&trace, &name, force, &users(engine))?;
            tell_removed(engine, &removed);
            Ok::<_, Error>(removed)
        })
        .await?;
    reply::json(&removed.iter().map(Line::from).collect::<Vec<_>>())
}

fn tell_removed(engine: &crate::engine::Engine, removed: &[Removed]) {
    for removed in removed {
        match removed {
            // Docker names the image, not the tag, here too.
            Removed::Untagged { image, .. } => {
                tell(engine, "untag", image, &image.to_string(), &std::collections::BTreeMap::new());
            }
            Removed::Image(id) => {
                tell(engine, "delete", id, &id.to_string(), &std::collections::BTreeMap::new())
            }
            Removed::Layer(_) => {}
        }
    }
}

/// `ImagePruneResponse`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    images_deleted: Option<Vec<Line>>,
    space_reclaimed: u64,
}

/// `POST /images/prune?filters=…`: images without a tag that nothing uses; with
/// `dangling=false`, all that nothing uses. What interrupted pulls left goes too.
pub(crate) async fn prune(call: Call) -> Reply {
    let filters = call.filters()?;
    filters.only(&["dangling", "label", "label!", "until"])?;
    let dangling = filters.truth("dangling")?.unwrap_or(true);
    let until = crate::system::until_of(&filters)?;
    let trace = call.trace.clone();
    let pruned = call
        .engine
        .blocking(move |engine| {
            let (images, using) = (&engine.images, users(engine));
            let before = images.usage()?;
            let mut removed = Vec::new();
            for image in images.list() {
                let tagged = image.references.iter().any(|name| name.digest().is_none());
                let keep = (dangling && tagged)
                    || !using(&image.id).is_empty()
                    || until.is_some_and(|until| i128::from(image.created_ns()) >= until.as_nanosecond())
                    || !filters.labels_fit(&image.config.config.labels);
                if keep {
                    continue;
                }
                // Name by name, so that an image with names in several repositories goes too.
                let names: Vec<String> = match image.references.as_slice() {
                    [] => vec![image.id.to_string()],
                    names => names.iter().map(ToString::to_string).collect(),
                };
                for name in names {
                    match images.delete(&trace, &name, false, &using) {
                        Ok(more) => removed.extend(more),
                        // The last tag took the digests along; or a container came meanwhile.
                        Err(
                            glassdock_image::images::Error::NotFound(_)
                            | glassdock_image::images::Error::Conflict(_),
                        ) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            tell_removed(engine, &removed);
            let reclaimed = images.collect(&using)?;
            let after = images.usage()?;
            let partial = reclaimed.blobs.saturating_sub(before.blobs.saturating_sub(after.blobs));
            let space = before.layers.saturating_sub(after.layers)
                + before.blobs.saturating_sub(after.blobs)
                + partial;
            let lines: Vec<Line> = removed.iter().map(Line::from).collect();
            engine.events.emit("image", "prune", "", [("reclaimed".to_owned(), space.to_string())].into());
            Ok::<_, Error>(Pruned {
                images_deleted: (!lines.is_empty()).then_some(lines),
                space_reclaimed: space,
            })
        })
        .await?;
    reply::json(&pruned)
}
