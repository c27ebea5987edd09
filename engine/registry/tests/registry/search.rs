//! The search: `/v1/search` as programs ask it, and the client that asks it.

use std::path::Path;
use std::process::Command;

use glassdock_registry::client::{Client, ClientConfig, Error};
use glassdock_registry::{seed, server};
use glassdock_trace::Trace;
use http::StatusCode;
use serde_json::{Value, json};

use crate::fake::{Answer, Fake, Then};
use crate::protocol::{manifest, push_blob, push_manifest};
use crate::support::{Kept, Registry, http};

async fn seeded() -> Registry {
    let registry = Registry::start().await;
    let seed = seed::images(Path::new(seed::BUSYBOX)).expect("the seed is made");
    server::plant(registry.root.path(), &seed.images).expect("the seed is planted");
    registry
}

/// Whether there is a userland, and so more than `hello-world` to find.
fn has_busybox() -> bool {
    Path::new(seed::BUSYBOX).exists()
}

async fn ask(registry: &Registry, query: &str) -> (StatusCode, Value) {
    let url = format!("{}/v1/search?{query}", registry.url);
    let answer = http().get(url).send().await.expect("an answer");
    let status = answer.status();
    (status, serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON"))
}

fn names(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|result| result["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn a_search_finds_names_and_descriptions_the_best_first() {
    if !has_busybox() {
        return;
    }
    let registry = seeded().await;
    let (status, answer) = ask(&registry, "q=java").await;
    assert_eq!(status, 200);
    assert_eq!(names(&answer), ["java", "lessons/java-app", "lessons/coffee"]);
    assert_eq!((&answer["num_results"], &answer["page_size"]), (&json!(3), &json!(25)));
    let first = &answer["results"][0];
    assert_eq!((&first["is_official"], &first["is_automated"]), (&json!(true), &json!(false)));
    assert_eq!(names(&ask(&registry, "q=JAVA&stars=3").await.1), ["java", "lessons/java-app"]);
    assert_eq!(names(&ask(&registry, "q=java&official=true").await.1), ["java"]);
    assert_eq!(names(&ask(&registry, "q=java&official=false&stars=2").await.1), ["lessons/java-app"]);
    assert_eq!(names(&ask(&registry, "q=container+cup").await.1), ["lessons/coffee"], "every word counts");
    assert_eq!(names(&ask(&registry, "q=%E5%92%96%E5%95%A1").await.1), ["lessons/coffee"]);
    assert_eq!(names(&ask(&registry, "q=nothing-has-this").await.1), Vec::<&str>::new());
    assert_eq!(names(&ask(&registry, "").await.1)[0], "ubuntu", "no words: the most popular first");
}

async fn push_image(registry: &Registry, name: &str) {
    push_blob(registry, name, b"{}").await;
    push_blob(registry, name, b"a layer").await;
    let manifest = manifest(b"{}", b"a layer", json!({}));
    assert_eq!(push_manifest(registry, name, "1", &manifest).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_search_sees_each_change_at_once_and_those_of_other_servers_soon() {
    let registry = Registry::start().await;
    let found = async |registry: &Registry| -> Vec<String> {
        names(&ask(registry, "q=fresh").await.1).into_iter().map(str::to_owned).collect()
    };
    assert!(found(&registry).await.is_empty(), "and the index is read now");
    push_image(&registry, "team/fresh").await;
    assert_eq!(found(&registry).await, ["team/fresh"]);
    let other = Registry::with(|config| config.place = registry.root.path().into()).await;
    assert_eq!(found(&other).await, ["team/fresh"]);
    push_image(&other, "team/freshest").await;
    assert_eq!(found(&other).await, ["team/fresh", "team/freshest"]);
    let begun = std::time::Instant::now();
    while found(&registry).await.len() < 2 {
        assert!(begun.elapsed().as_secs() < 20, "another server's push is never seen");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let tag = format!("{}/v2/team/fresh/manifests/1", registry.url);
    assert_eq!(http().delete(tag).send().await.expect("an answer").status(), StatusCode::ACCEPTED);
    assert_eq!(found(&registry).await, ["team/freshest"], "without a tag there is nothing to pull");
}

#[tokio::test]
async fn results_come_in_pages_within_bounds() {
    if !has_busybox() {
        return;
    }
    let registry = seeded().await;
    let (_, first) = ask(&registry, "q=java&n=2").await;
    assert_eq!((names(&first).len(), &first["num_pages"], &first["num_results"]), (2, &json!(2), &json!(3)));
    assert_eq!(names(&ask(&registry, "q=java&n=2&page=2").await.1), ["lessons/coffee"]);
    assert!(names(&ask(&registry, "q=java&n=2&page=18446744073709551615").await.1).is_empty());
    assert_eq!(ask(&registry, "n=18446744073709551615").await.1["page_size"], 100);
    assert_eq!(ask(&registry, "n=0&page=0").await.1["page_size"], 1);
    for bad in ["n=x", "page=-1", "stars=many", "official=perhaps", "n=99999999999999999999"] {
        let (status, answer) = ask(&registry, bad).await;
        assert_eq!(
            (status.as_u16(), &answer["errors"][0]["code"]),
            (400, &json!("PAGINATION_NUMBER_INVALID"))
        );
    }
    let long = format!("q={}", "x".repeat(5000));
    assert_eq!(ask(&registry, &long).await.1["query"].as_str().map(str::len), Some(100));
    let posted = http().post(format!("{}/v1/search?q=x", registry.url)).send().await.expect("an answer");
    assert_eq!((posted.status().as_u16(), posted.headers()["allow"].to_str().ok()), (405, Some("GET, HEAD")));
    let ping = http().get(format!("{}/v1/_ping", registry.url)).send().await.expect("an answer");
    assert_eq!(ping.status(), 200);
}

fn client(mirrors: &[&str]) -> Client {
    let mirrors = mirrors.iter().map(|mirror| (*mirror).to_owned()).collect();
    Client::new(ClientConfig { mirrors, hub: false, attempts: 1, ..ClientConfig::default() })
}

#[tokio::test]
async fn the_client_asks_the_mirrors_of_docker_hub_and_tells_the_trace() {
    if !has_busybox() {
        return;
    }
    let registry = seeded().await;
    let without = Fake::start(|_| Answer::new(404, "404 page not found")).await;
    let client = client(&[&format!("http://{}", without.host), &registry.url]);
    let (trace, kept) = Kept::trace();
    let found = client.search(&trace, "docker.io", "java", 2, None).await.expect("results");
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["java", "lessons/java-app"]);
    assert!(found[0].is_official && found[0].star_count == 1900);
    assert_eq!(
        kept.kinds().iter().filter(|kind| **kind == "registry.request").count(),
        4,
        "two, begun and ended"
    );
    assert!(kept.text().contains("/v1/search?q=java&n=2"));
    let host = registry.url.trim_start_matches("http://");
    let odd = client.search(&trace, host, "a&n=99 %/?#\u{1f980}", 2, None).await.expect("results");
    assert!(odd.is_empty(), "words are words, whatever is in them");
}

#[tokio::test]
async fn what_is_no_answer_to_a_search_is_refused() {
    let trace = Trace::off();
    let cases: [(Answer, &str); 5] = [
        (Answer::new(200, "<html>"), "no results of a search"),
        (Answer::new(200, "{\"results\":[{\"name\":7}]}"), "no results of a search"),
        (Answer::new(200, "").then(Then::Endless), "longer than"),
        (Answer::new(404, "gone"), "404 Not Found"),
        (Answer::new(500, "{\"errors\":[{\"code\":\"X\",\"message\":\"y\\u001b[31m\"}]}"), "x: y[31m"),
    ];
    for (answer, words) in cases {
        let fake = Fake::start(move |_| answer.clone()).await;
        let error = client(&[]).search(&trace, &fake.host, "x", 25, None).await.expect_err("no results");
        assert!(error.to_string().contains(words), "{error}");
    }
    let fake = Fake::start(|_| Answer::new(200, "{\"results\":null}")).await;
    assert_eq!(client(&[]).search(&trace, &fake.host, "x", 25, None).await.expect("none"), []);
    let many = json!({"results": vec![json!({"name": "a"}); 500]}).to_string();
    let fake = Fake::start(move |_| Answer::new(200, many.clone())).await;
    assert_eq!(client(&[]).search(&trace, &fake.host, "x", 25, None).await.expect("some").len(), 25);
    let nobody = client(&[]).search(&trace, "127.0.0.1:1", "x", 25, None).await.expect_err("nobody there");
    assert!(matches!(nobody, Error::Connection { .. }), "{nobody}");
}

/// Podman asks `/v1/search` too.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a skipped test says what was missing")]
async fn podman_finds_the_same() {
    if !has_busybox() {
        return;
    }
    let registry = seeded().await;
    let term = format!("{}/java", registry.url.trim_start_matches("http://"));
    let words = ["search", "--tls-verify=false", "--format", "{{.Name}} {{.Stars}} {{.Official}}", &term];
    let words = words.map(str::to_owned);
    let output = tokio::task::spawn_blocking(move || Command::new("podman").args(words).output());
    match output.await.expect("no panic") {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(text.lines().count(), 3, "{text}{error}");
            assert!(text.contains("/java 1900 [OK]"), "{text}");
        }
        Err(error) => eprintln!("skipped: podman: {error}"),
    }
}
