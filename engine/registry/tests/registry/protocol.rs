//! The distribution specification, end point by end point.

use glassdock_image::digest::{Algorithm, Digest};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Registry, http};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut request = http().request(method, url).body(body.to_vec());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the server answers")
}

pub(crate) async fn get(url: &str) -> Response {
    send(Method::GET, url, &[], b"").await
}

pub(crate) async fn code_of(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = json_of(response).await;
    (status, body["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
}

pub(crate) async fn json_of(response: Response) -> Value {
    let bytes = response.bytes().await.expect("a whole answer");
    serde_json::from_slice(&bytes).expect("answers and errors are JSON")
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(crate) async fn push_blob(registry: &Registry, name: &str, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let url = format!("{}/v2/{name}/blobs/uploads/?digest={digest}", registry.url);
    assert_eq!(send(Method::POST, &url, &[], bytes).await.status(), StatusCode::CREATED);
    digest
}

pub(crate) fn manifest(config: &[u8], layer: &[u8], more: Value) -> Vec<u8> {
    let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        manifest[key] = value.clone();
    }
    manifest.to_string().into_bytes()
}

pub(crate) async fn push_manifest(
    registry: &Registry,
    name: &str,
    reference: &str,
    manifest: &[u8],
) -> Response {
    let url = format!("{}/v2/{name}/manifests/{reference}", registry.url);
    send(Method::PUT, &url, &[("content-type", MANIFEST)], manifest).await
}

#[tokio::test]
async fn a_blob_comes_in_by_every_way_and_goes_out_in_parts() {
    let registry = Registry::start().await;
    let base = format!("{}/v2/library/a", registry.url);
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::with(algorithm, &bytes);
        let begun = send(Method::POST, &format!("{base}/blobs/uploads/"), &[], b"").await;
        assert_eq!((begun.status(), header(&begun, "range")), (StatusCode::ACCEPTED, "0-0"));
        let upload = format!("{}{}", registry.url, header(&begun, "location"));

        let first = send(Method::PATCH, &upload, &[("content-range", "0-99999")], &bytes[..100_000]).await;
        assert_eq!((first.status(), header(&first, "range")), (StatusCode::ACCEPTED, "0-99999"));
        let astray = send(Method::PATCH, &upload, &[("content-range", "5-9")], b"12345").await;
        assert_eq!(header(&astray, "range"), "0-99999", "a refused chunk says where to go on");
        assert_eq!(code_of(astray).await, (416, "RANGE_INVALID".to_owned()));
        let second = send(Method::PATCH, &upload, &[], &bytes[100_000..300_000]).await;
        assert_eq!(header(&second, "range"), "0-299999");
        let state = get(&upload).await;
        assert_eq!((state.status(), header(&state, "range")), (StatusCode::NO_CONTENT, "0-299999"));

        let wrong = Digest::with(algorithm, b"something else");
        let refused = send(Method::PUT, &format!("{upload}?digest={wrong}"), &[], &bytes[300_000..]).await;
        assert_eq!(code_of(refused).await, (400, "DIGEST_INVALID".to_owned()));
        let done = send(Method::PUT, &format!("{upload}?digest={digest}"), &[], &bytes[300_000..]).await;
        assert_eq!(done.status(), StatusCode::CREATED, "the upload was as before the wrong digest");
        assert_eq!(code_of(get(&upload).await).await.0, 404);

        let blob = format!("{base}/blobs/{digest}");
        assert_eq!(get(&blob).await.bytes().await.expect("all of it"), bytes);
        let head = send(Method::HEAD, &blob, &[], b"").await;
        assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "800000"));
        for (range, part) in [
            ("bytes=10-19", &bytes[10..20]),
            ("bytes=799990-", &bytes[799_990..]),
            ("bytes=-5", &bytes[799_995..]),
        ] {
            let response = send(Method::GET, &blob, &[("range", range)], b"").await;
            assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
            assert_eq!(response.bytes().await.expect("the part"), part, "{range}");
        }
        let backwards = send(Method::GET, &blob, &[("range", "bytes=5-4")], b"").await;
        assert_eq!(code_of(backwards).await, (416, "RANGE_INVALID".to_owned()));
        let beyond = send(Method::GET, &blob, &[("range", "bytes=800000-")], b"").await;
        assert_eq!(header(&beyond, "content-range"), "bytes */800000");
        let known = send(Method::GET, &blob, &[("if-none-match", &format!("\"{digest}\""))], b"").await;
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn a_blob_is_mounted_or_else_uploaded() {
    let registry = Registry::start().await;
    let digest = push_blob(&registry, "from", b"layer").await;
    let post = |query: String| {
        let url = format!("{}/v2/to/blobs/uploads/?{query}", registry.url);
        async move { send(Method::POST, &url, &[], b"").await.status() }
    };
    let absent = Digest::of(b"absent");
    assert_eq!(post(format!("mount={absent}&from=from")).await, StatusCode::ACCEPTED);
    assert_eq!(post(format!("mount={digest}&from=elsewhere")).await, StatusCode::ACCEPTED);
    assert_eq!(post(format!("mount={digest}&from=../..")).await, StatusCode::ACCEPTED);
    assert_eq!(code_of(get(&format!("{}/v2/to/blobs/{digest}", registry.url)).await).await.1, "BLOB_UNKNOWN");
    assert_eq!(post(format!("mount={digest}&from=from")).await, StatusCode::CREATED);
    assert_eq!(get(&format!("{}/v2/to/blobs/{digest}", registry.url)).await.status(), StatusCode::OK);
    assert_eq!(post(format!("mount={digest}")).await, StatusCode::CREATED);
}

#[tokio::test]
async fn manifests_are_checked_kept_as_they_are_and_deleted() {
    let registry = Registry::start().await;
    let base = format!("{}/v2/m", registry.url);
    let text = manifest(b"{}", b"layer", json!({}));
    let digest = Digest::of(&text);
    assert_eq!(
        code_of(push_manifest(&registry, "m", "1", &text).await).await,
        (400, "MANIFEST_BLOB_UNKNOWN".into())
    );
    push_blob(&registry, "m", b"{}").await;
    push_blob(&registry, "m", b"layer").await;

    let pushed = push_manifest(&registry, "m", "1", &text).await;
    assert_eq!(
        (pushed.status(), header(&pushed, "docker-content-digest")),
        (StatusCode::CREATED, &*digest.to_string())
    );
    let more = push_manifest(&registry, "m", &format!("{digest}?tag=2&tag=3"), &text).await;
    let told: Vec<_> = more.headers().get_all("oci-tag").iter().collect();
    assert_eq!(told, ["2", "3"]);
    for reference in ["1", "2", "3", &digest.to_string()] {
        let response = get(&format!("{base}/manifests/{reference}")).await;
        assert_eq!(header(&response, "content-type"), MANIFEST);
        assert_eq!(response.bytes().await.expect("the manifest"), text, "byte for byte");
    }

    let wrong = push_manifest(&registry, "m", &Digest::of(b"x").to_string(), &text).await;
    assert_eq!(code_of(wrong).await, (400, "DIGEST_INVALID".into()));
    for bad in [
        "",
        "[",
        "{}",
        r#"{"schemaVersion":1}"#,
        r#"{"schemaVersion":2,"mediaType":"text/plain"}"#,
        &"[".repeat(100_000),
    ] {
        let answer = push_manifest(&registry, "m", "bad", bad.as_bytes()).await;
        assert_eq!(code_of(answer).await, (400, "MANIFEST_INVALID".into()), "{bad:.40}");
    }
    let huge = push_manifest(&registry, "m", "bad", &vec![b' '; 5 * 1024 * 1024]).await;
    assert_eq!(huge.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let short = manifest(
        b"{}",
        b"layer",
        json!({"layers": [{"mediaType": "x", "digest": Digest::of(b"layer").to_string(), "size": 99}]}),
    );
    assert_eq!(code_of(push_manifest(&registry, "m", "bad", &short).await).await.1, "MANIFEST_INVALID");

    assert_eq!(
        send(Method::DELETE, &format!("{base}/manifests/2"), &[], b"").await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(code_of(get(&format!("{base}/manifests/2")).await).await, (404, "MANIFEST_UNKNOWN".into()));
    let gone = send(Method::DELETE, &format!("{base}/manifests/{digest}"), &[], b"").await;
    assert_eq!(gone.status(), StatusCode::ACCEPTED);
    for reference in ["1", "3", &digest.to_string()] {
        assert_eq!(get(&format!("{base}/manifests/{reference}")).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let registry = Registry::start().await;
    push_blob(&registry, "t", b"{}").await;
    push_blob(&registry, "t", b"layer").await;
    let text = manifest(b"{}", b"layer", json!({}));
    for tag in ["c", "a", "d", "b"] {
        assert_eq!(push_manifest(&registry, "t", tag, &text).await.status(), StatusCode::CREATED);
    }
    let mut url = format!("{}/v2/t/tags/list?n=3", registry.url);
    let first = get(&url).await;
    assert_eq!(header(&first, "link"), "</v2/t/tags/list?n=3&last=c>; rel=\"next\"");
    assert_eq!(json_of(first).await, json!({"name": "t", "tags": ["a", "b", "c"]}));
    url.push_str("&last=c");
    let second = get(&url).await;
    assert_eq!(header(&second, "link"), "");
    assert_eq!(json_of(second).await["tags"], json!(["d"]));
    let none = get(&format!("{}/v2/t/tags/list?n=0", registry.url)).await;
    assert_eq!(json_of(none).await["tags"], json!([]));
    assert_eq!(
        code_of(get(&format!("{}/v2/no/tags/list", registry.url)).await).await,
        (404, "NAME_UNKNOWN".into())
    );
    let catalog = get(&format!("{}/v2/_catalog", registry.url)).await;
    assert_eq!(json_of(catalog).await, json!({"repositories": ["t"]}));
}

#[tokio::test]
async fn referrers_are_listed_also_of_what_is_not_here_yet() {
    let registry = Registry::start().await;
    push_blob(&registry, "r", b"{}").await;
    push_blob(&registry, "r", b"layer").await;
    let subject = Digest::of(b"comes later");
    let about = |kind: &str| {
        let subject = json!({"mediaType": MANIFEST, "digest": subject.to_string(), "size": 11});
        manifest(
            b"{}",
            b"layer",
            json!({"subject": subject, "artifactType": kind, "annotations": {"k": kind}}),
        )
    };
    for kind in ["application/x-a", "application/x-b"] {
        let text = about(kind);
        let pushed = push_manifest(&registry, "r", &Digest::of(&text).to_string(), &text).await;
        assert_eq!(header(&pushed, "oci-subject"), subject.to_string());
    }
    let url = format!("{}/v2/r/referrers/{subject}", registry.url);
    let all: Value = json_of(get(&url).await).await;
    assert_eq!(all["manifests"].as_array().map(Vec::len), Some(2));
    let filtered = get(&format!("{url}?artifactType=application/x-a")).await;
    assert_eq!(header(&filtered, "oci-filters-applied"), "artifactType");
    let filtered: Value = json_of(filtered).await;
    assert_eq!(filtered["manifests"][0]["annotations"]["k"], "application/x-a");
    let text = about("application/x-a");
    send(Method::DELETE, &format!("{}/v2/r/manifests/{}", registry.url, Digest::of(&text)), &[], b"").await;
    let left: Value = json_of(get(&url).await).await;
    assert_eq!(left["manifests"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_upload_goes_on_after_the_server_was_started_again() {
    let registry = Registry::start().await;
    let begun = send(Method::POST, &format!("{}/v2/u/blobs/uploads/", registry.url), &[], b"").await;
    let location = header(&begun, "location").to_owned();
    send(Method::PATCH, &format!("{}{location}", registry.url), &[], b"first ").await;
    let registry = Registry::at(registry.stop().await, |_| ()).await;
    let upload = format!("{}{location}", registry.url);
    assert_eq!(header(&get(&upload).await, "range"), "0-5");
    let digest = Digest::of(b"first second");
    let done = send(Method::PUT, &format!("{upload}?digest={digest}"), &[], b"second").await;
    assert_eq!(done.status(), StatusCode::CREATED);
    let cancelled = send(Method::POST, &format!("{}/v2/u/blobs/uploads/", registry.url), &[], b"").await;
    let upload = format!("{}{}", registry.url, header(&cancelled, "location"));
    assert_eq!(send(Method::DELETE, &upload, &[], b"").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(code_of(get(&upload).await).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn what_is_no_request_of_ours_gets_an_error_of_the_specification() {
    let registry = Registry::start().await;
    for (method, path, expected) in [
        (Method::GET, "/v2/Ubuntu/tags/list", (400, "NAME_INVALID")),
        (Method::GET, "/v2/a/..%2f..%2fetc/manifests/1", (400, "NAME_INVALID")),
        (Method::GET, "/v2/a/blobs/sha256:00", (400, "DIGEST_INVALID")),
        (Method::GET, "/v2/a/manifests/-x", (404, "MANIFEST_UNKNOWN")),
        (Method::PUT, "/v2/a/manifests/-x", (400, "TAG_INVALID")),
        (Method::GET, "/v2/a/manifests/x", (404, "NAME_UNKNOWN")),
        (Method::PATCH, "/v2/a/blobs/uploads/0123", (404, "BLOB_UPLOAD_UNKNOWN")),
        (Method::PUT, "/v2/a/tags/list", (405, "UNSUPPORTED")),
        (Method::GET, "/v2/a/tags/list?n=-1", (400, "PAGINATION_NUMBER_INVALID")),
        (Method::GET, "/elsewhere", (404, "NOT_FOUND")),
    ] {
        let answer = send(method, &format!("{}{path}", registry.url), &[], b"").await;
        assert_eq!(code_of(answer).await, (expected.0, expected.1.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn manifests_of_every_type_come_in_and_sparse_ones_where_that_is_wanted() {
    let registry = Registry::start().await;
    push_blob(&registry, "t", b"blob").await;
    let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
    let part = json!({"mediaType": "x", "digest": digest(b"blob"), "size": 4});
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let own = "application/vnd.example.v1+json";
    for (tag, kind, body) in [
        ("artifact", artifact, json!({"mediaType": artifact, "blobs": [part]})),
        ("own", own, json!({"of": {"their": "own"}})),
        ("no-layers", MANIFEST, json!({"schemaVersion": 2, "config": part, "layers": []})),
        ("empty-index", INDEX, json!({"schemaVersion": 2, "manifests": []})),
    ] {
        let url = format!("{}/v2/t/manifests/{tag}", registry.url);
        let text = body.to_string();
        let pushed = send(Method::PUT, &url, &[("content-type", kind)], text.as_bytes()).await;
        assert_eq!(pushed.status(), StatusCode::CREATED, "{tag}");
        let found = get(&url).await;
        assert_eq!(
            (header(&found, "content-type"), header(&found, "x-content-type-options")),
            (kind, "nosniff")
        );
        assert_eq!(found.bytes().await.expect("the manifest"), text);
    }
    let page = send(Method::GET, &format!("{}/r/t:own", registry.url), &[("accept", "text/html")], b"").await;
    assert!(page.status().as_u16() < 500, "the hub shows other things too");

    let missing =
        json!({"mediaType": artifact, "blobs": [{"mediaType": "x", "digest": digest(b"no"), "size": 2}]});
    let image = manifest(b"absent", b"blob", json!({}));
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": digest(b"no"), "size": 2}]});
    let sparse = [
        (artifact, missing.to_string().into_bytes()),
        (MANIFEST, image),
        (INDEX, index.to_string().into_bytes()),
    ];
    let generous = Registry::with(|config| config.sparse = true).await;
    push_blob(&generous, "t", b"blob").await;
    for (kind, text) in sparse {
        let url = |registry: &Registry| format!("{}/v2/t/manifests/sparse", registry.url);
        let refused = send(Method::PUT, &url(&registry), &[("content-type", kind)], &text).await;
        assert_eq!(code_of(refused).await, (400, "MANIFEST_BLOB_UNKNOWN".into()), "{kind}");
        let pushed = send(Method::PUT, &url(&generous), &[("content-type", kind)], &text).await;
        assert_eq!(pushed.status(), StatusCode::CREATED, "{kind}");
        assert_eq!(get(&url(&generous)).await.bytes().await.expect("the manifest"), text);
    }
    let lie =
        json!({"mediaType": artifact, "blobs": [{"mediaType": "x", "digest": digest(b"blob"), "size": 5}]});
    let url = format!("{}/v2/t/manifests/lie", generous.url);
    let refused = send(Method::PUT, &url, &[("content-type", artifact)], lie.to_string().as_bytes()).await;
    assert_eq!(code_of(refused).await.1, "MANIFEST_INVALID", "what is here is held against what is said");
}
