//! The client against registries that lie, break, stall and ask too much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use glassdock_image::descriptor::media;
use glassdock_image::{Digest, Images, Platform, Reference};
use glassdock_registry::client::{Client, ClientConfig, Credentials, Error, Kind, Silent};
use glassdock_trace::Trace;
use serde_json::json;

use crate::fake::{Answer, Asked, Fake, Then};
use crate::support::Kept;

fn client() -> Client {
    client_with(|_| ())
}

fn client_with(change: impl FnOnce(&mut ClientConfig)) -> Client {
    let mut config = ClientConfig {
        idle: Duration::from_millis(400),
        pause: Duration::from_millis(5),
        attempts: 3,
        certificates: Vec::new(),
        ..ClientConfig::default()
    };
    change(&mut config);
    Client::new(config)
}

fn reference(host: &str) -> Reference {
    format!("{host}/acme/web:1").parse().expect("a reference")
}

/// An image of one small layer.
struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        Self::of(b"hello\n")
    }

    fn of(content: &[u8]) -> Self {
        let layer = tar_of("hello.txt", content);
        let config = json!({
            "architecture": Platform::host().architecture, "os": "linux", "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
        });
        Self::with(layer, config.to_string().into_bytes(), media::OCI_CONFIG, media::OCI_LAYER)
    }

    fn with(layer: Vec<u8>, config: Vec<u8>, config_type: &str, layer_type: &str) -> Self {
        let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": descriptor(config_type, &config), "layers": [descriptor(layer_type, &layer)],
        });
        Self { layer, config, manifest: manifest.to_string().into_bytes() }
    }

    /// What an honest registry would answer.
    fn answer(&self, asked: &Asked) -> Answer {
        let layer = format!("/blobs/{}", Digest::of(&self.layer));
        let config = format!("/blobs/{}", Digest::of(&self.config));
        if asked.target.contains("/manifests/") {
            let digest = Digest::of(&self.manifest).to_string();
            return Answer::new(200, self.manifest.clone())
                .header("content-type", media::OCI_MANIFEST)
                .header("docker-content-digest", digest);
        }
        match &asked.target {
            target if target.ends_with(&config) => Answer::new(200, self.config.clone()),
            target if target.ends_with(&layer) => match asked.headers.get("range") {
                None => Answer::new(200, self.layer.clone()),
                Some(range) => {
                    let first: usize =
                        range.trim_start_matches("bytes=").trim_end_matches('-').parse().expect("a range");
                    let last = self.layer.len() - 1;
                    Answer::new(206, &self.layer[first..])
                        .header("content-range", format!("bytes {first}-{last}/{}", self.layer.len()))
                }
            },
            _ => Answer::new(404, "{}"),
        }
    }

    fn is_layer(&self, asked: &Asked) -> bool {
        asked.target.ends_with(&Digest::of(&self.layer).to_string())
    }
}

fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_data(&mut header, name, content).expect("to memory");
    builder.into_inner().expect("to memory")
}

struct Root {
    images: Images,
    _folder: tempfile::TempDir,
}

fn root() -> Root {
    let folder = tempfile::tempdir().expect("a folder");
    Root { images: Images::open(folder.path()).expect("an empty root"), _folder: folder }
}

async fn pull(client: &Client, fake: &Fake, root: &Root) -> Result<Digest, Error> {
    let pulled = client
        .pull(&Trace::off(), &reference(&fake.host), &Platform::host(), None, &root.images, Arc::new(Silent))
        .await?;
    Ok(pulled.digest)
}

#[tokio::test]
async fn an_honest_registry_is_pulled_from() {
    let image = Arc::new(Image::new());
    let digest = Digest::of(&image.manifest);
    let fake = Fake::start(move |asked| image.answer(asked)).await;
    assert_eq!(pull(&client(), &fake, &root()).await.expect("it is pulled"), digest);
}

#[tokio::test]
async fn a_manifest_of_another_digest_is_refused() {
    let fake = Fake::start(|_| {
        Answer::new(200, "{}")
            .header("content-type", media::OCI_MANIFEST)
            .header("docker-content-digest", Digest::of(b"x").to_string())
    })
    .await;
    assert!(matches!(pull(&client(), &fake, &root()).await, Err(Error::ManifestDigest { .. })));
    let by_digest: Reference = format!("{}/a@{}", fake.host, Digest::of(b"y")).parse().expect("a reference");
    let error = client()
        .pull(&Trace::off(), &by_digest, &Platform::host(), None, &root().images, Arc::new(Silent))
        .await
        .expect_err("another digest");
    assert!(error.to_string().contains("manifest verification failed"), "{error}");
}

