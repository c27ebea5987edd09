//! From the daemon's order to a container's first process.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use glassdock_kernel::cgroup::Cgroup;
use glassdock_kernel::namespace::{self, Kind, Set};
use glassdock_kernel::process::{self, Child, Process, TapeReader, Untold};
use glassdock_trace::{Actor, Channel, Evidence, Gathering, Proof, Trace};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::proc::Proc;
use super::serve::{Powers, Server};
use super::streams::Streams;
use crate::bundle::Bundle;
use crate::error::{Error, Failed};
use crate::init::{self, Init, Privileges};
use crate::log::Writer;
use crate::oci::Linux;
use crate::plan::{self, invalid};
use crate::wire::{self, Carried, Order, Word};

/// As much as init tells of a start, in bytes.
const TOLD: usize = 16 * 1024;

/// Makes the container as far as its first process, which then sets itself up.
///
/// Everything that can be found wrong with the bundle is found before anything is made. `memory` is for what init tells.
pub(super) fn give_birth(
    order: &Order,
    channel: Option<Arc<Channel>>,
    memory: Option<OwnedFd>,
    control: &OwnedFd,
) -> Result<Server, Failed> {
    let (trace, init_trace, later) = traces_of_birth(order.carried.as_ref(), channel.as_ref(), memory);
    match born(order, control, trace, init_trace, later.is_some()) {
        Ok(mut server) => {
            if let Some((gathering, told)) = later {
                server.gathering = Some(gathering);
                if let Some(first) = server.procs.first_mut() {
                    first.tape = Some(told);
                }
            }
            Ok(server)
        }
        Err(failed) => {
            // What led to a failure is told before the failure.
            if let Some((gathering, mut told)) = later {
                gathering.flush();
                told.forward();
            }
            Err(failed)
        }
    }
}

/// The birth itself. `later`: nobody waits for what is told of it.
fn born(
    order: &Order,
    control: &OwnedFd,
    trace: Trace,
    init_trace: Trace,
    later: bool,
) -> Result<Server, Failed> {
    let bundle = Bundle::new(&order.bundle);
    let mut spec = bundle.spec().map_err(|error| in_step("bundle", &error))?;
    // Most of a specification's text is the profile: it becomes a program, and is of no use any more.
    let profile = spec.linux.as_mut().and_then(|linux| linux.seccomp.take());
    let extras = bundle.extras().map_err(|error| in_step("bundle", &error))?;
    let process = spec.process.as_ref().ok_or_else(|| invalid("bundle", "config.json has no process"))?;
    if process.args.is_empty() {
        return Err(invalid("bundle", "config.json has no process.args"));
    }
    let no_linux = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&no_linux);
    let (new, given) = plan::namespaces(&linux.namespaces)?;
    let privileges = Privileges {
        process,
        user: extras.user.as_deref(),
        groups: &extras.groups,
        capabilities: plan::capabilities(process.capabilities.as_ref())?,
        filter: profile.map(plan::filter).transpose()?,
    };
    let powers = Powers {
        groups: extras.groups.clone(),
        capabilities: privileges.capabilities,
        filter: privileges.filter.clone(),
    };
    let limits = linux.resources.as_ref().map(plan::limits).unwrap_or_default();

    let log = extras.log.as_ref().map(Writer::open).transpose().map_err(|error| io_step("log", &error))?;
    let (streams, ends) = if process.terminal {
        (
            Streams::terminal(extras.stdin, log),
            crate::shim::streams::ProcessEnds { input: None, outputs: None },
        )
    } else {
        Streams::pipes(extras.stdin, log).map_err(|error| io_step("stdio", &error))?
    };
    let folder = File::open(bundle.folder()).map_err(|error| io_step("bundle", &error))?;
    let listener = listen(&folder).map_err(|error| io_step("socket", &error))?;
    let undo = Undo { folder: Some(folder), cgroup: None, trace: trace.clone() };
    let (sync, sync_init) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| io_step("socket", &error.into()))?;

    let mut undo = undo;
    if let Some(path) = linux.cgroups_path.as_deref() {
        let (cgroup, _warnings) = Cgroup::create(&trace, path.trim_matches('/'), &limits)
            .map_err(|error| kernel_step("cgroup", error))?;
        undo.cgroup = Some(cgroup);
    }
    for (kind, path) in &given {
        if *kind == Kind::Pid {
            namespace::join_path(&trace, path.as_ref(), *kind)
                .map_err(|error| kernel_step("namespaces", error))?;
        }
    }

    // What only the shim may hold: init closes its copies at once, so that an end that
    // the shim closes is closed.
    let mine = Cell::new(Some((listener, sync, streams, control.try_clone().ok())));
    let (init_process, untold) = {
        let cgroup = undo.cgroup.as_ref();
        let child = Child {
            role: "init",
            namespaces: new.without(Kind::Cgroup),
            cgroup: cgroup.and_then(Cgroup::birthplace),
        };
        let (spec, extras, mine, given, sync) = (&spec, &extras, &mine, &given, &sync_init);
        process::clone_child_quietly(&trace, &child, move || {
            drop(mine.take());
            init::run(Init {
                spec,
                extras,
                folder: &order.bundle,
                privileges,
                new,
                given,
                cgroup,
                sync,
                trace: init_trace,
                ends,
                made: init::Made::default(),
            })
        })
        .map_err(|error| kernel_step("namespaces", error))?
    };
    drop(sync_init);
    let Some((listener, sync, streams, _)) = mine.take() else {
        return Err(invalid("namespaces", "the shim lost its own descriptors"));
    };
    let mut untold = Some(untold);
    let mut tell = || untold.take().into_iter().for_each(Untold::tell);
    if !later {
        tell();
    }
    begin(&trace, linux, new, &init_process, &sync).inspect_err(|_| tell())?;
    let oom = undo.cgroup.as_ref().and_then(|cgroup| cgroup.watch_oom().ok().flatten());
    let (folder, cgroup) = undo.keep();
    let first = Proc::first(init_process, sync, streams, trace.clone());
    let mut server = Server::new(bundle, folder, listener, cgroup, oom, first, trace, kinds(new, &given));
    server.untold = untold;
    server.powers = powers;
    Ok(server)
}

