//! The hub's pages, as a browser gets them.

use std::path::Path;

use glassdock_registry::seed::manifest::{Family, Variant, image};
use glassdock_registry::seed::{self, About, SeedImage, layer::Layer};
use glassdock_registry::server;
use http::StatusCode;

use crate::support::{Registry, http};

/// What is no text of ours, wherever it is put in.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> & {{7*7}} \u{202e}";

async fn with(images: &[SeedImage]) -> Registry {
    let registry = Registry::start().await;
    server::plant(registry.root.path(), images).expect("planted");
    registry
}

async fn seeded() -> Registry {
    with(&seed::images(Path::new(seed::BUSYBOX)).expect("the seed is made").images).await
}

struct Page {
    status: StatusCode,
    headers: http::HeaderMap,
    html: String,
}

async fn get(registry: &Registry, path: &str, language: &str) -> Page {
    let request = http()
        .get(format!("{}{path}", registry.url))
        .header("accept", "text/html,application/xhtml+xml")
        .header("accept-language", language);
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let html = answer.text().await.expect("text");
    let page = Page { status, headers, html };
    page.check(path);
    page
}

impl Page {
    /// What is true of every page.
    fn check(&self, path: &str) {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        assert_eq!(header("content-type"), "text/html; charset=utf-8", "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(self.html.starts_with("<!DOCTYPE html><html lang="), "{path}");
        for (name, attributes) in well_formed(&self.html) {
            let known = "html head meta title link script body a header div img span b form label input button main \
                         footer p code section h1 h2 h3 h4 ul ol li q table thead tbody tr th td article aside nav dl \
                         dt dd pre time svg rect i em strong blockquote hr br";
            assert!(known.split_whitespace().any(|known| known == name), "{path} has an element {name}");
            for (attribute, value) in attributes {
                assert!(!attribute.starts_with("on") && attribute != "style", "{path}: {name} {attribute}");
                if matches!(attribute.as_str(), "src" | "action") || (name == "link" && attribute == "href") {
                    assert!(
                        value.starts_with('/') && !value.starts_with("//"),
                        "{path}: {name} loads {value}"
                    );
                }
                if attribute == "href" {
                    assert!(value.starts_with(['/', '#']), "{path}: a link to {value}");
                }
            }
        }
        assert_eq!(self.html.matches("<h1>").count(), 1, "{path}: a page has one heading");
        assert_eq!(self.html.matches("<script").count(), 1, "{path}: our own script and no other");
    }
}

/// Reads the elements of a page, and that each is closed where it should be.
fn well_formed(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let void = ["meta", "link", "img", "input", "br", "hr"];
    let (mut open, mut elements, mut rest) = (Vec::<String>::new(), Vec::new(), html);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if rest.starts_with("!DOCTYPE") {
            continue;
        }
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        let tag = &rest[..end.expect("a tag ends")];
        rest = &rest[tag.len()..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "what is closed was opened last");
            continue;
        }
        let (name, mut more) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = Vec::new();
        while let Some((attribute, after)) = more.trim_start().split_once("=\"") {
            let (value, after) = after.split_once('"').expect("a value ends");
            // An attribute without a value stands before one with.
            let attribute = attribute.split(' ').next_back().unwrap_or_default();
            attributes.push((attribute.to_owned(), value.to_owned()));
            more = after;
        }
        if !void.contains(&name) {
            open.push(name.to_owned());
        }
        elements.push((name.to_owned(), attributes));
    }
    assert!(open.is_empty(), "left open: {open:?}");
    elements
}

#[tokio::test]
async fn the_pages_speak_the_readers_language() {
    let registry = seeded().await;
    for (path, language, lang, words) in [
        ("/", "en", "en", "Popular images"),
        ("/", "zh-CN,zh;q=0.9,en;q=0.5", "zh-CN", "热门镜像"),
        ("/en/", "zh-CN", "en", "Popular images"),
        ("/zh", "en", "zh-CN", "热门镜像"),
        ("/?lang=zh", "en", "zh-CN", "热门镜像"),
        ("/zh/r/library/hello-world", "en", "zh-CN", "能做一件事的最小镜像"),
        ("/r/library/hello-world", "en", "en", "The smallest image that does something"),
    ] {
        let page = get(&registry, path, language).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.html.contains(&format!("<html lang=\"{lang}\">")), "{path}");
        assert!(page.html.contains(words), "{path} in {language}");
        assert_eq!(page.headers["vary"], "Accept-Language");
    }
}

