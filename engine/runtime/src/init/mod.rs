//! Init: from the copy of a shim in new namespaces to the user's program.
//!
//! The steps are the list below, in this order; each is a function that says
//! what holds before and after, and why it stands where it stands. A step that
//! fails ends init, and its name travels with the error to whoever waits.

pub(crate) mod mounts;

mod privilege;

mod root;

pub(crate) mod user;

use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use glassdock_kernel::capability;
use glassdock_kernel::cgroup::Cgroup;
use glassdock_kernel::namespace::{Kind, Set};
use glassdock_kernel::path::Root;
use glassdock_kernel::unproven::Unproven;
use glassdock_kernel::{mount, namespace, seccomp};
use glassdock_trace::Trace;

use crate::bundle::Extras;
use crate::error::Failed;
use crate::oci::{Linux, Process, Spec};
use crate::shim::streams::ProcessEnds;
use crate::wire::{self, Report, Word};

/// Everything that init knows when it is born.
pub(crate) struct Init<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) extras: &'a Extras,
    pub(crate) folder: &'a std::path::Path,
    pub(crate) privileges: Privileges<'a>,
    /// The namespaces that were made for it; the cgroup namespace is still to come.
    pub(crate) new: Set,
    pub(crate) given: &'a [(Kind, String)],
    pub(crate) cgroup: Option<&'a Cgroup>,
    pub(crate) sync: &'a OwnedFd,
    pub(crate) trace: Trace,
    pub(crate) ends: ProcessEnds,
    /// What its steps have made so far.
    pub(crate) made: Made,
}

/// What a step makes for those after it.
#[derive(Default)]
pub(crate) struct Made {
    /// The container's root, attached; from the step `root` to `pivot`.
    pub(crate) root: Option<(mount::Detached, Root)>,
    /// Copies of the sources of shared binds, by their places in the bundle's list; from the step `propagation` to `mounts`.
    pub(crate) shared: std::collections::BTreeMap<usize, mount::Detached>,
    /// Variables whose values are secret, from the step `secrets` on.
    pub(crate) secrets: Vec<std::ffi::OsString>,
    /// Evidence that is left to the shim to read.
    pub(crate) unproven: Unproven,
    /// The program's side of the terminal, from the step `console` on.
    pub(crate) terminal: Option<OwnedFd>,
}

/// What the program may do, worked out before init was born.
pub(crate) struct Privileges<'a> {
    pub(crate) process: &'a Process,
    /// The user in Docker's words; goes before the process's numbers.
    pub(crate) user: Option<&'a str>,
    /// Further groups, by name or number.
    pub(crate) groups: &'a [String],
    pub(crate) capabilities: capability::Sets,
    pub(crate) filter: Option<seccomp::Filter>,
}

/// What a step gives.
type Step = Result<(), Failure>;

/// A step, with the name that its failure travels under.
type NamedStep = (&'static str, fn(&mut Init<'_>) -> Step);

/// The steps that make the container, up to the wait for the start.
const SET_UP: &[NamedStep] = &[
    ("cgroup", enter_cgroup),
    ("namespaces", finish_namespaces),
    ("names", set_names),
    ("propagation", root::cut_propagation),
    ("root", root::mount_root),
    ("stacks", mounts::mount_stacks),
    ("secrets", read_secrets),
    ("mounts", mounts::mount_all),
    ("devices", root::make_devices),
    ("console", root::open_console),
    ("cwd", root::make_working_directory),
    ("pivot", root::pivot),
    ("sysctl", set_sysctls),
    ("readonly", root::protect_paths),
    ("mask", root::mask_paths),
];