/// Maps the users of a new user namespace, and lets init set itself up: not before, so
/// that its first event comes after the one that tells of its birth.
fn begin(trace: &Trace, linux: &Linux, new: Set, init: &Process, sync: &OwnedFd) -> Result<(), Failed> {
    let mapped = if new.contains(Kind::User) {
        let (users, groups) = (plan::ranges(&linux.uid_mappings), plan::ranges(&linux.gid_mappings));
        namespace::write_idmap(trace, init.pid(), &users, &groups)
            .map_err(|error| kernel_step("namespaces", error))
    } else {
        Ok(())
    };
    mapped
        .and_then(|()| wire::send(sync, &Word::Begin, &[]).map_err(|error| io_step("begin", &error)))
        .inspect_err(|_| {
            let _ = init.signal(&Trace::off(), process::Signal::KILL);
            let _ = init.wait(&Trace::off());
        })
}

/// What init tells on its way to its program, on its way to the daemon.
#[derive(Debug)]
pub(super) struct Told {
    tape: TapeReader,
    channel: Arc<Channel>,
    /// Evidence that the shim has read for it.
    proofs: Vec<Proof>,
}

impl Told {
    pub(super) fn new(tape: TapeReader, channel: &Arc<Channel>) -> Self {
        Self { tape, channel: Arc::clone(channel), proofs: Vec::new() }
    }

    /// Adds evidence for steps that are not sent on yet.
    pub(super) fn prove(&mut self, evidence: impl IntoIterator<Item = (u64, Evidence)>) {
        self.proofs.extend(evidence.into_iter().map(|(span, evidence)| Proof::new(span, evidence)));
    }

    /// Sends on what init has told until now.
    pub(super) fn forward(&mut self) {
        self.forward_after(Vec::new());
    }

    /// As [`Told::forward`], in one message with what the shim told before.
    pub(super) fn forward_after(&mut self, before: Vec<u8>) {
        self.channel.forward(before, &std::mem::take(&mut self.proofs), &self.tape);
    }
}

/// As [`traces`], with a tape for what init tells, which is much in a short time, and a gathering for
/// the shim's own. Where someone steps through, each event is told at once.
fn traces_of_birth(
    carried: Option<&Carried>,
    channel: Option<&Arc<Channel>>,
    memory: Option<OwnedFd>,
) -> (Trace, Trace, Option<(Arc<Gathering>, Told)>) {
    if let (Some(carried), Some(channel)) = (carried, channel)
        && !carried.is_stepping()
        && let Ok((writer, tape)) = process::tape(TOLD, memory.as_ref().map(AsFd::as_fd))
    {
        let gathering = Arc::new(Gathering::new(Arc::clone(channel)));
        let shim = carried.open_gathering(&gathering, channel, Actor::Shim, 0);
        let init = carried.open_on(writer, channel, Actor::Init, 1);
        return (shim, init, Some((gathering, Told::new(tape, channel))));
    }
    let (shim, init) = traces(carried, channel);
    (shim, init, None)
}

/// The traces of the shim and of init: two shares of the numbers that the order came with.
fn traces(carried: Option<&Carried>, channel: Option<&Arc<Channel>>) -> (Trace, Trace) {
    match (carried, channel) {
        (Some(carried), Some(channel)) => {
            (carried.open(channel, Actor::Shim, 0), carried.open(channel, Actor::Init, 1))
        }
        _ => (Trace::off(), Trace::off()),
    }
}

fn kinds(new: Set, given: &[(Kind, String)]) -> Set {
    given.iter().fold(new, |set, (kind, _)| set.with(*kind))
}

/// Listens at `BUNDLE/shim.sock`; only the owner may connect.
fn listen(folder: &File) -> std::io::Result<UnixListener> {
    let path = wire::socket_path(folder.as_fd(), "shim.sock");
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(std::io::Error::other("a shim runs for this bundle already"));
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mask = rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(&path);
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mask.bits() & 0o022 | 0o022));
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What was made so far; dropped, it is removed again.
struct Undo {
    folder: Option<File>,
    cgroup: Option<Cgroup>,
    trace: Trace,
}

impl Undo {
    fn keep(mut self) -> (Option<File>, Option<Cgroup>) {
        (self.folder.take(), self.cgroup.take())
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = fs::remove_file(wire::socket_path(folder.as_fd(), "shim.sock"));
        }
        // After an abort at the step gate no step is done any more; cleaning up is.
        if let Some(cgroup) = &self.cgroup
            && cgroup.remove(&self.trace).is_err()
        {
            let _ = cgroup.remove(&glassdock_trace::Trace::off());
        }
    }
}

fn in_step(step: &str, error: &Error) -> Failed {
    let message = glassdock_trace::Failure::of(error).message;
    Failed { step: step.to_owned(), message, errno: None, status: 128, aborted: false }
}

pub(super) fn io_step(step: &str, error: &std::io::Error) -> Failed {
    Failed {
        step: step.to_owned(),
        message: error.to_string(),
        errno: error.raw_os_error(),
        status: 128,
        aborted: false,
    }
}

pub(super) fn kernel_step(step: &str, error: glassdock_kernel::Error) -> Failed {
    init::Failure::Kernel(error).in_step(step)
}
