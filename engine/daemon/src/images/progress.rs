//! Docker's stream of JSON messages about a pull or push, as the client shows them.
//!
//! ```text
//!   {"status":"Pulling from library/busybox","id":"latest"}
//!   {"status":"Pulling fs layer","progressDetail":{},"id":"9c0abc9c5bd3"}
//!   {"status":"Downloading","progressDetail":{"current":…,"total":…},"progress":"[==> ]…","id":…}
//!   {"status":"Digest: sha256:…"}
//! ```
//!
//! Each message ends with `\r\n`, as Docker's do.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use glassdock_image::Digest;
use glassdock_registry::client::{LayerState, Progress, Update};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

/// A layer's bar moves at most this often.
pub(super) const PACE: Duration = Duration::from_millis(100);

/// So many layers are fetched at a time; the others are said to wait.
const AT_ONCE: usize = 3;

/// One message.
#[derive(Default, Serialize)]
pub(crate) struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    error_detail: Option<ErrorDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aux: Option<serde_json::Value>,
}

#[derive(Default, Serialize)]
struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    message: &'a str,
}

impl Message<'_> {
    fn line(&self) -> Bytes {
        // Plain structs of texts and numbers can't fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.extend_from_slice(b"\r\n");
        Bytes::from(line)
    }
}

/// A status, maybe of something.
pub(crate) fn status(id: Option<&str>, status: &str) -> Bytes {
    Message { status: Some(status), id, ..Message::default() }.line()
}

/// A bar of something that is `current` of `total` bytes far.
pub(crate) fn bar_of(id: &str, status: &str, current: u64, total: u64) -> Bytes {
    let detail = Detail { current: (current > 0).then_some(current), total: Some(total) };
    let message = Message {
        status: Some(status),
        detail: Some(detail),
        progress: Some(bar(current, total)),
        id: Some(id),
        ..Message::default()
    };
    message.line()
}

/// What went wrong, after the stream began.
pub(crate) fn error(message: &str) -> Bytes {
    let detail = Some(ErrorDetail { message });
    Message { error_detail: detail, error: Some(message), ..Message::default() }.line()
}

fn plain<'a>(id: &'a str, text: &'a str) -> Message<'a> {
    Message { status: Some(text), detail: Some(Detail::default()), id: Some(id), ..Message::default() }
}

/// A result for programs.
pub(crate) fn aux(value: serde_json::Value) -> Bytes {
    Message { detail: Some(Detail::default()), aux: Some(value), ..Message::default() }.line()
}

/// What the layers of a pull or push are called, and what is said of them first.
pub(crate) enum Layers {
    /// Blobs' digests. Those that images have here are said to be here.
    Pull(HashSet<Digest>),
    /// Diff ids, by the blobs' digests. Other blobs (the config) are not spoken of.
    Push(HashMap<Digest, String>),
}

/// Sends the progress as lines.
pub(crate) struct Lines {
    sender: UnboundedSender<Bytes>,
    layers: Layers,
    state: Mutex<State>,
}

struct State {
    /// The very first line, until it is sent.
    first: Option<Bytes>,
    /// Held back while all layers are here: if the image is too, there is nothing to tell.
    held: Vec<Bytes>,
    /// What was spoken of, and when its bar moved last.
    moved: HashMap<Digest, Option<Instant>>,
}

impl Lines {
    pub(crate) fn new(sender: UnboundedSender<Bytes>, layers: Layers, first: Bytes) -> Self {
        let state = State { first: Some(first), held: Vec::new(), moved: HashMap::new() };
        Self { sender, layers, state: Mutex::new(state) }
    }

    /// Sends the first line, if it is not sent yet.
    pub(crate) fn begin(&self) {
        if let Some(first) = self.lock().first.take() {
            self.send(first);
        }
    }

    /// Sends what was held back: the image is new, though its layers are not.
    pub(crate) fn release(&self) {
        for line in std::mem::take(&mut self.lock().held) {
            self.send(line);
        }
    }

