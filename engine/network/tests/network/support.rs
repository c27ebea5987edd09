//! A small world: a host, an outside beyond it, and containers, each a network
//! namespace held by a sleeping process.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use glassdock_kernel::link::{Links, Netns, Veth};
use glassdock_kernel::nft::{Family, Nft};
use glassdock_network::{Config, Endpoint, EndpointConfig, Error, Memory, Networks, Storage, StorageError};
use glassdock_trace::{Event, Sink, Trace};

/// How long a connection that must not be made is waited for.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// A network namespace that lives as long as this.
pub(crate) struct Space {
    keeper: Child,
    pub(crate) netns: Netns,
}

impl Space {
    pub(crate) fn new() -> Self {
        let own = std::fs::read_link("/proc/thread-self/ns/net").expect("proc is mounted");
        let keeper = Command::new("unshare")
            .args(["-n", "sleep", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("util-linux is there");
        let path = PathBuf::from(format!("/proc/{}/ns/net", keeper.id()));
        let patience = Instant::now() + Duration::from_secs(5);
        while std::fs::read_link(&path).is_ok_and(|link| link == own) {
            assert!(Instant::now() < patience, "unshare made no namespace");
            std::thread::sleep(Duration::from_millis(1));
        }
        let netns = Netns::open(path).expect("the keeper lives");
        Self { keeper, netns }
    }

    /// Does something in there.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.netns.enter(&Trace::off(), act).expect("root may enter")
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A host with a way to an outside: `up0` 203.0.113.1 ── 203.0.113.2.
pub(crate) struct World {
    pub(crate) host: Space,
    pub(crate) outside: Space,
    root: tempfile::TempDir,
}

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

impl World {
    /// `None`, and a message, where a world can't be made.
    pub(crate) fn new() -> Option<Self> {
        let missing = if !rustix::process::geteuid().is_root() {
            Some("root")
        } else if Command::new("unshare").arg("--version").stdout(Stdio::null()).status().is_err() {
            Some("the program unshare (util-linux)")
        } else {
            None
        };
        if let Some(missing) = missing {
            let mut out = std::io::stderr();
            let _ = writeln!(out, "skipped: this test takes {missing}");
            return None;
        }
        let (host, outside) = (Space::new(), Space::new());
        host.within(|| {
            let trace = Trace::off();
            let mut links = Links::here().expect("netlink");
            links.bring_up(&trace, "lo").expect("a loopback");
            let address = Some((IpAddr::V4(HOST), 24));
            let index = links
                .create_bridge(&trace, "up0", address, [2, 0, 0, 0, 0, 8], None, "the world")
                .expect("a bridge");
            let veth = Veth {
                name: "up1",
                bridge: (index, "up0"),
                netns: &outside.netns,
                peer: "eth0",
                mac: [2, 0, 0, 0, 0, 9],
                mtu: None,
            };
            links.create_veth(&trace, &veth).expect("a veth pair");
        });
        outside.within(|| {
            let mut links = Links::here().expect("netlink");
            links.bring_up(&Trace::off(), "eth0").expect("the far end");
            let index = links.index_of("eth0").expect("the far end");
            links.add_address(&Trace::off(), "eth0", index, IpAddr::V4(OUTSIDE), 24).expect("an address");
        });
        let root = tempfile::tempdir().expect("a temporary root");
        Some(Self { host, outside, root })
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn config(&self) -> Config {
        Config { root: self.root.path().to_owned(), bridge: "glassdock0".to_owned(), bip: None }
    }

    pub(crate) fn engine(&self) -> Networks {
        self.engine_with(self.config(), Arc::new(Memory::default())).expect("an engine's networks")
    }

    pub(crate) fn engine_with(&self, config: Config, storage: Arc<dyn Storage>) -> Result<Networks, Error> {
        self.host.within(|| Networks::open(&Trace::off(), config, storage))
    }

    /// Connects a new container.
    pub(crate) fn attach(&self, networks: &Networks, config: &EndpointConfig) -> (Space, Endpoint) {
        let space = Space::new();
        let endpoint = self.host.within(|| networks.attach(&Trace::off(), &space.netns, config));
        (space, endpoint.expect("an endpoint"))
    }

    /// All links and tables of the host.
    pub(crate) fn inventory(&self) -> Vec<String> {
        self.host.within(inventory)
    }
}

/// All links and tables of this thread's namespace.
pub(crate) fn inventory() -> Vec<String> {
    let links = Links::here().expect("netlink").list().expect("links");
    let of = |family| Nft::of(family).expect("nftables").tables().expect("tables");
    let mut all: Vec<_> = links.into_iter().map(|link| link.name).collect();
    all.extend(of(Family::Ip).into_iter().map(|(name, _)| format!("table {name}")));
    all.extend(of(Family::Ip6).into_iter().map(|(name, _)| format!("table ip6 {name}")));
    all.sort();
    all
}

pub(crate) fn endpoint(container: &str, network: &str) -> EndpointConfig {
    EndpointConfig {
        container: container.to_owned(),
        network: network.to_owned(),
        names: vec![container.to_owned()],
        default_route: true,
        default_route6: true,
        ..EndpointConfig::default()
    }
}

pub(crate) fn address(endpoint: &Endpoint) -> Ipv4Addr {
    endpoint.address.expect("on a bridge there is an address").address()
}

/// A server in a namespace that tells each caller the address it called from.
pub(crate) fn serve_tcp(space: &Space, port: u16) {
    let listener = space.within(|| TcpListener::bind(("0.0.0.0", port)).expect("a port in there"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream: TcpStream = stream;
            if let Ok(peer) = stream.peer_addr() {
                let _ = write!(stream, "{}", peer.ip());
            }
        }
    });
}

/// The same for UDP.
pub(crate) fn serve_udp(space: &Space, port: u16) {
    let socket = space.within(|| UdpSocket::bind(("0.0.0.0", port)).expect("a port in there"));
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(peer.ip().to_string().as_bytes(), peer);
        }
    });
}

/// What a server answers to a caller in a namespace; `None` if there is no answer.
pub(crate) fn call_tcp(space: &Space, to: impl Into<SocketAddr>, patience: Duration) -> Option<String> {
    let to = to.into();
    space.within(|| {
        let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    })
}

/// The same for UDP.
pub(crate) fn call_udp(space: &Space, to: impl Into<SocketAddr>, patience: Duration) -> Option<String> {
    let to = to.into();
    space.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect(to).ok()?;
        socket.set_read_timeout(Some(patience)).ok()?;
        socket.send(b"who am I").ok()?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
}

/// Long enough for a connection that must be made.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps events in memory.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<Event>>);

impl Kept {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().expect("no test panics while it holds this").clone()
    }
}

impl Sink for Kept {
    fn record(&self, event: &Event) {
        self.0.lock().expect("no test panics while it holds this").push(event.clone());
    }
}

/// A storage of files, which outlives a process.
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    fn path(&self, key: &str) -> PathBuf {
        self.0.join(key.replace('/', "~"))
    }
}

impl Storage for Files {
    fn load(&self) -> Result<Vec<(String, String)>, StorageError> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.ends_with(".new") {
                all.insert(name.replace('~', "/"), std::fs::read_to_string(entry.path())?);
            }
        }
        Ok(all.into_iter().collect())
    }

    fn put(&self, key: &str, json: &str) -> Result<(), StorageError> {
        let path = self.path(key);
        let new = path.with_extension("new");
        std::fs::write(&new, json)?;
        Ok(std::fs::rename(new, path)?)
    }

    fn remove(&self, key: &str) -> Result<(), StorageError> {
        match std::fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
