//! What a daemon is started with.

use std::path::PathBuf;

/// The options of `glassdock daemon`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything that lasts lies: blobs, layers, `state.db`, containers, traces.
    pub root: PathBuf,
    /// Where everything lies that only a running daemon needs: the socket, the pid file.
    pub run_dir: PathBuf,
    /// The Unix sockets to listen on.
    pub hosts: Vec<PathBuf>,
    /// Registries that answer for `docker.io`, as URLs, tried in order.
    pub registry_mirrors: Vec<String>,
    /// Registries that may be spoken to without TLS, or with a certificate that nobody vouches for.
    pub insecure_registries: Vec<String>,
    /// The name of the default bridge on the host.
    pub bridge: String,
    /// The default bridge's address and subnet, such as `172.17.0.1/16`; chosen freely if absent.
    pub bip: Option<String>,
    /// Whether a clean stop of the daemon stops its containers too.
    pub stop_containers: bool,
    /// Whether operations are recorded. Without, nothing is traced and nothing can
    /// be stepped; it is there to measure what recording costs.
    pub traces: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "/var/lib/glassdock".into(),
            run_dir: "/run/glassdock".into(),
            hosts: vec!["/run/glassdock/glassdock.sock".into()],
            registry_mirrors: Vec::new(),
            insecure_registries: Vec::new(),
            bridge: "glassdock0".to_owned(),
            bip: None,
            stop_containers: false,
            traces: true,
        }
    }
}
