//! The child becomes the user's program.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use glassdock_trace::{Body, Trace};
use rustix::fs::{Access, AtFlags, CWD};

use super::enter_directory;
use crate::Error;

/// A program to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its file; found by [`Program::find`] if the first argument has no slash.
    pub path: PathBuf,
    /// Its arguments, the first being its own name.
    pub argv: Vec<OsString>,
    /// Its environment, `NAME=value`.
    pub env: Vec<OsString>,
}

/// Where a command is looked for without a `PATH` in its environment, as execvp(3) does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

impl Program {
    /// Finds the file of a command along the `PATH` of `env`, or as it is if it has a slash.
    /// To be called in the container's root and working directory, as the user who will run it.
    ///
    /// Directories, and files that the user can't execute, are passed over as in Docker (a shell would say that it
    /// may not execute them). A `PATH` that is there and empty leads nowhere.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such file.
    pub fn find(argv: Vec<OsString>, env: Vec<OsString>) -> Result<Self, Error> {
        let Some(command) = argv.first().filter(|command| !command.is_empty()) else {
            return Err(not_found(OsStr::new("")));
        };
        if command.as_bytes().contains(&b'/') {
            return Ok(Self { path: command.into(), argv, env });
        }
        let search = env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
        if search.is_some_and(<[u8]>::is_empty) {
            return Err(not_found(command));
        }
        for folder in search.unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':') {
            let folder = if folder.is_empty() { b".".as_slice() } else { folder };
            let path = Path::new(OsStr::from_bytes(folder)).join(command);
            if is_executable(&path) {
                return Ok(Self { path, argv, env });
            }
        }
        Err(not_found(command))
    }
}

fn not_found(command: &OsStr) -> Error {
    Error::call("execve", command.to_string_lossy(), io::Error::from_raw_os_error(libc::ENOENT))
}

/// Whether a path is a file that this process may execute, by its effective ids.
fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
        && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Becomes the program, in a working directory (if that is not empty): execve(2). Returns only if
/// that failed. Signals are [reset](reset_signals) before.
///
/// The trace gets the `begin`, and an `end` with the error on failure. On success there is no one
/// left here to say so: whoever waits at the close-on-exec pipe or channel sees it close, and
/// records the end.
pub fn exec(trace: &Trace, program: &Program, working_directory: &Path) -> Error {
    let body = Body::ProcessExec {
        argv: program.argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        path: Some(program.path.to_string_lossy().into_owned()),
        cwd: Some(working_directory.to_string_lossy().into_owned()),
        env: u32::try_from(program.env.len()).unwrap_or(u32::MAX),
    };
    let span = match trace.begin(body) {
        Ok(span) => span,
        Err(aborted) => return aborted.into(),
    };
    match span.finish(become_program(program, working_directory)) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn become_program(program: &Program, working_directory: &Path) -> Result<std::convert::Infallible, Error> {
    if !working_directory.as_os_str().is_empty() {
        enter_directory(working_directory)?;
    }
    let path = c_string(program.path.as_os_str())?;
    let argv = c_strings(&program.argv)?;
    let env = c_strings(&program.env)?;
    reset_signals()?;
    let (argv, env) = (pointers(&argv), pointers(&env));
    // SAFETY: path is a C string, argv and env are null-terminated arrays of pointers to C strings, and all of them
    // live until the call returns, if it returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Err(Error::call("execve", program.path.display().to_string(), io::Error::last_os_error()))
}

/// Blocks nothing and ignores nothing any more, as a new program expects it: a program inherits
/// both across execve(2), and Rust ignores SIGPIPE.
///
/// # Errors
///
/// Those of sigprocmask(2).
pub fn reset_signals() -> Result<(), Error> {
    /// `struct sigaction` as the kernel has it: handler (0 is the default one), flags, restorer, mask.
    const DEFAULT: [u64; 4] = [0; 4];
    for number in 1..=64 {
        // The C library's function refuses signals 32 and 33, which its posix_spawn(3) leaves ignored.
        // SAFETY: DEFAULT is as long as the kernel's struct and outlives the call, the old one is not asked for, and a
        // mask has 8 bytes. The default handler runs no code of ours. SIGKILL and SIGSTOP are refused, as it should be.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    let none = nix::sys::signal::SigSet::empty();
    none.thread_set_mask().map_err(|error| Error::call("sigprocmask", "", error))
}

pub(super) fn c_string(text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).map_err(|error| Error::Invalid {
        what: "argument",
        value: OsString::from_vec(error.into_vec()).to_string_lossy().into_owned(),
        reason: "it has a zero byte",
    })
}

pub(super) fn c_strings(texts: &[OsString]) -> Result<Vec<CString>, Error> {
    texts.iter().map(|text| c_string(text)).collect()
}

/// The array that execve(2) takes: pointers, and a null at the end. It is good as long as `texts` lives.
pub(super) fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(command: &str, path: &str) -> Result<PathBuf, Error> {
        Program::find(vec![command.into()], vec![format!("PATH={path}").into()]).map(|program| program.path)
    }

    #[test]
    fn a_command_is_found_along_the_path() {
        assert_eq!(find("sh", "/nowhere:/bin").expect("every Linux has a sh"), Path::new("/bin/sh"));
        assert_eq!(find("./sh", "/bin").expect("a slash is not searched"), Path::new("./sh"));
        assert_eq!(
            find("no-such-command", "/bin:/usr/bin").expect_err("it is refused").errno(),
            Some(libc::ENOENT)
        );
        assert_eq!(find("", "/bin").expect_err("it is refused").errno(), Some(libc::ENOENT));
    }

    #[test]
    fn what_is_no_program_is_passed_over() {
        // /etc/passwd is a file without the x bit, /usr/bin a directory.
        for (command, path) in
            [("passwd", "/etc"), ("bin", "/usr"), (".", "/bin"), ("..", "/bin"), ("sh", "")]
        {
            let error = find(command, path).expect_err("it is refused");
            assert_eq!(error.errno(), Some(libc::ENOENT), "{command} in {path:?}");
        }
        assert_eq!(find("sh", "/etc:/bin").expect("it is further on"), Path::new("/bin/sh"));
    }
}
