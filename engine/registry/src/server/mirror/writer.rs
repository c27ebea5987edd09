//! What writes a download into its file: a round at a time, hashed on the way, while the next
//! one comes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glassdock_image::digest::{Digest, Hasher};
use tokio::sync::watch;
use tokio::time::Instant;

use super::flight::State;
use crate::server::round;
use crate::task::{self, Task};

/// After so long a round is written as far as it came: somebody waits for its bytes.
const PATIENCE: Duration = Duration::from_millis(250);
/// So long waits nobody.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The file of a download, while it comes.
pub(super) struct Writer {
    file: Arc<File>,
    state: watch::Sender<State>,
    /// Where the round begins; everything before it is written, or being written.
    at: u64,
    /// How many bytes came.
    here: u64,
    /// What came of the round. The bytes are copied, so that the connection's buffer is free at
    /// once and used again while it is in the processor's cache.
    round: Vec<u8>,
    since: Option<Instant>,
    work: Work,
}

/// Who has the hasher.
enum Work {
    Done(Tools),
    Doing(Task<io::Result<Tools>>),
    Lost,
}

/// What a round is done with: the hasher, and a buffer for the round after it.
type Tools = (Hasher, Vec<u8>);

impl Writer {
    /// Goes on after what an earlier download left. Its last bytes may be of a machine that lost
    /// its power, so the digest decides at the end, as always.
    pub(super) async fn after_what_is_left(
        file: &Arc<File>,
        digest: &Digest,
        state: &watch::Sender<State>,
    ) -> Result<Self, String> {
        let (left, mut hasher) = (Arc::clone(file), digest.hasher());
        let job = task::spawn_blocking(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut here = 0;
            loop {
                let count = left.read_at(&mut buffer, here)?;
                if count == 0 {
                    return Ok::<_, io::Error>((hasher, here));
                }
                hasher.update(&buffer[..count]);
                here += count as u64;
            }
        });
        let Ok(Ok((hasher, here))) = job.await else {
            return Err("the registry cannot read what is left of an earlier download".to_owned());
        };
        Ok(Self {
            file: Arc::clone(file),
            state: state.clone(),
            at: here,
            here,
            round: Vec::new(),
            since: None,
            work: Work::Done((hasher, Vec::new())),
        })
    }

    /// How many bytes came.
    pub(super) fn here(&self) -> u64 {
        self.here
    }

    /// Begins at the first byte again.
    pub(super) fn begin_anew(&mut self, digest: &Digest) {
        (self.at, self.here, self.since) = (0, 0, None);
        self.round.clear();
        self.work = Work::Done((digest.hasher(), Vec::new()));
    }

    /// When [`Writer::write_out`] is due.
    pub(super) fn patience(&self) -> Instant {
        self.since.map_or_else(|| Instant::now() + FOREVER, |since| since + PATIENCE)
    }

    /// Takes the next bytes of `total`.
    pub(super) async fn take(&mut self, mut bytes: Bytes, total: u64) -> Result<(), String> {
        self.here += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = round::length_at(self.at) - self.round.len();
            let now = bytes.split_to(room.min(bytes.len()));
            self.round.extend_from_slice(&now);
            if now.len() == room {
                self.write(total).await?;
            }
        }
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Writes the round while the next one comes. Who is aboard learns of the one before it.
    async fn write(&mut self, total: u64) -> Result<(), String> {
        let (mut hasher, empty) = self.settled(total).await?;
        let round = std::mem::replace(&mut self.round, empty);
        let at = self.at;
        self.at += round.len() as u64;
        self.since = None;
        let file = Arc::clone(&self.file);
        self.work = Work::Doing(task::spawn_blocking(move || {
            let mut round = round;
            file.write_all_at(&round, at)?;
            hasher.update(&round);
            round.clear();
            Ok((hasher, round))
        }));
        Ok(())
    }

    /// Waits for the round that is being written.
    async fn settled(&mut self, total: u64) -> Result<Tools, String> {
        let tools = match std::mem::replace(&mut self.work, Work::Lost) {
            Work::Done(tools) => tools,
            Work::Doing(job) => match job.await {
                Ok(Ok(tools)) => tools,
                Ok(Err(error)) => return Err(format!("the registry could not keep the blob: {error}")),
                Err(_) => return Err("the registry could not keep the blob".to_owned()),
            },
            Work::Lost => return Err("the writer is gone".to_owned()),
        };
        self.state.send_replace(State::Coming { here: self.at, size: total });
        Ok(tools)
    }

    /// Writes what came, all of it, and waits for it.
    pub(super) async fn write_out(&mut self, total: u64) -> Result<(), String> {
        if !self.round.is_empty() {
            self.write(total).await?;
        }
        self.work = Work::Done(self.settled(total).await?);
        self.since = None;
        Ok(())
    }

    /// The hasher that has seen what was written out.
    pub(super) fn finish(self) -> Result<Hasher, String> {
        match self.work {
            Work::Done((hasher, _)) => Ok(hasher),
            Work::Doing(_) | Work::Lost => Err("the writer is gone".to_owned()),
        }
    }
}
