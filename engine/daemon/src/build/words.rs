//! What a build says: the words of Docker's classic builder, a JSON object a line.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

/// The way to whoever listens.
#[derive(Clone, Debug)]
pub struct Words {
    told: UnboundedSender<Bytes>,
    quiet: bool,
}

impl Words {
    /// Words for a client; a quiet one only hears the end.
    #[must_use]
    pub fn new(told: UnboundedSender<Bytes>, quiet: bool) -> Self {
        Self { told, quiet }
    }

    /// Text as it is.
    pub fn text(&self, text: &str) {
        if !self.quiet {
            self.send(&json!({ "stream": text }));
        }
    }

    /// The last word, which quiet clients hear too.
    pub fn last(&self, text: &str) {
        self.send(&json!({ "stream": text }));
    }

    /// The image's id, for programs.
    pub fn id(&self, id: &str) {
        self.send(&json!({ "aux": { "ID": id } }));
    }

    /// A command that failed: its status and words for it.
    pub fn failed(&self, code: i32, message: &str) {
        self.send(&json!({ "errorDetail": { "code": code, "message": message }, "error": message }));
    }

    fn send(&self, value: &Value) {
        let mut line = value.to_string().into_bytes();
        line.extend_from_slice(b"\r\n");
        // A client that left hears nothing; the build ends by itself then.
        let _ = self.told.send(Bytes::from(line));
    }
}

/// The first twelve digits of an id.
#[must_use]
pub fn short(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// Words in Go's `%q` of a list: `["a" "b"]`.
#[must_use]
pub fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(" "))
}
