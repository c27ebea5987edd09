//! Whatever the bytes are, reading, checking and planning end, without a panic.

use std::time::{Duration, Instant};

use glassdock_build::check::check;
use glassdock_build::plan::{Plan, Wish};
use proptest::prelude::*;

fn swallow(bytes: &[u8]) {
    let (file, errors) = glassdock_build::read(bytes);
    let _ = check(&file, &glassdock_build::check::Known::default());
    if errors.is_empty() {
        // An error is as good as a plan: it only has to come.
        let _ = Plan::of(&file, &Wish::default());
    }
    for error in errors {
        assert!(error.at.line >= 1 && error.at.column >= 1, "{error}");
        assert!(!error.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        swallow(&bytes);
    }

    #[test]
    fn anything_like_a_dockerfile(lines in proptest::collection::vec(
        prop_oneof![
            "(FROM|RUN|COPY|ADD|ENV|LABEL|ARG|ONBUILD|HEALTHCHECK|SHELL|USER|EXPOSE|VOLUME|CMD)[ \t](--[a-z]{1,9}=?)?[ -~]{0,30}\\\\?",
            "# (escape|check|syntax) ?= ?[`\\\\a-z;=,]{0,9}",
            "[A-Za-z]{1,8} (<<-?[A-Z'\"]{1,4} ?){1,3}",
            "[$]\\{[A-Z]{0,2}[:+?/#%-]{0,3}[^\n]{0,9}\\}?",
            "[^\n]{0,20}",
        ], 0..12)) {
        swallow(lines.join("\n").as_bytes());
        swallow(format!("FROM x\n{}", lines.join("\r\n")).as_bytes());
    }

    #[test]
    fn anything_like_a_dockerignore(text in "([*?a-c/!#. \\[\\]^-]{0,12}\n){0,6}", path in "[a-c/]{1,12}") {
        if let Ok(ignore) = glassdock_build::ignore::Ignore::read(text.as_bytes()) {
            prop_assert!(!ignore.prunes(&path) || ignore.ignores(&path));
        }
    }
}

#[test]
fn large_and_deep_files_end_soon() {
    let begin = Instant::now();
    let long = format!("FROM x\nRUN {}\n", "a".repeat(70_000));
    let (_, errors) = glassdock_build::read(long.as_bytes());
    assert!(errors.iter().any(|error| error.to_string().contains("greater than maximum")), "{errors:?}");
    let huge = vec![b'\n'; 9 * 1024 * 1024];
    let (_, errors) = glassdock_build::read(&huge);
    assert!(errors[0].to_string().contains("larger than"));
    swallow(format!("FROM {}\n", "${a:-".repeat(20_000)).as_bytes());
    swallow("ONBUILD ".repeat(8000).as_bytes());
    swallow("FROM x\nRUN a \\\n".repeat(50_000).as_bytes());
    swallow(format!("FROM x\nENV {}", "a=b ".repeat(16_000)).as_bytes());
    // Each line doubles what the one before made.
    let bomb: String = (1..64).map(|n| format!("ARG a{n}=$a{0}$a{0}\n", n - 1)).collect();
    let (file, errors) = glassdock_build::read(format!("ARG a0=xxxxxxxx\n{bomb}FROM $a63\n").as_bytes());
    assert_eq!(errors, []);
    let error = Plan::of(&file, &Wish::default()).expect_err("a bomb");
    assert!(error.to_string().contains("grows past"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}
