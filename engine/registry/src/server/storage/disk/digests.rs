//! How far the digests of uploads are computed: between their requests, and while bytes come.
//!
//! A digest takes as long as writing the bytes does, so the two are done side by side: a round
//! of bytes is hashed by a crew of a few threads while the next one is written. Jobs of the
//! crew wait for nothing, and an upload has one under way at most, so neither threads nor
//! bytes pile up.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use glassdock_image::digest::{Algorithm, Hasher};

/// What is shorter is hashed at once: handing it to a thread would take longer.
const AT_ONCE: usize = 64 * 1024;

/// How far an upload's digest is computed.
#[derive(Debug)]
pub(super) struct Progress {
    /// How many bytes the hasher has seen, or sees just now.
    pub(super) hashed: u64,
    pub(super) algorithm: Algorithm,
    state: State,
}

#[derive(Debug)]
enum State {
    Here(Hasher),
    /// With the crew.
    Away(Receiver<Hasher>),
}

impl Progress {
    pub(super) fn new(hasher: Hasher, hashed: u64) -> Self {
        Self { hashed, algorithm: hasher.algorithm(), state: State::Here(hasher) }
    }

    /// The hasher, when it has seen everything that it was given; `None` if it is lost.
    pub(super) fn hasher(&mut self) -> Option<&Hasher> {
        if let State::Away(coming) = &self.state {
            self.state = State::Here(coming.recv().ok()?);
        }
        match &self.state {
            State::Here(hasher) => Some(hasher),
            State::Away(_) => None,
        }
    }
}

/// The digests of all uploads of a folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Digests(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Of those that no request holds, by key.
    resting: Mutex<HashMap<String, Progress>>,
    crew: OnceLock<Sender<Job>>,
}

/// Bytes for a hasher, and where it goes then.
struct Job {
    hasher: Hasher,
    pieces: Vec<Bytes>,
    done: std::sync::mpsc::SyncSender<Hasher>,
}

impl Job {
    fn run(mut self) {
        self.pieces.iter().for_each(|piece| self.hasher.update(piece));
        // Nobody waits for it where the upload was given up.
        let _ = self.done.send(self.hasher);
    }
}

impl Digests {
    /// What is known of an upload, for the request that holds it now.
    pub(super) fn take(&self, key: &str) -> Option<Progress> {
        self.lock().remove(key)
    }

    /// Keeps what is known of an upload for its next request.
    pub(super) fn rest(&self, key: String, progress: Progress) {
        self.lock().insert(key, progress);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Progress>> {
        // Every change is one insertion or removal: a panic elsewhere leaves the map whole.
        self.0.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the next bytes to a digest; while they are hashed the caller goes on. `None` if what
    /// was computed so far is lost.
    pub(super) fn add(&self, progress: Progress, pieces: Vec<Bytes>) -> Option<Progress> {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let (algorithm, hashed) = (progress.algorithm, progress.hashed + length as u64);
        let mut hasher = match progress.state {
            State::Here(hasher) => hasher,
            State::Away(coming) => coming.recv().ok()?,
        };
        if length <= AT_ONCE {
            pieces.iter().for_each(|piece| hasher.update(piece));
            return Some(Progress { hashed, algorithm, state: State::Here(hasher) });
        }
        let (done, coming) = sync_channel(1);
        let job = Job { hasher, pieces, done };
        // Without a crew, because the machine has no thread to spare, it is done here.
        if let Err(unsent) = self.0.crew.get_or_init(hire).send(job) {
            unsent.0.run();
        }
        Some(Progress { hashed, algorithm, state: State::Away(coming) })
    }
}

/// As many threads as the machine has processors. They go when the folder is closed.
fn hire() -> Sender<Job> {
    let (sender, jobs) = channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        let jobs = Arc::clone(&jobs);
        let work = move || {
            loop {
                let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = next else { return };
                job.run();
            }
        };
        // Fewer will do; with none of them, the sender has no receiver.
        let _ = std::thread::Builder::new().name("digests".to_owned()).spawn(work);
    }
    sender
}

#[cfg(test)]
mod tests {
    use super::*;
    use glassdock_image::Digest;

    #[test]
    fn many_uploads_are_hashed_side_by_side_and_each_in_order() {
        let digests = Digests::default();
        std::thread::scope(|scope| {
            for upload in 0..8_u8 {
                let digests = digests.clone();
                scope.spawn(move || {
                    let hasher = Hasher::new(Algorithm::Sha256);
                    let mut progress = Progress::new(hasher, 0);
                    let mut all = Vec::new();
                    for round in 0..20_u8 {
                        // Short ones and long ones, in one piece and in several.
                        let pieces: Vec<Bytes> = (0..3)
                            .map(|piece| vec![upload ^ round ^ piece; usize::from(round) * 3_001].into())
                            .collect();
                        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
                        digests.rest("key".to_owned() + &upload.to_string(), progress);
                        let taken = digests.take(&("key".to_owned() + &upload.to_string()));
                        progress = digests.add(taken.expect("it rests"), pieces).expect("nothing is lost");
                    }
                    assert_eq!(progress.hashed, all.len() as u64);
                    let hasher = progress.hasher().expect("nothing is lost").clone();
                    assert_eq!(hasher.finish(), Digest::of(&all));
                });
            }
        });
    }
}
