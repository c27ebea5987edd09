//! Every kind of content that the specification's conformance suite (its development version)
//! knows: pushed, listed, looked at, pulled byte for byte, asked for as a referrer, and deleted.

use glassdock_image::digest::{Algorithm, Digest};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::protocol::{code_of, get, header, json_of, send};
use crate::support::Registry;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const NAME: &str = "kinds/all";

fn descriptor(media_type: &str, bytes: &[u8], algorithm: Algorithm) -> Value {
    json!({"mediaType": media_type, "digest": Digest::with(algorithm, bytes).to_string(), "size": bytes.len()})
}

/// A document: an image or an index, with what is more in it, or otherwise.
fn document(base: Value, more: Value) -> Vec<u8> {
    let mut document = base;
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
    document.to_string().into_bytes()
}

fn image_of(algorithm: Algorithm, more: Value) -> Vec<u8> {
    let base = json!({"schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, b"{}", algorithm), "layers": [descriptor(LAYER, b"layer", algorithm)]});
    document(base, more)
}

fn image(more: Value) -> Vec<u8> {
    image_of(Algorithm::Sha256, more)
}

fn index(manifests: &[Value], more: Value) -> Vec<u8> {
    document(json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}), more)
}

/// What is pushed, in this order; the last one has the tag.
struct Kind {
    name: &'static str,
    algorithm: Algorithm,
    documents: Vec<(Vec<u8>, &'static str)>,
}

fn kinds() -> Vec<Kind> {
    let sha256 = Algorithm::Sha256;
    let kind = |name, documents| Kind { name, algorithm: sha256, documents };
    let one = |bytes| vec![(bytes, MANIFEST)];
    let of = |bytes: &[u8], media_type: &str| descriptor(media_type, bytes, sha256);
    let (amd, arm) =
        (image(json!({"annotations": {"for": "amd64"}})), image(json!({"annotations": {"for": "arm64"}})));
    let platform = |bytes: &[u8], name: &str| {
        let mut descriptor = of(bytes, MANIFEST);
        descriptor["platform"] = json!({"os": "linux", "architecture": name});
        descriptor
    };
    let both = index(&[platform(&amd, "amd64"), platform(&arm, "arm64")], json!({}));
    let images = [(amd.clone(), MANIFEST), (arm.clone(), MANIFEST)];
    let with = |last: Vec<(Vec<u8>, &'static str)>| images.iter().cloned().chain(last).collect::<Vec<_>>();
    let long: serde_json::Map<String, Value> =
        (0..390).map(|number| (format!("annotation-{number}"), "A".repeat(10_000).into())).collect();
    let artifact = json!({"artifactType": "application/vnd.example.config", "config": of(b"{}", EMPTY)});
    let mut data = of(b"{}", CONFIG);
    data["data"] = "e30=".into();
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let mut elsewhere = of(b"is elsewhere", foreign);
    elsewhere["urls"] = json!(["https://store.example.com/blob"]);
    let sha512 = Algorithm::Sha512;
    let image512 = image_of(sha512, json!({}));
    let index512 = index(&[descriptor(MANIFEST, &image512, sha512)], json!({}));
    vec![
        kind("image", one(image(json!({})))),
        kind("large-manifest", one(image(json!({ "annotations": long })))),
        kind("index", with(vec![(both.clone(), INDEX)])),
        kind(
            "nested-index",
            with(vec![(both.clone(), INDEX), (index(&[of(&both, INDEX)], json!({})), INDEX)]),
        ),
        kind("empty-index", vec![(index(&[], json!({})), INDEX)]),
        kind("artifact", one(image(artifact.clone()))),
        kind(
            "artifact-without-layers",
            one(image(json!({"artifactType": "application/vnd.example.config",
                "config": of(b"{}", EMPTY), "layers": [of(b"{}", EMPTY)]}))),
        ),
        kind(
            "artifact-index",
            with(vec![(index(&[of(&amd, MANIFEST)], json!({"artifactType": "application/x"})), INDEX)]),
        ),
        kind(
            "index-with-subject",
            with(vec![(index(&[of(&amd, MANIFEST)], json!({"subject": of(&arm, MANIFEST)})), INDEX)]),
        ),
        kind("missing-subject", one(image(json!({"subject": of(b"missing", MANIFEST)})))),
        kind("data-field", one(image(json!({ "config": data })))),
        kind("non-distributable", one(image(json!({"layers": [elsewhere, of(b"layer", LAYER)]})))),
        kind("custom-fields", one(image(json!({"org.example.field": {"of": ["its", "own"]}})))),
        kind("no-layers", one(image(json!({"layers": []})))),
        Kind { name: "sha512", algorithm: sha512, documents: vec![(image512, MANIFEST), (index512, INDEX)] },
    ]
}

#[tokio::test]
async fn every_kind_of_content_comes_in_is_found_and_goes() {
    let registry = Registry::start().await;
    let base = format!("{}/v2/{NAME}", registry.url);
    for (algorithm, bytes) in [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .flat_map(|one| [(one, &b"{}"[..]), (one, b"layer")])
    {
        let digest = Digest::with(algorithm, bytes);
        let url = format!("{base}/blobs/uploads/?digest={digest}");
        assert_eq!(send(Method::POST, &url, &[], bytes).await.status(), StatusCode::CREATED);
    }
    for Kind { name, algorithm, documents } in kinds() {
        let last = documents.len() - 1;
        for (number, (bytes, media_type)) in documents.iter().enumerate() {
            let digest = Digest::with(algorithm, bytes);
            // By digest, and the last one with a tag beside it.
            let tag = if number == last { format!("?tag={name}") } else { String::new() };
            let url = format!("{base}/manifests/{digest}{tag}");
            let pushed = send(Method::PUT, &url, &[("content-type", media_type)], bytes).await;
            assert_eq!(pushed.status(), StatusCode::CREATED, "{name} {number}");
            assert_eq!(header(&pushed, "docker-content-digest"), digest.to_string(), "{name}");
            let document: Value = serde_json::from_slice(bytes).expect("JSON");
            let subject = document["subject"]["digest"].as_str();
            assert_eq!(header(&pushed, "oci-subject"), subject.unwrap_or(""), "{name}");
            for reference in
                [digest.to_string(), name.to_owned()].iter().take(1 + usize::from(number == last))
            {
                let url = format!("{base}/manifests/{reference}");
                let head = send(Method::HEAD, &url, &[("accept", media_type)], b"").await;
                assert_eq!(header(&head, "content-length"), bytes.len().to_string(), "{name}");
                let got = send(Method::GET, &url, &[("accept", media_type)], b"").await;
                assert_eq!(header(&got, "content-type"), *media_type, "{name}");
                assert_eq!(header(&got, "docker-content-digest"), digest.to_string(), "{name}");
                assert!(got.bytes().await.expect("a body") == bytes, "{name}: byte for byte");
            }
            if let Some(subject) = subject {
                let found = json_of(get(&format!("{base}/referrers/{subject}")).await).await;
                assert_eq!(found["manifests"][0]["digest"], digest.to_string(), "{name}");
            }
        }
        let tags = json_of(get(&format!("{base}/tags/list")).await).await;
        assert_eq!(tags["tags"], json!([name]));
        assert_eq!(json_of(get(&format!("{base}/tags/list?last={name}")).await).await["tags"], json!([]));
        let tagged = send(Method::DELETE, &format!("{base}/manifests/{name}"), &[], b"").await;
        assert_eq!(tagged.status(), StatusCode::ACCEPTED, "{name}");
        for (bytes, _) in documents.iter().rev() {
            let url = format!("{base}/manifests/{}", Digest::with(algorithm, bytes));
            assert_eq!(send(Method::DELETE, &url, &[], b"").await.status(), StatusCode::ACCEPTED, "{name}");
            assert_eq!(get(&url).await.status(), StatusCode::NOT_FOUND, "{name}: gone at once");
        }
    }
}

#[tokio::test]
async fn what_has_another_digest_or_none_is_refused() {
    let registry = Registry::start().await;
    let base = format!("{}/v2/{NAME}", registry.url);
    let nobody = Digest::of(b"nobody's");
    for empty in ["tags/list", "manifests/latest"] {
        assert_eq!(get(&format!("{base}/{empty}")).await.status(), StatusCode::NOT_FOUND);
    }
    let referrers = get(&format!("{base}/referrers/{nobody}")).await;
    assert_eq!((referrers.status(), header(&referrers, "content-type")), (StatusCode::OK, INDEX));
    assert_eq!(json_of(referrers).await["manifests"], json!([]));
    for missing in ["blobs", "manifests"] {
        assert_eq!(get(&format!("{base}/{missing}/{nobody}")).await.status(), StatusCode::NOT_FOUND);
    }

    let text = index(&[], json!({}));
    let spaced = [&text[..], b"  "].concat();
    let digest = Digest::of(&text);
    for (reference, bytes) in [(digest.to_string(), &spaced), ("sha256:baddigeststring".to_owned(), &text)] {
        let url = format!("{base}/manifests/{reference}");
        let refused = send(Method::PUT, &url, &[("content-type", INDEX)], bytes).await;
        assert_eq!(code_of(refused).await, (400, "DIGEST_INVALID".to_owned()));
        assert!(matches!(get(&url).await.status().as_u16(), 400 | 404));
    }
    for reference in ["sha256:baddigeststring", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let url = format!("{base}/blobs/uploads/?digest={reference}");
        let refused = send(Method::POST, &url, &[], b"x").await;
        assert_eq!(code_of(refused).await, (400, "DIGEST_INVALID".to_owned()), "{reference}");
    }
}
