//! The registry beside Debian's `docker-registry`, on this machine, in one run.
//!
//! ```text
//! cargo bench -p glassdock-cli --bench registry [-- WHAT…]
//! ```
//!
//! WHAT is any of `read`, `manifests`, `push`, `tags`; all of them without one. Needs Debian's
//! `docker-registry` and `wrk`. Prints a Markdown table. Nothing here asserts a number: machines
//! are noisy, so the two take turns, and the medians' ratio is what counts.

mod http;
mod servers;

use std::error::Error;
use std::process::Command;
use std::time::Instant;

use servers::Registry;
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BLOB: usize = 256 * 1024 * 1024;
const CHUNK: usize = 16 * 1024 * 1024;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |what: &str| wanted.is_empty() || wanted.iter().any(|word| word == what);
    let folder = tempfile::tempdir()?;
    let both = [Registry::distribution(folder.path())?, Registry::glassdock(folder.path())?];
    println!("| work | docker-registry | Glassdock | ratio |\n|---|---|---|---|");
    if wants("read") {
        let blob = bytes(1, BLOB);
        let digest = digest(&blob);
        for registry in &both {
            push_whole(registry, "read", &blob)?;
        }
        for streams in [1, 8] {
            let what = format!("blob of 256 MiB, reads, {streams} at a time, MiB/s");
            compare(&what, &both, 5, |registry, _| read(registry, &digest, streams))?;
        }
    }
    if wants("push") {
        compare("blob of 256 MiB, one PUT, MiB/s", &both, 3, |registry, round| {
            let blob = bytes(100 + round as u64, BLOB);
            rate(|| push_whole(registry, "push", &blob))
        })?;
        compare("blob of 256 MiB, chunks of 16 MiB, MiB/s", &both, 3, |registry, round| {
            let blob = bytes(200 + round as u64, BLOB);
            rate(|| push_chunks(registry, "push", &blob))
        })?;
        let what = "the same, and its manifest, which ours has on the disk then, MiB/s";
        compare(what, &both, 3, |registry, round| {
            let blob = bytes(300 + round as u64, BLOB);
            push_whole(registry, "push", b"{}")?;
            rate(|| Ok(push_chunks(registry, "push", &blob)? + put_naming(registry, "push", &blob)?))
        })?;
        for clients in [1, 16] {
            let what = format!("manifest pushes, {clients} clients, 1/s");
            compare(&what, &both, 3, |registry, round| push_manifests(registry, clients, round))?;
        }
    }
    if wants("manifests") {
        for registry in &both {
            put_manifest(registry, "wrk", "latest", 0)?;
        }
        let what = "manifest requests, 64 connections, 1/s";
        let wrk = |registry: &Registry| wrk(registry, "/v2/wrk/manifests/latest");
        let mut slow = Vec::new();
        compare(what, &both, 3, |registry, _| {
            let (rate, p99) = wrk(registry)?;
            slow.push((registry.name, p99));
            Ok(rate)
        })?;
        for (name, p99) in slow {
            println!("| … of which 99 % within ({name}) | {p99} | | |");
        }
    }
    if wants("tags") {
        for registry in &both {
            let digest = put_manifest(registry, "tags", "tag-00000", 0)?;
            registry.plant_tags("tags", &digest, 10_000)?;
        }
        for target in ["/v2/tags/tags/list", "/v2/tags/tags/list?n=100&last=tag-05000"] {
            compare(&format!("`{target}` of 10,000 tags, ms"), &both, 9, |registry, _| {
                let mut connection = registry.connect()?;
                let begun = Instant::now();
                check(connection.ask("GET", target, "", b"")?.status, 200)?;
                Ok(begun.elapsed().as_secs_f64() * 1000.0)
            })?;
        }
    }
    println!("| most memory after all that, MiB | {:.0} | {:.0} | |", both[0].peak()?, both[1].peak()?);
    Ok(())
}

/// A line of the table: medians of some rounds in which the two take turns.
#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
fn compare(
    what: &str,
    both: &[Registry; 2],
    rounds: usize,
    mut measure: impl FnMut(&Registry, usize) -> Result<f64>,
) -> Result<()> {
    let mut values = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (registry, values) in both.iter().zip(&mut values) {
            // What one left for the disk to write is not the other's to wait for.
            Command::new("sync").status()?;
            values.push(
                measure(registry, round).map_err(|error| format!("{what}: {}: {error}", registry.name))?,
            );
        }
    }
    let [theirs, ours] = values.map(|mut values| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    println!("| {what} | {theirs:.1} | {ours:.1} | {:.2} |", ours / theirs);
    Ok(())
}

/// Bytes that nobody can compress or know, the same ones for the same seed.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // Xorshift, after Marsaglia.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn check(status: u16, expected: u16) -> Result<()> {
    if status == expected { Ok(()) } else { Err(format!("{status} instead of {expected}").into()) }
}

/// MiB of a blob per second.
fn rate(work: impl FnOnce() -> Result<f64>) -> Result<f64> {
    Ok(BLOB as f64 / 1_048_576.0 / work()?)
}

