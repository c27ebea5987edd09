//! Another program beside this process.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use glassdock_trace::{Body, Trace};

use super::exec::{c_string, c_strings, pointers};
use super::wait::Process;
use crate::{Error, Result};

/// What a new program gets. It inherits no descriptor but those named here.
#[derive(Clone, Debug, Default)]
pub struct Spawn<'a> {
    /// What the trace calls it: `shim`.
    pub role: &'a str,
    /// Its file; `/proc/self/fd/N` for one that is only held by a descriptor.
    pub path: PathBuf,
    /// Its arguments, the first being its own name.
    pub argv: Vec<OsString>,
    /// Its environment, `NAME=value`.
    pub env: Vec<OsString>,
    /// Descriptors, and the number that each has there. 0, 1 and 2 are `/dev/null` unless named.
    pub descriptors: Vec<(BorrowedFd<'a>, i32)>,
    /// Whether it leads a session of its own.
    pub session: bool,
}

/// Starts a program: posix_spawn(3), which copies no page tables and is safe in a
/// process of many threads. It starts with no signal blocked or ignored.
///
/// # Errors
///
/// Those of execve(2) and of making a process.
pub fn spawn(trace: &Trace, program: &Spawn<'_>) -> Result<Process> {
    let argv: Vec<_> = program.argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let body = Body::ProcessSpawn { role: program.role.to_owned(), argv, pid: None };
    trace.step(body, |span| {
        let process = Process::open(posix_spawn(program)?)?;
        if let Body::ProcessSpawn { pid, .. } = span.body_mut() {
            *pid = Some(process.pid());
        }
        Ok(process)
    })
}

/// Where descriptors wait between their own number and the wanted one, so that no
/// dup2(2) overwrites one that is still to be moved.
const HIGH: i32 = 512;

/// In no libc crate; `spawn.h`.
const POSIX_SPAWN_SETSID: libc::c_short = 0x80;

fn posix_spawn(program: &Spawn<'_>) -> Result<u32> {
    let subject = || program.path.display().to_string();
    let mut actions = Actions::new()?;
    let mut waiting = Vec::new();
    for number in 0..3 {
        if program.descriptors.iter().all(|(_, wanted)| *wanted != number) {
            actions.open_null(number)?;
        }
    }
    let mut highest = 2;
    for (descriptor, number) in &program.descriptors {
        let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, HIGH)
            .map_err(|error| Error::call("fcntl", "F_DUPFD_CLOEXEC", error))?;
        actions.dup2(copy.as_raw_fd(), *number)?;
        highest = highest.max(*number);
        waiting.push(copy);
    }
    actions.close_from(highest + 1)?;
    let attributes = Attributes::new(program.session)?;
    let path = c_string(program.path.as_os_str())?;
    let (argv, env) = (c_strings(&program.argv)?, c_strings(&program.env)?);
    let (argv, env) = (pointers(&argv), pointers(&env));
    let mut pid = 0;
    // SAFETY: actions and attributes are initialised; path, argv and env are as in execve: C strings and null-terminated
    // arrays that live until the call returns. posix_spawn does not write through the pointers, though its type says
    // it might.
    let code = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr().cast(),
            env.as_ptr().cast(),
        )
    };
    drop::<Vec<OwnedFd>>(waiting);
    answer("posix_spawn", &subject(), code)?;
    Ok(u32::try_from(pid).unwrap_or(0))
}

/// These calls return the error number, in place of setting errno.
fn answer(call: &'static str, subject: &str, code: i32) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::call(call, subject, io::Error::from_raw_os_error(code))) }
}

/// What the new process does with its descriptors before execve(2).
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init writes the whole of what it is given.
        answer("posix_spawn", "file actions", unsafe {
            libc::posix_spawn_file_actions_init(actions.as_mut_ptr())
        })?;
        // SAFETY: init succeeded.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn dup2(&mut self, from: i32, to: i32) -> Result<()> {
        // SAFETY: self is initialised.
        answer("posix_spawn", "dup2", unsafe {
            libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to)
        })
    }

    fn open_null(&mut self, number: i32) -> Result<()> {
        // SAFETY: self is initialised, and the path is a C string that is copied.
        answer("posix_spawn", "/dev/null", unsafe {
            libc::posix_spawn_file_actions_addopen(
                &raw mut self.0,
                number,
                c"/dev/null".as_ptr(),
                libc::O_RDWR,
                0,
            )
        })
    }

    fn close_from(&mut self, first: i32) -> Result<()> {
        // SAFETY: self is initialised.
        answer("posix_spawn", "closefrom", unsafe {
            libc::posix_spawn_file_actions_addclosefrom_np(&raw mut self.0, first)
        })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: self is initialised, and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// What else the new process is: its session, its signals.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(session: bool) -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init writes the whole of what it is given.
        answer("posix_spawn", "attributes", unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: init succeeded.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let mut flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let none = nix::sys::signal::SigSet::empty();
        let all = nix::sys::signal::SigSet::all();
        // SAFETY: attributes is initialised, and the set is copied.
        unsafe { libc::posix_spawnattr_setsigmask(&raw mut attributes.0, none.as_ref()) };
        // SAFETY: as above.
        unsafe { libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, all.as_ref()) };
        if session {
            flags |= i32::from(POSIX_SPAWN_SETSID);
        }
        // SAFETY: attributes is initialised.
        let code = unsafe {
            libc::posix_spawnattr_setflags(&raw mut attributes.0, libc::c_short::try_from(flags).unwrap_or(0))
        };
        answer("posix_spawn", "flags", code)?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: self is initialised, and not used again.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