#[tokio::test]
async fn a_layer_of_other_bytes_is_refused_and_nothing_of_it_stays() {
    let image = Arc::new(Image::new());
    let honest = Arc::clone(&image);
    let fake = Fake::start(move |asked| {
        let mut answer = honest.answer(asked);
        if honest.is_layer(asked) {
            answer.body[600] ^= 1;
        }
        answer
    })
    .await;
    let root = root();
    let error = pull(&client(), &fake, &root).await.expect_err("a lie");
    assert!(error.to_string().contains("does not match its digest"), "{error}");
    assert_eq!(root.images.store().has(&Digest::of(&image.layer)), None);
    assert!(root.images.list().is_empty(), "nothing is half visible");
}

#[tokio::test]
async fn a_layer_of_another_size_is_refused_before_it_fills_the_disk() {
    for (length, then) in [(Some(1 << 40), Then::Next), (Some(3), Then::Next), (None, Then::Endless)] {
        let image = Arc::new(Image::new());
        let fake = Fake::start(move |asked| {
            let answer = image.answer(asked);
            if !image.is_layer(asked) {
                return answer;
            }
            length.into_iter().fold(answer.then(then), Answer::length)
        })
        .await;
        let error = pull(&client(), &fake, &root()).await.expect_err("a lie");
        assert!(error.to_string().contains("bytes, but"), "{error}");
    }
}

#[tokio::test]
async fn a_layer_that_breaks_off_goes_on_where_it_was() {
    let image = Arc::new(Image::new());
    let honest = Arc::clone(&image);
    let fake = Fake::start(move |asked| {
        let mut answer = honest.answer(asked);
        if honest.is_layer(asked) && asked.before < 2 {
            answer.length = Some(answer.body.len() as u64);
            answer.body.truncate(500);
            answer.then = Then::Cut;
        }
        answer
    })
    .await;
    pull(&client(), &fake, &root()).await.expect("the third try ends it");
    let ranges: Vec<_> = fake
        .log()
        .iter()
        .filter(|asked| image.is_layer(asked))
        .map(|asked| asked.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [None, Some("bytes=500-".to_owned()), Some("bytes=1000-".to_owned())]);
}

#[tokio::test]
async fn the_next_pull_goes_on_where_a_cancelled_one_was() {
    let noise: Vec<u8> = (0..1_200_000_u32).flat_map(u32::to_le_bytes).collect();
    let image = Arc::new(Image::of(&noise));
    let honest = Arc::clone(&image);
    let fake = Fake::start(move |asked| {
        let mut answer = honest.answer(asked);
        if honest.is_layer(asked) && asked.before == 0 {
            answer.length = Some(answer.body.len() as u64);
            answer.body.truncate(4_000_000);
            answer.then = Then::Stall;
        }
        answer
    })
    .await;
    let root = root();
    let patient = client_with(|config| config.idle = Duration::from_secs(30));
    let cut_short = tokio::time::timeout(Duration::from_millis(800), pull(&patient, &fake, &root)).await;
    assert!(cut_short.is_err(), "it was waiting for the rest");
    assert!(root.images.list().is_empty());
    pull(&patient, &fake, &root).await.expect("goes on");
    let last = fake.log().into_iter().rfind(|asked| image.is_layer(asked)).expect("it was asked for");
    let range = last
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok());
    assert!(range.is_some_and(|first| first >= 1 << 20), "{range:?}");
}

#[tokio::test]
async fn a_registry_that_stalls_is_given_up() {
    let image = Arc::new(Image::new());
    let fake = Fake::start(move |asked| {
        let mut answer = image.answer(asked);
        if image.is_layer(asked) {
            answer.length = Some(answer.body.len() as u64);
            answer.body.clear();
            answer.then = Then::Stall;
        }
        answer
    })
    .await;
    let begun = Instant::now();
    let error = pull(&client(), &fake, &root()).await.expect_err("it stalls");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "three tries of 0.4 s each");
}

#[tokio::test]
async fn busy_registries_are_asked_again_and_not_too_soon() {
    let image = Arc::new(Image::new());
    let fake = Fake::start(move |asked| match (asked.target.contains("/manifests/"), asked.before) {
        (true, 0) => Answer::new(429, "{}").header("retry-after", "1"),
        (true, 1) => Answer::new(503, "{}"),
        _ => image.answer(asked),
    })
    .await;
    let begun = Instant::now();
    pull(&client(), &fake, &root()).await.expect("the third answer is good");
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");

    let down = Fake::start(|_| Answer::new(500, "boom\u{1b}[31m")).await;
    let error = pull(&client(), &down, &root()).await.expect_err("always down");
    assert_eq!((error.kind(), down.log().len()), (Kind::Unavailable, 3));
    assert!(!error.to_string().contains('\u{1b}'), "control characters don't reach a terminal");
}

