//! The mirror: what isn't here is fetched from another registry, once, and stays.
//!
//! | asked for | answered |
//! |---|---|
//! | a tag that was pushed here | from here, always: what is ours is ours |
//! | a tag that came from there | from here while it is fresh; then it is looked up there again |
//! | anything by its digest | from here if it is here: it can't have changed |
//! | anything else | from there, and kept |
//!
//! When the other registry can't be reached, what is here is good enough. A blob that many ask
//! for at the same time is fetched once ([`flight`]): who comes second gets what there is and
//! then what comes.

mod flight;
mod growing;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use glassdock_image::digest::Digest;
use glassdock_trace::Trace;

use super::error::{Code, Refusal};
use super::handlers::quick;
use super::manifest::Manifest;
use super::name::Name;
use super::storage::Storage;
use super::storage::manifests::Reference;
use crate::client::upstream::Upstream;
use crate::client::{Client, ClientConfig, Credentials, Error};
use crate::task;
use flight::Flight;
pub(super) use growing::Growing;

/// Which registry is mirrored, and how.
#[derive(Clone, Debug)]
pub struct MirrorConfig {
    /// Its address, such as `https://registry-1.docker.io`.
    pub url: String,
    /// Who asks there.
    pub credentials: Option<Credentials>,
    /// How long a tag that came from there is believed to stand for the same image.
    pub fresh: Duration,
    /// How registries are asked: certificates, patience.
    pub client: ClientConfig,
}

/// The mirror.
#[derive(Debug)]
pub(super) struct Mirror {
    upstream: Arc<Upstream>,
    storage: Arc<Storage>,
    trace: Trace,
    fresh: Duration,
    flights: Flights,
    turns: Turns,
    away: Mutex<Option<Instant>>,
}

type Flights = Arc<Mutex<HashMap<Digest, Arc<Flight>>>>;

/// So long a registry that gave no answer isn't asked again for what is here.
const AWAY: Duration = Duration::from_secs(15);

/// Whose turn it is to fetch a manifest.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<String, Turn>>);

type Turn = Arc<tokio::sync::Mutex<()>>;

impl Turns {
    fn of(&self, key: &str) -> Turn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(key.to_owned()).or_default())
    }

    /// The last one who had a turn tidies up.
    fn over(&self, key: &str, turn: Turn) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(turn);
        if turns.get(key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(key);
        }
    }
}

impl Mirror {
    /// The descriptors of what the other registry says is about a manifest; none where it has no
    /// such list or is away.
    pub(super) async fn referrers(&self, name: &Name, subject: &Digest) -> Vec<serde_json::Value> {
        if self.is_away() {
            return Vec::new();
        }
        let found = self.upstream.referrers(&self.trace, name.as_str(), subject).await;
        let mut found = found.ok().flatten().unwrap_or_default();
        // What is no descriptor is not handed on.
        found.retain(|descriptor| {
            let digest = descriptor["digest"].as_str().and_then(|text| text.parse::<Digest>().ok());
            digest.is_some() && descriptor["mediaType"].is_string() && descriptor["size"].is_u64()
        });
        found
    }

    pub(super) fn new(config: MirrorConfig, storage: Arc<Storage>, trace: Trace) -> Result<Self, Error> {
        let upstream = Upstream::new(Client::new(config.client), &config.url, config.credentials)?;
        Ok(Self {
            upstream: Arc::new(upstream),
            storage,
            trace,
            fresh: config.fresh,
            flights: Flights::default(),
            turns: Turns::default(),
            away: Mutex::default(),
        })
    }

    /// Sees to it that what `reference` stands for is here, if it is anywhere.
    pub(super) async fn bring_manifest(&self, name: &Name, reference: &Reference) -> Result<(), Refusal> {
        if self.is_good(name, reference).await? {
            return Ok(());
        }
        // A class asks for the same thing at the same time: one of them fetches it.
        let key = match reference {
            Reference::Digest(digest) => format!("{name}@{digest}"),
            Reference::Tag(tag) => format!("{name}:{tag}"),
        };
        let turn = self.turns.of(&key);
        let waited = turn.lock().await;
        let done = self.bring(name, reference).await;
        drop(waited);
        self.turns.over(&key, turn);
        done
    }

