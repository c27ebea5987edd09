//! A registry that stands in for another: what is fetched, how often, and what is there without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glassdock_image::{Digest, Images, Platform, Reference};
use glassdock_registry::client::{Client, ClientConfig, Silent};
use glassdock_registry::server::MirrorConfig;
use glassdock_registry::{seed, server};
use glassdock_trace::Trace;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::fake::{Answer, Fake, Then};
use crate::protocol::{get, header, json_of, manifest, push_blob, push_manifest, send};
use crate::support::{Kept, Registry};

async fn mirror_of(url: &str, fresh: Duration, trace: Trace) -> Registry {
    mirror_at(tempfile::tempdir().expect("a folder"), url, fresh, trace).await
}

async fn mirror_at(folder: tempfile::TempDir, url: &str, fresh: Duration, trace: Trace) -> Registry {
    let client = ClientConfig {
        attempts: 1,
        connect: Duration::from_secs(2),
        idle: Duration::from_secs(2),
        ..ClientConfig::default()
    };
    let mirror = MirrorConfig { url: url.to_owned(), credentials: None, fresh, client };
    Registry::at(folder, |config| {
        config.mirror = Some(mirror);
        config.trace = trace;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_once_is_there_without_the_other_registry() {
    let there = Registry::start().await;
    let seed = seed::images(std::path::Path::new(seed::BUSYBOX)).expect("the seed is made");
    server::plant(there.root.path(), &seed.images).expect("planted");
    let (trace, kept) = Kept::trace();
    let here = mirror_of(&there.url, Duration::ZERO, trace).await;
    let client = Client::new(ClientConfig::default());
    let host = here.url.trim_start_matches("http://");
    let pull = || async {
        let root = tempfile::tempdir().expect("a folder");
        let images = Images::open(root.path()).expect("an empty root");
        let mut digests = Vec::new();
        for image in &seed.images {
            let name: Reference = format!("{host}/{}", image.repository).parse().expect("a reference");
            let (trace, platform) = (Trace::off(), Platform::host());
            let pulled = client.pull(&trace, &name, &platform, None, &images, Arc::new(Silent)).await;
            digests.push(pulled.expect("pulled").digest);
        }
        digests
    };
    let first = pull().await;
    assert!(kept.kinds().contains(&"registry.request") && kept.kinds().contains(&"registry.serve"));
    let tags = json_of(get(&format!("{}/v2/library/ubuntu/tags/list", here.url)).await).await;
    assert!(tags["tags"].as_array().is_some_and(|tags| tags.contains(&json!("12.04"))), "{tags}");
    drop(there.stop().await);
    assert_eq!(pull().await, first, "offline, from what is here");
    assert_eq!(
        get(&format!("{}/v2/library/never/manifests/1", here.url)).await.status(),
        StatusCode::BAD_GATEWAY
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_thirty_shares_one_download() {
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(&bytes);
    let content = bytes.clone();
    let there = Fake::start(move |asked| match (asked.target.contains("/blobs/"), asked.before) {
        // It breaks off in the middle the first time.
        (true, 0) => Answer::new(200, &content[..700_000]).length(content.len() as u64).then(Then::Cut),
        (true, 1) => {
            let range = &asked.headers["range"];
            let from: usize = range["bytes=".len()..range.len() - 1].parse().expect("a number");
            let last = content.len() - 1;
            Answer::new(206, &content[from..])
                .header("Content-Range", format!("bytes {from}-{last}/{}", content.len()))
        }
        _ => Answer::new(500, "not again"),
    })
    .await;
    let here = mirror_of(&format!("http://{}", there.host), Duration::ZERO, Trace::off()).await;
    let url = |name: usize| format!("{}/v2/lesson/{}/blobs/{digest}", here.url, name % 2);
    let pupils: Vec<_> = (0..30)
        .map(|pupil| {
            let url = url(pupil);
            tokio::spawn(async move { get(&url).await.bytes().await.expect("all of it") })
        })
        .collect();
    for pupil in pupils {
        assert!(pupil.await.expect("no panic") == bytes);
    }
    assert_eq!(there.asked.lock().expect("no panic").len(), 2, "one download, gone on with once");
    for name in [0, 1] {
        assert_eq!(header(&get(&url(name)).await, "content-length"), "2000000", "from here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_neither_kept_nor_given_out_whole() {
    let digest = Digest::of(b"what was promised");
    let there = Fake::start(|_| Answer::new(200, "what was promisee")).await;
    let here = mirror_of(&format!("http://{}", there.host), Duration::ZERO, Trace::off()).await;
    for _ in 0..2 {
        let answer = get(&format!("{}/v2/a/blobs/{digest}", here.url)).await;
        if answer.status().is_success() {
            answer.bytes().await.expect_err("it breaks off");
        }
    }
    let stored = here.root.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    assert!(!stored.exists());
    assert_eq!(std::fs::read_dir(here.root.path().join("temporary")).expect("a folder").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_follow_the_other_registry_and_ours_are_ours() {
    let there = Registry::start().await;
    let here = mirror_of(&there.url, Duration::ZERO, Trace::off()).await;
    push_blob(&there, "m", b"{}").await;
    push_blob(&there, "m", b"layer").await;
    let version = |number: u8| manifest(b"{}", b"layer", json!({"annotations": {"v": number.to_string()}}));
    let shown = |tag: &'static str| {
        let url = format!("{}/v2/m/manifests/{tag}", here.url);
        async move { get(&url).await.bytes().await.expect("a manifest") }
    };
    for number in [1, 2] {
        assert_eq!(push_manifest(&there, "m", "t", &version(number)).await.status(), StatusCode::CREATED);
        assert_eq!(shown("t").await, version(number));
    }
    let head =
        send(Method::HEAD, &format!("{}/v2/m/blobs/{}", here.url, Digest::of(b"layer")), &[], b"").await;
    assert_eq!(header(&head, "content-length"), "5");
    push_blob(&here, "m", b"{}").await;
    push_blob(&here, "m", b"layer").await;
    assert_eq!(push_manifest(&here, "m", "t", &version(3)).await.status(), StatusCode::CREATED);
    assert_eq!(shown("t").await, version(3), "what was pushed here is ours");
    drop(there.stop().await);
    assert_eq!(shown("t").await, version(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_asks_for_a_tag_once() {
    let text = manifest(b"{}", b"layer", json!({}));
    let content = text.clone();
    let there = Fake::start(move |_| {
        Answer::new(200, &content[..]).header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
    })
    .await;
    let here = mirror_of(&format!("http://{}", there.host), Duration::from_secs(60), Trace::off()).await;
    let url = format!("{}/v2/lesson/manifests/1", here.url);
    let pupils: Vec<_> = (0..30)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { get(&url).await.bytes().await.expect("a manifest") })
        })
        .collect();
    for pupil in pupils {
        assert_eq!(pupil.await.expect("no panic"), text);
    }
    assert_eq!(there.asked.lock().expect("no panic").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_download_is_there_for_the_next_server() {
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(&bytes);
    let content = bytes.clone();
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let there = Fake::start(move |asked| match asked.headers.get("range") {
        None => Answer::new(200, &content[..700_000]).length(content.len() as u64).then(Then::Cut),
        // The first server never gets further.
        Some(_) if !is_well.load(Ordering::Relaxed) => Answer::new(500, "not now"),
        Some(range) => {
            let from: usize = range["bytes=".len()..range.len() - 1].parse().expect("a number");
            assert!(from > 0 && from <= 700_000, "it goes on where it was: {from}");
            let last = content.len() - 1;
            Answer::new(206, &content[from..])
                .header("Content-Range", format!("bytes {from}-{last}/{}", content.len()))
        }
    })
    .await;
    let url = format!("http://{}", there.host);
    let here = mirror_of(&url, Duration::ZERO, Trace::off()).await;
    let blob = format!("/v2/lesson/a/blobs/{digest}");
    let broken = get(&format!("{}{blob}", here.url)).await;
    assert!(!broken.status().is_success() || broken.bytes().await.is_err(), "it can't come to its end");
    let folder = here.stop().await;
    well.store(true, Ordering::Relaxed);
    let again = mirror_at(folder, &url, Duration::ZERO, Trace::off()).await;
    assert!(get(&format!("{}{blob}", again.url)).await.bytes().await.expect("all of it") == bytes);
    assert_eq!(std::fs::read_dir(again.root.path().join("temporary")).expect("a folder").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_given_out_while_the_whole_comes() {
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(&bytes);
    let content = bytes.clone();
    let there = Fake::start(move |_| Answer::new(200, &content[..])).await;
    let here = mirror_of(&format!("http://{}", there.host), Duration::ZERO, Trace::off()).await;
    let url = format!("{}/v2/lesson/a/blobs/{digest}", here.url);
    let part = send(Method::GET, &url, &[("range", "bytes=1000000-1000009")], b"").await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&part, "content-range"), "bytes 1000000-1000009/2000000");
    assert_eq!(part.bytes().await.expect("the part"), bytes[1_000_000..1_000_010]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_goes_out_although_no_more_comes() {
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let (digest, content) = (Digest::of(&bytes), bytes.clone());
    let there = Fake::start(move |_| {
        // Less than what is written at once.
        Answer::new(200, &content[..700_000]).length(content.len() as u64).then(Then::Stall)
    })
    .await;
    let client = ClientConfig { attempts: 1, idle: Duration::from_secs(60), ..ClientConfig::default() };
    let mirror = MirrorConfig {
        url: format!("http://{}", there.host),
        credentials: None,
        fresh: Duration::ZERO,
        client,
    };
    let here = Registry::with(|config| config.mirror = Some(mirror)).await;
    let url = format!("{}/v2/lesson/a/blobs/{digest}", here.url);
    let coming = async {
        let mut blob = get(&url).await;
        let mut came = Vec::new();
        while came.len() < 700_000 {
            came.extend(blob.chunk().await.expect("no break").expect("no end"));
        }
        came
    };
    let came = tokio::time::timeout(Duration::from_secs(20), coming).await.expect("it doesn't wait for more");
    assert!(came == bytes[..700_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_an_image_there_is_listed_here() {
    let there = Registry::start().await;
    let here = mirror_of(&there.url, Duration::ZERO, Trace::off()).await;
    let subject = Digest::of(b"an image");
    let about = |kind: &str| {
        let subject = json!({"mediaType": "x", "digest": subject.to_string(), "size": 8});
        manifest(b"{}", b"layer", json!({"subject": subject, "artifactType": kind}))
    };
    for (registry, kinds) in [(&there, &["application/a", "application/b"][..]), (&here, &["application/a"])]
    {
        push_blob(registry, "r", b"{}").await;
        push_blob(registry, "r", b"layer").await;
        for kind in kinds {
            assert_eq!(
                push_manifest(registry, "r", kind.rsplit('/').next().expect("a tag"), &about(kind))
                    .await
                    .status(),
                StatusCode::CREATED
            );
        }
    }
    let url = format!("{}/v2/r/referrers/{subject}", here.url);
    let kinds = |list: &serde_json::Value| list["manifests"].as_array().map(Vec::len);
    assert_eq!(kinds(&json_of(get(&url).await).await), Some(2), "each once");
    assert_eq!(kinds(&json_of(get(&format!("{url}?artifactType=application/b")).await).await), Some(1));
    drop(there.stop().await);
    assert_eq!(kinds(&json_of(get(&url).await).await), Some(1), "what is here is listed without the other");
}
