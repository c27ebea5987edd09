//! Measures the registry and its client: `speed make ROOT`, `speed serve ROOT [ADDR]`,
//! `speed pull REFERENCE ROOT`. What is measured is printed; nothing is asserted.
//!
//! `make` fills a registry's folder with `speed/large` (1 GiB in 8 layers, 20,000 files) and
//! `speed/many` (60 small layers); any registry can serve them after a `skopeo copy`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement ends at the first thing that fails"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use glassdock_image::descriptor::media;
use glassdock_image::{Digest, Images, Platform};
use glassdock_registry::client::{Client, ClientConfig, Silent};
use glassdock_registry::seed::{About, Content, SeedImage};
use glassdock_registry::server::{Config, Server, plant};
use glassdock_trace::Trace;
use serde_json::json;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", root] => make(Path::new(root)),
        ["serve", root] => serve(root, "127.0.0.1:5055"),
        ["serve", root, address] => serve(root, address),
        ["pull", reference, root] => pull(reference, root),
        _ => println!("usage: speed make ROOT | serve ROOT [ADDR] | pull REFERENCE ROOT"),
    }
}

fn make(root: &Path) {
    plant(root, &[image("speed/large", 8, 2500, 53_687), image("speed/many", 60, 5, 2000)]).unwrap();
}

/// An image whose files half compress, as programs do.
fn image(repository: &str, layers: u32, files: u32, size: usize) -> SeedImage {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut blobs = Vec::new();
    let mut diff_ids = Vec::new();
    let mut descriptors = Vec::new();
    for layer in 0..layers {
        let mut archive = tar::Builder::new(Vec::new());
        for file in 0..files {
            let mut content = vec![0_u8; size];
            for (place, byte) in content.iter_mut().enumerate() {
                if place % 2 == 0 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                }
                *byte = (random >> 59) as u8;
            }
            let mut header = tar::Header::new_gnu();
            header.set_size(size as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            archive
                .append_data(&mut header, format!("layer{layer}/d{}/f{file}", file % 50), &content[..])
                .unwrap();
        }
        let archive = archive.into_inner().unwrap();
        diff_ids.push(Digest::of(&archive).to_string());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
        std::io::Write::write_all(&mut encoder, &archive).unwrap();
        let bytes = encoder.finish().unwrap();
        descriptors.push(json!({"mediaType": media::OCI_LAYER_GZIP, "digest": Digest::of(&bytes).to_string(), "size": bytes.len()}));
        blobs.push(content(media::OCI_LAYER_GZIP, bytes));
    }
    let config = json!({
        "architecture": Platform::host().architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = content(media::OCI_CONFIG, config.to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": {"mediaType": media::OCI_CONFIG, "digest": config.digest, "size": config.bytes.len()},
        "layers": descriptors,
    });
    let manifest = content(media::OCI_MANIFEST, manifest.to_string().into_bytes());
    blobs.push(config);
    SeedImage {
        repository: repository.to_owned(),
        tags: vec![("1".to_owned(), manifest.digest.clone())],
        blobs,
        manifests: vec![manifest],
        about: About::default(),
    }
}

fn content(media_type: &str, bytes: Vec<u8>) -> Content {
    Content { media_type: media_type.to_owned(), digest: Digest::of(&bytes).to_string(), bytes }
}

fn serve(root: &str, address: &str) {
    let mut config = Config::new(root);
    config.listen = address.parse().unwrap();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let server = Server::bind(config).await.unwrap();
        println!("listening on {}", server.url());
        server.serve(std::future::pending()).await;
    });
}

fn pull(reference: &str, root: &str) {
    let images = Images::open(Path::new(root)).unwrap();
    let client = Client::new(ClientConfig::default());
    let reference = reference.parse().unwrap();
    let before = peak();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let begun = Instant::now();
        let pulled = client
            .pull(&Trace::off(), &reference, &Platform::host(), None, &images, Arc::new(Silent))
            .await
            .unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let mebibytes = pulled.image.size as f64 / 1_048_576.0;
        println!(
            "{} layers, {mebibytes:.0} MiB of files in {seconds:.3} s: {:.0} MiB/s; peak memory grew by {:.1} MiB",
            pulled.image.layers.len(),
            mebibytes / seconds,
            (peak() - before) as f64 / 1024.0
        );
    });
}

/// The most memory that this process ever had, in KiB; see proc_pid_status(5), `VmHWM`.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