#[tokio::test]
async fn results_are_a_table_that_leads_to_the_details() {
    if !Path::new(seed::BUSYBOX).exists() {
        return;
    }
    let registry = seeded().await;
    let page = get(&registry, "/search?q=java", "en").await.html;
    let rows: Vec<&str> = page.split("<tr>").skip(2).collect();
    assert_eq!(rows.len(), 3);
    for part in [
        "<a href=\"/en/r/library/java\">java</a>",
        "Official</span>",
        "Stand-in</span>",
        ">1,900<",
        ">300,000<",
        "A stand-in for Java",
        "aria-label=\"Details: java\">Details</a>",
    ] {
        assert!(rows[0].contains(part), "{part} in {}", rows[0]);
    }
    assert!(page.contains("<code>docker search java</code>"));
    let filtered = get(&registry, "/search?q=java&official=1&stars=3", "en").await.html;
    assert_eq!(filtered.split("<tr>").count(), 3, "the head and one row");
    assert!(filtered.contains("docker search --filter is-official=true --filter stars=3 java"));
    assert!(
        filtered.contains("href=\"/zh/search?q=java&amp;official=1&amp;stars=3\""),
        "the other language, the same search"
    );
    let details = get(&registry, "/r/library/java", "en").await.html;
    assert!(
        details.contains("<strong>not Java</strong>") && details.contains("<code>docker pull java</code>")
    );
    assert!(details.contains("<a href=\"/en/r/library/java:7-jre\">7-jre</a>"));
    let host = registry.url.trim_start_matches("http://");
    assert!(details.contains(&format!("<code>docker pull {host}/library/java</code>")));
}

#[tokio::test]
async fn tags_and_layers_tell_sizes_digests_and_instructions() {
    if !Path::new(seed::BUSYBOX).exists() {
        return;
    }
    let registry = seeded().await;
    let seed = seed::images(Path::new(seed::BUSYBOX)).expect("the seed");
    let java = seed.images.iter().find(|image| image.repository == "library/java").expect("java");
    let tags = get(&registry, "/tags/library/java", "en").await.html;
    for (tag, digest) in &java.tags {
        assert!(
            tags.contains(&format!(">{tag}</a>")) && tags.contains(&format!("title=\"{digest}\"")),
            "{tag}"
        );
    }
    let page = get(&registry, "/r/library/java:7-jre", "en").await.html;
    let stack =
        page.split("<ol class=\"stack\"").nth(1).expect("a stack").split("</ol>").next().expect("its end");
    let places: Vec<usize> = ["CMD", "ENV", "COPY</b> java", "COPY</b> rootfs", "COPY</b> busybox"]
        .iter()
        .map(|part| stack.find(part).unwrap_or_else(|| panic!("{part} in {stack}")))
        .collect();
    assert!(places.is_sorted(), "the top of the stack comes first: {places:?}");
    assert_eq!(stack.matches("<li class=\"layer\">").count(), 3);
    for layer in java.blobs.iter().filter(|blob| blob.media_type.contains("tar")).take(1) {
        assert!(stack.contains(&format!("title=\"{}\"", layer.digest)));
    }
    let dockerfile = page.split("<pre class=\"dockerfile\"").nth(1).expect("a Dockerfile");
    assert!(
        dockerfile.contains("<b>FROM</b> ubuntu:14.04") && dockerfile.contains("<b>ENV</b> JAVA_VERSION=7")
    );
    assert!(!page.contains("No Dockerfile came with"));
    let arm = get(&registry, "/r/library/hello-world:latest?platform=linux%2Farm64", "en").await.html;
    assert!(arm.contains("aria-current=\"true\">linux/arm64"));
    let digest = &java.tags[0].1;
    assert_eq!(get(&registry, &format!("/r/library/java@{digest}"), "en").await.status, 200);
}

/// An image whose every text is hostile.
fn hostile() -> SeedImage {
    let mut layer = Layer::new(HOSTILE);
    layer.file("x", 0o644, b"x").expect("a file");
    let variant = Variant::new(HOSTILE, vec![layer.finish().expect("a layer")])
        .env("EVIL", HOSTILE)
        .label("evil", HOSTILE)
        .volume("/<b>evil")
        .expose("<b>80")
        .command(&[HOSTILE]);
    let about = About {
        description: HOSTILE.to_owned(),
        description_zh: HOSTILE.to_owned(),
        readme: format!(
            "# {HOSTILE}\n\n{HOSTILE}\n\n[x](javascript:alert(1)) ![y](https://evil.test/z)\n\n<div>\n{HOSTILE}\n</div>"
        ),
        stars: u64::MAX,
        pulls: u64::MAX,
        sample: true,
        dockerfiles: vec![("1".to_owned(), format!("FROM x\nRUN {HOSTILE}\n# {HOSTILE}"))],
        ..About::default()
    };
    image("evil/x", Family::Oci, &[(&["1"], vec![variant])], about).expect("an image")
}

