//! Dockerfiles and what they are read as: `cases/NAME/Dockerfile` and `cases/NAME/expected`.
//!
//! `ACCEPT=1 cargo test` writes what is read; look at the difference before you commit it.

use std::fmt::Write;
use std::path::Path;

use glassdock_build::ignore::Ignore;
use glassdock_build::plan::{Plan, Wish, platform_arguments};

/// One line an instruction, an error, a finding and a stage.
fn told(folder: &Path) -> String {
    let bytes = std::fs::read(folder.join("Dockerfile")).expect("a case has a Dockerfile");
    let (file, errors) = glassdock_build::read(&bytes);
    let mut out = String::new();
    for one in &file.instructions {
        let kind = serde_json::to_string(&one.kind).expect("JSON");
        let flags: Vec<&str> = one.flags.iter().map(|flag| flag.text.as_str()).collect();
        writeln!(out, "{}-{} {} {flags:?} {kind}", one.at(), one.last_line, one.kind.name())
            .expect("written");
        for doc in &one.heredocs {
            writeln!(out, "  <<{} expand={} {:?}", doc.name, doc.expand, doc.content).expect("written");
        }
    }
    for error in &errors {
        writeln!(out, "error {error}").expect("written");
    }
    let ignore = std::fs::read(folder.join("dockerignore")).ok();
    let ignore = ignore.map(|bytes| Ignore::read(&bytes).expect("a .dockerignore"));
    for finding in glassdock_build::check::check(&file, ignore.as_ref()) {
        writeln!(out, "warning {finding}").expect("written");
    }
    if errors.is_empty() {
        let own = ("linux", "amd64", "");
        let wish = Wish { platform: platform_arguments(own, own), ..Wish::default() };
        match Plan::of(&file, &wish) {
            Ok(plan) => {
                for stage in plan.stages {
                    writeln!(out, "stage {}", serde_json::to_string(&stage).expect("JSON")).expect("written");
                }
            }
            Err(error) => writeln!(out, "plan {error}").expect("written"),
        }
    }
    out
}

#[test]
fn dockerfiles_are_read_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/build/cases");
    let mut count = 0;
    for entry in std::fs::read_dir(cases).expect("the cases") {
        let folder = entry.expect("a case").path();
        let told = told(&folder);
        let expected = folder.join("expected");
        if std::env::var_os("ACCEPT").is_some() {
            std::fs::write(&expected, &told).expect("written");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(told, wanted, "{}", folder.display());
        count += 1;
    }
    assert!(count >= 10, "only {count} cases");
}
