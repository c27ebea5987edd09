//! Has the disk put down for good what uploads have written, while more comes.
//!
//! A disk takes bytes faster than it makes them safe (fdatasync(2)), and a blob has its name only when
//! all of it is. Begun at the end, that would take as long again as the upload did.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

/// So many bytes of an upload come before the disk is asked again.
pub(super) const STRETCH: u64 = 32 * 1024 * 1024;

/// The thread that asks the disk; there is none before the first large upload.
#[derive(Clone, Debug, Default)]
pub(super) struct Flusher(Arc<OnceLock<SyncSender<PathBuf>>>);

impl Flusher {
    /// Has what was written to a file put down, if the disk is not busy with that already. Nothing is
    /// promised: whoever needs to know waits for it at the end.
    pub(super) fn flush(&self, path: &Path) {
        let jobs = self.0.get_or_init(|| {
            let (sender, jobs) = sync_channel(1);
            // Without a thread the sender has no receiver, and all waits for the end.
            let _ = std::thread::Builder::new().name("flusher".to_owned()).spawn(move || work(&jobs));
            sender
        });
        let _ = jobs.try_send(path.to_owned());
    }
}

fn work(jobs: &Receiver<PathBuf>) {
    for path in jobs {
        // One that is a blob by now, or given up, is safe or needs no safety.
        let Ok(file) = File::open(&path) else { continue };
        if let Err(error) = file.sync_data() {
            // The kernel tells such a failure once. Without the upload nobody takes it for whole.
            tracing::error!(path = %path.display(), %error, "the disk refuses an upload: given up");
            let _ = fs::remove_file(&path);
        }
    }
}