fn read(registry: &Registry, digest: &str, streams: usize) -> Result<f64> {
    let target = format!("/v2/read/blobs/{digest}");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..streams)
            .map(|_| {
                scope.spawn(|| -> std::result::Result<(), String> {
                    let mut connection = registry.connect().map_err(|error| error.to_string())?;
                    let answer =
                        connection.ask("GET", &target, "", b"").map_err(|error| error.to_string())?;
                    if answer.length == BLOB as u64 { Ok(()) } else { Err("not the whole blob".to_owned()) }
                })
            })
            .collect();
        readers.into_iter().try_for_each(|reader| reader.join().map_err(|_| "a reader is gone")?)
    })?;
    Ok(streams as f64 * BLOB as f64 / 1_048_576.0 / begun.elapsed().as_secs_f64())
}

fn begin(connection: &mut http::Connection, repository: &str) -> Result<String> {
    let answer = connection.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"")?;
    check(answer.status, 202)?;
    Ok(answer.location.ok_or("no location")?)
}

fn with_digest(location: &str, digest: &str) -> String {
    let sign = if location.contains('?') { '&' } else { '?' };
    format!("{location}{sign}digest={digest}")
}

/// Pushes a blob with one PUT; the seconds that it took.
fn push_whole(registry: &Registry, repository: &str, blob: &[u8]) -> Result<f64> {
    let digest = digest(blob);
    let mut connection = registry.connect()?;
    let begun = Instant::now();
    let location = begin(&mut connection, repository)?;
    let kind = "Content-Type: application/octet-stream\r\n";
    check(connection.ask("PUT", &with_digest(&location, &digest), kind, blob)?.status, 201)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn push_chunks(registry: &Registry, repository: &str, blob: &[u8]) -> Result<f64> {
    let digest = digest(blob);
    let mut connection = registry.connect()?;
    let begun = Instant::now();
    let mut location = begin(&mut connection, repository)?;
    for (number, chunk) in blob.chunks(CHUNK).enumerate() {
        let first = number * CHUNK;
        let headers = format!(
            "Content-Type: application/octet-stream\r\nContent-Range: {first}-{}\r\n",
            first + chunk.len() - 1
        );
        let answer = connection.ask("PATCH", &location, &headers, chunk)?;
        check(answer.status, 202)?;
        location = answer.location.ok_or("no location")?;
    }
    check(connection.ask("PUT", &with_digest(&location, &digest), "", b"")?.status, 201)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn manifest(number: usize) -> String {
    let config = digest(b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[],"annotations":{{"number":"{number}"}}}}"#
    )
}

/// Pushes a manifest that names a blob; the seconds that it took.
fn put_naming(registry: &Registry, repository: &str, blob: &[u8]) -> Result<f64> {
    let layer = format!(
        r#"[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]"#,
        digest(blob),
        blob.len()
    );
    let text = manifest(0).replace(r#""layers":[]"#, &format!(r#""layers":{layer}"#));
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    let target = format!("/v2/{repository}/manifests/latest");
    let mut connection = registry.connect()?;
    let begun = Instant::now();
    check(connection.ask("PUT", &target, &headers, text.as_bytes())?.status, 201)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Pushes a manifest, and what it names; its digest.
fn put_manifest(registry: &Registry, repository: &str, tag: &str, number: usize) -> Result<String> {
    push_whole(registry, repository, b"{}")?;
    let text = manifest(number);
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    let target = format!("/v2/{repository}/manifests/{tag}");
    check(registry.connect()?.ask("PUT", &target, &headers, text.as_bytes())?.status, 201)?;
    Ok(digest(text.as_bytes()))
}

/// Manifests per second that several clients push, each with a tag of its own.
fn push_manifests(registry: &Registry, clients: usize, round: usize) -> Result<f64> {
    const EACH: usize = 40;
    push_whole(registry, "manifests", b"{}")?;
    let headers = format!("Content-Type: {MANIFEST}\r\n");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..clients)
            .map(|client| {
                let headers = &headers;
                scope.spawn(move || -> std::result::Result<(), String> {
                    let words = |error: Box<dyn Error>| error.to_string();
                    let mut connection = registry.connect().map_err(words)?;
                    for one in 0..EACH {
                        let number = ((round * 100 + clients) * 100 + client) * 1000 + one;
                        let target = format!("/v2/manifests/manifests/t{number}");
                        let text = manifest(number);
                        let answer =
                            connection.ask("PUT", &target, headers, text.as_bytes()).map_err(words)?;
                        check(answer.status, 201).map_err(words)?;
                    }
                    Ok(())
                })
            })
            .collect();
        pushers.into_iter().try_for_each(|pusher| pusher.join().map_err(|_| "a pusher is gone")?)
    })?;
    Ok((clients * EACH) as f64 / begun.elapsed().as_secs_f64())
}

/// Requests per second, and within which time 99 % of them were answered, by wrk.
fn wrk(registry: &Registry, target: &str) -> Result<(f64, String)> {
    let url = format!("http://{}{target}", registry.address);
    // Without it docker-registry has no OCI manifest to give.
    let accept = format!("Accept: {MANIFEST}");
    let output =
        Command::new("wrk").args(["-t2", "-c64", "-d4s", "--latency", "-H", &accept, &url]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") {
        return Err(text.into());
    }
    let after = |word: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(word)).map(|rest| rest.trim().to_owned())
    };
    let rate = after("Requests/sec:").ok_or("wrk says nothing")?.parse()?;
    Ok((rate, after("99%").unwrap_or_default()))
}
