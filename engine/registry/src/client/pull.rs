//! A pull: from a name to an image that is here.
//!
//! ```text
//!   image.resolve ─► config ─► each layer: blob.fetch ─┬─► blob.verify
//!                              (some at a time)        └─► layer.unpack, as the bytes come
//!                    ─► everything is here ─► image.tag
//! ```
//!
//! The image becomes visible at the very end, when all of it is here. Whatever stops a pull
//! before (an error, Ctrl-C, kill -9) leaves whole blobs, whole layers and beginnings of
//! blobs, and the next pull goes on with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, TryStreamExt};
use glassdock_image::config::Config;
use glassdock_image::content::Error as StoreError;
use glassdock_image::descriptor::media;
use glassdock_image::images::{Image, Lease};
use glassdock_image::{ChainId, Descriptor, DiffId, Digest, Images, Platform, Reference};
use glassdock_trace::{Body, Trace};

use super::blobs::blocking;
use super::endpoint::endpoints;
use super::manifests::Resolved;
use super::progress::{LayerState, Progress, Update};
use super::session::Session;
use super::{Client, Credentials, Error, Waiting};

/// What a pull brought.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image.
    pub image: Arc<Image>,
    /// The digest that the name stands for at the registry: of the manifest or its index.
    pub digest: Digest,
    /// Whether the name stood for this very image before.
    pub up_to_date: bool,
}

impl Client {
    /// Pulls an image for `platform` into `images`. A reference without tag and digest
    /// means `latest`. Dropping the future stops the pull; the next one goes on from there.
    ///
    /// # Errors
    ///
    /// Those of [`Error`]; of several addresses, the error that says most.
    pub fn pull<'a>(
        &'a self,
        trace: &'a Trace,
        reference: &'a Reference,
        platform: &'a Platform,
        credentials: Option<&'a Credentials>,
        images: &'a Images,
        progress: Arc<dyn Progress>,
    ) -> Waiting<'a, Pulled> {
        Box::pin(async move {
            let reference = reference.with_default_tag();
            let pull =
                Pull { reference: &reference, platform, images, progress, lease: Arc::new(images.lease()) };
            let (session, resolved) = self.resolve_somewhere(trace, &pull, credentials).await?;
            pull.fetch(trace, session, resolved).await
        })
    }

    /// What a name stands for at its registry, without fetching it.
    ///
    /// # Errors
    ///
    /// As [`Client::pull`].
    pub fn look_up<'a>(
        &'a self,
        trace: &'a Trace,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
    ) -> Waiting<'a, Descriptor> {
        Box::pin(async move {
            let reference = reference.with_default_tag();
            let mut first = None;
            for session in self.sessions(&reference, credentials) {
                match session.look_up(trace, &wanted(&reference), &reference.familiar()).await {
                    Ok(descriptor) => return Ok(descriptor),
                    Err(error) => keep_going(&session, error, &mut first)?,
                }
            }
            Err(first.unwrap_or(Error::Worker))
        })
    }

    pub(super) fn sessions(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Vec<Arc<Session>> {
        let scope = format!("repository:{}:pull", reference.path());
        endpoints(&self.config, reference.domain())
            .into_iter()
            .map(|endpoint| Session::new(self, endpoint, reference, credentials, vec![scope.clone()]))
            .collect()
    }

    /// Asks one address after the other what the name means.
    async fn resolve_somewhere(
        &self,
        trace: &Trace,
        pull: &Pull<'_>,
        credentials: Option<&Credentials>,
    ) -> Result<(Arc<Session>, Resolved), Error> {
        let mut first = None;
        for session in self.sessions(pull.reference, credentials) {
            match pull.resolve(trace, &session).await {
                Ok(resolved) => return Ok((session, resolved)),
                Err(error) => keep_going(&session, error, &mut first)?,
            }
        }
        Err(first.unwrap_or(Error::Worker))
    }
}

/// Whether the next address is worth asking. The first error that is an answer is kept; that
/// nobody could be reached is said only if that is all there is to say.
pub(super) fn keep_going(session: &Session, error: Error, first: &mut Option<Error>) -> Result<(), Error> {
    if matches!(error, Error::Aborted(_)) || !(session.endpoint.mirror || error.is_unreachable()) {
        return Err(match first.take() {
            Some(earlier) if error.is_unreachable() && !earlier.is_unreachable() => earlier,
            _ => error,
        });
    }
    let better = first.as_ref().is_none_or(|earlier| earlier.is_unreachable() && !error.is_unreachable());
    if better {
        *first = Some(error);
    }
    Ok(())
}

