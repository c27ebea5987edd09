//! # Builds: `POST /build`, a context and a Dockerfile become an image
//!
//! ```text
//!   body (tar) ─► context ─┐        (a spool: not unpacked)
//!                          ├─► stages ─► step by step ─► image, tags
//!   Dockerfile ─► plan ────┘              cache? ─► its layer
//!                                         RUN ─► a container, its difference
//!                                         COPY, ADD, WORKDIR ─► a stack that is written to
//! ```
//!
//! The words of the stream are those of Docker's classic builder, which every client shows.
//! Reading order: what was asked for ([`request`]), the context ([`context`], `rules`, [`tree`]), the words
//! ([`words`], and [`announce`] for clients with a view of their own), the stages side by side ([`builder`], `checks`, `task`, [`stage`]), what a step is called (`history`)
//! what is known of it (`remember`) and what is kept of stages (`inner`), the steps that make layers (`steps`), and how each kind of
//! them is done ([`run`] with `mounts`, [`session`] and [`caches`], which `prune` empties; [`copy`] with [`files`], `matches`, `beneath` and [`remote`]).
//!
//! Invariants: a build that fails, or whose client leaves, leaves no container, mount or
//! folder; the image is there only when its last step is done.

pub mod request;

pub mod context;

mod rules;

pub mod tree;

pub mod words;

pub mod announce;

pub mod builder;

mod checks;

mod task;

pub mod stage;

mod history;

mod remember;

mod steps;

mod inner;

pub mod session;

pub mod caches;

pub(crate) mod prune;

mod mounts;

pub mod run;

pub mod remote;

pub mod copy;

pub mod files;

mod matches;

mod beneath;

use crate::call::Call;
use crate::config::Config;
use crate::error::Error;
use crate::images::{credentials, stream};
use crate::pipe;
use crate::reply::Reply;

/// `ImageBuild`.
pub(crate) async fn build(mut call: Call) -> Reply {
    let body = pipe::request(call.take_body());
    let wish = request::Wish::of(&call)?;
    let lent = call.engine.builds.sessions.of_build(call.header(session::HEADER))?;
    let auth = credentials::read_all(call.header("x-registry-config"));
    let part = call.operation.clone().ok_or_else(|| Error::internal("a build needs an operation"))?;
    let (sender, lines) = stream::lines();
    let (engine, trace) = stream::parts(&call);
    let gone = call.gone();
    let manner = match (wish.quiet, wish.steps) {
        (true, _) => announce::Manner::Quiet,
        (false, true) => announce::Manner::Steps,
        (false, false) => announce::Manner::Classic,
    };
    let words = words::Words::new(sender.clone(), manner);
    let heard = Box::new(words.heard());
    let kept = std::sync::Arc::clone(&part);
    let work = async move {
        let place = wish.dockerfile.clone();
        let context = match &wish.remote {
            Some(remote) => {
                let keep = wish.arguments.contains_key(request::KEEP_GIT);
                Box::pin(context::Context::fetch(&engine, &trace, remote, &place, keep)).await?
            }
            None => {
                let receive = move |engine: &_| context::Context::receive(root_of(engine), body, &place);
                engine.blocking(receive).await?
            }
        };
        Box::pin(builder::Builder { engine, trace, part: kept, wish, auth, words, context, lent }.build())
            .await
    };
    Box::pin(stream::reply_unless(gone, Some(part), sender, lines, heard, Box::pin(work))).await
}

fn root_of(engine: &std::sync::Arc<crate::engine::Engine>) -> &std::path::Path {
    &engine.config.root
}

/// What builds share.
#[derive(Debug, Default)]
pub struct Builds {
    /// What clients lend to builds that they are about to ask for.
    pub sessions: std::sync::Arc<session::Sessions>,
    /// The caches of `RUN --mount=type=cache`.
    pub caches: caches::Caches,
}

/// Removes what builds left that a crash ended.
///
/// # Errors
///
/// If a folder is there and can't be removed.
pub fn sweep(config: &Config) -> Result<(), Error> {
    context::sweep(&config.root)?;
    match std::fs::remove_dir_all(mounts::run_folder(&config.run_dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
