//! Images made for the bench, written as an OCI layout and pushed by skopeo, so
//! that no code of the engine under test prepares its own test.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::engines::Registry;

/// 1 GiB in 8 layers and 20,000 files.
pub(crate) fn push_big(registry: &Registry, folder: &Path) -> Result<()> {
    const FILES: u64 = 2500;
    let size = (1 << 30) / 8 / FILES;
    push(registry, folder, "bench/big", 8, FILES, size)
}

/// 60 layers of one small file each.
pub(crate) fn push_many(registry: &Registry, folder: &Path) -> Result<()> {
    push(registry, folder, "bench/many", 60, 1, 1000)
}

fn push(registry: &Registry, folder: &Path, name: &str, layers: u64, files: u64, size: u64) -> Result<()> {
    let layout = folder.join(name.replace('/', "-"));
    write_layout(&layout, layers, files, size)?;
    let status = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:latest", layout.display()))
        .arg(format!("docker://{}", registry.image(name)))
        .status()
        .map_err(|error| format!("skopeo (Debian's skopeo): {error}"))?;
    fs::remove_dir_all(&layout)?;
    if status.success() { Ok(()) } else { Err(format!("skopeo copy {name}: {status}").into()) }
}

/// Bytes that compress about as well as programs do: random ones and repeats.
struct Content(u64);

impl Content {
    fn fill(&mut self, buffer: &mut [u8]) {
        for (index, chunk) in buffer.chunks_mut(8).enumerate() {
            if index % 4 < 2 {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
            }
            let bytes = self.0.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

fn write_layout(layout: &Path, layers: u64, files: u64, size: u64) -> Result<()> {
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        let (descriptor, diff_id) = write_layer(layout, layer, files, size)?;
        descriptors.push(descriptor);
        diff_ids.push(diff_id);
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/f0"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config =
        write_blob(layout, "application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config)?)?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors});
    let mut manifest = write_blob(layout, kind, &serde_json::to_vec(&manifest)?)?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(
        layout.join("index.json"),
        serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [manifest]}))?,
    )?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

fn write_blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = hex::encode(Sha256::digest(bytes));
    fs::write(layout.join("blobs/sha256").join(&digest), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}

/// Writes what goes through, and hashes it.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    length: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write_layer(layout: &Path, layer: u64, files: u64, size: u64) -> Result<(Value, String)> {
    let path = layout.join("blobs/sha256/partial");
    let gzip = GzEncoder::new(Hashing::new(File::create(&path)?), Compression::fast());
    let mut archive = tar::Builder::new(Hashing::new(gzip));
    let mut content = Content(0x9e37_79b9_7f4a_7c15 ^ (layer + 1));
    let mut buffer = vec![0; usize::try_from(size)?];
    for file in 0..files {
        content.fill(&mut buffer);
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(size);
        let name =
            if files == 1 { format!("f{layer}") } else { format!("layer{layer}/d{}/f{file}", file / 100) };
        archive.append_data(&mut header, name, buffer.as_slice())?;
    }
    let plain = archive.into_inner()?;
    let diff_id = format!("sha256:{}", hex::encode(plain.hash.finalize()));
    let compressed = plain.inner.finish()?;
    let digest = hex::encode(compressed.hash.finalize());
    fs::rename(&path, layout.join("blobs/sha256").join(&digest))?;
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": format!("sha256:{digest}"),
        "size": compressed.length,
    });
    Ok((descriptor, diff_id))
}
