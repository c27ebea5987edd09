//! The shim's loop: it waits for whatever happens next, and does it.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use glassdock_kernel::cgroup::{Cgroup, OomWatch};
use glassdock_kernel::namespace::Set;
use glassdock_kernel::process::{self, Signal, Untold};
use glassdock_kernel::{capability, seccomp};
use glassdock_trace::{Gathering, Trace};
use rustix::event::{PollFd, PollFlags, poll};

use super::proc::{Phase, Proc, reply};
use super::requests::Conn;
use super::streams::What;
use crate::bundle::Bundle;
use crate::client::Notice;
use crate::error::Failed;
use crate::wire::{self, Reply, Report};
use crate::{plan, stamp};

/// So long a failed container waits for somebody to ask why.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// So long an ended container waits for clients to take what is left for them.
const FAREWELL: Duration = Duration::from_secs(10);

/// A container that waits for its start is looked after so often: its folder may be removed meanwhile.
const LONELY: Duration = Duration::from_secs(5);

/// So long nothing must happen for the shim to give back the memory that work took.
const REST: Duration = Duration::from_millis(50);

/// Everything that the shim keeps.
pub(crate) struct Server {
    pub(super) bundle: Bundle,
    pub(super) folder: Option<File>,
    pub(super) listener: UnixListener,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) oom: Option<OomWatch>,
    pub(super) oom_killed: bool,
    /// The container's first process is the first; those of exec come after it.
    pub(super) procs: Vec<Proc>,
    /// How processes of exec ended, the latest last.
    pub(super) ended_execs: Vec<(String, i32)>,
    pub(super) conns: Vec<Conn>,
    pub(super) watchers: Vec<UnixStream>,
    pub(super) trace: Trace,
    /// Where the shim's own events wait to be sent.
    pub(super) gathering: Option<Arc<Gathering>>,
    /// What is still to be told of init's birth.
    pub(super) untold: Option<Untold>,
    /// What the container's processes may do.
    pub(super) powers: Powers,
    /// The namespaces that the container does not share with the shim.
    pub(super) kinds: Set,
    pub(super) started_at: Option<String>,
    pub(super) paused: bool,
    /// Somebody asked for the end: that it comes is no failure.
    pub(super) killed: bool,
    /// Why the container could not be made or started.
    pub(super) failed: Option<Failed>,
    /// When the shim ends, at the latest.
    pub(super) deadline: Option<Instant>,
    /// Nothing happened for a while: the next wait is a long one.
    resting: bool,
}

/// What is kept of the bundle for further processes: all that they need of it, in a few kilobytes.
#[derive(Debug, Default)]
pub(super) struct Powers {
    pub(super) groups: Vec<String>,
    pub(super) capabilities: capability::Sets,
    /// Compiled: the profile itself is a hundred times as long, and takes a while to read.
    pub(super) filter: Option<seccomp::Filter>,
}

/// What a descriptor of the loop belongs to.
#[derive(Clone, Copy, Debug)]
enum Token {
    Listener,
    Oom,
    Conn(usize),
    Watcher(usize),
    Sync(usize),
    Stream(usize, What),
    End(usize),
}

impl Token {
    /// Whether it brings words of a process, or its end.
    fn is_of_process(self) -> bool {
        matches!(self, Self::Sync(_) | Self::End(_))
    }
}

impl Server {
    #[expect(clippy::too_many_arguments, reason = "the one place where a server is put together")]
    pub(super) fn new(
        bundle: Bundle,
        folder: Option<File>,
        listener: UnixListener,
        cgroup: Option<Cgroup>,
        oom: Option<OomWatch>,
        first: Proc,
        trace: Trace,
        kinds: Set,
    ) -> Self {
        Self {
            bundle,
            folder,
            listener,
            cgroup,
            oom,
            oom_killed: false,
            procs: vec![first],
            ended_execs: Vec::new(),
            conns: Vec::new(),
            watchers: Vec::new(),
            trace,
            gathering: None,
            untold: None,
            powers: Powers::default(),
            kinds,
            started_at: None,
            paused: false,
            killed: false,
            failed: None,
            deadline: None,
            resting: false,
        }
    }

    /// The number of the container's first process.
    pub(super) fn init_pid(&self) -> u32 {
        self.procs.first().map_or(0, |first| first.process.pid())
    }

    /// Serves until the container has ended and everybody was told.
    pub(super) fn serve(mut self) {
        while !self.is_done() {
            let ready = self.wait();
            let nothing = ready.is_empty();
            self.resting = nothing && self.is_running();
            let news = ready.iter().any(|(token, _)| token.is_of_process());
            let asked = ready.iter().any(|(token, _)| matches!(token, Token::Conn(_)));
            for (token, flags) in ready {
                self.handle(token, flags);
            }
            if nothing {
                // Init hangs, maybe: in a mount, for instance. What it told is told, and no evidence waited for.
                self.forward_of(|_| true);
            } else if news {
                self.forward();
            } else if asked {
                // Not before: when init begins, it and the daemon need both processors of a small machine.
                self.tell_birth();
            }
            self.sweep();
            self.end_if_forgotten();
        }
        self.forward();
        self.leave();
    }

