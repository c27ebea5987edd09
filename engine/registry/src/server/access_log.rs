//! The access log: a line for each request, in the combined format that log tools know.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use http::{HeaderMap, Method, Uri, Version, header};

/// Lines that wait to be written. Where the disk is slower than that, lines are left out:
/// requests don't wait for the log.
const WAITING: usize = 8192;

/// Where lines go.
#[derive(Debug)]
pub(super) struct AccessLog {
    lines: SyncSender<String>,
}

/// What a line says of a request before it is answered.
pub(super) struct Asked {
    request: String,
    referer: String,
    agent: String,
}

impl AccessLog {
    /// Opens the file, to add to it; `-` is standard output.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(OpenOptions::new().append(true).create(true).open(path)?)
        };
        let (lines, waiting) = sync_channel::<String>(WAITING);
        std::thread::spawn(move || {
            let mut out = BufWriter::new(out);
            while let Ok(line) = waiting.recv() {
                // A log that can't be written must not stop the registry.
                let _ = out.write_all(line.as_bytes());
                while let Ok(line) = waiting.try_recv() {
                    let _ = out.write_all(line.as_bytes());
                }
                let _ = out.flush();
            }
        });
        Ok(Self { lines })
    }

    /// Notes what a request asks.
    pub(super) fn asked(method: &Method, uri: &Uri, version: Version, headers: &HeaderMap) -> Asked {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
        Asked {
            request: quoted(&format!("{method} {uri} {version:?}")),
            referer: quoted(header(header::REFERER)),
            agent: quoted(header(header::USER_AGENT)),
        }
    }

    /// Writes the line.
    pub(super) fn answered(
        &self,
        peer: SocketAddr,
        user: Option<&str>,
        asked: &Asked,
        status: u16,
        bytes: u64,
    ) {
        let time = jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        let Asked { request, referer, agent } = asked;
        let user = user.map_or_else(|| "-".to_owned(), quoted);
        let line = format!(
            "{} - {user} [{time}] \"{request}\" {status} {bytes} \"{referer}\" \"{agent}\"\n",
            peer.ip()
        );
        match self.lines.try_send(line) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// A text without what would end a field or a line.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ';
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if plain(c) { quoted.push(c) } else { quoted.extend(c.escape_default()) }
    }
    quoted
}

#[cfg(test)]
mod tests {
    #[test]
    fn nobody_writes_a_line_of_their_own() {
        assert_eq!(super::quoted("a\" b\n\u{1b}[0m"), "a\\\" b\\n\\u{1b}[0m");
    }
}
