//! RUN: a real container on the layers so far, whose output is told as it comes.

use std::sync::Arc;

use glassdock_image::images::{Changed, Lease, Made};
use glassdock_registry::task;
use glassdock_runtime::Streams;
use glassdock_trace::Trace;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::copy::Below;
use super::mounts::Ready;
use super::words::{Words, short};
use crate::containers::container::Waiting;
use crate::containers::image::Found;
use crate::containers::model::{ContainerConfig, CreateRequest, HostConfig};
use crate::containers::record::Beside;
use crate::containers::{Container, create, remove, start, streams};
use crate::engine::Engine;
use crate::error::Error;
use crate::operations::Use;

/// A frame of output is at most so long, in bytes.
const LONGEST_FRAME: usize = 16 << 20;

/// A command that is run.
#[derive(Debug)]
pub struct Running<'a> {
    /// The engine.
    pub engine: &'a Arc<Engine>,
    /// The place in the trace.
    pub trace: &'a Trace,
    /// The build's operation.
    pub part: &'a Arc<Use>,
    /// Whom the output is told.
    pub words: &'a Words,
    /// Keeps what is made.
    pub lease: &'a Arc<Lease>,
    /// What it stands on.
    pub below: &'a Below,
    /// The id of the image so far.
    pub image: String,
    /// The image's config, as a container has it.
    pub config: ContainerConfig,
    /// How the container stands on the host.
    pub host: HostConfig,
    /// What it has beside its layers.
    pub(super) ready: &'a Ready,
    /// `SOURCE_DATE_EPOCH`
    pub latest: Option<i64>,
    /// Whether the container goes after it did well, and whether it always goes.
    pub remove: (bool, bool),
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// Well: with a layer, or without a change.
    Well(Option<Box<Made>>),
    /// With a status that isn't 0.
    Failed(i32),
}

impl Running<'_> {
    /// Runs the words, and makes a layer of what they changed.
    ///
    /// # Errors
    ///
    /// If the container can't be made or started, or its changes can't be read.
    pub async fn run(self, argv: Vec<String>, env: Vec<String>) -> Result<Ended, Error> {
        let request = CreateRequest {
            config: ContainerConfig {
                cmd: Some(argv),
                env,
                image: self.image.clone(),
                attach_stdout: true,
                attach_stderr: true,
                ..ContainerConfig::default()
            },
            host_config: self.host.clone(),
            ..CreateRequest::default()
        };
        let found =
            Found { id: self.image.clone(), config: self.config.clone(), layers: self.below.lower.clone() };
        let trace = self.trace.clone();
        let beside = Beside { passing: true, ..self.ready.beside.clone() };
        let made = self.engine.blocking(move |engine| {
            let (container, _) = create::make_of(engine, &trace, None, request, found, beside)?;
            // Should nobody wait any more, the container goes with this answer that nobody takes.
            let kept = Kept::new(engine, &container, &trace);
            Ok::<_, Error>((container, kept))
        });
        let (container, mut kept) = made.await?;
        container.emit(self.engine, "create", &[]);
        self.words.text(&format!(" ---> Running in {}\n", short(&container.id)));
        let mut progress = container.progress();
        let (give, coming) = oneshot::channel();
        let streams = Streams { stdin: false, stdout: true, stderr: true };
        container.waiting_clients().push(Waiting { streams, give });
        // A start that has begun comes to its end, whoever waits for it: only then can the container go.
        let (engine, starting) = (Arc::clone(self.engine), Arc::clone(&container));
        let (trace, part) = (self.trace.clone(), Arc::clone(self.part));
        task::spawn(async move { start::run(&engine, &starting, &trace, &part).await }).await??;
        if let Ok(stream) = coming.await {
            self.listen(streams::of_shim(stream)?).await;
        }
        let code = match progress.wait_for(|now| now.exits > 0).await {
            Ok(now) => now.code,
            Err(_) => return Err(Error::internal("the container of a step went away")),
        };
        if code != 0 {
            if self.remove.0 || self.remove.1 {
                self.words.text(&format!("Removing intermediate container {}\n", short(&container.id)));
                kept.remove().await?;
            } else {
                kept.keep().await?;
            }
            return Ok(Ended::Failed(code));
        }
        let (trace, lease, below) = (self.trace.clone(), Arc::clone(self.lease), self.below.clone());
        let (upper, latest, places) = (container.bundle.path("upper"), self.latest, self.ready.places());
        // A container that stays needs its changes itself.
        let take = self.remove.0;
        let made = self.engine.blocking(move |engine| {
            let changed = Changed {
                upper: &upper,
                lower: &below.lower,
                below: &below.diff_ids,
                latest,
                mounts: &places,
                take,
            };
            engine.images.commit_changes(&trace, &lease, changed)
        });
        let made = made.await?;
        if self.remove.0 {
            kept.remove().await?;
            self.words.text(&format!(" ---> Removed intermediate container {}\n", short(&container.id)));
        } else {
            kept.keep().await?;
        }
        Ok(Ended::Well(made.map(Box::new)))
    }

    /// Tells the output as it comes; what goes to standard error is red, as in Docker.
    async fn listen(&self, mut stream: tokio::net::UnixStream) {
        let mut rest = [Vec::new(), Vec::new()];
        let mut head = [0; 8];
        while stream.read_exact(&mut head).await.is_ok() {
            let [kind, _, _, _, size @ ..] = head;
            let length = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
            if length > LONGEST_FRAME {
                return;
            }
            let mut bytes = vec![0; length];
            if stream.read_exact(&mut bytes).await.is_err() {
                return;
            }
            let is_error = kind == 2;
            let held = &mut rest[usize::from(is_error)];
            held.extend_from_slice(&bytes);
            let text = take_text(held);
            if !text.is_empty() {
                self.words.output(&text, is_error);
                self.words.room().await;
            }
        }
    }
}

