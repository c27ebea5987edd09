//! From settings to what a server is told.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::{Error, Settings};
use crate::client::{ClientConfig, Credentials};
use crate::server::auth::AuthConfig;
use crate::server::mirror::MirrorConfig;
use crate::server::storage::collect::Collecting;
use crate::server::storage::{BucketConfig, Where};
use crate::server::{Config, TlsFiles};

impl Settings {
    /// How many threads serve.
    #[must_use]
    pub fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        if self.workers == 0 { processors() } else { self.workers }
    }

    /// What the server is told.
    ///
    /// # Errors
    ///
    /// If the address can't be found, a file can't be read, or keys that belong together are not.
    pub fn config(&self) -> Result<Config, Error> {
        let wrong = |key: &str, reason: &str| Error::Value { key: key.to_owned(), reason: reason.to_owned() };
        let mut config = Config::new(&self.storage.root);
        config.place = self.place();
        config.listen = address(&self.listen).map_err(|reason| wrong("listen", &reason))?;
        config.durable = self.storage.durable;
        config.sparse = self.storage.sparse;
        config.idle = self.limits.idle.0;
        config.connections = self.limits.connections;
        config.largest_blob = self.limits.blob.map_or(u64::MAX, |size| size.0);
        config.largest_manifest = usize::try_from(self.limits.manifest.0).unwrap_or(usize::MAX);
        config.grace = self.grace.0;
        config.access_log = self.access_log.clone();
        config.collect_every = self.collect.every.map(|time| time.0).filter(|time| !time.is_zero());
        config.collecting = self.collecting();
        config.tls = match (&self.tls.certificate, &self.tls.key) {
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            (Some(_), None) => return Err(wrong("tls.key", "a certificate needs its key")),
            (None, Some(_)) => return Err(wrong("tls.certificate", "a key needs its certificate")),
        };
        config.auth = self.auth.htpasswd.as_ref().map(|htpasswd| AuthConfig {
            htpasswd: htpasswd.clone(),
            method: self.auth.method,
            anonymous: self.auth.anonymous,
            access: self.auth.access.clone(),
            service: self.auth.service.clone(),
            realm: self.auth.realm.clone(),
            lifetime: self.auth.lifetime.0,
        });
        if self.auth.service.contains(['"', '\\']) || !self.auth.service.is_ascii() {
            return Err(wrong("auth.service", "it stands in quotes in a header"));
        }
        config.mirror = match &self.mirror.url {
            None => None,
            Some(url) => Some(MirrorConfig {
                url: url.clone(),
                credentials: self.mirror_credentials()?,
                fresh: self.mirror.fresh.0,
                // Who waits here is somebody's client, and wants to hear soon that it is away.
                client: ClientConfig {
                    connect: Duration::from_secs(5),
                    attempts: 3,
                    ..ClientConfig::default()
                },
            }),
        };
        Ok(config)
    }

    /// Where everything is kept.
    #[must_use]
    pub fn place(&self) -> Where {
        let s3 = &self.storage.s3;
        match &s3.bucket {
            None => Where::Folder(self.storage.root.clone()),
            Some(bucket) => Where::Bucket(BucketConfig {
                prefix: s3.prefix.trim_matches('/').to_owned(),
                endpoint: s3.endpoint.clone(),
                region: s3.region.clone(),
                virtual_hosted: s3.virtual_hosted,
                ..BucketConfig::new(bucket)
            }),
        }
    }

    /// How garbage is collected.
    #[must_use]
    pub fn collecting(&self) -> Collecting {
        Collecting {
            grace: self.collect.grace.0,
            uploads: self.collect.uploads.0,
            untagged: self.collect.untagged,
            dry_run: false,
        }
    }

    fn mirror_credentials(&self) -> Result<Option<Credentials>, Error> {
        let Some(username) = self.mirror.username.clone() else { return Ok(None) };
        let path = self.mirror.password_file.as_ref().ok_or_else(|| Error::Value {
            key: "mirror.password_file".to_owned(),
            reason: "a user needs a password".to_owned(),
        })?;
        let password =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok(Some(Credentials::Basic {
            username,
            password: password.trim_end_matches(['\r', '\n']).to_owned(),
        }))
    }
}

/// `HOST:PORT`, or `:PORT` for every address of this machine.
fn address(text: &str) -> Result<SocketAddr, String> {
    let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let mut found = text.to_socket_addrs().map_err(|error| format!("no address HOST:PORT: {error}"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}
