//! `ContainerLogs`: what a container wrote, and goes on writing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use glassdock_registry::task;
use glassdock_runtime::Streams;
use glassdock_runtime::log::{Entry, Query, Reader};

use super::attach::content_type;
use super::container::Container;
use super::logging;
use super::signal;
use crate::call::Call;
use crate::error::Error;
use crate::events::moment;
use crate::reply::{self, Reply};

/// Whoever follows looks for more so often while nothing comes.
const PAUSE: Duration = Duration::from_millis(50);

/// So old is a container at least when its log is read, unless it has ended.
const FIRST_WORDS: Duration = Duration::from_millis(100);

/// So much is read from the file before it is sent on.
const BATCH: usize = 32 * 1024;

/// `ContainerLogs`.
pub(crate) async fn logs(call: Call) -> Reply {
    let container = call.engine.containers.find(call.param("id"))?;
    let (stdout, stderr) = (call.flag("stdout"), call.flag("stderr"));
    if !stdout && !stderr {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    if container.look(|record| record.host_config.log_config.kind == "none") {
        return Err(Error::unsupported("configured logging driver does not support reading"));
    }
    let tail = match call.query("tail") {
        None | Some("" | "all") => None,
        // As in Docker, what is no number (or a negative one) means everything.
        Some(text) => text.parse::<u64>().ok(),
    };
    let query = Query {
        tail,
        since: moment(call.query("since"))?.map(i128::from),
        until: moment(call.query("until"))?.map(i128::from),
        stdout,
        stderr,
    };
    let tty = container.look(|record| record.config.tty);
    let show = Show {
        tty,
        timestamps: call.flag("timestamps"),
        details: call.flag("details").then(|| details(&container)),
    };
    let follow = call.flag("follow");
    if !follow {
        first_words(&container).await;
    }
    Ok(reply::stream(content_type(tty, call.version), read(container, query, show, follow)))
}

/// A client that starts a short command and asks for its log at once wants to see what that says. A start that takes
/// half a second has always given it the time; ours has to.
async fn first_words(container: &Container) {
    let started = container.look(|record| record.state.started_at.parse::<jiff::Timestamp>());
    let Ok(started) = started else { return };
    let age = jiff::Timestamp::now().duration_since(started).unsigned_abs();
    if let Some(left) = FIRST_WORDS.checked_sub(age) {
        signal::ends(container, Some(left)).await;
    }
}

/// Everything that a container has written so far, in frames.
pub(crate) fn past(
    container: &Arc<Container>,
    streams: Streams,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
    let query = Query { stdout: streams.stdout, stderr: streams.stderr, ..Query::default() };
    let show = Show { tty: container.look(|record| record.config.tty), timestamps: false, details: None };
    read(Arc::clone(container), query, show, false)
}

/// The labels and variables that `log-opts` names, as `--details` shows them.
fn details(container: &Container) -> String {
    container.look(|record| {
        let options = &record.host_config.log_config.config;
        let named = |name: &str| options.get(name).map(String::as_str).unwrap_or_default().to_owned();
        let (labels, variables) = (named("labels"), named("env"));
        let labels =
            labels.split(',').filter_map(|name| Some(format!("{name}={}", record.config.labels.get(name)?)));
        let variables = variables.split(',').filter_map(|name| {
            record.config.env.iter().find(|pair| pair.split('=').next() == Some(name)).cloned()
        });
        labels.chain(variables).collect::<Vec<_>>().join(",")
    })
}

/// How entries are shown.
#[derive(Clone, Debug)]
struct Show {
    tty: bool,
    timestamps: bool,
    details: Option<String>,
}

struct State {
    container: Arc<Container>,
    query: Query,
    /// Opened with the first poll; taken along to the thread that reads.
    reader: Option<Reader>,
    show: Show,
    follow: bool,
    /// Chunks that are read and not yet sent.
    ready: VecDeque<Bytes>,
    over: bool,
}

fn read(
    container: Arc<Container>,
    query: Query,
    show: Show,
    follow: bool,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let state = State { container, query, reader: None, show, follow, ready: VecDeque::new(), over: false };
    stream::try_unfold(state, |mut state| async move {
        loop {
            if let Some(bytes) = state.ready.pop_front() {
                return Ok(Some((bytes, state)));
            }
            if state.over {
                return Ok(None);
            }
            // Asked before reading: what was written before the end is read after it was seen.
            let past = state.query.until.is_some_and(|until| until < jiff::Timestamp::now().as_nanosecond());
            let goes_on = state.follow && !past && state.container.live().is_some();
            let (back, found) = task::spawn_blocking(move || batch(state)).await??;
            state = back;
            if found {
                continue;
            }
            if goes_on {
                tokio::time::sleep(PAUSE).await;
            } else {
                state.over = true;
            }
        }
    })
    .boxed()
}

/// Reads some entries; says whether there were any.
fn batch(mut state: State) -> Result<(State, bool), Error> {
    if state.reader.is_none() {
        let files = state
            .container
            .look(|record| logging::kept(&record.host_config.log_config).map_or(1, |kept| kept.max_file));
        let reader = Reader::open(&state.container.log_path(), files, &state.query)?;
        state.reader = Some(reader);
    }
    let Some(reader) = &mut state.reader else { return Ok((state, false)) };
    let mut bytes = BytesMut::new();
    while bytes.len() < BATCH {
        match reader.next_entry()? {
            Some(entry) => frame(&mut bytes, &entry, &state.show),
            None => break,
        }
    }
    let found = !bytes.is_empty();
    if found {
        state.ready.push_back(bytes.freeze());
    }
    Ok((state, found))
}

/// An entry as the client gets it: with a header of its stream and length, or bare
/// for a terminal.
fn frame(out: &mut BytesMut, entry: &Entry, show: &Show) {
    let mut text = String::new();
    if show.timestamps {
        text.push_str(&entry.time);
        text.push(' ');
    }
    if let Some(details) = &show.details {
        text.push_str(details);
        text.push(' ');
    }
    let length = text.len() + entry.log.len();
    if !show.tty {
        let stream = if entry.stream == "stderr" { 2 } else { 1 };
        out.extend_from_slice(&[stream, 0, 0, 0]);
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(entry.log.as_bytes());
}
