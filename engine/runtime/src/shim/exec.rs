//! A further process in the container.
//!
//! ```text
//!   shim: joins the container's pid namespace for its children (setns(2))
//!     └──clone3──► the process: enters the cgroup, joins the other namespaces, becomes the program
//! ```
//!
//! A process stays in its pid namespace for life, and only its children are born in another
//! (pid_namespaces(7)). So that is joined before the clone, and stays so: after the first process, a shim
//! makes no other children. All else is joined after the clone, because the shim itself must stay outside.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use glassdock_kernel::namespace::{self, Kind};
use glassdock_kernel::process::{self, Child, Process};
use glassdock_trace::{Actor, Channel, Gathering, Trace};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::birth::{Told, io_step, kernel_step};
use super::proc::{Phase, Proc, reply};
use super::serve::Server;
use super::streams::{ProcessEnds, Streams};
use crate::bundle::{Extras, Stdin};
use crate::client::ExecSpec;
use crate::error::Failed;
use crate::init::{self, Init, Place, Privileges};
use crate::oci::Spec;
use crate::plan::{self, invalid};
use crate::wire::{Carried, Reply};

/// As much as a process tells on its way to its program, in bytes.
const TOLD: usize = 4 * 1024;

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
        let born = self.bear(first, spec, &traces, &sync_child, ends);
        traces.flush();
        let mut proc = Proc::first(born?, sync, streams, traces.shim);
        proc.id.clone_from(&spec.id);
        proc.phase = Phase::Starting;
        proc.attach = spec.attach;
        proc.tape = traces.told;
        Ok(proc)
    }

    /// Makes the process, in the container's pid namespace; what else it has to enter, it enters itself.
    fn bear(
        &self,
        first: &Proc,
        spec: &ExecSpec,
        traces: &Traces,
        sync: &OwnedFd,
        ends: ProcessEnds,
    ) -> Result<Process, Failed> {
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
        let (process, pid) = (first.process.as_fd(), first.process.pid());
        if self.kinds.contains(Kind::Pid) {
            namespace::join_process(&traces.birth, process, pid, namespace::Set::EMPTY.with(Kind::Pid))
                .map_err(|error| kernel_step("namespaces", error))?;
        }
        process::clone_child(&traces.birth, &Child { role: "exec", ..Child::default() }, || {
            init::run_further(
                Init {
                    spec: &config,
                    extras: &extras,
                    folder: self.bundle.folder(),
                    privileges,
                    new: namespace::Set::EMPTY,
                    given: &[],
                    cgroup: self.cgroup.as_ref(),
                    sync,
                    // Where the host's proc is, a process has the number that the host sees.
                    trace: traces.child.with_pid(glassdock_kernel::files::host_pid()),
                    ends,
                    made: init::Made::default(),
                },
                &Place { process, pid, kinds: self.kinds.without(Kind::Pid) },
            )
        })
        .map_err(|error| kernel_step("exec", error))
    }
}

/// The traces of an exec: one for each process that has a part in it.
struct Traces {
    /// For the shim: the process's birth, and the end of its execve(2).
    birth: Trace,
    shim: Trace,
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
            return Self { birth: off.clone(), shim: off.clone(), gathering: None, child: off, told: None };
        };
        let shim = carried.open(channel, Actor::Shim, 1);
        if !carried.is_stepping()
            && let Ok((writer, tape)) = process::tape(TOLD, None)
        {
            let gathering = Arc::new(Gathering::new(Arc::clone(channel)));
            let birth = carried.open_gathering(&gathering, channel, Actor::Shim, 2);
            let child = carried.open_on(writer, channel, Actor::Init, 3);
            let told = Some(Told::new(tape, channel));
            return Self { birth, shim, gathering: Some(gathering), child, told };
        }
        let child = carried.open(channel, Actor::Init, 3);
        Self { birth: shim.clone(), shim, gathering: None, child, told: None }
    }

    /// Sends what the shim has told of the birth: before it sends on what the process tells.
    fn flush(&self) {
        self.gathering.iter().for_each(|gathering| gathering.flush());
    }
}
