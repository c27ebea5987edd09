//! `glassdock lesson …` and `glassdock book …`: programs of their own, found beside this
//! binary, as cargo and git find theirs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::failure::Failure;

/// Becomes `glassdock-lesson`; returns only if that is not possible.
pub(super) fn run(words: &[String]) -> Result<(), Failure> {
    let folder = std::env::current_exe().ok().and_then(|program| program.parent().map(ToOwned::to_owned));
    let program = folder.map(|folder| folder.join("glassdock-lesson")).filter(|program| program.exists());
    let Some(program) = program else {
        return Err(Failure::new(
            127,
            "glassdock-lesson is not there: it belongs beside the binary glassdock; `cargo build` builds both",
        ));
    };
    // `lesson check` is the other program's `check`; `book build` stays `book build`.
    let skip = usize::from(words.first().is_some_and(|word| word == "lesson"));
    let error = Command::new(&program).args(words.iter().skip(skip)).exec();
    Err(Failure::new(126, format!("cannot run {}: {error}", program.display())))
}
