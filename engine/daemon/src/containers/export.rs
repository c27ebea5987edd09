//! `ContainerExport` and `ContainerChanges`: a container's files as one archive, and
//! what it changed; `docker export`, `docker diff`.

use std::path::Path;
use std::sync::Arc;

use glassdock_image::layer::pack;
use glassdock_registry::task;
use glassdock_trace::Body;
use serde_json::json;

use super::view;
use crate::call::Call;
use crate::error::Error;
use crate::pipe;
use crate::reply::{self, Reply};

/// `GET /containers/{id}/export`: all of its layers as one tree. What is mounted in it (volumes,
/// `/proc`) is not its own, and is left out.
pub(crate) async fn export(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let (writer, body) = pipe::reply();
    let (tell, told) = tokio::sync::oneshot::channel();
    let (work, trace, operation) = (Arc::clone(&container), call.trace.clone(), call.operation.clone());
    task::spawn(async move {
        // What is read is told to the end of the stream too.
        let _operation = operation;
        // Held to the end of the stream.
        let _life = match view::hold(&work).await {
            Ok(life) => life,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let inside = Arc::clone(&work);
        let sent = task::spawn_blocking(move || {
            let (mut writer, mut tell) = (writer, Some(tell));
            let result = view::layers(&inside, &trace, |root| {
                let top = root.resolve(Path::new("/"))?;
                if let Some(tell) = tell.take() {
                    let _ = tell.send(Ok(()));
                }
                let (shown, path) = (root.path().display().to_string(), "/".to_owned());
                let body = Body::FilesRead { root: shown, path, entries: None, bytes: None };
                trace.step(body, |span| {
                    let packed = pack::directory(top.into(), b"", &mut writer)?;
                    if let Body::FilesRead { entries, bytes, .. } = span.body_mut() {
                        (*entries, *bytes) = (Some(packed.entries), Some(packed.bytes));
                    }
                    Ok::<_, Error>(())
                })
            });
            match (tell, result) {
                (Some(tell), Err(error)) => drop(tell.send(Err(error))),
                (_, result) => writer.end(result),
            }
        });
        if let Err(error) = sent.await {
            tracing::error!(%error, "an export panicked");
        }
    });
    told.await.map_err(|_| Error::internal("the export ended before it began"))??;
    container.emit(&call.engine, "export", &[]);
    Ok(reply::stream("application/octet-stream", body))
}

/// `GET /containers/{id}/changes`: each changed path, and what became of it; `null` for none.
pub(crate) async fn changes(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let trace = call.trace.clone();
    let look = move |engine: &Arc<crate::engine::Engine>| {
        let lower = container.look(|record| record.layers.clone());
        engine.images.layers().changes(&trace, &container.bundle.path("upper"), &lower)
    };
    let changes = call.engine.blocking(look).await?;
    let shown: Vec<_> = changes
        .iter()
        .map(|change| json!({ "Path": String::from_utf8_lossy(&change.path), "Kind": change.kind as u8 }))
        .collect();
    reply::json(&(!shown.is_empty()).then_some(shown))
}
