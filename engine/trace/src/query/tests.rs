use super::*;
use crate::samples;

fn found(query: &str) -> usize {
    query.parse::<Query>().expect("a query").find(&Tree::of(&samples::run())).len()
}

fn yaml(query: &str) -> Query {
    serde_yaml::from_str(query).expect("a query")
}

#[test]
fn kinds_families_and_fields() {
    assert_eq!(found("kind=image.resolve"), 1);
    assert_eq!(found("kind=blob.*"), 1);
    assert_eq!(found("reference=*busybox*"), 1);
    assert_eq!(found("namespaces=pid"), 1, "one item of a list");
    assert_eq!(found("size=2048"), 1, "numbers as text");
    assert_eq!(found("errno=ENOENT"), 1);
    assert_eq!(found("kind=process.exec ok=true"), 0);
    assert_eq!(found("kind=user.set"), 0, "skipped steps must be asked for");
    assert_eq!(found("kind=user.set skipped=true"), 1);
}

#[test]
fn order_and_place() {
    assert_eq!(found("kind=layer.mount after=namespace.create before=rootfs.pivot"), 1);
    assert_eq!(found("kind=layer.mount after=rootfs.pivot"), 0);
    assert_eq!(found("kind=layer.mount before=namespace.create"), 0);
    assert_eq!(found("kind=mount.detach inside=rootfs.pivot"), 1);
    assert_eq!(found("kind=mount.detach inside=layer.mount"), 0);
    assert_eq!(found("kind=mount.detach after=rootfs.pivot"), 0, "what is inside is not after");
}

#[test]
fn operations_follow_each_other() {
    let mut tree = Tree::of(&samples::run());
    tree.add(&samples::run());
    let query: Query = "kind=image.resolve after=process.exec".parse().expect("a query");
    assert_eq!(query.find(&tree).len(), 1, "the second operation's");
}

#[test]
fn counts_and_what_comes_near() {
    let tree = Tree::of(&samples::run());
    assert!(yaml("{kind: blob.fetch, count: 0}").check(&tree).is_ok());
    assert!(yaml("{kind: image.resolve, count: {min: 1, max: 2}}").check(&tree).is_ok());
    let wrong =
        yaml("{kind: layer.mount, after: {kind: rootfs.pivot}}").check(&tree).expect_err("wrong order");
    assert_eq!(
        wrong.to_string(),
        "wanted at least 1 of: layer.mount after (rootfs.pivot); found 0 (there are 1 of it without the order or place)"
    );
}

#[test]
fn what_can_never_be_found_is_known() {
    assert_eq!(yaml("{kind: blob.fetch, fields: {colour: red}}").unknown_fields(), ["colour"]);
    assert!(
        yaml("{kind: blob.*, fields: {digest: x}, after: {fields: {argv: x}}}").unknown_fields().is_empty()
    );
    assert!(serde_yaml::from_str::<Query>("{kind: blob.fitch}").is_err());
    assert!("blob".parse::<Query>().is_err());
}

#[test]
fn globs() {
    for (pattern, text, fits) in [
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abbd", false),
        ("*b*", "abc", true),
        ("abc", "abcd", false),
        ("", "", true),
    ] {
        assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
    }
    assert!(!glob(&"*a".repeat(200), &"a".repeat(100)));
}
