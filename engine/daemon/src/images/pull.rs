//! `ImageCreate`: `POST /images/create?fromImage=…&tag=…`, a pull.

use std::collections::HashSet;
use std::sync::Arc;

use glassdock_image::{Digest, Platform, Reference};
use glassdock_registry::client::{Progress, Pulled};

use super::progress::{self, Layers, Lines};
use super::{credentials, stream};
use crate::call::Call;
use crate::error::Error;
use crate::reply::Reply;

pub(crate) async fn create(call: Call) -> Reply {
    let Some(image) = call.query("fromImage").filter(|image| !image.is_empty()) else {
        let source = call.query("fromSrc").filter(|source| !source.is_empty());
        let source =
            source.ok_or_else(|| Error::invalid("one of fromImage and fromSrc is needed"))?.to_owned();
        let platform = platform(call.query("platform").unwrap_or_default())?;
        return super::import::import(call, source, platform).await;
    };
    let reference = reference(image, call.query("tag").unwrap_or_default())?;
    let platform = platform(call.query("platform").unwrap_or_default())?;
    let credentials = credentials::read(call.header("x-registry-auth"));
    let tag = reference
        .digest()
        .map_or_else(|| reference.tag().unwrap_or_default().to_owned(), ToString::to_string);
    let (sender, lines) = stream::lines();
    let before = call.engine.images.list();
    let here = before.iter().flat_map(|image| &image.layers).map(|layer| layer.blob.digest.clone()).collect();
    let known: HashSet<Digest> = before.iter().map(|image| image.id.clone()).collect();
    let first = progress::status(Some(&tag), &format!("Pulling from {}", reference.path()));
    let progress = Arc::new(Lines::new(sender.clone(), Layers::Pull(here), first));
    let (engine, trace) = stream::parts(&call);
    let work = async move {
        let shown: Arc<dyn Progress> = Arc::clone(&progress) as _;
        let pull =
            engine.registry.pull(&trace, &reference, &platform, credentials.as_ref(), &engine.images, shown);
        let pulled = pull.await?;
        progress.begin();
        if !known.contains(&pulled.image.id) {
            progress.release();
        }
        finish(&engine, &progress, &reference, &pulled);
        Ok(())
    };
    stream::reply(call.operation, sender, lines, work).await
}

/// The last lines, and the event.
fn finish(engine: &crate::engine::Engine, lines: &Lines, reference: &Reference, pulled: &Pulled) {
    let name = reference.familiar();
    lines.send(progress::status(None, &format!("Digest: {}", pulled.digest)));
    let outcome = if pulled.up_to_date { "Image is up to date for" } else { "Downloaded newer image for" };
    lines.send(progress::status(None, &format!("Status: {outcome} {name}")));
    // The one event of images whose subject is the name, not the id.
    let mut attributes = pulled.image.config.config.labels.clone();
    attributes.insert("name".to_owned(), reference.familiar_name());
    engine.events.emit("image", "pull", &name, attributes);
}

/// The reference that `fromImage` and `tag` make: the tag may be a digest.
fn reference(image: &str, tag: &str) -> Result<Reference, Error> {
    let reference = Reference::parse(image)?;
    let reference = match (tag, Digest::parse(tag)) {
        ("", _) => reference,
        (_, Ok(digest)) => reference.with_digest(&digest),
        (tag, Err(_)) => reference.with_tag(tag)?,
    };
    Ok(reference.with_default_tag())
}

fn platform(text: &str) -> Result<Platform, Error> {
    if text.is_empty() {
        return Ok(Platform::host());
    }
    super::platform::named(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_may_be_a_digest() {
        let digest = Digest::of(b"").to_string();
        assert_eq!(reference("web", "").expect("fits").familiar(), "web:latest");
        assert_eq!(reference("web:1", "2").expect("fits").familiar(), "web:2");
        assert_eq!(reference("web", &digest).expect("fits").familiar(), format!("web@{digest}"));
        assert_eq!(reference("Web", "").expect_err("capitals").status(), http::StatusCode::BAD_REQUEST);
        assert!(platform("linux/amd64").is_ok() && platform("a/b/c/d").is_err());
    }
}
