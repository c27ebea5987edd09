//! `docker search`, by the real client, through the daemon, at a registry of our own.

use std::path::Path;

use glassdock_registry::{seed, server};

use crate::support::lab;

#[test]
fn the_docker_client_finds_and_filters() {
    let Some(lab) = lab() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let seed = seed::images(Path::new(seed::BUSYBOX)).expect("the seed");
    server::plant(folder.path(), &seed.images).expect("a planted registry");
    let tasks = tokio::runtime::Runtime::new().expect("tasks");
    let server =
        tasks.block_on(server::Server::bind(server::Config::new(folder.path()))).expect("a registry");
    let host = server.address().to_string();
    tasks.spawn(server.serve(std::future::pending()));
    let term = format!("{host}/java");

    let (status, found) = lab.json("GET", &format!("/images/search?term={term}"), "");
    assert_eq!((status, found.as_array().map(Vec::len)), (200, Some(3)), "{found}");
    assert_eq!(found[0]["name"], "java");
    let of = |query: &str| {
        let query = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        lab.json("GET", &format!("/images/search?term={term}&{query}"), "")
    };
    assert_eq!(of("filters={\"is-official\":[\"false\"]}").1[0]["name"], "lessons/java-app");
    assert_eq!(of("filters={\"is-automated\":{\"true\":true}}").1, serde_json::json!([]));
    for (query, words) in [
        ("limit=101", "limit 101 is outside the range of [1, 100]"),
        ("limit=-1", "limit -1 is outside the range of [1, 100]"),
        ("filters={\"colour\":[\"red\"]}", "invalid filter 'colour'"),
        ("filters={\"stars\":[\"many\"]}", "invalid filter 'stars=many'"),
    ] {
        let (status, answer) = of(query);
        assert_eq!((status, answer["message"].as_str()), (400, Some(words)), "{query}");
    }

    let Some(output) = lab.docker(&["search", "--filter", "stars=3", "--limit", "5", &term]) else { return };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
    assert!(lines[1].starts_with("java ") && lines[1].ends_with("1900      [OK]"), "{text}");
    assert!(lines[2].starts_with("lessons/java-app "), "{text}");
    let output = lab.docker(&["search", "--limit", "200", &term]).expect("a client");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.ends_with("limit 200 is outside the range of [1, 100]\n"), "{error}");
}
