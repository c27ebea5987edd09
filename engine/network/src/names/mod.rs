//! Names: the server that containers of a user's network ask at 127.0.0.11.
//!
//! Its sockets stand in the container's own network namespace, so that each
//! container has a server of its own at the same address; the one thread behind all
//! of them is the daemon's, in the host's namespace. Who asks is known by the
//! socket that the question came in by.
//!
//! ```text
//!   container: resolv.conf says 127.0.0.11
//!      └─ question ─► is it a name in one of this container's networks?
//!                        yes ─► its addresses
//!                        no, one word ─► there is no such name
//!                        no, with dots ─► asked of the host's resolvers, unless the
//!                                         container has only internal networks
//! ```
//!
//! Absent on purpose: the default network `bridge` has no names, as in Docker; a
//! container there has the host's resolvers in its `resolv.conf`.
//!
//! See RFC 1035.

mod answer;

mod forward;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use glassdock_kernel::link::Netns;
use glassdock_trace::Trace;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::error::Error;
use crate::networks::{Networks, State};

/// Where containers of a user's network find their name server.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Questions that are asked elsewhere, or come by TCP, at once; more are dropped, and asked again.
const MOST: usize = 128;

/// How long one side of a conversation may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sockets of one container.
struct Desk {
    udp: UdpSocket,
    tcp: TcpListener,
    /// Who is asked what is not known here.
    upstream: Vec<IpAddr>,
}

/// The name server of an engine.
pub(crate) struct Names {
    shared: Arc<Shared>,
}

struct Shared {
    state: Arc<Mutex<State>>,
    desks: Mutex<HashMap<String, Arc<Desk>>>,
    /// Wakes the thread when the desks change; made with the thread.
    bell: OnceLock<OwnedFd>,
    busy: AtomicUsize,
}

impl Networks {
    /// Answers a container's questions for names, from now until its
    /// [`Networks::release`]; nothing changes if they are answered already. `upstream` is asked what is not known here; if it is
    /// empty, the host's resolvers are.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; `EADDRINUSE` if the container has its own server there.
    pub fn serve_names(
        &self,
        trace: &Trace,
        netns: &Netns,
        container: &str,
        upstream: Vec<IpAddr>,
    ) -> Result<(), Error> {
        if self.names.serves(container) {
            return Ok(());
        }
        let open = || -> io::Result<(UdpSocket, TcpListener)> {
            let udp = UdpSocket::bind((ADDRESS, 53))?;
            udp.set_nonblocking(true)?;
            let tcp = TcpListener::bind((ADDRESS, 53))?;
            tcp.set_nonblocking(true)?;
            Ok((udp, tcp))
        };
        let opened = netns.enter(trace, open)?;
        let (udp, tcp) =
            opened.map_err(|error| glassdock_kernel::Error::call("bind", format!("{ADDRESS}:53"), error))?;
        self.names.open(container, Desk { udp, tcp, upstream });
        Ok(())
    }
}

impl Names {
    pub(crate) fn new(state: Arc<Mutex<State>>) -> Self {
        let shared = Shared {
            state,
            desks: Mutex::new(HashMap::new()),
            bell: OnceLock::new(),
            busy: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    fn open(&self, container: &str, desk: Desk) {
        self.shared.desks().insert(container.to_owned(), Arc::new(desk));
        if self.shared.bell.get().is_none()
            && let Ok(bell) = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            && self.shared.bell.set(bell).is_ok()
        {
            let shared = Arc::clone(&self.shared);
            // Without a thread nobody answers; the container's resolver says so in time.
            let _ = std::thread::Builder::new().name("names".to_owned()).spawn(move || shared.run());
        }
        self.shared.ring();
    }

    fn serves(&self, container: &str) -> bool {
        self.shared.desks().contains_key(container)
    }

    /// Answers a container no more.
    pub(crate) fn close(&self, container: &str) {
        if self.shared.desks().remove(container).is_some() {
            self.shared.ring();
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.shared.desks().clear();
        self.shared.ring();
    }
}

impl Shared {
    fn desks(&self) -> MutexGuard<'_, HashMap<String, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            // A bell that is full rings already.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// The thread: until the engine's names are dropped and the thread holds the last of them.
    fn run(self: Arc<Self>) {
        let Some(bell) = self.bell.get() else { return };
        while Arc::strong_count(&self) > 1 {
            let desks: Vec<_> =
                self.desks().iter().map(|(container, desk)| (container.clone(), Arc::clone(desk))).collect();
            let mut waits = vec![PollFd::new(bell, PollFlags::IN)];
            for (_, desk) in &desks {
                waits.push(PollFd::new(&desk.udp, PollFlags::IN));
                waits.push(PollFd::new(&desk.tcp, PollFlags::IN));
            }
            if poll(&mut waits, None).is_err() {
                continue;
            }
            let ready: Vec<_> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
            if ready[0] {
                let _ = rustix::io::read(bell, &mut [0_u8; 8]);
            }
            for ((container, desk), ready) in desks.iter().zip(ready[1..].chunks(2)) {
                if ready[0] {
                    self.udp(container, desk);
                }
                if ready[1] {
                    self.tcp(container, desk);
                }
            }
        }
    }

    /// Answers the question that waits at a UDP socket; one that is asked elsewhere in a thread of its own.
    fn udp(self: &Arc<Self>, container: &str, desk: &Arc<Desk>) {
        let mut buffer = [0; 4096];
        let Ok((length, who)) = desk.udp.recv_from(&mut buffer) else { return };
        let question = &buffer[..length];
        match self.answer(container, question) {
            answer::Answer::Here(reply) => {
                let _ = desk.udp.send_to(&reply, who);
            }
            answer::Answer::Nothing => {}
            answer::Answer::Elsewhere => {
                let (desk, question) = (Arc::clone(desk), question.to_vec());
                self.aside(move || {
                    let reply = forward::udp(&question, &desk.upstream);
                    let reply = reply.unwrap_or_else(|| answer::failure(&question));
                    let _ = desk.udp.send_to(&reply, who);
                });
            }
        }
    }

    /// Takes one connection; its questions come with their length before them (RFC 1035, 4.2.2).
    fn tcp(self: &Arc<Self>, container: &str, desk: &Arc<Desk>) {
        let Ok((stream, _)) = desk.tcp.accept() else { return };
        let (shared, desk, container) = (Arc::clone(self), Arc::clone(desk), container.to_owned());
        self.aside(move || {
            let _ = shared.converse(stream, &container, &desk);
        });
    }

    fn converse(&self, mut stream: TcpStream, container: &str, desk: &Desk) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question)?;
            let reply = match self.answer(container, &question) {
                answer::Answer::Here(reply) => reply,
                answer::Answer::Nothing => return Ok(()),
                answer::Answer::Elsewhere => {
                    forward::tcp(&question, &desk.upstream).unwrap_or_else(|| answer::failure(&question))
                }
            };
            let length = u16::try_from(reply.len()).unwrap_or(0).to_be_bytes();
            stream.write_all(&[&length[..], &reply].concat())?;
        }
    }

    fn answer(&self, container: &str, question: &[u8]) -> answer::Answer {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        answer::answer(&state, container, question)
    }

    /// Does something in a thread of its own, unless too many do.
    fn aside(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        if self.busy.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.busy.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let shared = Arc::clone(self);
        let counted = move || {
            job();
            shared.busy.fetch_sub(1, Ordering::Relaxed);
        };
        if std::thread::Builder::new().name("question".to_owned()).spawn(counted).is_err() {
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The address of a resolver.
fn port_53(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 53)
}
