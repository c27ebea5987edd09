//! A further process in the container.
//!
//! ```text
//!   shim ──fork──► between: enters the cgroup, joins the namespaces
//!     ▲              └─clone3(CLONE_PARENT)──► the process, in the pid namespace too
//!     └── its child, as init is ◄──────────────────┘
//! ```
//!
//! The one between is needed because joining a pid namespace counts only for children
//! (pid_namespaces(7)), and because the shim itself must stay outside. With
//! `CLONE_PARENT` the process is the shim's own child, so the shim collects its status.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use glassdock_kernel::path::Root;
use glassdock_kernel::process::{self, Child, Process};
use glassdock_kernel::pty::{Pty, Size};
use glassdock_kernel::{namespace, pty};
use glassdock_trace::{Actor, Channel, Gathering, Trace};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::birth::{Told, io_step, kernel_step};
use super::serve::{Phase, Proc, Server, reply};
use super::streams::{ProcessEnds, Streams};
use crate::bundle::{Extras, Stdin};
use crate::client::ExecSpec;
use crate::error::Failed;
use crate::init::{self, Failure, Init, Privileges};
use crate::oci::Spec;
use crate::plan::{self, invalid};
use crate::wire::{self, Carried, Reply, Report};

impl Server {
    /// Starts the process; its client hears when it runs, or why it does not.
    pub(super) fn exec(
        &mut self,
        spec: ExecSpec,
        carried: Option<&Carried>,
        fds: Vec<OwnedFd>,
        client: UnixStream,
    ) {
        let channel = fds.into_iter().next().map(Channel::from_fd).map(Arc::new);
        let traces = Traces::of(carried, channel.as_ref());
        match self.begin_exec(&spec, traces) {
            Ok(mut proc) => {
                proc.wait_start.push(client);
                self.procs.push(proc);
            }
            Err(failed) => reply(&client, &Reply::Failed(failed)),
        }
    }

    fn begin_exec(&self, spec: &ExecSpec, traces: Traces) -> Result<Proc, Failed> {
        let first = self.procs.first().filter(|first| first.phase == Phase::Running);
        let first = first.ok_or_else(|| invalid("exec", "the container is not running"))?;
        if spec.id.is_empty() || self.procs.iter().any(|proc| proc.id == spec.id) {
            return Err(invalid("exec", format!("the id {:?} is empty or taken", spec.id)));
        }
        if spec.process.args.is_empty() {
            return Err(invalid("exec", "there is no program"));
        }
        let mode = if spec.open_stdin { Stdin::Once } else { Stdin::Closed };
        let (streams, ends) = if spec.process.terminal {
            (Streams::terminal(mode, None), ProcessEnds { input: None, outputs: None })
        } else {
            Streams::pipes(mode, None).map_err(|error| io_step("stdio", &error))?
        };
        let (sync, sync_child) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| io_step("socket", &error.into()))?;
        let between =
            process::clone_child(&Trace::off(), &Child { role: "exec", ..Child::default() }, || {
                let result = self.go_between(first, spec, &traces, &sync_child, ends);
                let failed = result.err();
                let status = u8::from(failed.is_some());
                if let Some(failed) = failed {
                    traces.flush();
                    let _ = wire::send(&sync_child, &Report::Failed(failed), &[]);
                }
                status
            })
            .map_err(|error| kernel_step("exec", error))?;
        drop(sync_child);
        let ended = between.wait(&Trace::off()).map_err(|error| kernel_step("exec", error))?;
        let mut proc = self.meet_child(spec, &traces.shim, sync, streams, ended)?;
        proc.tape = traces.told;
        Ok(proc)
    }

    /// The one between is gone: what it said, and perhaps its child, is in the socket.
    fn meet_child(
        &self,
        spec: &ExecSpec,
        trace: &Trace,
        sync: OwnedFd,
        streams: Streams,
        ended: process::Exit,
    ) -> Result<Proc, Failed> {
        let mut early = Vec::new();
        let pid = loop {
            match wire::receive::<Report>(&sync) {
                Ok(Some((Report::Child(pid), _))) => break pid,
                Ok(Some((Report::Failed(failed), _))) if ended.code() != 0 => return Err(failed),
                Ok(Some(report)) => early.push(report),
                Ok(None) => return Err(invalid("exec", "the process was not made")),
                Err(error) => return Err(io_step("exec", &error)),
            }
        };
        // Our own child, which nobody else collects: the number can't be another's.
        let process = Process::open(pid).map_err(|error| kernel_step("exec", error))?;
        let mut proc = Proc::first(process, sync, streams, trace.clone());
        proc.id = spec.id.clone();
        proc.phase = Phase::Starting;
        proc.attach = spec.attach;
        for (report, fds) in early {
            if let Some(failed) = proc.take(report, fds) {
                proc.failed.get_or_insert(failed);
            }
        }
        Ok(proc)
    }

    /// In the one between: everything that must be read or entered from outside, then the child.
    fn go_between(
        &self,
        first: &Proc,
        spec: &ExecSpec,
        traces: &Traces,
        sync: &OwnedFd,
        ends: ProcessEnds,
    ) -> Result<(), Failed> {
        // The container is made: of its bundle, nothing more is read for its further processes.
        let (config, extras) = (Spec::default(), Extras::default());
        let own = &self.powers;
        let privileges = Privileges {
            process: &spec.process,
            user: spec.user.as_deref(),
            groups: &own.groups,
            capabilities: match &spec.process.capabilities {
                Some(asked) => plan::capabilities(Some(asked))?,
                None => own.capabilities,
            },
            filter: own.filter.clone().filter(|_| !spec.privileged),
        };
        let host_proc = File::open("/proc").map_err(|error| io_step("exec", &error))?;
        let trace = &traces.between.with_pid(glassdock_kernel::files::host_pid());
        if let Some(cgroup) = &self.cgroup {
            cgroup.enter(trace).map_err(|error| kernel_step("cgroup", error))?;
        }
        let pid = first.process.pid();
        namespace::join_process(trace, first.process.as_fd(), pid, self.kinds)
            .map_err(|error| kernel_step("namespaces", error))?;
        let child = Child { role: "exec", sibling: true, ..Child::default() };
        let made = process::clone_child(trace, &child, || {
            let mut init = Init {
                spec: &config,
                extras: &extras,
                folder: self.bundle.folder(),
                privileges,
                new: namespace::Set::EMPTY,
                given: &[],
                cgroup: None,
                sync,
                trace: traces.child.with_pid(pid_on(&host_proc)),
                ends,
                root: None,
                attached: 0,
                unproven: None,
                secrets: Vec::new(),
                terminal: None,
            };
            if let Err(failure) = open_terminal(&mut init) {
                let _ = wire::send(sync, &Report::Failed(failure.in_step("console")), &[]);
                return 1;
            }
            init::become_exec(init)
        })
        .map_err(|error| kernel_step("exec", error))?;
        // Before the shim knows of the child, and sends on what that has told.
        traces.flush();
        wire::send(sync, &Report::Child(made.pid()), &[]).map_err(|error| io_step("exec", &error))
    }
}

