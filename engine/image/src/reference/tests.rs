use super::*;
use proptest::prelude::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn normal(text: &str) -> String {
    Reference::parse(text).map_or_else(|error| error.to_string(), |reference| reference.to_string())
}

fn familiar(text: &str) -> String {
    Reference::parse(text).expect("a reference").familiar()
}

#[test]
fn familiar_names_become_normal() {
    assert_eq!(normal("busybox"), "docker.io/library/busybox");
    assert_eq!(normal("busybox:1.36"), "docker.io/library/busybox:1.36");
    assert_eq!(normal("acme/web"), "docker.io/acme/web");
    assert_eq!(normal("index.docker.io/busybox"), "docker.io/library/busybox");
    assert_eq!(normal("docker.io/library/busybox"), "docker.io/library/busybox");
    assert_eq!(normal("localhost/web"), "localhost/web");
    assert_eq!(normal("localhost:5000/a/b/c:T.1"), "localhost:5000/a/b/c:T.1");
    assert_eq!(normal("[::1]:5000/web"), "[::1]:5000/web");
    assert_eq!(normal("Registry/web"), "Registry/web");
    assert_eq!(normal("a__b/c---d"), "docker.io/a__b/c---d");
    assert_eq!(normal(&format!("web:1@sha256:{HEX}")), format!("docker.io/library/web:1@sha256:{HEX}"));
    // A port needs a slash after it, else it is a tag.
    assert_eq!(normal("localhost:5000"), "docker.io/library/localhost:5000");
}

#[test]
fn normal_names_become_familiar() {
    assert_eq!(familiar("docker.io/library/busybox:1"), "busybox:1");
    assert_eq!(familiar("docker.io/acme/web"), "acme/web");
    assert_eq!(familiar("docker.io/library/a/b"), "library/a/b");
    assert_eq!(familiar("quay.io/library/web"), "quay.io/library/web");
    assert_eq!(Reference::parse("web").expect("fits").with_default_tag().familiar(), "web:latest");
}

#[test]
fn refusals_have_dockers_words() {
    for text in [
        "",
        ":",
        "a:",
        "/",
        "a//b",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "web:-1",
        "web:tag:tag",
        "a b",
        "web@sha256",
        "a.b_c:8/x y",
    ] {
        assert_eq!(normal(text), "invalid reference format", "{text:?}");
    }
    let upper = "invalid reference format: repository name (library/Busybox) must be lowercase";
    assert_eq!(normal("Busybox"), upper);
    assert_eq!(normal("Busybox:Tag"), upper);
    assert_eq!(normal("web@sha256:abcd"), "invalid reference format");
    assert_eq!(normal(&format!("web@sha256:{}", &HEX[..40])), "invalid checksum digest length");
    assert_eq!(normal(&format!("web@md5:{HEX}")), "unsupported digest algorithm");
    assert_eq!(
        normal(HEX),
        format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings")
    );
    assert_eq!(
        normal(&format!("x/{}", "a".repeat(256))),
        "repository name must not be more than 255 characters"
    );
    assert_eq!(normal(&format!("web:{}", "a".repeat(129))), "invalid reference format");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        let _ = Reference::parse(&text);
    }

    // A first component with a dot reads as a domain in the familiar form; Docker has the same ambiguity.
    #[test]
    fn both_forms_read_back_as_the_same(
        domain in prop::sample::select(vec!["", "localhost/", "quay.io/", "r:5000/", "docker.io/"]),
        path in "[a-z0-9]{1,8}([_-][a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}(__[a-z0-9]{1,4})?){0,2}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        digest in any::<bool>(),
    ) {
        let mut text = format!("{domain}{path}");
        if let Some(tag) = tag { text = format!("{text}:{tag}"); }
        if digest { text = format!("{text}@sha256:{HEX}"); }
        let Ok(reference) = Reference::parse(&text) else { return Ok(()) };
        prop_assert_eq!(&Reference::parse(&reference.to_string()).expect("its own output"), &reference);
        prop_assert_eq!(&Reference::parse(&reference.familiar()).expect("its own output"), &reference);
    }
}
