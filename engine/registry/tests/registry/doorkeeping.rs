//! Who may do what: passwords, tokens, scopes, and clients that log in.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use glassdock_image::{Images, Platform, Reference};
use glassdock_registry::client::{Client, ClientConfig, Credentials, Silent};
use glassdock_registry::server::{Action, Anonymous, AuthConfig, Method as Login, Rule};
use glassdock_registry::{seed, server};
use glassdock_trace::Trace;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::protocol::{code_of, get, header, json_of, send};
use crate::support::Registry;

/// A registry of Ali, who may do all, and Bo, who may do what a rule says.
async fn guarded(method: Login, anonymous: Anonymous) -> (Registry, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let users = folder.path().join("users");
    let line = |name: &str, password| format!("{name}:{}\n", bcrypt::hash(password, 4).expect("a hash"));
    std::fs::write(&users, line("ali", "open sesame") + &line("bo", "knock knock")).expect("written");
    let rule = |user: &str, repositories: &str, actions: &[Action]| Rule {
        users: vec![user.to_owned()],
        repositories: vec![repositories.to_owned()],
        actions: actions.to_vec(),
    };
    let auth = AuthConfig {
        htpasswd: users,
        method,
        anonymous,
        access: vec![
            rule("ali", "*", &[Action::Pull, Action::Push, Action::Delete]),
            rule("bo", "bo/*", &[Action::Pull, Action::Push]),
        ],
        service: "test".to_owned(),
        realm: None,
        lifetime: Duration::from_secs(60),
    };
    (Registry::with(|config| config.auth = Some(auth)).await, folder)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

async fn status(method: Method, url: &str, authorization: Option<&str>) -> StatusCode {
    let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
    send(method, url, &headers, b"").await.status()
}

#[tokio::test]
async fn passwords_are_asked_for_and_rules_are_kept() {
    let (registry, folder) = guarded(Login::Basic, Anonymous::Pull).await;
    let base = get(&format!("{}/v2/", registry.url)).await;
    assert_eq!(header(&base, "www-authenticate"), "Basic realm=\"test\"");
    assert_eq!(code_of(base).await, (401, "UNAUTHORIZED".to_owned()));
    let (ali, bo) = (basic("ali", "open sesame"), basic("bo", "knock knock"));
    let uploads = |name: &str| format!("{}/v2/{name}/blobs/uploads/", registry.url);
    for (who, name, expected) in [
        (Some(&*ali), "any", 202),
        (Some(&*bo), "bo/a", 202),
        (Some(&*bo), "any", 403),
        (Some(&*basic("ali", "knock knock")), "any", 401),
        (Some(&*basic("nobody", "open sesame")), "any", 401),
        (Some("Basic ?"), "any", 401),
        (Some("Digest x"), "any", 401),
        (None, "any", 401),
    ] {
        assert_eq!(status(Method::POST, &uploads(name), who).await, expected, "{who:?} {name}");
    }
    let tags = format!("{}/v2/any/tags/list", registry.url);
    assert_eq!(status(Method::GET, &tags, None).await, 404, "anonymous clients may pull");
    assert_eq!(status(Method::GET, &tags, Some(&basic("ali", "x"))).await, 401, "but not pretend");
    let delete = format!("{}/v2/bo/a/manifests/x", registry.url);
    assert_eq!(status(Method::DELETE, &delete, Some(&bo)).await, 403);

    let hash = bcrypt::hash("another", 4).expect("a hash");
    tokio::time::sleep(Duration::from_millis(20)).await;
    std::fs::write(folder.path().join("users"), format!("ali:{hash}\n")).expect("written");
    assert_eq!(status(Method::POST, &uploads("any"), Some(&ali)).await, 401, "the file was changed");
    assert_eq!(status(Method::POST, &uploads("any"), Some(&basic("ali", "another"))).await, 202);
}

#[tokio::test]
async fn tokens_are_good_for_what_was_granted() {
    let (registry, _folder) = guarded(Login::Token, Anonymous::None).await;
    let begun =
        send(Method::POST, &format!("{}/v2/bo/a/blobs/uploads/?mount=x&from=b", registry.url), &[], b"")
            .await;
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"test\",scope=\"repository:bo/a:pull,push repository:b:pull\"",
        registry.url
    );
    assert_eq!(header(&begun, "www-authenticate"), challenge);
    let ask = |who: Option<String>, scope: &str| {
        let url = format!("{}/token?service=test&scope={scope}", registry.url);
        async move {
            let headers: Vec<_> = who.iter().map(|value| ("authorization", value.as_str())).collect();
            send(Method::GET, &url, &headers, b"").await
        }
    };
    assert_eq!(ask(None, "repository:a:pull").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some(basic("bo", "x")), "repository:a:pull").await.status(), StatusCode::UNAUTHORIZED);
    let given: Value =
        json_of(ask(Some(basic("bo", "knock knock")), "repository:bo/a:pull,push,delete").await).await;
    let bearer = format!("Bearer {}", given["token"].as_str().expect("a token"));
    let url = |rest: &str| format!("{}/v2/{rest}", registry.url);
    for (method, rest, expected) in [
        (Method::GET, "", 200),
        (Method::POST, "bo/a/blobs/uploads/", 202),
        (Method::GET, "bo/a/tags/list", 404),
        (Method::DELETE, "bo/a/manifests/x", 401),
        (Method::POST, "bo/b/blobs/uploads/", 401),
        (Method::GET, "_catalog", 401),
    ] {
        assert_eq!(status(method, &url(rest), Some(&bearer)).await, expected, "{rest}");
    }
    let refused = send(Method::GET, &url("c/tags/list"), &[("authorization", &bearer)], b"").await;
    assert!(header(&refused, "www-authenticate").ends_with(",error=\"insufficient_scope\""));
    assert_eq!(status(Method::GET, &url(""), Some(&bearer[..bearer.len() - 2])).await, 401);
    let form = b"grant_type=password&username=ali&password=open+sesame&service=test&scope=registry:catalog:*";
    let given = json_of(send(Method::POST, &format!("{}/token", registry.url), &[], form).await).await;
    let bearer = format!("Bearer {}", given["access_token"].as_str().expect("a token"));
    assert_eq!(status(Method::GET, &url("_catalog"), Some(&bearer)).await, 200);
}

