//! `ImageLoad`: `POST /images/load`, images come in an archive; `docker load`.

use std::cell::Cell;
use std::time::Instant;

use bytes::Bytes;
use glassdock_image::Platform;
use glassdock_image::images::{Loaded, Loading};
use glassdock_trace::Trace;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::{platform, progress, stream, tell};
use crate::call::Call;
use crate::engine::Engine;
use crate::error::Error;
use crate::pipe;
use crate::reply::Reply;

pub(crate) async fn load(mut call: Call) -> Reply {
    let quiet = call.flag_or("quiet", false);
    let platform = platform::of(&call)?;
    let (sender, lines) = stream::lines();
    let told = sender.clone();
    let (engine, trace) = stream::parts(&call);
    let mut archive = pipe::request(call.take_body());
    let operation = call.operation.clone();
    let work = async move {
        let told_inside = told.clone();
        let load = move |engine: &std::sync::Arc<Engine>| {
            load_all(engine, &trace, &mut archive, platform.as_ref(), &told_inside, quiet)
        };
        // Docker tells what went wrong in the stream, whenever it did.
        if let Err(error) = engine.blocking(load).await {
            if let Some(operation) = operation {
                operation.set_status(1);
            }
            let _ = told.send(progress::error(error.message()));
        }
        Ok(())
    };
    stream::reply(call.operation, sender, lines, work).await
}

fn load_all(
    engine: &Engine,
    trace: &Trace,
    archive: &mut pipe::Reader,
    platform: Option<&Platform>,
    lines: &UnboundedSender<Bytes>,
    quiet: bool,
) -> Result<(), Error> {
    let moved = Cell::new(Instant::now());
    let show = |loading: Loading| {
        let (layer, current, total) = match loading {
            Loading::Layer(layer, size) => (layer, 0, size),
            Loading::Some(..) if moved.get().elapsed() < progress::PACE => return,
            Loading::Some(layer, done, size) => (layer, done.min(size), size),
            Loading::Done(layer, size) => (layer, size, size),
        };
        moved.set(Instant::now());
        if !quiet {
            let _ = lines.send(progress::bar_of(layer.0.short(), "Loading layer", current, total));
        }
    };
    // What is for another platform is refused before anything of it is kept.
    let allow = |own: &Platform| {
        let wanted = platform.filter(|wanted| !platform::fits(own, wanted))?;
        Some(format!("the image is for {own}, not for the requested platform {wanted}"))
    };
    for loaded in engine.images.load_archive(trace, archive, &allow, &show)? {
        tell_loaded(engine, lines, &loaded);
    }
    Ok(())
}

fn tell_loaded(engine: &Engine, lines: &UnboundedSender<Bytes>, loaded: &Loaded) {
    let say = |text: String| {
        let _ = lines.send(Bytes::from(json!({ "stream": text }).to_string() + "\r\n"));
    };
    let id = loaded.image.id.to_string();
    let labels = &loaded.image.config.config.labels;
    for (name, old) in &loaded.moved {
        say(format!(
            "The image {} already exists, renaming the old one with ID {old} to empty string\n",
            name.familiar()
        ));
    }
    for name in &loaded.names {
        say(format!("Loaded image: {}\n", name.familiar()));
    }
    if loaded.names.is_empty() {
        say(format!("Loaded image ID: {id}\n"));
    }
    tell(engine, "load", &loaded.image.id, &id, labels);
}