    async fn bring(&self, name: &Name, reference: &Reference) -> Result<(), Refusal> {
        if self.is_good(name, reference).await? {
            return Ok(());
        }
        let (asked, local) = match reference {
            Reference::Digest(digest) => (digest.to_string(), None),
            Reference::Tag(tag) => (tag.clone(), self.local(name, tag).await?),
        };
        if local.is_some() && self.is_away() {
            return Ok(());
        }
        match self.update(name, reference, &asked, local.as_ref()).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                let there = matches!(failure, Failure::There(_));
                if there {
                    *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                // What is here is good enough.
                if there && local.is_some() { Ok(()) } else { Err(away(&failure)) }
            }
        }
    }

    /// What a tag stands for here.
    async fn local(&self, name: &Name, tag: &str) -> Result<Option<Digest>, Refusal> {
        let (name, tag) = (name.clone(), tag.to_owned());
        quick(&self.storage, move |storage| storage.tag(&name, &tag)).await
    }

    /// Whether what is here can be given out without a word from the other registry.
    async fn is_good(&self, name: &Name, reference: &Reference) -> Result<bool, Refusal> {
        let (name, reference, fresh) = (name.clone(), reference.clone(), self.fresh);
        quick(&self.storage, move |storage| match reference {
            Reference::Digest(digest) => Ok(storage.manifest_type(&name, &digest)?.is_some()),
            Reference::Tag(tag) => Ok(storage.tag(&name, &tag)?.is_some()
                && storage
                    .came_from_there(&name, &tag)?
                    .is_none_or(|at| at.elapsed().is_ok_and(|age| age < fresh))),
        })
        .await
    }

    /// Whether the other registry gave no answer a moment ago. Nobody has to wait for it then who
    /// can do without.
    fn is_away(&self) -> bool {
        let since = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < AWAY)
    }

    async fn update(
        &self,
        name: &Name,
        reference: &Reference,
        asked: &str,
        local: Option<&Digest>,
    ) -> Result<(), Failure> {
        if let (Some(local), Reference::Tag(tag)) = (local, reference) {
            let there = self.upstream.look_up(&self.trace, name.as_str(), asked).await?;
            // A tag that was taken off there goes on here: a class must not stop in its middle.
            if there.is_none_or(|there| there.digest == *local) {
                let (name, tag) = (name.clone(), tag.clone());
                let noted = quick(&self.storage, move |storage| storage.comes_from_there(&name, &tag));
                return Ok(noted.await?);
            }
        }
        let Some(found) = self.upstream.manifest(&self.trace, name.as_str(), asked).await? else {
            return Ok(());
        };
        let (storage, name, reference) = (Arc::clone(&self.storage), name.clone(), reference.clone());
        let kept = task::spawn_blocking(move || {
            let manifest = Manifest::parse(&found.bytes, Some(&found.media_type))?;
            let adding = storage.adding()?;
            let tag = match &reference {
                Reference::Tag(tag) => Some(tag.clone()),
                Reference::Digest(_) => None,
            };
            if let Some(tag) = &tag {
                storage.comes_from_there(&name, tag)?;
            }
            let tags: Vec<String> = tag.into_iter().collect();
            storage.put_manifest(&name, &found.digest, &manifest, &found.bytes, &tags, &adding)
        });
        Ok(kept.await.map_err(|_| Refusal::new(Code::Internal, "the registry failed at this request"))??)
    }

    /// The size of a blob that isn't in this repository yet.
    pub(super) async fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, Refusal> {
        let size = self.upstream.blob_size(&self.trace, name.as_str(), digest).await;
        size.map_err(|error| away(&error.into()))
    }

    /// A blob that isn't in this repository yet, as it comes; `None` if it isn't there either.
    pub(super) async fn blob(&self, name: &Name, digest: &Digest) -> Result<Option<Growing>, Refusal> {
        let (flight, first) = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(digest) {
                Some(flight) => (Arc::clone(flight), false),
                None => {
                    let flight = Arc::new(Flight::new(&self.storage, digest)?);
                    flights.insert(digest.clone(), Arc::clone(&flight));
                    (flight, true)
                }
            }
        };
        flight.is_for(name);
        if first {
            let (flight, flights) = (Arc::clone(&flight), Arc::clone(&self.flights));
            let (upstream, trace, name) = (Arc::clone(&self.upstream), self.trace.clone(), name.clone());
            // It goes on when who asked first has left: the next one will want it.
            task::spawn(async move {
                flight
                    .fly(&upstream, &trace, &name, || {
                        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
                        flights.remove(flight.digest());
                    })
                    .await;
            });
        }
        flight.board().await
    }

    /// The tags that the other registry has; `None` where it has no such repository or is away.
    pub(super) async fn tags(&self, name: &Name) -> Option<Vec<String>> {
        if self.is_away() {
            return None;
        }
        self.upstream.tags(&self.trace, name.as_str()).await.ok().flatten()
    }
}

/// Why something did not come.
#[derive(Debug)]
enum Failure {
    There(Error),
    Here(Refusal),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::There(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Here(refusal)
    }
}

fn away(failure: &Failure) -> Refusal {
    match failure {
        Failure::There(error) => {
            Refusal::new(Code::MirrorAway, format!("the mirrored registry does not give it: {error}"))
        }
        Failure::Here(refusal) => Refusal::new(refusal.code, refusal.message.clone()),
    }
}
