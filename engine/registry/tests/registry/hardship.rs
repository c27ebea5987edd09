//! Bad luck and bad manners: clients that stall, that send twice, and a disk that is full.

use std::time::Duration;

use glassdock_image::Digest;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::{code_of, get, header, manifest, push_blob, push_manifest, send};
use crate::support::Registry;

async fn begun(registry: &Registry, name: &str) -> String {
    let begun = send(Method::POST, &format!("{}/v2/{name}/blobs/uploads/", registry.url), &[], b"").await;
    header(&begun, "location").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_keep_nobody_waiting_and_lose_nothing() {
    let registry = Registry::with(|config| config.idle = Duration::from_millis(500)).await;
    let address = registry.url.trim_start_matches("http://").to_owned();
    let upload = begun(&registry, "slow").await;
    let mut stalled = Vec::new();
    for number in 0..64 {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        // One in the middle of a body, the others in the middle of a head.
        let text = if number == 0 {
            format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
        } else {
            "GET /v2/ HTTP/1.1\r\nHos".to_owned()
        };
        stream.write_all(text.as_bytes()).await.expect("sent");
        stalled.push(stream);
    }
    push_blob(&registry, "quick", b"is served meanwhile").await;
    let mut answers = Vec::new();
    for stream in &mut stalled {
        let mut answer = String::new();
        // Whether it is told so or just ended: it comes to an end.
        let _ = stream.read_to_string(&mut answer).await;
        answers.push(answer);
    }
    assert!(
        answers[0].starts_with("HTTP/1.1 408 ") && answers[0].contains("BLOB_UPLOAD_INVALID"),
        "{answers:?}"
    );
    assert_eq!(header(&get(&format!("{}{upload}", registry.url)).await, "range"), "0-3", "what came is kept");
    let digest = Digest::of(b"half and half");
    let url = format!("{}{upload}?digest={digest}", registry.url);
    assert_eq!(send(Method::PUT, &url, &[], b" and half").await.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_refused_early_is_answered_and_not_cut_off() {
    let registry = Registry::start().await;
    let address = registry.url.trim_start_matches("http://").to_owned();
    let digest = Digest::of(b"");
    for (path, status, code) in [
        ("/v2/big/manifests/1".to_owned(), "413", "MANIFEST_INVALID"),
        (format!("/v2/BIG/blobs/uploads/?digest={digest}"), "400", "NAME_INVALID"),
    ] {
        let (method, body) = (if status == "413" { "PUT" } else { "POST" }, vec![b' '; 24 * 1024 * 1024]);
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("sent");
        // All of it is sent before the client listens, as simple clients do.
        stream.write_all(&body).await.expect("nobody cuts the client off");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, and the end");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_once_which_host_it_is_for() {
    let registry = Registry::start().await;
    let address = registry.url.trim_start_matches("http://").to_owned();
    for (head, status) in [
        ("GET /v2/ HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nAccept: text/html\r\n", "400"),
        ("GET /v2/ HTTP/1.1\r\nHost: one\r\nHost: two\r\n", "400"),
        ("GET /v2/ HTTP/1.1\r\nHost: one\r\nConnection: close\r\n", "200"),
        ("GET /v2/ HTTP/1.0\r\n", "200"),
    ] {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, and the end");
        assert!(answer.split(' ').nth(1) == Some(status), "{head}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_stops_waits_for_no_client_that_waits_for_nothing() {
    let registry = Registry::with(|config| config.idle = Duration::from_secs(600)).await;
    let address = registry.url.trim_start_matches("http://").to_owned();
    let mut clients = Vec::new();
    for text in [
        // Silent; in the middle of a head; served and silent; answered, and sending on.
        "",
        "GET /v2/ HTTP/1.1\r\nHos",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT /v2/BIG/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("sent");
        if text.ends_with("\r\n\r\n") {
            assert!(stream.read(&mut [0; 64]).await.expect("an answer") > 0);
        }
        clients.push(stream);
    }
    let mut sending = clients.pop().expect("the last one");
    let sends = tokio::spawn(async move {
        while sending.write_all(&[b' '; 100]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    // Until the grace is over it would be half a minute.
    let stopped = tokio::time::timeout(Duration::from_secs(4), registry.stop()).await;
    assert!(stopped.is_ok(), "somebody is waited for");
    sends.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_twice_is_there_once_and_right() {
    let registry = Registry::start().await;
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(&bytes);
    let post = format!("{}/v2/twice/blobs/uploads/?digest={digest}", registry.url);
    let pushes: Vec<_> = (0..8)
        .map(|_| {
            let (post, bytes) = (post.clone(), bytes.clone());
            tokio::spawn(async move { send(Method::POST, &post, &[], &bytes).await.status() })
        })
        .collect();
    for push in pushes {
        assert_eq!(push.await.expect("no panic"), StatusCode::CREATED);
    }
    let upload = format!("{}{}", registry.url, begun(&registry, "twice").await);
    let put = format!("{upload}?digest={digest}");
    let (one, other) =
        tokio::join!(send(Method::PUT, &put, &[], &bytes), send(Method::PUT, &put, &[], &bytes));
    let statuses = [one.status().as_u16(), other.status().as_u16()];
    // The second one comes too early, too late, or after what the first one sent: never beside it.
    assert!(statuses.contains(&201), "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 400, 404, 429].contains(status)), "{statuses:?}");
    assert_eq!(
        code_of(send(Method::PUT, &put, &[], &bytes).await).await,
        (404, "BLOB_UPLOAD_UNKNOWN".into())
    );
    let blob = format!("{}/v2/twice/blobs/{digest}", registry.url);
    assert!(get(&blob).await.bytes().await.expect("the blob") == bytes);
    let folder = registry.root.path().join("repositories/twice/_uploads");
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0, "nothing is left of the uploads");
}

#[tokio::test]
async fn indexes_that_lie_deep_in_each_other_are_kept_and_found() {
    let registry = Registry::start().await;
    push_blob(&registry, "deep", b"{}").await;
    push_blob(&registry, "deep", b"layer").await;
    let mut kind = "application/vnd.oci.image.manifest.v1+json";
    let mut text = manifest(b"{}", b"layer", json!({}));
    assert_eq!(push_manifest(&registry, "deep", "0", &text).await.status(), StatusCode::CREATED);
    for depth in 1..40 {
        let part = json!({"mediaType": kind, "digest": Digest::of(&text).to_string(), "size": text.len()});
        kind = "application/vnd.oci.image.index.v1+json";
        text = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [part]}).to_string().into_bytes();
        let url = format!("{}/v2/deep/manifests/{depth}", registry.url);
        let pushed = send(Method::PUT, &url, &[("content-type", kind)], &text).await;
        assert_eq!(pushed.status(), StatusCode::CREATED, "{depth}");
    }
    let page =
        send(Method::GET, &format!("{}/r/deep:39", registry.url), &[("accept", "text/html")], b"").await;
    assert_eq!(page.status(), StatusCode::OK);
    let brackets = format!(r#"{{"schemaVersion":2,"annotations":{}"#, "[".repeat(200_000));
    let bad = push_manifest(&registry, "deep", "bad", brackets.as_bytes()).await;
    assert_eq!(code_of(bad).await, (400, "MANIFEST_INVALID".into()));
}