/// Takes what is whole text; a character whose end has not come stays.
fn take_text(bytes: &mut Vec<u8>) -> String {
    let whole = match str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    let rest = bytes.split_off(whole);
    let text = String::from_utf8_lossy(bytes).into_owned();
    *bytes = rest;
    text
}

/// Ends and removes the container, if the build doesn't come to it: a step that failed to start, or a
/// client that left.
struct Kept {
    engine: Arc<Engine>,
    container: Arc<Container>,
    trace: Trace,
    /// Whether the build has settled what becomes of it.
    over: bool,
}

impl Kept {
    fn new(engine: &Arc<Engine>, container: &Arc<Container>, trace: &Trace) -> Self {
        Self {
            engine: Arc::clone(engine),
            container: Arc::clone(container),
            trace: trace.clone(),
            over: false,
        }
    }

    /// The container goes now.
    async fn remove(&mut self) -> Result<(), Error> {
        let _life = self.container.life.lock().await;
        remove::remove(&self.engine, &self.container, &self.trace, true).await?;
        self.over = true;
        Ok(())
    }

    /// The container stays when its build is over, unless somebody removed it.
    async fn keep(&mut self) -> Result<(), Error> {
        self.over = true;
        let _life = self.container.life.lock().await;
        if self.engine.containers.find(&self.container.id).is_ok() {
            self.container.change(|record| record.beside.passing = false);
            self.engine.containers.save(&self.container)?;
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (engine, container, trace) =
            (Arc::clone(&self.engine), Arc::clone(&self.container), self.trace.clone());
        task::spawn(async move { remove::end_quietly(&engine, &container, &trace).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_told_whole() {
        let mut bytes = "aé".as_bytes()[..2].to_vec();
        assert_eq!(take_text(&mut bytes), "a");
        bytes.extend_from_slice(&"é".as_bytes()[1..]);
        assert_eq!((take_text(&mut bytes).as_str(), bytes.len()), ("é", 0));
        let mut broken = vec![b'a', 0xff, b'b'];
        assert_eq!(take_text(&mut broken), "a\u{fffd}b");
    }
}
