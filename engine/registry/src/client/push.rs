//! A push: an image goes to a registry, byte for byte as it came; nothing is compressed again.
//!
//! ```text
//!   each layer, some at a time, then the config:
//!     HEAD blob ──► 200: the registry has it
//!        └► POST ?mount=…&from=… ──► 201: it took it over from another repository
//!              └► 202: PUT, the whole blob at once
//!                    └► a break: GET how far it is ─► PATCH the rest ─► PUT
//!   then the manifest: whoever asks for the tag finds all of it.
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use glassdock_image::manifest::{Document, Manifest};
use glassdock_image::{Descriptor, Digest, Images, Reference};
use glassdock_trace::{Body, Trace};
use http::{Method, StatusCode, header};

use super::blobs::blocking;
use super::endpoint::endpoints;
use super::manifests::CONTENT_DIGEST;
use super::progress::{LayerState, Progress, Update};
use super::session::{Ask, Session};
use super::transport::{Payload, Reply};
use super::{Client, Credentials, Error, Waiting, retry};

/// What a push brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest, by which the image can be pulled.
    pub digest: Digest,
    /// The manifest's size in bytes.
    pub size: u64,
}

/// How often the bars move while a blob goes out.
const TICK: Duration = Duration::from_millis(100);

impl Client {
    /// Pushes the image that `reference` names here to where the reference points.
    /// A reference without a tag means `latest`.
    ///
    /// # Errors
    ///
    /// Those of [`Error`]; that there is no such image here is one of [`Error::Images`].
    pub fn push<'a>(
        &'a self,
        trace: &'a Trace,
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
        images: &'a Images,
        progress: Arc<dyn Progress>,
    ) -> Waiting<'a, Pushed> {
        Box::pin(async move {
            let reference = reference.with_default_tag();
            let package = Package::read(images, &reference).await?;
            let mut scopes = vec![format!("repository:{}:pull,push", reference.path())];
            let sources: BTreeSet<&String> = package.elsewhere.values().collect();
            scopes.extend(sources.into_iter().map(|from| format!("repository:{from}:pull")));
            let mut first = None;
            for endpoint in
                endpoints(&self.config, reference.domain()).into_iter().filter(|endpoint| !endpoint.mirror)
            {
                let session = Session::new(self, endpoint, &reference, credentials, scopes.clone());
                let push = Push { session: &session, images, package: &package, progress: progress.as_ref() };
                match push.all(trace, &reference).await {
                    Err(error) if error.is_unreachable() && first.is_none() => first = Some(error),
                    result => return result,
                }
            }
            Err(first.unwrap_or_else(|| Error::Setup {
                subject: reference.domain().to_owned(),
                reason: "there is no address to push to".to_owned(),
            }))
        })
    }
}

/// What is pushed.
struct Package {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
    /// For a blob, another repository of the same registry that has it, as far as we know.
    elsewhere: BTreeMap<Digest, String>,
}

impl Package {
    async fn read(images: &Images, reference: &Reference) -> Result<Self, Error> {
        let (images, reference) = (images.clone(), reference.clone());
        blocking(move || {
            let image = images.resolve(&reference.to_string())?;
            let bytes = images.store().read(&image.manifest.digest)?;
            let broken = |reason: String| Error::Document {
                what: "manifest",
                digest: image.manifest.digest.clone(),
                reason,
            };
            let manifest = match Document::parse(&image.manifest.media_type, &bytes) {
                Ok(Document::Manifest(manifest)) => *manifest,
                Ok(Document::Index(_)) => return Err(broken("it is an index".to_owned())),
                Err(error) => return Err(broken(error.to_string())),
            };
            let mut elsewhere = BTreeMap::new();
            for other in images.list() {
                let mut names = other.references.iter();
                let from =
                    names.find(|name| name.domain() == reference.domain() && name.path() != reference.path());
                if let Some(from) = from {
                    for layer in &other.layers {
                        elsewhere.insert(layer.blob.digest.clone(), from.path().to_owned());
                    }
                }
            }
            elsewhere.retain(|digest, _| manifest.layers.iter().any(|layer| layer.digest == *digest));
            Ok(Self { descriptor: image.manifest.clone(), bytes, manifest, elsewhere })
        })
        .await
    }
}

/// One push, to one address.
struct Push<'a> {
    session: &'a Session,
    images: &'a Images,
    package: &'a Package,
    progress: &'a dyn Progress,
}