/// The traces of an exec: one for each process that has a part in it.
struct Traces {
    /// For the end of the execve(2), which the shim sees.
    shim: Trace,
    /// For the one between, which sends what it gathered before it ends.
    between: Trace,
    gathering: Option<Arc<Gathering>>,
    /// For the process itself, until its program.
    child: Trace,
    /// What the process tells, where that goes over the shim.
    told: Option<Told>,
}

impl Traces {
    /// Where someone steps through, each event is told at once; otherwise with few messages.
    fn of(carried: Option<&Carried>, channel: Option<&Arc<Channel>>) -> Self {
        let off = Trace::off();
        let (Some(carried), Some(channel)) = (carried, channel) else {
            return Self { shim: off.clone(), between: off.clone(), gathering: None, child: off, told: None };
        };
        let shim = carried.open(channel, Actor::Init, 1);
        match process::tape() {
            Ok((writer, tape)) if !carried.is_stepping() => {
                let gathering = Arc::new(Gathering::new(Arc::clone(channel)));
                let between = carried.open_gathering(&gathering, channel, Actor::Init, 1);
                let child = carried.open_on(writer, channel, Actor::Init, 2);
                let told = Some(Told::new(tape, channel));
                Self { shim, between, gathering: Some(gathering), child, told }
            }
            _ => {
                let child = carried.open(channel, Actor::Init, 2);
                Self { between: shim.clone(), shim, gathering: None, child, told: None }
            }
        }
    }

    /// Sends what the one between has told.
    fn flush(&self) {
        self.gathering.iter().for_each(|gathering| gathering.flush());
    }
}

/// The number of this process on the host, by the host's own proc.
fn pid_on(host_proc: &File) -> u32 {
    let link = rustix::fs::readlinkat(host_proc, "self", Vec::new()).ok();
    link.and_then(|link| link.to_str().ok()?.parse().ok()).unwrap_or_else(std::process::id)
}

/// A terminal of the container's devpts for the process, if it wants one.
fn open_terminal(init: &mut Init<'_>) -> Result<(), Failure> {
    if !init.privileges.process.terminal {
        return Ok(());
    }
    let pty = Pty::open(&Root::open(Path::new("/"))?)?;
    if let Some(size) = init.privileges.process.console_size {
        pty::resize(pty.terminal.as_fd(), Size { rows: size.height, columns: size.width })?;
    }
    wire::send(init.sync, &Report::Terminal, &[pty.controller.as_fd()])?;
    init.terminal = Some(pty.terminal);
    Ok(())
}
