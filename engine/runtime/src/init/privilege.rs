//! The last steps, after the start: streams, limits, user, powers, program.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use glassdock_kernel::path::Root;
use glassdock_kernel::process::{self, Program};
use glassdock_kernel::rlimit::{self, Resource};
use glassdock_kernel::user::User;
use glassdock_kernel::{capability, descriptor, pty};
use glassdock_trace::{Body, Trace};

use super::user::{self, Identity};
use super::{Failure, Init, Step};
use crate::wire::{self, Report};

/// Makes pipes, or the terminal, the standard streams; dup2(2), setsid(2), ioctl_tty(2).
///
/// A new session, so that the program has no terminal but this one, and no
/// signal for the shim's group reaches it.
pub(super) fn connect_stdio(init: &mut Init<'_>) -> Step {
    process::new_session()?;
    let null;
    let (input, output, error): (BorrowedFd<'_>, BorrowedFd<'_>, BorrowedFd<'_>) =
        match (&init.made.terminal, &init.ends.outputs) {
            (Some(terminal), _) => {
                pty::set_controlling(terminal.as_fd())?;
                (terminal.as_fd(), terminal.as_fd(), terminal.as_fd())
            }
            (None, Some((output, error))) => {
                let input = match &init.ends.input {
                    Some(input) => input.as_fd(),
                    None => {
                        // The container's own, made a few steps ago.
                        null = File::open("/dev/null")
                            .map_err(|error| glassdock_kernel::Error::call("open", "/dev/null", error))?;
                        null.as_fd()
                    }
                };
                (input, output.as_fd(), error.as_fd())
            }
            (None, None) => return Err(Failure::Invalid("the process has no standard streams".to_owned())),
        };
    descriptor::become_stdio(input, output, error)?;
    let mut streams = vec!["stdout".to_owned(), "stderr".to_owned()];
    if init.made.terminal.is_some() || init.ends.input.is_some() {
        streams.insert(0, "stdin".to_owned());
    }
    init.trace.point(Body::StdioAttach { streams, tty: init.made.terminal.is_some() });
    Ok(())
}

/// Gives everything up that the program must not have, and becomes it; credentials(7),
/// capabilities(7), seccomp(2), execve(2).
///
/// In this order: limits need privilege; the user is looked up in the container's own
/// files; the working directory may be one that only root can enter, as in Docker; the filter needs privilege too, unless no_new_privs stands in for it, and
/// then it comes last; descriptors are marked before that; execve closes them.
pub(super) fn become_program(init: &mut Init<'_>) -> Step {
    let trace = &init.trace;
    let process = init.privileges.process;
    set_limits(trace, process)?;
    let root = Root::open(Path::new("/"))?;
    let identity = user::look_up(&root, &process.user, init.privileges.user, init.privileges.groups)?;
    own_stdio(&identity, init.made.terminal.is_some());
    if let Some(umask) = process.user.umask {
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(umask & 0o777));
    }
    descriptor::close_on_exec_from(3)?;
    let filter = init.privileges.filter.as_ref();
    if process.no_new_privileges {
        process::set_no_new_privileges()?;
    } else if let Some(filter) = filter {
        filter.load(trace, false)?;
    }
    let entered = enter_directory(&process.cwd);
    capability::drop_to(trace, &kept(init.privileges.capabilities, &identity.user), &identity.user)?;
    // On a file system that trusts no root (NFS) the user may enter what root may not.
    entered.or_else(|_| enter_directory(&process.cwd))?;
    let program = find_program(process, &identity, std::mem::take(&mut init.made.secrets))?;
    if process.no_new_privileges
        && let Some(filter) = filter
    {
        filter.load(trace, true)?;
    }
    execute(init, &program)
}

/// What of its capabilities a process has when it calls execve(2). A user other than root keeps only the ambient ones
/// across it; the others would count for that one call alone, and open files to it that the user may not execute.
fn kept(sets: capability::Sets, user: &User) -> capability::Sets {
    if user.uid == 0 {
        return sets;
    }
    capability::Sets { effective: sets.ambient, permitted: sets.ambient, ..sets }
}

fn set_limits(trace: &Trace, process: &crate::oci::Process) -> Step {
    for limit in &process.rlimits {
        let resource = Resource::parse(&limit.kind)
            .ok_or_else(|| Failure::Invalid(format!("unknown resource limit {:?}", limit.kind)))?;
        rlimit::set(trace, resource, limit.soft, limit.hard)?;
    }
    // The shim's own score is lower, and would be inherited.
    let wanted = process.oom_score_adj.unwrap_or(0);
    match process::set_oom_score(wanted) {
        // Without CAP_SYS_RESOURCE it can't go below the engine's: that one is the lowest, and is there already.
        Err(error) if error.errno() == Some(rustix::io::Errno::ACCESS.raw_os_error()) => Ok(()),
        set => Ok(set?),
    }
}

