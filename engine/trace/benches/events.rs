//! What telling an event costs, on a tape as init does it and into a recording as the daemon does it.
//!
//! ```text
//! cargo bench -p glassdock-trace
//! ```
//!
//! Prints a line each: nanoseconds for a step, which is two events. Nothing here asserts a number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use glassdock_trace::gate::Hold;
use glassdock_trace::tracer::Origin;
use glassdock_trace::{Aborted, Actor, Body, Channel, OpId, Recorder, Tape, TapeSink, Trace};

const STEPS: usize = 200_000;

/// Room for a line, over and over.
#[derive(Debug)]
struct Loop(std::sync::Mutex<Vec<u8>>, AtomicUsize);

impl Tape for Loop {
    fn add(&self, line: &[u8]) -> bool {
        let Ok(mut room) = self.0.lock() else { return false };
        room.clear();
        room.extend_from_slice(line);
        self.1.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn take(&self, _give: &mut dyn FnMut(&[u8])) -> bool {
        false
    }
}

fn body() -> Body {
    Body::MountAttach {
        target: "/proc/sys".into(),
        fstype: Some("bind".into()),
        source: Some("/proc/sys".into()),
        flags: vec!["bind".into(), "ro".into(), "nosuid".into()],
        data: None,
    }
}

#[expect(clippy::print_stdout, reason = "the line is what the bench is for")]
fn measure(what: &str, trace: &Trace) {
    let begun = Instant::now();
    for _ in 0..STEPS {
        let done: Result<(), Failed> = trace.step(body(), |_| Ok(()));
        done.unwrap_or(());
    }
    println!("{what}: {} ns a step", begun.elapsed().as_nanos() / STEPS as u128);
}

#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Failed;

impl From<Aborted> for Failed {
    fn from(_: Aborted) -> Self {
        Self
    }
}

fn main() -> std::io::Result<()> {
    measure("nowhere", &Trace::off());
    let (_near, far) = Channel::pair()?;
    let tape = Arc::new(Loop(std::sync::Mutex::default(), AtomicUsize::new(0)));
    let sink = TapeSink::new(tape, Arc::new(far));
    measure("tape", &Trace::root(OpId::new(), Actor::Init, Origin::now(), Arc::new(sink), Hold::Never));
    let folder = tempfile::tempdir()?;
    let recorder = Recorder::new(folder.path(), "0", BTreeMap::new())?;
    let op = OpId::new();
    let recording = recorder.open(&op);
    measure("recording", &Trace::root(op, Actor::Daemon, Origin::now(), recording, Hold::Never));
    Ok(())
}
