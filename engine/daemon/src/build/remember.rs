//! The cache: what is known of a step, and what is remembered of one that was done.
//!
//! ```text
//!   build-cache   key of a step   -> when it was done, and its layer
//!   build-last    key of a parent -> the step that was done on it last: why another one misses
//! ```

use std::collections::BTreeMap;
use std::sync::PoisonError;

use glassdock_build::cache::Step;
use glassdock_image::config::History;
use glassdock_image::images::Made;
use glassdock_image::{ChainId, Descriptor, DiffId, Digest};
use glassdock_trace::{Body, Trace};
use serde::{Deserialize, Serialize};

use super::builder::Shared;
use super::stage::Stage;
use crate::error::{Error, Kind};

/// Instead of its parent's key: a step whose layer fits on any layers.
pub(super) const LINK: &str = "link";

/// What the cache knows of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    /// When the step was done.
    pub(super) created: String,
    /// Its layer, if it made one.
    pub(super) layer: Option<(DiffId, Descriptor)>,
}

impl Stage {
    /// Asks the cache for a step; tells the client and the trace what it says.
    /// `by` is its line of history.
    pub(super) fn ask(
        &mut self,
        shared: &Shared,
        trace: &Trace,
        step: &Step,
        by: &str,
    ) -> Result<(Option<Known>, String), Error> {
        let key = step.key();
        let state = shared.engine.images.state();
        let miss = |reason: String| trace.point(Body::CacheMiss { key: key.clone(), reason });
        if !shared.wish.cache {
            miss("the cache is not to be used".to_owned());
            return Ok((None, key));
        }
        if !shared.wish.cache_from.is_empty() {
            let known = if self.missed { None } else { self.of_sources(shared, by) };
            match &known {
                Some(known) => self.hit(trace, &key, known),
                None => {
                    self.missed = true;
                    miss("no image of --cache-from has it".to_owned());
                }
            }
            return Ok((known, key));
        }
        let known = match shared.unwritten("build-cache", &key) {
            Some(json) => Some(json),
            None => state.get("build-cache", &key)?.map(|document| document.json),
        };
        let known = known.and_then(|json| serde_json::from_str::<Known>(&json).ok());
        let Some(known) = known else {
            let before = match shared.unwritten("build-last", &step.parent) {
                Some(json) => Some(json),
                None => state.get("build-last", &step.parent)?.map(|document| document.json),
            };
            let before = before.and_then(|json| serde_json::from_str::<Step>(&json).ok());
            let reason = match (&before, self.missed) {
                (Some(before), _) => step.differs(before),
                (None, true) => Some("the parent is new".to_owned()),
                (None, false) => None,
            };
            miss(reason.unwrap_or_else(|| "no step was done on this parent yet".to_owned()));
            self.missed = true;
            return Ok((None, key));
        };
        if let Some((diff_id, blob)) = &known.layer {
            let mut stack = self.config.rootfs.diff_ids.clone();
            stack.push(diff_id.clone());
            let chain = ChainId::chain(&stack).pop();
            let images = &shared.engine.images;
            shared.lease.hold(&blob.digest);
            if let Some(chain) = &chain {
                shared.lease.hold(&chain.0);
            }
            let blob_is_here = images.store().has(&blob.digest).is_some();
            let mut here = chain.is_some_and(|chain| images.layers().is_known(&chain)) && blob_is_here;
            if !here && blob_is_here && step.parent == LINK {
                let below = &self.config.rootfs.diff_ids;
                images.place_layer(trace, &shared.lease, blob, diff_id, below)?;
                here = true;
            }
            if !here {
                miss("its layer was removed".to_owned());
                self.missed = true;
                return Ok((None, key));
            }
        }
        self.hit(trace, &key, &known);
        Ok((Some(known), key))
    }

    fn hit(&self, trace: &Trace, key: &str, known: &Known) {
        let layer = known.layer.as_ref().map(|(diff_id, _)| diff_id.to_string());
        trace.point(Body::CacheHit { key: key.to_owned(), layer });
        self.words.cached();
    }

