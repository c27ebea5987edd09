//! `build --check` and `--print`: no daemon, the places of mistakes, the exit status.

use std::process::{Command, Output};

fn glassdock(words: &[&str], folder: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glassdock"))
        .args(words)
        .current_dir(folder)
        // There is none: whoever asks it fails.
        .env("GLASSDOCK_HOST", "unix:///nonexistent.sock")
        .output()
        .expect("the binary")
}

#[test]
fn dockerfiles_are_checked_without_a_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("good"), "FROM busybox\nCMD [\"sh\"]\n").expect("written");
    std::fs::write(folder.path().join("bad"), "FROM busybox\n  RUUN true\n").expect("written");
    std::fs::write(folder.path().join("odd"), "FROM busybox AS Up\n").expect("written");
    let good = glassdock(&["build", "--check", "good"], folder.path());
    assert_eq!((good.status.code(), good.stderr), (Some(0), Vec::new()));
    let bad = glassdock(&["build", "--check", "good", "bad", "odd"], folder.path());
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&bad.stderr),
        "bad:2:3: unknown instruction: RUUN (did you mean RUN?)\n\
         odd:1:17: warning: StageNameCasing: Stage name 'Up' should be lowercase\n"
    );
    let plan = glassdock(&["build", "--print=plan", "good"], folder.path());
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    assert_eq!(plan["stages"][0]["base"]["image"], "busybox");
    let tree = glassdock(&["build", "--print", "ast", "good"], folder.path());
    let tree: serde_json::Value = serde_json::from_slice(&tree.stdout).expect("JSON");
    assert_eq!(tree["instructions"][1]["kind"]["cmd"]["exec"][0], "sh");
}
