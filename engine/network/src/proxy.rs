//! A proxy for the connections that address translation does not catch: those over
//! IPv6 where the container has none or the host asks itself, and all TCP ones on a host
//! without nftables.
//!
//! One thread waits at all published ports; a connection that arrives there gets two
//! threads that copy, one each way, and end with it. With nftables the kernel leads
//! IPv4 connections past these sockets, so in the ordinary case no byte comes here.
//!
//! Absent on purpose: UDP. What is not translated is not served.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::model::{Endpoint, Protocol};
use crate::networks::Networks;

/// Connections at once through one engine's proxy; more wait in the kernel's queue.
const MOST: usize = 512;

/// How long a container may take to answer a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that is waited at.
struct Door {
    endpoint: String,
    socket: Arc<OwnedFd>,
    to: SocketAddr,
}

/// Who waits at the ports.
#[derive(Default)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    doors: Mutex<Vec<Door>>,
    /// Wakes the thread when the doors change; made with the thread.
    bell: OnceLock<OwnedFd>,
    busy: AtomicUsize,
}

impl Networks {
    /// Waits at an endpoint's published ports.
    pub(crate) fn serve(&self, endpoint: &Endpoint) {
        let address = endpoint.address.map(|address| IpAddr::V4(address.address()));
        // Who comes by IPv6 goes on by IPv6, if the container has that.
        let address6 = endpoint.address6.map(|address| IpAddr::V6(address.address())).or(address);
        let held = self.ports.of(&endpoint.id);
        let tcp = held.into_iter().filter(|held| held.published.protocol == Protocol::Tcp);
        let doors = tcp.filter_map(|held| {
            let to = if held.published.host_address.is_ipv6() { address6 } else { address };
            let to = SocketAddr::new(to?, held.published.container_port);
            Some(Door { endpoint: endpoint.id.clone(), socket: held.socket, to })
        });
        self.proxy.wait_at(doors.collect());
    }
}

impl Proxy {
    fn wait_at(&self, doors: Vec<Door>) {
        if doors.is_empty() {
            return;
        }
        self.shared.lock().extend(doors);
        if self.shared.bell.get().is_none()
            && let Ok(bell) = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            && self.shared.bell.set(bell).is_ok()
        {
            let shared = Arc::clone(&self.shared);
            // Without a thread the ports are still held and translated; only IPv6 is not served.
            let _ = std::thread::Builder::new().name("published".to_owned()).spawn(move || shared.run());
        }
        self.shared.ring();
    }

    /// Waits no more at an endpoint's ports. Connections that are there go on.
    pub(crate) fn stop(&self, endpoint: &str) {
        let mut doors = self.shared.lock();
        let before = doors.len();
        doors.retain(|door| door.endpoint != endpoint);
        let changed = doors.len() != before;
        drop(doors);
        if changed {
            self.shared.ring();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().clear();
        self.shared.ring();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            // A bell that is full rings already.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// The thread: until the engine's proxy is dropped and the thread holds the last of it.
    fn run(self: Arc<Self>) {
        let Some(bell) = self.bell.get() else { return };
        while Arc::strong_count(&self) > 1 {
            let doors: Vec<_> = self.lock().iter().map(|door| (Arc::clone(&door.socket), door.to)).collect();
            let mut waits: Vec<_> =
                doors.iter().map(|(socket, _)| PollFd::new(socket.as_ref(), PollFlags::IN)).collect();
            waits.push(PollFd::new(bell, PollFlags::IN));
            let full = self.busy.load(Ordering::Relaxed) >= MOST;
            if full {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            if poll(&mut waits, None).is_err() {
                continue;
            }
            let ready: Vec<_> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
            if ready.last() == Some(&true) {
                let _ = rustix::io::read(bell, &mut [0_u8; 8]);
            }
            for ((socket, to), _) in doors.iter().zip(&ready).filter(|(_, ready)| **ready) {
                self.accept(socket, *to);
            }
        }
    }

    fn accept(self: &Arc<Self>, socket: &Arc<OwnedFd>, to: SocketAddr) {
        let Ok(copy) = socket.try_clone() else { return };
        let Ok((client, _)) = TcpListener::from(copy).accept() else { return };
        let shared = Arc::clone(self);
        shared.busy.fetch_add(1, Ordering::Relaxed);
        let job = move || {
            let _ = carry(client, to);
            shared.busy.fetch_sub(1, Ordering::Relaxed);
        };
        if std::thread::Builder::new().name("connection".to_owned()).spawn(job).is_err() {
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Carries one connection to its container, until both sides have said all.
fn carry(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect_timeout(&to, PATIENCE)?;
    let (mut client_in, mut server_out) = (client.try_clone()?, server.try_clone()?);
    let there = std::thread::Builder::new().name("connection".to_owned()).spawn(move || {
        let _ = io::copy(&mut client_in, &mut server_out);
        let _ = server_out.shutdown(Shutdown::Write);
    })?;
    let (mut server_in, mut client_out) = (server, client);
    let _ = io::copy(&mut server_in, &mut client_out);
    let _ = client_out.shutdown(Shutdown::Write);
    let _ = there.join();
    Ok(())
}
