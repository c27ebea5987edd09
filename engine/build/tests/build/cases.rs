//! Dockerfiles and what they are read as: `cases/NAME/Dockerfile` and `cases/NAME/expected`.
//!
//! `ACCEPT=1 cargo test` writes what is read; look at the difference before you commit it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use glassdock_build::check::{self, BaseImage, Known};
use glassdock_build::ignore::Ignore;
use glassdock_build::language::{File, Instruction, Kind};
use glassdock_build::plan::{Plan, Wish, platform_arguments};

/// The images of a case: a line each, the name, the platform, `shell` or `-`, and the environment.
fn bases(folder: &Path, file: &File) -> BTreeMap<usize, BaseImage> {
    let known = std::fs::read_to_string(folder.join("images")).unwrap_or_default();
    let image = |name: &str| {
        let line = known.lines().find(|line| line.split(' ').next() == Some(name))?;
        let mut words = line.split(' ').map(str::to_owned).skip(1);
        let platform = words.next()?;
        let has_shell = words.next()? == "shell";
        let wanted = "linux/amd64".to_owned();
        Some(BaseImage { name: name.to_owned(), env: words.collect(), has_shell, platform, wanted })
    };
    let of = |one: &Instruction| match &one.kind {
        Kind::From(from) => image(&from.image.text),
        _ => None,
    };
    file.instructions.iter().enumerate().filter_map(|(index, one)| Some((index, of(one)?))).collect()
}

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
    let known = Known { ignore, bases: bases(folder, &file), said: None };
    for finding in check::check(&file, &known) {
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
