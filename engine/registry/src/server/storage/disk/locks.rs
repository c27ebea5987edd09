//! Who adds, and who collects.
//!
//! Many hold `lock` together, and one who wants it alone would wait for a moment without any of them. So
//! everybody goes through `gate` first: who collects keeps it shut while they wait.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::server::error::Refusal;
use crate::server::storage::place::Guard;

/// Keeps who collects out.
pub(super) fn adding(root: &Path) -> Result<Guard, Refusal> {
    let gate = locked(root, "gate", File::lock_shared)?;
    let lock = locked(root, "lock", File::lock_shared)?;
    drop(gate);
    Ok(Guard::new(Some(lock)))
}

/// Keeps everybody out.
pub(super) fn alone(root: &Path) -> Result<Guard, Refusal> {
    let gate = locked(root, "gate", File::lock)?;
    let lock = locked(root, "lock", File::lock)?;
    drop(gate);
    Ok(Guard::new(Some(lock)))
}

fn locked(root: &Path, name: &str, how: fn(&File) -> io::Result<()>) -> Result<File, Refusal> {
    let path = root.join(name);
    let file = File::open(&path).map_err(|source| Refusal::disk("open", &path, source))?;
    how(&file).map_err(|source| Refusal::disk("lock", &path, source))?;
    Ok(file)
}
