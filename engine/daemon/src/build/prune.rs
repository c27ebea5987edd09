//! `docker builder prune`: the cache forgets its steps, and what `RUN --mount=type=cache` kept goes.
//!
//! Layers stay as long as images have them; `docker image prune` removes the others.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::files;
use super::remember::Known;
use crate::call::Call;
use crate::engine::Engine;
use crate::error::Error;
use crate::reply::{self, Reply};
use crate::route::Filters;

/// What of the cache is to go.
struct Wish {
    filters: Filters,
    until: Option<Timestamp>,
    /// The bytes that may stay; steps have none of their own, their layers are counted with the images.
    keep: Option<u64>,
}

impl Wish {
    fn of(call: &Call) -> Result<Self, Error> {
        let filters = call.filters()?;
        filters.only(&["id", "until", "type", "inuse", "label", "label!"])?;
        filters.truth("inuse")?;
        let until = crate::system::until_of(&filters)?;
        let mut keep = None;
        // The names of the same thing before 1.48 and since.
        for name in ["keep-storage", "reserved-space", "max-used-space"] {
            let bytes =
                call.number(name)?.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
            keep = keep.max(bytes);
        }
        Ok(Self { filters, until, keep })
    }

    /// Whether something goes, by what the client said of it. What a build uses just now always stays.
    fn means(&self, id: &str, kind: &str, used: Option<Timestamp>) -> bool {
        // Nothing of the cache has labels; `system prune` asks for them here too.
        !self.filters.has("label")
            && self.filters.any("id", |wanted| id.starts_with(wanted))
            && self.filters.any("type", |wanted| kind == wanted)
            && self.filters.truth("inuse").is_ok_and(|in_use| in_use != Some(true))
            && self.until.is_none_or(|until| used.is_some_and(|used| used < until))
    }

    /// Whether there is no word of what should stay.
    fn means_all(&self) -> bool {
        self.filters == Filters::default() && self.keep.is_none()
    }
}

/// `BuildPrune`.
pub(crate) async fn prune(call: Call) -> Reply {
    let wish = Wish::of(&call)?;
    let pruned = call.engine.blocking(move |engine| {
        let mut gone = if wish.keep.is_none() { forget_steps(engine, &wish)? } else { Vec::new() };
        let space = remove_folders(engine, &wish, &mut gone)?;
        Ok::<_, Error>((gone, space))
    });
    let (gone, space) = pruned.await?;
    let gone = (!gone.is_empty()).then_some(gone);
    reply::json(&serde_json::json!({ "CachesDeleted": gone, "SpaceReclaimed": space }))
}

/// Returns the keys of the forgotten steps.
fn forget_steps(engine: &Arc<Engine>, wish: &Wish) -> Result<Vec<String>, Error> {
    let state = engine.images.state();
    let mut keys = Vec::new();
    for document in state.all("build-cache")? {
        let known = serde_json::from_str::<Known>(&document.json).ok();
        let created = known.and_then(|known| known.created.parse().ok());
        if wish.means(&document.id, "regular", created) {
            state.delete("build-cache", &document.id)?;
            keys.push(document.id);
        }
    }
    if wish.means_all() {
        for document in state.all("build-last")? {
            state.delete("build-last", &document.id)?;
        }
    }
    Ok(keys)
}

/// Removes caches of `RUN --mount=type=cache`, the longest unused first; returns their bytes.
fn remove_folders(engine: &Arc<Engine>, wish: &Wish, gone: &mut Vec<String>) -> Result<u64, Error> {
    let in_use = engine.builds.caches.in_use();
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(engine.config.root.join("build-cache")).into_iter().flatten() {
        let folder = entry?.path();
        let used =
            std::fs::metadata(&folder)?.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        folders.push((used, files::size(&folder), folder));
    }
    folders.sort();
    let mut kept: u64 = folders.iter().map(|(_, size, _)| size).sum();
    let mut space = 0;
    for (used, size, folder) in folders {
        let enough = wish.keep.is_some_and(|keep| kept <= keep);
        if enough || in_use.contains(&folder) || !wish.means(&name(&folder), "exec.cachemount", used) {
            continue;
        }
        std::fs::remove_dir_all(&folder)?;
        gone.push(name(&folder));
        kept -= size;
        space += size;
    }
    Ok(space)
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
