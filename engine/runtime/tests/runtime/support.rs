//! A bundle with a BusyBox root, and what tests do with it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use glassdock_runtime::bundle::{Log, Overlay, Stdin};
use glassdock_runtime::oci::{self, Spec};
use glassdock_runtime::{Bundle, Created, Error, Exit, Extras, Launch, Notice, Shim, Streams, create};
use glassdock_trace::channel::{MESSAGE_LIMIT, Received};
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Actor, Channel, Event, OpId, Sink, Trace, Unfinished, gate::Hold};

/// What most tests here need; says what is missing.
pub(crate) fn requires_root_and_busybox() -> bool {
    let root = fs::metadata("/proc/self/uid_map").is_ok() && is_root();
    let busybox = Path::new("/bin/busybox").exists();
    if !root {
        eprintln!("skipped: needs root");
    }
    if !busybox {
        eprintln!("skipped: needs /bin/busybox, statically linked (Debian: busybox-static)");
    }
    let strict = std::env::var_os("GLASSDOCK_STRICT_TESTS").is_some();
    assert!(!strict || (root && busybox), "a skip is a failure in strict mode");
    root && busybox
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0")))
}

/// A container's folder, removed with everything in it at the end.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) spec: Spec,
    pub(crate) extras: Extras,
    channel: Option<Channel>,
    pub(crate) trace: Trace,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

struct Local(Arc<Mutex<Vec<Event>>>);

impl Sink for Local {
    fn record(&self, event: &Event) {
        self.0.lock().expect("no panic in a sink").push(event.clone());
    }
}

/// Programs of BusyBox that the tests call.
const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "true", "false", "sleep", "ls", "id", "mount", "umount", "ps", "hostname", "env",
    "stat", "kill", "head", "grep", "touch", "readlink", "tty", "stty", "dd", "yes", "seq", "mkdir", "test",
    "wc", "mknod", "unshare", "chmod", "cp", "pwd", "printf", "trap", "tail",
];

impl Fixture {
    /// A container that runs `command` in a shell.
    pub(crate) fn shell(command: &str) -> Self {
        Self::new(&["/bin/sh", "-c", command])
    }

    /// A container that runs a program.
    pub(crate) fn new(args: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("glassdock-runtime-").tempdir().expect("a folder");
        let lower = folder.path().join("lower");
        make_root(&lower);
        for name in ["bundle", "bundle/upper", "bundle/work"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let bundle = folder.path().join("bundle");
        let id = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
        let extras = Extras {
            id: id.clone(),
            overlay: Some(Overlay {
                lower: vec![lower],
                upper: Some(bundle.join("upper")),
                work: Some(bundle.join("work")),
                volatile: true,
            }),
            log: Some(Log { path: bundle.join("container.log"), max_size: None, max_file: 1 }),
            stdin: Stdin::Closed,
            ..Extras::default()
        };
        let events = Arc::default();
        Self { spec: spec(&id, args), folder, extras, channel: None, trace: Trace::off(), events }
    }

    pub(crate) fn process(&mut self) -> &mut oci::Process {
        self.spec.process.as_mut().expect("made with one")
    }

    pub(crate) fn linux(&mut self) -> &mut oci::Linux {
        self.spec.linux.as_mut().expect("made with one")
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::new(self.folder.path().join("bundle"))
    }

    /// Records what happens.
    pub(crate) fn traced(mut self) -> Self {
        let (near, far) = Channel::pair().expect("a channel");
        let events = Arc::clone(&self.events);
        std::thread::spawn(move || {
            let mut buffer = vec![0; MESSAGE_LIMIT];
            let (mut known, op) = (Unfinished::default(), OpId::new());
            while let Ok(Some(message)) = near.receive(&mut buffer) {
                if let Received::Events(short) = message {
                    let (lines, lost) = known.lines(&op, short);
                    assert_eq!(lost, 0, "{short}");
                    let told =
                        lines.lines().map(|line| serde_json::from_str::<Event>(line).expect("an event"));
                    events.lock().expect("no panic in a sink").extend(told);
                }
            }
        });
        self.channel = Some(far);
        let sink = Arc::new(Local(Arc::clone(&self.events)));
        self.trace = Trace::root(OpId::new(), Actor::Daemon, Origin::now(), sink, Hold::Never);
        self
    }

    /// Writes the bundle and creates the container.
    pub(crate) fn create(&mut self) -> Result<Running, Error> {
        let bundle = self.bundle();
        let write = |name, text: Vec<u8>| fs::write(bundle.path(name), text).expect("a file");
        write("config.json", serde_json::to_vec_pretty(&self.spec).expect("plain data"));
        write("glassdock.json", serde_json::to_vec_pretty(&self.extras).expect("plain data"));
        let launch = Launch {
            bundle: bundle.clone(),
            channel: self.channel.take(),
            shim: Some(PathBuf::from(env!("CARGO_BIN_EXE_glassdock-shim"))),
        };
        let created = create(launch, &self.trace)?;
        let shim = Shim::connect(&bundle).expect("a shim that answers");
        Ok(Running { created, shim })
    }

    /// Runs the container to its end: output, errors, how it ended.
    pub(crate) fn run(&mut self) -> Result<Ran, Error> {
        let running = self.create()?;
        let streams = Streams { stdin: false, stdout: true, stderr: true };
        let attached = running.shim.attach(streams).expect("an answer");
        let watch = running.shim.watch().expect("an answer");
        running.shim.start().inspect_err(|_| running.ends())?;
        let (stdout, stderr) =
            if self.process().terminal { (rest(attached), String::new()) } else { frames(attached) };
        let exit = exit_of(watch);
        running.ends();
        Ok(Ran { stdout, stderr, exit })
    }
}

/// A container that was created.
pub(crate) struct Running {
    pub(crate) created: Created,
    pub(crate) shim: Shim,
}

impl Running {
    /// Waits for the shim's end.
    pub(crate) fn ends(&self) {
        self.created.shim.wait(&Trace::off()).expect("the shim is our child");
    }

