//! The shim: a container's keeper.
//!
//! ```text
//!   Order ──► birth ──► serve ◄──────────► requests over BUNDLE/shim.sock
//!                         │    ◄──────────► streams, log, clients
//!               init or exec ended
//!                         ▼
//!                      ending: exit.json, notices, cgroup removed, the socket gone
//! ```
//!
//! One process a container, one thread, one poll(2). It needs nobody: whether the
//! daemon lives or not, output is read and logged, the end is written down, and what
//! was made is removed.
//!
//! Invariants:
//!
//! - `exit.json` is there, whole, before anybody is told of the end.
//! - A create or start that failed leaves no process, no control group and no mount behind.
//! - What one client does, or fails to do, holds others up for at most ten seconds (see `streams`).

mod birth;

mod ending;

mod exec;

mod proc;

mod requests;

mod serve;

pub(crate) mod streams;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use glassdock_kernel::{descriptor, process};
use glassdock_trace::Channel;

use crate::wire::{self, Birth, Order};

/// The program `glassdock-shim`. Its standard input is the socket on which the
/// daemon's order comes (see [`crate::create`]).
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Only a person who starts it by hand reads this: the daemon gives it no standard error.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("glassdock-shim: {error}; it is started by glassdock, not by hand\n"),
            );
            ExitCode::FAILURE
        }
    }
}

fn run() -> std::io::Result<()> {
    let control = take_control()?;
    let Some((order, fds)) = wire::receive::<Order>(&control)? else { return Ok(()) };
    let mut fds = fds.into_iter();
    let channel = fds.next().map(Channel::from_fd).map(std::sync::Arc::new);
    let memory = fds.next();
    // A program that is executed by its descriptor is called by the descriptor's number.
    let _ = process::set_name(c"glassdock-shim");
    // Not to be the first when memory runs out; where that takes more privilege, it stays as it is.
    let _ = process::set_oom_score(-999);
    match birth::give_birth(&order, channel, memory, &control) {
        Ok(server) => {
            let birth = Birth::Created { shim_pid: std::process::id(), init_pid: server.init_pid() };
            // A daemon that died meanwhile finds the shim by its socket.
            let _ = wire::send(&control, &birth, &[]);
            drop(control);
            server.serve();
        }
        Err(failed) => wire::send(&control, &Birth::Failed(failed), &[])?,
    }
    Ok(())
}

/// Takes the order's socket from the standard input, and leaves the null device there.
fn take_control() -> std::io::Result<OwnedFd> {
    drop(descriptor::inherited(wire::OWN_IMAGE));
    let control = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::net::sockopt::socket_type(&control)?;
    std::env::set_current_dir("/")?;
    descriptor::become_stdio(null.as_fd(), null.as_fd(), null.as_fd()).map_err(std::io::Error::other)?;
    Ok(control)
}
