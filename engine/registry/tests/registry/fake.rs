//! A registry that does what a test tells it, byte for byte, also what no registry should.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the client asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    /// How many requests for this target came before.
    pub(crate) before: usize,
}

/// What it gets.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Says so many bytes, whatever there are.
    pub(crate) length: Option<u64>,
    pub(crate) then: Then,
}

/// What happens after the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Next,
    /// The connection is cut.
    Cut,
    /// Nothing, for a long time.
    Stall,
    /// Zeros without end, in chunks.
    Endless,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), length: None, then: Then::Next }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    pub(crate) fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }
}

/// The server, stopped with the value.
pub(crate) struct Fake {
    pub(crate) host: String,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("its address").to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { host, asked, serving }
    }

    /// How often a target was asked for.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.log().iter().filter(|asked| asked.target.contains(part)).count()
    }

    pub(crate) fn log(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn serve<F: Fn(&Asked) -> Answer>(mut stream: TcpStream, log: Arc<Mutex<Vec<Asked>>>, answer: Arc<F>) {
    while let Some((method, target, headers)) = read_head(&mut stream).await {
        let asked = {
            let mut log = log.lock().expect("no panic");
            let before = log.iter().filter(|earlier| earlier.target == target).count();
            let asked = Asked { method, target, headers, before };
            log.push(asked.clone());
            asked
        };
        let length: usize =
            asked.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        if !write_answer(&mut stream, &asked, answer(&asked)).await {
            return;
        }
    }
}

async fn write_answer(stream: &mut TcpStream, asked: &Asked, answer: Answer) -> bool {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.then == Then::Endless {
        head.push_str("transfer-encoding: chunked\r\n\r\n");
    } else {
        let length = answer.length.unwrap_or(answer.body.len() as u64);
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
    }
    if stream.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    if asked.method != "HEAD" && answer.then != Then::Endless && stream.write_all(&answer.body).await.is_err()
    {
        return false;
    }
    match answer.then {
        Then::Next => true,
        Then::Cut => false,
        Then::Stall => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            false
        }
        Then::Endless => {
            let mut chunk = b"10000\r\n".to_vec();
            chunk.extend([0_u8; 0x10000]);
            chunk.extend(b"\r\n");
            while stream.write_all(&chunk).await.is_ok() {}
            false
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<(String, String, HashMap<String, String>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).ok()?;
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some((method, target, headers))
}