    /// Kills the container and waits for the shim's end.
    pub(crate) fn kill(&self) {
        let _ = self.shim.kill(9, false, &Trace::off());
        self.ends();
    }
}

/// A container that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
}

/// Reads Docker's multiplexed streams to their end.
pub(crate) fn frames(mut stream: UnixStream) -> (String, String) {
    let mut outputs = [Vec::new(), Vec::new()];
    let mut head = [0_u8; 8];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).expect("a whole frame");
        outputs[usize::from(head[0]) - 1].extend_from_slice(&body);
    }
    let [stdout, stderr] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (stdout, stderr)
}

/// Reads raw bytes to the end.
pub(crate) fn rest(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads notices until the container has ended and the shim has cleaned up.
pub(crate) fn exit_of(watch: UnixStream) -> Exit {
    notices(watch)
        .into_iter()
        .find_map(|notice| match notice {
            Notice::Exited(exit) => Some(exit),
            _ => None,
        })
        .expect("a notice of the end")
}

pub(crate) fn notices(watch: UnixStream) -> Vec<Notice> {
    watch.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    BufReader::new(watch)
        .lines()
        .map(|line| serde_json::from_str(&line.expect("a line in time")).expect("a notice"))
        .collect()
}

/// Waits until something is so, at most ten seconds.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(10), "still not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn make_root(lower: &Path) {
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "home"] {
        fs::create_dir_all(lower.join(name)).expect("a folder");
    }
    fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("BusyBox");
    for applet in APPLETS {
        symlink("busybox", lower.join("bin").join(applet)).expect("a link");
    }
    fs::write(lower.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100::/home:/bin/sh\n")
        .expect("a file");
    fs::write(lower.join("etc/group"), "root:x:0:\nusers:x:100:\nwheel:x:10:alice\n").expect("a file");
}

/// As Docker configures a container.
fn spec(id: &str, args: &[&str]) -> Spec {
    let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let capabilities = words(&[
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ]);
    let mount = |destination: &str, kind: &str, options: &[&str]| oci::Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(kind.into()),
        options: words(options),
    };
    let namespace = |kind: &str| oci::Namespace { kind: kind.into(), path: None };
    Spec {
        oci_version: "1.0.2".into(),
        hostname: Some("otter".into()),
        process: Some(oci::Process {
            args: words(args),
            env: words(&["PATH=/bin:/usr/bin"]),
            cwd: "/".into(),
            capabilities: Some(oci::Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                ..oci::Capabilities::default()
            }),
            ..oci::Process::default()
        }),
        mounts: vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "/dev/pts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]),
        ],
        linux: Some(oci::Linux {
            namespaces: ["mount", "pid", "network", "uts", "ipc", "cgroup"].map(namespace).to_vec(),
            cgroups_path: Some(format!("/glassdock-tests/{id}")),
            masked_paths: words(&["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware", "/nowhere"]),
            readonly_paths: words(&["/proc/sys", "/proc/bus", "/proc/sysrq-trigger", "/nowhere"]),
            seccomp: Some(oci::Seccomp {
                default_action: "SCMP_ACT_ALLOW".into(),
                architectures: words(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
                syscalls: vec![oci::SyscallRule {
                    names: words(&["unshare", "not_a_call_of_this_kernel"]),
                    action: "SCMP_ACT_ERRNO".into(),
                    errno_ret: Some(1),
                    args: Vec::new(),
                }],
                ..oci::Seccomp::default()
            }),
            ..oci::Linux::default()
        }),
        ..Spec::default()
    }
}
