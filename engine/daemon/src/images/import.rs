//! `ImageCreate` with `fromSrc`: a file system in an archive becomes an image of one layer.

use std::io::{self, Write};

use axum::body::Body;
use glassdock_image::config::{Config, History, Process, RootFs};
use glassdock_image::{Platform, Reference};
use glassdock_registry::client::Error as RegistryError;
use glassdock_trace::Trace;

use super::commit::named;
use super::{instructions, progress, stream, tell};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::pipe;
use crate::reply::Reply;

/// What the image is told.
struct Wish {
    reference: Option<Reference>,
    process: Process,
    message: String,
    platform: Platform,
}

/// `POST /images/create?fromSrc=…`: `-` for the request's body, or an address.
pub(super) async fn import(mut call: Call, source: String, platform: Platform) -> Reply {
    let given = pipe::request(call.take_body());
    let mut process = Process::default();
    instructions::apply(call.query_all("changes"), &mut process)?;
    let message = call.query("message").filter(|message| !message.is_empty()).map(str::to_owned);
    let wish = Wish {
        reference: named(call.query("repo"), call.query("tag"))?,
        process,
        message: message.unwrap_or_else(|| format!("Imported from {source}")),
        platform,
    };
    let (sender, lines) = stream::lines();
    let told = sender.clone();
    let (engine, trace) = stream::parts(&call);
    let work = async move {
        let archive = if source == "-" {
            given
        } else {
            let address = if source.contains("://") { source } else { format!("http://{source}") };
            let fetched = engine.registry.fetch(&trace, &address).await.map_err(|error| match error {
                // What is no address at all.
                RegistryError::Setup { .. } => Error::invalid(error.to_string()),
                error => error.into(),
            })?;
            let _ = told.send(progress::status(None, &format!("Downloading from {address}")));
            pipe::request(Body::from_stream(fetched))
        };
        let inside = trace.clone();
        let id = engine.blocking(move |engine| make(engine, &inside, archive, &wish)).await?;
        let _ = told.send(progress::status(None, &id));
        Ok(())
    };
    stream::reply(call.operation, sender, lines, work).await
}

fn make(engine: &Engine, trace: &Trace, mut archive: pipe::Reader, wish: &Wish) -> Result<String, Error> {
    let images = &engine.images;
    let lease = images.lease();
    let mut blob = images.store().fresh().map_err(|error| Error::of(Kind::Internal, &error))?;
    let mut writer = io::BufWriter::with_capacity(128 * 1024, &mut blob);
    io::copy(&mut archive, &mut writer)?;
    writer.flush()?;
    drop(writer);
    blob.seal();
    let made = images.adopt_layer(trace, &lease, blob, None, &[])?;
    let now = crate::containers::create::now();
    let step =
        History { created: Some(now.clone()), comment: Some(wish.message.clone()), ..History::default() };
    let config = Config {
        architecture: wish.platform.architecture.clone(),
        os: wish.platform.os.clone(),
        variant: wish.platform.variant.clone(),
        created: Some(now),
        comment: Some(wish.message.clone()),
        config: wish.process.clone(),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![made.diff_id] },
        history: vec![step],
        ..Config::default()
    };
    let bytes = serde_json::to_vec(&config).map_err(|error| Error::of(Kind::Internal, &error))?;
    let image = images.assemble(trace, &lease, &bytes, vec![made.blob], wish.reference.as_slice())?;
    let (id, labels) = (image.id.to_string(), &image.config.config.labels);
    if let Some(reference) = &wish.reference {
        tell(engine, "tag", &image.id, &reference.familiar(), labels);
    }
    tell(engine, "import", &image.id, &id, labels);
    Ok(id)
}
