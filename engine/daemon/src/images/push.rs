//! `ImagePush`: `POST /images/{name}/push?tag=…`.

use std::collections::HashMap;
use std::sync::Arc;

use glassdock_image::Reference;
use glassdock_registry::client::Progress;
use serde_json::json;

use super::progress::{self, Layers, Lines};
use super::{credentials, stream, tell};
use crate::call::Call;
use crate::error::Error;
use crate::reply::Reply;

pub(crate) async fn push(call: Call) -> Reply {
    let name = Reference::parse(call.param("name"))?;
    if name.digest().is_some() {
        return Err(Error::invalid("cannot push a digest reference"));
    }
    let reference = match call.query("tag").filter(|tag| !tag.is_empty()) {
        Some(tag) => name.with_tag(tag)?,
        None => name.with_default_tag(),
    };
    let credentials = credentials::read(call.header("x-registry-auth"));
    let Some(image) = call.engine.images.by_name(&reference) else {
        let name = reference.familiar_name();
        return Err(Error::not_found(format!("An image does not exist locally with the tag: {name}")));
    };
    // A push shows what the user's history shows: diff ids, not the blobs' digests.
    let called: HashMap<_, _> = image
        .layers
        .iter()
        .map(|layer| (layer.blob.digest.clone(), layer.diff_id.0.short().to_owned()))
        .collect();
    let (sender, lines) = stream::lines();
    let first = progress::status(None, &format!("The push refers to repository [{}]", reference.name()));
    let progress = Arc::new(Lines::new(sender.clone(), Layers::Push(called), first));
    let (engine, trace) = stream::parts(&call);
    let work = async move {
        let shown: Arc<dyn Progress> = Arc::clone(&progress) as _;
        progress.begin();
        let push = engine.registry.push(&trace, &reference, credentials.as_ref(), &engine.images, shown);
        let pushed = push.await?;
        let tag = reference.tag().unwrap_or_default();
        let (digest, size) = (pushed.digest.to_string(), pushed.size);
        progress.send(progress::status(None, &format!("{tag}: digest: {digest} size: {size}")));
        progress.send(progress::aux(json!({ "Tag": tag, "Digest": digest, "Size": size })));
        let (known, id) = (reference.with_digest(&pushed.digest), image.id.clone());
        engine.blocking(move |engine| engine.images.note_digest(&id, &known)).await?;
        tell(&engine, "push", &image.id, &reference.familiar(), &image.config.config.labels);
        Ok(())
    };
    stream::reply(call.operation, sender, lines, work).await
}
