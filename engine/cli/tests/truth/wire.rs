//! The wire between the daemon and a registry: a proxy that writes requests down.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// The requests that went by, as `METHOD PATH`.
#[derive(Clone, Default)]
pub(crate) struct Proxy(Arc<Mutex<Vec<String>>>);

impl Proxy {
    /// Listens on a free port and passes everything on to `target`; returns itself and its port.
    pub(crate) fn start(target: String) -> (Self, u16) {
        let proxy = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let seen = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, target) = (seen.clone(), target.clone());
                thread::spawn(move || seen.pass(client, &target));
            }
        });
        (proxy, port)
    }

    /// Every request so far, sorted: layers come side by side.
    pub(crate) fn requests(&self) -> Vec<String> {
        let mut requests = self.0.lock().expect("no holder panics").clone();
        requests.sort();
        requests
    }

    fn pass(&self, mut client: TcpStream, target: &str) {
        let Ok(mut server) = TcpStream::connect(target) else { return };
        let (mut back_from, mut back_to) =
            (server.try_clone().expect("dup"), client.try_clone().expect("dup"));
        thread::spawn(move || {
            let _ = std::io::copy(&mut back_from, &mut back_to);
            let _ = back_to.shutdown(std::net::Shutdown::Write);
        });
        let mut buffer = [0_u8; 16 * 1024];
        // A pull sends no bodies, and each of its requests in one piece: a request line begins each read.
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            for head in text.split("\r\n\r\n").filter(|head| !head.is_empty()) {
                let mut words = head.split_whitespace();
                if let (Some(method), Some(path)) = (words.next(), words.next()) {
                    self.0.lock().expect("no holder panics").push(format!("{method} {path}"));
                }
            }
            if server.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Write);
    }
}

/// The same out of a trace: every `registry.request` that ended.
pub(crate) fn told(events: &[Value]) -> Vec<String> {
    let mut requests: Vec<String> = events
        .iter()
        .filter(|event| event["kind"] == "registry.request" && event["phase"] == "end")
        .map(|event| {
            let (method, url) = (event["fields"]["method"].as_str(), event["fields"]["url"].as_str());
            let path = url.unwrap_or_default().splitn(4, '/').nth(3).unwrap_or_default();
            format!("{} /{path}", method.unwrap_or_default())
        })
        .collect();
    requests.sort();
    requests
}