impl Push<'_> {
    async fn all(&self, trace: &Trace, reference: &Reference) -> Result<Pushed, Error> {
        let manifest = &self.package.manifest;
        self.progress
            .report(Update::Layers(manifest.layers.iter().map(|layer| layer.digest.clone()).collect()));
        // The same blob may be a layer twice; it is sent once.
        let mut seen = BTreeSet::new();
        let layers = manifest.layers.iter().filter(|layer| seen.insert(&layer.digest));
        // Boxed one by one: the compiler can't tell that a closure's future is `Send` for every lifetime.
        let sends: Vec<BoxFuture<'_, Result<(), Error>>> =
            layers.map(|layer| self.blob(trace, layer).boxed()).collect();
        futures_util::stream::iter(sends)
            .buffer_unordered(self.session.client.config.parallel.max(1))
            .try_collect::<()>()
            .await?;
        self.blob(trace, &manifest.config).await?;
        self.manifest(trace, reference).await
    }

    async fn manifest(&self, trace: &Trace, reference: &Reference) -> Result<Pushed, Error> {
        let descriptor = &self.package.descriptor;
        let at = reference.tag().map_or_else(|| descriptor.digest.to_string(), str::to_owned);
        let ask = Ask::new(Method::PUT, format!("manifests/{at}"))
            .header(header::CONTENT_TYPE, &descriptor.media_type)
            .payload(Payload::Bytes(self.package.bytes.clone().into()));
        let mut reply = self.session.send(trace, &ask).await?;
        if !reply.status().is_success() {
            return Err(self.session.refusal(reply, None).await);
        }
        reply.finish();
        let told = reply.header(CONTENT_DIGEST).and_then(|digest| digest.parse::<Digest>().ok());
        if let Some(computed) = told
            .filter(|told| told.algorithm() == descriptor.digest.algorithm() && *told != descriptor.digest)
        {
            return Err(Error::ManifestDigest { expected: descriptor.digest.clone(), computed });
        }
        Ok(Pushed { digest: descriptor.digest.clone(), size: descriptor.size })
    }

    /// Sees to it that the registry has a blob.
    async fn blob(&self, trace: &Trace, blob: &Descriptor) -> Result<(), Error> {
        let report = |state| self.progress.report(Update::Layer { digest: blob.digest.clone(), state });
        report(LayerState::Preparing);
        let upload = || Body::BlobUpload {
            digest: blob.digest.to_string(),
            size: blob.size,
            media_type: Some(blob.media_type.clone()),
        };
        if self.is_there(trace, blob).await? {
            trace.skip(upload(), "the registry has it");
            report(LayerState::LayerExists);
            return Ok(());
        }
        let begun = match self.package.elsewhere.get(&blob.digest) {
            None => None,
            Some(from) => match self.mount(trace, blob, from).await? {
                Begun::Mounted => {
                    report(LayerState::Mounted { from: from.clone() });
                    return Ok(());
                }
                Begun::At(location) => Some(location),
            },
        };
        let span = trace.begin_async(upload()).await?;
        let inside = span.trace().clone();
        let result = self.upload(&inside, blob, begun).await;
        span.finish(result)?;
        report(LayerState::Pushed);
        Ok(())
    }

    async fn is_there(&self, trace: &Trace, blob: &Descriptor) -> Result<bool, Error> {
        let mut reply =
            self.session.send(trace, &Ask::new(Method::HEAD, format!("blobs/{}", blob.digest))).await?;
        match reply.status() {
            StatusCode::NOT_FOUND => {
                reply.finish();
                Ok(false)
            }
            status if status.is_success() => {
                reply.finish();
                Ok(true)
            }
            _ => Err(self.session.refusal(reply, None).await),
        }
    }

    /// Asks the registry to take a blob over from another of its repositories.
    async fn mount(&self, trace: &Trace, blob: &Descriptor, from: &str) -> Result<Begun, Error> {
        let span = trace
            .begin_async(Body::BlobMount { digest: blob.digest.to_string(), from: from.to_owned() })
            .await?;
        let inside = span.trace().clone();
        let ask = Ask::new(Method::POST, format!("blobs/uploads/?mount={}&from={from}", blob.digest));
        let result = async {
            let mut reply = self.session.send(&inside, &ask).await?;
            match reply.status() {
                StatusCode::CREATED => {
                    reply.finish();
                    Ok(Begun::Mounted)
                }
                StatusCode::ACCEPTED => location_of(&mut reply).map(Begun::At),
                _ => Err(self.session.refusal(reply, None).await),
            }
        }
        .await;
        span.finish(result)
    }

    async fn upload(&self, trace: &Trace, blob: &Descriptor, begun: Option<String>) -> Result<(), Error> {
        let config = &self.session.client.config;
        let mut begun = begun;
        let mut attempt = 1;
        loop {
            let location = match begun.take() {
                Some(location) => location,
                None => self.begin(trace).await?,
            };
            let failure = match self.send(trace, blob, &location, 0).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !may_pass(&failure) || attempt >= config.attempts {
                return Err(failure);
            }
            tokio::time::sleep(retry::pause(config, attempt, None)).await;
            attempt += 1;
            if let Some((location, offset)) = self.state(trace, &location).await?
                && self.send(trace, blob, &location, offset).await.is_ok()
            {
                return Ok(());
            }
        }
    }

    async fn begin(&self, trace: &Trace) -> Result<String, Error> {
        let mut reply = self.session.send(trace, &Ask::new(Method::POST, "blobs/uploads/")).await?;
        match reply.status() {
            StatusCode::ACCEPTED => location_of(&mut reply),
            _ => Err(self.session.refusal(reply, None).await),
        }
    }

    /// How far an upload is that broke off, if the registry kept something of it.
    async fn state(&self, trace: &Trace, location: &str) -> Result<Option<(String, u64)>, Error> {
        let mut reply = self.session.send(trace, &Ask::new(Method::GET, location)).await?;
        let last =
            reply.header(header::RANGE).and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
        match last {
            // `0-0` is one byte or none: beginning anew is cheaper than finding out.
            Some(last @ 1..) if reply.status() == StatusCode::NO_CONTENT => {
                let onward = location_of(&mut reply).unwrap_or_else(|_| location.to_owned());
                Ok(Some((onward, last + 1)))
            }
            _ => {
                reply.finish();
                Ok(None)
            }
        }
    }

    /// Sends a blob from `offset` on: all of it with the closing PUT, or the rest before it.
    async fn send(&self, trace: &Trace, blob: &Descriptor, location: &str, offset: u64) -> Result<(), Error> {
        let sent = Arc::new(AtomicU64::new(0));
        let payload = Payload::File {
            path: self.images.store().path(&blob.digest),
            offset,
            length: blob.size.saturating_sub(offset),
            sent: Arc::clone(&sent),
        };
        if offset == 0 {
            let ask = Ask::new(Method::PUT, closing(location, &blob.digest)).payload(payload);
            return self.watched(trace, blob, ask, StatusCode::CREATED, 0, &sent).await.map(|_| ());
        }
        let ask = Ask::new(Method::PATCH, location)
            .header(header::CONTENT_RANGE, &format!("{offset}-{}", blob.size.saturating_sub(1)))
            .payload(payload);
        let onward = self.watched(trace, blob, ask, StatusCode::ACCEPTED, offset, &sent).await?;
        let location = onward.unwrap_or_else(|| location.to_owned());
        let ask = Ask::new(Method::PUT, closing(&location, &blob.digest));
        self.watched(trace, blob, ask, StatusCode::CREATED, blob.size, &sent).await.map(|_| ())
    }

    /// Sends a request with a large body, and moves the bars meanwhile.
    async fn watched(
        &self,
        trace: &Trace,
        blob: &Descriptor,
        ask: Ask,
        expected: StatusCode,
        offset: u64,
        sent: &AtomicU64,
    ) -> Result<Option<String>, Error> {
        let ask = ask.header(header::CONTENT_TYPE, "application/octet-stream").once();
        let sending = self.session.send(trace, &ask);
        tokio::pin!(sending);
        let mut reply = loop {
            tokio::select! {
                reply = &mut sending => break reply?,
                () = tokio::time::sleep(TICK) => {
                    let current = offset + sent.load(Ordering::Relaxed);
                    let state = LayerState::Pushing { current: current.min(blob.size), total: blob.size };
                    self.progress.report(Update::Layer { digest: blob.digest.clone(), state });
                }
            }
        };
        if reply.status() != expected {
            let config = &self.session.client.config;
            let passing = retry::is_passing(reply.status());
            let asked = retry::asked_pause(config, reply.headers()).filter(|_| passing);
            let refusal = self.session.refusal(reply, None).await;
            // Whoever tries again does so after this.
            tokio::time::sleep(asked.unwrap_or_default()).await;
            return Err(refusal);
        }
        Ok(location_of(&mut reply).ok())
    }
}

/// How an attempt to mount ended.
enum Begun {
    Mounted,
    /// The registry can't, and began an upload there instead.
    At(String),
}

fn may_pass(error: &Error) -> bool {
    error.is_passing() || matches!(error, Error::Status { status, .. } if retry::is_passing(*status))
}

/// Where the upload goes on. The address is made whole, since the next request may go by another way.
fn location_of(reply: &mut Reply) -> Result<String, Error> {
    reply.finish();
    let told =
        reply.header(header::LOCATION).ok_or_else(|| reply.nonsense("it does not say where to upload to"))?;
    let location =
        reply.url().join(told).map_err(|_| reply.nonsense("its upload's location is no address"))?;
    Ok(location.to_string())
}

/// The address that ends an upload.
fn closing(location: &str, digest: &Digest) -> String {
    let joint = if location.contains('?') { '&' } else { '?' };
    format!("{location}{joint}digest={digest}")
}
