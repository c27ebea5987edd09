//! A shell at a terminal of its own, behind the student's: what the student types goes in, what it
//! prints comes out, and before each prompt it tells what was typed and how that ended.
//!
//! ```text
//!   student's terminal ◄──► controller │ terminal ◄──► bash
//!                                ▲ told: status, the line that was typed
//!                                └ answer: go on, or end
//! ```
//!
//! The shell is the student's own kind, bash, so lines can be edited, variables stay, and a
//! program that wants a terminal finds one. See pty(7).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glassdock_kernel::process::{self, Process, Signal, Spawn};
use glassdock_kernel::pty::{Size, resize};
use glassdock_trace::Trace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::shell::Surroundings;

/// Between two looks at something that is not ready.
const BLINK: Duration = Duration::from_millis(5);

/// A typed line is at most so long, in bytes; a longer one is told cut.
const LINE_LIMIT: usize = 64 * 1024;

/// What bash does before each prompt: it tells, and waits for the answer. The commands for the
/// runner do nothing by themselves; that they were typed is all.
const STARTUP: &str = r#"
HISTFILE= HISTCONTROL= HISTTIMEFORMAT=
PS1='lesson $ '
task() { :; }
guess() { :; }
hint() { :; }
solution() { :; }
__glassdock() {
    local status=$? line
    line=$(history 1)
    printf '%s\n%s\0' "$status" "$line" > "$GLASSDOCK_TOLD"
    read -r line < "$GLASSDOCK_ANSWER"
    if [ "$line" = end ]; then exit 0; fi
}
PROMPT_COMMAND=__glassdock
"#;

/// A line that was typed, and is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Its number in the shell's history; the same as before if nothing was typed.
    pub number: u64,
    /// The line.
    pub line: String,
    /// The exit status.
    pub status: i32,
}

impl Typed {
    /// Reads what the shell tells: the status, a line's end, and a line of its history.
    fn parse(text: &str) -> Self {
        let (status, history) = text.split_once('\n').unwrap_or((text, ""));
        let history = history.trim();
        let (number, line) = history.split_once(char::is_whitespace).unwrap_or((history, ""));
        Self {
            number: number.trim_end_matches('*').parse().unwrap_or(0),
            line: line.trim().to_owned(),
            status: status.trim().parse().unwrap_or(-1),
        }
    }
}

/// What comes from the shell.
#[derive(Debug)]
pub enum Heard {
    /// It, or a program in it, printed this.
    Printed(Vec<u8>),
    /// A line is over; the shell waits for [`Terminal::answer`].
    Typed(Typed),
    /// It has ended.
    Gone,
}

/// The shell and its terminal. Dropped, the terminal hangs up, which ends the shell.
#[derive(Debug)]
pub struct Terminal {
    controller: Arc<OwnedFd>,
    answer: File,
    heard: UnboundedReceiver<Heard>,
    over: Arc<AtomicBool>,
    shell: Arc<Process>,
}

impl Terminal {
    /// Starts the shell. `folder` is for its pipes and its start-up file.
    ///
    /// # Errors
    ///
    /// If there is no terminal to be had, or no bash.
    pub fn open(surroundings: &Surroundings, folder: &Path) -> io::Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?.into_string().map_err(io::Error::other)?;
        ioctl_fionbio(&controller, true)?;
        let (told, answer, startup) = (folder.join("told"), folder.join("answer"), folder.join("bashrc"));
        for path in [&told, &answer] {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        fs::write(&startup, STARTUP)?;
        let env = environment(surroundings, &told, &answer);
        // Both ends are held open here, so that the shell's opening them never waits.
        let both = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let (told, answer) = (both(&told)?, both(&answer)?);
        ioctl_fionbio(&told, true)?;
        // A session's leader gets the first terminal that it opens as its controlling one.
        let start = r#"cd "$1" && exec bash --noprofile --rcfile "$2" -i <>"$3" >&0 2>&1"#;
        let argv = ["sh", "-c", start, "sh"].map(OsString::from).into_iter();
        let argv = argv.chain([surroundings.folder.clone().into(), startup.into(), OsString::from(name)]);
        let program = Spawn {
            role: "shell",
            path: "/bin/sh".into(),
            argv: argv.collect(),
            env,
            descriptors: Vec::new(),
            session: true,
        };
        let shell = Arc::new(process::spawn(&Trace::off(), &program).map_err(io::Error::other)?);
        let (controller, over) = (Arc::new(controller), Arc::new(AtomicBool::new(false)));
        let (sender, heard) = unbounded_channel();
        let listener = Listener {
            controller: Arc::clone(&controller),
            shell: Arc::clone(&shell),
            over: Arc::clone(&over),
            told,
            message: Vec::new(),
            sender,
        };
        std::thread::spawn(move || listener.listen());
        let terminal = Self { controller, answer, heard, over, shell };
        terminal.fit();
        Ok(terminal)
    }

    /// Gives the shell's terminal the size of the student's.
    pub fn fit(&self) {
        let size = tcgetwinsize(io::stdout())
            .map_or(Size { rows: 24, columns: 80 }, |size| Size { rows: size.ws_row, columns: size.ws_col });
        // A terminal of another size is still one.
        let _ = resize(self.controller.as_fd(), size);
    }

    /// Types.
    ///
    /// # Errors
    ///
    /// If the shell is gone.
    pub async fn type_in(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.controller, bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                // The terminal's queue is full: nobody reads what was typed.
                Err(Errno::AGAIN) => tokio::time::sleep(BLINK).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for what comes next. What was printed before a line was over comes before it.
    pub async fn hear(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::Gone)
    }

    /// Lets the shell go on after [`Heard::Typed`], or end.
    ///
    /// # Errors
    ///
    /// If the pipe is gone.
    pub fn answer(&mut self, go_on: bool) -> io::Result<()> {
        self.answer.write_all(if go_on { b"go\n" } else { b"end\n" })
    }

