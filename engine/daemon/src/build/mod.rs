//! # Builds: `POST /build`, a context and a Dockerfile become an image
//!
//! ```text
//!   body (tar) ─► context ─┐
//!                          ├─► stages ─► step by step ─► image, tags
//!   Dockerfile ─► plan ────┘              cache? ─► its layer
//!                                         RUN ─► a container, its difference
//!                                         COPY, ADD, WORKDIR ─► a stack that is written to
//! ```
//!
//! The words of the stream are those of Docker's classic builder, which every client shows.
//! Reading order: what was asked for ([`request`]), the context ([`context`]), the words
//! ([`words`]), the steps ([`builder`], [`stage`]), and how each kind of them is done ([`run`]
//! with `mounts`, [`copy`] with [`files`]).
//!
//! Invariants: a build that fails, or whose client leaves, leaves no container, mount or
//! folder; the image is there only when its last step is done.

pub mod request;

pub mod context;

pub mod words;

pub mod builder;

pub mod stage;

mod mounts;

pub mod run;

pub mod copy;

pub mod files;

use std::path::Path;

use crate::call::Call;
use crate::error::Error;
use crate::images::{credentials, stream};
use crate::pipe;
use crate::reply::{self, Reply};

/// `ImageBuild`.
pub(crate) async fn build(mut call: Call) -> Reply {
    let body = pipe::request(call.take_body());
    let wish = request::Wish::of(&call)?;
    let auth = credentials::read_all(call.header("x-registry-config"))?;
    let part = call.operation.clone().ok_or_else(|| Error::internal("a build needs an operation"))?;
    let (sender, lines) = stream::lines();
    let (engine, trace) = stream::parts(&call);
    let told = sender.clone();
    let kept = std::sync::Arc::clone(&part);
    let work = async move {
        let place = wish.dockerfile.clone();
        let context = engine
            .blocking(move |engine| context::Context::receive(&engine.config.root, body, &place))
            .await?;
        Box::pin(builder::Builder { engine, trace, part: kept, wish, auth, told, context }.build()).await
    };
    Box::pin(stream::reply(Some(part), sender, lines, Box::pin(work))).await
}

/// `BuildPrune`: the cache forgets its steps, and what `RUN --mount=type=cache` kept goes. Layers stay as
/// long as images have them; `docker image prune` removes the others.
pub(crate) async fn prune(call: Call) -> Reply {
    let pruned = call.engine.blocking(|engine| {
        let state = engine.images.state();
        let mut keys = Vec::new();
        for kind in ["build-cache", "build-last"] {
            for document in state.all(kind)? {
                state.delete(kind, &document.id)?;
                if kind == "build-cache" {
                    keys.push(document.id);
                }
            }
        }
        let kept = engine.config.root.join("build-cache");
        let space = files::size(&kept);
        match std::fs::remove_dir_all(&kept) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::from(error)),
            _ => Ok((keys, space)),
        }
    });
    let (keys, space) = pruned.await?;
    reply::json(&serde_json::json!({ "CachesDeleted": keys, "SpaceReclaimed": space }))
}

/// Removes what builds left that a crash ended.
///
/// # Errors
///
/// If the folder is there and can't be removed.
pub fn sweep(root: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(root.join("builds")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