    /// The step in an image of `--cache-from`: one that begins with the same history, and goes on with this
    /// step. A line of history has all that counts: the command with its arguments, the digest of the files.
    fn of_sources(&self, shared: &Shared, by: &str) -> Option<Known> {
        let (past, below) = (&self.config.history, &self.config.rootfs.diff_ids);
        shared.cache_from.iter().find_map(|image| {
            let history = &image.config.history;
            let next = history.get(past.len())?;
            let same = history.starts_with(past) && next.created_by.as_deref() == Some(by);
            if !same || !image.config.rootfs.diff_ids.starts_with(below) {
                return None;
            }
            let layer = match next.empty_layer {
                true => None,
                false => {
                    let blob = image.layers.get(below.len())?.blob.clone();
                    Some((image.config.rootfs.diff_ids.get(below.len())?.clone(), blob))
                }
            };
            Some(Known { created: next.created.clone()?, layer })
        })
    }

    /// Takes a step's result in: a layer, if there is one, and a line of history, the command `by`. What was not known
    /// is remembered.
    pub(super) async fn settle(
        &mut self,
        shared: &Shared,
        step: Step,
        key: String,
        known: Option<Known>,
        by: Vec<String>,
        made: Option<Made>,
    ) -> Result<(), Error> {
        let fresh = known.is_none();
        // A command may take long and change nothing.
        let dear = made.is_some() || step.instruction.starts_with("RUN ");
        let known = known.unwrap_or_else(|| Known {
            created: created(shared),
            layer: made.map(|made| (made.diff_id, made.blob)),
        });
        self.config.created = Some(known.created.clone());
        self.config.history.push(History {
            created: Some(known.created.clone()),
            created_by: Some(by.join(" ")),
            author: self.config.author.clone(),
            comment: None,
            empty_layer: known.layer.is_none(),
        });
        self.command = by;
        if let Some((diff_id, blob)) = &known.layer {
            self.config.rootfs.diff_ids.push(diff_id.clone());
            self.layers.push(blob.clone());
        }
        self.key = match step.parent.as_str() {
            // What comes later stands on all that is below.
            LINK => Digest::of(format!("{} {key}", self.key).as_bytes()).hex().to_owned(),
            _ => key.clone(),
        };
        if fresh {
            let failed = |error: serde_json::Error| Error::of(Kind::Internal, &error);
            let (known, last) = (
                serde_json::to_string(&known).map_err(failed)?,
                serde_json::to_string(&step.remembered()).map_err(failed)?,
            );
            {
                let mut unwritten = shared.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
                unwritten.insert(("build-cache", key), known);
                unwritten.insert(("build-last", step.parent), last);
            }
            if dear {
                shared.write_down().await?;
            }
        }
        Ok(())
    }
}

/// Documents by their kind and id. A step that makes a layer writes down what came before it as well; steps that
/// only change the config take less time than a transaction does, and a killed build may do them again.
pub(super) type Unwritten = BTreeMap<(&'static str, String), String>;

impl Shared {
    fn unwritten(&self, kind: &'static str, id: &str) -> Option<String> {
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.get(&(kind, id.to_owned())).cloned()
    }

    /// Writes what the cache is to remember, all at once.
    pub(super) async fn write_down(&self) -> Result<(), Error> {
        let all = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        if all.is_empty() {
            return Ok(());
        }
        self.engine.blocking(move |engine| engine.images.state().put_all(&all)).await?;
        Ok(())
    }
}

/// `SOURCE_DATE_EPOCH`, if the build was given it.
pub(super) fn epoch(shared: &Shared) -> Option<u64> {
    shared.wish.arguments.get("SOURCE_DATE_EPOCH")?.as_ref()?.parse().ok()
}

pub(super) fn seconds_now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

fn created(shared: &Shared) -> String {
    let fixed =
        epoch(shared).and_then(|seconds| jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    fixed.map_or_else(crate::containers::create::now, |time| format!("{time:.9}"))
}
