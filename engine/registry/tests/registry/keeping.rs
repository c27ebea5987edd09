//! What stays and what goes: garbage, uploads that were given up, limits, the access log.

use std::path::Path;
use std::time::Duration;

use glassdock_image::Digest;
use glassdock_image::digest::Algorithm;
use glassdock_registry::server::{Collected, Collecting, collect};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::protocol::{code_of, get, header, manifest, push_blob, push_manifest, send};
use crate::support::Registry;

/// Everything that nothing needs, however new.
fn at_once() -> Collecting {
    Collecting { grace: Duration::ZERO, uploads: Duration::ZERO, ..Collecting::default() }
}

async fn collected(root: &Path, how: Collecting) -> Collected {
    let root = root.to_owned();
    tokio::task::spawn_blocking(move || collect(&root, how)).await.expect("no panic").expect("collected")
}

#[tokio::test]
async fn garbage_goes_while_the_registry_serves_and_what_is_needed_stays() {
    let registry = Registry::start().await;
    let root = registry.root.path();
    let base = format!("{}/v2/g", registry.url);
    for bytes in [&b"{}"[..], b"layer", b"never named"] {
        push_blob(&registry, "g", bytes).await;
    }
    push_blob(&registry, "other", b"layer").await;
    let text = manifest(b"{}", b"layer", json!({}));
    assert_eq!(push_manifest(&registry, "g", "1", &text).await.status(), StatusCode::CREATED);

    let careful = collected(root, Collecting { uploads: Duration::ZERO, ..Collecting::default() }).await;
    assert_eq!(careful, Collected::default(), "what came just now stays");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let counted = collected(root, Collecting { dry_run: true, ..at_once() }).await;
    let done = collected(root, at_once()).await;
    assert_eq!((done.links, done.blobs, done.bytes), (2, 1, b"never named".len() as u64));
    assert_eq!(counted, Collected { uploads: 0, ..done }, "counting tells what would go");
    let blob = |bytes: &[u8]| format!("{base}/blobs/{}", Digest::of(bytes));
    assert_eq!(get(&blob(b"never named")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&blob(b"layer")).await.bytes().await.expect("it stays"), &b"layer"[..]);
    assert_eq!(get(&format!("{base}/manifests/1")).await.bytes().await.expect("it stays"), text);

    send(Method::DELETE, &format!("{base}/manifests/{}", Digest::of(&text)), &[], b"").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(collected(root, at_once()).await.blobs, 3, "the manifest, and all that it named");
    let again = collected(root, at_once()).await;
    assert_eq!(again, Collected::default());
    push_blob(&registry, "g", b"layer").await;
    assert_eq!(get(&blob(b"layer")).await.bytes().await.expect("it came back"), &b"layer"[..]);
}

#[tokio::test]
async fn manifests_without_a_tag_go_when_asked_for_with_what_leads_to_them() {
    let registry = Registry::start().await;
    push_blob(&registry, "u", b"{}").await;
    push_blob(&registry, "u", b"layer").await;
    let mut digests = Vec::new();
    for kind in ["in the index", "about the index", "tagged", "nothing's"] {
        let mut more = json!({"annotations": {"kind": kind}});
        if kind == "about the index" {
            more["subject"] = json!({"mediaType": "x", "digest": digests[1], "size": 1});
        }
        let text = manifest(b"{}", b"layer", more);
        let digest = Digest::of(&text).to_string();
        let reference = if kind == "tagged" { "tag" } else { &digest };
        assert_eq!(push_manifest(&registry, "u", reference, &text).await.status(), StatusCode::CREATED);
        digests.push(digest.clone());
        if kind == "in the index" {
            let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
                    "size": text.len()}]})
            .to_string();
            digests.push(Digest::of(index.as_bytes()).to_string());
            let url = format!("{}/v2/u/manifests/all", registry.url);
            let kind = [("content-type", "application/vnd.oci.image.index.v1+json")];
            assert_eq!(send(Method::PUT, &url, &kind, index.as_bytes()).await.status(), StatusCode::CREATED);
        }
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let done = collected(registry.root.path(), Collecting { untagged: true, ..at_once() }).await;
    assert_eq!((done.manifests, done.links, done.blobs), (1, 0, 1));
    for (digest, there) in digests.iter().zip([true, true, true, true, false]) {
        let status = get(&format!("{}/v2/u/manifests/{digest}", registry.url)).await.status();
        assert_eq!(status.is_success(), there, "{digest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_and_collections_get_on_with_each_other() {
    let registry = Registry::start().await;
    let root = registry.root.path().to_owned();
    let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let over = std::sync::Arc::clone(&end);
    let how = Collecting { grace: Duration::from_secs(1), uploads: Duration::from_secs(60), ..at_once() };
    let collecting = tokio::task::spawn_blocking(move || {
        let mut rounds = 0;
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            collect(&root, how).expect("collected");
            rounds += 1;
        }
        rounds
    });
    let begun = std::time::Instant::now();
    let mut round = 0;
    while begun.elapsed() < Duration::from_millis(2500) {
        round += 1;
        // The same layer over and over, deleted in between: it is garbage half of the time.
        let config = format!("{{\"round\":{round}}}").into_bytes();
        push_blob(&registry, "p", &config).await;
        push_blob(&registry, "p", b"the same layer").await;
        let text = manifest(&config, b"the same layer", json!({}));
        assert_eq!(push_manifest(&registry, "p", "t", &text).await.status(), StatusCode::CREATED, "{round}");
        let layer = format!("{}/v2/p/blobs/{}", registry.url, Digest::of(b"the same layer"));
        assert_eq!(get(&layer).await.status(), StatusCode::OK);
        let gone = format!("{}/v2/p/manifests/{}", registry.url, Digest::of(&text));
        assert_eq!(send(Method::DELETE, &gone, &[], b"").await.status(), StatusCode::ACCEPTED);
    }
    end.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(collecting.await.expect("no panic") > 0);
}