#[tokio::test]
async fn nothing_that_was_pushed_becomes_part_of_a_page() {
    let registry = with(&[hostile()]).await;
    let encoded = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
    for path in [
        "/".to_owned(),
        format!("/search?q={encoded}"),
        format!("/search?q=evil&stars={encoded}&page={encoded}&official={encoded}&lang={encoded}"),
        "/r/evil/x".to_owned(),
        "/zh/r/evil/x".to_owned(),
        "/tags/evil/x".to_owned(),
        "/r/evil/x:1".to_owned(),
        format!("/r/evil/x:1?platform={encoded}"),
        format!("/r/{encoded}"),
    ] {
        let page = get(&registry, &path, "en").await;
        assert!(!page.html.contains("<img src=x") && !page.html.contains("javascript:alert"), "{path}");
    }
    // The names of servers in commands come from the request.
    for host in ["evil.test\"><script>", "a b:1", "<b>.test", ""] {
        let request = http().get(format!("{}/r/evil/x", registry.url)).header("host", host);
        let Ok(answer) = request.send().await else { continue };
        let text = answer.text().await.expect("text");
        assert!(!text.contains(&format!("docker pull {host}/")) || host.is_empty(), "{host}");
    }
}

#[tokio::test]
async fn what_people_push_is_shown_too() {
    let registry = with(&[]).await;
    let folder = registry.root.path();
    let mut image = hostile();
    image.repository = "mine".to_owned();
    server::plant(folder, &[image]).expect("planted");
    // A push tells nothing about its repository.
    std::fs::remove_file(folder.join("repositories/mine/_hub.json")).expect("removed");
    let host = registry.url.trim_start_matches("http://");
    let page = get(&registry, "/search?q=min", "en").await.html;
    assert!(page.contains(&format!(">{host}/mine</a>")), "by a name that can be pulled");
    assert!(page.contains("Nobody has described this image."));
    let page = get(&registry, "/r/mine:1", "en").await.html;
    assert!(page.contains("No Dockerfile came with this image."));
    assert!(!page.contains("docker pull mine"), "that would be another image");
    // A description that is broken is none.
    std::fs::write(folder.join("repositories/mine/_hub.json"), "{").expect("written");
    assert_eq!(get(&registry, "/r/mine", "en").await.status, 200);
}

#[tokio::test]
async fn addresses_that_lead_nowhere_say_so() {
    let registry = seeded().await;
    for path in [
        "/nothing",
        "/r/",
        "/r/no/such",
        "/r/library/hello-world:gone",
        "/r/library/hello-world:latest:x",
        "/r/../../etc/passwd",
        "/r/%2e%2e/%2e%2e/etc",
        "/r/Library/Java",
        "/tags/no/such",
        "/zh/nothing",
        "/r/library/hello-world@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        assert_eq!(get(&registry, path, "en").await.status, 404, "{path}");
    }
    for path in ["/nothing", "/assets/x", "/assets/../hub.css", "/v3/"] {
        let answer = http().get(format!("{}{path}", registry.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 404);
        assert_eq!(
            answer.headers()["content-type"],
            "application/json",
            "{path}: programs get an error of theirs"
        );
    }
    let posted = http().post(format!("{}/", registry.url)).send().await.expect("an answer");
    assert_eq!(posted.status(), 405);
}

#[tokio::test]
async fn assets_come_with_their_type_and_only_once() {
    let registry = with(&[]).await;
    for (name, media_type) in [
        ("hub.css", "text/css; charset=utf-8"),
        ("hub.js", "text/javascript; charset=utf-8"),
        ("hub.svg", "image/svg+xml"),
    ] {
        let url = format!("{}/assets/{name}", registry.url);
        let answer = http().get(&url).send().await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().ok()),
            (200, Some(media_type))
        );
        let etag = answer.headers()["etag"].clone();
        let again = http().get(&url).header("if-none-match", etag).send().await.expect("an answer");
        assert_eq!(again.status(), 304);
    }
    assert!(get(&registry, "/", "en").await.html.contains("Nothing is here yet."));
}

#[tokio::test]
async fn pulls_are_counted() {
    let registry = Registry::start().await;
    crate::protocol::push_blob(&registry, "c", b"{}").await;
    crate::protocol::push_blob(&registry, "c", b"layer").await;
    let text = crate::protocol::manifest(b"{}", b"layer", serde_json::json!({}));
    crate::protocol::push_manifest(&registry, "c", "1", &text).await;
    let url = format!("{}/v2/c/manifests/1", registry.url);
    for _ in 0..3 {
        crate::protocol::get(&url).await;
    }
    crate::protocol::send(reqwest::Method::HEAD, &url, &[], b"").await;
    let count = |registry: &Registry| {
        let url = format!("{}/v1/search?q=c", registry.url);
        async move {
            crate::protocol::json_of(crate::protocol::get(&url).await).await["results"][0]["pull_count"]
                .clone()
        }
    };
    assert_eq!(count(&registry).await, 3, "to look is not to pull");
    let again = Registry::at(registry.stop().await, |_| ()).await;
    assert_eq!(count(&again).await, 3, "it was noted at the end");
}