    pub(crate) fn send(&self, line: Bytes) {
        // A client that left needs no lines; the work is stopped elsewhere.
        let _ = self.sender.send(line);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All layers, the lowest first, before anything happens to them.
    fn open(&self, layers: &[Digest]) {
        let Layers::Pull(here) = &self.layers else { return };
        let mut state = self.lock();
        let (mut lines, mut waiting) = (Vec::new(), Vec::new());
        let mut fetched = 0;
        for digest in layers {
            if state.moved.insert(digest.clone(), None).is_some() {
                continue;
            }
            if here.contains(digest) {
                lines.push(plain(digest.short(), "Already exists").line());
                continue;
            }
            fetched += 1;
            lines.push(plain(digest.short(), "Pulling fs layer").line());
            if fetched > AT_ONCE {
                waiting.push(plain(digest.short(), "Waiting").line());
            }
        }
        if fetched == 0 {
            state.held = lines;
            return;
        }
        lines.into_iter().chain(waiting).for_each(|line| self.send(line));
    }

    fn layer(&self, digest: &Digest, layer: &LayerState) {
        let id = match &self.layers {
            Layers::Pull(here) if *layer == LayerState::AlreadyExists && here.contains(digest) => return,
            Layers::Pull(_) => digest.short(),
            Layers::Push(called) => match called.get(digest) {
                Some(called) => called,
                None => return,
            },
        };
        let plain = |text| plain(id, text);
        let bar = |text, current: u64, total: u64| Message {
            detail: Some(Detail { current: Some(current), total: Some(total).filter(|total| *total > 0) }),
            progress: Some(bar(current, total)),
            ..plain(text)
        };
        let moving = matches!(
            layer,
            LayerState::Downloading { .. } | LayerState::Extracting { .. } | LayerState::Pushing { .. }
        );
        let now = Instant::now();
        let last = self.lock().moved.insert(digest.clone(), moving.then_some(now));
        if moving && last.flatten().is_some_and(|last| now.duration_since(last) < PACE) {
            self.lock().moved.insert(digest.clone(), last.flatten());
            return;
        }
        if last.is_none() && matches!(self.layers, Layers::Push(_)) && *layer != LayerState::Preparing {
            self.send(plain("Preparing").line());
        }
        let retry;
        let message = match layer {
            LayerState::Waiting => plain("Waiting"),
            LayerState::Downloading { current, total } => bar("Downloading", *current, *total),
            LayerState::Verifying => plain("Verifying Checksum"),
            LayerState::Downloaded => plain("Download complete"),
            LayerState::Extracting { current, total } => bar("Extracting", *current, *total),
            LayerState::PullComplete => plain("Pull complete"),
            LayerState::AlreadyExists => plain("Already exists"),
            LayerState::Retrying { seconds } => {
                let unit = if *seconds == 1 { "second" } else { "seconds" };
                retry = format!("Retrying in {seconds} {unit}");
                plain(&retry)
            }
            LayerState::Preparing => plain("Preparing"),
            LayerState::Pushing { current, total } => bar("Pushing", *current, *total),
            LayerState::Pushed => plain("Pushed"),
            LayerState::LayerExists => plain("Layer already exists"),
            LayerState::Mounted { from } => {
                retry = format!("Mounted from {from}");
                plain(&retry)
            }
        };
        self.send(message.line());
    }
}

impl Progress for Lines {
    fn report(&self, update: Update) {
        self.begin();
        match update {
            Update::Layers(layers) => self.open(&layers),
            Update::Layer { digest, state } => self.layer(&digest, &state),
        }
    }
}

/// `[=====>      ]  1.5MB/10MB`, as Docker draws it for a wide terminal.
fn bar(current: u64, total: u64) -> String {
    if total == 0 {
        return if current == 0 { String::new() } else { format!("{:>8}", human(current)) };
    }
    let filled = usize::try_from(u128::from(current) * 100 / u128::from(total) / 2).unwrap_or(50).min(50);
    let numbers = if current > total {
        format!("{:>8}", human(current))
    } else {
        format!("{:>8}/{}", human(current), human(total))
    };
    format!("[{}>{}] {numbers}", "=".repeat(filled), " ".repeat(50 - filled))
}

/// A size with four digits in units of 1000, as Go's `%.4g` has it.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let decimals = if size >= 100.0 {
        1
    } else if size >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{size:.decimals$}");
    format!("{}{}", text.trim_end_matches('0').trim_end_matches('.'), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_dockers() {
        assert_eq!(
            bar(32768, 2_220_000),
            "[>                                                  ]  32.77kB/2.22MB"
        );
        assert_eq!(bar(2_220_000, 2_220_000), format!("[{}>]   2.22MB/2.22MB", "=".repeat(50)));
        assert_eq!(bar(120, 0), "    120B");
        assert_eq!(
            (human(0), human(1000), human(123_456_789)),
            ("0B".into(), "1kB".into(), "123.5MB".into())
        );
    }

    #[test]
    fn messages_are_dockers() {
        assert_eq!(
            &status(Some("latest"), "Pulling from x")[..],
            b"{\"status\":\"Pulling from x\",\"id\":\"latest\"}\r\n"
        );
        assert_eq!(&error("no")[..], b"{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n");
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let digest = Digest::of(b"");
        let first = status(Some("latest"), "Pulling from library/busybox");
        let lines = Lines::new(sender, Layers::Pull(HashSet::new()), first);
        lines.report(Update::Layers(vec![digest.clone()]));
        lines.report(Update::Layer {
            digest: digest.clone(),
            state: LayerState::Downloading { current: 1, total: 2 },
        });
        lines.report(Update::Layer { digest, state: LayerState::PullComplete });
        drop(lines);
        let mut all = Vec::new();
        while let Ok(line) = receiver.try_recv() {
            all.extend_from_slice(&line);
        }
        let all = String::from_utf8(all).expect("text");
        let bar = format!("[{}>{}]       1B/2B", "=".repeat(25), " ".repeat(25));
        assert_eq!(
            all.split("\r\n").collect::<Vec<_>>(),
            [
                r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
                r#"{"status":"Pulling fs layer","progressDetail":{},"id":"e3b0c44298fc"}"#,
                &format!(
                    r#"{{"status":"Downloading","progressDetail":{{"current":1,"total":2}},"progress":"{bar}","id":"e3b0c44298fc"}}"#
                ),
                r#"{"status":"Pull complete","progressDetail":{},"id":"e3b0c44298fc"}"#,
                "",
            ]
        );
    }
}
