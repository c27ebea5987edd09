//! `glassdock registry serve`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use glassdock_registry::seed;
use glassdock_registry::server::{Config, Server, TlsFiles, plant};

use super::{chain, read};
use crate::failure::Failure;
use crate::show::output::{Output, complain};

/// Run a registry of images.
#[derive(Debug, Parser)]
struct Words {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serve a registry over HTTP until SIGTERM.
    ///
    /// The first line on standard output says where: `listening on http://127.0.0.1:5000`.
    #[command(after_help = "\
Examples:
  glassdock registry serve --root /data/registry --seed
  glassdock registry serve --listen 0.0.0.0:5000 --tls-certificate cert.pem --tls-key key.pem")]
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    /// The address to listen at; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000", value_parser = address)]
    listen: SocketAddr,
    /// The folder that everything is kept in.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/glassdock-registry")]
    root: PathBuf,
    /// Put the lessons' images in it first.
    #[arg(long)]
    seed: bool,
    /// The BusyBox binary (statically linked) that the lessons' images are made of.
    #[arg(long, value_name = "FILE", default_value = seed::BUSYBOX)]
    busybox: PathBuf,
    /// The certificate and those that signed it, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let found = text.to_socket_addrs().map_err(|error| format!("no address HOST:PORT: {error}"))?.next();
    found.ok_or_else(|| "the name has no address".to_owned())
}

pub(super) fn run(words: &[String]) -> Result<(), Failure> {
    let Words { what: What::Serve(words) } = read("registry", words)?;
    if words.seed {
        sow(&words.root, &words.busybox)?;
    }
    let mut config = Config::new(&words.root);
    config.listen = words.listen;
    config.tls =
        words.tls_certificate.zip(words.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    // Many connections at a time: as many threads as the machine has.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::say(format!("cannot start the reactor: {error}")))?;
    runtime.block_on(async {
        let server = Server::bind(config).await.map_err(|error| chain("glassdock registry", &error))?;
        let mut out = Output::default();
        out.line(format!("listening on {}", server.url()));
        out.flush()?;
        server.serve(stopped()).await;
        Ok(())
    })
}

/// Puts the lessons' images into the registry's folder.
fn sow(root: &Path, busybox: &Path) -> Result<(), Failure> {
    let fail = |error: seed::Error| chain("glassdock registry: seed", &error);
    let program = seed::program::running().map_err(fail)?;
    let seed = seed::images_with(busybox, &program).map_err(fail)?;
    plant(root, &seed.images).map_err(|error| chain("glassdock registry: seed", &error))?;
    if let Some(missing) = seed.missing {
        complain(chain("glassdock registry: some images are left out", &missing).message);
    }
    Ok(())
}

/// Until SIGTERM or SIGINT.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