    /// Hangs up and waits for the shell, which gets a moment before it is killed.
    pub async fn close(self) {
        let shell = Arc::clone(&self.shell);
        drop(self);
        for _ in 0..200 {
            if shell.has_ended().unwrap_or(true) {
                break;
            }
            tokio::time::sleep(BLINK).await;
        }
        if !shell.has_ended().unwrap_or(true) {
            // It may have ended just now.
            let _ = shell.signal(&Trace::off(), Signal::KILL);
        }
        let _ = tokio::task::spawn_blocking(move || shell.wait(&Trace::off())).await;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The listener lets go of the controller, too; only then it is a hang-up.
        self.over.store(true, Ordering::Relaxed);
    }
}

fn environment(surroundings: &Surroundings, told: &Path, answer: &Path) -> Vec<OsString> {
    let term = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
    let own = [("TERM", term), ("GLASSDOCK_TOLD", told.into()), ("GLASSDOCK_ANSWER", answer.into())];
    let of_lab = surroundings.environment.iter().filter(|(name, _)| *name != "TERM").cloned();
    of_lab
        .chain(own)
        .map(|(name, value)| {
            let mut pair = OsString::from(name);
            pair.push("=");
            pair.push(value);
            pair
        })
        .collect()
}

/// Reads the terminal and the pipe, in a thread of its own: what is in the terminal first, so that
/// a line's output is heard before its end.
struct Listener {
    controller: Arc<OwnedFd>,
    shell: Arc<Process>,
    over: Arc<AtomicBool>,
    told: File,
    message: Vec<u8>,
    sender: UnboundedSender<Heard>,
}

impl Listener {
    fn listen(mut self) {
        while !self.over.load(Ordering::Relaxed) {
            let mut fds =
                [PollFd::new(&self.controller, PollFlags::IN), PollFd::new(&self.told, PollFlags::IN)];
            let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            if poll(&mut fds, Some(&pause)).is_err_and(|error| error != Errno::INTR) {
                break;
            }
            let told = fds.last().is_some_and(|fd| fd.revents().contains(PollFlags::IN));
            let message = if told { self.hear_message() } else { None };
            if message.is_some() {
                // The kernel hands what is printed over a moment later than it was written.
                std::thread::sleep(BLINK);
            }
            if !self.hear_terminal() {
                break;
            }
            if message.is_some_and(|typed| self.sender.send(Heard::Typed(typed)).is_err()) {
                break;
            }
        }
        // If nobody listens any more, nobody needs to be told.
        let _ = self.sender.send(Heard::Gone);
    }

    /// Takes all that is in the terminal now; false if nobody will ever print there again.
    fn hear_terminal(&self) -> bool {
        let mut buffer = vec![0_u8; 8192];
        loop {
            match rustix::io::read(&self.controller, &mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                    if self.sender.send(Heard::Printed(bytes)).is_err() {
                        return false;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return true,
                // EIO: nobody has the terminal open. Before the shell has opened it that means nothing.
                Err(_) => {
                    std::thread::sleep(BLINK);
                    return !self.shell.has_ended().unwrap_or(true);
                }
            }
        }
    }

    /// Takes what was told; a message once it is whole.
    fn hear_message(&mut self) -> Option<Typed> {
        let mut buffer = vec![0_u8; 4096];
        let length = self.told.read(&mut buffer).unwrap_or(0);
        let bytes = buffer.get(..length).unwrap_or_default();
        let room = LINE_LIMIT.saturating_sub(self.message.len());
        self.message.extend(bytes.iter().filter(|byte| **byte != 0).take(room));
        if bytes.last() != Some(&0) {
            return None;
        }
        let message = std::mem::take(&mut self.message);
        Some(Typed::parse(&String::from_utf8_lossy(&message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shell_tells() {
        let typed = |number, line: &str, status| Typed { number, line: line.to_owned(), status };
        assert_eq!(
            Typed::parse("125\n   12  docker run –i busybox"),
            typed(12, "docker run –i busybox", 125)
        );
        assert_eq!(Typed::parse("0\n    3* ls"), typed(3, "ls", 0));
        assert_eq!(Typed::parse("0\n"), typed(0, "", 0));
    }

    #[tokio::test]
    async fn a_shell_tells_what_was_typed_and_prints_to_a_terminal() {
        if !Path::new("/bin/bash").exists() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let environment = vec![("PATH", "/usr/bin:/bin".into())];
        let surroundings = Surroundings { folder: folder.path().to_owned(), environment };
        let mut terminal = Terminal::open(&surroundings, folder.path()).expect("a shell");
        let (mut printed, mut all) = (Vec::new(), Vec::new());
        let mut lines =
            ["test -t 1 && echo it is || echo none; (exit 7)", "X=5", "echo $X", "exit"].into_iter();
        let work = async {
            loop {
                match terminal.hear().await {
                    Heard::Printed(bytes) => printed.extend(bytes),
                    Heard::Typed(typed) => {
                        all.push(typed);
                        terminal.answer(true).expect("it waits");
                        let Some(line) = lines.next() else { break };
                        terminal.type_in(format!("{line}\n").as_bytes()).await.expect("it listens");
                    }
                    Heard::Gone => break,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), work).await.expect("it ends");
        terminal.close().await;
        let statuses: Vec<_> = all.iter().map(|typed| (typed.number, typed.status)).collect();
        assert_eq!(statuses, [(0, 0), (1, 7), (2, 0), (3, 0)], "{all:?}");
        let printed = String::from_utf8_lossy(&printed);
        assert!(printed.contains("it is\r\n") && printed.contains("5\r\n"), "{printed:?}");
    }
}
