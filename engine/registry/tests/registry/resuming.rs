//! A push whose connection breaks in the middle, as on a bad line, and goes on where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glassdock_image::{Digest, Images, Platform, Reference};
use glassdock_registry::client::{Client, ClientConfig, Silent};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_breaks_off_goes_on_where_it_was() {
    let registry = Registry::with(|config| config.idle = Duration::from_secs(2)).await;
    // A layer that is a tar archive of one file, large enough to break in the middle.
    let content: Vec<u8> =
        (0..500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut builder = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_gnu();
    head.set_size(content.len() as u64);
    head.set_mode(0o644);
    builder.append_data(&mut head, "file", &content[..]).expect("an entry");
    let layer = builder.into_inner().expect("an archive");
    let config = json!({"architecture": Platform::host().architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]}});
    let config = config.to_string().into_bytes();
    push_blob(&registry, "from", &config).await;
    push_blob(&registry, "from", &layer).await;
    let text = manifest(&config, &layer, json!({}));
    assert_eq!(push_manifest(&registry, "from", "1", &text).await.status().as_u16(), 201);

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
