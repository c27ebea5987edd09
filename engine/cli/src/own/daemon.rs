//! `glassdock daemon`.

use std::path::PathBuf;

use clap::Parser;
use glassdock_daemon::Config;

use super::read;
use crate::failure::Failure;
use crate::words::Args;

/// Run the engine: it serves the Docker Engine API on a Unix socket until SIGTERM.
///
/// Containers outlive it; the next daemon on the same root finds them again.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  glassdock daemon
  glassdock daemon --root /tmp/gd --run-dir /tmp/gd/run --host unix:///tmp/gd/gd.sock
  glassdock --host unix:///tmp/gd/gd.sock run hello-world     # in another terminal")]
struct Words {
    /// Where everything that lasts lies: images, containers, traces.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/glassdock", value_parser = folder)]
    root: PathBuf,
    /// A socket to listen on, as unix://PATH; may be given several times.
    #[arg(short = 'H', long, value_name = "unix://PATH", value_parser = socket)]
    host: Vec<PathBuf>,
    /// Where everything lies that only a running daemon needs.
    #[arg(long, value_name = "DIR", default_value = "/run/glassdock", value_parser = folder)]
    run_dir: PathBuf,
    /// A registry that answers for docker.io; may be given several times.
    #[arg(long, value_name = "URL")]
    registry_mirror: Vec<String>,
    /// A registry that may be spoken to without TLS; may be given several times.
    #[arg(long, value_name = "HOST")]
    insecure_registry: Vec<String>,
    /// The default bridge's name on the host.
    #[arg(long, value_name = "NAME", default_value = "glassdock0")]
    bridge: String,
    /// The default bridge's address and subnet, such as 172.30.0.1/16; a free one if absent.
    #[arg(long, value_name = "CIDR")]
    bip: Option<String>,
    /// Stop the containers too when the daemon is stopped.
    #[arg(long)]
    stop_containers: bool,
    /// Whether operations are recorded; `off` is there to measure what recording costs.
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = ["on", "off"])]
    traces: String,
}

fn socket(text: &str) -> Result<PathBuf, String> {
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        None if text.starts_with('/') => Ok(PathBuf::from(text)),
        _ => {
            Err("a socket is unix:///PATH; TCP needs mutual TLS, which this version does not have".to_owned())
        }
    }
}

/// A folder, from wherever it is looked at: shims work in `/`, not where the daemon was started.
fn folder(text: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(text)
}

pub(crate) fn run(global: &Args, words: &[String]) -> Result<(), Failure> {
    let words: Words = read("daemon", words)?;
    let mut hosts = words.host;
    for host in global.all("host") {
        hosts.push(socket(host).map_err(Failure::say)?);
    }
    if hosts.is_empty() {
        hosts.push(words.run_dir.join("glassdock.sock"));
    }
    super::logging::start("glassdock=info,warn");
    let config = Config {
        root: words.root,
        run_dir: words.run_dir,
        hosts,
        registry_mirrors: words.registry_mirror,
        insecure_registries: words.insecure_registry,
        bridge: words.bridge,
        bip: words.bip,
        stop_containers: words.stop_containers,
        traces: words.traces == "on",
    };
    glassdock_daemon::run(config).map_err(|failed| super::chain("glassdock daemon", &failed))
}
