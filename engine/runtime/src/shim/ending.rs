//! The end of a process, and of the container with its first one.

use std::fs;
use std::os::fd::AsFd;

use glassdock_kernel::process;
use glassdock_trace::Trace;

use super::proc::{Phase, reply};
use super::serve::Server;
use crate::bundle::Exit;
use crate::client::Notice;
use crate::error::Failed;
use crate::{plan, stamp, wire};

/// So many ended processes of exec are remembered.
const REMEMBERED: usize = 256;

impl Server {
    /// A process has ended: what it still said is heard first, then it is collected.
    pub(super) fn end_of(&mut self, index: usize) {
        while self.procs.get(index).is_some_and(|proc| proc.sync.is_some()) {
            self.hear(index);
        }
        // As long as it isn't collected, its number is nobody else's.
        self.tell_birth();
        let Some(proc) = self.procs.get_mut(index) else { return };
        let ended = match proc.process.try_wait(&proc.trace) {
            Ok(Some(ended)) => ended,
            Ok(None) => return,
            // Somebody else collected it, which can't be; but a shim must not spin on it.
            Err(_) => process::Exit::Status(255),
        };
        let began = proc.phase == Phase::Running;
        proc.phase = Phase::Ended;
        proc.streams.drain();
        self.forward();
        if index == 0 { self.container_ended(ended, began) } else { self.exec_ended(index, ended, began) }
    }

    fn exec_ended(&mut self, index: usize, ended: process::Exit, began: bool) {
        let Some(proc) = self.procs.get_mut(index) else { return };
        if !began {
            let failed = proc.failed.take().unwrap_or_else(|| silent_end(ended));
            for client in proc.wait_start.drain(..) {
                reply(&client, &wire::Reply::Failed(failed.clone()));
            }
            return;
        }
        let (id, status) = (proc.id.clone(), ended.code());
        self.ended_execs.push((id.clone(), status));
        if self.ended_execs.len() > REMEMBERED {
            self.ended_execs.remove(0);
        }
        self.notify(&Notice::ExecExited { id, status });
    }

    fn container_ended(&mut self, ended: process::Exit, began: bool) {
        let failed = self.procs.first_mut().and_then(|first| first.failed.take());
        if began || (self.killed && failed.is_none()) {
            self.count_oom_at_end();
            let exit = Exit {
                status: ended.code(),
                signal: match ended {
                    process::Exit::Signal { signal, .. } => Some(signal.number()),
                    process::Exit::Status(_) => None,
                },
                oom_killed: self.oom_killed,
                started_at: self.started_at.clone().unwrap_or_default(),
                finished_at: stamp::now(),
            };
            self.write_down(&exit);
            if let Some(first) = self.procs.first_mut() {
                // Who waited for a start that a kill prevented.
                for waiter in first.wait_ready.drain(..).chain(first.wait_start.drain(..)) {
                    let failed = plan::invalid("start", "the container was killed before its program began");
                    reply(&waiter, &wire::Reply::Failed(failed));
                }
            }
            self.notify(&Notice::Exited(exit));
            self.say_farewell();
        } else {
            self.fail(failed.unwrap_or_else(|| silent_end(ended)));
        }
        self.clean_up();
        self.flush();
    }

    fn count_oom_at_end(&mut self) {
        if let Some(oom) = &mut self.oom
            && oom.killed().is_ok_and(|killed| killed > 0)
        {
            self.oom_killed = true;
        }
    }

    /// `exit.json`, whole or not at all: written beside, and renamed.
    fn write_down(&self, exit: &Exit) {
        let Some(folder) = &self.folder else { return };
        let Ok(text) = serde_json::to_vec(exit) else { return };
        let new = wire::socket_path(folder.as_fd(), "exit.json.new");
        // On a full disk the notice is all that is left.
        let _ = fs::write(&new, text)
            .and_then(|()| fs::rename(&new, wire::socket_path(folder.as_fd(), "exit.json")));
    }

    /// Removes the control group, with every process that is still in it: without a pid
    /// namespace of its own, the end of the first process ends no other.
    fn clean_up(&mut self) {
        self.oom = None;
        let Some(cgroup) = self.cgroup.take() else { return };
        if self.paused {
            let _ = cgroup.thaw(&Trace::off());
        }
        if cgroup.processes().is_ok_and(|processes| !processes.is_empty()) {
            // After an abort at the step gate no step is done any more; cleaning up is.
            if cgroup.kill(&self.trace).is_err() {
                let _ = cgroup.kill(&Trace::off());
            }
            while let Ok(Some(_)) = process::reap_any(&Trace::off()) {}
        }
        // What the kernel still holds is told in the trace, by the door.
        if cgroup.remove(&self.trace).is_err() {
            let _ = cgroup.remove(&Trace::off());
        }
    }

    /// The last thing: nobody can ask any more.
    pub(super) fn leave(self) {
        if let Some(folder) = &self.folder {
            let _ = fs::remove_file(wire::socket_path(folder.as_fd(), "shim.sock"));
        }
    }
}

fn silent_end(ended: process::Exit) -> Failed {
    plan::invalid("init", format!("init ended with status {} before it became the program", ended.code()))
}
