//! Several servers that share a bucket of an S3-compatible storage, which runs here.

use std::time::Duration;

use glassdock_image::Digest;
use glassdock_image::digest::Algorithm;
use glassdock_registry::server::{
    Anonymous, AuthConfig, BucketConfig, Collected, Collecting, Method as Login, MirrorConfig, Secret, Where,
    collect, plant,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::{Method, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::protocol::{code_of, get, header, json_of, manifest, push_blob, push_manifest, send};
use crate::support::{Kept, Registry};

/// An object storage of a folder, with one bucket. It makes a file's name of each key, so keys
/// must not be as long here as elsewhere.
///
/// It runs on a thread of its own and is over when the value is gone: what a server that is
/// stopping still asks for then is refused, and its folder stays removed.
struct Cloud {
    endpoint: String,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

impl Cloud {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("img")).expect("a bucket");
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).expect("a storage"));
        builder.set_auth(SimpleAuth::from_single("somebody", "a secret"));
        let service = builder.build();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (told, address) = oneshot::channel();
        let serving = std::thread::spawn(move || {
            // When it goes, what it was asked for has been done or will not be.
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                told.send(listener.local_addr().expect("its address")).expect("somebody who asked");
                loop {
                    let stream = tokio::select! {
                        _ = &mut stopped => return,
                        accepted = listener.accept() => accepted.expect("a connection").0,
                    };
                    let service = service.clone();
                    tokio::spawn(async move {
                        let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        });
        let endpoint = format!("http://{}", address.await.expect("an address"));
        Self { endpoint, folder, stop: Some(stop), serving: Some(serving) }
    }

    fn bucket(&self) -> BucketConfig {
        BucketConfig {
            prefix: "p".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            credentials: Some(("somebody".to_owned(), Secret("a secret".to_owned()))),
            settle: Duration::ZERO,
            ..BucketConfig::new("img")
        }
    }

    /// A server of the bucket.
    async fn server(&self) -> Registry {
        Registry::with(|config| config.place = Where::Bucket(self.bucket())).await
    }

    /// How many objects there are below a key.
    fn objects(&self, key: &str) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
            let paths = entries.flatten().map(|entry| entry.path());
            paths.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.folder.path().join("img/p").join(key))
    }

    async fn collected(&self, how: Collecting) -> Collected {
        let place = Where::Bucket(self.bucket());
        // The storage's clock has seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        tokio::task::spawn_blocking(move || collect(place, how)).await.expect("no panic").expect("collected")
    }
}

fn at_once() -> Collecting {
    Collecting { grace: Duration::ZERO, uploads: Duration::ZERO, ..Collecting::default() }
}