/// Our client, with what others may and may not know.
#[tokio::test(flavor = "multi_thread")]
async fn clients_log_in_push_and_pull_without_logging_in() {
    for method in [Login::Basic, Login::Token] {
        let (registry, _folder) = guarded(method, Anonymous::Pull).await;
        let seed = seed::images(std::path::Path::new(seed::BUSYBOX)).expect("the seed is made");
        server::plant(registry.root.path(), &seed.images).expect("planted");
        let host = registry.url.trim_start_matches("http://");
        let client = Client::new(ClientConfig { attempts: 1, ..ClientConfig::default() });
        let root = tempfile::tempdir().expect("a folder");
        let images = Images::open(root.path()).expect("an empty root");
        let (trace, platform) = (Trace::off(), Platform::host());
        let source: Reference = format!("{host}/library/hello-world:latest").parse().expect("a reference");
        let silent = || std::sync::Arc::new(Silent);
        let pulled = client.pull(&trace, &source, &platform, None, &images, silent()).await.expect("pulled");
        let target: Reference = format!("{host}/bo/hello:1").parse().expect("a reference");
        images.tag(&trace, &pulled.image.id, &target).expect("tagged");
        let who =
            |name: &str, word: &str| Credentials::Basic { username: name.into(), password: word.into() };
        client.push(&trace, &target, None, &images, silent()).await.expect_err("nobody may push");
        let bo = who("bo", "knock knock");
        let pushed = client.push(&trace, &target, Some(&bo), &images, silent()).await.expect("pushed");
        assert_eq!(pushed.digest, pulled.image.manifest.digest);
        let other: Reference = format!("{host}/ali/hello:1").parse().expect("a reference");
        images.tag(&trace, &pulled.image.id, &other).expect("tagged");
        client.push(&trace, &other, Some(&bo), &images, silent()).await.expect_err("not there");
    }
}

/// `skopeo login` asks the registry; a wrong password is told so.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_logs_in() {
    for method in [Login::Basic, Login::Token] {
        let (registry, folder) = guarded(method, Anonymous::Pull).await;
        let host = registry.url.trim_start_matches("http://").to_owned();
        for (password, good) in [("open sesame", true), ("knock knock", false)] {
            let file = folder.path().join("auth.json");
            let mut login = Command::new("skopeo");
            login.args(["login", "--tls-verify=false", "--authfile"]).arg(file);
            login.args(["-u", "ali", "-p", password, &host]);
            let output = tokio::task::spawn_blocking(move || login.output()).await.expect("no panic");
            let Ok(output) = output else { return };
            assert_eq!(output.status.success(), good, "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_a_token_that_stands_for_the_password() {
    let (registry, folder) = guarded(Login::Token, Anonymous::None).await;
    let host = registry.url.trim_start_matches("http://").to_owned();
    let client = Client::new(ClientConfig::default());
    let basic =
        |password: &str| Credentials::Basic { username: "ali".to_owned(), password: password.to_owned() };
    let trace = Trace::off();
    client.login(&trace, &host, &basic("wrong")).await.expect_err("not Ali");
    let identity = client.login(&trace, &host, &basic("open sesame")).await.expect("Ali");
    let identity = identity.expect("a token in place of the password");
    let token = Credentials::IdentityToken(identity.clone());
    assert_eq!(client.login(&trace, &host, &token).await.expect("still Ali"), None);
    server::plant(registry.root.path(), &[]).expect("nothing is planted");
    let bearer = [("authorization", &*format!("Bearer {identity}"))];
    let direct = send(Method::GET, &format!("{}/v2/", registry.url), &bearer, b"").await;
    assert_eq!(direct.status(), StatusCode::UNAUTHORIZED, "it is good at the token service only");
    let ask = |form: String| {
        let url = format!("{}/token", registry.url);
        async move { send(Method::POST, &url, &[], form.as_bytes()).await }
    };
    let refresh = format!("grant_type=refresh_token&refresh_token={identity}&scope=repository:any:pull,push");
    let given = json_of(ask(refresh.clone()).await).await;
    let push = format!("Bearer {}", given["access_token"].as_str().expect("a token"));
    assert!(given["refresh_token"].is_null(), "nobody asked for another one");
    assert_eq!(
        status(Method::POST, &format!("{}/v2/any/blobs/uploads/", registry.url), Some(&push)).await,
        202
    );
    for form in [
        "grant_type=refresh_token&refresh_token=x".to_owned(),
        format!("grant_type=refresh_token&refresh_token={}", &push["Bearer ".len()..]),
    ] {
        assert_eq!(ask(form).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask("grant_type=x".to_owned()).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let hash = bcrypt::hash("another", 4).expect("a hash");
    std::fs::write(folder.path().join("users"), format!("ali:{hash}\n")).expect("written");
    assert_eq!(ask(refresh).await.status(), StatusCode::UNAUTHORIZED, "the password was changed");
}
