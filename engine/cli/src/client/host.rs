//! Where the daemon listens: `unix:///run/glassdock/glassdock.sock`, `tcp://host:port`.

use std::fmt;
use std::path::PathBuf;

use crate::failure::Failure;

/// The address of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and port, without TLS.
    Tcp(String),
}

/// Where Glassdock's daemon listens unless told otherwise.
const GLASSDOCK: &str = "unix:///run/glassdock/glassdock.sock";

/// Where Docker's does.
const DOCKER: &str = "unix:///var/run/docker.sock";

impl Host {
    /// The address that a command talks to: `--host`, then `GLASSDOCK_HOST`, then
    /// `DOCKER_HOST`. Called as `docker` without any of them, Docker's socket is
    /// taken where there is one, else Glassdock's.
    pub(crate) fn choose(given: Option<&str>, program: &str) -> Result<Self, Failure> {
        let from_env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let chosen = given
            .map(str::to_owned)
            .or_else(|| from_env("GLASSDOCK_HOST"))
            .or_else(|| from_env("DOCKER_HOST"))
            .unwrap_or_else(|| {
                let glassdock_is_there =
                    || std::path::Path::new(GLASSDOCK.trim_start_matches("unix://")).exists();
                if program == "docker" && !glassdock_is_there() { DOCKER } else { GLASSDOCK }.to_owned()
            });
        Self::parse(&chosen)
    }

    /// Whether a name has to be looked up to reach it. How, the machine's own configuration says
    /// (nsswitch.conf(5)), and its libraries are loaded for it: a static program has none.
    pub(crate) fn is_named(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Tcp(address) => address.parse::<std::net::SocketAddr>().is_err(),
        }
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let bad = || {
            Failure::say(format!(
                "Failed to initialize: unable to resolve docker endpoint: invalid bind address format: {text}"
            ))
        };
        match text.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(PathBuf::from(path))),
            Some(("unix", _)) => Self::parse(DOCKER),
            Some(("tcp" | "http", address)) => Ok(Self::Tcp(with_port(address))),
            Some(_) => Err(bad()),
            None if text.starts_with('/') => Ok(Self::Unix(PathBuf::from(text))),
            None => Ok(Self::Tcp(with_port(text))),
        }
    }
}

fn with_port(address: &str) -> String {
    let address = address.trim_end_matches('/');
    let address = if address.starts_with(':') { format!("localhost{address}") } else { address.to_owned() };
    if address.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        address
    } else {
        format!("{address}:2375")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}