/// Gives the streams to the user, so that `/dev/stdout` can be opened again by them.
fn own_stdio(identity: &Identity, tty: bool) {
    let owner = Some(rustix::fs::Uid::from_raw(identity.user.uid));
    // The terminal's group stays `tty`, as devpts made it.
    let group = (!tty).then(|| rustix::fs::Gid::from_raw(identity.user.gid));
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [input.as_fd(), output.as_fd(), error.as_fd()] {
        // The null device is the container's, and stays root's; a file system may refuse. The program starts all the same.
        if rustix::fs::fstat(stream).is_ok_and(|stat| stat.st_rdev != rustix::fs::makedev(1, 3)) {
            let _ = rustix::fs::fchown(stream, owner, group);
        }
    }
}

fn find_program(
    process: &crate::oci::Process,
    identity: &Identity,
    secrets: Vec<OsString>,
) -> Result<Program, Failure> {
    let argv: Vec<OsString> = process.args.iter().map(OsString::from).collect();
    let mut env: Vec<OsString> = process.env.iter().map(OsString::from).collect();
    if !process.env.iter().any(|pair| pair.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home).into());
    }
    env.extend(secrets);
    let name = process.args.first().cloned().unwrap_or_default();
    let program = Program::find(argv, env).map_err(|error| {
        let message = format!("exec: {name:?}: executable file not found in $PATH");
        Failure::Exec { message, status: 127, errno: error.errno() }
    })?;
    check_file(&name, &program.path)?;
    Ok(program)
}

/// A relative command is meant from the working directory, which must exist and lie inside of the root.
fn enter_directory(path: &str) -> Step {
    process::enter_directory(Path::new(path)).map_err(|error| {
        let Some(errno) = error.errno() else { return Failure::from(error) };
        let reason = reason_of(&std::io::Error::from_raw_os_error(errno));
        let missing = errno == rustix::io::Errno::NOENT.raw_os_error();
        Failure::Exec {
            message: format!("chdir to cwd ({path:?}) set in config.json failed: {reason}"),
            status: if missing { 127 } else { 126 },
            errno: Some(errno),
        }
    })
}

/// The kernel's reason as Docker writes it.
fn reason_of(error: &std::io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Says in Docker's words why a file can't be executed, where that is plain beforehand.
fn check_file(name: &str, path: &Path) -> Step {
    use std::os::unix::fs::PermissionsExt;
    let refused = |reason: String, status: i32, errno: rustix::io::Errno| {
        Err(Failure::Exec {
            message: format!("exec: {name:?}: {reason}"),
            status,
            errno: Some(errno.raw_os_error()),
        })
    };
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => refused("is a directory".into(), 126, rustix::io::Errno::ISDIR),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
            refused("permission denied".into(), 126, rustix::io::Errno::ACCESS)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => refused(
            format!("stat {}: no such file or directory", path.display()),
            127,
            rustix::io::Errno::NOENT,
        ),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            refused(format!("stat {}: permission denied", path.display()), 126, rustix::io::Errno::ACCESS)
        }
        Err(error) => {
            let reason = reason_of(&error);
            let errno =
                error.raw_os_error().map_or(rustix::io::Errno::IO, rustix::io::Errno::from_raw_os_error);
            refused(format!("stat {}: {reason}", path.display()), 126, errno)
        }
        // Anything else is execve's to say.
        Ok(_) => Ok(()),
    }
}

/// The step `process.exec`: begun here, ended by the shim when it sees the sync socket
/// close, since after a success nobody is left here to tell.
fn execute(init: &Init<'_>, program: &Program) -> Step {
    let process = init.privileges.process;
    let body = Body::ProcessExec {
        argv: process.args.clone(),
        path: Some(program.path.display().to_string()),
        cwd: Some(process.cwd.clone()),
        env: u32::try_from(program.env.len()).unwrap_or(u32::MAX),
    };
    let began_ns = Trace::clock();
    let span = init.trace.begin(body).map_err(glassdock_kernel::Error::from)?;
    wire::send(init.sync, &Report::Executing { span: span.trace().span(), began_ns }, &[])?;
    let error = process::exec(&Trace::off(), program, Path::new(""));
    let errno = error.errno();
    let error = span.finish::<(), _>(Err(error)).err();
    let reason = errno.map(|errno| reason_of(&std::io::Error::from_raw_os_error(errno))).unwrap_or_default();
    if matches!(error, Some(glassdock_kernel::Error::Invalid { .. })) {
        return Err(Failure::Invalid("an argument or the environment has a zero byte".to_owned()));
    }
    if errno == Some(rustix::io::Errno::ACCESS.raw_os_error()) {
        let message = format!("exec: {:?}: {reason}", process.args.first().map_or("", String::as_str));
        return Err(Failure::Exec { message, status: 126, errno });
    }
    // The file is there and may be executed, but isn't what the kernel can execute: of another machine, without an
    // interpreter, empty. The container has begun, and this is its output.
    let line = format!("exec {}: {reason}\n", program.path.display());
    let _ = rustix::io::write(std::io::stderr(), line.as_bytes());
    Ok(wire::send(init.sync, &Report::Refused, &[])?)
}
