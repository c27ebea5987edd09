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
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use glassdock_image::digest::{Digest, Hasher};
use glassdock_trace::Trace;
use tokio::sync::watch;

use super::growing::Growing;
use crate::client::upstream::Upstream;
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use crate::server::storage::Storage;

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
            let _ = tokio::task::spawn_blocking(late).await;
        }
        self.state.send_replace(end);
    }

    async fn fetch(&self, upstream: &Upstream, trace: &Trace, name: &Name) -> Result<Option<u64>, Broken> {
        let (left, mut here) = self.left().await?;
        let resumed = here > 0;
        let mut hasher = Some(left);
        let (mut size, mut tries) = (None, 1);
        loop {
            let before = here;
            let failure = match upstream.blob(trace, name.as_str(), &self.digest, here).await {
                Ok(None) => return Ok(None),
                Ok(Some(mut incoming)) => {
                    if incoming.offset != here {
                        (here, hasher) = (0, Some(self.digest.hasher()));
                    }
                    let total = incoming.length.map(|length| incoming.offset + length);
                    let total = total.ok_or("the mirrored registry doesn't tell the blob's size")?;
                    if *size.get_or_insert(total) != total {
                        return Err("the mirrored registry tells several sizes of one blob".into());
                    }
                    self.state.send_replace(State::Coming { here, size: total });
                    loop {
                        match incoming.chunk().await {
                            Ok(Some(bytes)) if here + bytes.len() as u64 <= total => {
                                let count = bytes.len() as u64;
                                hasher = Some(self.write(hasher.take(), here, bytes).await?);
                                here += count;
                                self.state.send_replace(State::Coming { here, size: total });
                            }
                            Ok(Some(_)) => return Err("the mirrored registry sends too much".into()),
                            Ok(None) if here == total => {
                                let hasher = hasher.take().ok_or("the writer is gone")?;
                                return Ok(self.land(hasher, total).await.map(Some)?);
                            }
                            Ok(None) => break "the body broke off".to_owned(),
                            Err(error) => break error.to_string(),
                        }
                    }
                }
                Err(error) => error.to_string(),
            };
            tries = if here > before { 1 } else { tries + 1 };
            // The client itself tried several times where nothing came at all.
            if tries > TRIES || here == 0 || (resumed && here == before && tries > 2) {
                return Err(Broken { words: failure, good: here > 0 });
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        }
    }

    /// What an earlier download left, hashed, and how much that is. Its last bytes may be of a
    /// machine that lost its power, so the digest decides at the end, as always.
    async fn left(&self) -> Result<(Hasher, u64), Broken> {
        let (file, mut hasher) = (Arc::clone(&self.file), self.digest.hasher());
        let job = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut here = 0;
            loop {
                let count = file.read_at(&mut buffer, here)?;
                if count == 0 {
                    return Ok::<_, io::Error>((hasher, here));
                }
                hasher.update(&buffer[..count]);
                here += count as u64;
            }
        });
        match job.await {
            Ok(Ok(left)) => Ok(left),
            _ => Err("the registry cannot read what is left of an earlier download".into()),
        }
    }

    /// Writes and hashes, on a thread for that.
    async fn write(&self, hasher: Option<Hasher>, at: u64, bytes: Bytes) -> Result<Hasher, String> {
        let mut hasher = hasher.ok_or("the writer is gone")?;
        let file = Arc::clone(&self.file);
        let job = tokio::task::spawn_blocking(move || {
            file.write_all_at(&bytes, at)?;
            hasher.update(&bytes);
            Ok::<_, io::Error>(hasher)
        });
        match job.await {
            Ok(Ok(hasher)) => Ok(hasher),
            Ok(Err(error)) => Err(format!("the registry could not keep the blob: {error}")),
            Err(_) => Err("the registry could not keep the blob".to_owned()),
        }
    }

    async fn land(&self, hasher: Hasher, size: u64) -> Result<u64, String> {
        let computed = hasher.finish();
        if computed != self.digest {
            return Err(format!("the mirrored registry sent content with the digest {computed}"));
        }
        let (storage, digest, path) = (Arc::clone(&self.storage), self.digest.clone(), self.path.clone());
        let file = Arc::clone(&self.file);
        let names = self.names();
        let job = tokio::task::spawn_blocking(move || {
            let adding = storage.adding()?;
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