#[tokio::test]
async fn an_upload_that_was_given_up_is_gone_at_last() {
    let registry = Registry::start().await;
    let begun = send(Method::POST, &format!("{}/v2/u/blobs/uploads/", registry.url), &[], b"").await;
    let upload = format!("{}{}", registry.url, header(&begun, "location"));
    send(Method::PATCH, &upload, &[], b"half").await;
    let kept = collected(registry.root.path(), Collecting::default()).await;
    assert_eq!(kept.uploads, 0, "it may go on for a week");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(collected(registry.root.path(), at_once()).await.uploads, 1);
    let answer = send(Method::PATCH, &upload, &[], b"other half").await;
    assert_eq!(code_of(answer).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn large_blobs_go_out_whole_and_too_large_ones_do_not_come_in() {
    let registry = Registry::with(|config| config.largest_blob = 3_000_000).await;
    // Longer than one piece, and no two pieces are alike.
    let bytes: Vec<u8> =
        (0..700_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let digest = push_blob(&registry, "big", &bytes).await;
    let url = format!("{}/v2/big/blobs/{digest}", registry.url);
    // On one connection, one after the other, in whole and in part.
    let client = crate::support::http();
    for range in [None, Some(1_048_570..2_500_000_usize), None] {
        let mut request = client.get(&url);
        if let Some(range) = &range {
            request = request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
        }
        let body = request.send().await.expect("an answer").bytes().await.expect("all of it");
        assert!(body == bytes[range.unwrap_or(0..bytes.len())], "the bytes are those of the blob");
    }
    let (one, two) = (get(&url), get(&url));
    let (one, two) = tokio::join!(one, two);
    assert!(one.bytes().await.expect("all") == bytes && two.bytes().await.expect("all") == bytes);

    let much = vec![7_u8; 3_000_001];
    let digest = Digest::with(Algorithm::Sha256, &much);
    let post = format!("{}/v2/big/blobs/uploads/?digest={digest}", registry.url);
    let refused = send(Method::POST, &post, &[], &much).await;
    assert_eq!(code_of(refused).await, (413, "SIZE_INVALID".into()));
    assert_eq!(get(&format!("{}/v2/big/blobs/{digest}", registry.url)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn each_request_is_a_line_of_the_access_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let registry = Registry::with(|config| config.access_log = Some(log.clone())).await;
    get(&format!("{}/v2/a/tags/list?x=%22%0a", registry.url)).await;
    push_blob(&registry, "a", b"x").await;
    drop(registry.stop().await);
    let mut text = String::new();
    for _ in 0..100 {
        text = std::fs::read_to_string(&log).expect("a log");
        if text.lines().count() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let first = text.lines().next().expect("a line");
    assert!(first.starts_with("127.0.0.1 - - ["), "{first}");
    assert!(first.contains("] \"GET /v2/a/tags/list?x=%22%0a HTTP/1.1\" 404 "), "{first}");
    assert_eq!(text.lines().filter(|line| line.contains("\" 201 ")).count(), 1, "{text}");
}