/// The tag or digest that is asked for; a digest decides where there are both.
pub(super) fn wanted(reference: &Reference) -> String {
    reference.digest().map_or_else(|| reference.tag().unwrap_or("latest").to_owned(), ToString::to_string)
}

/// What one pull works with.
struct Pull<'a> {
    reference: &'a Reference,
    platform: &'a Platform,
    images: &'a Images,
    progress: Arc<dyn Progress>,
    /// Keeps what comes in from being collected before the image is registered.
    lease: Arc<Lease>,
}

/// One layer of the image that is pulled.
#[derive(Clone)]
struct LayerJob {
    blob: Descriptor,
    diff_id: DiffId,
    chain: ChainId,
}

impl Pull<'_> {
    async fn resolve(&self, trace: &Trace, session: &Session) -> Result<Resolved, Error> {
        let host = session.endpoint.base.split_once("://").map_or("", |(_, host)| host).to_owned();
        let body = |digest, platform| Body::ImageResolve {
            reference: self.reference.familiar(),
            source: Some(host.clone()),
            digest,
            platform,
        };
        let mut span = trace.begin_async(body(None, None)).await?;
        let inside = span.trace().clone();
        let result = session
            .resolve(&inside, &wanted(self.reference), &self.reference.familiar(), self.platform)
            .await;
        if let Ok(resolved) = &result {
            let platform = (resolved.documents.len() > 1).then(|| self.platform.to_string());
            *span.body_mut() = body(Some(resolved.descriptor.digest.to_string()), platform);
        }
        span.finish(result)
    }

    async fn fetch(&self, trace: &Trace, session: Arc<Session>, resolved: Resolved) -> Result<Pulled, Error> {
        let jobs = self.plan(trace, &session, &resolved).await?;
        let before = self.current().await;
        self.progress.report(Update::Layers(jobs.iter().map(|job| job.blob.digest.clone()).collect()));
        futures_util::stream::iter(jobs)
            .map(|job| self.layer(trace, Arc::clone(&session), job))
            .buffer_unordered(session.client.config.parallel.max(1))
            .try_collect::<()>()
            .await?;
        let mut references = vec![self.reference.with_digest(&resolved.top.digest)];
        if self.reference.digest().is_none() {
            references.insert(0, self.reference.clone());
        }
        let (images, trace) = (self.images.clone(), trace.clone());
        let descriptor = resolved.descriptor.clone();
        let image = blocking(move || Ok(images.register(&trace, &descriptor, &references)?)).await?;
        let up_to_date = before.is_some_and(|before| before == image.id);
        Ok(Pulled { image, digest: resolved.top.digest, up_to_date })
    }

    /// The id of the image that the name stands for now, here.
    async fn current(&self) -> Option<Digest> {
        let (images, name) = (self.images.clone(), self.reference.to_string());
        blocking(move || Ok(images.resolve(&name).ok().map(|image| image.id.clone()))).await.ok().flatten()
    }

    /// Keeps the documents, reads the config, and says what each layer has to become.
    async fn plan(
        &self,
        trace: &Trace,
        session: &Session,
        resolved: &Resolved,
    ) -> Result<Vec<LayerJob>, Error> {
        let manifest = &resolved.manifest;
        if !matches!(manifest.config.media_type.as_str(), media::OCI_CONFIG | media::DOCKER_CONFIG) {
            let media_type = manifest.config.media_type.clone();
            return Err(Error::MediaType {
                media_type,
                hint: "the name stands for something that is no image",
            });
        }
        manifest.layers.iter().try_for_each(check_layer_type)?;
        for digest in resolved.documents.iter().map(|document| &document.descriptor.digest) {
            self.lease.hold(digest);
        }
        manifest.layers.iter().chain([&manifest.config]).for_each(|blob| self.lease.hold(&blob.digest));
        let (store, documents, inside) =
            (self.images.store().clone(), resolved.documents.clone(), trace.clone());
        blocking(move || {
            let mut documents = documents.iter();
            Ok(documents.try_for_each(|document| {
                store.write_as(&inside, &document.descriptor.digest, &document.bytes)
            })?)
        })
        .await?;

        let bytes = session.document(trace, self.images, &manifest.config).await?;
        let broken = |reason: String| Error::Document {
            what: "config",
            digest: manifest.config.digest.clone(),
            reason,
        };
        let config: Config = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let reason = format!("it has {} diff ids for {} layers", diff_ids.len(), manifest.layers.len());
            return Err(broken(reason));
        }
        let chains = ChainId::chain(&diff_ids);
        let jobs = manifest.layers.iter().cloned().zip(diff_ids).zip(chains);
        Ok(jobs.map(|((blob, diff_id), chain)| LayerJob { blob, diff_id, chain }).collect())
    }

    /// Brings one layer here: its blob, and its files.
    async fn layer(&self, trace: &Trace, session: Arc<Session>, job: LayerJob) -> Result<(), Error> {
        let report = |state| self.progress.report(Update::Layer { digest: job.blob.digest.clone(), state });
        self.lease.hold(&job.chain.0);
        let store = self.images.store();
        let unpacked = self.images.layers().has(&job.chain);
        let mut fetched_here = false;
        // Twice: a beginning that an earlier try left may be rotten, and is thrown away then.
        for round in 0.. {
            if store.has(&job.blob.digest) == Some(job.blob.size) {
                break;
            }
            let Some(ingest) = self.claim(&job.blob).await? else { continue };
            let resumed = ingest.offset() > 0;
            fetched_here = true;
            let done = Arc::new(AtomicBool::new(false));
            let follow = ingest.follow();
            let unpacking =
                async { if unpacked { Ok(()) } else { self.unpack(trace, follow, &job, &done).await } };
            let fetching = async {
                let result = session.fetch(trace, &job.blob, ingest, self.progress.as_ref()).await;
                if result.is_ok() {
                    done.store(true, Ordering::Relaxed);
                    report(LayerState::Downloaded);
                }
                result
            };
            // A fetch that fails ends the unpacking; why it failed is the better error.
            let (fetched, unpacking) = futures_util::future::join(fetching, unpacking).await;
            match fetched {
                Err(Error::Content(StoreError::Digest { .. })) if resumed && round == 0 => continue,
                other => other?,
            }
            unpacking?;
            report(LayerState::PullComplete);
            return Ok(());
        }
        if !fetched_here {
            trace.point(Body::BlobReuse { digest: job.blob.digest.to_string(), size: job.blob.size });
        }
        if unpacked {
            report(LayerState::AlreadyExists);
            return Ok(());
        }
        let (store, digest) = (store.clone(), job.blob.digest.clone());
        let file = blocking(move || Ok(store.reader(&digest)?)).await?;
        self.unpack(trace, file, &job, &Arc::new(AtomicBool::new(true))).await?;
        report(LayerState::PullComplete);
        Ok(())
    }

    /// The right to write a blob's file, with what is there of it; `None` if somebody else
    /// had it and we waited: the blob may be here now.
    async fn claim(&self, blob: &Descriptor) -> Result<Option<glassdock_image::Ingest>, Error> {
        let (store, digest, size) = (self.images.store().clone(), blob.digest.clone(), blob.size);
        // Hashes what an earlier try left: that may be much.
        let claimed = blocking(move || match store.ingest(&digest, Some(size)) {
            Ok(ingest) => Ok(Some(ingest)),
            Err(StoreError::Busy(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
        .await?;
        if claimed.is_none() {
            self.progress.report(Update::Layer { digest: blob.digest.clone(), state: LayerState::Waiting });
            while self.images.store().is_busy(&blob.digest) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        Ok(claimed)
    }

    /// Turns a blob into files, on a thread for that. The bars show it once the fetch is `done`.
    async fn unpack(
        &self,
        trace: &Trace,
        blob: impl std::io::Read + Send + 'static,
        job: &LayerJob,
        done: &Arc<AtomicBool>,
    ) -> Result<(), Error> {
        let (layers, trace, job) = (self.images.layers().clone(), trace.clone(), job.clone());
        let (progress, done) = (Arc::clone(&self.progress), Arc::clone(done));
        blocking(move || {
            let total = job.blob.size;
            let report = |current| {
                if done.load(Ordering::Relaxed) {
                    let state = LayerState::Extracting { current, total };
                    progress.report(Update::Layer { digest: job.blob.digest.clone(), state });
                }
            };
            layers.unpack(&trace, blob, &job.blob.media_type, &job.diff_id, &job.chain, &report)?;
            Ok(())
        })
        .await
    }
}

/// Refuses, before anything is fetched, layers that we could not unpack or may not have.
fn check_layer_type(layer: &Descriptor) -> Result<(), Error> {
    let hint = match layer.media_type.as_str() {
        media::OCI_LAYER | media::OCI_LAYER_GZIP | media::OCI_LAYER_ZSTD | media::DOCKER_LAYER => {
            return Ok(());
        }
        "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => return Ok(()),
        foreign if foreign.contains(".foreign.") || foreign.contains(".nondistributable.") => {
            "the layer may only be had from its maker, not from a registry"
        }
        encrypted if encrypted.ends_with("+encrypted") => "the layer is encrypted",
        _ => "known are layers of Docker and OCI as tar, with gzip or zstd",
    };
    Err(Error::MediaType { media_type: layer.media_type.clone(), hint })
}
