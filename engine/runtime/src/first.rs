//! Process 1 of a container with `--init`: `/sbin/docker-init -- PROGRAM ARGUMENT…`.
//!
//! The kernel gives the first process of a process namespace no signal that it has no handler for, and every orphan:
//! a program that is made for neither ignores SIGTERM and collects zombies. So a small one stands there that hands
//! signals on to its one child, collects whatever ended, and ends as the child does.
//!
//! It is the shim's own binary, mounted read-only in the container, so nothing else has to be installed; see
//! pid_namespaces(7).

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use glassdock_kernel::process::{self, Process, Program, Signal, SignalFd};
use glassdock_trace::{Failure, Trace};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;
use rustix::termios::{isatty, tcsetpgrp};

/// Where a container finds it.
pub const PLACE: &str = "/sbin/docker-init";

/// What nobody can hear, and what tells of this process's own faults. All else is handed on, or tells of a child's end.
const NOT_HEARD: [&str; 9] = ["KILL", "STOP", "ILL", "TRAP", "ABRT", "BUS", "FPE", "SEGV", "SYS"];

/// The C library keeps these for its threads.
const OF_THREADS: [i32; 2] = [32, 33];

/// The status for the container's end, if this process was started as [`PLACE`].
#[must_use]
pub fn run() -> Option<u8> {
    let mut words = std::env::args_os();
    if words.next()? != PLACE {
        return None;
    }
    let argv: Vec<OsString> = words.skip(1).collect();
    Some(stand(argv).unwrap_or_else(|error| {
        said(&error.to_string());
        1
    }))
}

fn said(what: &str) {
    // Whoever has closed the stream does not want to know.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("docker-init: {what}\n"));
}

fn stand(argv: Vec<OsString>) -> Result<u8, glassdock_kernel::Error> {
    let off = Trace::off();
    let Some(child) = start(&argv)? else { return Ok(127) };
    // After the child, which would have them blocked for good. What comes before reaches nobody, as it would a
    // moment earlier; the child's end is looked for before the first notice of it.
    let signals = SignalFd::new(&heard())?;
    loop {
        // One notice may stand for several ends.
        while let Some((pid, exit)) = process::reap_any(&off)? {
            if pid == child.pid() {
                return Ok(u8::try_from(exit.code()).unwrap_or(255));
            }
        }
        let mut wait = [PollFd::new(&signals, PollFlags::IN)];
        let _ = poll(&mut wait, None);
        while let Some(signal) = signals.take()? {
            if Some(signal) != Signal::parse("CHLD") {
                pass_on(&child, signal);
            }
        }
    }
}

fn heard() -> Vec<Signal> {
    let not: Vec<_> = NOT_HEARD.iter().filter_map(|name| Signal::parse(name)).collect();
    let all = (1..=64).filter(|number| !OF_THREADS.contains(number)).filter_map(Signal::from_number);
    all.filter(|signal| !not.contains(signal)).collect()
}

fn pass_on(child: &Process, signal: Signal) {
    // The terminal's own signals of reading and writing in the background are meant for this process alone.
    if ![Signal::parse("TTIN"), Signal::parse("TTOU")].contains(&Some(signal)) {
        // It may have ended just now, which the next notice tells.
        let _ = child.signal(&Trace::off(), signal);
    }
}

/// Starts the program; none if it is not there. It leads a group of its own, in front on the terminal: Ctrl-C reaches
/// it once.
///
/// By the standard library, whose way to a child every filter of system calls lets through: clone3(2) is not to be had here.
fn start(argv: &[OsString]) -> Result<Option<Process>, glassdock_kernel::Error> {
    let name = argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let env = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let started = Program::find(argv.to_vec(), env.collect())
        .map_err(|error| Failure::of(&error).message)
        .and_then(|program| {
            let mut command = Command::new(&program.path);
            command.arg0(&name).args(argv.iter().skip(1)).process_group(0);
            command.spawn().map_err(|error| error.to_string())
        });
    let child = match started {
        Ok(child) => child,
        Err(error) => {
            said(&format!("exec {name} failed: {error}"));
            return Ok(None);
        }
    };
    let process = Process::open(child.id())?;
    let input = std::io::stdin();
    if isatty(input.as_fd()) {
        let _ = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .map(|group| tcsetpgrp(input.as_fd(), group));
        // It may have been stopped for reading before it was in front.
        let _ = Signal::parse("CONT").map(|signal| process.signal(&Trace::off(), signal));
    }
    Ok(Some(process))
}
