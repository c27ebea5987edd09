//! Programs of their own, found beside this binary, as cargo and git find theirs: `glassdock-engine`,
//! and `glassdock-lesson` for `glassdock lesson …` and `glassdock book …`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::failure::Failure;

/// Becomes the whole program, for the same words; returns only if that is not possible.
pub(crate) fn engine() -> Result<(), Failure> {
    let mut words = std::env::args_os();
    // Its name too: called `docker`, it has Docker's words.
    let name = words.next().unwrap_or_default();
    become_program("glassdock-engine", name, words)
}

/// Becomes `glassdock-lesson`; returns only if that is not possible.
pub(super) fn run(words: &[String]) -> Result<(), Failure> {
    // `lesson check` is the other program's `check`; `book build` stays `book build`.
    let skip = usize::from(words.first().is_some_and(|word| word == "lesson"));
    let words = words.iter().skip(skip).map(Into::into);
    become_program("glassdock-lesson", "glassdock-lesson".into(), words)
}

fn become_program(
    program: &str,
    name: OsString,
    words: impl Iterator<Item = OsString>,
) -> Result<(), Failure> {
    let folder = std::env::current_exe().ok().and_then(|own| own.parent().map(ToOwned::to_owned));
    let Some(path) = folder.map(|folder| folder.join(program)).filter(|path| path.exists()) else {
        return Err(Failure::new(
            127,
            format!(
                "{program} is not there: it belongs beside the binary glassdock; `cargo build` builds both"
            ),
        ));
    };
    let error = Command::new(&path).arg0(name).args(words).exec();
    Err(Failure::new(126, format!("cannot run {}: {error}", path.display())))
}
