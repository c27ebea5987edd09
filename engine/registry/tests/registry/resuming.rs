//! Bad lines: a push whose connection breaks in the middle goes on where it was, and of a slow pull it is seen
//! how far it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use glassdock_image::{Digest, Images, Platform, Reference};
use glassdock_registry::client::{Client, ClientConfig, LayerState, Progress, Silent, Update};
use glassdock_trace::Trace;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::protocol::{get, manifest, push_blob, push_manifest};
use crate::support::{Kept, Registry};

/// How much of the first large body comes through.
const THROUGH: usize = 700_000;

/// A line to `address` that breaks in the middle of the first large request.
async fn brittle(address: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("its address").to_string();
    let broken = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (address, broken) = (address.clone(), Arc::clone(&broken));
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(address).await else { return };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
                let (mut piece, mut passed) = (vec![0; 16 * 1024], 0);
                while let Ok(count @ 1..) = from_client.read(&mut piece).await {
                    passed += count;
                    if passed > THROUGH && !broken.swap(true, Ordering::Relaxed) {
                        back.abort();
                        return;
                    }
                    if to_server.write_all(&piece[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    own
}

/// Pushes an image as `from:1`, whose layer is an archive of one file of about so many bytes that can't be packed;
/// its manifest and its layer.
async fn push_image(registry: &Registry, bytes: u32) -> (Vec<u8>, Vec<u8>) {
    let content: Vec<u8> = (0..bytes / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut builder = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_gnu();
    head.set_size(content.len() as u64);
    head.set_mode(0o644);
    builder.append_data(&mut head, "file", &content[..]).expect("an entry");
    let layer = builder.into_inner().expect("an archive");
    let config = json!({"architecture": Platform::host().architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]}});
    let config = config.to_string().into_bytes();
    push_blob(registry, "from", &config).await;
    push_blob(registry, "from", &layer).await;
    let text = manifest(&config, &layer, json!({}));
    assert_eq!(push_manifest(registry, "from", "1", &text).await.status().as_u16(), 201);
    (text, layer)
}

/// A line to `address` on which answers take their time.
async fn slow(address: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("its address").to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let address = address.clone();
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(address).await else { return };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                let mut piece = vec![0; 16 * 1024];
                while let Ok(count @ 1..) = from_server.read(&mut piece).await {
                    if to_client.write_all(&piece[..count]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            });
        }
    });
    own
}

/// Keeps how much of the layers was there, each time that it was told.
#[derive(Default)]
struct Seen(Mutex<Vec<u64>>);

impl Progress for Seen {
    fn report(&self, update: Update) {
        if let Update::Layer { state: LayerState::Downloading { current, .. }, .. } = update {
            self.0.lock().expect("nobody panicked").push(current);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_slow_pull_it_is_seen_how_far_it_is() {
    let registry = Registry::with(|_| ()).await;
    // Less than is gathered before it is written.
    let (_, layer) = push_image(&registry, 600_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let images = Images::open(folder.path()).expect("an empty root");
    let address = slow(registry.url.trim_start_matches("http://").to_owned()).await;
    let source: Reference = format!("{address}/from:1").parse().expect("a reference");
    let (seen, client) = (Arc::new(Seen::default()), Client::new(ClientConfig::default()));
    let told = Arc::clone(&seen);
    client.pull(&Trace::off(), &source, &Platform::host(), None, &images, told).await.expect("pulled");
    let seen = seen.0.lock().expect("nobody panicked");
    let between = seen.iter().filter(|current| **current < layer.len() as u64).count();
    assert!(between >= 3, "{seen:?} of {}", layer.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_breaks_off_goes_on_where_it_was() {
    let registry = Registry::with(|config| config.idle = Duration::from_secs(2)).await;
    let (text, layer) = push_image(&registry, 2_000_000).await;

    let folder = tempfile::tempdir().expect("a folder");
    let images = Images::open(folder.path()).expect("an empty root");
    let client = Client::new(ClientConfig { pause: Duration::from_millis(200), ..ClientConfig::default() });
    let address = registry.url.trim_start_matches("http://").to_owned();
    let source: Reference = format!("{address}/from:1").parse().expect("a reference");
    let (trace, platform) = (Trace::off(), Platform::host());
    let pulled =
        client.pull(&trace, &source, &platform, None, &images, Arc::new(Silent)).await.expect("pulled");

    let target: Reference = format!("{}/to:1", brittle(address).await).parse().expect("a reference");
    images.tag(&trace, &pulled.image.id, &target).expect("tagged");
    let (told, kept) = Kept::trace();
    let pushed = client.push(&told, &target, None, &images, Arc::new(Silent)).await.expect("it gets there");
    assert_eq!(pushed.digest, Digest::of(&text));
    let events = kept.text();
    assert!(events.contains("\"PATCH\""), "it went on where it was: {events}");
    let blob = format!("{}/v2/to/blobs/{}", registry.url, Digest::of(&layer));
    assert!(get(&blob).await.bytes().await.expect("the layer") == layer);
}