    fn is_done(&self) -> bool {
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let Some(first) = self.procs.first() else { return true };
        if first.phase != Phase::Ended || self.procs.len() > 1 {
            return false;
        }
        // After a failure somebody has to ask; after an end, all clients have to have all.
        late || (self.failed.is_none() && first.streams.is_idle())
    }

    /// Waits for something to happen.
    fn wait(&self) -> Vec<(Token, PollFlags)> {
        let mut tokens = Vec::with_capacity(8);
        let mut fds = Vec::with_capacity(8);
        let mut watch = |token, fd, flags| {
            tokens.push(token);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        watch(Token::Listener, self.listener.as_fd(), PollFlags::IN);
        if let Some(oom) = &self.oom {
            watch(Token::Oom, oom.as_fd(), PollFlags::IN);
        }
        for (index, conn) in self.conns.iter().enumerate() {
            watch(Token::Conn(index), conn.stream.as_fd(), PollFlags::IN);
        }
        for (index, watcher) in self.watchers.iter().enumerate() {
            watch(Token::Watcher(index), watcher.as_fd(), PollFlags::IN);
        }
        for (index, proc) in self.procs.iter().enumerate() {
            if let Some(sync) = &proc.sync {
                watch(Token::Sync(index), sync.as_fd(), PollFlags::IN);
            }
            // Output of an exec waits until its client is attached.
            if proc.id.is_empty() || proc.phase == Phase::Running {
                for (what, fd, flags) in proc.streams.interests() {
                    watch(Token::Stream(index, what), fd, flags);
                }
            }
            if proc.phase != Phase::Ended {
                watch(Token::End(index), proc.process.as_fd(), PollFlags::IN);
            }
        }
        let timeout = self.timeout();
        if timeout.is_none() && self.resting {
            // Quiet after some work: memory goes back to the kernel. Right before the wait, so that
            // what runs after it, and comes back into memory for that, is as little as can be.
            process::trim_memory();
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => tokens
                .into_iter()
                .zip(&fds)
                .map(|(token, fd)| (token, fd.revents()))
                .filter(|(_, flags)| !flags.is_empty())
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Sends on what processes on their way to their program have told. Before anybody hears that the
    /// program runs, or of a failure or an end, so that the trace has what led there first.
    pub(super) fn forward(&mut self) {
        self.forward_of(Proc::has_told);
    }

    fn forward_of(&mut self, has_told: fn(&Proc) -> bool) {
        self.tell_birth();
        for proc in &mut self.procs {
            if !has_told(proc) {
                continue;
            }
            if let Some(told) = &mut proc.tape {
                if let Some(unproven) = proc.unproven.take() {
                    told.prove(unproven.read());
                }
                // An exec's goes another way than the container's.
                let before = self.gathering.as_ref().filter(|_| proc.id.is_empty());
                told.forward_after(before.map(|gathering| gathering.take()).unwrap_or_default());
            }
            if matches!(proc.phase, Phase::Running | Phase::Ended) {
                proc.tape = None;
            }
        }
        self.flush();
    }

    /// Tells the end of init's birth, while there is an init whose namespaces can be read.
    pub(super) fn tell_birth(&mut self) {
        self.untold.take().into_iter().for_each(Untold::tell);
    }

    /// Sends what the shim itself has told. Before somebody hears of what came of it.
    pub(super) fn flush(&self) {
        self.gathering.iter().for_each(|gathering| gathering.flush());
    }

    fn is_running(&self) -> bool {
        self.procs.first().is_some_and(|first| first.phase == Phase::Running)
    }

    fn timeout(&self) -> Option<rustix::event::Timespec> {
        let mut wait = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let acts = |first: &Proc| matches!(first.phase, Phase::SettingUp | Phase::Starting);
        let told = self.procs.first().is_some_and(|first| first.tape.is_some() && acts(first));
        // An init that hangs in a step, in a mount for instance, has told of its begin.
        if (self.is_running() && !self.resting) || (told && wait.is_none()) {
            wait = Some(REST);
        }
        if self.waits_for_start() {
            wait = Some(wait.unwrap_or(Duration::MAX).min(LONELY));
        }
        if self.procs.iter().any(|proc| proc.streams.is_held_up()) {
            wait = Some(wait.unwrap_or(Duration::MAX).min(Duration::from_millis(500)));
        }
        wait.map(|wait| rustix::event::Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        })
    }

    /// Indices stay good for a whole round: removals wait for [`Server::sweep`].
    fn handle(&mut self, token: Token, flags: PollFlags) {
        match token {
            Token::Listener => self.accept(),
            Token::Oom => self.count_oom(),
            Token::Conn(index) => self.read_request(index),
            Token::Watcher(index) => self.check_watcher(index),
            Token::Sync(index) => self.hear(index),
            Token::Stream(index, what) => {
                if let Some(proc) = self.procs.get_mut(index) {
                    proc.streams.handle(what, flags);
                }
            }
            Token::End(index) => self.end_of(index),
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        for proc in &mut self.procs {
            proc.streams.sweep(now);
        }
        self.conns.retain(|conn| !conn.done);
        let mut first = true;
        self.procs.retain(|proc| {
            // The first stays to the end; an exec goes when it ended and its client has everything.
            std::mem::take(&mut first) || proc.phase != Phase::Ended || !proc.streams.is_idle()
        });
    }

    fn waits_for_start(&self) -> bool {
        self.procs.first().is_some_and(|first| first.phase == Phase::Ready)
    }

    /// Ends a container that was never started and whose folder is gone: with it went the only way
    /// to ask for its start.
    fn end_if_forgotten(&mut self) {
        let gone = |folder: &File| folder.metadata().is_ok_and(|folder| folder.nlink() == 0);
        if self.waits_for_start() && self.conns.is_empty() && self.folder.as_ref().is_some_and(gone) {
            let _ = self.kill(Signal::KILL.number(), true);
        }
    }

    fn count_oom(&mut self) {
        if let Some(oom) = &mut self.oom
            && oom.killed().is_ok_and(|killed| killed > 0)
        {
            self.oom_killed = true;
            self.notify(&Notice::Oom);
        }
    }

    /// A watcher says nothing: when it is readable, it has left.
    fn check_watcher(&mut self, index: usize) {
        let mut byte = [0_u8; 16];
        let Some(watcher) = self.watchers.get(index) else { return };
        if let Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) =
            rustix::net::recv(watcher, &mut byte, rustix::net::RecvFlags::DONTWAIT)
        {
            self.watchers.remove(index);
        }
    }

    /// Tells everybody who watches. One who doesn't listen is dropped, not waited for.
    pub(super) fn notify(&mut self, notice: &Notice) {
        let Ok(mut line) = serde_json::to_vec(notice) else { return };
        line.push(b'\n');
        let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
        self.watchers
            .retain(|watcher| rustix::net::send(watcher, &line, flags).is_ok_and(|sent| sent == line.len()));
    }

    /// Hears what a process on its way to execve(2) has to say.
    pub(super) fn hear(&mut self, index: usize) {
        let Some(proc) = self.procs.get_mut(index) else { return };
        let Some(sync) = &proc.sync else { return };
        match wire::receive::<Report>(sync) {
            Ok(Some((report, fds))) => {
                if let Some(failed) = proc.take(report, fds) {
                    proc.failed.get_or_insert(failed);
                }
            }
            Ok(None) => {
                proc.sync = None;
                if (proc.executing.is_some() || proc.refused) && proc.failed.is_none() {
                    self.forward();
                    self.runs(index);
                }
            }
            Err(error) => {
                proc.failed.get_or_insert(plan::invalid("talk", format!("talking with init: {error}")));
                proc.sync = None;
            }
        }
    }

    /// execve(2) has closed the sync socket, without a word of failure before; or it was refused, and what is seen of
    /// that is a process that wrote a line and ended.
    fn runs(&mut self, index: usize) {
        let Some(proc) = self.procs.get_mut(index) else { return };
        proc.phase = Phase::Running;
        // All that was on it has been sent on. Whoever hears that the program runs may lend its memory to the next: nobody
        // looks at it from here on. That it is unmapped is nothing to wait for.
        let unmapped_later = proc.tape.take();
        if let Some((span, began_ns)) = proc.executing.take() {
            proc.trace.adopt(span, began_ns).ok();
            self.gathering.iter().for_each(|gathering| gathering.flush());
        }
        let pid = proc.process.pid();
        if proc.id.is_empty() {
            for waiter in proc.wait_ready.drain(..).chain(proc.wait_start.drain(..)) {
                reply(&waiter, &Reply::Done);
            }
            let at = stamp::now();
            self.started_at = Some(at.clone());
            self.notify(&Notice::Started { at });
        } else if let Some(client) = proc.wait_start.pop() {
            reply(&client, &Reply::Execed { pid });
            if let Some(wanted) = proc.attach {
                proc.streams.attach(client, wanted, &[]);
            }
        }
        drop(unmapped_later);
    }

    /// Why the container could not be made or started: whoever waits hears it now,
    /// whoever asks later hears it then.
    pub(super) fn fail(&mut self, failed: Failed) {
        let Some(first) = self.procs.first_mut() else { return };
        let waiters: Vec<_> = first.wait_ready.drain(..).chain(first.wait_start.drain(..)).collect();
        for waiter in &waiters {
            reply(waiter, &Reply::Failed(failed.clone()));
        }
        let patience = if waiters.is_empty() { LAST_WORDS } else { Duration::ZERO };
        self.deadline = Some(Instant::now() + patience);
        self.failed = Some(failed);
    }

    pub(super) fn say_farewell(&mut self) {
        self.deadline = Some(Instant::now() + FAREWELL);
    }
}