#[tokio::test]
async fn secrets_stay_with_the_host_that_they_belong_to() {
    let image = Arc::new(Image::new());
    let honest = Arc::clone(&image);
    let elsewhere = Fake::start(move |asked| {
        let mut asked = asked.clone();
        asked.target = asked.target.split('?').next().unwrap_or_default().to_owned();
        honest.answer(&asked)
    })
    .await;
    let onward = elsewhere.host.clone();
    let fake = Fake::start(move |asked| {
        if asked.target.starts_with("/token") {
            let known = asked
                .headers
                .get("authorization")
                .is_some_and(|value| value == "Basic dXNlcjpwYXNzd29yZC0xMjM=");
            return if known {
                Answer::new(200, r#"{"token":"token-456","expires_in":300}"#)
            } else {
                Answer::new(401, "{}")
            };
        }
        if asked.headers.get("authorization").map(String::as_str) != Some("Bearer token-456") {
            let host = &asked.headers["host"];
            return Answer::new(401, "{}").header(
                "www-authenticate",
                format!(
                    r#"Bearer realm="http://{host}/token",service="test",scope="repository:acme/web:pull""#
                ),
            );
        }
        match image.is_layer(asked) {
            true => Answer::new(307, "")
                .header("location", format!("http://{onward}{}?signature=key-789", asked.target)),
            false => image.answer(asked),
        }
    })
    .await;
    let (trace, kept) = Kept::trace();
    let credentials = Credentials::Basic { username: "user".to_owned(), password: "password-123".to_owned() };
    let root = root();
    client()
        .pull(
            &trace,
            &reference(&fake.host),
            &Platform::host(),
            Some(&credentials),
            &root.images,
            Arc::new(Silent),
        )
        .await
        .expect("it is pulled");
    assert_eq!(
        fake.count("/token?service=test&scope=repository%3Aacme%2Fweb%3Apull&account=user"),
        1,
        "{:?}",
        fake.log()
    );
    let strangers = elsewhere.log();
    assert_eq!(strangers.len(), 1);
    assert!(!strangers[0].headers.contains_key("authorization"), "a redirect carries no token");
    let text = kept.text();
    for secret in ["password-123", "token-456", "key-789", "dXNlcjpwYXNzd29yZC0xMjM"] {
        assert!(!text.contains(secret), "{secret} is in the trace");
    }
    let requests = kept.kinds().iter().filter(|kind| **kind == "registry.request").count();
    // A begin and an end for each request that either server saw.
    assert_eq!(requests, 2 * (fake.log().len() + strangers.len()));
    assert!(kept.kinds().contains(&"registry.challenge") && kept.kinds().contains(&"registry.token"));
}

#[tokio::test]
async fn challenges_that_make_no_sense_are_refused() {
    for challenge in
        ["", "Digest realm=\"x\"", "Bearer realm=\"file:///etc/passwd\"", "Bearer", "Bearer realm=\"open"]
    {
        let fake = Fake::start(move |_| Answer::new(401, "{}").header("www-authenticate", challenge)).await;
        let error = pull(&client(), &fake, &root()).await.expect_err("no way in");
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
        assert_eq!(fake.log().len(), 1);
    }
    let loops = Fake::start(|asked| match asked.target.starts_with("/token") {
        true => Answer::new(200, r#"{"token":"never good enough"}"#),
        false => Answer::new(
            401,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
        )
        .header("www-authenticate", format!("Bearer realm=\"http://{}/token\"", asked.headers["host"])),
    })
    .await;
    let error = pull(&client(), &loops, &root()).await.expect_err("no token will do");
    let words = format!(
        "pull access denied for {}/acme/web, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        loops.host
    );
    assert_eq!(error.to_string(), words);
    assert_eq!(loops.log().len(), 3, "asked, token, asked again; then it is over");
}

#[tokio::test]
async fn what_is_no_image_is_refused_before_its_layers_are_fetched() {
    let host = Platform::host().architecture;
    let config = json!({"architecture": host, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
        .to_string()
        .into_bytes();
    let chart = "application/vnd.cncf.helm.config.v1+json";
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    for (image, words) in [
        (Image::with(b"l".to_vec(), config.clone(), chart, media::OCI_LAYER), "something that is no image"),
        (
            Image::with(b"l".to_vec(), config.clone(), media::OCI_CONFIG, foreign),
            "only be had from its maker",
        ),
        (
            Image::with(b"l".to_vec(), config.clone(), media::OCI_CONFIG, media::OCI_LAYER),
            "0 diff ids for 1 layers",
        ),
        (
            Image::with(b"l".to_vec(), b"[".to_vec(), media::OCI_CONFIG, media::OCI_LAYER),
            "cannot use the config",
        ),
    ] {
        let image = Arc::new(image);
        let honest = Arc::clone(&image);
        let fake = Fake::start(move |asked| honest.answer(asked)).await;
        let error = pull(&client(), &fake, &root()).await.expect_err("no image");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!fake.log().iter().any(|asked| image.is_layer(asked)));
    }
    for (kind, body, words) in [
        ("application/vnd.docker.distribution.manifest.v1+json", r#"{"schemaVersion":1}"#, "schema 1"),
        ("text/html", "<html>", "cannot use the manifest"),
        (media::OCI_INDEX, r#"{"schemaVersion":2,"manifests":[]}"#, "no matching manifest for linux/"),
    ] {
        let fake = Fake::start(move |_| Answer::new(200, body).header("content-type", kind)).await;
        let error = pull(&client(), &fake, &root()).await.expect_err("no image");
        assert!(error.to_string().contains(words), "{error}");
    }
    let huge = Fake::start(|_| Answer::new(200, "").then(Then::Endless)).await;
    let error = pull(&client(), &huge, &root()).await.expect_err("a manifest without end");
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn errors_have_dockers_words() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").port()
    };
    let nobody: Reference = format!("127.0.0.1:{port}/x").parse().expect("a reference");
    let error = client().look_up(&Trace::off(), &nobody, None).await.expect_err("nobody is there");
    assert_eq!(
        error.to_string(),
        format!(
            "Get \"http://127.0.0.1:{port}/v2/\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        )
    );
    let empty = Fake::start(|_| {
        Answer::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
    })
    .await;
    let error = pull(&client(), &empty, &root()).await.expect_err("not there");
    assert_eq!(
        error.to_string(),
        format!("manifest for {}/acme/web:1 not found: manifest unknown: manifest unknown", empty.host)
    );
}

#[tokio::test]
async fn a_mirror_stands_in_for_the_hub() {
    let image = Arc::new(Image::new());
    let empty = Fake::start(|_| {
        Answer::new(
            404,
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#,
        )
    })
    .await;
    let full = Fake::start(move |asked| image.answer(asked)).await;
    let mirrors = |hosts: &[&Fake]| hosts.iter().map(|fake| format!("http://{}", fake.host)).collect();
    let both = client_with(|config| {
        config.hub = false;
        config.mirrors = mirrors(&[&empty, &full]);
    });
    let reference: Reference = "web".parse().expect("a reference");
    let root = root();
    let secret = Credentials::Basic { username: "u".to_owned(), password: "p".to_owned() };
    both.pull(&Trace::off(), &reference, &Platform::host(), Some(&secret), &root.images, Arc::new(Silent))
        .await
        .expect("the second has it");
    assert_eq!(empty.log()[0].target, "/v2/library/web/manifests/latest");
    let one = client_with(|config| {
        config.hub = false;
        config.mirrors = mirrors(&[&empty]);
    });
    let error = one
        .pull(&Trace::off(), &reference, &Platform::host(), None, &root.images, Arc::new(Silent))
        .await
        .expect_err("not there");
    assert_eq!(
        error.to_string(),
        "pull access denied for web, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
    );
}

#[tokio::test]
async fn a_registry_that_is_too_busy_for_a_push_gets_its_time() {
    let image = Arc::new(Image::new());
    let honest = Arc::clone(&image);
    let source = Fake::start(move |asked| honest.answer(asked)).await;
    let folder = root();
    let pulled = pull(&client(), &source, &folder).await.expect("pulled");
    let busy = Fake::start(move |asked| {
        let part = |part: &str| asked.target.contains(part);
        match asked.method.as_str() {
            "HEAD" => Answer::new(404, ""),
            "POST" => Answer::new(202, "").header("location", "/v2/acme/web/blobs/uploads/1"),
            // An upload of which nothing was kept.
            "GET" => Answer::new(404, "{}"),
            _ if part("/manifests/") => Answer::new(201, "").header("location", "/v2/"),
            _ if asked.before == 0 => Answer::new(429, "{}").header("retry-after", "1"),
            _ => Answer::new(201, "").header("location", "/v2/"),
        }
    })
    .await;
    let target = reference(&busy.host);
    let images = &folder.images;
    let source: Reference = reference(&source.host);
    let held = images.resolve(&source.to_string()).expect("pulled");
    images.tag(&Trace::off(), &held.id, &target).expect("tagged");
    let begun = Instant::now();
    let pushed = client().push(&Trace::off(), &target, None, images, Arc::new(Silent)).await.expect("pushed");
    assert_eq!(pushed.digest, pulled);
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
}