/// Bytes of which no two parts are alike.
fn bytes(count: u32) -> Vec<u8> {
    (0..count / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_object_storage_is_asked_is_in_the_trace_without_secrets() {
    let cloud = Cloud::start().await;
    let (trace, kept) = Kept::trace();
    let registry = Registry::with(|config| {
        config.place = Where::Bucket(cloud.bucket());
        config.trace = trace;
    })
    .await;
    let digest = push_blob(&registry, "told", b"some bytes").await;
    let got = get(&format!("{}/v2/told/blobs/{digest}", registry.url)).await;
    assert_eq!(got.bytes().await.expect("a body"), "some bytes");
    registry.stop().await;
    let text = kept.text();
    assert!(kept.kinds().contains(&"registry.store"), "{text}");
    let events: Value = serde_json::from_str(&text).expect("JSON");
    let ends: Vec<&Value> =
        events.as_array().expect("events").iter().filter(|event| event["phase"] == "end").collect();
    let asked = |method: &str, part: &str| {
        ends.iter().find(|event| {
            let fields = &event["fields"];
            fields["method"] == method && fields["url"].as_str().is_some_and(|url| url.contains(part))
        })
    };
    let put = asked("PUT", "/img/p/content/").expect("the bytes were stored");
    assert_eq!((&put["fields"]["sent"], &put["fields"]["status"]), (&json!(10), &json!(200)), "{put}");
    let read = asked("GET", "/img/p/content/").expect("the bytes were read");
    assert_eq!(read["fields"]["received"], 10, "{read}");
    assert_eq!(read["result"]["ok"], true);
    assert!(!text.contains("a secret") && !text.contains("Signature"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_one_server_began_is_finished_by_another() {
    let cloud = Cloud::start().await;
    let (one, two) = (cloud.server().await, cloud.server().await);
    let bytes = bytes(20_000_000);
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::with(algorithm, &bytes);
        let begun = send(Method::POST, &format!("{}/v2/u/blobs/uploads/", one.url), &[], b"").await;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let path = header(&begun, "location").to_owned();
        let cuts = [0, 5, 9_000_000, 9_000_001, 19_000_000];
        for (number, cut) in cuts.windows(2).enumerate() {
            let server = [&two, &one][number % 2];
            let range = format!("{}-{}", cut[0], cut[1] - 1);
            let url = format!("{}{path}", server.url);
            let chunk = send(Method::PATCH, &url, &[("content-range", &range)], &bytes[cut[0]..cut[1]]).await;
            assert_eq!(
                (chunk.status(), header(&chunk, "range")),
                (StatusCode::ACCEPTED, &*format!("0-{}", cut[1] - 1))
            );
        }
        let astray =
            send(Method::PATCH, &format!("{}{path}", one.url), &[("content-range", "5-9")], b"12345").await;
        assert_eq!(
            (astray.status(), header(&astray, "range")),
            (StatusCode::RANGE_NOT_SATISFIABLE, "0-18999999")
        );
        let wrong = Digest::with(algorithm, b"something else");
        let put = |url: &str, digest: &Digest| format!("{url}{path}?digest={digest}");
        let refused = send(Method::PUT, &put(&two.url, &wrong), &[], &bytes[19_000_000..]).await;
        assert_eq!(code_of(refused).await, (400, "DIGEST_INVALID".to_owned()));
        let done = send(Method::PUT, &put(&one.url, &digest), &[], &bytes[19_000_000..]).await;
        assert_eq!(done.status(), StatusCode::CREATED, "the upload was as before the wrong digest");
        assert_eq!(code_of(get(&format!("{}{path}", two.url)).await).await.0, 404);

        let blob = format!("{}/v2/u/blobs/{digest}", two.url);
        assert!(get(&blob).await.bytes().await.expect("all of it") == bytes, "{algorithm:?}");
        let part = send(Method::GET, &blob, &[("range", "bytes=9999999-10000009")], b"").await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.bytes().await.expect("the part"), bytes[9_999_999..10_000_010]);
    }
    assert_eq!(cloud.objects("r/u/_uploads"), 0, "nothing is left of the uploads");

    let begun = send(Method::POST, &format!("{}/v2/u/blobs/uploads/", one.url), &[], b"").await;
    let upload = format!("{}{}", two.url, header(&begun, "location"));
    send(Method::PATCH, &upload, &[], &bytes[..100]).await;
    assert_eq!(send(Method::DELETE, &upload, &[], b"").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(code_of(get(&upload).await).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
    assert_eq!(cloud.objects("r/u/_uploads"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_takes_in_all_give_out_and_take_away() {
    let cloud = Cloud::start().await;
    let (one, two) = (cloud.server().await, cloud.server().await);
    push_blob(&one, "from", b"{}").await;
    let layer = push_blob(&one, "from", b"layer").await;
    let mount = format!("{}/v2/to/blobs/uploads/?mount={layer}&from=from", two.url);
    assert_eq!(send(Method::POST, &mount, &[], b"").await.status(), StatusCode::CREATED);
    let text = manifest(b"{}", b"layer", json!({}));
    let missing = push_manifest(&two, "to", "1", &text).await;
    assert_eq!(code_of(missing).await, (400, "MANIFEST_BLOB_UNKNOWN".into()), "the config was not mounted");
    push_blob(&two, "to", b"{}").await;
    let digest = Digest::of(&text);
    let pushed = push_manifest(&two, "to", &format!("{digest}?tag=1&tag=2"), &text).await;
    assert_eq!(pushed.status(), StatusCode::CREATED);
    let subject = json!({"mediaType": "x", "digest": digest.to_string(), "size": text.len()});
    let about = manifest(b"{}", b"layer", json!({"subject": subject, "artifactType": "application/x"}));
    assert_eq!(push_manifest(&one, "to", "about", &about).await.status(), StatusCode::CREATED);

    for server in [&one, &two] {
        let base = format!("{}/v2/to", server.url);
        for reference in ["1", "2", &digest.to_string()] {
            let found = get(&format!("{base}/manifests/{reference}")).await;
            assert_eq!(found.bytes().await.expect("the manifest"), text, "byte for byte");
        }
        let tags: Value = json_of(get(&format!("{base}/tags/list")).await).await;
        assert_eq!(tags["tags"], json!(["1", "2", "about"]));
        let referrers: Value = json_of(get(&format!("{base}/referrers/{digest}")).await).await;
        assert_eq!(referrers["manifests"][0]["digest"], Digest::of(&about).to_string());
        let catalog: Value = json_of(get(&format!("{}/v2/_catalog", server.url)).await).await;
        assert_eq!(catalog["repositories"], json!(["to"]));
        assert_eq!(code_of(get(&format!("{}/v2/no/manifests/1", server.url)).await).await.1, "NAME_UNKNOWN");
    }
    let base = format!("{}/v2/to", one.url);
    let gone = send(Method::DELETE, &format!("{base}/manifests/{digest}"), &[], b"").await;
    assert_eq!(gone.status(), StatusCode::ACCEPTED);
    let elsewhere = format!("{}/v2/to", two.url);
    assert_eq!(
        code_of(get(&format!("{elsewhere}/manifests/1")).await).await,
        (404, "MANIFEST_UNKNOWN".into())
    );
    assert_eq!(
        send(Method::DELETE, &format!("{base}/blobs/{layer}"), &[], b"").await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(code_of(get(&format!("{elsewhere}/blobs/{layer}")).await).await.1, "BLOB_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_and_what_is_needed_stays() {
    let cloud = Cloud::start().await;
    let registry = cloud.server().await;
    for bytes in [&b"{}"[..], b"layer", b"never named"] {
        push_blob(&registry, "g", bytes).await;
    }
    let text = manifest(b"{}", b"layer", json!({}));
    assert_eq!(push_manifest(&registry, "g", "1", &text).await.status(), StatusCode::CREATED);
    let begun = send(Method::POST, &format!("{}/v2/g/blobs/uploads/", registry.url), &[], b"").await;
    let upload = format!("{}{}", registry.url, header(&begun, "location"));
    send(Method::PATCH, &upload, &[], b"half").await;

    assert_eq!(
        cloud.collected(Collecting::default()).await,
        Collected::default(),
        "what came just now stays"
    );
    let counted = cloud.collected(Collecting { dry_run: true, ..at_once() }).await;
    let done = cloud.collected(at_once()).await;
    assert_eq!((done.links, done.blobs, done.bytes, done.uploads), (1, 1, 11, 1));
    assert_eq!(counted, Collected { uploads: 0, ..done }, "counting tells what would go");
    assert_eq!(code_of(get(&upload).await).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
    let base = format!("{}/v2/g", registry.url);
    let blob = |bytes: &[u8]| format!("{base}/blobs/{}", Digest::of(bytes));
    assert_eq!(get(&blob(b"never named")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&blob(b"layer")).await.bytes().await.expect("it stays"), &b"layer"[..]);
    assert_eq!(get(&format!("{base}/manifests/1")).await.bytes().await.expect("it stays"), text);
    assert_eq!(cloud.objects("content"), 4, "its bytes are still there, in case that somebody wants them");
    assert_eq!(cloud.collected(at_once()).await, Collected::default());
    assert_eq!((cloud.objects("content"), cloud.objects("blobs")), (3, 3));
    push_blob(&registry, "g", b"never named").await;
    assert_eq!(get(&blob(b"never named")).await.bytes().await.expect("it came back"), &b"never named"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_is_planted_in_a_bucket_and_shown_by_the_hub() {
    let cloud = Cloud::start().await;
    let place = Where::Bucket(cloud.bucket());
    let planting = tokio::task::spawn_blocking(move || {
        let hello = glassdock_registry::seed::chosen("/nowhere".as_ref(), &["hello-world".to_owned()]);
        let seed = hello.expect("it needs no BusyBox");
        plant(place, &seed.images).expect("planted");
    });
    planting.await.expect("no panic");
    let registry = cloud.server().await;
    let found: Value = json_of(get(&format!("{}/v1/search?q=hello", registry.url)).await).await;
    assert_eq!(found["results"][0]["name"], "hello-world");
    let url = format!("{}/r/library/hello-world", registry.url);
    let page = send(Method::GET, &url, &[("accept", "text/html")], b"").await;
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_server_is_good_at_the_other() {
    let cloud = Cloud::start().await;
    let users = tempfile::NamedTempFile::new().expect("a file");
    // `htpasswd -nbB -C 4 ali secret`
    let line = format!("ali:{}\n", bcrypt::hash("secret", 4).expect("a hash"));
    std::fs::write(users.path(), line).expect("written");
    let auth = || AuthConfig {
        htpasswd: users.path().to_owned(),
        method: Login::Token,
        anonymous: Anonymous::None,
        access: Vec::new(),
        service: "here".to_owned(),
        realm: None,
        lifetime: Duration::from_secs(60),
    };
    let server = || {
        Registry::with(|config| {
            config.place = Where::Bucket(cloud.bucket());
            config.auth = Some(auth());
        })
    };
    let (one, two) = (server().await, server().await);
    // ali:secret
    let basic = [("authorization", "Basic YWxpOnNlY3JldA==")];
    let token: Value =
        json_of(send(Method::GET, &format!("{}/token?scope=registry:catalog:*", one.url), &basic, b"").await)
            .await;
    let bearer = format!("Bearer {}", token["token"].as_str().expect("a token"));
    let answer =
        send(Method::GET, &format!("{}/v2/_catalog", two.url), &[("authorization", &bearer)], b"").await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_keeps_what_it_fetches_in_the_bucket() {
    let there = Registry::start().await;
    let bytes = bytes(9_000_000);
    let layer = push_blob(&there, "library/m", &bytes).await;
    push_blob(&there, "library/m", b"{}").await;
    let text = manifest(b"{}", &bytes, json!({}));
    assert_eq!(push_manifest(&there, "library/m", "1", &text).await.status(), StatusCode::CREATED);
    let cloud = Cloud::start().await;
    let mirror = Registry::with(|config| {
        config.place = Where::Bucket(cloud.bucket());
        config.mirror = Some(MirrorConfig {
            url: there.url.clone(),
            credentials: None,
            fresh: Duration::from_secs(60),
            client: glassdock_registry::client::ClientConfig::default(),
        });
    })
    .await;
    let fetched = get(&format!("{}/v2/library/m/manifests/1", mirror.url)).await;
    assert_eq!(fetched.bytes().await.expect("the manifest"), text);
    let blob = |registry: &Registry| format!("{}/v2/library/m/blobs/{layer}", registry.url);
    assert!(get(&blob(&mirror)).await.bytes().await.expect("the layer") == bytes);
    drop(there.stop().await);
    let other = cloud.server().await;
    assert!(get(&blob(&other)).await.bytes().await.expect("it was kept") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_says_so() {
    let cloud = Cloud::start().await;
    let start = async |change: fn(&mut BucketConfig)| {
        let mut bucket = cloud.bucket();
        change(&mut bucket);
        let config = glassdock_registry::server::Config::new("/nowhere");
        let config = glassdock_registry::server::Config { place: Where::Bucket(bucket), ..config };
        let error = glassdock_registry::server::Server::bind(config).await.err().expect("it can't begin");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    let wrong =
        start(|bucket| bucket.credentials = Some(("somebody".to_owned(), Secret("wrong".to_owned())))).await;
    assert!(
        wrong.starts_with("cannot open the registry's bucket s3://img/p at http://127.0.0.1:"),
        "{wrong}"
    );
    assert!(wrong.contains("SignatureDoesNotMatch") || wrong.contains("403"), "{wrong}");
    let nothing = start(|bucket| bucket.bucket = "other".to_owned()).await;
    assert!(nothing.contains("NoSuchBucket") || nothing.contains("404"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_and_collections_get_on_with_each_other() {
    let cloud = Cloud::start().await;
    let bucket = BucketConfig { settle: Duration::from_secs(60), ..cloud.bucket() };
    let registry = Registry::with(|config| config.place = Where::Bucket(bucket.clone())).await;
    let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let over = std::sync::Arc::clone(&end);
    let place = Where::Bucket(bucket);
    let how = Collecting { grace: Duration::from_secs(2), uploads: Duration::from_secs(60), ..at_once() };
    let collecting = tokio::task::spawn_blocking(move || {
        let mut rounds = 0;
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            collect(place.clone(), how).expect("collected");
            rounds += 1;
        }
        rounds
    });
    let (begun, mut kept) = (std::time::Instant::now(), 0);
    for round in 0.. {
        // One more at least, however slow the machine is.
        if begun.elapsed() > Duration::from_secs(4) && kept > 0 {
            break;
        }
        // The same layer over and over, deleted in between: it is garbage half of the time.
        let config = format!("{{\"round\":{round}}}").into_bytes();
        let since = std::time::Instant::now();
        push_blob(&registry, "p", &config).await;
        push_blob(&registry, "p", b"the same layer").await;
        let text = manifest(&config, b"the same layer", json!({}));
        let pushed = push_manifest(&registry, "p", "t", &text).await;
        if pushed.status() != StatusCode::CREATED {
            // What is pushed stays for the grace only; the storage's clock has seconds.
            assert_eq!(code_of(pushed).await, (400, "MANIFEST_BLOB_UNKNOWN".into()));
            assert!(
                since.elapsed() > Duration::from_secs(1),
                "a collection that races a push must not end it"
            );
            continue;
        }
        kept += 1;
        let layer = format!("{}/v2/p/blobs/{}", registry.url, Digest::of(b"the same layer"));
        assert_eq!(get(&layer).await.bytes().await.expect("the layer"), &b"the same layer"[..]);
        let gone = format!("{}/v2/p/manifests/{}", registry.url, Digest::of(&text));
        assert_eq!(get(&gone).await.bytes().await.expect("the manifest"), text);
        assert_eq!(send(Method::DELETE, &gone, &[], b"").await.status(), StatusCode::ACCEPTED);
    }
    end.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(collecting.await.expect("no panic") > 0);
}
