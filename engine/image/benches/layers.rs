//! How fast blobs come in and layers are unpacked, without a network: run with
//! `cargo bench -p glassdock-image`. It reports; nothing is asserted.
//!
//! The first image is 1 GiB in 8 layers with 20,000 files, the second 60 small
//! layers. Two threads work, as a pull does.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench is a program that prints"
)]

use std::io::{Read, Write};
use std::sync::Mutex;
use std::time::Instant;

use flate2::{Compression, write::GzEncoder};
use glassdock_image::{ChainId, DiffId, Digest, Layers, Store};
use glassdock_trace::Trace;

struct Blob {
    bytes: Vec<u8>,
    digest: Digest,
    diff_id: DiffId,
    size: u64,
}

/// A layer of `files` files of `size` bytes, half of which compresses.
fn layer(number: u64, files: usize, size: usize) -> Blob {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut archive = tar::Builder::new(Vec::new());
    let mut content = vec![0_u8; size];
    for file in 0..files {
        for (place, byte) in content.iter_mut().enumerate() {
            if place % 64 < 32 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                *byte = random as u8;
            }
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        let path = format!("usr/share/layer{number}/d{:03}/file{file:05}", file % 100);
        archive.append_data(&mut header, path, &content[..]).unwrap();
    }
    let tar = archive.into_inner().unwrap();
    let diff_id = DiffId(Digest::of(&tar));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).unwrap();
    let bytes = gzip.finish().unwrap();
    Blob { digest: Digest::of(&bytes), diff_id, size: tar.len() as u64, bytes }
}

fn measure(name: &str, blobs: &[Blob]) {
    let folder = tempfile::Builder::new().prefix("glassdock-bench").tempdir_in(".").unwrap();
    let (store, layers) = (Store::open(folder.path()).unwrap(), Layers::open(folder.path()).unwrap());
    let diff_ids: Vec<DiffId> = blobs.iter().map(|blob| blob.diff_id.clone()).collect();
    let chain = ChainId::chain(&diff_ids);
    let jobs: Mutex<Vec<(&Blob, &ChainId)>> = Mutex::new(blobs.iter().zip(&chain).rev().collect());
    let before = resident();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((blob, chain)) = { jobs.lock().unwrap().pop() } {
                    let mut ingest = store.ingest(&blob.digest, Some(blob.bytes.len() as u64)).unwrap();
                    for part in blob.bytes.chunks(64 * 1024) {
                        ingest.write(part).unwrap();
                    }
                    ingest.commit(&Trace::off()).unwrap();
                    let file = store.reader(&blob.digest).unwrap();
                    layers.unpack(&Trace::off(), file, "", &blob.diff_id, chain, &|_| {}).unwrap();
                }
            });
        }
    });
    let took = start.elapsed();
    let grown = resident().saturating_sub(before);
    let start = Instant::now();
    rustix::fs::syncfs(std::fs::File::open(folder.path()).unwrap()).unwrap();
    let synced = start.elapsed();
    let bytes: u64 = blobs.iter().map(|blob| blob.size).sum();
    let compressed: usize = blobs.iter().map(|blob| blob.bytes.len()).sum();
    println!(
        "{name}: {} MiB ({} MiB compressed) in {} layers: {:.2} s, {:.0} MiB/s; memory grew by {} KiB; syncfs in the background {:.2} s",
        bytes >> 20,
        compressed >> 20,
        blobs.len(),
        took.as_secs_f64(),
        bytes as f64 / took.as_secs_f64() / f64::from(1 << 20),
        grown,
        synced.as_secs_f64(),
    );
}

/// The process's resident memory in KiB.
fn resident() -> u64 {
    let mut text = String::new();
    std::fs::File::open("/proc/self/statm").unwrap().read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

fn main() {
    let sha = std::thread::spawn(|| {
        let bytes = vec![7_u8; 256 << 20];
        let start = Instant::now();
        let _ = Digest::of(&bytes);
        256.0 / start.elapsed().as_secs_f64()
    });
    println!("sha256: {:.0} MiB/s", sha.join().unwrap());
    let large: Vec<Blob> = (0..std::env::var("LAYERS").ok().and_then(|text| text.parse().ok()).unwrap_or(8))
        .map(|number| layer(number, 2500, 52 * 1024))
        .collect();
    measure("1 GiB", &large);
    drop(large);
    let small: Vec<Blob> = (100..160).map(|number| layer(number, 20, 4096)).collect();
    measure("60 small layers", &small);
}
