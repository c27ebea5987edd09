//! Opening a connection, and saying clearly why one can't be opened.

use std::io;
use std::path::Path;

use glassdock_registry::task;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::{Body, Host};

/// Connects; what the connection needs to go on runs as a task beside.
pub(super) async fn open(host: &Host) -> io::Result<SendRequest<Body>> {
    match host {
        Host::Unix(path) => shake(unix(path).await?).await,
        Host::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            shake(stream).await
        }
    }
}

/// A socket's path may be longer than the 108 bytes of a `sockaddr_un` (unix(7)):
/// then it is reached through a descriptor of its folder.
async fn unix(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() < 108 {
        return UnixStream::connect(path).await;
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = std::fs::File::open(folder)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{number}")).join(name)).await
}

async fn shake<S>(stream: S) -> io::Result<SendRequest<Body>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its end, good or bad, shows in the requests that it carries.
    task::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// Why the daemon can't be reached. Called as `docker`: in Docker's words; else with
/// what to do about it.
pub(super) fn explain(host: &Host, program: &str, error: &io::Error) -> String {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    if program == "docker" {
        if denied {
            return format!(
                "permission denied while trying to connect to the Docker daemon socket at {host}: {}",
                crate::failure::os_text(error)
            );
        }
        return format!("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?");
    }
    let why = crate::failure::os_text(error);
    let what_to_do = match (host, error.kind()) {
        (Host::Unix(_), io::ErrorKind::NotFound) => format!(
            "There is no socket: no daemon listens there. Start one in another terminal:\n\n    glassdock daemon --host {host}\n\nor name the one that runs with --host or GLASSDOCK_HOST."
        ),
        (Host::Unix(_), io::ErrorKind::ConnectionRefused) => format!(
            "The socket is there, but nobody listens: the daemon has ended. Start it again:\n\n    glassdock daemon --host {host}"
        ),
        (Host::Unix(path), io::ErrorKind::PermissionDenied) => format!(
            "You may not write to {}. Run the command as the user that the daemon runs as (sudo), or join the socket's group.",
            path.display()
        ),
        _ => "Check the address after --host, or in GLASSDOCK_HOST or DOCKER_HOST, and that the daemon runs."
            .to_owned(),
    };
    format!("cannot reach the daemon at {host}: connect: {why}\n\n{what_to_do}")
}
