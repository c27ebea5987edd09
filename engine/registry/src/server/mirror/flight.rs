//! A flight: one download of a blob, and all who wait for it.
//!
//! ```text
//!   upstream ──► file ──► verified ──► blob of every repository that asked
//!                  ├──► who is aboard reads behind the writer, and its last byte
//!                  │    only when the digest was right
//!                  └──► a break: what came stays for the next flight, also after a restart
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use glassdock_image::digest::{Digest, Hasher};
use glassdock_trace::Trace;
use tokio::sync::watch;

use super::growing::Growing;
use super::writer::Writer;
use crate::client::upstream::{Incoming, Upstream};
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use crate::server::storage::Storage;
use crate::task;

/// So often a download that broke off is gone on with, without a byte in between.
const TRIES: u32 = 5;
/// The pause after the first break; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// One download.
#[derive(Debug)]
pub(super) struct Flight {
    storage: Arc<Storage>,
    digest: Digest,
    file: Arc<File>,
    path: PathBuf,
    wanted: Mutex<HashSet<Name>>,
    state: watch::Sender<State>,
}

/// A download that did not come to its end.
struct Broken {
    words: String,
    /// Whether what came of it is of use to the next one.
    good: bool,
}

impl<T: Into<String>> From<T> for Broken {
    fn from(words: T) -> Self {
        Self { words: words.into(), good: false }
    }
}

/// How far it is.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Nothing is known yet.
    Asking,
    /// So many bytes of so many are here.
    Coming { here: u64, size: u64 },
    /// All of it, verified.
    Landed { size: u64 },
    /// There is no such blob.
    Nowhere,
    /// It will not come.
    Lost(Arc<str>),
}

impl Flight {
    pub(super) fn new(storage: &Arc<Storage>, digest: &Digest) -> Result<Self, Refusal> {
        let (path, file) = storage.half(digest)?;
        Ok(Self {
            storage: Arc::clone(storage),
            digest: digest.clone(),
            file: Arc::new(file),
            path,
            wanted: Mutex::default(),
            state: watch::Sender::new(State::Asking),
        })
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The blob will be put into this repository too.
    pub(super) fn is_for(&self, name: &Name) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
    }

    fn names(&self) -> HashSet<Name> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the blob. `over` is called when nobody can come aboard any more: the blob is in
    /// its place then, or it will not come.
    pub(super) async fn fly(&self, upstream: &Upstream, trace: &Trace, name: &Name, over: impl FnOnce()) {
        // What is landed is no file of ours any more.
        let mut kept = false;
        let end = match self.fetch(upstream, trace, name).await {
            Ok(Some(size)) => {
                kept = true;
                State::Landed { size }
            }
            Ok(None) => State::Nowhere,
            Err(Broken { words, good }) => {
                kept = good;
                State::Lost(words.into())
            }
        };
        if !kept {
            let _ = std::fs::remove_file(&self.path);
        }
        over();
        if matches!(end, State::Landed { .. }) {
            // For those who came aboard while it landed.
            let (storage, digest, names) = (Arc::clone(&self.storage), self.digest.clone(), self.names());
            let late = move || {
                let adding = storage.adding()?;
                names.iter().try_for_each(|name| storage.link_blob(name, &digest, &adding))
            };
            // If it fails, their next request finds the blob all the same.
            let _ = task::spawn_blocking(late).await;
        }
        self.state.send_replace(end);
    }

    async fn fetch(&self, upstream: &Upstream, trace: &Trace, name: &Name) -> Result<Option<u64>, Broken> {
        let mut writer = Writer::after_what_is_left(&self.file, &self.digest, &self.state).await?;
        let resumed = writer.here() > 0;
        let (mut size, mut tries) = (None, 1);
        loop {
            let before = writer.here();
            let failure = match upstream.blob(trace, name.as_str(), &self.digest, before).await {
                Ok(None) => return Ok(None),
                Ok(Some(mut incoming)) => {
                    if incoming.offset != before {
                        writer.begin_anew(&self.digest);
                    }
                    let total = incoming.length.map(|length| incoming.offset + length);
                    let total = total.ok_or("the mirrored registry doesn't tell the blob's size")?;
                    if *size.get_or_insert(total) != total {
                        return Err("the mirrored registry tells several sizes of one blob".into());
                    }
                    self.state.send_replace(State::Coming { here: writer.here(), size: total });
                    match self.take_in(&mut incoming, &mut writer, total).await? {
                        None => return Ok(self.land(writer.finish()?, total).await.map(Some)?),
                        Some(failure) => failure,
                    }
                }
                Err(error) => error.to_string(),
            };
            let here = writer.here();
            tries = if here > before { 1 } else { tries + 1 };
            // The client itself tried several times where nothing came at all.
            if tries > TRIES || here == 0 || (resumed && here == before && tries > 2) {
                return Err(Broken { words: failure, good: here > 0 });
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        }
    }

    /// Takes in what comes, until it is all of it; or tells what it broke off with. What came is in the
    /// file then.
    async fn take_in(
        &self,
        incoming: &mut Incoming,
        writer: &mut Writer,
        total: u64,
    ) -> Result<Option<String>, Broken> {
        let failure = loop {
            // Who is aboard need not wait for a round that fills slowly.
            let Ok(chunk) = tokio::time::timeout_at(writer.patience(), incoming.chunk()).await else {
                writer.write_out(total).await?;
                continue;
            };
            match chunk {
                Ok(Some(bytes)) if writer.here() + bytes.len() as u64 <= total => {
                    writer.take(bytes, total).await?;
                }
                Ok(Some(_)) => return Err("the mirrored registry sends too much".into()),
                Ok(None) if writer.here() == total => break None,
                Ok(None) => break Some("the body broke off".to_owned()),
                Err(error) => break Some(error.to_string()),
            }
        };
        writer.write_out(total).await?;
        Ok(failure)
    }

    async fn land(&self, hasher: Hasher, size: u64) -> Result<u64, String> {
        let computed = hasher.finish();
        if computed != self.digest {
            return Err(format!("the mirrored registry sent content with the digest {computed}"));
        }
        let (storage, digest, path) = (Arc::clone(&self.storage), self.digest.clone(), self.path.clone());
        let file = Arc::clone(&self.file);
        let names = self.names();
        let job = task::spawn_blocking(move || {
            let adding = storage.adding()?;
            // What was left of an earlier download may have been longer, if it was begun anew.
            file.set_len(size).map_err(|source| Refusal::disk("shorten", &path, source))?;
            storage.adopt_blob(&file, &path, &digest, &adding)?;
            names.iter().try_for_each(|name| storage.link_blob(name, &digest, &adding))
        });
        match job.await {
            Ok(Ok(())) => Ok(size),
            Ok(Err(refusal)) => Err(refusal.to_string()),
            Err(_) => Err("the registry could not keep the blob".to_owned()),
        }
    }

    /// Waits until it is known whether and how large the blob is.
    pub(super) async fn board(&self) -> Result<Option<Growing>, Refusal> {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Asking)).await.map(|state| state.clone());
        let size = match known {
            Ok(State::Coming { size, .. } | State::Landed { size }) => size,
            Ok(State::Nowhere) => return Ok(None),
            Ok(State::Lost(words)) => return Err(Refusal::new(Code::MirrorAway, &*words)),
            Ok(State::Asking) | Err(_) => {
                return Err(Refusal::new(Code::Internal, "the download was given up"));
            }
        };
        Ok(Some(Growing::new(Arc::clone(&self.file), state, size)))
    }
}