/// The steps that turn init into the program, after the start.
const BECOME: &[NamedStep] = &[("stdio", privilege::connect_stdio), ("exec", privilege::become_program)];

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A door to Linux.
    #[error(transparent)]
    Kernel(#[from] glassdock_kernel::Error),
    /// Talking with the shim.
    #[error("talking with the shim")]
    Talk(#[from] std::io::Error),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A folder of the host for a file of the image, or the other way round.
    #[error("{0}")]
    Mismatch(String),
    /// There is no such user or group; in Docker's words.
    #[error("{0}")]
    User(String),
    /// The program can't be executed; with Docker's words and status.
    #[error("{message}")]
    Exec {
        /// `exec: "foo": executable file not found in $PATH`.
        message: String,
        /// 127 not found, 126 can't be executed.
        status: i32,
        /// The kernel's error.
        errno: Option<i32>,
    },
}

/// The exit status of a process that got so far that it called execve(2), in vain: as in Docker, where that is the
/// program's own affair. (Steps that all succeed don't come back otherwise.)
const REFUSED: u8 = 1;

/// The body of init: never returns to the shim's code but as a status.
pub(crate) fn run(mut init: Init<'_>) -> u8 {
    match run_steps(&mut init) {
        Ok(()) => REFUSED,
        Err(failed) => report(&init, failed),
    }
}

/// Tells the shim of a failure, and gives the status to end with.
fn report(init: &Init<'_>, failed: Failed) -> u8 {
    let status = u8::try_from(failed.status).unwrap_or(1);
    // Without a shim there is nobody left to tell.
    let _ = wire::send(init.sync, &Report::Failed(failed), &[]);
    status
}

fn run_steps(init: &mut Init<'_>) -> Result<(), Failed> {
    wait_for(init, |word| matches!(word, Word::Begin)).map_err(|failure| failure.in_step("begin"))?;
    // Where the clock of the trace runs, a process has the number that the host sees.
    init.trace = init.trace.with_pid(glassdock_kernel::files::host_pid());
    run_each(init, SET_UP)?;
    let ready = Report::Ready { unproven: init.made.unproven };
    wire::send(init.sync, &ready, &[]).map_err(|error| Failure::Talk(error).in_step("ready"))?;
    wait_for(init, |word| matches!(word, Word::Start)).map_err(|failure| failure.in_step("start"))?;
    run_each(init, BECOME)
}

fn run_each(init: &mut Init<'_>, steps: &[NamedStep]) -> Result<(), Failed> {
    steps.iter().try_for_each(|(name, step)| step(init).map_err(|failure| failure.in_step(name)))
}

fn wait_for(init: &Init<'_>, expected: fn(&Word) -> bool) -> Step {
    match wire::receive::<Word>(init.sync)? {
        Some((word, _)) if expected(&word) => Ok(()),
        Some((word, _)) => Err(Failure::Invalid(format!("unexpected {word:?} from the shim"))),
        None => Err(Failure::Talk(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Goes under the container's limits; cgroups(7).
///
/// First of all, so that everything that init does is on the container's account, and
/// before the cgroup namespace is made: that has as its root the group that its maker is in.
/// Init moves itself: for a process that moves another, the kernel waits for a grace
/// period of RCU, which takes longer than everything else here together.
fn enter_cgroup(init: &mut Init<'_>) -> Step {
    if let Some(cgroup) = init.cgroup {
        init.made.unproven.entered = cgroup.enter_unproven(&init.trace)?;
    }
    Ok(())
}

/// Joins the namespaces of others, and makes the cgroup namespace, which clone3(2)
/// could not have made before the step above; setns(2), cgroup_namespaces(7).
fn finish_namespaces(init: &mut Init<'_>) -> Step {
    for (kind, path) in init.given {
        // A pid namespace counts for children only: the shim joined it before the clone.
        if *kind != Kind::Pid && *kind != Kind::User {
            namespace::join_path(&init.trace, path.as_ref(), *kind)?;
        }
    }
    if init.new.contains(Kind::Cgroup) {
        namespace::unshare(&init.trace, Set::EMPTY.with(Kind::Cgroup))?;
    }
    Ok(())
}

/// Names the machine; uts_namespaces(7).
fn set_names(init: &mut Init<'_>) -> Step {
    let (hostname, domainname) = (init.spec.hostname.as_deref(), init.spec.domainname.as_deref());
    if hostname.is_none() && domainname.is_none() {
        return Ok(());
    }
    if !init.new.contains(Kind::Uts) {
        return Err(Failure::Invalid("a hostname takes a new uts namespace".to_owned()));
    }
    Ok(namespace::set_names(&init.trace, hostname, domainname)?)
}

/// A variable's value is at most so long, in bytes: execve(2) takes no more.
const LONGEST_VALUE: u64 = 128 * 1024 - 1;

/// Reads the variables whose values lie in files of the host.
///
/// Before the pivot, as they are the host's; they go to execve(2) from here, and nowhere else.
fn read_secrets(init: &mut Init<'_>) -> Step {
    for variable in &init.extras.secret_env {
        let failed = |error: std::io::Error| glassdock_kernel::Error::Invalid {
            what: "secret of the variable",
            value: variable.name.clone(),
            reason: match error.kind() {
                std::io::ErrorKind::NotFound => "its file is not there",
                _ => "its file can't be read",
            },
        };
        let mut value = Vec::new();
        let file = std::fs::File::open(&variable.path).map_err(failed)?;
        file.take(LONGEST_VALUE).read_to_end(&mut value).map_err(failed)?;
        let mut pair = format!("{}=", variable.name).into_bytes();
        pair.append(&mut value);
        init.made.secrets.push(std::ffi::OsString::from_vec(pair));
    }
    Ok(())
}

/// Sets kernel parameters; sysctl(8).
///
/// After the pivot, since they are written through the container's own proc; before
/// `/proc/sys` becomes read-only.
fn set_sysctls(init: &mut Init<'_>) -> Step {
    for (name, value) in init.linux().map(|linux| &linux.sysctl).into_iter().flatten() {
        namespace::set_sysctl(&init.trace, name, value)?;
    }
    Ok(())
}

impl Init<'_> {
    fn linux(&self) -> Option<&Linux> {
        self.spec.linux.as_ref()
    }

    /// The root, between the steps that mount it and enter it.
    fn root(&self) -> Result<&Root, Failure> {
        self.made
            .root
            .as_ref()
            .map(|(_, root)| root)
            .ok_or_else(|| Failure::Invalid("there is no root yet".to_owned()))
    }
}

impl Failure {
    /// The failure as it travels to the shim and the daemon.
    pub(crate) fn in_step(self, step: &str) -> Failed {
        let (status, errno, aborted) = match &self {
            Self::Exec { status, errno, .. } => (*status, *errno, false),
            Self::Kernel(error) => (128, error.errno(), matches!(error, glassdock_kernel::Error::Aborted(_))),
            Self::Talk(error) => (128, error.raw_os_error(), false),
            Self::Mismatch(_) => (128, Some(rustix::io::Errno::NOTDIR.raw_os_error()), false),
            Self::Invalid(_) | Self::User(_) => (128, None, false),
        };
        let step = if matches!(self, Self::User(_)) { "user" } else { step };
        let message = glassdock_trace::Failure::of(&self).message;
        Failed { step: step.to_owned(), message, errno, status, aborted }
    }
}

/// The container that a further process enters.
pub(crate) struct Place<'a> {
    /// Its first process, whose namespaces are joined.
    pub(crate) process: BorrowedFd<'a>,
    /// That one's number.
    pub(crate) pid: u32,
    /// Which namespaces; the pid namespace was joined before the clone.
    pub(crate) kinds: Set,
}

/// The body of a further process of a container: enters that, and becomes its program.
pub(crate) fn run_further(mut init: Init<'_>, place: &Place<'_>) -> u8 {
    match enter(&mut init, place).and_then(|()| run_each(&mut init, BECOME)) {
        Ok(()) => REFUSED,
        Err(failed) => report(&init, failed),
    }
}

fn enter(init: &mut Init<'_>, place: &Place<'_>) -> Result<(), Failed> {
    if let Some(cgroup) = init.cgroup {
        cgroup.enter(&init.trace).map_err(|error| Failure::Kernel(error).in_step("cgroup"))?;
    }
    namespace::join_process(&init.trace, place.process, place.pid, place.kinds)
        .map_err(|error| Failure::Kernel(error).in_step("namespaces"))?;
    root::open_own_terminal(init).map_err(|failure| failure.in_step("console"))
}
